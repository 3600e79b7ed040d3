"""Day first or month first, where every value can be read either way."""

from __future__ import annotations

import re
from dataclasses import dataclass

import duckdb

from warehouse.duck import identifier, quoted
from warehouse.inference.marks import Marks
from warehouse.inference.result import Notes
from warehouse.inference.trials import Trial

ORDERED_ROWS = 20_000
CLEARLY = 3
ORDER = re.compile(r"(%[dm])[/.-]%[dm]")


def settle_orders(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    readings: dict[str, list[Trial]],
    marks: Marks,
    notes: Notes,
) -> dict[str, tuple[Trial, str]]:
    """The likelier reading of each column that allows both orders, and why it is taken.

    `readings` are the ways to read each column that leave the fewest values over. What nothing in
    a column tells, the file's other columns may; else it is a guess, of which people are warned.
    """
    settled: dict[str, tuple[Trial, str]] = {}
    told_by: dict[str, str] = {}  # the columns that tell an order, by that
    open_columns = []
    for name, trials in readings.items():
        if not _is_open(trials):
            told_by.setdefault(_first(trials), name)
        elif found := _by_steps(con, relation, name, trials):
            settled[name] = found
            told_by.setdefault(_first([found[0]]), name)
        else:
            open_columns.append(name)
    told_by.pop("", None)
    for name in open_columns:
        chosen = next((t for t in readings[name][:2] if _first([t]) in told_by), None)
        if chosen and len(told_by) == 1:
            settled[name] = chosen, f"day and month stand as in {told_by[_first([chosen])]}"
        else:
            settled[name] = _guessed(con, relation, name, readings[name], marks, notes)
    return settled


def _first(trials: list[Trial]) -> str:
    """Which of the two comes first in the likeliest reading, `%d` or `%m`; else nothing."""
    form = trials[0].candidate.format if trials else None
    match = ORDER.match(form or "")
    return match.group(1) if match else ""


def _is_open(trials: list[Trial]) -> bool:
    return len(trials) > 1 and {_first([trial]) for trial in trials[:2]} == {"%d", "%m"}


def _by_steps(
    con: duckdb.DuckDBPyConnection, relation: str, name: str, trials: list[Trial]
) -> tuple[Trial, str] | None:
    """The reading under which the values stand in order, or come evenly, if only one does so."""
    day, month = trials[:2]
    of_day, of_month = (_order(con, relation, name, str(t.candidate.format)) for t in (day, month))
    if 0 in (of_day.steps_back, of_month.steps_back) and of_day.steps_back != of_month.steps_back:
        return (month if of_day.steps_back else day), "only so do they stand in order"
    if of_day.unevenness * CLEARLY <= of_month.unevenness:
        return day, "only so do the days come evenly"
    if of_month.unevenness * CLEARLY <= of_day.unevenness:
        return month, "only so do the days come evenly"
    return None


def _guessed(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    name: str,
    trials: list[Trial],
    marks: Marks,
    notes: Notes,
) -> tuple[Trial, str]:
    """The usual reading: with slashes and without zeros, or with am and pm, the month is first.

    Who writes decimal commas writes the day first.
    """
    day, month = trials[:2]
    form = str(day.candidate.format)
    of_day, of_month = (_order(con, relation, name, str(t.candidate.format)) for t in (day, month))
    if "%H" in form and of_day.span != of_month.span:
        chosen = day if of_day.span < of_month.span else month
    else:
        is_american = "%p" in form or ("/" in form and not of_day.zeros)
        chosen = month if is_american and marks.decimal == "." else day
    other = month if chosen is day else day
    declared = (
        f"{name}: {{type: {other.candidate.type.lower()}, format: '{other.candidate.format}'}}"
    )
    first, second = ("day", "month") if chosen is day else ("month", "day")
    notes.warn(
        f"column {name}: no value tells day from month; the {first} is taken to come first, which"
        f" is a guess. Where the {second} does, the line in sources.yml is\n  {declared}"
    )
    return chosen, f"no value tells day from month: that the {first} comes first is a guess"


@dataclass(frozen=True)
class _Order:
    """How a column's first times follow each other under one format.

    `unevenness` is the longest step between its days divided by the median one; `span` is in
    days; `zeros` says that some text begins with a zero.
    """

    steps_back: int
    unevenness: float
    span: int
    zeros: bool


def _order(con: duckdb.DuckDBPyConnection, relation: str, name: str, form: str) -> _Order:
    column = identifier(name)
    row = con.execute(
        f"with times as (select {column} as text, try_strptime({column}, {quoted(form)}) as time"
        f" from {relation} where {column} is not null limit {ORDERED_ROWS}),"
        " steps as (select time < lag(time) over () as is_back from times),"
        " days as (select distinct time::date as day from times where time is not null),"
        " gaps as (select day - lag(day) over (order by day) as gap from days)"
        " select (select count(*) from steps where is_back), max(gap) / median(gap), sum(gap),"
        " (select bool_or(starts_with(text, '0')) from times) from gaps"
    ).fetchone()
    assert row is not None
    return _Order(row[0], row[1] or 1, row[2] or 0, bool(row[3]))
