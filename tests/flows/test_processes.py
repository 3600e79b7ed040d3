"""Detached processes: found again by id and birth, stopped with all that they started."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from flows.processes import Process, StopFlag, start_detached, stop

FOREVER = "import time; time.sleep(600)"
DEAF = f"""
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("deaf", flush=True)
{FOREVER}
"""
PARENT = f"""
import subprocess, sys
print(subprocess.Popen([sys.executable, "-c", {FOREVER!r}]).pid, flush=True)
{FOREVER}
"""


def start(folder: Path, code: str) -> Process:
    return start_detached(["-c", code], env=os.environ, folder=folder, log=folder / "log")


def said(folder: Path) -> str:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if text := (folder / "log").read_text():
            return text.strip()
        time.sleep(0.02)
    raise AssertionError("the process said nothing")


def test_a_process_is_alive_until_it_is_stopped(tmp_path: Path) -> None:
    process = start(tmp_path, FOREVER)
    assert process.alive
    stop(process, patience_seconds=10)
    assert not process.alive


def test_a_process_that_ended_by_itself_is_not_alive(tmp_path: Path) -> None:
    process = start(tmp_path, "print('bye')")
    said(tmp_path)
    deadline = time.monotonic() + 20
    while process.alive and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not process.alive


def test_a_process_that_ended_before_it_was_looked_at_is_not_alive() -> None:
    assert not Process(2**22 + 1, "").alive


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    process = start(tmp_path, DEAF)
    said(tmp_path)
    stop(process, patience_seconds=0.3)
    assert not process.alive


def test_what_it_started_ends_with_it(tmp_path: Path) -> None:
    process = start(tmp_path, PARENT)
    child = int(said(tmp_path))
    stop(process, patience_seconds=10)
    assert_ended(child)


def test_what_it_started_ends_even_if_it_was_killed_before(tmp_path: Path) -> None:
    process = start(tmp_path, PARENT)
    child = int(said(tmp_path))
    os.kill(process.pid, 9)
    while process.alive:
        time.sleep(0.02)
    stop(process, patience_seconds=10)
    assert_ended(child)


def test_another_process_with_the_same_id_is_left_alone(tmp_path: Path) -> None:
    process = start(tmp_path, FOREVER)
    stop(Process(process.pid, "another birth"), patience_seconds=0.3)
    assert process.alive
    stop(process, patience_seconds=10)


def assert_ended(pid: int) -> None:
    """Ended, or a zombie that nobody has collected yet."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return
        if state == "Z":
            return
        time.sleep(0.02)
    raise AssertionError(f"process {pid} runs still")


def test_a_signal_sets_the_flag_wherever_it_strikes() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    flag = StopFlag()
    try:
        flag.heed()
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
        deadline = time.monotonic() + 20
        while not flag.wait(0):
            assert time.monotonic() < deadline
        started = time.monotonic()
        assert flag.wait(60)
        assert time.monotonic() - started < 5
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
