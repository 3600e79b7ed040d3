"""What names say of times, keys and bounds is held against declarations and values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import duckdb
import pytest

from expectations.suggesting import event_times, propose
from expectations.suggesting.profile import read
from warehouse.releases import Release
from warehouse.sources import Source

NOW = datetime(2025, 12, 31, 12, tzinfo=UTC)


def make(con: duckdb.DuckDBPyConnection, table: str, *columns: str, rows: int = 2000) -> None:
    """A table of rows `n`, an hour apart; the newest is of NOW."""
    con.execute(
        f"create or replace table {table} as select {', '.join(columns)} from (select n,"
        f" timestamp '2025-12-31 11:00' - interval ({rows} - n) hour as moment"
        f" from range(1, {rows + 1}) as t(n))"
    )


def proposed(
    con: duckdb.DuckDBPyConnection, table: str, *others: str, declared: tuple[str, ...] = ()
) -> dict[str, dict[str, Any]]:
    """The proposed checks by the ends of their ids."""
    profile = read(con, table, event_times=declared)
    return {p.suffix: p.check for p in propose(profile, [table, *others], NOW)}


@pytest.mark.parametrize(
    ("table", "time"),
    [
        ("fct_hotel_bookings", "booked_at"),
        ("fct_bookings", "booking_created_at"),
        ("contracts", "signed_at"),
        ("subscriptions", "created_at"),
        ("fct_app_events", "event_at"),
        ("shifts", "started_at"),
    ],
)
def test_a_table_of_plans_has_a_time_at_which_they_were_made(
    con: duckdb.DuckDBPyConnection, table: str, time: str
) -> None:
    ahead = "(moment + interval 20 day)::date as checkin, (moment + interval 9 day)::date as date"
    loaded = "timestamp '2025-12-31 11:30' + interval (n % 5) second as _loaded_at"
    make(con, f"marts.{table}", f"moment as {time}", ahead, loaded)
    rules = proposed(con, f"marts.{table}")
    assert rules["fresh"]["column"] == time
    assert rules["like_before"]["by"] == time
    assert {f"{time}_not_too_early", f"{time}_not_ahead_of_load"} <= set(rules)
    assert not [name for name in rules if name.startswith(("checkin_not", "date_not"))]


def test_events_that_are_ahead_of_their_arrival_are_plans(
    con: duckdb.DuckDBPyConnection,
) -> None:
    columns = ("moment + interval 30 day as event_date", "moment + interval 1 hour as _loaded_at")
    make(con, "marts.events", *columns)
    rules = proposed(con, "marts.events")
    assert rules["fresh"]["column"] == "_loaded_at"
    assert not {"event_date_not_ahead_of_load", "like_before"} & set(rules)
    # A past that is made up is one all the same, where the table is not called by plans.
    make(con, "marts.readings", "moment + interval 30 day as measured_at", columns[1])
    assert proposed(con, "marts.readings")["like_before"]["by"] == "measured_at"
    # One broken clock in a thousand is for the rules to find.
    late = "case when n % 1000 = 0 then timestamp '2099-01-01' else moment end as event_date"
    make(con, "marts.events", late, columns[1])
    assert proposed(con, "marts.events")["like_before"]["by"] == "event_date"


def test_a_declared_event_time_decides_first(con: duckdb.DuckDBPyConnection) -> None:
    make(con, "marts.shifts", "moment - interval 5 day as created_at", "moment as worked_on")
    assert proposed(con, "marts.shifts")["like_before"]["by"] == "created_at"
    rules = proposed(con, "marts.shifts", declared=("missing", "worked_on"))
    assert (rules["like_before"]["by"], rules["fresh"]["column"]) == ("worked_on", "worked_on")
    assert "worked_on_not_too_early" in rules
    make(con, "marts.shifts", "moment - interval 5 day as created_at", "null::date as worked_on")
    assert (
        proposed(con, "marts.shifts", declared=("worked_on",))["like_before"]["by"] == "created_at"
    )


def test_event_times_are_declared_by_the_sources_above_a_table() -> None:
    sources = [
        Source.model_validate(
            {"name": f"hotel.{name}", "kind": "files", "path": "x", "event_time": time}
        )
        for name, time in (("bookings", "bookedAt"), ("refunds", "paid_on"), ("guests", "seen"))
    ]
    release = Release(
        *("r", "2025", "run", None, "lake", 1, "pass", "p", {}, {}, {}),
        features={"feat_refunds": {"event_time": "happened_at"}},
        gate={},
        lineage={
            "staging.stg_bookings": ["raw_hotel.bookings"],
            "marts.fct_refunds": ["staging.stg_bookings", "raw_hotel.refunds"],
            "features.feat_refunds": ["marts.fct_refunds"],
        },
    )
    assert event_times("raw_hotel.bookings", sources, None) == ("bookedAt", "booked_at")
    # First that of the source that the table is called by.
    expected = ("paid_on", "bookedAt", "booked_at")
    assert event_times("marts.fct_refunds", sources, release) == expected
    features = event_times("features.feat_refunds", sources, release)
    assert features == ("happened_at", *expected)
    assert event_times("marts.fct_guests", sources, release) == ()


BOOKINGS, REFUNDS = "marts.fct_hotel_bookings", "marts.fct_hotel_refunds"


def make_refunds(con: duckdb.DuckDBPyConnection, *columns: str) -> dict[str, dict[str, Any]]:
    """The references proposed for refunds of bookings, which nearly all have one at most."""
    make(con, BOOKINGS, "10 * n as booking_id", "n % 7 as hotel_id", "moment as booked_at")
    make(con, REFUNDS, *columns, "moment as refunded_at", rows=1200)
    rules = proposed(con, REFUNDS, BOOKINGS)
    assert "booking_id_in_fct_hotel_refunds" not in proposed(con, BOOKINGS, REFUNDS)
    return {name: rule for name, rule in rules.items() if rule["check"] == "references"}


@pytest.mark.parametrize(
    "booking",
    [
        pytest.param("10 * (n - (n % 40 = 0)::int) as booking_id", id="nearly each its own"),
        pytest.param("10 * n as booking_id", id="each its own"),
    ],
)
def test_a_reference_that_hardly_repeats_is_no_key(
    con: duckdb.DuckDBPyConnection, booking: str
) -> None:
    (rule,) = make_refunds(con, "'R' || n as refund_id", booking).values()
    assert (rule["column"], rule["references_table"]) == ("booking_id", BOOKINGS)
    assert "mostly" not in rule


def test_the_only_identifier_that_is_unique_is_the_own_one(con: duckdb.DuckDBPyConnection) -> None:
    assert make_refunds(con, "10 * n as booking_id", "n % 3 as hotel_id") == {}


def test_a_table_s_own_key_refers_to_nothing(con: duckdb.DuckDBPyConnection) -> None:
    own = ("n as order_id", "'N' || n as order_no")
    make(con, "marts.fct_orders", *own)
    make(con, "marts.fct_shop_orders", *own)
    make(con, "marts.fct_order_lines", "'L' || n as line_id", "n - n % 2 + 1 as order_id")
    assert not {"order_id_in_fct_shop_orders", "order_no_in_fct_shop_orders"} & set(
        proposed(con, "marts.fct_orders", "marts.fct_shop_orders")
    )
    make(con, "marts.fct_order_lines", "'L' || n as line_id", "n as order_id")
    make(con, "marts.fct_order_gifts", "'G' || n as gift_id", "n as order_id")
    tables = ("marts.fct_order_gifts", "marts.fct_orders")
    lines = proposed(con, "marts.fct_order_lines", *tables)
    assert "order_id_in_fct_order_gifts" not in lines
    assert lines["order_id_in_fct_orders"]["column"] == "order_id"


@pytest.mark.parametrize(
    ("name", "values", "limits"),
    [
        ("humidity", "29.5 + hash(n) % 613 / 10.0", (0, 100)),
        ("relative_humidity", "0.3 + hash(n) % 600 / 1000.0", (0, 1)),
        ("discount_pct", "(hash(n) % 5)::int * 10", (0, 100)),
        ("market_share", "hash(n) % 610 / 10.0", (0, 100)),
        ("debt_ratio", "hash(n) % 98 / 100.0", (0, 1)),
        ("price_ratio", "hash(n) % 60 / 100.0", (0, 2)),
        ("exchange_rate", "0.5 + hash(n) % 45 / 100.0", (0, 5)),
        ("wind_direction", "hash(n) % 360 / 1.0", (0, 360)),
        ("filled", "(hash(n) % 101)::int", (0, 100)),
        ("quantity", "(hash(n) % 101)::int", (0, 500)),
        ("charge", "least(hash(n) % 140, 100) / 1.0", (0, 500)),
    ],
)
def test_what_is_of_a_whole_ends_there(
    con: duckdb.DuckDBPyConnection, name: str, values: str, limits: tuple[float, float]
) -> None:
    make(con, "marts.fct_readings", "moment as measured_at", f"{values} as {name}", rows=4000)
    rule = proposed(con, "marts.fct_readings")[f"{name}_in_range"]
    assert (rule["min"], rule["max"]) == limits
