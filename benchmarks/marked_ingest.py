"""`clearwater ingest` that says where it is: one line for each moment that a kill may wait for.

usage: python -m benchmarks.marked_ingest PIPE SOURCES_FILE   (PIPE: an open file descriptor)
A line is `moment source seconds`, seconds by the system's monotonic clock. Nothing else differs,
but that small files, too, take the way of large ones, whose Parquet becomes the lake's as it is.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from flows.cli import main
from warehouse import ingest, loading
from warehouse.readers import contract

LAND, READ, TRANSACTION, LEDGER, COMMITTED = (
    "land",
    "read",
    "transaction",
    "ledger",
    "committed",
)
STAGED_BYTES = 1 << 15


class _Marks:
    """The pipe, and the source whose batch is on its way."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._source = ""

    def say(self, moment: str, source: str | None = None) -> None:
        self._source = source or self._source
        line = f"{moment} {self._source} {time.monotonic():.6f}\n"
        os.write(self._pipe, line.encode())


def _replace(module: ModuleType, name: str, made: Callable[[Any], Any]) -> None:
    """Put what `made` makes of the module's function in its place."""
    setattr(module, name, made(getattr(module, name)))


def _mark(marks: _Marks) -> None:
    """Make the functions that begin a phase say so."""

    def landing(land: Any) -> Any:
        def marked(settings: Any, source: Any, *rest: Any, **named: Any) -> Any:
            marks.say(LAND, source.name)
            return land(settings, source, *rest, **named)

        return marked

    def reading(opened: Any) -> Any:  # which takes the file out of its container first
        @contextmanager
        def marked(settings: Any, source: Any, *rest: Any) -> Iterator[Any]:
            marks.say(READ, source.name)
            with opened(settings, source, *rest) as file:
                yield file

        return marked

    def committing(transaction: Any) -> Any:
        @contextmanager
        def marked(con: Any) -> Iterator[None]:
            with transaction(con):
                marks.say(TRANSACTION)
                yield
            marks.say(COMMITTED)

        return marked

    def noting(write_ledger: Any) -> Any:
        def marked(*arguments: Any, **named: Any) -> None:
            write_ledger(*arguments, **named)
            marks.say(LEDGER)

        return marked

    _replace(ingest, "land", landing)
    _replace(loading, "opened", reading)
    _replace(loading, "transaction", committing)
    _replace(loading, "_write_ledger", noting)


def run(pipe: int, sources: str) -> None:
    """Ingest, with a line into the pipe at each moment."""
    _mark(_Marks(pipe))
    contract.STAGED_BYTES = STAGED_BYTES
    sys.argv = ["clearwater", "ingest", "--sources", sources]
    main()


if __name__ == "__main__":
    run(int(sys.argv[1]), sys.argv[2])
