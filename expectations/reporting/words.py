"""Numbers, shares and times as people read them."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from expectations.rules import LEARNED, ROW_LEVEL

if TYPE_CHECKING:
    from expectations.gate import RuleResult
    from expectations.rules import Rule

RELEASE_ID = "%Y%m%dT%H%M%S%f"
_UNITS = (
    *((365 * 86_400, "year"), (7 * 86_400, "week"), (86_400, "day")),
    *((3600, "hour"), (60, "minute"), (1, "second")),
)
DIGITS = 6  # of a figure that was computed
EVERY_DIGIT = 17  # so many tell any float exactly
# From these many of a smaller unit on, the next larger one says enough.
_ENOUGH = 2
_EXAMPLES = re.compile(r", e\.g\. .*?(?= \(and [\d,]+ more\)|\n  next: |\Z)", re.DOTALL)
_EXCERPT = re.compile(r"(; the first is row [\d,]+): .*?(?=\n  next: |\Z)", re.DOTALL)


def number(value: float) -> str:
    """A number with as many digits as tell something, such as `1,234`, `12.35` and `0.02104`."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) < 1 else f"{value:,.2f}"


def rounded(value: object, *others: object) -> object:
    """The value, if it is a float, to six digits or, if it is a large one, to the unit.

    More digits are kept where it would not be as much more or less than the others any more.
    """
    if not isinstance(value, float) or not math.isfinite(value):
        return value
    numbers = [float(other) for other in others if isinstance(other, int | float | Decimal)]
    for digits in range(max(DIGITS, len(f"{abs(value):.0f}")), EVERY_DIGIT):
        short = float(f"{value:.{digits}g}")
        if all(_sign(short, other) == _sign(value, other) for other in numbers):
            return short
    return value


def _sign(one: float, other: float) -> int:
    return (one > other) - (one < other)


def share(value: float) -> str:
    """A share as a percentage that is 0% and 100% only when it is, such as `12.3%`."""
    if value in (0, 1):
        return f"{value:.0%}"
    if value < 0.001:
        return "<0.1%"
    return ">99.9%" if value > 0.999 else f"{value:.1%}"


def counted_in(judged: Rule | RuleResult) -> str:
    """What a rule, or its result, counts: `row` or `file`; empty for one on a table as a whole."""
    if judged.check in LEARNED:
        return "file" if judged.boundary == "raw" else ""
    return "row" if judged.check in ROW_LEVEL | {"references"} else ""


def change(now: int, before: int) -> str:
    """How many rows more or fewer, such as `+1,200 (+3.4%)`; empty for as many."""
    if now == before:
        return ""
    return f"{now - before:+,}{relative(now, before)}".replace("-", "−")


def relative(now: int, before: int) -> str:
    """The change in percent or, from ten times on, as a multiple, in brackets."""
    if not before:
        return ""
    if abs(now - before) < before / 2000:
        return ""
    told = f"×{now / before:,.0f}" if now >= 10 * before else f"{(now - before) / before:+.1%}"
    return f" ({told})".replace("-", "−")


def p_value(p: float) -> str:
    """A p-value as `p = 0.031`, never smaller than can be believed."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def utc(moment: datetime) -> datetime:
    """The moment in UTC; one without an offset is in UTC already, as the lake keeps times."""
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def clock(moment: datetime | date) -> str:
    """A moment to the minute, in UTC, or a day."""
    if isinstance(moment, datetime):
        return f"{utc(moment):%Y-%m-%d %H:%M} UTC"
    return moment.isoformat()


def made_at(release: str) -> datetime | None:
    """When a release was made, by its id; None where that tells no time."""
    try:
        return datetime.strptime(release, RELEASE_ID).replace(tzinfo=UTC)
    except ValueError:
        return None


def moment_of(release: str) -> str:
    """When a release was made, by its id, as `21 November 2026, 06:15 UTC`; else the id itself."""
    made = made_at(release)
    if made is None:
        return release
    return f"{made.day} {made:%B %Y, %H:%M} UTC"


def away(moment: datetime | date, run_at: datetime, run_end: datetime | None = None) -> str:
    """How far a moment or a day is from the run: `3 hours before this run`, or `in this run`."""
    if not isinstance(moment, datetime):
        days = (utc(run_at).date() - moment).days
        return _apart(timedelta(days=days), least=86_400) if days else "the day of this run"
    if utc(run_at) <= utc(moment) <= utc(run_end or run_at):
        return "in this run"
    return _apart(utc(run_at) - utc(moment), least=1)


def since(moment: datetime, run_at: datetime) -> str:
    """For how long something has been, at the run, such as `3 days`."""
    return _span(abs(utc(run_at) - utc(moment)), least=1)


def _apart(distance: timedelta, *, least: int) -> str:
    side = "before" if distance >= timedelta(0) else "after"
    return f"{_span(abs(distance), least=least)} {side} this run"


def _span(distance: timedelta, *, least: int) -> str:
    """A length of time in one unit, the largest of which there are at least two."""
    seconds = distance.total_seconds()
    units = [unit for unit in _UNITS if unit[0] >= least]
    size, name = next((unit for unit in units if seconds >= _ENOUGH * unit[0]), units[-1])
    count = int(seconds // size)
    return f"{count:,} {name}{'s' * (count != 1)}"


def without_rows(text: str) -> str:
    """A message without what it quotes of rows: of a refused batch's, or of a broken rule's."""
    return _EXAMPLES.sub("", _EXCERPT.sub(r"\1", text))
