"""Rules proposed from data: they say what is so, and the data of later on keep them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pytest
import yaml

from expectations import rule_schema
from expectations.offenders import offends
from expectations.rule_files import load_rules
from expectations.rules import Rule
from expectations.suggesting import propose, writing
from expectations.suggesting.formats import shape
from expectations.suggesting.profile import Profile, read
from expectations.suggesting.proposal import Proposal, rounded_up, share_below
from warehouse.duck import listed

NOW = datetime(2025, 12, 31, 12, tzinfo=UTC)
# Seven months of a shop's orders; `n` is the row's number, `r` one from 0 to 999 by chance.
ORDERS = {
    "order_id": "n",
    "order_no": "'O-' || n",
    "ordered_at": "timestamp '2024-01-01' + interval (n * 15) minute",
    "shipped_at": "case when r % 10 > 0 then ordered_at + interval (r) minute end",
    "delivered_at": "shipped_at + interval (r // 3 + 60) minute",
    "customer_id": "1 + r % 300",
    "customer_email": "'c' || (r % 300) || '@example.com'",
    "country": "['DE', 'FR', 'AT'][1 + r % 3]",
    "status": "['open', 'paid', 'sent', 'lost'][1 + r % 4]",
    "campaign_type": "'c' || (n // 8000)",
    "is_gift": "(r % 7 = 0)::int",
    "priority": "r % 3",
    "amount": "round(5 + exp(r / 150.0) + r % 17, 2)::decimal(12, 2)",
    "discount_percent": "r % 30",
    "refund": "case when r = 7 then -1.5 else 0.0 end",
    "quantity": "1 + r % 5",
    "returned_quantity": "case when r % 5 = 4 then r % 3 else 0 end",
    "item_count": "3 + r % 20",
    "returned_count": "(3 + r % 20) * (r % 4) // 4",
    "temperature": "sin(n / 1800.0) * 20 + r % 9",
    "counter": "n * 7 + r",
    "sku": "'AB' || lpad((r * 37)::varchar, 6, '0')",
    "uid": "md5(n::varchar)::uuid::varchar",
    "comment": "case when r % 2 = 0 then 'comment ' || repeat('x', r % 40) end",
    "voucher": "case when r = 999 and n % 5 = 0 then null else 'V' || r end",
    "noise": "hash(n + 77) % 100000 / 1000.0",
    "_loaded_at": "ordered_at + interval 6 hour",
}
ROWS = 20_000


def make(con: duckdb.DuckDBPyConnection, table: str, where: str = "true") -> None:
    """The orders of these rows, and the tables that they refer to."""
    told = ", ".join(f"{sql} as {name}" for name, sql in ORDERS.items())
    con.execute(
        f"create or replace table {table} as select * exclude (n, r) from (select {told}, n, r"
        f" from (select n, (hash(n) % 1000)::bigint as r from range(1, {ROWS + 1}) as t(n))"
        f" where {where})"
    )


def found(
    con: duckdb.DuckDBPyConnection, table: str, *others: str, **known: Any
) -> dict[str, dict[str, Any]]:
    """The proposed rules by the ends of their ids, as YAML has them."""
    profile = read(con, table, **known)
    return {
        proposal.suffix: proposal.check | {"severity": proposal.severity}
        for proposal in propose(profile, [table, *others], NOW)
    }


def loaded(profile: Profile, folder: Path, *others: str) -> list[Rule]:
    """The proposals, written to a file and read again."""
    proposals = list(propose(profile, [profile.table, *others], NOW))
    rules = writing.with_ids(proposals, profile.table, [])
    head = writing.header(profile.table, profile.rows, "a test", profile.order, NOW, [])
    text = writing.file_text(rules, profile.table, "me", head)
    content = json.loads(json.dumps(yaml.safe_load(text), default=str))
    jsonschema.Draft202012Validator(rule_schema.schema()).validate(content)
    file = folder / "rules" / "x" / "t.yml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return load_rules(folder / "rules")


def broken(con: duckdb.DuckDBPyConnection, rules: list[Rule]) -> list[str]:
    """The rules on single rows, or on keys, that the table does not keep."""
    bad = []
    for rule in rules:
        rows = con.execute(f"select count(*) from {rule.table}").fetchall()[0][0]
        if rule.check == "unique":
            keys = listed(rule.columns)
            sql = f"select count(*) - count(distinct ({keys})) from {rule.table}"
        elif rule.check in ("not_null", "between", "in_set", "length", "regex"):
            sql = f"select count(*) from {rule.table} where {offends(rule)}"
        else:
            continue
        if con.execute(sql).fetchall()[0][0] > (1 - rule.mostly) * rows:
            bad.append(rule.id)
    return bad


def test_what_is_proposed_of_orders(con: duckdb.DuckDBPyConnection) -> None:
    make(con, "marts.orders")
    rules = found(con, "marts.orders")
    assert rules["key_unique"]["column"] == "order_id"
    assert {"order_no_unique", "uid_unique"} <= set(rules)
    assert rules["row_count"] == {"check": "row_count", "min": 6_000, "severity": "critical"}
    assert rules["columns"]["columns"]["amount"] == "decimal(12,2)"
    assert rules["complete"]["severity"] == "critical"
    assert {"ordered_at", "amount", "_loaded_at"} <= set(rules["complete"]["columns"])
    assert not {"order_id", "shipped_at", "comment"} & set(rules["complete"]["columns"])
    assert rules["voucher_mostly_given"]["mostly"] == 0.9994
    sets = {rule["column"]: rule["values"] for rule in rules.values() if rule["check"] == "in_set"}
    assert sets == {
        "status": ["lost", "open", "paid", "sent"],
        "is_gift": [0, 1],
        "priority": [0, 1, 2],
    }
    bounds = {
        rule["column"]: (rule.get("min"), rule.get("max"))
        for name, rule in rules.items()
        if name.endswith(("_in_range", "_not_negative"))
    }
    assert bounds == {
        "amount": (0, 5000),
        "discount_percent": (0, 100),
        "quantity": (0, 20),
        "returned_quantity": (0, 10),
        "item_count": (0, 100),
        "returned_count": (0, 50),
        "temperature": bounds["temperature"],
        "noise": (0, 500),
    }
    assert bounds["temperature"][0] < -40
    assert bounds["temperature"][1] > 50
    formats = {rule["column"]: rule["pattern"] for rule in rules.values() if "pattern" in rule}
    assert formats["country"] == "[A-Z]{2,3}"
    assert formats["sku"] == r"[A-Z]{2}\d{6}"
    assert formats["order_no"] == r"[A-Z]\-\d+"
    assert formats["uid"].startswith("[0-9a-fA-F]{8}(-")
    assert formats["customer_email"].startswith("[^@")
    assert rules["comment_length"]["min"] == 1
    assert rules["comment_length"]["max"] > 100
    pairs = {
        (rule["min"], rule["column"])
        for name, rule in rules.items()
        if "_from_" in name and isinstance(rule.get("min"), str)
    }
    assert pairs == {
        ("ordered_at", "shipped_at"),
        ("shipped_at", "delivered_at"),
        ("returned_count", "item_count"),
        ("returned_quantity", "quantity"),
    }
    assert rules["ordered_at_not_too_early"]["min"] == datetime(2023, 1, 1)  # noqa: DTZ001
    assert rules["like_before"] == {"check": "anomaly", "by": "ordered_at", "severity": "warning"}
    assert rules["ordered_at_not_ahead_of_load"]["max"] == "_loaded_at + interval 1 day"


@pytest.mark.parametrize("table", ["marts.orders", "raw_shop.orders"])
@pytest.mark.parametrize("share", [2, 4])
def test_what_comes_later_keeps_what_was_proposed(
    con: duckdb.DuckDBPyConnection, tmp_path: Path, table: str, share: int
) -> None:
    make(con, table, f"n <= {ROWS // share}")
    rules = loaded(read(con, table), tmp_path)
    assert broken(con, rules) == []
    assert len(rules) > 20
    make(con, table, f"n > {ROWS // share}")
    assert broken(con, rules) == []


def test_it_is_the_same_each_time(con: duckdb.DuckDBPyConnection) -> None:
    make(con, "marts.orders")
    first = list(propose(read(con, "marts.orders"), [], NOW))
    assert list(propose(read(con, "marts.orders"), [], NOW)) == first


@pytest.mark.parametrize(
    ("name", "values"),
    [
        pytest.param("status", "'s' || n // 200", id="new values still come"),
        pytest.param("status", "'s' || (case when n < 900 then n % 3 else 7 end)", id="late one"),
        pytest.param("city", "'c' || n % 5", id="a place"),
        pytest.param("note", "'c' || n % 5", id="own words"),
        pytest.param("customer_id", "n % 5", id="an identifier"),
        pytest.param("children_count", "n % 3", id="a count"),
        pytest.param("type", """'{"a": ' || n % 3 || '}'""", id="nested"),
        pytest.param("month", "'m' || n % 12", id="a period"),
    ],
)
def test_open_lists_are_no_sets(con: duckdb.DuckDBPyConnection, name: str, values: str) -> None:
    con.execute(
        f"create table marts.t as select date '2024-01-01' + n::int as day, {values} as {name}"
        " from range(1800) as t(n)"
    )
    assert not [rule for rule in found(con, "marts.t").values() if rule["check"] == "in_set"]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        pytest.param("counter", "n * 3", id="a counter"),
        pytest.param("balance", "n * n", id="it grows"),
        pytest.param("year", "2000 + n // 100", id="years"),
        pytest.param("week", "n // 20", id="weeks"),
        pytest.param("store_id", "n % 7", id="an identifier"),
        pytest.param("zip", "10000 + n", id="a label"),
        pytest.param("level", "5", id="a constant"),
        pytest.param("strange", "case when n > 1500 then 1e9 else 1 + n % 3 end", id="a jump"),
    ],
)
def test_numbers_without_an_end_have_no_bounds(
    con: duckdb.DuckDBPyConnection, name: str, values: str
) -> None:
    con.execute(
        f"create table marts.t as select date '2024-01-01' + n::int as day, {values} as {name}"
        " from range(2000) as t(n)"
    )
    of_name = [rule for rule in found(con, "marts.t").values() if rule.get("column") == name]
    assert [rule for rule in of_name if rule["check"] == "between"] == []


def test_signs_shares_and_rare_exceptions(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "create table marts.t as select date '2024-01-01' + (n % 700)::int as day,"
        " case when n % 500 = 3 then -n else n % 90 end as price,"
        " (n % 101) / 100.0 as risk, (n % 50)::double as latitude,"
        " (case n % 9 when 0 then 'nan' when 1 then 'inf' else '3' end)::double as speed,"
        " n % 41 as discount from range(3000) as t(n)"
    )
    rules = found(con, "marts.t")
    exceptions = rules["price_hardly_negative"]
    assert (exceptions["min"], exceptions["mostly"]) == (0, 0.994)
    assert (rules["risk_in_range"]["min"], rules["risk_in_range"]["max"]) == (0, 1)
    assert (rules["latitude_in_range"]["min"], rules["latitude_in_range"]["max"]) == (-90, 90)
    assert not [name for name in rules if name.startswith("speed_in")]
    # Money below 0 elsewhere: a discount may be taken back, too.
    assert rules["discount_in_range"]["min"] == 0 or rules["discount_in_range"]["min"] < 0


def test_keys_are_the_smallest_and_not_by_chance(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "create table marts.lines as select n // 4 as order_id, n % 4 as line, n % 9 as product_id,"
        " hash(n)::double as price, 'name ' || n as name from range(4000) as t(n)"
    )
    assert found(con, "marts.lines")["key_unique"]["columns"] == ["order_id", "line"]
    con.execute(
        "create table marts.sales as select 1 + n % 52 as week, 'd' || n // 52 as department,"
        " hash(n) % 1000 as sale_count from range(1040) as t(n)"
    )
    assert set(found(con, "marts.sales")["key_unique"]["columns"]) == {"week", "department"}
    con.execute(
        "create table marts.chance as select hash(n) % 100000 as code_a, hash(n + 5) % 100000 as"
        " code_b, n / 7.0 as price from range(2000) as t(n)"
    )
    assert "key_unique" not in found(con, "marts.chance")


def test_pairs_need_a_meaning(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "create table marts.t as select timestamp '2024-01-01' + interval (n) hour as started_at,"
        " case when n % 400 = 0 then started_at - interval 1 day else"
        " started_at + interval (hash(n) % 90) hour end as ended_at,"
        " timestamp '2030-01-01' + interval (n) hour as planned_at, started_at as same_at,"
        " hash(n) % 10 as view_count, 100 + hash(n) % 10 as hit_count,"
        " hash(n) % 50 as price, hash(n) % 50 + 20 as age from range(2000) as t(n)"
    )
    rules = found(con, "marts.t")
    pairs = {name: rule for name, rule in rules.items() if "_from_" in name}
    # planned_at and hit_count lie beyond by their ranges alone, same_at is the same.
    assert set(pairs) == {"ended_at_from_started_at", "ended_at_from_same_at"}
    assert pairs["ended_at_from_started_at"]["mostly"] == 0.992


def test_other_tables(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    make(con, "marts.fct_orders")
    con.execute(
        "create table marts.dim_customers as select customer_id, count(*) as order_count,"
        " sum(amount) as amount, sum(quantity) as quantity from marts.fct_orders group by 1"
    )
    con.execute("create table marts.dim_countries as select unnest(['DE', 'FR', 'AT']) as id")
    con.execute(
        "create table features.feat_orders as select order_id, ordered_at, customer_id,"
        " amount * 2 as twice from marts.fct_orders"
    )
    names = ("marts.fct_orders", "marts.dim_customers", "marts.dim_countries")
    rules = found(con, "marts.fct_orders", *names[1:], "features.feat_orders")
    (reference,) = (rule for rule in rules.values() if rule["check"] == "references")
    assert (reference["column"], reference["references_table"]) == ("customer_id", names[1])
    assert not [rule for rule in rules.values() if "equals_table" in rule]
    features = found(con, "features.feat_orders", *names)
    assert features["rows_of_fct_orders"]["equals_table"] == "marts.fct_orders"
    assert features["order_id_in_fct_orders"]["check"] == "references"
    customers = found(con, "marts.dim_customers", "marts.fct_orders")
    totals = {rule["expression"]: rule for rule in customers.values() if rule["check"] == "total"}
    assert set(totals) == {"sum(order_count)", "sum(amount)", "sum(quantity)"}
    assert totals["sum(order_count)"]["equals"] == "count(*)"
    con.execute("delete from marts.dim_customers where customer_id = 5")
    nearly = found(con, "marts.fct_orders", *names[1:])["customer_id_in_dim_customers"]
    assert nearly["mostly"] == 0.98
    con.execute("delete from marts.dim_customers where customer_id < 50")
    assert "customer_id_in_dim_customers" not in found(con, "marts.fct_orders", *names[1:])


def test_files_are_compared_with_those_before(con: duckdb.DuckDBPyConnection) -> None:
    for files in (7, 8):
        con.execute(
            f"create or replace table raw_shop.t as select n as id, 'b' || n % {files} as _batch_id"
            " from range(200) as t(n)"
        )
        assert ("like_before" in found(con, "raw_shop.t")) == (files == 8)


@pytest.mark.parametrize(("name", "rows"), [("first_sold_on", 900), ("sold_on", 30)])
def test_things_and_totals_of_days_are_not_compared_by_days(
    con: duckdb.DuckDBPyConnection, name: str, rows: int
) -> None:
    con.execute(
        f"create table marts.t as select date '2024-01-01' + (n % 30)::int as {name}, n as id"
        f" from range({rows}) as t(n)"
    )
    assert "like_before" not in found(con, "marts.t")


def test_freshness_is_by_the_clock(con: duckdb.DuckDBPyConnection) -> None:
    days = "select day::timestamp as ordered_at from generate_series(date '2025-11-01', {last},"
    days += " interval 1 day) as t(day)"
    for last, age in (("date '2025-12-30'", "2 days"), ("date '2025-12-01'", None)):
        con.execute(f"create or replace table marts.t as {days.format(last=last)}")
        fresh = found(con, "marts.t").get("fresh")
        assert (fresh and fresh["max_age"]) == age


def test_personal_values_are_never_shown(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "create table marts.t as select date '2024-01-01' + (n % 700)::int as day,"
        " case when n % 500 = 3 then -777 else 123456 + n % 9 end as price,"
        " 'Mr. ' || ['Ufer', 'Zander'][1 + n % 2] as guest_name,"
        " ['secret', 'hidden'][1 + n % 2] as status from range(3000) as t(n)"
    )
    profile = read(con, "marts.t", frozenset({"price", "status"}))
    proposals = list(propose(profile, [], NOW))
    told = " ".join(" ".join(p.evidence) + p.reason + str(p.check) for p in proposals)
    assert "price_hardly_negative" in {p.suffix for p in proposals}
    for secret in ("777", "123456", "123,456", "Ufer", "secret"):
        assert secret not in told


@pytest.mark.parametrize(
    "sql",
    [
        "select 1 as a where false",
        "select 1 as a",
        "select null::int as a, null as b from range(500)",
        "select {'x': n} as a, [n] as b, n::varchar::blob as c, n > 3 as d from range(500) t(n)",
        """select n as "Größe (cm)", n % 3 as "select", 'x' || n % 3 as "a""b" from range(5000) t(n)
        """,
        "select 'infinity'::timestamp as at, n::ubigint as u, n::hugeint as h from range(500) t(n)",
        "select timestamptz '2024-01-01' + interval (n) hour as t, n::float f from range(900) t(n)",
        "select ['a', 'b'][1 + n % 2]::enum('a', 'b') as kind, time '10:00' t from range(900) t(n)",
    ],
)
def test_odd_tables(con: duckdb.DuckDBPyConnection, tmp_path: Path, sql: str) -> None:
    con.execute(f"create table marts.t as {sql}")
    rules = loaded(read(con, "marts.t"), tmp_path)
    assert broken(con, rules) == []


def test_what_rules_say_already_is_left_out(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    make(con, "marts.orders")
    profile = read(con, "marts.orders")
    rules = loaded(profile, tmp_path)
    assert list(writing.new_ones(propose(profile, [], NOW), rules)) == []
    some = [r for r in rules if r.check not in ("not_null", "between")]
    partly = next(r for r in rules if r.check == "not_null" and "amount" in r.columns)
    left = list(writing.new_ones(propose(profile, [], NOW), [*some, partly]))
    assert {p.check["check"] for p in left} == {"not_null", "between"}
    assert not any("amount" in p.columns for p in left if p.check["check"] == "not_null")
    by_sql = [
        _expression("item_count >= returned_count and quantity between 0 and 10"),
        _expression("shipped_at is null or shipped_at >= ordered_at"),
    ]
    names = {p.suffix for p in writing.new_ones(propose(profile, [], NOW), by_sql)}
    assert not names & {
        *("item_count_from_returned_count", "shipped_at_from_ordered_at", "quantity_in_range")
    }
    assert {"delivered_at_from_shipped_at", "item_count_in_range"} <= names


def test_the_side_that_a_rule_lacks_is_proposed(
    con: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    make(con, "marts.orders")
    profile = read(con, "marts.orders")
    amount = next(r for r in loaded(profile, tmp_path) if r.id == "orders_amount_in_range")
    assert (amount.minimum, amount.severity) == (0, "warning")

    def left(*rules: Rule) -> Proposal | None:
        new = writing.new_ones(propose(profile, [], NOW), rules)
        return next((p for p in new if p.suffix == "amount_in_range"), None)

    assert left(amount) is None
    floor = replace(amount, id="floor", maximum=None, minimum=-5, severity="critical")
    found = left(floor)
    assert found is not None
    assert found.check == {"check": "between", "column": "amount", "max": amount.maximum}
    assert found.evidence[-1] == (
        f"the rule floor ({amount.where}) has no `max`: this one may go there instead,"
        " and is critical then"
    )
    top = replace(amount, id="top", minimum=None)
    assert left(floor, top) is None
    found = left(top)
    assert found is not None
    assert found.check == {"check": "between", "column": "amount", "min": 0}
    assert found.evidence[-1].endswith("has no `min`: this one may go there instead")
    by_column = replace(floor, maximum_sql="list_price")
    found = left(by_column)
    assert found is not None
    assert "max" in found.check
    assert "floor" not in " ".join(found.evidence)


def test_few_different_values_are_counted_exactly(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "create table marts.t as select 'C' || lpad((n % 99)::varchar, 2, '0') as low,"
        " 'x' || (hash(n % 1500) % 10000)::varchar as more, md5(n::varchar) as many"
        " from range(5000) as t(n)"
    )
    profile = read(con, "marts.t")
    exact = con.execute("select count(distinct low), count(distinct more) from marts.t").fetchall()
    low, more, many = profile.columns
    assert (low.distinct, more.distinct) == exact[0]
    assert (low.different, many.different[:6]) == ("99", "about ")
    assert profile.distinct(many) == 5000
    told = {p.suffix: p.evidence[0] for p in propose(profile, [], NOW)}
    assert told["low_length"].startswith("from 3 to 3 characters")  # a hundred would be codes
    assert "about " in told["many_format"]


def _expression(sql: str) -> Rule:
    return Rule("e", "marts", "marts.orders", "expression", "critical", "me", "b", expression=sql)


def test_ids_are_their_own_in_the_project(con: duckdb.DuckDBPyConnection) -> None:
    make(con, "raw_shop.orders")
    proposals = list(propose(read(con, "raw_shop.orders"), [], NOW))
    ids = [rule["id"] for rule, _ in writing.with_ids(proposals, "raw_shop.orders", [])]
    assert len(set(ids)) == len(ids)
    assert all(id_.startswith("shop_orders_") for id_ in ids)
    again = [rule["id"] for rule, _ in writing.with_ids(proposals, "raw_shop.orders", ids)]
    assert not set(again) & set(ids)
    nothing = writing.file_text([], "marts.t", "me", ["nothing"])
    assert nothing == "# nothing\n"


def test_shapes() -> None:
    assert shape(["A-1", "B-22"]) == r"[A-Z]\-\d+"
    assert shape(["0012", "9999"]) == r"\d{4}"
    assert shape(["1012", "9999"]) == ""  # a number
    assert shape(["DEU", "FRA"]) == "[A-Z]{3}"
    assert shape(["open", "paid"]) == ""  # words
    assert shape(["A1", "1A"]) == ""
    assert shape(["Ä1", "Ö2"]) == ""
    assert shape([""]) == ""


def test_rounding() -> None:
    assert [rounded_up(x) for x in (0.03, 1, 1.2, 70, 100, 4999)] == [0.05, 1, 2, 100, 100, 5000]
    assert share_below(1, 1000) == 0.997
    assert share_below(9, 1000) == 0.97


def test_people_are_not_parted_by_their_birthdays(con: duckdb.DuckDBPyConnection) -> None:
    con.execute(
        "create table marts.people as select 'u' || n || '@x.com' as email,"
        " date '1950-01-01' + (hash(n) % 20000)::int as birthday,"
        " ['a', 'b', 'c'][1 + (hash(n + 7) % 3)::int] as segment,"
        " (hash(n + 9) % 10000)::decimal(9, 2) as balance from range(3000) t(n)"
    )
    profile = read(con, "marts.people")
    assert profile.order == ""
    proposals = list(propose(profile, ["marts.people"], NOW))
    assert not [p for p in proposals if "birthday" in p.columns and p.check["check"] == "unique"]
    assert not [line for p in proposals for line in p.evidence if "by birthday" in line]
    assert "by" not in {key for p in proposals for key in p.check}


@pytest.mark.parametrize("seed", range(5))
def test_columns_that_tell_rows_apart_by_chance_are_no_key(
    con: duckdb.DuckDBPyConnection, seed: int
) -> None:
    """Of 84 sets of unrelated columns one in twenty would, were each judged by itself."""
    drawn = ", ".join(f"(hash(n + {seed}, {c}) % 30)::int as code_{c}" for c in range(8))
    con.execute(f"create table marts.draws as select {drawn} from range(330) t(n)")
    assert "key_unique" not in found(con, "marts.draws")
    con.execute(
        "create table marts.grid as select a.n as shelf_code, b.n as place_code"
        " from range(30) a(n), range(30) b(n)"
    )
    assert found(con, "marts.grid")["key_unique"]["columns"] == ["shelf_code", "place_code"]
