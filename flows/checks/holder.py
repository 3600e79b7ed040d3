"""Who holds the writer lock, seen without touching it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from warehouse.lock import lock_holder
from warehouse.settings import Settings

LOCKS = Path("/proc/locks")


class Holder(NamedTuple):
    """The process at work, 0 if unknown; its command line; and how many wait for the lock."""

    pid: int
    command: str
    waiting: int


def holder(settings: Settings) -> Holder | None:
    """Who holds the writer lock; None if nobody does, whatever process the file names.

    Where the system lists its locks (Linux) one of this machine is found without locking anything.
    """
    try:
        inode = settings.lock.stat().st_ino
    except OSError:
        return None
    try:
        lines = LOCKS.read_text().splitlines()
    except OSError:
        lines = []
    pids = [_flock(line.split(), inode) for line in lines]
    held = [pid for pid, is_waiting in filter(None, pids) if not is_waiting]
    waiting = sum(is_waiting for _, is_waiting in filter(None, pids))
    if held:
        return Holder(held[0], _command(held[0]), waiting)
    found = lock_holder(settings)  # of another machine, or where no locks are listed
    return Holder(found.pid, found.command, waiting) if found else None


def _flock(parts: list[str], inode: int) -> tuple[int, bool] | None:
    """The process of a line such as `1: [->] FLOCK ADVISORY WRITE 123 08:01:99 0 EOF`."""
    is_waiting = "->" in parts
    kind, *_, pid, place = [part for part in parts[1:] if part != "->"][:5]
    if kind != "FLOCK" or place.rpartition(":")[2] != str(inode):
        return None
    return max(0, int(pid)), is_waiting


def _command(pid: int) -> str:
    """What the process was started as, shortened; empty where that is not told."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return ""
    return " ".join([Path(words[0]).name, *words[1:]]).strip()[:60]
