"""One real server: what `up` starts, and the pipeline as a flow on it."""

from __future__ import annotations

import errno
import http
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from flows import live_runs, next_runs, server, settling
from flows.live_runs import LiveRun
from flows.prefect_api import FINAL, Api
from flows.processes import Process
from flows.schedules import Cron
from warehouse.errors import ConfigurationError, GateBlockedError
from warehouse.lock import writer_lock
from warehouse.settings import PROJECT

if TYPE_CHECKING:
    from tests.flows.conftest import Served

T = TypeVar("T")
STAGES = ("land", "load", "build", "audit", "publish", "features", "report")
# In a process of its own: Prefect keeps the settings that it was first imported with.
ATTENDED = """
import json, sys
from pathlib import Path
from flows import server
from flows.pipeline import Options
from warehouse.settings import load_settings

settings = load_settings(sys.argv[1])
run = server.run_through_server(settings, server.running(settings), Options(Path("sources.yml")))
print(json.dumps({"status": run.status, "tried": run.tried}))
"""


REAL = """
import json, sys
from flows import server
from flows.pipeline import Options
from flows.samples import write_samples
from warehouse.settings import load_settings

settings = load_settings(sys.argv[1])
write_samples(settings.samples, days=3, customers=200, terminals=1000)
options = Options()
run = server.run_through_server(settings, server.running(settings), options)
print(json.dumps(run.summary()))
"""


def attended(
    served: Served, failure: str = "None", code: str = ATTENDED
) -> subprocess.CompletedProcess[str]:
    paths = [str(served.folder)] if code == ATTENDED else []
    return subprocess.run(
        [sys.executable, "-c", code, str(served.settings.home)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([*paths, *sys.path]), "FAILURE": failure},
        capture_output=True,
        text=True,
        check=True,
    )


def get(url: str) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        return answer.read().decode()


def api(served: Served, path: str, body: dict[str, Any] | None = None) -> Any:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{served.info.api_url}/{path}", data, {"Content-Type": "application/json"}
    )
    deadline = time.monotonic() + 30
    while True:
        try:
            with opener.open(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:  # its SQLite is busy
            if error.code != http.HTTPStatus.SERVICE_UNAVAILABLE or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def post(served: Served, path: str) -> None:
    Api(served.info.api_url).ask("POST", path)


def newest_run(served: Served) -> dict[str, Any]:
    """The run that started last, once it is over: a busy server is told by the worker."""
    final = {"COMPLETED", "FAILED", "CRASHED"}
    asked = {
        "flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING", *final]}}},
        "sort": "START_TIME_DESC",
        "limit": 1,
    }

    def newest() -> dict[str, Any] | None:
        runs = api(served, "flow_runs/filter", asked)
        return dict(runs[0]) if runs and runs[0]["state_type"] in final else None

    return until(newest)


def task_states(served: Served, run: dict[str, Any], count: int) -> dict[str, str]:
    """The states of the run's tasks by stage; they reach the server a moment after the run."""
    asked = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        tasks = api(served, "task_runs/filter", asked)
        final = {t["name"].rsplit("-", 1)[0]: t["state_type"] for t in tasks if t["end_time"]}
        if len(final) == count:
            return final
        time.sleep(0.2)
    raise AssertionError(f"the tasks of {run['name']} did not reach the server")


def asked_for(served: Served) -> str:
    """The id of a run that is started as the UI does it."""
    deployment = api(served, "deployments/name/clearwater/pipeline")
    body = {"state": {"type": "SCHEDULED"}}
    return str(api(served, f"deployments/{deployment['id']}/create_flow_run", body)["id"])


def finished(served: Served, run: str) -> dict[str, Any]:
    """The run, once it is over."""

    def over() -> dict[str, Any] | None:
        told = dict(api(served, f"flow_runs/{run}"))
        return told if told["state_type"] in FINAL else None

    return until(over)


def at_work(served: Served, run: str) -> LiveRun:
    """The run's process, once it is at its first stage."""

    def found() -> LiveRun | None:
        tasks = api(served, "task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
        return live_runs.find(served.settings, run) if tasks else None

    return until(found)


def until(found: Callable[[], T | None], seconds: float = 90) -> T:
    """What is found at last."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (value := found()) is not None:
            return value
        time.sleep(0.2)
    raise AssertionError("it did not happen in time")


@pytest.mark.parametrize(
    ("failure", "again"),
    [
        (OSError(errno.EIO, "input/output error"), True),
        (ConnectionResetError("gone"), True),
        (TimeoutError("slow"), True),
        (OSError(errno.ENOSPC, "no space left on device"), False),
        (FileNotFoundError(errno.ENOENT, "no such file"), False),
        (GateBlockedError("two rules failed"), False),
        (ValueError("a mistake of ours"), False),
    ],
)
def test_what_is_tried_again(failure: Exception, again: bool) -> None:
    from prefect.states import Failed

    from flows.scheduled import may_pass

    assert may_pass(None, None, Failed(data=failure)) is again  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_run_in_this_process_is_seen_stage_by_stage(served: Served) -> None:
    done = attended(served)
    assert json.loads(done.stdout) == {"status": "done", "tried": ["land", "audit"]}
    assert done.stderr == ""
    run = newest_run(served)
    assert run["state_type"] == "COMPLETED"
    assert run["parameters"] == {"only": [], "full_refresh": False}
    assert task_states(served, run, 2) == {"land": "COMPLETED", "audit": "COMPLETED"}


@pytest.mark.slow
def test_a_gate_that_blocks_is_final(served: Served) -> None:
    done = attended(served, "GateBlockedError('two rules failed')")
    assert json.loads(done.stdout) == {"status": "failed", "tried": ["land", "audit"]}
    run = newest_run(served)
    assert (run["state_type"], run["state"]["message"]) == ("FAILED", "failed: two rules failed")
    assert task_states(served, run, 2) == {"land": "COMPLETED", "audit": "FAILED"}


@pytest.mark.slow
def test_the_deployment_shows_its_schedule(served: Served) -> None:
    deployment = api(served, "deployments/name/clearwater/pipeline")
    assert [s["schedule"]["cron"] for s in deployment["schedules"] if s["active"]] == [
        served.info.cron
    ]
    assert deployment["global_concurrency_limit"] is None  # the worker runs one at a time


@pytest.mark.slow
def test_what_is_started_in_the_ui_runs(served: Served) -> None:
    run = finished(served, asked_for(served))
    assert (run["state_type"], run["state"]["message"]) == ("COMPLETED", "done")
    assert (served.settings.home / "landed").read_text() == str(served.sources)
    assert task_states(served, run, 2) == {"land": "COMPLETED", "audit": "COMPLETED"}


@pytest.mark.slow
def test_what_is_cancelled_in_the_ui_ends(served: Served) -> None:
    hold = served.settings.home / "wait"
    hold.touch()
    try:
        asked = asked_for(served)
        live = at_work(served, asked)
        cancel = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
        api(served, f"flow_runs/{asked}/set_state", cancel)
        # Prefect itself takes the ended process for a crash, for a moment.
        until(lambda: finished(served, asked)["state_type"] == "CANCELLED" or None)
        assert not live.process.alive
    finally:
        hold.unlink()
    assert finished(served, asked_for(served))["state_type"] == "COMPLETED"


def state_of(served: Served, run: str) -> tuple[str, str]:
    """The type and the message of a flow run's state at the server."""
    shown = api(served, f"flow_runs/{run}")
    return shown["state_type"], shown["state"]["message"]


@pytest.mark.slow
def test_a_run_without_space_is_done_by_itself_when_there_is_some(served: Served) -> None:
    full = served.settings.home / "full"
    full.touch()
    log = served.settings.prefect / "worker.log"
    before = len(log.read_text())
    run = asked_for(served)
    until(lambda: "is full" in log.read_text()[before:] or None)
    # The log tells of it before the server knows.
    put_back = ("SCHEDULED", settling.NO_SPACE)
    until(lambda: state_of(served, run) == put_back or None)
    full.unlink()
    assert finished(served, run)["state_type"] == "COMPLETED"
    said = log.read_text()[before:]
    assert said.count("the disk is full") == 1
    assert "Traceback" not in said
    assert "leaked" not in said


@pytest.mark.slow
def test_a_run_whose_process_is_killed_is_shown_as_crashed(served: Served) -> None:
    hold = served.settings.home / "wait"
    hold.touch()
    try:
        asked = asked_for(served)
        os.kill(at_work(served, asked).process.pid, signal.SIGKILL)
    finally:
        hold.unlink()
    run = finished(served, asked)
    assert run["state_type"] == "CRASHED"
    tasks = api(served, "task_runs/filter", {"flow_runs": {"id": {"any_": [asked]}}})
    assert "RUNNING" not in {task["state_type"] for task in tasks}


@pytest.mark.slow
def test_the_pipeline_itself_leaves_its_trace_in_the_ledger_and_at_the_server(
    served: Served,
) -> None:
    from warehouse.state import open_ledger

    told = json.loads(attended(served, code=REAL).stdout)
    with open_ledger(served.settings) as ledger:
        recorded = ledger.newest(1)[0]
    assert (told["status"], recorded["status"]) == ("done", "done")
    assert recorded["run_id"] == told["run_id"]
    assert task_states(served, newest_run(served), 7) == dict.fromkeys(STAGES, "COMPLETED")


@pytest.mark.slow
def test_a_command_that_another_writer_turns_away_is_no_run(served: Served) -> None:
    def shown() -> int:
        asked = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", *FINAL]}}}}
        return len(api(served, "flow_runs/filter", asked))

    before = shown()
    command = ["-m", "flows", "run", "--home", str(served.settings.home)]
    with writer_lock(served.settings, run_id="r1"):
        said = subprocess.run(
            [sys.executable, *command, "--sources", str(served.sources)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (said.returncode, "run r1 has been at work" in said.stderr) == (4, True)
    assert shown() == before


@pytest.mark.slow
def test_running_finds_the_server(served: Served) -> None:
    assert server.running(served.settings) == served.info


@pytest.mark.slow
def test_what_is_paused_in_the_ui_is_shown_as_paused(served: Served) -> None:
    def next_at() -> tuple[datetime | None, str]:
        seen = next_runs.served(served.settings)
        assert seen.standing == "up"
        found = next_runs.next_runs(served.settings, seen, ["shop.orders"], datetime.now(UTC))
        assert not found.problem
        return found.due["shop.orders"]

    told = api(served, "deployments/name/clearwater/pipeline")
    (shown,) = next_runs.served(served.settings).shown or ()
    assert (shown.id, shown.schedule.trigger) == (told["id"], Cron(served.info.cron or ""))
    at, words = next_at()
    assert at
    post(served, f"deployments/{told['id']}/pause_deployment")
    try:
        assert next_at() == (None, "paused")
    finally:
        post(served, f"deployments/{told['id']}/resume_deployment")
    assert next_at() == (at, words)


@pytest.mark.slow
def test_a_second_up_finds_the_first(served: Served) -> None:
    again = server.up(served.settings, served.sources, served.info.cron)
    assert again == served.info
    assert again.already_up
    assert not served.info.already_up


@pytest.mark.slow
def test_up_with_another_schedule_is_refused(served: Served) -> None:
    with pytest.raises(ConfigurationError, match="already up"):
        server.up(served.settings, served.sources, "0 0 1 1 1")


@pytest.mark.slow
def test_the_ui_speaks_to_this_server(served: Served) -> None:
    assert "<html" in get(served.info.url)
    assert json.loads(get(f"{served.info.url}/ui-settings"))["api_url"] == served.info.api_url


@pytest.mark.slow
def test_all_that_the_server_keeps_lies_in_the_home(served: Served) -> None:
    kept = {path.name for path in served.settings.prefect.iterdir()}
    logs = {"server.log", "worker.log", "supervisor.log"}
    assert {"prefect.db", "server.json", "ticks.json", "runs", "ui", *logs} <= kept


@pytest.mark.slow
def test_the_record_names_the_processes(served: Served) -> None:
    told = json.loads((served.settings.prefect / "server.json").read_text())
    for name in ("supervisor", "server", "worker"):
        assert Process(**told[name]).alive
    assert told["url"] == served.info.url
