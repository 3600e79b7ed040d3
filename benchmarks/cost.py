"""What a whole run costs, against a floor: the least that does the same in one DuckDB process."""

from __future__ import annotations

import shutil
import statistics
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Options, SkippedError
from benchmarks.measure import Usage, clearwater, cpu_seconds_of, run_measured
from benchmarks.payments import transactions, write_copies, write_sources
from warehouse.duck import connect
from warehouse.settings import Settings, load_settings

REPEATS, COPIES = 3, 10
FEATURES = "feat_transactions__behaviour"


@dataclass(frozen=True)
class Pair:
    """A floor and a run, measured one after the other."""

    floor: Usage
    run: Usage

    @property
    def ratio(self) -> float:
        """How many times the floor the run costs."""
        return self.run.cpu_seconds / self.floor.cpu_seconds


def measure(options: Options) -> tuple[list[Figure], dict[str, Any]]:
    """Ratios to the floor at the data's size and at ten times it, memory, the feature SQL."""
    if not options.floor.exists():
        raise SkippedError(f"the floor script is absent: {options.floor}")
    data, place = transactions(options), options.folder("cost")
    pairs = [
        _pair(options, data, data, 1, place / f"once-{i}")
        for i in range(1 if options.short else REPEATS)
    ]
    features = _feature_seconds(load_settings(place / "once-0" / "home"))
    large = place / "copies.parquet"
    write_copies(data, COPIES, large)
    tenfold = _pair(options, data, large, COPIES, place / "tenfold")
    return [
        *_figures("run", pairs, ratio=3.0, gib=1.5),
        Figure("feature SQL alone", features, "CPU s", at_most=6.0),
        *_figures("run, ten times the rows", [tenfold], ratio=1.3, gib=4.0),
    ], {"pairs": [vars(pair.run) | {"floor": vars(pair.floor)} for pair in [*pairs, tenfold]]}


def _pair(options: Options, data: Path, source: Path, copies: int, place: Path) -> Pair:
    """Both in fresh folders; of a run only the home of the first repeat is kept."""
    place.mkdir()
    floor = run_measured(
        [sys.executable, options.floor, data, place / "floor", str(copies)],
    )
    shutil.rmtree(place / "floor")
    sources = write_sources(place / "sources.yml", source)
    run = run_measured(clearwater("run", "--sources", sources), place / "home")
    if place.name != "once-0":
        shutil.rmtree(place / "home")
    return Pair(floor, run)


def _figures(name: str, pairs: list[Pair], *, ratio: float, gib: float) -> list[Figure]:
    median = statistics.median(pair.ratio for pair in pairs)
    note = f"{len(pairs)} repeats: {', '.join(f'{pair.ratio:.2f}' for pair in pairs)}"
    run = statistics.median(pair.run.cpu_seconds for pair in pairs)
    floor = statistics.median(pair.floor.cpu_seconds for pair in pairs)
    return [
        Figure(f"{name}: cost against the floor", median, "×", at_most=ratio, note=note),
        Figure(f"{name}: cost", run, "CPU s"),
        Figure(f"{name}: the floor", floor, "CPU s"),
        Figure(f"{name}: peak memory", max(p.run.peak_gib for p in pairs), "GiB", at_most=gib),
    ]


def _feature_seconds(settings: Settings) -> float:
    """CPU seconds of the feature model's own SQL, as dbt compiled it, into a new table."""
    compiled = settings.dbt / "target" / "compiled" / "clearwater" / "models" / "features"
    select = (compiled / f"{FEATURES}.sql").read_text(encoding="utf-8")
    copy = settings.home / "copy" / "warehouse.duckdb"  # The stem is in the SQL.
    copy.parent.mkdir()
    shutil.copyfile(settings.database(settings.current), copy)
    with closing(connect(settings, copy)) as con:
        con.execute("set preserve_insertion_order = false")
        con.execute(f"drop table features.{FEATURES}")
        # A full build names what it does not read; a release has no such table any more.
        con.execute("create schema intermediate")
        con.execute(
            "create table intermediate.int_features_affected"
            " (transaction_id bigint, is_customer_affected boolean, is_terminal_affected boolean)"
        )
        return cpu_seconds_of(lambda: con.execute(f"create table features.{FEATURES} as {select}"))
