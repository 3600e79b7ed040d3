"""`clearwater ingest` that says where it is: one line for each moment that a kill may wait for.

usage: python -m benchmarks.marked_ingest PIPE SOURCES_FILE   (PIPE: an open file descriptor)
A line is `moment source seconds`, seconds by the system's monotonic clock. Nothing else differs,
but that small files, too, take the way of large ones, whose Parquet becomes the lake's as it is.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flows.cli import main
from warehouse import ingest, loading
from warehouse.readers import csv_text, records

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


def _mark_land(marks: _Marks) -> None:
    land = ingest.land

    def marked(settings: Any, source: Any, *rest: Any) -> Any:
        marks.say(LAND, source.name)
        return land(settings, source, *rest)

    ingest.land = marked


def _mark_read(marks: _Marks) -> None:
    """Reading begins where the file is taken out of its container."""
    opened = loading.opened

    @contextmanager
    def marked(settings: Any, source: Any, *rest: Any) -> Iterator[Any]:
        marks.say(READ, source.name)
        with opened(settings, source, *rest) as file:
            yield file

    loading.opened = marked


def _mark_transaction(marks: _Marks) -> None:
    transaction, write_ledger = loading.transaction, loading._write_ledger

    @contextmanager
    def marked(con: Any) -> Iterator[None]:
        with transaction(con):
            marks.say(TRANSACTION)
            yield
        marks.say(COMMITTED)

    def written(*arguments: Any, **named: Any) -> None:
        write_ledger(*arguments, **named)
        marks.say(LEDGER)

    loading.transaction, loading._write_ledger = marked, written


def run(pipe: int, sources: str) -> None:
    """Ingest, with a line into the pipe at each moment."""
    marks = _Marks(pipe)
    _mark_land(marks)
    _mark_read(marks)
    _mark_transaction(marks)
    contract.STAGED_BYTES = records.STAGED_BYTES = STAGED_BYTES
    sys.argv = ["clearwater", "ingest", "--sources", sources]
    main()


if __name__ == "__main__":
    run(int(sys.argv[1]), sys.argv[2])
