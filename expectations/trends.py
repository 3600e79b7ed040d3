"""Trends: a metric of a table over its runs, with what was expected of it each time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


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
