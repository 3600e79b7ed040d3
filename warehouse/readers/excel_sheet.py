"""Prints a sheet's rows as JSON lines: a program of its own, for `excel` to start.

python-calamine holds a sheet in memory as a rectangle, and a file of a few kilobytes may ask for
one of 17 billion cells, which ends the process. So that process is not the loader's, and its
memory is limited. It imports nothing of Clearwater, which would take its share.

usage: excel_sheet.py FILE SHEET MEMORY_BYTES   (an empty SHEET is the first one)
first line: {"width": columns from A on} or {"error": text, "sheets": [names]}
then: [row number from 1, [text or null of each column from A on]], without the empty rows.
"""

from __future__ import annotations

import json
import resource
import sys
from datetime import date, datetime, time, timedelta
from typing import Any

EXACT_IN_DOUBLE = 1 << 53


def text(value: Any) -> str | None:
    """The cell's value as text; null for an empty cell and for an error such as #N/A."""
    if isinstance(value, str):
        return value or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < EXACT_IN_DOUBLE
        return str(int(value)) if whole else repr(value)
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        seconds, fraction = divmod(value, timedelta(seconds=1))
        clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
        return clock + (f".{fraction.microseconds:06}" if fraction else "")
    return None if value is None else str(value)


def show(line: Any) -> None:
    """Print one line of JSON."""
    sys.stdout.write(json.dumps(line) + "\n")


def main(file: str, name: str, memory: str) -> None:
    """Print the sheet."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    from python_calamine import (
        CalamineError,
        CalamineWorkbook,
        PasswordError,
        WorksheetNotFound,
    )

    sheets: list[str] = []
    try:
        book = CalamineWorkbook.from_path(file)
        sheets = book.sheet_names
        sheet = book.get_sheet_by_name(name) if name else book.get_sheet_by_index(0)
    except WorksheetNotFound:
        what = f"there is no sheet {name!r}" if name else "the workbook has no sheet"
        show({"error": what, "sheets": sheets})
        return
    except PasswordError:
        show({"error": "the workbook is protected by a password", "sheets": sheets})
        return
    except CalamineError as error:
        show({"error": f"not a readable workbook: {error}", "sheets": []})
        return
    left = sheet.start[1] if sheet.start else 0
    show({"width": left + sheet.width})
    for number, row in enumerate(sheet.iter_rows(), 1):
        texts = [text(value) for value in row]
        if any(value is not None for value in texts):
            show([number, [None] * left + texts])


if __name__ == "__main__":
    main(*sys.argv[1:])
