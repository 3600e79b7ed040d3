"""`clearwater rules`, and the document that it makes of the project's own rules."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from expectations.rule_files import load_rules
from expectations.rules import Rule
from flows import cli
from flows.commands.rules import in_force, markdown
from warehouse.errors import ConfigurationError
from warehouse.settings import PROJECT

RULE = Rule("r", "marts", "marts.a_b", "regex", "critical", "me_", "a | b, _so_", ("x",))


def called(*words: str) -> str:
    result = CliRunner().invoke(cli.app, ["rules", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_document_is_that_of_the_rules() -> None:
    written = (PROJECT / "docs" / "rules_in_force.md").read_text(encoding="utf-8")
    told = "docs/rules_in_force.md is out of date: `make docs` writes it again"
    assert written == markdown(in_force(load_rules())), told


def test_every_rule_is_told_once_in_each_form() -> None:
    found = load_rules()
    records = json.loads(called("--json"))
    assert {record["id"] for record in records} == {rule.id for rule in found}
    assert len(records) == len(found)
    assert [record["boundary"] for record in records] == sorted(
        (record["boundary"] for record in records), key=["raw", "marts", "features"].index
    )
    as_text, as_document = called(), called("--format", "markdown")
    assert as_document.count("\n## ") == len({rule.table for rule in found})
    for rule in found:
        where = f"{rule.file}:{rule.line}"
        assert where in as_text
        assert where in as_document


def test_one_table_and_where_its_rules_stand() -> None:
    records = json.loads(called("marts.fct_transactions", "--json"))
    assert {record["table"] for record in records} == {"marts.fct_transactions"}
    for record in records:
        line = (PROJECT / record["file"]).read_text().splitlines()[record["line"] - 1]
        assert line.strip() == f"- id: {record['id']}"
    amount = next(r for r in records if r["id"] == "fct_transactions_amount_not_negative")
    assert amount["says"] == "`amount_cents` is at least `0`"
    assert (amount["severity"], amount["owner"]) == ("warning", "payments")


def test_a_table_without_rules_is_told_with_the_nearest() -> None:
    result = CliRunner().invoke(cli.app, ["rules", "marts.fct_transactons"])
    assert isinstance(result.exception, ConfigurationError)
    assert str(result.exception.next_step) == "did you mean 'marts.fct_transactions'?"


def test_bars_and_marks_of_markdown_stay_text() -> None:
    rule = replace(RULE, pattern="a|b", mostly=0.5, file="expectations/rules/marts/a_b.yml", line=3)
    document = markdown([rule])
    assert "\n## marts.a_b\n\nBoundary: marts.\n" in document
    assert document.splitlines()[-1] == (
        r"| `r` | all of `x` matches `a\|b` | critical | 50.0% of the rows | me\_"
        r" | a \| b, \_so\_ | `expectations/rules/marts/a_b.yml:3` |"
    )


@pytest.mark.parametrize("words", [["--format", "html"], ["a", "b"]])
def test_wrong_usage(words: list[str]) -> None:
    assert CliRunner().invoke(cli.app, ["rules", *words]).exit_code == 2
