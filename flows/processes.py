"""Detached processes that outlive the command that started them, and how to find them again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Process:
    """A process by its id and the moment it was born, since ids are used again.

    Those that we start lead a process group of their own, whose id is `pid` too.
    """

    pid: int
    born: str

    @property
    def alive(self) -> bool:
        """Whether it runs still: another process with its id, or a zombie, is not it."""
        _reap(self.pid)
        # One that ended before it was looked at has no birth to compare.
        return bool(self.born) and _birth(self.pid) == self.born


def this_process() -> Process:
    """The one that asks."""
    return Process(os.getpid(), _birth(os.getpid()))


def with_birth(pid: int) -> Process:
    """The process that has the id now."""
    return Process(pid, _birth(pid))


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
    return Process(child.pid, _birth(child.pid))


def stop(process: Process, *, patience_seconds: float) -> None:
    """End the process: asked first, then with its whole group killed.

    The leader alone is asked: it knows best how to end what it started.
    """
    if not process.alive and (_birth(process.pid) or not process.born.startswith(_boot())):
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


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _birth(pid: int) -> str:
    """When the process of this id started, in words of the system; empty if there is none."""
    if Path("/proc/self/stat").exists():
        return _birth_by_proc(pid)
    return _birth_by_ps(pid)


def _birth_by_proc(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # The name in brackets may hold anything, brackets too; the fields follow the last one.
    fields = stat.rpartition(")")[2].split()
    state, start_ticks = fields[0], fields[19]
    return "" if state in "ZX" else f"{_boot()} {start_ticks}"


def _boot() -> str:
    """The id of the system's present boot; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _birth_by_ps(pid: int) -> str:
    shown = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split(maxsplit=1)
    return "" if len(shown) < 2 or shown[0].startswith("Z") else shown[1].strip()
