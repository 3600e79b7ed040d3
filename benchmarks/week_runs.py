"""A process that makes the runs of a simulated week, one after the other, and says how it fares.

usage: python -m benchmarks.week_runs PLAN FOLDER SEED   (PLAN: WEEK or TWO_DAYS)

Each run is what a scheduled run executes, but for Prefect's record of it: the ticks that are due
are those of the schedule in the sources file, counted by the worker's own book. FOLDER gets
`runs.ndjson`, a line a run, and `end.json`. The gate is this process's own, too, so that nothing
that leaks is hidden in another.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from benchmarks import week_arrivals
from benchmarks.content import Digests, current_release, digest
from benchmarks.simulated_clock import Clock, install
from benchmarks.week_arrivals import Plan, Upstream
from expectations import rule_files
from expectations.gx_loading import load_great_expectations
from expectations.incidents import Tracked
from flows import pipeline, schedules
from flows.ticks import Covers, TickBook, missed
from warehouse.duck import attach_lake, connect
from warehouse.incident_log import open_incident_log
from warehouse.lock import writer_lock
from warehouse.retention import prune, size_of
from warehouse.settings import Keep, Settings, load_settings

if TYPE_CHECKING:
    from flows.pipeline import Run
    from flows.schedules import Schedule

STALE = "paid_lately"
RULE = f"""
  - id: {STALE}
    check: freshness
    column: transacted_at
    max_age: {{hours}} hours
    severity: critical
    reason: whoever looks for fraud needs the payments of the last hours
"""
TABLE = "fct_transactions"
RAW = ("raw_payments.transactions", "raw_shop.orders")
KEPT = timedelta(days=2)
AFTER_TICK = timedelta(seconds=5)


@dataclass(frozen=True)
class Process:
    """What this process holds after a run; memory in bytes."""

    memory: int
    handles: int
    threads: int
    python_threads: int
    children: int

    @classmethod
    def now(cls) -> Process:
        """As it is, with no garbage left."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        tasks = list(Path("/proc/self/task").iterdir())
        children = sum(len((task / "children").read_text().split()) for task in tasks)
        return cls(
            memory=pages * os.sysconf("SC_PAGE_SIZE"),
            handles=len(list(Path("/proc/self/fd").iterdir())) - 1,
            threads=len(tasks),
            python_threads=threading.active_count(),
            children=children,
        )


class Week:
    """The home, the upstream, and the clock by which both go."""

    def __init__(self, plan: Plan, folder: Path, seed: int) -> None:
        self._plan, self._folder = plan, folder
        self._clock = Clock(plan.moment(-1) + AFTER_TICK)
        self._settings = self._home("home")
        self._upstream = Upstream(folder / "source", plan, seed)
        self._book = TickBook(self._settings.prefect / "ticks.json")
        _write_rules(folder / "rules", plan)

    def run(self) -> None:
        """All runs, and what is there at their end."""
        install(self._clock)
        load_great_expectations()
        schedule = self._schedule()
        self._book.keep_only([schedule], self._clock.now())
        with (self._folder / "runs.ndjson").open("w", encoding="utf-8") as out:
            for number, (tick, moment) in enumerate(self._wakings(), 1):
                self._clock.set(moment)
                told = self._step(schedule)
                if number % self._plan.tidy_every == 0:
                    self._tidy()
                state = {"run": number, "tick": tick, "at": moment.isoformat()}
                out.write(json.dumps(state | told | asdict(Process.now()) | self._sizes()) + "\n")
                out.flush()
        self._write_end()

    def _wakings(self) -> Iterator[tuple[int, datetime]]:
        """The moments at which the worker looks, with the tick before; files come all the while."""
        for tick in range(self._plan.ticks):
            self._clock.set(self._plan.moment(tick))
            self._upstream.send(tick)
            outage = next((each for each in self._plan.outages if tick in each), None)
            if outage is None:
                yield tick, self._plan.moment(tick) + AFTER_TICK
            elif tick == outage.after - 1:
                yield tick, self._plan.moment(tick) + self._plan.span / 2

    def _step(self, schedule: Schedule) -> dict[str, Any]:
        """What a worker does when it looks: a run for all that is due, then nothing is due."""
        now = self._clock.now()
        covers = self._book.due(schedule, now)
        if covers is None:
            return {"status": "nothing is due"}
        began = time.monotonic()
        run = self._execute(missed(covers, now))
        self._book.handled({schedule.name: now})
        return _told(run) | {
            "seconds": round(time.monotonic() - began, 2),
            "due_after": self._book.due(schedule, now) is not None,
            "served": _hash(current_release(self._settings)),
        }

    def _execute(self, covers: Covers | None, settings: Settings | None = None) -> Run:
        options = pipeline.Options(
            sources=self._upstream.sources, wait=True, trigger="schedule", covers=covers
        )
        return pipeline.execute(settings or self._settings, options)

    def _tidy(self) -> None:
        """What somebody's `clearwater prune --yes` does each day."""
        with writer_lock(self._settings, wait=True):
            prune(self._settings)

    def _write_end(self) -> None:
        fresh = self._home("fresh")
        run = self._execute(None, replace(fresh, alert_urls=""))
        with open_incident_log(self._settings) as log:
            incidents = [vars(Tracked.from_row(row).incident) for row in log.rows()]
        end = {
            "found": _content(self._settings),
            "expected": _content(fresh),
            "fresh": _told(run),
            "incidents": incidents,
        }
        text = json.dumps(end, indent=1, default=str)
        (self._folder / "end.json").write_text(text + "\n", encoding="utf-8")

    def _home(self, name: str) -> Settings:
        keep = Keep(reports=KEPT, logs=KEPT, snapshots=timedelta())
        return replace(load_settings(self._folder / name), keep=keep)

    def _schedule(self) -> Schedule:
        [schedule] = schedules.declared(self._upstream.sources, self._settings)
        return schedule

    def _sizes(self) -> dict[str, Any]:
        """Bytes in the home by what is in it, and the number of files in the lake."""
        home = self._settings.home
        files = sum(1 for path in self._settings.lake_data.rglob("*") if path.is_file())
        told = {entry.name: size_of(entry) for entry in home.iterdir() if not entry.is_symlink()}
        catalog = size_of(self._settings.lake_catalog)
        return {"bytes": told, "catalog": catalog, "lake_files": files}


def _write_rules(folder: Path, plan: Plan) -> None:
    """The project's rules, and one that looks at the clock."""
    shutil.copytree(rule_files.FOLDER, folder)
    file = folder / "marts" / f"{TABLE}.yml"
    hours = int(plan.stale_after.total_seconds() // 3600)
    text = file.read_text(encoding="utf-8").rstrip() + "\n" + RULE.format(hours=hours)
    file.write_text(text, encoding="utf-8")
    rule_files.load_rules.__defaults__ = (folder,)


def _told(run: Run) -> dict[str, Any]:
    told = run.summary()
    shown = ("run_id", "status", "exit_code", "catch_up", "release", "verdict", "error", "retries")
    problems = [problem for source in told["sources"].values() for problem in source["problems"]]
    warnings = [text for source in told["sources"].values() for text in source["warnings"]]
    changes = [text for source in told["sources"].values() for text in source["changes"]]
    return {name: told[name] for name in shown} | {
        "problems": len(problems),
        "problem": problems[0] if problems else None,
        "warnings": warnings,
        "changes": changes,
        "broken": [each["rule_id"] for each in told["broken"]],
        "loaded": sum(source["loaded"] for source in told["sources"].values()),
    }


def _content(settings: Settings) -> Digests:
    """What the release and the lake's tables hold."""
    with closing(connect(settings)) as con:
        attach_lake(con, settings)
        raw = {f"lake {name}": _raw(con, name) for name in RAW}
    return current_release(settings) | raw


def _raw(con: duckdb.DuckDBPyConnection, name: str) -> str:
    return digest(con, f"lake.{name}")


def _hash(digests: Digests) -> str:
    return json.dumps(digests, sort_keys=True)


def main() -> None:
    """The week, in the folder that is named."""
    plan, folder, seed = sys.argv[1:]
    Week(getattr(week_arrivals, plan), Path(folder), int(seed)).run()


if __name__ == "__main__":
    main()
