"""How often clean series alarm, and how often faults do: seeded simulations, kind by kind."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from benchmarks.figures import Figure, Options
from expectations.past import (
    MIN_PAST,
    Judgement,
    Labels,
    Measure,
    Numbers,
    Point,
    Scale,
    Shape,
    judge,
    judge_shape,
)

Vector = NDArray[np.float64]

LENGTHS = (MIN_PAST, 10, 14, 21, 30, 60)
RATES = (0.01, 0.001)
CLEAN = 4000  # judgements for each kind and length
SHAPES = 500
FAULTY = 400
FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Kind:
    """Clean series: the value of each day, by its number, and the rows that shares are of."""

    name: str
    scale: Scale
    draw: Callable[[Generator, NDArray[np.int64]], Vector]
    rows: int = 0


def _noise(rng: Generator, days: NDArray[np.int64], sd: float) -> Vector:
    return rng.normal(0, sd, len(days))


def _autoregressive(rng: Generator, n: int, memory: float) -> Vector:
    """Of variance 1, begun in its stationary state."""
    shocks = rng.normal(0, math.sqrt(1 - memory**2), n)
    shocks[0] = rng.normal()
    for i in range(1, n):
        shocks[i] += memory * shocks[i - 1]
    return shocks


def _weekend(days: NDArray[np.int64], weekdays: float, weekend: float) -> Vector:
    return np.where(days % 7 >= 5, weekend, weekdays)


def _counted(values: Vector) -> Vector:
    return np.round(np.maximum(values, 0))


def _beta(rng: Generator, n: int, mean: float, strength: float, rows: int) -> Vector:
    """Over-dispersed shares: each day's true one is drawn, too."""
    return rng.binomial(rows, rng.beta(mean * strength, (1 - mean) * strength, n)) / rows


KINDS = (
    Kind("count, Poisson 0.2", "count", lambda r, d: r.poisson(0.2, len(d))),
    Kind("count, Poisson 4", "count", lambda r, d: r.poisson(4, len(d))),
    Kind("count, Poisson with weekdays", "count", lambda r, d: r.poisson(_weekend(d, 200, 60))),
    Kind(
        "count, 10 % noise",
        "count",
        lambda r, d: _counted(1000 * np.exp(_noise(r, d, 0.1))),
    ),
    Kind(
        "count, step on weekends",
        "count",
        lambda r, d: _counted(_weekend(d, 1e5, 3e4) * np.exp(_noise(r, d, 0.1))),
    ),
    Kind(
        "count, closed on Sundays",
        "count",
        lambda r, d: _counted(np.where(d % 7 == 6, 0, 5000 * np.exp(_noise(r, d, 0.1)))),
    ),
    Kind(
        "count, weekly wave",
        "count",
        lambda r, d: _counted(
            1000 * np.exp(0.3 * np.sin(2 * np.pi * d / 7) + _noise(r, d, 0.1))
        ),
    ),
    Kind(
        "count, grows 1 % a day",
        "count",
        lambda r, d: _counted(1000 * np.exp(0.01 * d + _noise(r, d, 0.1))),
    ),
    Kind(
        "count, grows 5 % a day",
        "count",
        lambda r, d: _counted(1000 * np.exp(0.05 * d + _noise(r, d, 0.05))),
    ),
    Kind(
        "count, heavy tails (t, 3 df)",
        "count",
        lambda r, d: _counted(1e4 * np.exp(0.1 * r.standard_t(3, len(d)))),
    ),
    Kind(
        "count, over-dispersed",
        "count",
        lambda r, d: r.negative_binomial(4, 4 / (4 + 50), len(d)).astype(float),
    ),
    Kind(
        "count, half of days zero",
        "count",
        lambda r, d: r.poisson(30, len(d)) * (r.random(len(d)) < 0.5).astype(float),
    ),
    Kind(
        "count, AR(1) 0.6",
        "count",
        lambda r, d: _counted(1e4 * np.exp(0.15 * _autoregressive(r, len(d), 0.6))),
    ),
    Kind(
        "count, random walk",
        "count",
        lambda r, d: _counted(1e5 * np.exp(0.05 * np.cumsum(_noise(r, d, 1)))),
    ),
    Kind("count, constant", "count", lambda r, d: np.full(len(d), 1000.0)),
    Kind("share, 0", "share", lambda r, d: r.binomial(10_000, 1e-6, len(d)) / 10_000, 10_000),
    Kind("share, 0.1 %", "share", lambda r, d: r.binomial(5000, 0.001, len(d)) / 5000, 5000),
    Kind("share, 2 % varying", "share", lambda r, d: _beta(r, len(d), 0.02, 300, 5000), 5000),
    Kind("share, 30 % of few rows", "share", lambda r, d: r.binomial(40, 0.3, len(d)) / 40, 40),
    Kind("share, half, varying", "share", lambda r, d: _beta(r, len(d), 0.5, 200, 10_000), 10_000),
    Kind("share, 99.5 %", "share", lambda r, d: r.binomial(2000, 0.995, len(d)) / 2000, 2000),
    Kind(
        "share, weekends 10 instead of 2 %",
        "share",
        lambda r, d: r.binomial(5000, _weekend(d, 0.02, 0.1)) / 5000,
        5000,
    ),
    Kind("value, normal", "value", lambda r, d: 50 + _noise(r, d, 5)),
    Kind("value, heavy tails (t, 3 df)", "value", lambda r, d: 50 + r.standard_t(3, len(d))),
    Kind("value, skewed", "value", lambda r, d: 20 * np.exp(_noise(r, d, 0.4))),
    Kind("value, AR(1) 0.6", "value", lambda r, d: 50 + 5 * _autoregressive(r, len(d), 0.6)),
    Kind("value, grows by 0.1 sd a day", "value", lambda r, d: 50 + 0.2 * d + _noise(r, d, 2)),
    Kind("value, weekends lower", "value", lambda r, d: _weekend(d, 50, 40) + _noise(r, d, 2)),
    Kind("value, constant", "value", lambda r, d: np.full(len(d), 7.0)),
)


def series(kind: Kind, rng: Generator, n: int) -> tuple[list[Point], Point]:
    """A past of n days from any weekday on, and the day after."""
    start = int(rng.integers(7))
    days = np.arange(start, start + n + 1)
    values = kind.draw(rng, days).tolist()
    # The first day is a Monday as soon as its number is a multiple of seven.
    monday = FIRST_DAY - timedelta(days=FIRST_DAY.weekday())
    points = [
        Point(monday + timedelta(days=int(day)), float(value), kind.rows)
        for day, value in zip(days, values, strict=True)
    ]
    return points[:-1], points[-1]


def clean_alarms(kind: Kind, rng: Generator, n: int, times: int) -> dict[float, int]:
    """How many of so many clean days alarm, at each rate."""
    ps = [judge(*series(kind, rng, n), kind.scale, alarm_rate=0.01).p for _ in range(times)]
    return {rate: sum(p <= rate for p in ps) for rate in RATES}


def allowed(rate: float, times: int) -> float:
    """The share of alarms that simulation error explains (three standard errors and one more)."""
    return rate + 3 * math.sqrt(rate * (1 - rate) / times) + 1 / times
