"""Missing data, honestly: what lacks, whether by chance, and what could fill it.

Everything is only told: no value is changed. Of personal columns it is read whether there is a
value, and never the value.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from expectations.missingness.known import keep_analyses, known_analyses
from expectations.missingness.patterns import Column, Counts, columns_of, count
from expectations.missingness.results import (
    Basis,
    Dependence,
    Imputation,
    LittleTest,
    MissingColumn,
    MissingPattern,
    TableMissing,
)
from expectations.rules import PUBLISHED
from warehouse.duck import connect

if TYPE_CHECKING:
    from expectations.missingness.sampling import Sample
    from warehouse.settings import Settings

__all__ = [
    "Dependence",
    "Imputation",
    "LittleTest",
    "MissingColumn",
    "MissingPattern",
    "TableMissing",
    "analyse",
    "keep_analyses",
    "known_analyses",
    "missing_of_release",
]

RUN_SECONDS = 10.0
_SEED = 20_000
_MOST_GROWN = 0.1
_MOST_SHIFTED = 0.01
_SHIFT = 0.1
_GREATEST = 1e150  # its square is finite
_NO_TIME = "not analysed yet: this run's time for it was up, the next one goes on"
_UNTESTABLE = "no test can tell whether values are missing because of what they would have been"
_NOTHING: Mapping[str, frozenset[str]] = {}


def analyse(
    con: duckdb.DuckDBPyConnection,
    table: str,
    *,
    personal: frozenset[str] = frozenset(),
    ignored: frozenset[str] = frozenset(),
    seed: int,
) -> TableMissing | None:
    """What is missing from the table (`schema.name`), and why; None when nothing is.

    Missing is null, and NaN in floating columns. The same table, in any order of its rows, and
    the same seed give the same analysis.
    """
    counts = _Counted.of(con, table, personal, ignored)
    return counts.analysed(con, seed=seed) if counts else None


def missing_of_release(
    settings: Settings,
    database: Path,
    known: Mapping[str, TableMissing],
    *,
    personal: Mapping[str, frozenset[str]] = _NOTHING,
    ignored: frozenset[str] = frozenset(),
    seconds: float = RUN_SECONDS,
) -> tuple[TableMissing, ...]:
    """What is missing from the published tables of a release, those that lack anything.

    All is counted anew. Tests and imputations are those of `known` while the table has the same
    columns, its rows are within 10 % and each column's missing share within one point of then.
    Once the new ones took `seconds` of CPU, the others are left to the next run. `personal` names
    columns by table. Keep the result: it is the next run's `known`.
    """
    found: list[TableMissing] = []
    changed: list[_Counted] = []
    with closing(connect(settings, database, read_only=True)) as con:
        for table in _published(con):
            counts = _Counted.of(con, table, personal.get(table, frozenset()), ignored)
            before = known.get(table)
            if counts is not None and before is not None and counts.is_like(before):
                found.append(counts.with_tests_of(before))
            elif counts is not None:
                changed.append(counts)
        # Whoever has waited for longest comes first, or else the same tables would each time.
        changed.sort(key=lambda counts: _waiting_since(known.get(counts.table)))
        started = time.process_time()
        for counts in changed:
            is_time_up = time.process_time() - started >= seconds
            before = known.get(counts.table)
            found.append(counts.untested(before) if is_time_up else counts.analysed(con))
    return tuple(sorted(found, key=lambda analysis: analysis.table))


def _waiting_since(before: TableMissing | None) -> tuple[bool, float]:
    """What waits for its tests comes first, in order of time; then the others, in that order."""
    if before is None:
        return (False, datetime.now(UTC).timestamp())
    return (before.analysed_rows > 0, before.analysed_at.timestamp())


def _published(con: duckdb.DuckDBPyConnection) -> list[str]:
    rows = con.execute(
        "select schema_name || '.' || table_name from duckdb_tables()"
        " where not internal and not temporary and list_contains(?, schema_name) order by 1",
        [list(PUBLISHED)],
    ).fetchall()
    return [row[0] for row in rows]


@dataclass(frozen=True)
class _Counted:
    """A table, and what was counted in it."""

    table: str
    columns: tuple[Column, ...]
    counts: Counts

    @classmethod
    def of(
        cls,
        con: duckdb.DuckDBPyConnection,
        table: str,
        personal: frozenset[str],
        ignored: frozenset[str],
    ) -> _Counted | None:
        columns = columns_of(con, table, personal, ignored)
        counts = count(con, table, columns) if columns else None
        return cls(table, columns, counts) if counts else None

    def analysed(self, con: duckdb.DuckDBPyConnection, *, seed: int = _SEED) -> TableMissing:
        """The counts with new tests and imputations, on a sample that the seed decides."""
        from threadpoolctl import threadpool_limits

        from expectations.missingness.dependence import TESTED_ROWS, dependences
        from expectations.missingness.imputing import imputations
        from expectations.missingness.little import little
        from expectations.missingness.sampling import Sampler

        sampler = Sampler(con, self.table, self.columns, self.counts.lacking, seed)
        sample = sampler.take(TESTED_ROWS)
        with threadpool_limits(1):  # the matrices are so small that threads only wait
            found, untested = dependences(sampler, self.counts, sample)
            test, note = little(sample, self.columns)
            imputed, unimputed = imputations(sample, self.columns, self.counts, seed)
        return replace(
            self.untested(),
            analysed_rows=sample.rows,
            dependences=found,
            little=test,
            little_note=note,
            imputations=imputed,
            notes=(*_listwise(sample), *untested, *unimputed, _UNTESTABLE),
            basis=Basis(self.schema, self.counts.rows, self.counts.columns),
        )

    def with_tests_of(self, before: TableMissing) -> TableMissing:
        """The counts with the tests and imputations of an earlier analysis."""
        now = self.untested()
        return replace(
            before,
            rows=now.rows,
            columns=now.columns,
            patterns=now.patterns,
            is_monotone=now.is_monotone,
            complete_rows=now.complete_rows,
        )

    def untested(self, before: TableMissing | None = None) -> TableMissing:
        """The counts alone. A table that has been waiting for its tests waits since then."""
        is_waiting = before is not None and not before.analysed_rows
        return TableMissing(
            table=self.table,
            rows=self.counts.rows,
            analysed_rows=0,
            analysed_at=before.analysed_at if before and is_waiting else datetime.now(UTC),
            columns=self.counts.columns,
            patterns=self.counts.patterns,
            is_monotone=self.counts.is_monotone,
            complete_rows=self.counts.complete_rows,
            dependences=(),
            little=None,
            little_note=_NO_TIME,
            imputations=(),
        )

    @property
    def schema(self) -> str:
        """A hash of the columns, their types, and what may be read of them."""
        return hashlib.sha256(repr(self.columns).encode()).hexdigest()[:16]

    def is_like(self, before: TableMissing) -> bool:
        """Whether so little has changed that the tests of then need not be made again."""
        then = before.basis
        shares = {column.column: column.share for column in then.columns}
        now = {column.column: column.share for column in self.counts.columns}
        return (
            then.schema == self.schema
            and abs(self.counts.rows - then.rows) <= _MOST_GROWN * then.rows
            and all(
                abs(shares.get(name, 0.0) - now.get(name, 0.0)) <= _MOST_SHIFTED
                for name in {*shares, *now}
            )
        )


def _listwise(sample: Sample) -> tuple[str, ...]:
    """How the numbers would shift if incomplete rows were dropped: the three greatest shifts.

    In standard deviations, from 0.1 on and beyond three standard errors.
    """
    import numpy as np

    complete = ~np.logical_or.reduce(list(sample.lacks.values()))
    shifts: list[tuple[float, str]] = []
    for name, values in sample.values.items():
        has = ~np.isnan(values)
        known, kept = values[has], values[has & complete]
        if kept.size and np.abs(known).max() < _GREATEST and known.std() > 0:
            shift = float((kept.mean() - known.mean()) / known.std())
            if abs(shift) >= max(_SHIFT, 3 / kept.size**0.5):
                shifts.append((shift, name))
    shifts.sort(key=lambda found: (-abs(found[0]), found[1]))
    told = ", ".join(f"{name} by {shift:+.2f}" for shift, name in shifts[:3])
    if not told:
        return ()
    return (f"dropping incomplete rows would shift means, in standard deviations: {told}",)
