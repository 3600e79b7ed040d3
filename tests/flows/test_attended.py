"""A command's run that a server sees: what it is told, and that nothing depends on it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from handmade import PAYMENTS, sources_file

from flows import attended, live_runs, pipeline
from flows.events import Events
from flows.live_runs import end_of
from flows.pipeline import Options, Run
from flows.prefect_api import ApiError
from flows.ticks import Covers
from warehouse.errors import BuildError, GateBlockedError, WriterBusyError
from warehouse.lock import writer_lock
from warehouse.settings import Settings, load_settings


class Told:
    """A server that hears `patience` things and then answers no more."""

    def __init__(self, patience: int = 99, *, hangs: threading.Event | None = None) -> None:
        self.heard: list[Any] = []
        self._patience, self._hangs = patience, hangs

    def _hear(self, *what: Any) -> None:
        if self._hangs:
            self._hangs.wait(30)
        if len(self.heard) >= self._patience:
            raise ApiError("gone")
        self.heard.append(what)

    def flow_id(self) -> str:
        return "flow"

    def new_run(self, flow: str, parameters: dict[str, Any], key: str) -> dict[str, Any]:
        self._hear("run", parameters)
        return {"id": str(uuid4())}

    def new_task(self, run: str, name: str) -> str:
        self._hear("task", name)
        return name

    def set_task_state(self, task: str, new: dict[str, Any]) -> None:
        self._hear(task, new["type"])

    def ask(self, method: str, path: str, body: dict[str, Any]) -> None:
        self._hear(path, body["key"])

    def set_state(self, run: str, new: dict[str, Any]) -> None:
        self._hear("end", new["type"], new["message"])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path / "home")


def a_run(settings: Settings, options: Options) -> Run:
    events = Events("text", "one")
    return Run(settings, options, "one", events, datetime(2026, 1, 1, tzinfo=UTC))


def run_with(
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    told: Told,
    error: Exception | None = None,
) -> Run:
    """A run of two stages, the second of which may fail."""

    def execute(given: Settings, options: Options, call: pipeline.StageCall) -> Run:
        run = a_run(given, options)
        call("land", lambda _: None, run)

        def build(_: Run) -> None:
            if error:
                raise error

        try:
            call("build", build, run)
        except BuildError as failure:
            run.failure = failure
        return run

    monkeypatch.setattr(pipeline, "execute", execute)
    monkeypatch.setattr(attended, "Api", lambda _: told)
    return attended.run_attended(settings, "http://nowhere", Options(only=("shop.orders",)))


def test_the_server_hears_each_stage(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    told = Told()
    assert run_with(monkeypatch, settings, told).status == "done"
    assert told.heard == [
        ("run", {"only": ["shop.orders"], "full_refresh": False}),
        ("task", "land"),
        ("land", "COMPLETED"),
        ("task", "build"),
        ("build", "COMPLETED"),
        ("artifacts/", "clearwater-run"),
        ("end", "COMPLETED", "done"),
    ]
    assert list(live_runs.known(settings)) == []


def test_a_failed_stage_is_told(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    told = Told()
    run = run_with(monkeypatch, settings, told, BuildError("no memory"))
    assert run.status == "failed"
    assert ("build", "FAILED") in told.heard
    assert told.heard[-1] == ("end", "FAILED", "failed: no memory")


def test_an_error_of_ours_is_told_and_raised(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    told = Told()
    with pytest.raises(ZeroDivisionError):
        run_with(monkeypatch, settings, told, ZeroDivisionError("oh"))
    assert told.heard[-1] == ("end", "FAILED", "oh")


def test_a_run_that_another_writer_turns_away_is_none(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    told = Told()
    monkeypatch.setattr(attended, "Api", lambda _: told)
    options = Options(sources=sources_file(settings.home.parent, PAYMENTS))
    with writer_lock(settings, run_id="r1"), pytest.raises(WriterBusyError):
        attended.run_attended(settings, "http://nowhere", options)
    assert told.heard == []
    assert list(live_runs.known(settings)) == []


@pytest.mark.parametrize("patience", range(6))
def test_a_server_that_goes_away_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, patience: int
) -> None:
    assert run_with(monkeypatch, settings, Told(patience)).status == "done"
    left = list(live_runs.known(settings))
    assert [(live.state, live.message) for live in left] == [("COMPLETED", "done")] * bool(patience)


def test_a_server_that_hangs_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(attended, "PATIENCE_SECONDS", 0.1)
    never = threading.Event()
    try:
        told = Told(hangs=never)
        assert run_with(monkeypatch, settings, told).status == "done"
        assert told.heard == []
    finally:
        never.set()


def test_what_a_run_covers_is_told_by_all_that_tell_of_it(settings: Settings) -> None:
    first, last = datetime(2026, 1, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, 2, tzinfo=UTC)
    run = a_run(settings, Options(covers=Covers("pipeline", 50, first, last)))
    span = "covers 50 runs missed from 2026-01-01 01:00 UTC to 2026-01-03 02:00 UTC"
    assert end_of(run) == ("COMPLETED", f"done; {span}")
    assert run.summary()["catch_up"]["missed"] == 50
    run.failure = GateBlockedError("two rules failed")
    assert end_of(run) == ("FAILED", f"blocked: two rules failed; {span}")
    assert a_run(settings, Options()).summary()["catch_up"] is None
