"""The lake: a DuckLake with its catalog in SQLite, its own ledger and quarantine in `meta`."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from warehouse.catalog import catalog_errors, is_lake_lost, no_lake, open_catalog
from warehouse.duck import (
    PARQUET,
    attach_lake,
    connect,
    extension_file,
    identifier,
    load_extensions,
    loading_memory,
    quoted,
)
from warehouse.errors import LakeError
from warehouse.files import sync
from warehouse.readers.contract import Column
from warehouse.settings import Settings
from warehouse.sources import Source

# A table in what DuckLake says that a snapshot changed: inserted_into_table:4, altered_table:4.
# Files that were merged, as merge_adjacent:4 says, hold the rows that they held before.
CHANGED_TABLE = re.compile(r"\b(?!merge_adjacent:)\w+:(\d+)")
QUARANTINE = {
    "batch_id": "varchar",
    "source": "varchar",
    "source_file": "varchar",
    "_source_row": "bigint",
    "line": "bigint",
    "reason": "varchar",
    "detail": "varchar",
    "raw": "varchar",
    "quarantined_at": "timestamp",
    "reasons": "varchar[]",  # all of them, where a row can have several; null means `reason` alone
}
META_TABLES = {
    "batches": {
        "batch_id": "varchar",
        "source": "varchar",
        "source_file": "varchar",
        "content_sha256": "varchar",
        "byte_count": "bigint",
        "arrived_at": "timestamp",
        "loaded_at": "timestamp",
        "status": "varchar",
        "reason": "varchar",
        "rows_in": "bigint",
        "loaded": "bigint",
        "quarantined": "bigint",
        "already_known": "bigint",
        "refused": "bigint",
        "dropped": "bigint",
        "deleted": "bigint",
        "source_fingerprint": "varchar",
        "run_id": "varchar",
    },
    "quarantine": QUARANTINE,
    "dropped": QUARANTINE | {"dropped_at": "timestamp"},
    "schema_changes": {
        "batch_id": "varchar",
        "source": "varchar",
        "source_file": "varchar",
        "column_name": "varchar",
        "change": "varchar",
        "type_before": "varchar",
        "type_after": "varchar",
        "changed_at": "timestamp",
    },
    "decisions": {
        "decision_id": "varchar",
        "kind": "varchar",
        "source": "varchar",
        "batch_id": "varchar",
        "decided_at": "timestamp",
    },
    "sources": {"source": "varchar", "batch_count": "bigint", "loaded_at": "timestamp"},
}
# SQL for all reasons of row `q` of `held_rows`.
REASONS = "coalesce(q.reasons, [q.reason])"
PROVENANCE = (
    Column("_batch_id", "VARCHAR"),
    Column("_source_file", "VARCHAR"),
    Column("_source_row", "BIGINT"),
    Column("_loaded_at", "TIMESTAMP"),
)


@contextmanager
def writing(settings: Settings, *, anew: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the lake attached for writing; makes the lake when there is none.

    Raises LakeError when the lake is gone, unless it is to be made `anew`: another beside the
    loads of the first would not do what was done and decided before. The caller holds the writer
    lock.
    """
    finish_swap(settings)
    if is_lake_lost(settings) and not anew:
        raise no_lake(settings)
    if not settings.lake_catalog.exists():
        _create(settings)
    con = connect(settings)
    try:
        con.execute("set preserve_insertion_order = false")
        con.execute(f"set memory_limit = {quoted(loading_memory(settings))}")
        if is_encrypted(settings):
            load_cipher(con)
        attach_lake(con, settings, read_only=False)
        _complete_meta(con)
        with catalog_errors(settings):
            yield con
    except duckdb.Error as error:
        if "lake" in str(error) and isinstance(error, duckdb.CatalogException):
            raise LakeError(str(error), where=str(settings.lake_catalog)) from error
        raise
    finally:
        con.close()


def _create(settings: Settings) -> None:
    """Make a whole catalog under another name first: a killed process leaves none or all of it."""
    settings.lake_data.mkdir(parents=True, exist_ok=True)
    part = settings.lake_catalog.with_name("making.sqlite")
    for rest in part.parent.glob("making.sqlite*"):
        rest.unlink()
    with closing(sqlite3.connect(part)) as catalog:
        catalog.execute("pragma journal_mode = wal")
    with closing(connect(settings)) as con:
        load_extensions(con)
        encrypted = ", encrypted" if settings.encrypted else ""
        if encrypted:
            load_cipher(con)
        con.execute(
            f"attach {quoted(f'ducklake:sqlite:{part}')} as lake"
            f" (data_path {quoted(f'{settings.lake_data}/')}{encrypted})"
        )
        con.execute("begin")
        con.execute("create schema lake.meta")
        _complete_meta(con)
        con.execute("commit")
        for option, value in PARQUET.items():
            con.execute(f"call lake.set_option('parquet_{option}', '{value}')")
    with closing(sqlite3.connect(part)) as catalog:
        catalog.execute("pragma wal_checkpoint(truncate)")
    part.rename(settings.lake_catalog)


def load_cipher(con: duckdb.DuckDBPyConnection) -> None:
    """Load the extension with which DuckDB writes encrypted files; it reads them without."""
    con.execute(f"load {quoted(extension_file('httpfs'))}")


def is_encrypted(settings: Settings) -> bool:
    """Whether the lake's data files are encrypted, as its catalog says."""
    with open_catalog(settings) as catalog:
        row = catalog.execute(
            "select value from ducklake_metadata where key = 'encrypted'"
        ).fetchone()
    return bool(row == ("true",))


def made_anew(settings: Settings) -> Path:
    """Where a lake made anew stands, whole, from the decision to take it until it is in place."""
    return settings.home / "lake.new"


def earlier_lakes(settings: Settings) -> list[Path]:
    """The lakes that others took the place of."""
    return sorted(settings.home.glob("lake.before-*"))


def finish_swap(settings: Settings) -> None:
    """Put a lake made anew in the place of the old one, or end what a killed process began.

    The caller holds the writer lock. Either lake is whole at every moment.
    """
    new, place = made_anew(settings), settings.lake_catalog.parent
    if not new.exists():
        return
    if place.exists():
        place.rename(place.with_name(f"lake.before-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"))
    new.rename(place)
    sync(settings.home)


def _complete_meta(con: duckdb.DuckDBPyConnection) -> None:
    """Make what `meta` lacks: all of it in a new lake, what came later in an older one."""
    rows = con.execute(
        "select table_name, column_name from duckdb_columns()"
        " where database_name = 'lake' and schema_name = 'meta'"
    ).fetchall()
    there = {table: {name for t, name in rows if t == table} for table, _ in rows}
    for table, columns in META_TABLES.items():
        if table not in there:
            listed = ", ".join(f"{name} {type_name}" for name, type_name in columns.items())
            con.execute(f"create table lake.meta.{table} ({listed})")
            continue
        for name in columns.keys() - there[table]:
            con.execute(f"alter table lake.meta.{table} add column {name} {columns[name]}")


def held_rows(meta: str) -> str:
    """The quarantine in the schema `meta` as a FROM item; an older one lists no reasons."""
    none = "select null::varchar[] as reasons where false"
    return f"(from {meta}.quarantine union all by name {none})"


def latest_snapshot(con: duckdb.DuckDBPyConnection) -> int:
    """The number of the newest snapshot."""
    row = con.execute("select max(snapshot_id) from lake.snapshots()").fetchone()
    assert row is not None
    return int(row[0])


def describe_commit(con: duckdb.DuckDBPyConnection, what: str) -> None:
    """Say in the snapshot that the open transaction makes what it did."""
    con.execute("call ducklake_set_commit_message('lake', 'clearwater', ?)", [what])


def table_name(source: Source) -> str:
    """The qualified, quoted name of the source's table."""
    return f"lake.{identifier(source.schema_name)}.{identifier(source.table_name)}"


def table_columns(con: duckdb.DuckDBPyConnection, source: Source) -> list[Column]:
    """The columns of the source's table without provenance; empty when there is no table."""
    rows = con.execute(
        "select column_name, data_type from duckdb_columns() where database_name = 'lake'"
        " and schema_name = ? and table_name = ? order by column_index",
        [source.schema_name, source.table_name],
    ).fetchall()
    own = {column.name for column in PROVENANCE}
    return [Column(row[0], row[1]) for row in rows if row[0] not in own]


def catalog_snapshot(settings: Settings) -> int:
    """The newest snapshot, read from the catalog without DuckDB.

    The catalog's tables are those of the DuckLake specification, version 1.0.
    """
    with open_catalog(settings) as catalog:
        (number,) = catalog.execute("select max(snapshot_id) from ducklake_snapshot").fetchone()
    return int(number)


def snapshot_at(settings: Settings, moment: str) -> int:
    """The snapshot that was the newest at `moment`, an ISO 8601 time (UTC unless it says).

    Raises LakeError when it is no time, or the lake is younger.
    """
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        raise LakeError(
            f"{moment!r} is neither a snapshot number nor an ISO 8601 time",
            where="--at",
            next_step="give 12 or 2026-01-31T12:00:00Z",
        ) from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    with open_catalog(settings) as catalog:
        rows = catalog.execute(
            "select snapshot_id, snapshot_time from ducklake_snapshot order by snapshot_id desc"
        )
        for number, time in rows:
            if datetime.fromisoformat(time) <= at:
                return int(number)
    raise LakeError(f"the lake did not exist at {moment}", next_step="ask for a later time")


def snapshot_number(settings: Settings, at: str | None) -> int:
    """The snapshot that `at` names: a number, an ISO 8601 time, or the newest one without it.

    Raises LakeError when there is none.
    """
    if at is None:
        return catalog_snapshot(settings)
    if not at.isdecimal():
        return snapshot_at(settings, at)
    with open_catalog(settings) as catalog:
        sql = "select min(snapshot_id), max(snapshot_id), max(snapshot_id = ?)"
        (oldest, newest, is_there) = catalog.execute(
            f"{sql} from ducklake_snapshot", [int(at)]
        ).fetchone()
    if not is_there:
        raise LakeError(
            f"there is no snapshot {at}",
            next_step=f"the oldest is {oldest}, the newest {newest};"
            " `clearwater lake snapshots` lists them",
        )
    return int(at)


def lake_identity(settings: Settings) -> str:
    """What tells this lake from any other: a lake made again numbers its snapshots anew."""
    with open_catalog(settings) as catalog:
        (uuid,) = catalog.execute(
            "select table_uuid from ducklake_table order by table_id limit 1"
        ).fetchone()
    return str(uuid)


def raw_tables(settings: Settings, snapshot: int) -> set[tuple[str, str]]:
    """Schema and name of every source table at `snapshot`, from the catalog as above."""
    with open_catalog(settings) as catalog:
        rows = catalog.execute(
            "select schema_name, table_name from ducklake_table"
            " join ducklake_schema using (schema_id)"
            " where ducklake_table.begin_snapshot <= :at"
            " and (ducklake_table.end_snapshot is null or ducklake_table.end_snapshot > :at)"
            " and schema_name like 'raw!_%' escape '!'",
            {"at": snapshot},
        ).fetchall()
    return set(rows)


def retypings(settings: Settings, first: int, last: int) -> dict[tuple[str, str], list[int]]:
    """By schema and name of a table: the snapshots in which a column took another's place.

    Those after `first`, up to and with `last`, from the catalog as above: DuckLake writes a column
    again under the same name when it cannot change its type in place.
    """
    with open_catalog(settings) as catalog:
        rows = catalog.execute(
            "select distinct schema_name, table_name, now.begin_snapshot from ducklake_column now"
            " join ducklake_column was on was.table_id = now.table_id"
            " and was.end_snapshot = now.begin_snapshot and was.column_id <> now.column_id"
            " and lower(was.column_name) = lower(now.column_name)"
            " join ducklake_table t on t.table_id = now.table_id join ducklake_schema s"
            " on s.schema_id = t.schema_id where now.begin_snapshot > ?"
            " and now.begin_snapshot <= ? and now.parent_column is null"
            " and was.parent_column is null order by 3",
            [first, last],
        ).fetchall()
    found: dict[tuple[str, str], list[int]] = {}
    for schema, table, snapshot in rows:
        found.setdefault((schema, table), []).append(snapshot)
    return found


def changed_tables(settings: Settings, first: int, last: int) -> set[tuple[str, str]]:
    """Schema and name of every table that a snapshot after `first`, up to and with `last`, changed.

    From the catalog as above: `changes_made` names tables by id, as in `deleted_from_table:4`.
    """
    with open_catalog(settings) as catalog:
        changes = catalog.execute(
            "select changes_made from ducklake_snapshot_changes"
            " where snapshot_id > ? and snapshot_id <= ?",
            [first, last],
        ).fetchall()
        ids = {int(number) for (made,) in changes for number in CHANGED_TABLE.findall(made or "")}
        names = catalog.execute(
            "select table_id, schema_name, table_name from ducklake_table"
            " join ducklake_schema using (schema_id)"
        ).fetchall()
    return {(schema, table) for number, schema, table in names if number in ids}


def has_same_data(settings: Settings, first: int, last: int) -> bool:
    """Whether every source table at the snapshot `last` is as it was at `first`.

    Snapshots that changed nothing but the lake's own notes, as those of refused files, make no
    other data.
    """
    if first == last:
        return True
    changed = {schema for schema, _ in changed_tables(settings, first, last)}
    if any(schema.startswith("raw_") for schema in changed):
        return False
    return raw_tables(settings, first) == raw_tables(settings, last)
