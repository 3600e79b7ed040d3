"""Checks of what runs leave: the lock, the run ledger, rubbish of killed ones, the server."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flows.checks.findings import CautionError, Entry, Found, Look
from flows.checks.machine import first_line
from flows.processes import Process
from warehouse.errors import ClearwaterError, StateError
from warehouse.files import is_temporary
from warehouse.settings import Settings
from warehouse.wording import byte_size, counted, few

OURS = (
    "builds/",
    "dbt/",
    "dev/",
    "features/",
    "lake/",
    "landing/",
    "logs/",
    "metrics/",
    "reports/",
)
FIXED = "`clearwater doctor --fix` removes it; so does the next run"
CONNECT_SECONDS = 5
# A run that begins needs so long until it holds the lock.
BEGINNING = timedelta(minutes=2)
UNFINISHED = "('RUNNING', 'PENDING', 'CANCELLING')"


def lock(look: Look) -> Found:
    """Who writes now; a lock file whose process is gone locks nothing."""
    held = look.holder
    if held is None:
        return "nobody writes", []
    waiting = f"; {held.waiting} waiting" if held.waiting else ""
    told = f" ({held.command})" if held.command else ""
    return f"process {held.pid or 'unknown'} is at work{told}{waiting}", []


def state(look: Look) -> Found:
    """Whether the run ledger can be read, and tells of no run as running that is not."""
    return _postgres(look) if look.settings.state_url else _sqlite(look)


def _sqlite(look: Look) -> Found:
    file = look.settings.state_db
    if not file.exists():
        if not look.settings.releases.is_dir():
            return "none yet", []
        caution = CautionError(
            "the run ledger is gone: what runs did, incidents and what is usual are not known",
            where=str(file),
            next_step="put it back from a copy; or `clearwater doctor --fix` makes a new one, with"
            " the runs that published what is there",
        )
        return "", [caution]
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as con:
            (told,) = con.execute("pragma quick_check(1)").fetchone()
            if told != "ok":
                raise sqlite3.DatabaseError(told)
            return _runs(look, con.execute("select run_id, started_at, status from runs"))
    except sqlite3.Error as error:
        raise StateError(
            f"the run ledger cannot be read: {error}",
            where=str(file),
            next_step="move the file away: a new one is made, and no data depends on it",
        ) from None


def _postgres(look: Look) -> Found:
    """The same of a PostgreSQL database. Its address is a secret, and never told."""
    import psycopg

    address = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", look.settings.state_url)
    where = "CLEARWATER_STATE_URL"
    try:
        with psycopg.connect(address, connect_timeout=CONNECT_SECONDS) as con:
            found = con.execute("select to_regclass('runs') is not null").fetchone()
            if found != (True,):
                return "PostgreSQL, no runs yet", []
            return _runs(look, con.execute("select run_id, started_at, status from runs"))
    except psycopg.ProgrammingError:
        raise StateError(
            "the address of the state database is none, or its tables are not ours",
            where=where,
            next_step="set it as postgresql://user:password@host:5432/database",
        ) from None
    except psycopg.Error as error:
        raise StateError(
            f"the state database cannot be reached: {first_line(error)}",
            where=where,
            next_step="start it, or correct the address; runs go on without it, but for history",
        ) from None


def _runs(look: Look, rows: Any) -> Found:
    found = [tuple(row) for row in rows]
    if found:
        newest = max(str(started) for _, started, _ in found)
        look.moments["the newest run"] = datetime.fromisoformat(newest).replace(tzinfo=UTC)
    dead = [run for run, _, status in found if status == "running"]
    wrong: list[ClearwaterError] = []
    if dead and look.holder is None:
        wrong.append(
            CautionError(
                f"{counted(len(dead), 'run')} noted as running, but nobody writes: {few(dead)}",
                where="run ledger",
                next_step="`clearwater doctor --fix` closes them as crashed; so does the next run",
            )
        )
    return counted(len(found), "run"), wrong


def rubbish(look: Look) -> Found:
    """What killed runs left half done."""
    if look.holder is not None:
        return "a run is at work", []
    left = left_over(look.settings, look.tree)
    if not left:
        return "none", []
    files = [name for name in look.tree if name.startswith(tuple(f"{place}/" for place in left))]
    total = sum(look.tree[name].size for name in [*files, *left] if look.tree[name].is_file)
    told = f"{counted(len(left), 'thing')} left by killed runs ({byte_size(total)}): {few(left)}"
    return "", [CautionError(told, where=str(look.settings.home), next_step=FIXED)]


def left_over(settings: Settings, tree: Mapping[str, Entry]) -> list[str]:
    """Half-made builds and temporary files, by their path in the home; only where nobody writes.

    The newest complete build is none: `clearwater publish` may take it up.
    """
    complete = sorted(file.parent for file in settings.builds.glob("*/build.json"))
    kept = complete[-1].relative_to(settings.home).as_posix() if complete else ""
    builds = [name for name in tree if re.fullmatch("builds/[^/]+", name) and name != kept]
    parts = [name for name in tree if is_temporary(Path(name)) and _is_ours(name)]
    making = [name for name in tree if name.startswith("lake/making.sqlite")]
    spilled = ["tmp/spill"] if "tmp/spill" in tree else []
    found = sorted({*builds, *parts, *making, *spilled})
    return [name for name in found if not name.startswith(tuple(f"{other}/" for other in found))]


def _is_ours(name: str) -> bool:
    """Whether we make the temporary files there: at the top, in `releases`, and in these."""
    return name.startswith((*OURS, "releases/.")) or "/" not in name


def server(look: Look) -> Found:
    """Whether the server that was started still runs, and shows no run that is none."""
    from flows.server import recorded as noted
    from flows.server import running

    known = running(look.settings)
    info = noted(look.settings)
    processes = recorded(look.settings)
    alive = [process for process in processes if process.alive]
    wrong: list[ClearwaterError] = []
    where = str(record(look.settings))
    if processes and not alive:
        wrong.append(
            CautionError(
                "the server was started and is gone: nothing runs by itself",
                where=where,
                next_step="`clearwater up` starts it again; `clearwater doctor --fix` forgets it",
            )
        )
    elif info and info.supervisor.alive and (known is None or len(alive) < len(processes)):
        again = "is being started again" if info.is_ready else "is being started"
        wrong.append(
            CautionError(
                f"the server {again}, or does not answer: until then nothing runs by itself",
                where=where,
                next_step="look again in a minute; if it stays so, `clearwater down`, then"
                " `clearwater up`; its logs lie beside this file",
            )
        )
    elif processes and (known is None or len(alive) < len(processes)):
        wrong.append(
            ClearwaterError(
                "the server runs in part, or does not answer: nothing may run by itself",
                where=where,
                next_step="`clearwater down`, then `clearwater up`; its logs lie beside this file",
            )
        )
    wrong += _stale_runs(look, is_up=known is not None)
    return (known.url if known else "not running"), wrong


def record(settings: Settings) -> Path:
    """Where the server's processes are noted."""
    return settings.prefect / "server.json"


def recorded(settings: Settings) -> list[Process]:
    """The processes that the record names, wherever it does."""
    try:
        told = json.loads(record(settings).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return list(_processes(told))


def _processes(told: Any) -> Iterator[Process]:
    if isinstance(told, dict):
        if told.keys() >= {"pid", "born"}:
            yield Process(int(told["pid"]), str(told["born"]))
        for inner in told.values():
            yield from _processes(inner)


def _stale_runs(look: Look, *, is_up: bool) -> Iterator[ClearwaterError]:
    """Runs that the server's own database shows as unfinished, though nobody writes."""
    file = look.settings.prefect / "prefect.db"
    if look.settings.server.database_url or look.holder is not None or not file.exists():
        return
    before = datetime.now(UTC) - BEGINNING if is_up else datetime.now(UTC)
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as con:
            (count,) = con.execute(
                f"select count(*) from flow_run where state_type in {UNFINISHED}"
                " and coalesce(start_time, expected_start_time, created) < ?",
                [before.strftime("%Y-%m-%d %H:%M:%S")],
            ).fetchone()
    except sqlite3.Error as error:
        yield CautionError(
            f"the server's database cannot be read: {error}",
            where=str(file),
            next_step="`clearwater down`, move it away, `clearwater up`: the UI's history goes",
        )
        return
    if count:
        yield CautionError(
            f"the UI shows {counted(count, 'run')} as unfinished, but nobody writes",
            where=str(file),
            next_step="`clearwater down` and `clearwater up`: it closes them as crashed",
        )
