"""Compaction: small files of the lake become one, and every snapshot of it stays as it is.

A batch is a file or more, so that a table fed each hour has thousands a year, and whoever reads it
opens them all. DuckLake merges those of which no row was deleted: the merged file says of each row
since which snapshot it is there, so that time travel and the change feed go on as before. What
also takes up deletions (`ducklake_rewrite_data_files`) is not used: its feed tells every row again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb

from warehouse.catalog import open_catalog
from warehouse.duck import quoted
from warehouse.lake import describe_commit, writing
from warehouse.loading import transaction
from warehouse.settings import Settings
from warehouse.wording import counted

MANY = 32  # small files of a table: merging fewer would save less than it takes
SMALL_BYTES = 16 << 20
# So long a reader may have been at work that began before its files were merged.
FOR_READERS = "now() - interval '1 day'"


@dataclass(frozen=True)
class SmallFiles:
    """The small files of one table of the lake that can be merged: how many, and their bytes."""

    schema: str
    table: str
    files: int
    bytes: int


def small_files(settings: Settings) -> list[SmallFiles]:
    """The tables with MANY small files, or more, that can be merged into one.

    DuckLake merges what was written under one shape of the table. From the catalog's tables, as
    its specification 1.0 has them.
    """
    with open_catalog(settings) as catalog:
        tables = catalog.execute(
            "select table_id, schema_name, table_name from ducklake_table"
            " join ducklake_schema s using (schema_id) where ducklake_table.end_snapshot is null"
            " and s.end_snapshot is null"
        ).fetchall()
        found = []
        for number, schema, table in tables:
            shapes = [s for s in _by_shape(catalog, int(number)) if s[0] > 1]
            if any(count >= MANY for count, _ in shapes):
                files, size = (sum(values) for values in zip(*shapes, strict=True))
                found.append(SmallFiles(schema, table, files, size))
    return found


def _by_shape(catalog: sqlite3.Connection, table_id: int) -> Iterator[tuple[int, int]]:
    """The number and the bytes of the table's small files without deletions, by its shape then."""
    deleted = "select data_file_id from ducklake_delete_file where end_snapshot is null"
    inlined = f"ducklake_inlined_delete_{table_id}"
    if catalog.execute("select 1 from sqlite_master where name = ?", [inlined]).fetchone():
        deleted += f" union select file_id from {inlined}"
    yield from catalog.execute(
        "select count(*), sum(file_size_bytes) from ducklake_data_file f"
        " where table_id = :table and end_snapshot is null and file_size_bytes < :small"
        f" and data_file_id not in ({deleted}) group by ("
        "select max(begin_snapshot) from ducklake_schema_versions v"
        " where v.table_id = f.table_id and v.begin_snapshot <= f.begin_snapshot)",
        {"table": table_id, "small": SMALL_BYTES},
    )


def compact(settings: Settings) -> list[str]:
    """Merge the small files of tables that have MANY; returns in words what was done.

    A table is one transaction, and one that cannot be merged stays as it is. The merged ones lie
    there for readers until the first merging a day later, or until retention removes them. The
    caller holds the writer lock.
    """
    found = small_files(settings)
    if not found:
        return []
    with writing(settings) as con:
        con.execute(f"call ducklake_cleanup_old_files('lake', older_than => {FOR_READERS})")
        con.execute("set preserve_insertion_order = true")  # a row is known by its place in a file
        return [_merged(con, table) for table in found]


def _merged(con: duckdb.DuckDBPyConnection, small: SmallFiles) -> str:
    name = f"{small.schema}.{small.table}"
    try:
        with transaction(con):
            rows = con.execute(
                f"call ducklake_merge_adjacent_files('lake', {quoted(small.table)},"
                f" schema => {quoted(small.schema)}, max_file_size => {SMALL_BYTES})"
            ).fetchall()
            files, into = sum(row[2] for row in rows), sum(row[3] for row in rows)
            describe_commit(con, f"merged {counted(files, 'file')} of {name}")
    except duckdb.InterruptException:
        raise
    except duckdb.Error as error:
        told = str(error).partition("\n")[0]
        return f"{counted(small.files, 'small file')} of {name} cannot be merged: {told}"
    return f"{counted(files, 'small file')} of {name} merged into {into:,}"
