"""`clearwater prune`: remove what nothing needs any more."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from flows.options import Home, Json, Wait, print_json, say
from warehouse.settings import load_settings
from warehouse.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from warehouse.retention import Item, Plan

HEADINGS = ("kind", "what", "count", "bytes", "why")


def prune(
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; else only tell.")] = False,
    home: Home = None,
    as_json: Json = False,
    wait: Wait = False,
) -> None:
    """What nothing needs any more, by what `clearwater config` says is kept; --yes removes it.

    Example: clearwater prune --yes
    """
    from warehouse.lock import writer_lock
    from warehouse.retention import plan
    from warehouse.retention import prune as remove

    settings = load_settings(home)
    if yes:
        with writer_lock(settings, wait=wait):
            found = remove(settings)
    else:
        found = plan(settings)
    if as_json:
        gone, kept = ([asdict(item) for item in items] for items in (found.gone, found.kept))
        print_json({"removed": yes, "bytes": found.bytes, "gone": gone, "kept": kept})
        return
    _print(found, yes=yes)


def _print(found: Plan, *, yes: bool) -> None:
    from flows.printing import table_text

    if found.kept:
        say("kept")
        say(table_text(HEADINGS, _rows(found.kept)))
        say("")
    if not found.gone:
        say("there is nothing to prune")
        return
    say("removed" if yes else "would go")
    say(table_text(HEADINGS, _rows(found.gone)))
    say("")
    things = counted(sum(item.count for item in found.gone), "thing")
    if yes:
        say(f"{things} removed, {found.bytes:,} bytes")
    else:
        say(f"`clearwater prune --yes` removes {things} and frees {found.bytes:,} bytes")


def _rows(items: Iterable[Item]) -> list[list[str]]:
    """A row for what is of one kind and goes, or stays, for one reason."""
    groups: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        groups.setdefault((item.kind, item.why), []).append(item)
    return [
        [kind, _named(same), f"{_sum(same, 'count'):,}", f"{_sum(same, 'bytes'):,}", why]
        for (kind, why), same in groups.items()
    ]


def _named(same: list[Item]) -> str:
    first = same[0].name or same[0].path
    return f"{first} and {len(same) - 1:,} more" if len(same) > 1 else first


def _sum(same: list[Item], of: str) -> int:
    return sum(getattr(item, of) for item in same)
