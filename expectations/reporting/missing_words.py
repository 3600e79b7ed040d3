"""Missing data in sentences: what it means for whoever uses the table."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from expectations.reporting.words import clock, number, p_value, share
from warehouse.wording import counted

if TYPE_CHECKING:
    from expectations.missing import Dependence, Imputation, TableMissing

SHOWN_DEPENDENCES = 4


@dataclass(frozen=True)
class MissingTold:
    """A table's missing data with the sentences that go with the figures."""

    data: TableMissing
    cost: str
    shape: str
    dependences: tuple[str, ...]
    little: str
    analysed: str
    notes: tuple[str, ...]
    imputations: tuple[tuple[str, tuple[Imputation, ...]], ...]


def told_missing(found: TableMissing) -> MissingTold:
    """The sentences for a table's missing data."""
    columns = groupby(found.imputations, key=lambda imputation: imputation.column)
    return MissingTold(
        data=found,
        cost=cost(found),
        shape=_shape(found),
        dependences=_dependences(found.dependences),
        little=_little(found),
        analysed=_analysed(found),
        notes=found.notes,
        imputations=tuple((column, tuple(methods)) for column, methods in columns),
    )


def cost(found: TableMissing) -> str:
    """What dropping every incomplete row would cost."""
    lost = found.rows - found.complete_rows
    of_all = share(lost / found.rows) if found.rows else "0%"
    if not found.complete_rows:
        return f"No row is complete: dropping incomplete rows would leave nothing of {found.rows:,}"
    return (
        f"Dropping incomplete rows (listwise deletion) would cost {of_all} of the rows:"
        f" {lost:,} of {found.rows:,}"
    )


def _shape(found: TableMissing) -> str:
    if len(found.columns) == 1:
        return "One column alone has missing values."
    if found.is_monotone:
        return (
            "The pattern is monotone: the columns can be ordered so that where one is missing, all"
            " after it are too, as when something ends early."
        )
    return "The pattern is not monotone: values are missing here and there, in no one order."


def _dependences(found: tuple[Dependence, ...]) -> tuple[str, ...]:
    """A sentence for each column, with what its missing values depend on most."""
    columns: dict[str, list[Dependence]] = {}
    for one in sorted(found, key=lambda dependence: -abs(dependence.effect)):
        columns.setdefault(one.column, []).append(one)
    return tuple(_dependence(column, among) for column, among in columns.items())


def _dependence(column: str, found: list[Dependence]) -> str:
    told = [f"{one.on} ({one.effect_name} {one.effect:.2f})".replace("-0", "−0") for one in found]
    more = f" and {len(told) - SHOWN_DEPENDENCES} more" if len(told) > SHOWN_DEPENDENCES else ""
    return (
        f"Whether {column} is missing depends on {', '.join(told[:SHOWN_DEPENDENCES])}{more};"
        f" {p_value(max(one.p for one in found))}, corrected for all tests on the table"
    )


def _little(found: TableMissing) -> str:
    test = found.little
    if test is None:
        return f"Little's test: {found.little_note}." if found.analysed_rows else found.little_note
    told = (
        f"Little's test over {counted(len(test.columns), 'column')} and"
        f" {counted(test.rows, 'row')}: χ² = {number(test.statistic)} with {test.degrees:,} degrees"
        f" of freedom, {p_value(test.p)}. "
    )
    if test.p < 0.05:
        told += (
            "Values are not missing completely at random: rows left after dropping would differ."
        )
    else:
        told += "Nothing speaks against values missing completely at random; it does not prove it."
    return f"{told} {found.little_note}".strip()


def _analysed(found: TableMissing) -> str:
    if not found.analysed_rows:
        return "Counts are of all rows."
    rows = "all rows" if found.analysed_rows >= found.rows else f"{found.analysed_rows:,} rows"
    return (
        f"Counts are of all rows; tests and comparisons were made on {rows}"
        f" at {clock(found.analysed_at)}."
    )
