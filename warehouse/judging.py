"""Judging: which rows of a batch are loaded, known already, or quarantined, and why.

It happens in SQL over temporary relations, and only for suspects: a clean batch is one distinct
count and a look at the lake's keys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import duckdb

from warehouse.batch import Batch, Counts
from warehouse.duck import identifier, listed, number, quoted
from warehouse.errors import BatchRefusedError, reasons, without_quotes
from warehouse.lake import table_columns, table_name
from warehouse.readers.contract import Column, rows_read
from warehouse.row_rules import BrokenBy, Fault, judge_rules, over_tolerance
from warehouse.superseding import is_confirmed, is_newer
from warehouse.wording import counted, few

CANNOT_LOAD = ("not_of_type", "key_missing")


def judge(con: duckdb.DuckDBPyConnection, batch: Batch, columns: list[Column]) -> Counts:
    """Fill `judged` with every row that will not simply be loaded, and count.

    `judged` has `_source_row`, `verdict` (known, quarantine or replace: the last is loaded in the
    place of the lake's row), `reason` and `detail`, and `reasons` where there may be several.
    """
    con.execute(
        "create or replace temp table judged"
        " (_source_row bigint, verdict varchar, reason varchar, detail varchar,"
        " reasons varchar[])"
    )
    fresh = "incoming"
    if batch.withheld and batch.withheld_of in (None, rows_read(con)):
        _withhold(con, batch)
        fresh = "incoming anti join judged using (_source_row)"
    con.execute(
        "insert into judged select _source_row, 'quarantine', 'not_of_type',"
        f" 'not of the type of the column: ' || _failed, null"
        f" from {fresh} where _failed is not null"
    )
    key = batch.source.key
    if key:
        con.execute(
            "insert into judged select _source_row, 'quarantine', 'key_missing',"
            f" 'a key column is null or NaN: {', '.join(key).replace(chr(39), chr(39) * 2)}', null"
            f" from {fresh} where _failed is null and ({_without_key(key, columns)})"
        )
    if batch.source.row_rules:
        _fit_rows(con)
        judge_rules(con, batch, columns, _absent(con, batch, columns))
    if key:
        _judge_keys(con, batch, columns)
    elif batch.source.write == "snapshot" and batch.whole:
        _judge_contents(con, batch, columns)
    return _count(con)


def _withhold(con: duckdb.DuckDBPyConnection, batch: Batch) -> None:
    rows, first, details, reasons = zip(*batch.withheld, strict=True)
    con.execute(
        "insert into judged select _source_row, 'quarantine', reason, detail, reasons from (select"
        " unnest(?::bigint[]) as _source_row, unnest(?::varchar[]) as reason,"
        " unnest(?::varchar[]) as detail, unnest(?::varchar[][]) as reasons)"
        " semi join incoming using (_source_row)",
        [list(rows), list(first), list(details), list(reasons)],
    )


def _fit_rows(con: duckdb.DuckDBPyConnection) -> None:
    """The view `fit`: the rows that nothing speaks against so far."""
    con.execute(
        "create or replace temp view fit as select * from incoming"
        " anti join judged using (_source_row)"
    )


def _judge_contents(con: duckdb.DuckDBPyConnection, batch: Batch, columns: list[Column]) -> None:
    """Without a key the lake's rows are known by all that they hold, each as often as it stands.

    Leaves `same`: which row of the batch is which of the lake's (`_batch_id`, `_row`).
    """
    _fit_rows(con)
    absent = _absent(con, batch, columns)
    nulls = "".join(f", null::{c.type} as {identifier(c.name)}" for c in absent)
    columns = [*columns, *absent]
    con.execute(
        "create or replace temp table same as"
        " select lake._batch_id, lake._row, batch._row as _source_row"
        f" from ({_counted(columns, table_name(batch.source), '_batch_id')}) as lake"
        f" join ({_counted(columns, f'(select *{nulls} from fit)', 'null')}) as batch"
        " on lake._content is not distinct from batch._content and lake._nth = batch._nth"
    )
    con.execute("insert into judged select _source_row, 'known', null, null, null from same")


def _absent(con: duckdb.DuckDBPyConnection, batch: Batch, columns: list[Column]) -> list[Column]:
    """The table's columns that the batch has not."""
    came = {column.name.lower() for column in columns}
    return [c for c in table_columns(con, batch.source) if c.name.lower() not in came]


def _counted(columns: list[Column], table: str, batch: str) -> str:
    """SQL for the table's rows: whole content, and the how-many-th of that content each is."""
    fields = ", ".join(f"{identifier(c.name)} := {identifier(c.name)}" for c in columns)
    return (
        f"select {batch} as _batch_id, _source_row as _row, struct_pack({fields}) as _content,"
        " row_number() over (partition by struct_pack("
        f"{fields}) order by _source_row) as _nth from {table}"
    )


def _without_key(key: tuple[str, ...], columns: list[Column]) -> str:
    """SQL that a part of the key is null, or NaN: that is not even equal to itself in a join."""
    types = {column.name.lower(): column.type for column in columns}
    inexact = [name for name in key if types[name.lower()] in ("FLOAT", "DOUBLE")]
    return " or ".join(
        [f"{identifier(name)} is null" for name in key]
        + [f"isnan({identifier(name)})" for name in inexact]
    )


def _judge_keys(con: duckdb.DuckDBPyConnection, batch: Batch, columns: list[Column]) -> None:
    """Judge the rows whose key comes twice in the batch or is in the lake already."""
    key = listed(batch.source.key)
    table = table_name(batch.source)
    _fit_rows(con)
    con.execute(f"create or replace temp table suspects as {_suspects(con, batch, key, table)}")
    if not number(con, "select count(*) from suspects"):
        return
    newest_first = "" if batch.source.write == "append" else "desc"
    con.execute(
        "create or replace temp table ranked as select fit.*,"
        f" row_number() over (partition by {key} order by _source_row {newest_first}) as _rank"
        f" from fit semi join suspects using ({key})"
    )
    types = {column.name.lower(): column.type for column in columns}
    confirmed = is_confirmed(con, batch, types)
    # What an append lacks it leaves as it is; every other way of writing makes it null.
    absent = [] if batch.source.write == "append" else _absent(con, batch, columns)
    same_key = [
        " and ".join(f"r.{identifier(k)} = {o}.{identifier(k)}" for k in batch.source.key)
        for o in ("l", "f")
    ]
    con.execute(
        f"insert into judged select _source_row, verdict, if(verdict = 'quarantine', reason, null),"
        " if(verdict = 'quarantine', detail, null), null from (select r._source_row,"
        f" {_verdict(batch, columns, absent, confirmed)} from ranked r"
        f" left join (select * from {table} semi join suspects using ({key})) l on {same_key[0]}"
        " left join lake.meta.batches b on b.batch_id = l._batch_id"
        f" join (from ranked where _rank = 1) f on {same_key[1]}) where verdict <> 'load'"
        # A key declared late may stand in the lake more than once: one verdict a row even then.
        " qualify row_number() over (partition by _source_row"
        f" order by verdict <> '{'known' if batch.source.write == 'append' else 'replace'}') = 1"
    )


def _verdict(batch: Batch, columns: list[Column], absent: list[Column], confirmed: str) -> str:
    """SQL for verdict, reason and detail of row `r`.

    Beside it stand the lake's row `l` of the same key with its batch `b`, or nulls, and the
    batch's first row `f` of it: for a merge that is the newest, which wins. `absent` are columns
    that the table has and the batch has not; `confirmed` is SQL that a newer file has the key.
    """
    same_as_lake, lake_detail = _comparison(columns, absent, "l")
    same_as_first, first_detail = _comparison(columns, [], "f")
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
    # A batch refused at first, and a row out of quarantine, may come after what is newer.
    late = f"({is_newer(batch, 'b.arrived_at', 'l._source_file', 'l._source_row')} or {confirmed})"
    return (
        f"case when r._rank > 1 then if({same_as_first}, 'known', 'quarantine')"
        f" when {in_lake} and {same_as_lake} then 'known'"
        f" when {in_lake} then if({late}, 'quarantine', 'replace')"
        " else 'load' end as verdict, 'superseded' as reason,"
        " if(r._rank > 1, 'row ' || f._source_row || ' of the same file is newer, with other"
        f" values of ' || {first_detail}, 'a newer row is loaded with other values of '"
        f" || {lake_detail}) as detail"
    )


def _suspects(con: duckdb.DuckDBPyConnection, batch: Batch, key: str, table: str) -> str:
    """SQL for the keys that come twice or are known; cheap where there are none."""
    none = f"select {key} from fit where false"
    twice = f"select {key} from fit group by {key} having count(*) > 1"
    if len(batch.source.key) == 1:
        # A distinct count costs a third of a group with its count, and is nearly always enough.
        repeated = number(con, f"select count(*) - count(distinct {key}) from fit")
        twice = twice if repeated else none
    known = none
    if number(con, f"select count(*) from (from {table} limit 1)"):
        known = f"select {key} from fit semi join {table} using ({key})"
    return f"{twice} union {known}"


def _comparison(columns: list[Column], absent: list[Column], other: str) -> tuple[str, str]:
    """SQL that row `r` is the same as the other, and SQL that names the columns in which not.

    Row `r` has no columns `absent`: it would be loaded with null there.
    """
    pairs = {
        c.name: f"r.{identifier(c.name)} is distinct from {other}.{identifier(c.name)}"
        for c in columns
    } | {c.name: f"{other}.{identifier(c.name)} is not null" for c in absent}
    same = f"not ({' or '.join(pairs.values())})"
    named = ", ".join(f"case when {test} then {quoted(name)} end" for name, test in pairs.items())
    return same, f"concat_ws(', ', {named})"


def _count(con: duckdb.DuckDBPyConnection) -> Counts:
    arrived = number(con, "select count(*) from incoming")
    torn = number(con, "select count(*) from rejected")
    judged = dict(con.execute("select verdict, count(*) from judged group by all").fetchall())
    known, held = judged.get("known", 0), judged.get("quarantine", 0)
    return Counts(
        rows_in=arrived + torn,
        loaded=arrived - known - held,
        quarantined=held + torn,
        already_known=known,
    )


def check_rows(
    con: duckdb.DuckDBPyConnection, batch: Batch, rows_in: int, broken: Mapping[str, BrokenBy]
) -> None:
    """Refuse a batch whose rows, or those that break its rules, show that the file is wrong."""
    if batch.source.write == "snapshot":
        _check_snapshot(con, batch, rows_in)
    if rows_in:
        _check_faults(con, batch, rows_in, broken)
    _check_conflicts(con, batch, rows_in)


def _check_faults(
    con: duckdb.DuckDBPyConnection, batch: Batch, rows_in: int, broken: Mapping[str, BrokenBy]
) -> None:
    """Refuse a batch with all that its rows are refused for, first that they cannot be loaded."""
    is_frozen = batch.source.schema_policy == "freeze"
    tolerance = 0.0 if is_frozen else batch.source.tolerance
    failed, row, detail = _unfit(con, batch)
    unfit = f"{failed:,} of {counted(rows_in, 'row')} cannot be loaded"
    faults = over_tolerance(con, batch, rows_in, broken)
    beside = [unfit] if failed else []
    if failed / rows_in > tolerance:
        limit = (
            "the schema is frozen" if is_frozen else f"more than the tolerance of {tolerance:.0%}"
        )
        beside = []
        fault = Fault(
            f"{unfit}, {limit}",
            f"{row}: {detail}{_value(con, batch, row)}",
            "ask the sender for a corrected file, or correct `columns:` or `tolerance:` in"
            " sources.yml if they are wrong, and run again",
        )
        faults = [fault, *faults]
    if not faults:
        return
    refusals = [fault.refusal(batch.where) for fault in faults]
    worst, others = faults[0], [*(fault.what for fault in faults[1:]), *beside]
    if not others:
        raise refusals[0]
    whole = worst._replace(what=f"{worst.what}; besides, {few(others)}").refusal(batch.where)
    whole.kinds = {kind: error.what for error in refusals for kind in reasons(error)}
    raise whole


def _unfit(con: duckdb.DuckDBPyConnection, batch: Batch) -> tuple[int, int, str]:
    """How many rows are torn, not of their types or without their key; the first one, and why."""
    unfit = ", ".join(quoted(reason) for reason in CANNOT_LOAD)
    found = con.execute(
        "with unfit as (select _source_row, detail, true as is_torn from rejected union all"
        f" select _source_row, detail, false from judged where reason in ({unfit}))"
        # No window over all rows: with threads, DuckDB 1.5.5 now and then crashes on one.
        " select (select count(*) from unfit), * from unfit order by _source_row limit 1"
    ).fetchone()
    if found is None:
        return 0, 0, ""
    count, row, detail, is_torn = found
    if is_torn and batch.source.personal:  # the names that it quotes may be values
        detail = without_quotes(detail)
    return count, row, detail


def _check_conflicts(con: duckdb.DuckDBPyConnection, batch: Batch, rows_in: int) -> None:
    """Refuse a batch most of whose keys stand for other rows: it is another file than it seems."""
    failed = number(con, "select count(*) from judged where reason = 'key_conflict'")
    if rows_in == 0 or failed / rows_in <= batch.source.tolerance:
        return
    raise BatchRefusedError(
        f"{failed} of {counted(rows_in, 'row')} have a key that is loaded with other values,"
        f" more than the tolerance of {batch.source.tolerance:.0%}",
        where=batch.where,
        next_step="ask the sender for a file with keys of its own; if these are corrections, say"
        " `write: merge` in sources.yml and run again",
    )


def _value(con: duckdb.DuckDBPyConnection, batch: Batch, row: int) -> str:
    """The text of the values that failed in the row, in words.

    None where a column is personal: a value that is not of its type may be another column's.
    """
    if batch.source.personal:
        return ""
    found = con.execute(f"select _failed from incoming where _source_row = {row}").fetchone()
    if not found or not found[0]:
        return ""
    raw = con.execute(f"select raw from incoming_raw where _source_row = {row}").fetchone()
    values = json.loads(raw[0]) if raw else {}
    told = [repr(values[name]) for name in found[0].split(", ") if name in values]
    return f" ({', '.join(told)})" if told else ""


def _check_snapshot(con: duckdb.DuckDBPyConnection, batch: Batch, rows_in: int) -> None:
    """Refuse a snapshot that would empty the table, or bring back an older state."""
    table = table_name(batch.source)
    if rows_in == 0 and (rows := number(con, f"select count(*) from {table}")):
        raise BatchRefusedError(
            f"a snapshot without rows would delete all of the table, {counted(rows, 'row')}",
            where=batch.where,
            next_step="ask the sender for a new file; an empty table is no snapshot",
        )
    newer = con.execute(
        "select source_file from lake.meta.batches where source = ? and status = 'loaded'"
        " and arrived_at > ?::timestamptz::timestamp limit 1",
        [batch.source.name, batch.landed.arrived_at],
    ).fetchone()
    if newer:
        raise BatchRefusedError(
            f"a newer snapshot is loaded already: {newer[0]}",
            where=batch.where,
            next_step="nothing is to be done; remove the older file",
        )
