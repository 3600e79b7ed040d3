"""The pattern that takes some of a folder's files and none of the others."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from itertools import takewhile, zip_longest
from pathlib import PurePosixPath

from warehouse.onboarding.file_names import series
from warehouse.onboarding.found import Folder

NUMBER_AT_END = re.compile(r"\d[\d\-_.T ]*$")
NUMBER_AT_START = re.compile(r"^[\d\-_.T ]*\d")
LETTERS_AT_END = re.compile(r"[^\W\d_]+$")
LETTERS_AT_START = re.compile(r"^[^\W\d_]+")


def pattern_of(folder: Folder, names: Sequence[str], optional: frozenset[str]) -> str | None:
    """The `path:` that takes the files `names` of the folder, and perhaps `optional` ones.

    None when there is no such pattern: it would take others, too.
    """
    if len(names) == 1:
        return folder.written(names[0], is_pattern=False)
    wanted = frozenset(names)
    for pattern in dict.fromkeys(_patterns(names)):
        if wanted <= (taken := folder.takes(pattern)) and taken <= wanted | optional:
            return folder.written(pattern, is_pattern=True)
    return None


def _patterns(names: Sequence[str]) -> Iterator[str]:
    """Patterns that take all of the names, those first that take later files of the kind, too."""
    paths = [PurePosixPath(name) for name in names]
    for last in _of_parts([path.name for path in paths]):
        yield f"{_above([path.parts[:-1] for path in paths])}{last}"


def _above(folders: Sequence[tuple[str, ...]]) -> str:
    """The pattern of the folders, with a slash at its end unless it is empty."""
    if len({len(parts) for parts in folders}) > 1:
        common = _common(folders)
        return "".join(f"{glob.escape(part)}/" for part in common) + "**/"
    levels = [set(level) for level in zip_longest(*folders)]
    return "".join(f"{glob.escape(*level)}/" if len(level) == 1 else "*/" for level in levels)


def _of_parts(names: Sequence[str]) -> Iterator[str]:
    if len(set(names)) == 1:
        yield glob.escape(names[0])
        return
    begin = "".join(_common(names))
    end = "".join(_common([name[len(begin) :][::-1] for name in names]))[::-1]
    usual_begin, usual_end = _before(begin, names), _after(end, names)
    for middle in ("*", "[0-9]*"):
        yield f"{glob.escape(usual_begin)}{middle}{glob.escape(usual_end)}"
    if len(set(map(series, names))) == 1:
        yield f"{glob.escape(begin)}*{glob.escape(end)}"


def _common(texts: Sequence[Sequence[str]]) -> list[str]:
    """What all begin with: characters of texts, parts of paths."""
    alike = takewhile(lambda some: len(set(some)) == 1, zip(*texts, strict=False))
    return [some[0] for some in alike]


def _before(begin: str, names: Sequence[str]) -> str:
    """What the names begin with, without the half of a word or a number."""
    if any(name[len(begin) : len(begin) + 1].isalpha() for name in names):
        begin = LETTERS_AT_END.sub("", begin)
    return NUMBER_AT_END.sub("", begin)


def _after(end: str, names: Sequence[str]) -> str:
    """What the names end with, without the half of a word or a number."""
    if any(name[: len(name) - len(end)][-1:].isalpha() for name in names):
        end = LETTERS_AT_START.sub("", end)
    return NUMBER_AT_START.sub("", end)
