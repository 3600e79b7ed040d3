"""Whether the values, bounds and times of a rule are of the types of its columns."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import duckdb

from expectations.rule_yaml import plain
from warehouse.errors import ConfigurationError
from warehouse.wording import known_names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from expectations.rules import Rule, Value

    Columns = Mapping[str, str]

WHOLE = frozenset({"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"})
NUMBERS = WHOLE | {f"U{name}" for name in WHOLE} | {"FLOAT", "DOUBLE"}
TEXT = "VARCHAR"


def check_types(rule: Rule, typed: Mapping[str, Columns]) -> None:
    """Refuse a rule whose values or times are not of the types of its table's columns.

    `typed` has the columns of the tables with DuckDB's names of their types; others are unknown.
    Raises ConfigurationError.
    """
    types = {name.lower(): kind for name, kind in typed.get(rule.table, {}).items()}
    if rule.by:
        _check_time(rule, "by", rule.by, types)
    if rule.check == "freshness":
        _check_time(rule, "column", rule.columns[0], types)
    if rule.check == "in_set" and (kind := types.get(rule.columns[0].lower())):
        for value in rule.values:
            _check_value(rule, "values", value, (rule.columns[0], kind))
    if rule.check == "between" and (kind := types.get(rule.columns[0].lower())):
        check_bounds(rule, rule.columns[0], kind)
    if rule.check in ("length", "regex") and (kind := types.get(rule.columns[0].lower())):
        _check_text(rule, kind)
    if rule.check == "references":
        _check_pairs(rule, types, typed.get(rule.references_table, {}))


def is_time(kind: str) -> bool:
    """Whether values of the type have a day."""
    return kind == "DATE" or kind.startswith("TIMESTAMP")


def _is_number(kind: str) -> bool:
    return kind in NUMBERS or kind.startswith("DECIMAL")


def _check_time(rule: Rule, key: str, column: str, types: Mapping[str, str]) -> None:
    kind = types.get(column.lower())
    if kind is None or is_time(kind):
        return
    times = [name for name, other in types.items() if is_time(other)]
    step = f"name a column of times: {known_names(times)}"
    if not times:
        step = f"make it a date or a time in the model, as {rule.table} has none"
    raise _error(rule, f"`{key}` {column!r} is {kind}, neither a date nor a time", step)


def _check_text(rule: Rule, kind: str) -> None:
    """Refuse to look at the characters of a number or a time, which are DuckDB's to choose."""
    if _sort(kind) not in ("number", "time"):
        return
    column = rule.columns[0]
    step = "bound it by `between`, or cast it to varchar in an `expression`"
    raise _error(rule, f"`{rule.check}` is of texts, but {column!r} is {kind}", step)


def check_bounds(rule: Rule, what: str, kind: str) -> None:
    """Refuse bounds of another type than `kind`, which is that of `what`."""
    for key, bound in (("min", rule.minimum), ("max", rule.maximum)):
        if bound is not None:
            _check_value(rule, key, bound, (what, kind))


def _check_value(rule: Rule, key: str, value: Value, of: tuple[str, str]) -> None:
    """Refuse a value that DuckDB would compare only by making one type of another.

    `of` is what it is compared with, and the type of that.
    """
    kind = of[1]
    if kind == TEXT and not isinstance(value, str):
        step = f"put it into quotes: '{plain(value)}'"
        if isinstance(value, bool):
            bare = "'yes', 'on' and 'true'" if value else "'no', 'off' and 'false'"
            step = f"put it into quotes as it is meant: bare {bare} are all {plain(value)} to YAML"
        if key != "values":
            step = "give the column a type of numbers or times, or cast it in an `expression`"
        raise _misfit(rule, key, value, of, step)
    if _is_number(kind) and (isinstance(value, bool | str | date)):
        raise _misfit(rule, key, value, of, "write numbers, without quotes")
    if is_time(kind) and not isinstance(value, date) and not _can_be(value, kind):
        step = "write days as 2026-01-31, and times as 2026-01-31 12:30:00"
        raise _misfit(rule, key, value, of, step)
    if isinstance(value, str) and kind != TEXT and not _can_be(value, kind):
        raise _misfit(rule, key, value, of, "write values of that type")


def _can_be(value: Value, kind: str) -> bool:
    """Whether DuckDB can read the text as a value of the type."""
    if not isinstance(value, str):
        return False
    try:
        duckdb.execute(f"select cast(? as {kind})", [value])
    except duckdb.Error:
        return False
    return True


def _misfit(
    rule: Rule, key: str, value: Value, of: tuple[str, str], step: str
) -> ConfigurationError:
    return _error(rule, f"`{key}` has {plain(value)}, but {of[0]!r} is {of[1]}", step)


def _check_pairs(rule: Rule, ours: Mapping[str, str], theirs: Columns) -> None:
    """Refuse to look up numbers among texts, or times among either."""
    others = {name.lower(): kind for name, kind in theirs.items()}
    for column, other in zip(rule.columns, rule.references_columns, strict=True):
        kind, its = ours.get(column.lower()), others.get(other.lower())
        sorts = {_sort(kind or ""), _sort(its or "")}
        if len(sorts) > 1 and "" not in sorts:
            raise _error(
                rule,
                f"{column!r} is {kind}, but {other!r} of {rule.references_table} is {its}",
                "name columns of one type in `references_columns`, or give one another type",
            )


def _sort(kind: str) -> str:
    """What may not be compared with another sort; empty where DuckDB decides."""
    if _is_number(kind):
        return "number"
    return "time" if is_time(kind) else "text" if kind == TEXT else ""


def _error(rule: Rule, what: str, next_step: str) -> ConfigurationError:
    return ConfigurationError(f"rule {rule.id}: {what}", where=rule.where, next_step=next_step)
