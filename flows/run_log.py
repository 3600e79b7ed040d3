"""A run's log: a file of JSON lines, one an event. It may lag or be lost; no run fails for it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

from warehouse.configuration import OPTIONS
from warehouse.settings import Settings

Level = Literal["info", "warning", "error"]
SUFFIX = ".jsonl"
HIDDEN = "•••"
# Secrets that come by variables which are not our own options.
OTHER_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "PREFECT_API_KEY")
SHORTEST_SECRET = 6  # what is shorter would hide words
_PASSWORD = re.compile(r"(\w://[^/\s:@\"]*:)[^@\s/\"]+@")


@dataclass(frozen=True)
class Line:
    """One event: when (ISO 8601 in UTC), of which run, how bad, what, where, in words, in figures.

    `stage` is empty outside of any; `values`, of what JSON can say, stand beside the others in it.
    """

    at: str
    run_id: str
    level: Level
    event: str
    stage: str = ""
    text: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def moment(self) -> datetime:
        """When it was."""
        return datetime.fromisoformat(self.at)

    @property
    def content(self) -> dict[str, Any]:
        """The line as one object."""
        return {name: getattr(self, name) for name in _OWN} | dict(self.values)

    def to_json(self) -> str:
        """The line as it is written, without what is secret."""
        return hidden(json.dumps(self.content, default=str, ensure_ascii=False))

    @classmethod
    def from_json(cls, text: str) -> Line:
        """The line as `to_json` wrote it. Raises ValueError or KeyError for any other."""
        content = json.loads(text)
        own = {name: content.pop(name) for name in _OWN}
        return cls(**own, values=content)


_OWN = tuple(told.name for told in fields(Line) if told.name != "values")


def new_line(
    run_id: str,
    event: str,
    text: str = "",
    *,
    level: Level = "info",
    stage: str = "",
    **values: Any,
) -> Line:
    """The line of an event that is now."""
    return Line(datetime.now(UTC).isoformat(), run_id, level, event, stage, text, values)


def hidden(text: str) -> str:
    """The text without passwords in addresses, nor anything that is a secret in the environment."""
    for secret in _secrets():
        text = text.replace(secret, HIDDEN)
    return _PASSWORD.sub(rf"\1{HIDDEN}@", text) if "://" in text else text


@cache
def _secrets() -> tuple[str, ...]:
    """The secrets as they stand in a text, and as they stand in JSON."""
    names = [option.variable for option in OPTIONS.values() if option.secret]
    values = (os.environ.get(name, "") for name in (*names, *OTHER_SECRETS))
    # Several addresses may stand in one variable.
    found = {part for value in values for part in re.split(r"[\s,]+", value)}
    found = {part for part in found if len(part) >= SHORTEST_SECRET}
    in_json = {json.dumps(part, ensure_ascii=False)[1:-1] for part in found}
    return tuple(sorted(found | in_json, key=len, reverse=True))


class LogFile:
    """The log of one run, to which lines are added; what the disk does not take is left out."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._handle: int | None = None
        self._is_torn = False
        self.lag = ""

    def write(self, line: Line) -> None:
        """Add the line; `lag` says why one could not be added."""
        told = f"{chr(10) * self._is_torn}{line.to_json()}\n".encode(errors="backslashreplace")
        try:
            written = os.write(self._opened(), told)
            self._is_torn = written < len(told)
            if self._is_torn:
                self.lag = "the disk took a part of a line alone"
        except OSError as error:
            self.lag = error.strerror or str(error)

    def _opened(self) -> int:
        if self._handle is None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._handle = os.open(self._file, flags, 0o644)
        return self._handle

    def close(self) -> None:
        """Let go of the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def log_file(settings: Settings, run_id: str) -> Path:
    """Where the log of this run is, or would be."""
    return settings.logs / f"{run_id}{SUFFIX}"


def logged_runs(settings: Settings) -> list[str]:
    """The ids of the runs that have a log, newest first."""
    return sorted((file.stem for file in settings.logs.glob(f"*{SUFFIX}")), reverse=True)


def read_log(settings: Settings, run_id: str) -> list[Line]:
    """The lines of the run's log, in order; a line that was torn is left out."""
    text = log_file(settings, run_id).read_text(encoding="utf-8", errors="replace")
    return list(_read(text))


def _read(text: str) -> Iterator[Line]:
    for told in text.splitlines():
        try:
            yield Line.from_json(told)
        except (
            ValueError,
            TypeError,
            KeyError,
            AttributeError,
        ):  # torn
            continue
