"""What a build and its audit cost when little has changed, against building everything.

All runs are in this process, where imports are paid once. What is left of dbt's own work (parsing
from its cache, compiling, one thread's bookkeeping) costs the same whatever the size of the data:
the build stage over a handful of rows tells how much, for a full and an incremental build alike,
and is subtracted. The copy of the last release stays in. Audits are given as they are.
"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from benchmarks.figures import Figure, Options
from benchmarks.payments import transactions, write_parquet, write_sources
from benchmarks.pipeline_runs import run_here
from warehouse.duck import quoted
from warehouse.settings import load_settings

REPEATS = 3
LATE_ONE_IN = 1000
HANDFUL = 50
NAMES = {
    "day": "a new day",
    "late": "0.1% late rows",
    "correction": "one correction",
    "labels": "a day's late labels",
}
BARS = {"day": (20.0, 40.0)}
IS_LATE = f"hash(TRANSACTION_ID) % {LATE_ONE_IN} = 0"


@dataclass(frozen=True)
class Stages:
    """The CPU seconds of the two stages that the bars are about."""

    build: float
    audit: float


def measure(options: Options) -> tuple[list[Figure], dict[str, Any]]:
    """Build and audit after each kind of change, as shares of a full build's and audit's."""
    folder = options.folder("incremental")
    data = transactions(options)
    overhead = _overhead(folder / "handful", data)
    base, files = _prepare(folder, data)
    repeats = 1 if options.short else REPEATS
    full = _median([_after(base, files["day"], full_refresh=True) for _ in range(repeats)])
    changed = {name: _median([_after(base, files[name]) for _ in range(repeats)]) for name in NAMES}
    told = {"full": full, **changed} | {f"handful, {k}": v for k, v in overhead.items()}
    return _figures(full, changed, overhead), {
        "stages": {name: vars(stages) for name, stages in told.items()}
    }


def _figures(
    full: Stages, changed: Mapping[str, Stages], overhead: Mapping[str, Stages]
) -> list[Figure]:
    full_sql = full.build - overhead["full"].build
    figures = [
        Figure("full build, SQL", full_sql, "CPU s"),
        Figure("full audit", full.audit, "CPU s"),
    ]
    for name, text in NAMES.items():
        sql = changed[name].build - overhead["incremental"].build
        build, audit = sql / full_sql, changed[name].audit / full.audit
        build_bar, audit_bar = BARS.get(name, (None, None))
        figures += [
            Figure(f"{text}: build, SQL", sql, "CPU s"),
            Figure(f"{text}: build against a full one", 100 * build, "%", at_most=build_bar),
            Figure(f"{text}: audit against a full one", 100 * audit, "%", at_most=audit_bar),
        ]
    return figures


def _prepare(folder: Path, data: Path) -> tuple[Path, Mapping[str, Path]]:
    """A folder whose home holds all but the last day, and the files that will arrive."""
    with duckdb.connect() as con:
        found = con.execute(f"select max(TX_TIME_DAYS) from {quoted(data)}").fetchone()
    assert found is not None
    last, rows = int(found[0]), f"from {quoted(data)}"
    unlabelled = f"TX_TIME_DAYS = {last - 1}"
    zero = f"if({unlabelled}, 0, TX_FRAUD) as TX_FRAUD"
    selects = {
        "base": f"select * replace ({zero}) {rows}"
        f" where TX_TIME_DAYS < {last} and not {IS_LATE} order by TRANSACTION_ID",
        "day": f"select * {rows} where TX_TIME_DAYS = {last}",
        "late": f"select * {rows} where TX_TIME_DAYS < {last} and {IS_LATE}",
        "correction": "select * replace (TX_AMOUNT + 1 as TX_AMOUNT)"
        f" {rows} where TX_TIME_DAYS = {last // 2} and not {IS_LATE} limit 1",
        "labels": f"select * {rows} where {unlabelled} and not {IS_LATE}",
    }
    files = {name: folder / "files" / f"{name}.parquet" for name in selects}
    for name, select in selects.items():
        write_parquet(select, files[name])
    base = folder / "base"
    _arrive(base, files["base"])
    return base, files


def _arrive(folder: Path, file: Path, *, full_refresh: bool = False) -> Stages:
    """A run in the folder's home after the file arrived."""
    place = folder / "source"
    place.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, place)
    sources = write_sources(folder / "sources.yml", place / "*.parquet", write="merge")
    used = run_here(load_settings(folder / "home"), sources, full_refresh=full_refresh)
    return Stages(used["build"], used["audit"])


def _after(base: Path, file: Path, *, full_refresh: bool = False) -> Stages:
    """The stages of a run after the file arrived at a copy of the base."""
    copy = base.with_name("copy")
    shutil.copytree(base, copy, symlinks=True)
    try:
        return _arrive(copy, file, full_refresh=full_refresh)
    finally:
        shutil.rmtree(copy)


def _overhead(folder: Path, data: Path) -> dict[str, Stages]:
    """What full and incremental builds cost with next to no data."""
    files = [folder / "files" / f"{i}.parquet" for i in range(5)]
    for i, file in enumerate(files):
        write_parquet(f"from {quoted(data)} limit {HANDFUL} offset {i * HANDFUL}", file)
    _arrive(folder, files[0])  # Pays for the imports.
    full = _median([_arrive(folder, file, full_refresh=True) for file in files[1:3]])
    return {"full": full, "incremental": _median([_arrive(folder, file) for file in files[3:]])}


def _median(found: list[Stages]) -> Stages:
    return Stages(
        statistics.median(stages.build for stages in found),
        statistics.median(stages.audit for stages in found),
    )
