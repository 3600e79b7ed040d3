"""What `clearwater status` shows: one look at a home, that changes nothing and waits for nobody."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from expectations.lag import Lag, arrived, lags
from flows.checks.machine import CLOCK_SLACK, existing
from flows.next_runs import NextRuns, Served, next_runs, served
from warehouse.errors import ClearwaterError
from warehouse.landing import standing_bytes
from warehouse.releases import Release, current, held_at
from warehouse.settings import Settings
from warehouse.waiting import Waiting, waiting_and

if TYPE_CHECKING:
    from expectations.lag import Arrived

LOOKED_AT_RUNS = 50
T = TypeVar("T")


@dataclass(frozen=True)
class SourceState:
    """How a source stands. Times are in UTC.

    `run_id`, `looked_at` and `ended` are of the last run that looked at it, `news_at` of its newest
    file that brought something; `next_at` is when a run looks at it next, `due` on which schedule,
    or `paused`.
    """

    name: str
    run_id: str | None
    looked_at: datetime | None
    ended: str | None
    news_at: datetime | None
    news_file: str | None
    lag: Lag | None
    next_at: datetime | None
    due: str | None


@dataclass(frozen=True)
class Disk:
    """Bytes by folder of the home, those that pruning would free by kind, and those left."""

    bytes: dict[str, int]
    prunable: dict[str, int]
    free: int


@dataclass(frozen=True)
class Overview:
    """A home, as it is at `at` (UTC). `runs` are the newest first, without their summaries.

    `schedules_problem` is a mistake in the sources file by which the server runs.
    `unread` says what could not be read, and so is not here; of the lake `waiting` says so.
    """

    at: datetime
    home: Path
    release: Release | None
    held: str | None
    server: Served
    waiting: Waiting
    sources: tuple[SourceState, ...]
    disk: Disk | None
    runs: tuple[dict[str, Any], ...]
    schedules_problem: str = ""
    unread: tuple[ClearwaterError, ...] = ()

    @property
    def ahead(self) -> datetime | None:
        """The newest time known (UTC) if the clock has not come there: it was set back."""
        times = [run["started_at"].replace(tzinfo=UTC) for run in self.runs]
        times += [source.news_at for source in self.sources if source.news_at]
        if self.release is not None:
            times.append(datetime.fromisoformat(self.release.created_at))
        newest = max(times, default=self.at)
        return newest if newest > self.at + CLOCK_SLACK else None


def overview(settings: Settings) -> Overview:
    """Look at the home."""
    now = datetime.now(UTC)
    unread: list[ClearwaterError] = []
    release, server = _read(current, settings, None, unread), served(settings)
    none: dict[str, list[Arrived]] = {}
    waits, came = waiting_and(settings, arrived, none)
    runs: list[dict[str, Any]] = _read(_runs, settings, [], unread)
    brought = {*came, *standing_bytes(settings)}
    looked = _looked(runs, brought)
    names = sorted({*brought, *looked})
    to_come = next_runs(settings, server, names, now)
    return Overview(
        at=now,
        home=settings.home,
        release=release,
        held=_read(held_at, settings, None, unread),
        server=server,
        waiting=waits,
        sources=tuple(_sources(names, looked, lags(settings, release, came, now), came, to_come)),
        disk=_disk(settings),
        runs=tuple({k: v for k, v in run.items() if k != "summary"} for run in runs),
        schedules_problem=to_come.problem,
        unread=tuple(unread),
    )


def _read(
    look: Callable[[Settings], T], settings: Settings, none: T, unread: list[ClearwaterError]
) -> T:
    """What is found there; `none` where it cannot be read, and `unread` then says so."""
    try:
        return look(settings)
    except ClearwaterError as error:
        unread.append(error)
        return none


def _runs(settings: Settings) -> list[dict[str, Any]]:
    from warehouse.state import open_ledger

    if not (settings.state_url or settings.state_db.exists()):
        return []
    with open_ledger(settings) as ledger:
        runs = ledger.newest(LOOKED_AT_RUNS)
        for run in runs:
            if run["summary"] is None:  # it died without a word
                run["summary"] = {"stages": ledger.stages(run["run_id"])}
    return runs


def _sources(
    names: Iterable[str],
    looked: Mapping[str, tuple[str, datetime, str]],
    lagging: Mapping[str, Lag],
    came: Mapping[str, Sequence[Arrived]],
    to_come: NextRuns,
) -> Iterable[SourceState]:
    """The sources of the home: those from which something came, or that a run looked at."""
    for name in names:
        run_id, looked_at, ended = looked.get(name, (None, None, None))
        news = next((line for line in reversed(came.get(name, ())) if line.is_news), None)
        next_at, due = to_come.due.get(name, (None, None))
        yield SourceState(
            name=name,
            run_id=run_id,
            looked_at=looked_at,
            ended=ended,
            news_at=news.at if news else None,
            news_file=news.file if news else None,
            lag=lagging.get(name),
            next_at=next_at,
            due=due,
        )


def _looked(
    runs: Iterable[Mapping[str, Any]], names: Iterable[str]
) -> dict[str, tuple[str, datetime, str]]:
    """By source the last run that looked at it: its id, when it began, and how that ended.

    `names` are the sources known by what came from them.
    """
    ended = [run for run in runs if run["status"] != "running"]
    by_file: dict[str, set[str]] = {}
    for run in ended:
        by_file.setdefault(_file(run), set()).update(_told(run), _only(run))
    unseen = {*names}.difference(*by_file.values())
    found: dict[str, tuple[str, datetime, str]] = {}
    for run in ended:
        began = run["started_at"].replace(tzinfo=UTC)
        for name, told in _told(run).items() or _lost(run, by_file[_file(run)] | unseen):
            how = "refused" if told.get("problems") else str(run["status"])
            found.setdefault(name, (str(run["run_id"]), began, how))
    return found


def _told(run: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the run tells of each source that it looked at."""
    return run["summary"].get("sources") or {}


def _lost(run: Mapping[str, Any], names: Iterable[str]) -> Iterable[tuple[str, dict[str, Any]]]:
    """The sources of a run that ended before it could tell of any, of these if it was for all.

    It has looked at them if it came to `land`.
    """
    if "land" not in run["summary"].get("stages", ()):
        return
    for name in _only(run) or names:
        yield name, {}


def _only(run: Mapping[str, Any]) -> Sequence[str]:
    """The sources that the run was for; none if it was for all."""
    return (run["options"] or {}).get("only") or ()


def _file(run: Mapping[str, Any]) -> str:
    """The sources file that the run went by."""
    return str((run["options"] or {}).get("sources", ""))


def _disk(settings: Settings) -> Disk | None:
    """What lies in the home; None before there is one."""
    if not settings.home.is_dir():
        return None
    from warehouse.retention import disk_use

    free = shutil.disk_usage(existing(settings.home)).free
    use = disk_use(settings)
    return Disk(dict(use.bytes), dict(use.prunable), free)
