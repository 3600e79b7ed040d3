"""What can be said of a profile only beside those before it, and of times as a whole."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from expectations.past import Labels, Numbers
from expectations.profiling import Name, Profile, Scalar
from expectations.remembering import METRIC

# From how many hours more without rows on a batch is told, and stopped.
HOLE_FLOORS = (0.4, 1.5)
# Times in steps of so many hours, such as dates, have no hole: one step more would stop a batch.
_COARSE = HOLE_FLOORS[1]
# Nor have times that are spread over more days, such as appointments: rows are days apart there.
_WIDE = 31


def related(profiles: Sequence[Profile]) -> list[Profile]:
    """The profiles with what can be said of each only beside those before it."""
    done: list[Profile] = []
    known: dict[Name, set[str]] = {}
    clocks: dict[Name, float] = {}
    for profile in profiles:
        before = done[-1] if done else None
        known_of = {n: s for n, s in profile.scalars.items() if s.rows or n[1] != METRIC}
        scalars = {**known_of, **_moved(profile, before), **_unwound(profile, clocks)}
        clocks |= {name: s.value for name, s in scalars.items() if name[1] == "clock"}
        for name, shape in profile.shapes.items():
            is_time = isinstance(shape, Numbers) and (name[0], "middle") in scalars
            if isinstance(shape, Numbers) and is_time and _shows_hours(shape):
                scalars[name[0], "hole"] = Scalar(_hole(shape), "value", shape.rows)
            if isinstance(shape, Labels) and name[1] == "labels":
                seen = known.setdefault(name, set())
                new = sum(n for label, n in shape.counts.items() if label and label not in seen)
                if before is not None and shape.rows:
                    share = Scalar(new / shape.rows, "share", shape.rows)
                    scalars[name[0], "new_label_share"] = share
                seen.update(shape.counts)
        done.append(replace(profile, scalars=scalars))
    return done


def _moved(profile: Profile, before: Profile | None) -> dict[Name, Scalar]:
    """How far times and numbers went on since the profile before."""
    found: dict[Name, Scalar] = {}
    if before is None:
        return found
    for (column, metric), scalar in profile.scalars.items():
        last = before.scalars.get((column, metric))
        if metric == "middle" and last is not None:
            found[column, "step"] = replace(scalar, value=scalar.value - last.value)
    for (column, facet), shape in profile.shapes.items():
        last_shape = before.shapes.get((column, facet))
        if facet == "values" and isinstance(shape, Numbers) and isinstance(last_shape, Numbers):
            pace = middle(shape) - middle(last_shape)
            found[column, "pace"] = Scalar(pace, "value", shape.rows)
    return found


def _unwound(profile: Profile, last: Mapping[Name, float]) -> dict[Name, Scalar]:
    """The mean hours, each beside the last: from 23:30 to 0:30 it is an hour.

    A day whose rows are spread evenly round the clock has none, and is passed over.
    """
    return {
        name: replace(scalar, value=last[name] + (scalar.value - last[name] + 12) % 24 - 12)
        for name, scalar in profile.scalars.items()
        if name[1] == "clock" and name in last
    }


def _hole(shape: Numbers) -> float:
    """The longest stretch, in hours, that has next to no rows, but for both ends: of days."""
    return 24 * max(later - earlier for earlier, later in itertools.pairwise(_inner(shape)))


def _inner(shape: Numbers) -> tuple[float, ...]:
    tenth_part = len(shape.quantiles) // 10
    return shape.quantiles[tenth_part:-tenth_part]


def _shows_hours(shape: Numbers) -> bool:
    """Whether the times, in days, are so fine and so near one another that hours without rows show.

    They are too coarse where all are multiples of a long step, counted from the first: 24 hours of
    dates, or of days at a fixed hour.
    """
    inner = _inner(shape)
    step = math.gcd(*(round(86_400 * (value - shape.quantiles[0])) for value in shape.quantiles))
    return step < 3_600 * _COARSE and inner[-1] - inner[0] <= _WIDE


def middle(shape: Numbers) -> float:
    """The median."""
    return shape.quantiles[len(shape.quantiles) // 2]
