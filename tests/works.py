"""A home with its sources, for tests that run the pipeline in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from handmade import PAYMENTS, Row, sources_file, write_csv

from expectations.gx_loading import load_great_expectations
from flows import pipeline
from flows.pipeline import STAGES, Options, Run
from warehouse import releases
from warehouse.query import open_release, run_query
from warehouse.settings import Settings
from warehouse.state import open_ledger

# Once for many runs, which else start a process each for their audit.
load_great_expectations()

MERGE = PAYMENTS | {"write": "merge"}


class Works:
    """A home with its sources; one run after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings(folder / "home", threads=2, memory_limit="1GiB")

    def put(self, rows: Sequence[Row], name: str = "payments.csv") -> None:
        write_csv(self.folder / name, rows)

    def run(self, *stages: str, entries: Sequence[dict[str, Any]] = (MERGE,), **asked: Any) -> Run:
        file = sources_file(self.folder, *entries)
        options = Options(sources=file, **asked)
        return pipeline.execute(self.settings, options, stages=stages or tuple(STAGES))

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with open_release(self.settings) as con:
            return run_query(con, sql).fetchall()

    def runs(self) -> list[str]:
        with open_ledger(self.settings) as ledger:
            return [run["status"] for run in ledger.newest(20)]

    def served(self) -> str:
        found = releases.current(self.settings)
        assert found is not None
        return found.id
