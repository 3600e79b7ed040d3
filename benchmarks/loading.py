"""What loading costs, against a floor that does the least; and its memory on a large file."""

from __future__ import annotations

import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks.big_files import sources_entry, write_orders
from benchmarks.figures import Figure, Options
from benchmarks.measure import clearwater, run_measured

ROWS, SHORT_ROWS, REPEATS = 10_000_000, 200_000, 3
LARGE_BYTES, BYTES_A_ROW = 5_000_000_000, 63


def measure(options: Options) -> tuple[list[Figure], dict[str, Any]]:
    """Ratios to the floor without and with a key; CPU seconds with nothing new; peak memory."""
    place = options.folder("loading")
    file = place / "orders.csv"
    write_orders(file, SHORT_ROWS if options.short else ROWS)
    figures = []
    for key in (False, True):
        ratios = [_ratio(place, file, key=key) for _ in range(1 if options.short else REPEATS)]
        told = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        name = "with a key" if key else "without a key"
        figures.append(
            Figure(name, statistics.median(ratios), "×", at_most=1.3, note=f"repeats: {told}")
        )
    again = run_measured(_ingest(place), place / "home")
    figures.append(Figure("nothing new", again.cpu_seconds, "CPU s", at_most=3.0))
    rows = SHORT_ROWS if options.short else LARGE_BYTES // BYTES_A_ROW
    write_orders(file, rows)
    large = run_measured(_ingest(place), _fresh(place / "home"))
    note = f"{file.stat().st_size / 1e9:.1f} GB, {large.cpu_seconds:.0f} CPU s"
    figures.append(
        Figure("a large CSV: peak memory", large.peak_gib, "GiB", at_most=1.0, note=note)
    )
    return figures, {}


def _ingest(place: Path) -> list[str | Path]:
    return clearwater("ingest", "--sources", place / "sources.yml")


def _ratio(place: Path, file: Path, *, key: bool) -> float:
    (place / "sources.yml").write_text(sources_entry(file, key=key))
    told = ["order_id"] if key else []
    program = [sys.executable, "-m", "benchmarks.loading_floor"]
    floor = run_measured([*program, file, _fresh(place / "floor"), *told])
    run = run_measured(_ingest(place), _fresh(place / "home"))
    return run.cpu_seconds / floor.cpu_seconds


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder
