"""Looking back: the lake's snapshots, what changed between two of them, the bytes of a batch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import duckdb

from warehouse.duck import quoted
from warehouse.errors import LakeError
from warehouse.files import temporary
from warehouse.lake import snapshot_number
from warehouse.landing import BLOCK_BYTES, Landed, content_path
from warehouse.quarantine import landed_batches
from warehouse.query import open_lake
from warehouse.settings import Settings


def snapshots(settings: Settings) -> list[dict[str, Any]]:
    """Every snapshot, oldest first: its number, its time (UTC), and what was done."""
    with open_lake(settings) as con:
        rows = con.execute(
            "select snapshot_id, strftime(snapshot_time, '%Y-%m-%dT%H:%M:%S.%fZ'),"
            " coalesce(commit_message, '') from ducklake_snapshots('lake') order by 1"
        ).fetchall()
    return [dict(zip(("snapshot", "time", "what"), row, strict=True)) for row in rows]


@contextmanager
def changes(
    settings: Settings, source: str, start: str, end: str | None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The rows of a source's table that changed after `start`, up to and with `end`, to fetch.

    Both are a snapshot number or an ISO 8601 time; without `end` it is now. Columns: `snapshot_id`,
    `rowid`, `change_type` (insert, update_preimage, update_postimage, delete), and the table's as
    of `end`. Raises LakeError when there is no such table or snapshot.
    """
    schema, _, table = source.partition(".")
    first, last = snapshot_number(settings, start), snapshot_number(settings, end)
    if first > last:
        raise LakeError(
            f"snapshot {first} is later than {last}",
            where="--from",
            next_step="give the earlier one as --from and the later one as --to",
        )
    with open_lake(settings, str(last)) as con:
        known = {
            f"{row[0]}.{row[1]}"
            for row in con.execute(
                "select substr(schema_name, 5), table_name from duckdb_tables()"
                " where database_name = 'lake' and schema_name like 'raw!_%' escape '!'"
            ).fetchall()
        }
        if source not in known:
            raise LakeError(
                f"the lake has no table of {source!r} at snapshot {last}",
                next_step=f"known: {', '.join(sorted(known)) or 'none yet'}",
            )
        con.execute(
            "select * from ducklake_table_changes('lake',"
            f" {quoted(f'raw_{schema}')}, {quoted(table)}, {first}, {last})"
            f" where snapshot_id > {first} order by snapshot_id, rowid, change_type"
        )
        yield con


def landed_as(settings: Settings, prefix: str) -> Landed:
    """The arrival whose batch, or a member of which, has an id that begins with `prefix`.

    Raises LakeError when there is none, or more than one.
    """
    batches = landed_batches(settings)
    found = [batch for batch in batches if prefix and batch.startswith(prefix)]
    if len(found) != 1:
        raise LakeError(
            f"{len(found) or 'no'} batches begin with {prefix!r}",
            where=str(settings.landing),
            next_step="give more of the id; `clearwater query --lake"
            ' "select batch_id, source_file from meta.batches"` lists them',
        )
    return batches[found[0]][0]


def open_bytes(settings: Settings, landed: Landed) -> IO[bytes]:
    """The landed bytes, whose hash was found to be right.

    Raises LakeError when they are gone or are not what arrived.
    """
    file = content_path(settings, landed.sha256)
    try:
        handle = file.open("rb")
    except FileNotFoundError:
        raise LakeError(
            "the bytes are gone", where=str(file), next_step="restore the file from a copy"
        ) from None
    digest = hashlib.sha256()
    while block := handle.read(BLOCK_BYTES):
        digest.update(block)
    if digest.hexdigest() != landed.sha256:
        handle.close()
        raise LakeError(
            "the bytes are not those that arrived",
            where=str(file),
            next_step="restore the file from a copy",
        )
    handle.seek(0)
    return handle


def copy_bytes(source: IO[bytes], out: Path) -> None:
    """Write all of `source` to the file `out`, which is there whole or not at all."""
    part = temporary(out)
    try:
        with part.open("wb") as target:
            while block := source.read(BLOCK_BYTES):
                target.write(block)
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)
