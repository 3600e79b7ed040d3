"""Runs to which nothing new comes: the clock goes on, and rules that look at it are judged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from handmade import payment
from typer.testing import CliRunner
from works import Works

from expectations import offenders, rule_files
from expectations.incidents import Incident, incidents_for_report
from flows.cli import app
from flows.pipeline import STAGES, Run
from warehouse import releases
from warehouse.errors import GateBlockedError

TABLE = "marts.fct_transactions"
RULE = """
  - id: loaded_lately
    check: freshness
    column: _loaded_at
    max_age: 1 hour
    severity: {severity}
    reason: a dashboard shows the last hour
"""


class Clocked(Works):
    """A home with a rule on freshness, and a clock that can be put forward."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.rules = folder / "rules"

    def write_rule(self, severity: str) -> None:
        text = (rule_files.FOLDER / "marts" / "fct_transactions.yml").read_text()
        said = RULE.format(severity=severity) if severity else ""
        (self.rules / "marts" / "fct_transactions.yml").write_text(text.rstrip() + "\n" + said)

    def incidents(self) -> list[Incident]:
        return list(incidents_for_report(self.settings))

    def told(self) -> dict[str, object]:
        told: dict[str, object] = json.loads(
            (self.settings.reports / "latest" / "index.json").read_text()
        )
        return told


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Clocked:
    """A home in which the rule holds. Not to be changed."""
    home = Clocked(tmp_path_factory.mktemp("clocked"))
    shutil.copytree(rule_files.FOLDER, home.rules)
    home.write_rule("critical")
    home.put([payment(n, day=n, customer=n) for n in (1, 2, 3)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rule_files.load_rules, "__defaults__", (home.rules,))
        assert home.run().exit_code == 0
    return home


@pytest.fixture
def home(begun: Clocked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clocked:
    shutil.copytree(begun.folder, tmp_path / "works", symlinks=True)
    copy = Clocked(tmp_path / "works")
    monkeypatch.setattr(rule_files.load_rules, "__defaults__", (copy.rules,))
    return copy


def put_forward(patch: pytest.MonkeyPatch, hours: int) -> None:
    patch.setattr(offenders, "NOW", f"(now() at time zone 'UTC' + interval {hours} hours)")


def checked(run: Run) -> dict[str, str]:
    return {result.rule_id: result.status for result in run.clock or ()}


def no_gate(*_: object) -> None:
    raise AssertionError("the gate was loaded")


def test_expired_rule_blocks_a_run_with_nothing_new(
    home: Clocked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("expectations.gate.load", no_gate)
    served = home.served()
    run = home.run()
    assert (run.exit_code, checked(run)) == (0, {"loaded_lately": "pass"})
    assert run.trace["build"].status == "skipped"
    put_forward(monkeypatch, 3)
    run = home.run()
    assert (run.exit_code, run.status, home.served()) == (3, "blocked", served)
    assert list(run.trace) == list(STAGES)
    assert run.trace["publish"].status == "skipped"
    assert run.summary()["verdict"] == "block"
    assert isinstance(run.failure, GateBlockedError)
    assert run.failure.where == TABLE
    assert "loaded_lately: the newest _loaded_at is " in run.failure.what
    assert "(3 hours ago), older than 1 hour" in run.failure.what
    assert f"release {served} is still served" in run.failure.next_step
    [opened] = home.incidents()
    assert (opened.title, opened.severity) == (f"{TABLE}: loaded_lately fails", "critical")
    assert f"incident {opened.id} opened, critical" in capsys.readouterr().err
    told = home.told()
    assert (told["status"], told["verdict"]) == ("blocked", "block")
    assert "✕ blocked" in (home.settings.reports / "latest" / "index.html").read_text()
    assert home.runs()[0] == "blocked"
    status = CliRunner().invoke(app, ["status", "--home", str(home.settings.home)]).output
    assert "incidents 1 " in status


@pytest.mark.slow
def test_incident_lasts_until_data_come(home: Clocked, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        put_forward(patch, 3)
        assert home.run().exit_code == 3
        [opened] = home.incidents()
        assert home.run("build").exit_code == 0  # which asks no gate
        assert home.run("report").exit_code == 0
        assert home.told()["verdict"] == "block"
        assert home.run().exit_code == 3
        [lasting] = home.incidents()
        assert (lasting.id, lasting.closed_at, lasting.runs) == (opened.id, None, 3)
    home.put([payment(4, day=4)], "payments4.csv")
    run = home.run()
    assert (run.exit_code, run.clock) == (0, None)
    [closed] = home.incidents()
    assert (closed.id, closed.closed_at is None) == (opened.id, False)


@pytest.mark.slow
def test_incident_of_a_rule_that_was_taken_out_is_over(
    home: Clocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_forward(monkeypatch, 3)
    assert home.run().exit_code == 3
    home.write_rule("")
    assert home.run().exit_code == 0
    [closed] = home.incidents()
    assert closed.title.endswith("(removed since)")


@pytest.mark.parametrize(("severity", "word"), [("warning", "warning"), ("info", "info")])
def test_what_is_not_critical_is_told_and_blocks_nothing(
    home: Clocked, monkeypatch: pytest.MonkeyPatch, severity: str, word: str
) -> None:
    home.write_rule(severity)
    releases.rollback(home.settings, home.served())  # held, so that the rule makes no new build
    put_forward(monkeypatch, 3)
    asked = ["--sources", str(home.folder / "sources.yml"), "--home", str(home.settings.home)]
    done = CliRunner().invoke(app, ["run", *asked])
    assert done.exit_code == 0, done.output
    assert f"{word}: loaded_lately: the newest _loaded_at is " in done.output
    assert [found.severity for found in home.incidents()] == ["warning"] * (severity == "warning")
    assert home.told()["verdict"] == ("warn" if severity == "warning" else "pass")


def test_release_that_is_held_is_judged_too(home: Clocked, monkeypatch: pytest.MonkeyPatch) -> None:
    releases.rollback(home.settings, home.served())
    put_forward(monkeypatch, 3)
    run = home.run()
    assert (run.exit_code, run.trace["build"].status) == (3, "skipped")
    assert "`clearwater resume` goes on" in str(run.failure)
    [opened] = home.incidents()
    assert opened.severity == "critical"


def test_source_from_which_nothing_comes_is_the_cause(
    home: Clocked, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_forward(monkeypatch, 3)
    told = ("payments.transactions", "no file came since payments.csv, 72 hours ago")
    monkeypatch.setattr("expectations.overdue.overdue", lambda *_: [told])
    assert home.run().exit_code == 3
    [opened] = home.incidents()
    assert opened.root == "raw_payments.transactions"
    assert opened.severity == "critical"
    assert {symptom.rule_id for symptom in opened.symptoms} == {"overdue", "loaded_lately"}
