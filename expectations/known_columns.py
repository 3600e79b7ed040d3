"""Whether rules speak of tables, columns and types that there are, told before anything is built.

DuckDB itself binds the SQL of each rule, over empty tables of the types that models declare.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import duckdb

from expectations.known_types import check_bounds, check_types
from expectations.offenders import aggregate, looked_into, satisfied, within
from expectations.rules import LEARNED, PUBLISHED, RAW_CHECKS, Rule, is_of_lake
from warehouse.domains import MAIN
from warehouse.duck import identifier
from warehouse.errors import ClearwaterError, ConfigurationError
from warehouse.wording import known_names, nearest

if TYPE_CHECKING:
    from warehouse.build import Build
    from warehouse.dbt_runner import Model, Project
    from warehouse.settings import Settings
    from warehouse.sources import Source

# The columns of a table with their DuckDB types. A type may be empty, as may the whole: unknown.
Columns = Mapping[str, str]

# A build's own notes, which rules may look at and no model makes.
NOTES = "meta"
# A table that SQL names with the lake's database or schema before it.
_OF_LAKE = re.compile(r'"?(lake|raw_[^".]*)"?\.', re.IGNORECASE)
_ONE_DOMAIN = (
    "check it where both are of one domain, or shorten `independent_domains` in dbt_project.yml"
)
_NO_COLUMN = re.compile(r'(?:Referenced column|does not have a column named) "(.+?)"')
_NO_TABLE = re.compile(r"Table with name (\S+) does not exist")
_NOT_OF_ROWS = re.compile(r"WHERE clause cannot contain (aggregates|window functions)")
_NOT_OF_TABLES = re.compile(r'column "(.+?)" must appear in the GROUP BY clause')


@dataclass(frozen=True)
class Known:
    """What rules may speak of.

    `tables` are by their dotted names; where they are `of_build` only the published ones are all
    there. `domains` has the domain of each published table. `views` are those that read the lake,
    which a gate does not open. `awaited` are tables of the lake that a source fills, loaded or not;
    with `may_grow` its tables may get more columns with the next file. `readers` has the domains of
    the models that each table of the lake goes into.
    """

    tables: Mapping[str, Columns]
    domains: Mapping[str, str] = field(default_factory=dict)
    views: Collection[str] = ()
    awaited: Collection[str] = ()
    of_build: bool = False
    may_grow: bool = False
    readers: Mapping[str, Collection[str]] = field(default_factory=dict)


NOTHING = Known({})


def of_project(project: Project, lake: Known = NOTHING) -> Known:
    """What rules on published tables may speak of, by the project's models and their contracts.

    `lake` is what there is besides the sources that models read.
    """
    from warehouse.dbt_runner import contracts

    made = {model.relation: model for model in project.models.values()}
    views: set[str] = set()
    waiting = {name for name, m in made.items() if m.materialized in ("view", "ephemeral")}
    for _ in waiting:  # a view on a table of the build can be read, and so can one on that view
        views |= {
            name
            for name in waiting
            if made[name].materialized == "ephemeral"
            or any(parent in views or parent.startswith("raw_") for parent in made[name].parents)
        }
    domains = {name: m.domain for name, m in made.items() if m.schema in PUBLISHED}
    readers = _readers(project.models.values())
    awaited = {*lake.awaited, *readers}
    return Known({**lake.tables, **contracts(project)}, domains, views, awaited, readers=readers)


def of_build(built: Build) -> Known:
    """What rules on published tables may speak of, by a build, which knows no columns."""
    tables: dict[str, Columns] = {table: {} for table in built.domains}
    readers = _readers(built.models.values())
    return Known(tables, built.domains, of_build=True, readers=readers)


def _readers(models: Iterable[Model]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for model in models:
        for schema, table in model.sources:
            found.setdefault(f"{schema}.{table}", set()).add(model.domain)
    return found


def of_lake(settings: Settings, sources: Iterable[Source], *, may_grow: bool = False) -> Known:
    """What raw rules may speak of: the tables of the lake, and those that the sources fill."""
    awaited = {f"{source.schema_name}.{source.table_name}" for source in sources}
    return Known(_lake_columns(settings), awaited=awaited, may_grow=may_grow)


def _lake_columns(settings: Settings) -> dict[str, dict[str, str]]:
    """The columns of the lake's raw tables; none where there is no lake, or none that opens."""
    from warehouse.query import open_lake

    if not settings.lake_catalog.exists():
        return {}
    found: dict[str, dict[str, str]] = {}
    try:
        with open_lake(settings) as con:
            rows = con.execute(
                "select schema_name || '.' || table_name, column_name, data_type"
                " from duckdb_columns() where database_name = 'lake'"
                " and starts_with(schema_name, 'raw_') order by column_index"
            ).fetchall()
    except (ClearwaterError, duckdb.Error):  # whoever uses the lake tells why
        return {}
    for table, column, kind in rows:
        found.setdefault(table, {})[column] = kind
    return found


def mistakes(rules: Iterable[Rule], known: Known) -> Iterator[ConfigurationError]:
    """What each rule says that there is not, or that does not go together; of a rule the first.

    A rule on a table of the lake that is not loaded is passed over, but for the tables that it
    looks into.
    """
    with closing(duckdb.connect(config={"threads": 1})) as con:
        con.execute("attach ':memory:' as lake")
        types = {name: _made(con, name, columns) for name, columns in known.tables.items()}
        typed = {name: found for name, found in types.items() if found}
        for rule in rules:
            if rule.boundary == "raw" and rule.table not in {*known.tables, *known.awaited}:
                continue
            try:
                _check_tables(rule, known)
                if _lacks_what_may_come(rule, known):
                    continue
                _check_names(rule, known.tables)
                check_types(rule, typed)
                _check_sql(con, rule, known.tables, typed)
            except ConfigurationError as error:
                yield error


def _made(con: duckdb.DuckDBPyConnection, name: str, columns: Columns) -> Columns:
    """Make an empty table like this one; its columns with DuckDB's types, or none if unknown."""
    place = looked_into(name)
    con.execute(f"create schema if not exists {place.rpartition('.')[0]}")
    if not columns or not all(columns.values()):
        return {}
    listed = ", ".join(f"{identifier(column)} {kind}" for column, kind in columns.items())
    with suppress(duckdb.Error):  # a type of an extension, or none at all: the build will tell
        con.execute(f"create table {place} ({listed})")
        described = con.execute(f"describe {place}").fetchall()
        return {column: kind for column, kind, *_ in described}
    return {}


def _lacks_what_may_come(rule: Rule, known: Known) -> bool:
    """Whether a raw rule names a column that the table has not, and the next file may bring."""
    if rule.boundary != "raw":
        return False
    ours = {column.lower() for column in known.tables.get(rule.table, ())}
    return known.may_grow and not {column.lower() for column in rule.columns} <= ours


def _error(rule: Rule, what: str, next_step: str) -> ConfigurationError:
    return ConfigurationError(f"rule {rule.id}: {what}", where=rule.where, next_step=next_step)


def _check_tables(rule: Rule, known: Known) -> None:
    """Refuse tables that nobody makes, that cannot be read, or that are published apart."""
    _check_own_sql(rule)
    if rule.boundary == "raw":
        if rule.references_table:
            _check_of_lake(rule, "references_table", rule.references_table, known)
        return
    if rule.table not in known.tables:
        raise _no_table(rule, rule.table, known)
    for key in ("references_table", "equals_table", "reference_table"):
        name = getattr(rule, key)
        if name:
            _check_other(rule, key, name, known)
    own = known.domains.get(rule.table, MAIN)
    for table, domain in known.domains.items():
        if domain != own and _reads(rule, table):
            raise _error(
                rule,
                f"it is on {rule.table} of the domain {own!r} and looks into {table} of"
                f" {domain!r}, which is published apart from it",
                _ONE_DOMAIN,
            )
    readers = known.readers.get(rule.lake_table, ())
    if readers and own not in readers:
        raise _error(
            rule,
            f"it is on {rule.table} of the domain {own!r} and looks into {rule.lake_table}, which"
            f" only goes into tables of {known_names(sorted(readers))}, published apart from it",
            _ONE_DOMAIN,
        )


def _check_own_sql(rule: Rule) -> None:
    """Refuse SQL that names a table of the lake itself: it binds only where one is attached."""
    for sql in (rule.expression, rule.equals, rule.minimum_sql, rule.maximum_sql):
        if not re.search(r"lake|raw_", sql, re.IGNORECASE):
            continue
        named: set[str] = set()
        with suppress(duckdb.Error):  # no SQL: told when it is bound
            named = duckdb.get_table_names(f"select ({sql})", qualified=True)
        for table in sorted(filter(_OF_LAKE.match, named)):
            raise _error(
                rule,
                f"its SQL looks into {table}, but SQL stays within what is built",
                "only `references_table` and `equals_table` may name a table of the lake",
            )


def _check_other(rule: Rule, key: str, name: str, known: Known) -> None:
    """Refuse another table than the rule's own that a gate does not find in the build."""
    schema = name.partition(".")[0]
    if is_of_lake(name):
        if key == "reference_table":
            step = "compare with a published table, or check it in a rule of the raw boundary"
            raise _error(rule, f"`{key}` {name!r} is of the lake, not published", step)
        if not known.of_build:  # what a build lacks, its gate tells
            _check_of_lake(rule, key, name, known)
        return
    if name in known.views:
        step = "look into a table: of the lake (raw_<source>.<dataset>), a mart, or an intermediate"
        raise _error(rule, f"`{key}` {name!r} is a view of the lake", f"{step} model that is one")
    is_told = schema in PUBLISHED if known.of_build else schema != NOTES
    if is_told and name not in known.tables:
        raise _no_table(rule, name, known)


def _check_of_lake(rule: Rule, key: str, name: str, known: Known) -> None:
    there = {*known.tables, *known.awaited}
    if name in there:
        return
    lake = sorted(filter(is_of_lake, there))
    near = nearest(name, lake) or _of_same_name(name, lake)
    what = f"`{key}` {name!r} is no table of the lake"
    step = f"did you mean {near!r}?" if near else f"it has: {known_names(lake)}"
    if name.partition(".")[0] in PUBLISHED:
        what += "; a file is judged before anything is built of it"
        step = step if near else f"{step}; or check it in a rule of the table built of it"
    raise _error(rule, what, step)


def _no_table(rule: Rule, name: str, known: Known) -> ConfigurationError:
    published = sorted(t for t in known.tables if t.partition(".")[0] in PUBLISHED)
    there = set(known.tables) - set(known.views)
    if name == rule.table:
        there = set(published)
    near = nearest(name, there) or _of_same_name(name, published)
    step = f"did you mean {near!r}?" if near else f"tables: {known_names(published)}"
    return _error(rule, f"no model makes the table {name!r}", step)


def _of_same_name(name: str, tables: Iterable[str]) -> str:
    """A table of that name in whatever schema; empty if there is none."""
    last = name.rpartition(".")[2].lower()
    return next((table for table in tables if table.rpartition(".")[2].lower() == last), "")


def _reads(rule: Rule, table: str) -> bool:
    if table in (rule.references_table, rule.equals_table, rule.reference_table):
        return True
    sql = f"{rule.expression} {rule.equals} {rule.minimum_sql} {rule.maximum_sql}"
    name = table.partition(".")[2]
    return "select" in sql.lower() and bool(re.search(rf"\b{re.escape(name)}\b", sql))


def _check_names(rule: Rule, tables: Mapping[str, Columns]) -> None:
    names = [*rule.columns, *(name for name, _ in rule.column_types), *filter(None, [rule.by])]
    _check_columns(rule, rule.table, names, tables)
    _check_columns(rule, rule.references_table, rule.references_columns, tables)
    _check_columns(rule, rule.reference_table, rule.columns, tables)


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
    near = nearest(name, known)
    return _error(
        rule,
        f"{table} has no column {name!r}" + (f"; the nearest is {near!r}" if near else ""),
        f"use one of: {known_names(known, near)}",
    )


def _check_sql(
    con: duckdb.DuckDBPyConnection,
    rule: Rule,
    tables: Mapping[str, Columns],
    typed: Mapping[str, Columns],
) -> None:
    for table, query in _queries(rule):
        if table not in typed or (rule.references_table and rule.references_table not in typed):
            continue
        try:
            described = con.execute(f"describe {query}").fetchall()
            con.execute(f"explain {query}")  # which folds constants: one that is no date is told
        except duckdb.Error as error:
            _raise_told(rule, table, str(error), tables)
            continue
        if rule.check == "aggregate":
            check_bounds(rule, rule.expression, described[0][1])
        if rule.check == "expression" and described[0][1] != "BOOLEAN":
            raise _error(
                rule,
                f"its expression is of the type {described[0][1]}, neither true nor false",
                "write a condition on the row, such as `amount > 0`",
            )


def _queries(rule: Rule) -> Iterator[tuple[str, str]]:
    """Queries that bind as the rule's own do, each with the table whose rows it is on."""
    own = f"from {looked_into(rule.table)}"
    if rule.is_learned or rule.check in LEARNED:
        return
    if rule.check in RAW_CHECKS:
        yield rule.table, f"select {satisfied(rule)} {own} where {satisfied(rule)}"
    elif rule.check in ("aggregate", "distinct_count", "freshness"):
        value = aggregate(rule)
        for column in (value, within(rule, value)):
            yield rule.table, f"select {column}, count(*) {own}"
    elif rule.check == "total":
        yield rule.table, f"select {rule.expression}, count(*) {own}"
        yield (
            rule.equals_table,
            f"select {rule.equals}, count(*) from {looked_into(rule.equals_table)}",
        )


def _raise_told(rule: Rule, table: str, complaint: str, tables: Mapping[str, Columns]) -> None:
    """Raise what DuckDB complains of; a table without declared types may be there all the same."""
    if missing := _NO_TABLE.search(complaint):
        others = {name.partition(".")[2] for name in tables}
        if missing[1].partition(".")[2] in others or missing[1] in others:
            return
    if column := _NO_COLUMN.search(complaint):
        raise _no_column(rule, table, column[1], list(tables[table])) from None
    if _NOT_OF_ROWS.search(complaint):
        what = "its expression looks at many rows, but the check looks at each by itself"
        step = "compare columns of the row, and check totals on a published table"
        if rule.boundary != "raw":
            step = "take the check `aggregate`, with `min` or `max`, or compare columns of the row"
        raise _error(rule, what, step) from None
    if column := _NOT_OF_TABLES.search(complaint):
        raise _error(
            rule,
            f"it has no one value for the table: {column[1]!r} has one for each row",
            f"write an aggregate such as `max({column[1]})`, or take the check `expression`",
        ) from None
    told = " ".join(complaint.split("\n\nLINE")[0].split())
    written = (rule.expression, rule.equals, rule.minimum_sql, rule.maximum_sql)
    sql = " and ".join(f"`{part}`" for part in written if part)
    raise _error(
        rule,
        f"{told}, in {sql}" if sql else told,
        f"mend its SQL; {table} has: {known_names(tables[table])}",
    ) from None
