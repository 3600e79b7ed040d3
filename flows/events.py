"""What a run says while it works: plain lines for people, JSON lines for machines; to stderr."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any, Literal

Mode = Literal["text", "json"]


class Events:
    """The events of one run, each with its run id."""

    def __init__(self, mode: Mode, run_id: str) -> None:
        self._mode = mode
        self._run_id = run_id

    def stage(self, stage: str, status: str, *, detail: str = "", **values: Any) -> None:
        """A stage's start, or how it ended."""
        self._json({"event": "stage", "stage": stage, "status": status, "detail": detail} | values)
        if self._mode == "text":
            seconds = values.get("seconds")
            took = f"{seconds:6.1f} s" if seconds is not None else " " * 8
            if status == "start":
                self._progress(f"{stage:<9} …")
            else:
                mark = "" if status in ("done", "skipped") else f"{status}: "
                self._line(f"{stage:<9} {took}  {mark}{detail}")

    def note(self, text: str) -> None:
        """Something that a person should see."""
        self._json({"event": "note", "text": text})
        if self._mode == "text":
            self._line(text)

    def _json(self, event: dict[str, Any]) -> None:
        if self._mode == "json":
            at = datetime.now(UTC).isoformat()
            line = json.dumps({"at": at, "run_id": self._run_id} | event, default=str)
            print(line, file=sys.stderr, flush=True)

    def _progress(self, text: str) -> None:
        if sys.stderr.isatty():
            print(text, end="\r", file=sys.stderr, flush=True)

    def _line(self, text: str) -> None:
        clear = "\x1b[2K" if sys.stderr.isatty() else ""
        print(f"{clear}{text}", file=sys.stderr, flush=True)
