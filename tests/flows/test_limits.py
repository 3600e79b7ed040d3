"""Stages that take too long, and runs that are told to stop."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest

from flows.limits import End, Limits
from warehouse.duck import connect
from warehouse.errors import StageTimeoutError, StoppedError
from warehouse.settings import PROJECT, Settings

SHORT = timedelta(seconds=0.2)
# Does not come back, whatever is raised in it, like a read that hangs in a library.
DEAF = """
import contextlib, os, signal, sys, time
from datetime import timedelta
from flows import limits
limits.GRACE_SECONDS = 0.3
limits.AGAIN_SECONDS = 0.1

def sleep():
    with contextlib.suppress(BaseException):
        print("asleep", flush=True)
        time.sleep(60)
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(60)

last_words = lambda end: print(type(end).__name__, end, flush=True)
limit = timedelta(seconds=float(sys.argv[1])) if sys.argv[1:] else None
with limits.Limits(last_words) as held, held.stage("load", limit):
    sleep()
"""
ENDLESS = "select count(*) from range(10000000) a, range(1000000) b where a.range * b.range % 7 = 3"


def silent(_end: End) -> None:
    raise AssertionError("the process is not to end")


def stop_soon() -> None:
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()


def test_stage_that_takes_too_long_is_one_clear_failure() -> None:
    with (
        Limits(silent) as limits,
        pytest.raises(StageTimeoutError, match="stage load took longer than 0 s") as caught,
        limits.stage("load", SHORT),
    ):
        time.sleep(30)
    assert "CLEARWATER_TIMEOUT_LOAD" in caught.value.next_step
    assert caught.value.exit_code == 1


def test_statement_that_takes_too_long_ends(settings: Settings) -> None:
    with (
        Limits(silent) as limits,
        contextlib.closing(connect(settings)) as con,
        pytest.raises(StageTimeoutError),
        limits.stage("load", SHORT),
    ):
        con.execute(ENDLESS).fetchall()


def test_stage_that_makes_something_else_of_the_interrupt_is_late_all_the_same() -> None:
    with Limits(silent) as limits:
        with pytest.raises(StageTimeoutError), limits.stage("load", SHORT):
            try:
                time.sleep(30)
            except KeyboardInterrupt:
                raise ValueError("swallowed") from None
        with (
            pytest.raises(StageTimeoutError),
            limits.stage("load", SHORT),
            contextlib.suppress(KeyboardInterrupt),
        ):
            time.sleep(30)


def test_stage_in_time_leaves_nothing_behind() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)
    with Limits(silent) as limits:
        for limit in (timedelta(seconds=5), None):
            with limits.stage("load", limit):
                pass
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGALRM)) == before
    assert "watchdog" not in {thread.name for thread in threading.enumerate()}


def test_failure_of_a_stage_stays_its_own() -> None:
    with (
        Limits(silent) as limits,
        pytest.raises(ValueError, match="mine"),
        limits.stage("load", timedelta(seconds=5)),
    ):
        raise ValueError("mine")


def test_stop_in_a_stage_ends_the_run_with_143() -> None:
    with pytest.raises(StoppedError) as caught, Limits(silent) as limits:
        stop_soon()
        with limits.stage("load", None):
            time.sleep(30)
    assert caught.value.code == 143


def test_key_pressed_is_the_same_whatever_the_stage_makes_of_it() -> None:
    with pytest.raises(KeyboardInterrupt), Limits(silent) as limits, limits.stage("build", None):
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            time.sleep(30)
        except KeyboardInterrupt:  # as dbt does
            raise ValueError("swallowed") from None


def test_stop_between_stages_ends_the_run() -> None:
    with pytest.raises(StoppedError), Limits(silent):
        stop_soon()
        time.sleep(30)


def test_stop_waits_for_what_is_shielded() -> None:
    noted = []
    with pytest.raises(StoppedError), Limits(silent) as limits:
        with limits.shielded():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.1)
            noted.append("the end")
        noted.append("more")
    assert noted == ["the end"]


def test_other_threads_have_no_signals_and_run_all_the_same() -> None:
    done = []

    def work() -> None:
        with Limits(silent) as limits, limits.stage("load", timedelta(seconds=5)):
            done.append("load")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == ["load"]


@pytest.mark.parametrize(("limit", "code"), [("0.2", 1), ("", 143)])
def test_what_hears_nothing_ends_with_its_process(limit: str, code: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DEAF, *filter(None, [limit])],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "asleep\n"
        if not limit:
            process.terminate()
        said = process.stdout.read()
    assert process.returncode == code
    assert said.startswith("StageTimeoutError stage load" if limit else "StoppedError stopped by")
