"""Replay: a batch's quarantined rows are judged again, under definitions that were mended.

It is one transaction a batch, and keeps the ledger's arithmetic:
rows in = loaded + quarantined + already known + dropped + refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

import duckdb

from warehouse.batch import Batch, Counts, Withheld, landed_batches
from warehouse.containers import opened
from warehouse.decisions import Decision, forget, keep, note
from warehouse.duck import listed, number, quoted
from warehouse.errors import BatchRefusedError
from warehouse.evolution import evolve, make_room
from warehouse.judging import CANNOT_LOAD, judge
from warehouse.lake import describe_commit, writing
from warehouse.loading import (
    as_in_table,
    hold_rows,
    load_times,
    mark,
    transaction,
    write_changes,
    write_quarantine,
    write_rows,
)
from warehouse.loads import keep_definition
from warehouse.quarantine import Chosen, check_known, held_batches, settle
from warehouse.readers import reader_for
from warehouse.readers.contract import (
    drop_incoming,
    forget_batch,
    rows_read,
    unreadable_refused,
)
from warehouse.settings import Settings
from warehouse.sources import Source
from warehouse.superseding import confirm_keys
from warehouse.wording import counted

REPLAYED = Withheld(0, "withheld", None)


@dataclass(frozen=True)
class Mended:
    """What a replay did with one batch: `counts` of the rows judged, or the `problem`."""

    source: str
    batch: str
    file: str
    counts: Counts = field(default_factory=Counts)
    problem: str | None = None


def replay(
    settings: Settings,
    sources: list[Source],
    chosen: Chosen,
    run_id: str,
    *,
    dry_run: bool = False,
) -> list[Mended]:
    """Judge the quarantined rows again under today's definitions, and load those that pass.

    A batch is one transaction; one that cannot be judged again stays as it is, with its problem.
    The caller holds the writer lock.
    """
    declared = {source.name: source for source in sources}
    with writing(settings) as con:
        if not dry_run:
            settle(con, settings)
        check_known(con, chosen)
        landed = landed_batches(settings)
        times = load_times(con)
        done: list[Mended] = []
        for name, batch, file in held_batches(con, chosen):
            try:
                if name not in declared:
                    raise BatchRefusedError("it is not in the sources file", where=name)
                if batch not in landed:
                    raise BatchRefusedError("its bytes are not in landing", where=f"{name}: {file}")
                arrival, part = landed[batch]
                again = Batch(arrival, declared[name], run_id, next(times), part, whole=False)
                counts = replay_batch(con, settings, again, dry_run=dry_run)
                done.append(Mended(name, batch, file, counts))
            except BatchRefusedError as error:
                done.append(Mended(name, batch, file, problem=str(error)))
    return done


class _NothingChangesError(Exception):
    """Ends a transaction that is not to be kept."""


def replay_batch(
    con: duckdb.DuckDBPyConnection,
    settings: Settings,
    batch: Batch,
    *,
    decided: Decision | None = None,
    only: set[int] | None = None,
    dry_run: bool = False,
) -> Counts:
    """Judge a batch's quarantined rows again in one transaction; returns the counts of those.

    `decided` is a decision that landing has already, `only` the rows to judge of those in
    quarantine. Without one, nothing is written where nothing changes.

    Raises BatchRefusedError, with the batch left as it is.
    """
    forget_batch(con)
    keep_definition(settings, batch.source)
    confirm_keys(con, settings, batch)
    counts = Counts()
    decision = decided
    try:
        with (
            unreadable_refused("the file cannot be read to its end", batch.where),
            opened(settings, batch.source, batch.landed, batch.part) as file,
        ):
            if batch.source.format_of(file.name) == "bytes":
                raise BatchRefusedError("its format is `bytes` now", where=batch.where)
            columns = reader_for(batch.source, file).read(con, batch.source, file)
            rows_in, loaded_at = _check_batch(con, batch)
            batch = replace(batch, withheld=_take_held(con, batch, only))
            make_room(con, batch.source, columns)
            with transaction(con):
                changes = evolve(con, batch.source, columns, batch.where)
                columns = as_in_table(con, batch.source, columns)
                counts = judge(con, batch, columns)
                hold_rows(con)
                if dry_run or not (decided or _differs(con, counts)):
                    raise _NothingChangesError
                write_rows(con, batch, columns, counts)
                con.execute(
                    "delete from lake.meta.quarantine where batch_id = ?"
                    " and _source_row in (select _source_row from taken)",
                    [batch.id],
                )
                write_quarantine(con, batch, file, rows_in, loaded_at)
                write_changes(con, batch, changes)
                _count_replay(con, batch, counts)
                decision = decided or _decision(con, batch)
                if decided is None:
                    keep(settings, decision)
                note(con, decision)
    except _NothingChangesError:
        pass
    except (duckdb.Error, BatchRefusedError):
        if decided is None and decision is not None:
            forget(settings, decision)
        raise
    return counts


def _check_batch(con: duckdb.DuckDBPyConnection, batch: Batch) -> tuple[int, datetime]:
    """The batch's rows and time of loading; refuses one whose rows cannot be told any more."""
    line = con.execute(
        "select rows_in, loaded_at from lake.meta.batches where batch_id = ?", [batch.id]
    ).fetchone()
    assert line is not None
    rows_now = rows_read(con)
    if rows_now != line[0]:
        raise BatchRefusedError(
            f"the file has {counted(rows_now, 'row')} as it is read now, and had {line[0]:,}"
            " when it was loaded: which of them are in quarantine cannot be told",
            where=batch.where,
            next_step="read it as before (sources.yml), or load all again as it is read now:"
            " `clearwater lake rebuild --redefine`",
        )
    if batch.source.write == "snapshot":
        _check_newest(con, batch)
    return int(line[0]), line[1]


def _check_newest(con: duckdb.DuckDBPyConnection, batch: Batch) -> None:
    newest = con.execute(
        "select batch_id, source_file from lake.meta.batches where source = ?"
        " and status = 'loaded' order by arrived_at desc, loaded_at desc limit 1",
        [batch.source.name],
    ).fetchone()
    if newest and newest[0] != batch.id:
        raise BatchRefusedError(
            f"a newer snapshot is loaded already: {newest[1]}",
            where=batch.where,
            next_step="its rows are out of date; give them up with `clearwater quarantine drop"
            f" {batch.source.name} --batch {batch.id[:12]}`",
        )


def _take_held(
    con: duckdb.DuckDBPyConnection, batch: Batch, only: set[int] | None
) -> tuple[Withheld, ...]:
    """Leave of `incoming` and `rejected` the rows in quarantine, and make `taken` of the latter.

    Returns those that must stay there, because the same file has a newer row of the key.
    """
    con.execute(
        "create or replace temp table taken as select _source_row, reason, detail, reasons"
        " from lake.meta.quarantine where batch_id = ?",
        [batch.id],
    )
    if only is not None:
        con.execute(
            "delete from taken where not list_contains(?::bigint[], _source_row)", [sorted(only)]
        )
    outdone = _outdone(con, batch)
    con.execute(
        "create or replace temp table again as from incoming semi join taken using (_source_row)"
    )
    drop_incoming(con)
    con.execute("create temp view incoming as from again")
    con.execute("delete from rejected where _source_row not in (select _source_row from taken)")
    if rows_read(con) != number(con, "select count(*) from taken"):
        raise BatchRefusedError(
            "its rows have other numbers as it is read now",
            where=batch.where,
            next_step="read it as before (sources.yml), or load all again as it is read now:"
            " `clearwater lake rebuild --redefine`",
        )
    return outdone


def _outdone(con: duckdb.DuckDBPyConnection, batch: Batch) -> tuple[Withheld, ...]:
    """The rows in `taken` of whose key a later row of the file passed when it was loaded."""
    if batch.source.write == "append" or not batch.source.key:
        return ()
    key = listed(batch.source.key)
    rows = con.execute(
        "select taken._source_row, taken.reason, taken.detail, latest._row from taken"
        " join (from incoming where _failed is null) as again using (_source_row)"
        f" join (select {key}, max(_source_row) as _row from incoming"
        " anti join taken using (_source_row)"
        f" where _failed is null group by {key}) as latest using ({key})"
        " where latest._row > taken._source_row"
    ).fetchall()
    return tuple(
        Withheld(row, reason, detail)
        if reason == "superseded"
        else Withheld(row, "superseded", f"row {latest} of the same file is newer")
        for row, reason, detail, latest in rows
    )


def _differs(con: duckdb.DuckDBPyConnection, counts: Counts) -> bool:
    """Whether a row passes now, or does not for another reason.

    With which row a key is in conflict is no news.
    """
    own = ", ".join(quoted(reason) for reason in CANNOT_LOAD)
    return bool(
        counts.loaded
        or counts.already_known
        or number(
            con,
            "select count(*) from held join taken using (_source_row)"
            " where held.reason <> taken.reason or held.reasons is distinct from taken.reasons"
            f" or (held.reason in ({own}) and held.detail <> taken.detail)",
        )
    )


def _decision(con: duckdb.DuckDBPyConnection, batch: Batch) -> Decision:
    taken = con.execute("select _source_row from taken order by 1").fetchall()
    rows = tuple(REPLAYED._replace(row=row) for (row,) in taken)
    at, used = batch.loaded_at.isoformat(), batch.source.fingerprint()
    return Decision("replay", batch.source.name, batch.id, at, rows, used)


def _count_replay(con: duckdb.DuckDBPyConnection, batch: Batch, counts: Counts) -> None:
    con.execute(
        "update lake.meta.batches set loaded = loaded + ?, already_known = already_known + ?,"
        " quarantined = quarantined - ? where batch_id = ?",
        [
            counts.loaded,
            counts.already_known,
            counts.loaded + counts.already_known,
            batch.id,
        ],
    )
    mark(con, batch.source.name, batch.loaded_at)
    describe_commit(con, f"replayed {batch.where}")
