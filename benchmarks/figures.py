"""Figures, the bars they are held against, and the table and JSON file they end up in."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results.json"
PACKAGES = ("duckdb", "dbt-core", "dbt-duckdb", "great-expectations", "prefect", "numpy")


@dataclass(frozen=True)
class Options:
    """What the benchmarks were asked to do; `work` is an empty folder for their files."""

    data: Path
    floor: Path
    work: Path
    short: bool
    seed: int

    def folder(self, name: str) -> Path:
        """A new folder below `work`."""
        place = self.work / name
        place.mkdir(parents=True)
        return place


@dataclass(frozen=True)
class Figure:
    """A measured number; it must be at most, or at least, its bar where it has one."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def bar(self) -> str:
        """The bar as text."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return f"≥ {self.at_least:g}" if self.at_least is not None else ""

    @property
    def verdict(self) -> str:
        """ok or MISSED; nothing where there is no bar."""
        if self.at_most is None and self.at_least is None:
            return ""
        too_high = self.at_most is not None and self.value > self.at_most
        too_low = self.at_least is not None and self.value < self.at_least
        return "MISSED" if too_high or too_low else "ok"

    def as_json(self) -> dict[str, Any]:
        """The figure with its bar and verdict."""
        return {
            "figure": self.name,
            "value": round(self.value, 4),
            "unit": self.unit,
            "bar": self.bar,
            "verdict": self.verdict,
        } | ({"note": self.note} if self.note else {})


class SkippedError(Exception):
    """A benchmark cannot run here; the text says what is absent."""


def table(figures: list[Figure]) -> str:
    """The figures as lines: name, value, bar, verdict."""
    rows = [(f.name, f"{f.value:,.3f} {f.unit}", f.bar, f.verdict, f.note) for f in figures]
    rows = [("figure", "value", "bar", "verdict", "note"), *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    return "\n".join(
        "  ".join(
            [*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]
        ).rstrip()
        for row in rows
    )


def write(file: Path, name: str, figures: list[Figure], details: dict[str, Any]) -> None:
    """Put a benchmark's figures into the file; what it has of others stays as it was."""
    told = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    told[name] = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "figures": [figure.as_json() for figure in figures],
    } | details
    file.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpus": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
