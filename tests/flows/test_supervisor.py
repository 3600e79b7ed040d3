"""The supervisor: what it starts again, when it gives up, and what outlives whom."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flows import live_runs, log_files, server, service_manager, supervisor
from flows.prefect_api import UNFINISHED, Api, Json
from flows.server import ServerError, ServerInfo
from flows.supervisor import Child, Supervisor
from tests.flows.conftest import SOURCES, serving, until
from warehouse.processes import this_process
from warehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    from tests.flows.conftest import Served

FOREVER = "import time; time.sleep(600)"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = load_settings(tmp_path / "home")
    made.prefect.mkdir(parents=True)
    return made


@pytest.fixture
def supervised(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """Two children of nothing but patience, started, and looked after at once."""
    monkeypatch.setattr(supervisor, "RESTART_SECONDS", (0.0, 0.0, 0.0))
    info = ServerInfo(server.HERE, 1, this_process(), "sources.yml")
    made = Supervisor(settings, info, logs=True)
    for child in made._children:
        child.command, child.shows_life = ["-c", FOREVER], lambda: True
        child.start()
    yield made
    for child in made._children:
        child.stop()


def ended(child: Child) -> bool:
    return child.has_ended


def test_who_dies_is_started_again(supervised: Supervisor, settings: Settings) -> None:
    worker = supervised._worker
    first = worker.identity
    assert first
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: ended(worker))
    supervised._look_after(worker)
    supervised._record_if_possible()
    assert worker.identity
    assert worker.identity != first
    assert worker.identity.alive
    told = server.recorded(settings)
    assert told
    assert told.worker == worker.identity


def test_who_dies_again_and_again_is_given_up(supervised: Supervisor) -> None:
    worker = supervised._worker
    worker.command = ["-c", "raise SystemExit('no memory')"]
    assert worker.identity
    os.kill(worker.identity.pid, signal.SIGKILL)
    with pytest.raises(ServerError, match="worker ended 4 times in a row: no memory"):
        for _ in range(9):
            until(lambda: ended(worker))
            supervised._look_after(worker)


def test_who_hangs_is_killed(supervised: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    hung = supervised._server
    hung.shows_life = lambda: False
    supervised._care()
    assert not hung.has_ended
    monkeypatch.setattr(supervisor, "SILENT_SECONDS", 0.0)
    supervised._care()
    until(lambda: ended(hung))
    assert not supervised._worker.has_ended


def test_on_a_full_disk_they_stay_and_are_recorded_later(
    supervised: Supervisor, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    worker = supervised._worker
    assert worker.identity
    os.kill(worker.identity.pid, signal.SIGKILL)
    until(lambda: ended(worker))
    with monkeypatch.context() as patch:
        patch.setattr(server, "write_atomically", full)
        supervised._look_after(worker)
        supervised._record_if_possible()
    assert not worker.has_ended
    assert not supervised._is_recorded
    supervised._record_if_possible()
    told = server.recorded(settings)
    assert supervised._is_recorded
    assert told
    assert told.worker == worker.identity


def test_a_second_supervisor_of_a_home_is_refused(settings: Settings, tmp_path: Path) -> None:
    sources = tmp_path / "sources.yml"
    sources.write_text(f"version: 1\n{SOURCES}")
    with supervisor._only_one(settings), pytest.raises(ServerError, match="up already"):
        supervisor.supervise(settings, sources)


def test_a_log_is_kept_small_while_it_is_written(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    with log.open("ab", buffering=0) as writer:
        for number in range(5):
            writer.write(b"%d" % number * 100)
            log_files.keep_small(log, largest=50)
        writer.write(b"more")
    assert log.read_bytes() == b"more"
    kept = sorted(file.name for file in tmp_path.iterdir())
    assert kept == ["server.log", "server.log.1", "server.log.2", "server.log.3"]
    assert (tmp_path / "server.log.1").read_bytes() == b"4" * 100


def test_a_small_log_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("few")
    log_files.keep_small(log)
    log_files.keep_small(tmp_path / "none.log")
    assert [file.name for file in tmp_path.iterdir()] == ["server.log"]


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_service_manager_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_abstract: bool
) -> None:
    name = f"clearwater-{os.getpid()}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0{name}" if is_abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}" if is_abstract else name)
        service_manager.tell_service_manager("READY=1")
        assert manager.recv(100) == b"READY=1"


def test_without_a_service_manager_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    service_manager.tell_service_manager("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    service_manager.tell_service_manager("READY=1")


# From here on with a real server and a real worker.


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("up"), None, "schedule: {every: 5s}\n") as started:
        yield started


def now_up(up: Served) -> ServerInfo:
    told = server.recorded(up.settings)
    assert told
    return told


def runs(up: Served) -> list[str]:
    log = up.settings.home / "runs.log"
    return log.read_text().splitlines() if log.exists() else []


def shown(up: Served, state: Json) -> list[Json]:
    """The runs that the server shows in such a state."""
    asked = {"flow_runs": {"state": state}}
    return list(Api(now_up(up).api_url).ask("POST", "flow_runs/filter", asked))


def nothing_is_shown_that_is_not(up: Served) -> bool:
    at_work = shown(up, {"type": {"any_": [*UNFINISHED]}})
    lives = {live.id for live in live_runs.known(up.settings) if live.process.alive}
    return all(run["id"] in lives for run in at_work)


@pytest.mark.slow
@pytest.mark.parametrize("victims", [("worker",), ("server",), ("worker", "server")])
def test_whoever_is_killed_in_a_run_is_back_and_runs_go_on(
    up: Served, victims: tuple[str, ...]
) -> None:
    hold = up.settings.home / "wait"
    hold.touch()
    before = len(runs(up))
    until(lambda: len(runs(up)) > before, 90)
    info = now_up(up)
    for name in victims:
        os.kill(getattr(info, name).pid, signal.SIGKILL)
    until(lambda: all(getattr(now_up(up), name) != getattr(info, name) for name in victims))
    hold.unlink()
    until(lambda: server.running(up.settings))
    until(lambda: nothing_is_shown_that_is_not(up), 60)
    until(lambda: len(runs(up)) > before + 1, 120)


@pytest.mark.slow
def test_a_killed_supervisor_takes_the_others_along_but_no_run(up: Served) -> None:
    hold = up.settings.home / "wait"
    hold.touch()
    before = len(runs(up))
    until(lambda: len(runs(up)) > before, 90)
    info = now_up(up)
    live = next(each for each in live_runs.known(up.settings) if each.process.alive)
    os.kill(info.supervisor.pid, signal.SIGKILL)
    assert info.server
    assert info.worker
    until(lambda: not (info.server and info.server.alive), 10)
    until(lambda: not (info.worker and info.worker.alive), 10)
    assert live.process.alive
    hold.unlink()
    until(lambda: not live.process.alive, 60)
    known = live_runs.find(up.settings, live.id)
    assert known is None or known.state in ("", "COMPLETED")
    assert not server.up(up.settings, up.sources).already_up
    until(lambda: nothing_is_shown_that_is_not(up), 60)
    until(lambda: len(runs(up)) > before + 1, 120)


@pytest.mark.slow
def test_a_server_that_hangs_hangs_nobody_else(up: Served) -> None:
    beat = supervisor.heartbeat(up.settings)
    info, started = now_up(up), time.monotonic()
    assert info.server
    os.kill(info.server.pid, signal.SIGSTOP)
    assert server.running(up.settings) is None
    assert time.monotonic() - started < 10
    for _ in range(2):  # each of them a look that waits in vain
        touched = beat.stat().st_mtime_ns
        until(lambda before=touched: beat.stat().st_mtime_ns != before, 40)  # type: ignore[misc]
    started = time.monotonic()
    assert server.down(up.settings)
    assert time.monotonic() - started < server.DOWN_SECONDS
    assert not any(each and each.alive for each in (info.supervisor, info.server, info.worker))
    server.up(up.settings, up.sources)


@pytest.mark.slow
def test_fifty_missed_ticks_become_one_run(up: Served) -> None:
    until(lambda: shown(up, {"type": {"any_": ["SCHEDULED"]}}), 90)  # which are to be skipped
    server.down(up.settings)
    before = len(runs(up))
    file = up.settings.prefect / "ticks.json"
    told = json.loads(file.read_text())
    missed = datetime.now(UTC) - timedelta(seconds=250)
    told["pipeline"]["handled"] = missed.isoformat()
    file.write_text(json.dumps(told))
    started = datetime.now(UTC)
    server.up(up.settings, up.sources)
    until(lambda: len(runs(up)) > before + 1, 90)
    ticks = int(runs(up)[before].split()[1])
    taken = (datetime.now(UTC) - started).total_seconds()
    assert 50 <= ticks <= 50 + taken / 5
    assert shown(up, {"name": {"any_": ["Skipped"]}})


@pytest.mark.slow
def test_down_gives_a_run_its_time_and_then_ends_it(
    up: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = up.settings.home / "wait"
    hold.touch()
    before = len(runs(up))
    until(lambda: len(runs(up)) > before, 90)
    info = now_up(up)
    live = next(each for each in live_runs.known(up.settings) if each.process.alive)
    assert server.down(up.settings)
    hold.unlink()
    kept = json.loads((up.settings.prefect / "ticks.json").read_text())["pipeline"]
    assert datetime.fromisoformat(kept["handled"]) < live.handles["pipeline"]
    assert kept["tries"] == 0
    processes = (info.supervisor, info.server, info.worker, live.process)
    assert not any(process and process.alive for process in processes)
    server.up(up.settings, up.sources)
    until(lambda: nothing_is_shown_that_is_not(up), 60)
    until(lambda: len(runs(up)) > before + 1, 90)
    assert runs(up)[before + 1].startswith("covers")  # what it was for, too


@pytest.mark.slow
def test_in_the_foreground_a_signal_ends_it_cleanly(tmp_path: Path) -> None:
    sources = tmp_path / "sources.yml"
    sources.write_text(f"version: 1\n{SOURCES}")
    settings = load_settings(tmp_path / "home")
    command = [sys.executable, "-m", "flows", "up", "--foreground", "--sources", str(sources)]
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(
            [*command, "--home", str(settings.home)],
            env=os.environ | {"CLEARWATER_SERVER_PORT": "free"},
            stdout=said,
            stderr=said,
        )
        try:
            until(lambda: (info := server.recorded(settings)) and info.is_ready, 120)
            info = server.recorded(settings)
            assert info
            assert server.answers(info)
        finally:
            process.terminate()
    assert process.wait(60) == 0
    assert server.recorded(settings) is None
    assert not any(child and child.alive for child in (info.server, info.worker))
    assert info.url in (tmp_path / "said").read_text()
