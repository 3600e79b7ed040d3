"""What a failure looks like to a user: one clear message on stderr, and its exit code."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from flows.options import complain_of, speaks_json
from warehouse.errors import (
    TERMINATED,
    ClearwaterError,
    DiskFullError,
    ReleaseError,
    StoppedError,
)

FULL = (errno.ENOSPC, errno.EDQUOT)
# A release's database, or the copy of it that a build begins with, as DuckDB's messages have it.
DATABASE = re.compile(r'file "([^"]+/warehouse\.duckdb)"')
FULL_WORDS = ("No space left on device", "Disk quota exceeded", "database or disk is full")


@contextmanager
def reported() -> Iterator[None]:
    """Turn an expected failure in the block into its message and exit code."""
    try:
        yield
    except ClearwaterError as error:
        _leave(error, error.exit_code)
    except StoppedError as error:
        _leave(error, TERMINATED)
    except KeyboardInterrupt as error:
        _leave(error, 130)
    except Exception as error:
        fault = machine_fault(error)
        if fault is not None:
            _leave(fault, fault.exit_code)
        if not speaks_json():
            raise
        _leave(error, 1)


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """End quietly when whoever reads our output has gone, as `| head` does."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def is_full(error: OSError) -> bool:
    """Whether it is for want of space on a disk, which may come back."""
    return error.errno in FULL


def lacks_space(error: BaseException) -> bool:
    """Whether it is for want of space on a disk, or says so in the words of a library."""
    return isinstance(error, DiskFullError) or isinstance(machine_fault(error), DiskFullError)


def machine_fault(error: BaseException) -> ClearwaterError | None:
    """The clear message, if the machine is at fault: its disk, its memory, its files' rights."""
    where = str(getattr(error, "filename", None) or "")
    text = str(error)
    if getattr(error, "errno", None) in FULL or any(words in text for words in FULL_WORDS):
        return DiskFullError(
            "the disk is full",
            where=where,
            next_step="free some space and run again; nothing is lost or half done",
        )
    if "Out of Memory" in text:
        return ClearwaterError(
            "DuckDB needs more memory than it may use",
            next_step="set CLEARWATER_MEMORY_LIMIT to more (it is 2GiB by default) and run again",
        )
    found = DATABASE.search(text) if type(error).__name__ == "IOException" else None  # DuckDB's
    if found and "Could not set lock" not in text:
        return ReleaseError(
            f"the tables of a release cannot be read: {text.partition(chr(10))[0]}",
            where=found[1],
            next_step="put a copy back; or `clearwater rollback ID` to a release that is whole"
            " (`clearwater doctor` tells); or make a new one: `clearwater run --full-refresh`",
        )
    if isinstance(error, OSError):
        return ClearwaterError(
            error.strerror or text, where=where, next_step="check the path and its permissions"
        )
    return None


def _leave(error: BaseException, code: int) -> NoReturn:
    complain_of(error)
    sys.exit(code)
