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
from flows.server import ServerInfo, running
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
    file that brought something; `next_at` is when a run looks at it next, `due` on which schedule.
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

    `unread` says what could not be read, and so is not here; of the lake `waiting` says so.
    """

    at: datetime
    home: Path
    release: Release | None
    held: str | None
    server: ServerInfo | None
    waiting: Waiting
    sources: tuple[SourceState, ...]
    disk: Disk | None
    runs: tuple[dict[str, Any], ...]
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
    release, server = _read(current, settings, None, unread), running(settings)
    none: dict[str, list[Arrived]] = {}
    waits, came = waiting_and(settings, arrived, none)
    runs: list[dict[str, Any]] = _read(_runs, settings, [], unread)
    return Overview(
        at=now,
        home=settings.home,
        release=release,
        held=_read(held_at, settings, None, unread),
        server=server,
        waiting=waits,
        sources=tuple(_sources(settings, release, server, came, runs, now)),
        disk=_disk(settings),
        runs=tuple({k: v for k, v in run.items() if k != "summary"} for run in runs),
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
        return ledger.newest(LOOKED_AT_RUNS)


def _sources(
    settings: Settings,
    release: Release | None,
    server: ServerInfo | None,
    came: Mapping[str, Sequence[Arrived]],
    runs: Sequence[Mapping[str, Any]],
    now: datetime,
) -> Iterable[SourceState]:
    """The sources of the home: those from which something came, or that a run looked at."""
    looked = _looked(runs)
    lagging = lags(settings, release, came, now)
    names = sorted({*came, *looked, *standing_bytes(settings)})
    due = _due(settings, server, names, now)
    for name in names:
        run_id, looked_at, ended = looked.get(name, (None, None, None))
        news = next((line for line in reversed(came.get(name, ())) if line.is_news), None)
        yield SourceState(
            name=name,
            run_id=run_id,
            looked_at=looked_at,
            ended=ended,
            news_at=news.at if news else None,
            news_file=news.file if news else None,
            lag=lagging.get(name),
            next_at=due.get(name, (None, None))[0],
            due=due.get(name, (None, None))[1],
        )


def _looked(runs: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, datetime, str]]:
    """By source the last run that looked at it: its id, when it began, and how that ended."""
    found: dict[str, tuple[str, datetime, str]] = {}
    for run in runs:
        for name, told in ((run["summary"] or {}).get("sources") or {}).items():
            ended = "refused" if told.get("problems") else str(run["status"])
            began = run["started_at"].replace(tzinfo=UTC)
            found.setdefault(name, (str(run["run_id"]), began, ended))
    return found


def _due(
    settings: Settings, server: ServerInfo | None, names: Iterable[str], now: datetime
) -> dict[str, tuple[datetime | None, str]]:
    """By source when a run looks at it next, and on which schedule; nothing while no server runs.

    A schedule of new files has no moment.
    """
    if server is None:
        return {}
    from flows.deployments import in_force
    from flows.schedules import next_after

    known = in_force(settings, Path(server.sources), server.cron)
    found: dict[str, tuple[datetime | None, str]] = {}
    for schedule in known:
        at = next_after(schedule, now)
        for name in schedule.only or names:
            before = found.get(name, (None, ""))[0]
            if name not in found or (at is not None and (before is None or at < before)):
                found[name] = (at, str(schedule.trigger))
    return found


def _disk(settings: Settings) -> Disk | None:
    """What lies in the home; None before there is one."""
    if not settings.home.is_dir():
        return None
    from warehouse.retention import disk_use

    free = shutil.disk_usage(existing(settings.home)).free
    use = disk_use(settings)
    return Disk(dict(use.bytes), dict(use.prunable), free)
