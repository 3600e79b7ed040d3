"""Rows that are no records: totals and notes below a table, headers within it."""

from __future__ import annotations

import re
from collections import defaultdict

import duckdb

from warehouse.duck import identifier, number, quoted
from warehouse.inference.result import FILE, Notes
from warehouse.inference.shapes import shape
from warehouse.wording import counted

LAST_ROWS = 5
FEWEST_ROWS = 10
FEWEST_COLUMNS, MOST_COLUMNS = 3, 1000
USUALLY = 0.8
TOTAL = re.compile(
    r"\W*(?:(?:grand|sub|end|schluss|zwischen|gesamt)[ -]?)?"
    r"(?:totals?|summen?|sum|saldo|gesamt|insgesamt|somme|totale|totaal|suma|balance)\b.*",
    re.IGNORECASE,
)
# A total's name and at most what it is of; in the words of DuckDB's regular expressions.
NAMED = (
    r"\W*((grand|sub|zwischen|gesamt)[ -]?)?(totals?|summen?|gesamt|subtotals?|somme)"
    r"(\W+(of |for |von |de )?[\w.-]+){0,2}\W*"
)


def take_totals_off(
    con: duckdb.DuckDBPyConnection, table: str, names: list[str], notes: Notes, *, with_file: bool
) -> list[frozenset[str]]:
    """Delete the rows in `table` that look like totals, and notes at the ends of its files.

    Returns the columns that each of them has a value in, for a run may load them.

    All columns are text, `table` has its rows in the files' order and the column FILE if
    `with_file`. A total says so in some field and lacks values that most rows have; a note
    is a row of one field. What is deleted is warned of. Very wide tables are left as they are.
    """
    if not FEWEST_COLUMNS <= len(names) <= MOST_COLUMNS:
        return []
    rows, filled = _filled(con, table, names)
    usual = {name for name, count in filled.items() if count >= USUALLY * rows}
    if rows < FEWEST_ROWS or len(usual) < 2:
        return []
    ends = _ends(con, table, names, with_file=with_file)
    always = {name for name, count in filled.items() if count >= rows - len(ends)}
    found: dict[int, str] = {}
    for last in ends.values():
        for rowid, values in last:
            row = {n: v for n, v in zip(names, values, strict=True) if v is not None and v.strip()}
            if not (_is_no_record(row, usual) or _is_sum(row, names[0], always)):
                break
            found[rowid] = next(iter(row.values()), "")
    found |= _within(con, table, names, usual)
    if not found:
        return []
    of_found = f"from {table} where rowid in ({', '.join(map(str, found))})"
    listed = ", ".join(map(identifier, names))
    left_off = con.execute(f"select {listed} {of_found}").fetchall()
    con.execute(f"delete {of_found}")
    shown = ", ".join(repr(text) for text in list(dict.fromkeys(found.values()))[:3])
    notes.warn(
        f"{counted(len(found), 'row')} {'looks' if len(found) == 1 else 'look'} like totals or"
        f" notes, such as {shown}: types, key and event time are judged without them; a run loads"
        " those that fit, which counts them twice in sums, and puts the others in the quarantine"
    )
    return [
        frozenset(name for name, value in zip(names, row, strict=True) if value is not None)
        for row in left_off
    ]


def _is_sum(row: dict[str, str], first: str, always: set[str]) -> bool:
    """Whether the row alone lacks the first column, and holds nothing but numbers."""
    return first in always and first not in row and all(shape(v) != "text" for v in row.values())


def _within(
    con: duckdb.DuckDBPyConnection, table: str, names: list[str], usual: set[str]
) -> dict[int, str]:
    """The rows anywhere that begin with a total's name and lack what most rows have."""
    told = " or ".join(
        f"regexp_full_match({identifier(n)}, {quoted(NAMED)}, 'i')" for n in names[:3]
    )
    lacks = " or ".join(f"{identifier(name)} is null" for name in sorted(usual))
    listed = ", ".join(map(identifier, names[:3]))
    rows = con.execute(
        f"select rowid, coalesce({listed}) from {table}"
        f" where case when {lacks} then {told} else false end"
    ).fetchall()
    return dict(rows)


def take_headers_off(
    con: duckdb.DuckDBPyConnection, table: str, names: list[str], notes: Notes
) -> None:
    """Delete the rows that repeat the header, as in exports that were put one below the other."""
    if len(names) < 2:
        return
    is_header = " and ".join(f"{identifier(name)} = {quoted(name)}" for name in names)
    count = number(con, f"select count(*) from {table} where {is_header}")
    if not count:
        return
    con.execute(f"delete from {table} where {is_header}")
    notes.warn(
        f"{counted(count, 'row')} {'repeats' if count == 1 else 'repeat'} the header: a run puts"
        " them in the quarantine, unless all columns are text"
    )


def _is_no_record(row: dict[str, str], usual: set[str]) -> bool:
    lacks_some = not usual <= row.keys()
    is_note = len(row) <= 1
    return lacks_some and (is_note or any(map(TOTAL.fullmatch, row.values())))


def _filled(
    con: duckdb.DuckDBPyConnection, table: str, names: list[str]
) -> tuple[int, dict[str, int]]:
    """How many rows there are, and in how many of them each column is filled."""
    counts = ", ".join(f"count({identifier(name)})" for name in names)
    row = con.execute(f"select count(*), {counts} from {table}").fetchone()
    assert row is not None
    return row[0], dict(zip(names, row[1:], strict=True))


def _ends(
    con: duckdb.DuckDBPyConnection, table: str, names: list[str], *, with_file: bool
) -> dict[int, list[tuple[int, tuple[str | None, ...]]]]:
    """The last rows of each file, the last one first: their rowid and their columns' values."""
    listed = ", ".join(identifier(name) for name in names)
    file = FILE if with_file else "0"
    rows = con.execute(
        f"with ends as (select {file} as file, max(rowid) as last from {table} group by all)"
        f" select ends.file, {table}.rowid, {listed} from {table}"
        f" join ends on {table}.rowid between ends.last - {LAST_ROWS - 1} and ends.last"
        f"{f' and {FILE} = ends.file' if with_file else ''} order by {table}.rowid desc"
    ).fetchall()
    found: dict[int, list[tuple[int, tuple[str | None, ...]]]] = defaultdict(list)
    for place, rowid, *values in rows:
        found[place].append((rowid, tuple(values)))
    return found
