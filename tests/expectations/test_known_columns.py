"""Rules that speak of what their tables do not have: told with file, line and nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest

from expectations.known_columns import mistakes
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
    "features.odd": {"x": "no_such_type"},
    "staging.stg_payments": {},
    "raw_shop.orders": {"Order No": "BIGINT"},
}


def told(folder: Path, check: str, *, table: str = "marts.payments") -> list[str]:
    """What is said of one rule; `check` is its lines."""
    file = folder / "rules" / ("raw" if table.startswith("raw_") else "marts") / "t.yml"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = "\n".join(f"    {line}" for line in check.split("; "))
    file.write_text(
        f"table: {table}\nowner: me\nrules:\n  - id: r\n    severity: critical\n    reason: b\n"
        f"{lines}\n"
    )
    return [str(mistake) for mistake in mistakes(load_rules(folder / "rules"), TABLES)]


@pytest.mark.parametrize(
    "check",
    [
        "check: not_null; columns: [payment_id, PAID_AT]",
        "check: between; column: paid_at; min: 2020-01-01; max: paid_at + interval 1 day",
        "check: between; column: amount_cents; min: 0.5",
        "check: in_set; column: status; values: [a, b]",
        "check: in_set; column: amount_cents; values: [1, 2]",
        "check: length; column: amount_cents; min: 1",
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
        "check: freshness; column: status",
        "check: anomaly; by: paid_at",
        "check: drift; column: price; reference_table: staging.stg_payments",
        "check: null_share; columns: [price, status]; max: 0.1",
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
            "marts.payments has no column 'state'; the nearest is 'status'",
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
        ("check: between; column: amount_cents; min: 2020-01-01", "Cannot compare values"),
        ("check: between; column: paid_at; min: 5", "Cannot compare values"),
        ("check: freshness; column: amount_cents; max_age: 2 days", "Cannot compare values"),
        ("check: expression; expression: lenght(status) > 1", "lenght does not exist"),
        ("check: expression; expression: status in (select s from nowhere)", "nowhere"),
        ("check: expression; expression: amount_cents >", "Parser Error"),
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


def test_raw_rules_are_checked_once_their_table_is_loaded(tmp_path: Path) -> None:
    check = "check: between; column: Order; min: 1"
    (mistake,) = told(tmp_path, check, table="raw_shop.orders")
    assert mistake.startswith("rules/raw/t.yml, line 4: rule r: raw_shop.orders has no column")
    assert told(tmp_path, check, table="raw_shop.lines") == []
