"""One writer of a home at a time, whatever becomes of it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from warehouse.errors import WriterBusyError
from warehouse.lock import writer_lock
from warehouse.settings import PROJECT, Settings

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


def test_homes_do_not_hinder_each_other(settings: Settings) -> None:
    other = Settings(settings.home.with_name("other"), 1, "1GiB")
    with writer_lock(settings), writer_lock(other):
        pass
