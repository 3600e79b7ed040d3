"""A sample of a table's rows, as numbers: the same one whatever the order of the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from expectations.missingness.patterns import Column
from expectations.offenders import relation
from warehouse.duck import number

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Codes = NDArray[np.int64]

_MOSTLY_DISTINCT = 0.8
_WHOLE = float(2**64)


@dataclass(frozen=True)
class Sample:
    """Rows of a table.

    `lacks[name]` says which rows lack the value, for columns that lack any in the table.
    `values[name]` are numbers, or seconds since 1970, NaN where missing. `labels[name]` are hashes
    of categories, 0 where missing: a category's text is never read.
    """

    rows: int
    lacks: dict[str, Flags]
    values: dict[str, Floats]
    labels: dict[str, NDArray[np.uint64]]

    def taken(self, rows: Flags | Codes) -> Sample:
        """The sample of these rows alone."""
        lacks = {name: column[rows] for name, column in self.lacks.items()}
        values = {name: column[rows] for name, column in self.values.items()}
        labels = {name: column[rows] for name, column in self.labels.items()}
        return Sample(int(np.arange(self.rows)[rows].size), lacks, values, labels)

    def joined(self, other: Sample) -> Sample:
        """This sample's rows and then the other's, of the same table."""
        return Sample(
            self.rows + other.rows,
            {name: np.concatenate([part, other.lacks[name]]) for name, part in self.lacks.items()},
            {
                name: np.concatenate([part, other.values[name]])
                for name, part in self.values.items()
            },
            {
                name: np.concatenate([part, other.labels[name]])
                for name, part in self.labels.items()
            },
        )


@dataclass(frozen=True)
class Sampler:
    """Takes samples of one table. `lacking` are those of the `columns` that lack values."""

    con: duckdb.DuckDBPyConnection
    table: str
    columns: Sequence[Column]
    lacking: Sequence[Column]
    seed: int

    def take(self, most: int, where: str = "true") -> Sample:
        """At most about `most` rows of those where the condition holds, chosen by their hash.

        Rows that are copies of each other have one hash: where there are many, each of the
        different rows is taken in proportion to its copies instead.
        """
        encoded = f"{self._encoded}, {self._hash} as h"
        source = f"(select {encoded} from {relation(self.table)} where {where})"
        rows = number(self.con, f"select count(*) from {source}")
        if rows > most:
            distinct = number(self.con, f"select approx_count_distinct(h) from {source}")
            if distinct < _MOSTLY_DISTINCT * rows:
                return self._in_proportion(source, most / rows)
        chosen = self.con.execute(f"select * exclude (h) from {source} order by h limit {most}")
        return self._sample(chosen.fetchnumpy())

    def _in_proportion(self, source: str, share: float) -> Sample:
        """Of n copies, n × share rounded down, and one more with the chance of what is left."""
        groups = f"(select h, count(*) * {share!r} as part from {source} group by h)"
        copies = f"floor(part) + (hash(h, {self.seed}) / {_WHOLE!r} < part - floor(part))::int"
        found = self.con.execute(
            f"with chosen as (select h, {copies} as copies from {groups} where copies > 0)"
            " select first(copies)::bigint as copies, first(columns(* exclude (h, copies)))"
            f" from {source} join chosen using (h) group by h order by h"
        ).fetchnumpy()
        copied = np.asarray(found.pop("copies"))
        return self._sample({name: np.repeat(column, copied) for name, column in found.items()})

    @property
    def _hash(self) -> str:
        """Of all that is analysed; of opaque columns, whether there is a value."""
        hashed = [
            column.lacks if column.kind == "opaque" else column.sql for column in self.columns
        ]
        return f"hash({', '.join([str(self.seed), *hashed])})"

    @property
    def _encoded(self) -> str:
        lacks = [f"{column.lacks} as l{n}" for n, column in enumerate(self.lacking)]
        values = [
            f"{_encoding(column)} as v{n}"
            for n, column in enumerate(self.columns)
            if column.kind != "opaque"
        ]
        return ", ".join([*lacks, *values])

    def _sample(self, found: dict[str, Any]) -> Sample:
        lacks = {c.name: found[f"l{n}"].astype(bool) for n, c in enumerate(self.lacking)}
        values: dict[str, Floats] = {}
        labels: dict[str, NDArray[np.uint64]] = {}
        for n, column in enumerate(self.columns):
            if column.kind == "category":
                labels[column.name] = np.ma.filled(found[f"v{n}"], 0).astype(np.uint64)
            elif column.kind != "opaque":
                values[column.name] = np.ma.filled(found[f"v{n}"].astype(np.float64), np.nan)
        return Sample(len(found["l0"]), lacks, values, labels)


def _encoding(column: Column) -> str:
    if column.kind == "category":
        return f"case when {column.lacks} then 0::ubigint else hash({column.sql}) end"
    if column.kind == "time":
        return f"case when isfinite({column.sql}) then epoch({column.sql}) end"
    return f"{column.sql}::double"


def levels(labels: NDArray[np.uint64], lacks: Flags | None, most: int) -> Codes:
    """Categories as 0, 1, …, the most frequent first; all after `most` are one; -1 is missing."""
    here = np.ones(labels.size, bool) if lacks is None else ~lacks
    codes = np.full(labels.size, -1, np.int64)
    _, inverse, counts = np.unique(labels[here], return_inverse=True, return_counts=True)
    rank = np.empty(counts.size, np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(counts.size)
    codes[here] = np.minimum(rank, most)[inverse]
    return codes
