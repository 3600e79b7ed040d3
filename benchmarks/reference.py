"""The behaviour features once more, in NumPy and by another method, to check the models with.

A window is two places in the entity's sorted history; its count and sum are differences of
positions and of running totals. Whole cents and whole counts throughout: nothing is rounded
before the last division.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Features = dict[str, NDArray[np.generic]]

WINDOW_DAYS = (1, 7, 30)
LABEL_DELAY_DAYS = 7
DAY = 24 * 60 * 60 * 1_000_000
# 1970-01-01 was a Thursday; Monday is 0.
EPOCH_WEEKDAY = 3
SATURDAY, LAST_NIGHT_HOUR = 5, 6


@dataclass(frozen=True)
class _History:
    """Rows sorted by entity, time and id, with one key to search by.

    `order` are the rows in that order, `moment` their times from the earliest on, `base` what
    the key adds for the row's entity.
    """

    order: Integers
    moment: Integers
    base: Integers

    @classmethod
    def of(cls, entity: Integers, at: Integers, row_id: Integers) -> _History:
        _, code = np.unique(entity, return_inverse=True)
        order = np.lexsort((row_id, at, code))
        moment = at - at.min()
        # Two more than the latest, so that "before all" of one entity is no time of another's.
        base = code.astype(np.int64) * (int(moment.max()) + 3) + 1
        return cls(order, moment[order], base[order])

    def rows_until(self, earlier: int) -> Integers:
        """How many sorted rows are before, or of the entity and not after, `moment - earlier`."""
        key = self.base + self.moment
        return np.searchsorted(key, self.base + np.maximum(self.moment - earlier, -1), "right")

    def unsorted(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Values of sorted rows, in the order of the rows as they came."""
        back = np.empty_like(values)
        back[self.order] = values
        return back


def features(rows: Mapping[str, Integers]) -> Features:
    """Each feature, in the order of `rows`.

    `rows` has transaction_id, transacted_at (microseconds since 1970), customer_id, terminal_id,
    amount_cents and is_fraud (0 or 1).
    """
    at = rows["transacted_at"]
    weekday = (at // DAY + EPOCH_WEEKDAY) % 7
    hour = at % DAY // (DAY // 24)
    calendar: Features = {"is_weekend": weekday >= SATURDAY, "is_night": hour <= LAST_NIGHT_HOUR}
    return calendar | _customers(rows) | _terminals(rows)


def _customers(rows: Mapping[str, Integers]) -> Features:
    history = _History.of(rows["customer_id"], rows["transacted_at"], rows["transaction_id"])
    cents = _running(rows["amount_cents"][history.order])
    until_now = np.arange(1, len(history.order) + 1)
    found: Features = {}
    for days in WINDOW_DAYS:
        start = history.rows_until(days * DAY)
        count = until_now - start
        average = (cents[until_now] - cents[start]) / count / 100
        found[f"customer_transaction_count_{days}d"] = history.unsorted(count)
        found[f"customer_amount_avg_{days}d"] = history.unsorted(average)
    return found


def _terminals(rows: Mapping[str, Integers]) -> Features:
    history = _History.of(rows["terminal_id"], rows["transacted_at"], rows["transaction_id"])
    frauds = _running(rows["is_fraud"][history.order])
    end = history.rows_until(LABEL_DELAY_DAYS * DAY)
    found: Features = {}
    for days in WINDOW_DAYS:
        start = history.rows_until((LABEL_DELAY_DAYS + days) * DAY)
        count = end - start
        risk = (frauds[end] - frauds[start]) / np.maximum(count, 1)
        found[f"terminal_transaction_count_{days}d"] = history.unsorted(count)
        found[f"terminal_risk_{days}d"] = history.unsorted(risk)
    return found


def _running(values: Integers) -> Integers:
    """The sums of the first 0, 1, 2, … values."""
    return np.concatenate(([0], np.cumsum(values)))
