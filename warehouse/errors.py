"""The errors a user may see: one base class, each with its exit code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

# DuckDB's messages that quote values of the data, where they stand in them, and the code they show.
_VALUED = re.compile(r"(Conversion|Constraint|Invalid Input|Mismatch Type|Out of Range) Error: ")
_QUOTED = re.compile(r"(?<!\w)(['\"]).*\1(?!\w)", re.DOTALL)
_UNQUOTED = re.compile(r"(?<=value )-?\d\S*|(?<=\()-?[\d.]+ \S -?[\d.]+(?=\))")
_NUMBER = re.compile(r"(?<![\w'\"])\d[\d,.]*%?")
_LONGEST_REASON = 200
FIRST_ROW = "; the first is row "  # before the row that a refusal quotes
TERMINATED = 128 + 15  # what a shell says of a process that SIGTERM ended
_CODE = re.compile(r"\s*\n\s*LINE \d+: ")


class ClearwaterError(Exception):
    """What went wrong, where, and the next step; ends the process with `exit_code`."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", next_step: str = "") -> None:
        self.what = what
        self.where = where
        self.next_step = next_step
        super().__init__(self.__str__())

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}\n  next: {self.next_step}" if self.next_step else text


class ConfigurationError(ClearwaterError):
    """Wrong usage or configuration, sources.yml included."""

    exit_code = 2


class DiskFullError(ClearwaterError):
    """There is no space left; what was half done is swept by the next run."""


class StateError(ClearwaterError):
    """The run ledger's database cannot be opened."""


class BatchRefusedError(ClearwaterError):
    """A batch cannot be loaded as a whole; nothing of it reached the lake's tables.

    `rows` are the rows that it held, 0 when they could not be counted. `kinds` are what it is
    refused for, where that is several things, each with what is told of it. `broken` has, by rule,
    how many of its rows break it, 1 for a rule on the file; None where it was refused before its
    rules could be judged.
    """

    rows = 0
    kinds: Mapping[str, str] = MappingProxyType({})
    broken: Mapping[str, int] | None = None


class UnreachableError(BatchRefusedError):
    """What stands elsewhere cannot be reached or read now, which may pass by itself."""


class StageTimeoutError(ClearwaterError):
    """A stage took longer than it may; what it had begun is swept by the next run."""


class StoppedError(SystemExit):
    """The run was told to stop, by SIGTERM; the next one takes up what is left."""

    def __init__(self) -> None:
        super().__init__(TERMINATED)

    def __str__(self) -> str:
        return "stopped by SIGTERM"


class LakeError(ClearwaterError):
    """The lake cannot be opened or read."""


class FailedModel(NamedTuple):
    """A model that does not build: its file, what the engine said, and its SQL as dbt compiled it.

    Of the SQL the lines around `line` are there, the first being number `first_line`; 0 is no line.
    `file` is where it is to be mended, `next_step` how, where more is known than its words.
    """

    relation: str
    file: str
    message: str
    sql: tuple[str, ...] = ()
    first_line: int = 1
    line: int = 0
    next_step: str = ""


class BuildError(ClearwaterError):
    """dbt could not build the warehouse; nothing is published.

    `failed` are the relations of the models that do not build, where some are at fault, and
    `models` tells of each.
    """

    failed: tuple[str, ...] = ()
    models: tuple[FailedModel, ...] = ()


class ReleaseError(ClearwaterError):
    """There is no such release, or none at all."""


class UnknownReleaseError(ReleaseError):
    """The user named a release that is not there: a mistake of usage."""

    exit_code = 2


class ExportError(ClearwaterError):
    """A release cannot be exported; it is served all the same."""


class QueryError(ClearwaterError):
    """A query that is not allowed or that DuckDB cannot run."""


class GateBlockedError(ClearwaterError):
    """A gate blocked: nothing is published, the last release is still served."""

    exit_code = 3


class ReportError(ClearwaterError):
    """The report cannot be written; all that was done before it stands."""


class WriterBusyError(ClearwaterError):
    """Another writer holds the lock of this CLEARWATER_HOME."""

    exit_code = 4


def reasons(error: Exception) -> dict[str, str]:
    """For what files are refused, each with what is told of this one.

    The same fault of another file has the same reason: numbers and the row that is quoted are left
    out of it.
    """
    told = str(error).partition("\n")[0]
    if not isinstance(error, BatchRefusedError):
        return {type(error).__name__: told}
    if error.kinds:
        return {kind: f"{error.where}: {text}" for kind, text in error.kinds.items()}
    what, _, first = error.what.partition("\n")[0].partition(FIRST_ROW)
    if first and " break the rule " not in what:
        what = f"{what}: {first.partition(' (')[0]}"
    return {_NUMBER.sub("#", what)[:_LONGEST_REASON]: told}


def without_values(message: str) -> str:
    """DuckDB's message without the values that it quotes: they may speak of a person.

    What it shows of the statement stays.
    """
    found = _VALUED.search(message)
    if found is None:
        return message
    told = message[found.end() :]
    code = [match.start() for match in _CODE.finditer(told)]
    end = code[-1] if code else len(told)
    masked = _QUOTED.sub(_masked, told[:end]).partition("\n")[0]
    return message[: found.end()] + _UNQUOTED.sub("…", masked) + told[end:]


def without_quotes(text: str) -> str:
    """The text without what stands in quotes in it: names or values of the data."""
    return _QUOTED.sub("…", text)


def _masked(quote: re.Match[str]) -> str:
    """What goes on over several lines may hold the value again, so that nothing follows it."""
    return "…\n" if "\n" in quote[0] else "…"
