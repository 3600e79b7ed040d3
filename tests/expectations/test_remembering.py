"""Codes that were exchanged one for one: only what the lake has of each shows it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import duckdb
import pytest

from expectations import remembering
from expectations.anomalies import Anomaly, compare
from expectations.profiling import Field, Profile, Scalar, profiles
from expectations.remembering import METRIC, Memory

FIRST = datetime.fromisoformat("2026-03-02")
DAYS = 24
FIELDS = [Field("customer", "INTEGER", is_personal=True), Field("amount", "DOUBLE")]
COLUMNS = {"customer", "amount"}
NAME = ("customer and amount", METRIC)
RENUMBERED = "(select * replace ((customer * 77 + 5) % 200 as customer) from sales)"


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect()
    con.execute("set threads = 1")
    con.execute("create table lake (customer integer, amount double, _batch_id varchar)")
    return con


def sales(con: duckdb.DuckDBPyConnection, day: int, own: str = "customer % 7 * 20") -> None:
    """A table of a day's 500 sales to 200 customers, each of whom has an `own` usual amount."""
    con.execute(f"select setseed({day / 100})")
    con.execute(
        "create or replace table sales as with drawn as materialized (select"
        " floor(random() * 200)::integer as customer, random() as u from range(500))"
        f" select customer, (5 + {own}) * (0.5 + u) as amount from drawn"
    )


def profile(con: duckdb.DuckDBPyConnection, day: int, rows: str = "sales") -> Profile:
    at = {"x": FIRST + timedelta(days=day)}
    return profiles(con, rows, FIELDS, slices="'x'", at=at, order="amount")["x"]


def loaded(con: duckdb.DuckDBPyConnection, own: str = "customer % 7 * 20") -> dict[str, Profile]:
    """The profiles of all days by batch, as they are where nothing was remembered yet."""
    past = {}
    for day in range(DAYS):
        sales(con, day, own)
        con.execute(f"insert into lake select *, '{day}' from sales")
        past[str(day)] = profile(con, day)
    sales(con, DAYS, own)
    return past


def made(con: duckdb.DuckDBPyConnection, past: dict[str, Profile]) -> dict[str, Profile]:
    return past | Memory(con, "lake", past, COLUMNS).lacking()


def found(con: duckdb.DuckDBPyConnection, past: dict[str, Profile], rows: str) -> list[Anomaly]:
    new = profile(con, DAYS, rows)
    remembered = Memory(con, "lake", past, COLUMNS).coefficients(rows)
    new = replace(new, scalars={**new.scalars, **remembered})
    return compare(list(past.values()), new)


def test_customers_who_were_renumbered_show_by_what_they_paid_before(
    con: duckdb.DuckDBPyConnection,
) -> None:
    past = made(con, loaded(con))
    assert found(con, past, "sales") == []
    (exchanged,) = found(con, past, RENUMBERED)
    assert (exchanged.name, exchanged.stops) == (NAME, True)
    assert exchanged.told.startswith("amount: like the earlier ones of its customer only by ")


def test_what_is_more_like_before_than_usual_is_nothing(con: duckdb.DuckDBPyConnection) -> None:
    past = made(con, loaded(con))
    usual = "(select customer, 5 + customer % 7 * 20 as amount from sales)"
    assert Memory(con, "lake", past, COLUMNS).coefficients(usual)[NAME].value > 0.95
    assert NAME not in {anomaly.name for anomaly in found(con, past, usual)}


def test_days_that_were_loaded_at_once_are_remembered_as_if_they_had_come_one_by_one(
    con: duckdb.DuckDBPyConnection,
) -> None:
    past = loaded(con)
    at_once = made(con, past)
    for day in (9, 17):
        before = {name: p for name, p in at_once.items() if int(name) < day}
        rows = f"(from lake where _batch_id = '{day}')"
        alone = Memory(con, "lake", before, COLUMNS).coefficients(rows)[NAME]
        assert at_once[str(day)].scalars[NAME].value == pytest.approx(alone.value)
        assert at_once[str(day)].scalars[NAME].rows == alone.rows
    first = at_once["0"].scalars[NAME]
    assert first == Scalar(0.0, "value", 0)  # there was nothing before it
    assert Memory(con, "lake", at_once, COLUMNS).lacking() == {}
    younger = past | {name: p for name, p in at_once.items() if int(name) > 9}
    assert made(con, younger) == at_once


def test_the_coefficient_is_the_correlation_with_the_mean_of_before(
    con: duckdb.DuckDBPyConnection,
) -> None:
    past = made(con, loaded(con))
    expected = con.execute(
        "select corr(asinh(amount), (select avg(asinh(amount)) from lake"
        " where customer = sales.customer)) from sales"
    ).fetchone()
    kept = Memory(con, "lake", past, COLUMNS).coefficients("sales")[NAME]
    assert expected is not None
    assert (kept.value, kept.rows) == (pytest.approx(expected[0]), 500)


def test_a_very_large_lake_is_remembered_by_some_of_its_codes(
    con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = made(con, loaded(con))
    monkeypatch.setattr(remembering, "MOST_ROWS", 250)
    thinned = Memory(con, "lake", past, COLUMNS).coefficients("sales")[NAME]
    assert 100 < thinned.rows < 400
    assert thinned.value == pytest.approx(0.9, abs=0.1)


def test_nothing_is_asked_of_the_lake_where_codes_explain_nothing(
    con: duckdb.DuckDBPyConnection,
) -> None:
    past = loaded(con, own="50")
    con.execute("drop table lake")
    assert made(con, past) == past
    assert Memory(con, "lake", past, COLUMNS).coefficients("sales") == {}


def test_codes_that_never_come_again_are_not_asked_for_twice(
    con: duckdb.DuckDBPyConnection,
) -> None:
    """Receipts: what is of one goes together, and the next day has others."""
    past = loaded(con)
    con.execute("update lake set customer = customer + 1_000 * _batch_id::integer")
    past = made(con, past)
    assert {p.scalars[NAME].rows for p in past.values()} == {0}
    con.execute("drop table lake")
    assert Memory(con, "lake", past, COLUMNS).coefficients("sales") == {}
    assert found(con, past, "sales") == []


def test_a_column_that_is_gone_is_not_asked_for(con: duckdb.DuckDBPyConnection) -> None:
    past = made(con, loaded(con))
    assert Memory(con, "lake", past, {"customer"}).coefficients("sales") == {}


def test_names_of_columns_may_have_an_and_themselves(con: duckdb.DuckDBPyConnection) -> None:
    past = {
        name: replace(
            p, scalars={("he and she and amount", "explained"): Scalar(0.5, "value", 400)}
        )
        for name, p in loaded(con).items()
    }
    con.execute('alter table lake rename customer to "He and she"')
    con.execute('alter table sales rename customer to "He and she"')
    kept = Memory(con, "lake", past, {"he and she", "amount"}).coefficients("sales")
    assert kept["he and she and amount", METRIC].value > 0.7
