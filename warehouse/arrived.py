"""What arrived from each source last, by the lake's ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import duckdb

NEWEST_FILES = 5


@dataclass(frozen=True)
class ArrivedFile:
    """A loaded batch: its file, when it arrived (UTC, without offset), and how many rows."""

    file: str
    arrived_at: datetime
    rows: int
    loaded: int


@dataclass(frozen=True)
class SourceArrivals:
    """All that was loaded of a source: how many batches and rows, and the newest files first."""

    source: str
    batches: int
    rows: int
    newest: tuple[ArrivedFile, ...]

    @property
    def arrived_at(self) -> datetime:
        """When the newest file arrived, UTC without offset."""
        return self.newest[0].arrived_at

    @property
    def table(self) -> str:
        """The source's table in the lake."""
        return f"raw_{self.source}"


def arrivals(con: duckdb.DuckDBPyConnection) -> tuple[SourceArrivals, ...]:
    """What arrived, by source, as the lake that `con` has open tells."""
    rows = con.execute(
        "select source, count(*) over of_source, sum(loaded) over of_source, source_file,"
        " arrived_at, rows_in, loaded from meta.batches where status = 'loaded'"
        " window of_source as (partition by source)"
        " qualify row_number() over (of_source order by arrived_at desc, source_file desc)"
        f" <= {NEWEST_FILES} order by source, arrived_at desc, source_file desc"
    ).fetchall()
    files: dict[str, list[ArrivedFile]] = {}
    totals: dict[str, tuple[int, int]] = {}
    for source, batches, loaded, *file in rows:
        totals[source] = (int(batches), int(loaded or 0))
        files.setdefault(source, []).append(ArrivedFile(*file))
    return tuple(
        SourceArrivals(source, *totals[source], tuple(newest)) for source, newest in files.items()
    )
