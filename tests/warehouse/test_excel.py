"""Excel: a sheet or a range as text, and no sheet that breaks the loader."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from pydantic import ValidationError
from reading import read, refusal


def workbook(folder: Path, *rows: list[Any], **cells: Any) -> str:
    """A workbook `a.xlsx` whose first sheet has these rows and cells, and a second one."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = "Data"
    for row in rows:
        sheet.append(row)
    for place, value in cells.items():
        sheet[place] = value
    book.create_sheet("Other").append(["z"])
    book.create_sheet("Empty")
    book.save(folder / "a.xlsx")
    return "a.xlsx"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"),
        (5.0, "5"),
        (0.1, "0.1"),
        (-1234567.89, "-1234567.89"),
        (1e-7, "1e-07"),
        (9007199254740991, "9007199254740991"),
        (True, "true"),
        (dt.date(2026, 1, 31), "2026-01-31"),
        (dt.datetime.fromisoformat("2026-01-31 12:30:01"), "2026-01-31 12:30:01"),
        (dt.datetime.fromisoformat("2026-01-31 12:30:01.250000"), "2026-01-31 12:30:01.250000"),
        (dt.time(12, 30), "12:30:00"),
        (dt.timedelta(hours=30, seconds=5), "30:00:05"),
        ("007", "007"),
        ("  x\ny ", "  x\ny "),
        ("#N/A", None),
        (None, None),
    ],
)
def test_cells_are_text_as_people_mean_it(tmp_path: Path, value: Any, text: str | None) -> None:
    one = read(tmp_path, workbook(tmp_path, ["id", "x"], ["1", value]))
    assert one.rows == [("1", text)]


def test_declared_columns_are_typed(tmp_path: Path) -> None:
    name = workbook(
        tmp_path, ["id", "at"], [1, dt.datetime.fromisoformat("2026-01-31 00:00:00")], ["x", None]
    )
    one = read(tmp_path, name, columns={"id": "bigint", "at": "timestamp"})
    assert one.rows == [(1, dt.datetime.fromisoformat("2026-01-31 00:00:00")), (None, None)]
    assert one.failed == {2: "id"}


def test_empty_rows_are_no_records_and_lines_are_the_sheets_rows(tmp_path: Path) -> None:
    name = workbook(tmp_path, B3="id", C3="x", B5=1, C5="a", C8="b")
    one = read(tmp_path, name)
    assert (one.rows, one.numbers) == ([("1", "a"), (None, "b")], [1, 2])
    assert one.lines == {1: 5, 2: 8}


@pytest.mark.parametrize(
    ("area", "rows"),
    [
        ("B2:C3", [("1", "a")]),
        ("$B$2:$C", [("1", "a"), ("2", "b")]),
        ("b2:c4", [("1", "a"), ("2", "b")]),
    ],
)
def test_range_is_read_alone(tmp_path: Path, area: str, rows: list[tuple[str, str]]) -> None:
    name = workbook(
        tmp_path,
        ["A report", None, None, "secret"],
        [None, "id", "x", 9],
        [None, 1, "a", 9],
        [None, 2, "b", 9],
        ["end"],
    )
    assert read(tmp_path, name, range=area).rows == rows


def test_sheet_without_a_header(tmp_path: Path) -> None:
    one = read(tmp_path, workbook(tmp_path, [1, "a"], [2, None]), header=False)
    assert one.types == {"column_1": "VARCHAR", "column_2": "VARCHAR"}
    assert (one.rows, one.lines) == ([("1", "a"), ("2", None)], {1: 1, 2: 2})


def test_sheet_is_the_first_or_the_one_named(tmp_path: Path) -> None:
    name = workbook(tmp_path, ["id"], [1])
    assert read(tmp_path, name).types == {"id": "VARCHAR"}
    assert read(tmp_path, name, sheet="Other").types == {"z": "VARCHAR"}
    error = refusal(tmp_path, name, sheet="data")
    assert "no sheet 'data'" in error.what
    assert "Data, Other, Empty" in error.next_step


def test_value_in_a_column_without_a_name_tears_its_row(tmp_path: Path) -> None:
    name = workbook(tmp_path, ["id", None, "x"], [1, None, "a"], [2, "stray", "b"])
    one = read(tmp_path, name)
    assert (one.rows, one.torn) == ([("1", "a")], {2: "column B has no name"})
    assert one.torn_raw == {2: '["2", "stray", "b"]'}


def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    assert "stands twice" in refusal(tmp_path, workbook(tmp_path, ["id", "ID"], [1, 2])).what


@pytest.mark.parametrize("entry", [{"sheet": "Empty"}, {"range": "D5:E6"}])
def test_nothing_to_read_is_refused(tmp_path: Path, entry: dict[str, str]) -> None:
    assert "has no header" in refusal(tmp_path, workbook(tmp_path, ["id"]), **entry).what


def test_range_that_is_none_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="not a range of cells"):
        read(tmp_path, workbook(tmp_path, ["id"]), range="3:F")


@pytest.mark.parametrize(
    "data",
    [b"", b"id,x\n1,2\n", b"PK\3\4 no zip", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)],
)
def test_file_that_is_no_workbook_is_refused(tmp_path: Path, data: bytes) -> None:
    assert "not a readable workbook" in refusal(tmp_path, "a.xlsx", data).what


def test_half_a_workbook_is_refused(tmp_path: Path) -> None:
    data = (tmp_path / workbook(tmp_path, ["id"], [1])).read_bytes()
    assert "not a readable workbook" in refusal(tmp_path, "b.xlsx", data[: len(data) // 2]).what


def test_sheet_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    name = workbook(tmp_path, A1="id", XFD1048576=1)
    assert "cannot be read within 1 GiB" in refusal(tmp_path, name).what
