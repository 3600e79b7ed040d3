"""What is told of a model that does not build: the engine's words and the lines of SQL it means."""

from __future__ import annotations

import re
from textwrap import dedent

from warehouse.errors import FailedModel, without_values

AROUND = 8  # lines before and after the one that is meant
MOST_LINES = 40  # where none is
_LINE = re.compile(r"^ *LINE (\d+): (.*)$", re.M)
_HEADING = re.compile(r"\w+ Error in model \w+ \(.*\)$")
_ELLIPSIS = "..."
_STACK = re.compile(r"\n\s*> in macro ")


def failed_model(relation: str, file: str, message: str, sql: str) -> FailedModel:
    """What is told of the model; `message` is the engine's, `sql` the model as dbt compiled it."""
    lines = sql.rstrip().splitlines()
    line = _meant(message, lines)
    told = _told(message, is_shown=bool(line))
    if not line:
        return FailedModel(relation, file, told, tuple(lines[:MOST_LINES]))
    first = max(1, line - AROUND)
    return FailedModel(relation, file, told, tuple(lines[first - 1 : line + AROUND]), first, line)


def without_stack(message: str) -> str:
    """dbt's message without the macros that it went through, which are none of the user's."""
    return _STACK.split(message, maxsplit=1)[0]


def _told(message: str, *, is_shown: bool) -> str:
    """The engine's words without dbt's around them, nor the line of SQL where that is shown."""
    words = without_values(without_stack(message))
    if is_shown and (code := _LINE.search(words)):
        words = words[: code.start()]
    lines = [line for line in words.strip().splitlines() if line.strip()]
    if len(lines) > 1 and _HEADING.match(lines[0]):
        lines = lines[1:]
    return dedent("\n".join(lines))


def _meant(message: str, lines: list[str]) -> int:
    """The number of the line that DuckDB shows, 0 if it shows none of these.

    It counts in the statement that dbt wraps around the model, and may show a piece of a long line.
    """
    found = _LINE.search(message)
    if found is None:
        return 0
    number, shown = int(found[1]), found[2].strip().removeprefix(_ELLIPSIS)
    shown = shown.removesuffix(_ELLIPSIS).strip()
    same = [at for at, line in enumerate(lines, 1) if shown and shown in line]
    return min(same, key=lambda at: abs(at - number), default=0)
