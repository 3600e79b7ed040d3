"""The run ledger: runs, their stages and gate results, through SQLAlchemy.

It may lag or be lost: what is true of the data is decided by the lake's ledger and the release
folders alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    URL,
    Column,
    Connection,
    DateTime,
    Engine,
    Float,
    MetaData,
    String,
    Table,
    create_engine,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.exc import DatabaseError

from warehouse.errors import StateError
from warehouse.settings import Settings

metadata = MetaData()
runs = Table(
    "runs",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("started_at", DateTime, nullable=False),
    Column("ended_at", DateTime),
    Column("status", String, nullable=False),
    Column("release", String),
    Column("summary", JSON),
)
stages = Table(
    "stages",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("stage", String, primary_key=True),
    Column("status", String, nullable=False),
    Column("seconds", Float),
    Column("detail", String),
)
gate_results = Table(
    "gate_results",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("rule_id", String, primary_key=True),
    Column("severity", String, nullable=False),
    Column("status", String, nullable=False),
    Column("rows_checked", Float),
    Column("unexpected_count", Float),
    Column("detail", String),
)


@contextmanager
def open_state(settings: Settings) -> Iterator[Engine]:
    """The state database of one CLEARWATER_HOME, let go of after the block."""
    settings.home.mkdir(parents=True, exist_ok=True)
    engine = create_engine(URL.create("sqlite", database=str(settings.state_db)))
    try:
        yield engine
    finally:
        engine.dispose()


def add_columns(engine: Engine, *tables: Table) -> None:
    """Give tables that an earlier version made the columns that may be empty and are lacking."""
    for table in tables:
        there = {column["name"] for column in inspect(engine).get_columns(table.name)}
        for column in table.columns:
            if column.nullable and column.name not in there:
                kind = column.type.compile(engine.dialect)
                with engine.begin() as con:
                    con.execute(text(f"alter table {table.name} add column {column.name} {kind}"))


def unusable(settings: Settings, what: str, error: DatabaseError) -> StateError:
    """The error for a state database that cannot be used; `what` says for what."""
    return StateError(
        f"{what}: {error.orig}",
        where=str(settings.state_db),
        next_step="free some space, or move the file away: a new one is made, and no data"
        " depends on it",
    )


class RunLedger:
    """The runs of one CLEARWATER_HOME; see `open_ledger`.

    `lag` says why something could not be written: that never fails a run.
    """

    def __init__(self, engine: Engine) -> None:
        self.lag: str | None = None
        self._engine = engine
        metadata.create_all(engine)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as con:
                yield con
        except DatabaseError as error:
            self.lag = str(error.orig)

    def start(self, run_id: str) -> None:
        """Note the start of a run; the caller holds the writer lock.

        Whatever else is noted as running died without a word.
        """
        with self._writing() as con:
            stale = update(runs).where(runs.c.status == "running")
            con.execute(stale.values(status="crashed", ended_at=_now()))
            dead = update(stages).where(stages.c.status == "running")
            con.execute(dead.values(status="crashed"))
            con.execute(insert(runs).values(run_id=run_id, started_at=_now(), status="running"))

    def stage(
        self, run_id: str, name: str, status: str, seconds: float | None, detail: str
    ) -> None:
        """Note a stage's newest status, replacing the one before."""
        values = {"status": status, "seconds": seconds, "detail": detail}
        with self._writing() as con:
            same = (stages.c.run_id == run_id) & (stages.c.stage == name)
            if con.execute(update(stages).where(same).values(**values)).rowcount == 0:
                con.execute(insert(stages).values(run_id=run_id, stage=name, **values))

    def gate(self, run_id: str, results: list[dict[str, Any]]) -> None:
        """Note the result of each rule."""
        names = [column.name for column in gate_results.columns if column.name != "run_id"]
        rows = [{"run_id": run_id} | {n: result[n] for n in names} for result in results]
        with self._writing() as con:
            if rows:
                con.execute(insert(gate_results), rows)

    def end(self, run_id: str, status: str, release: str | None, summary: dict[str, Any]) -> None:
        """Note the end of a run."""
        values = {"status": status, "ended_at": _now(), "release": release, "summary": summary}
        with self._writing() as con:
            con.execute(update(runs).where(runs.c.run_id == run_id).values(**values))

    def newest(self, count: int) -> list[dict[str, Any]]:
        """The newest runs, newest first."""
        newest = select(runs).order_by(runs.c.started_at.desc()).limit(count)
        with self._engine.connect() as con:
            return [dict(row) for row in con.execute(newest).mappings()]


@contextmanager
def open_ledger(settings: Settings) -> Iterator[RunLedger]:
    """The run ledger, closed after the block. Raises StateError when it cannot be opened."""
    with open_state(settings) as engine:
        try:
            ledger = RunLedger(engine)
        except DatabaseError as error:
            raise unusable(settings, "the run ledger cannot be opened", error) from None
        yield ledger


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
