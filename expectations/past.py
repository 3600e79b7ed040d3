"""Compared with its own past: is a new observation what the earlier ones lead to expect?

Pure functions without input or output. What the statistics promise, and why, is in docs/history.md.
This module is cheap to import; NumPy and SciPy come with the first judgement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeVar

Key = TypeVar("Key")
Scale = Literal["count", "share", "value"]
Measure = Literal["psi", "ks", "js"]

MIN_PAST = 8  # so that a daily series has seen each weekday
SETTLED_DAYS = 14  # a weekday that was not seen for so long is an odd one, and not just a first one
SETTLING = 3  # observations after an accepted one that say whether it was an odd day or a new level


@dataclass(frozen=True)
class Point:
    """One observation of a series: of a batch, a day or a run.

    `at` is in UTC, and its weekday counts. `rows` is what a share was computed over; 0 if unknown.
    A share is from 0 to 1, a count is not negative.
    """

    at: datetime
    value: float
    rows: int = 0


@dataclass(frozen=True)
class Numbers:
    """The distribution of a numeric column: its quantiles at 0, 0.02 … 1 (51 values), ascending.

    Infinities are values like others, and NaN is the largest, as DuckDB sorts it.
    """

    quantiles: tuple[float, ...]
    rows: int


@dataclass(frozen=True)
class Labels:
    """The distribution of a column of labels: rows of the commonest, and of all others under ""."""

    counts: Mapping[str, int]
    rows: int


Shape = Numbers | Labels


@dataclass(frozen=True)
class Judgement:
    """How usual an observation is.

    `enough` is False if the past is too short (or the value is NaN): nothing is claimed then, `p`
    is 1 and `expected`, `low` and `high` are None. Otherwise a clean observation lies from `low` to
    `high` with probability 1 - alarm_rate or more, and its `p` is at most x with probability x or
    less. `effect` is, for counts, the ratio value / expected; for shares, the difference in
    percentage points; for values, the distance in robust standard deviations of a prediction; for
    shapes, the divergence itself. `uses_weekday` tells that the weekday's own level was used.
    """

    enough: bool
    value: float
    expected: float | None
    low: float | None
    high: float | None
    p: float
    effect: float
    uses_weekday: bool


def judge(past: Sequence[Point], new: Point, scale: Scale, *, alarm_rate: float) -> Judgement:
    """Hold a new observation against the earlier ones of its series, the newest 60 of them."""
    from expectations.judgement import judge_point

    return judge_point(past, new, scale, alarm_rate)


def judge_accepted(
    past: Sequence[Point],
    accepted: Sequence[datetime],
    new: Point,
    scale: Scale,
    *,
    alarm_rate: float,
) -> Judgement:
    """The same where the level of what came at the times `accepted` was meant so.

    Until three observations came after one of them, nobody knows whether it was one odd day or a
    new level: the new one may be at either, and the judgement is of the one that is nearer.
    """
    from expectations.judgement import judge_either

    return judge_either(past, accepted, new, scale, alarm_rate)


def relearn(past: Sequence[Point], accepted: Sequence[datetime], scale: Scale) -> list[Point]:
    """The past in order, as if its level had always been that of the last accepted observation.

    What lies before an accepted observation is moved on the transformed scale, by the difference
    between what came then (the median of up to a week) and what was expected. The spread that was
    learnt stays, so that no days are blind. Acceptances without an observation are passed over,
    and so are those after which (by the median of the next three) the level was the old one again.
    """
    from expectations.judgement import move_levels

    return move_levels(past, accepted, scale)


def divergence(reference: Shape, new: Shape, measure: Measure) -> float:
    """How far two distributions are apart; 0.0 if one has no rows.

    - `psi`, the population stability index: sum of (new - reference) * ln(new / reference) over the
      bins between the reference's deciles (a value that takes more than one of them has a bin of
      its own), or over labels. Each bin is given half a row of the smaller side, so that an empty
      bin costs much and not infinitely much. From 0 up.
    - `ks`, the greatest difference between the two distribution functions, from 0 to 1. Labels have
      no order; for them it is the greatest over all orders, which is the total variation distance.
    - `js`, the Jensen-Shannon distance to the base of 2 over the bins of `psi`, from 0 to 1.

    Raises:
        TypeError: one is of numbers and the other of labels.
    """
    from expectations.shapes import diverge

    return diverge(reference, new, measure)


def judge_shape(
    past: Sequence[tuple[datetime, Shape]],
    new: tuple[datetime, Shape],
    measure: Measure,
    *,
    alarm_rate: float,
) -> Judgement:
    """Hold a new distribution against all the earlier ones together, or those of its weekday.

    How far each earlier one was from the rest says what is usual. Only too far is unusual, so `low`
    is 0. Shapes without rows, and of the other kind than the new one, are passed over.
    """
    from expectations.shapes import judge_distribution

    return judge_distribution(past, new, measure, alarm_rate)


def since_accepted(
    shapes: Sequence[tuple[datetime, Shape]], accepted: Sequence[datetime], measure: Measure
) -> list[tuple[datetime, Shape]]:
    """The distributions, all of one kind, from the last accepted one on that was no odd day.

    A distribution has no level that could be moved: it begins anew. An accepted one was an odd day
    if the next three are, by the median, nearer to the week before it.
    """
    from expectations.shapes import begin_anew

    return begin_anew(shapes, accepted, measure)


def alarms(judgements: Mapping[Key, Judgement], alarm_rate: float) -> set[Key]:
    """Those that alarm, so that a run without any fault has an alarm with at most this probability.

    Holm's step-down procedure (Scandinavian Journal of Statistics 6, 1979) holds however the
    judgements depend on each other. Those without enough past do not count.
    """
    judged = [key for key, judgement in judgements.items() if judgement.enough]
    alarming: set[Key] = set()
    for place, key in enumerate(sorted(judged, key=lambda key: judgements[key].p)):
        if judgements[key].p > alarm_rate / (len(judged) - place):
            break
        alarming.add(key)
    return alarming


def unjudged(value: float, effect: float = 0.0) -> Judgement:
    """No claim."""
    return Judgement(False, value, None, None, None, 1.0, effect, False)


def is_known_weekday(past: Sequence[datetime], new: datetime) -> bool:
    """Whether a missing weekday says something: it was seen before, or had the time to be."""
    if any(at.weekday() == new.weekday() for at in past):
        return True
    return (max(past) - min(past)).days >= SETTLED_DAYS
