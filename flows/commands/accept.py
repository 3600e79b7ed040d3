"""`clearwater accept`: what is unlike before is meant so."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flows.options import Home, Json, print_json, say
from warehouse.errors import ConfigurationError
from warehouse.settings import load_settings
from warehouse.wording import counted

if TYPE_CHECKING:
    from expectations.history import Shift

Name = Annotated[
    str | None,
    typer.Argument(help="A source (shop.orders) or a published table; none lists what waits."),
]
Slice = Annotated[
    str | None,
    typer.Option("--only", help="Only this file's batch, day or run; its beginning will do."),
]


def accept(name: Name = None, only: Slice = None, home: Home = None, as_json: Json = False) -> None:
    """Let what was stopped for being unlike before pass with the next run; its level is learnt.

    Example: clearwater accept payments.transactions
    """
    from expectations.history import open_history

    with open_history(load_settings(home)) as history:
        waiting = history.waiting()
        if name is None:
            _show(waiting, as_json=as_json)
            return
        chosen = _chosen(waiting, name, only)
        history.accept(chosen)
    if as_json:
        print_json([asdict(shift) for shift in chosen])
        return
    for shift in chosen:
        say(f"{shift.subject}, {shift.slice[:12]}: {shift.told}")
    say(f"{counted(len(chosen), 'change')} accepted; the next `clearwater run` goes on with it")


def _chosen(waiting: list[Shift], name: str, only: str | None) -> list[Shift]:
    names = {_named(shift): shift.subject for shift in waiting} | {
        shift.subject.partition(" by ")[0]: shift.subject for shift in waiting
    }
    subjects = {subject for known, subject in names.items() if known == name}
    chosen = [
        shift
        for shift in waiting
        if shift.subject in subjects and (only is None or shift.slice.startswith(only))
    ]
    if not chosen:
        near = difflib.get_close_matches(name, names, n=1)
        raise ConfigurationError(
            f"nothing of {name!r} waits to be accepted" + (f" under {only!r}" if only else ""),
            where="accept",
            next_step=f"did you mean {near[0]!r}?" if near else "`clearwater accept` lists it",
        )
    return chosen


def _named(shift: Shift) -> str:
    """The source of a table of the lake, else the table."""
    return shift.subject.removeprefix("raw_")


def _show(waiting: list[Shift], *, as_json: bool) -> None:
    from flows.printing import table_text

    if as_json:
        print_json([asdict(shift) for shift in waiting])
    elif not waiting:
        say("nothing waits to be accepted")
    else:
        cells = [[_named(s), s.slice[:12], s.at.replace(microsecond=0), s.told] for s in waiting]
        say(table_text(["name", "file, day or run", "of", "unlike before"], cells))
        say("`clearwater accept NAME` if it is meant so")
