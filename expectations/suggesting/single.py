"""Rules on single columns: no nulls, closed sets, bounds with slack, common formats.

What is not certain by its nature is proven on the table's own past: it is derived from the earlier
rows, and proposed only if the later ones keep it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from expectations.suggesting.profile import Column, Part, Profile
from expectations.suggesting.proposal import (
    ENOUGH,
    PLENTY,
    Proposal,
    named,
    percent,
    plain,
    rounded_up,
    share_below,
)
from warehouse.inference import words
from warehouse.onboarding import rule_words
from warehouse.onboarding.yaml_text import Inline
from warehouse.wording import counted

MOST_VALUES = 50
OFTEN = 50  # times that each value comes, on average
# Of rows, from so many on a run of small numbers is one of codes; and how long it may be.
FOR_CODES, MOST_CODES = 10_000, 10
FEW_EXCEPTIONS = 0.01
# Of things that have names, such as brands, more will come; unless they are that few.
FEW_THINGS = 5
# What a share is one of; and from what share of that on a ratio's greatest value is near it.
WHOLES, NEARLY = (1, 100), 0.9
# How far beyond the earlier values a bound lies: of a range below 0, and of amounts.
WIDER, TIMES_MORE = (1, 3), (3, 10)
SHOWN, SHOWN_CHARACTERS = 3, 40


def complete(table: Profile, key: Sequence[str]) -> Iterator[Proposal]:
    """The columns that were never null, and those that hardly ever were."""
    if table.rows < ENOUGH:
        return
    full = [c for c in table.columns if not c.nulls and c.name not in key]
    if table.is_raw:
        full = [c for c in full if not c.name.startswith("_")]
    sure = [c for c in full if table.rows >= PLENTY and _is_sure(table, c)]
    others = [c for c in full if c not in sure]
    # That many columns without a null are claimed at once: each is held to a share of the 5%.
    once = math.log(max(len(full), 1) / 0.05)
    most = f"were nulls as common as 1 in {max(int(table.rows / once), 1):,} in any of them,"
    most += " some would be here (95%)"
    for columns, severity, suffix in ((sure, "critical", "complete"), (others, "warning", "given")):
        if columns:
            yield Proposal(
                suffix,
                {"check": "not_null", **named([c.name for c in columns])},
                severity,
                "every row so far has a value here",
                (f"none is null in {counted(table.rows, 'row')}; {most}",),
            )
    for column in table.own:
        if not table.is_raw and table.rows >= PLENTY and column.name not in key:
            yield from _nearly_complete(column)


def _is_sure(table: Profile, column: Column) -> bool:
    """Whether a row without a value may be held back: by its name, where single rows are."""
    if not table.is_raw:
        return True
    is_given = rule_words.is_always_given(column.name, table.name)
    return is_given or (column.kind == "time" and rule_words.has_happened(column.name))


def _nearly_complete(column: Column) -> Iterator[Proposal]:
    worst = max((1 - part.filled / part.rows for part in column.parts if part.rows), default=0.0)
    if not column.nulls or worst > FEW_EXCEPTIONS:
        return
    yield Proposal(
        f"{column.name}_mostly_given",
        {
            "check": "not_null",
            "column": column.name,
            "mostly": share_below(math.ceil(worst * column.rows), column.rows),
        },
        "warning",
        "hardly a row so far has no value here",
        (
            f"{counted(column.nulls, 'null')} in {counted(column.rows, 'row')}"
            f" ({percent(column.nulls, column.rows)}); in no quarter more than {worst:.2%}",
        ),
    )


def closed_set(table: Profile, column: Column) -> Iterator[Proposal]:
    """All values of a column whose list was known long ago."""
    if not _may_be_set(table, column):
        return
    rows = table.con.execute(
        f"select {column.sql}, count(*), count(*) filter ({table.quarter} < 2)"
        f" from {table.relation} where {column.sql} is not null"
        f" group by all order by 1 limit {MOST_VALUES + 1}"
    ).fetchall()
    is_few = 2 <= len(rows) <= min(MOST_VALUES, table.rows / OFTEN)
    if not is_few or any(early in (0, count) for _, count, early in rows):
        return
    values, rarest = [row[0] for row in rows], min(row[1] for row in rows)
    if column.kind == "integer" and not _is_code(column, values, rarest):
        return
    if any(str(value).lstrip().startswith(("{", "[")) for value in values):
        return
    yield Proposal(
        f"{column.name}_known",
        {"check": "in_set", "column": column.name, "values": Inline(values)},
        "warning",
        "a value that never was is worth a look",
        (
            f"{len(values)} values in {counted(column.filled, 'row')}, the rarest in {rarest:,};"
            f" all of them came in the first half {_by(table)}, none new in the second",
        ),
    )


def _may_be_set(table: Profile, column: Column) -> bool:
    if column.kind not in ("text", "integer") or column.distinct > 2 * MOST_VALUES:
        return False
    if table.rows < ENOUGH or column.filled < ENOUGH or table.is_personal(column):
        return False
    name = column.name
    is_place = rule_words.is_place(name) or (
        rule_words.is_state(name) and any(rule_words.is_place(c.name) for c in table.columns)
    )
    is_kind = rule_words.is_kind(name) or rule_words.is_flag(name)
    is_id = words.identifying(name, table.name) or words.says(name, words.PERIODS)
    is_thing = words.says(name, words.SUBJECTS) and column.distinct > FEW_THINGS
    return not is_place and (is_kind or not (is_id or is_thing))


def _is_code(column: Column, values: Sequence[int], rarest: int) -> bool:
    """Whether whole numbers are a yes or no, or number kinds, and do not count anything."""
    if list(values) == [0, 1] and rule_words.is_flag(column.name):
        return True
    is_run = values[0] in (0, 1) and values[-1] - values[0] == len(values) - 1 <= MOST_CODES
    counts = words.says(column.name, rule_words.COUNTS) or words.is_money(column.name)
    enough = PLENTY if rule_words.is_kind(column.name) else FOR_CODES
    return is_run and not counts and column.rows >= enough and rarest >= OFTEN


def bounds(table: Profile, column: Column, *, refunds: bool) -> Iterator[Proposal]:
    """What the column's numbers lie between: by name, by sign, and with slack by their past.

    With `refunds` some column has money below 0, and so may each of the others.
    """
    least, most = column.minimum, column.maximum
    is_count = (
        column.is_measure
        and not column.infinite
        and not words.says(column.name, words.PERIODS | words.YEARS)
    )
    if not is_count or least is None or table.rows < ENOUGH or column.distinct < 2:
        return
    if by_name := rule_words.bounds(column.name, float(least), float(most)):
        reason = "there is nothing beyond, by its name"
        yield _between(column, by_name, reason, _seen(table, column))
        return
    if whole := _share_of(column):
        reason = "a share of something is between none and all of it"
        yield _between(column, (0, whole), reason, f"{_seen(table, column)}, up to it each quarter")
        return
    is_refunded = refunds and words.is_money(column.name) and column.below == 0
    is_signed = is_refunded or words.says(column.name, rule_words.SIGNED)
    is_signed = is_signed and {part.minimum for part in column.parts} != {0}
    is_amount = rule_words.is_amount(column.name) and not is_refunded
    if 0 < column.below <= FEW_EXCEPTIONS * column.filled and is_amount:
        yield from _hardly_below(table, column)
    elif (beyond := _beyond(column, is_signed=is_signed)) is not None:
        yield _between(
            column,
            beyond,
            "far beyond all that there was: another unit, or a broken value",
            f"{_seen(table, column)}; such bounds, drawn from each earlier part {_by(table)},"
            " were kept by all later rows",
        )
    elif least >= 0 and is_amount:
        yield _between(column, (0, None), "there is no such thing below 0", _seen(table, column))


def _share_of(column: Column) -> int | None:
    """1 or 100, where numbers end there in every part of the table; else None.

    Ratios need only come near to it. A count, an amount or a balance may end at 100 by chance.
    """
    tops = [part.maximum for part in column.parts]
    if column.distinct <= 2 or column.minimum < 0 or None in tops:
        return None
    if rule_words.is_ratio(column.name):
        near = (whole for whole in WHOLES if all(NEARLY * whole <= top <= whole for top in tops))
        return next(near, None)
    whole = next((whole for whole in WHOLES if set(tops) == {whole}), None)
    if whole == 1:
        return 1 if column.kind == "number" else None
    is_any = rule_words.is_amount(column.name) or words.says(column.name, rule_words.SIGNED)
    return None if is_any or column.rows < PLENTY else whole


def _between(
    column: Column,
    bounds: tuple[float | None, float | None],
    reason: str,
    evidence: str,
) -> Proposal:
    whole = column.kind == "integer"
    given = {
        key: plain(bound, is_whole=whole)
        for key, bound in zip(("min", "max"), bounds, strict=True)
        if bound is not None
    }
    suffix = "not_negative" if given == {"min": 0} else "in_range"
    check = {"check": "between", "column": column.name, **given}
    return Proposal(f"{column.name}_{suffix}", check, "warning", reason, (evidence,))


def _seen(table: Profile, column: Column) -> str:
    if table.is_personal(column):
        return f"holds for {counted(column.filled, 'value')}"
    least, most = (
        f"{value:,.6g}" if isinstance(value, float) else f"{value:,}"
        for value in (column.minimum, column.maximum)
    )
    return f"{counted(column.filled, 'value')} from {least} to {most}"


def _beyond(column: Column, *, is_signed: bool) -> tuple[float, float] | None:
    """Bounds with slack that the past would have kept, each time derived from what was before."""
    if column.rows < PLENTY or column.distinct < 3:
        return None
    parts = [part for part in column.parts if part.minimum is not None]
    if len(parts) < len(column.parts) or len(parts) < 2 or _grows(parts):
        return None
    for step in range(len(WIDER)):
        if all(
            _keep(parts[n:], _widened(parts[:n], step, is_signed)) for n in range(1, len(parts))
        ):
            return _widened(parts, step, is_signed)
    return None


def _widened(parts: Sequence[Part], step: int, is_signed: bool) -> tuple[float, float]:
    least = float(min(part.minimum for part in parts))
    most = float(max(part.maximum for part in parts))
    if least >= 0 and not is_signed:
        return 0.0, rounded_up(most * TIMES_MORE[step]) if most else 1.0
    width = rounded_up((most - least) * WIDER[step] or 1.0)
    unit = width / 10
    return math.floor((least - width) / unit) * unit, math.ceil((most + width) / unit) * unit


def _keep(parts: Sequence[Part], bounds: tuple[float, float]) -> bool:
    return all(bounds[0] <= part.minimum and part.maximum <= bounds[1] for part in parts)


def _grows(parts: Sequence[Part]) -> bool:
    """Whether the greatest values rise all the time, as those of counters do."""
    tops = [float(part.maximum) for part in parts]
    return all(late > early * 1.05 for early, late in pairwise(tops))


def _hardly_below(table: Profile, column: Column) -> Iterator[Proposal]:
    share = percent(column.below, column.filled)
    shown = examples(table, column, f"{column.sql} < 0")
    check: dict[str, Any] = {"check": "between", "column": column.name, "min": 0}
    if not table.is_raw:
        check["mostly"] = share_below(column.below, column.filled)
    yield Proposal(
        f"{column.name}_hardly_negative",
        check,
        "warning",
        "values below 0 are rare; many of them point to a wrong sign",
        (f"{column.below:,} of {counted(column.filled, 'value')} are below 0 ({share}){shown}",),
    )


def examples(table: Profile, column: Column, condition: str) -> str:
    """A few values of the column where the SQL condition is true; none of a personal one."""
    if table.is_personal(column):
        return "; its values are personal and not shown"
    rows = table.con.execute(
        f"select distinct {column.sql} from {table.relation} where {condition}"
        f" order by 1 limit {SHOWN}"
    ).fetchall()
    return ", such as " + ", ".join(str(row[0])[:SHOWN_CHARACTERS] for row in rows)


def _by(table: Profile) -> str:
    return f"by {table.order}" if table.order else "of the table"


def refunded(table: Profile) -> bool:
    """Whether some column has money below 0, as refunds are."""
    return any(rule_words.tells_refunds(c.name) and c.below for c in table.columns if c.is_number)
