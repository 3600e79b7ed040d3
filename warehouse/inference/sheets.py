"""Workbooks: which sheet holds the table, and where on it the table is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import duckdb

from warehouse.duck import identifier
from warehouse.inference.dialect import has_header
from warehouse.inference.result import Notes
from warehouse.readers import excel as reader
from warehouse.readers.contract import Opened
from warehouse.sources import Source
from warehouse.wording import counted

PROGRAM = Path(reader.__file__).with_name("excel_sheet.py")
NO_SHEET = "*"  # no sheet may be called so: asked for it, the program names those that there are
ROWS = 1000
SMALL = 10  # a sheet with so many times less than the largest is a cover
FEW = 0.1

Row = list[str | None]


@dataclass(frozen=True)
class _Table:
    """A sheet's table: `before` filled rows stand above it.

    `places` are its columns, from A on as 0; `cells` the sheet's filled ones that were looked at;
    `is_cut` says that there are cells beside it that do not belong to it.
    """

    sheet: str
    before: int
    header: bool
    because: str
    places: tuple[int, ...]
    cells: int
    is_cut: bool = False
    warning: str = ""


def excel(
    con: duckdb.DuckDBPyConnection, source: Source, file: Opened, notes: Notes
) -> dict[str, Any]:
    """The keys `sheet`, `range` and `header` that the workbook needs.

    Raises ClearwaterError when it cannot be read.
    """
    sheets = _sheets(file)
    found = [
        table
        for sheet in sheets or [""]
        if (table := _table(sheet, _rows(con, source, file, sheet)))
    ]
    if not found:
        return {}
    largest = max(table.cells for table in found)
    found = [table for table in found if table.cells * SMALL >= largest]
    table = found[0]
    options: dict[str, Any] = {}
    if table.sheet != sheets[0]:
        options["sheet"] = table.sheet
        notes.decide("sheet", table.sheet, f"the first of {len(sheets)} sheets that holds a table")
    others = [other.sheet for other in found[1:]]
    if others:
        notes.warn(
            f"only the sheet {table.sheet!r} is taken; with `sheet:` another source can take"
            f" {', '.join(map(repr, others[:5]))}"
        )
    if table.warning:
        notes.warn(table.warning)
    notes.decide("header", "yes" if table.header else "none", table.because)
    if table.before or table.is_cut:
        options["range"] = _range(source, file, table)
        above = f"the table is below {counted(table.before, 'filled row')}"
        because = above if table.before else "it leaves out what is beside"
        notes.decide("range", options["range"], because)
    return options | ({} if table.header else {"header": False})


def _sheets(file: Opened) -> list[str]:
    """The names of the workbook's sheets; none when it cannot be read, as its reader will say."""
    command = [sys.executable, "-I", str(PROGRAM), str(file.path), NO_SHEET]
    done = subprocess.run(  # noqa: S603 - our own program, without a shell
        [*command, str(reader.MEMORY_BYTES)], capture_output=True, check=False
    )
    line = done.stdout.partition(b"\n")[0]
    names: list[str] = json.loads(line).get("sheets", []) if line else []
    return names


def _plain(source: Source, sheet: str, **more: Any) -> Source:
    return source.model_copy(update={"sheet": sheet or None, "header": False, **more})


def _rows(con: duckdb.DuckDBPyConnection, source: Source, file: Opened, sheet: str) -> list[Row]:
    """The sheet's first rows that are not empty, from column A on."""
    columns = reader.read(con, _plain(source, sheet), file)
    listed = ", ".join(identifier(column.name) for column in columns) or "null"
    rows = con.execute(
        f"select {listed} from incoming order by _source_row limit {ROWS}"
    ).fetchall()
    return [list(row) for row in rows]


def _table(sheet: str, rows: list[Row]) -> _Table | None:
    """The table on the sheet, from the first row on that is as full as most; None if none is."""
    if not rows:
        return None
    filled = [sum(cell is not None for cell in row) for row in rows]
    usual, _ = max(Counter(filled).items(), key=lambda item: (item[0] * item[1], item[0]))
    if len(rows) == usual == 1:
        return None
    first = next(n for n, count in enumerate(filled) if count >= usual)
    # What is above may be of the table, too: a header with a nameless column, rows with gaps.
    above = takewhile(lambda n: filled[n] * 2 >= usual, range(first - 1, -1, -1))
    tried = {n: _header(rows[n:]) for n in (first, *above)}
    header = next((n for n in tried if tried[n][0]), None)
    before = min(tried) if header is None else header
    places = _filled_places(rows[before : before + 1] if header is not None else rows[before:])
    because = tried[before][1]
    table = _Table(sheet, before, header is not None, because, places, sum(filled))
    return _bounded(rows, table)


def _filled_places(rows: list[Row]) -> tuple[int, ...]:
    """The columns, from A on as 0, that have a value in any of the rows."""
    return tuple(sorted({n for row in rows for n, cell in enumerate(row) if cell is not None}))


def _header(rows: list[Row]) -> tuple[bool, str]:
    """Whether the first row names the columns in which it has values, and why."""
    places = _filled_places(rows[:1])
    return has_header([[row[n] or "" for n in places] for row in rows])


def _bounded(rows: list[Row], table: _Table) -> _Table:
    """The table without what stands beside it; without its header if that leaves out values."""
    if not table.header:
        return table
    below = rows[table.before + 1 :]
    unnamed = {
        n: [row[n] for row in below if row[n] is not None]
        for n in range(len(rows[0]))
        if n not in table.places
    }
    stray = {n: cells for n, cells in unnamed.items() if cells}
    if not stray:
        return table
    first, last = table.places[0], table.places[-1]
    letters = ", ".join(map(reader.column_letters, stray))
    if all(
        (n < first and _counts(cells)) or (not first < n < last and len(cells) <= FEW * len(below))
        for n, cells in stray.items()
    ):
        warning = f"sheet {table.sheet!r}: column {letters} has values but no name; it is left out"
        return replace(table, is_cut=True, warning=warning)
    warning = (
        f"sheet {table.sheet!r}: column {letters} has values but no name, so the columns are"
        " called by their place; name it in the file to have the names of the others"
    )
    return replace(
        table,
        before=table.before + 1,
        header=False,
        because="the row that should name the columns does not name all",
        places=_filled_places(below),
        warning=warning,
    )


def _counts(cells: list[str | None]) -> bool:
    """Whether the cells number the rows."""
    start = int(cells[0]) if cells[0] in ("0", "1") else None
    return start is not None and cells == [str(n) for n in range(start, start + len(cells))]


def _range(source: Source, file: Opened, table: _Table) -> str:
    record = table.before + 1
    lines = reader.lines(_plain(source, table.sheet), file, [record], record)
    first, last = map(reader.column_letters, (table.places[0], table.places[-1]))
    return f"{first}{lines[record]}:{last}"
