"""Trends as small pictures: SVG in the page, drawn here, with nothing left to do for a browser."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from expectations.reporting.words import number, share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from expectations.trends import Trend, TrendPoint

SHOWN_POINTS = 24
WIDTH, HEIGHT = 320, 80  # of the picture's own coordinates; the page shows it at half of it
_EDGE = 6
# A band is drawn at most this many times as high as the values are apart.
_TALLEST_BAND = 4.0


def value_text(metric: str, value: float) -> str:
    """A metric's value: shares as percentages."""
    return share(value) if "share" in metric and 0 <= value <= 1 else number(value)


def sentence(trend: Trend) -> str:
    """The newest value and what was expected, in words."""
    newest = trend.points[-1]
    told = value_text(trend.metric, newest.value)
    if newest.low is None or newest.high is None:
        return f"{told}; too little past to expect anything"
    low, high = value_text(trend.metric, newest.low), value_text(trend.metric, newest.high)
    return f"{told}, expected {low} to {high}"


def sparkline(trend: Trend) -> str:
    """SVG of the newest points: the expected band, the values, alarms and the newest one marked.

    Empty for a single point. The coordinates are whole numbers, which keeps a page with hundreds of
    them small.
    """
    points = [p for p in trend.points[-SHOWN_POINTS:] if math.isfinite(p.value)]
    if len(points) < 2:
        return ""  # nothing to see yet
    low, high = _range(points)
    places = [(_x(n, len(points)), _y(p.value, low, high)) for n, p in enumerate(points)]
    dots = [
        f'<circle class="{"alarm" if p.is_alarm else "newest"}" cx="{x}" cy="{y}" r="7"/>'
        for p, (x, y) in zip(points, places, strict=True)
        if p.is_alarm or p is points[-1]
    ]
    return (
        f'<svg class="spark" viewBox="0 0 {WIDTH} {HEIGHT}" width="160" height="40"'
        f' aria-hidden="true">{_band(points, low, high)}'
        f'<path class="line" d="{_path(places)}"/>{"".join(dots)}</svg>'
    )


def _range(points: Sequence[TrendPoint]) -> tuple[float, float]:
    """The least and greatest value to draw: those of the points, and as much band as fits."""
    values = [point.value for point in points]
    least, most = min(values), max(values)
    room = (most - least) * _TALLEST_BAND or abs(most) or 1.0
    for point in points:
        if _has_band(point):
            assert point.low is not None
            assert point.high is not None
            least = min(least, max(point.low, min(values) - room))
            most = max(most, min(point.high, max(values) + room))
    return (least, most) if most > least else (least - 1, most + 1)


def _has_band(point: TrendPoint) -> bool:
    ends = (point.low, point.high)
    return all(end is not None and math.isfinite(end) for end in ends)


def _x(n: int, count: int) -> int:
    return round(_EDGE + n * (WIDTH - 2 * _EDGE) / (count - 1))


def _y(value: float, low: float, high: float) -> int:
    kept = min(max(value, low), high)
    return round(HEIGHT - _EDGE - (kept - low) / (high - low) * (HEIGHT - 2 * _EDGE))


def _band(points: Sequence[TrendPoint], low: float, high: float) -> str:
    """The expected band, a shape for each stretch of points that have one."""
    stretches: list[list[tuple[int, int, int]]] = [[]]
    for n, point in enumerate(points):
        if not _has_band(point):
            stretches.append([])
            continue
        assert point.low is not None
        assert point.high is not None
        top, bottom = _y(point.high, low, high), _y(point.low, low, high)
        stretches[-1].append((_x(n, len(points)), top, bottom))
    shapes = [_shape(stretch) for stretch in stretches if stretch]
    return f'<path class="band" d="{"".join(shapes)}"/>' if shapes else ""


def _shape(stretch: list[tuple[int, int, int]]) -> str:
    if len(stretch) == 1:
        (x, top, bottom), wide = stretch[0], 5
        stretch = [(x - wide, top, bottom), (x + wide, top, bottom)]
    upper = [(x, top) for x, top, _ in stretch]
    lower = [(x, bottom) for x, _, bottom in reversed(stretch)]
    return _path([*upper, *lower]) + "z"


def _path(places: Sequence[tuple[int, int]]) -> str:
    """Moves from place to place, each relative to the one before: short."""
    first, *more = places
    steps, before = [], first
    for place in more:
        steps.append(f"{place[0] - before[0]} {place[1] - before[1]}")
        before = place
    return f"M{first[0]} {first[1]}l{' '.join(steps)}".replace(" -", "-")
