"""The worker against a server in memory: what it starts, what it skips, what it closes."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from flows import deployments, live_runs, worker
from flows.deployments import put
from flows.fork_server import NO_SPACE, Order, Question
from flows.live_runs import LiveRun
from flows.prefect_api import FINAL, UNFINISHED, Api, ApiError, Json
from flows.processes import Process, start_detached, stop
from flows.schedules import Cron, Every, NewFiles, Schedule, Trigger
from flows.unfinished import LEFT, NOTHING
from flows.worker import SPACE_SECONDS, Worker
from warehouse.errors import ConfigurationError
from warehouse.processes import this_process
from warehouse.settings import Settings, load_settings

GONE = Process(2**22 + 1, "long ago")
HOUR = timedelta(hours=1)


class MemoryApi(Api):
    """What the real server keeps of deployments and runs, without a server."""

    def __init__(self) -> None:
        super().__init__("http://nowhere")
        self.there: dict[str, Json] = {}
        self.runs: dict[str, Json] = {}
        self.clock: Clock | None = None

    def flow_id(self) -> str:
        return "flow"

    def deployments(self) -> list[Json]:
        return [dict(told) for told in self.there.values()]

    def put_deployment(self, body: Json) -> Json:
        known = next((d for d in self.there.values() if d["name"] == body["name"]), {})
        told = {"id": str(uuid4()), "paused": False} | known | body
        self.there[told["id"]] = told
        return told

    def delete_deployment(self, deployment: str) -> None:
        del self.there[deployment]

    def planned(self, deployments: Any, upto: datetime) -> list[Json]:
        return sorted(
            (
                dict(run)
                for run in self.runs.values()
                if run["deployment_id"] in deployments
                and run["state_type"] == "SCHEDULED"
                and datetime.fromisoformat(run["expected_start_time"]) <= upto
            ),
            key=lambda run: run["expected_start_time"],
        )

    def unfinished(self) -> list[Json]:
        return [dict(run) for run in self.runs.values() if run["state_type"] in UNFINISHED]

    def flow_run(self, run: str) -> Json:
        if run not in self.runs:
            failure = ApiError("no such run")
            failure.status = 404
            raise failure
        return dict(self.runs[run])

    def new_run_of(self, deployment: str) -> Json:
        assert self.clock
        return self.plan(deployment, self.clock.now, auto=False)

    def set_state(self, run: str, new: Json) -> None:
        at = datetime.now(UTC).isoformat()
        self.runs[run] |= {"state_type": new["type"], "state": new | {"timestamp": at}}

    def tasks_left_open(self, before: datetime, after: datetime) -> list[Json]:
        return []

    def unfinished_tasks(self, run: str) -> list[Json]:
        return []

    def plan(self, deployment: str, at: datetime, *, auto: bool) -> Json:
        """A run of the deployment that is to start then."""
        made = {
            "id": str(uuid4()),
            "name": f"run-{len(self.runs)}",
            "deployment_id": deployment,
            "auto_scheduled": auto,
            "expected_start_time": at.isoformat(),
            "parameters": dict(self.there[deployment]["parameters"]),
        }
        self.runs[made["id"]] = made
        MemoryApi.set_state(self, made["id"], {"type": "SCHEDULED", "message": ""})
        return dict(self.runs[made["id"]])

    def id_of(self, name: str) -> str:
        return next(told["id"] for told in self.there.values() if told["name"] == name)


class Forks:
    """Takes orders; the processes live until they are told to end, and questions are answered."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.questions: list[Question] = []
        self.code: int | None = None

    def start(self) -> None:
        pass

    def fork(self, order: Order | Question) -> Process:
        if isinstance(order, Question):
            self.questions.append(order)
            return GONE
        self.orders.append(order)
        return this_process()

    def exit_code(self, process: Process) -> int | None:
        return self.code


class Maker:
    """Makes runs on a server that takes no state of them, and counts them."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.count = bench, 0

    def __call__(self, deployment: str) -> Json:
        self.count += 1
        return self.bench.api.plan(deployment, self.bench.clock.now, auto=False)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


class Bench:
    """A worker with all that it speaks to; every step finds that it is time to ask the server."""

    def __init__(self, settings: Settings, sources: Path, declared: list[Schedule]) -> None:
        self.settings, self.api, self.clock, self.forks = settings, MemoryApi(), Clock(), Forks()
        self.api.clock = self.clock
        self.declared, self.sources = declared, sources
        self.worker = self.new_worker()

    def new_worker(self) -> Worker:
        return Worker(self.settings, self.sources, None, self.api)

    def step(self) -> None:
        self.worker._next_poll = self.worker._next_tidy = self.worker._not_before = 0.0
        self.worker.step()

    def end_run(self, state: str = "COMPLETED") -> None:
        """The newest run ends: with a state if one is given, else it is killed."""
        order = self.forks.orders[-1]
        live = LiveRun(order.run, GONE, scheduled=True, handles=order.handles)
        live_runs.write(self.settings, live.ended(state, "done") if state else live)
        assert self.worker._started
        self.worker._started = replace(self.worker._started, process=GONE)

    def states(self) -> list[str]:
        return [run["state_type"] for run in self.api.runs.values()]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path / "home")


@pytest.fixture
def bench(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    sources = tmp_path / "sources.yml"
    sources.write_text("version: 1\n")
    declared = [
        Schedule("pipeline", (), Cron("0 * * * *")),
        Schedule("shop.orders", ("shop.orders",), Cron("30 * * * *")),
    ]
    monkeypatch.setattr(deployments, "declared", lambda *_: declared)
    monkeypatch.setattr(worker, "ForkServer", Forks)
    made = Bench(settings, sources, declared)
    made.forks = made.worker._forks  # type: ignore[assignment]
    monkeypatch.setattr(worker, "_now", made.clock)
    made.step()
    yield made


def test_nothing_is_started_before_it_is_due(bench: Bench) -> None:
    assert {told["name"] for told in bench.api.there.values()} == {"pipeline", "shop.orders"}
    assert bench.forks.orders == []


def test_a_tick_starts_the_run_that_the_server_planned(bench: Bench) -> None:
    bench.clock.now += HOUR / 2
    planned = bench.api.plan(bench.api.id_of("shop.orders"), bench.clock.now, auto=True)
    bench.step()
    assert [order.run for order in bench.forks.orders] == [planned["id"]]
    assert bench.forks.orders[0].covers is None
    assert bench.api.runs[planned["id"]]["parameters"]["only"] == ["shop.orders"]


def test_fifty_missed_ticks_are_one_run(bench: Bench) -> None:
    start, pipeline = bench.clock.now, bench.api.id_of("pipeline")
    ticks = [start.replace(second=0) + number * HOUR for number in range(1, 51)]
    for tick in ticks[:40]:
        bench.api.plan(pipeline, tick, auto=True)
    bench.clock.now += 50 * HOUR
    bench.step()
    bench.end_run()
    for _ in range(3):
        bench.step()
    assert len(bench.forks.orders) == 1
    order = bench.forks.orders[0]
    assert order.covers
    assert (order.covers.ticks, order.covers.first, order.covers.last) == (50, ticks[0], ticks[-1])
    assert set(order.handles) == {"pipeline", "shop.orders"}
    assert sorted(bench.states()) == ["CANCELLED"] * 39 + ["COMPLETED"]
    skipped = next(r for r in bench.api.runs.values() if r["state_type"] == "CANCELLED")
    assert skipped["state"]["name"] == "Skipped"
    assert bench.api.runs[order.run]["name"] in skipped["state"]["message"]


def test_an_outage_of_the_server_too_makes_a_run_of_its_own(bench: Bench) -> None:
    bench.clock.now += 50 * HOUR
    bench.step()
    assert [order.covers and order.covers.ticks for order in bench.forks.orders] == [50]


def test_a_worker_that_was_away_covers_what_it_missed(bench: Bench) -> None:
    bench.clock.now += 3 * HOUR
    bench.worker = bench.new_worker()
    bench.forks = bench.worker._forks  # type: ignore[assignment]
    bench.step()
    assert [order.covers and order.covers.ticks for order in bench.forks.orders] == [3]


def test_ticks_while_a_run_is_at_work_are_one_run_after_it(bench: Bench) -> None:
    bench.clock.now += HOUR
    bench.step()
    bench.clock.now += 2 * HOUR
    bench.step()
    assert len(bench.forks.orders) == 1
    bench.end_run()
    bench.step()
    assert [order.covers and order.covers.ticks for order in bench.forks.orders] == [None, 2]


def test_a_run_of_one_source_handles_no_other_schedule(bench: Bench) -> None:
    bench.clock.now += HOUR / 2
    bench.step()
    assert set(bench.forks.orders[0].handles) == {"shop.orders"}
    bench.clock.now += HOUR / 2
    bench.end_run()
    bench.step()
    assert set(bench.forks.orders[1].handles) == {"pipeline", "shop.orders"}


def test_what_crashed_is_run_again_but_not_for_ever(bench: Bench) -> None:
    bench.clock.now += HOUR
    for _ in range(9):
        bench.step()
        if bench.worker._started:
            bench.end_run("")
    assert len(bench.forks.orders) == 3
    assert set(bench.states()) == {"CRASHED"}


def test_a_failed_run_is_not_run_again_before_its_next_tick(bench: Bench) -> None:
    bench.clock.now += HOUR
    bench.step()
    bench.end_run("FAILED")
    bench.step()
    assert len(bench.forks.orders) == 1
    assert bench.states() == ["FAILED"]


def test_a_run_without_space_is_tried_again_and_no_try_counts(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.clock.now += HOUR
    bench.api.plan(bench.api.id_of("pipeline"), bench.clock.now, auto=True)
    bench.forks.code = NO_SPACE
    for _ in range(9):
        bench.step()
        assert bench.worker._started
        bench.end_run("")
        bench.worker.step()
        assert bench.worker._not_before > time.monotonic() + SPACE_SECONDS - 5
        bench.clock.now += timedelta(minutes=1)
    assert capsys.readouterr().err.count("the disk is full") == 1
    assert len({order.run for order in bench.forks.orders}) == 1
    assert bench.states() == ["SCHEDULED"]
    bench.forks.code = 0
    bench.step()
    bench.end_run()
    bench.step()
    assert len(bench.forks.orders) == 10
    assert bench.states() == ["COMPLETED"]
    covers = bench.forks.orders[-1].covers
    assert covers
    assert covers.ticks == 1  # in time it was not


def test_one_that_could_not_even_say_that_it_is_there_is_put_back_too(bench: Bench) -> None:
    asked = bench.api.plan(bench.api.id_of("shop.orders"), bench.clock.now, auto=False)
    bench.forks.code = NO_SPACE
    bench.step()
    assert bench.worker._started
    bench.worker._started = replace(bench.worker._started, process=GONE)
    bench.worker.step()
    assert bench.states() == ["SCHEDULED"]
    bench.step()
    assert [order.run for order in bench.forks.orders] == [asked["id"]] * 2


def test_one_without_space_that_somebody_cancelled_is_not_put_back(bench: Bench) -> None:
    bench.clock.now += HOUR
    bench.step()
    bench.forks.code = NO_SPACE
    bench.end_run("")
    bench.api.set_state(bench.forks.orders[0].run, {"type": "CANCELLING", "message": ""})
    bench.step()
    bench.step()
    assert len(bench.forks.orders) == 1
    assert bench.states() == ["CANCELLED"]


def test_a_run_that_is_asked_for_tells_of_the_ticks_that_it_covers(bench: Bench) -> None:
    bench.api.plan(bench.api.id_of("pipeline"), bench.clock.now, auto=False)
    bench.clock.now += 3 * HOUR
    bench.step()
    assert [order.covers and order.covers.ticks for order in bench.forks.orders] == [3]


def test_an_end_that_only_the_server_heard_of_is_no_crash(bench: Bench) -> None:
    bench.clock.now += HOUR
    bench.step()
    bench.end_run("")
    bench.api.set_state(bench.forks.orders[0].run, {"type": "COMPLETED", "message": ""})
    bench.step()
    bench.step()
    assert len(bench.forks.orders) == 1


def test_while_the_server_is_away_a_crash_counts_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: str) -> Json:
        raise ApiError("nobody answers")

    bench.clock.now += HOUR
    bench.step()
    bench.end_run("")
    with monkeypatch.context() as patch:
        patch.setattr(bench.api, "flow_run", away)
        for _ in range(5):
            with pytest.raises(ApiError):
                bench.step()
    assert bench.worker._book.tries("pipeline") == 0
    bench.worker.step()
    assert bench.worker._book.tries("pipeline") == 1


def test_a_run_that_cannot_be_started_is_not_made_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise ApiError("HTTP Error 500")

    bench.clock.now += 3 * HOUR
    with monkeypatch.context() as patch:
        patch.setattr(bench.api, "set_state", full)
        patch.setattr(bench.api, "new_run_of", made := Maker(bench))
        for _ in range(5):
            with pytest.raises(ApiError):
                bench.step()
    assert made.count == 1
    bench.step()
    bench.end_run()
    bench.step()
    assert [order.covers and order.covers.ticks for order in bench.forks.orders] == [3]
    assert bench.states() == ["COMPLETED"]


def test_what_a_run_left_is_asked_for_where_files_are_waited_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> list[object]:
        return []

    monkeypatch.setattr(worker, "load_sources", none)
    bench.settings.home.mkdir(exist_ok=True)
    bench.declared[:] = [Schedule("pipeline", (), NewFiles(timedelta(0)))]
    bench.sources.write_text("version: 1\n\n")
    bench.forks.code = NOTHING
    bench.step()
    assert (len(bench.forks.questions), bench.forks.orders) == (1, [])
    bench.settings.lake_catalog.parent.mkdir()
    bench.settings.lake_catalog.touch()
    bench.forks.code = LEFT
    bench.step()
    assert len(bench.forks.orders) == 1


def test_what_is_paused_is_not_run_and_not_missed(bench: Bench) -> None:
    for told in bench.api.there.values():
        told["paused"] = True
    bench.clock.now += 5 * HOUR
    bench.step()
    for told in bench.api.there.values():
        told["paused"] = False
    bench.step()
    assert bench.forks.orders == []
    bench.clock.now += HOUR / 2
    bench.step()
    assert len(bench.forks.orders) == 1


def test_what_is_started_in_the_ui_runs_each_time(bench: Bench) -> None:
    for _ in range(2):
        bench.api.plan(bench.api.id_of("shop.orders"), bench.clock.now, auto=False)
    for _ in range(2):
        bench.step()
        bench.end_run()
    bench.step()
    assert len(bench.forks.orders) == 2


def test_a_pause_survives_a_restart_and_another_schedule_is_declared(bench: Bench) -> None:
    shop = bench.api.there[bench.api.id_of("shop.orders")]
    shop["paused"] = True
    pipeline = Schedule("pipeline", (), Cron("15 * * * *"))
    moved = replace(bench.declared[1], trigger=Cron("45 * * * *"))
    put(bench.api, [pipeline, moved])
    by_name = {told["name"]: told for told in bench.api.there.values()}
    assert by_name["shop.orders"]["paused"]
    assert not by_name["pipeline"]["paused"]
    assert by_name["pipeline"]["schedules"][0]["schedule"]["cron"] == "15 * * * *"
    put(bench.api, [pipeline])
    assert [told["name"] for told in bench.api.there.values()] == ["pipeline"]


def test_a_sources_file_that_changes_changes_the_schedules(bench: Bench) -> None:
    bench.declared.pop()
    bench.sources.write_text("version: 1\n# changed\n")
    bench.step()
    assert [told["name"] for told in bench.api.there.values()] == ["pipeline"]


def test_a_mistake_in_the_sources_file_changes_no_schedule(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor for a worker that starts with it: it goes by those that the server shows."""

    def mistaken(*_: object) -> list[Schedule]:
        raise ConfigurationError("'40x' is not a span", where="sources.yml:4")

    known = deepcopy(bench.api.there)
    monkeypatch.setattr(deployments, "declared", mistaken)
    bench.sources.write_text("version: 1\nschedule: {every: 40x}\n")
    for each in (bench.worker, bench.new_worker()):
        bench.worker = each
        for _ in range(3):
            bench.step()
        assert bench.worker._declared == bench.declared
        assert bench.api.there == known
        told = "the schedules stay as they were: sources.yml:4: '40x' is not a span"
        assert capsys.readouterr().err.count(told) == 1
    bench.clock.now += HOUR / 2
    bench.step()
    assert [order.handles.keys() for order in bench.worker._forks.orders] == [  # type: ignore[attr-defined]
        {"shop.orders"}
    ]
    monkeypatch.setattr(deployments, "declared", lambda *_: bench.declared[:1])
    bench.sources.write_text("version: 1\n# mended\n")
    bench.step()
    assert [told["name"] for told in bench.api.there.values()] == ["pipeline"]


@pytest.mark.parametrize(
    "trigger",
    [
        Cron("*/15 8-18 * * 1-5", "Europe/Berlin"),
        Every(timedelta(seconds=90)),
        Every(timedelta(days=7), "America/Santiago"),
        NewFiles(timedelta(minutes=5)),
    ],
)
def test_the_server_shows_the_schedules_that_it_was_given(trigger: Trigger) -> None:
    api = MemoryApi()
    given = [Schedule("pipeline", (), trigger), Schedule("a.b-2", ("a.b",), trigger)]
    put(api, given)
    api.there[api.id_of("a.b-2")]["paused"] = True
    shown = deployments.shown(api)
    assert [each.schedule for each in shown] == given
    assert [each.is_active for each in shown] == [True, False]


def test_a_living_run_of_a_killed_worker_is_waited_for(bench: Bench, settings: Settings) -> None:
    run = bench.api.plan(bench.api.id_of("pipeline"), bench.clock.now, auto=False)
    bench.api.set_state(run["id"], {"type": "RUNNING", "message": ""})
    handles = dict.fromkeys(("pipeline", "shop.orders"), bench.clock.now + HOUR)
    process = start_detached(
        ["-c", "import time; time.sleep(600)"],
        env=os.environ,
        folder=settings.prefect,
        log=settings.prefect / "log",
    )
    live = LiveRun(run["id"], process, scheduled=True, handles=handles)
    live_runs.write(settings, live)
    bench.clock.now += HOUR
    bench.step()
    assert (bench.forks.orders, bench.states()) == ([], ["RUNNING"])
    stop(process, patience_seconds=10)
    live_runs.write(settings, live.ended("COMPLETED", "done"))
    bench.step()
    assert (bench.forks.orders, bench.states()) == ([], ["COMPLETED"])


@pytest.mark.parametrize("state", ["RUNNING", "PENDING"])
@pytest.mark.parametrize("since", ["2026-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"])
def test_a_run_that_nobody_executes_is_closed(bench: Bench, state: str, since: str) -> None:
    """Also one that began before the clock was set back, and so in the future."""
    run = bench.api.plan(bench.api.id_of("pipeline"), bench.clock.now, auto=False)
    bench.api.set_state(run["id"], {"type": state, "message": ""})
    bench.step()
    assert bench.states() == [state]  # it may have started a moment ago
    bench.api.runs[run["id"]]["state"]["timestamp"] = since
    bench.step()
    assert bench.states() == ["CRASHED"]


def test_a_run_that_somebody_executes_is_left_alone(bench: Bench, settings: Settings) -> None:
    run = bench.api.plan(bench.api.id_of("pipeline"), bench.clock.now, auto=False)
    bench.api.set_state(run["id"], {"type": "RUNNING", "message": ""})
    bench.api.runs[run["id"]]["state"]["timestamp"] = "2026-01-01T00:00:00+00:00"
    live_runs.write(settings, LiveRun(run["id"], this_process()))
    bench.step()
    assert bench.states() == ["RUNNING"]


def test_what_is_cancelled_ends_and_is_not_run_again(bench: Bench, settings: Settings) -> None:
    bench.clock.now += HOUR
    bench.step()
    order = bench.forks.orders[0]
    bench.end_run("")
    bench.api.set_state(order.run, {"type": "CANCELLING", "message": ""})
    bench.step()
    assert len(bench.forks.orders) == 1
    assert bench.states() == ["CANCELLED"]


def test_a_run_that_somebody_deleted_is_forgotten(bench: Bench, settings: Settings) -> None:
    live_runs.write(settings, LiveRun(str(uuid4()), GONE))
    bench.step()
    assert list(live_runs.known(settings)) == []


def test_what_is_kept_of_a_run_is_read_again(settings: Settings) -> None:
    live = LiveRun(
        str(UUID(int=7)),
        this_process(),
        scheduled=True,
        handles={"pipeline": datetime(2026, 1, 1, tzinfo=UTC)},
        state=FINAL[0],
        message="done",
    )
    live_runs.write(settings, live)
    assert live_runs.find(settings, live.id) == live
    assert live_runs.find(settings, "../ticks") is None
    (live_runs.folder(settings) / f"{live.id}.json").write_text("{")
    assert live_runs.find(settings, live.id) is None


def test_a_full_disk_is_waited_for_and_any_other_fault_of_the_system_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    with Path("/dev/full").open("w") as nowhere:
        monkeypatch.setattr(sys, "stderr", nowhere)
        worker.complain(worker._waits_for(full))  # which its log does not take either
        monkeypatch.undo()
        with pytest.raises(OSError, match="No space"):
            nowhere.flush()
        with Path(os.devnull).open("w") as somewhere:
            os.dup2(somewhere.fileno(), nowhere.fileno())
    with pytest.raises(PermissionError):
        worker._waits_for(PermissionError(errno.EACCES, "Permission denied"))
