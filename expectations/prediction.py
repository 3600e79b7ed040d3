"""What the past of a series leads to expect of the next observation, and how surely.

Each past observation is predicted from those before it, exactly as the new one is. The errors of
these predictions say how well the series can be predicted, whatever makes it vary.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, stdtr  # type: ignore[import-untyped]

from expectations.past import Scale

Vector = NDArray[np.float64]

MEMORY = 10.0  # observations after which one counts for 1/e in the level
FIRST = 2  # the first observation that is predicted: from two
HUBER = 1.5  # an observation further off than so many robust sd is drawn in to there
CLEARLY = 0.8  # a correction is used if it would have cut the errors to this share or less
COMPARED = 6  # on so many of them at least
MAD = 1.4826  # MAD * this is the sd of a normal distribution

BEND = 0.1  # counts far above 1/BEND² are taken as their logarithm, far below as their square root

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


def sampling_variance(levels: Vector, rows: Vector, scale: Scale) -> Vector:
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
    spread = MAD * middle(np.abs(values[1:] - levels[1:n]).tolist())
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
            central = (same[(m - 1) // 2] + same[m // 2]) / 2
            drawn = max(abs(central) - spread / math.sqrt(m), 0.0)
            effects[i] = math.copysign(drawn, central)
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
            central, wider = middle(same), math.sqrt(m / (m - 1))
            distances += [abs(error - central) * wider for error in same]
    return MAD * middle(distances) if distances else 0.0


def middle(values: Sequence[float]) -> float:
    """The median; faster than NumPy's on so few."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def is_better(corrected: Ahead, plain: Ahead) -> bool:
    """Whether a correction would have helped clearly; no single error decides it."""
    both = corrected.usable & plain.usable
    if both.sum() < COMPARED:
        return False
    before, after = np.abs(plain.errors[both]), np.abs(corrected.errors[both])
    cap = 4 * MAD * middle(before.tolist())
    if cap == 0:
        cap = float(before.max())
    return float(np.minimum(after, cap).sum()) < CLEARLY * float(np.minimum(before, cap).sum())
