"""Work that a run left when it was cut off after it had loaded: what no release has yet.

No new file asks for it, so somebody has to look: the worker, in a process that has imported what
that takes.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from flows.fork_server import ForkServer, Question
from flows.options import complain
from flows.processes import stop
from warehouse.lock import lock_holder
from warehouse.settings import Settings, load_settings

LEFT, NOTHING, UNKNOWN = 3, 0, 1  # exit codes of the process that looks
LOOK_SECONDS = 10.0
POLL_SECONDS = 0.02
LONGEST_PAUSE = 64
# A run that ended so came to a verdict on what it had loaded.
ENDED = ("done", "refused", "blocked")
MOST_RUNS = 50

Stamp = tuple[int, int, int, str]


class Unfinished:
    """Whether a run is due for what an earlier one left; to be asked once every `check`.

    Looks again only when lake or release have changed. While they stay as they are, because runs
    fail or are killed again, a run is due ever more rarely.
    """

    def __init__(self, settings: Settings, forks: ForkServer) -> None:
        self._settings, self._forks = settings, forks
        self._seen: Stamp | None = None
        self._is_left = False
        self._pause = self._next_pause = 0

    def is_due(self) -> bool:
        """Look, unless somebody is at work."""
        if lock_holder(self._settings) is not None:
            return False
        now = _stamp(self._settings)
        if now == self._seen and not self._is_left:
            return False
        if now != self._seen:
            self._pause = self._next_pause = 0
        if self._pause:
            self._pause -= 1
            return False
        self._pause = self._next_pause = min(2 * self._next_pause or 1, LONGEST_PAUSE)
        found = self._look()
        self._seen, self._is_left = now, found is not False
        return found is True

    def leave(self) -> None:
        """Ask for nothing until lake or release have changed: somebody cancelled the run."""
        self._seen, self._is_left = _stamp(self._settings), False

    def _look(self) -> bool | None:
        """What a process of its own finds; None where that fails or takes too long."""
        process = self._forks.fork(Question(self._settings.home))
        deadline = time.monotonic() + LOOK_SECONDS
        while process.alive and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if process.alive:
            stop(process, patience_seconds=0)
            return None
        code = self._forks.exit_code(process)
        return code == LEFT if code in (LEFT, NOTHING) else None


def answer(home: Path) -> None:
    """Leave this process with the answer."""
    try:
        code = LEFT if is_left(load_settings(home)) else NOTHING
    except Exception as error:
        told = str(error).partition("\n")[0]
        complain(f"whether work is left cannot be told: {type(error).__name__}: {told}")
        code = UNKNOWN
    os._exit(code)


def is_left(settings: Settings) -> bool:
    """Whether the lake has data that no release has and that no run has judged.

    Blocked is judged, and so is what no model reads; held after a rollback nothing is to be done.
    Raises ClearwaterError or the databases' errors for what cannot be read.
    """
    from warehouse import releases
    from warehouse.lake import catalog_snapshot, has_same_data, lake_identity, raw_tables

    if not settings.lake_catalog.exists() or releases.held_at(settings) is not None:
        return False
    now, serving = catalog_snapshot(settings), releases.current(settings)
    if not raw_tables(settings, now):
        return False
    is_ours = serving is not None and serving.lake == lake_identity(settings)
    if serving is not None and is_ours and has_same_data(settings, serving.lake_snapshot, now):
        return False
    return not _is_judged(settings, now)


def _is_judged(settings: Settings, now: int) -> bool:
    """Whether a run that was to build came to its end with the data of this snapshot."""
    from warehouse.lake import has_same_data
    from warehouse.state import open_ledger, state_exists

    if not state_exists(settings):
        return False
    with open_ledger(settings) as ledger:
        runs = ledger.newest(MOST_RUNS)
    for run in runs:
        snapshot = (run["summary"] or {}).get("lake_snapshot")
        if run["status"] in ENDED and "build" in (run["options"] or {}).get("stages", ()):
            return snapshot is not None and has_same_data(settings, snapshot, now)
    return False


def _stamp(settings: Settings) -> Stamp:
    """What changes with the lake, with the release that is served, and with a hold."""
    catalog = settings.lake_catalog
    files = (catalog, catalog.with_name(f"{catalog.name}-wal"), settings.releases / "held.json")
    first, second, third = (_changed(file) for file in files)
    served = ""
    with suppress(OSError):
        served = str(settings.current.readlink())
    return first, second, third, served


def _changed(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
