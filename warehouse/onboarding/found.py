"""What the PATH of `source add` means: the files to look at, and the `path:` that finds them."""

from __future__ import annotations

import glob
import re
import shlex
import shutil
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from warehouse.errors import ConfigurationError
from warehouse.places import READ_BYTES, S3, standing
from warehouse.sources import SUFFIXES, Source

MARK = re.compile(r"[*?\[]")
PACKED = (".gz", ".gzip", ".zst", ".zstd")
ZIP = ".zip"
# One kind of file with so many times the others' number is what the folder is for.
DOMINANT = 10
SHOWN = 5


@dataclass(frozen=True)
class Found:
    """Files to look at, in the order of their names; `path` matches them, as sources.yml has it."""

    path: str
    files: tuple[Path, ...]
    warnings: tuple[str, ...] = ()


def find(given: str, sources: Path, work: Path) -> Found:
    """The files that `given` means: a file, a folder, a pattern, or the like on S3.

    What stands on S3 is downloaded to `work`. Raises ConfigurationError when there is nothing, or
    a folder holds different kinds of files; BatchRefusedError when S3 cannot be read.
    """
    if given.startswith(S3):
        return Found(given, _downloaded(given, work))
    if "://" in given:
        raise ConfigurationError(
            "only local files and S3 can be looked at",
            where=given,
            next_step="download the files, and name their folder",
        )
    place = Path(given).expanduser()
    if place.is_dir():
        return _in_folder(place, sources)
    if place.exists():
        return Found(_written(place.parent, place.name, sources, is_pattern=False), (place,))
    if not MARK.search(given):
        raise ConfigurationError(
            "there is no such file or folder", where=given, next_step="correct the path"
        )
    return _matching(place, given, sources)


def _downloaded(given: str, work: Path) -> tuple[Path, ...]:
    """The objects as files of the same names, each in a folder of its own."""
    files = []
    for number, place in enumerate(standing(Source(name="source.add", path=given))):
        file = work / str(number) / place.name
        file.parent.mkdir(parents=True)
        with place.open() as stream, file.open("wb") as copy:
            shutil.copyfileobj(stream, copy, READ_BYTES)
        files.append(file)
    if not files:
        raise ConfigurationError(
            "no object matches", where=given, next_step="correct the key or the pattern"
        )
    return tuple(files)


def _matching(place: Path, given: str, sources: Path) -> Found:
    first = next(n for n, part in enumerate(place.parts) if MARK.search(part))
    folder, pattern = Path(*place.parts[:first]), "/".join(place.parts[first:])
    files = _matches(folder, pattern)
    if not files:
        raise ConfigurationError(
            "no file matches", where=given, next_step="correct the pattern, and keep its quotes"
        )
    return Found(_written(folder, pattern, sources), files)


def _in_folder(folder: Path, sources: Path) -> Found:
    """The folder's own data files; where it has none, those of the folders below."""
    depth, files = "", _data_files(folder, "*")
    below = _data_files(folder, "**/*")
    if not files:
        depth, files = "**/", below
    if not files:
        raise _unknown(folder)
    chosen = _dominant(folder, depth, files)
    suffixes = {_suffix(file) for file in chosen}
    ending = f"{_kind(chosen[0])}*" if len(suffixes) > 1 else suffixes.pop()
    pattern = f"{depth}*{ending}"
    if _matches(folder, pattern) != tuple(chosen):
        raise _mixture(folder, depth, files)
    warnings = []
    if left := [file.name for file in files if file not in chosen]:
        warnings.append(f"left out: {_listed(left)}")
    if not depth and (more := len(below) - len(files)):
        count = f"{more:,} file{'s' * (more != 1)} in folders below"
        warnings.append(f"left out: {count}; '{folder}/**/*{ending}' takes them, too")
    return Found(_written(folder, pattern, sources), tuple(chosen), tuple(warnings))


def _unknown(folder: Path) -> ConfigurationError:
    """The folder has no file whose name tells its format; a pattern says which are meant."""
    suffixes = Counter(file.suffix for file in _matches(folder, "**/*") if file.name[0] != ".")
    if not suffixes:
        return ConfigurationError(
            "the folder holds no files", where=str(folder), next_step="name another one"
        )
    pattern = f"{folder}/**/*{suffixes.most_common(1)[0][0]}"
    return ConfigurationError(
        "no file there has a suffix that tells its format",
        where=str(folder),
        next_step=f"say which are meant with a quoted pattern, such as {shlex.quote(pattern)}",
    )


def _data_files(folder: Path, pattern: str) -> list[Path]:
    return [file for file in _matches(folder, pattern) if _suffix(file)]


def _matches(folder: Path, pattern: str) -> tuple[Path, ...]:
    return tuple(sorted(file for file in folder.glob(pattern) if file.is_file()))


def _suffix(file: Path) -> str:
    """The file's known suffix, its compression's included, as written; else nothing."""
    packed = file.suffix if file.suffix.lower() in PACKED else ""
    inner = Path(file.name.removesuffix(packed)).suffix
    if inner.lower() in SUFFIXES or (inner.lower() == ZIP and not packed):
        return inner + packed
    return ""


def _kind(file: Path) -> str:
    """The file's known suffix without its compression's."""
    suffix = _suffix(file).lower()
    return suffix.removesuffix(next((s for s in PACKED if suffix.endswith(s)), ""))


def _dominant(folder: Path, depth: str, files: list[Path]) -> list[Path]:
    kinds: dict[str, list[Path]] = {}
    for file in files:
        kinds.setdefault(_kind(file), []).append(file)
    most = max(kinds.values(), key=len)
    if len(kinds) > 1 and len(most) < DOMINANT * (len(files) - len(most)):
        raise _mixture(folder, depth, files)
    return most


def _mixture(folder: Path, depth: str, files: list[Path]) -> ConfigurationError:
    counts = Counter(_suffix(file) for file in files)
    told = ", ".join(f"{count:,} {suffix}" for suffix, count in counts.items())
    pattern = f"{folder}/{depth}*{counts.most_common(1)[0][0]}"
    return ConfigurationError(
        f"the folder holds different kinds of files: {told}",
        where=str(folder),
        next_step=f"say which with a quoted pattern, such as {shlex.quote(pattern)}",
    )


def _listed(names: Sequence[str]) -> str:
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
