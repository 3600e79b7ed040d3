"""What the PATH of `source add` means: the files to look at, and the `path:` that finds them."""

from __future__ import annotations

import glob
import re
import shutil
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Protocol

from warehouse.errors import BatchRefusedError, ConfigurationError
from warehouse.places import READ_BYTES, S3, Place, standing
from warehouse.sources import SUFFIXES, Source

MARK = re.compile(r"[*?\[]")
PACKED = (".gz", ".gzip", ".zst", ".zstd")
ZIP = ".zip"
SHOWN = 5


class Folder(Protocol):
    """Where files stand together; names are below it."""

    @property
    def shown(self) -> str:
        """The folder in messages."""

    def written(self, name: str, *, is_pattern: bool) -> str:
        """The file of that name, or the pattern, as sources.yml has it."""

    def takes(self, pattern: str) -> frozenset[str]:
        """The names of all that the pattern matches."""


@dataclass(frozen=True)
class Found:
    """Files to look at, in the order of their names.

    `path` matches them and no others, as sources.yml has it; it is empty when no pattern does.
    `names` are theirs below `folder`; there is none for a single file.
    """

    path: str
    files: tuple[Path, ...]
    warnings: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    folder: Folder | None = None


@dataclass(frozen=True)
class LocalFolder:
    """A folder of this machine; `sources` is the file that a path is relative to."""

    place: Path
    sources: Path

    @property
    def shown(self) -> str:
        """The folder in messages."""
        return str(self.place)

    def written(self, name: str, *, is_pattern: bool) -> str:
        """The file of that name, or the pattern, as sources.yml has it."""
        return _written(self.place, name, self.sources, is_pattern=is_pattern)

    def takes(self, pattern: str) -> frozenset[str]:
        """The names of all that the pattern matches."""
        return frozenset(map(self.name, _matches(self.place, pattern)))

    def name(self, file: Path) -> str:
        """The file's name below the folder."""
        return file.relative_to(self.place).as_posix()


@dataclass(frozen=True)
class S3Folder:
    """What all keys of these objects begin with; `address` ends with a slash."""

    address: str

    @property
    def shown(self) -> str:
        """The folder in messages."""
        return self.address.rstrip("/")

    def written(self, name: str, *, is_pattern: bool) -> str:
        """The object of that name, or the pattern, as sources.yml has it."""
        is_plain = is_pattern or not MARK.search(f"{self.address}{name}")
        return f"{self.address}{name if is_plain else glob.escape(name)}"

    def takes(self, pattern: str) -> frozenset[str]:
        """The names of all that the pattern matches."""
        return frozenset(map(self.name, _standing(f"{self.address}{pattern}")))

    def name(self, place: Place) -> str:
        """The object's name below the folder."""
        return place.path.removeprefix(self.address)


def find(given: str, sources: Path, work: Path) -> Found:
    """The files that `given` means: a file, a folder, a pattern, or the like on S3.

    What stands on S3 is downloaded to `work`. Raises ConfigurationError when there is nothing;
    BatchRefusedError when S3 cannot be read.
    """
    if given.startswith(S3):
        return _on_s3(given, work)
    if "://" in given:
        raise ConfigurationError(
            "only local files and S3 can be looked at",
            where=given,
            next_step="download the files, and name their folder",
        )
    place = Path(given).expanduser()
    if place.is_dir():
        folder = LocalFolder(place, sources)
        names = [folder.name(file) for file in _matches(place, "**/*")]
        pattern, chosen, warnings = _of_folder(str(place), names)
        path = folder.written(pattern, is_pattern=True) if pattern else ""
        return Found(path, tuple(place / n for n in chosen), warnings, tuple(chosen), folder)
    if place.exists():
        return Found(_written(place.parent, place.name, sources, is_pattern=False), (place,))
    if not MARK.search(given):
        raise ConfigurationError(
            "there is no such file or folder", where=given, next_step="correct the path"
        )
    return _matching(place, given, sources)


def _on_s3(given: str, work: Path) -> Found:
    """An object, the objects that match a pattern, or those of a folder, which S3 only acts as."""
    if mark := MARK.search(given):
        folder = S3Folder(given[: given.rindex("/", 0, mark.start()) + 1])
        objects = _standing(given)
        names = tuple(map(folder.name, objects))
        return Found(given, _downloaded(given, objects, work), (), names, folder)
    if not given.endswith("/"):
        with suppress(BatchRefusedError):  # a folder is no object
            if objects := _standing(given):
                return Found(given, _downloaded(given, objects, work))
    folder = S3Folder(f"{given.rstrip('/')}/")
    below = {folder.name(place): place for place in _standing(f"{folder.address}**/*")}
    if not below:
        raise _nothing(given)
    pattern, chosen, warnings = _of_folder(folder.shown, list(below))
    files = _downloaded(given, [below[name] for name in chosen], work)
    path = folder.written(pattern, is_pattern=True) if pattern else ""
    return Found(path, files, warnings, tuple(chosen), folder)


def _standing(path: str) -> list[Place]:
    return standing(Source(name="source.add", path=path))


def _downloaded(given: str, places: Sequence[Place], work: Path) -> tuple[Path, ...]:
    """The objects as files of the same names, each in a folder of its own."""
    files = []
    for number, place in enumerate(places):
        file = work / str(number) / place.name
        file.parent.mkdir(parents=True)
        with place.open() as stream, file.open("wb") as copy:
            shutil.copyfileobj(stream, copy, READ_BYTES)
        files.append(file)
    if not files:
        raise _nothing(given)
    return tuple(files)


def _nothing(given: str) -> ConfigurationError:
    return ConfigurationError(
        "no object matches", where=given, next_step="correct the key or the pattern"
    )


def _matching(place: Path, given: str, sources: Path) -> Found:
    first = next(n for n, part in enumerate(place.parts) if MARK.search(part))
    folder = LocalFolder(Path(*place.parts[:first]), sources)
    pattern = "/".join(place.parts[first:])
    files = _matches(folder.place, pattern)
    if not files:
        raise ConfigurationError(
            "no file matches", where=given, next_step="correct the pattern, and keep its quotes"
        )
    path = folder.written(pattern, is_pattern=True)
    return Found(path, files, (), tuple(map(folder.name, files)), folder)


def _of_folder(place: str, names: list[str]) -> tuple[str, list[str], tuple[str, ...]]:
    """The pattern for a folder's data files, these files, and warnings of what it leaves out.

    `names` are paths below it, of files in the order in which they are loaded. Taken are its own
    files of a known suffix, else those below, else all whose suffix tells nothing. The pattern is
    empty when the files are of several kinds.
    """
    own = [name for name in names if "/" not in name]
    known = [name for name in names if _suffix(name)]
    depth, chosen = "", [name for name in own if _suffix(name)]
    if not chosen and known:
        depth, chosen = "**/", known
    if not chosen:
        return _untold(place, own or names)
    suffixes = {_suffix(name) for name in chosen}
    ending = f"{_kind(chosen[0])}*" if len(suffixes) > 1 else suffixes.pop()
    beside = names if depth else own
    matching = [name for name in beside if fnmatchcase(_last(name), f"*{ending}")]
    warnings = []
    if left := [_last(name) for name in beside if not _suffix(name)]:
        warnings.append(f"left out, for their suffix tells no table: {listed(left)}")
    if not depth and (more := len(known) - len(chosen)):
        count = f"{more:,} file{'s' * (more != 1)} in folders below"
        how = f"'{place}/**/*{ending}' takes them, too" if matching == chosen else "add those, too"
        warnings.append(f"left out: {count}; {how}")
    return f"{depth}*{ending}" if matching == chosen else "", chosen, tuple(warnings)


def _untold(place: str, names: list[str]) -> tuple[str, list[str], tuple[str, ...]]:
    """The same where no suffix tells a format: what the files hold will tell it."""
    if not names:
        raise ConfigurationError(
            "the folder holds no files", where=place, next_step="name another one"
        )
    endings = {"".join(_ending(name)) for name in names}
    ending = glob.escape(endings.pop()) if len(endings) == 1 else ""
    return f"{'**/' * ('/' in names[0])}*{ending}", names, ()


def _matches(folder: Path, pattern: str) -> tuple[Path, ...]:
    """The files of that pattern which a run would take: not the hidden ones."""
    hidden = pattern.rpartition("/")[2].startswith(".")
    found = (file for file in folder.glob(pattern) if file.is_file())
    return tuple(sorted(file for file in found if hidden or file.name[0] != "."))


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _suffix(name: str) -> str:
    """The file's known suffix, its compression's included, as written; else nothing."""
    inner, packed = _ending(name)
    is_known = inner.lower() in SUFFIXES or (inner.lower() == ZIP and not packed)
    return inner + packed if is_known else ""


def _ending(name: str) -> tuple[str, str]:
    """The file's suffix, and that of its compression, each perhaps empty."""
    last = Path(name).suffix
    packed = last if last.lower() in PACKED else ""
    return Path(name.removesuffix(packed)).suffix, packed


def _kind(name: str) -> str:
    """The file's known suffix without its compression's."""
    suffix = _suffix(name).lower()
    return suffix.removesuffix(next((s for s in PACKED if suffix.endswith(s)), ""))


def listed(names: Sequence[str]) -> str:
    """The first of the names, and how many more there are."""
    rest = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + rest


def _written(folder: Path, name: str, sources: Path, *, is_pattern: bool = True) -> str:
    """The path for sources.yml: relative to it when beneath its folder, else absolute."""
    place, root = folder.resolve(), sources.resolve().parent
    if place.is_relative_to(root):
        place = place.relative_to(root)
    fixed = "" if place == Path() else f"{place}/".replace("//", "/")
    if not is_pattern and not MARK.search(f"{fixed}{name}"):
        return f"{fixed}{name}"
    return glob.escape(fixed) + (name if is_pattern else glob.escape(name))


def told_format(files: Sequence[Path]) -> str | None:
    """The format that every file's name, or a zip's members' names, tells; None if any does not."""
    formats = {SUFFIXES.get(Path(name).suffix.lower()) for file in files for name in _names(file)}
    return formats.pop() if len(formats) == 1 else None


def written_at(files: Sequence[Path]) -> datetime:
    """When the newest of the files was written, UTC."""
    return datetime.fromtimestamp(max(file.stat().st_mtime for file in files), UTC)


def _names(file: Path) -> list[str]:
    """The names by which the file's format is told, compression undone."""
    names = [file.name]
    if file.suffix.lower() == ZIP:
        with zipfile.ZipFile(file) as archive:
            found = [info.filename for info in archive.infolist() if not info.is_dir()]
        names = [name for name in found if not name.startswith("__MACOSX")]
    return [
        name.removesuffix(Path(name).suffix) if Path(name).suffix.lower() in PACKED else name
        for name in names
    ]
