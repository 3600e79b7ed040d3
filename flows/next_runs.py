"""What `clearwater status` asks the server: whether it answers, and when each source is due next.

It waits for nobody: a server that hangs, or is none of ours, is one that cannot be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import Literal, TypeVar

from flows import deployments
from flows.deployments import Deployment
from flows.prefect_api import Api, ApiError
from flows.schedules import Schedule, next_after
from flows.server import ServerInfo, answers, recorded
from warehouse.errors import ClearwaterError
from warehouse.settings import Settings
from warehouse.sources import read_sources_file

T = TypeVar("T")
Standing = Literal["up", "starting", "starting again", "down"]
Due = dict[str, tuple[datetime | None, str]]
ASK_SECONDS = 2.0  # for each question
PAUSED = "paused"
# What an answer raises that is none of our server's.
_ODD = (ApiError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


@dataclass(frozen=True)
class Served:
    """The server of a home: None where none is kept running, and what it shows if it can be asked.

    It is `starting again` while it does not answer and its supervisor lives.
    """

    info: ServerInfo | None = None
    standing: Standing = "down"
    shown: Sequence[Deployment] | None = None


@dataclass(frozen=True)
class NextRuns:
    """By source when a run looks at it next (UTC), and on which schedule; and what hides them.

    A schedule of new files has no moment, nor has one that is `paused`. `problem` is the mistake in
    the sources file: until it is mended the schedules are those that the server shows.
    """

    due: Due = field(default_factory=dict)
    problem: str = ""


def served(settings: Settings) -> Served:
    """The home's server as it is at this moment."""
    info = recorded(settings)
    if info is None:
        return Served()
    is_there = info.server is not None and info.server.alive
    if is_there and _within(ASK_SECONDS, lambda: answers(info)):
        api = Api(info.api_url, seconds=ASK_SECONDS)
        return Served(info, "up", _within(ASK_SECONDS, lambda: deployments.shown(api)))
    if info.supervisor.alive:
        return Served(info, "starting again" if info.is_ready else "starting")
    return Served()


def next_runs(settings: Settings, seen: Served, names: Sequence[str], now: datetime) -> NextRuns:
    """When runs look at these sources next; nothing while no server is kept running."""
    if seen.info is None:
        return NextRuns()
    known, problem = _in_force(settings, seen.info, seen.shown or ())
    paused = {each.schedule.name for each in seen.shown or () if not each.is_active}
    return NextRuns(_due(known, paused, names, now), problem)


def _in_force(
    settings: Settings, info: ServerInfo, shown: Iterable[Deployment]
) -> tuple[list[Schedule], str]:
    """The schedules that the worker goes by, and the mistake in the sources file if it has one."""
    sources, problem = Path(info.sources), ""
    try:
        read_sources_file(sources, settings)
    except ClearwaterError as error:
        problem = f"{Path(error.where).name}: {error.what}" if error.where else error.what
    if problem and not info.cron:
        return [each.schedule for each in shown], problem
    return deployments.in_force(settings, sources, info.cron), problem


def _due(known: Iterable[Schedule], paused: Set[str], names: Sequence[str], now: datetime) -> Due:
    """The first that is due of each source; `paused` if all of its schedules are."""
    found: Due = {}
    for schedule in sorted(known, key=lambda each: each.name in paused):
        is_paused = schedule.name in paused
        at = None if is_paused else next_after(schedule, now)
        for name in schedule.only or names:
            before = found.get(name, (None, ""))[0]
            if name not in found or (at is not None and (before is None or at < before)):
                found[name] = (at, PAUSED if is_paused else str(schedule.trigger))
    return found


def _within(seconds: float, ask: Callable[[], T]) -> T | None:
    """The answer, if it comes in time and is one.

    A time-out of the socket alone would begin anew with each byte that comes.
    """
    found: list[T] = []

    def work() -> None:
        with suppress(*_ODD):
            found.append(ask())

    thread = Thread(target=work, name="status-asks", daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else None
