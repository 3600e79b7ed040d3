"""Where releases are exported to: a folder, or a prefix of an S3 bucket.

Both hold `releases/<id>/` and `current.json`, which is put in one step and last; a folder has the
link `current` besides. An export is there if its release.json is: in a folder all is renamed into
place when it is whole; S3, which cannot rename, is sent release.json after all other objects.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from warehouse.errors import BatchRefusedError, ConfigurationError, ExportError
from warehouse.files import (
    left_in,
    link_atomically,
    sync,
    temporary,
    temporary_of,
    write_atomically,
)
from warehouse.places import S3, has_odd_part, s3
from warehouse.releases import RELEASE_ID
from warehouse.settings import Settings

RELEASES, RELEASE, CURRENT, LINK = "releases", "release.json", "current.json", "current"
PARQUET = ".parquet"
BLOCK_BYTES = 8 << 20


class ExportPlace(Protocol):
    """Where releases are exported to. Everything raises ExportError when it cannot be done."""

    def foreign(self) -> str:
        """What stands under one of our names and no export wrote; empty if nothing does."""

    def sweep(self) -> None:
        """Remove what exports left that did not come to their end."""

    def exports(self) -> list[str]:
        """The releases that are exported whole, oldest first."""

    def sizes(self, release_id: str, /) -> dict[str, int]:
        """The files of an export by their names, with their bytes; empty if there is none."""

    def read(self, name: str, /) -> str | None:
        """The text of a small file; None if it is not there."""

    def start(self, release_id: str, /) -> str:
        """Begin an export, in the place of a broken one; returns the name that it has meanwhile."""

    def local(self, name: str, file: str, /) -> Path:
        """Where a file of an export that was begun is to be written."""

    def put(self, name: str, file: str, /) -> int:
        """Take the file that was written there; returns the rows that are read back from it."""

    def finish(self, name: str, release_id: str, text: str, /) -> None:
        """Put release.json with this text: from then on the export is there, whole."""

    def is_flipped(self, release_id: str, /) -> bool:
        """Whether what is beside current.json leads to this export."""

    def flip(self, release_id: str, text: str, /) -> None:
        """Make an export the current one; current.json gets the text."""

    def remove(self, release_id: str, /) -> None:
        """Remove an export; a process killed meanwhile leaves what is swept."""


def export_place(settings: Settings, place: str) -> ExportPlace:
    """The place that the text names. Raises ConfigurationError for one that cannot be."""
    if place.startswith(S3):
        bucket, _, prefix = place.removeprefix(S3).strip("/").partition("/")
        if not bucket or has_odd_part(f"{bucket}/{prefix}" if prefix else bucket):
            raise ConfigurationError(
                "it does not name a place in a bucket",
                where=place,
                next_step="write s3://bucket/prefix",
            )
        return Bucket(settings, f"{bucket}/{prefix}" if prefix else bucket)
    folder = Path(place).expanduser().absolute()
    homes = [folder.resolve(), *folder.resolve().parents]
    if settings.home.resolve() in homes or any((h / settings.lock.name).exists() for h in homes):
        raise ConfigurationError(
            "it is a home of Clearwater, or lies in one",
            where=place,
            next_step="name another folder to export to",
        )
    return Folder(folder)


def refuse_foreign(place: ExportPlace, where: str) -> None:
    """Raise ConfigurationError where an export would replace what no export wrote."""
    if found := place.foreign():
        raise ConfigurationError(
            f"{found} is there, and no export of Clearwater wrote it",
            where=where,
            next_step="export to an empty folder or prefix, or move that away if nobody needs it",
        )


def _foreign(place: ExportPlace, names: Iterable[str]) -> str:
    """What is foreign of current.json, or else of the `names` below `releases`."""
    text = place.read(CURRENT)
    if text is not None:
        return "" if _release_of(text) else CURRENT
    odd = (name for name in names if not (RELEASE_ID.fullmatch(name) and _is_export(place, name)))
    return next((f"{RELEASES}/{name}" for name in odd), "")


def _is_export(place: ExportPlace, name: str) -> bool:
    """Whether what is below `releases` under this name is an export, or was begun as one."""
    files = place.sizes(name)
    if RELEASE in files:
        return _release_of(place.read(f"{RELEASES}/{name}/{RELEASE}") or "") == name
    return _is_begun(files)


def _is_begun(files: Iterable[str]) -> bool:
    return all(file.endswith(PARQUET) for file in files)


def _release_of(text: str) -> str:
    """The release that a current.json or release.json of an export names; empty for any other."""
    try:
        told = json.loads(text)
    except ValueError:
        return ""
    if not isinstance(told, dict) or not isinstance(told.get("tables"), dict):
        return ""
    name = str(told.get("release"))
    return name if RELEASE_ID.fullmatch(name) else ""


class Folder:
    """A folder, which is made when it is not there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._releases = path / RELEASES

    def foreign(self) -> str:
        """See ExportPlace."""
        link, name = self._path / LINK, self._path / CURRENT
        with self._errors():
            if link.is_symlink():
                parts = link.readlink().parts
                if parts[:-1] != (RELEASES,) or not RELEASE_ID.fullmatch(parts[-1]):
                    return LINK
            elif link.exists() or name.is_dir():
                return LINK if link.exists() else CURRENT
            begun = self._begun()
            names = [path.name for path in self._releases.glob("*") if path not in begun]
        return _foreign(self, sorted(names))

    def sweep(self) -> None:
        """See ExportPlace."""
        with self._errors():
            for rest in self._begun():
                shutil.rmtree(rest)
            for part in left_in(self._path):
                if temporary_of(part) in (LINK, CURRENT):
                    part.unlink(missing_ok=True)

    def _begun(self) -> list[Path]:
        """The folders of exports that were begun, or were being removed."""
        found = left_in(self._releases)
        return [p for p in found if RELEASE_ID.fullmatch(temporary_of(p)) and p.is_dir()]

    def exports(self) -> list[str]:
        """See ExportPlace."""
        found = (file.parent.name for file in self._releases.glob(f"*/{RELEASE}"))
        return sorted(name for name in found if RELEASE_ID.fullmatch(name))

    def sizes(self, release_id: str) -> dict[str, int]:
        """See ExportPlace."""
        place = self._releases / release_id
        files = (file for file in place.rglob("*") if file.is_file())
        return {file.relative_to(place).as_posix(): file.stat().st_size for file in files}

    def read(self, name: str) -> str | None:
        """See ExportPlace."""
        with self._errors(), suppress(FileNotFoundError):
            return (self._path / name).read_text(encoding="utf-8", errors="replace")
        return None

    def start(self, release_id: str) -> str:
        """See ExportPlace."""
        with self._errors():
            part = temporary(self._releases / release_id)
            part.mkdir(parents=True)
        return part.name

    def local(self, name: str, file: str) -> Path:
        """See ExportPlace."""
        path = self._releases / name / file
        with self._errors():
            path.parent.mkdir(exist_ok=True)
        return path

    def put(self, name: str, file: str) -> int:
        """See ExportPlace."""
        from pyarrow.parquet import read_metadata

        path = self._releases / name / file
        with self._errors():
            sync(path)
            sync(path.parent)
            return int(read_metadata(path).num_rows)

    def finish(self, name: str, release_id: str, text: str) -> None:
        """See ExportPlace."""
        part, target = self._releases / name, self._releases / release_id
        with self._errors():
            write_atomically(part / RELEASE, text)
            if target.exists():
                self.remove(release_id)
            os.replace(part, target)
            sync(self._releases)

    def is_flipped(self, release_id: str) -> bool:
        """See ExportPlace."""
        link = self._path / LINK
        return link.is_symlink() and link.readlink() == Path(RELEASES, release_id)

    def flip(self, release_id: str, text: str) -> None:
        """See ExportPlace."""
        with self._errors():
            link_atomically(self._path / LINK, f"{RELEASES}/{release_id}")
            write_atomically(self._path / CURRENT, text)

    def remove(self, release_id: str) -> None:
        """See ExportPlace."""
        with self._errors():
            doomed = temporary(self._releases / release_id)
            os.replace(self._releases / release_id, doomed)
            shutil.rmtree(doomed)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise ExportError(
                f"it cannot be written: {error.strerror or error}",
                where=str(error.filename or self._path),
                next_step="make room there, or mend the path and its rights",
            ) from error


class Bucket:
    """The objects below `bucket` or `bucket/prefix`; files are written in the home and sent on."""

    def __init__(self, settings: Settings, base: str) -> None:
        self._base = base
        self._work = settings.tmp / "export"

    def foreign(self) -> str:
        """See ExportPlace."""
        return _foreign(self, sorted({key.split("/")[0] for key in self._objects("")}))

    def sweep(self) -> None:
        """See ExportPlace."""
        shutil.rmtree(self._work, ignore_errors=True)
        files: dict[str, list[str]] = {}
        for key in self._objects(""):
            name, _, file = key.partition("/")
            files.setdefault(name, []).append(file)
        for name, begun in files.items():
            if RELEASE_ID.fullmatch(name) and _is_begun(begun):
                self.remove(name)

    def exports(self) -> list[str]:
        """See ExportPlace."""
        found = (key.removesuffix(f"/{RELEASE}") for key in self._objects(""))
        return sorted(name for name in found if RELEASE_ID.fullmatch(name))

    def sizes(self, release_id: str) -> dict[str, int]:
        """See ExportPlace."""
        return self._objects(f"/{release_id}")

    def read(self, name: str) -> str | None:
        """See ExportPlace."""
        with self._s3() as filesystem:
            try:
                with filesystem.open_input_stream(f"{self._base}/{name}") as stream:
                    return bytes(stream.read()).decode(errors="replace")
            except FileNotFoundError:
                return None

    def start(self, release_id: str) -> str:
        """See ExportPlace."""
        if self.sizes(release_id):
            self.remove(release_id)
        return release_id

    def local(self, name: str, file: str) -> Path:
        """See ExportPlace."""
        path = self._work / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def put(self, name: str, file: str) -> int:
        """See ExportPlace."""
        from pyarrow.parquet import read_metadata

        path, key = self._work / name / file, f"{self._base}/{RELEASES}/{name}/{file}"
        with self._s3() as filesystem:
            with path.open("rb") as content, closing(filesystem.open_output_stream(key)) as target:
                while block := content.read(BLOCK_BYTES):
                    target.write(block)
            with filesystem.open_input_file(key) as stream:
                rows = int(read_metadata(stream).num_rows)
        path.unlink()
        return rows

    def finish(self, name: str, release_id: str, text: str) -> None:  # noqa: ARG002
        """See ExportPlace."""
        self._send(f"{RELEASES}/{release_id}/{RELEASE}", text)

    def is_flipped(self, release_id: str) -> bool:  # noqa: ARG002
        """See ExportPlace."""
        return True

    def flip(self, release_id: str, text: str) -> None:  # noqa: ARG002
        """See ExportPlace."""
        self._send(CURRENT, text)

    def remove(self, release_id: str) -> None:
        """See ExportPlace."""
        place = f"{self._base}/{RELEASES}/{release_id}"
        with self._s3() as filesystem:
            with suppress(FileNotFoundError):
                filesystem.delete_file(f"{place}/{RELEASE}")
            filesystem.delete_dir_contents(place, missing_dir_ok=True)
            with suppress(FileNotFoundError):
                filesystem.delete_dir(place)

    def _send(self, name: str, text: str) -> None:
        with self._s3() as filesystem, filesystem.open_output_stream(f"{self._base}/{name}") as out:
            out.write(text.encode())

    def _objects(self, below: str) -> dict[str, int]:
        """The objects below `releases` and what is given, by the rest of their keys."""
        from pyarrow.fs import FileSelector

        folder = f"{self._base}/{RELEASES}{below}"
        selector = FileSelector(folder, recursive=True, allow_not_found=True)
        with self._s3() as filesystem:
            found = filesystem.get_file_info(selector)
        return {info.path[len(folder) + 1 :]: info.size for info in found if info.is_file}

    @contextmanager
    def _s3(self) -> Iterator[Any]:
        try:
            with s3(f"{S3}{self._base}") as filesystem:
                yield filesystem
        except BatchRefusedError as error:
            raise ExportError(
                error.what,
                where=f"{S3}{self._base}",
                next_step="check the bucket, its policy, the network and the AWS_* variables",
            ) from None
