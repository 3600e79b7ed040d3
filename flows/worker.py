"""The worker: starts what is due, one run at a time, and keeps the server's picture true.

It speaks to the Prefect server over REST, and each run is a fork of a process that has imported
everything already: so it stays small, and a run costs no imports.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flows import deployments, live_runs, settling
from flows.deployments import Deployment
from flows.failures import is_full, reported
from flows.fork_server import NO_SPACE, ForkServer, Order
from flows.options import complain
from flows.prefect_api import Api, ApiError, Json, state
from flows.processes import Process, StopFlag, stop
from flows.schedules import NewFiles, Schedule, Watch
from flows.server import RUN_SECONDS, STOP_SECONDS
from flows.supervisor import heartbeat
from flows.ticks import Covers, TickBook, missed
from flows.unfinished import Unfinished
from warehouse.errors import ClearwaterError
from warehouse.settings import Settings, load_settings
from warehouse.sources import load_sources

LOOK_SECONDS = 0.5
POLL_SECONDS = 3.0  # between questions to the server
TIDY_SECONDS = 15.0  # between looks for runs that are shown as being at work and are not
AGAIN_SECONDS = 10.0  # after a run that crashed, times how often
SPACE_SECONDS = 60.0  # after a run that had no space on the disk


@dataclass(frozen=True)
class Started:
    """The run at work that this worker started, and the ticks that it stands for."""

    run: str
    handles: dict[str, datetime]
    process: Process


class Worker:
    """One home's worker; `step` does what there is to do at this moment."""

    def __init__(self, settings: Settings, sources: Path, cron: str | None, api: Api) -> None:
        self._settings, self._sources, self._cron, self._api = settings, sources, cron, api
        self._book = TickBook(settings.prefect / "ticks.json")
        self._declared: list[Schedule] = []
        self._stamp: tuple[int, int] | None = None
        self._watches: dict[str, Watch] = {}
        self._looked: dict[str, float] = {}
        self._deployments: dict[str, Deployment] = {}
        self._asked: list[Json] = []
        self._started: Started | None = None
        self._next_poll = self._next_tidy = self._not_before = 0.0
        self._lacks_space = False
        self._forks = ForkServer()
        self._forks.start()
        self._unfinished = Unfinished(settings, self._forks)

    def step(self) -> None:
        """End what is over, then start what is due. Raises ApiError while the server is away."""
        self._read_sources()
        self._settle()
        moment = time.monotonic()
        if moment >= self._next_poll:
            self._poll()
            self._next_poll = moment + POLL_SECONDS
        if moment >= self._next_tidy:
            own = self._started.run if self._started else None
            settling.close_lost(self._settings, self._api, own)
            settling.close_open_tasks(self._api)
            self._next_tidy = moment + TIDY_SECONDS
        if moment >= self._not_before and not self._is_busy():
            self._start_next()

    def stop(self) -> None:
        """Give a run at work its time, then end it; the next worker runs again what it was for."""
        if self._started is None:
            return
        process, deadline = self._started.process, time.monotonic() + RUN_SECONDS
        while process.alive and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
        stop(process, patience_seconds=STOP_SECONDS)
        settling.settle_ended(self._settings, self._api, self._book, was_stopped=True)

    def _is_busy(self) -> bool:
        """Whether a run is at work: ours, or one of a worker that was killed."""
        return self._started is not None or bool(settling.at_work(self._settings))

    def _read_sources(self) -> None:
        """Declare the schedules anew when the sources file has changed.

        With a mistake there they stay as they were; one that has just started has them from the
        server, for if it ended it would be started again in vain until all is given up.
        """
        stamp = _stamp(self._sources)
        if stamp == self._stamp:
            return
        try:
            declared = deployments.in_force(self._settings, self._sources, self._cron)
            watches = dict(self._new_watches(declared))
        except ClearwaterError as error:
            if not self._declared:
                self._declared = [each.schedule for each in deployments.shown(self._api)]
                self._book.keep_only(self._declared, _now())
            complain(f"the schedules stay as they were: {error}")
            self._stamp = stamp  # told once
            return
        self._book.keep_only(declared, _now())
        deployments.put(self._api, declared)
        self._watches = watches
        self._declared, self._stamp, self._next_poll = declared, stamp, 0.0
        complain(f"schedules: {', '.join(each.name for each in declared)}")

    def _new_watches(self, declared: Iterable[Schedule]) -> Iterator[tuple[str, Watch]]:
        of_files = [each for each in declared if isinstance(each.trigger, NewFiles)]
        sources = load_sources(self._sources, self._settings) if of_files else []
        for each in of_files:
            yield each.name, Watch(self._settings, each, sources, complain)

    def _settle(self) -> None:
        """Tell how runs ended that are over, those of a worker that was killed among them."""
        started = self._started
        if started and not started.process.alive:
            self._settle_own(started)
            self._started = None
        settling.settle_ended(self._settings, self._api, self._book)

    def _settle_own(self, started: Started) -> None:
        """Tell how our own run ended, and when the next may come."""
        is_full = self._forks.exit_code(started.process) == NO_SPACE
        if is_full and settling.put_back(self._settings, self._api, started.run):
            if not self._lacks_space:
                complain("the disk is full; what is due is tried every minute until there is space")
            self._lacks_space = True
            self._not_before = time.monotonic() + SPACE_SECONDS
            self._next_poll = 0.0
            return
        self._lacks_space = False
        live = live_runs.find(self._settings, started.run)
        if live is None:
            self._book.crashed(started.handles)  # before it could say that it is there
            self._next_tidy = 0.0
        elif settling.settle(self._settings, self._api, self._book, live) == "CANCELLED":
            self._unfinished.leave()
        tries = max((self._book.tries(name) for name in started.handles), default=0)
        self._not_before = time.monotonic() + tries * AGAIN_SECONDS

    def _poll(self) -> None:
        """See at the server what is paused, asked for and cancelled there."""
        self._deployments = deployments.read(self._api, self._declared)
        now = _now()
        paused = [name for name, each in self._deployments.items() if not each.is_active]
        if paused:  # its ticks are handled as they pass
            self._book.handled(dict.fromkeys(paused, now))
        planned = self._planned(now)
        self._asked = [run for run in planned if not run["auto_scheduled"]]
        handled = {name: self._book.last_handled(name) for name in self._deployments}
        self._skip(planned, handled, "an earlier run covers it")
        if settling.end_cancelled(self._settings, self._api, self._book):
            self._unfinished.leave()

    def _planned(self, upto: datetime) -> list[Json]:
        there = [each.id for each in self._deployments.values()]
        return self._api.planned(there, upto) if there else []

    def _skip(self, planned: Iterable[Json], upto: dict[str, datetime], why: str) -> None:
        """Runs that the server planned for ticks up to these moments never run."""
        for run in planned:
            moment = upto.get(self._name_of(run))
            if run["auto_scheduled"] and moment and _moment(run["expected_start_time"]) <= moment:
                skipped = state("CANCELLED", f"Not run: {why}.", name="Skipped")
                self._api.set_state(run["id"], skipped)

    def _name_of(self, run: Json) -> str:
        """The schedule that the run is of."""
        names = (n for n, each in self._deployments.items() if each.id == run["deployment_id"])
        return next(names, "")

    def _start_next(self) -> None:
        """Start a run if one is due: what somebody asked for first, then the whole pipeline."""
        now = _now()
        active = [each.schedule for each in self._deployments.values() if each.is_active]
        if not self._asked and (due := self._due(active, now)):
            schedule, covers = due
            deployment = self._deployments[schedule.name]
            if covers and (planned := self._planned_last(deployment, now)):
                self._start(planned, schedule.name, now)
                return
            # Where the server planned none, being away. It is started as any that is asked for: if
            # that fails it is there still, and no other is made.
            self._api.new_run_of(deployment.id)
            self._poll()
        if self._asked:
            asked = self._asked.pop(0)
            self._start(asked, self._name_of(asked), now)

    def _due(
        self, active: Sequence[Schedule], now: datetime
    ) -> tuple[Schedule, Covers | None] | None:
        """What is due, and the ticks that it covers; all sources first, then what waits longest."""
        waiting = [(each, covers) for each in active if (covers := self._book.due(each, now))]
        if waiting:
            return min(waiting, key=lambda one: (bool(one[0].only), one[1].first))
        arrived = (each for each in active if self._has_arrived(each))
        return next(((each, None) for each in arrived), None)

    def _has_arrived(self, schedule: Schedule) -> bool:
        """Whether a schedule of new files has some, or a run left work, when it is time to look."""
        if not isinstance(schedule.trigger, NewFiles):
            return False
        moment, span = time.monotonic(), schedule.trigger.check.total_seconds()
        if moment < self._looked.get(schedule.name, -span) + span:
            return False
        self._looked[schedule.name] = moment
        watch = self._watches.get(schedule.name)  # none while the sources cannot be read
        return bool(watch and watch.arrived()) or self._unfinished.is_due()

    def _planned_last(self, deployment: Deployment, now: datetime) -> Json | None:
        """The run that the server planned last of those that should have started."""
        planned = self._api.planned([deployment.id], now)
        own = [run for run in planned if run["auto_scheduled"]]
        return own[-1] if own else None

    def _start(self, run: Json, name: str, now: datetime) -> None:
        handles = dict.fromkeys(self._covered_by(run["parameters"].get("only") or []), now)
        covers = self._missed(name, now) if name in handles else None
        self._api.set_state(run["id"], state("PENDING"))
        order = Order(run["id"], self._settings.home, self._sources, handles, covers)
        self._started = Started(run["id"], handles, self._forks.fork(order))
        complain(f"run {run['name']} of {name}{f': {covers.told}' if covers else ''}")
        self._skip(self._planned(now), handles, f"the run {run['name']} covers it")

    def _missed(self, name: str, now: datetime) -> Covers | None:
        """The ticks of the schedule that a run has to tell of, as it did not come in time."""
        schedule = next((each for each in self._declared if each.name == name), None)
        covers = self._book.due(schedule, now) if schedule else None
        return missed(covers, now) if covers else None

    def _covered_by(self, only: Sequence[str]) -> list[str]:
        """The schedules for whose sources there is nothing left to do after a run of these."""
        return [
            each.name
            for each in self._declared
            if not only or (each.only and set(each.only) <= set(only))
        ]


def _stamp(file: Path) -> tuple[int, int]:
    """What changes with the file; zeros where there is none."""
    try:
        found = file.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _now() -> datetime:
    return datetime.now(UTC)


def main(arguments: Sequence[str] | None = None) -> None:
    """The worker's process: works until it is told to stop, or its supervisor is gone."""
    parser = argparse.ArgumentParser(prog="python -m flows.worker")
    parser.add_argument("--sources", required=True, type=Path)
    parser.add_argument("--cron")
    parser.add_argument("--parent", type=int, default=os.getppid(), help="the supervisor's id")
    told = parser.parse_args(arguments)
    with reported():
        settings = load_settings()
        api = Api(os.environ["PREFECT_API_URL"])
        worker = Worker(settings, told.sources, told.cron, api)
        _work(worker, heartbeat(settings), told.parent)


def _work(worker: Worker, heart: Path, supervisor: int) -> None:
    stopping = StopFlag()
    stopping.heed()
    told: type[Exception] | None = None
    while not stopping.is_set and os.getppid() == supervisor:
        try:
            worker.step()
            told = None
        except (ApiError, OSError) as error:
            why = _waits_for(error)
            if told is not type(error):  # of the server's troubles each has other words
                complain(why)
            told = type(error)
        heart.touch()
        stopping.wait(LOOK_SECONDS)
    if os.getppid() == supervisor:  # else a run at work may go on, for the next worker to find
        worker.stop()


def _waits_for(error: ApiError | OSError) -> str:
    """What the worker waits for, in words. Raises the error if it is none that may pass."""
    if isinstance(error, ApiError):
        return f"it goes on when the server does: {error.what}"
    if is_full(error):
        return "it goes on when there is space on the disk: it is full"
    raise error


if __name__ == "__main__":
    main()
