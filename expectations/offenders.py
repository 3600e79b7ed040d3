"""The rules as plain SQL: which rows a rule does not hold for, how many, and a few of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from warehouse.duck import identifier, quoted
from warehouse.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import duckdb

    from expectations.rules import Rule, Value

EXAMPLES = 3


@dataclass(frozen=True)
class Finding:
    """How many rows a rule does not hold for, and what was seen, in a line for people."""

    count: int
    detail: str


def relation(name: str) -> str:
    """A dotted name, quoted part by part."""
    return ".".join(identifier(part) for part in name.split("."))


def satisfied(rule: Rule) -> str:
    """SQL that is true for a row that keeps a rule on single rows.

    An unknown value keeps every rule on one column but not_null.
    """
    if rule.check == "expression":
        return rule.expression
    columns = [identifier(column) for column in rule.columns]
    if rule.check == "not_null":
        return " and ".join(f"{column} is not null" for column in columns)
    unknown = " or ".join(f"{column} is null" for column in columns)
    return f"{unknown} or ({_KEPT[rule.check](rule, columns)})"


def offends(rule: Rule) -> str:
    """SQL that is true for a row that breaks a rule on single rows."""
    return f"({satisfied(rule)}) is not true"


def aggregate(rule: Rule) -> str:
    """SQL for the one value of the table that the rule bounds."""
    if rule.check == "distinct_count":
        return f"count(distinct ({', '.join(identifier(column) for column in rule.columns)}))"
    if rule.check == "freshness":
        return f"max({identifier(rule.columns[0])})"
    return rule.expression


def within(rule: Rule, value: str) -> str:
    """SQL that the value, which is SQL too, is within the rule's bounds; null is not."""
    if rule.check == "freshness":
        now = "(now() at time zone 'UTC')"
        return f"coalesce({value} >= {now} - interval {quoted(rule.max_age)}, false)"
    return f"coalesce({_bounded(rule, value)}, false)"


def find(con: duckdb.DuckDBPyConnection, rule: Rule, source: str, key: str | None) -> Finding:
    """What breaks `rule` in the relation `source`; costs a scan, so for broken rules only."""
    if rule.check == "columns":
        return _find_columns(con, rule, source)
    if rule.check in ("aggregate", "distinct_count", "freshness"):
        return _find_aggregate(con, rule, source)
    if rule.check in ("row_count", "total"):
        return _find_totals(con, rule, source)
    if rule.check == "unique":
        return _find_repeats(con, rule, source)
    return _find_rows(con, rule, source, key)


def _bounded(rule: Rule, value: str) -> str:
    """SQL that the value is within the bounds; a bound that is unknown is kept."""
    parts = []
    for sign, strict, bound, sql in (
        (">", rule.strict_min, rule.minimum, rule.minimum_sql),
        ("<", rule.strict_max, rule.maximum, rule.maximum_sql),
    ):
        compared = f"{value} {sign}{'' if strict else '='}"
        if sql:
            parts.append(f"coalesce({compared} ({sql}), true)")
        elif bound is not None:
            parts.append(f"{compared} {_literal(bound)}")
    return " and ".join(parts)


def _between(rule: Rule, columns: list[str]) -> str:
    return _bounded(rule, columns[0])


def _in_set(rule: Rule, columns: list[str]) -> str:
    return f"{columns[0]} in ({', '.join(_literal(value) for value in rule.values)})"


def _length(rule: Rule, columns: list[str]) -> str:
    return _bounded(rule, f"length({columns[0]}::varchar)")


def _regex(rule: Rule, columns: list[str]) -> str:
    return f"regexp_full_match({columns[0]}::varchar, {quoted(rule.pattern)})"


def _references(rule: Rule, columns: list[str]) -> str:
    theirs = [identifier(column) for column in rule.references_columns]
    known = " and ".join(f"{column} is not null" for column in theirs)
    return (
        f"({', '.join(columns)}) in (select ({', '.join(theirs)})"
        f" from {relation(rule.references_table)} where {known})"
    )


_KEPT: dict[str, Callable[[Rule, list[str]], str]] = {
    "between": _between,
    "in_set": _in_set,
    "length": _length,
    "regex": _regex,
    "references": _references,
}


def _literal(value: Value) -> str:
    if isinstance(value, datetime):
        return f"timestamp {quoted(value.isoformat(sep=' '))}"
    if isinstance(value, date):
        return f"date {quoted(value.isoformat())}"
    return quoted(value) if isinstance(value, str) else str(value)


def _find_rows(con: duckdb.DuckDBPyConnection, rule: Rule, source: str, key: str | None) -> Finding:
    where = f"from {source} where {offends(rule)}"
    count = int(_value(con, f"select count(*) {where}"))
    shown = _shown_columns(con, rule, source, key)
    names = ", ".join(identifier(column) for column in shown)
    rows = con.execute(f"select {names} {where} limit {EXAMPLES}").fetchall()
    broken = f"{counted(count, 'row')} {_verb(count, 'break')} it"
    return Finding(count, _with_examples(broken, shown, rows))


def _find_repeats(con: duckdb.DuckDBPyConnection, rule: Rule, source: str) -> Finding:
    names = ", ".join(identifier(column) for column in rule.columns)
    present = " and ".join(f"{identifier(column)} is not null" for column in rule.columns)
    keys = f"from {source} where {present} group by {names} having count(*) > 1"
    count = int(_value(con, f"select coalesce(sum(n - 1), 0) from (select count(*) as n {keys})"))
    rows = con.execute(f"select {names}, count(*) {keys} limit {EXAMPLES}").fetchall()
    shown = (*rule.columns, "rows")
    repeated = f"{counted(count, 'row')} {_verb(count, 'repeat')} a key"
    return Finding(count, _with_examples(repeated, shown, rows))


def _find_aggregate(con: duckdb.DuckDBPyConnection, rule: Rule, source: str) -> Finding:
    found = con.execute(f"select {aggregate(rule)} from {source}").fetchone()
    value = found[0] if found else None
    if rule.check == "freshness":
        told = f"the newest {rule.columns[0]} is {value}, older than {rule.max_age}"
        return Finding(1, told if value is not None else f"no row has a {rule.columns[0]}")
    what = rule.expression or f"different {', '.join(rule.columns)}"
    return Finding(1, f"{_number(value)} {what}, expected {' and '.join(_bounds(rule))}")


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _find_totals(con: duckdb.DuckDBPyConnection, rule: Rule, source: str) -> Finding:
    found = _value(con, f"select {rule.expression or 'count(*)'} from {source}")
    what = rule.expression or "rows"
    if not rule.equals_table:
        wanted = " and ".join(_bounds(rule))
        return Finding(1, f"{found:,} {what}, expected {wanted}")
    other = relation(rule.equals_table)
    equals = _value(con, f"select {rule.equals or 'count(*)'} from {other}")
    return Finding(1, f"{what}: {found}, but {equals} in {rule.equals_table}")


def _bounds(rule: Rule) -> list[str]:
    least = "more than" if rule.strict_min else "at least"
    most = "less than" if rule.strict_max else "at most"
    told = [] if rule.minimum is None else [f"{least} {rule.minimum}"]
    return told if rule.maximum is None else [*told, f"{most} {rule.maximum}"]


def _find_columns(con: duckdb.DuckDBPyConnection, rule: Rule, source: str) -> Finding:
    found = {row[0]: row[1] for row in con.execute(f"describe {source}").fetchall()}
    wanted = dict(rule.column_types)
    faults = [f"{name} is missing" for name in wanted if name not in found]
    faults += [f"{name} is not expected" for name in found if name not in wanted]
    faults += [
        f"{name} is {found[name]}, not {kind}"
        for name, kind in wanted.items()
        if name in found and found[name] != kind
    ]
    if rule.ordered and not faults and list(found) != list(wanted):
        faults.append(f"the order is {', '.join(found)}, not {', '.join(wanted)}")
    return Finding(len(faults), "; ".join(faults))


def _shown_columns(
    con: duckdb.DuckDBPyConnection, rule: Rule, source: str, key: str | None
) -> tuple[str, ...]:
    """The key and the columns that the rule speaks of."""
    existing = [row[0] for row in con.execute(f"describe {source}").fetchall()]
    sql = f"{rule.expression} {rule.minimum_sql} {rule.maximum_sql}"
    words = set(re.findall(r"\w+", sql)) | set(rule.columns)
    named = [column for column in existing if column in words and column != key]
    first = [key] if key in existing else existing[:1]
    return tuple(dict.fromkeys([*filter(None, first), *named]))


def _verb(count: int, verb: str) -> str:
    """The verb as it goes with so many rows."""
    return verb + "s" * (count == 1)


def _with_examples(what: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    examples = [
        ", ".join(f"{column}={value}" for column, value in zip(columns, row, strict=True))
        for row in rows
    ]
    return f"{what}, e.g. {'; '.join(examples)}" if examples else what


def _value(con: duckdb.DuckDBPyConnection, query: str) -> int | float:
    row = con.execute(query).fetchone()
    value: int | float = row[0] if row else 0
    return value
