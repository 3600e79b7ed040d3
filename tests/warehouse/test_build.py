"""Builds: what is kept of the base release, what is made again, what must not be published."""

from __future__ import annotations

import shutil
from pathlib import Path

import duckdb
import pytest
from handmade import edit, payment
from line import Line

from warehouse import build as builds
from warehouse import dbt_runner
from warehouse.build import newest_build
from warehouse.errors import BuildError
from warehouse.lake import catalog_snapshot
from warehouse.releases import current
from warehouse.settings import Settings

FACTS = "models/marts/fct_transactions.sql"
FEATURES = "models/features/feat_transactions__behaviour.sql"
DAILY = "models/marts/fct_daily_transactions.sql"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, empty_lake: Path) -> Line:
    """A line with one release, made by the project as it is."""
    folder = tmp_path_factory.mktemp("line")
    shutil.copytree(empty_lake, folder / "home")
    line = Line(Settings(folder / "home", 2, "1GiB"), folder / "in")
    line.load([payment(n, day=n, customer=n % 2) for n in range(5)])
    line.publish(line.build())
    return line


@pytest.fixture
def line(made: Line, tmp_path: Path) -> Line:
    """A copy of it, to change."""
    shutil.copytree(made.settings.home, tmp_path / "home", symlinks=True)
    return Line(Settings(tmp_path / "home", 2, "1GiB"), tmp_path / "in")


def ask(line: Line, place: Path, sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(str(line.settings.database(place)), read_only=True) as con:
        return con.execute(sql).fetchall()


def kept(line: Line) -> set[str]:
    """The models that a build on the current release does not make again."""
    models = dbt_runner.parse(line.settings).models
    base = current(line.settings)
    assert base is not None
    return builds._kept(line.settings, models, base, catalog_snapshot(line.settings))


def test_unchanged_incremental_models_are_kept(line: Line, project: Path) -> None:
    assert kept(line) == {"fct_transactions", "feat_transactions__behaviour"}


def test_changed_model_is_made_again_with_what_follows(line: Line, project: Path) -> None:
    edit(project, FACTS, "from transactions", "from transactions -- changed")
    assert kept(line) == set()


def test_what_does_not_follow_is_kept(line: Line, project: Path) -> None:
    edit(project, FEATURES, "select * from final", "select * from final -- changed")
    assert kept(line) == {"fct_transactions"}
    edit(project, DAILY, "select * from averaged", "select * from averaged -- changed")
    assert kept(line) == {"fct_transactions"}


def test_changed_macro_counts_as_code(line: Line, project: Path) -> None:
    edit(project, "macros/behaviour.sql", "return([1, 7, 30])", "return([1, 7, 30] )")
    assert kept(line) == {"fct_transactions"}


def test_changed_macro_of_a_macro_counts_as_code(line: Line, project: Path) -> None:
    edit(project, "macros/renamed_payments_transactions.sql", "* 100", "* 100.0")
    assert kept(line) == set()


def test_changed_description_is_no_code(line: Line, project: Path) -> None:
    yaml = FACTS.replace(".sql", ".yml")
    edit(project, yaml, "description: ", "description: Changed. ")
    assert kept(line) == {"fct_transactions", "feat_transactions__behaviour"}


@pytest.mark.slow
def test_rows_of_old_code_do_not_survive(line: Line, project: Path) -> None:
    edit(project, FACTS, "        amount_cents,\n", "        amount_cents + 1 as amount_cents,\n")
    line.load([payment(9, day=9)])
    built = line.build()
    cents = "select distinct amount_cents from {}"
    for table in ("marts.fct_transactions", "features.feat_transactions__behaviour"):
        assert ask(line, built.folder, cents.format(table)) == [(1001,)]
    line.publish(built)
    assert set(line.differences(line.build(full=True)).values()) == {0}


def test_relation_that_no_model_makes_is_dropped(line: Line, project: Path) -> None:
    for file in (DAILY, DAILY.replace(".sql", ".yml")):
        (project / file).unlink()
    built = line.build()
    found = ask(line, built.folder, "select table_name from duckdb_tables()")
    assert ("fct_daily_transactions",) not in found
    assert ("fct_transactions",) in found


def test_release_holds_published_tables_alone(line: Line) -> None:
    (schemas,) = zip(
        *ask(
            line,
            line.settings.current,
            "select distinct schema_name from duckdb_tables() order by 1",
        ),
        strict=True,
    )
    assert schemas == ("features", "marts", "meta")
    assert ask(line, line.settings.current, "from duckdb_views() where not internal") == []


def test_features_are_tables_unless_they_say_otherwise(settings: Settings, project: Path) -> None:
    (project / "models/features/feat_plain.sql").write_text("select 1 as one")
    edit(project, "dbt_project.yml", "+contract: {enforced: true}", "+contract: {enforced: false}")
    models = dbt_runner.parse(settings).models
    assert models["feat_plain"].materialized == "table"
    assert models["feat_transactions__behaviour"].materialized == "incremental"


def test_view_is_not_published(line: Line, project: Path) -> None:
    edit(project, DAILY, "-- one row", "{{ config(materialized='view') }}\n-- one row")
    with pytest.raises(BuildError, match=r"fct_daily_transactions is a view"):
        line.publish(line.build())


def test_failing_model_is_named(line: Line, project: Path) -> None:
    edit(
        project, DAILY, "count(*) as transaction_count", "error('no')::bigint as transaction_count"
    )
    with pytest.raises(BuildError, match="model fct_daily_transactions failed") as caught:
        line.build()
    assert caught.value.where == DAILY
    assert newest_build(line.settings) is None


@pytest.mark.parametrize(
    ("file", "old", "new", "where", "fault", "step"),
    [
        (
            *("sql", "select * from averaged", "select *, 1.5 as extra from averaged", "yml"),
            "the YAML lacks extra (DECIMAL(2,1))",
            "\n      - name: extra\n        data_type: DECIMAL(2,1)",
        ),
        (
            *("yml", "name: fraud_count", "name: frauds", "yml"),
            "the YAML lacks fraud_count (BIGINT); the SQL lacks frauds (BIGINT)",
            f"select frauds in {DAILY} or the model that it reads",
        ),
        (
            *("yml", "data_type: double", "data_type: real", "yml"),
            "amount_cents_avg is DOUBLE in the SQL, FLOAT in the YAML",
            "write the SQL's types in",
        ),
        (
            *("sql", "select * from averaged", "select * exclude (fraud_count) from averaged"),
            *("sql", "the SQL lacks fraud_count (BIGINT)", "select fraud_count in"),
        ),
        (
            *("yml", "        data_type: double\n", "", "yml"),
            "gives no type for 'amount_cents_avg'",
            "add a line `data_type: …`",
        ),
    ],
)
def test_broken_contract_says_which_file_lacks_what(
    line: Line, project: Path, file: str, old: str, new: str, where: str, fault: str, step: str
) -> None:
    edit(project, DAILY.replace(".sql", f".{file}"), old, new)
    with pytest.raises(BuildError, match="fct_daily_transactions") as caught:
        line.build()
    assert caught.value.where == DAILY.replace(".sql", f".{where}")
    assert fault in caught.value.what
    assert step in caught.value.next_step
    assert "macro" not in str(caught.value)


def test_mart_without_its_yaml_is_told_where_it_goes(line: Line, project: Path) -> None:
    (project / DAILY.replace(".sql", ".yml")).unlink()
    with pytest.raises(BuildError, match="has no contract") as caught:
        line.build()
    assert caught.value.where == DAILY.replace(".sql", ".yml")


def test_project_that_does_not_parse_is_an_error(line: Line, project: Path) -> None:
    edit(project, DAILY, "ref('fct_transactions')", "ref('fct_transactoins')")
    with pytest.raises(BuildError, match="fct_transactoins"):
        line.build()


def test_models_without_sources_are_left_out(settings: Settings, empty_lake: Path) -> None:
    shutil.copytree(empty_lake, settings.home)
    built = Line(settings, settings.home / "in").build()
    assert built.models == {}
    assert "marts.fct_transactions" in built.left_out


def test_build_is_taken_up_again_as_it_was(line: Line) -> None:
    line.load([payment(9, day=9)])
    built = line.build()
    assert newest_build(line.settings) == built


def test_environment_is_left_as_it_was(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARWATER_HOME", "/mine")
    monkeypatch.delenv("CLEARWATER_DBT_DATABASE", raising=False)
    with dbt_runner._environment(line.settings, Path("/x"), 1):
        assert dbt_runner.os.environ["CLEARWATER_HOME"] == str(line.settings.home)
    assert dbt_runner.os.environ["CLEARWATER_HOME"] == "/mine"
    assert "CLEARWATER_DBT_DATABASE" not in dbt_runner.os.environ


def test_every_change_of_a_file_changes_the_projects_hash(project: Path) -> None:
    before = dbt_runner.project_hash()
    edit(project, FACTS.replace(".sql", ".yml"), "description: ", "description: Changed. ")
    assert dbt_runner.project_hash() != before
