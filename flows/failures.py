"""What a failure looks like to a user: one clear message on stderr, and its exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from warehouse.errors import ClearwaterError, DiskFullError

FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_WORDS = ("No space left on device", "Disk quota exceeded", "database or disk is full")


@contextmanager
def reported() -> Iterator[None]:
    """Turn an expected failure in the block into its message and exit code."""
    try:
        yield
    except ClearwaterError as error:
        _leave(str(error), error.exit_code)
    except KeyboardInterrupt:
        _leave("stopped; the next run takes up what is left", 130)
    except Exception as error:
        full = full_disk(error)
        if full is None:
            raise
        _leave(str(full), full.exit_code)


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """End quietly when whoever reads our output has gone, as `| head` does."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def full_disk(error: BaseException) -> DiskFullError | None:
    """The clear message, if Python, DuckDB or SQLite says that no space is left; else None."""
    is_full = isinstance(error, OSError) and error.errno in FULL
    if not is_full and not any(words in str(error) for words in FULL_WORDS):
        return None
    return DiskFullError(
        "the disk is full",
        where=str(getattr(error, "filename", None) or ""),
        next_step="free some space and run again; nothing is lost or half done",
    )


def _leave(text: str, code: int) -> None:
    print(f"error: {text}", file=sys.stderr)
    sys.exit(code)
