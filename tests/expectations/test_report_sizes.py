"""Tables as the report tells of them: rows, columns, and how fresh they are."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from expectations.report import NewestValue
from expectations.reporting.sizes import table_sizes

EVENT = datetime(2026, 3, 1, 12)  # noqa: DTZ001 (as DuckDB gives it)
LOADED = datetime(2026, 3, 2)  # noqa: DTZ001 (as DuckDB gives it)
ORDERS = (
    "create table marts.orders as select 1 as id, timestamp '2026-03-01 12:00' as ordered_at,"
    " date '2026-04-01' as due_on, timestamp '2026-03-02' as _loaded_at,"
    " date '1970-01-01' as born_on"
)


@pytest.fixture
def sized(settings, build):
    """The tables of a build made by the statements."""

    def read(*statements, declared=(), personal=()):
        told = {"marts.orders": declared}
        return table_sizes(settings, build(*statements), told, {"marts.orders": personal})

    return read


def test_rows_and_columns_in_order(sized):
    (table,) = sized(ORDERS, "create table intermediate.x as select 1 as a")
    assert (table.name, table.rows) == ("marts.orders", 1)
    assert table.columns[:3] == (("id", "INTEGER"), ("ordered_at", "TIMESTAMP"), ("due_on", "DATE"))


def test_what_is_declared_says_how_fresh_it_is_and_then_when_it_was_loaded(sized):
    (table,) = sized(ORDERS, declared=("ORDERED_AT",))
    assert table.newest == (NewestValue("ordered_at", EVENT), NewestValue("_loaded_at", LOADED))


def test_nothing_declared_takes_the_newest_ones(sized):
    (table,) = sized(ORDERS)
    assert [newest.column for newest in table.newest] == ["due_on", "ordered_at", "_loaded_at"]
    assert table.newest[0].at == date(2026, 4, 1)


def test_personal_columns_are_named_and_not_looked_at(sized):
    (table,) = sized(ORDERS, declared=("born_on",), personal=("Born_on",))
    assert ("born_on", "DATE") in table.columns
    assert table.personal == ("born_on",)
    assert "born_on" not in [newest.column for newest in table.newest]


def test_times_that_nobody_can_say_are_left_out(sized):
    (table,) = sized(
        "create table marts.orders as select 'infinity'::timestamp as a,"
        " timestamp '290000-01-01' as b, null::date as c, '-infinity'::date as f,"
        " timestamptz '2026-03-01 13:00:00+01' as d, timestamp_ns '2026-02-01' as e"
    )
    assert [(newest.column, newest.at) for newest in table.newest] == [
        ("d", EVENT),
        ("e", datetime(2026, 2, 1)),  # noqa: DTZ001 (as DuckDB gives it)
    ]


def test_tables_without_rows_or_with_odd_names(sized):
    tables = sized(
        "create table marts.empty (a timestamp)",
        'create table features."a ""b" as select date \'2026-01-01\' as "x ""y"',
    )
    assert [(table.name, table.rows) for table in tables] == [
        ('features.a "b', 1),
        ("marts.empty", 0),
    ]
    assert tables[0].newest == (NewestValue('x "y', date(2026, 1, 1)),)
