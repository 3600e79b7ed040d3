"""The one writer of a CLEARWATER_HOME: a kernel file lock that dies with its process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from warehouse.errors import WriterBusyError
from warehouse.settings import Settings


@contextmanager
def writer_lock(settings: Settings, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock for the block.

    Raises WriterBusyError when another process holds it, unless `wait`.
    """
    settings.home.mkdir(parents=True, exist_ok=True)
    handle = os.open(settings.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    except BlockingIOError:
        holder = os.pread(handle, 32, 0).decode().strip()
        raise WriterBusyError(
            f"another writer is at work (process {holder or 'unknown'})",
            where=str(settings.lock),
            next_step="try again when it is done, or pass --wait",
        ) from None
    finally:
        os.close(handle)
