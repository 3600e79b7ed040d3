"""What a check is given, and what it tells."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from warehouse.errors import ClearwaterError

if TYPE_CHECKING:
    from datetime import datetime

    from expectations.rules import Rule
    from flows.checks.holder import Holder
    from warehouse.dbt_runner import Project
    from warehouse.settings import Settings
    from warehouse.sources import Source


class CautionError(ClearwaterError):
    """What does no harm yet, or mends itself with the next run: told, and no failure."""

    exit_code = 0


# What is well, in words, and what is wrong; a check may raise the latter as well.
Found = tuple[str, list[ClearwaterError]]


class Entry(NamedTuple):
    """A file or folder of the home: size in bytes, mode bits, and its owner's id."""

    size: int
    mode: int
    owner: int

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder; links are never followed."""
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        """Whether it is a plain file."""
        return stat.S_ISREG(self.mode)


class Batch(NamedTuple):
    """A line of the lake's ledger; `size` is that of the landed file, in bytes."""

    id: str
    source: str
    file: str
    sha256: str
    size: int
    status: str


@dataclass
class Look:
    """What the checks look at, and what the earlier leave for the later ones.

    `unread` says that there are more rules than `rules`, with mistakes in them. `batches` are the
    lake's ledger, None where it could not be read. `moments` are the newest times known, in UTC.
    """

    sources: Path
    settings: Settings
    rules: list[Rule] = field(default_factory=list)
    unread: bool = False
    declared: list[Source] = field(default_factory=list)
    project: Project | None = None
    batches: list[Batch] | None = None
    moments: dict[str, datetime] = field(default_factory=dict)

    @cached_property
    def tree(self) -> Mapping[str, Entry]:
        """All that lies in the home, by its path in it."""
        return dict(walk(self.settings.home))

    @cached_property
    def holder(self) -> Holder | None:
        """The process that holds the writer lock."""
        from flows.checks.holder import holder

        return holder(self.settings)


Check = Callable[[Look], Found]


@dataclass(frozen=True)
class Finding:
    """One check: what is well, in words, or what is wrong; neither if it could not be made."""

    check: str
    well: str
    wrong: tuple[ClearwaterError, ...] = ()

    @property
    def status(self) -> str:
        """ok, wrong, warning, or skipped for what an earlier check found."""
        if self.wrong:
            return "warning" if all(map(is_caution, self.wrong)) else "wrong"
        return "ok" if self.well else "skipped"


def is_caution(error: ClearwaterError) -> bool:
    """Whether it is told, but is no failure."""
    return isinstance(error, CautionError)


def walk(folder: Path, prefix: str = "") -> Iterator[tuple[str, Entry]]:
    """Everything below `folder`, itself as `.`; what cannot be looked into is told as a name."""
    if not prefix:
        try:
            yield ".", _entry(folder.lstat())
        except OSError:
            return
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError:
        return
    for entry in entries:
        try:
            told = _entry(entry.stat(follow_symlinks=False))
        except OSError:  # gone since: a run may be at work
            continue
        name = prefix + entry.name
        yield name, told
        if told.is_folder:
            yield from walk(folder / entry.name, f"{name}/")


def _entry(found: os.stat_result) -> Entry:
    return Entry(found.st_size, found.st_mode, found.st_uid)
