"""How later files of a dataset go with earlier ones."""

from __future__ import annotations

from warehouse.duck import identifier
from warehouse.inference import words
from warehouse.inference.result import FILE, InferredColumn, Notes
from warehouse.inference.table import Table

COMPARED_KEYS = 5000
SAME_THING, FULL_DUMP = 0.5, 0.8


def infer_write(table: Table, names: tuple[str, ...], notes: Notes) -> str:
    """How the files go together: snapshots of one whole, corrections, or one after another."""
    key = ", ".join(map(identifier, names))
    repeated = again(table, names)
    if not repeated:
        because = f"no key comes in more than one of {table.file_count} files"
        notes.decide("write", "append", because)
        return "append"
    shared = table.number(
        f"with k as (select distinct {key}, {FILE} from {table.relation}),"
        f" sizes as (select {FILE}, count(*) as size from k group by all),"
        f" shared as (select b.{FILE}, count(*) as size from k a join k b using ({key})"
        f" where b.{FILE} = a.{FILE} + 1 group by all)"
        f" select avg(coalesce(shared.size, 0) / (s.size + p.size - coalesce(shared.size, 0)))"
        f" from sizes s join sizes p on p.{FILE} = s.{FILE} - 1"
        f" left join shared on shared.{FILE} = s.{FILE}"
    )
    dated = all(any(c.isdigit() for c in name) for name in table.file_names)
    if shared >= FULL_DUMP and dated:
        because = f"each file has {shared:.0%} of its keys in common with the one before"
        notes.decide("write", "snapshot", because)
        return "snapshot"
    if table.distinct(names) < table.distinct(table.names):
        because = f"keys that come again in later files, with changes: {repeated:,}"
        notes.decide("write", "merge", because)
        return "merge"
    because = f"keys that come again, but in the same rows: {repeated:,}"
    notes.decide("write", "append", because)
    return "append"


def are_same_things(table: Table, names: tuple[str, ...]) -> bool:
    """Whether a key that comes again is the same thing: it is like itself, or tells of a change.

    Numbers that begin anew in each file come again nearly all, changes do so for some.
    """
    if _likeness(table, names) >= SAME_THING:
        return True
    if not any(words.says(column.name, words.CHANGES) for column in table.needed):
        return False
    return again(table, names) < SAME_THING * table.distinct(names)


def again(table: Table, names: tuple[str, ...]) -> int:
    """How many keys come in several files."""
    key = ", ".join(map(identifier, names))
    return int(
        table.number(
            f"select count(*) from (select 1 from {table.relation} group by {key}"
            f" having count(distinct {FILE}) > 1)"
        )
    )


def parts_files(table: Table, column: InferredColumn) -> bool:
    """Whether each file has a single value of the column, and not all have the same."""
    if words.says(column.name, words.CHANGES) or not 1 < column.distinct_count <= table.file_count:
        return False
    most = table.number(
        f"select max(n) from (select count(distinct {identifier(column.name)}) as n"
        f" from {table.relation} group by {FILE})"
    )
    return most == 1


def moves(table: Table, name: str, period: str) -> bool:
    """Whether most values of `name` that come in several files have another `period` in each."""
    key, value = identifier(name), identifier(period)
    return (
        table.number(
            f"select avg((count = files)::int) from (select count(distinct {value}) as count,"
            f" count(distinct {FILE}) as files from {table.relation} group by {key}"
            f" having files > 1 limit {COMPARED_KEYS})"
        )
        > SAME_THING
    )


def _likeness(table: Table, names: tuple[str, ...]) -> float:
    """How much of a row stays the same, on average, when its key comes again: 0 to 1.

    Columns that only tell of the change, such as updated_at, do not count.
    """
    others = [n for n in table.names if n not in names and not words.says(n, words.CHANGES)]
    if not others:
        return 1.0
    key = ", ".join(map(identifier, names))
    counts = ", ".join(f"count(distinct {identifier(n)}) as n{i}" for i, n in enumerate(others))
    same = " + ".join(f"(n{i} <= 1)::int" for i in range(len(others)))
    return table.number(
        f"select avg({same}) / {len(others)} from (select {counts} from {table.relation}"
        f" semi join (select {key} from {table.relation} group by all"
        f" having count(distinct {FILE}) > 1 limit {COMPARED_KEYS}) using ({key}) group by {key})"
    )
