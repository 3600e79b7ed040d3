"""`clearwater logs`: the story of a run, errors first, for people and for machines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from handmade import edit, payment, sources_file
from held import held_elsewhere
from works import MERGE, Works

from flows import cli
from flows import story as telling_story
from flows.checks import holder as holding
from flows.checks import runs as checks
from flows.checks.findings import Look
from flows.events import Events
from flows.run_log import log_file
from warehouse import state
from warehouse.errors import FailedModel
from warehouse.lock import host, writer_lock
from warehouse.processes import Process, this_process
from warehouse.settings import Settings
from warehouse.state import open_ledger

DAILY = "models/marts/fct_daily_transactions.sql"
CUSTOMER = 7654321  # whose number is personal


@dataclass(frozen=True)
class Said:
    """How a command ended and what it printed."""

    code: int | str | None
    out: str
    err: str


Clearwater = Callable[..., Said]


@pytest.fixture
def clearwater(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Clearwater:
    def call(home: Path, *arguments: object) -> Said:
        capsys.readouterr()
        words = ["clearwater", *map(str, arguments), "--home", str(home)]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Said(ended.value.code or 0, *capsys.readouterr())

    return call


def test_failed_model_is_told_with_its_sql_and_how_to_go_on(
    works: Works, project: Path, clearwater: Clearwater
) -> None:
    edit(project, DAILY, "count(*) as", "count(no_such_column) as")
    works.put([payment(4, day=4)], "payments4.csv")
    run = works.run("land", "load", "build")
    home = works.settings.home
    story_told = clearwater(home, "logs").out
    lines = story_told.splitlines()
    assert lines[0].startswith(f"run {run.run_id}: failed, exit code 1")
    (model,) = [line for line in lines if line.startswith("model")]
    assert DAILY in model
    assert 'Referenced column "no_such_column" not found' in story_told
    (meant,) = [line for line in lines if line.lstrip().startswith(">")]
    assert meant.endswith("|         count(no_such_column) as transaction_count,")
    assert f"`clearwater retry {run.run_id} --home {home}`" in story_told
    stages = [line for line in lines if line.startswith(("land ", "load ", "build "))]
    assert ["1 new of 2 files" in stages[0], "1 row loaded" in stages[1]] == [True, True]
    assert "failed: " in stages[2]
    assert lines.index(model) < lines.index(stages[0])  # errors first

    told = json.loads(clearwater(home, "logs", run.run_id, "--json").out)
    assert (told["run_id"], told["status"], told["exit_code"]) == (run.run_id, "failed", 1)
    (failed,) = [line for line in told["errors"] if line["event"] == "model_failed"]
    assert failed["relation"] == "marts.fct_daily_transactions"
    assert [stage["status"] for stage in told["stages"]] == ["done", "done", "failed"]


def test_broken_contract_is_told_once_with_what_to_do(
    works: Works, project: Path, clearwater: Clearwater
) -> None:
    edit(project, DAILY.replace(".sql", ".yml"), "data_type: bigint", "data_type: integer")
    works.put([payment(4, day=4)], "payments4.csv")
    works.run("land", "load", "build")
    told = clearwater(works.settings.home, "logs").out
    errors, _, _ = told.partition("\nland ")
    fault = "model fct_daily_transactions does not keep its contract: amount_cents is BIGINT"
    assert (errors.count(fault), errors.count("next: ")) == (1, 1)
    assert "in macro" not in told
    assert "as dbt compiled it" not in told


@pytest.mark.slow
def test_blocked_rule_is_told_with_its_rows_but_for_what_is_personal(
    works: Works, clearwater: Clearwater, no_raw_rules: None
) -> None:
    works.put([payment(4, day=4, fraud="", customer=CUSTOMER)], "payments4.csv")
    run = works.run()
    assert run.status == "blocked"
    home = works.settings.home
    told = clearwater(home, "logs", run.run_id).out
    lines = told.splitlines()
    assert lines[0].startswith(f"run {run.run_id}: blocked, exit code 3, verdict block")
    at = next(n for n, line in enumerate(lines) if line.startswith("rule"))
    assert "critical" in lines[at]
    headings, _, row = (line.split() for line in lines[at + 1 : at + 4])
    assert dict(zip(headings, row, strict=False))["is_fraud"] == "null"
    assert "•••" in told
    assert str(CUSTOMER) not in log_file(works.settings, run.run_id).read_text()
    assert f"`clearwater retry {run.run_id} --home {home}`" in told


def test_quarantine_and_what_was_done_are_told_of_a_run_that_is_well(
    works: Works, clearwater: Clearwater
) -> None:
    works.put([payment(4, day=4), payment(5, amount="much")], "payments4.csv")
    run = works.run("land", "load")
    told = clearwater(works.settings.home, "logs").out
    assert told.startswith(f"run {run.run_id}: done, release {works.served()}, took ")
    assert "quarantine  1 of payments.transactions" in told
    assert "clearwater quarantine show payments.transactions" in told
    assert "payments.transactions: 1 row loaded, 1 quarantined, of 1 file" in told
    assert "retry" not in told


def begun(settings: Settings, run_id: str, process: Process, on: str = "") -> Events:
    """The log of a run that is in the middle of its second stage."""
    events = Events("text", run_id)
    events.keep(log_file(settings, run_id))
    asked = {"stages": ["land", "load"], "sources": "s.yml", "only": ["a.b"]}
    events.event("run_started", **asked, process=vars(process), host=on or host())
    events.stage("land", "start")
    events.stage("land", "done", detail="1 new of 1 file", seconds=0.1)
    events.stage("load", "start")
    events._kept_at -= 99
    events.progress(3e6, 6e6, "byte", "a.b: x.csv")
    return events


def test_killed_run_tells_how_far_it_came(settings: Settings, clearwater: Clearwater) -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    begun(settings, "r1", Process(child.pid, "then"))
    told = clearwater(settings.home, "logs").out.splitlines()
    assert told[0] == "run r1: crashed: it ended without a word"
    assert "asked     land load of s.yml, only a.b" in told
    (came,) = [line for line in told if line.startswith("came to")]
    assert came.startswith("came to   load, 3.0 MB of 6.0 MB")
    assert any("clearwater retry r1" in line for line in told)
    assert any(line.startswith("load ") and "not ended" in line for line in told)


def test_run_at_work_is_told_as_that(settings: Settings, clearwater: Clearwater) -> None:
    begun(settings, "r1", this_process())
    with writer_lock(settings, run_id="r1"):
        told = clearwater(settings.home, "logs").out
    assert told.startswith("run r1: running")
    assert "retry" not in told
    with writer_lock(settings, run_id="r2"):  # of the same process, as in these tests
        assert clearwater(settings.home, "logs").out.startswith("run r1: crashed")


def test_run_of_another_host_is_running_for_every_reader_while_it_holds_the_lock(
    settings: Settings, clearwater: Clearwater, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, open_ledger(settings) as ledger:
        patch.setattr(state, "host", lambda: "elsewhere")
        ledger.start("r1")
    begun(settings, "r1", Process(1, "another-boot 4711"), "elsewhere")

    def told() -> tuple[str, str, str]:
        logs = json.loads(clearwater(settings.home, "logs", "--json").out)
        seen = json.loads(clearwater(settings.home, "status", "--json").out)
        look = Look(settings.home / "sources.yml", settings)
        return logs["status"], seen["runs"][0]["status"], checked(look)

    def checked(look: Look) -> str:
        _, wrong = checks.state(look)
        return "; ".join(error.what for error in wrong)

    with held_elsewhere(settings, "r1"):
        assert told() == ("running", "running", "")
        monkeypatch.setattr(holding, "LOCKS", settings.home)  # where no locks are listed
        assert told() == ("running", "running", "")
    dead = "1 run noted as running, but nobody writes: r1"
    assert told() == ("crashed", "crashed", dead)


def test_run_that_ends_while_it_is_looked_at_has_not_crashed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = begun(settings, "r1", this_process())
    looked = iter([lambda: events.event("run_ended", status="done", exit_code=0)])
    monkeypatch.setattr(telling_story, "lock_holder", lambda _: next(looked)())
    found = telling_story.newest_story(settings, "r1")
    assert found
    assert found.status == "done"


def test_crash_has_its_frames(settings: Settings, clearwater: Clearwater) -> None:
    events = begun(settings, "r1", this_process())
    try:
        Path("\0").stat()
    except ValueError as error:
        events.error(error)
    events.event("run_ended", level="error", status="failed", exit_code=1)
    told = clearwater(settings.home, "logs", "r1").out
    assert "error     in load: ValueError: embedded null byte" in told
    assert "test_logs_command.py" in told


def test_model_that_stopped_no_run_is_told_with_what_to_do(
    settings: Settings, clearwater: Clearwater
) -> None:
    events = begun(settings, "r1", this_process())
    model = FailedModel("marts.a", "a.yml", "the YAML lacks x", next_step="add to the columns")
    events.event("model_failed", "marts.a does not build", level="error", **model._asdict())
    events.event("run_ended", level="error", status="blocked", exit_code=3)
    lines = [line.strip() for line in clearwater(settings.home, "logs", "r1").out.splitlines()]
    at = lines.index("model     marts.a does not build: a.yml")
    assert lines[at + 1 : at + 3] == ["the YAML lacks x", "next: add to the columns"]


def test_log_with_a_torn_line_is_told(settings: Settings) -> None:
    begun(settings, "r1", this_process())
    file = log_file(settings, "r1")
    file.write_bytes(file.read_bytes()[:-20])
    with writer_lock(settings, run_id="r1"):
        found = telling_story.newest_story(settings, "r1")
    assert found
    assert found.status == "running"


@pytest.mark.parametrize(
    ("known", "asked", "words", "code"),
    [
        ([], [], "no run has left a log yet", 1),
        ([], ["r1"], "there is no log of a run 'r1'", 2),
        (["20260101T000000-aaaaaa"], ["20260101T000000-aaaaab"], "20260101T000000-aaaaaa", 2),
        (["r1"], ["r1"], "the log of this run is empty", 1),
    ],
)
def test_run_that_is_not_there_is_one_message(
    settings: Settings,
    clearwater: Clearwater,
    known: list[str],
    asked: list[str],
    words: str,
    code: int,
) -> None:
    settings.logs.mkdir(parents=True)
    for run in known:
        log_file(settings, run).touch()
    said = clearwater(settings.home, "logs", *asked)
    assert (said.code, words in said.err, "\n  next: " in said.err) == (code, True, True)


@pytest.mark.parametrize("by", ["option", "environment"])
def test_json_mode_tells_every_line_as_json_with_the_run(
    works: Works, clearwater: Clearwater, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    works.put([payment(4, day=4)], "payments4.csv")
    (works.folder / "torn.csv").write_text("x\n")
    entries = [MERGE, MERGE | {"name": "shop.torn", "path": "torn.csv"}]
    asked = ["ingest", "--sources", sources_file(works.folder, *entries)]
    if by == "option":
        asked += ["--log", "json"]
    else:
        monkeypatch.setenv("CLEARWATER_LOG", "json")
    said = clearwater(works.settings.home, *asked)
    told = [json.loads(line) for line in said.err.splitlines()]
    assert (said.code, said.out) == (1, "")
    assert len({line["run_id"] for line in told}) == 1
    assert {"run_started", "refused", "source", "run_ended"} <= {line["event"] for line in told}
    (refused,) = [line for line in told if line["event"] == "refused"]
    assert (refused["level"], refused["source"]) == ("error", "shop.torn")


def test_refusal_before_a_run_is_json_too(settings: Settings, clearwater: Clearwater) -> None:
    said = clearwater(settings.home, "run", "--sources", "none.yml", "--log", "json")
    (line,) = [json.loads(line) for line in said.err.splitlines()]
    assert (said.code, line["event"], line["level"]) == (2, "error", "error")
    assert "no such sources file" in line["what"]
    assert not settings.logs.exists()
    text = clearwater(settings.home, "run", "--sources", "none.yml").err
    assert text.startswith("error: ")
