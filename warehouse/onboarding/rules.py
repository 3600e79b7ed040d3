"""The first rules of a new mart: what holds in all rows that were looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from warehouse.inference import words
from warehouse.inference.result import InferredColumn
from warehouse.onboarding.models import Column, Dataset
from warehouse.onboarding.names import sql_name
from warehouse.onboarding.yaml_text import Inline, dumped

NUMBER = re.compile(r"(U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|FLOAT|DOUBLE|DECIMAL\(.*\))")
# Numbers that are names: nobody subtracts them.
LABEL = re.compile(r"(.*_)?(id|key|code|no|nr|number)")
TIME = re.compile(r"DATE|TIMESTAMP.*")
LONGEST_LIST = 80
# From this many rows on, values that nobody has seen yet are news.
ENOUGH_ROWS = 100


def rules_yaml(data: Dataset) -> str:
    """The rule file of the dataset's mart."""
    rules = "\n".join(dumped([rule], 2) for rule in _rules(data))
    return f"table: marts.{data.mart}\nowner: {data.source}\nrules:\n{rules}"


def rule_count(data: Dataset) -> int:
    """How many rules its file holds."""
    return sum(1 for _ in _rules(data))


def _rules(data: Dataset) -> Iterator[dict[str, Any]]:
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
    if data.key:
        key = [column.name for column in data.key]
        yield _rule(
            data,
            "key_unique",
            {"check": "unique", **_named(key)},
            "critical",
            data.grain[0].lower() + data.grain[1:],
        )
    yield from _complete(data)
    yield from _not_ahead_of_load(data)
    for column in data.columns:
        yield from _of_values(data, column)


def _rule(
    data: Dataset, suffix: str, check: dict[str, Any], severity: str, reason: str
) -> dict[str, Any]:
    return {"id": f"{data.mart}_{suffix}", **check, "severity": severity, "reason": reason}


def _named(columns: list[str]) -> dict[str, Any]:
    if len(columns) == 1:
        return {"column": columns[0]}
    return {"columns": Inline(columns) if len(", ".join(columns)) < LONGEST_LIST else columns}


def _complete(data: Dataset) -> Iterator[dict[str, Any]]:
    """No nulls where there are none: the key and the event time must not have any."""
    event = data.event_time
    must = [*data.key, *([event] if event and not event.seen.null_count else [])]
    critical = list(dict.fromkeys([*(column.name for column in must), "_loaded_at"]))
    yield _rule(
        data,
        "complete",
        {"check": "not_null", **_named(critical)},
        "critical",
        "without them nobody can tell which row it is, or of when",
    )
    usual = [c.name for c in data.columns if c.name not in critical and _never_null(c, data)]
    if usual:
        yield _rule(
            data,
            "usually_complete",
            {"check": "not_null", **_named(usual)},
            "warning",
            f"none was empty in the first {_rows(data)}",
        )


def _never_null(column: Column, data: Dataset) -> bool:
    return not column.seen.null_count and data.inferred.rows_looked_at > 0


def _not_ahead_of_load(data: Dataset) -> Iterator[dict[str, Any]]:
    event = data.event_time
    if event is None or not TIME.fullmatch(event.type) or _is_ahead(event.seen.maximum):
        return
    name = sql_name(event.name)
    condition = f"{name} < _loaded_at + interval 1 day"
    if event.seen.null_count:
        condition = f"{name} is null or {condition}"
    yield _rule(
        data,
        "not_ahead_of_load",
        {"check": "expression", "expression": condition},
        "warning",
        "what happens after its own arrival has a wrong clock or time zone",
    )


def _is_ahead(latest: str | None) -> bool:
    """Whether the times reach into the future by design, as a plan's do."""
    if latest is None:
        return False
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    return latest[:10] > tomorrow.date().isoformat()


def _of_values(data: Dataset, column: Column) -> Iterator[dict[str, Any]]:
    """The known values of a column with few, a bound for numbers that are never negative."""
    seen = column.seen
    if column in data.key or seen.epoch:
        return
    if values := _known_values(column, data.inferred.rows_looked_at):
        yield _rule(
            data,
            f"{column.name}_known",
            {"check": "in_set", "column": column.name, "values": Inline(values)},
            "warning",
            f"the first {_rows(data)} had no other value; a new one is worth a look",
        )
    elif _is_amount(column) and _is_positive(seen):
        yield _rule(
            data,
            f"{column.name}_not_negative",
            {"check": "between", "column": column.name, "min": 0},
            "warning",
            f"the first {_rows(data)} had none below 0",
        )


def _known_values(column: Column, rows: int) -> list[str] | list[int]:
    """All values of a text with few, or of a flag of 0 and 1.

    None when too few rows were seen, or the text is of people's own words.
    """
    seen = column.seen
    if rows < ENOUGH_ROWS:
        return []
    if column.type == "VARCHAR":
        return [] if words.is_own_words(column.name) or _is_json(seen) else list(seen.values)
    is_flag = (seen.minimum, seen.maximum, seen.distinct_count) == ("0", "1", 2)
    return [0, 1] if is_flag and column.type.endswith("INT") else []


def _is_amount(column: Column) -> bool:
    """Whether the column holds numbers that may well never be below 0."""
    is_number = bool(NUMBER.fullmatch(column.type)) and not LABEL.fullmatch(column.name)
    return is_number and not words.says(column.name, words.SIGNED)


def _is_json(seen: InferredColumn) -> bool:
    return any(value.lstrip().startswith(("{", "[")) for value in seen.values)


def _is_positive(seen: InferredColumn) -> bool:
    """Whether no value is below 0; text that is no number says nothing."""
    try:
        return seen.minimum is not None and float(seen.minimum) >= 0
    except ValueError:
        return False


def _rows(data: Dataset) -> str:
    rows = data.inferred.rows_looked_at
    return f"{rows:,} row" if rows == 1 else f"{rows:,} rows"
