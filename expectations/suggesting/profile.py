"""What a table is like: its columns in the four quarters of its time."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from expectations.offenders import relation
from warehouse.duck import identifier, number, quoted
from warehouse.inference import words
from warehouse.inference.result import InferredColumn
from warehouse.inference.table import Table
from warehouse.onboarding import rule_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

Kind = Literal["integer", "number", "text", "time", "flag", "other"]

INTEGER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?")
NUMBER = re.compile(r"FLOAT|DOUBLE|DECIMAL\(.*\)")
TIME = re.compile(r"DATE|TIMESTAMP[A-Z_ ]*")
QUARTERS = 4
WIDTH = 6  # aggregates a column
SAMPLED = 50_000  # rows, where a look is enough
MOSTLY_FILLED, FEW_AHEAD = 0.99, 0.01
# Different values: an approximate count is up to a third off, so that no more are counted exactly.
EXACTLY = 2000
# Columns that loading adds.
LOADED_AT = "_loaded_at"


@dataclass(frozen=True)
class Part:
    """A column in a quarter of its table; of a text, the bounds are those of its length."""

    rows: int
    filled: int
    minimum: Any
    maximum: Any


@dataclass(frozen=True)
class Column:
    """A column; all counts are exact but `distinct` above EXACTLY, which is up to a third off.

    `below` are the numbers below 0, or the texts that are blank; `infinite` numbers and times are
    not finite; `total` is the sum of whole numbers and decimals.
    """

    name: str
    type: str
    kind: Kind
    distinct: int
    parts: tuple[Part, ...]
    below: int = 0
    infinite: int = 0
    total: int | Decimal | None = None

    @property
    def sql(self) -> str:
        """Its name in SQL."""
        return identifier(self.name)

    @property
    def rows(self) -> int:
        """The rows of the table."""
        return sum(part.rows for part in self.parts)

    @property
    def filled(self) -> int:
        """The rows with a value."""
        return sum(part.filled for part in self.parts)

    @property
    def nulls(self) -> int:
        """The rows without a value."""
        return self.rows - self.filled

    @property
    def minimum(self) -> Any:
        """The least value, or length; None without any."""
        return min((p.minimum for p in self.parts if p.minimum is not None), default=None)

    @property
    def maximum(self) -> Any:
        """The greatest value, or length; None without any."""
        return max((p.maximum for p in self.parts if p.maximum is not None), default=None)

    @property
    def different(self) -> str:
        """How many different values it has, in words."""
        return f"{'about ' if self.distinct > EXACTLY else ''}{self.distinct:,}"

    @property
    def is_number(self) -> bool:
        """Whether it holds numbers."""
        return self.kind in ("integer", "number")

    @property
    def is_measure(self) -> bool:
        """Whether its numbers count or measure something, and are no names of things."""
        no_measure = words.identifying(self.name, "") or words.is_label(self.name)
        return self.is_number and not no_measure


@dataclass(frozen=True)
class Profile:
    """A table as it was read; `order` is the column whose time parts it, empty for its own order.

    `quarter` is SQL for the number of a row's quarter, from 0. Values of the columns `personal`
    are never shown; `event_times` are columns that a source declares as such.
    """

    con: duckdb.DuckDBPyConnection
    table: str
    columns: tuple[Column, ...]
    rows: int
    order: str
    quarter: str
    personal: frozenset[str] = field(default=frozenset())
    event_times: tuple[str, ...] = ()

    @property
    def relation(self) -> str:
        """The table in SQL."""
        return relation(self.table)

    @property
    def name(self) -> str:
        """The table's name without its schema."""
        return self.table.rpartition(".")[2]

    @property
    def is_raw(self) -> bool:
        """Whether it is a table of the lake."""
        return self.table.startswith("raw_")

    @property
    def own(self) -> list[Column]:
        """The columns that are not of loading."""
        return [column for column in self.columns if not column.name.startswith("_")]

    def number(self, sql: str) -> int:
        """The one whole number that the SQL over the table gives."""
        return number(self.con, f"select {sql} from {self.relation}")

    def distinct(self, column: Column) -> int:
        """How many different values the column has, exactly."""
        if column.distinct <= EXACTLY:
            return column.distinct
        return self.number(f"count(distinct {column.sql})")

    def sample(self, names: Sequence[str], rows: int = SAMPLED) -> str:
        """SQL for some rows of these columns, evenly from the whole table."""
        listed = ", ".join(map(identifier, names))
        step = max(1, self.rows // rows)
        return f"(select {listed} from {self.relation} where rowid % {step} = 0)"

    def is_planned(self, column: Column) -> bool:
        """Whether the column's times may well be ahead, by all that names say of them."""
        is_event = column.name in self.event_times
        return rule_words.is_planned(column.name, self.name, is_event=is_event)

    def is_personal(self, column: Column) -> bool:
        """Whether values of the column may not be shown."""
        return column.name in self.personal or words.is_own_words(column.name)

    def as_inferred(self) -> Table:
        """The table as the search for a key takes it."""
        columns = tuple(
            InferredColumn(
                c.name, c.type, None, c.nulls, c.distinct, str(c.minimum), str(c.maximum)
            )
            for c in self.own
            if c.kind != "other"
        )
        return Table(self.con, self.relation, self.name, columns, self.rows)


def described(con: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """The columns of the table with their types."""
    rows = con.execute(f"describe {relation(table)}").fetchall()
    return {row[0]: row[1] for row in rows}


def read(
    con: duckdb.DuckDBPyConnection,
    table: str,
    personal: frozenset[str] = frozenset(),
    event_times: Sequence[str] = (),
) -> Profile:
    """Read the table whole, in three passes over it.

    Of `event_times`, the columns that are declared to say when a row's event happened, the first
    that can be tells earlier rows from later ones.
    """
    types = described(con, table)
    rows = number(con, f"select count(*) from {relation(table)}")
    declared = tuple(name for name in event_times if name in types)
    order, quarter = _order(con, table, types, rows, declared)
    empty = Profile(con, table, (), rows, order, quarter, personal, declared)
    columns = _columns(empty, types) if rows else ()
    return replace(empty, columns=columns)


def kind_of(type_: str) -> Kind:
    """What the values of a DuckDB type are."""
    kinds: dict[Kind, re.Pattern[str]] = {"integer": INTEGER, "number": NUMBER, "time": TIME}
    if type_ in ("VARCHAR", "BOOLEAN"):
        return "text" if type_ == "VARCHAR" else "flag"
    return next((kind for kind, pattern in kinds.items() if pattern.fullmatch(type_)), "other")


def _order(
    con: duckdb.DuckDBPyConnection,
    table: str,
    types: dict[str, str],
    rows: int,
    declared: Sequence[str],
) -> tuple[str, str]:
    """The column that tells earlier rows from later ones, and SQL for a row's quarter by it.

    A birthday parts people by their age, and tells nothing of what comes next; nor does a time of
    what may be plans that is ahead of its row's arrival, unless it is declared to.
    """
    times = [
        name
        for name, kind in types.items()
        if kind_of(kind) == "time" and not words.says(name, words.NEVER)
    ]
    of_names = [name for name in times if name not in declared]
    of_names.sort(key=lambda name: _unlikely(name, table.rpartition(".")[2]))
    may_be_plan = rule_words.may_be_plan(table.rpartition(".")[2])
    step = max(1, rows // SAMPLED)
    for name in [*(name for name in declared if kind_of(types[name]) == "time"), *of_names]:
        column = identifier(name)
        is_asked = may_be_plan and name not in declared and LOADED_AT in types
        ahead = f"{column} > {LOADED_AT} + interval 1 day" if is_asked else "false"
        found = con.execute(
            f"select quantile_disc({column}, [0.25, 0.5, 0.75]), count({column}), count(*),"
            f" count(*) filter ({ahead}) from {relation(table)} where rowid % {step} = 0"
        ).fetchone()
        assert found is not None
        bounds, filled, looked, before = found
        if before > FEW_AHEAD * looked:
            continue
        if bounds and filled >= MOSTLY_FILLED * looked and bounds[0] < bounds[1] < bounds[2]:
            whens = " ".join(
                f"when {column} <= {quoted(str(bound))}::{types[name]} then {n}"
                for n, bound in enumerate(bounds)
            )
            return name, f"case {whens} else {len(bounds)} end"
    return "", f"rowid * {QUARTERS} // {max(rows, 1)}"


def _unlikely(name: str, table: str) -> int:
    """How unlikely the column is to say when a row came to be."""
    if name == LOADED_AT:
        return 2
    is_late = words.says(name, words.CHANGES) or rule_words.is_planned(name, table)
    if is_late or name.startswith("_"):
        return 3
    return 0 if rule_words.has_happened(name) else 1


def _columns(table: Profile, types: dict[str, str]) -> tuple[Column, ...]:
    kinds = {name: kind_of(type_) for name, type_ in types.items()}
    told = ", ".join(_aggregates(name, kinds[name], types[name]) for name in types)
    quarters = table.con.execute(
        f"select {table.quarter} as quarter, count(*), {told} from {table.relation}"
        " group by quarter order by quarter"
    ).fetchall()
    distinct = _distinct(table, [name for name in types if kinds[name] != "other"])
    columns = []
    for place, (name, type_) in enumerate(types.items()):
        own = [(row[1], *row[2 + WIDTH * place : 2 + WIDTH * (place + 1)]) for row in quarters]
        totals = [row[-1] for row in own if row[-1] is not None]
        columns.append(
            Column(
                name,
                type_,
                kinds[name],
                distinct.get(name, 0),
                tuple(Part(*row[:4]) for row in own),
                below=sum(row[4] for row in own),
                infinite=sum(row[5] for row in own),
                total=sum(totals) if totals else None,
            )
        )
    return tuple(columns)


def _distinct(table: Profile, names: Sequence[str]) -> dict[str, int]:
    """How many different values the columns have: about, and exactly where they are few."""

    def counts(function: str, names: Sequence[str]) -> dict[str, int]:
        listed = ", ".join(f"{function}{identifier(name)})" for name in names) or "null"
        row = table.con.execute(f"select {listed} from {table.relation}").fetchone()
        assert row is not None
        return dict(zip(names, row, strict=False))  # one null without any

    about = counts("approx_count_distinct(", names)
    return about | counts("count(distinct ", [n for n in names if about[n] <= EXACTLY])


def _aggregates(name: str, kind: Kind, type_: str) -> str:
    """SQL for the numbers of a column: filled, least, greatest, below, infinite, total."""
    column = identifier(name)
    filled = f"count({column})"
    if kind == "text":
        blank = f"count(*) filter (trim({column}) = '')"
        return f"{filled}, min(length({column})), max(length({column})), {blank}, 0, null"
    if kind in ("integer", "number"):
        below = f"count(*) filter ({column} < 0)"
        if type_ not in ("FLOAT", "DOUBLE"):
            return f"{filled}, min({column}), max({column}), {below}, 0, sum({column})"
        return f"{filled}, {_finite(column)}, {below}, {_infinite(column)}, null"
    if kind == "time":
        return f"{filled}, {_finite(column)}, 0, {_infinite(column)}, null"
    return f"{filled}, null, null, 0, 0, null"


def _finite(column: str) -> str:
    finite = f"case when isfinite({column}) then {column} end"
    return f"min({finite}), max({finite})"


def _infinite(column: str) -> str:
    return f"count(*) filter (not isfinite({column}))"
