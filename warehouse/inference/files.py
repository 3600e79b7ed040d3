"""Files as they come: folders of them taken out of gzip, zstd and zip, in UTF-8."""

from __future__ import annotations

import gzip
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from warehouse.errors import ClearwaterError
from warehouse.sources import SUFFIXES

BLOCK_BYTES = 1 << 20
ROWS = 5_000_000  # as many are looked at
BOMB_BYTES, BOMB_RATIO = 1 << 30, 300
GZIP, ZSTD, ZIP = (".gz", ".gzip"), (".zst", ".zstd"), ".zip"


@dataclass(frozen=True)
class Plain:
    """The plain bytes of a file, or of a zip's member, and what people are told it is."""

    path: Path
    label: str

    @property
    def format(self) -> str:
        """The format that the name's suffix tells; csv when it tells none."""
        return SUFFIXES.get(Path(self.label).suffix.lower(), "csv")

    @property
    def is_tabbed(self) -> bool:
        """Whether the name's suffix tells that tabs part the fields."""
        return Path(self.label).suffix.lower() in (".tsv", ".tab")


def plain_files(files: list[Path], work: Path) -> list[Plain]:
    """The files with their compression undone; what must be unpacked is written to `work`.

    Raises ClearwaterError when a file is missing, no file, or a broken container.
    """
    if not files:
        raise ClearwaterError(
            "there are no files", next_step="name a file, or a folder or pattern that has some"
        )
    return [plain for number, file in enumerate(files) for plain in _plain(file, work, number)]


def _plain(file: Path, work: Path, number: int) -> list[Plain]:
    if not file.is_file():
        what = "it is a folder" if file.is_dir() else "there is no such file"
        raise ClearwaterError(what, where=str(file), next_step="name a file, or quote a pattern")
    suffix = file.suffix.lower()
    try:
        if suffix == ZIP:
            return _members(file, work, number)
        if suffix in GZIP + ZSTD:
            target = work / f"{number}-{Path(file.name).stem}"
            with _decompressor(file, suffix) as stream:
                _copy(stream, target, file.stat().st_size)
            return [Plain(target, file.name[: -len(suffix)])]
        with file.open("rb") as handle:
            handle.read(1)
    except PermissionError:
        raise ClearwaterError(
            "the file may not be read", where=str(file), next_step="allow reading it"
        ) from None
    except (OSError, EOFError, zlib.error, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the machine's fault
        raise ClearwaterError(
            f"the file cannot be unpacked: {error}",
            where=str(file),
            next_step="have it written again",
        ) from None
    return [Plain(file, file.name)]


def _decompressor(file: Path, suffix: str) -> Any:
    if suffix in GZIP:
        return gzip.open(file, "rb")
    import pyarrow as pa

    return pa.input_stream(str(file), compression="zstd")


def _members(file: Path, work: Path, number: int) -> list[Plain]:
    found = []
    with zipfile.ZipFile(file) as archive:
        for index, info in enumerate(sorted(archive.infolist(), key=lambda i: i.filename)):
            path = PurePosixPath(info.filename)
            if info.is_dir() or path.parts[0].startswith("__MACOSX") or path.name.startswith("."):
                continue
            if info.flag_bits & 1:
                raise ValueError(f"the member {info.filename!r} is encrypted")
            target = work / f"{number}-{index}{path.suffix.lower()}"  # never the member's own path
            with archive.open(info) as stream:
                _copy(stream, target, info.compress_size)
            found += [
                Plain(
                    inner.path,
                    path.name.removesuffix(path.suffix) if inner.path != target else path.name,
                )
                for inner in _plain(target, work, number * 1000 + index)
            ]
    if not found:
        raise ValueError("the zip holds no file")
    return found


def _copy(stream: IO[bytes], target: Path, packed: int) -> None:
    """Write the stream block by block; raises ValueError when it swells like a bomb."""
    limit = max(BOMB_BYTES, packed * BOMB_RATIO)
    written = 0
    with target.open("wb") as out:
        while block := stream.read(BLOCK_BYTES):
            written += len(block)
            if written > limit:
                raise ValueError(f"its {packed:,} bytes swell to more than {limit:,}")
            out.write(block)


def in_utf8(file: Path, encoding: str, work: Path) -> Path:
    """The text in UTF-8: the file itself where it is; bytes that are none become U+FFFD."""
    if encoding == "utf-8":
        return file
    target = work / f"{file.name}.utf8"
    with (
        file.open(encoding=encoding, errors="replace", newline="") as text,
        target.open("w", encoding="utf-8", newline="") as out,
    ):
        shutil.copyfileobj(text, out, BLOCK_BYTES)
    return target


@contextmanager
def workspace(folder: Path) -> Iterator[Path]:
    """A folder for the block alone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
