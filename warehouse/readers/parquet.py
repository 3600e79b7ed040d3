"""Parquet files: columns keep the types that the file carries."""

from __future__ import annotations

from pathlib import Path

import duckdb

from warehouse.duck import identifier, quoted
from warehouse.readers.contract import Column, check_names, no_rejected, unreadable_refused
from warehouse.sources import Source


def read(
    con: duckdb.DuckDBPyConnection, file: Path, source: Source, original_name: str
) -> list[Column]:
    """Leave `incoming` as a view on the file itself: nothing is copied, nothing fails to parse."""
    scan = f"read_parquet({quoted(file)}, file_row_number = true, hive_partitioning = false)"
    with unreadable_refused("not a readable Parquet file", f"{source.name}: {original_name}"):
        described = con.execute(f"describe select * from {scan}").fetchall()
    columns = [Column(row[0], _kept(row[1])) for row in described if row[0] != "file_row_number"]
    check_names([column.name for column in columns], source, original_name)
    names = [identifier(column.name) for column in columns]
    typed = [f"{identifier(c.name)}::{c.type} as {identifier(c.name)}" for c in columns]
    con.execute(
        f"create or replace temp view incoming as select {', '.join(typed)},"
        f" file_row_number + 1 as _source_row, null::varchar as _failed from {scan}"
    )
    con.execute(
        "create or replace temp view incoming_raw as"
        " select file_row_number + 1 as _source_row,"
        f" to_json(struct_pack({', '.join(f'{n} := {n}' for n in names)}))::varchar as raw"
        f" from {scan}"
    )
    no_rejected(con)
    return columns


def _kept(type_name: str) -> str:
    """The file's type; an enumeration becomes text, for the lake has no enumerations."""
    return "VARCHAR" if type_name.startswith("ENUM") else type_name
