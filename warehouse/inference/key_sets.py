"""Which columns may be part of a key, and which sets of them are worth a count."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations, islice, product

from warehouse.duck import identifier
from warehouse.inference import words
from warehouse.inference.result import InferredColumn
from warehouse.inference.table import Table, is_moment, is_time
from warehouse.readers.casting import INTEGERS

TINY = 10
LONGEST_KEY = 100
NESTED = ("{", "[")
PERIOD = re.compile(
    r"\d{4}[- /]?[A-Za-z]*\d{0,2}|[A-Za-z]{1,2}\d{1,2}[- /]?\d{4}"
)  # 2024-Q1, 2024W05
BY_CHANCE = 3  # pairs of rows that would be alike by chance, so that none of them tells something
ALONE = 0.95  # of the rows: moments that are this different tell rows apart without more
MOST_NULLS = 0.01
OPEN = 0.6  # approximate counts are up to a third off
CHECKS = 40
PREFIX_ROWS = 20_000
PANEL, PANEL_OF_MOMENTS = 0.5, 0.8


class Parts:
    """What a table's columns may be in its key: `fit` are all that may be part of it.

    `ids` are named as identifiers, the likelier first; `measured` name what is measured again and
    again, `constant` of it what is one thing in all rows; `lines` number the lines of something,
    `periods` say when, `clocks` at what time of day.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        fit = [c for c in table.needed if _may_identify(c, table.row_count)]
        ranked = sorted(fit, key=lambda c: -table.identifying(c))  # stable: the leftmost first
        self.fit = fit
        self.ids = [c for c in ranked if table.identifying(c) and not is_time(c)][:6]
        self.measured = [c for c in fit if self._is_measured(c)][:4]
        self.lines = [
            c for c in fit if words.says(c.name, words.LINES) and c.type.upper() in INTEGERS
        ]
        self.clocks = [c for c in table.needed if c.type.upper() == "TIME" and not c.null_count][:2]
        self.constant = [c for c in fit if c.distinct_count == 1 and self._names_a_series(c)]
        self.periods = [c for c in fit if self._is_period(c)][:4]

    def _is_measured(self, column: InferredColumn) -> bool:
        """Whether the column names what is measured again and again, such as a device."""
        if is_time(column) or column.null_count:
            return False
        if self._table.identifying(column):
            return words.says(column.name, words.MEASURING)
        return words.says(column.name, words.MEASURING - words.MEASURED_IN)

    def _names_a_series(self, column: InferredColumn) -> bool:
        """Whether the column names the thing measured, of which other files may have others."""
        is_named = words.says(column.name, words.MEASURING) or self._table.identifying(column) > 0
        return not is_time(column) and not column.null_count and is_named

    def _is_period(self, column: InferredColumn) -> bool:
        if words.says(column.name, words.CHANGES | words.NEVER):
            return False
        is_number = column.type.upper() in INTEGERS
        is_code = bool(column.examples) and all(map(PERIOD.fullmatch, column.examples))
        is_part = words.says(column.name, words.PERIODS) and (is_number or is_code)
        return column.null_count == 0 and (is_time(column) or is_part)

    def likely_sets(self) -> Iterator[tuple[InferredColumn, ...]]:
        """Sets worth a full count, the likelier first."""
        possible = (s for s in self._sets() if self._may_be_unique(s))
        return islice(possible, CHECKS)

    def _may_be_unique(self, columns: tuple[InferredColumn, ...]) -> bool:
        combined = 1
        for column in columns:
            combined *= column.distinct_count
        if combined < OPEN * self._table.different_rows():
            return False
        head = f"(from {self._table.relation} limit {PREFIX_ROWS})"
        names = tuple(column.name for column in columns)
        return self._table.distinct(names, head) == self._table.distinct(self._table.names, head)

    def _sets(self) -> Iterator[tuple[InferredColumn, ...]]:
        ids, lines, periods = self.ids, self.lines, self.periods
        kinds = self._kinds()
        days = [c for c in periods if not is_moment(c)]
        moments = [c for c in periods if is_moment(c)]
        sets: list[tuple[InferredColumn, ...]] = [
            *sorted(product(ids, lines), key=lambda pair: -self._count_within(*pair)),
            *combinations(ids, 2),
            *(
                pair
                for pair in product(ids, periods)
                if self._is_series(*pair) and not self._is_by_chance(pair)
            ),
            *product(self.measured, moments),
            *((a, b, c) for (a, b), c in product(product(self.measured, kinds), moments)),
            *((a, b, c) for (a, b), c in product(combinations(self.measured, 2), moments)),
            *(pair for pair in product(days, self.clocks) if self._is_panel(pair)),
            *(pair for pair in product(kinds, periods) if self._is_panel(pair)),
            *(pair for pair in product(kinds, ids) if self._is_panel(pair)),
            *(pair for pair in combinations(kinds, 2) if self._is_panel(pair)),
            *combinations([c for c in periods if not is_time(c)], 2),
            *((a, b, c) for (a, b), c in product(combinations(ids, 2), [*lines, *days])),
            *(
                (a, b, c)
                for (a, b), c in product(product(ids, kinds), days)
                if not self._is_by_chance((a, b, c))
            ),
            *combinations(ids, 3),
            *((a, b, c) for a, (b, c) in product(ids + kinds, combinations(days, 2))),
            *(
                (a, b, c)
                for (a, b), c in product(combinations(kinds, 2), days)
                if self._is_panel((a, b, c))
            ),
        ]
        seen = set()
        for columns in sets:
            distinct = frozenset(column.name for column in columns)
            if len(distinct) == len(columns) and distinct not in seen:
                seen.add(distinct)
                yield columns

    def _count_within(self, identity: InferredColumn, line: InferredColumn) -> float:
        """The share of the identifier's values whose lines are numbered without a gap."""
        name, of = identifier(line.name), identifier(identity.name)
        return self._table.number(
            "select avg((n = high - low + 1)::int) from (select count(*) as n,"
            f" max({name}) as high, min({name}) as low from {self._table.relation} group by {of})"
        )

    def _is_series(self, identity: InferredColumn, period: InferredColumn) -> bool:
        """Whether a row for each of the two is no chance, as it is with moments of any kind."""
        is_by_chance = is_moment(period) and period.distinct_count >= ALONE * self._table.row_count
        return not is_by_chance or words.says(identity.name, words.MEASURING)

    def _is_panel(self, columns: tuple[InferredColumn, ...]) -> bool:
        """Whether most combinations are there: a series for each kind, not unique by chance."""
        combined = 1
        for column in columns:
            combined *= column.distinct_count
        is_of_moments = any(map(is_moment, columns))
        share = PANEL_OF_MOMENTS if is_of_moments else PANEL
        return combined * share <= self._table.row_count

    def _is_by_chance(self, columns: tuple[InferredColumn, ...]) -> bool:
        """Whether rows of such values, drawn by lot, might all be different as well."""
        combined = 1
        for column in columns:
            combined *= column.distinct_count
        return self._table.row_count**2 < 2 * BY_CHANCE * combined

    def _kinds(self) -> list[InferredColumn]:
        """Texts of few values: what a series of measurements is told apart by."""
        few = self._table.row_count / TINY
        found = [
            column
            for column in self.fit
            if column.type.upper() == "VARCHAR"
            and column not in self.ids
            and 1 < column.distinct_count <= few
            and column.null_count == 0
        ]
        return found[:3]


def could_be_unique(column: InferredColumn, row_count: int) -> bool:
    """Whether the approximate count of distinct values leaves that open."""
    return column.distinct_count >= row_count * OPEN


def _may_identify(column: InferredColumn, row_count: int) -> bool:
    """Whether the column's type and values may be part of a key."""
    kind = column.type.upper()
    if kind not in INTEGERS | {"VARCHAR", "UUID"} and not is_time(column):
        return False
    if column.null_count > MOST_NULLS * row_count or column.bad_count:
        return column.null_count <= MOST_NULLS * row_count and column.bad_count < row_count / TINY
    is_long = any(len(text) > LONGEST_KEY or text.startswith(NESTED) for text in column.examples)
    return kind != "VARCHAR" or not is_long
