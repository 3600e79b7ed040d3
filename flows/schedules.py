"""When runs are due: the schedules of sources.yml, and their ticks: a copy to code against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim

from warehouse.settings import Settings
from warehouse.sources import Source

PIPELINE = "pipeline"
ANCHOR = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Cron:
    """At the times that a cron expression names, by the clock of a time zone."""

    expression: str
    timezone: str = "UTC"

    def __str__(self) -> str:
        return f"cron {self.expression} ({self.timezone})"


@dataclass(frozen=True)
class Every:
    """Once in each span."""

    span: timedelta
    timezone: str = "UTC"

    def __str__(self) -> str:
        return f"every {self.span}"


@dataclass(frozen=True)
class NewFiles:
    """When new files stand at the sources, which are looked at so often."""

    check: timedelta

    def __str__(self) -> str:
        return f"new files (every {self.check})"


@dataclass(frozen=True)
class Schedule:
    """What is run, all sources or `only` these, and when."""

    name: str
    only: tuple[str, ...]
    trigger: Cron | Every | NewFiles


def declared(sources: Path, settings: Settings) -> list[Schedule]:
    """The schedules of the sources file."""
    del settings
    import yaml

    content: dict[str, Any] = yaml.safe_load(sources.read_text()) or {}
    told = content.get("schedule")
    if not told:
        return []
    if "every" in told:
        seconds = int(str(told["every"]).rstrip("s"))
        return [Schedule("pipeline", (), Every(timedelta(seconds=seconds)))]
    zone = told.get("timezone", "UTC")
    return [Schedule("pipeline", (), Cron(told["cron"], zone))]


def next_after(schedule: Schedule, moment: datetime) -> datetime | None:
    """The first tick after the moment, in UTC."""
    return next(_after(schedule, moment), None)


def ticks(schedule: Schedule, after: datetime, upto: datetime) -> list[datetime]:
    """The ticks in (after, upto], in UTC."""
    found = []
    for tick in _after(schedule, after):
        if tick > upto:
            break
        found.append(tick)
    return found


def _after(schedule: Schedule, moment: datetime) -> Iterator[datetime]:
    trigger = schedule.trigger
    if isinstance(trigger, Cron):
        for tick in CronSim(trigger.expression, moment.astimezone(ZoneInfo(trigger.timezone))):
            yield tick.astimezone(UTC)
    elif isinstance(trigger, Every):
        epoch = ANCHOR
        count = (moment - epoch) // trigger.span + 1
        while True:
            yield epoch + count * trigger.span
            count += 1


class Watch:
    """Whether something new stands at the sources of a schedule."""

    def __init__(
        self,
        settings: Settings,
        schedule: Schedule,
        sources: Sequence[Source],
        tell: Callable[[str], None],
    ) -> None:
        del settings, sources, schedule, tell

    def arrived(self) -> bool:
        """Whether there is something that no run has taken."""
        return False
