"""Trends: a metric of a table over its runs, with what was expected of it each time."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from expectations.history import History
    from expectations.past import Scale
    from expectations.profiling import Name, Profile

# Of how many runs, files or days a trend is drawn; of how many it is told what was expected.
DRAWN = 30
EXPECTED = 5
MOST_COLUMNS = 6
ALARM_RATE = 0.01


@dataclass(frozen=True)
class TrendPoint:
    """The metric at one run; `low` and `high` are None where there was too little past."""

    at: datetime
    value: float
    low: float | None
    high: float | None
    is_alarm: bool


@dataclass(frozen=True)
class Trend:
    """A metric of a table, or of a column of it, oldest point first; `column` may be empty."""

    table: str
    column: str
    metric: str
    points: tuple[TrendPoint, ...]


def trends_of(
    history: History, subjects: Collection[str], personal: Mapping[str, Collection[str]]
) -> tuple[Trend, ...]:
    """The trends of tables, of the lake's and of published ones: rows, nulls, means and ages.

    Of a column only what changed is drawn, and of a personal one only its nulls.
    """
    return tuple(
        trend
        for subject in subjects
        for trend in _of(subject, history.profiles(subject, DRAWN), personal.get(subject, ()))
    )


def _of(
    subject: str, profiles: Mapping[str, Profile], personal: Collection[str]
) -> Iterator[Trend]:
    known = list(profiles.values())
    if not known:
        return
    counts = [(p.at, float(p.rows), p.rows) for p in known]
    yield Trend(subject, "", "rows", tuple(_points(counts, "count")))
    names = [name for name in known[-1].scalars if _is_drawn(name, personal)]
    series = {
        name: [
            (p.at, p.scalars[name].value, p.scalars[name].rows) for p in known if name in p.scalars
        ]
        for name in names
    }
    changing = [name for name in names if len({value for _, value, _ in series[name]}) > 1]
    for name in changing[:MOST_COLUMNS]:
        scale: Scale = "share" if name[1] == "null_share" else "value"
        points = tuple(_points(series[name], scale, _WRITTEN[name[1]]))
        yield Trend(subject, name[0], _NAMES[name[1]], points)


def _is_drawn(name: Name, personal: Collection[str]) -> bool:
    column, metric = name
    if metric == "mean" and _ID.search(column):
        return False
    hidden = {name.lower() for name in personal}
    return metric == "null_share" or (metric in _NAMES and column.lower() not in hidden)


_ID = re.compile(r"(^|_)id$", re.IGNORECASE)


_NAMES = {"null_share": "null share", "mean": "mean", "age": "age in hours"}
# Means and ages are kept on the scale of their inverse hyperbolic sine.
_WRITTEN = {
    "null_share": lambda value: value,
    "mean": math.sinh,
    "age": lambda value: math.sinh(value) / 3600,
}


def _points(
    series: Sequence[tuple[datetime, float, int]],
    scale: Scale,
    write: Callable[[float], float] = float,
) -> Iterator[TrendPoint]:
    from expectations.past import Point, judge

    points = [Point(at, value, rows) for at, value, rows in series]
    for place, point in enumerate(points):
        low = high = None
        is_alarm = False
        if place >= len(points) - EXPECTED:
            judged = judge(points[:place], point, scale, alarm_rate=ALARM_RATE)
            if judged.enough and judged.low is not None and judged.high is not None:
                low, high = write(judged.low), write(judged.high)
                is_alarm = judged.p < ALARM_RATE
        yield TrendPoint(point.at, write(point.value), low, high, is_alarm)
