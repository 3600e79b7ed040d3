"""Loading: one batch is one lake transaction, and it is loaded exactly once.

Always: rows in = loaded + quarantined + already known + dropped (+ refused, for a refused batch).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import duckdb

from warehouse.batch import Batch, Counts, Examiner, Loaded
from warehouse.containers import opened
from warehouse.duck import listed, loading_memory, number, quoted
from warehouse.errors import BatchRefusedError, reasons
from warehouse.evolution import Change, evolve, in_words, make_room, other_columns
from warehouse.files import sync
from warehouse.judging import check_rows, judge
from warehouse.lake import describe_commit, is_encrypted, table_columns, table_name
from warehouse.loads import UNLIKE, keep_definition
from warehouse.readers import reader_for
from warehouse.readers.contract import (
    Column,
    Opened,
    forget_batch,
    rows_read,
    unreadable_refused,
)
from warehouse.row_rules import broken_rules, warned
from warehouse.settings import Settings
from warehouse.sources import Source
from warehouse.superseding import confirm_keys


def load_times(con: duckdb.DuckDBPyConnection) -> Iterator[datetime]:
    """The time now (UTC), each later than the one before and than any batch in the ledger.

    So the order of loading stands even when the clock was set back.
    """
    row = con.execute("select max(loaded_at) from lake.meta.sources").fetchone()
    last: datetime | None = row[0] if row else None
    while True:
        now = datetime.now(UTC).replace(tzinfo=None)
        last = max(now, last + timedelta(microseconds=1)) if last else now
        yield last


def load_batch(
    con: duckdb.DuckDBPyConnection,
    settings: Settings,
    batch: Batch,
    examiner: Examiner | None = None,
) -> Loaded:
    """Load one landed file in one transaction; `examiner` compares it with those before it.

    Raises BatchRefusedError, with nothing of the batch in the lake but its line in the ledger.
    """
    keep_definition(settings, batch.source)
    try:
        with unreadable_refused("the file cannot be read to its end", batch.where):
            done = _load_in_memory(con, settings, batch, examiner)
    except BatchRefusedError as error:
        error.rows = _refuse(con, batch, error.what)
        raise
    if examiner is not None:
        examiner.loaded(batch)
    return done


def _load_in_memory(
    con: duckdb.DuckDBPyConnection, settings: Settings, batch: Batch, examiner: Examiner | None
) -> Loaded:
    """Load with the little memory that is nearly always enough, else with all that is allowed."""
    limits = dict.fromkeys((loading_memory(settings), settings.memory_limit))
    try:
        for limit in limits:
            forget_batch(con)
            con.execute(f"set memory_limit = {quoted(limit)}")
            with suppress(duckdb.OutOfMemoryException):
                confirm_keys(con, settings, batch)
                return _load(con, settings, batch, examiner)
    finally:
        con.execute(f"set memory_limit = {quoted(loading_memory(settings))}")
    raise BatchRefusedError(
        f"loading it takes more memory than DuckDB may use, {settings.memory_limit}",
        where=batch.where,
        next_step="set CLEARWATER_MEMORY_LIMIT to more, or have it written as several files",
    )


@contextmanager
def transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """All of the block in one transaction, or nothing of it."""
    con.execute("begin")
    try:
        yield
    except BaseException:
        con.execute("rollback")
        raise
    con.execute("commit")


def _load(
    con: duckdb.DuckDBPyConnection, settings: Settings, batch: Batch, examiner: Examiner | None
) -> Loaded:
    with opened(settings, batch.source, batch.landed, batch.part) as file:
        if file.beside or batch.source.format_of(file.name) == "bytes":
            with transaction(con):
                _write_ledger(con, batch, Counts(), status="landed", reason=None)
            return Loaded(Counts(), (file.beside,) if file.beside else (), "landed")
        file = replace(file, stamp="" if is_encrypted(settings) else batch.stamp)
        read = reader_for(batch.source, file).read(con, batch.source, file)
        make_room(con, batch.source, read)
        with transaction(con):
            changes = evolve(con, batch.source, read, batch.where)
            columns = as_in_table(con, batch.source, read)
            counts = judge(con, batch, columns)
            found = broken_rules(con, batch)
            broken = {rule: by.rows for rule, by in found.items()}
            with _telling(con, batch, broken, changes):
                check_rows(con, batch, counts.rows_in, found)
                unlike = examiner.examine(con, batch, counts) if examiner is not None else []
            if columns == read and _is_clean(con, batch, file):
                _take_staged(con, settings, batch, file)
            else:
                counts = write_rows(con, batch, columns, counts)
            hold_rows(con)
            write_quarantine(con, batch, file, counts.rows_in, batch.loaded_at)
            write_changes(con, batch, changes)
            _write_ledger(con, batch, counts, status="loaded", reason=None)
    broken |= {text.partition(": ")[0]: 1 for text in unlike}
    told = (*in_words(changes), *warned(batch, found), *unlike)
    return Loaded(counts, told, broken=broken)


@contextmanager
def _telling(
    con: duckdb.DuckDBPyConnection,
    batch: Batch,
    broken: Mapping[str, int],
    changes: Sequence[Change],
) -> Iterator[None]:
    """Let the refusal of a batch tell, too, how many of its rows break each rule.

    And first of all, which columns it lacks that the last batch filled, and which are new: that is
    often why its values are not what they should be.
    """
    try:
        yield
    except BatchRefusedError as error:
        error.broken = {**broken, **(error.broken or {})}
        if shape := other_columns(con, batch.source, changes):
            kinds = error.kinds or dict.fromkeys(reasons(error), error.what)
            error.kinds = {kind: _beginning_with(shape, what) for kind, what in kinds.items()}
            error.what = _beginning_with(shape, error.what)
        raise


def _beginning_with(shape: str, what: str) -> str:
    """The text with the file's shape told first; what is told of a comparison begins with that."""
    if what.startswith(UNLIKE):
        return f"{UNLIKE} ({shape}){what.removeprefix(UNLIKE)}"
    return f"{shape}; {what}"


def _is_clean(con: duckdb.DuckDBPyConnection, batch: Batch, file: Opened) -> bool:
    """Whether the reader wrote a file of which every row is to be loaded, and nothing else done."""
    if not file.staged.exists() or batch.source.write == "snapshot":
        return False
    return not number(con, "select (select count(*) from judged) + (select count(*) from rejected)")


def _take_staged(
    con: duckdb.DuckDBPyConnection, settings: Settings, batch: Batch, file: Opened
) -> None:
    """Make the file that the reader wrote the lake's own: every row of it is to be loaded.

    A process killed before the commit leaves it as an orphan, which `lake maintain` removes.
    """
    schema, table = batch.source.schema_name, batch.source.table_name
    target = settings.lake_data / schema / table / f"{batch.id}-{batch.loaded_at:%H%M%S%f}.parquet"
    target.parent.mkdir(parents=True, exist_ok=True)
    sync(file.staged)
    os.replace(file.staged, target)
    sync(target.parent)
    con.execute(
        f"call ducklake_add_data_files('lake', {quoted(table)}, {quoted(target)},"
        f" schema => {quoted(schema)}, allow_missing => true, ignore_extra_columns => true,"
        " hive_partitioning => false)"  # a home may lie below a folder called year=2024
    )


def as_in_table(
    con: duckdb.DuckDBPyConnection, source: Source, columns: list[Column]
) -> list[Column]:
    """The batch's columns with the types that the table gave them."""
    types = {column.name.lower(): column.type for column in table_columns(con, source)}
    return [Column(column.name, types[column.name.lower()]) for column in columns]


def write_rows(
    con: duckdb.DuckDBPyConnection, batch: Batch, columns: list[Column], counts: Counts
) -> Counts:
    """Write the rows that are to be loaded; returns the counts with what a snapshot deleted."""
    table = table_name(batch.source)
    deleted = 0
    if batch.source.write == "snapshot" and batch.whole:
        deleted = _delete_missing(con, batch)
    if number(con, "select count(*) from judged where verdict = 'replace'"):
        key = listed(batch.source.key)
        con.execute(
            f"delete from {table} where ({key}) in (select ({key}) from ranked"
            " semi join (from judged where verdict = 'replace') using (_source_row))"
        )
    kept = "incoming"
    if number(con, "select count(*) from judged where verdict <> 'replace'"):
        kept = "incoming anti join (from judged where verdict <> 'replace') using (_source_row)"
    con.execute(
        f"insert into {table} by name select {listed(column.name for column in columns)},"
        " ?::varchar as _batch_id, ?::varchar as _source_file, _source_row,"
        f" ?::timestamp as _loaded_at from {kept}",
        [batch.id, batch.file, batch.loaded_at],
    )
    return replace(counts, deleted=deleted)


def _delete_missing(con: duckdb.DuckDBPyConnection, batch: Batch) -> int:
    """Delete the lake's rows that the snapshot has no more; returns how many.

    A row whose key the snapshot has stays, even where the new row is quarantined. Without a key a
    row is one of so many equal ones.
    """
    table = table_name(batch.source)
    if batch.source.key:
        gone = (
            f"select lake._batch_id, lake._source_row from {table} as lake"
            f" anti join incoming using ({listed(batch.source.key)})"
        )
    else:
        gone = (
            f"select lake._batch_id, lake._source_row from {table} as lake anti join same"
            " on same._batch_id = lake._batch_id and same._row = lake._source_row"
        )
    con.execute(f"create or replace temp table gone as {gone}")
    con.execute(
        f"delete from {table} where (_batch_id, _source_row) in"
        " (select (_batch_id, _source_row) from gone)"
    )
    return number(con, "select count(*) from gone")


def hold_rows(con: duckdb.DuckDBPyConnection) -> None:
    """Make `held` of what was judged: the rows that do not pass, and why."""
    con.execute(
        "create or replace temp table held as"
        " select _source_row, reason, detail, null::varchar as raw, reasons"
        " from judged where verdict = 'quarantine' union all"
        " select _source_row, reason, detail, raw, null from rejected"
    )


def write_quarantine(
    con: duckdb.DuckDBPyConnection,
    batch: Batch,
    file: Opened,
    rows_in: int,
    quarantined_at: datetime,
) -> None:
    """Keep the rows of `held`, each with its place in the file of `rows_in` rows, and its text."""
    rows = [row for (row,) in con.execute("select _source_row from held").fetchall()]
    if not rows:
        return
    find_lines = reader_for(batch.source, file).lines
    places = find_lines(batch.source, file, rows, rows_in) if find_lines else {}
    con.execute(
        "create or replace temp table places as"
        " select unnest(?::bigint[]) as _source_row, unnest(?::bigint[]) as line",
        [list(places), list(places.values())],
    )
    con.execute("set preserve_insertion_order = true")  # `incoming_raw` may count the file's rows
    con.execute(
        "insert into lake.meta.quarantine by name select ? as batch_id, ? as source,"
        " ? as source_file, _source_row, line, reason, detail, coalesce(held.raw, text.raw) as raw,"
        " ?::timestamp as quarantined_at, reasons from held left join places using (_source_row)"
        " left join (from incoming_raw semi join held using (_source_row)) as text"
        " using (_source_row) order by _source_row",
        [batch.id, batch.source.name, batch.file, quarantined_at],
    )
    con.execute("set preserve_insertion_order = false")


def write_changes(con: duckdb.DuckDBPyConnection, batch: Batch, changes: list[Change]) -> None:
    """Tell how the table's shape changed."""
    if not changes:
        return
    con.execute(
        "insert into lake.meta.schema_changes by name select ? as batch_id, ? as source,"
        " ? as source_file, unnest(?::varchar[]) as column_name, unnest(?::varchar[]) as change,"
        " unnest(?::varchar[]) as type_before, unnest(?::varchar[]) as type_after,"
        " ?::timestamp as changed_at",
        [
            batch.id,
            batch.source.name,
            batch.file,
            [change.column for change in changes],
            [change.change for change in changes],
            [change.before for change in changes],
            [change.after for change in changes],
            batch.loaded_at,
        ],
    )


def _write_ledger(
    con: duckdb.DuckDBPyConnection, batch: Batch, counts: Counts, *, status: str, reason: str | None
) -> None:
    """The batch's line, and the source's mark: two overlapping writers conflict on the mark."""
    landed = batch.landed
    if batch.refused_before:
        con.execute("delete from lake.meta.batches where batch_id = ?", [batch.id])
    line = {
        "batch_id": batch.id,
        "source": batch.source.name,
        "source_file": batch.file,
        "content_sha256": landed.sha256,
        "byte_count": landed.size,
        "arrived_at": landed.arrived_at.removesuffix("+00:00"),
        "loaded_at": batch.loaded_at,
        "status": status,
        "reason": reason,
        "rows_in": counts.rows_in,
        "loaded": counts.loaded,
        "quarantined": counts.quarantined,
        "already_known": counts.already_known,
        "refused": counts.refused,
        "dropped": 0,
        "deleted": counts.deleted,
        "source_fingerprint": batch.source.fingerprint(),
        "run_id": batch.run_id,
    }
    con.execute(
        f"insert into lake.meta.batches ({', '.join(line)})"
        f" values ({', '.join('?' for _ in line)})",
        list(line.values()),
    )
    mark(con, batch.source.name, batch.loaded_at, batches=1)
    describe_commit(con, f"{status} {batch.where}")


def mark(con: duckdb.DuckDBPyConnection, source: str, at: datetime, *, batches: int = 0) -> None:
    """Set the source's mark, on which two overlapping writers conflict."""
    marked = con.execute(
        "update lake.meta.sources set batch_count = batch_count + ?,"
        " loaded_at = greatest(loaded_at, ?::timestamp) where source = ?",
        [batches, at, source],
    ).fetchone()
    if marked == (0,):
        con.execute("insert into lake.meta.sources values (?, ?, ?)", [source, batches, at])


def _refuse(con: duckdb.DuckDBPyConnection, batch: Batch, reason: str) -> int:
    """Write the refusal into the ledger; returns the rows refused."""
    try:
        rows = rows_read(con)
    except duckdb.Error:
        rows = 0  # The file could not be read at all: there are no rows to count.
    line = [batch.id, batch.source.fingerprint(), reason, rows]
    known = con.execute(
        "select count(*) from lake.meta.batches where batch_id = ? and source_fingerprint = ?"
        " and status = 'refused' and reason = ? and refused = ?",
        line,
    ).fetchone()
    if known == (0,):  # The same refusal again is no news, and no new snapshot.
        with transaction(con):
            counts = Counts(rows_in=rows, refused=rows)
            _write_ledger(con, batch, counts, status="refused", reason=reason)
    return rows
