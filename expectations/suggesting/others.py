"""Rules that look at other tables: references, equal numbers of rows, equal totals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from expectations.offenders import relation
from expectations.suggesting.profile import Column, Profile, described, kind_of
from expectations.suggesting.proposal import ENOUGH, PLENTY, Proposal, percent, share_below
from warehouse.duck import identifier, number
from warehouse.inference import words
from warehouse.inference.key_sets import OPEN
from warehouse.onboarding.names import sql_name
from warehouse.wording import counted

FEW_ORPHANS = 0.01
# What equals by chance is small.
TELLING_ROWS, TELLING_TOTAL = 50, 1000
KEYS = ("integer", "text")


@dataclass(frozen=True)
class Other:
    """Another table of the same release or lake; counts are made when they are asked for."""

    profile: Profile
    table: str
    types: Mapping[str, str]

    @property
    def name(self) -> str:
        """The table's name without its schema."""
        return self.table.rpartition(".")[2]

    @cached_property
    def rows(self) -> int:
        """How many rows it has."""
        return number(self.profile.con, f"select count(*) from {relation(self.table)}")

    def is_unique(self, columns: Sequence[str]) -> bool:
        """Whether the columns identify its rows."""
        only = ", ".join(map(identifier, columns))
        counted_rows = f"select count(*) from (select distinct {only} from {relation(self.table)})"
        return self.rows > 0 and number(self.profile.con, counted_rows) == self.rows


def others(table: Profile, names: Sequence[str]) -> list[Other]:
    """The tables of these names but the one itself."""
    return [Other(table, n, described(table.con, n)) for n in names if n != table.table]


def references(table: Profile, tables: Sequence[Other]) -> Iterator[Proposal]:
    """Columns whose values are all, or nearly all, those of another table's key."""
    if table.rows < ENOUGH:
        return
    for column in table.own:
        if column.kind not in KEYS or not words.identifying(column.name, "") or not column.filled:
            continue
        # Of two that have it, the table that it is named by: an order's, not its reviews'.
        for other in sorted(tables, key=lambda other: not words.names_own(column.name, other.name)):
            theirs = _key_named(column, other)
            if theirs and _looks_up(table, column, other) and other.is_unique([theirs]):
                yield from _reference(table, column, other, theirs)
                break


def _key_named(column: Column, other: Other) -> str:
    """The other table's column that by name and type is what this one refers to."""
    for theirs, type_ in other.types.items():
        if kind_of(type_) != column.kind:
            continue
        if theirs.lower() == column.name.lower() and words.identifying(theirs, other.name):
            return theirs
        if words.words(theirs) == ["id"] and _is_id_of(column.name, other.name):
            return theirs
    return ""


def _is_id_of(column: str, table: str) -> bool:
    """Whether a column such as `customer_id` names rows of `dim_customers`."""
    parts = words.words(column)
    thing = [words.singular(word) for word in words.words(table) if word not in ("dim", "fct")]
    return parts[-1:] == ["id"] and bool(parts[:-1]) and thing[-len(parts) + 1 :] == parts[:-1]


def _looks_up(table: Profile, column: Column, other: Other) -> bool:
    """Whether the other table describes things, of which this one tells something."""
    if table.table.startswith("features."):
        return not other.table.startswith("features.")
    if other.table.startswith("features."):
        return False
    if table.distinct(column) < OPEN * table.rows:
        return True
    # Hardly a value repeats: so it is where most things have one row, such as a booking one refund.
    return words.names_own(column.name, other.name) and not _is_own_key(table, column)


def _is_own_key(table: Profile, column: Column) -> bool:
    """Whether the column names the table's own rows, not those of another.

    It does by its name, as `refund_id` in refunds, or as the only identifier that is unique.
    """
    if words.names_own(column.name, table.name):
        return True
    return _is_unique(table, column) and not any(
        _is_unique(table, c) for c in table.own if c.name != column.name
    )


def _is_unique(table: Profile, column: Column) -> bool:
    """Whether the column is an identifier that tells all rows apart."""
    is_id = column.kind in KEYS and words.identifying(column.name, table.name)
    return bool(is_id) and not column.nulls and table.distinct(column) == table.rows


def _reference(table: Profile, column: Column, other: Other, theirs: str) -> Iterator[Proposal]:
    orphans = number(
        table.con,
        f"select count(*) from {table.relation} as t where {column.sql} is not null and not exists"
        f" (select 1 from {relation(other.table)} as o where o.{identifier(theirs)} ="
        f" t.{column.sql})",
    )
    if orphans > FEW_ORPHANS * column.filled or (orphans and table.is_raw):
        return
    told = f"{orphans:,} of {counted(column.filled, 'value')} are not among"
    told += f" the {counted(other.rows, 'row')} of {other.table}"
    check: dict[str, Any] = {
        "check": "references",
        "column": column.name,
        "references_table": other.table,
    }
    if theirs != column.name:
        check["references_columns"] = [theirs]
    if orphans:
        told += f" ({percent(orphans, column.filled)})"
        check["mostly"] = share_below(orphans, column.filled)
    yield Proposal(
        f"{column.name}_in_{other.table.rpartition('.')[2]}",
        check,
        "warning",
        f"what {other.table} does not know falls out of every join with it",
        (told,),
    )


def totals(table: Profile, key: Sequence[str], tables: Sequence[Other]) -> Iterator[Proposal]:
    """Rows and totals that equal those of another table, and are meant to by their names."""
    if table.is_raw:
        return
    marts = [other for other in tables if not other.table.startswith("features.")]
    if key and (twin := next((other for other in marts if _is_twin(table, key, other)), None)):
        yield Proposal(
            f"rows_of_{twin.table.rpartition('.')[2]}",
            {"check": "row_count", "equals_table": twin.table},
            "critical",
            f"one row for each of {twin.table}",
            (f"both have {counted(table.rows, 'row')}, under the same key",),
        )
    told: set[str] = set()
    # What several tables add up to is best compared with the one that has it row by row.
    for other in sorted(marts, key=lambda other: -other.rows):
        if other.rows > table.rows:
            found = [proposal for proposal in _sums(table, other) if proposal.suffix not in told]
            told |= {proposal.suffix for proposal in found}
            yield from found


def _is_twin(table: Profile, key: Sequence[str], other: Other) -> bool:
    """Whether both have the same key and as many rows; of two marts the later name follows."""
    is_later = table.table.startswith("features.") or table.table > other.table
    if not is_later or not set(key) <= set(other.types):
        return False
    return table.rows == other.rows and other.rows >= TELLING_ROWS and other.is_unique(key)


def _sums(table: Profile, other: Other) -> Iterator[Proposal]:
    """Whole numbers and decimals whose sum is that of the other table's rows, or like column."""
    measures = [c for c in table.own if c.is_measure and _is_telling(c.total)]
    shared = [c for c in measures if _is_exact(other.types.get(c.name, ""))]
    sums = ", ".join(f"sum({c.sql})" for c in shared)
    row = other.profile.con.execute(
        f"select {sums or 'null'} from {relation(other.table)}"
    ).fetchone()
    assert row is not None
    for column, total in zip(shared, row, strict=False):  # one null without any
        if total == column.total:
            yield _total(column, _sum(column), other, f"{total:,}")
    for column in measures:
        is_count = words.words(column.name)[-1:] == ["count"]
        if is_count and column.name not in other.types and column.total == other.rows >= PLENTY:
            yield _total(column, "count(*)", other, counted(other.rows, "row"))


def _is_exact(type_: str) -> bool:
    """Whether sums of that type are exact."""
    return kind_of(type_) == "integer" or type_.startswith("DECIMAL")


def _is_telling(total: int | Decimal | None) -> bool:
    return total is not None and not -TELLING_TOTAL < total < TELLING_TOTAL


def _total(column: Column, equals: str, other: Other, told: str) -> Proposal:
    return Proposal(
        f"{column.name}_adds_up",
        {
            "check": "total",
            "expression": _sum(column),
            "equals": equals,
            "equals_table": other.table,
        },
        "critical",
        f"both tell the same rows of {other.table}",
        (f"the sum here and the total there are {told}",),
    )


def _sum(column: Column) -> str:
    return f"sum({sql_name(column.name)})"


def whole(table: Profile, types: Mapping[str, str]) -> Iterator[Proposal]:
    """The table's columns with their types, and how many rows it has at least."""
    if table.is_raw:
        return
    is_plain = all(kind == kind.upper() for kind in types.values())  # else names are part of it
    if is_plain:
        yield Proposal(
            "columns",
            {"check": "columns", "columns": {name: kind.lower() for name, kind in types.items()}},
            "critical",
            "readers rely on these names and types",
            (f"{counted(len(types), 'column')}, as they are",),
        )
    least = _least_rows(table.rows)
    yield Proposal(
        "row_count",
        {"check": "row_count", "min": least},
        "critical",
        "a table that lost most of its rows means that a load or a build went wrong",
        (f"{counted(table.rows, 'row')} now",),
    )


def _least_rows(rows: int) -> int:
    """A third of the rows, to one digit; 1 where they are few."""
    if rows < ENOUGH:
        return 1
    third = rows // 3
    unit: int = 10 ** (len(str(third)) - 1)
    return third // unit * unit
