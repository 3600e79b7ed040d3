"""Rules on times: when events may be, how old the newest is, and days that are like others."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from expectations.suggesting.profile import LOADED_AT, Column, Profile
from expectations.suggesting.proposal import ENOUGH, Proposal
from warehouse.duck import identifier
from warehouse.inference import words
from warehouse.onboarding import rule_words
from warehouse.onboarding.names import sql_name
from warehouse.wording import counted

BATCH = "_batch_id"  # of a table of the lake, what a file brought
FEWEST_DAYS = 7
ENOUGH_PAST = 8  # files or days; with fewer nothing is compared
ROWS_A_DAY = 20  # from which on a day is like others
ENDS = frozenset({"first", "last", "oldest", "newest"})


def times(table: Profile, column: Column) -> Iterator[Proposal]:
    """The earliest that an event may be, and that it comes before its own arrival."""
    name = column.name
    least, most = column.minimum, column.maximum
    is_ahead = table.is_planned(column) or words.says(name, words.NEVER)
    if name.startswith("_") or is_ahead or least is None or table.rows < ENOUGH or column.infinite:
        return
    if name == table.order or rule_words.has_happened(name):
        first = max(1, least.year - 1 - (most.year - least.year))
        early = date(first, 1, 1)
        yield Proposal(
            f"{name}_not_too_early",
            {
                "check": "between",
                "column": name,
                "min": early if column.type == "DATE" else datetime(first, 1, 1),  # noqa: DTZ001 (UTC, as in DuckDB)
            },
            "warning",
            "long before all that there was: a default such as 1970, or a broken clock",
            (_span(table, column),),
        )
    yield from _not_ahead_of_load(table, column)


def _span(table: Profile, column: Column) -> str:
    told = counted(column.filled, "value")
    if table.is_personal(column):
        return f"holds for {told}"
    return f"{told} from {column.minimum} to {column.maximum}"


def _not_ahead_of_load(table: Profile, column: Column) -> Iterator[Proposal]:
    if not any(c.name == LOADED_AT for c in table.columns) or table.is_raw:
        return
    limit = f"{LOADED_AT} + interval 1 day"
    if table.number(f"count(*) filter ({column.sql} > {limit})"):
        return
    yield Proposal(
        f"{column.name}_not_ahead_of_load",
        {"check": "between", "column": column.name, "max": limit},
        "warning",
        "what happens after its own arrival has a wrong clock or time zone",
        (f"holds for all of {counted(column.filled, 'value')}",),
    )


def fresh(table: Profile, now: datetime) -> Iterator[Proposal]:
    """How old the newest row may be, where it is recent by the clock now."""
    column = next((c for c in table.columns if c.name == (table.order or LOADED_AT)), None)
    if table.is_raw or column is None or column.maximum is None or table.is_personal(column):
        return
    row = table.con.execute(
        f"with days as (select distinct {column.sql}::date as day from {table.relation}"
        f" where {column.sql} is not null)"
        " select max(gap), count(*) from"
        " (select day - lag(day) over (order by day) as gap from days)"
    ).fetchone()
    assert row is not None
    gap, days = row
    newest = column.maximum
    day = newest.date() if isinstance(newest, datetime) else newest
    age = (now.date() - day).days
    if days < FEWEST_DAYS or not 0 <= age <= max(2 * gap, 2):
        return
    most = math.ceil(2 * max(gap, 1, age))
    yield Proposal(
        "fresh",
        {"check": "freshness", "column": column.name, "max_age": f"{most} days"},
        "warning",
        "old data look like new ones on a dashboard",
        (
            f"the newest {sql_name(column.name)} is {newest}; of {days:,} days the longest gap is"
            f" {counted(int(gap), 'day')}",
        ),
    )


def _is_of_events(table: Profile) -> bool:
    """Whether rows come as they happen; those of things begin once, and change later."""
    return table.order not in ("", LOADED_AT) and not words.says(table.order, ENDS)


def like_before(table: Profile) -> Iterator[Proposal]:
    """That each new file, or day, is like those before, where there is a past to compare with."""
    check: dict[str, Any] = {"check": "anomaly"}
    if table.is_raw and any(column.name == BATCH for column in table.columns):
        what, of = "file", BATCH
    elif not table.is_raw and _is_of_events(table):
        what, of = "day", f"{identifier(table.order)}::date"
        check["by"] = table.order
    else:
        return
    past = table.number(f"count(distinct {of})")
    if past < ENOUGH_PAST or (what == "day" and table.rows < ROWS_A_DAY * past):
        return
    yield Proposal(
        "like_before",
        check,
        "warning",
        f"a {what} that is unlike all others was cut, doubled or written wrongly",
        (f"there are {counted(past, what)} to compare the next ones with",),
    )
