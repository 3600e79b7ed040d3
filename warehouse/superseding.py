"""Late batches under merge: what newer files said stands, also where it was known already.

A batch that was refused at first, or rows out of quarantine, come after files that arrived later.
A row that such a file replaced names it. A row that it only said again does not, so that the file
is read once more.
"""

from __future__ import annotations

from typing import NamedTuple

import duckdb

from warehouse.batch import Batch, landed_batches
from warehouse.containers import opened
from warehouse.duck import identifier, quoted
from warehouse.errors import BatchRefusedError
from warehouse.evolution import fitted
from warehouse.lake import table_columns
from warehouse.loads import definition
from warehouse.readers import reader_for
from warehouse.readers.contract import drop, forget_batch
from warehouse.settings import Settings


class _File(NamedTuple):
    batch_id: str
    name: str
    fingerprint: str


def is_newer(batch: Batch, arrived_at: str, file: str, row: str) -> str:
    """SQL that a row of a file with this name, which arrived then, is newer than row `r`."""
    is_own = f"({arrived_at}, {file}) = ({_arrived(batch)}, {quoted(batch.file)})"
    return f"({_is_later(batch, arrived_at, file)} or ({is_own} and {row} > r._source_row))"


def _is_later(batch: Batch, arrived_at: str, file: str) -> str:
    """SQL that a file of this name, which arrived then, is newer than the batch's."""
    own = f"({_arrived(batch)}, {_in_order(quoted(batch.file))})"
    return f"({arrived_at}, {_in_order(file)}) > {own}"


def _arrived(batch: Batch) -> str:
    return f"{quoted(batch.landed.arrived_at)}::timestamptz::timestamp"


def _in_order(file: str) -> str:
    """SQL for a file's name that has 10 after 9, as `files.in_order` does."""
    parts = f"regexp_extract_all({file}, '[0-9]+|[^0-9]+')"
    padded = "lpad(p, if(p similar to '[0-9]+', greatest(length(p), 20), length(p))::int, '0')"
    return f"list_transform({parts}, lambda p: {padded})"


def confirm_keys(con: duckdb.DuckDBPyConnection, settings: Settings, batch: Batch) -> None:
    """Make `confirmed`: the keys of rows in newer files that the lake knew when they were loaded.

    Raises BatchRefusedError when such a file cannot be read any more.
    """
    drop(con, "confirmed")
    newer = _newer_files(con, batch) if batch.source.write == "merge" else []
    if not newer:
        return
    types = {column.name.lower(): column.type for column in table_columns(con, batch.source)}
    key = [(name, types.get(name.lower())) for name in batch.source.key]
    if not all(type_name for _, type_name in key):
        return
    nulls = ", ".join(f"null::{type_name} as {identifier(name)}" for name, type_name in key)
    con.execute(f"create temp table confirmed as select {nulls} limit 0")
    landed = landed_batches(settings)
    for file in newer:
        if file.batch_id not in landed:
            raise _unreadable(batch, file, "its bytes are not in landing")
        arrival, part = landed[file.batch_id]
        source = definition(settings, file.fingerprint) or batch.source
        try:
            with opened(settings, source, arrival, part) as content:
                columns = reader_for(source, content).read(con, source, content)
                came = {column.name.lower(): column.type for column in columns}
                if not came.keys() >= {name.lower() for name, _ in key}:
                    continue
                casts = ", ".join(
                    fitted(name, came[name.lower()], str(type_name))[0] for name, type_name in key
                )
                con.execute(
                    f"insert into confirmed select distinct {casts} from incoming anti join"
                    " (select _source_row from lake.meta.quarantine where batch_id = $batch"
                    " union select _source_row from lake.meta.dropped where batch_id = $batch)"
                    " using (_source_row)",
                    {"batch": file.batch_id},
                )
        except BatchRefusedError as error:
            raise _unreadable(batch, file, error.what) from None
        finally:
            forget_batch(con)


def _newer_files(con: duckdb.DuckDBPyConnection, batch: Batch) -> list[_File]:
    rows = con.execute(
        "select batch_id, source_file, source_fingerprint from lake.meta.batches"
        " where source = ? and status = 'loaded' and already_known > 0"
        f" and {_is_later(batch, 'arrived_at', 'source_file')} order by arrived_at, source_file",
        [batch.source.name],
    ).fetchall()
    return [_File(*row) for row in rows]


def _unreadable(batch: Batch, file: _File, why: str) -> BatchRefusedError:
    return BatchRefusedError(
        f"a newer file, {file.name}, may have the same keys, and cannot be read again: {why}",
        where=batch.where,
        next_step="restore landing from a copy, and run again",
    )


def is_confirmed(con: duckdb.DuckDBPyConnection, batch: Batch, types: dict[str, str]) -> str:
    """SQL that a newer file has the key of row `r`; `types` are the key's, by name."""
    there = con.execute(
        "select column_name, data_type from duckdb_columns() where database_name = 'temp'"
        " and table_name = 'confirmed'"
    ).fetchall()
    if not there:
        return "false"
    had = {name.lower(): type_name for name, type_name in there}
    casts = [fitted(name, had[name.lower()], types[name.lower()])[0] for name in batch.source.key]
    key = ", ".join(f"r.{identifier(name)}" for name in batch.source.key)
    return f"({key}) in (select {', '.join(casts)} from confirmed)" if casts else "false"
