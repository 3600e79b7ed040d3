"""Published tables as they are in a build or release: rows, columns, and how fresh they are."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from expectations.offenders import relation
from expectations.report import NewestValue, TableReport
from expectations.rules import PUBLISHED
from warehouse.duck import connect, identifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date, datetime
    from pathlib import Path

    import duckdb

    from warehouse.settings import Settings

SHOWN_TIMES = 3
_LOADED_AT = "loaded_at"
# DuckDB knows infinite times, and ones that Python does not.
_KNOWN = "between timestamp '0001-01-01' and timestamp '9999-12-31 23:59:59'"


def table_sizes(
    settings: Settings,
    database: Path,
    declared: Mapping[str, Iterable[str]],
    personal: Mapping[str, Sequence[str]],
) -> tuple[TableReport, ...]:
    """Every published table in `database`, with the newest values of its time columns.

    `declared` are the columns that a freshness rule or a feature set names, by table; those and
    the times of loading are looked at, in a table without either the others. Of `personal` columns
    nothing but name and type is told.

    Raises duckdb.Error when the database cannot be read.
    """
    with closing(connect(settings, database, read_only=True)) as con:
        con.execute("set TimeZone = 'UTC'")
        return tuple(
            _size(con, name, columns, declared.get(name, ()), personal.get(name, ()))
            for name, columns in _columns(con).items()
        )


def _columns(con: duckdb.DuckDBPyConnection) -> dict[str, list[tuple[str, str]]]:
    """The columns and types of each published table, in order."""
    rows = con.execute(
        "select schema_name || '.' || table_name, column_name, data_type from duckdb_columns()"
        " where not internal and list_contains(?, schema_name)"
        " order by schema_name, table_name, column_index",
        [list(PUBLISHED)],
    ).fetchall()
    tables: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind in rows:
        tables.setdefault(table, []).append((column, kind))
    return tables


def _size(
    con: duckdb.DuckDBPyConnection,
    name: str,
    columns: list[tuple[str, str]],
    declared: Iterable[str],
    personal: Sequence[str],
) -> TableReport:
    times = _times(columns, {column.lower() for column in declared}, personal)
    newest = "".join(f", {_newest(column)}" for column, _ in times)
    row = con.execute(f"select count(*){newest} from {relation(name)}").fetchone()
    assert row is not None
    return TableReport(
        name=name,
        rows=int(row[0]),
        columns=tuple(columns),
        newest=tuple(
            NewestValue(column, _at(value, kind))
            for (column, kind), value in zip(times, row[1:], strict=True)
            if value is not None
        ),
        personal=tuple(personal),
    )


def _newest(column: str) -> str:
    newest = f"max({identifier(column)})::timestamp"
    return f"case when {newest} {_KNOWN} then {newest} end"


def _at(value: datetime, kind: str) -> datetime | date:
    return value.date() if kind == "DATE" else value


def _times(
    columns: list[tuple[str, str]], declared: set[str], personal: Sequence[str]
) -> list[tuple[str, str]]:
    """The time columns to look at, the declared ones first."""
    hidden = {column.lower() for column in personal}
    times = [
        (column, kind)
        for column, kind in columns
        if (kind == "DATE" or kind.startswith("TIMESTAMP")) and column.lower() not in hidden
    ]
    named = [(c, kind) for c, kind in times if c.lower() in declared]
    loaded = [(c, kind) for c, kind in times if c.endswith(_LOADED_AT) and (c, kind) not in named]
    return ([*named, *loaded] or times)[:SHOWN_TIMES]
