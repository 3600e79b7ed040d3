"""The rules as plain SQL: which rows a rule does not hold for, how many, and a few of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from warehouse.duck import identifier, quoted
from warehouse.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """SQL that is true for a row that keeps a not_null or an expression rule."""
    if rule.check == "expression":
        return rule.expression
    return " and ".join(f"{identifier(column)} is not null" for column in rule.columns)


def offends(rule: Rule) -> str:
    """SQL that is true for a row that breaks a rule on single rows."""
    if rule.check in ("between", "in_set"):
        column = identifier(rule.columns[0])
        kept = _in_set(rule, column) if rule.check == "in_set" else _between(rule, column)
        return f"{column} is not null and not ({kept})"
    return f"({satisfied(rule)}) is not true"


def find(con: duckdb.DuckDBPyConnection, rule: Rule, source: str, key: str | None) -> Finding:
    """What breaks `rule` in the relation `source`; costs a scan, so for broken rules only."""
    if rule.check == "columns":
        return _find_columns(con, rule, source)
    if rule.check in ("row_count", "total"):
        return _find_totals(con, rule, source)
    if rule.check == "unique":
        return _find_repeats(con, rule, source)
    return _find_rows(con, rule, source, key)


def _between(rule: Rule, column: str) -> str:
    parts = []
    if rule.minimum is not None:
        parts.append(f"{column} {'>' if rule.strict_min else '>='} {_literal(rule.minimum)}")
    if rule.maximum is not None:
        parts.append(f"{column} {'<' if rule.strict_max else '<='} {_literal(rule.maximum)}")
    return " and ".join(parts)


def _in_set(rule: Rule, column: str) -> str:
    return f"{column} in ({', '.join(_literal(value) for value in rule.values)})"


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
    least = [] if rule.minimum is None else [f"at least {rule.minimum}"]
    most = [] if rule.maximum is None else [f"at most {rule.maximum}"]
    return least + most


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
    return Finding(len(faults), "; ".join(faults))


def _shown_columns(
    con: duckdb.DuckDBPyConnection, rule: Rule, source: str, key: str | None
) -> tuple[str, ...]:
    """The key and the columns that the rule speaks of."""
    existing = [row[0] for row in con.execute(f"describe {source}").fetchall()]
    words = set(re.findall(r"\w+", rule.expression)) | set(rule.columns)
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
