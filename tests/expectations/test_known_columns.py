"""Rules that speak of what their tables do not have: told with file, line and nearest name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from expectations.known_columns import Known, mistakes
from expectations.rule_files import load_rules

TABLES = {
    "marts.payments": {
        "payment_id": "bigint",
        "amount_cents": "bigint",
        "paid_at": "timestamp",
        "status": "varchar",
        "price": "decimal(18,2)",
    },
    "marts.days": {"day": "date", "Total": "hugeint"},
    "marts.lines": {"payment_id": "bigint", "name": "varchar", "code": "uuid"},
    "features.odd": {"x": "no_such_type"},
    "staging.stg_payments": {},
    "staging.stg_lines": {},
}
LAKE = Known(
    {
        "raw_shop.orders": {"Order No": "BIGINT", "state": "VARCHAR", "at": "TIMESTAMP"},
        "raw_shop.customers": {"id": "BIGINT"},
    },
    awaited={"raw_shop.lines"},
)
KNOWN = Known(
    {**TABLES, **LAKE.tables},
    domains={name: "shop" if name == "marts.lines" else "main" for name in TABLES},
    views={"staging.stg_lines"},
    awaited={"raw_shop.lines", "raw_shop.parts"},
    readers={
        "raw_shop.orders": {"main", "shop"},
        "raw_shop.lines": {"main"},
        "raw_shop.parts": {"shop", "depot"},
    },
)


def told(folder: Path, check: str, *, table: str = "marts.payments") -> list[str]:
    """What is said of one rule; `check` is its lines."""
    file = folder / "rules" / ("raw" if table.startswith("raw_") else "marts") / "t.yml"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(f"    {line}" for line in check.split("; "))
    file.write_text(
        f"table: {table}\nowner: me\nrules:\n  - id: r\n    severity: critical\n    reason: b\n"
        f"{lines}\n"
    )
    known = LAKE if table.startswith("raw_") else KNOWN
    return [str(mistake) for mistake in mistakes(load_rules(folder / "rules"), known)]


@pytest.mark.parametrize(
    "check",
    [
        "check: not_null; columns: [payment_id, PAID_AT]",
        "check: between; column: paid_at; min: 2020-01-01; max: paid_at + interval 1 day",
        "check: between; column: amount_cents; min: 0.5",
        "check: in_set; column: status; values: [a, b]",
        "check: in_set; column: amount_cents; values: [1, 2]",
        "check: length; column: status; min: 1",
        "check: regex; column: status; pattern: '[a-z]+'",
        "check: references; column: paid_at; references_table: marts.days; "
        "references_columns: [day]",
        "check: references; column: status; references_table: staging.stg_payments",
        "check: references; column: status; references_table: features.odd; "
        "references_columns: [x]",
        "check: expression; expression: amount_cents > 0 and paid_at < now()",
        "check: expression; expression: status in (select s from stg_payments)",
        "check: expression; expression: status in (select s from staging.stg_payments)",
        "check: unique; column: payment_id",
        "check: row_count; equals_table: marts.days",
        "check: row_count; equals_table: meta.watermarks",
        "check: distinct_count; column: status; max: 9",
        "check: aggregate; expression: avg(amount_cents); min: 0",
        "check: freshness; column: paid_at; max_age: 2 days",
        "check: total; expression: sum(price); equals: sum(total); equals_table: marts.days",
        "check: columns; columns: {payment_id: bigint}",
        "check: freshness; column: paid_at",
        "check: anomaly; by: paid_at",
        "check: drift; column: price; reference_table: staging.stg_payments",
        "check: null_share; columns: [price, status]; max: 0.1",
        "check: in_set; column: paid_at; values: [2020-01-01, 2020-01-01 12:00:00]",
        "check: in_set; column: paid_at; values: ['2020-01-01']",
        "check: in_set; column: price; values: [1, 2.5]",
        "check: between; column: price; min: 2; max: amount_cents",
        "check: aggregate; expression: max(paid_at); min: 2020-01-01",
        "check: aggregate; expression: (select max(day) from marts.days); min: 2020-01-01",
        "check: total; expression: '5'; equals: count(*); equals_table: marts.days",
        "check: references; column: payment_id; references_table: raw_shop.orders; "
        "references_columns: [order no]",
        "check: references; column: payment_id; references_table: raw_shop.customers; "
        "references_columns: [id]",
        "check: references; column: payment_id; references_table: raw_shop.lines",
        "check: row_count; equals_table: raw_shop.orders",
        "check: row_count; equals_table: raw_shop.lines",
        'check: total; expression: sum(amount_cents); equals: sum("Order No"); '
        "equals_table: raw_shop.orders",
        "check: expression; expression: status <> 'lake.raw_shop.orders'",
        "check: expression; expression: status in (select status from marts.payments as lake)",
    ],
)
def test_right_rules_are_passed(tmp_path: Path, check: str) -> None:
    assert told(tmp_path, check) == []


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (
            "check: not_null; column: amount_cent",
            "marts.payments has no column 'amount_cent'; the nearest is 'amount_cents'",
        ),
        (
            "check: unique; columns: [payment_id, state]",
            "marts.payments has no column 'state'; the nearest is 'status'\n  next: use one of:",
        ),
        ("check: columns; columns: {payment: bigint}", "the nearest is 'payment_id'"),
        (
            "check: expression; expression: amount_cents > 0 and payed_at is null",
            "marts.payments has no column 'payed_at'; the nearest is 'paid_at'",
        ),
        (
            "check: between; column: paid_at; min: created_at",
            "marts.payments has no column 'created_at'",
        ),
        ("check: aggregate; expression: avg(amount); min: 0", "the nearest is 'amount_cents'"),
        (
            "check: total; expression: sum(price); equals: sum(totals); equals_table: marts.days",
            "marts.days has no column 'totals'; the nearest is 'Total'",
        ),
        (
            "check: references; column: paid_at; references_table: marts.days",
            "marts.days has no column 'paid_at'",
        ),
        (
            "check: references; column: paid_at; references_table: marts.day",
            "no model makes the table 'marts.day'",
        ),
        ("check: row_count; equals_table: features.day", "no model makes the table"),
        (
            "check: between; column: amount_cents; min: 2020-01-01",
            "`min` has 2020-01-01, but 'amount_cents' is BIGINT\n  next: write numbers",
        ),
        ("check: between; column: paid_at; min: 5", "`min` has 5, but 'paid_at' is TIMESTAMP"),
        ("check: between; column: status; max: 5", "`max` has 5, but 'status' is VARCHAR"),
        (
            "check: in_set; column: amount_cents; values: ['1', '2']",
            "`values` has '1', but 'amount_cents' is BIGINT\n  next: write numbers, without quotes",
        ),
        (
            "check: in_set; column: status; values: [1, 2]",
            "`values` has 1, but 'status' is VARCHAR\n  next: put it into quotes: '1'",
        ),
        (
            "check: in_set; column: status; values: [yes, no]",
            "`values` has true, but 'status' is VARCHAR\n  next: put it into quotes as it is meant:"
            " bare 'yes', 'on' and 'true' are all true to YAML",
        ),
        (
            "check: in_set; column: paid_at; values: [abc]",
            "`values` has 'abc', but 'paid_at' is TIMESTAMP\n  next: write days as 2026-01-31",
        ),
        (
            "check: aggregate; expression: max(status); min: 5",
            "`min` has 5, but 'max(status)' is VARCHAR",
        ),
        (
            "check: freshness; column: amount_cents; max_age: 2 days",
            "`column` 'amount_cents' is BIGINT, neither a date nor a time\n"
            "  next: name a column of times: paid_at",
        ),
        ("check: freshness; column: status", "`column` 'status' is VARCHAR, neither a date nor"),
        (
            "check: length; column: amount_cents; min: 1",
            "`length` is of texts, but 'amount_cents' is BIGINT\n  next: bound it by `between`",
        ),
        ("check: length; column: paid_at; max: 9", "is of texts, but 'paid_at' is TIMESTAMP"),
        ("check: regex; column: price; pattern: '.'", "of texts, but 'price' is DECIMAL(18,2)"),
        ("check: volume; by: status", "`by` 'status' is VARCHAR, neither a date nor a time"),
        (
            "check: references; column: status; references_table: marts.days; "
            "references_columns: [Total]",
            "'status' is VARCHAR, but 'Total' of marts.days is HUGEINT",
        ),
        (
            "check: references; column: payment_id; references_table: dim_days",
            "no model makes the table 'dim_days'\n  next: tables: features.odd, marts.days",
        ),
        (
            "check: references; column: payment_id; references_table: days",
            "no model makes the table 'days'\n  next: did you mean 'marts.days'?",
        ),
        (
            "check: references; column: payment_id; references_table: staging.stg_payment",
            "did you mean 'staging.stg_payments'?",
        ),
        (
            "check: references; column: payment_id; references_table: staging.stg_lines",
            "`references_table` 'staging.stg_lines' is a view of the lake\n"
            "  next: look into a table: of the lake (raw_<source>.<dataset>), a mart",
        ),
        (
            "check: references; column: payment_id; references_table: raw_shop.order",
            "`references_table` 'raw_shop.order' is no table of the lake\n"
            "  next: did you mean 'raw_shop.orders'?",
        ),
        (
            "check: row_count; equals_table: raw_zoo.quaggas",
            "`equals_table` 'raw_zoo.quaggas' is no table of the lake\n"
            "  next: it has: raw_shop.customers, raw_shop.lines, raw_shop.orders, raw_shop.parts",
        ),
        ("check: row_count; equals_table: shop.orders", "did you mean 'raw_shop.orders'?"),
        (
            "check: references; column: payment_id; references_table: raw_shop.orders",
            "raw_shop.orders has no column 'payment_id'",
        ),
        (
            "check: references; column: payment_id; references_table: raw_shop.orders; "
            "references_columns: [state]",
            "'payment_id' is BIGINT, but 'state' of raw_shop.orders is VARCHAR",
        ),
        (
            "check: total; expression: sum(price); equals: sum(Amount); "
            "equals_table: raw_shop.orders",
            "raw_shop.orders has no column 'Amount'",
        ),
        (
            "check: total; expression: sum(price); equals: sum(state); "
            "equals_table: raw_shop.orders",
            "No function matches",
        ),
        (
            "check: row_count; equals_table: raw_shop.parts",
            "looks into raw_shop.parts, which only goes into tables of depot, shop, published"
            " apart from it\n  next: check it where both are of one domain",
        ),
        (
            "check: drift; column: price; reference_table: raw_shop.orders",
            "`reference_table` 'raw_shop.orders' is of the lake, not published",
        ),
        (
            "check: expression; expression: status in (select state from lake.raw_shop.orders)",
            "its SQL looks into lake.raw_shop.orders, but SQL stays within what is built\n"
            "  next: only `references_table` and `equals_table` may name a table of the lake",
        ),
        (
            "check: aggregate; expression: (select count(*) from RAW_shop.orders); min: 1",
            "its SQL looks into RAW_shop.orders",
        ),
        (
            'check: between; column: price; max: (select max(id) from "raw_shop".customers)',
            "its SQL looks into raw_shop.customers",
        ),
        (
            "check: total; expression: sum(price); equals_table: marts.days; "
            "equals: (select count(*) from lake.meta.quarantine)",
            "its SQL looks into lake.meta.quarantine",
        ),
        (
            "check: drift; column: price; reference_table: mart.days",
            "no model makes the table 'mart.days'\n  next: did you mean 'marts.days'?",
        ),
        (
            "check: references; column: payment_id; references_table: marts.lines",
            "it is on marts.payments of the domain 'main' and looks into marts.lines of 'shop',"
            " which is published apart",
        ),
        (
            "check: expression; expression: sum(amount_cents) > 0",
            "its expression looks at many rows, but the check looks at each by itself\n"
            "  next: take the check `aggregate`",
        ),
        (
            "check: expression; expression: row_number() over () > 0",
            "its expression looks at many rows",
        ),
        (
            "check: between; column: price; max: max(price)",
            "its expression looks at many rows",
        ),
        (
            "check: expression; expression: amount_cents",
            "its expression is of the type BIGINT, neither true nor false",
        ),
        (
            "check: aggregate; expression: amount_cents; min: 0",
            "it has no one value for the table: 'amount_cents' has one for each row\n"
            "  next: write an aggregate such as `max(amount_cents)`",
        ),
        (
            "check: total; expression: sum(price); equals: total; equals_table: marts.days",
            "it has no one value for the table: 'total' has one for each row",
        ),
        ("check: expression; expression: lenght(status) > 1", "lenght does not exist"),
        ("check: expression; expression: status in (select s from nowhere)", "nowhere"),
        ("check: expression; expression: amount_cents >", "Parser Error"),
        ("check: between; column: price; min: 0x", 'syntax error at or near "x", in `0x`'),
        ("check: anomaly; columns: [prize]", "the nearest is 'price'"),
        ("check: volume; by: payed_at", "the nearest is 'paid_at'"),
        ("check: drift; column: price; reference_table: marts.dais", "did you mean 'marts.days'?"),
        ("check: drift; column: price; reference_table: marts.days", "marts.days has no column"),
        ("check: aggregate; expression: sum(status); min: 1", "No function matches"),
    ],
)
def test_wrong_rules_are_told_with_their_place(tmp_path: Path, check: str, message: str) -> None:
    (mistake,) = told(tmp_path, check)
    assert mistake.startswith("rules/marts/t.yml, line 4: rule r: ")
    assert message in mistake
    assert "\n  next: " in mistake
    assert "LINE 1" not in mistake


def test_table_that_nobody_makes_is_told(tmp_path: Path) -> None:
    (mistake,) = told(tmp_path, "check: unique; column: payment_id", table="marts.payment")
    assert mistake.endswith("next: did you mean 'marts.payments'?")


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ("check: between; column: Order; min: 1", "raw_shop.orders has no column 'Order'"),
        (
            "check: references; column: Order No; references_table: raw_shop.custmers; "
            "references_columns: [id]",
            "`references_table` 'raw_shop.custmers' is no table of the lake\n"
            "  next: did you mean 'raw_shop.customers'?",
        ),
        (
            "check: references; column: Order No; references_table: marts.customers",
            "a file is judged before anything is built of it\n"
            "  next: did you mean 'raw_shop.customers'?",
        ),
        (
            "check: references; column: Order No; references_table: marts.dim_weather",
            "a file is judged before anything is built of it\n  next: it has: raw_shop.customers,"
            " raw_shop.lines, raw_shop.orders; or check it in a rule of the table built of it",
        ),
        (
            "check: expression; expression: state in (select x from raw_shop.customers)",
            "its SQL looks into raw_shop.customers",
        ),
        (
            "check: references; column: Order No; references_table: raw_shop.customers; "
            "references_columns: [ident]",
            "raw_shop.customers has no column 'ident'",
        ),
        (
            "check: references; column: state; references_table: raw_shop.customers; "
            "references_columns: [id]",
            "'state' is VARCHAR, but 'id' of raw_shop.customers is BIGINT",
        ),
        ("check: regex; column: at; pattern: '.'", "is of texts, but 'at' is TIMESTAMP"),
        ("check: in_set; column: Order No; values: [a]", "`values` has 'a', but 'Order No' is"),
        (
            "check: expression; expression: count(*) > 1",
            "looks at each by itself\n  next: compare columns of the row, and check totals on",
        ),
    ],
)
def test_wrong_raw_rules_are_told(tmp_path: Path, check: str, message: str) -> None:
    (mistake,) = told(tmp_path, check, table="raw_shop.orders")
    assert mistake.startswith("rules/raw/t.yml, line 4: rule r: ")
    assert message in mistake


def test_raw_rules_on_other_tables_are_checked_once_these_are_loaded(tmp_path: Path) -> None:
    check = "check: references; column: zzz; references_table: raw_shop.{}"
    known = check.format("customers; references_columns: [id]")
    assert told(tmp_path, known, table="raw_shop.lines") == []
    assert told(tmp_path, check.format("nowhere"), table="raw_other.lines") == []
    (mistake,) = told(tmp_path, check.format("nowhere"), table="raw_shop.lines")
    assert "'raw_shop.nowhere' is no table of the lake" in mistake


def test_column_that_the_next_file_may_bring_stops_no_run(tmp_path: Path) -> None:
    check = "check: not_null; column: channel"
    (mistake,) = told(tmp_path, check, table="raw_shop.orders")
    assert "has no column 'channel'\n  next: use one of: Order No, state, at" in mistake
    rules = load_rules(tmp_path / "rules")
    assert list(mistakes(rules, replace(LAKE, may_grow=True))) == []


def test_build_alone_tells_of_tables_and_domains(tmp_path: Path) -> None:
    domains = {"marts.payments": "main", "marts.lines": "shop"}
    readers = {"raw_shop.lines": {"shop"}}
    known = Known({name: {} for name in domains}, domains, of_build=True, readers=readers)
    check = "check: references; column: {}; references_table: {}"
    for other, message in {
        "intermediate.any": None,
        "marts.payment": "did you mean 'marts.payments'?",
        "marts.lines": "published apart",
        "raw_shop.lines": "published apart",
        "raw_shop.any": None,
    }.items():
        told(tmp_path, check.format("anything", other))
        found = [str(mistake) for mistake in mistakes(load_rules(tmp_path / "rules"), known)]
        assert len(found) == (message is not None)
        assert all(str(message) in mistake for mistake in found)
