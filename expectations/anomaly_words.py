"""What is unlike before, in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from warehouse.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    from expectations.past import Judgement, Measure, Scale
    from expectations.profiling import Name


def rows_in_words(rows: int, judgement: Judgement) -> str:
    """How many rows there are, and usually are."""
    usual = _span(judgement, lambda value: f"{round(value):,}")
    return f"{counted(rows, 'row')}, usually {usual}"


def shape_in_words(name: Name, judgement: Judgement, measure: Measure) -> str:
    """How unlike before a distribution is."""
    what = SHAPES_IN_WORDS[name[1]].format(column=name[0])
    return (
        f"{what} ({_MEASURES[measure]} {judgement.value:.2f},"
        f" usually below {judgement.high or 0:.2f})"
    )


def scalar_in_words(name: Name, judgement: Judgement, scale: Scale) -> str:
    """What a number is, and usually is."""
    write = share_in_words if scale == "share" else _WRITTEN.get(name[1], _plain)
    return f"{_what(name)} {write(judgement.value)}, usually {_span(judgement, write)}"


def without_amount(name: Name, judgement: Judgement) -> str:
    """On which side of what is usual an amount is, not what it is; empty for what is no amount."""
    if _WRITTEN.get(name[1]) is not _amount or judgement.expected is None:
        return ""
    side = "above" if judgement.value > judgement.expected else "below"
    return f"{_what(name)} {side} what is usual, {_span(judgement, _amount)}"


def _what(name: Name) -> str:
    column, metric = name
    one, _, other = column.partition(" and ")
    return _IN_WORDS.get(metric, "{column}: {metric}").format(
        column=column, metric=metric, one=one, other=other
    )


_MEASURES = {"ks": "KS", "js": "Jensen–Shannon", "psi": "PSI"}
SHAPES_IN_WORDS = {
    "values": "{column}: its values are spread unlike before",
    "labels": "{column}: its labels come in other shares than before",
    "pattern": "{column}: its texts are of other forms than before",
    "length": "{column}: its texts are of other lengths than before",
    "hour": "{column}: its hours are unlike before",
    "digits": "{column}: its numbers are of other lengths than before",
}
_IN_WORDS = {
    "null_share": "{column}: null in",
    "distinct_share": "{column}: different values for",
    "new_label_share": "{column}: labels never seen before in",
    "negative_share": "{column}: below zero in",
    "zero_share": "{column}: zero in",
    "even_share": "{column}: even in its last digit in",
    "fifth_share": "{column}: 0 or 5 in its last digit in",
    "whole_share": "{column}: whole numbers in",
    "nan_share": "{column}: not a number in",
    "true_share": "{column}: true in",
    "empty_share": "{column}: empty in",
    "padded_share": "{column}: blanks at an end in",
    "foreign_share": "{column}: letters beyond ASCII in",
    "digits_share": "{column}: digits in",
    "repeated_share": "rows like others but for {column}:",
    "rows_each": "{column}: rows of each, typically,",
    "sum_each": "{other}: summed up by {one} it is, typically,",
    "explained": "{other}: of its variance {one} explains",
    "remembered": "{other}: like the earlier ones of its {one} only by",
    "clock": "{column}: the mean hour of the day is",
    "hole": "{column}: the most hours nearly without rows are",
    "midnight_share": "{column}: midnight sharp in",
    "below_share": "{column}: the first below the second in",
    "least": "{column}: the least is",
    "greatest": "{column}: the greatest is",
    "mean": "{column}: the mean is",
    "correlation": "{column}: their correlation is",
    "span": "{column}: its days are",
    "before": "{column}: days from the earliest to the middle are",
    "after": "{column}: days from the middle to the latest are",
    "step": "{column}: days since the one before are",
    "pace": "{column}: since the one before it went on by",
    "days_off_name": "{column}: days between it and the date in the file's name are",
    "changed_share": "rows that are new or changed:",
    "known_share": "rows that were known already:",
    "quarantined_share": "rows for the quarantine:",
}


# Amounts of single rows, or of the few of one code.
OF_FEW_ROWS = ("least", "greatest", "sum_each")


def _plain(value: float) -> str:
    return f"{value:,.2f}"


def _amount(value: float) -> str:
    return f"{unfolded(value):,.4g}"


def unfolded(value: float) -> float:
    """The amount whose inverse hyperbolic sine this is."""
    return math.sinh(value) if abs(value) < 700 else value


def share_in_words(value: float) -> str:
    """A share as percent."""
    percent = 100 * min(max(value, 0.0), 1.0)
    digits = 0 if percent in (0, 100) else 1 if 1 <= percent <= 99 else 2
    return f"{percent:.{digits}f} %"


def _hour(value: float) -> str:
    minutes = round(60 * value) % (24 * 60)
    return f"{minutes // 60:02}:{minutes % 60:02}"


_WRITTEN = {
    **dict.fromkeys(("least", "greatest", "mean", "sum_each"), _amount),
    "rows_each": lambda value: f"{math.exp(min(value, 700)):,.2f}",
    "explained": share_in_words,
    "clock": _hour,
}


def _span(judgement: Judgement, write: Callable[[float], str]) -> str:
    low, high = judgement.low, judgement.high
    if low is None or high is None:
        return "unknown"
    one, other = write(low), write(high)
    return one if one == other else f"{one} to {other}"
