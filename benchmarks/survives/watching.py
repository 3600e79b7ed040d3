"""What must be true while a home recovers, seen by its API, its run ledger and its files."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.exc import DBAPIError

from benchmarks.content import TornError, current_release
from benchmarks.survives.tree import POLL_SECONDS, Tree
from flows import live_runs
from flows.prefect_api import Api, ApiError
from warehouse import releases
from warehouse.errors import ClearwaterError
from warehouse.processes import birth
from warehouse.state import open_ledger

ZOMBIE_SECONDS = 60.0
PATIENCE_SECONDS = 240.0
NEWEST = 50
WELL = "done"


@dataclass
class Recovery:
    """How a home came back: seconds from the fault's end until all was up, and a run had ended.

    `zombie_seconds` is the longest that a run was shown as being at work, after all was up, whose
    process was gone; `faults` what must never be.
    """

    up_seconds: float = 0.0
    seconds: float = 0.0
    zombie_seconds: float = 0.0
    has_run: bool = False
    faults: list[str] = field(default_factory=list)


class Watch:
    """One recovery of a tree since `since`, by the tree's own clock (UTC).

    `held` is the release that must be served all the time.
    """

    def __init__(self, tree: Tree, held: str | None, since: datetime) -> None:
        self._tree = tree
        self._held = held
        self._began = time.monotonic()
        self._since = since
        self._last = self._newest_number()
        self._dead: dict[str, float] = {}
        self.found = Recovery()

    def follow(self) -> Recovery:
        """Wait until all is up, no dead run is shown, and one that began since has ended well."""
        found, tree = self.found, self._tree
        if not tree.until(self._is_up, PATIENCE_SECONDS, POLL_SECONDS):
            found.faults.append(f"not up after {PATIENCE_SECONDS:.0f} s")
            return found
        restarted = time.monotonic()
        found.up_seconds = restarted - self._began
        tree.until(lambda: self._is_well(restarted), PATIENCE_SECONDS, 2 * POLL_SECONDS)
        found.seconds = time.monotonic() - self._began
        if not found.has_run:
            found.faults.append(f"no run ended well within {PATIENCE_SECONDS:.0f} s: stuck")
        if found.zombie_seconds > ZOMBIE_SECONDS:
            found.faults.append(f"shown as running for {found.zombie_seconds:.0f} s: {self._dead}")
        return found

    def _is_up(self) -> bool:
        self._see_release()
        return self._tree.is_ready

    def _is_well(self, restarted: float) -> bool:
        self._see_release()
        dead = self._shown_dead()
        if dead is None:
            return False  # the server does not answer at this moment
        now = time.monotonic()
        self._dead = {run: self._dead.get(run, now) for run in dead}
        for first in self._dead.values():
            seconds = now - max(first, restarted)
            self.found.zombie_seconds = max(self.found.zombie_seconds, seconds)
        self.found.has_run = self.found.has_run or self._has_run()
        return not dead and self.found.has_run

    def _shown_dead(self) -> set[str] | None:
        """The runs that server or ledger show as being at work, and of which no process lives."""
        info = self._tree.info()
        if info is None:
            return None
        try:
            shown = [str(run["id"]) for run in Api(info.api_url, seconds=5).unfinished()]
            noted = self._ledger()
        except (ApiError, ClearwaterError, DBAPIError):
            return None
        dead = set()
        for run in shown:
            live = live_runs.find(self._tree.settings, run)
            if live is None or not live.process.alive:
                dead.add(run)
        running = [run for run in noted if run["status"] == "running"]
        return dead | {r["run_id"] for r in running if birth(r["pid"]) != r["born"]}

    def begun(self) -> list[dict[str, Any]]:
        """The runs that began since."""
        return [
            run
            for run in self._ledger()
            if run["started_at"] > self._since and (run["number"] or 0) > self._last
        ]

    def _newest_number(self) -> int:
        """The number of the newest run; runs of a clock that was set back lie in the future."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return max((run["number"] or 0 for run in self._ledger()), default=0)
            except (ClearwaterError, DBAPIError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)

    def _has_run(self) -> bool:
        return any(run["status"] == WELL and run["trigger"] == "schedule" for run in self.begun())

    def _ledger(self) -> list[dict[str, Any]]:
        with open_ledger(self._tree.settings) as ledger:
            return ledger.newest(NEWEST)

    def _see_release(self) -> None:
        """The release served must be the one that is held, at any moment."""
        if self._held is None or self.found.faults:
            return
        serving = releases.current(self._tree.settings)
        if serving is None or serving.id != self._held:
            told = serving.id if serving else "nothing"
            self.found.faults.append(f"{told} is served, not {self._held}, to which was gone back")


def check_release(tree: Tree) -> None:
    """The release served opens, passed its gate and holds what it says. Raises TornError."""
    while True:
        before = tree.settings.current.readlink()
        try:
            if not current_release(tree.settings):
                raise TornError("the release served is empty")
        except TornError:
            if tree.settings.current.readlink() == before:  # else another was published just then
                raise
        else:
            return
