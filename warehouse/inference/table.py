"""A typed relation, and what its key and times are told by."""

from __future__ import annotations

from dataclasses import dataclass, field

import duckdb

from warehouse.duck import identifier
from warehouse.inference import words
from warehouse.inference.result import FILE, InferredColumn


@dataclass(frozen=True)
class Table:
    """A typed relation of `row_count` rows out of `file_count` files, and its columns.

    `relation` may stand after `from`; with more than one file it has the column FILE. `dataset`
    is the second part of the source's name, such as `orders`. Some of the files lack the columns
    `partial`.
    """

    con: duckdb.DuckDBPyConnection
    relation: str
    dataset: str
    columns: tuple[InferredColumn, ...]
    row_count: int
    file_count: int = 1
    file_names: tuple[str, ...] = ()
    partial: frozenset[str] = frozenset()
    _different: dict[bool, int] = field(default_factory=dict, repr=False, compare=False)

    @property
    def needed(self) -> list[InferredColumn]:
        """The columns that may be key or time: the loader refuses a file that lacks one of them."""
        return [column for column in self.columns if column.name not in self.partial]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(column.name for column in self.columns)

    def number(self, sql: str) -> float:
        """The one number that the SQL gives; 0 for null."""
        row = self.con.execute(sql).fetchone()
        assert row is not None
        return float(row[0] or 0)

    def distinct(self, names: tuple[str, ...], relation: str = "") -> int:
        """How many different rows of these columns there are, nulls left out of a single one."""
        listed = ", ".join(map(identifier, names))
        sql = listed if len(names) == 1 else f"hash({listed})"
        return int(self.number(f"select count(distinct {sql}) from {relation or self.relation}"))

    def different_rows(self, *, by_file: bool = False) -> int:
        """The number of rows that differ in any column, over all files or within each."""
        if by_file not in self._different:
            names = self.names + ((FILE,) if by_file and self.file_count > 1 else ())
            if len(names) > 1:
                count = self.distinct(names)
            else:
                only = f"select distinct {identifier(names[0])} from {self.relation}"
                count = int(self.number(f"select count(*) from ({only})"))
            self._different[by_file] = count
        return self._different[by_file]

    def is_unique(self, names: tuple[str, ...], nulls: int = 0) -> bool:
        """Whether rows of the same values are the same in all columns."""
        found = self.distinct(names)
        if found == self.row_count - nulls:
            return True
        # Exact duplicates are already known to the loader: they speak against no key.
        return found >= self.row_count / 2 and found == self.different_rows() - nulls

    def identifying(self, column: InferredColumn) -> int:
        """How surely the column's name is an identifier's; 3 is the table's own."""
        is_first_text = column == self.columns[0] and column.type.upper() == "VARCHAR"
        if is_first_text and words.is_named_for(column.name, self.dataset):
            return 1
        return words.identifying(column.name, self.dataset)


def is_time(column: InferredColumn) -> bool:
    """Whether the column's values are days or moments."""
    return column.type.upper() == "DATE" or is_moment(column)


def is_moment(column: InferredColumn) -> bool:
    """Whether the column's values are times to the second or finer, of whatever zone."""
    is_timestamp = column.type.upper().startswith("TIMESTAMP") and not column.type.endswith("]")
    return is_timestamp or column.epoch is not None
