"""The run ledger's old rows: runs with their stages and gate results, kept as long as logs are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    String,
    Table,
    cast,
    delete,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError

from warehouse.settings import Settings
from warehouse.state import (
    gate_results,
    open_state,
    runs,
    said,
    stages,
    state_exists,
    unusable,
)

OF_RUNS = (stages, gate_results)


@dataclass(frozen=True)
class LedgerRuns:
    """The runs in the ledger: how many go, with at least so many bytes, and why how many stay.

    `before` and `kept` tell which go: those that began earlier (UTC), but these. A ledger that
    cannot be read has a `problem`, and loses nothing. On PostgreSQL no bytes of the home go.
    """

    gone: int = 0
    bytes: int = 0
    stays: Mapping[str, int] | None = None
    before: datetime | None = None
    kept: Collection[str] = ()
    problem: str = ""


def ledger_runs(
    settings: Settings, keep: timedelta | None, made_by: Mapping[str, str]
) -> LedgerRuns:
    """Judge the runs in the ledger; `made_by` has the kept release that each of its runs made.

    Those go that began longer ago than `keep`, but for the newest. Nothing is changed.
    """
    if not state_exists(settings):
        return LedgerRuns()
    with open_state(settings) as engine:
        try:
            if not inspect(engine).has_table(runs.name):
                return LedgerRuns()
            with engine.connect() as con:
                return _judged(con, settings, keep, made_by)
        except DBAPIError as error:
            return LedgerRuns(problem=said(error))


def _judged(
    con: Connection, settings: Settings, keep: timedelta | None, made_by: Mapping[str, str]
) -> LedgerRuns:
    newest = select(runs.c.run_id).order_by(runs.c.started_at.desc(), runs.c.run_id.desc())
    first = con.execute(newest.limit(1)).scalar()
    if first is None:
        return LedgerRuns()
    kept = {first, *made_by}
    since = datetime.now(UTC) - keep if keep is not None else datetime.min.replace(tzinfo=UTC)
    before = since.replace(tzinfo=None)
    total = _count(con, runs.c.run_id.is_not(None))
    made = _count(con, runs.c.run_id.in_([run for run in made_by if run != first]))
    old = _is_old(before, kept)
    gone = _count(con, old)
    stays = {
        "the newest": 1,
        "their releases are kept": made,
        "not old enough": total - gone - made - 1,
    }
    size = 0 if settings.state_url or not gone else _bytes(con, old)
    return LedgerRuns(gone, size, {why: n for why, n in stays.items() if n}, before, kept)


def forget(settings: Settings, found: LedgerRuns) -> None:
    """Remove the runs that go, in one transaction. SQLite's file shrinks, too, if nobody reads it.

    Raises StateError, with all of them still there, where the ledger cannot be written.
    """
    if not found.gone or found.before is None:
        return
    old = _is_old(found.before, found.kept)
    of = select(runs.c.run_id).where(old)
    with open_state(settings) as engine:
        try:
            with engine.begin() as con:
                for table in OF_RUNS:
                    con.execute(delete(table).where(table.c.run_id.in_(of)))
                con.execute(delete(runs).where(old))
        except DBAPIError as error:
            raise unusable(settings, "old runs cannot be removed", error) from None
        if engine.dialect.name == "sqlite":
            with suppress(DBAPIError):  # what comes takes up the space
                _shrink(engine)


def _shrink(engine: Engine) -> None:
    """Give back the space of what was deleted; what it writes meanwhile is kept in memory."""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as con:
        con.execute(text("pragma temp_store = memory"))
        con.execute(text("vacuum"))


def _is_old(before: datetime, kept: Collection[str]) -> ColumnElement[bool]:
    return (runs.c.started_at < before) & runs.c.run_id.not_in(sorted(kept))


def _count(con: Connection, which: ColumnElement[bool]) -> int:
    return int(con.execute(select(func.count()).select_from(runs).where(which)).scalar_one())


def _bytes(con: Connection, old: ColumnElement[bool]) -> int:
    """The bytes of the values of these runs, those of keys twice, for each table has an index."""
    of = select(runs.c.run_id).where(old)
    return sum(
        int(con.execute(select(_size(table)).where(table.c.run_id.in_(of))).scalar_one())
        for table in (runs, *OF_RUNS)
    )


def _size(table: Table) -> ColumnElement[int]:
    columns = (*table.columns, *table.primary_key.columns)
    sizes = [func.coalesce(func.length(cast(column, String)), 0) for column in columns]
    return func.coalesce(func.sum(sum(sizes[1:], start=sizes[0])), 0)
