"""The first rules of a new mart: what is sure by the nature of the data, not only in the sample.

A rule that the next good file would break is worse than none: warnings that come every month are
read by nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from warehouse.inference import words
from warehouse.inference.result import InferredColumn
from warehouse.onboarding import rule_words
from warehouse.onboarding.models import Column, Dataset
from warehouse.onboarding.names import sql_name
from warehouse.onboarding.yaml_text import Inline, dumped
from warehouse.readers.casting import INTEGERS

# Unsigned integers need no bound.
NUMBER = re.compile(r"((TINY|SMALL|BIG|HUGE)INT|INTEGER|FLOAT|DOUBLE|DECIMAL\(.*\))")
TIME = re.compile(r"DATE|TIMESTAMP.*")
LONGEST_LIST = 80
# The first line of a rule file: it tells editors what may stand there.
MODELINE = "# yaml-language-server: $schema=../schema.json\n"
# From this many rows on, what never was may be called unusual.
ENOUGH_ROWS = 100
OFTEN = 50  # times that each kind comes, on average
# Of a table with more amounts, nobody would read the rules.
MOST_BOUNDS = 30


def rules_yaml(data: Dataset) -> str:
    """The rule file of the dataset's mart."""
    rules = "\n".join(dumped([rule], 2) for rule in _rules(data))
    return f"{MODELINE}table: marts.{data.mart}\nowner: {data.source}\nrules:\n{rules}"


def raw_rules_yaml(data: Dataset) -> str:
    """The rule file of what arrives: each file beside the files before it."""
    rule = {
        "id": f"{data.source}_{data.name}_like_before",
        "check": "anomaly",
        "severity": "warning",
        "reason": "a file unlike those before it may be cut, doubled or written wrongly",
    }
    table = f"raw_{data.source}.{data.name}"
    return f"{MODELINE}table: {table}\nowner: {data.source}\nrules:\n{dumped([rule], 2)}"


def rule_count(data: Dataset) -> int:
    """How many rules its file holds."""
    return sum(1 for _ in _rules(data))


def _rules(data: Dataset) -> Iterator[dict[str, Any]]:
    """The rules: critical are those that loading and building keep, whatever the files hold."""
    if all(column.type == column.type.upper() for column in data.columns):
        types = {column.name: column.shown_type for column in data.columns}
        yield _rule(
            data,
            "columns",
            {"check": "columns", "columns": types | {"_loaded_at": "timestamp"}},
            "critical",
            "readers rely on these names and types",
        )
    yield _rule(
        data,
        "not_empty",
        {"check": "row_count", "min": 1},
        "critical",
        "an empty table means that a load or a build went wrong",
    )
    key = [column.name for column in data.key]
    if key:
        yield _rule(
            data,
            "key_unique",
            {"check": "unique", **_named(key)},
            "critical",
            data.grain[0].lower() + data.grain[1:],
        )
    yield _rule(
        data,
        "complete",
        {"check": "not_null", **_named([*key, "_loaded_at"])},
        "critical",
        "rows without a key are quarantined, and each has a time of loading",
    )
    yield from _usually_complete(data)
    yield from _not_ahead_of_load(data)
    others = [c for c in data.columns if c not in data.key and not c.seen.epoch]
    for column in others:
        yield from _of_kinds(data, column)
    refunds = any(_is_money_below_zero(column) for column in data.columns)
    bounds = [rule for c in others for rule in _of_bounds(data, c, refunds=refunds)]
    yield from bounds if len(bounds) <= MOST_BOUNDS else []


def _rule(
    data: Dataset, suffix: str, check: dict[str, Any], severity: str, reason: str
) -> dict[str, Any]:
    return {"id": f"{data.mart}_{suffix}", **check, "severity": severity, "reason": reason}


def _named(columns: list[str]) -> dict[str, Any]:
    if len(columns) == 1:
        return {"column": columns[0]}
    return {"columns": Inline(columns) if len(", ".join(columns)) < LONGEST_LIST else columns}


def _usually_complete(data: Dataset) -> Iterator[dict[str, Any]]:
    """No nulls where enough rows had none, and where the name says that each has a value."""
    if data.inferred.rows_looked_at < ENOUGH_ROWS:
        return
    given = [c.name for c in data.columns if c not in data.key and _is_always_given(c, data)]
    if given:
        yield _rule(
            data,
            "usually_complete",
            {"check": "not_null", **_named(given)},
            "warning",
            f"none was empty in the first {_rows(data)}",
        )


def _is_always_given(column: Column, data: Dataset) -> bool:
    name = column.seen.name
    is_time = column == data.event_time or (_is_time(column) and rule_words.has_happened(name))
    is_named = is_time or rule_words.is_always_given(name, data.name)
    return is_named and not column.seen.null_count and not _is_of_country(data, column)


def _not_ahead_of_load(data: Dataset) -> Iterator[dict[str, Any]]:
    """No event after its own arrival, where events are of the past and all in the files are."""
    event = data.event_time
    if event is None or not _is_time(event) or rule_words.is_planned(event.seen.name, data.name):
        return
    if event.seen.maximum is None or _is_ahead(event.seen.maximum, data):
        return
    name = sql_name(event.name)
    yield _rule(
        data,
        "not_ahead_of_load",
        {
            "check": "expression",
            "expression": f"{name} is null or {name} < _loaded_at + interval 1 day",
        },
        "warning",
        "what happens after its own arrival has a wrong clock or time zone",
    )


def _is_ahead(latest: str, data: Dataset) -> bool:
    """Whether the times reach beyond the newest file's own, as a plan's do."""
    return latest[:10] > (data.written_at + timedelta(days=1)).date().isoformat()


def _of_kinds(data: Dataset, column: Column) -> Iterator[dict[str, Any]]:
    """The known values of a list of kinds."""
    if values := _known_values(data, column):
        yield _rule(
            data,
            f"{column.name}_known",
            {"check": "in_set", "column": column.name, "values": Inline(values)},
            "warning",
            f"the first {_rows(data)} had no other value; a new one is worth a look",
        )


def _of_bounds(data: Dataset, column: Column, *, refunds: bool) -> Iterator[dict[str, Any]]:
    """What a number lies between, or that it is never below 0.

    With `refunds`, some column has money below 0, and so may each of the others.
    """
    if bounds := _bounds(data, column):
        least, most = bounds
        yield _rule(
            data,
            f"{column.name}_in_range",
            {"check": "between", "column": column.name, "min": least, "max": most},
            "warning",
            "there is nothing beyond, by its name",
        )
    elif _is_amount(data, column) and not (refunds and words.is_money(column.seen.name)):
        yield _rule(
            data,
            f"{column.name}_not_negative",
            {"check": "between", "column": column.name, "min": 0},
            "warning",
            f"the first {_rows(data)} had none below 0",
        )


def _known_values(data: Dataset, column: Column) -> list[str] | list[int]:
    """All values of a text of kinds or of yes and no, or of a flag of 0 and 1.

    None when too few rows were seen, or new values were still coming in their second half.
    """
    seen, rows = column.seen, data.inferred.rows_looked_at
    if rows < ENOUGH_ROWS:
        return []
    if column.type in INTEGERS:
        is_flag = (seen.minimum, seen.maximum, seen.distinct_count) == ("0", "1", 2)
        return [0, 1] if is_flag and rule_words.is_flag(seen.name) else []
    few = 2 <= len(seen.values) <= rows / OFTEN
    is_settled = few and not seen.late_values and not _is_json(seen)
    is_kind = rule_words.is_kind(seen.name) and not _is_of_country(data, column)
    is_list = is_kind or rule_words.is_yes_or_no(seen.values)
    return list(seen.values) if column.type == "VARCHAR" and is_settled and is_list else []


def _is_of_country(data: Dataset, column: Column) -> bool:
    """Whether the column has the states of a country, not those of a thing."""
    beside = any(rule_words.is_place(other.seen.name) for other in data.columns)
    return rule_words.is_state(column.seen.name) and beside


def _bounds(data: Dataset, column: Column) -> tuple[int, int] | None:
    """What the name says that numbers lie between, if all of enough do."""
    if not NUMBER.fullmatch(column.type) or data.inferred.rows_looked_at < ENOUGH_ROWS:
        return None
    least, most = _number(column.seen.minimum), _number(column.seen.maximum)
    if least is None or most is None:
        return None
    return rule_words.bounds(column.seen.name, least, most)


def _is_amount(data: Dataset, column: Column) -> bool:
    """Whether the column holds counts, sizes or money, and was never below 0."""
    name, least = column.seen.name, _number(column.seen.minimum)
    if not NUMBER.fullmatch(column.type) or least is None or not least >= 0:
        return False
    if data.inferred.rows_looked_at < ENOUGH_ROWS:
        return rule_words.is_count_or_price(name)
    return rule_words.is_amount(name)


def _is_money_below_zero(column: Column) -> bool:
    """Whether an amount of money was negative, as that of a refund is."""
    least = _number(column.seen.minimum) if NUMBER.fullmatch(column.type) else None
    return rule_words.tells_refunds(column.seen.name) and least is not None and least < 0


def _is_time(column: Column) -> bool:
    return bool(TIME.fullmatch(column.type))


def _is_json(seen: InferredColumn) -> bool:
    return any(value.lstrip().startswith(("{", "[")) for value in seen.values)


def _number(text: str | None) -> float | None:
    """The number that a text shows; None if it shows none."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _rows(data: Dataset) -> str:
    rows = data.inferred.rows_looked_at
    return f"{rows:,} row" if rows == 1 else f"{rows:,} rows"
