"""Looking back: the lake's snapshots, what changed between two of them, the bytes of a batch."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import duckdb

from warehouse.batch import landed_batches
from warehouse.duck import identifier, listed, quoted
from warehouse.errors import LakeError
from warehouse.evolution import TEXT, WIDER, fitted
from warehouse.files import temporary
from warehouse.lake import retypings, snapshot_number
from warehouse.landing import BLOCK_BYTES, Landed, content_path
from warehouse.query import explained, open_lake
from warehouse.settings import Settings

FEED = ("snapshot_id", "rowid", "change_type")
# DuckLake takes a table's own column of these names for the feed's.
HIDDEN = FEED[:2]
# The feed's columns while it is made, under names that no table has.
SNAPSHOT, ROW, CHANGE = OWN = tuple(f"_clearwater_{name}" for name in FEED)


@dataclass(frozen=True)
class _Rows:
    """SQL of rows with the feed's columns under their OWN names, and the table's, by type."""

    sql: str
    types: dict[str, str]


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
    of `end`; one of these is text where a value from before it was retyped is not of its type. In
    order of `snapshot_id` and `rowid`. Raises LakeError when there is no such table or snapshot,
    or the table has no feed, and QueryError when the lake cannot be read.
    """
    first, last = snapshot_number(settings, start), snapshot_number(settings, end)
    if first > last:
        raise LakeError(
            f"snapshot {first} is later than {last}",
            where="--from",
            next_step="give the earlier one as --from and the later one as --to",
        )
    with open_lake(settings, str(last)) as con:
        table = _table_of(con, source, last)
        with explained():
            retyped = retypings(settings, first, last).get((table.schema, table.name), [])
            feed = _feed(con, table, first, last, retyped)
            shown = [f"{own} as {name}" for own, name in zip(OWN, FEED, strict=True)]
            for name in feed.types:
                alias = f"{name}_1" if name.lower() in FEED else name
                shown.append(f"{identifier(name)} as {identifier(alias)}")
            con.execute(f"select {', '.join(shown)} from ({feed.sql}) order by {', '.join(OWN)}")
        yield con


@dataclass(frozen=True)
class _Table:
    """A source's table in the lake: its schema and its name."""

    schema: str
    name: str

    def at(self, snapshot: int) -> str:
        """SQL for the table as it was at the snapshot."""
        qualified = f"lake.{identifier(self.schema)}.{identifier(self.name)}"
        return f"{qualified} at (version => {snapshot})"


def _table_of(con: duckdb.DuckDBPyConnection, source: str, last: int) -> _Table:
    """The source's table in the lake attached at `last`; LakeError when it has no feed."""
    known = {
        f"{schema.removeprefix('raw_')}.{name}": _Table(schema, name)
        for schema, name in con.execute(
            "select schema_name, table_name from duckdb_tables()"
            " where database_name = 'lake' and schema_name like 'raw!_%' escape '!'"
        ).fetchall()
    }
    if source not in known:
        raise LakeError(
            f"the lake has no table of {source!r} at snapshot {last}",
            next_step=f"known: {', '.join(sorted(known)) or 'none yet'}",
        )
    hidden = [n for n in _types(con, known[source], last) if n.lower() in HIDDEN]
    if hidden:
        raise LakeError(
            f"column {hidden[0]!r} has the name of one that the change feed adds",
            where=source,
            next_step="compare the table with itself: `clearwater query --lake --at <snapshot>`",
        )
    return known[source]


def _types(con: duckdb.DuckDBPyConnection, table: _Table, snapshot: int) -> dict[str, str]:
    """The types of the table's columns at the snapshot, by name and in order."""
    rows = con.execute(f"describe from {table.at(snapshot)}").fetchall()
    return {row[0]: row[1] for row in rows}


def _feed(
    con: duckdb.DuckDBPyConnection, table: _Table, first: int, last: int, retyped: list[int]
) -> _Rows:
    """The feed after `first`, up to and with `last`, under the names and types of `last`.

    DuckLake's own feed reads every row by the columns that the table has in the end: those whose
    type was changed in place or that came later are right, those that were written again as
    another type are null. So it is read between those snapshots, and their own changes are found
    by comparing the table before and after: rows that were only written again are none.
    `retyped` are these snapshots.
    """
    feed: _Rows | None = None
    since = first
    for at in retyped:
        feed = _followed(con, feed, _span(con, table, since, at - 1))
        _compare(con, table, at)
        feed = _followed(con, feed, _images(con, table, at, at - 1))
        feed = _followed(con, feed, _images(con, table, at, at))
        since = at
    return _followed(con, feed, _span(con, table, since, last))


def _span(con: duckdb.DuckDBPyConnection, table: _Table, since: int, until: int) -> _Rows:
    """DuckLake's feed after `since`, up to and with `until`, where no column was retyped."""
    types = _types(con, table, until)
    sql = (
        f"select * from ducklake_table_changes('lake', {quoted(table.schema)},"
        f" {quoted(table.name)}, {min(since + 1, until)}, {until})"
        f" as changes({listed([*OWN, *types])})"
    )
    return _Rows(sql if since < until else f"{sql} where false", types)


def _compare(con: duckdb.DuckDBPyConnection, table: _Table, at: int) -> None:
    """Make `changed_<at>`: the rows that snapshot `at` changed, and whether each was and is there.

    A row whose values are the same but for their types did not change.
    """
    types = _types(con, table, at)
    was = _cast(_rows_at(con, table, at - 1), types)
    now = _rows_at(con, table, at).sql
    tests = [f"was.{ROW} is null", f"now.{ROW} is null"]
    tests += [f"was.{name} is distinct from now.{name}" for name in map(identifier, types)]
    con.execute(
        f"create temp table changed_{at} as select {ROW},"
        f" was.{ROW} is not null as was_there, now.{ROW} is not null as is_there"
        f" from ({was}) as was full join ({now}) as now using ({ROW}) where {' or '.join(tests)}"
    )


def _rows_at(con: duckdb.DuckDBPyConnection, table: _Table, snapshot: int) -> _Rows:
    """All of the table's rows at the snapshot, as if it had inserted them."""
    sql = (
        f"select {snapshot} as {SNAPSHOT}, rowid as {ROW}, 'insert' as {CHANGE}, *"
        f" from {table.at(snapshot)}"
    )
    return _Rows(sql, _types(con, table, snapshot))


def _images(con: duckdb.DuckDBPyConnection, table: _Table, at: int, seen: int) -> _Rows:
    """The rows that snapshot `at` changed as they were at `seen`: before it, or at it."""
    there, other, alone, image = (
        ("is_there", "was_there", "insert", "update_postimage")
        if seen == at
        else ("was_there", "is_there", "delete", "update_preimage")
    )
    rows = _rows_at(con, table, seen)
    sql = (
        f"select rows.* replace ({at} as {SNAPSHOT},"
        f" if(changed_{at}.{other}, {quoted(image)}, {quoted(alone)}) as {CHANGE})"
        f" from ({rows.sql}) as rows join changed_{at} using ({ROW}) where changed_{at}.{there}"
    )
    return _Rows(sql, rows.types)


def _followed(con: duckdb.DuckDBPyConnection, earlier: _Rows | None, later: _Rows) -> _Rows:
    """Both, with the later one's columns; as text where an earlier value is not of their type."""
    if earlier is None:
        return later
    types = later.types | dict.fromkeys(_not_castable(con, earlier, later.types), TEXT)
    return _Rows(f"{_cast(earlier, types)} union all {_cast(later, types)}", types)


def _not_castable(con: duckdb.DuckDBPyConnection, rows: _Rows, types: dict[str, str]) -> list[str]:
    """The columns of which a value is not the same as the type given."""
    of = {name.lower(): type_name for name, type_name in rows.types.items()}
    tests = {}
    for name, to in types.items():
        old = of.get(name.lower(), to)
        if to not in (old, TEXT, *WIDER.get(old, ())):
            tests[name] = fitted(name, old, to)[1]
    if not tests:
        return []
    found = con.execute(
        f"select {', '.join(f'bool_or({test})' for test in tests.values())} from ({rows.sql})"
    ).fetchone()
    assert found is not None
    return [name for name, changes in zip(tests, found, strict=True) if changes]


def _cast(rows: _Rows, types: dict[str, str]) -> str:
    """SQL of the rows with these columns; a column that they do not have is null."""
    of = {name.lower(): type_name for name, type_name in rows.types.items()}
    columns = []
    for name, to in types.items():
        old = of.get(name.lower())
        value = fitted(name, old, to)[0] if old else f"null::{to}"
        columns.append(f"{value} as {identifier(name)}")
    return f"select {', '.join([*OWN, *columns])} from ({rows.sql})"


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
        pruned = f"pruned on {landed.pruned_at[:10]}" if landed.pruned_at else "gone"
        raise LakeError(
            f"the bytes of {landed.original_name} are {pruned}",
            where=str(file),
            next_step="restore the file from a copy",
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
