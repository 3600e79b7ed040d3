"""Which process is which: an id is used again, so the moment of birth belongs to it."""

from __future__ import annotations

import contextlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process by its id and the moment it was born, since ids are used again.

    One that was started detached leads a process group of its own, whose id is `pid` too.
    """

    pid: int
    born: str

    @property
    def alive(self) -> bool:
        """Whether it runs still: another process with its id, or a zombie, is not it."""
        _reap(self.pid)
        # One that ended before it was looked at has no birth to compare.
        return bool(self.born) and birth(self.pid) == self.born


def this_process() -> Process:
    """The process that asks."""
    return Process(os.getpid(), birth(os.getpid()))


def birth(pid: int) -> str:
    """When the process of this id started, in words of the system; empty if there is none."""
    if Path("/proc/self/stat").exists():
        return _birth_by_proc(pid)
    return _birth_by_ps(pid)


def boot() -> str:
    """The id of the system's present boot; empty where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def _birth_by_proc(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    # The name in brackets may hold anything, brackets too; the fields follow the last one.
    fields = stat.rpartition(")")[2].split()
    state, start_ticks = fields[0], fields[19]
    return "" if state in "ZX" else f"{boot()} {start_ticks}"


def _birth_by_ps(pid: int) -> str:
    shown = subprocess.run(  # noqa: S603 - our own words and a number
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],  # noqa: S607 - as POSIX has it
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split(maxsplit=1)
    return "" if len(shown) < 2 or shown[0].startswith("Z") else shown[1].strip()
