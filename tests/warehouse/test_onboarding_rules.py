"""The first rules of data never seen before: those that the next good file keeps, too."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from looks import looker

from expectations.rule_files import load_rules
from warehouse.inference.result import Inferred, InferredColumn
from warehouse.onboarding import Found, draft, rule_words
from warehouse.onboarding.models import Dataset, dataset
from warehouse.onboarding.rules import rule_count, rules_yaml
from warehouse.settings import Settings

WRITTEN = datetime(2024, 3, 1, 12, tzinfo=UTC)
TABLE = Inferred(
    format="csv",
    options={},
    columns=(),
    key=(),
    event_time=None,
    known_at=None,
    write="append",
    row_count=500,
    file_count=1,
    rows_looked_at=500,
    evidence=(),
    warnings=(),
)


def text(name: str, *values: str, nulls: int = 0, late: int = 0) -> InferredColumn:
    return InferredColumn(
        name, "varchar", None, nulls, len(values) or 400, values=values, late_values=late
    )


def numbers(name: str, least: object = 0, most: object = 9, kind: str = "double") -> InferredColumn:
    return InferredColumn(name, kind, None, 0, 90, str(least), str(most))


def times(name: str, latest: str = "2024-02-29", nulls: int = 0) -> InferredColumn:
    return InferredColumn(name, "date", None, nulls, 300, "2024-01-01", latest)


def written(*columns: InferredColumn, name: str = "shop.orders", **known: Any) -> Dataset:
    return dataset(name, replace(TABLE, columns=columns, **known), WRITTEN)


def rules(
    *columns: InferredColumn, name: str = "shop.orders", **known: Any
) -> dict[str, dict[str, Any]]:
    data = written(*columns, name=name, **known)
    found = yaml.safe_load(rules_yaml(data))["rules"]
    assert len(found) == rule_count(data)
    return {rule["id"].removeprefix(f"{data.mart}_"): rule for rule in found}


def of_values(*columns: InferredColumn, **known: Any) -> list[str]:
    ends = ("_known", "_in_range", "_not_negative")
    return [name for name in rules(*columns, **known) if name.endswith(ends)]


def test_rules_of_orders(tmp_path: Path) -> None:
    columns = (
        numbers("Order No", 1, 300, "bigint"),
        numbers("line", 1, 9, "bigint"),
        times("orderedAt"),
        text("status", "open", "paid"),
        numbers("Amount", "0.00", "99.50", "decimal(18,2)"),
        numbers("balance", -1.5, 99.5),
        text("comment"),
        numbers("shop_id", 1, 9, "bigint"),
    )
    found = rules(*columns, key=("Order No", "line"), event_time="orderedAt")
    assert {name: rule["severity"] for name, rule in found.items()} == {
        "columns": "critical",
        "not_empty": "critical",
        "key_unique": "critical",
        "complete": "critical",
        "usually_complete": "warning",
        "not_ahead_of_load": "warning",
        "status_known": "warning",
        "amount_not_negative": "warning",
    }
    assert found["key_unique"]["columns"] == ["order_no", "line"]
    assert found["columns"]["columns"]["amount"] == "decimal(18,2)"
    assert found["status_known"]["values"] == ["open", "paid"]
    assert found["usually_complete"]["columns"] == ["ordered_at", "status", "amount", "shop_id"]
    # A missing event time is no reason to hold a release back: the loader lets it in.
    assert found["complete"]["columns"] == ["order_no", "line", "_loaded_at"]

    file = tmp_path / "a.csv"
    file.write_text("a\n1\n")
    made = draft(
        "shop.orders",
        Found("a.csv", (file,)),
        replace(TABLE, columns=columns, key=("Order No", "line"), event_time="orderedAt"),
        tmp_path / "my.yml",
        tmp_path,
    )
    made.write()
    written = load_rules(tmp_path / "expectations" / "rules")
    assert len([rule for rule in written if rule.boundary == "marts"]) == len(found)
    (arriving,) = [rule for rule in written if rule.boundary == "raw"]
    told = (arriving.table, arriving.check, arriving.severity)
    assert told == ("raw_shop.orders", "anomaly", "warning")


def test_few_rows_prove_nothing() -> None:
    columns = (
        text("code"),
        text("status", "a", "b"),
        numbers("price", 1),
        numbers("total", 1),
        numbers("lat", 1),
    )
    found = rules(*columns, key=("code",), rows_looked_at=20)
    assert list(found) == [
        *("columns", "not_empty", "key_unique", "complete", "price_not_negative")
    ]


def test_values_are_missed_only_where_each_row_has_one() -> None:
    found = rules(
        *(text("customer_id"), text("name"), text("type", "a", "b"), numbers("unit price")),
        *(times("created_at"), numbers("quantity"), text("middle name"), text("notes")),
        *(numbers("temperature"), numbers("age"), text("state", "CA", "NY"), text("city")),
        *(times("closed_at"), text("store_id", nulls=1)),
    )
    assert found["usually_complete"]["columns"] == [
        *("customer_id", "name", "type", "unit_price", "created_at", "quantity")
    ]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("status", ("open", "paid")),
        ("Order Status", ("open", "paid")),
        ("payment_type", ("card", "cash")),
        ("currency_code", ("EUR", "USD")),
        ("Bestellstatus", ("offen", "bezahlt")),
        ("tipo de pago", ("tarjeta", "efectivo")),
        ("bezahlt", ("Ja", "Nein")),
        ("power", ("off", "on")),
        ("status_cd", ("01", "02", "null", "a, b", "it's: so")),
        ("category", tuple("abcdefghij")),
    ],
)
def test_lists_of_kinds_are_known(name: str, values: tuple[str, ...]) -> None:
    (known,) = (rule for rule in rules(text(name, *values)).values() if rule["check"] == "in_set")
    assert known["values"] == list(values)
    assert known["severity"] == "warning"


@pytest.mark.parametrize(
    "column",
    [
        pytest.param(text("currency", "EUR"), id="one value is no list"),
        pytest.param(text("status", *"abcdefghijk"), id="too few rows of each"),
        pytest.param(text("status", "a", "b", late=1), id="new ones were still coming"),
        pytest.param(text("type", "{}", '{"a": 1}'), id="nested"),
        *(
            pytest.param(text(name, "a", "b"), id=name)
            for name in (
                *("customer", "assignee", "sensor_id", "referrer", "produkt", "coupon_code"),
                *("species", "origin", "month", "reply", "status_changed_by", "type_id", "клиент"),
            )
        ),
        numbers("gift", 0, 1, "bigint"),
    ],
)
def test_what_grows_by_nature_is_no_list(column: InferredColumn) -> None:
    assert of_values(column) == []


def test_flag_in_numbers_is_zero_or_one() -> None:
    flag = replace(numbers("is_open", 0, 1, "integer"), distinct_count=2)
    assert rules(flag)["is_open_known"]["values"] == [0, 1]


def test_states_are_a_list_but_not_those_of_a_country() -> None:
    state = text("state", "CA", "NY")
    assert of_values(state) == ["state_known"]
    assert of_values(state, text("zip")) == []


@pytest.mark.parametrize(
    ("name", "least"),
    [
        *(("quantity", 1), ("unit_price", "0.5"), ("Einzelpreis", 0), ("passenger_count", 0)),
        *(("number_of_seats", 1), ("total", "1.50"), ("Menge", 1), ("duration_ms", 3)),
    ],
)
def test_counts_prices_and_money_are_not_negative(name: str, least: object) -> None:
    (found,) = of_values(numbers(name, least))
    assert found.endswith("_not_negative")


@pytest.mark.parametrize(
    ("name", "least"),
    [
        *(("price_change", 0), ("profit", 0), ("arr_delay", 1), ("account_balance", 5)),
        *(("temperature", 1), ("x", 0), ("score", 0), ("unit_number", 1), ("quantity", -1)),
        *(("price", "nan"), ("price", ""), ("log_wage", 0), ("year", 1999)),
    ],
)
def test_other_numbers_have_no_bound(name: str, least: object) -> None:
    assert of_values(numbers(name, least)) == []


def test_money_below_zero_speaks_for_all_money() -> None:
    other = (numbers("tip"), numbers("price"), numbers("distance"))
    assert of_values(numbers("fare_amount", "-5.00"), *other) == ["distance_not_negative"]
    assert of_values(numbers("profit", -5), *other) == [
        *("tip_not_negative", "price_not_negative", "distance_not_negative")
    ]


@pytest.mark.parametrize(
    ("column", "bounds"),
    [
        (numbers("pickup_lat", -33.9, 40.5), (-90, 90)),
        (numbers("Longitude", -179.5, 179), (-180, 180)),
        (numbers("tax_percent", 0, 19, "bigint"), (0, 100)),
        (numbers("market_share", 0, 0.7), (0, 1)),
        (numbers("lat", 345000, 360000), None),
        (numbers("pct_change", 0, 90), None),
        (numbers("share", 1, 60), None),
        (numbers("humidity", 29.5, 90.8), (0, 100)),
        (numbers("Luftfeuchtigkeit", 0.3, 0.9), (0, 1)),
        (numbers("absolute_humidity", 3, 20), None),
        (numbers("soil_moisture", 200, 900), None),
        (numbers("market_share", 0.5, 61.5), (0, 100)),
        (numbers("earnings_per_share", 0.5, 61.5), None),
        (numbers("discount_pct", 0, 50, "bigint"), (0, 100)),
        (numbers("conversion_rate", 0.01, 0.4), (0, 1)),
        (numbers("click rate", 0.2, 14.5), (0, 100)),
        (numbers("exchange_rate", 0.8, 0.95), None),
        (numbers("wind_direction", 0, 359), (0, 360)),
        (numbers("bearing", -179, 179), (-180, 180)),
        (numbers("direction", 0, 1, "bigint"), None),
    ],
)
def test_degrees_and_shares_are_bounded(
    column: InferredColumn, bounds: tuple[int, int] | None
) -> None:
    found = [rule for rule in rules(column).values() if rule["check"] == "between"]
    assert [(rule["min"], rule["max"]) for rule in found] == ([bounds] if bounds else [])


def test_many_amounts_have_no_rules_at_all() -> None:
    columns = [numbers(f"rainfall_{n}") for n in range(31)]
    assert len(of_values(*columns[:30])) == 30
    assert of_values(*columns) == []


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("shop.orders", times("date", "2024-03-03")),
        ("shop.orders", times("shipping_limit_date")),
        ("shop.orders", times("close_date")),
        ("shop.orders", times("Lieferdatum")),
        ("gtfs.calendar_dates", times("date")),
        ("shop.orders", replace(times("date"), minimum=None, maximum=None)),
    ],
)
def test_times_that_may_be_ahead_have_no_rule(name: str, column: InferredColumn) -> None:
    found = rules(column, name=name, event_time=column.name)
    assert "not_ahead_of_load" not in found


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("hotel.bookings", "booked_at"),
        ("hotel.bookings", "booking_created_at"),
        ("law.contracts", "signedAt"),
        ("app.events", "event_at"),
        ("app.subscriptions", "created"),
    ],
)
def test_plans_are_made_before_they_arrive(name: str, time: str) -> None:
    planned = (times("checkin", "2024-06-01"), times("date", "2024-02-01"))
    assert "not_ahead_of_load" in rules(times(time), *planned, name=name, event_time=time)
    assert "not_ahead_of_load" not in rules(*planned, name=name, event_time="checkin")
    # What is ahead of the files is not of the past.
    ahead = times(time, "2024-06-01")
    assert "not_ahead_of_load" not in rules(ahead, name=name, event_time=time)


def test_event_without_time_is_not_ahead() -> None:
    found = rules(times("order date", "2024-03-02"), event_time="order date")
    expression = found["not_ahead_of_load"]["expression"]
    with duckdb.connect() as con:
        values = "(null::date), (date '2024-02-28'), (date '2024-03-02'), (date '2024-03-05')"
        query = f"select {expression} from (values {values}) as t(order_date)"
        loaded = query.replace("_loaded_at", "timestamp '2024-03-02 10:00:00'")
        assert con.execute(loaded).fetchall() == [(True,), (True,), (True,), (False,)]


def test_kinds_that_come_late_are_counted(settings: Settings, tmp_path: Path) -> None:
    look = looker(settings, tmp_path)
    rows = [f"{n},{'ab'[n % 2]},{'old' if n < 150 else 'new'}" for n in range(200)]
    found = look("\n".join(["id,type,status", *rows]) + "\n")
    assert {c.name: c.late_values for c in found.columns} == {"id": 0, "type": 0, "status": 1}
    data = dataset("shop.orders", found, WRITTEN)
    assert "type_known" in rules_yaml(data)
    assert "status_known" not in rules_yaml(data)


def test_words_are_of_the_name_that_the_source_gave() -> None:
    assert rule_words.is_kind("paymentMethod")
    assert not rule_words.is_kind("status note")
    assert not rule_words.is_kind("")
