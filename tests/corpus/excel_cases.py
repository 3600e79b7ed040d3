"""Excel: workbooks that are none, sheets that are too large, cells that are no values."""

from __future__ import annotations

import datetime as dt
import io
import zipfile
from typing import Any

import openpyxl

from corpus.case import ORDERS, Case, Held, zipped

KEYED = {"columns": {"id": "bigint"}, "key": ["id"]}


def workbook(*rows: list[Any], merged: str = "", **cells: Any) -> bytes:
    """A workbook of one sheet, `Data`, with these rows and further cells."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Data"
    for row in rows:
        sheet.append(row)
    for place, value in cells.items():
        sheet[place] = value
    if merged:
        sheet.merge_cells(merged)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


GOOD = workbook(["id", "amount"], [1, 1.5], [2, 2])


def edited(part: str, old: str, new: str) -> bytes:
    """The good workbook with a change in one of its parts."""
    with zipfile.ZipFile(io.BytesIO(GOOD)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    text = members[part].decode()
    assert old in text
    members[part] = text.replace(old, new).encode()
    return zipped(members)


SHEET = "xl/worksheets/sheet1.xml"
LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'

CASES = [
    Case("Excel of no bytes", {"a.xlsx": b""}, ORDERS, refused="not a readable workbook"),
    Case(
        "CSV called Excel",
        {"a.xlsx": "id,amount\n1,1\n"},
        ORDERS,
        refused="not a readable workbook",
    ),
    Case("Excel that is cut", {"a.xlsx": GOOD[:-300]}, ORDERS, refused="not a readable workbook"),
    Case(
        "Excel that is another zip",
        {"a.xlsx": zipped({"a.csv": "id\n1\n"})},
        ORDERS,
        refused="not a readable workbook",
    ),
    Case(
        "Excel of an empty sheet", {"a.xlsx": workbook()}, ORDERS, refused="the sheet has no header"
    ),
    Case("Excel of a header alone", {"a.xlsx": workbook(["id", "amount"])}, ORDERS, rows=[]),
    Case(
        "Excel without the sheet",
        {"a.xlsx": GOOD},
        {**ORDERS, "sheet": "Other"},
        refused="it has: Data",
    ),
    Case(
        "Excel with a header twice",
        {"a.xlsx": workbook(["id", "id"], [1, 2])},
        KEYED,
        refused="'id' stands twice",
    ),
    Case(
        "Excel with a value beside the table",
        {"a.xlsx": workbook(["id", "amount"], [1, 1], [2, 2], [3, 3], F3="note")},
        ORDERS,
        loaded=2,
        held=(Held(2, 3, "torn_record", "column F has no name"),),
    ),
    Case(
        "Excel with empty rows, and values that are not of the type",
        {
            "a.xlsx": workbook(
                ["id", "amount"], [1, 1], [], ["x", 2], [3, "y"], [4, 4], [5, 5], [None, 6]
            )
        },
        ORDERS,
        loaded=3,
        held=(
            Held(2, 4, "not_of_type", "id"),
            Held(3, 5, "not_of_type", "amount"),
            Held(6, 8, "key_missing"),
        ),
    ),
    Case(
        "Excel with formulas that were never calculated, errors and booleans",
        {"a.xlsx": workbook(["id", "a", "b", "c"], [1, "=1+1", "#DIV/0!", True])},
        KEYED,
        loaded=1,
        rows=[(1, None, None, "true")],
    ),
    Case(
        "Excel with merged cells",
        {"a.xlsx": workbook(["id", "name"], [1, "x"], [2, None], [3, "y"], merged="B2:B3")},
        KEYED,
        loaded=3,
        rows=[(1, "x"), (2, None), (3, "y")],
    ),
    Case(
        "Excel with dates, times and long numbers",
        {"a.xlsx": workbook(["id", "a", "b", "c"], [1, dt.date(2026, 1, 31), dt.time(1, 2), 1e22])},
        KEYED,
        loaded=1,
        rows=[(1, "2026-01-31", "01:02:00", "1e+22")],
    ),
    Case(
        "Excel with SQL, quotes, line ends and emojis as names",
        {
            "a.xlsx": workbook(
                ["id", 'a"b', "'; drop table x; --", "two\nlines 🙂"], [1, "2", "3", "4"]
            )
        },
        KEYED,
        loaded=1,
        rows=[(1, "2", "3", "4")],
    ),
    Case(
        "Excel with an XML bomb",
        {"a.xlsx": edited(SHEET, "<worksheet", f"{LAUGHS}<worksheet")},
        ORDERS,
        loaded=2,
    ),
    Case(
        "Excel with broken XML",
        {"a.xlsx": edited(SHEET, "</sheetData>", "</sheet>")},
        ORDERS,
        refused="not a readable workbook",
    ),
    Case(
        "Excel with a cell at the sheet's far end",
        {"a.xlsx": workbook(["id", "amount"], [1, 1], XFD1048576="x")},
        ORDERS,
        refused="cannot be read within 1 GiB",
    ),
]
