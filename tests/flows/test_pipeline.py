"""The pipeline in one process: what a run does, leaves and says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from handmade import PAYMENTS, edit, payment
from works import MERGE, Works

from expectations.auditor import Auditor
from flows import stages as stage_functions
from flows.events import Events
from flows.pipeline import STAGES
from flows.run_log import read_log
from warehouse import releases
from warehouse.errors import BuildError, ConfigurationError, GateBlockedError, WriterBusyError
from warehouse.lake import catalog_snapshot
from warehouse.lock import writer_lock
from warehouse.query import open_lake, run_query
from warehouse.settings import Settings
from warehouse.state import open_ledger

FACTS = "models/marts/fct_transactions.sql"
DAILY = "models/marts/fct_daily_transactions.sql"


def tables(works: Works) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that is published, but for the time of loading."""
    release = releases.current(works.settings)
    assert release is not None
    select = "select columns(c -> c <> '_loaded_at') from {} order by all"
    return {name: works.ask(select.format(name)) for name in release.tables}


def test_summary_tells_the_run(first: Works) -> None:
    with open_ledger(first.settings) as ledger:
        (run,) = ledger.newest(1)
    told = run["summary"]
    assert told["run_id"] == run["run_id"]
    assert (told["status"], told["exit_code"], told["verdict"]) == ("done", 0, "pass")
    assert told["release"] == run["release"] == first.served()
    assert told["lake_snapshot"] == catalog_snapshot(first.settings)
    assert list(told["stages"]) == list(STAGES)
    assert {stage["status"] for stage in told["stages"].values()} == {"done"}
    assert all(stage["seconds"] >= 0 for stage in told["stages"].values())
    assert told["stages"]["load"]["rows"] == 3
    counts = told["sources"]["payments.transactions"]
    assert counts["loaded"] == counts["rows_in"] == 3
    assert counts["quarantined"] == counts["already_known"] == counts["refused"] == 0


def test_release_tells_what_it_was_made_from(first: Works) -> None:
    release = releases.current(first.settings)
    assert release is not None
    assert release.tables["marts.fct_transactions"] == 3
    assert release.tables["features.feat_transactions__behaviour"] == 3
    assert release.verdict == release.gate["verdict"] == "pass"
    assert set(release.rules) >= {result["rule_id"] for result in release.gate["results"]}
    assert {name.partition(".")[2] for name in release.tables} <= set(release.code)
    assert list(release.features) == ["feat_transactions__behaviour"]


def test_release_is_tables_in_a_read_only_file(first: Works) -> None:
    file = first.settings.current / "warehouse.duckdb"
    assert file.stat().st_mode & 0o777 == 0o444
    assert sorted(path.name for path in file.parent.resolve().iterdir()) == [
        "release.json",
        "warehouse.duckdb",
    ]
    assert first.ask("from duckdb_views() where not internal") == []


def test_features_are_extracted_with_the_release(first: Works) -> None:
    (place,) = (first.settings.features / "feat_transactions__behaviour").iterdir()
    assert place.name == first.served()
    assert sorted(path.name for path in place.iterdir()) == ["data.parquet", "manifest.json"]


def test_nothing_new_changes_nothing(works: Works) -> None:
    before = works.served(), catalog_snapshot(works.settings)
    run = works.run()
    assert (run.status, run.exit_code) == ("done", 0)
    assert [run.trace[name].status for name in ("build", "audit", "publish")] == ["skipped"] * 3
    assert (works.served(), catalog_snapshot(works.settings)) == before


def test_new_rows_make_a_release_on_the_last(works: Works) -> None:
    base = works.served()
    works.put([payment(4, day=4, customer=1)], "payments4.csv")
    run = works.run()
    assert run.release is not None
    assert (run.release.base, run.release.id) == (base, works.served())
    assert works.ask("select count(*) from fct_transactions") == [(4,)]
    assert run.trace["build"].detail.endswith("6 in full")


@pytest.mark.slow
def test_full_refresh_makes_the_same_anew(works: Works) -> None:
    before = tables(works)
    run = works.run(full_refresh=True)
    assert run.trace["build"].detail == "8 models, 8 in full"
    assert tables(works) == before


@pytest.mark.slow
def test_one_run_or_many_in_any_order_are_the_same(tmp_path: Path) -> None:
    days = {
        f"payments{day}.csv": [payment(day * 10 + n, day=day + n / 5, customer=n) for n in range(3)]
        for day in (0, 3, 9)
    }
    found = []
    for number, groups in enumerate(([list(days)], [[name] for name in reversed(days)])):
        works = Works(tmp_path / str(number))
        for names in groups:
            for name in names:
                works.put(days[name], name)
            assert works.run(entries=[PAYMENTS]).exit_code == 0
        found.append(tables(works))
    assert found[0] == found[1]


@pytest.mark.slow
def test_column_that_no_rule_knows_is_told_with_the_rules_file(works: Works, project: Path) -> None:
    edit(project, FACTS, "        amount_cents,\n", "        amount_cents,\n        1 as extra,\n")
    yaml = FACTS.replace(".sql", ".yml")
    edit(project, yaml, "    columns:\n", "    columns:\n      - {name: extra, data_type: int}\n")
    run = works.run()
    assert isinstance(run.failure, GateBlockedError)
    assert "extra is not expected" in run.failure.what
    assert "expectations/rules/marts/fct_transactions.yml" in run.failure.next_step


def test_blocked_gate_publishes_nothing_until_the_data_are_mended(
    works: Works, no_raw_rules: None
) -> None:
    before = works.served(), tables(works)
    works.put([payment(1, day=1, fraud="")], "payments4.csv")
    run = works.run()
    assert (run.exit_code, run.status) == (3, "blocked")
    assert isinstance(run.failure, GateBlockedError)
    assert "the gate says block" in str(run.failure)
    assert (works.served(), tables(works)) == before
    assert (run.trace["audit"].status, run.trace["report"].status) == ("failed", "done")
    assert not {"publish", "features"} & set(run.trace)
    assert "block" in (works.settings.reports / "latest" / "index.json").read_text()
    assert works.runs()[0] == "blocked"
    works.put([payment(1, day=1, fraud=0)], "payments5.csv")
    assert works.run().exit_code == 0
    assert works.served() > before[0]


def test_failing_model_is_named_and_publishes_nothing(works: Works, project: Path) -> None:
    before = works.served()
    edit(
        project, DAILY, "count(*) as transaction_count", "error('no')::bigint as transaction_count"
    )
    run = works.run()
    assert (run.exit_code, run.status) == (1, "failed")
    assert "model fct_daily_transactions failed" in str(run.failure)
    assert run.trace["report"].status == "done"
    assert works.served() == before


@pytest.mark.slow
def test_published_view_is_told_by_the_gate(works: Works, project: Path) -> None:
    before = works.served()
    edit(project, DAILY, "-- one row", "{{ config(materialized='view') }}\n-- one row")
    run = works.run()
    assert (run.exit_code, works.served()) == (3, before)
    assert run.gate is not None
    told = {r.detail for r in run.gate.results if r.table == "marts.fct_daily_transactions"}
    assert told == {
        "marts.fct_daily_transactions is a view: published relations are tables; set materialized"
        " to table or incremental"
    }


@pytest.mark.slow
def test_changed_model_is_published_without_new_rows(works: Works, project: Path) -> None:
    edit(project, DAILY, "count(*) as transaction_count", "count(*) + 0 as transaction_count")
    before = works.served()
    assert works.run().exit_code == 0
    assert works.served() > before


@pytest.mark.slow
def test_refused_batch_holds_up_nobody(works: Works) -> None:
    works.put([payment(4, day=4)], "payments4.csv")
    (works.folder / "payments5.csv").write_text("not,payments\n1,2\n")
    run = works.run()
    assert (run.exit_code, run.status) == (1, "refused")
    (problem,) = run.problems
    assert "payments5.csv" in problem
    assert works.ask("select count(*) from fct_transactions") == [(4,)]

    served = works.served()
    (works.folder / "payments6.csv").write_text("nor,these\n1,2\n")
    run = works.run()
    assert (run.exit_code, run.trace["build"].status) == (1, "skipped")
    assert works.served() == served  # the ledger's line is no news for readers
    assert run.lake_snapshot > run.release.lake_snapshot
    works.put([payment(7, day=7)], "payments7.csv")
    works.run()
    assert works.ask("select count(*) from fct_transactions") == [(5,)]


@pytest.mark.slow
def test_source_without_models_is_in_the_lake(works: Works) -> None:
    (works.folder / "orders.csv").write_text("id\n1\n")
    before = works.served()
    entry = {"name": "shop.orders", "path": "orders.csv"}
    assert works.run(entries=[MERGE, entry]).exit_code == 0
    with open_lake(works.settings) as con:
        rows = run_query(con, "select id from raw_shop.orders", on_lake=True).fetchall()
    assert rows == [("1",)]
    assert works.served() >= before


def test_only_such_sources_publish_nothing_and_succeed(tmp_path: Path) -> None:
    works = Works(tmp_path)
    (tmp_path / "orders.csv").write_text("id\n1\n")
    run = works.run(entries=[{"name": "shop.orders", "path": "orders.csv"}])
    assert (run.exit_code, run.release) == (0, None)
    assert run.trace["build"].status == "skipped"
    assert [trace.status for trace in run.trace.values()].count("failed") == 0


@pytest.mark.slow
def test_rollback_holds_runs_until_resume(works: Works) -> None:
    older = works.served()
    works.put([payment(4, day=4)], "payments4.csv")
    works.run()
    releases.rollback(works.settings, older)
    works.put([payment(5, day=5)], "payments5.csv")
    run = works.run()
    assert (run.exit_code, run.trace["build"].status, works.served()) == (0, "skipped", older)
    assert run.summary()["held"] is True
    releases.resume(works.settings)
    run = works.run()
    assert run.release is not None
    assert run.release.base == older
    assert works.ask("select count(*) from fct_transactions") == [(5,)]


@pytest.mark.slow
def test_rollback_holds_a_build_that_waits(works: Works) -> None:
    older = works.served()
    works.put([payment(4, day=4)], "payments4.csv")
    works.run("land", "load")
    works.run("build")
    works.run("audit")
    releases.rollback(works.settings, older)
    works.run("publish", "features")
    assert works.served() == older


@pytest.mark.slow
def test_stages_one_by_one_are_a_run(works: Works) -> None:
    before = works.served()
    works.put([payment(4, day=4)], "payments4.csv")
    for stages in (("land", "load"), ("build",), ("audit", "report"), ("publish", "features")):
        assert works.run(*stages).exit_code == 0
    assert works.served() > before
    assert works.ask("select count(*) from fct_transactions") == [(4,)]


@pytest.mark.slow
def test_build_is_not_published_without_its_audit(works: Works) -> None:
    before = works.served()
    works.put([payment(4, day=4)], "payments4.csv")
    works.run("land", "load", "build")
    run = works.run("publish")
    assert isinstance(run.failure, GateBlockedError)
    assert works.served() == before


@pytest.mark.parametrize("stage", ["audit", "publish"])
def test_stage_without_a_build_says_so(works: Works, stage: str) -> None:
    with pytest.raises(BuildError, match="there is no build"):
        works.run(stage)


def test_report_alone_shows_the_served_release(works: Works) -> None:
    run = works.run("report")
    assert run.report is not None
    assert works.served() in (run.report.with_name("index.json")).read_text()


def test_lost_run_ledger_loses_no_data(works: Works) -> None:
    works.settings.state_db.unlink()
    works.put([payment(4, day=4)], "payments4.csv")
    assert works.run().exit_code == 0
    assert works.runs() == ["done"]


@pytest.mark.slow
def test_failure_nobody_foresaw_is_noted_and_mended(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    works.put([payment(4, day=4)], "payments4.csv")
    before = works.served()

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(releases, "publish", broken)
        with pytest.raises(ZeroDivisionError):
            works.run()
    assert (works.runs()[0], works.served()) == ("failed", before)
    assert works.run().exit_code == 0
    assert list(works.settings.builds.iterdir()) == []


@pytest.mark.slow
def test_full_disk_is_one_failure_with_nothing_half_done(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = works.served(), catalog_snapshot(works.settings)
    works.put([payment(4, day=4)], "payments4.csv")

    def full(*_: object, **__: object) -> None:
        raise duckdb.IOException('Could not write file "x": No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr("warehouse.loading._write_ledger", full)
        run = works.run()
    assert (run.exit_code, run.status) == (1, "failed")
    assert "disk is full" in str(run.failure)
    assert (works.served(), catalog_snapshot(works.settings)) == before
    assert works.run().exit_code == 0


def test_second_writer_does_nothing(works: Works) -> None:
    with writer_lock(works.settings), pytest.raises(WriterBusyError):
        works.run()
    assert len(works.runs()) == 1


def test_mistake_in_sources_does_nothing(tmp_path: Path) -> None:
    works = Works(tmp_path)
    with pytest.raises(ConfigurationError):
        works.run(entries=[MERGE | {"kye": ["id"]}])
    with pytest.raises(ConfigurationError, match="no source"):
        works.run(only=("shop.orders",))
    assert not works.settings.home.exists()


def test_only_leaves_the_other_sources_alone(works: Works) -> None:
    (works.folder / "orders.csv").write_text("id\n1\n")
    works.put([payment(4, day=4)], "payments4.csv")
    entries = [MERGE, {"name": "shop.orders", "path": "orders.csv"}]
    run = works.run("land", "load", entries=entries, only=("shop.orders",))
    assert {name: s.counts.loaded for name, s in run.summaries.items()} == {"shop.orders": 1}


def test_events_are_json_lines_of_each_stage(
    works: Works, capsys: pytest.CaptureFixture[str]
) -> None:
    run = works.run(log="json")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert {line["run_id"] for line in lines} == {run.run_id}
    assert lines == [json.loads(line.to_json()) for line in read_log(works.settings, run.run_id)]
    stages = [(line["stage"], line["status"]) for line in lines if line["event"] == "stage"]
    assert [stage for stage, status in stages if status == "start"] == list(STAGES)
    ended = [(stage, status) for stage, status in stages if status != "start"]
    assert [stage for stage, _ in ended] == list(STAGES)
    assert {status for _, status in ended} <= {"done", "skipped"}
    first, *_, last = lines
    assert (first["event"], first["stages"]) == ("run_started", list(STAGES))
    assert (last["event"], last["status"]) == ("run_ended", "done")


@pytest.mark.slow
def test_long_stages_tell_how_far_they_are(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    come: dict[str, list[tuple[float, float, str, str]]] = {}

    def progress(events: Events, done: float, total: float, unit: str, detail: str = "") -> None:
        come.setdefault(events._stage, []).append((done, total, unit, detail))

    monkeypatch.setattr(Events, "progress", progress)
    works.put([payment(4, day=4)], "payments4.csv")
    works.put([payment(5, day=5), payment(6, day=6)], "payments5.csv")
    assert works.run().exit_code == 0
    units = {stage: {told[2] for told in found} for stage, found in come.items()}
    assert units == {
        "land": {"file"},
        "load": {"byte"},
        "build": {"model"},
        "audit": {"rule"},
        "features": {"feature set"},
    }
    for found in come.values():
        assert all(0 <= done <= total for done, total, *_ in found)
        assert [told[0] for told in found] == sorted(told[0] for told in found)
    sizes = [(works.folder / f"payments{n}.csv").stat().st_size for n in (4, 5)]
    assert [told[:2] for told in come["load"]] == [(0, sum(sizes)), (sizes[0], sum(sizes))]
    assert "payments5.csv, file 2 of 2, 1 row so far" in come["load"][-1][3]
    assert come["build"][-1][0] == come["build"][-1][1] == 8


@pytest.mark.slow
def test_moved_home_goes_on(works: Works) -> None:
    moved = works.settings.home.with_name("moved")
    works.settings.home.rename(moved)
    works.settings = Settings(moved, threads=2, memory_limit="1GiB")
    works.put([payment(4, day=4)], "payments4.csv")
    run = works.run()
    assert run.trace["build"].detail.endswith("6 in full")
    assert works.ask("select count(*) from fct_transactions") == [(4,)]


@pytest.mark.slow
def test_gate_gets_ready_only_for_a_build_that_it_will_audit(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Auditor] = []

    def start() -> Auditor:
        started.append(Auditor())
        return started[-1]

    monkeypatch.setattr(stage_functions, "start_auditor", start)
    works.run()
    assert started == []  # nothing is new
    works.put([payment(n, day=n, customer=n) for n in (1, 2, 3, 4)])
    assert works.run("land", "load", "build").exit_code == 0
    assert started == []
    run = works.run()
    assert (run.exit_code, run.summary()["verdict"], len(started)) == (0, "pass", 1)
    monkeypatch.setattr(stage_functions, "build", failing)
    assert works.run(full_refresh=True).status == "failed"
    assert [auditor.is_gone for auditor in started] == [True, True]


def failing(*_: object, **__: object) -> None:
    raise BuildError("no")
