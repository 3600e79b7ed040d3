"""Judge an observation against what the past of its series leads to expect; learn a new level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise

import numpy as np
from scipy.special import betainc  # type: ignore[import-untyped]

from expectations.past import (
    MIN_PAST,
    SETTLING,
    Judgement,
    Point,
    Scale,
    is_known_weekday,
    unjudged,
)
from expectations.prediction import (
    BEND,
    FIRST,
    Ahead,
    Predictive,
    Vector,
    back,
    is_better,
    level_ahead,
    middle,
    predictive,
    sampling_variance,
    transform,
    with_growth,
    with_weekday,
)

WINDOW = 60  # the newest observations; older ones tell little about the next
WEEKDAY_SEEN = 3  # observations of a weekday before its own level is used
WEEKDAY_SETTLED = 5  # before it is clear that it has none
BUSY = 10  # rows of a typical day, from which on a day of none was closed
OUTLIER_KNOWN = 12  # errors before a large one is an outlier, and not the series' habit

# The least spread that is believed, on each scale: 1 % of a count, 1 point of arc of a share (half
# a percentage point in the middle), 0.1 % of a value.
FLOORS: dict[Scale, float] = {"count": 0.01 / BEND, "share": 0.01, "value": 0.001}


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
        """How many past errors on the same side were as large, but for a single outlier."""
        size = error / self.sd
        as_large = (self.sizes >= size).sum() if size > 0 else (self.sizes <= size).sum()
        return float(as_large - spared(len(self.sizes))) / (len(self.sizes) + 1)

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
        enough = math.ceil(alarm_rate * (len(self.sizes) + 1)) + spared(len(self.sizes))
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


def spared(n: int) -> int:
    """How many of n errors may be outliers that excuse no other; none among the first."""
    return 1 if n >= OUTLIER_KNOWN else 0


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
    own = replace(claim, level=middle(series.values[same].tolist()), inflation=1 + 1 / len(same))
    return [claim, own], False


def _predicted(series: _Series, weekday: int) -> tuple[Ahead, bool]:
    """The new observation predicted, with growth and weekdays where they are clearly there."""
    ahead = level_ahead(series.values)
    if is_better(growing := with_growth(ahead), ahead):
        ahead = growing
    if series.weekdays.count(weekday) >= WEEKDAY_SEEN:
        weekly = with_weekday(ahead, [*series.weekdays, weekday])
        if is_better(weekly, ahead):
            return weekly, True
    return ahead, False


def _claim(series: _Series, ahead: Ahead, new: Point) -> _Claim:
    scale, n = series.scale, len(series.values)
    floor = FLOORS[scale]
    if scale == "value":
        floor *= abs(middle(series.values.tolist())) or float(np.abs(series.values).max())
    chance = sampling_variance(ahead.levels, np.append(series.rows, new.rows), scale)
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
    starts = _held(points, _starts(points, accepted), scale)
    for start, end in pairwise([*starts, len(points)]):
        if start:
            before, after = points[:start], points[start : min(end, start + 7)]
            points = [*_moved(before, after, scale), *points[start:]]
    return points


def judge_either(
    past: Sequence[Point],
    accepted: Sequence[datetime],
    new: Point,
    scale: Scale,
    alarm_rate: float,
) -> Judgement:
    """`past.judge_accepted`."""
    levels = _levels(_in_order(past), accepted, scale)
    judged = [judge_point(points, new, scale, alarm_rate) for points in levels]
    known = [judgement for judgement in judged if judgement.enough]
    return max(known, key=lambda judgement: judgement.p) if known else judged[0]


def _levels(points: list[Point], accepted: Sequence[datetime], scale: Scale) -> list[list[Point]]:
    """The past at the last accepted level and, while it is not settled, at those before it."""
    starts = _starts(points, accepted)
    if not starts or len(points) - 1 - starts[-1] >= SETTLING:
        return [move_levels(points, accepted, scale)]
    last = starts[-1]
    accepted_level = move_levels(points[: last + 1], accepted, scale)
    return [accepted_level, *_levels(points[:last], accepted, scale)]


def _starts(points: Sequence[Point], accepted: Sequence[datetime]) -> list[int]:
    times = set(accepted)
    return [i for i, point in enumerate(points) if point.at in times]


def _held(points: list[Point], starts: list[int], scale: Scale) -> list[int]:
    """The starts at which the level stayed; after the others it was the old one again."""
    held: list[int] = []
    for start in reversed(starts):
        end = held[0] if held else len(points)
        after = [p for i, p in enumerate(points[:end]) if i > start and i not in starts]
        if not _is_back(points[: start + 1], after, scale):
            held.insert(0, start)
    return held


def _is_back(points: list[Point], after: list[Point], scale: Scale) -> bool:
    """Whether what came after the last point is nearer to the level before it than to its own."""
    if len(points) < 2:
        return False
    series = _series(points[:-1][-WINDOW:], scale)
    if _is_busy(series):
        after = [point for point in after if point.value]  # a closed day tells of no level
    if not after:
        return False
    compared = [points[-1], *after[:SETTLING]]
    found = transform(np.array([point.value for point in compared]), scale)
    own, *others = (
        float(value) - _expected(series, point)
        for value, point in zip(found, compared, strict=True)
    )
    moved = middle(others)
    return abs(moved) < abs(moved - own)


def _moved(before: list[Point], after: list[Point], scale: Scale) -> list[Point]:
    """What came before, at the level of what came after.

    The new level is only as sure as its few observations: the spread is widened by that.
    """
    series = _series(before[-WINDOW:], scale)
    if is_busy := _is_busy(series):
        after = [point for point in after if point.value] or after
    found = transform(np.array([point.value for point in after]), scale)
    expected = [_expected(series, point) for point in after]
    level, shift = middle(expected), middle((found - np.array(expected)).tolist())
    gain, wider = _gains(level, shift, scale)
    wider *= math.sqrt(1 + 1 / len(after))
    values = transform(np.array([point.value for point in before]), scale)
    errors = np.zeros(len(before))
    errors[-len(series.values) :] = _errors(series, after[0])
    moved = (values - level) * gain + level + shift + (wider - 1) * gain * errors
    return [
        point if is_busy and point.value == 0 else replace(point, value=back(float(value), scale))
        for point, value in zip(before, moved, strict=True)
    ]


def _is_busy(series: _Series) -> bool:
    """Whether a day without any row is a closed one, and stays so at any level."""
    return series.scale == "count" and back(middle(series.values.tolist()), "count") > BUSY


def _gains(level: float, shift: float, scale: Scale) -> tuple[float, float]:
    """By what a new level multiplies values, and the spread of their errors besides.

    Values are multiplied where they grow, or shrink as by another unit; a share's spread, on its
    scale, grows somewhat with its level. So the spread is rather too wide than too narrow.
    """
    ratio = (level + shift) / level if level else 1.0
    if scale == "value":
        return (ratio if ratio > 1 or 0 < ratio < 0.5 else 1.0), 1.0
    return 1.0, (math.sqrt(min(max(ratio, 1.0), 4.0)) if scale == "share" else 1.0)


def _errors(series: _Series, point: Point) -> Vector:
    if len(series.values) <= FIRST + 1:
        return np.zeros(len(series.values))
    ahead, _ = _predicted(series, point.at.weekday())
    return np.where(ahead.usable, ahead.errors, 0.0)


def _expected(series: _Series, point: Point) -> float:
    """The level that is predicted for a point, however short the series."""
    if len(series.values) <= FIRST + 1:
        return middle(series.values.tolist())
    ahead, _ = _predicted(series, point.at.weekday())
    return float(ahead.levels[-1])
