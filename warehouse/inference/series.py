"""Series of measurements, whose rows their times alone tell apart: no chance, as of few events."""

from __future__ import annotations

from warehouse.duck import identifier
from warehouse.inference import words
from warehouse.inference.result import InferredColumn
from warehouse.inference.shapes import shape
from warehouse.inference.table import Table, is_moment
from warehouse.readers.casting import INTEGERS, is_number

FEWEST, MANY = 10, 50  # rows: of times at even steps, and of days in a single file
REGULAR = 0.9
WORKDAYS = 5 / 7
FREE_TEXTS = 0.5  # of the rows: so many different texts are told of events, not measured


def why_no_series(table: Table, column: InferredColumn) -> str | None:
    """Why the rows are no series over the unique times of `column`; None if they are one."""
    if table.row_count < FEWEST:
        return f"{table.row_count} rows are too few to tell a series"
    told = [c.name for c in table.columns if _is_told(c, table.row_count)]
    if told:
        return f"{', '.join(told[:2])} tells of events, and two may come at one time"
    if not any(_is_amount(c) for c in table.columns if c != column):
        return "nothing is measured"
    if column.type.upper() in INTEGERS:
        is_year = words.says(column.name, words.YEARS)
        return None if is_year and _evenness(table, column.name) >= REGULAR else "it comes again"
    if is_moment(column):
        is_even = _evenness(table, column.name) >= REGULAR
        return None if is_even else "its times do not come at even steps"
    if table.row_count < MANY and table.file_count == 1:
        return f"of {table.row_count} rows in one file that may be by chance"
    return None if _are_days_even(table, column.name) else "its days do not come at even steps"


def _is_told(column: InferredColumn, row_count: int) -> bool:
    is_text = column.type.upper() == "VARCHAR" and not _is_amount(column)
    return is_text and column.distinct_count > FREE_TEXTS * row_count


def _is_amount(column: InferredColumn) -> bool:
    """Whether the values are numbers, perhaps with signs that keep them text, such as 5 %."""
    signed = [shape(text) in ("percent", "currency", "thousands") for text in column.examples]
    return is_number(column.type.upper()) or (bool(signed) and all(signed))


def _evenness(table: Table, name: str) -> float:
    """The share of the commonest step from one value to the next."""
    column = identifier(name)
    return table.number(
        f"select max(n) / sum(n) from (select count(*) as n from (select {column} - lag({column})"
        f" over (order by {column}) as step from {table.relation}) where step is not null"
        " group by step)"
    )


def _are_days_even(table: Table, name: str) -> bool:
    """Whether days come at even steps: every day, working day or week, or one of each month."""
    if _evenness(table, name) >= REGULAR:
        return True
    day = identifier(name)
    working = table.number(
        f"select if(bool_and(isodow({day}) <= 5), count(*) / (max({day}) - min({day}) + 1), 0)"
        f" from {table.relation}"
    )
    if working >= REGULAR * WORKDAYS:
        return True
    months = (
        f"(select distinct {day} as day, year({day}) * 12 + month({day}) as place"
        f" from {table.relation} where {day} is not null)"
    )
    at_one_place = table.number(
        "select (count(distinct day(m.day)) = 1 or bool_and(m.day = last_day(m.day)))::int"
        f" from {months} m"
    )
    steps = f"(select place - lag(place) over (order by place) as step from {months})"
    share = table.number(
        "select max(n) / sum(n) from (select count(*) as n from"
        f" {steps} where step is not null group by step)"
    )
    return bool(at_one_place) and share >= REGULAR
