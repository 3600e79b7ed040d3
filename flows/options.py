"""What the commands share: their options, and how they speak."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

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


Home = Annotated[
    Path | None, typer.Option("--home", help="Where everything is kept (else CLEARWATER_HOME).")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for machines.")]
Sources = Annotated[Path, typer.Option("--sources", help="The sources file.")]
Only = Annotated[list[str] | None, typer.Option("--only", help="Only this source; repeatable.")]
LogMode = Annotated[Log, typer.Option("--log", help="Progress as text or as JSON lines.")]
Wait = Annotated[bool, typer.Option("--wait", help="Wait for another writer instead of leaving.")]
FullRefresh = Annotated[bool, typer.Option("--full-refresh", help="Build every model in full.")]
ReleaseId = Annotated[str | None, typer.Option("--release", help="A release other than current.")]

SOURCES = PROJECT / "sources.yml"


def say(text: str) -> None:
    """A line for people, on stdout."""
    print(text, flush=True)


def complain(text: str) -> None:
    """A line for people about what went wrong, on stderr."""
    print(text, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """A result for machines, on stdout."""
    print(json.dumps(value, default=str, indent=1))
