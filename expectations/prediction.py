"""What the past of a series leads to expect of the next observation, and how surely.

Each past observation is predicted from those before it, exactly as the new one is. The errors of
these predictions say how well the series can be predicted, whatever makes it vary.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, gammaln, stdtr

from expectations.past import MIN_PAST, Judgement, Point, Scale, is_known_weekday, unjudged

Vector = NDArray[np.float64]

WINDOW = 60  # the newest observations; older ones tell little about the next
MEMORY = 10.0  # observations after which one counts for 1/e in the level
FIRST = 2  # the first observation that is predicted: from two
HUBER = 1.5  # an observation further off than so many robust sd is drawn in to there
CLEARLY = 0.8  # a correction is used if it would have cut the errors to this share or less
COMPARED = 6  # on so many of them at least
WEEKDAY_SEEN, WEEKDAY_SETTLED = 3, 5
MAD = 1.4826  # MAD * this is the sd of a normal distribution

BEND = 0.1  # counts far above 1/BEND² are taken as their logarithm, far below as their square root
# The least spread that is believed, on each scale: 1 % of a count, 1 point of arc of a share (half
# a percentage point in the middle), 0.1 % of a value.
FLOORS: dict[Scale, float] = {"count": 0.01 / BEND, "share": 0.01, "value": 0.001}

TAILS = np.array([3.0, 5.0, 10.0, 60.0])  # degrees of freedom: from heavy tails to nearly normal
TAILS_PRIOR = np.array([0.2, 0.3, 0.3, 0.2])
SPREADS = np.exp(np.linspace(-1.5, 2.1, 13))  # around the robust estimate


# --- scales


def transform(values: Vector, scale: Scale) -> Vector:
    """Where the spread does not depend on the level.

    Counts: 2/b * asinh(b * sqrt(x + 3/8)), which stabilises the variance of x + (b * x)²
    (Anscombe, Biometrika 35, 1948). Shares: 2 * asin(sqrt(p)), whose binomial variance is 1/rows.
    """
    if scale == "count":
        return 2 / BEND * np.arcsinh(BEND * np.sqrt(np.maximum(values, 0) + 0.375))
    if scale == "share":
        return 2 * np.arcsin(np.sqrt(np.clip(values, 0, 1)))
    return values


def back(value: float, scale: Scale) -> float:
    """The inverse of `transform`; beyond the scale's end, the end."""
    if scale == "count":
        root = math.sinh(min(max(value, 0.0) * BEND / 2, 300.0)) / BEND
        return max(root * root - 0.375, 0.0)
    if scale == "share":
        return math.sin(min(max(value, 0.0), math.pi) / 2) ** 2
    return value


def _sampling(levels: Vector, rows: Vector, scale: Scale) -> Vector:
    """The variance on the transformed scale that chance alone makes."""
    if scale == "count":
        roots = np.sinh(np.clip(levels * BEND / 2, 0, 300))
        return 1 / (1 + roots * roots)
    if scale == "share":
        return np.where(rows > 0, 1 / np.maximum(rows, 1), 0.0)
    return np.zeros_like(levels)


# --- the predictive distribution


@dataclass(frozen=True)
class Predictive:
    """A mixture of Student t over spreads and tails, weighted by how well they explain errors."""

    variances: Vector  # S spreads
    weights: Vector  # S x T

    def p(self, error: float, sampling: float, inflation: float) -> float:
        """The two-sided probability of an error at least so large."""
        scaled = -abs(error) / np.sqrt((self.variances + sampling) * inflation)
        return float(2 * (self.weights * stdtr(TAILS, scaled[:, None])).sum())

    def reach(self, p: float, sampling: float, inflation: float) -> float:
        """The error whose probability is p: the secant method on the logarithms of both."""
        x = math.log(4 * self.sd(sampling, inflation))
        slope, target = -4.0, math.log(p)
        y = math.log(max(self.p(math.exp(x), sampling, inflation), 1e-300)) - target
        for _ in range(12):
            if abs(y) < 0.005:
                break
            step = max(min(-y / slope, 3.0), -3.0)
            x += step
            before = y
            y = math.log(max(self.p(math.exp(x), sampling, inflation), 1e-300)) - target
            slope = min((y - before) / step, -0.1)
        return math.exp(x)

    def sd(self, sampling: float, inflation: float) -> float:
        """The typical spread of a prediction's error."""
        logs = np.log((self.variances + sampling) * inflation)
        return math.exp(float((self.weights.sum(axis=1) * logs).sum()) / 2)


def predictive(errors: Vector, sampling: Vector, inflation: Vector, floor: float) -> Predictive:
    """Learn from past errors; `inflation` is how much each one's variance was larger.

    Bayes' rule over a grid, with a uniform prior of the logarithm of the spread. Few errors leave
    the heavy tails their prior weight, so that the interval is as wide as it has to be.
    """
    spreads = np.maximum(SPREADS * _typical(np.abs(errors) / np.sqrt(inflation), floor), floor)
    variances = spreads * spreads
    scales = (variances[:, None] + sampling) * inflation  # S x n
    squares = (errors * errors / scales)[:, :, None] / TAILS
    likelihood = -(TAILS + 1) / 2 * np.log1p(squares).sum(axis=1) - (
        np.log(scales).sum(axis=1)[:, None] / 2
    )
    constant = gammaln((TAILS + 1) / 2) - gammaln(TAILS / 2) - np.log(TAILS * math.pi) / 2
    likelihood += len(errors) * constant
    weights = np.exp(likelihood - likelihood.max()) * TAILS_PRIOR
    return Predictive(variances, weights / weights.sum())


def _typical(sizes: Vector, floor: float) -> float:
    """A robust sd; where most errors are zero, that of the others."""
    ordered = np.sort(sizes)
    for share in (0.5, 0.75, 0.9):
        found = MAD * float(ordered[int(share * (len(ordered) - 1))])
        if found > floor:
            return found
    return floor


# --- one step ahead


@dataclass(frozen=True)
class Ahead:
    """What was predicted of n past observations and of the new one, the last of n + 1.

    `levels` are the predictions, `errors` (n) how far off they were, `inflation` (n + 1) how much
    the variance of an error exceeds that of an observation, `usable` (n) which errors count.
    `exposure` is how many observations the new level rests on.
    """

    levels: Vector
    errors: Vector
    inflation: Vector
    usable: NDArray[np.bool_]
    exposure: float


def level_ahead(values: Vector) -> Ahead:
    """Predict each value from those before it: a robust mean in which the recent count more.

    Huber's M-estimator (Annals of Mathematical Statistics 35, 1964), by weights, from the median.
    """
    n = len(values)
    ages = np.arange(n + 1)[:, None] - np.arange(n)[None, :]
    kept = np.where(ages > 0, np.exp(-np.maximum(ages, 0) / MEMORY), 0.0)
    levels = _medians_before(values)
    spread = MAD * _middle(np.abs(values[1:] - levels[1:n]).tolist())
    near = HUBER * max(spread, 1e-12 * float(np.abs(values).max()), 1e-300)
    for _ in range(3):
        off = np.abs(values - levels[:, None])
        weights = kept * (near / np.maximum(off, near))
        levels[1:] = (weights @ values)[1:] / weights.sum(axis=1)[1:]
    total = kept.sum(axis=1)
    exposure = np.maximum(total * total / np.maximum((kept * kept).sum(axis=1), 1e-300), 1.0)
    return Ahead(
        levels, values - levels[:n], 1 + 1 / exposure, np.arange(n) >= FIRST, float(exposure[n])
    )


def _medians_before(values: Vector) -> Vector:
    seen: list[float] = []
    medians = [float(values[0])]
    for value in values.tolist():
        insort(seen, value)
        half = len(seen) // 2
        medians.append(seen[half] if len(seen) % 2 else (seen[half - 1] + seen[half]) / 2)
    return np.array(medians)


def with_growth(ahead: Ahead) -> Ahead:
    """Corrected for steady growth: by the median growth a step that earlier errors speak of."""
    n = len(ahead.errors)
    lags = _mean_ages(n)
    rates = ahead.errors[FIRST:] / lags[FIRST:n]
    growth = np.zeros(n + 1)
    growth[FIRST + 1 :] = _medians_before(rates)[1:]
    usable = np.arange(n) >= FIRST + 3
    growth[:n][~usable] = 0.0
    return replace(
        ahead,
        levels=ahead.levels + growth * lags,
        errors=ahead.errors - (growth * lags)[:n],
        usable=usable,
    )


def _mean_ages(n: int) -> Vector:
    """How old, in steps, what the levels rest on is on average (1 where there is nothing)."""
    kept = np.exp(-np.arange(1, n + 1) / MEMORY)
    ages = np.cumsum(kept * np.arange(1, n + 1)) / np.cumsum(kept)
    return np.concatenate([[1.0], ages])


def with_weekday(ahead: Ahead, weekdays: Sequence[int]) -> Ahead:
    """Corrected by the median of what the same weekday's earlier errors were, drawn in to zero.

    It is drawn in by one standard error of itself, so that chance makes no pattern.
    """
    n = len(ahead.errors)
    first_week = ahead.levels[min(7, n)]
    errors = ahead.errors.copy()
    errors[:FIRST] += ahead.levels[:FIRST] - first_week
    spread = _within(errors, weekdays[:n])
    effects, seen = np.zeros(n + 1), np.zeros(n + 1)
    earlier: dict[int, list[float]] = {}
    for i, weekday in enumerate(weekdays):
        same = earlier.setdefault(weekday, [])
        if m := len(same):
            seen[i] = m
            middle = (same[(m - 1) // 2] + same[m // 2]) / 2
            drawn = max(abs(middle) - spread / math.sqrt(m), 0.0)
            effects[i] = math.copysign(drawn, middle)
        if i < n:
            insort(same, float(errors[i]))
    return replace(
        ahead,
        levels=ahead.levels + effects,
        errors=ahead.errors - effects[:n],
        inflation=ahead.inflation + np.where(seen > 0, 1 / np.maximum(seen, 1), 0.0),
        usable=ahead.usable & (seen[:n] > 0),
    )


def _within(errors: Vector, weekdays: Sequence[int]) -> float:
    """The robust spread of errors about their weekday's median."""
    days: dict[int, list[float]] = {}
    for error, weekday in zip(errors.tolist(), weekdays, strict=True):
        days.setdefault(weekday, []).append(error)
    distances: list[float] = []
    for same in days.values():
        if (m := len(same)) > 1:
            middle, wider = _middle(same), math.sqrt(m / (m - 1))
            distances += [abs(error - middle) * wider for error in same]
    return MAD * _middle(distances) if distances else 0.0


def _middle(values: Sequence[float]) -> float:
    """The median; faster than NumPy's on so few."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _is_better(corrected: Ahead, plain: Ahead) -> bool:
    """Whether a correction would have helped clearly; no single error decides it."""
    both = corrected.usable & plain.usable
    if both.sum() < COMPARED:
        return False
    before, after = np.abs(plain.errors[both]), np.abs(corrected.errors[both])
    cap = 4 * MAD * _middle(before.tolist())
    if cap == 0:
        cap = float(before.max())
    return float(np.minimum(after, cap).sum()) < CLEARLY * float(np.minimum(before, cap).sum())


# --- the judgement


@dataclass(frozen=True)
class _Claim:
    """What is claimed of the new observation: its level, and how far off it may be."""

    level: float
    inflation: float
    sampling: float
    exposure: float  # how much more was seen before than now comes, in observations or in rows
    rows: int
    scale: Scale
    spread: Predictive
    sizes: Vector  # past errors in sd, signed and ascending

    @property
    def expected(self) -> float:
        return back(self.level, self.scale)

    @property
    def sd(self) -> float:
        return self.spread.sd(self.sampling, self.inflation)

    def p(self, value: float) -> float:
        """The largest of three bounds: the errors' mixture, pure chance, and what was seen."""
        error = float(transform(np.array([value]), self.scale)[0]) - self.level
        usual = self.spread.p(error, self.sampling, self.inflation)
        return min(1.0, max(usual, self._chance(value), self._seen(error)))

    def _seen(self, error: float) -> float:
        """At least one past error apart from a single one was as large, on the same side."""
        size = error / self.sd
        as_large = (self.sizes >= size).sum() if size > 0 else (self.sizes <= size).sum()
        return float(as_large - 1) / (len(self.sizes) + 1)

    def _chance(self, value: float) -> float:
        """Rows that come one by one: a gamma-Poisson prediction of how many."""
        counted = self._counted(value)
        if counted is None:
            return 0.0
        found, mean = counted
        shape, share = mean * self.exposure + 0.5, self.exposure / (1 + self.exposure)
        at_most = betainc(shape, math.floor(found) + 1, share)
        at_least = betainc(math.ceil(found), shape, 1 - share) if found > 0 else 1.0
        return 2 * float(min(at_most, at_least))

    def _counted(self, value: float) -> tuple[float, float] | None:
        """How many rows were counted, and expected; the rarer side of a share."""
        found, mean = value, self.expected
        if self.scale == "share":
            found, mean = found * self.rows, mean * self.rows
            if mean > self.rows / 2:
                found, mean = self.rows - found, self.rows - mean
            found = round(found, 6)
        is_few = self.scale != "value" and mean < 1e4 and 0 <= found < 1e5
        return (found, mean) if is_few and (self.rows or self.scale == "count") else None

    def interval(self, alarm_rate: float) -> tuple[float, float]:
        """From where to where p is at least `alarm_rate`."""
        reach = self.spread.reach(alarm_rate, self.sampling, self.inflation)
        down = up = reach
        enough = math.ceil(alarm_rate * (len(self.sizes) + 1)) + 1
        if enough <= len(self.sizes):
            down = max(down, -float(self.sizes[enough - 1]) * self.sd)
            up = max(up, float(self.sizes[-enough]) * self.sd)
        low = self._widened(back(self.level - down, self.scale), -1, alarm_rate)
        return low, self._widened(back(self.level + up, self.scale), 1, alarm_rate)

    def _widened(self, bound: float, side: int, alarm_rate: float) -> float:
        """The bound, further out while pure chance goes there."""
        if self._counted(bound) is None:
            return bound
        unit = 1.0 if self.scale == "count" else 1 / self.rows
        steps = math.floor(bound / unit) if side < 0 else math.ceil(bound / unit)
        jump, end = 1, (math.inf if self.scale == "count" else self.rows)
        while 0 <= steps + side * jump <= end and self._chance((steps + side * jump) * unit) >= (
            alarm_rate
        ):
            steps += side * jump
            jump *= 2
        while jump >= 1:
            further = steps + side * jump
            if 0 <= further <= end and self._chance(further * unit) >= alarm_rate:
                steps = further
            jump //= 2
        return min(bound, steps * unit) if side < 0 else max(bound, steps * unit)


@dataclass(frozen=True)
class _Series:
    """The past on the transformed scale, oldest first."""

    values: Vector
    rows: Vector
    weekdays: list[int]
    scale: Scale


def _series(past: Sequence[Point], scale: Scale) -> _Series:
    values = transform(np.array([point.value for point in past], dtype=np.float64), scale)
    rows = np.array([point.rows for point in past], dtype=np.float64)
    return _Series(values, rows, [point.at.weekday() for point in past], scale)


def _in_order(past: Sequence[Point]) -> list[Point]:
    return sorted((p for p in past if math.isfinite(p.value)), key=lambda point: point.at)


def judge_point(past: Sequence[Point], new: Point, scale: Scale, alarm_rate: float) -> Judgement:
    """`past.judge`."""
    known = _in_order(past)[-WINDOW:]
    if math.isnan(new.value) or len(known) < MIN_PAST:
        return unjudged(new.value, 1.0 if scale == "count" else 0.0)
    if not is_known_weekday([point.at for point in known], new.at):
        return unjudged(new.value, 1.0 if scale == "count" else 0.0)
    if len({point.value for point in known}) == 1 and known[0].value == 0 and scale == "value":
        return _never_other(len(known), new.value)
    series = _series(known, scale)
    claims, uses_weekday = _claims(series, new)
    intervals = [claim.interval(alarm_rate) for claim in claims]
    p = max(claim.p(new.value) for claim in claims) if math.isfinite(new.value) else 0.0
    return Judgement(
        enough=True,
        value=new.value,
        expected=claims[0].expected,
        low=min(low for low, _ in intervals),
        high=max(high for _, high in intervals),
        p=p,
        effect=_effect(claims[0], new.value),
        uses_weekday=uses_weekday,
    )


def _never_other(n: int, value: float) -> Judgement:
    """The past is all zeros, so has no unit to measure by: Laplace's rule of succession."""
    p = 1.0 if value == 0 else 1 / (n + 2)
    return Judgement(True, value, 0.0, 0.0, 0.0, p, math.copysign(math.inf, value), False)


def _effect(claim: _Claim, value: float) -> float:
    if claim.scale == "count":
        return value / max(claim.expected, 0.5)
    if claim.scale == "share":
        return 100 * (value - claim.expected)
    return (value - claim.expected) / claim.sd


def _claims(series: _Series, new: Point) -> tuple[list[_Claim], bool]:
    """One claim; two while it is open whether the new observation's weekday has its own level."""
    weekday, n = new.at.weekday(), len(series.values)
    same = [i for i in range(n) if series.weekdays[i] == weekday]
    ahead, uses_weekday = _predicted(series, weekday)
    claim = _claim(series, ahead, new)
    if uses_weekday or not 0 < len(same) < WEEKDAY_SETTLED:
        return [claim], uses_weekday
    own = replace(claim, level=_middle(series.values[same].tolist()), inflation=1 + 1 / len(same))
    return [claim, own], False


def _predicted(series: _Series, weekday: int) -> tuple[Ahead, bool]:
    """The new observation predicted, with growth and weekdays where they are clearly there."""
    ahead = level_ahead(series.values)
    if _is_better(growing := with_growth(ahead), ahead):
        ahead = growing
    if series.weekdays.count(weekday) >= WEEKDAY_SEEN:
        weekly = with_weekday(ahead, [*series.weekdays, weekday])
        if _is_better(weekly, ahead):
            return weekly, True
    return ahead, False


def _claim(series: _Series, ahead: Ahead, new: Point) -> _Claim:
    scale, n = series.scale, len(series.values)
    floor = FLOORS[scale]
    if scale == "value":
        floor *= abs(_middle(series.values.tolist())) or float(np.abs(series.values).max())
    chance = _sampling(ahead.levels, np.append(series.rows, new.rows), scale)
    used = ahead.usable
    errors, inflation = ahead.errors[used], ahead.inflation[:n][used]
    spread = predictive(errors, chance[:n][used], inflation, floor)
    typical = spread.sd(0.0, 1.0) ** 2
    exposure = ahead.exposure
    if scale == "share" and new.rows:
        exposure *= float(series.rows.mean()) / new.rows
    return _Claim(
        level=float(ahead.levels[n]),
        inflation=float(ahead.inflation[n]),
        sampling=float(chance[n]),
        exposure=max(exposure, 1e-9),
        rows=new.rows,
        scale=scale,
        spread=spread,
        sizes=np.sort(errors / np.sqrt((typical + chance[:n][used]) * inflation)),
    )


# --- accepted levels


def move_levels(past: Sequence[Point], accepted: Sequence[datetime], scale: Scale) -> list[Point]:
    """`past.relearn`."""
    points = _in_order(past)
    starts = [i for i, point in enumerate(points) if point.at in set(accepted)]
    for start, end in pairwise([*starts, len(points)]):
        if start:
            before, after = points[:start], points[start : min(end, start + 7)]
            points = [*_moved(before, after, scale), *points[start:]]
    return points


def _moved(before: list[Point], after: list[Point], scale: Scale) -> list[Point]:
    """What came before, at the level of what came after."""
    series = _series(before[-WINDOW:], scale)
    found = transform(np.array([point.value for point in after]), scale)
    expected = [_expected(series, point) for point in after]
    shift = float(np.median(found - np.array(expected)))
    if scale == "value":
        return _moved_values(before, float(np.median(expected)), shift)
    levels = transform(np.array([point.value for point in before]), scale) + shift
    # A day without any row among days of many is closed, and stays so at any level.
    is_busy = scale == "count" and float(np.median(series.values)) > float(
        transform(np.array([10.0]), scale)[0]
    )
    return [
        point if is_busy and point.value == 0 else replace(point, value=back(float(level), scale))
        for point, level in zip(before, levels, strict=True)
    ]


def _moved_values(before: list[Point], level: float, shift: float) -> list[Point]:
    """Added to; or multiplied, where the level changed as with another unit."""
    ratio = (level + shift) / level if level else 0.0
    if ratio > 2 or 0 < ratio < 0.5:
        return [replace(point, value=point.value * ratio) for point in before]
    return [replace(point, value=point.value + shift) for point in before]


def _expected(series: _Series, point: Point) -> float:
    """The level that is predicted for a point, however short the series."""
    if len(series.values) <= FIRST + 1:
        return float(np.median(series.values))
    ahead, _ = _predicted(series, point.at.weekday())
    return float(ahead.levels[-1])
