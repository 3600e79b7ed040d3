"""The one writer of a CLEARWATER_HOME: a kernel file lock that dies with its process.

Who holds it stands in the file, for messages alone: what counts is the lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from warehouse.errors import WriterBusyError
from warehouse.processes import Process, birth, boot, this_process
from warehouse.settings import Settings
from warehouse.wording import span

POLL_SECONDS = 0.2
# Whoever only looks whether somebody writes has the lock for microseconds.
LOOKS = 3
LOOK_SECONDS = 0.02
MOST_BYTES = 4096
_WORD = re.compile(r"[a-z][a-z-]*")
_held: dict[str, Holder] = {}  # by this process


@dataclass(frozen=True)
class Holder:
    """Who holds the lock: a process of a host, since when (ISO 8601, UTC), with what to do.

    `run_id` is that of a run of the pipeline, empty for other commands.
    """

    pid: int
    born: str
    host: str
    since: str
    command: str
    run_id: str = ""

    @property
    def told(self) -> str:
        """What it is and how long it has been at work, in words."""
        what = f"run {self.run_id}" if self.run_id else f"`{self.command}`"
        worked = datetime.now(UTC) - datetime.fromisoformat(self.since)
        return (
            f"{what} has been at work for {span(max(worked, timedelta()))}"
            f" (process {self.pid} on {self.host})"
        )


def host() -> str:
    """The name of this machine, or of this container."""
    return socket.gethostname()


@contextmanager
def writer_lock(
    settings: Settings,
    *,
    wait: bool = False,
    run_id: str = "",
    tell: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Hold the lock for the block; `run_id` is that of the run that holds it.

    Raises WriterBusyError when another process holds it, unless `wait`: then `tell`, or stderr, is
    told for whom.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    handle = os.open(settings.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    place = str(settings.lock)
    try:
        _take(handle, settings, tell or _say, wait=wait)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        me = this_process()
        holder = Holder(me.pid, me.born, host(), now, _command(), run_id)
        _write(handle, json.dumps(asdict(holder)) + "\n")
        _held[place] = holder
        try:
            yield
        finally:
            del _held[place]
            _write(handle, "")
    finally:
        os.close(handle)


def lock_holder(settings: Settings) -> Holder | None:
    """Who holds the lock now, with `pid` 0 where the file does not say; None when nobody does.

    A holder of this machine whose process is gone holds nothing, whatever the file says. Where we
    may not ask for the lock, or its file system knows of none, somebody may hold it.
    """
    if (own := _held.get(str(settings.lock))) is not None:
        return own  # over NFS a lock of our own would be let go of by looking
    try:
        handle = os.open(settings.lock, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return _unknown()
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        found = _read(handle)
    except OSError:
        return _unknown()
    else:
        return None
    finally:
        os.close(handle)
    if found and _is_of_here(found.host, found.born) and birth(found.pid) != found.born:
        return None
    return found or _unknown()


def is_running(holder: Holder | None, run_id: str, process: Process, on: str) -> bool:
    """Whether a run that has not come to its end is at work: it holds the lock at this moment.

    `process` executes it on the host `on`. They only count where it is not known who holds the
    lock: a run of here whose process is gone is dead then, one of another host may live.
    """
    if holder is None:
        return False
    if holder.pid:
        return holder.run_id == run_id
    return process.alive if _is_of_here(on, process.born) else bool(on)


def _is_of_here(name: str, born: str) -> bool:
    """Whether the process is of this machine since it was booted, and not of one of its name."""
    return name == host() and born.startswith(boot())


def _unknown() -> Holder:
    return Holder(0, "", "unknown", datetime.now(UTC).isoformat(), "unknown")


def _take(handle: int, settings: Settings, tell: Callable[[str], None], *, wait: bool) -> None:
    """Get the lock. Raises WriterBusyError when another has it, unless `wait`."""
    looks, told = 0, None
    while True:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        looks += 1
        if looks < LOOKS:
            time.sleep(LOOK_SECONDS)
            continue
        holder = _read(handle)
        if not wait:
            raise _busy(holder, settings.lock)
        if looks == LOOKS or (holder and holder != told):
            tell(f"waiting: {holder.told if holder else 'another writer is at work'}")
            told = holder
        time.sleep(POLL_SECONDS)


def _busy(holder: Holder | None, lock: Path) -> WriterBusyError:
    return WriterBusyError(
        holder.told if holder else "another writer is at work",
        where=str(lock),
        next_step="try again when it is done, or pass --wait",
    )


def _read(handle: int) -> Holder | None:
    """What the file says; nothing where a writer has just come or gone."""
    try:
        holder = Holder(**json.loads(os.pread(handle, MOST_BYTES, 0)))
        datetime.fromisoformat(holder.since)
    except (ValueError, TypeError, OSError):
        return None
    return holder


def _write(handle: int, text: str) -> None:
    """What the file says is only told: a full disk keeps nobody from writing."""
    content = text.encode()
    with contextlib.suppress(OSError):
        os.pwrite(handle, content, 0)
        os.ftruncate(handle, len(content))


def _command() -> str:
    """The words of the command, without its options: those may hold secrets."""
    words = []
    for word in sys.argv[1:3]:
        if not _WORD.fullmatch(word):
            break
        words.append(word)
    program = Path(sys.argv[0]).stem if sys.argv and sys.argv[0] else "python"
    if program in ("clearwater", "__main__"):
        return " ".join(["clearwater", *words])
    return program


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
