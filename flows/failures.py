"""What a failure looks like to a user: one clear message on stderr, and its exit code."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from warehouse.errors import ClearwaterError

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def reported() -> Iterator[None]:
    """Turn an expected failure in the block into its message and exit code."""
    try:
        yield
    except ClearwaterError as error:
        _leave(str(error), error.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone; that is no failure of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        _leave("stopped; the next run takes up what is left", 130)
    except Exception as error:
        if not is_full_disk(error):
            raise
        _leave(
            "the disk is full\n  next: free some space and run again; nothing is lost or half done",
            1,
        )


def is_full_disk(error: BaseException) -> bool:
    """Whether the failure says that there is no space left, in Python's words or DuckDB's."""
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    text = str(error)
    return "No space left on device" in text or "Disk quota exceeded" in text


def _leave(text: str, code: int) -> None:
    print(f"error: {text}", file=sys.stderr)
    sys.exit(code)
