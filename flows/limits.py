"""The end of a stage that takes too long, and of a run that is told to stop.

Both interrupt the main thread as Ctrl-C does, which Python's own code, DuckDB and dbt heed. What
does not come back even so, such as a read from a network that hangs in C++, ends with its process:
a run may be killed at any moment.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType, TracebackType
from typing import NoReturn

from warehouse import duck
from warehouse.errors import TERMINATED, StageTimeoutError, StoppedError
from warehouse.wording import span

GRACE_SECONDS = 10.0
AGAIN_SECONDS = 3.0  # something may have swallowed the interrupt
LAST_WORDS_SECONDS = 5.0

INTERRUPTED = 128 + signal.SIGINT  # what a shell says of a process that Ctrl-C ended

End = StageTimeoutError | StoppedError | KeyboardInterrupt


class Interrupted(KeyboardInterrupt):
    """Raised in the main thread wherever it stands; `Limits` says why."""


class Limits:
    """Holds for its block: SIGTERM and Ctrl-C stop the run, and `stage` bounds a stage.

    Only the main thread can be interrupted; in another a stage that is late ends the process.
    `last_words` is called before the process ends so, with the reason.
    """

    def __init__(self, last_words: Callable[[End], None]) -> None:
        self._last_words = last_words
        self._end: End | None = None
        self._shields = 0
        self._is_over = False
        self._late: StageTimeoutError | None = None  # what the stage that is on would end with
        self._deadline: float | None = None  # of the process, by the monotonic clock
        self._undo = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._is_main = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Limits:
        self._reads, self._writes = os.pipe()
        self._undo.callback(os.close, self._reads)
        self._undo.callback(os.close, self._writes)
        os.set_blocking(self._writes, False)
        watchdog = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._undo.callback(self._dismiss, watchdog)
        if self._is_main:
            self._handle(signal.SIGTERM, self._stop)
            self._handle(signal.SIGINT, self._stop)
            self._handle(signal.SIGALRM, self._too_late)
            # The watchdog hears of a signal even where no Python code of ours gets to run.
            before = signal.set_wakeup_fd(self._writes, warn_on_full_buffer=False)
            self._undo.callback(signal.set_wakeup_fd, before, warn_on_full_buffer=False)
        watchdog.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._is_main:
            signal.setitimer(signal.ITIMER_REAL, 0)
        self._undo.close()
        if isinstance(error, Interrupted):
            self._raise()
        if error is None and self._is_stopped:
            self._raise()

    @contextmanager
    def stage(self, name: str, limit: timedelta | None) -> Iterator[None]:
        """Let the block take as long as `limit`, for ever if None.

        Raises StageTimeoutError, StoppedError or KeyboardInterrupt, whatever the block made of the
        interrupt.
        """
        if self._is_stopped:
            self._raise()
        self._end = None
        if limit is not None:
            seconds = limit.total_seconds()
            self._late = _too_long(name, limit)
            self._deadline = time.monotonic() + seconds + GRACE_SECONDS
            self._wake()
            if self._is_main:
                signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN_SECONDS)
        try:
            yield
            self._over()
        except BaseException:
            self._over()
            self._raise()
            raise
        self._raise()

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Let nothing interrupt the block, which is short; SIGTERM is heeded after it."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        if not self._shields and self._is_stopped:
            self._raise()

    @property
    def _is_stopped(self) -> bool:
        return isinstance(self._end, StoppedError | KeyboardInterrupt)

    def _raise(self) -> None:
        """Raise the reason, if there is one."""
        if self._end is not None:
            raise self._end from None

    def _over(self) -> None:
        """The stage has ended, so that nothing is late any more."""
        self._late = None
        if self._is_main:
            signal.setitimer(signal.ITIMER_REAL, 0)
        with self._lock:
            if not self._is_stopped:
                self._deadline = None

    def _handle(self, number: signal.Signals, handler: Callable[..., None]) -> None:
        before = signal.signal(number, handler)
        self._undo.callback(signal.signal, number, before or signal.SIG_DFL)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        self._end = _stopped_by(number)
        if not self._shields:
            _interrupt()

    def _too_late(self, _number: int, _frame: FrameType | None) -> None:
        if self._late is not None and not self._is_stopped:
            self._end = self._late
            _interrupt()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._writes, b"\0")

    def _dismiss(self, watchdog: threading.Thread) -> None:
        self._late = None
        with self._lock:
            self._deadline = None
        self._is_over = True
        self._wake()
        watchdog.join()

    def _watch(self) -> None:
        """The watchdog: ends the process when its deadline has come and nothing else did."""
        while not self._is_over:
            deadline = self._deadline
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if select.select([self._reads], [], [], left)[0]:
                signals = os.read(self._reads, 64)
                told = [n for n in (signal.SIGTERM, signal.SIGINT) if n in signals]
                if told and not self._is_over:
                    self._deadline = time.monotonic() + GRACE_SECONDS
                    self._end = self._end if self._is_stopped else _stopped_by(told[0])
            with self._lock:
                if self._deadline is None or time.monotonic() < self._deadline:
                    continue
                end = self._end if self._is_stopped else self._late
            if end is not None:
                self._leave(end)

    def _leave(self, end: End) -> None:
        speaker = threading.Thread(target=self._last_words, args=(end,), daemon=True)
        speaker.start()
        speaker.join(LAST_WORDS_SECONDS)
        if isinstance(end, StageTimeoutError):
            os._exit(end.exit_code)
        os._exit(TERMINATED if isinstance(end, StoppedError) else INTERRUPTED)


def _stopped_by(number: int) -> StoppedError | KeyboardInterrupt:
    return StoppedError() if number == signal.SIGTERM else KeyboardInterrupt()


def _interrupt() -> NoReturn:
    duck.interrupt()
    raise Interrupted


def _too_long(name: str, limit: timedelta) -> StageTimeoutError:
    return StageTimeoutError(
        f"stage {name} took longer than {span(limit)} and was ended; nothing is half done",
        next_step=f"find out why it hangs, or set CLEARWATER_TIMEOUT_{name.upper()} to more, such"
        " as 12h, or to forever; `clearwater retry` goes on with it",
    )
