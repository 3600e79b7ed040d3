"""Read-only SQL on a release or on the lake: SELECT only, no files, no settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb

from warehouse.duck import attach_lake, connect, quoted
from warehouse.errors import QueryError
from warehouse.releases import folder
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


@contextmanager
def open_release(
    settings: Settings, release_id: str | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A locked-down connection to a release (the current one if None), in UTC."""
    database = settings.database(folder(settings, release_id))
    con = connect(settings, database, read_only=True)
    try:
        con.execute("set TimeZone = 'UTC'")
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
        con.execute("set TimeZone = 'UTC'")
        attach_lake(con, settings, snapshot=_snapshot(settings, at))
        con.execute("use lake")
        con.execute(f"set allowed_directories = [{quoted(f'{settings.lake_data}/')}]")
        con.execute("set enable_external_access = false")
        con.execute("set lock_configuration = true")
        yield con
    finally:
        con.close()


def _snapshot(settings: Settings, at: str | None) -> int | None:
    from warehouse.lake import snapshot_number

    if at is None:
        return None
    return snapshot_number(settings, at)


def run_query(
    con: duckdb.DuckDBPyConnection, sql: str, *, on_lake: bool = False
) -> duckdb.DuckDBPyConnection:
    """Run one SELECT and return its result, ready to fetch within `explained`.

    Raises QueryError when it is something else, would read outside of the data, or fails.
    """
    with explained():
        check(con, sql, on_lake=on_lake)
        return con.execute(sql)


@contextmanager
def explained() -> Iterator[None]:
    """Turn DuckDB's complaint about a query, or while fetching from it, into a QueryError."""
    try:
        yield
    except duckdb.Error as error:
        raise QueryError(
            str(error).strip().split("\n\nLINE")[0],
            next_step="list what there is with: clearwater query 'show all tables'",
        ) from None


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
                next_step="query the published tables; clearwater query 'show all tables'",
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
