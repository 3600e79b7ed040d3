"""Pairs of columns of which one is never more than the other, and not by chance."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import permutations
from typing import Any

from expectations.suggesting.profile import Column, Profile
from expectations.suggesting.proposal import ENOUGH, Proposal, percent, share_below
from warehouse.inference import words
from warehouse.onboarding import rule_words
from warehouse.onboarding.names import sql_name
from warehouse.wording import counted

LOOKED_AT = 20_000
MOST_COLUMNS, MOST_PAIRS = 40, 20
# Of rows that are put together at random, such a share and so many break a rule that tells
# something.
TELLING, TELLING_ROWS = 0.01, 30
# Of rows, so few are exceptions to what is meant to hold.
EXCEPTIONS = 0.005
# What counts is of one sort with all counts; an amount only with a part of itself, as
# `fraud_amount` is of `amount`, or with its other end.
COUNTED = frozenset({"count", "counts", "cnt"})
UNITS = rule_words.COUNTS | rule_words.PRICES | words.MONEY | {"cents", "temperature", "value"}
ENDS = frozenset({"min", "max", "minimum", "maximum", "low", "high", "lowest", "highest"})
SPAN = re.compile(r"\d+[a-z]*")
Pair = tuple[Column, Column]


def pairs(table: Profile) -> Iterator[Proposal]:
    """For each pair that has an order: the greater column is at least the other one."""
    if table.rows < ENOUGH:
        return
    candidates = [pair for pair in permutations(_columns(table), 2) if _are_comparable(*pair)]
    likely = _likely(table, candidates)
    if not likely:
        return
    breaks = _breaks(table, likely)
    told = list(zip(likely, breaks, strict=True))
    exact = {(a.name, b.name) for ((a, b), _), broken in told if not broken}
    found = [
        _proposal(a, b, broken, chance)
        for ((a, b), chance), broken in told
        if _is_kept(table, a, b, broken) and not _follows(a.name, b.name, exact)
    ]
    yield from found[:MOST_PAIRS]


def _is_kept(table: Profile, a: Column, b: Column, broken: int) -> bool:
    """Whether no row breaks the order, or, of times that are published, hardly one."""
    few = a.kind == "time" and not table.is_raw
    return broken <= EXCEPTIONS * min(a.filled, b.filled) * few


def _columns(table: Profile) -> list[Column]:
    fit = [
        column
        for column in table.own
        if (column.is_measure or column.kind == "time")
        and column.distinct > 1
        and not column.infinite
    ]
    return fit[:MOST_COLUMNS]


def _are_comparable(a: Column, b: Column) -> bool:
    """Whether the two are of one sort, and their ranges overlap."""
    if "time" in (a.kind, b.kind) and a.type != b.type:
        return False
    if a.minimum is None or b.minimum is None or a.maximum <= b.minimum:
        return False
    if a.kind == "time":
        return True
    ours, theirs = _words(a.name), _words(b.name)
    if not COUNTED.isdisjoint(ours & theirs):
        return True
    is_part = ours - ENDS <= theirs - ENDS or ours - ENDS >= theirs - ENDS
    return is_part and not UNITS.isdisjoint(ours & theirs)


def _words(name: str) -> frozenset[str]:
    """The words of a name without spans such as 7d."""
    return frozenset(part for part in words.words(name) if not SPAN.fullmatch(part))


def _likely(table: Profile, candidates: list[Pair]) -> list[tuple[Pair, float]]:
    """The pairs that a sample does not speak against, with what chance would break of them.

    Chance is told by comparing each value with that of a row half the sample away.
    """
    if not candidates:
        return []
    import numpy as np

    names = list(dict.fromkeys(column.name for pair in candidates for column in pair))
    looked_at = table.con.execute(f"from {table.sample(names, LOOKED_AT)}").fetchnumpy()
    values = {name: np.ma.getdata(found) for name, found in looked_at.items()}
    filled = {name: ~np.ma.getmaskarray(found) for name, found in looked_at.items()}
    half = len(values[names[0]]) // 2
    found = []
    for a, b in candidates:
        ours, theirs, both = values[a.name], values[b.name], filled[a.name] & filled[b.name]
        count = int(both.sum())
        more = int(((ours > theirs) & both).sum())
        if count < ENOUGH or more > EXCEPTIONS * count * (a.kind == "time"):
            continue
        apart = filled[a.name] & np.roll(filled[b.name], half)
        by_chance = int(((ours > np.roll(theirs, half)) & apart).sum())
        if ((ours < theirs) & both).any() and _tells(by_chance, int(apart.sum()), table.rows):
            found.append(((a, b), by_chance / int(apart.sum())))
    return found


def _tells(by_chance: int, looked_at: int, rows: int) -> bool:
    """Whether enough of the rows would break the order, were the columns unrelated."""
    share = by_chance / max(looked_at, 1)
    return share >= TELLING and share * rows >= TELLING_ROWS


def _breaks(table: Profile, likely: list[tuple[Pair, float]]) -> list[int]:
    """How many rows of the whole table break each pair's order."""
    told = ", ".join(f"count(*) filter ({a.sql} > {b.sql})" for (a, b), _ in likely)
    row = table.con.execute(f"select {told} from {table.relation}").fetchone()
    assert row is not None
    return list(row)


def _follows(a: str, b: str, exact: set[tuple[str, str]]) -> bool:
    """Whether another column between the two says it already."""
    return any((a, between) in exact and (between, b) in exact for _, between in exact)


def _proposal(a: Column, b: Column, broken: int, chance: float) -> Proposal:
    check: dict[str, Any] = {"check": "between", "column": b.name, "min": sql_name(a.name)}
    both = min(a.filled, b.filled)
    told = f"{broken:,} of {counted(both, 'row')} break it"
    if broken:
        told += f" ({percent(broken, both)})"
        check["mostly"] = share_below(broken, both)
    order = "is never before" if a.kind == "time" else "is never less than"
    return Proposal(
        f"{b.name}_from_{a.name}",
        check,
        "warning",
        f"{b.name} {order if not broken else order.replace('never', 'hardly ever')} {a.name}",
        (f"{told}; of values put together at random {percent(round(chance * both), both)} would",),
    )
