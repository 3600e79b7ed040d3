"""Rules that hold a published table against the lake, in runs: whatever arrives, and when."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from handmade import edit, payment
from works import Works

from expectations import rule_files
from flows.checks import project as checks
from flows.checks.findings import Look
from flows.pipeline import Run
from warehouse.errors import BuildError, ConfigurationError, GateBlockedError
from warehouse.rebuild import rebuild

FACT = "marts/fct_transactions.yml"
RULES = """
  - id: as_many_as_loaded
    check: row_count
    equals_table: raw_payments.transactions
    severity: critical
    reason: a row that is lost after the lake is missing from every figure
  - id: as_much_as_loaded
    check: total
    expression: sum(amount_cents)
    equals: cast(sum(round("TX_AMOUNT" * 100)) as bigint)
    equals_table: raw_payments.transactions
    severity: critical
    reason: a correction that the lake has must reach every figure
  - id: as_loaded
    check: references
    columns: [transaction_id, customer_id]
    references_table: raw_payments.transactions
    references_columns: [TRANSACTION_ID, CUSTOMER_ID]
    severity: warning
    reason: nothing is here that never came
"""
IDS = ("as_many_as_loaded", "as_much_as_loaded", "as_loaded")


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The rules, with three that look into the lake; runs go by them."""
    folder = tmp_path / "rules"
    shutil.copytree(rule_files.FOLDER, folder)
    with (folder / FACT).open("a") as handle:
        handle.write(RULES)
    monkeypatch.setattr(rule_files.load_rules, "__defaults__", (folder,))
    monkeypatch.setattr(rule_files.read_rules, "__defaults__", (folder,))
    return folder


def looked(run: Run) -> dict[str, str]:
    """What became of the three."""
    assert run.gate is not None, run.failure
    return {r.rule_id: r.status for r in run.gate.results if r.rule_id in IDS}


HELD = dict.fromkeys(IDS, "pass")


@pytest.mark.slow
def test_fact_is_as_the_lake_whatever_arrives(works: Works, rules: Path) -> None:
    """New, corrected, late, known, quarantined and deleted rows; built on the last and in full."""
    arrivals: list[tuple[str, Sequence[Any]]] = [
        ("new", [payment(4, day=4, amount="7.77"), payment(5, day=40)]),
        ("corrected", [payment(4, day=4, amount="0.29"), payment(2, day=2, customer=9)]),
        ("late", [payment(6, day=0.5, amount="1.15"), payment(1, day=1, customer=1)]),
        ("unreadable", [payment(7, day=3), payment(8, day=3, amount="much")]),
    ]
    for name, rows in arrivals:
        works.put(rows, f"payments_{name}.csv")
        run = works.run()
        assert (run.exit_code, looked(run)) == (0, HELD), name
    run = works.run(full_refresh=True)
    assert (run.exit_code, looked(run)) == (0, HELD)
    assert works.ask("select count(*) from fct_transactions") == [(7,)]


def test_lost_rows_block_and_the_models_are_to_be_mended(
    works: Works, rules: Path, project: Path
) -> None:
    edit(
        project,
        "models/marts/fct_transactions.sql",
        "select * from current_transactions",
        "select * from current_transactions where amount_cents < 100000",
    )
    served = works.served()
    works.put([payment(4, day=4, amount="1000.00")], "payments4.csv")
    run = works.run()
    assert (run.exit_code, works.served()) == (3, served)
    assert looked(run) == HELD | dict.fromkeys(IDS[:2], "fail")
    assert isinstance(run.failure, GateBlockedError)
    told = "as_many_as_loaded: rows: 3, but 4 in raw_payments.transactions"
    assert told in run.failure.what
    assert "mend the models of marts.fct_transactions" in run.failure.next_step


@pytest.mark.slow
def test_what_arrives_between_build_and_audit_waits_for_the_next_build(
    works: Works, rules: Path
) -> None:
    works.put([payment(4, day=4)], "payments4.csv")
    assert works.run("land", "load", "build").exit_code == 0
    works.put([payment(5, day=5), payment(1, day=1, amount="3")], "payments5.csv")
    assert works.run("land", "load").exit_code == 0
    run = works.run("audit")
    assert (run.exit_code, looked(run)) == (0, HELD)
    assert works.run("publish").exit_code == 0
    assert works.ask("select count(*) from fct_transactions") == [(4,)]
    run = works.run()
    assert (run.exit_code, looked(run)) == (0, HELD)
    assert works.ask("select count(*) from fct_transactions") == [(5,)]


@pytest.mark.slow
def test_build_of_a_lake_that_was_made_again_is_not_taken_up(works: Works) -> None:
    works.put([payment(4, day=4)], "payments4.csv")
    assert works.run("land", "load", "build").exit_code == 0
    assert rebuild(works.settings, []).swapped
    for stage in ("audit", "publish"):
        with pytest.raises(BuildError, match="a lake that another has taken the place of"):
            works.run(stage)


def test_wrong_names_are_told_before_anything_is_built(works: Works, rules: Path) -> None:
    text = (rules / FACT).read_text()
    (rules / FACT).write_text(text.replace('"TX_AMOUNT" * 100', '"TX_AMONT" * 100'))
    works.put([payment(4, day=4)], "payments4.csv")
    run = works.run()
    assert isinstance(run.failure, ConfigurationError)
    assert run.failure.what == (
        "rule as_much_as_loaded: raw_payments.transactions has no column 'TX_AMONT';"
        " the nearest is 'TX_AMOUNT'"
    )
    assert list(works.settings.builds.glob("*")) == []
    look = Look(works.folder / "sources.yml", works.settings)
    for check in (checks.rules, checks.sources, checks.dbt):
        check(look)
    _, (mistake,) = checks.columns(look)
    assert mistake.what == run.failure.what
