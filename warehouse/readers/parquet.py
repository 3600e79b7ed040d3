"""Parquet files: columns keep the types that the file carries."""

from __future__ import annotations

import re

import duckdb

from warehouse.duck import identifier, quoted
from warehouse.errors import BatchRefusedError
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

ROW_NUMBER = "file_row_number"
LONGEST_DECIMAL = 38
BATCH_ROWS = 65_536
# Instants and times of day, as DuckDB shows what a column's metadata says.
NANOSECONDS = re.compile(r"(TimestampType\(isAdjustedToUTC=1|TimeType\().*NanoSeconds.*")


def read(con: duckdb.DuckDBPyConnection, source: Source, opened: Opened) -> list[Column]:
    """Leave `incoming` as a view on the file itself: nothing is copied, nothing fails to parse.

    Raises BatchRefusedError when it is broken, or has names or types that DuckDB would change.
    """
    with unreadable_refused("not a readable Parquet file", where(source, opened)):
        _check_schema(con, source, opened)
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


def _check_schema(con: duckdb.DuckDBPyConnection, source: Source, opened: Opened) -> None:
    """Refuse names that DuckDB would change, and values that it would round."""
    nodes = con.execute(
        "select name, num_children, precision, logical_type"
        f" from parquet_schema({quoted(opened.path)})"
    ).fetchall()
    names: list[str] = []
    nested = 0  # how many of the next nodes stand within a column
    for name, children, precision, logical in nodes[1:]:
        if not nested:
            names.append(name)
        nested = max(nested - 1, 0) + (children or 0)
        if (precision or 0) > LONGEST_DECIMAL:
            raise _not_kept(
                f"the column {names[-1]!r} has decimals of {precision} digits; the lake's have"
                f" {LONGEST_DECIMAL}",
                source,
                opened,
            )
        if name == names[-1] and logical and NANOSECONDS.fullmatch(logical):
            _check_microseconds(source, opened, name)
    check_names(names, source, opened)
    if ROW_NUMBER in (name.lower() for name in names):
        raise _not_kept(f"the column name {ROW_NUMBER!r} is DuckDB's own", source, opened)


def _check_microseconds(source: Source, opened: Opened, name: str) -> None:
    """Refuse times that DuckDB, which has times of day and of a zone in microseconds, would cut."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(opened.path) as file:
        of = file.schema_arrow.field(name).type
        to = pa.time64("us") if pa.types.is_time(of) else pa.timestamp("us", tz=of.tz)
        for batch in file.iter_batches(BATCH_ROWS, columns=[name], use_threads=False):
            try:
                batch.column(0).cast(to)
            except pa.ArrowInvalid:
                raise _not_kept(
                    f"the column {name!r} has times in nanoseconds that microseconds do not hold",
                    source,
                    opened,
                ) from None


def _not_kept(what: str, source: Source, opened: Opened) -> BatchRefusedError:
    return BatchRefusedError(
        what, where=where(source, opened), next_step="write it as another type or name, or as text"
    )


def _kept(type_name: str) -> str:
    """The file's type; an enumeration becomes text, for the lake has no enumerations."""
    return "VARCHAR" if type_name.startswith("ENUM") else type_name
