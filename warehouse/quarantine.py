"""The quarantine: rows that did not pass, looked at, and given up.

Giving up is one transaction a batch, and keeps the ledger's arithmetic:
rows in = loaded + quarantined + already known + dropped + refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import duckdb

from warehouse.batch import Withheld
from warehouse.catalog import catalog_errors
from warehouse.decisions import Decision, carried_out, decisions, forget, keep, note
from warehouse.duck import attach_lake, connect, quoted
from warehouse.errors import LakeError
from warehouse.lake import REASONS, describe_commit, held_rows, writing
from warehouse.landing import content_path
from warehouse.loading import load_times, mark, transaction
from warehouse.settings import Settings
from warehouse.wording import counted

HELD_ROWS = held_rows("lake.meta")

# By reason: what a person may do about the rows.
WAYS_OUT = {
    "not_of_type": "declare a type or format that takes the values in sources.yml, then replay;"
    " or have the file sent again",
    "torn_record": "tell the dialect in sources.yml (delimiter, quote, escape), then replay;"
    " or have the file sent again",
    "key_missing": "name another `key:` in sources.yml, then replay; or have the file sent again",
    "key_conflict": "`write: merge` takes later rows as corrections; for two records with one key"
    " name a wider `key:`; then replay",
    "superseded": "a newer row is loaded, so nothing is to be done; drop them when that is right",
}


@dataclass(frozen=True)
class Group:
    """The quarantined rows of one batch with one reason; `landed` if the file's bytes are there.

    A row that breaks several rules is in a group of each. `first_rows` are those of which the
    reason is the first: over all groups they are as many as there are rows.
    """

    source: str
    file: str
    batch: str
    reason: str
    rows: int
    first_row: int
    first_line: int | None
    quarantined_at: datetime
    landed: bool
    first_rows: int


@dataclass(frozen=True)
class Chosen:
    """Which quarantined rows are meant: of a source, if given of one batch or with one reason."""

    source: str | None = None
    batch: str | None = None
    reason: str | None = None

    @property
    def where(self) -> tuple[str, list[str]]:
        """SQL that holds for the rows of `HELD_ROWS` as `q`, with its values."""
        tests = {
            "q.source = ?": self.source,
            "starts_with(q.batch_id, ?)": self.batch,
            f"list_contains({REASONS}, ?)": self.reason,
        }
        given = {test: value for test, value in tests.items() if value is not None}
        return " and ".join(given) or "true", list(given.values())


@contextmanager
def reading(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the lake attached to read; raises LakeError when there is none."""
    with closing(connect(settings)) as con, catalog_errors(settings):
        attach_lake(con, settings)
        yield con


def groups(settings: Settings, chosen: Chosen) -> list[Group]:
    """What is in quarantine, by source, batch and reason, oldest first."""
    with reading(settings) as con:
        check_known(con, chosen)
        return _groups(con, settings, chosen)


def _groups(con: duckdb.DuckDBPyConnection, settings: Settings, chosen: Chosen) -> list[Group]:
    test, values = chosen.where
    meant = REASONS if chosen.reason is None else f"[{quoted(chosen.reason)}]"
    rows = con.execute(
        f"with q as (select *, {meant} as meant from {HELD_ROWS} q where {test}), each as"
        " (select *, unnest(meant) as each_reason from q)"
        " select q.source, q.source_file, q.batch_id, each_reason, count(*), min(q._source_row),"
        " min(q.line), min(q.quarantined_at) as since, any_value(b.content_sha256),"
        " count_if(each_reason = meant[1])"
        " from each q left join lake.meta.batches b using (batch_id)"
        " group by all order by q.source, since, q.source_file, each_reason",
        values,
    ).fetchall()
    return [Group(*(*row[:8], _is_landed(settings, row[8]), row[9])) for row in rows]


def _is_landed(settings: Settings, sha256: str | None) -> bool:
    return sha256 is not None and content_path(settings, sha256).is_file()


def rows(settings: Settings, chosen: Chosen, limit: int | None) -> list[dict[str, Any]]:
    """The first `limit` quarantined rows, or all, whole, in the order of loading."""
    test, values = chosen.where
    with reading(settings) as con:
        check_known(con, chosen)
        found = con.execute(
            "select source, batch_id, source_file, line, _source_row, reason, detail, raw,"
            f" quarantined_at, {REASONS} as reasons from {HELD_ROWS} q where {test}"
            " order by quarantined_at, batch_id, _source_row limit ?",
            [*values, limit],
        )
        names = [column[0] for column in found.description or []]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def check_known(con: duckdb.DuckDBPyConnection, chosen: Chosen) -> None:
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


def held_batches(con: duckdb.DuckDBPyConnection, chosen: Chosen) -> list[tuple[str, str, str]]:
    """Source, id and file of every batch with rows in quarantine, in the order of arrival."""
    test, values = chosen.where
    return con.execute(
        "select b.source, b.batch_id, b.source_file from lake.meta.batches b where b.batch_id in"
        f" (select q.batch_id from {HELD_ROWS} q where {test})"
        " order by b.arrived_at, b.source_file",
        values,
    ).fetchall()


def drop(settings: Settings, chosen: Chosen) -> list[Group]:
    """Give the rows up: they move to `meta.dropped`, a transaction a batch; returns which.

    The caller holds the writer lock.
    """
    with writing(settings) as con:
        settle(con, settings)
        check_known(con, chosen)
        given_up = _groups(con, settings, chosen)
        times = load_times(con)
        for source, batch, _ in held_batches(con, chosen):
            test, values = replace(chosen, batch=batch).where
            rows = con.execute(
                f"select _source_row, reason, detail, reasons from {HELD_ROWS} q where {test}"
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
        dropped = f"{counted(moved[0], 'row')} of {decision.source}"
        describe_commit(con, f"dropped {dropped}, batch {decision.batch_id}")


def settle(con: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """End what a killed process left: carry a decided drop out, forget an unfinished replay.

    A replay whose transaction did not come to its end left its rows in quarantine, to be replayed.
    What was decided on a batch that this lake does not have yet, one that was restored from a
    copy, waits for it.
    """
    done = carried_out(con)
    batches = {row for (row,) in con.execute("select batch_id from lake.meta.batches").fetchall()}
    for decision in decisions(settings):
        if decision.id in done or decision.batch_id not in batches:
            continue
        if decision.kind == "drop":
            carry_out_drop(con, decision)
        else:
            forget(settings, decision)
