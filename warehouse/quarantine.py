"""The quarantine: rows that did not pass, looked at, judged again, or given up.

Judging again and giving up are one transaction a batch, and keep the ledger's arithmetic:
rows in = loaded + quarantined + already known + dropped + refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import duckdb

from warehouse.batch import Batch, Counts, Withheld, batch_id
from warehouse.containers import opened, parts
from warehouse.decisions import Decision, carried_out, decisions, forget, keep, note
from warehouse.duck import attach_lake, connect, listed, number, quoted
from warehouse.errors import BatchRefusedError, LakeError
from warehouse.evolution import evolve
from warehouse.judging import CANNOT_LOAD, judge
from warehouse.lake import describe_commit, writing
from warehouse.landing import Landed, arrivals, content_path
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
from warehouse.readers import reader_for
from warehouse.readers.contract import drop_incoming, forget_batch, unreadable_refused
from warehouse.settings import Settings
from warehouse.sources import Source

REPLAYED = Withheld(0, "withheld", None)


@dataclass(frozen=True)
class Group:
    """The quarantined rows of one batch with one reason; `landed` if the file's bytes are there."""

    source: str
    file: str
    batch: str
    reason: str
    rows: int
    first_row: int
    first_line: int | None
    quarantined_at: datetime
    landed: bool


@dataclass(frozen=True)
class Mended:
    """What a replay did with one batch: `counts` of the rows judged, or the `problem`."""

    source: str
    batch: str
    file: str
    counts: Counts = field(default_factory=Counts)
    problem: str | None = None


@dataclass(frozen=True)
class Chosen:
    """Which quarantined rows are meant: of a source, if given of one batch or with one reason."""

    source: str | None = None
    batch: str | None = None
    reason: str | None = None

    @property
    def where(self) -> tuple[str, list[str]]:
        """SQL that holds for the rows of `meta.quarantine` as `q`, with its values."""
        tests = {
            "q.source = ?": self.source,
            "starts_with(q.batch_id, ?)": self.batch,
            "q.reason = ?": self.reason,
        }
        given = {test: value for test, value in tests.items() if value is not None}
        return " and ".join(given) or "true", list(given.values())


@contextmanager
def reading(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the lake attached to read; raises LakeError when there is none."""
    with closing(connect(settings)) as con:
        con.execute("set TimeZone = 'UTC'")
        attach_lake(con, settings)
        yield con


def groups(settings: Settings, chosen: Chosen) -> list[Group]:
    """What is in quarantine, by source, batch and reason, oldest first."""
    with reading(settings) as con:
        _check_known(con, chosen)
        return _groups(con, settings, chosen)


def _groups(con: duckdb.DuckDBPyConnection, settings: Settings, chosen: Chosen) -> list[Group]:
    test, values = chosen.where
    rows = con.execute(
        "select q.source, q.source_file, q.batch_id, q.reason, count(*), min(q._source_row),"
        " min(q.line), min(q.quarantined_at) as since, any_value(b.content_sha256)"
        " from lake.meta.quarantine q left join lake.meta.batches b using (batch_id)"
        f" where {test} group by all order by q.source, since, q.source_file, q.reason",
        values,
    ).fetchall()
    return [Group(*(*row[:8], _is_landed(settings, row[8]))) for row in rows]


def _is_landed(settings: Settings, sha256: str | None) -> bool:
    return sha256 is not None and content_path(settings, sha256).is_file()


def rows(settings: Settings, chosen: Chosen, limit: int) -> list[dict[str, Any]]:
    """The first `limit` quarantined rows, whole, in the order of loading."""
    test, values = chosen.where
    with reading(settings) as con:
        _check_known(con, chosen)
        found = con.execute(
            "select source, batch_id, source_file, line, _source_row, reason, detail, raw,"
            f" quarantined_at from lake.meta.quarantine q where {test}"
            " order by quarantined_at, batch_id, _source_row limit ?",
            [*values, limit],
        )
        names = [column[0] for column in found.description or []]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def _check_known(con: duckdb.DuckDBPyConnection, chosen: Chosen) -> None:
    """Raise LakeError when there is no such source or batch in the ledger, or several batches."""
    known = con.execute("select distinct source, batch_id from lake.meta.batches").fetchall()
    sources = sorted({source for source, _ in known})
    if chosen.source is not None and chosen.source not in sources:
        near = difflib.get_close_matches(chosen.source, sources, n=1)
        raise LakeError(
            f"nothing of a source {chosen.source!r} was ever loaded",
            next_step=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sources)}",
        )
    if chosen.batch is None:
        return
    batches = {b for s, b in known if b.startswith(chosen.batch) and chosen.source in (None, s)}
    if len(batches) != 1:
        raise LakeError(
            f"{len(batches) or 'no'} batches begin with {chosen.batch!r}",
            where="--batch",
            next_step="take an id from `clearwater quarantine list`",
        )


def landed_batches(settings: Settings) -> dict[str, tuple[Landed, str | None]]:
    """Every batch that landing can give: the arrival, and the member of a zip."""
    return {
        batch_id(landed, part): (landed, part)
        for landed in arrivals(settings)
        for part in parts(settings, landed)
    }


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
        _check_known(con, chosen)
        landed = landed_batches(settings)
        times = load_times(con)
        done: list[Mended] = []
        for name, batch, file in _held_batches(con, chosen):
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


def _held_batches(con: duckdb.DuckDBPyConnection, chosen: Chosen) -> list[tuple[str, str, str]]:
    """Source, id and file of every batch with rows in quarantine, in the order of arrival."""
    test, values = chosen.where
    return con.execute(
        "select b.source, b.batch_id, b.source_file from lake.meta.batches b where b.batch_id in"
        f" (select q.batch_id from lake.meta.quarantine q where {test})"
        " order by b.arrived_at, b.source_file",
        values,
    ).fetchall()


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
    sql = "select (select count(*) from incoming) + (select count(*) from rejected)"
    rows_now = number(con, sql)
    if rows_now != line[0]:
        raise BatchRefusedError(
            f"the file has {rows_now:,} rows as it is read now, and had {line[0]:,} when it was"
            " loaded: which of them are in quarantine cannot be told",
            where=batch.where,
            next_step="read it as before (sources.yml), or make the lake again:"
            " `clearwater lake rebuild`",
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
        "create or replace temp table taken as select _source_row, reason, detail"
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
    found = number(con, "select (select count(*) from incoming) + (select count(*) from rejected)")
    if found != number(con, "select count(*) from taken"):
        raise BatchRefusedError(
            "its rows have other numbers as it is read now",
            where=batch.where,
            next_step="read it as before (sources.yml), or make the lake again:"
            " `clearwater lake rebuild`",
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
            " where held.reason <> taken.reason"
            f" or (held.reason in ({own}) and held.detail <> taken.detail)",
        )
    )


def _decision(con: duckdb.DuckDBPyConnection, batch: Batch) -> Decision:
    taken = con.execute("select _source_row from taken order by 1").fetchall()
    rows = tuple(REPLAYED._replace(row=row) for (row,) in taken)
    return Decision("replay", batch.source.name, batch.id, batch.loaded_at.isoformat(), rows)


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


def drop(settings: Settings, chosen: Chosen) -> list[Group]:
    """Give the rows up: they move to `meta.dropped`, a transaction a batch; returns which.

    The caller holds the writer lock.
    """
    with writing(settings) as con:
        settle(con, settings)
        _check_known(con, chosen)
        given_up = _groups(con, settings, chosen)
        times = load_times(con)
        for source, batch, _ in _held_batches(con, chosen):
            test, values = replace(chosen, batch=batch).where
            rows = con.execute(
                f"select _source_row, reason, detail from lake.meta.quarantine q where {test}"
                " order by _source_row",
                values,
            ).fetchall()
            held = tuple(Withheld(*row) for row in rows)
            decision = Decision("drop", source, batch, next(times).isoformat(), held)
            keep(settings, decision)
            carry_out_drop(con, decision)
    return given_up


def carry_out_drop(con: duckdb.DuckDBPyConnection, decision: Decision) -> None:
    """Move the decision's rows that are in quarantine to `meta.dropped`, in one transaction."""
    at = datetime.fromisoformat(decision.decided_at)
    test = "batch_id = ? and _source_row in (select unnest(?::bigint[]))"
    values = [decision.batch_id, decision.row_numbers]
    with transaction(con):
        con.execute(
            "insert into lake.meta.dropped by name select *, ?::timestamp as dropped_at"
            f" from lake.meta.quarantine where {test}",
            [at, *values],
        )
        moved = con.execute(f"delete from lake.meta.quarantine where {test}", values).fetchone()
        assert moved is not None
        con.execute(
            "update lake.meta.batches set quarantined = quarantined - ?, dropped = dropped + ?"
            " where batch_id = ?",
            [moved[0], moved[0], decision.batch_id],
        )
        note(con, decision)
        mark(con, decision.source, at)
        describe_commit(
            con, f"dropped {moved[0]} rows of {decision.source}, batch {decision.batch_id}"
        )


def settle(con: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """End what a killed process left: carry a decided drop out, forget an unfinished replay.

    A replay whose transaction did not come to its end left its rows in quarantine, to be replayed.
    """
    done = carried_out(con)
    for decision in decisions(settings):
        if decision.id in done:
            continue
        if decision.kind == "drop":
            carry_out_drop(con, decision)
        else:
            forget(settings, decision)
