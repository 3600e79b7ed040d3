"""Nothing unaudited is seen and nothing is lost, also when someone moves the ground."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from handmade import payment
from works import MERGE, Works

from expectations import rule_files
from warehouse import releases
from warehouse.errors import BuildError, ConfigurationError
from warehouse.rebuild import rebuild

RULE = """\
table: {table}
owner: tests
rules:
  - id: never
    check: expression
    expression: "1 = 0"
    severity: critical
    reason: this never holds
"""


@pytest.fixture
def own_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the rules, to add to."""
    folder = tmp_path / "rules"
    shutil.copytree(rule_files.FOLDER, folder)
    monkeypatch.setattr(rule_files.load_rules, "__defaults__", (folder,))
    return folder


def add(folder: Path, table: str) -> None:
    (folder / "marts" / "added.yml").write_text(RULE.format(table=table))


@pytest.mark.slow
def test_another_lake_is_no_base(works: Works) -> None:
    shutil.rmtree(works.settings.home / "lake")
    shutil.rmtree(works.settings.landing)
    works.put([payment(7, day=1), payment(8, day=2)])
    run = works.run()
    assert run.release is not None
    assert (run.exit_code, run.release.base) == (0, None)
    ids = works.ask("select transaction_id from fct_transactions order by all")
    assert ids == [(7,), (8,)]


@pytest.mark.slow
def test_lake_made_again_from_landing_is_built_in_full(works: Works) -> None:
    before = works.ask("select * from fct_transactions order by all")
    shutil.rmtree(works.settings.home / "lake")
    lost = works.run()
    assert (lost.exit_code, "the lake is gone" in str(lost.failure)) == (1, True)
    rebuild(works.settings, [])
    run = works.run()
    assert run.release is not None
    assert (run.exit_code, run.release.base) == (0, None)
    assert works.ask("select * from fct_transactions order by all") == before


@pytest.mark.slow
def test_new_rule_is_audited_before_anything_is_said_to_keep_it(
    works: Works, own_rules: Path
) -> None:
    works.put([payment(4, day=4)], "payments4.csv")
    works.run("land", "load")
    works.run("build")
    works.run("audit")
    add(own_rules, "marts.fct_transactions")
    assert works.run("publish").exit_code == 0
    release = releases.current(works.settings)
    assert release is not None
    assert "never" not in release.rules
    assert works.run().exit_code == 3


def test_rule_for_no_table_is_a_mistake(works: Works, own_rules: Path) -> None:
    add(own_rules, "marts.fct_transaction")
    run = works.run()
    assert isinstance(run.failure, ConfigurationError)
    assert "'marts.fct_transactions'" in run.failure.next_step


RAW_RULE = """\
table: raw_payments.transactions
owner: tests
rules:
  - id: known
    check: references
    column: {column}
    references_table: {table}
    severity: critical
    reason: none
"""


def test_raw_rule_that_fits_no_file_is_told_before_anything_is_landed(
    works: Works, own_rules: Path
) -> None:
    file = own_rules / "raw" / "added.yml"
    file.write_text(RAW_RULE.format(column="CUSTOMER_ID", table="raw_payments.customers"))
    works.put([payment(4, day=4)], "payments4.csv")
    landed = {path.name for path in works.settings.landing.rglob("*")}
    with pytest.raises(
        ConfigurationError, match=r"'raw_payments\.customers' is no table of"
    ) as told:
        works.run()
    assert told.value.where == "rules/raw/added.yml, line 4"
    assert {path.name for path in works.settings.landing.rglob("*")} == landed
    # A column that is not there yet may come with the file: loading tells of it.
    file.write_text(RAW_RULE.format(column="CHANNEL", table="raw_payments.transactions"))
    (problem,) = works.run("land", "load").problems
    assert "rule known: neither the file nor the table has a column 'CHANNEL'" in problem


@pytest.mark.parametrize("place", ["models/stray.sql", "models/reports/stray.sql"])
def test_model_that_no_gate_audits_is_not_built(works: Works, project: Path, place: str) -> None:
    before = works.served()
    (project / place).parent.mkdir(exist_ok=True)
    (project / place).write_text("{{ config(materialized='table') }} select 1 as one")
    run = works.run()
    assert isinstance(run.failure, BuildError)
    assert "which no gate audits" in run.failure.what
    assert works.served() == before


@pytest.mark.slow
def test_seed_is_read_and_not_published(works: Works, project: Path) -> None:
    (project / "seeds").mkdir(exist_ok=True)
    (project / "seeds" / "labels.csv").write_text("id,name\n1,a\n")
    daily = project / "models" / "marts" / "fct_daily_transactions.sql"
    daily.write_text(daily.read_text() + "where (select count(*) from {{ ref('labels') }}) = 1\n")
    assert works.run().exit_code == 0
    assert works.ask("select count(*) from fct_daily_transactions") == [(3,)]
    assert works.ask("select * from duckdb_tables() where table_name = 'labels'") == []


@pytest.mark.slow
def test_changed_variable_builds_anew(works: Works, project: Path) -> None:
    file = project / "dbt_project.yml"
    file.write_text(file.read_text() + "\nvars: {anything: 1}\n")
    assert works.run().trace["build"].detail == "8 models, 8 in full"


@pytest.mark.slow
@pytest.mark.parametrize("amount", ["nan", "1e300"])
def test_amount_that_is_no_amount_blocks(works: Works, no_raw_rules: None, amount: str) -> None:
    before = works.served()
    works.put([payment(4, day=4, amount=amount)], "payments4.csv")
    assert (works.run().exit_code, works.served()) == (3, before)
    works.put([payment(4, day=4, amount=5)], "payments5.csv")
    assert works.run().exit_code == 0


@pytest.mark.slow
def test_file_that_goes_back_is_newer(works: Works) -> None:
    for amount in (10, 20, 10):
        works.put([payment(4, day=4, amount=amount)], "payments4.csv")
        assert works.run().exit_code == 0
    sql = "select amount_cents from fct_transactions where transaction_id = 4"
    assert works.ask(sql) == [(1000,)]


@pytest.mark.slow
def test_file_refused_at_first_does_not_overwrite_what_arrived_later(works: Works) -> None:
    narrow = MERGE | {"known_at": "NOT_THERE"}
    early = [payment(4, day=4, amount=10)]
    works.put(early, "payments4.csv")
    assert works.run("land", "load", entries=[narrow]).exit_code == 1
    (works.folder / "payments4.csv").unlink()
    works.put([payment(4, day=4, amount=20)], "payments5.csv")
    assert works.run("land", "load").exit_code == 0
    works.put(early, "payments4.csv")
    run = works.run()
    assert run.summaries["payments.transactions"].counts.quarantined == 1
    sql = "select amount_cents from fct_transactions where transaction_id = 4"
    assert works.ask(sql) == [(2000,)]


def test_rule_for_no_column_is_a_mistake_told_before_the_build(
    works: Works, own_rules: Path
) -> None:
    works.put([payment(4, day=4)], "payments4.csv")
    before = works.served()
    add(own_rules, "marts.fct_transactions")
    file = own_rules / "marts" / "added.yml"
    file.write_text(file.read_text().replace('"1 = 0"', "amount_cent >= 0"))
    run = works.run()
    assert isinstance(run.failure, ConfigurationError)
    assert (run.exit_code, run.build, works.served()) == (2, None, before)
    assert "has no column 'amount_cent'; the nearest is 'amount_cents'" in run.failure.what
    assert run.failure.where == "rules/marts/added.yml, line 4"
