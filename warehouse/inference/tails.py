"""Rows at the ends of files that are no records: totals and notes below a table."""

from __future__ import annotations

import re
from collections import defaultdict

import duckdb

from warehouse.duck import identifier
from warehouse.inference.result import FILE, Notes, counted

LAST_ROWS = 5
FEWEST_ROWS = 10
FEWEST_COLUMNS, MOST_COLUMNS = 3, 1000
USUALLY = 0.8
TOTAL = re.compile(
    r"\W*(?:(?:grand|sub|end|schluss|zwischen|gesamt)[ -]?)?"
    r"(?:totals?|summen?|sum|saldo|gesamt|insgesamt|somme|totale|totaal|suma|balance)\b.*",
    re.IGNORECASE,
)


def take_totals_off(
    con: duckdb.DuckDBPyConnection, table: str, names: list[str], notes: Notes, *, with_file: bool
) -> None:
    """Delete the rows that look like totals or notes from the ends of the files in `table`.

    All columns are text, `table` has its rows in the files' order and the column FILE if
    `with_file`. A total says so in some field and lacks values that most rows have; a note
    is a row of one field. What is deleted is warned of. Very wide tables are left as they are.
    """
    if not FEWEST_COLUMNS <= len(names) <= MOST_COLUMNS:
        return
    rows, filled = _filled(con, table, names)
    usual = {name for name, count in filled.items() if count >= USUALLY * rows}
    if rows < FEWEST_ROWS or len(usual) < 2:
        return
    found: list[tuple[int, str]] = []
    for ends in _ends(con, table, names, with_file=with_file).values():
        for rowid, values in ends:
            row = {n: v for n, v in zip(names, values, strict=True) if v is not None and v.strip()}
            if not _is_no_record(row, usual):
                break
            found.append((rowid, next(iter(row.values()), "")))
    if not found:
        return
    con.execute(f"delete from {table} where rowid in ({', '.join(str(n) for n, _ in found)})")
    shown = ", ".join(repr(text) for text in list(dict.fromkeys(t for _, t in found))[:3])
    notes.warn(
        f"{counted(len(found), 'row')} at the files' ends look like totals or notes, such as"
        f" {shown}: types, key and event time are judged without them; a run loads those that"
        " fit, and puts the others in the quarantine"
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
    for number, rowid, *values in rows:
        found[number].append((rowid, tuple(values)))
    return found
