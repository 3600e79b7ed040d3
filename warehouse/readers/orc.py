"""ORC files: columns keep the types that the file carries."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from warehouse.errors import BatchRefusedError
from warehouse.readers import converted
from warehouse.readers.contract import Column, Opened, check_names, where
from warehouse.sources import Source

BATCH_ROWS = 32_768


def read(con: duckdb.DuckDBPyConnection, source: Source, opened: Opened) -> list[Column]:
    """Leave `incoming` with the file's rows, converted batch by batch.

    Raises BatchRefusedError when it is broken, or holds what cannot be kept: a union, or a time
    outside of the years 1678 to 2261.
    """
    file = opened.work / "orc.parquet"
    try:
        data = ds.dataset(opened.path, format="orc")
        check_names(data.schema.names, source, opened)
        batches = data.scanner(batch_size=BATCH_ROWS, batch_readahead=1, use_threads=False)
        schema = _held(data.schema).append(pa.field("_source_row", pa.int64()))
        with pq.ParquetWriter(file, schema, compression="lz4") as writer:
            for batch in _numbered(batches.to_batches(), schema):
                writer.write_batch(batch)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the machine's fault
        what = str(error).splitlines()[0].rpartition("': ")[2]
        raise BatchRefusedError(
            f"not a readable ORC file: {what}",
            where=where(source, opened),
            next_step="ask the sender for a new file; the bytes that came are kept in landing/",
        ) from None
    return converted.leave(con, source, opened, [file])


def _held(schema: pa.Schema) -> pa.Schema:
    """The types to convert to: DuckDB has times of a zone in microseconds only."""
    fields = [
        pa.field(field.name, pa.timestamp("us", tz=field.type.tz))
        if pa.types.is_timestamp(field.type) and field.type.tz
        else field
        for field in schema
    ]
    return pa.schema(fields)


def _numbered(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The batches with the rows' numbers; a cast that would cut a value raises ArrowInvalid."""
    before = 0
    for batch in batches:
        numbers = pa.array(range(before + 1, before + len(batch) + 1), pa.int64())
        columns = [*batch.columns, numbers]
        typed = [column.cast(field.type) for column, field in zip(columns, schema, strict=True)]
        yield pa.RecordBatch.from_arrays(typed, schema=schema)
        before += len(batch)
