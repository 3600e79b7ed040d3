"""One writer of a home at a time, whatever becomes of it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from warehouse.errors import WriterBusyError
from warehouse.lock import Holder, host, is_running, lock_holder, writer_lock
from warehouse.processes import Process, boot, this_process
from warehouse.settings import PROJECT, Settings

LAKE_REBUILD = "clearwater lake rebuild"
HOLD = """
import sys, time
from pathlib import Path
from warehouse.lock import writer_lock
from warehouse.settings import Settings
with writer_lock(Settings(Path(sys.argv[1]), 1, "1GiB")):
    print("held", flush=True)
    time.sleep(60)
"""


def test_second_writer_is_told_who_holds(settings: Settings) -> None:
    with (
        writer_lock(settings),
        pytest.raises(WriterBusyError, match=f"process {os.getpid()}") as caught,
        writer_lock(settings),
    ):
        pass
    assert caught.value.exit_code == 4


def test_holder_is_told_with_its_run_and_since_when(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/bin/clearwater", "lake", "rebuild", "--key", "s3cret"])
    assert lock_holder(settings) is None
    with writer_lock(settings):
        found = lock_holder(settings)
        assert found is not None
        assert (found.pid, found.host, found.command) == (os.getpid(), host(), LAKE_REBUILD)
        assert "s3cret" not in settings.lock.read_text()
        with pytest.raises(WriterBusyError, match="`clearwater lake rebuild` has been at work for"):
            writer_lock(settings).__enter__()
    assert lock_holder(settings) is None
    with writer_lock(settings, run_id="r1"):
        since = datetime.now(UTC) - timedelta(minutes=12)
        told = json.loads(settings.lock.read_text()) | {"since": since.isoformat()}
        settings.lock.write_text(json.dumps(told))
        expected = rf"run r1 has been at work for 12 min \(process {os.getpid()} on {host()}\)"
        with pytest.raises(WriterBusyError, match=expected):
            writer_lock(settings).__enter__()


@pytest.mark.parametrize("said", ["", "4711\n", "{}", '{"pid": 1}', "[1, 2]", "\0\0"])
def test_holder_that_says_nothing_holds_all_the_same(settings: Settings, said: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, settings.home], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        settings.lock.write_text(said)
        with pytest.raises(WriterBusyError, match="another writer is at work"):
            writer_lock(settings).__enter__()
        assert lock_holder(settings) is not None
        holder.kill()


def test_waiting_tells_for_whom_and_ends_with_it(settings: Settings) -> None:
    told: list[str] = []
    entered = threading.Event()

    def wait() -> None:
        with writer_lock(settings, wait=True, tell=told.append):
            entered.set()

    with writer_lock(settings, run_id="r1"):
        waiting = threading.Thread(target=wait)
        waiting.start()
        while not told:
            time.sleep(0.01)
        assert not entered.wait(0.1)
    assert entered.wait(10)
    waiting.join()
    assert len(told) == 1
    assert told[0].startswith("waiting: run r1 has been at work for ")


def test_looking_hinders_no_writer(settings: Settings) -> None:
    with writer_lock(settings):
        pass
    handle = os.open(settings.lock, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)  # somebody looks, for longer than one ever does
    threading.Timer(0.01, os.close, (handle,)).start()
    with writer_lock(settings):
        pass


def test_next_writer_comes_after_the_first(settings: Settings) -> None:
    for _ in range(2):
        with writer_lock(settings):
            pass


def test_writer_that_fails_lets_go(settings: Settings) -> None:
    with pytest.raises(ValueError, match="mine"), writer_lock(settings):
        raise ValueError("mine")
    with writer_lock(settings):
        pass


def test_killed_writer_lets_go(settings: Settings) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, settings.home], cwd=PROJECT, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(WriterBusyError), writer_lock(settings):
            pass
        holder.kill()
    with writer_lock(settings, wait=True):
        pass


def held_by(pid: int, run_id: str) -> Holder:
    return Holder(pid, "then", "somewhere", "2026-01-01T00:00:00+00:00", "python", run_id)


GONE = Process(2**22 + 1, f"{boot()} 1")


@pytest.mark.parametrize(
    ("holder", "process", "on", "runs"),
    [
        (None, this_process(), host(), False),
        (None, GONE, "elsewhere", False),
        (held_by(1, "r1"), GONE, "elsewhere", True),
        (held_by(1, "r2"), this_process(), host(), False),
        (held_by(1, ""), this_process(), host(), False),
        (held_by(0, ""), this_process(), host(), True),
        (held_by(0, ""), GONE, host(), False),
        (held_by(0, ""), GONE, "elsewhere", True),
        (held_by(0, ""), Process(1, "another-boot 1"), host(), True),
        (held_by(0, ""), Process(0, ""), "", False),
    ],
)
def test_the_lock_decides_which_run_is_at_work(
    holder: Holder | None, process: Process, on: str, runs: bool
) -> None:
    assert is_running(holder, "r1", process, on) is runs


@pytest.mark.parametrize("asked", ["open", "flock"])
def test_lock_that_cannot_be_asked_may_be_held(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    def refused(*_: object) -> int:
        raise OSError(errno.EACCES if asked == "open" else errno.ENOLCK, "no")

    assert lock_holder(settings) is None
    with writer_lock(settings):
        pass
    monkeypatch.setattr(os if asked == "open" else fcntl, asked, refused)
    found = lock_holder(settings)
    assert found
    assert found.pid == 0


def test_homes_do_not_hinder_each_other(settings: Settings) -> None:
    other = Settings(settings.home.with_name("other"), 1, "1GiB")
    with writer_lock(settings), writer_lock(other):
        pass
