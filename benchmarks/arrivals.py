"""A small source that grows day by day, with rows to quarantine, corrections and late labels."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.payments import write_sources
from flows.samples import COLUMNS, write_samples

FIRST_DAYS = 3
AMOUNT, LABEL, SCENARIO = (
    list(COLUMNS).index(name) for name in ("TX_AMOUNT", "TX_FRAUD", "TX_FRAUD_SCENARIO")
)


class Arrivals:
    """The days of a simulated source, delivered one by one into the folder that runs read."""

    def __init__(self, folder: Path, days: int, *, customers: int = 200, seed: int = 7) -> None:
        sample = write_samples(
            folder / "stock", days=days, customers=customers, terminals=2 * customers, seed=seed
        )
        self._days = sample.files
        self._delivered = 0
        self._place = folder / "source"
        self._place.mkdir(parents=True)
        columns = [f"{name}: {kind}" for name, kind in COLUMNS.items()]
        self.sources = write_sources(
            folder / "sources.yml", self._place / "*.csv", write="merge", columns=columns
        )

    def deliver(self) -> None:
        """Put the next day's file into the source, and one that corrects the day before."""
        if self._delivered == 0:
            for file in self._days[:FIRST_DAYS]:
                shutil.copy(file, self._place)
            self._delivered = FIRST_DAYS
            return
        before, file = self._days[self._delivered - 1 : self._delivered + 1]
        shutil.copy(file, self._place)
        lines = before.read_text(encoding="utf-8").splitlines()
        corrected = [lines[0], *_corrections(lines[1:])]
        target = self._place / f"{before.stem}-corrected.csv"
        target.write_text("\n".join(corrected) + "\n", encoding="utf-8")
        self._delivered += 1

    def some_lines(self, count: int) -> list[str]:
        """The header and the first payments of the newest day that was delivered."""
        file = self._days[self._delivered - 1]
        return file.read_text(encoding="utf-8").splitlines()[:count]


def _corrections(lines: list[str]) -> list[str]:
    """Of a day: a new amount, late labels, a row as it was, and rows for the quarantine."""
    return [
        _with(lines[0], AMOUNT, "1.23"),
        *(_with(_with(line, LABEL, "1"), SCENARIO, "2") for line in lines[1:8]),
        lines[8],
        _with(lines[9], AMOUNT, "n/a"),
        _with(lines[10], AMOUNT, "2.34"),
        _with(lines[10], AMOUNT, "3.45"),
    ]


def _with(line: str, column: int, text: str) -> str:
    values = line.split(",")
    values[column] = text
    return ",".join(values)
