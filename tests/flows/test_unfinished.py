"""What a run left in the lake: whether it is found, when it is asked for, and that it is done."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from handmade import payment, sources_file
from works import MERGE, Works

from benchmarks.kills import Watch, started
from flows import live_runs, server
from flows.fork_server import ForkServer, Order, Question
from flows.processes import Process
from flows.unfinished import LEFT, LONGEST_PAUSE, NOTHING, Unfinished, is_left
from tests.flows.conftest import until
from warehouse import releases
from warehouse.lock import writer_lock
from warehouse.processes import birth
from warehouse.settings import Settings, load_settings

GONE = Process(2**22 + 1, "long ago")


class Forks(ForkServer):
    """Answers all questions alike, and counts them."""

    def __init__(self, code: int | None) -> None:
        self.code, self.asked = code, 0

    def fork(self, order: Order | Question) -> Process:
        self.asked += 1
        return GONE

    def exit_code(self, process: Process) -> int | None:
        return self.code


def test_what_is_released_is_not_left(works: Works) -> None:
    assert not is_left(works.settings)


def test_where_there_is_no_lake_nothing_is_left(settings: Settings) -> None:
    assert not is_left(settings)
    assert not settings.home.exists()


def test_what_was_loaded_and_not_released_is_left(works: Works) -> None:
    works.put([payment(4, day=4)], "payments4.csv")
    assert works.run("land", "load").exit_code == 0
    assert is_left(works.settings)
    assert works.run().exit_code == 0
    assert not is_left(works.settings)


def test_what_is_loaded_before_there_is_a_release_is_left(tmp_path: Path) -> None:
    works = Works(tmp_path)
    works.put([payment(1, day=1)])
    works.run("land", "load")
    assert is_left(works.settings)


def test_what_a_rollback_holds_back_is_not_left(works: Works) -> None:
    works.put([payment(4, day=4)], "payments4.csv")
    works.run("land", "load")
    releases.rollback(works.settings, works.served())
    assert not is_left(works.settings)
    releases.resume(works.settings)
    assert is_left(works.settings)


@pytest.mark.slow
def test_what_is_blocked_is_not_left_until_something_comes_to_it(
    works: Works, no_raw_rules: None
) -> None:
    works.put([payment(4, day=4, fraud="")], "payments4.csv")
    assert works.run().status == "blocked"
    assert not is_left(works.settings)
    works.put([payment(5, day=5)], "payments5.csv")
    works.run("land", "load")
    assert is_left(works.settings)


@pytest.mark.slow
def test_a_failed_run_leaves_its_work(works: Works, project: Path) -> None:
    works.put([payment(4, day=4)], "payments4.csv")
    model = next(project.glob("models/marts/**/fct_transactions.sql"))
    text = model.read_text()
    model.write_text("select nothing from nowhere")
    assert works.run().status == "failed"
    assert is_left(works.settings)
    model.write_text(text)
    assert works.run().exit_code == 0
    assert not is_left(works.settings)


def test_a_look_that_finds_nothing_is_the_last_until_something_changes(works: Works) -> None:
    forks = Forks(NOTHING)
    unfinished = Unfinished(works.settings, forks)
    assert [unfinished.is_due() for _ in range(5)] == [False] * 5
    assert forks.asked == 1
    works.put([payment(4, day=4)], "payments4.csv")
    works.run("land", "load")
    forks.code = LEFT
    assert unfinished.is_due()


@pytest.mark.parametrize(("code", "is_due"), [(LEFT, True), (None, False)])
def test_what_stays_left_or_unknown_is_looked_at_ever_more_rarely(
    works: Works, code: int | None, is_due: bool
) -> None:
    forks = Forks(code)
    unfinished = Unfinished(works.settings, forks)
    looks = []
    for number in range(400):
        before = forks.asked
        assert unfinished.is_due() == (is_due and forks.asked > before)
        if forks.asked > before:
            looks.append(number)
    pauses = [after - before for before, after in pairwise(looks)]
    assert pauses[:4] == [2, 3, 5, 9]
    assert set(pauses[6:]) == {LONGEST_PAUSE + 1}


def test_what_was_cancelled_is_left_alone_until_something_changes(works: Works) -> None:
    forks = Forks(LEFT)
    unfinished = Unfinished(works.settings, forks)
    assert unfinished.is_due()
    unfinished.leave()
    assert not any(unfinished.is_due() for _ in range(9))
    releases.rollback(works.settings, works.served())
    assert unfinished.is_due()


def test_while_somebody_is_at_work_nobody_looks(works: Works) -> None:
    forks = Forks(LEFT)
    unfinished = Unfinished(works.settings, forks)
    with writer_lock(works.settings):
        assert not unfinished.is_due()
    assert forks.asked == 0
    assert unfinished.is_due()


# From here on with real processes.


@pytest.fixture
def forks() -> Iterator[ForkServer]:
    made = ForkServer()
    yield made
    made.close()


def put_and_kill_in_build(works: Works) -> None:
    works.put([payment(4, day=4)], "payments4.csv")
    watch = Watch()
    command = ("run", "--sources", sources_file(works.folder, MERGE))
    with started(works.settings, *command) as (process, events):
        while watch.running != "build":
            watch.read(events.readline())
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.slow
def test_a_killed_run_is_found_by_a_process_of_its_own(works: Works, forks: ForkServer) -> None:
    unfinished = Unfinished(works.settings, forks)
    assert not unfinished.is_due()
    put_and_kill_in_build(works)
    assert unfinished.is_due()
    assert works.run().exit_code == 0
    assert not unfinished.is_due()


@pytest.mark.slow
def test_a_fork_server_knows_how_its_processes_ended(settings: Settings, forks: ForkServer) -> None:
    process = forks.fork(Question(settings.home))
    until(lambda: not process.alive, 60)
    assert [forks.exit_code(process) for _ in range(2)] == [NOTHING] * 2
    assert forks.exit_code(GONE) is None
    forks.close()
    assert forks.exit_code(process) is None
    again = forks.fork(Question(settings.home))
    assert birth(again.pid) in ("", again.born)


@pytest.mark.slow
def test_work_of_a_machine_that_died_is_done_without_a_new_file(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All processes are killed while a run builds, and come up again: nothing else asks for it."""
    monkeypatch.setenv("CLEARWATER_SERVER_PORT", "free")
    settings, sources = load_settings(works.settings.home), sources_file(works.folder, MERGE)
    declared = json.loads(sources.read_text())
    declared["schedule"] = {"when": "new files", "check": "1s"}
    sources.write_text(json.dumps(declared))
    first = works.served()
    try:
        info = server.up(settings, sources)
        works.put([payment(4, day=4)], "payments4.csv")
        until(lambda: list(settings.builds.glob("*")), 300)
        live = next(each for each in live_runs.known(settings) if each.process.alive)
        assert info.server
        assert info.worker
        for process in (info.supervisor, info.worker, live.process, info.server):
            os.kill(process.pid, signal.SIGKILL)
        until(lambda: not live.process.alive)
        assert works.served() == first
        server.up(settings, sources)
        until(lambda: works.served() != first, 120)
    finally:
        server.down(settings)
    assert works.ask("select count(*) from fct_transactions") == [(4,)]
