"""Read-only SQL on a release or on the lake: SELECT only, no files, no settings."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import duckdb

from warehouse.catalog import DAMAGED, catalog_errors
from warehouse.duck import attach_lake, connect, quoted
from warehouse.errors import QueryError
from warehouse.releases import current, folder
from warehouse.settings import Settings

# The only functions that may stand where a table stands. Everything else that DuckDB has there
# reads files, other databases or the machine.
TABLE_FUNCTIONS = {
    *("range", "generate_series", "unnest", "repeat", "repeat_row"),
    *("duckdb_columns", "duckdb_constraints", "duckdb_databases", "duckdb_functions"),
    *("duckdb_indexes", "duckdb_keywords", "duckdb_schemas", "duckdb_tables", "duckdb_types"),
    *("duckdb_views", "pragma_table_info", "pragma_storage_info", "pragma_version"),
}
LAKE_FUNCTIONS = {
    *("ducklake_snapshots", "ducklake_table_changes", "ducklake_table_deletions"),
    *("ducklake_table_info", "ducklake_table_insertions", "ducklake_current_snapshot"),
    *("snapshots", "table_changes", "table_insertions", "table_deletions", "current_snapshot"),
}
NAME_PARTS = ("catalog_name", "schema_name", "table_name")
# Scalar functions that reach outside of the data.
FORBIDDEN_FUNCTIONS = {"getenv", "current_setting", "write_log", "parse_duckdb_log_message"}
# How DuckDB says that there is no such database, table or column.
NO_DATABASE = re.compile(r'Catalog "(.+?)" does not exist')
NO_TABLE = re.compile(r'Table with name (?:"(.+?)"|(.+?)) does not exist')
NO_COLUMN = re.compile(r'(?:Referenced column|does not have a column named) "(.+?)"')
TABLES = "select schema_name, table_name from duckdb_tables()"


@contextmanager
def open_release(
    settings: Settings, release_id: str | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A locked-down connection to a release (the current one if None), in UTC."""
    database = settings.database(folder(settings, release_id))
    con = connect(settings, database, read_only=True)
    try:
        con.execute(f"set search_path = {quoted(','.join(_schemas(con)))}")
        con.execute("set enable_external_access = false")
        con.execute("set lock_configuration = true")
        yield con
    finally:
        con.close()


def _schemas(con: duckdb.DuckDBPyConnection) -> list[str]:
    """The schemas in which a bare name is looked up, of those that the release has."""
    rows = con.execute(
        "select schema_name from duckdb_schemas() where database_name = current_database()"
    ).fetchall()
    return [name for name in ("marts", "features", "meta", "main") if (name,) in rows]


@contextmanager
def open_lake(settings: Settings, at: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A locked-down connection to the lake, now or at a snapshot number or ISO 8601 time."""
    con = connect(settings)
    try:
        attach_lake(con, settings, snapshot=_snapshot(settings, at))
        con.execute("use lake")
        con.execute(f"set allowed_directories = [{quoted(f'{settings.lake_data}/')}]")
        con.execute("set enable_external_access = false")
        con.execute("set lock_configuration = true")
        with catalog_errors(settings):
            yield con
    finally:
        con.close()


def _snapshot(settings: Settings, at: str | None) -> int | None:
    from warehouse.lake import snapshot_number

    if at is None:
        return None
    return snapshot_number(settings, at)


def run_query(
    con: duckdb.DuckDBPyConnection,
    sql: str,
    *,
    on_lake: bool = False,
    settings: Settings | None = None,
) -> duckdb.DuckDBPyConnection:
    """Run one SELECT and return its result, ready to fetch within `explained`.

    Raises QueryError when it is something else, would read outside of the data, or fails; with
    `settings` it knows of tables that are not here but on the other side, lake or release.
    """
    with explained():
        check(con, sql, on_lake=on_lake)
        try:
            return con.execute(sql)
        except (duckdb.CatalogException, duckdb.BinderException) as error:
            _check_names(con, sql, str(error), on_lake, settings)
            raise


@contextmanager
def explained() -> Iterator[None]:
    """Turn DuckDB's complaint about a query, or while fetching from it, into a QueryError."""
    try:
        yield
    except duckdb.Error as error:
        if DAMAGED.search(str(error)):
            raise  # of the lake's catalog, not of the query: `open_lake` tells
        raise QueryError(
            str(error).strip().split("\n\nLINE")[0],
            next_step="mend the query, or the values that it reads",
        ) from None


def _check_names(
    con: duckdb.DuckDBPyConnection,
    sql: str,
    complaint: str,
    on_lake: bool,
    settings: Settings | None,
) -> None:
    """Raise QueryError with the nearest right name if DuckDB complains of a name."""
    if column := NO_COLUMN.search(complaint):
        read = _columns_read(con, sql)
        if column[1] in read:
            return  # It is in another of the tables: DuckDB's own words tell more.
        near = _nearest(column[1], _proposed(complaint)) or _nearest(column[1], read)
        described = (
            f"clearwater query{' --lake' * on_lake} 'describe TABLE' lists a table's columns"
        )
        raise QueryError(
            f"there is no column {column[1]}",
            next_step=f"did you mean {near}?" if near else described,
        )
    table = NO_TABLE.search(complaint)
    if missing := table or NO_DATABASE.search(complaint):
        name = next(filter(None, missing.groups()))
        here = [".".join(row) for row in con.execute(f"{TABLES} order by all").fetchall()]
        there = _tables_elsewhere(settings, on_lake) if settings else []
        raise QueryError(
            f"there is no {'table' if table else 'database'} {name}"
            f" in the {'lake' if on_lake else 'release'}",
            next_step=_table_hint(name, here, there, on_lake),
        )


def _columns_read(con: duckdb.DuckDBPyConnection, sql: str) -> dict[str, str]:
    """The columns of the tables that the query names, each under itself."""
    rows = con.execute(
        "select distinct column_name from duckdb_columns()"
        " where contains(lower(?), lower(table_name)) order by 1",
        [sql],
    ).fetchall()
    return {name: name for (name,) in rows}


def _proposed(complaint: str) -> dict[str, str]:
    """The columns that DuckDB proposes, of subqueries too, each under itself."""
    return {name: name for name in re.findall('"(.+?)"', complaint.partition("Candidate")[2])}


def _table_hint(name: str, here: list[str], there: list[str], on_lake: bool) -> str:
    """Where the table that was meant is, or how to look for it."""
    change = "leave out --lake" if on_lake else "add --lake"
    if name == "lake" and not on_lake:
        return f"{change} to query the lake"
    for table in there:
        if name in (table, table.removeprefix("raw_"), table.partition(".")[2]):
            return f"{table} is in the {'release' if on_lake else 'lake'}: {change}"
    known = [*there, *here]
    near = _nearest(name, {part: t for t in known for part in (t, t.partition(".")[2])})
    if near:
        return f"did you mean {near}?" + f" Then {change}." * (near not in here)
    return f'list what there is with: clearwater query{" --lake" * on_lake} "{TABLES}"'


def _nearest(name: str, meant: Mapping[str, str]) -> str | None:
    """What the key that is most like `name` stands for, upper and lower case apart."""
    lower = {key.lower(): value for key, value in meant.items()}
    near = difflib.get_close_matches(name.lower(), lower, n=1)
    return lower[near[0]] if near else None


def _tables_elsewhere(settings: Settings, on_lake: bool) -> list[str]:
    """The tables of the current release, asked from the lake; or else of the lake."""
    if on_lake:
        serving = current(settings)
        return sorted(serving.tables) if serving else []
    from warehouse.lake import META_TABLES, catalog_snapshot, raw_tables

    if not settings.lake_catalog.exists():
        return []
    raw = raw_tables(settings, catalog_snapshot(settings))
    return sorted(".".join(table) for table in raw) + [f"meta.{name}" for name in META_TABLES]


def check(con: duckdb.DuckDBPyConnection, sql: str, *, on_lake: bool = False) -> None:
    """Raise QueryError unless `sql` is one SELECT that reads the data alone."""
    statements = duckdb.extract_statements(sql)
    if len(statements) != 1:
        raise QueryError(
            "send exactly one statement", next_step="remove what stands before or after the `;`"
        )
    kind = statements[0].type.name
    if kind != "SELECT":
        raise QueryError(
            f"only SELECT is allowed, not {kind}",
            next_step="to change data, change a source or a model and run `clearwater run`",
        )
    # A literal, for a parameter would make DuckDB import pandas.
    row = con.execute(f"select json_serialize_sql({quoted(sql)})").fetchone()
    assert row is not None
    parsed = json.loads(row[0])
    if parsed.get("error"):
        raise QueryError(
            parsed.get("error_message", "the statement cannot be checked"),
            next_step="write it as one SELECT",
        )
    allowed = TABLE_FUNCTIONS | (LAKE_FUNCTIONS if on_lake else set())
    for node in _nodes(parsed):
        _check_node(node, allowed)


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from _nodes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _nodes(inner)


def _check_node(node: dict[str, Any], allowed: set[str]) -> None:
    if node.get("type") == "TABLE_FUNCTION":
        name = str(node.get("function", {}).get("function_name", "")).lower()
        if name not in allowed:
            raise QueryError(
                f"the table function {name} is not allowed in a query",
                next_step=f'query the published tables: clearwater query "{TABLES}"',
            )
    table = ".".join(str(node.get(part, "")) for part in NAME_PARTS).strip(".")
    if node.get("type") == "BASE_TABLE" and ("/" in table or "\\" in table):
        raise QueryError(
            f"a query cannot read the file {table}",
            next_step="make it a source in sources.yml and run `clearwater run`",
        )
    name = str(node.get("function_name", "")).lower()
    if name in FORBIDDEN_FUNCTIONS:
        raise QueryError(f"the function {name} is not allowed in a query", next_step="leave it out")
