"""Counting what is missing, exactly and on all rows: one pass over the columns that lack values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import duckdb

from expectations.missingness.results import MissingColumn, MissingPattern
from expectations.offenders import relation
from warehouse.duck import identifier

Kind = Literal["number", "time", "category", "opaque"]

SHOWN_PATTERNS = 20
_WORD = 60  # bits of a pattern that one integer holds
_PATTERNS = 'temp.main."missing patterns"'
_FLOATS = ("FLOAT", "DOUBLE")
_INTEGERS = frozenset(
    f"{sign}{size}INT" for sign in ("", "U") for size in ("TINY", "SMALL", "", "BIG", "HUGE")
) | {"INTEGER", "UINTEGER"}
_CATEGORIES = ("BOOLEAN", "VARCHAR", "ENUM", "UUID")
_LABEL = re.compile(r"(^|_)(id|key|code|no|nr|number|uuid|guid|zip|plz)$", re.IGNORECASE)


@dataclass(frozen=True)
class Column:
    """A column as the analysis sees it.

    A `category` is a label, numbers that only name something included; `opaque` values are
    never read, only whether they are there.
    """

    name: str
    kind: Kind
    is_float: bool
    is_integer: bool

    @property
    def sql(self) -> str:
        """The column in SQL."""
        return identifier(self.name)

    @property
    def lacks(self) -> str:
        """SQL that is true where the value is missing: null, or not a number."""
        return f"({self.sql} is null or isnan({self.sql}))" if self.is_float else self._is_null

    @property
    def _is_null(self) -> str:
        return f"({self.sql} is null)"


@dataclass(frozen=True)
class Counts:
    """The exact part of an analysis. `alike` are groups of columns missing in the same rows."""

    rows: int
    lacking: tuple[Column, ...]
    columns: tuple[MissingColumn, ...]
    patterns: tuple[MissingPattern, ...]
    is_monotone: bool
    complete_rows: int
    alike: tuple[tuple[str, ...], ...]


def columns_of(
    con: duckdb.DuckDBPyConnection, table: str, personal: frozenset[str], ignored: frozenset[str]
) -> tuple[Column, ...]:
    """The table's columns but for the ignored ones; personal ones are opaque."""
    described = con.execute(f"describe select * from {relation(table)}").fetchall()
    return tuple(
        Column(
            name,
            "opaque" if name in personal else _kind(name, kind),
            kind in _FLOATS,
            kind in _INTEGERS,
        )
        for name, kind, *_ in described
        if name not in ignored
    )


def _kind(name: str, sql_type: str) -> Kind:
    bare = sql_type.partition("(")[0]
    if sql_type.endswith("]"):
        return "opaque"
    if bare in _CATEGORIES or (sql_type in _INTEGERS and _LABEL.search(name)):
        return "category"
    if sql_type in _INTEGERS or bare in (*_FLOATS, "DECIMAL"):
        return "number"
    if bare.startswith(("DATE", "TIMESTAMP")):
        return "time"
    return "opaque"


def count(con: duckdb.DuckDBPyConnection, table: str, columns: Sequence[Column]) -> Counts | None:
    """What is missing from the table, exactly; None when nothing is.

    Of the table, only the columns that lack something are read twice.
    """
    totals = _missing_of_each(con, table, columns)
    rows = totals[0]
    missing = dict(zip(columns, totals[1:], strict=True))
    lacking = tuple(column for column in columns if missing[column])
    if not lacking:
        return None
    _group(con, table, lacking)
    try:
        is_monotone = _is_monotone(con, sorted(lacking, key=lambda c: -missing[c]), lacking)
        patterns = _most_frequent(con, lacking, rows)
        alike = _alike(con, lacking)
        complete = _complete_rows(con, len(lacking))
    finally:
        con.execute(f"drop table {_PATTERNS}")
    return Counts(
        rows=rows,
        lacking=lacking,
        columns=tuple(MissingColumn(c.name, missing[c], missing[c] / rows) for c in lacking),
        patterns=patterns,
        is_monotone=is_monotone,
        complete_rows=complete,
        alike=alike,
    )


def _missing_of_each(
    con: duckdb.DuckDBPyConnection, table: str, columns: Sequence[Column]
) -> tuple[int, ...]:
    counts = ", ".join(
        # Without a condition it is answered from the validity masks alone.
        f"count_if({column.lacks})" if column.is_float else f"count(*) - count({column.sql})"
        for column in columns
    )
    row = con.execute(f"select count(*){', ' * bool(counts)}{counts} from {relation(table)}")
    found = row.fetchone()
    assert found is not None
    return found


def _group(con: duckdb.DuckDBPyConnection, table: str, lacking: Sequence[Column]) -> None:
    """Leave each pattern with its rows in a temporary table: `w0`, `w1`, … and `n`."""
    words = [
        " | ".join(
            f"({column.lacks}::ubigint << {bit})"
            for bit, column in enumerate(lacking[start : start + _WORD])
        )
        for start in range(0, len(lacking), _WORD)
    ]
    listed = ", ".join(f"{word} as w{n}" for n, word in enumerate(words))
    con.execute(
        f"create or replace temporary table {_PATTERNS} as"
        f" select {listed}, count(*) as n from {relation(table)} group by all"
    )


def _bit(position: int) -> str:
    return f"((w{position // _WORD} >> {position % _WORD}) & 1)"


def _words(count: int) -> str:
    return ", ".join(f"w{n}" for n in range((count - 1) // _WORD + 1))


def _is_monotone(
    con: duckdb.DuckDBPyConnection, ordered: Sequence[Column], lacking: Sequence[Column]
) -> bool:
    """Whether each column, in falling order of what it lacks, lacks it where the one before does.

    That is so if, and only if, the columns can be ordered such that whoever lacks one value lacks
    all that follow (Little and Rubin, Statistical Analysis with Missing Data, 2019, 1.2).
    """
    bits = [_bit(lacking.index(column)) for column in ordered]
    breaks = [f"({after} > {before})" for before, after in pairwise(bits)]
    found = con.execute(
        f"select bool_or({' or '.join(breaks) or 'false'}) from {_PATTERNS}"
    ).fetchone()
    assert found is not None
    return not found[0]


def _most_frequent(
    con: duckdb.DuckDBPyConnection, lacking: Sequence[Column], rows: int
) -> tuple[MissingPattern, ...]:
    words = _words(len(lacking))
    found = con.execute(
        f"select n, {words} from {_PATTERNS} order by n desc, {words} limit {SHOWN_PATTERNS}"
    ).fetchall()
    return tuple(
        MissingPattern(
            tuple(
                column.name
                for position, column in enumerate(lacking)
                if pattern[position // _WORD] >> (position % _WORD) & 1
            ),
            count,
            count / rows,
        )
        for count, *pattern in found
    )


def _complete_rows(con: duckdb.DuckDBPyConnection, count: int) -> int:
    nothing = " and ".join(f"{word} = 0" for word in _words(count).split(", "))
    found = con.execute(f"select coalesce(sum(n), 0) from {_PATTERNS} where {nothing}").fetchone()
    assert found is not None
    return int(found[0])


def _alike(
    con: duckdb.DuckDBPyConnection, lacking: Sequence[Column]
) -> tuple[tuple[str, ...], ...]:
    """The columns in groups that lack their values in the very same rows, in the table's order.

    Columns are taken for alike when the hashes of the patterns that they are in have one sum.
    """
    sums = ", ".join(f"sum(h) filter ({_bit(position)} = 1)" for position in range(len(lacking)))
    found = con.execute(
        f"select {sums} from (select *, (hash({_words(len(lacking))}) >> 8)::hugeint as h"
        f" from {_PATTERNS})"
    ).fetchone()
    assert found is not None
    groups: dict[int, list[str]] = {}
    for column, total in zip(lacking, found, strict=True):
        groups.setdefault(total, []).append(column.name)
    return tuple(tuple(group) for group in groups.values())
