"""Rule files: what they mean, and what is said about a wrong one."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from textwrap import dedent

import pytest

from expectations.rule_files import load_rules, read_rules
from warehouse.errors import ConfigurationError

RULE = """\
table: marts.payments
owner: payments
rules:
  - id: amount
    check: between
    column: amount_cents
    min: 0
    severity: warning
    reason: refunds
      are rare
"""


def load(tmp_path, text, name="payments.yml"):
    folder = tmp_path / "rules"
    (folder / "marts").mkdir(parents=True, exist_ok=True)
    (folder / "marts" / name).write_text(dedent(text), encoding="utf-8")
    return load_rules(folder)


def test_a_rule_is_read(tmp_path):
    (rule,) = load(tmp_path, RULE)
    assert (rule.id, rule.boundary, rule.table) == ("amount", "marts", "marts.payments")
    assert (rule.columns, rule.minimum, rule.maximum) == (("amount_cents",), 0, None)
    assert (rule.severity, rule.owner, rule.reason) == ("warning", "payments", "refunds are rare")


@pytest.mark.parametrize("text", ["2018-04-01 00:00:00", "2018-04-01T02:00:00+02:00"])
def test_bounds_may_be_times_and_are_utc(tmp_path, text):
    (rule,) = load(tmp_path, RULE.replace("min: 0", f"min: {text}"))
    assert rule.minimum == datetime(2018, 4, 1)  # noqa: DTZ001 (as in DuckDB)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "min: 0",
            "minn: 0",
            "rules/marts/payments.yml, line 7: unknown key 'minn'; the nearest is 'min'",
        ),
        (
            "check: between",
            "check: betwen",
            "rules/marts/payments.yml, line 5: unknown check 'betwen'; the nearest is 'between'",
        ),
        (
            "severity: warning",
            "severity: warn",
            "rules/marts/payments.yml, line 8: unknown severity 'warn'; the nearest is 'warning'",
        ),
        (
            "owner:",
            "ownr:",
            "rules/marts/payments.yml, line 2: unknown key 'ownr'; the nearest is 'owner'",
        ),
        (
            "marts.payments",
            "mart.payments",
            "rules/marts/payments.yml, line 1: 'mart.payments' is neither a published table",
        ),
        ("    min: 0\n", "", "rules/marts/payments.yml, line 4: 'amount' has no bound"),
        ("min: 0", "min: [0]", "rules/marts/payments.yml, line 7: 'min' is [0]"),
        (
            "check: between\n    column: amount_cents\n    min: 0",
            "check: length\n    column: amount_cents\n    min: 0.5",
            "rules/marts/payments.yml, line 7: 'min' is 0.5",
        ),
        (
            "check: between\n    column: amount_cents\n    min: 0",
            "check: regex\n    column: amount_cents\n    pattern: '[a'",
            "rules/marts/payments.yml, line 7: 'pattern' is no regular expression",
        ),
        (
            "check: between\n    column: amount_cents\n    min: 0",
            "check: freshness\n    column: amount_cents\n    max_age: soon",
            "rules/marts/payments.yml, line 7: 'max_age' is 'soon'",
        ),
        (
            "check: between\n    column: amount_cents\n    min: 0",
            "check: references\n    column: a\n    references_table: marts.x\n"
            "    references_columns: [a, b]",
            "rules/marts/payments.yml, line 8: 2 columns cannot be those of 1",
        ),
        (
            "check: between\n    column: amount_cents\n    min: 0",
            "check: aggregate\n    expression: avg(amount_cents)",
            "rules/marts/payments.yml, line 4: 'amount' has no bound",
        ),
        (
            "min: 0",
            "min: 0\n    mostly: 2",
            "rules/marts/payments.yml, line 8: 'mostly' is 2",
        ),
        (
            "min: 0",
            "min: 0\n    strict_min: 1",
            "rules/marts/payments.yml, line 8: 'strict_min' is 1",
        ),
        (
            "    severity: warning\n",
            "",
            "rules/marts/payments.yml, line 4: 'severity' is missing",
        ),
        (
            "column: amount_cents",
            "column: [a]",
            "rules/marts/payments.yml, line 6: 'column' is ['a'], not text",
        ),
        ("check: between", "check: [", "rules/marts/payments.yml, line 7: not YAML: "),
    ],
)
def test_a_wrong_file_is_named_with_its_line(tmp_path, old, new, message):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, RULE.replace(old, new))
    assert str(caught.value).startswith(message)
    assert "\n  next: " in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a", "table: marts.t\nowner: me\nrules: []"])
def test_a_file_without_rules_is_refused(tmp_path, text):
    with pytest.raises(ConfigurationError, match=r"payments\.yml, line "):
        load(tmp_path, text)


def test_an_id_names_one_rule(tmp_path):
    load(tmp_path, RULE, "first.yml")
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, RULE)
    assert str(caught.value).startswith(
        "rules/marts/payments.yml, line 4: two rules are called 'amount'; the other is on"
        " rules/marts/first.yml, line 4"
    )


def test_rules_know_where_they_are_written(tmp_path):
    (rule,) = load(tmp_path, RULE)
    assert rule.where == "rules/marts/payments.yml, line 4"
    elsewhere = replace(rule, file="rules/marts/again.yml", line=9)
    assert elsewhere == rule
    assert elsewhere.hash == rule.hash


def test_every_mistake_is_told_and_the_other_rules_are_read(tmp_path):
    second = RULE.partition("rules:\n")[2].replace("id: amount", "id: other")
    folder = tmp_path / "rules" / "marts"
    folder.mkdir(parents=True)
    (folder / "a.yml").write_text(RULE.replace("min: 0", "minn: 0") + second)
    (folder / "b.yml").write_text(RULE.replace("severity: warning", "severity: warn"))
    (folder / "c.yml").write_text("- a")
    rules, errors = read_rules(tmp_path / "rules")
    assert [rule.id for rule in rules] == ["other"]
    assert [error.where for error in errors] == [
        "rules/marts/a.yml, line 7",
        "rules/marts/b.yml, line 8",
        "rules/marts/c.yml, line 1",
    ]


def test_a_hash_tells_what_decides_the_outcome(tmp_path):
    (rule,) = load(tmp_path, RULE)
    assert replace(rule, owner="me", reason="why not").hash == rule.hash
    for other in (
        replace(rule, minimum=1),
        replace(rule, strict_min=True),
        replace(rule, severity="critical"),
        replace(rule, columns=("amount",)),
        replace(rule, mostly=0.9),
    ):
        assert other.hash != rule.hash


@pytest.mark.parametrize(
    ("check", "told"),
    [
        ("check: between\n    column: a\n    min: 3\n    max: 1", "'min' 3 is above 'max' 1"),
        ("check: in_set\n    column: a\n    values: [DE, no]", "has false among others"),
        ("check: columns\n    columns: {a: nothing}", "there is no type 'nothing'"),
    ],
)
def test_values_that_can_never_hold_are_told(tmp_path, check, told):
    file = tmp_path / "rules" / "marts" / "payments.yml"
    file.parent.mkdir(parents=True)
    rule = f"  - id: r\n    {check}\n    severity: info\n    reason: r\n"
    file.write_text(f"table: marts.payments\nowner: me\nrules:\n{rule}")
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        load_rules(tmp_path / "rules")


def test_types_may_have_other_names(tmp_path):
    file = tmp_path / "rules" / "marts" / "payments.yml"
    file.parent.mkdir(parents=True)
    types = "{a: text, b: int8, c: 'numeric(18, 2)', d: datetime}"
    rule = f"  - {{id: r, check: columns, columns: {types}, severity: info, reason: r}}\n"
    file.write_text(f"table: marts.payments\nowner: me\nrules:\n{rule}")
    (found,) = load_rules(tmp_path / "rules")
    names = [kind for _, kind in found.column_types]
    assert names == ["VARCHAR", "BIGINT", "DECIMAL(18,2)", "TIMESTAMP"]


@pytest.mark.parametrize("name", ["marts/orders.yaml", "orders.yml", "raw/old/orders.yml"])
def test_a_file_that_nobody_would_read_is_told(tmp_path, name):
    file = tmp_path / "rules" / name
    file.parent.mkdir(parents=True)
    file.write_text("table: marts.orders")
    with pytest.raises(ConfigurationError, match=f"rules/{name}: this file is not read"):
        load_rules(tmp_path / "rules")


def test_the_projects_own_rules_are_well_formed():
    rules = load_rules()
    assert {"raw", "marts", "features"} == {rule.boundary for rule in rules}
    assert all(rule.reason and rule.owner for rule in rules)


def test_bounds_of_between_may_be_sql_over_the_row(tmp_path):
    (rule,) = load(
        tmp_path, RULE.replace("min: 0", "min: paid_at\n    max: paid_at + interval 1 day")
    )
    assert (rule.minimum, rule.maximum) == (None, None)
    assert (rule.minimum_sql, rule.maximum_sql) == ("paid_at", "paid_at + interval 1 day")
    assert rule.is_row_level
    clock = replace(rule, maximum_sql="now()")
    assert not clock.is_row_level


def test_references_are_to_columns_of_the_same_names_unless_named(tmp_path):
    check = "check: references\n    column: customer_id\n    references_table: marts.dim_customers"
    text = RULE.replace("check: between\n    column: amount_cents\n    min: 0", check)
    (rule,) = load(tmp_path, text)
    assert rule.references_columns == rule.columns == ("customer_id",)
    assert not rule.is_row_level  # what it looks into may have changed
    (named,) = load(tmp_path, text.replace(check, f"{check}\n    references_columns: [id]"))
    assert named.references_columns == ("id",)


def test_kind_of_check_that_a_rule_does_not_use_is_not_in_its_digest(tmp_path):
    (rule,) = load(tmp_path, RULE)
    assert replace(rule, pattern="").hash == rule.hash != replace(rule, pattern="a").hash
    assert replace(rule, minimum=None).hash != rule.hash
