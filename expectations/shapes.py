"""How far distributions are apart, and whether that is unusual."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from expectations.judgement import WINDOW, spared
from expectations.past import (
    MIN_PAST,
    SETTLING,
    Judgement,
    Labels,
    Measure,
    Numbers,
    Shape,
    is_known_weekday,
    unjudged,
)
from expectations.prediction import Vector, middle, predictive

HUGE = 4e307  # stands for an infinity: differences of two do not overflow
WEEKDAY_SEEN = 4  # so many earlier shapes of a weekday are a reference of their own
CLEARLY = 0.8
# A distance, the square root of PSI, or KS or JS, that is nothing however many the rows: PSI 0.01.
NOTHING: dict[Measure, float] = {"psi": 0.1, "ks": 0.04, "js": 0.042}
FLOOR = 0.2  # the least spread that is believed of a distance's cube root, as `_evened` takes it


def diverge(reference: Shape, new: Shape, measure: Measure) -> float:
    """`past.divergence`."""
    if isinstance(reference, Numbers) != isinstance(new, Numbers):
        raise TypeError("numbers and labels have no divergence")
    if _is_empty(reference) or _is_empty(new):
        return 0.0
    weights = np.array([1.0, 0.0])
    cells = _cells([reference, new], weights, measure)
    rows = np.array([reference.rows, new.rows], dtype=np.float64)
    return float(_divergence(cells[:1], cells[1:], rows.min(keepdims=True), measure)[0])


Dated = tuple[datetime, Shape]


def begin_anew(
    shapes: Sequence[Dated], accepted: Sequence[datetime], measure: Measure
) -> list[Dated]:
    """`past.since_accepted`."""
    known = sorted(shapes, key=lambda item: item[0])
    meant = set(accepted)
    for since in sorted(meant, reverse=True):
        before = [(at, one) for at, one in known if at < since]
        after = [one for at, one in known if at > since and at not in meant][:SETTLING]
        own = [one for at, one in known if at == since]
        if not own or len(after) < SETTLING or not _is_back(before, own[0], after, measure):
            return [(at, one) for at, one in known if at >= since]
        known = [(at, one) for at, one in known if at != since]
    return known


def _is_back(before: Sequence[Dated], own: Shape, after: Sequence[Shape], measure: Measure) -> bool:
    """Whether the shapes after an accepted one are nearer to the week before it than to it."""
    week = [one for _, one in before[-7:]]
    if not week:
        return False
    to_week = [middle([diverge(one, new, measure) for one in week]) for new in after]
    return middle(to_week) < middle([diverge(own, new, measure) for new in after])


def _is_empty(shape: Shape) -> bool:
    held = shape.quantiles if isinstance(shape, Numbers) else shape.counts
    return shape.rows <= 0 or not held


# --- shapes as shares of cells


def _cells(shapes: Sequence[Shape], weights: Vector, measure: Measure) -> Vector:
    """A row for each shape: its shares of common cells; for `ks`, its distribution function.

    The cells follow the shapes that have weight, the reference; a label that the reference does not
    list is one of the others.
    """
    numbers = [shape for shape in shapes if isinstance(shape, Numbers)]
    if not numbers:
        return _label_shares([s for s in shapes if isinstance(s, Labels)], weights)
    quantiles = np.nan_to_num(
        np.array([shape.quantiles for shape in numbers], dtype=np.float64),
        nan=HUGE,
        posinf=HUGE,
        neginf=-HUGE,
    )
    pool = np.sort(quantiles[weights > 0], axis=None)
    if measure == "ks":
        pool = _ranked(pool, 50)
        knots = np.unique(np.concatenate([pool, quantiles[-1]]))
        return np.concatenate(
            [_at(quantiles, knots, is_left=True), _at(quantiles, knots, is_left=False)], axis=1
        )
    return _bin_shares(quantiles, _ranked(pool, 10)[1:-1])


def _ranked(ordered: Vector, parts: int) -> Vector:
    """The quantiles 0, 1/parts … 1 of ordered values."""
    places = np.round(np.linspace(0, len(ordered) - 1, parts + 1)).astype(int)
    found: Vector = ordered[places]
    return found


def _bin_shares(quantiles: Vector, deciles: Vector) -> Vector:
    """The shares between deciles; one that is a decile twice is a bin of its own."""
    values, times = np.unique(deciles, return_counts=True)
    right = _at(quantiles, values, is_left=False)
    left = _at(quantiles, values, is_left=True)
    steps = [np.zeros(len(quantiles))]
    for i, count in enumerate(times):
        steps += [left[:, i], right[:, i]] if count > 1 else [right[:, i]]
    steps.append(np.ones(len(quantiles)))
    return np.maximum(np.diff(np.array(steps), axis=0).T, 0)


def _at(quantiles: Vector, values: Vector, *, is_left: bool) -> Vector:
    """Each row's distribution function at the values, or what it comes to just left of them."""
    side: Literal["left", "right"] = "left" if is_left else "right"
    places = np.array([row.searchsorted(values, side) for row in quantiles])
    last = quantiles.shape[1] - 1
    rows = np.arange(len(quantiles))[:, None]
    lower = quantiles[rows, np.clip(places - 1, 0, last)]
    upper = quantiles[rows, np.clip(places, 0, last)]
    part = (values - lower) / np.where(upper > lower, upper - lower, 1)
    inside = (places - 1 + np.clip(part, 0, 1)) / last
    found: Vector = np.where(places == 0, 0.0, np.where(places > last, 1.0, inside))
    return found


def _label_shares(shapes: list[Labels], weights: Vector) -> Vector:
    known: dict[str, int] = {"": 0}
    for shape, weight in zip(shapes, weights, strict=True):
        if weight > 0:
            for label in shape.counts:
                known.setdefault(label, len(known))
    shares = np.zeros((len(shapes), len(known)))
    for row, shape in enumerate(shapes):
        for label, count in shape.counts.items():
            shares[row, known.get(label, 0)] += count
    found: Vector = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1)
    return found


def _divergence(reference: Vector, new: Vector, rows: Vector, measure: Measure) -> Vector:
    """Row by row; `rows` is the smaller number of rows of the two."""
    if measure == "ks":
        return np.asarray(np.abs(reference - new).max(axis=1))
    if measure == "js":
        middle = (reference + new) / 2
        bits = _information(reference, middle) + _information(new, middle)
        return np.sqrt(np.clip(bits / 2, 0, 1))
    half = 0.5 / np.maximum(rows, 1)[:, None]
    total = 1 + half * reference.shape[1]
    left, right = (reference + half) / total, (new + half) / total
    return np.asarray(((right - left) * np.log(right / left)).sum(axis=1))


def _information(part: Vector, whole: Vector) -> Vector:
    ratio = np.where(part > 0, part, 1) / np.where(part > 0, whole, 1)
    return np.asarray((part * np.log2(ratio)).sum(axis=1))


# --- the judgement


@dataclass(frozen=True)
class _Distances:
    """How far each of n past shapes was from its reference, and the new one, the last of n + 1.

    `sizes` are distances (`NOTHING` says of what), `chance` what their square is by chance alone,
    `found` the divergences.
    """

    found: Vector
    sizes: Vector
    chance: Vector

    def newest(self, other: _Distances) -> _Distances:
        """These of the past, and the other's of the new one."""
        ends = zip(
            (self.found, self.sizes, self.chance),
            (other.found, other.sizes, other.chance),
            strict=True,
        )
        return _Distances(*(np.append(mine[:-1], theirs[-1]) for mine, theirs in ends))


def judge_distribution(
    past: Sequence[tuple[datetime, Shape]],
    new: tuple[datetime, Shape],
    measure: Measure,
    alarm_rate: float,
) -> Judgement:
    """`past.judge_shape`."""
    at, shape = new
    known = [(t, s) for t, s in past if type(s) is type(shape) and not _is_empty(s)]
    known = sorted(known, key=lambda pair: pair[0])[-WINDOW:]
    days = [t for t, _ in known]
    if _is_empty(shape) or len(known) < MIN_PAST or not is_known_weekday(days, at):
        return unjudged(0.0)
    shapes = [*(s for _, s in known), shape]
    rows = np.array([s.rows for s in shapes], dtype=np.float64)
    cells = _both(shapes, measure)
    weekdays = np.array([t.weekday() for t in [*days, at]])
    everyone = np.zeros(len(shapes), dtype=np.int64)
    all_of_them = _distances(cells, rows, everyone, measure)
    own = _distances(cells, rows, weekdays, measure)
    seen = int((weekdays[:-1] == weekdays[-1]).sum())
    if seen >= WEEKDAY_SEEN and _is_nearer(own, all_of_them):
        return _judged(own, measure, alarm_rate, uses_weekday=True)
    judged = _judged(all_of_them, measure, alarm_rate, uses_weekday=False)
    if not 0 < seen <= WEEKDAY_SEEN:
        return judged
    # It is open whether the weekday has a shape of its own: one like it is not unusual.
    doubted = _judged(all_of_them.newest(own), measure, alarm_rate, uses_weekday=False)
    return judged if judged.p >= doubted.p else doubted


def _both(shapes: list[Shape], measure: Measure) -> Vector:
    weights = np.ones(len(shapes))
    weights[-1] = 0
    cells = _cells(shapes, weights, measure)
    return cells if measure == "ks" else cells[:, cells.sum(axis=0) > 0]


def _distances(
    cells: Vector, rows: Vector, groups: NDArray[np.int64], measure: Measure
) -> _Distances:
    """From each shape to all past ones of its group, itself left out; NaN if there are none."""
    weights = np.minimum(rows, np.median(rows[:-1]))
    weights[-1] = 0
    weighted = weights[:, None] * cells
    reference, pooled = np.empty_like(cells), np.empty(len(rows))
    for group in set(groups.tolist()):
        alike = groups == group
        total = weights[alike].sum() - weights[alike]
        pooled[alike] = np.where(total > 0, total, np.nan)
        rest = np.maximum(weighted[alike].sum(axis=0) - weighted[alike], 0)
        reference[alike] = rest / pooled[alike][:, None]
    found = _divergence(reference, cells, np.fmin(rows, pooled), measure)
    free = max(cells.shape[1] - 1, 1)
    chance = 1 / rows + 1 / pooled
    # What to expect of pure chance: a chi-square's mean for PSI; JS² is PSI / (8 ln 2) nearly; and
    # the mean square of Kolmogorov's distribution, pi²/12.
    unit = {"psi": free, "js": free / (8 * np.log(2)), "ks": np.pi**2 / 12}[measure]
    sizes = np.sqrt(np.maximum(found, 0)) if measure == "psi" else found
    return _Distances(found, sizes, chance * unit)


def _is_nearer(own: _Distances, everyone: _Distances) -> bool:
    """Whether shapes are clearly nearer to their weekday's than to all."""
    near, far = own.sizes[:-1], everyone.sizes[:-1]
    both = np.isfinite(near)
    cap = 8 * float(np.median(far[both]))
    near, far = np.minimum(near[both], cap), np.minimum(far[both], cap)
    return float(near.sum()) < CLEARLY * float(far.sum())


def _judged(
    distances: _Distances, measure: Measure, alarm_rate: float, *, uses_weekday: bool
) -> Judgement:
    """Squares in units of what is usual, their cube roots (nearly normal) predicted.

    The cube root of a chi-square is: Wilson and Hilferty (PNAS 17, 1931).
    """
    squares = distances.sizes**2
    past = np.isfinite(squares[:-1])
    beyond = float(np.median((squares - distances.chance)[:-1][past]))
    unit = distances.chance + max(beyond, NOTHING[measure] ** 2)
    evened = np.cbrt(squares / unit)
    before = evened[:-1][past]
    level, n = float(np.median(before)), len(before)
    ones = np.full(n, 1 + 1 / n)
    spread = predictive((before - level), np.zeros(n), ones, FLOOR)
    error = float(evened[-1]) - level
    as_large = float((before - level >= error).sum() - spared(n)) / (n + 1)
    p = max(spread.p(error, 0.0, 1 + 1 / n) / 2, as_large) if error > 0 else 1.0
    reach = spread.reach(min(2 * alarm_rate, 0.999), 0.0, 1 + 1 / n)
    enough = int(np.ceil(alarm_rate * (n + 1))) + spared(n)
    if enough <= n:
        reach = max(reach, float(np.sort(before)[-enough]) - level)
    value = float(distances.found[-1])
    return Judgement(
        enough=True,
        value=value,
        expected=_divergence_at(level, float(unit[-1]), measure),
        low=0.0,
        high=_divergence_at(level + reach, float(unit[-1]), measure),
        p=p,
        effect=value,
        uses_weekday=uses_weekday,
    )


def _divergence_at(evened: float, unit: float, measure: Measure) -> float:
    """The divergence that `evened` stands for."""
    square = max(evened, 0.0) ** 3 * unit
    return square if measure == "psi" else min(float(np.sqrt(square)), 1.0)
