"""The rules as plain SQL: which rows a rule does not hold for, how many, and a few of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, date, datetime, time
from typing import TYPE_CHECKING

from expectations.reporting.words import rounded, since
from expectations.rules import is_of_lake
from warehouse.duck import identifier, quoted
from warehouse.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import duckdb

    from expectations.rules import Rule, Value

NOW = "(now() at time zone 'UTC')"
EXAMPLES = 3  # rows told in the detail
SAMPLED = 20
LONGEST_VALUE = 80
MASK = "•••"
_NOBODY: frozenset[str] = frozenset()
# What counts values shows none.
_COUNT = re.compile(r"count\((distinct )?[\w\"*]+\)( filter \(where [^()]*\))?", re.IGNORECASE)
# DuckDB's messages that speak of the statement alone; any other may show a value.
_VALUELESS = re.compile(r"(Binder|Catalog|Parser|Syntax) Error: ")


@dataclass(frozen=True)
class Finding:
    """How many rows a rule does not hold for, and what was seen, in a line for people.

    `sample` has a few of those rows, `columns` what their values are: texts of at most 80
    characters, None for null, MASK for a value of a personal column.
    """

    count: int
    detail: str
    columns: tuple[str, ...] = ()
    sample: tuple[tuple[str | None, ...], ...] = ()


def relation(name: str) -> str:
    """A dotted name, quoted part by part."""
    return ".".join(identifier(part) for part in name.split("."))


def looked_into(name: str) -> str:
    """The quoted name of a table that a rule looks into; raw tables are in the database `lake`."""
    return relation(f"lake.{name}" if is_of_lake(name) else name)


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
        column = identifier(rule.columns[0])
        return f"max(if({column} <= {NOW} + interval 1 day, {column}, null))"  # not of the future
    return rule.expression


def within(rule: Rule, value: str) -> str:
    """SQL that the value, which is SQL too, is within the rule's bounds; NaN is not.

    Null where an aggregate has no value at all: no row was seen that has what it is made from.
    """
    if rule.check == "freshness":
        return f"coalesce({value} >= {NOW} - interval {quoted(rule.max_age)}, false)"
    if rule.check != "aggregate":
        return f"coalesce({_bounded(rule, value)}, false)"
    is_within = f"coalesce({_bounded(rule, value)} and ({value})::varchar <> 'nan', false)"
    return f"if(({value}) is null, null, {is_within})"


def find(
    con: duckdb.DuckDBPyConnection,
    rule: Rule,
    source: str,
    key: str | None,
    personal: frozenset[str] = _NOBODY,
) -> Finding:
    """What breaks `rule` in the relation `source`; costs a scan, so for broken rules only.

    Of the columns `personal` no value is told, only whether there is one.
    """
    if rule.check == "columns":
        return _find_columns(con, rule, source)
    if rule.check in ("aggregate", "distinct_count", "freshness"):
        return _find_aggregate(con, rule, source, personal)
    if rule.check in ("row_count", "total"):
        return _find_totals(con, rule, source, personal)
    if rule.check == "unique":
        return _find_repeats(con, rule, source, personal)
    return _find_rows(con, rule, source, key, personal)


def error_told(message: str, rule: Rule, personal: frozenset[str]) -> str:
    """DuckDB's message, but for its text where that may show a value of a personal column."""
    if not personal or not _names(rule, personal) or _VALUELESS.match(message):
        return message
    kind = message.partition(":")[0] if re.match(r"[\w ]+ Error:", message) else "error"
    return f"{kind}: its text may show a value of a personal column and is left out"


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
        f" from {looked_into(rule.references_table)} where {known})"
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


def _find_rows(
    con: duckdb.DuckDBPyConnection,
    rule: Rule,
    source: str,
    key: str | None,
    personal: frozenset[str],
) -> Finding:
    where = f"from {source} where {offends(rule)}"
    count = int(_value(con, f"select count(*) {where}"))
    shown = _shown_columns(con, rule, source, key)
    names = ", ".join(identifier(column) for column in shown)
    rows = con.execute(f"select {names} {where} limit {SAMPLED}").fetchall()
    broken = f"{counted(count, 'row')} {_verb(count, 'break')} it"
    is_not_null = rule.check == "not_null"
    return _with_sample(count, broken, shown, rows, personal, is_not_null=is_not_null)


def _find_repeats(
    con: duckdb.DuckDBPyConnection, rule: Rule, source: str, personal: frozenset[str]
) -> Finding:
    names = ", ".join(identifier(column) for column in rule.columns)
    present = " and ".join(f"{identifier(column)} is not null" for column in rule.columns)
    keys = f"from {source} where {present} group by {names} having count(*) > 1"
    count = int(_value(con, f"select coalesce(sum(n - 1), 0) from (select count(*) as n {keys})"))
    rows = con.execute(
        f"select {names}, count(*) {keys} order by count(*) desc, {names} limit {SAMPLED}"
    ).fetchall()
    repeated = f"{counted(count, 'row')} {_verb(count, 'repeat')} a key"
    return _with_sample(count, repeated, (*rule.columns, "rows"), rows, personal)


def _find_aggregate(
    con: duckdb.DuckDBPyConnection, rule: Rule, source: str, personal: frozenset[str]
) -> Finding:
    found = con.execute(f"select {aggregate(rule)}, {NOW} from {source}").fetchone()
    value, now = found or (None, None)
    if value is not None and _shows_a_value(rule, personal):
        value = MASK
    if rule.check == "freshness":
        if value is None:
            return Finding(1, f"no row has a {rule.columns[0]}")
        newest = f"the newest {rule.columns[0]} is {value}{_ago(value, now)}"
        return Finding(1, f"{newest}, older than {rule.max_age}")
    is_count = rule.check == "distinct_count"
    what = f"different {', '.join(rule.columns)}" if is_count else rule.expression
    wanted = _bounds(rule)
    if _is_no_value(value):
        return Finding(1, f"{_valueless(con, value, what, source)}; expected {wanted}")
    told = _number(rounded(value, rule.minimum, rule.maximum))
    seen = f"{told} {what}" if is_count else f"{what} is {told}"
    return Finding(1, f"{seen}, expected {wanted}")


def _ago(value: object, now: datetime) -> str:
    """How long ago the value was, in words; nothing of one that is masked, or infinite."""
    if not isinstance(value, date) or value.year in (MINYEAR, MAXYEAR):
        return ""
    at = value if isinstance(value, datetime) else datetime.combine(value, time())
    return f" ({since(at, now)} ago)"


def _is_no_value(value: object) -> bool:
    """Whether an aggregate gave nothing that can be compared: null, or not a number."""
    return value is None or value != value  # NaN alone is not itself


def _plainly(value: object) -> str:
    if value is None:
        return "no value, for want of rows that have one"
    return "no number (NaN)" if _is_no_value(value) else str(value)


def _valueless(con: duckdb.DuckDBPyConnection, value: object, what: str, source: str) -> str:
    """In words, why there is nothing to compare."""
    if value is not None:
        return f"{what} is not a number (NaN): some row has NaN, or 0 was divided by 0"
    rows = int(_value(con, f"select count(*) from {source}"))
    if not rows:
        return f"there is no value of {what}: the table has no rows"
    return f"there is no value of {what}: none of {counted(rows, 'row')} has what it is made from"


def _shows_a_value(rule: Rule, personal: frozenset[str]) -> bool:
    """Whether the rule's aggregate may be a value of a personal column: a count is not."""
    if rule.check == "distinct_count":
        return False
    return _names(rule, personal) and not _COUNT.fullmatch(rule.expression)


def _names(rule: Rule, personal: frozenset[str]) -> bool:
    """Whether the rule speaks of a personal column."""
    return not {name.lower() for name in personal}.isdisjoint(_words(rule))


def _words(rule: Rule) -> set[str]:
    """The words of the rule's SQL and its columns, in lower case, as SQL's names are compared."""
    sql = f"{rule.expression} {rule.equals} {rule.minimum_sql} {rule.maximum_sql}"
    quoted_names = re.findall(r'"((?:[^"]|"")+)"', sql)
    words = {*re.findall(r"\w+", sql), *rule.columns, *(n.replace('""', '"') for n in quoted_names)}
    return {word.lower() for word in words}


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _find_totals(
    con: duckdb.DuckDBPyConnection, rule: Rule, source: str, personal: frozenset[str]
) -> Finding:
    is_hidden = _shows_a_value(rule, personal)
    found = _value(con, f"select {rule.expression or 'count(*)'} from {source}")
    what = rule.expression or "rows"
    if not rule.equals_table:
        return Finding(1, f"{found:,} {what}, expected {_bounds(rule)}")
    other = looked_into(rule.equals_table)
    equals = _value(con, f"select {rule.equals or 'count(*)'} from {other}")
    ours = rounded(found, equals)
    told = (
        (MASK, f"another in {rule.equals_table}")
        if is_hidden
        else (_plainly(ours), f"{_plainly(rounded(equals, found, ours))} in {rule.equals_table}")
    )
    return Finding(1, f"{what}: {told[0]}, but {told[1]}")


def _bounds(rule: Rule) -> str:
    """What the rule allows, in words: one value where both bounds are it."""
    is_open = rule.strict_min or rule.strict_max
    if rule.minimum is not None and rule.minimum == rule.maximum and not is_open:
        return str(rule.minimum)
    least = "more than" if rule.strict_min else "at least"
    most = "less than" if rule.strict_max else "at most"
    told = [] if rule.minimum is None else [f"{least} {rule.minimum}"]
    told += [] if rule.maximum is None else [f"{most} {rule.maximum}"]
    return " and ".join(told)


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
    words = _words(rule)
    named = [column for column in existing if column.lower() in words and column != key]
    first = [key] if key in existing else existing[:1]
    return tuple(dict.fromkeys([*filter(None, first), *named]))


def _verb(count: int, verb: str) -> str:
    """The verb as it goes with so many rows."""
    return verb + "s" * (count == 1)


def _with_sample(
    count: int,
    what: str,
    columns: tuple[str, ...],
    rows: Sequence[Sequence[object]],
    personal: frozenset[str],
    *,
    is_not_null: bool = False,
) -> Finding:
    """The finding with its rows as texts, the first few of them told in its detail."""
    hidden = {name.lower() for name in personal}
    is_hidden = [column.lower() in hidden for column in columns]
    sample = tuple(
        tuple(_shown(value, mask) for value, mask in zip(row, is_hidden, strict=True))
        for row in rows
    )
    if is_not_null and sample:
        columns, sample = _nulls_first(columns, sample)
    examples = [_example(columns, row, is_not_null) for row in sample[:EXAMPLES]]
    told = f"{what}, e.g. {'; '.join(examples)}" if examples else what
    return Finding(count, told, columns, sample)


def _nulls_first(
    columns: tuple[str, ...], sample: tuple[tuple[str | None, ...], ...]
) -> tuple[tuple[str, ...], tuple[tuple[str | None, ...], ...]]:
    """The first column, then those in which something is null: where people look."""
    has_null = [any(value is None for value in column) for column in zip(*sample, strict=True)]
    order = sorted(range(len(columns)), key=lambda n: (n > 0, not has_null[n]))
    rows = tuple(tuple(row[n] for n in order) for row in sample)
    return tuple(columns[n] for n in order), rows


def _example(columns: tuple[str, ...], row: tuple[str | None, ...], is_not_null: bool) -> str:
    """A row in words; of one that is to have no null, its first column and what is null."""
    pairs = list(zip(columns, row, strict=True))
    if is_not_null:
        pairs = [*pairs[:1], *(pair for pair in pairs[1:] if pair[1] is None)]
    told = (f"{name} is empty" if value is None else f"{name}={value}" for name, value in pairs)
    return ", ".join(told)


def _shown(value: object, is_hidden: bool) -> str | None:
    """The value as text; a null is told of a personal column too, for it is no value."""
    if value is None:
        return None
    if is_hidden:
        return MASK
    text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"


def _value(con: duckdb.DuckDBPyConnection, query: str) -> int | float:
    row = con.execute(query).fetchone()
    value: int | float = row[0] if row else 0
    return value
