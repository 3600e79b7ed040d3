"""What the commands share: their options, and how they speak."""

from __future__ import annotations

import json
import re
import shlex
import sys
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.events import Events, show_progress, speaking
from flows.run_log import hidden
from warehouse.configuration import configuration
from warehouse.settings import PROJECT


class Domain(StrEnum):
    """The samples that `clearwater demo` can take."""

    payments = "payments"
    retail = "retail"


class Log(StrEnum):
    """How a run reports its progress on stderr."""

    text = "text"
    json = "json"


class Format(StrEnum):
    """How a query's result is printed."""

    table = "table"
    csv = "csv"
    json = "json"
    parquet = "parquet"


_GIVEN_HOME: ContextVar[Path | None] = ContextVar("_GIVEN_HOME", default=None)
_LOG: ContextVar[Log] = ContextVar("_LOG", default=Log.text)
_COMMAND = re.compile(r"`(clearwater [a-z][^`]*)`")


def _keep_home(home: Path | None) -> Path | None:
    _GIVEN_HOME.set(home)
    return home


def _keep_log(context: typer.Context, log: Log) -> Log:
    """The `--log` that was given, else what is set for all."""
    source = context.get_parameter_source("log")
    if source is None or source.name == "DEFAULT":
        log = Log(configuration()["log"].value())
    _LOG.set(log)
    return log


def _keep_json(as_json: bool) -> bool:
    show_progress(not as_json)
    return as_json


Home = Annotated[
    Path | None,
    typer.Option(
        "--home", help="Where everything is kept (else CLEARWATER_HOME).", callback=_keep_home
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print the result as JSON, for machines.", callback=_keep_json),
]
Sources = Annotated[Path, typer.Option("--sources", help="The sources file.")]
Only = Annotated[list[str] | None, typer.Option("--only", help="Only this source; repeatable.")]
LogMode = Annotated[
    Log,
    typer.Option(
        "--log", help="Progress as text or as JSON lines (else CLEARWATER_LOG).", callback=_keep_log
    ),
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for another writer instead of leaving.")]
FullRefresh = Annotated[bool, typer.Option("--full-refresh", help="Build every model in full.")]
ReleaseId = Annotated[str | None, typer.Option("--release", help="A release other than current.")]

SOURCES = PROJECT / "sources.yml"


def home_option() -> str:
    """What a command that is printed needs for the same home: ` --home …` if that was given."""
    home = _GIVEN_HOME.get()
    return f" --home {shlex.quote(str(home))}" if home else ""


def _at_home(text: str) -> str:
    """The text with the home that was given in each command that it names in backticks."""

    def with_home(found: re.Match[str]) -> str:
        command = found[1]
        return found[0] if "--home" in command else f"`{command}{home_option()}`"

    return _COMMAND.sub(with_home, text)


def say(text: str) -> None:
    """A line for people, on stdout."""
    print(_at_home(text), flush=True)


def complain(text: str) -> None:
    """A line for people about what went wrong, on stderr, without what is secret.

    Where nobody can be told, as by a log on a full disk, that ends nothing.
    """
    with suppress(OSError):
        print(_at_home(hidden(text)), file=sys.stderr, flush=True)


def complain_of(error: BaseException) -> None:
    """What ended the command, on stderr: a line, or a JSON line unless the run has told it."""
    if _LOG.get() is Log.text:
        told = str(error)
        if not isinstance(error, Exception):
            told = f"{told or 'stopped'}; the next run takes up what is left"
        complain(f"error: {told}")
        return
    events = speaking() or Events("json", "")
    if not events.is_error_told:
        events.error(error)


def speaks_json() -> bool:
    """Whether all that the command tells on stderr is JSON lines."""
    return _LOG.get() is Log.json


def print_json(value: Any) -> None:
    """A result for machines, on stdout: moments in ISO 8601 and UTC, wall times as they are."""
    print(json.dumps(value, default=_plain, indent=1))


def _plain(value: Any) -> str:
    is_moment = isinstance(value, datetime) and value.tzinfo is not None
    return value.astimezone(UTC).isoformat() if is_moment else str(value)
