"""What it costs to start: help, and the smallest query."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.arrivals import FIRST_DAYS, Arrivals
from benchmarks.figures import Figure, Options
from benchmarks.measure import clearwater, run_measured

REPEATS = 5


def measure(options: Options) -> tuple[list[Figure], dict[str, Any]]:
    """Medians of five, after a first time that fills the caches."""
    folder = options.folder("startup")
    home = folder / "home"
    arrivals = Arrivals(folder, FIRST_DAYS)
    arrivals.deliver()
    run_measured(clearwater("run", "--sources", arrivals.sources), home)
    commands = {
        "clearwater --help": (clearwater("--help"), 0.3),
        'clearwater query "select 1"': (clearwater("query", "select 1"), 0.6),
    }
    figures = []
    for name, (command, bar) in commands.items():
        used = [run_measured(command, home).cpu_seconds for _ in range(REPEATS + 1)][1:]
        figures.append(Figure(name, statistics.median(used), "CPU s", at_most=bar))
    return figures, {}
