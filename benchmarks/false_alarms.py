"""How often clean series alarm, and how often faults do: seeded simulations, kind by kind."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import NormalDist
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
CLEAN = 2000  # judgements for each kind and length
SHAPES = 150
FAULTY = 200
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


def _poisson(rng: Generator, means: Vector) -> Vector:
    return rng.poisson(means).astype(np.float64)


def _autoregressive(rng: Generator, n: int, memory: float) -> Vector:
    """Of variance 1, begun in its stationary state."""
    shocks = rng.normal(0, math.sqrt(1 - memory**2), n)
    shocks[0] = rng.normal()
    for i in range(1, n):
        shocks[i] += memory * shocks[i - 1]
    return shocks


def _weekend(days: NDArray[np.int64], weekdays: float, weekend: float) -> Vector:
    return np.where(days % 7 >= 5, weekend, weekdays).astype(np.float64)


def _counted(values: Vector) -> Vector:
    return np.round(np.maximum(values, 0)).astype(np.float64)


def _beta(rng: Generator, n: int, mean: float, strength: float, rows: int) -> Vector:
    """Over-dispersed shares: each day's true one is drawn, too."""
    true = rng.beta(mean * strength, (1 - mean) * strength, n)
    return rng.binomial(rows, true).astype(np.float64) / rows


KINDS = (
    Kind("count, Poisson 0.2", "count", lambda r, d: _poisson(r, _weekend(d, 0.2, 0.2))),
    Kind("count, Poisson 4", "count", lambda r, d: _poisson(r, _weekend(d, 4, 4))),
    Kind("count, Poisson with weekdays", "count", lambda r, d: _poisson(r, _weekend(d, 200, 60))),
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
        lambda r, d: _counted(1000 * np.exp(0.3 * np.sin(2 * np.pi * d / 7) + _noise(r, d, 0.1))),
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
        "count, heavy tails (t, 4 df)",
        "count",
        lambda r, d: _counted(1e4 * np.exp(0.1 * r.standard_t(4, len(d)))),
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
    Kind("count, constant", "count", lambda _, d: np.full(len(d), 1000.0)),
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
    Kind("value, heavy tails (t, 4 df)", "value", lambda r, d: 50 + r.standard_t(4, len(d))),
    Kind("value, skewed", "value", lambda r, d: 20 * np.exp(_noise(r, d, 0.3))),
    Kind("value, AR(1) 0.6", "value", lambda r, d: 50 + 5 * _autoregressive(r, len(d), 0.6)),
    Kind("value, grows by 0.1 sd a day", "value", lambda r, d: 50 + 0.2 * d + _noise(r, d, 2)),
    Kind("value, weekends lower", "value", lambda r, d: _weekend(d, 50, 40) + _noise(r, d, 2)),
    Kind("value, constant", "value", lambda _, d: np.full(len(d), 7.0)),
)

# Wilder than what is promised for: shown, and not held against a bar.
WILD = (
    Kind("value, t of 3 df", "value", lambda r, d: 50 + r.standard_t(3, len(d))),
    Kind("value, exponential", "value", lambda r, d: r.exponential(5, len(d))),
    Kind(
        "count, one day of 20 is × 20",
        "count",
        lambda r, d: _counted(
            1000 * np.exp(_noise(r, d, 0.1)) * np.where(r.random(len(d)) < 0.05, 20, 1)
        ),
    ),
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
    """The share of alarms that a true rate explains: three standard errors more, and one alarm."""
    return rate + 3 * math.sqrt(rate * (1 - rate) / times) + 1 / times


# --- faults


@dataclass(frozen=True)
class Fault:
    """What becomes of a clean day, after so many clean ones, and how often it is to be seen."""

    name: str
    kind: str
    days: int
    change: Callable[[float], float]
    at_least: float = 0.0  # of the alarms at a rate of 0.01


FAULTS = (
    *(
        Fault(f"{name} after {days} days", "count, 10 % noise", days, change, at_least)
        for name, change, bars in (
            ("count × 2", lambda x: 2 * x, (0.6, 0.9, 0.95, 0.98)),
            ("count × 0.5", lambda x: x / 2, (0.6, 0.9, 0.95, 0.98)),
            ("count × 100", lambda x: 100 * x, (1.0, 1.0, 1.0, 1.0)),
            ("no rows", lambda _: 0.0, (1.0, 1.0, 1.0, 1.0)),
        )
        for days, at_least in zip((8, 14, 30, 60), bars, strict=True)
    ),
    Fault(
        "count × 2, with weekdays, after 35 days",
        "count, step on weekends",
        35,
        lambda x: 2 * x,
        0.75,
    ),
    Fault("count × 0.5, closed on Sundays", "count, closed on Sundays", 35, lambda x: x / 2, 0.65),
    Fault("nulls 0 → 1 % after 14 days", "share, 0", 14, lambda _: 0.01, 0.95),
    Fault("nulls 0 → 5 % after 8 days", "share, 0", 8, lambda _: 0.05, 1.0),
    Fault("nulls 0 → 5 % after 14 days", "share, 0", 14, lambda _: 0.05, 1.0),
    Fault("nulls 0 → 20 % after 8 days", "share, 0", 8, lambda _: 0.2, 1.0),
    Fault("nulls 2 → 5 %, varying, after 30 days", "share, 2 % varying", 30, lambda _: 0.05),
    Fault("nulls 2 → 20 %, varying, after 14 days", "share, 2 % varying", 14, lambda _: 0.2, 0.95),
    Fault("half → 70 %, varying, after 30 days", "share, half, varying", 30, lambda _: 0.7, 0.9),
    Fault("value × 2 after 14 days", "value, normal", 14, lambda x: 2 * x, 0.95),
    Fault("value × 100 after 8 days", "value, normal", 8, lambda x: 100 * x, 1.0),
    Fault("value + 3 sd after 60 days", "value, normal", 60, lambda x: x + 15),
)


def detected(fault: Fault, rng: Generator, rate: float, times: int) -> float:
    """The share of faulty days that alarm."""
    kind = next(kind for kind in KINDS if kind.name == fault.kind)
    found = 0
    for _ in range(times):
        past, new = series(kind, rng, fault.days)
        faulty = Point(new.at, fault.change(new.value), new.rows)
        found += judge(past, faulty, kind.scale, alarm_rate=rate).p <= rate
    return found / times


# --- distributions


@dataclass(frozen=True)
class Mould:
    """Clean distributions of a column: of each day's rows, by its number; `shift` is of a fault."""

    name: str
    measure: Measure
    draw: Callable[[Generator, int, float], Shape]


PROBABILITIES = np.linspace(0, 1, 51)
MIDDLE = NormalDist()


def numbers(values: Vector) -> Numbers:
    """The shape of a column with these values."""
    found = np.quantile(values, PROBABILITIES, method="inverted_cdf")
    return Numbers(tuple(found.tolist()), len(values))


def _normal(rng: Generator, rows: int, mean: float) -> Shape:
    return numbers(rng.normal(mean, 1, rows))


def _labels(rng: Generator, rows: int, odds: Vector) -> Shape:
    counts = rng.multinomial(rows, odds / odds.sum())
    return Labels({f"label {i}": int(count) for i, count in enumerate(counts)}, rows)


def _drifting(rng: Generator, _: int, shift: float) -> Shape:
    """A true mean that varies from day to day."""
    return _normal(rng, 5000, shift + rng.normal(0, 0.05))


MOULDS = (
    Mould("normal, 5,000 rows", "psi", lambda r, _, s: _normal(r, 5000, s)),
    Mould("normal, 5,000 rows", "ks", lambda r, _, s: _normal(r, 5000, s)),
    Mould("normal, 5,000 rows", "js", lambda r, _, s: _normal(r, 5000, s)),
    Mould("normal, 300 rows", "psi", lambda r, _, s: _normal(r, 300, s)),
    Mould(
        "normal, 20 to 5,000 rows", "psi", lambda r, _, s: _normal(r, int(r.integers(20, 5000)), s)
    ),
    Mould("normal, varying", "psi", _drifting),
    Mould("normal, weekends apart", "psi", lambda r, d, s: _normal(r, 2000, s + (d % 7 > 4))),
    Mould(
        "small integers",
        "psi",
        lambda r, _, s: numbers(_poisson(r, np.full(2000, 2 * math.exp(s)))),
    ),
    Mould(
        "small integers", "ks", lambda r, _, s: numbers(_poisson(r, np.full(2000, 2 * math.exp(s))))
    ),
    Mould(
        "six labels",
        "psi",
        lambda r, _, s: _labels(r, 3000, np.exp(np.array([3, 2, 1, 0, -1, -3]) * (0.6 - s / 2))),
    ),
    Mould("two labels", "js", lambda r, _, s: _labels(r, 3000, np.array([1, math.exp(s)]))),
)


def shape_ps(mould: Mould, rng: Generator, days: int, shift: float, times: int) -> list[float]:
    """The probabilities of days that follow clean ones, shifted or (by 0) clean themselves."""
    found = []
    for _ in range(times):
        start = int(rng.integers(7))
        past = [
            (FIRST_DAY + timedelta(days=day), mould.draw(rng, day, 0.0))
            for day in range(start, start + days)
        ]
        new = (FIRST_DAY + timedelta(days=start + days), mould.draw(rng, start + days, shift))
        found.append(judge_shape(past, new, mould.measure, alarm_rate=0.01).p)
    return found


def shift_of(psi: float) -> float:
    """The shift of a normal distribution's mean, in sd, that has this PSI over deciles."""
    low, high = 0.0, 3.0
    for _ in range(50):
        middle = (low + high) / 2
        edges = [MIDDLE.inv_cdf(k / 10) for k in range(1, 10)]
        steps = [0.0, *(MIDDLE.cdf(edge - middle) for edge in edges), 1.0]
        shares = np.diff(steps)
        found = float(((shares - 0.1) * np.log(shares / 0.1)).sum())
        low, high = (middle, high) if found < psi else (low, middle)
    return low


# --- the figures


def measure(options: Options) -> tuple[list[Figure], dict[str, Any]]:
    """The worst length of each kind against what is promised; each fault; the time it takes."""
    part = 40 if options.short else 1
    rng = np.random.default_rng(options.seed)
    figures = [
        *_clean_figures(rng, CLEAN // part),
        *_fault_figures(rng, FAULTY // part),
        *_shape_figures(rng, SHAPES // part),
        *_time_figures(rng),
    ]
    return figures, {"lengths": list(LENGTHS), "clean_days_each": CLEAN // part}


def _clean_figures(rng: Generator, times: int) -> Iterator[Figure]:
    for kind in (*KINDS, *WILD):
        found = [clean_alarms(kind, rng, n, times) for n in LENGTHS]
        for rate in RATES:
            worst = max(range(len(LENGTHS)), key=lambda i: found[i][rate])
            yield Figure(
                f"{kind.name}: clean alarms at {rate:g}",
                found[worst][rate] / times,
                "",
                at_most=None if kind in WILD else allowed(rate, times),
                note=f"worst, after {LENGTHS[worst]} days",
            )


def _fault_figures(rng: Generator, times: int) -> Iterator[Figure]:
    for fault in FAULTS:
        for rate in RATES:
            bar = fault.at_least if rate == RATES[0] and fault.at_least else None
            share = detected(fault, rng, rate, times)
            yield Figure(f"{fault.name}: detected at {rate:g}", share, "", at_least=bar)


def _shape_figures(rng: Generator, times: int) -> Iterator[Figure]:
    for mould in MOULDS:
        for days in (MIN_PAST, 14, 30):
            ps = shape_ps(mould, rng, days, 0.0, times)
            for rate in RATES:
                yield Figure(
                    f"{mould.measure} of {mould.name}: clean alarms at {rate:g}",
                    sum(p <= rate for p in ps) / times,
                    "",
                    at_most=allowed(rate, times),
                    note=f"after {days} days",
                )
    faults = {f"PSI {psi:g}": shift_of(psi) for psi in (0.1, 0.25)} | {"0.5 sd": 0.5, "1 sd": 1.0}
    for mould in MOULDS[:6]:
        for name, shift in faults.items():
            ps = shape_ps(mould, rng, 30, shift, times // 5)
            for rate in RATES:
                yield Figure(
                    f"{mould.measure} of {mould.name}, shifted by {name}: detected at {rate:g}",
                    sum(p <= rate for p in ps) / len(ps),
                    "",
                    note="after 30 days",
                )


def _time_figures(rng: Generator) -> Iterator[Figure]:
    past, new = series(KINDS[3], rng, 60)
    shapes = [(FIRST_DAY + timedelta(days=i), _normal(rng, 500, 0.0)) for i in range(61)]
    calls: dict[str, tuple[Callable[[], Judgement], float]] = {
        "judge, 60 past": (lambda: judge(past, new, "count", alarm_rate=0.01), 0.5),
        "judge_shape, 60 past": (
            lambda: judge_shape(shapes[:-1], shapes[-1], "psi", alarm_rate=0.01),
            3.0,
        ),
    }
    for name, (call, bar) in calls.items():
        call()
        started = time.process_time()
        for _ in range(100):
            call()
        used = (time.process_time() - started) * 10
        yield Figure(name, used, "CPU ms", at_most=bar)
