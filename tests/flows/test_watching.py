"""From runs to incidents: what a real run opens, keeps and closes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from handmade import PAYMENTS, edit, payment, sources_file
from typer.testing import CliRunner
from works import MERGE, Works

from expectations.incidents import Incident, incidents_for_report
from expectations.rules import Rule
from flows import alerts
from flows.alerts import Message, Receiver
from flows.cli import app
from flows.pipeline import Options, Run, execute
from warehouse.errors import ConfigurationError
from warehouse.incident_log import incidents as table
from warehouse.incident_log import open_incident_log
from warehouse.state import open_ledger

ORDERS = PAYMENTS | {"name": "shop.payments", "path": "shop*.csv"}
TO_THE_GATE = ("land", "load", "build", "audit")
DAILY = "models/marts/fct_daily_transactions.sql"
TERMINALS = "models/marts/dim_terminals.sql"
SMALL = Rule(
    id="small",
    boundary="raw",
    table="raw_payments.transactions",
    check="between",
    severity="warning",
    owner="payments",
    reason="nobody pays so much",
    columns=("TX_AMOUNT",),
    maximum=100,
)


def shown(works: Works) -> list[Incident]:
    return list(incidents_for_report(works.settings))


def told(works: Works) -> tuple[str, int, int]:
    """What the last report tells of the rule SMALL: its status, and what it checked and found."""
    content = json.loads((works.settings.reports / "latest" / "index.json").read_text())
    [rule] = [found for found in content["gate"]["results"] if found["rule_id"] == SMALL.id]
    return rule["status"], rule["rows_checked"], rule["unexpected_count"]


@pytest.fixture
def sent(works: Works, monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """What was sent to the one receiver, which is up."""
    works.settings = replace(works.settings, alert_urls="json://localhost")
    kept: list[Message] = []

    def take(messages: dict[Receiver, Message]) -> dict[Receiver, str]:
        kept.extend(messages.values())
        return {}

    monkeypatch.setattr(alerts, "deliver", take)
    return kept


@pytest.mark.slow
def test_blocked_gate_is_one_incident_that_is_told_once_and_closes_itself(
    works: Works, sent: list[Message], capsys: pytest.CaptureFixture[str], no_raw_rules: None
) -> None:
    works.put([payment(1, day=1, fraud="")], "payments4.csv")
    assert works.run(*TO_THE_GATE).exit_code == 3
    [opened] = shown(works)
    assert (opened.root, opened.severity) == ("marts.fct_transactions", "critical")
    assert {symptom.table for symptom in opened.symptoms} > {opened.root}
    said = capsys.readouterr().err
    assert f"incident {opened.id} opened, critical: {opened.title}" in said
    assert "an alert of 1 incident was sent to json://localhost" in said
    assert works.run(*TO_THE_GATE).exit_code == 3
    [lasting] = shown(works)
    assert (lasting.id, lasting.runs) == (opened.id, 2)
    works.put([payment(1, day=1, fraud=0)], "payments5.csv")
    assert works.run(*TO_THE_GATE).exit_code == 0
    [closed] = shown(works)
    assert closed.id == opened.id
    assert closed.closed_at is not None
    assert f"incident {opened.id} is closed, was: {closed.title}" in capsys.readouterr().err
    assert [message.subject.rpartition(" ")[2] for message in sent] == ["opened", "closed"]
    assert f"release {works.served()} is served" in sent[0].text


def test_refused_file_is_an_incident_until_it_is_gone_and_a_partial_run_proves_nothing(
    works: Works, sent: list[Message]
) -> None:
    file = works.folder / "payments5.csv"
    file.write_text("not,payments\n1,2\n")
    run = works.run()
    assert run.exit_code == 1
    [opened] = shown(works)
    assert (opened.root, opened.severity) == ("raw_payments.transactions", "critical")
    assert opened.title == "raw_payments.transactions: files are refused"
    assert "payments5.csv" in opened.symptoms[0].detail
    assert run.report is not None
    [message] = sent
    assert f"Report: {run.report}" in message.text
    file.unlink()
    works.run("land")
    works.run("report")
    assert shown(works) == [opened]
    works.run("land", "load")
    assert shown(works)[0].closed_at is not None


def test_file_refused_for_want_of_what_another_refused_file_has_is_no_incident_of_its_own(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = replace(
        SMALL,
        id="known",
        check="references",
        severity="critical",
        columns=("TRANSACTION_ID",),
        maximum=None,
        references_table="raw_shop.payments",
        references_columns=("TRANSACTION_ID",),
    )
    entries = [MERGE, ORDERS]
    works.put([payment(n, day=n) for n in (1, 2, 3)], "shop1.csv")
    works.run("land", "load", entries=entries)
    monkeypatch.setattr("expectations.raw.load_rules", lambda: [known])
    monkeypatch.setattr("expectations.rule_files.load_rules", lambda: [known])
    (works.folder / "shop2.csv").write_text("not,payments\n1,2\n")
    works.put([payment(4, day=4)], "payments4.csv")
    run = works.run("land", "load", entries=entries)
    assert len(run.problems) == 2
    [opened] = shown(works)
    assert opened.title == "raw_shop.payments: files are refused, and 1 table downstream"
    works.put([payment(4, day=4)], "shop2.csv")
    works.run("land", "load", entries=entries)
    works.run("land", "load", entries=entries)
    assert shown(works)[0].closed_at is not None


def test_rows_loaded_in_breach_of_a_rule_are_an_incident_until_a_better_file_comes(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("expectations.raw.load_rules", lambda: [SMALL])
    monkeypatch.setattr("expectations.rule_files.load_rules", lambda: [SMALL])
    works.put([payment(4, day=4, amount="500.00")], "payments4.csv")
    assert works.run("land", "load", "report").exit_code == 0
    [opened] = shown(works)
    assert (opened.root, opened.severity) == (SMALL.table, "warning")
    assert opened.symptoms[0].detail.startswith("payments4.csv: 1 row loaded in breach")
    assert told(works) == ("warn", 1, 1)
    assert works.run("land", "load", "report").exit_code == 0
    assert shown(works)[0].closed_at is None  # nothing new came
    assert told(works) == ("unseen", 0, 0)  # and the report does not say that the rule holds
    works.put([payment(5, day=5, amount="5.00")], "payments5.csv")
    assert works.run("land", "load", "report").exit_code == 0
    assert shown(works)[0].closed_at is not None
    assert told(works) == ("pass", 1, 0)


def test_rule_for_which_a_file_was_refused_has_its_next_step_in_the_report(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    critical = replace(SMALL, severity="critical")
    monkeypatch.setattr("expectations.raw.load_rules", lambda: [critical])
    monkeypatch.setattr("expectations.rule_files.load_rules", lambda: [critical])
    works.put([payment(4, day=4, amount="500.00")], "payments4.csv")
    run = works.run("land", "load", "report")
    assert told(works) == ("fail", 1, 1)
    assert run.report is not None
    assert "<b>Next:</b> ask the sender for a corrected file" in run.report.read_text()


def test_incident_of_a_source_that_was_removed_is_over(works: Works, tmp_path: Path) -> None:
    (works.folder / "shop1.csv").write_text("not,payments\n1,2\n")
    works.run("land", "load", entries=[MERGE, ORDERS])
    [opened] = shown(works)
    assert opened.root == "raw_shop.payments"
    works.run("land", "load", only=("payments.transactions",), entries=[MERGE, ORDERS])
    other = Options(sources=sources_file(tmp_path / "other", MERGE))
    execute(works.settings, other, stages=("land", "load"))
    assert shown(works) == [opened]  # neither run speaks of it
    works.run("land", "load", entries=[MERGE])
    [closed] = shown(works)
    assert closed.closed_at is not None
    assert closed.title == "raw_shop.payments: files are refused (removed since)"


def test_incident_of_a_rule_that_was_removed_is_over(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = [SMALL]
    monkeypatch.setattr("expectations.raw.load_rules", lambda: rules)
    monkeypatch.setattr("expectations.rule_files.load_rules", lambda: rules)
    works.put([payment(4, day=4, amount="500.00")], "payments4.csv")
    works.run("land", "load")
    assert shown(works)[0].closed_at is None
    rules.clear()
    works.run("land", "load")
    assert shown(works)[0].title == "raw_payments.transactions: small fails (removed since)"


def _aged(works: Works, days: int) -> None:
    """Make a home of which a file came each day until so many days ago."""
    now = datetime.now(UTC)
    sidecars = sorted((works.settings.home / "landing").glob("??/*.json"))
    told = [json.loads(file.read_text()) for file in sidecars]
    order = sorted(range(len(told)), key=lambda n: told[n]["original_name"])
    for place, n in enumerate(order):
        at = now - timedelta(days=days + len(order) - 1 - place, minutes=10)
        told[n] |= {"arrived_at": at.isoformat(), "modified_ns": 0}
        sidecars[n].write_text(json.dumps(told[n]))


@pytest.mark.slow
def test_overdue_file_is_an_incident_until_one_comes(
    works: Works, sent: list[Message], capsys: pytest.CaptureFixture[str]
) -> None:
    for day in range(4, 24):
        works.put([payment(day, day=day)], f"payments{day:02}.csv")
    assert works.run("land", "load").exit_code == 0
    _aged(works, days=0)
    assert not works.run("land", "load").summaries["payments.transactions"].warnings
    _aged(works, days=3)
    run = works.run("land", "load", "report")
    overdue = (
        "no file came since payments23.csv, 72 hours ago; the next one usually comes after 24 hours"
    )
    assert (run.exit_code, run.status) == (0, "done")
    assert run.summary()["sources"]["payments.transactions"]["warnings"] == [overdue]
    [opened] = shown(works)
    assert (opened.title, opened.severity) == (
        "raw_payments.transactions: nothing new comes",
        "warning",
    )
    assert opened.symptoms[0].detail == overdue
    assert sent == []  # a warning alerts who asked for warnings
    page = (works.settings.reports / "latest" / "index.html").read_text()
    assert "▲ passed, and data are stale" in page
    assert "But nothing new comes from payments.transactions." in page
    assert f"▲ {overdue}" in page
    status = CliRunner().invoke(app, ["status", "--home", str(works.settings.home)]).output
    assert "stale     payments.transactions: no file came since payments23.csv" in status
    works.put([payment(30, day=30)], "payments24.csv")
    assert not works.run("land", "load", "report").summaries["payments.transactions"].warnings
    [closed] = [incident for incident in shown(works) if incident.id == opened.id]
    assert closed.closed_at is not None
    assert "data are stale" not in (works.settings.reports / "latest" / "index.html").read_text()


@pytest.mark.slow
def test_file_that_brings_nothing_is_an_incident_until_a_better_one_comes(works: Works) -> None:
    for day in range(4, 14):
        works.put([payment(day, day=day)], f"payments{day:02}.csv")
    works.run("land", "load")
    works.put([payment(13, day=13)], "payments14.csv")
    assert works.run("land", "load").exit_code == 0
    [opened] = shown(works)
    assert "payments14.csv is payments13.csv, byte by byte" in opened.symptoms[0].detail
    works.run("land", "load")
    assert shown(works)[0].closed_at is None
    works.put([payment(14, day=14)], "payments15.csv")
    works.run("land", "load")
    assert shown(works)[0].closed_at is not None


@pytest.mark.slow
def test_models_that_do_not_build_for_one_reason_are_one_incident(
    works: Works, project: Path
) -> None:
    count, error = "count(*) as transaction_count", "error('no')::bigint as transaction_count"
    for model in (DAILY, TERMINALS):
        edit(project, model, count, error)
    assert works.run().exit_code == 1
    [opened] = shown(works)
    assert {symptom.table for symptom in opened.symptoms} == {
        "marts.fct_daily_transactions",
        "marts.dim_terminals",
    }
    assert opened.title == "marts.fct_transactions: build fails in 2 tables made from it"
    for model in (DAILY, TERMINALS):
        edit(project, model, error, count)
    assert works.run().trace["build"].status == "skipped"
    assert shown(works)[0].closed_at is not None


def test_stage_that_ends_with_an_error_is_an_incident(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ConfigurationError("rules are wrong", where="rules.yml")

    with monkeypatch.context() as patch:
        patch.setattr("expectations.rule_files.load_rules", fail)
        works.run("build")
        [opened] = shown(works)
        assert (opened.title, opened.root) == ("the build stage failed", "build")
    works.run("build")
    assert shown(works)[0].closed_at is not None


def test_run_that_a_person_stops_opens_nothing(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flows.stages.load_sources", stop)
    with pytest.raises(KeyboardInterrupt):
        works.run()
    assert shown(works) == []


def test_state_that_is_lost_or_broken_fails_no_run(
    works: Works, capsys: pytest.CaptureFixture[str]
) -> None:
    file = works.folder / "payments5.csv"
    file.write_text("not,payments\n1,2\n")
    works.run("land", "load")
    works.settings.state_db.unlink()
    works.run("land", "load")
    assert [incident.runs for incident in shown(works)] == [1]
    with open_ledger(works.settings) as ledger, ledger._engine.begin() as con:
        con.exec_driver_sql(f"drop table {table.name}")
        con.exec_driver_sql(f"create table {table.name} (of_another_version integer)")
    run: Run = works.run("land", "load")
    assert run.status == "refused"
    assert "the incidents lag, the data does not: " in capsys.readouterr().err


def test_receiver_that_is_down_is_told_of_it_with_the_next_run(
    works: Works, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    works.settings = replace(works.settings, alert_urls="json://up json://down")
    sent: list[str] = []
    down = {"json://down"}

    def take(messages: dict[Receiver, Message]) -> dict[Receiver, str]:
        sent.extend(sorted(receiver.name for receiver in messages if receiver.name not in down))
        return {receiver: "it is down" for receiver in messages if receiver.name in down}

    monkeypatch.setattr(alerts, "deliver", take)
    (works.folder / "payments5.csv").write_text("not,payments\n1,2\n")
    assert works.run("land", "load").exit_code == 1
    works.run("land", "load")
    assert sent == ["json://up"]
    said = capsys.readouterr().err
    assert said.count("the alert to json://down was not sent: it is down") == 2
    down.clear()
    works.run("land", "load")
    works.run("land", "load")
    assert sent == ["json://up", "json://down"]


def test_nobody_is_asked_for_and_nothing_is_loaded_without_a_receiver(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    works.settings = replace(works.settings, alert_urls="")
    monkeypatch.delitem(sys.modules, "apprise", raising=False)
    (works.folder / "payments5.csv").write_text("not,payments\n1,2\n")
    works.run("land", "load")
    assert "apprise" not in sys.modules
    with open_incident_log(works.settings) as log:
        assert log.told("json://localhost") == {}
