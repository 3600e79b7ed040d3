"""What is unlike before: the profile of a batch or a day against those of earlier ones.

Every number of a profile is judged against its own past; which of them are alarms is decided for
all together, so that the promised rate of false alarms is one of whole batches, not of numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from expectations.anomaly_words import (
    OF_FEW_ROWS,
    SHAPES_IN_WORDS,
    rows_in_words,
    scalar_in_words,
    shape_in_words,
    unfolded,
    without_amount,
)
from expectations.likely_causes import in_order
from expectations.past import (
    Judgement,
    Measure,
    Numbers,
    Point,
    Shape,
    alarms,
    judge_accepted,
    judge_shape,
    since_accepted,
)
from expectations.profiling import Name, Profile
from expectations.relating import HOLE_FLOORS, middle, related
from expectations.remembering import LEAST_EXPLAINED, LEAST_REMEMBERED, METRIC, tenth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# Of a batch that is as it should be: how often one is called unlike before, and refused for it.
WARNING_RATE = 0.05
ALARM_RATE = 0.01
# Of how many earlier ones a batch is compared with, the newest.
REMEMBERED = 60
Accepted = Mapping[Name, Sequence[datetime]]

# From which effect on an alarm is worth a warning, and from which it stops a batch. A certain but
# tiny shift is neither.
_SHARE_FLOORS = (0.003, 0.03)
_COUNT_FLOORS = (math.log(1.2), math.log(1.5))
_SHAPE_FLOORS = {"ks": (0.05, 0.12), "js": (0.1, 0.2), "psi": (0.1, 0.25)}
_VALUE_FLOORS = {  # in the measure's own unit; of amounts in natural logarithms
    "least": (0.7, 2.3),
    "greatest": (0.7, 2.3),
    "mean": (0.1, 0.25),
    "correlation": (0.1, 0.3),
    "span": (0.25, 0.75),
    "before": (2.0, math.inf),  # a late row is nothing wrong
    "after": (1.0, 2.0),
    "days_off_name": (0.2, 0.4),
    "age": (0.5, 1.0),
    "step": (0.5, math.inf),
    "clock": (0.5, 1.25),  # hours; where clocks are changed, it is by one
    "hole": HOLE_FLOORS,  # hours; of one alone trade may have rested, and a shorter one is nothing
    "rows_each": (0.15, 0.25),  # in natural logarithms
    "sum_each": (0.15, 0.25),
    "explained": (0.5, 0.8),  # parts of what is usual
    METRIC: (0.5, 0.8),  # likewise; more than usual is nothing
    "pace": (2.0, 10.0),  # in usual steps: days that come late or not at all are no alarm
}
# What is this many times as large as what stops need not be certain, only likely.
_HUGE = 2.0
# An extreme that moved by less than this part of the column's spread is nothing.
_OF_THE_SPREAD = 0.05
# What comes by hours is compared with other days' same hour, and not before there are so many.
FEWEST_DAYS = 8
# How the rate of false alarms is shared: the one number of rows would be drowned by all the others.
_SHARES = {
    "volume": 0.22,
    "nulls": 0.08,
    "shapes": 0.17,
    "pairs": 0.05,
    "clocks": 0.13,
    "holes": 0.05,
    "groups": 0.14,
    "codes": 0.08,
    "others": 0.08,
}
_FAMILIES = {
    "null_share": "nulls",
    "correlation": "pairs",
    "below_share": "pairs",
    "explained": "codes",
    METRIC: "codes",
    "clock": "clocks",
    "hole": "holes",
    "rows_each": "groups",
    "sum_each": "groups",
}
# What is less than this in more than one of ten cases is not clearly there.
_CLEARLY = {"explained": LEAST_EXPLAINED, METRIC: LEAST_REMEMBERED}
# Rows that the lake does not take show in these, and no reader will see them.
_HARMLESS = ("known_share", "quarantined_share")
# What is loaded over what stands already: a file may well change more than usual.
_CHANGED_FLOORS = (0.05, 0.3)
# A column that moves on with every batch, such as a time or a running number, has no level.
_MOVING = (
    *("values", "labels", "new_label_share"),
    *("least", "greatest", "mean", "middle", "correlation", "below_share"),
    METRIC,
)
_MOVES_FROM = 0.9


@dataclass(frozen=True)
class Anomaly:
    """A number that is unlike before; `stops` if that is certain and large enough to stop."""

    name: Name
    judgement: Judgement
    stops: bool
    told: str


def compare(
    past: Sequence[Profile],
    new: Profile,
    *,
    accepted: Accepted | None = None,
    wanted: Callable[[Name], bool] = lambda _: True,
    alarm_rate: float = ALARM_RATE,
    measure: Measure | None = None,
    least: float | None = None,
    is_guarded: bool = False,
) -> list[Anomaly]:
    """What of `new` is unlike `past`; empty while there is too little past.

    What stops comes first; then what others follow from, such as the number of rows; then the most
    certain.

    `accepted` are, by name, the times of profiles whose level was accepted: what was before is
    compared as if it had been at that level. `wanted` says which names to look at; `measure` is
    of distributions, by default `ks` for numbers and `js` for labels; `least` the effect from
    which on an alarm stops, where that is not as usual. With `is_guarded`, for tables with personal
    columns, no amount of a single row is told, and none at all where columns may be shifted, which
    several of other forms than before are: what stands in a column may be another's.
    """
    earlier = sorted(past, key=lambda profile: profile.at)[-REMEMBERED:]
    usual_rate = max(alarm_rate, WARNING_RATE)  # what is outside of the interval that is told
    series = _Series([*related(earlier), related([*earlier, new])[-1]])
    judgements: dict[Name, Judgement] = {}
    for name in series.names():
        if wanted(name):
            found = series.judged(name, (accepted or {}).get(name, ()), usual_rate, measure)
            if found is not None and found.enough:
                judgements[name] = found
    surely = _alarms(judgements, alarm_rate)
    likely = _alarms(judgements, usual_rate)
    anomalies = []
    may_be_shifted = is_guarded and len(_of_other_form(likely)) > 1
    for name in likely:
        floors = series.floors(name, measure) if least is None else (least, least)
        size = series.size(name, judgements[name])
        if size >= floors[0]:
            stops = size >= floors[1] and (name in surely or size >= _HUGE * floors[1])
            told = series.told(name, judgements[name], measure)
            if may_be_shifted or (is_guarded and name[1] in OF_FEW_ROWS):
                told = without_amount(name, judgements[name]) or told
            anomalies.append(Anomaly(name, judgements[name], stops, told))
    return sorted(anomalies, key=in_order)


def _of_other_form(names: Iterable[Name]) -> set[str]:
    """The columns whose values are spread or written unlike before."""
    return {column for column, metric in names if metric in SHAPES_IN_WORDS}


def _alarms(judgements: Mapping[Name, Judgement], alarm_rate: float) -> set[Name]:
    """The alarms of all families, each of which has its share of the rate."""
    families: dict[str, dict[Name, Judgement]] = {}
    for name, judgement in judgements.items():
        families.setdefault(_family(name), {})[name] = judgement
    whole = sum(_SHARES[family] for family in families)
    found: set[Name] = set()
    for family, members in families.items():
        found |= alarms(members, alarm_rate * _SHARES[family] / whole)
    return found


def _family(name: Name) -> str:
    if name == ("", "rows"):
        return "volume"
    if name[1] in SHAPES_IN_WORDS:
        return "shapes"
    return _FAMILIES.get(name[1], "others")


class _Series:
    """Every number of the profiles as a series; the last profile is the one that is judged."""

    def __init__(self, profiles: Sequence[Profile]) -> None:
        self._past = profiles[:-1]
        self._new = profiles[-1]
        middles = {
            column: _middles([p.shapes.get((column, "values")) for p in self._past])
            for column in {name[0] for name in self._new.shapes}
        }
        nulls = [
            (
                column,
                [
                    p.scalars[column, "null_share"].value
                    for p in self._past
                    if (column, "null_share") in p.scalars
                ],
            )
            for column, metric in self._new.scalars
            if metric == "null_share"
        ]
        self._unknown = {column for column, found in nulls if found and min(found) >= 1}
        self._summed = {c.split(" and ")[0] for c, m in self._new.scalars if m == "sum_each"}
        self._running = {column for column, found in middles.items() if _runs(found)}
        self._moving = self._running | {c for c, found in middles.items() if _climbs(found)}

    def names(self) -> Iterable[Name]:
        """What can be judged of the new profile."""
        yield ("", "rows")
        for name in (*self._new.scalars, *self._new.shapes):
            if name[0] in self._unknown:
                continue  # the column is new, whatever it was called
            parts = name[0].split(" and ")
            moves = self._moving.intersection((name[0], *parts))
            if name[1] in ("step", "pace") and name[0] not in self._running:
                continue
            if name[1] == "pace" and (name[0], "step") in self._new.scalars:
                continue  # a time, whose steps are days
            if name[1] in _CLEARLY and not self._is_clear(name):
                continue
            if name[1] == "rows_each" and name[0] in self._summed:
                continue  # what is summed up tells the same, and more surely
            if not (moves and name[1] in _MOVING):
                yield name

    def _is_clear(self, name: Name) -> bool:
        """Whether code and number had to do with each other in nine of ten cases."""
        found = [p.scalars[name].value for p in self._past if name in p.scalars]
        return tenth(found) >= _CLEARLY[name[1]]

    def judged(
        self,
        name: Name,
        accepted: Sequence[datetime],
        alarm_rate: float,
        measure: Measure | None,
    ) -> Judgement | None:
        """The judgement on one number or distribution."""
        if name == ("", "rows"):
            # Rows that come again do no harm: as many rows as usual, or as many new ones, will do.
            found = [self._volume(accepted, alarm_rate, of) for of in (_rows, _new_rows)]
            return max(found, key=lambda judgement: judgement.p)
        if name in self._new.scalars:
            scalar = self._new.scalars[name]
            points = [
                Point(p.at, p.scalars[name].value, p.scalars[name].rows)
                for p in self._past
                if name in p.scalars
            ]
            new = Point(self._new.at, scalar.value, scalar.rows)
            return judge_accepted(points, accepted, new, scalar.scale, alarm_rate=alarm_rate)
        shape = self._new.shapes[name]
        shapes = [(p.at, p.shapes[name]) for p in self._past if name in p.shapes]
        like = [(at, one) for at, one in shapes if type(one) is type(shape)]
        used = measure or default_measure(shape)
        known = since_accepted(like, accepted, used) if accepted else like
        return judge_shape(known, (self._new.at, shape), used, alarm_rate=alarm_rate)

    def _volume(
        self, accepted: Sequence[datetime], alarm_rate: float, rows: Callable[[Profile], int]
    ) -> Judgement:
        points = [Point(p.at, rows(p), rows(p)) for p in self._past]
        new = Point(self._new.at, rows(self._new), rows(self._new))
        return judge_accepted(points, accepted, new, "count", alarm_rate=alarm_rate)

    def floors(self, name: Name, measure: Measure | None) -> tuple[float, float]:
        """The effects from which on an alarm warns and stops."""
        if name == ("", "rows"):
            return _COUNT_FLOORS
        if name in self._new.shapes:
            return _SHAPE_FLOORS[measure or default_measure(self._new.shapes[name])]
        if name[1] == "changed_share":
            return _CHANGED_FLOORS
        if name[1] in _HARMLESS:
            return (0.05, math.inf)
        if self._new.scalars[name].scale == "share":
            return _SHARE_FLOORS
        return _VALUE_FLOORS.get(name[1], (math.inf, math.inf))

    def size(self, name: Name, judgement: Judgement) -> float:
        """How large the difference is, in the unit of the floors."""
        if name in self._new.shapes or judgement.expected is None:
            return judgement.value
        if name == ("", "rows"):
            small, large = sorted((max(judgement.value, 0.5), max(judgement.expected, 0.5)))
            return math.log(large / small)
        if name[1] in ("pace", "explained"):
            return abs(judgement.value / judgement.expected - 1) if judgement.expected else 0.0
        if name[1] == METRIC:
            usual = judgement.expected
            return max(0.0, 1 - judgement.value / usual) if usual > 0 else 0.0
        if name[1] == "hole":
            return max(0.0, judgement.value - judgement.expected)
        if name[1] in ("least", "greatest") and self._is_within_spread(name, judgement):
            return 0.0
        return abs(judgement.value - judgement.expected)

    def _is_within_spread(self, name: Name, judgement: Judgement) -> bool:
        """Whether an extreme moved by next to nothing, as the least id of a day does."""
        shape = self._new.shapes.get((name[0], "values"))
        if not isinstance(shape, Numbers) or judgement.expected is None:
            return False
        moved = abs(unfolded(judgement.value) - unfolded(judgement.expected))
        return moved < _OF_THE_SPREAD * (shape.quantiles[-2] - shape.quantiles[1])

    def told(self, name: Name, judgement: Judgement, measure: Measure | None) -> str:
        """The anomaly in words."""
        if name == ("", "rows"):
            return rows_in_words(self._new.rows, judgement)
        if name in self._new.shapes:
            used = measure or default_measure(self._new.shapes[name])
            return shape_in_words(name, judgement, used)
        return scalar_in_words(name, judgement, self._new.scalars[name].scale)


def _rows(profile: Profile) -> int:
    return profile.rows


def _new_rows(profile: Profile) -> int:
    """How many rows were not known already."""
    changed = profile.scalars.get(("", "changed_share"))
    if changed is not None:
        return round(profile.rows * changed.value)
    known = profile.scalars.get(("", "known_share"))
    return round(profile.rows * (1 - known.value)) if known else profile.rows


def default_measure(shape: Shape) -> Measure:
    """How distributions of this kind are compared unless told."""
    return "ks" if isinstance(shape, Numbers) else "js"


def comes_by_hours(past: Sequence[Profile]) -> bool:
    """Whether the profiles are of less than most of a day each."""
    times = sorted(profile.at for profile in past)
    gaps = sorted(later - earlier for earlier, later in itertools.pairwise(times))
    return bool(gaps) and timedelta(0) < gaps[len(gaps) // 2] < timedelta(hours=18)


def of_the_hour(past: Sequence[Profile], at: datetime) -> list[Profile]:
    """Of what comes by hours, that of about the same hour, if it is of some days already."""
    if not comes_by_hours(past):
        return list(past)
    near = [p for p in past if _hours_apart(p.at, at) <= 1]
    days = {p.at.date() for p in near}
    return near if len(days) >= FEWEST_DAYS else []


def _hours_apart(one: datetime, other: datetime) -> float:
    apart = abs((one.hour + one.minute / 60) - (other.hour + other.minute / 60))
    return min(apart, 24 - apart)


def shape_floors(measure: str) -> tuple[float, float]:
    """The divergences from which on an alarm warns and stops."""
    return _SHAPE_FLOORS[measure]


def _middles(shapes: Sequence[Shape | None]) -> list[float]:
    return [middle(shape) for shape in shapes if isinstance(shape, Numbers)]


def _runs(middles: Sequence[float]) -> bool:
    """Whether the middle goes on upwards from nearly every profile to the next."""
    steps = [b - a for a, b in itertools.pairwise(middles)]
    return len(steps) > 2 and sum(step > 0 for step in steps) >= _MOVES_FROM * len(steps)


def _climbs(middles: Sequence[float]) -> bool:
    """Whether the middle goes up now and then, as the number of a week does, and never down."""
    steps = [b - a for a, b in itertools.pairwise(middles)]
    return min(steps, default=0) >= 0 and sum(step > 0 for step in steps) > 2
