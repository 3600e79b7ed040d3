"""What `clearwater doctor --fix` does: only what loses nothing, under the writer lock."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import duckdb
from sqlalchemy import Engine, insert

from flows.checks.findings import Batch, walk
from flows.checks.machine import closed_to_us
from flows.checks.runs import left_over, record, recorded
from flows.checks.store import not_in_ledger, orphans, sound_release
from warehouse.errors import ClearwaterError
from warehouse.files import link_atomically
from warehouse.lock import writer_lock
from warehouse.releases import current, held_at
from warehouse.releases import releases as all_releases
from warehouse.settings import Settings
from warehouse.wording import counted, few

DEEPEST = 64  # folders within each other that are closed: each is found when the one above is open


def mend(settings: Settings, *, wait: bool = False) -> Iterator[str]:
    """Mend what can be mended safely, and say each thing that was done.

    Never touches data, nor what a user named. Raises WriterBusyError when another process writes,
    unless `wait`.
    """
    if not settings.home.is_dir():
        return
    yield from _rights(settings)  # first: the lock's own file may be closed
    with writer_lock(settings, wait=wait):
        for step in (_rubbish, _orphans, _current, _state, _server):
            # What cannot even be read is not for us to mend: `examine` tells of it.
            with suppress(ClearwaterError, duckdb.Error, sqlite3.Error):
                yield from step(settings)


def _rights(settings: Settings) -> Iterator[str]:
    mended: list[str] = []
    for _ in range(DEEPEST):
        closed = closed_to_us(dict(walk(settings.home)))
        if not closed:
            break
        for name, mode in closed.items():
            (settings.home / name).chmod(mode)
            mended.append(name)
    if mended:
        yield f"gave {counted(len(mended), 'file')} of ours the rights that a run needs"


def _rubbish(settings: Settings) -> Iterator[str]:
    left = left_over(settings, dict(walk(settings.home)))
    for name in left:
        path = settings.home / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if left:
        yield f"removed {counted(len(left), 'thing')} left by killed runs: {few(left)}"


def _orphans(settings: Settings) -> Iterator[str]:
    """Remove files that no snapshot names; not where the catalog is older than landing."""
    from warehouse.lake import writing
    from warehouse.query import open_lake

    if not settings.lake_catalog.exists():
        return
    before = orphans(settings, dict(walk(settings.home)))
    if not before:
        return
    with open_lake(settings) as con:
        rows = con.execute("select batch_id, source, '', '', 0, '' from meta.batches").fetchall()
    if not_in_ledger(settings, [Batch(*row) for row in rows]):
        return
    with writing(settings) as con:
        con.execute("call ducklake_delete_orphaned_files('lake', cleanup_all => true)")
    left = orphans(settings, dict(walk(settings.home)))
    if gone := [name for name in before if name not in left]:
        yield f"removed {counted(len(gone), 'file')} of the lake that no snapshot names"


def _current(settings: Settings) -> Iterator[str]:
    """Let `current` lead to the newest release that is whole; not where a rollback holds it."""
    if current(settings) is not None or held_at(settings) is not None:
        return
    if (newest := sound_release(settings)) is not None:
        link_atomically(settings.current, f"releases/{newest}")
        yield f"let `current` lead to {newest}, the newest release that is whole"


def _state(settings: Settings) -> Iterator[str]:
    """Make a run ledger where there is none, and close the dead runs of one that is there."""
    from warehouse.state import note_crashed, open_ledger, open_state

    is_new = not settings.state_url and not settings.state_db.exists()
    if is_new and not settings.releases.is_dir():
        return
    with open_ledger(settings):
        pass
    with open_state(settings) as engine:
        if is_new:
            yield f"made the run ledger again, with {_known_runs(settings, engine)}"
        with engine.begin() as con:
            dead = note_crashed(con, settings)
        if dead:
            yield f"closed {counted(len(dead), 'run')} as crashed: {few(dead)}"


def _known_runs(settings: Settings, engine: Engine) -> str:
    """Note the runs that published the releases on disk; says how many."""
    from warehouse.state import runs

    rows = {
        release.run_id: {
            "run_id": release.run_id,
            "started_at": (at := _utc(release.created_at)),
            "ended_at": at,
            "status": "done",
            "release": release.id,
        }
        for release in all_releases(settings)
    }
    with engine.begin() as con:
        for row in rows.values():
            con.execute(insert(runs).values(**row))
    return counted(len(rows), "run")


def _utc(text: str) -> datetime:
    """An ISO 8601 time in UTC without offset, as the ledger keeps them."""
    return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)


def _server(settings: Settings) -> Iterator[str]:
    """Forget a server that is gone; what runs in part is for `clearwater down`."""
    from flows.server import forget

    processes = recorded(settings)
    if record(settings).exists() and not any(process.alive for process in processes):
        forget(settings)
        yield "forgot the server that is gone"
