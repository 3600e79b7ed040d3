"""When runs are due: the schedules that sources.yml declares, their moments, and new files.

Nothing here starts a run. All moments are aware, and in UTC where they are given back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from heapq import heappop, heappush
from itertools import takewhile
from pathlib import Path

from cronsim import CronSim

from warehouse.errors import BatchRefusedError
from warehouse.listed import signatures, taken
from warehouse.places import standing
from warehouse.schedule_entries import DAY, ScheduleEntry, span_text, zone
from warehouse.settings import Settings
from warehouse.sources import Source, chosen, read_sources_file

PIPELINE = "pipeline"
HOURS = set(range(24))
ANCHOR = datetime(2024, 1, 1, tzinfo=UTC)  # a Monday
SECOND = timedelta(seconds=1)
# For so many looks, files that a look sees first hold up those that are settled.
PATIENCE = 10
LONGEST_PAUSE = 64


@dataclass(frozen=True)
class Cron:
    """The local times that a cron expression names."""

    expression: str
    timezone: str = "UTC"

    def __str__(self) -> str:
        return f"cron {self.expression} ({self.timezone})"


@dataclass(frozen=True)
class Every:
    """Spans since Monday, 2024-01-01 00:00: local midnights if they are whole days, else of UTC."""

    span: timedelta
    timezone: str = "UTC"

    def __str__(self) -> str:
        local = "" if self.span % DAY else f" ({self.timezone})"
        return f"every {span_text(self.span)}{local}"


@dataclass(frozen=True)
class NewFiles:
    """New files, looked for every `check`."""

    check: timedelta

    def __str__(self) -> str:
        return f"new files (every {span_text(self.check)})"


Trigger = Cron | Every | NewFiles
Files = dict[tuple[str, str], str]  # signatures by source and path


@dataclass(frozen=True)
class Schedule:
    """When a run of the sources `only`, or of the whole pipeline if there are none, is due.

    `name` is `pipeline` or the source's, from the second one on with its number: `pipeline-2`.
    """

    name: str
    only: tuple[str, ...]
    trigger: Trigger


def declared(sources: Path, settings: Settings) -> list[Schedule]:
    """The schedules of a sources file: the pipeline's first, then each source's.

    Raises ConfigurationError as `read_sources_file`.
    """
    file = read_sources_file(sources, settings)
    found = _named(PIPELINE, (), file.schedule)
    for source in file.sources:
        found += _named(source.name, (source.name,), source.schedule)
    return found


def _named(name: str, only: tuple[str, ...], entries: Sequence[ScheduleEntry]) -> list[Schedule]:
    return [
        Schedule(name if number == 1 else f"{name}-{number}", only, trigger_of(entry))
        for number, entry in enumerate(entries, 1)
    ]


def trigger_of(entry: ScheduleEntry) -> Trigger:
    """What sets off the runs of an entry in sources.yml."""
    if entry.cron is not None:
        return Cron(entry.cron, entry.timezone)
    if entry.every is not None:
        return Every(entry.every, entry.timezone)
    return NewFiles(entry.check)


def next_after(schedule: Schedule, moment: datetime) -> datetime | None:
    """The first moment after this one when the schedule is due; None for new files.

    Raises ValueError for a moment without a time zone.
    """
    return next(_moments(schedule.trigger, moment), None)


def ticks(schedule: Schedule, after: datetime, upto: datetime) -> list[datetime]:
    """When the schedule is due after `after`, up to and with `upto`; never for new files.

    Raises ValueError for a moment without a time zone.
    """
    end = _utc(upto)
    return list(takewhile(lambda moment: moment <= end, _moments(schedule.trigger, after)))


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"{moment} has no time zone")
    return moment.astimezone(UTC)


def _moments(trigger: Trigger, moment: datetime) -> Iterator[datetime]:
    after = _utc(moment)
    if isinstance(trigger, NewFiles):
        return iter(())
    if isinstance(trigger, Every) and trigger.span % DAY:
        return _elapsed(trigger.span, after)
    local = zone(trigger.timezone)
    # Wall times are given as if they were of UTC.
    # No wall clock showed less than this within a day: a time that is missing comes up to a day
    # later than it says.
    wall = after + min(_offsets(local, after))
    if isinstance(trigger, Every):
        return _in_order(_midnights(trigger.span, wall), local, after, both=False)
    times = CronSim(trigger.expression, wall - SECOND)
    return _in_order(times, local, after, both=times.hours >= HOURS)


def _elapsed(span: timedelta, after: datetime) -> Iterator[datetime]:
    moment = ANCHOR + ((after - ANCHOR) // span + 1) * span
    while True:
        yield moment
        moment += span


def _midnights(span: timedelta, wall: datetime) -> Iterator[datetime]:
    """The local midnights from `wall` on, less than `span` before it."""
    midnight = ANCHOR + (wall - ANCHOR) // span * span
    while True:
        yield midnight
        midnight += span


def _offsets(local: tzinfo, moment: datetime) -> list[timedelta]:
    """How far the wall clock is ahead of UTC a day before, then, and a day later."""
    moments = (moment - DAY, moment, moment + DAY)
    return [at.astimezone(local).utcoffset() or timedelta() for at in moments]


def _in_order(
    walls: Iterator[datetime], local: tzinfo, after: datetime, *, both: bool
) -> Iterator[datetime]:
    """The moments after `after` when the wall clock shows these times, each once, in order.

    A time that the clock leaves out is as much later as the clock jumps; of one that it shows
    twice, the first counts, or `both`.
    """
    waiting: list[datetime] = []
    last = after
    for wall in walls:
        # A later wall time can come sooner, but not sooner than by the greatest offset around.
        while waiting and waiting[0] + max(_offsets(local, waiting[0])) <= wall:
            moment = heappop(waiting)
            if moment > last:
                yield moment
                last = moment
        for moment in _shown(wall, local, both=both):
            heappush(waiting, moment)
    yield from (moment for moment in sorted(set(waiting)) if moment > last)


def _shown(wall: datetime, local: tzinfo, *, both: bool) -> Iterator[datetime]:
    first, second = (wall.replace(tzinfo=local, fold=fold).astimezone(UTC) for fold in (0, 1))
    yield first
    if both and second > first:
        yield second


class Watch:
    """Whether files came to the sources of a `NewFiles` schedule that no run has taken yet.

    To be asked once every `check`, while no run of the schedule is waiting or at work. `tell` gets
    a line about a source that cannot be listed: once, until it could be listed again.
    """

    def __init__(
        self,
        settings: Settings,
        schedule: Schedule,
        sources: Sequence[Source],
        tell: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._sources = chosen(list(sources), list(schedule.only))
        self._tell = tell
        self._told: set[str] = set()
        self._before: Files = {}
        self._held_up = 0
        self._asked: frozenset[str] = frozenset()
        self._pause = self._next_pause = 0

    def arrived(self) -> bool:
        """Look, and say whether a run is due: something is new, and what is new is whole.

        What two looks find alike is whole. While the same files are not taken, because runs fail
        before they come to it, a run is due ever more rarely.
        """
        before, self._before = self._before, self._standing()
        new = self._not_taken(self._before)
        if not self._are_whole(new, before):
            return False
        return self._is_to_be_asked(frozenset(new.values()))

    def _standing(self) -> Files:
        return {
            (source.name, path): signature
            for source in self._sources
            for path, signature in self._listed(source).items()
        }

    def _listed(self, source: Source) -> dict[str, str]:
        try:
            found = signatures(standing(source))
        except (BatchRefusedError, OSError, ValueError, RuntimeError) as error:
            # S3 that cannot be listed, or a path that no system can have
            if source.name not in self._told:
                self._told.add(source.name)
                known = isinstance(error, BatchRefusedError)  # its message names the source
                self._tell(f"new files are not seen: {'' if known else f'{source.name}: '}{error}")
            return {}
        self._told.discard(source.name)
        return found

    def _not_taken(self, standing_now: Files) -> Files:
        known = {name: set(found) for name, found in taken(self._settings).items()}
        return {
            place: signature
            for place, signature in standing_now.items()
            if signature not in known.get(place[0], ())
        }

    def _are_whole(self, new: Files, before: Files) -> bool:
        """Whether there are new files and each is as the last look found it.

        Files that no look has seen before hold up the others for `PATIENCE` looks at most: where
        some come all the time, there would be no run at all.
        """
        unseen = new.keys() - before.keys()
        self._held_up = self._held_up + 1 if unseen else 0
        if len(unseen) == len(new) or any(before.get(at, new[at]) != new[at] for at in new):
            return False
        if unseen and self._held_up <= PATIENCE:
            return False
        self._held_up = 0
        return True

    def _is_to_be_asked(self, new: frozenset[str]) -> bool:
        if not new <= self._asked:
            self._pause = self._next_pause = 0
        self._asked = new
        if self._pause:
            self._pause -= 1
            return False
        self._pause = self._next_pause = min(2 * self._next_pause or 1, LONGEST_PAUSE)
        return True
