"""Numbers that are times: how many units have passed since 1970."""

from __future__ import annotations

from warehouse.inference import words
from warehouse.sources import EPOCHS

# The beginnings of the years 1990 and 2100, in seconds since 1970.
FIRST, LAST = 631_152_000, 4_102_444_800
UNITS = {
    "epoch": "seconds",
    "epoch_ms": "milliseconds",
    "epoch_us": "microseconds",
    "epoch_ns": "nanoseconds",
}
DIGITS = 6  # of a second, that a TIMESTAMP holds


def epoch_format(name: str, low: float, high: float, *, decimals: int = 0) -> str | None:
    """The format under which a column of numbers from `low` to `high` surely is a time, if any.

    Its name must say so, and all values lie between 1990 and 2100 in one unit; `decimals` are the
    most digits behind a point.
    """
    if not words.is_epoch(name):
        return None
    for form, digits in EPOCHS.items():
        unit = 10**digits
        if FIRST * unit <= low and high < LAST * unit and decimals <= max(DIGITS - digits, 0):
            return form
    return None
