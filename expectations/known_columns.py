"""Whether rules speak of tables, columns and types that there are, told before anything is built.

DuckDB itself binds the SQL of each rule, over empty tables of the types that models declare.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing

import duckdb

from expectations.offenders import aggregate, relation, satisfied, within
from expectations.rules import LEARNED, PUBLISHED, RAW_CHECKS, Rule
from warehouse.duck import identifier
from warehouse.errors import ConfigurationError

# The columns of a table with their DuckDB types. A type may be empty, as may the whole: unknown.
Columns = Mapping[str, str]

_NO_COLUMN = re.compile(r'(?:Referenced column|does not have a column named) "(.+?)"')
_NO_TABLE = re.compile(r"Table with name (\S+) does not exist")


def mistakes(rules: Sequence[Rule], tables: Mapping[str, Columns]) -> Iterator[ConfigurationError]:
    """What each rule says that its tables do not have; the first mistake of a rule.

    `tables` are all that there are, by their dotted names. A table of the lake that is not among
    them has not been loaded yet, and a rule on it is passed over.
    """
    with closing(duckdb.connect(config={"threads": 1})) as con:
        typed = {name for name, columns in tables.items() if _make(con, name, columns)}
        for rule in rules:
            if rule.boundary == "raw" and rule.table not in tables:
                continue
            try:
                _check_names(rule, tables)
                _check_sql(con, rule, tables, typed)
            except ConfigurationError as error:
                yield error


def _make(con: duckdb.DuckDBPyConnection, name: str, columns: Columns) -> bool:
    """Make an empty table like this one; False when its types are not known."""
    con.execute(f"create schema if not exists {identifier(name.partition('.')[0])}")
    if not columns or not all(columns.values()):
        return False
    listed = ", ".join(f"{identifier(column)} {kind}" for column, kind in columns.items())
    try:
        con.execute(f"create table {relation(name)} ({listed})")
    except duckdb.Error:  # a type of an extension, or none at all: the build will tell
        return False
    return True


def _check_names(rule: Rule, tables: Mapping[str, Columns]) -> None:
    _check_table(rule, rule.table, tables)
    names = [*rule.columns, *(name for name, _ in rule.column_types), *filter(None, [rule.by])]
    _check_columns(rule, rule.table, names, tables)
    for other in filter(None, (rule.references_table, rule.equals_table, rule.reference_table)):
        _check_table(rule, other, tables)
    _check_columns(rule, rule.references_table, rule.references_columns, tables)
    _check_columns(rule, rule.reference_table, rule.columns, tables)


def _check_table(rule: Rule, name: str, tables: Mapping[str, Columns]) -> None:
    """Refuse a published table that no model makes; others may be there all the same."""
    if name in tables or name.partition(".")[0] not in PUBLISHED:
        return
    near = difflib.get_close_matches(name, tables, n=1)
    published = [table for table in tables if table.partition(".")[0] in PUBLISHED]
    raise ConfigurationError(
        f"rule {rule.id}: no model makes the table {name!r}",
        where=rule.where,
        next_step=f"did you mean {near[0]!r}?" if near else f"tables: {', '.join(published)}",
    )


def _check_columns(
    rule: Rule, table: str, names: Sequence[str], tables: Mapping[str, Columns]
) -> None:
    known = tables.get(table)
    if not known:
        return
    lower = {column.lower() for column in known}
    for name in names:
        if name.lower() not in lower:
            raise _no_column(rule, table, name, list(known))


def _no_column(rule: Rule, table: str, name: str, known: Sequence[str]) -> ConfigurationError:
    lower = {column.lower(): column for column in known}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.0)
    return ConfigurationError(
        f"rule {rule.id}: {table} has no column {name!r}; the nearest is {lower[near[0]]!r}",
        where=rule.where,
        next_step=f"use one of: {', '.join(known)}",
    )


def _check_sql(
    con: duckdb.DuckDBPyConnection,
    rule: Rule,
    tables: Mapping[str, Columns],
    typed: set[str],
) -> None:
    for table, sql in _conditions(rule):
        if table not in typed or (rule.references_table and rule.references_table not in typed):
            continue
        try:
            con.execute(f"explain select {sql} from {relation(table)}")
        except duckdb.Error as error:
            _raise_told(rule, table, str(error), tables)


def _conditions(rule: Rule) -> Iterator[tuple[str, str]]:
    """The rule's SQL, each with the table whose rows it is on."""
    if rule.is_learned or rule.check in LEARNED:
        return
    if rule.check in RAW_CHECKS:
        yield rule.table, satisfied(rule)
    elif rule.check in ("aggregate", "distinct_count", "freshness"):
        yield rule.table, within(rule, aggregate(rule))
    elif rule.check == "total":
        yield rule.table, rule.expression
        yield rule.equals_table, rule.equals


def _raise_told(rule: Rule, table: str, complaint: str, tables: Mapping[str, Columns]) -> None:
    """Raise what DuckDB complains of; a table without declared types may be there all the same."""
    if missing := _NO_TABLE.search(complaint):
        others = {name.partition(".")[2] for name in tables}
        if missing[1].partition(".")[2] in others or missing[1] in others:
            return
    if column := _NO_COLUMN.search(complaint):
        raise _no_column(rule, table, column[1], list(tables[table])) from None
    told = complaint.split("\n\nLINE")[0].strip()
    raise ConfigurationError(
        f"rule {rule.id}: {' '.join(told.split())}",
        where=rule.where,
        next_step=f"mend its SQL; {table} has: {', '.join(tables[table])}",
    ) from None
