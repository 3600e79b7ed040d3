"""What each column alone does not show: rows by customer, rows again, the hour of the day."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta

import duckdb
import pytest

from expectations.anomalies import Anomaly, compare
from expectations.profiling import Field, Profile, Scalar, profiles

FIRST = datetime.fromisoformat("2026-03-02")
DAYS = 28
FIELDS = [
    Field("id", "BIGINT"),
    Field("customer", "INTEGER"),
    Field("amount", "DOUBLE"),
    Field("paid_at", "TIMESTAMP"),
]


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("set threads = 1")
    return con


def payments(con: duckdb.DuckDBPyConnection, day: int, night: bool = False) -> None:
    """A table of a day's 1,000 payments of 300 customers, each of whom has an own usual amount."""
    con.execute(f"select setseed({(day % 90) / 100})")
    hour = 0 if night else 12
    con.execute(
        "create or replace table payments as with drawn as materialized (select i,"
        " floor(random() * 300)::integer as customer, random() as u, random() as v"
        " from range(1_000) t(i))"
        f" select {day} * 1_000 + i as id, customer,"
        " round((5 + customer % 7 * 20) * (0.5 + u), 2)::double as amount,"
        f" timestamp '{FIRST}' + interval ({day}) day + interval ({hour * 3_600}"
        " + (v - 0.5) * 36_000) second as paid_at from drawn"
    )


def profile(con: duckdb.DuckDBPyConnection, day: int, rows: str = "payments") -> Profile:
    at = {"x": FIRST + timedelta(days=day)}
    return profiles(con, f"({rows})", FIELDS, slices="'x'", at=at, order="id")["x"]


def past(con: duckdb.DuckDBPyConnection, *, night: bool = False) -> list[Profile]:
    made = []
    for day in range(DAYS):
        payments(con, day, night)
        made.append(profile(con, day, "from payments"))
    payments(con, DAYS, night)
    return made


def of(found: list[Anomaly], metric: str) -> list[Anomaly]:
    return [anomaly for anomaly in found if anomaly.name[1] == metric]


def test_a_shuffled_column_is_not_explained_by_its_codes(con: duckdb.DuckDBPyConnection) -> None:
    before = past(con)
    assert compare(before, profile(con, DAYS, "from payments")) == []
    shuffled = (
        "select a.* exclude (amount), b.amount from"
        " (select *, row_number() over () as n from payments) a join"
        " (select amount, row_number() over (order by hash(id)) as n from payments) b using (n)"
    )
    found = compare(before, profile(con, DAYS, shuffled))
    (lost,) = of(found, "explained")
    assert lost.stops
    assert lost.name[0] == "customer and amount"
    assert abs(lost.judgement.value) < 0.1
    assert lost.told.startswith("amount: of its variance customer explains")


def test_what_codes_explain_is_epsilon_squared(con: duckdb.DuckDBPyConnection) -> None:
    """Five codes, each with a half one above and a half one below its mean: as by hand."""
    con.execute(
        "create table payments as select i as id, i % 5 as customer,"
        " sinh(i % 5 + if(i < 25, 1, -1)) as amount, timestamp '2026-03-02' as paid_at"
        " from range(50) t(i)"
    )
    found = profile(con, 0, "from payments").scalars["customer and amount", "explained"]
    within, total = 50 / (50 - 5), (50 * 2 + 50) / 49  # means of squares; the codes' variance is 2
    assert found.value == pytest.approx(1 - within / total)


def test_rows_again_under_new_keys(con: duckdb.DuckDBPyConnection) -> None:
    before = past(con)
    again = "from payments union all by name select * replace (id + 5_000 as id) from payments"
    (found,) = of(compare(before, profile(con, DAYS, again)), "repeated_share")
    assert (found.stops, found.name[0], found.judgement.value) == (True, "id", 0.5)
    assert found.told.startswith("rows like others but for id: 50.0 %")


def test_lost_rows_show_in_the_sums_of_customers(con: duckdb.DuckDBPyConnection) -> None:
    before = past(con)
    few = compare(before, profile(con, DAYS, "from payments where hash(id) % 5 < 2"))
    (found,) = of(few, "sum_each")
    assert found.stops
    assert not of(few, "rows_each")  # one of the two will do


def test_an_hour_is_an_hour_at_midnight_too(con: duckdb.DuckDBPyConnection) -> None:
    for night in (False, True):
        before = past(con, night=night)
        assert compare(before, profile(con, DAYS, "from payments")) == []
        for hours, stops in ((1, False), (2, True), (-2, True)):
            moved = f"select * replace (paid_at + interval ({hours}) hour as paid_at) from payments"
            (found,) = of(compare(before, profile(con, DAYS, moved)), "clock")
            assert found.stops is stops
        assert found.told.startswith(
            f"paid_at: the mean hour of the day is {'22' if night else '10'}:0"
        )


def test_profiles_of_before_have_no_such_measures(con: duckdb.DuckDBPyConnection) -> None:
    """A measure that earlier profiles lack is young: nothing is claimed of it."""
    new = ("clock", "explained", "repeated_share", "rows_each", "sum_each")
    before = past(con)
    old = [
        replace(p, scalars={name: s for name, s in p.scalars.items() if name[1] not in new})
        for p in before
    ]
    again = "from payments union all by name select * replace (id + 5_000 as id) from payments"
    doubled = compare(old, profile(con, DAYS, again))
    assert doubled
    assert not {anomaly.name[1] for anomaly in doubled} & set(new)
    assert compare(old[:-5] + before[-5:], profile(con, DAYS, "from payments")) == []
    assert Profile.from_json(before[0].to_json()) == before[0]


def test_a_sample_does_not_tell_how_many_rows_a_code_has(con: duckdb.DuckDBPyConnection) -> None:
    payments(con, 0)
    at = {"x": FIRST}
    (thinned,) = profiles(
        con, "payments", FIELDS, slices="'x'", at=at, order="id", sample=500
    ).values()
    metrics = {metric for _, metric in thinned.scalars}
    assert "explained" in metrics
    assert not metrics & {"rows_each", "sum_each"}


def test_rows_are_few_or_many_by_their_ratio() -> None:
    """Half as many are as far from usual as twice as many."""
    day = [Profile(FIRST + timedelta(days=d), 1_000 + 40 * (d % 3)) for d in range(DAYS)]
    for rows in (500, 2_100):
        (found,) = compare(day, Profile(FIRST + timedelta(days=DAYS), rows))
        assert found.stops
    assert compare(day, Profile(FIRST + timedelta(days=DAYS), 1_100)) == []


def test_hours_of_a_clock_that_was_unknown() -> None:
    def of_hour(day: int, hour: float) -> Profile:
        scalars = {("at", "clock"): Scalar(hour, "value", 500)}
        return Profile(FIRST + timedelta(days=day), 500, scalars)

    hours = [(11.9 + 0.02 * (d % 11) + 12) % 24 - 12 for d in range(DAYS)]
    before = [of_hour(d, hour) for d, hour in enumerate(hours)]
    assert compare(before, of_hour(DAYS, -11.95)) == []
    (found,) = compare(before, of_hour(DAYS, -9.9))
    assert found.stops
    assert not math.isnan(found.judgement.p)


def day_and_night(con: duckdb.DuckDBPyConnection, day: int, busy: float) -> Profile:
    """Readings of every five minutes, a few lost; that part of them besides from 8 to 16 only."""
    con.execute(f"select setseed({day / 100})")
    con.execute(
        "create or replace table payments as"
        " select i as id, 1 as customer, 1.0::double as amount,"
        f" timestamp '{FIRST}' + interval ({day}) day + interval (i % 288 * 5) minute as paid_at"
        " from range(2_880) t(i) where random() > 0.1"
        f" and (random() >= {busy} or i % 288 between 96 and 191)"
    )
    return profile(con, day, "from payments")


def test_what_comes_day_and_night_has_no_mean_hour(con: duckdb.DuckDBPyConnection) -> None:
    even = [day_and_night(con, day, 0) for day in range(DAYS)]
    assert not any(("paid_at", "clock") in profile.scalars for profile in even)
    by_day = [day_and_night(con, day, 0.5) for day in range(DAYS)]
    assert all(11 < profile.scalars["paid_at", "clock"].value % 24 < 13 for profile in by_day)


def test_a_day_without_a_mean_hour_does_not_part_those_around_it() -> None:
    """Hours about midnight, told as 11.9 or -11.9: the one day without any is passed over."""
    hours = [(11.9 + 0.02 * (d % 11) + 12) % 24 - 12 for d in range(DAYS)]
    scalars = [{("at", "clock"): Scalar(hour, "value", 500)} for hour in hours]
    scalars[-1] = {}
    before = [Profile(FIRST + timedelta(days=d), 500, found) for d, found in enumerate(scalars)]
    for hour in (11.95, -11.95):
        now = {("at", "clock"): Scalar(hour, "value", 500)}
        assert compare(before, Profile(FIRST + timedelta(days=DAYS), 500, now)) == []


def test_hours_without_rows(con: duckdb.DuckDBPyConnection) -> None:
    before = past(con)
    for hours, stops in ((1, False), (3, True)):
        kept = f"from payments where abs(epoch(paid_at::time) / 3_600 - 12) > {hours / 2}"
        (found,) = of(compare(before, profile(con, DAYS, kept)), "hole")
        assert found.stops is stops
        assert found.told.startswith("paid_at: the most hours nearly without rows are")


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ("select * replace (customer // 2 * 2 as customer) from payments", "customer: even in"),
        ("select * replace (round(amount * 20) / 20 as amount) from payments", "amount: 0 or 5 in"),
        ("select * replace (amount * 2 as amount) from payments", "amount: even in"),
    ],
)
def test_numbers_show_by_their_last_digit_what_became_of_them(
    con: duckdb.DuckDBPyConnection, rows: str, told: str
) -> None:
    before = past(con)
    assert not compare(before, profile(con, DAYS, "from payments"))
    found = compare(before, profile(con, DAYS, rows))
    assert any(anomaly.stops and anomaly.told.startswith(told) for anomaly in found)
