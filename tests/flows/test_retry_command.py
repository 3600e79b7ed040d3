"""`clearwater retry`: what it says, its exit codes, and that it does the rest of the work."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from functools import partial

import pytest
from command_line import Clearwater, Said
from handmade import payment, sources_file
from works import MERGE, Works

from benchmarks.kills import Watch, started
from flows import stages as stage_functions
from warehouse.errors import ReportError
from warehouse.lock import writer_lock
from warehouse.state import open_ledger

Retry = Callable[..., Said]


@pytest.fixture
def retry(works: Works, clearwater: Clearwater, monkeypatch: pytest.MonkeyPatch) -> Retry:
    monkeypatch.setenv("CLEARWATER_HOME", str(works.settings.home))
    return partial(clearwater, "retry")


def newest(works: Works) -> dict[str, object]:
    with open_ledger(works.settings) as ledger:
        return ledger.newest(1)[0]


def test_run_that_was_done_is_left_alone(works: Works, retry: Retry) -> None:
    run_id = str(newest(works)["run_id"])
    said = retry(run_id)
    assert (said.code, said.out) == (0, f"run {run_id} was done; there is nothing to retry\n")
    said = retry("--json")
    assert (said.code, json.loads(said.out)) == (0, {"run_id": None, "retried": False})
    assert works.runs() == ["done"]


def test_unknown_run_is_2_with_the_nearest(works: Works, retry: Retry) -> None:
    run_id = str(newest(works)["run_id"])
    said = retry(f"{run_id}x")
    assert said.code == 2
    assert said.err.startswith(f"error: clearwater retry: there is no run '{run_id}x'")
    assert f"runs: {run_id}" in said.err


def test_run_that_is_at_work_is_4(works: Works, retry: Retry) -> None:
    with writer_lock(works.settings, run_id="r1"), open_ledger(works.settings) as ledger:
        ledger.start("r1")
        said = retry("r1")
        assert said.code == 4
        assert "run r1 is still at work" in said.err


@pytest.mark.slow
def test_blocked_run_is_audited_again_and_the_mended_one_is_built(
    works: Works, retry: Retry, no_raw_rules: None
) -> None:
    works.put([payment(4, day=4, fraud="")], "payments4.csv")
    blocked = works.run()
    assert blocked.status == "blocked"
    said = retry()
    assert said.code == 3
    assert f"run {blocked.run_id} from audit on: its gate blocked" in said.out
    assert "the gate says block" in said.err
    works.put([payment(4, day=4)], "payments4.csv")
    assert works.run("land", "load").status == "done"
    said = retry("--json")
    told = json.loads(said.out)
    assert (said.code, told["status"]) == (0, "done")
    assert list(told["stages"]) == ["build", "audit", "publish", "features", "report"]
    assert works.ask("select count(*) from fct_transactions") == [(4,)]
    assert "nothing to retry" in retry().out


def test_only_the_stage_that_failed_is_done_again(
    works: Works, retry: Retry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_run: object) -> None:
        raise ReportError("there is no paper")

    with monkeypatch.context() as patch:
        patch.setitem(stage_functions.STAGES, "report", failing)
        failed = works.run()
    assert failed.status == "failed"
    said = retry(failed.run_id, "--json")
    told = json.loads(said.out)
    assert (said.code, list(told["stages"])) == (0, ["report"])
    assert newest(works)["trigger"] == f"retry of {failed.run_id}"


@pytest.mark.slow
def test_crashed_run_is_taken_up_with_its_own_options(works: Works, retry: Retry) -> None:
    works.put([payment(4, day=4)], "payments4.csv")
    sources = sources_file(works.folder, MERGE)
    watch = Watch()
    command = ("run", "--sources", sources, "--full-refresh")
    with started(works.settings, *command) as (process, events):
        while watch.running != "build":
            watch.read(events.readline())
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert newest(works)["status"] == "crashed"
    said = retry("--json")
    told = json.loads(said.out)
    assert (said.code, next(iter(told["stages"]))) == (0, "build")
    assert told["stages"]["build"]["detail"] == "8 models, 8 in full"
    assert works.ask("select count(*) from fct_transactions") == [(4,)]
