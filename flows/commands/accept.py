"""`clearwater accept`: what is unlike before is meant so."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.options import Home, Json, print_json, say
from warehouse.errors import ConfigurationError, StateError
from warehouse.settings import Settings, load_settings
from warehouse.wording import accept_command, counted

if TYPE_CHECKING:
    from expectations.history import Shift

ID_CHARACTERS = 12
SHOWN = 3  # of what is unlike before

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME]...",
        help="Sources (shop.orders) or published tables; none lists what was found.",
        show_default=False,
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="FILE",
        help="This file alone; or the beginning of its batch, of a day (2026-03-02) or of a run.",
        show_default=False,
    ),
]
Every = Annotated[bool, typer.Option("--all", help="All files, days and runs that wait.")]
Undo = Annotated[
    bool, typer.Option("--undo", help="Take back what was accepted, until a run has gone by it.")
]


@dataclass(frozen=True)
class _Found:
    """A shift, and what people call its slice: the file, the day or the run."""

    shift: Shift
    label: str

    @property
    def name(self) -> str:
        """The source of a table of the lake, else the table with what it is compared by."""
        return self.shift.subject.removeprefix("raw_")

    @property
    def plain(self) -> str:
        """The source or table alone."""
        return self.name.partition(" by ")[0]

    @property
    def names(self) -> tuple[str, ...]:
        """What it may be called on the command line."""
        return self.plain, self.name, self.shift.subject.partition(" by ")[0]

    def is_called(self, only: str) -> bool:
        """Whether `only` is its label, or the beginning of its slice."""
        return only == self.label or (bool(only) and self.shift.slice.startswith(only))

    def as_json(self) -> dict[str, Any]:
        """The shift with the label."""
        return asdict(self.shift) | {"called": self.label}


def accept(
    names: Names = None,
    only: Only = None,
    every: Every = False,
    undo: Undo = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """What is unlike before is meant so: it passes with the next run, and its level is learnt.

    Where several files, days or runs of a name wait, --only says which, or --all.

    Example: clearwater accept payments.transactions --only transactions-2026-03-02.csv
    """
    from expectations.history import open_history
    from warehouse.state import state_place

    settings = load_settings(home)
    with open_history(settings) as history:
        waits = _labelled(settings, history.open_shifts())
        taken = _labelled(settings, history.unused())
        if history.lag:
            raise StateError(
                f"what waits cannot be read: {history.lag}",
                where=state_place(settings),
                next_step="`clearwater doctor` says how to mend it",
            )
        if not names:
            if only or every or undo:
                raise ConfigurationError(
                    "which source or table?", where="accept", next_step="`clearwater accept NAME`"
                )
            _show(waits, taken, home, as_json=as_json)
            return
        asked = _Asked(only or (), every, undo, home)
        chosen = asked.of(taken if undo else waits, list(dict.fromkeys(names)))
        (history.take_back if undo else history.accept)([found.shift for found in chosen])
        lag = history.lag
    if lag:
        raise StateError(
            f"nothing was {'taken back' if undo else 'accepted'}: {lag}",
            where=state_place(settings),
            next_step="run the command again",
        )
    if as_json:
        print_json([found.as_json() for found in chosen])
        return
    for found in chosen:
        say(f"{found.name}, {found.label}: {'; '.join(_in_short(found.shift.told))}")
    if undo:
        say(f"{counted(len(chosen), 'acceptance')} taken back")
        return
    say(f"{counted(len(chosen), 'change')} accepted, and what comes is compared with it")
    if any(found.shift.stops for found in chosen):
        say("the next `clearwater run` goes on with what was stopped; until then --undo takes back")


@dataclass(frozen=True)
class _Asked:
    """What the command line says of which slices are meant."""

    only: Sequence[str]
    every: bool
    undo: bool
    home: Path | None

    def of(self, found: Sequence[_Found], names: Sequence[str]) -> list[_Found]:
        """Of each source or table what was stopped; what was only told if nothing was.

        Raises ConfigurationError where a name or an --only has nothing, and where a name has
        several slices and neither --only nor --all says which.
        """
        for only in self.only:
            if not any(f.is_called(only) and set(f.names) & set(names) for f in found):
                raise self._nothing(f"{' '.join(names)} under {only!r}", found)
        return [chosen for name in names for chosen in self._of_name(found, name)]

    def _of_name(self, found: Sequence[_Found], name: str) -> list[_Found]:
        named = [f for f in found if name in f.names]
        if self.only:
            named = [f for f in named if any(f.is_called(only) for only in self.only)]
        if not named:
            told = f" under {', '.join(map(repr, self.only))}" if self.only else ""
            raise self._nothing(repr(name) + told, found, name)
        named = [f for f in named if f.shift.stops] or named
        if not (self.only or self.every):
            self._check_one(name, named)
        return named

    def _nothing(
        self, what: str, found: Sequence[_Found], name: str | None = None
    ) -> ConfigurationError:
        known = list(dict.fromkeys(name for f in found for name in f.names))
        near = difflib.get_close_matches(name, known, n=1) if name and name not in known else []
        done = "accepted, and not used yet" if self.undo else "unlike before"
        listing = "`clearwater accept` lists what there is"
        return ConfigurationError(
            f"nothing of {what} was {done}",
            where="accept",
            next_step=f"did you mean {near[0]!r}?" if near else listing,
        )

    def _check_one(self, name: str, named: Sequence[_Found]) -> None:
        slices = Counter(found.shift.subject for found in named)
        if max(slices.values()) == 1:
            return
        labels = sorted({found.label for found in named})
        commands = [accept_command(name, label, self.home, is_undone=self.undo) for label in labels]
        raise ConfigurationError(
            f"{counted(len(labels), 'change')} of {name} wait, and which is meant is not said:"
            f" {', '.join(labels)}",
            where="accept",
            next_step=" or ".join(f"`{command}`" for command in commands[:SHOWN])
            + "; --only may be given several times, and --all means all of them",
        )


def _labelled(settings: Settings, shifts: Sequence[Shift]) -> list[_Found]:
    """The shifts with what their slices are called; a batch whose file is unknown by its id."""
    from warehouse.batch import batch_file, landed_batches

    is_of_lake = any(shift.subject.startswith("raw_") for shift in shifts)
    landed = landed_batches(settings) if is_of_lake else {}
    files = {s.slice: batch_file(*landed[s.slice]) for s in shifts if s.slice in landed}
    times = Counter((s.subject, files.get(s.slice, s.slice)) for s in shifts)
    found = []
    for shift in shifts:
        label = files.get(shift.slice, shift.slice)
        if times[shift.subject, label] > 1 or label == shift.slice:
            label = shift.slice if _is_of_time(shift) else shift.slice[:ID_CHARACTERS]
        found.append(_Found(shift, label))
    return found


def _is_of_time(shift: Shift) -> bool:
    """Whether the slice is a day or a run, and no batch."""
    return not shift.subject.startswith("raw_")


def _in_short(told: str) -> list[str]:
    clauses = told.split("; ")
    more = len(clauses) - SHOWN
    return [*clauses[:SHOWN], f"and {more} more"] if more > 0 else clauses


def _show(
    waits: Sequence[_Found], taken: Sequence[_Found], home: Path | None, *, as_json: bool
) -> None:
    if as_json:
        print_json([found.as_json() for found in waits])
        return
    if not waits and not taken:
        say("nothing waits to be accepted")
    for found in waits:
        say(f"{found.name}, {found.label}: {'stopped' if found.shift.stops else 'told'}")
        for clause in _in_short(found.shift.told):
            say(f"  {clause}")
        say(f"  if it is meant so: {accept_command(found.plain, found.label, home)}")
    for found in taken:
        say(f"{found.name}, {found.label}: accepted, for the next run")
        command = accept_command(found.plain, found.label, home, is_undone=True)
        say(f"  if it is not: {command}")
