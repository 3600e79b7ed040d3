"""Measure by name, print the figures with their bars, write them as JSON."""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.figures import RESULTS, Figure, Options, SkippedError, table, write
from warehouse.settings import PROJECT

NAMES = (
    *("startup", "cost", "incremental", "exact", "gate", "report"),
    *("readers", "loading", "kills", "gate_kills", "load_kills", "false_alarms", "faults", "week"),
    *("survives", "catch_up", "overhead"),
)
SHARED = PROJECT.parent / "shared"


def main() -> int:
    """Run the benchmarks one after another; 1 when a bar is missed, unless in short."""
    told = _arguments()
    out = told.out or (None if told.short else RESULTS)
    is_missed = False
    if told.short:
        print("short: too little data and too few repeats for the bars to say anything\n")
    with tempfile.TemporaryDirectory(prefix="clearwater-benchmarks-") as work:
        options = Options(told.data, told.floor, told.work or Path(work), told.short, told.seed)
        for name in told.names or NAMES:
            started = time.monotonic()
            try:
                figures, details = _measure(name, options)
            except SkippedError as reason:
                print(f"{name}: skipped, {reason}\n", flush=True)
                continue
            print(f"{name} ({time.monotonic() - started:.0f} s)")
            print(table(figures) + "\n", flush=True)
            is_missed |= any(figure.verdict == "MISSED" for figure in figures)
            if out:  # At once: the next one may take an hour and fail.
                write(out, name, figures, details)
    if out:
        print(f"written: {out}")
    return is_missed and not told.short


def _measure(name: str, options: Options) -> tuple[list[Figure], dict[str, Any]]:
    found: tuple[list[Figure], dict[str, Any]]
    found = importlib.import_module(f"benchmarks.{name}").measure(options)
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument(
        "--data",
        type=Path,
        default=SHARED / "data" / "handbook" / "transactions.parquet",
        help="the payments; published features are looked for beside it",
    )
    parser.add_argument(
        "--floor", type=Path, default=SHARED / "floor" / "payments_floor.py", help="the floor"
    )
    parser.add_argument("--short", action="store_true", help="try it on little, write nothing")
    parser.add_argument("--seed", type=int, default=7, help="of the kills and the shuffling")
    parser.add_argument(
        "--work", type=Path, help="a folder to keep; `faults` and `survives` go on from there"
    )
    parser.add_argument("--out", type=Path, help="the JSON file, else benchmarks/results.json")
    told = parser.parse_args()
    if unknown := set(told.names) - set(NAMES):
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    return told


if __name__ == "__main__":
    sys.exit(main())
