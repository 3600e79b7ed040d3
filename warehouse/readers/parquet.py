"""Parquet files: columns keep the types that the file carries."""

from __future__ import annotations

import duckdb

from warehouse.duck import identifier, quoted
from warehouse.readers.contract import (
    Column,
    Opened,
    as_json,
    check_names,
    no_rejected,
    unreadable_refused,
    where,
)
from warehouse.sources import Source


def read(con: duckdb.DuckDBPyConnection, source: Source, opened: Opened) -> list[Column]:
    """Leave `incoming` as a view on the file itself: nothing is copied, nothing fails to parse."""
    scan = f"read_parquet({quoted(opened.path)}, file_row_number = true, hive_partitioning = false)"
    with unreadable_refused("not a readable Parquet file", where(source, opened)):
        described = con.execute(f"describe select * from {scan}").fetchall()
    columns = [Column(row[0], _kept(row[1])) for row in described if row[0] != "file_row_number"]
    names = [column.name for column in columns]
    check_names(names, source, opened)
    typed = [f"{identifier(c.name)}::{c.type} as {identifier(c.name)}" for c in columns]
    con.execute(
        f"create or replace temp view incoming as select {', '.join(typed)},"
        f" file_row_number + 1 as _source_row, null::varchar as _failed from {scan}"
    )
    con.execute(
        "create or replace temp view incoming_raw as"
        f" select file_row_number + 1 as _source_row, {as_json(names)} as raw from {scan}"
    )
    no_rejected(con)
    return columns


def _kept(type_name: str) -> str:
    """The file's type; an enumeration becomes text, for the lake has no enumerations."""
    return "VARCHAR" if type_name.startswith("ENUM") else type_name
