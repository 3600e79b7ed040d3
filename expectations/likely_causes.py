"""What of all that is unlike before is the likeliest cause, and is told first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from expectations.anomaly_kinds import family
from expectations.anomaly_words import SHAPES_IN_WORDS
from expectations.past import Numbers, divergence

if TYPE_CHECKING:
    from expectations.anomalies import Anomaly
    from expectations.past import Shape
    from expectations.profiling import Name, Profile

# What others follow from stands before them; of the rest, what says plainly what is wrong.
_FIRST = (
    ("rows",),
    ("null_share",),
    ("repeated_share", "days_off_name"),
    ("negative_share", "zero_share", "nan_share", "empty_share", "new_label_share"),
    ("mean", "clock"),
)
_LAST = ("extremes", "relations")
_SHOWN = 4  # columns
# Two distributions as near as this are of one column: Kolmogorov-Smirnov, Jensen-Shannon.
_NEAR = 0.1


def in_order(anomaly: Anomaly) -> tuple[bool, int, float, Name]:
    """The key by which anomalies are sorted, of whichever rules: what stops, then causes first."""
    return not anomaly.stops, _rank(anomaly.name), anomaly.judgement.p, anomaly.name


def _rank(name: Name) -> int:
    plain = next((n for n, metrics in enumerate(_FIRST) if name[1] in metrics), None)
    if plain is not None:
        return plain
    group = family(name)
    return len(_FIRST) + (1 + _LAST.index(group) if group in _LAST else 0)


def shifted(anomalies: Iterable[Anomaly], past: Sequence[Profile], new: Profile) -> str:
    """That columns may be shifted, in words, and by what that shows; empty if nothing shows it.

    It shows where several columns at once are of other forms than before, and surely where one has
    the values that another had.
    """
    unlike = sorted({a.name[0] for a in anomalies if a.stops and _is_of_form(a.name)})
    if len(unlike) < 2 or not past:
        return ""
    before = max(past, key=lambda profile: profile.at)
    likes = [
        f"{one} looks as {other} did"
        for one in unlike
        for other in unlike
        if other != one and _is_near(one, new, other, before)
    ]
    if likes:
        return f"columns may be shifted or swapped, for {' and '.join(likes[:_SHOWN])}"
    if len(unlike) < 3:
        return ""
    more = f" and {len(unlike) - _SHOWN} more" if len(unlike) > _SHOWN else ""
    return (
        f"columns may be shifted, for {len(unlike)} are of other forms than before:"
        f" {', '.join(unlike[:_SHOWN])}{more}"
    )


def _is_of_form(name: Name) -> bool:
    return bool(name[0]) and name[1] in SHAPES_IN_WORDS


def _is_near(one: str, new: Profile, other: str, before: Profile) -> bool:
    """Whether the column has now the values of the other, as far as both are kept."""
    facets = [facet for facet in SHAPES_IN_WORDS if _are_comparable(one, new, other, before, facet)]
    return bool(facets) and all(
        _apart(new.shapes[one, facet], before.shapes[other, facet]) < _NEAR for facet in facets
    )


def _are_comparable(one: str, new: Profile, other: str, before: Profile, facet: str) -> bool:
    now, then = new.shapes.get((one, facet)), before.shapes.get((other, facet))
    return now is not None and type(now) is type(then)


def _apart(now: Shape, then: Shape) -> float:
    return divergence(then, now, "ks" if isinstance(now, Numbers) else "js")
