"""What is tried again, since it may pass by itself, and how often."""

from __future__ import annotations

import errno
import random
import sqlite3
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import duckdb
from sqlalchemy.exc import DBAPIError

from warehouse import state
from warehouse.errors import BuildError, ClearwaterError, LakeError, UnreachableError
from warehouse.wording import counted

if TYPE_CHECKING:
    from tenacity import RetryCallState

    from flows.run import Run

# The waits before the second and the third try; each is longer by up to JITTER of it, so that
# many who met the same fault do not all come back at once.
RETRY_DELAYS_SECONDS = (2.0, 15.0)
JITTER = 0.3
# What waiting does not mend: a full disk, a missing file, a forbidden one.
LASTING_ERRORS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENOENT,
    errno.EEXIST,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.ENOMEM,
}
# SQLite, DuckLake's catalog and DuckDB say so of a lock that another process has.
LOCKED = ("database is locked", "database table is locked", "Could not set lock on file")


def passes_by_itself(error: BaseException) -> bool:
    """Whether the error may be gone soon: the network's, a lock's, or the system's input's.

    Never one that says what is to be mended: a gate, a contract, a setting, a refused file.
    """
    if isinstance(error, ClearwaterError):
        is_locked = isinstance(error, BuildError | LakeError) and _is_locked(error)
        return is_locked or isinstance(error, UnreachableError)
    if isinstance(error, DBAPIError):
        return state.passes_by_itself(error)
    if isinstance(error, duckdb.Error | sqlite3.Error):
        return _is_locked(error)
    return isinstance(error, OSError) and error.errno not in LASTING_ERRORS


def _is_locked(error: BaseException) -> bool:
    return any(words in str(error) for words in LOCKED)


def delay_seconds(tries: int) -> float:
    """How long to wait after so many tries, with jitter."""
    delay = RETRY_DELAYS_SECONDS[min(tries, len(RETRY_DELAYS_SECONDS)) - 1]
    return delay * (1 + JITTER * random.random())  # noqa: S311 - nobody must not guess it


def tried(name: str, function: Callable[[Run], None], run: Run) -> None:
    """Call a stage, and again while its error may pass by itself: three times at most."""
    from tenacity import Retrying, retry_if_exception, stop_after_attempt

    def before_sleep(call: RetryCallState) -> None:
        assert call.outcome is not None
        error = call.outcome.exception()
        assert error is not None
        note(run, name, error, call.attempt_number, call.upcoming_sleep)

    retrying = Retrying(
        stop=stop_after_attempt(len(RETRY_DELAYS_SECONDS) + 1),
        wait=lambda call: delay_seconds(call.attempt_number),
        retry=retry_if_exception(passes_by_itself),
        before_sleep=before_sleep,
        sleep=time.sleep,
        reraise=True,
    )
    retrying(function, run)


def wait_for(run: Run) -> Callable[[str, Exception, int], bool]:
    """What lands files asks when a source cannot be reached: waits and says whether to go on.

    It is asked with the sources, the error of the first, and how often they were tried.
    """

    def again(sources: str, error: Exception, tries: int) -> bool:
        if tries > len(RETRY_DELAYS_SECONDS):
            return False
        seconds = delay_seconds(tries)
        note(run, sources, error, tries, seconds)
        time.sleep(seconds)
        return True

    return again


def note(run: Run, what: str, error: BaseException, tries: int, seconds: float) -> None:
    """Tell, in a line and in the run's summary, that something is tried again."""
    why = str(error).partition("\n")[0] or type(error).__name__
    most = len(RETRY_DELAYS_SECONDS) + 1
    told = f"{what}: {why}; try {tries + 1} of {most} in {counted(round(seconds), 'second')}"
    run.retries.append(told)
    run.events.note(f"again     {told}")
