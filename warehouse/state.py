"""The state database, SQLite or PostgreSQL, and in it the run ledger, through SQLAlchemy.

It may lag or be lost: what is true of the data is decided by the lake's ledger and the release
folders alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
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
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    delete,
    func,
    insert,
    inspect,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.exc import ArgumentError, DBAPIError

from warehouse.errors import ConfigurationError, StateError
from warehouse.last_heard import last_heard
from warehouse.lock import host, is_running, lock_holder
from warehouse.processes import Process, this_process
from warehouse.settings import Settings

VARIABLE = "CLEARWATER_STATE_URL"
DRIVER = "postgresql+psycopg"
CONNECT_SECONDS = 5
# A server that is only being restarted answers again after one of these.
OPENING_DELAYS_SECONDS = (1.0, 4.0)
PAUSE_SECONDS = 5.0  # while the database is gone a run asks for it no more often than that
# PostgreSQL's classes and codes of what passes: connections, shut-downs, conflicts, locks.
PASSING_STATES = ("08", "57P", "40001", "40P01", "55P03", "53300")
PASSING_WORDS = ("database is locked", "database table is locked")

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
    Column("options", JSON),
    Column("trigger", String),
    Column("host", String),
    Column("pid", Integer),
    Column("born", String),
    Column("number", Integer),  # in the order of their starts, whatever the clock said
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
    """The state database of one CLEARWATER_HOME, let go of after the block.

    Raises ConfigurationError for an address that is none of PostgreSQL, and StateError when the
    database cannot be used, unless that may pass by itself.
    """
    engine = _postgres(settings) if settings.state_url else _sqlite(settings)
    try:
        yield engine
    except DBAPIError as error:
        if passes_by_itself(error):
            raise
        raise unusable(settings, "the state database cannot be used", error) from None
    finally:
        engine.dispose()


def state_exists(settings: Settings) -> bool:
    """Whether there may be something in the state database; looking makes none."""
    return bool(settings.state_url) or settings.state_db.exists()


def _sqlite(settings: Settings) -> Engine:
    settings.home.mkdir(parents=True, exist_ok=True)
    return create_engine(URL.create("sqlite", database=str(settings.state_db)))


def _postgres(settings: Settings) -> Engine:
    return create_engine(
        _address(settings),
        pool_pre_ping=True,  # a connection that was lost is made again
        hide_parameters=True,
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "keepalives_idle": 30,
            "tcp_user_timeout": 30_000,
            "client_encoding": "utf8",
            "options": "-c timezone=UTC",
        },
    )


def _address(settings: Settings) -> URL:
    try:
        url = make_url(settings.state_url)
    except (ArgumentError, ValueError):
        url = None
    if url is None or url.drivername not in ("postgresql", "postgres", DRIVER):
        raise ConfigurationError(
            "it is not the address of a PostgreSQL database",
            where=VARIABLE,
            next_step=f"export {VARIABLE}=postgresql://USER:PASSWORD@HOST:5432/DATABASE, or unset"
            " it for the file in the home",
        )
    return url.set(drivername=DRIVER)


def state_place(settings: Settings) -> str:
    """Where the state database is, in words that hold no secret."""
    if not settings.state_url:
        return str(settings.state_db)
    url = _address(settings)
    port = f":{url.port}" if url.port else ""
    return f"{VARIABLE} ({url.host or 'localhost'}{port}/{url.database or ''})"


def prepare(engine: Engine, *tables: Table) -> None:
    """Make these tables, or give those of an earlier version the columns that are lacking.

    Another process may do the same at this moment: whoever comes second finds them there.
    """
    try:
        _prepare(engine, tables)
    except DBAPIError as error:
        if passes_by_itself(error):
            raise
        _prepare(engine, tables)


def _prepare(engine: Engine, tables: tuple[Table, ...]) -> None:
    metadata.create_all(engine, tables=tables)
    add_columns(engine, *tables)


def add_columns(engine: Engine, *tables: Table) -> None:
    """Give tables that an earlier version made the columns that may be empty and are lacking."""
    for table in tables:
        there = {column["name"] for column in inspect(engine).get_columns(table.name)}
        for column in table.columns:
            if column.nullable and column.name not in there:
                kind = column.type.compile(engine.dialect)
                name = engine.dialect.identifier_preparer.quote(column.name)
                with engine.begin() as con:
                    con.execute(text(f"alter table {table.name} add column {name} {kind}"))


def passes_by_itself(error: DBAPIError) -> bool:
    """Whether the state database, or a lock in it, may be there again soon."""
    orig = error.orig
    if error.connection_invalidated or any(words in str(orig) for words in PASSING_WORDS):
        return True
    if not type(orig).__module__.startswith("psycopg"):
        return False
    state = getattr(orig, "sqlstate", None)
    lost = ("OperationalError", "InterfaceError")
    return state.startswith(PASSING_STATES) if state else type(orig).__name__ in lost


def said(error: DBAPIError) -> str:
    """What the database says, in one line."""
    return str(error.orig).strip().partition("\n")[0]


def unusable(settings: Settings, what: str, error: DBAPIError) -> StateError:
    """The error for a state database that cannot be used; `what` says for what."""
    next_step = "free some space, or move the file away: a new one is made, and no data depends on"
    if settings.state_url:
        next_step = f"check that the server runs, and {VARIABLE}; no data depends on"
    return StateError(
        f"{what}: {_without_password(settings, said(error))}",
        where=state_place(settings),
        next_step=f"{next_step} it",
    )


def _without_password(settings: Settings, message: str) -> str:
    password = _address(settings).password if settings.state_url else None
    return message.replace(str(password), "…") if password else message


class RunLedger:
    """The runs of one CLEARWATER_HOME; see `open_ledger`.

    What cannot be written never fails a run: it is written later, when the database is there again.
    """

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._unwritten: list[Callable[[Connection], None]] = []
        self._waits_for = ""
        self._dropped = ""
        self._next_try = 0.0
        prepare(engine, runs, stages, gate_results)

    @property
    def lag(self) -> str | None:
        """Why something is not written; None when all is."""
        return self._dropped or (self._waits_for if self._unwritten else None) or None

    def _write(self, write: Callable[[Connection], None], *, at_once: bool = False) -> None:
        """Write this and whatever could not be written before, in order, a transaction each."""
        self._unwritten.append(write)
        if time.monotonic() < self._next_try and not at_once:
            return
        while self._unwritten:
            try:
                with self._engine.begin() as con:
                    self._unwritten[0](con)
            except DBAPIError as error:
                why = _without_password(self._settings, said(error))
                if passes_by_itself(error):
                    self._waits_for = why
                    self._next_try = time.monotonic() + PAUSE_SECONDS
                    return
                self._dropped = why
            del self._unwritten[0]

    def start(
        self, run_id: str, options: Mapping[str, Any] | None = None, trigger: str = "command line"
    ) -> None:
        """Note the start of a run of this process; the caller holds the writer lock.

        `options` are what it was asked, for `clearwater retry`. Whatever else is noted as running
        died without a word.
        """
        now, process = _now(), this_process()
        values = {"started_at": now, "status": "running", "trigger": trigger, "host": host()}
        values |= {"pid": process.pid, "born": process.born, "options": dict(options or {})}

        def write(con: Connection) -> None:
            note_crashed(con, self._settings, but=run_id)
            last = con.execute(select(func.max(runs.c.number))).scalar()
            _put(con, runs, {"run_id": run_id}, values | {"number": (last or 0) + 1})

        self._write(write)

    def stage(
        self, run_id: str, name: str, status: str, seconds: float | None, detail: str
    ) -> None:
        """Note a stage's newest status, replacing the one before."""
        values = {"status": status, "seconds": seconds, "detail": detail}
        self._write(lambda con: _put(con, stages, {"run_id": run_id, "stage": name}, values))

    def gate(self, run_id: str, results: list[dict[str, Any]]) -> None:
        """Note the result of each rule."""
        names = [column.name for column in gate_results.columns if column.name != "run_id"]
        rows = [{"run_id": run_id} | {n: result[n] for n in names} for result in results]

        def write(con: Connection) -> None:
            con.execute(delete(gate_results).where(gate_results.c.run_id == run_id))
            if rows:
                con.execute(insert(gate_results), rows)

        self._write(write)

    def end(self, run_id: str, status: str, release: str | None, summary: dict[str, Any]) -> None:
        """Note the end of a run."""
        values = {"status": status, "ended_at": _now(), "release": release, "summary": summary}
        same = runs.c.run_id == run_id
        self._write(
            lambda con: _executed(con, update(runs).where(same).values(**values)), at_once=True
        )

    def newest(self, count: int | None = None) -> list[dict[str, Any]]:
        """The newest runs, all without a count, newest first.

        One is `running` only if it truly is, as `lock.is_running` tells. Else it is `crashed`,
        whether or not a run has come since and noted that; it ended when it was last heard of.
        """
        found = self._newest(count)
        if lost := {run["run_id"] for run in self._lost(found)}:
            found = self._newest(
                count
            )  # one may have come to its end before the lock was looked at
            for run in found:
                if run["status"] == "running" and run["run_id"] in lost:
                    heard = _last_heard(self._settings, run["run_id"], run["started_at"])
                    run |= {"status": "crashed", "ended_at": heard}
        return found

    def _newest(self, count: int | None) -> list[dict[str, Any]]:
        """The newest runs, as they are noted."""
        order = func.coalesce(runs.c.number, 0).desc(), runs.c.started_at.desc()
        with self._engine.connect() as con:
            found = con.execute(select(runs).order_by(*order).limit(count))
            return [dict(row) for row in found.mappings()]

    def _lost(self, found: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """Those that are noted as running, and are not."""
        noted = [run for run in found if run["status"] == "running"]
        holder = lock_holder(self._settings) if noted else None
        for run in noted:
            process = Process(run["pid"] or 0, run["born"] or "")
            if not is_running(holder, run["run_id"], process, run["host"] or ""):
                yield run

    def stages(self, run_id: str) -> dict[str, str]:
        """The status of each stage that the run began, by its name."""
        chosen = select(stages.c.stage, stages.c.status).where(stages.c.run_id == run_id)
        with self._engine.connect() as con:
            return {row.stage: row.status for row in con.execute(chosen)}


def note_crashed(con: Connection, settings: Settings, *, but: str = "") -> list[str]:
    """Note every run as crashed that is noted as running, `but` one; returns their ids.

    The caller holds the writer lock. They ended when they were last heard of.
    """
    is_dead = (runs.c.status == "running") & (runs.c.run_id != but)
    found = con.execute(select(runs.c.run_id, runs.c.started_at).where(is_dead))
    dead: dict[str, datetime] = {row.run_id: row.started_at for row in found}
    for run_id, started_at in dead.items():
        values = {"status": "crashed", "ended_at": _last_heard(settings, run_id, started_at)}
        con.execute(update(runs).where(runs.c.run_id == run_id).values(**values))
    is_open = (stages.c.status == "running") & (stages.c.run_id != but)
    con.execute(update(stages).where(is_open).values(status="crashed"))
    return list(dead)


def _last_heard(settings: Settings, run_id: str, started_at: datetime) -> datetime | None:
    """When it was last heard of, in UTC as the ledger has it; not before it began."""
    heard = last_heard(settings, run_id)
    return max(heard.replace(tzinfo=None), started_at) if heard else None


def _put(con: Connection, table: Table, key: dict[str, Any], values: dict[str, Any]) -> None:
    """Write the row with this key, in the place of what was there."""
    same = [table.c[name] == value for name, value in key.items()]
    if con.execute(update(table).where(*same).values(**values)).rowcount == 0:
        con.execute(insert(table).values(**key, **values))


def _executed(con: Connection, statement: Any) -> None:
    con.execute(statement)


@contextmanager
def open_ledger(settings: Settings) -> Iterator[RunLedger]:
    """The run ledger, closed after the block. Raises StateError when it cannot be opened."""
    with open_state(settings) as engine:
        yield _opened(engine, settings)


def _opened(engine: Engine, settings: Settings) -> RunLedger:
    delays = list(OPENING_DELAYS_SECONDS if settings.state_url else ())
    while True:
        try:
            return RunLedger(engine, settings)
        except DBAPIError as error:
            if not delays or not passes_by_itself(error):
                raise unusable(settings, "the run ledger cannot be opened", error) from None
        time.sleep(delays.pop(0))


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)
