"""Loading: one batch is one lake transaction, and it is loaded exactly once.

Always: rows in = loaded + quarantined + already known (+ refused, for a refused batch).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import duckdb

from warehouse.duck import identifier, quoted
from warehouse.errors import BatchRefusedError
from warehouse.evolution import evolve
from warehouse.lake import table_name
from warehouse.landing import Landed, content_path
from warehouse.readers import reader_for
from warehouse.readers.contract import Column, forget_batch, unreadable_refused
from warehouse.settings import Settings
from warehouse.sources import Source


@dataclass(frozen=True)
class Counts:
    """Rows of one or more batches."""

    rows_in: int = 0
    loaded: int = 0
    quarantined: int = 0
    already_known: int = 0
    refused: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.rows_in + other.rows_in,
            self.loaded + other.loaded,
            self.quarantined + other.quarantined,
            self.already_known + other.already_known,
            self.refused + other.refused,
        )


@dataclass(frozen=True)
class Batch:
    """One landed file on its way into the lake; `refused_before` if the ledger has its refusal."""

    landed: Landed
    source: Source
    run_id: str
    loaded_at: datetime
    refused_before: bool = False

    @property
    def where(self) -> str:
        """Source and original name, for messages."""
        return f"{self.source.name}: {self.landed.original_name}"


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


def load_batch(con: duckdb.DuckDBPyConnection, settings: Settings, batch: Batch) -> Counts:
    """Load one landed file in one transaction.

    Raises BatchRefusedError, with nothing of the batch in the lake but its line in the ledger.
    """
    forget_batch(con)
    try:
        with unreadable_refused("the file cannot be read to its end", batch.where):
            counts = _load(con, settings, batch)
    except BatchRefusedError as error:
        error.rows = _refuse(con, batch, error.what)
        raise
    return counts


@contextmanager
def _transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    con.execute("begin")
    try:
        yield
    except BaseException:
        con.execute("rollback")
        raise
    con.execute("commit")


def _load(con: duckdb.DuckDBPyConnection, settings: Settings, batch: Batch) -> Counts:
    read = reader_for(batch.source, batch.landed.original_name)
    file = content_path(settings, batch.landed.sha256)
    columns = read(con, file, batch.source, batch.landed.original_name)
    with _transaction(con):
        evolve(con, batch.source, columns, batch.where)
        counts = _judge(con, batch, columns)
        _check_tolerance(con, batch, counts.rows_in)
        _write_rows(con, batch, columns)
        _write_quarantine(con, batch)
        _write_ledger(con, batch, counts, status="loaded", reason=None)
    return counts


def _number(con: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = con.execute(sql).fetchone()
    assert row is not None
    return int(row[0])


def _list(columns: list[Column] | tuple[str, ...], prefix: str = "") -> str:
    names = [column.name if isinstance(column, Column) else column for column in columns]
    return ", ".join(f"{prefix}{identifier(name)}" for name in names)


def _judge(con: duckdb.DuckDBPyConnection, batch: Batch, columns: list[Column]) -> Counts:
    """Fill `judged` with every row that will not simply be loaded, and count.

    `judged` has `_source_row`, `verdict` (known, quarantine or replace: the last is loaded in the
    place of the lake's row), `reason` and `detail`.
    """
    con.execute(
        "create or replace temp table judged as"
        " select _source_row, 'quarantine' as verdict, 'not_of_type' as reason,"
        " 'not of the type of the column: ' || _failed as detail"
        " from incoming where _failed is not null"
    )
    key = batch.source.key
    if key:
        missing = " or ".join(f"{identifier(name)} is null" for name in key)
        con.execute(
            "insert into judged select _source_row, 'quarantine', 'key_missing',"
            f" 'a key column is null: {', '.join(key).replace(chr(39), chr(39) * 2)}'"
            f" from incoming where _failed is null and ({missing})"
        )
        _judge_keys(con, batch, columns)
    return _count(con)


def _judge_keys(con: duckdb.DuckDBPyConnection, batch: Batch, columns: list[Column]) -> None:
    """Judge the rows whose key comes twice in the batch or is in the lake already."""
    key = _list(batch.source.key)
    table = table_name(batch.source)
    con.execute(
        "create or replace temp view fit as select * from incoming"
        " anti join judged using (_source_row)"
    )
    con.execute(f"create or replace temp table suspects as {_suspects(con, batch, key, table)}")
    if not _number(con, "select count(*) from suspects"):
        return
    newest_first = "desc" if batch.source.write == "merge" else ""
    con.execute(
        "create or replace temp table ranked as select fit.*,"
        f" row_number() over (partition by {key} order by _source_row {newest_first}) as _rank"
        f" from fit semi join suspects using ({key})"
    )
    same_key = [
        " and ".join(f"r.{identifier(k)} = {o}.{identifier(k)}" for k in batch.source.key)
        for o in ("l", "f")
    ]
    con.execute(
        f"insert into judged select _source_row, verdict, if(verdict = 'quarantine', reason, null),"
        " if(verdict = 'quarantine', detail, null) from (select r._source_row,"
        f" {_verdict(batch, columns)} from ranked r"
        f" left join (select * from {table} semi join suspects using ({key})) l on {same_key[0]}"
        " left join lake.meta.batches b on b.batch_id = l._batch_id"
        f" join (from ranked where _rank = 1) f on {same_key[1]}) where verdict <> 'load'"
        # A key declared late may stand in the lake more than once: one verdict a row even then.
        " qualify row_number() over (partition by _source_row"
        f" order by verdict <> '{'replace' if batch.source.write == 'merge' else 'known'}') = 1"
    )


def _verdict(batch: Batch, columns: list[Column]) -> str:
    """SQL for verdict, reason and detail of row `r`.

    Beside it stand the lake's row `l` of the same key with its batch `b`, or nulls, and the
    batch's first row `f` of it: for a merge that is the newest, which wins.
    """
    same_as_lake, lake_detail = _comparison(columns, "r", "l")
    same_as_first, first_detail = _comparison(columns, "r", "f")
    in_lake = "l._batch_id is not null"
    if batch.source.write == "append":
        return (
            f"case when {in_lake} then if({same_as_lake}, 'known', 'quarantine')"
            f" when r._rank > 1 then if({same_as_first}, 'known', 'quarantine')"
            " else 'load' end as verdict, 'key_conflict' as reason,"
            f" if({in_lake}, 'the key is loaded with other values of ' || {lake_detail},"
            " 'the key stands in row ' || f._source_row || ' with other values of '"
            f" || {first_detail}) as detail"
        )
    # A batch that was refused at first may come after one that arrived later.
    late = f"b.arrived_at > {quoted(batch.landed.arrived_at)}::timestamptz::timestamp"
    return (
        f"case when r._rank > 1 then if({same_as_first}, 'known', 'quarantine')"
        f" when {in_lake} and {same_as_lake} then 'known'"
        f" when {in_lake} then if({late}, 'quarantine', 'replace')"
        " else 'load' end as verdict, 'superseded' as reason,"
        " if(r._rank > 1, 'row ' || f._source_row || ' of the same file is newer, with other"
        f" values of ' || {first_detail}, 'a file that arrived later has other values of '"
        f" || {lake_detail}) as detail"
    )


def _suspects(con: duckdb.DuckDBPyConnection, batch: Batch, key: str, table: str) -> str:
    """SQL for the keys that come twice or are known; cheap where there are none."""
    none = f"select {key} from fit where false"
    twice = f"select {key} from fit group by {key} having count(*) > 1"
    if len(batch.source.key) == 1:
        # A distinct count costs a third of a group with its count, and is nearly always enough.
        repeated = _number(con, f"select count(*) - count(distinct {key}) from fit")
        twice = twice if repeated else none
    known = none
    if _number(con, f"select count(*) from (from {table} limit 1)"):
        known = f"select {key} from fit semi join {table} using ({key})"
    return f"{twice} union {known}"


def _comparison(columns: list[Column], one: str, other: str) -> tuple[str, str]:
    """SQL that two rows are the same, and SQL that names the columns in which they differ."""
    pairs = {
        c.name: f"{one}.{identifier(c.name)} is distinct from {other}.{identifier(c.name)}"
        for c in columns
    }
    same = f"not ({' or '.join(pairs.values())})"
    named = ", ".join(f"case when {test} then {quoted(name)} end" for name, test in pairs.items())
    return same, f"concat_ws(', ', {named})"


def _count(con: duckdb.DuckDBPyConnection) -> Counts:
    arrived = _number(con, "select count(*) from incoming")
    torn = _number(con, "select count(*) from rejected")
    judged = dict(con.execute("select verdict, count(*) from judged group by all").fetchall())
    known, held = judged.get("known", 0), judged.get("quarantine", 0)
    return Counts(
        rows_in=arrived + torn,
        loaded=arrived - known - held,
        quarantined=held + torn,
        already_known=known,
    )


def _check_tolerance(con: duckdb.DuckDBPyConnection, batch: Batch, rows_in: int) -> None:
    """Refuse a batch of which too many rows do not parse: the file is wrong, not its rows."""
    failed = _number(
        con,
        "select (select count(*) from rejected) + (select count(*) from judged"
        " where reason in ('not_of_type', 'key_missing'))",
    )
    if rows_in == 0 or failed / rows_in <= batch.source.tolerance:
        return
    first = con.execute(
        "select _source_row, detail from (select _source_row, detail from rejected union all"
        " select _source_row, detail from judged where verdict = 'quarantine')"
        " order by _source_row limit 1"
    ).fetchone()
    assert first is not None
    raise BatchRefusedError(
        f"{failed} of {rows_in} rows cannot be loaded, more than the tolerance of"
        f" {batch.source.tolerance:.0%}; the first is row {first[0]}: {first[1]}",
        where=batch.where,
        next_step="mend the file, or `columns:` or `tolerance:` in sources.yml, and run again",
    )


def _write_rows(con: duckdb.DuckDBPyConnection, batch: Batch, columns: list[Column]) -> None:
    table = table_name(batch.source)
    if _number(con, "select count(*) from judged where verdict = 'replace'"):
        key = _list(batch.source.key)
        con.execute(
            f"delete from {table} where ({key}) in (select ({key}) from ranked"
            " semi join (from judged where verdict = 'replace') using (_source_row))"
        )
    kept = "incoming"
    if _number(con, "select count(*) from judged where verdict <> 'replace'"):
        kept = "incoming anti join (from judged where verdict <> 'replace') using (_source_row)"
    con.execute(
        f"insert into {table} by name select {_list(columns)},"
        " ?::varchar as _batch_id, ?::varchar as _source_file, _source_row,"
        f" ?::timestamp as _loaded_at from {kept}",
        [batch.landed.batch_id, batch.landed.original_name, batch.loaded_at],
    )


def _write_quarantine(con: duckdb.DuckDBPyConnection, batch: Batch) -> None:
    held = _number(con, "select count(*) from judged where verdict = 'quarantine'")
    torn = _number(con, "select count(*) from rejected")
    if held + torn == 0:
        return
    con.execute("set preserve_insertion_order = true")  # `incoming_raw` may count the file's rows
    con.execute(
        "insert into lake.meta.quarantine"
        " select ?, ?, ?, _source_row, reason, detail, raw, ?::timestamp from ("
        " select _source_row, reason, detail, raw from rejected union all"
        " select _source_row, reason, detail, raw"
        " from (from judged where verdict = 'quarantine')"
        " join incoming_raw using (_source_row)) order by _source_row",
        [
            batch.landed.batch_id,
            batch.source.name,
            batch.landed.original_name,
            batch.loaded_at,
        ],
    )
    con.execute("set preserve_insertion_order = false")


def _write_ledger(
    con: duckdb.DuckDBPyConnection, batch: Batch, counts: Counts, *, status: str, reason: str | None
) -> None:
    """The batch's line, and the source's mark: two overlapping writers conflict on the mark."""
    landed = batch.landed
    if batch.refused_before:
        con.execute("delete from lake.meta.batches where batch_id = ?", [landed.batch_id])
    con.execute(
        "insert into lake.meta.batches values"
        " (?, ?, ?, ?, ?, ?::timestamptz::timestamp, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            landed.batch_id,
            batch.source.name,
            landed.original_name,
            landed.sha256,
            landed.size,
            landed.arrived_at,
            batch.loaded_at,
            status,
            reason,
            counts.rows_in,
            counts.loaded,
            counts.quarantined,
            counts.already_known,
            counts.refused,
            batch.source.fingerprint(),
            batch.run_id,
        ],
    )
    marked = con.execute(
        "update lake.meta.sources set batch_count = batch_count + 1, loaded_at = ?"
        " where source = ?",
        [batch.loaded_at, batch.source.name],
    ).fetchone()
    if marked == (0,):
        con.execute(
            "insert into lake.meta.sources values (?, 1, ?)", [batch.source.name, batch.loaded_at]
        )


def _refuse(con: duckdb.DuckDBPyConnection, batch: Batch, reason: str) -> int:
    """Write the refusal into the ledger; returns the rows refused."""
    try:
        sql = "select (select count(*) from incoming) + (select count(*) from rejected)"
        rows = _number(con, sql)
    except duckdb.Error:
        rows = 0  # The file could not be read at all: there are no rows to count.
    line = [batch.landed.batch_id, batch.source.fingerprint(), reason, rows]
    known = con.execute(
        "select count(*) from lake.meta.batches where batch_id = ? and source_fingerprint = ?"
        " and status = 'refused' and reason = ? and refused = ?",
        line,
    ).fetchone()
    if known == (0,):  # The same refusal again is no news, and no new snapshot.
        with _transaction(con):
            counts = Counts(rows_in=rows, refused=rows)
            _write_ledger(con, batch, counts, status="refused", reason=reason)
    return rows
