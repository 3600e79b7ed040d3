"""`clearwater accept`: what is unlike before is meant so."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flows.options import Home, Json, print_json, say
from warehouse.errors import ConfigurationError, StateError
from warehouse.settings import load_settings
from warehouse.wording import counted

if TYPE_CHECKING:
    from expectations.history import Shift

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME]...",
        help="Sources (shop.orders) or published tables; none lists what was found.",
        show_default=False,
    ),
]
Slice = Annotated[
    str | None,
    typer.Option("--only", help="Only this file's batch, day or run; its beginning will do."),
]


def accept(
    names: Names = None, only: Slice = None, home: Home = None, as_json: Json = False
) -> None:
    """What is unlike before is meant so: it passes with the next run, and its level is learnt.

    Example: clearwater accept payments.transactions
    """
    from expectations.history import open_history

    with open_history(load_settings(home)) as history:
        found = history.open_shifts()
        if not names:
            _show(found, as_json=as_json)
            return
        chosen = [s for name in dict.fromkeys(names) for s in _chosen(found, name, only)]
        history.accept(chosen)
        lag = history.lag
    if lag:
        raise StateError(
            f"nothing was accepted: {lag}", where="state.db", next_step="run the command again"
        )
    if as_json:
        print_json([asdict(shift) for shift in chosen])
        return
    for shift in chosen:
        say(f"{shift.subject}, {shift.slice[:12]}: {shift.told}")
    say(f"{counted(len(chosen), 'change')} accepted, and what comes is compared with it")
    if any(shift.stops for shift in chosen):
        say("the next `clearwater run` goes on with what was stopped")


def _chosen(found: list[Shift], name: str, only: str | None) -> list[Shift]:
    """Of a source or table what was stopped; what was only told if nothing was."""
    names = {_named(shift): shift.subject for shift in found} | {
        _table(shift): shift.subject for shift in found
    }
    chosen = [
        shift
        for shift in found
        if name in (_named(shift), _table(shift)) and (only is None or shift.slice.startswith(only))
    ]
    if not chosen:
        near = difflib.get_close_matches(name, names, n=1)
        raise ConfigurationError(
            f"nothing of {name!r} was unlike before" + (f" under {only!r}" if only else ""),
            where="accept",
            next_step=f"did you mean {near[0]!r}?" if near else "`clearwater accept` lists it",
        )
    return [shift for shift in chosen if shift.stops] or chosen


def _named(shift: Shift) -> str:
    """The source of a table of the lake, else the table."""
    return shift.subject.removeprefix("raw_")


def _table(shift: Shift) -> str:
    return shift.subject.partition(" by ")[0]


def _show(found: list[Shift], *, as_json: bool) -> None:
    from flows.printing import table_text

    if as_json:
        print_json([asdict(shift) for shift in found])
    elif not found:
        say("nothing waits to be accepted")
    else:
        cells = [
            [
                _named(s),
                s.slice[:12],
                s.at.replace(microsecond=0),
                "stopped" if s.stops else "told",
                s.told,
            ]
            for s in found
        ]
        say(table_text(["name", "file, day or run", "of", "was", "unlike before"], cells))
        say("`clearwater accept NAME` if it is meant so")
