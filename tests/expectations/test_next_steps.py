"""What a person is told to do about each kind of rule that blocks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from expectations.gate import NO_GATE, NO_TABLE, NO_VALUE, NOT_BUILT, SAW_NO_ROWS, RuleResult
from expectations.lake_looks import NO_LAKE, NOT_LOADED
from expectations.next_steps import is_blocking, next_steps
from expectations.rules import Check, Rule

TABLE = "marts.fct_orders"
LINEAGE = {
    TABLE: ["staging.stg_orders", "staging.stg_shops"],
    "staging.stg_orders": ["raw_shop.orders"],
    "staging.stg_shops": ["raw_shop.shops"],
}
WHERE = "rules/marts/fct_orders.yml, line 12"


def rule(check: Check, **told: object) -> Rule:
    made = Rule("r", "marts", TABLE, check, "critical", "me", "so it is", columns=("a",))
    return replace(made, file="rules/marts/fct_orders.yml", line=12, **told)  # type: ignore[arg-type]


def result(check: str, status: str = "fail", detail: str = "3 rows") -> RuleResult:
    return RuleResult(
        "r",
        TABLE,
        "marts",
        check,  # type: ignore[arg-type]
        "critical",
        status,  # type: ignore[arg-type]
        9,
        3,
        detail,
        "so it is",
    )


def steps(check: Check, **told: object) -> tuple[str, ...]:
    return next_steps(result(check), rule(check, **told), LINEAGE)


@pytest.mark.parametrize("check", ["not_null", "between", "unique", "expression", "total"])
def test_rows_are_corrected_at_their_source_or_the_rule_is(check: Check) -> None:
    first, where, conflict = steps(check)
    assert first.startswith("ask the sender of shop.orders, shop.shops for a corrected file")
    assert "`write: merge`" in first
    assert f"mend the rule at {WHERE}, if it is wrong" in first
    assert "_source_file" in where
    assert "raw_shop.orders" in where
    assert "`clearwater quarantine replay shop.orders`" in conflict


@pytest.mark.parametrize(
    ("check", "told"),
    [
        ("volume", {}),
        ("anomaly", {"by": "a"}),
        ("null_share", {}),
        ("null_share", {"maximum": 0.1, "by": "a"}),
        ("drift", {}),
        ("freshness", {}),
    ],
)
def test_what_is_unlike_before_may_be_accepted(check: Check, told: dict[str, object]) -> None:
    (step,) = steps(check, **told)
    assert step.startswith(f"`clearwater accept {TABLE}` if it is meant so")
    assert "only under `write: merge` or `snapshot`" in step


@pytest.mark.parametrize(
    ("check", "told"),
    [
        ("null_share", {"maximum": 0.1}),
        ("drift", {"reference_table": "marts.other"}),
        ("freshness", {"max_age": "1 day"}),
    ],
)
def test_a_written_bound_is_not_accepted_but_corrected(
    check: Check, told: dict[str, object]
) -> None:
    first = steps(check, **told)[0]
    assert "accept" not in first
    assert WHERE in first


@pytest.mark.parametrize(
    ("detail", "step"),
    [
        ("Binder Error: no such column", f"mend the rule at {WHERE}"),
        (SAW_NO_ROWS, f"{TABLE} has no rows to check: look at what came from shop.orders"),
        (f"{TABLE} {NOT_BUILT}", f"bring the model of {TABLE} back, or delete the rule at {WHERE}"),
        (f"{TABLE} is a view: {NO_TABLE}; set it", "set `materialized: table` in the model of"),
        (f"{NO_GATE[0]}: broken", "`clearwater doctor` looks at the installation"),
        (f"{NO_GATE[1]} with -9", "`clearwater doctor` looks at the installation"),
    ],
)
def test_an_error_is_mended_where_it_is(detail: str, step: str) -> None:
    (told,) = next_steps(result("between", "error", detail), rule("between"), LINEAGE)
    assert told.startswith(step)


def test_an_aggregate_without_a_value_is_not_told_as_a_table_without_rows() -> None:
    checked = rule("aggregate", expression="sum(a) filter (where b)")
    detail = f"{NO_VALUE}: there is no value of sum(a)"
    (told,) = next_steps(result("aggregate", "error", detail), checked, LINEAGE)
    assert told == (
        "if none may be there, say what nothing is, such as"
        f" `coalesce(sum(a) filter (where b), 0)`, at {WHERE};"
        " if not, ask the sender of shop.orders, shop.shops for what is missing"
    )


@pytest.mark.parametrize(
    ("detail", "step"),
    [
        (f"{NO_LAKE}: there is no snapshot 7", "`clearwater doctor` looks at the lake"),
        ("IO Error: Cannot open file", "`clearwater doctor` looks at the lake"),
        ("Invalid Input Error: No magic bytes", f"mend the rule at {WHERE}; if it is right, `cl"),
        (f"raw_a.b {NOT_LOADED} at snapshot 7", f"load a.b, or delete the rule at {WHERE}"),
    ],
)
def test_a_lake_that_cannot_be_looked_into_is_no_fault_of_the_rule(detail: str, step: str) -> None:
    looks = rule("row_count", equals_table="raw_a.b")
    (told,) = next_steps(result("row_count", "error", detail), looks, LINEAGE)
    assert told.startswith(step)


@pytest.mark.parametrize("check", ["total", "row_count"])
def test_what_is_lost_after_the_lake_is_not_asked_of_the_sender(check: Check) -> None:
    first, full = steps(check, equals_table="raw_shop.orders")
    assert first.startswith(f"mend the models of {TABLE}, which lose or repeat what is in the lake")
    assert f"the rule at {WHERE}, if it is wrong" in first
    assert "`clearwater run --full-refresh`" in full


def test_files_to_write_are_named() -> None:
    file = "expectations/rules/marts/fct_orders.yml"
    (none,) = next_steps(result("suite", "error"), None, LINEAGE)
    assert none == f"write rules of {TABLE} into {file} (docs/rules.md)"
    (columns,) = steps("columns")
    assert columns.endswith(f"if the table is meant so, write it into {file}")


def test_a_rule_or_a_source_that_is_not_known_is_not_made_up() -> None:
    (step,) = next_steps(result("between"), None, {})
    assert step.startswith("ask the sender for a corrected file")
    assert "the rule in expectations/rules/marts/fct_orders.yml, if it is wrong" in step


def test_only_errors_and_critical_failures_block() -> None:
    assert is_blocking(result("between"))
    assert is_blocking(replace(result("between", "error"), severity="info"))
    assert not is_blocking(replace(result("between"), severity="warning"))
    assert not is_blocking(result("between", "warn"))
