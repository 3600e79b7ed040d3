"""What waits for a person: rows in quarantine, and files that were refused and still stand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import duckdb

from warehouse.catalog import is_lake_lost, no_lake
from warehouse.errors import ClearwaterError
from warehouse.lake import REASONS, held_rows
from warehouse.landing import standing_bytes
from warehouse.loads import UNLIKE
from warehouse.query import open_lake
from warehouse.settings import Settings

T = TypeVar("T")


@dataclass(frozen=True)
class Held:
    """The rows of one batch that are in quarantine for one reason.

    A row that breaks several rules is counted in `rows` of each, and once in `first_rows`: that of
    its first reason. `detail` and `first_line` are those of the first row; `first_line` counts from
    1 and is None where the format has no lines.
    """

    source: str
    file: str
    reason: str
    rows: int
    first_line: int | None
    detail: str | None
    first_rows: int


@dataclass(frozen=True)
class Refused:
    """A batch that was refused, with the message; every run tries it again."""

    source: str
    file: str
    reason: str

    @property
    def is_unlike(self) -> bool:
        """Whether it is fit to load but unlike those before it, so that it may be accepted."""
        return self.reason.startswith(UNLIKE)


@dataclass(frozen=True)
class Waiting:
    """All that waits, oldest first by source; or the `problem` that kept the lake from being read.

    Empty where there is no lake yet.
    """

    held: tuple[Held, ...] = ()
    refused: tuple[Refused, ...] = ()
    problem: str | None = None

    @property
    def rows(self) -> dict[str, int]:
        """How many rows of each source are in quarantine."""
        counts: dict[str, int] = {}
        for group in self.held:
            counts[group.source] = counts.get(group.source, 0) + group.first_rows
        return counts


def waiting(settings: Settings) -> Waiting:
    """What waits now; needs no lock, and never raises for a lake that cannot be read."""
    return waiting_and(settings, lambda _: None, None)[0]


def waiting_and(
    settings: Settings, also: Callable[[duckdb.DuckDBPyConnection], T], none: T
) -> tuple[Waiting, T]:
    """What waits now, and what else is asked while the lake is open: opening it costs the most.

    `none` is the answer of a lake that is not there, or cannot be read.
    """
    if not settings.lake_catalog.exists():
        return Waiting(problem=no_lake(settings).what if is_lake_lost(settings) else None), none
    try:
        with open_lake(settings) as con:
            return Waiting(_held(con), _refused(con, settings)), also(con)
    except (ClearwaterError, duckdb.Error) as error:
        text = error.what if isinstance(error, ClearwaterError) else str(error).strip()
        return Waiting(problem=text.partition("\n")[0]), none


def _held(con: duckdb.DuckDBPyConnection) -> tuple[Held, ...]:
    rows = con.execute(
        "select source, source_file, each_reason, count(*), min_by(line, _source_row),"
        " min_by(detail, _source_row), count_if(each_reason = reason)"
        f" from (select *, unnest({REASONS}) as each_reason from {held_rows('meta')} q)"
        " group by source, source_file, batch_id, each_reason"
        " order by source, min(quarantined_at), source_file, each_reason"
    ).fetchall()
    return tuple(Held(*row) for row in rows)


def _refused(con: duckdb.DuckDBPyConnection, settings: Settings) -> tuple[Refused, ...]:
    """The refused batches whose bytes stood at their source when a run looked last."""
    lines = con.execute(
        "select source, source_file, reason, content_sha256 from meta.batches"
        " where status = 'refused' order by source, arrived_at, source_file"
    ).fetchall()
    if not lines:
        return ()
    standing = standing_bytes(settings)
    return tuple(Refused(*line[:3]) for line in lines if line[3] in standing.get(line[0], ()))
