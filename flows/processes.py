"""Detached processes that outlive the command that started them, and how to find them again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from warehouse.processes import Process, birth, boot

__all__ = ["Process", "StopFlag", "start_detached", "stop"]

POLL_SECONDS = 0.1


class StopFlag:
    """Whether this process was told to end, by SIGTERM or Ctrl-C.

    A `threading.Event` must not be set by a signal's handler: where that interrupts the event's own
    code, it waits for a lock that the code below it holds, for ever.
    """

    def __init__(self) -> None:
        self.is_set = False

    def heed(self) -> None:
        """Handle these signals from now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._set)

    def wait(self, seconds: float) -> bool:
        """Sleep, and say whether the flag is set; a signal meanwhile does not wake."""
        if not self.is_set:
            time.sleep(seconds)
        return self.is_set

    def _set(self, *_: object) -> None:
        self.is_set = True


def with_birth(pid: int) -> Process:
    """The process that has the id now."""
    return Process(pid, birth(pid))


def start_detached(
    command: Sequence[str], *, env: Mapping[str, str], folder: Path, log: Path
) -> Process:
    """A Python process of its own session, in `folder`, that appends what it says to `log`."""
    with log.open("ab") as output:
        child = subprocess.Popen(
            [sys.executable, *command],
            env=dict(env),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    child.returncode = 0  # It is meant to outlive us: no ResourceWarning when forgotten.
    return Process(child.pid, birth(child.pid))


def stop(process: Process, *, patience_seconds: float) -> None:
    """End the process: asked first, then with its whole group killed.

    The leader alone is asked: it knows best how to end what it started.
    """
    if not process.alive and (birth(process.pid) or not process.born.startswith(boot())):
        return  # The id is somebody else's now, or was of another boot: so may be the group.
    if process.alive:
        _signal_if_there(os.kill, process.pid, signal.SIGTERM)
        _wait_until_gone(process, patience_seconds)
    _signal_if_there(os.killpg, process.pid, signal.SIGKILL)
    if process.alive:  # it leads no group: somebody's own command
        _signal_if_there(os.kill, process.pid, signal.SIGKILL)
    _wait_until_gone(process, patience_seconds)


def _wait_until_gone(process: Process, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while process.alive and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _signal_if_there(send: Callable[[int, int], None], pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        send(pid, number)
