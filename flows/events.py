"""What a run says while it works: to its log, and to stderr as plain lines or as JSON lines."""

from __future__ import annotations

import sys
import time
import traceback
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal

from flows.progress import Bar, Pace
from flows.run_log import Level, Line, LogFile, hidden, new_line
from warehouse.errors import ClearwaterError, without_values
from warehouse.progress import Unit

Mode = Literal["text", "json"]

LINE_EVERY_SECONDS = 30.0  # of progress, in the log, and on stderr where that is no terminal
JSON_EVERY_SECONDS = 5.0
BAR_EVERY_SECONDS = 0.1

_SPEAKING: ContextVar[Events | None] = ContextVar("_SPEAKING", default=None)
_IS_QUIET: ContextVar[bool] = ContextVar("_IS_QUIET", default=False)


def speaking() -> Events | None:
    """The events of the run that this process is at, or was at last."""
    return _SPEAKING.get()


def show_progress(is_shown: bool) -> None:
    """Whether progress is shown on stderr: not where a command's result is for machines."""
    _IS_QUIET.set(not is_shown)


class Events:
    """The events of one run, each with its run id. `mode` is how they are told on stderr.

    They are written to no file before `keep`.
    """

    def __init__(self, mode: Mode, run_id: str) -> None:
        self.mode = mode
        self.is_error_told = False
        self._run_id = run_id
        self._file: LogFile | None = None
        self._stage = ""
        self._bar: Bar | None = None
        self._pace = Pace(0.0)
        self._drawn_at = self._told_at = self._kept_at = 0.0
        self._every = JSON_EVERY_SECONDS if mode == "json" else LINE_EVERY_SECONDS
        _SPEAKING.set(self)

    def keep(self, file: Path) -> None:
        """Write all that follows to this file, too."""
        self._file = LogFile(file)

    def close(self) -> None:
        """Let go of the file. Says so if it lacks something: the run's end is no worse for it."""
        self._end_progress()
        file, self._file = self._file, None
        if file is not None:
            if file.lag:
                self.note(f"the run's log lags, the data does not: {file.lag}")
            file.close()

    def stage(self, stage: str, status: str, *, detail: str = "", **values: Any) -> None:
        """A stage's start, or how it ended."""
        self._stage = stage
        self._end_progress()
        if status == "start":
            self._begin_progress(stage)
            self.event("stage", status=status)
        else:
            level: Level = "error" if status in ("failed", "stopped") else "info"
            self.event("stage", detail, level=level, status=status, **values)
            self._stage = ""
        if self.mode == "text":
            seconds = values.get("seconds")
            took = f"{seconds:6.1f} s" if seconds is not None else " " * 8
            if status == "start":
                self._passing(f"{stage:<9} …")
            else:
                mark = "" if status in ("done", "skipped") else f"{status}: "
                self._line(f"{stage:<9} {took}  {mark}{detail}")

    def note(self, text: str) -> None:
        """Something that a person should see."""
        self.event("note", text)
        if self.mode == "text":
            self._line(text)

    def error(self, error: BaseException, stage: str = "") -> None:
        """What ended the run, in a stage if so, to the log and to JSON lines.

        People are told elsewhere, and once.
        """
        self.is_error_told = True
        told_as: dict[str, Any] = {"level": "error", "stage": stage}
        if isinstance(error, ClearwaterError):
            told_as |= {"what": error.what, "where": error.where, "next_step": error.next_step}
            self.event("error", str(error), **told_as, exit_code=error.exit_code)
            return
        if not isinstance(error, Exception):
            self.event("error", str(error) or "stopped", **told_as)
            return
        told = f"{type(error).__name__}: {without_values(str(error))}"
        # The frames alone: what follows them would quote values again.
        frames = traceback.format_tb(error.__traceback__)
        self.event("error", told, **told_as, traceback="".join(frames))

    def event(
        self, event: str, text: str = "", *, level: Level = "info", stage: str = "", **values: Any
    ) -> None:
        """Anything else: to the log and to JSON lines, not to people.

        It is of the stage that is at work, unless it is said to be of another.
        """
        of = stage or self._stage
        line = new_line(self._run_id, event, text, level=level, stage=of, **values)
        self._write(line)
        self._json(line)

    def progress(self, done: float, total: float, unit: Unit, detail: str = "") -> None:
        """How far the stage is: a bar on a terminal, else a line now and then."""
        now = time.monotonic()
        self._pace.hear(done, total, unit, now)
        if self._bar is not None and (now >= self._drawn_at + BAR_EVERY_SECONDS or done >= total):
            self._drawn_at = now
            self._bar.show(done, total, self._pace.told(), detail)
        is_due = now >= self._told_at + self._every
        is_kept = now >= self._kept_at + LINE_EVERY_SECONDS
        if not is_due and not is_kept:
            return
        told = self._pace.told()
        text = f"{told}: {detail}" if detail else told
        values: dict[str, Any] = {"done": done, "total": total, "unit": unit, "detail": detail}
        line = new_line(self._run_id, "progress", text, stage=self._stage, **values)
        if is_kept:
            self._kept_at = now
            self._write(line)
        if is_due and not _IS_QUIET.get():
            self._told_at = now
            self._json(line)
            if self.mode == "text" and not sys.stderr.isatty():
                self._line(f"{self._stage:<9} {'':8}  {text}")

    def _begin_progress(self, stage: str) -> None:
        now = time.monotonic()
        self._end_progress()
        self._pace = Pace(now)
        self._told_at = self._kept_at = self._drawn_at = now
        if self.mode == "text" and not _IS_QUIET.get() and sys.stderr.isatty():
            self._bar = Bar(stage, now)

    def _end_progress(self) -> None:
        if self._bar is not None:
            self._bar.clear()
            self._bar = None

    def _write(self, line: Line) -> None:
        if self._file is not None:
            self._file.write(line)

    def _json(self, line: Line) -> None:
        if self.mode == "json":
            print(line.to_json(), file=sys.stderr, flush=True)

    def _passing(self, text: str) -> None:
        if sys.stderr.isatty():
            print(text, end="\r", file=sys.stderr, flush=True)

    def _line(self, text: str) -> None:
        if self._bar is not None:
            self._bar.clear()
        clear = "\x1b[2K" if sys.stderr.isatty() else ""
        print(f"{clear}{hidden(text)}", file=sys.stderr, flush=True)
