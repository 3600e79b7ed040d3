"""Files of formats that carry types, once they are converted to Parquet in the batch's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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


def leave(
    con: duckdb.DuckDBPyConnection, source: Source, opened: Opened, files: Sequence[Path]
) -> list[Column]:
    """Leave `incoming` as a view on the Parquet files, which hold `_source_row` besides."""
    scan = f"read_parquet([{', '.join(map(quoted, files))}], hive_partitioning = false)"
    with unreadable_refused("its types cannot be kept", where(source, opened)):
        described = con.execute(f"describe select * exclude _source_row from {scan}").fetchall()
    columns = [Column(row[0], row[1]) for row in described]
    names = [column.name for column in columns]
    check_names(names, source, opened)
    listed = ", ".join(map(identifier, names))
    con.execute(
        f"create or replace temp view incoming as select {listed}, _source_row,"
        f" null::varchar as _failed from {scan}"
    )
    con.execute(
        "create or replace temp view incoming_raw as"
        f" select _source_row, {as_json(names)} as raw from {scan}"
    )
    no_rejected(con)
    return columns
