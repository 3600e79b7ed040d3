"""What identifies a row: the smallest sets of columns that are unique, and not by chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from math import comb, log, prod

from expectations.suggesting.profile import Column, Profile
from expectations.suggesting.proposal import ENOUGH, Proposal, named
from warehouse.duck import identifier, listed
from warehouse.inference import words
from warehouse.inference.key_sets import BY_CHANCE, OPEN
from warehouse.inference.keys import infer_key
from warehouse.inference.result import Notes
from warehouse.onboarding import rule_words
from warehouse.wording import counted

MOST_PARTS, MOST_COLUMNS = 3, 8
# How likely it may be that one of all sets that are tried tells rows apart by chance alone.
SOME_BY_CHANCE = 0.01
PREFIX_ROWS = 20_000


def find_key(table: Profile) -> tuple[str, ...]:
    """The smallest set of columns that is unique over all rows; empty if none is."""
    if table.rows < 2:
        return ()
    named_key = (
        infer_key(table.as_inferred(), Notes()).columns if table.as_inferred().columns else ()
    )
    if named_key and _repeats(table, named_key) == 0:
        return _smallest(table, named_key)
    candidates = _candidates(table)
    tried = sum(comb(len(candidates), size) for size in range(1, MOST_PARTS + 1))
    for size in range(1, MOST_PARTS + 1):
        for columns in combinations(candidates, size):
            names = tuple(column.name for column in columns)
            if _may_be_unique(table, columns, tried) and _repeats(table, names) == 0:
                return names
    return ()


def unique(table: Profile, key: Sequence[str]) -> Iterator[Proposal]:
    """The key, and every other identifier that is unique."""
    if table.is_raw or table.rows < 2:
        return
    if key:
        yield _unique(table, "key_unique", list(key), "one row per " + " and ".join(key))
    for column in table.own:
        is_other = [column.name] != list(key) and not column.nulls
        is_named = column.kind in ("integer", "text") and words.identifying(column.name, table.name)
        is_open = column.distinct >= OPEN * table.rows and table.rows >= ENOUGH
        if is_other and is_named and is_open and _repeats(table, (column.name,)) == 0:
            name = column.name
            yield _unique(table, f"{name}_unique", [name], "an identifier that names one row")


def _unique(table: Profile, suffix: str, columns: list[str], reason: str) -> Proposal:
    nulls = sum(c.nulls for c in table.columns if c.name in columns)
    told = f"no two of {counted(table.rows, 'row')} are alike"
    if len(columns) > 1:
        told += "; each part of it alone repeats"
    return Proposal(
        suffix,
        {"check": "unique", **named(columns)},
        "critical",
        reason,
        (told + (f"; {nulls:,} have no value" if nulls else ""),),
    )


def _repeats(table: Profile, names: Sequence[str]) -> int:
    """How many rows repeat the values of another; rows with a null among them are left out."""
    present = " and ".join(f"{identifier(name)} is not null" for name in names)
    if len(names) == 1:
        only = identifier(names[0])
        return table.number(f"count({only}) - count(distinct {only})")
    row = table.con.execute(
        f"select coalesce(sum(n - 1), 0) from (select count(*) as n from {table.relation}"
        f" where {present} group by {listed(names)})"
    ).fetchone()
    return int(row[0]) if row else 0


def _smallest(table: Profile, names: tuple[str, ...]) -> tuple[str, ...]:
    """The key without the parts that it does not need."""
    for size in range(1, len(names)):
        for fewer in combinations(names, size):
            if _repeats(table, fewer) == 0:
                return fewer
    return names


def _candidates(table: Profile) -> list[Column]:
    """The columns that may be part of a key by their kind, the likelier first; counted exactly."""
    fit = [
        column
        for column in table.own
        if not column.nulls
        and column.distinct > 1
        and (column.kind in ("integer", "text") or column.type == "DATE")
        and not words.is_own_words(column.name)
        and not words.says(column.name, words.NEVER)
        and not rule_words.is_amount(column.name)
        and not words.is_money(column.name)
        and not words.says(column.name, rule_words.COUNTS)
    ]
    fit.sort(key=lambda column: -words.identifying(column.name, table.name))
    return [replace(column, distinct=table.distinct(column)) for column in fit[:MOST_COLUMNS]]


def _may_be_unique(table: Profile, columns: Sequence[Column], tried: int) -> bool:
    """Whether there are enough values, but not so many that chance alone tells rows apart.

    Of unrelated columns rows² / 2·combined pairs of rows are alike on average, and none with the
    probability e^-that; so many sets are `tried` that this must be small for all of them together.
    """
    combined = prod(column.distinct for column in columns)
    least = max(BY_CHANCE, log(tried / SOME_BY_CHANCE))
    is_by_chance = len(columns) > 1 and table.rows**2 < 2 * least * combined
    if combined < OPEN * table.rows or is_by_chance:
        return False
    if len(columns) == 1 and not words.identifying(columns[0].name, table.name):
        is_period = columns[0].kind == "time" or words.says(columns[0].name, words.PERIODS)
        return bool(is_period) or words.is_named_for(columns[0].name, table.name)
    names = listed(column.name for column in columns)
    head = f"(select {names} from {table.relation} limit {PREFIX_ROWS})"
    row = table.con.execute(
        f"select 1 from {head} group by {names} having count(*) > 1 limit 1"
    ).fetchone()
    return row is None
