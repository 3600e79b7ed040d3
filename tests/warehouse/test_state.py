"""The run ledger: what ran, how it went, what died."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta

import pytest
from held import held_elsewhere
from sqlalchemy import event, update

from warehouse import state
from warehouse.lock import host, writer_lock
from warehouse.processes import Process
from warehouse.settings import PROJECT, Settings
from warehouse.state import note_crashed, open_ledger, open_state, runs


def test_newest_runs_come_first_with_their_end(settings: Settings) -> None:
    with open_ledger(settings) as ledger:
        for run_id, status in (("1", "done"), ("2", "blocked")):
            ledger.start(run_id)
            ledger.end(run_id, status, "r", {"run_id": run_id})
        found = ledger.newest(5)
    assert [(run["run_id"], run["status"]) for run in found] == [("2", "blocked"), ("1", "done")]
    assert all(run["ended_at"] >= run["started_at"] for run in found)


def test_newest_is_who_began_last_even_when_the_clock_was_set_back(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state._now()
    with open_ledger(settings) as ledger:
        ledger.start("1")
        monkeypatch.setattr(state, "_now", lambda: before - timedelta(days=2))
        ledger.start("2")
        assert [run["run_id"] for run in ledger.newest()] == ["2", "1"]


def test_run_that_died_is_noted_by_the_next(settings: Settings) -> None:
    with open_ledger(settings) as ledger:
        ledger.start("1")
        ledger.stage("1", "load", "running", None, "")
    with open_ledger(settings) as ledger, writer_lock(settings, run_id="2"):
        assert [run["status"] for run in ledger.newest(2)] == ["crashed"]
        ledger.start("2")
        assert [run["status"] for run in ledger.newest(2)] == ["running", "crashed"]
        assert ledger.stages("1") == {"load": "crashed"}


KILLED = """
import sys
from pathlib import Path
from warehouse.lock import writer_lock
from warehouse.settings import Settings
from warehouse.state import open_ledger

settings = Settings(Path(sys.argv[1]), 1, "1GiB")
with writer_lock(settings, run_id="1"), open_ledger(settings) as ledger:
    ledger.start("1")
    print([run["status"] for run in ledger.newest()], flush=True)
    sys.stdin.read()
"""


def test_only_a_run_that_truly_runs_is_shown_as_running(settings: Settings) -> None:
    def shown() -> list[str]:
        with open_ledger(settings) as ledger:
            return [run["status"] for run in ledger.newest()]

    with subprocess.Popen(
        [sys.executable, "-c", KILLED, settings.home],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "['running']\n"
        assert shown() == ["running"]
        process.kill()
    assert shown() == ["crashed"]  # before any next run
    with writer_lock(settings):  # another command is no run
        assert shown() == ["crashed"]
    with writer_lock(settings, run_id="2"):
        assert shown() == ["crashed"]


def test_run_of_another_host_runs_while_it_holds_the_lock(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose process and host say nothing here, not even where a process here has its id."""
    with monkeypatch.context() as patch, open_ledger(settings) as ledger:
        patch.setattr(state, "host", lambda: "elsewhere")
        ledger.start("1")

    def shown() -> list[str]:
        with open_ledger(settings) as ledger:
            return [run["status"] for run in ledger.newest()]

    with held_elsewhere(settings, "1") as holder:
        assert shown() == ["running"]
        settings.lock.write_text("")  # it is being written
        assert shown() == ["running"]
        settings.lock.write_text(json.dumps(holder | {"run_id": "2"}))
        assert shown() == ["crashed"]
        # A machine of the same name is another one all the same.
        settings.lock.write_text(json.dumps(holder | {"host": host()}))
        assert shown() == ["running"]
    assert shown() == ["crashed"]


@pytest.mark.parametrize("torn", ["", '{"at": "2026-', "null\n[]\n"])
def test_crashed_run_ended_when_it_was_last_heard_of(settings: Settings, torn: str) -> None:
    """And not after the outage, when the next run notes that it crashed."""
    with open_ledger(settings) as ledger:
        ledger.start("1")
        (run,) = ledger.newest()
        assert (run["status"], run["ended_at"]) == ("crashed", None)  # it left no log
        heard = run["started_at"] + timedelta(seconds=7)
        times = (run["started_at"], heard)
        lines = [
            json.dumps({"at": f"{at.isoformat()}+00:00", "text": "x" * 40_000}) for at in times
        ]
        settings.logs.mkdir(parents=True)
        log = settings.logs / "1.jsonl"
        log.write_text("\n".join([*lines, torn]))
        before = ledger.newest()[0]
        ledger.start("2")
        noted = ledger.newest()[1]
        assert [(each["status"], each["ended_at"]) for each in (before, noted)] == [
            ("crashed", heard)
        ] * 2
        log.write_text('{"at": "2001-01-01T00:00:00+00:00"}\n')  # the clock was set back meanwhile
        with (
            writer_lock(settings, run_id="2"),
            open_state(settings) as engine,
            engine.begin() as con,
        ):
            assert note_crashed(con, settings, but="2") == []
            con.execute(update(runs).values(status="running", ended_at=None))
            assert note_crashed(con, settings, but="2") == ["1"]
        noted = ledger.newest()[1]
        assert noted["ended_at"] == noted["started_at"]


def test_run_that_ends_while_it_is_looked_at_has_not_crashed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_ledger(settings) as ledger:
        ledger.start("1")
        looked = iter([lambda: ledger.end("1", "done", None, {})])
        monkeypatch.setattr(state, "lock_holder", lambda _: next(looked)())
        assert [run["status"] for run in ledger.newest()] == ["done"]


def test_run_tells_what_it_was_asked_and_by_whom(settings: Settings) -> None:
    with open_ledger(settings) as ledger:
        ledger.start("1", {"only": ["a.b"]}, "schedule")
        (run,) = ledger.newest()
    assert (run["options"], run["trigger"]) == ({"only": ["a.b"]}, "schedule")
    assert (run["host"], run["pid"]) == (host(), os.getpid())
    assert Process(run["pid"], run["born"]).alive


def test_ledger_of_an_earlier_version_goes_on(settings: Settings) -> None:
    settings.home.mkdir()
    with closing(sqlite3.connect(settings.state_db)) as con:
        con.execute(
            "create table runs (run_id varchar primary key, started_at datetime not null,"
            " ended_at datetime, status varchar not null, release varchar, summary json)"
        )
        con.execute(
            "insert into runs values ('0', '2026-01-01 00:00:00.0', null, 'running', null, null)"
        )
        con.commit()
    with open_ledger(settings) as ledger:
        assert [(run["status"], run["options"]) for run in ledger.newest()] == [("crashed", None)]
        ledger.start("1")
        assert ledger.lag is None


def test_locked_ledger_is_written_later(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "PAUSE_SECONDS", 0.0)
    with open_ledger(settings) as ledger:
        ledger._engine.dispose()
        event.listen(
            ledger._engine, "connect", lambda con, _: con.execute("pragma busy_timeout = 9")
        )
        with closing(sqlite3.connect(settings.state_db)) as other:
            other.execute("begin exclusive")
            ledger.start("1")
            assert ledger.lag == "database is locked"
        ledger.end("1", "done", None, {})
        assert ledger.lag is None
        assert [run["status"] for run in ledger.newest()] == ["done"]


def test_lost_ledger_is_made_again(settings: Settings) -> None:
    for _ in range(2):
        with open_ledger(settings) as ledger:
            ledger.start("1")
        settings.state_db.unlink()
