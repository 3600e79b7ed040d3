"""Published tables as they are in a build or release: rows, columns, and how fresh they are."""

from __future__ import annotations

from contextlib import closing, suppress
from typing import TYPE_CHECKING

import duckdb

from expectations.offenders import relation
from expectations.report import NewestValue, TableReport
from expectations.rules import PUBLISHED
from warehouse.duck import connect, identifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from warehouse.settings import Settings

SHOWN_EVENTS = 2
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

    `declared` are the columns that a freshness rule or a feature set names, by table: those say how
    fresh it is, in a table without any all of its time columns. Of `personal` columns nothing but
    name and type is told.

    Raises duckdb.Error when the database cannot be read.
    """
    with closing(connect(settings, database, read_only=True)) as con:
        return tuple(
            _size(con, name, columns, declared.get(name, ()), personal.get(name, ()))
            for name, columns in _columns(con).items()
        )


def lake_sizes(
    con: duckdb.DuckDBPyConnection, event_times: Mapping[str, str | None]
) -> tuple[TableReport, ...]:
    """The rows of these tables of the lake, and the newest of the column that each is given with.

    `con` has the lake open. A table that is not there, or cannot be read, is left out.
    """
    found = []
    for name, column in event_times.items():
        newest = f", typeof(any_value({identifier(column)})), {_newest(column)}" if column else ""
        with suppress(duckdb.Error):
            row = con.execute(f"select count(*){newest} from {relation(name)}").fetchone()
            assert row is not None
            times: tuple[NewestValue, ...] = ()
            if column and row[2] is not None:
                at = row[2].date() if row[1] == "DATE" else row[2]
                times = (NewestValue(column, at),)
            found.append(TableReport(name, int(row[0]), newest=times))
    return tuple(found)


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
    hidden = {column.lower() for column in personal}
    times = [
        (column, kind)
        for column, kind in columns
        if (kind == "DATE" or kind.startswith("TIMESTAMP")) and column.lower() not in hidden
    ]
    newest = "".join(f", {_newest(column)}" for column, _ in times)
    row = con.execute(f"select count(*){newest} from {relation(name)}").fetchone()
    assert row is not None
    found = [(at, *time) for at, time in zip(row[1:], times, strict=True) if at is not None]
    return TableReport(
        name=name,
        rows=int(row[0]),
        columns=tuple(columns),
        newest=tuple(_telling(found, {column.lower() for column in declared})),
        personal=tuple(column for column, _ in columns if column.lower() in hidden),
    )


def _telling(found: list[tuple[datetime, str, str]], declared: set[str]) -> Iterator[NewestValue]:
    """The newest values that tell most: of declared columns, or else of all; then of loading."""
    newest_first = sorted(found, key=lambda newest: newest[0], reverse=True)
    loaded = [one for one in newest_first if one[1].lower().endswith(_LOADED_AT)]
    events = [one for one in newest_first if one not in loaded]
    named = [one for one in events if one[1].lower() in declared]
    for at, column, kind in (*(named or events)[:SHOWN_EVENTS], *loaded[:1]):
        yield NewestValue(column, at.date() if kind == "DATE" else at)


def _newest(column: str) -> str:
    newest = f"max({identifier(column)})::timestamp"
    return f"case when {newest} {_KNOWN} then {newest} end"
