"""Excel and OpenDocument workbooks: one sheet, or a range of it, as text."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from warehouse.errors import BatchRefusedError
from warehouse.readers.contract import Column, Opened, check_names, where
from warehouse.readers.header import check_header
from warehouse.readers.records import Records
from warehouse.sources import CELLS, Source

MEMORY_BYTES = 1 << 30

Cells = list[str | None]


@dataclass(frozen=True)
class _Range:
    """Columns from 0, the last one excluded; rows from 1, the last one included; None is open."""

    left: int
    right: int | None
    top: int
    bottom: int | None

    @classmethod
    def of(cls, source: Source) -> _Range:
        if source.range is None:
            return cls(0, None, 1, None)
        match = CELLS.fullmatch(source.range)
        assert match is not None  # or sources.yml would not have been read
        left, top, right, bottom = match.groups()
        first = _column(left)
        last = _column(right) if right else first
        return cls(first, last + 1, int(top or 1), int(bottom) if bottom else None)

    def holds(self, row: int) -> bool:
        """Whether the range has the sheet's row."""
        return self.top <= row and (self.bottom is None or row <= self.bottom)


def _column(letters: str) -> int:
    """A column's number, from 0: A is 0, AA is 26."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1


def column_letters(number: int) -> str:
    """The letters of a column that counts from 0."""
    letters = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("A") + letter) + letters
    return letters


def read(con: duckdb.DuckDBPyConnection, source: Source, opened: Opened) -> list[Column]:
    """Leave `incoming` with the rows of the sheet that are not empty.

    A row with a value in a column without a name is torn.
    """
    area = _Range.of(source)
    with _sheet(source, opened) as (width, rows):
        inside = _inside(rows, area)
        names = _names(source, opened, area, width, inside)
        records = Records(source, opened, list(names.values()))
        for _, cells in inside:
            stray = next((n for n, c in enumerate(cells) if c is not None and n not in names), None)
            if stray is None:
                records.add({name: cells[n] for n, name in names.items() if n < len(cells)})
            else:
                letters = column_letters(area.left + stray)
                records.tear(f"column {letters} has no name", json.dumps(cells, ensure_ascii=False))
    return records.finish(con)


def lines(source: Source, opened: Opened, rows: list[int], _: int) -> dict[int, int]:
    """The sheet's rows that the records `rows` stand in; both count from 1."""
    wanted = set(rows)
    with _sheet(source, opened) as (_width, sheet_rows):
        inside = _inside(sheet_rows, _Range.of(source))
        if source.header:
            next(inside, None)
        return {record: row for record, (row, _) in enumerate(inside, 1) if record in wanted}


def _inside(rows: Iterator[tuple[int, Cells]], area: _Range) -> Iterator[tuple[int, Cells]]:
    """The rows of the range that are not empty in it, cut to its columns."""
    for number, cells in rows:
        cut = cells[area.left : area.right]
        if area.holds(number) and any(cell is not None for cell in cut):
            yield number, cut


def _names(
    source: Source,
    opened: Opened,
    area: _Range,
    width: int,
    rows: Iterator[tuple[int, Cells]],
) -> dict[int, str]:
    """The columns' names by their place in the range: the first row's, or `column_1` and so on."""
    if not source.header:
        count = (area.right or width) - area.left
        return {n: f"column_{n + 1}" for n in range(count)}
    _, header = next(rows, (0, []))
    names = {n: name for n, name in enumerate(header) if name is not None}
    if not names:
        raise BatchRefusedError(
            "the sheet has no header" if source.range is None else "the range has no header",
            where=where(source, opened),
            next_step="write one row of column names first, or tell `sheet:` or `range:`",
        )
    check_header(list(names.values()), source, where(source, opened))
    check_names(list(names.values()), source, opened)
    return names


@contextmanager
def _sheet(source: Source, opened: Opened) -> Iterator[tuple[int, Iterator[tuple[int, Cells]]]]:
    """The sheet's width, and its rows with their numbers, read by a process with limited memory."""
    program = Path(__file__).with_name("excel_sheet.py")
    command = [sys.executable, "-I", str(program), str(opened.path), source.sheet or ""]
    with subprocess.Popen(  # noqa: S603 - our own program, without a shell
        [*command, str(MEMORY_BYTES)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield _answers(process, source, opened)
        finally:
            process.kill()


def _answers(
    process: subprocess.Popen[bytes], source: Source, opened: Opened
) -> tuple[int, Iterator[tuple[int, Cells]]]:
    assert process.stdout is not None
    first = process.stdout.readline()
    head: dict[str, Any] = json.loads(first) if first else {}
    if "error" in head:
        has = _sheets(head["sheets"]) if head["sheets"] else ""
        raise BatchRefusedError(
            head["error"],
            where=where(source, opened),
            next_step=has or "save it again as .xlsx; the bytes that came are kept in landing/",
        )
    if not head:
        raise _too_large(source, opened)
    return head["width"], _rows(process, source, opened)


def _sheets(names: list[str]) -> str:
    return f"name one of its sheets under `sheet` in sources.yml; it has: {', '.join(names)}"


def _rows(
    process: subprocess.Popen[bytes], source: Source, opened: Opened
) -> Iterator[tuple[int, Cells]]:
    assert process.stdout is not None
    for line in process.stdout:
        number, cells = json.loads(line)
        yield number, cells
    if process.wait() != 0:
        raise _too_large(source, opened)


def _too_large(source: Source, opened: Opened) -> BatchRefusedError:
    return BatchRefusedError(
        f"the sheet cannot be read within {MEMORY_BYTES >> 30} GiB of memory",
        where=where(source, opened),
        next_step="save it as CSV, or delete the cells far from the data and save it again",
    )
