"""Sources whose files came in a rhythm, and from which none comes any more.

How long a source was silent before its next file is a series like others, and the silence that
lasts now is judged by it: of its files that come as they always did, at most one in a hundred is
called overdue, however often runs look.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from expectations.past import MIN_PAST, SETTLED_DAYS, Point, judge
from warehouse.deliveries import Delivery

ALARM_RATE = 0.01
# Files that come within this time are one arrival.
TOGETHER = timedelta(hours=1)
# The newest gaps between arrivals: a business that rests at night and at weekends shows in so many.
WINDOW = 400
# Before two weekends were seen, this much may be one.
LONG_WEEKEND = timedelta(days=4)
WEEKDAY_SEEN = 3  # gaps after a weekday before they say alone what is usual after it


@dataclass(frozen=True)
class Overdue:
    """The file that came last, when that was, and after how long the next one usually comes."""

    file: str
    at: datetime
    usual: timedelta

    def told(self, now: datetime) -> str:
        """In words for a person."""
        return (
            f"no file came since {self.file}, {_hours(now - self.at)} ago;"
            f" the next one usually comes after {_hours(self.usual)}"
        )


def overdue(came: Mapping[str, Sequence[Delivery]], now: datetime) -> Iterator[tuple[str, str]]:
    """The sources of which a file is overdue, with that in words.

    `came` has what came of each, oldest first.
    """
    for source, files in came.items():
        found = _overdue(files, now)
        if found is not None:
            yield source, found.told(now)


def usual_gap(files: Sequence[Delivery]) -> timedelta | None:
    """How long after the newest of these the next one usually comes, by what `overdue` goes by.

    None before there are enough. `files` are in order, oldest first.
    """
    starts = _apart(files)
    if len(starts) <= MIN_PAST:
        return None
    return _usual(_gaps(starts), starts[-1])[0]


def _overdue(files: Sequence[Delivery], now: datetime) -> Overdue | None:
    starts = _apart(files)
    if len(starts) <= MIN_PAST:
        return None
    last = files[-1]
    gaps = _gaps(starts)
    usual, patience = _usual(gaps, starts[-1])
    # Files that were old when they came are no feed that lives.
    if now - last.at <= patience or last.seen_at - last.at > patience:
        return None
    silence = Point(starts[-1], (now - last.at).total_seconds() / 60)
    judged = judge(gaps, silence, "count", alarm_rate=ALARM_RATE)
    if judged.high is None or silence.value <= judged.high or judged.p > ALARM_RATE:
        return None
    return Overdue(last.file, last.at, usual)


def _apart(files: Sequence[Delivery]) -> list[datetime]:
    """When the newest arrivals began; files that come together are one."""
    starts: list[datetime] = []
    for file in files:
        if not starts or file.at - starts[-1] >= TOGETHER:
            starts.append(file.at)
    return starts[-WINDOW - 1 :]


def _gaps(starts: Sequence[datetime]) -> list[Point]:
    """The minutes from each arrival to the next."""
    return [Point(a, (b - a).total_seconds() / 60) for a, b in pairwise(starts)]


def _usual(gaps: Sequence[Point], last: datetime) -> tuple[timedelta, timedelta]:
    """How long the gap after the last arrival usually is, and what is surely not much longer.

    The latter is half a gap more than that, or than what was as long twice, beside what was usual
    then. It costs no statistics, and is nearly always the end of the matter.
    """
    typical = statistics.median(gap.value for gap in gaps)
    after: dict[int, list[float]] = {}
    for gap in gaps:
        after.setdefault(gap.at.weekday(), []).append(gap.value)
    usual = {
        day: statistics.median(values) if len(values) >= WEEKDAY_SEEN else typical
        for day, values in after.items()
    }
    twice = sorted(gap.value / usual[gap.at.weekday()] for gap in gaps)[-2]
    now = usual.get(last.weekday(), typical)
    patience = timedelta(minutes=now * max(1.0, twice) + typical / 2)
    if last - gaps[0].at < timedelta(days=SETTLED_DAYS):
        patience = max(patience, LONG_WEEKEND)
    return timedelta(minutes=now), patience


def _hours(span: timedelta) -> str:
    hours = round(span.total_seconds() / 3600)
    return f"{hours} hours" if hours < 100 else f"{round(hours / 24)} days"
