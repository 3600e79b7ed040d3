"""Files as they come: taken out of gzip, zstd and zip, and in UTF-8."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from warehouse.containers import BLOCK_BYTES, broken_refused, members, unpacked
from warehouse.errors import BatchRefusedError, ClearwaterError
from warehouse.readers.contract import Opened
from warehouse.settings import Settings

ROWS = 5_000_000  # as many are looked at
TABBED = (".tsv", ".tab")
LANDED = "; the bytes that came"  # and on, in the next step of a refusal


def is_tabbed(file: Opened) -> bool:
    """Whether the name's suffix tells that tabs part the fields."""
    return Path(file.name).suffix.lower() in TABBED


def plain_files(files: list[Path], work: Path) -> list[Opened]:
    """The files, and the members of zips, unpacked; each has a folder of its own below `work`.

    Raises ClearwaterError when a file is missing, no file, or a broken container.
    """
    if not files:
        raise ClearwaterError(
            "there are no files", next_step="name a file, or a folder or pattern that has some"
        )
    for file in files:
        _check_readable(file)
    parts = [(file, part) for file in files for part in members(file, file.name)]
    return [_plain(file, part, work / str(n)) for n, (file, part) in enumerate(parts)]


def _check_readable(file: Path) -> None:
    if not file.is_file():
        what = "it is a folder" if file.is_dir() else "there is no such file"
        raise ClearwaterError(what, where=str(file), next_step="name a file, or quote a pattern")
    if not os.access(file, os.R_OK):
        raise ClearwaterError(
            "the file may not be read", where=str(file), next_step="allow reading it"
        )


def _plain(file: Path, part: str | None, work: Path) -> Opened:
    work.mkdir()
    label = f"{file.name}/{part}" if part else file.name
    with broken_refused(str(file)):
        return unpacked(Opened(file, file.name, label, work), part)


def in_utf8(file: Opened, encoding: str) -> Path:
    """The text in UTF-8: the file itself where it is; bytes that are none become U+FFFD."""
    if encoding == "utf-8":
        return file.path
    target = file.work / "utf8"
    with (
        file.path.open(encoding=encoding, errors="replace", newline="") as text,
        target.open("w", encoding="utf-8", newline="") as out,
    ):
        shutil.copyfileobj(text, out, BLOCK_BYTES)
    return target


@contextmanager
def nothing_landed() -> Iterator[None]:
    """Say what a batch would be refused for in the words of a look, which keeps no bytes."""
    try:
        yield
    except BatchRefusedError as error:
        raise ClearwaterError(
            error.what, where=error.where, next_step=error.next_step.partition(LANDED)[0]
        ) from None


@contextmanager
def workspace(settings: Settings, name: str) -> Iterator[Path]:
    """A folder for this process and the block alone; those of processes that died are removed."""
    for left in settings.tmp.glob(f"{name}-*"):
        if not _is_running(left.name.removeprefix(f"{name}-")):
            shutil.rmtree(left, ignore_errors=True)
    folder = settings.tmp / f"{name}-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_running(process: str) -> bool:
    with suppress(PermissionError):  # another user's
        try:
            os.kill(int(process), 0)
        except (ProcessLookupError, ValueError, OverflowError):
            return False
    return True
