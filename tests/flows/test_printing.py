"""Results as people and machines read them: nothing is lost on the way."""

from __future__ import annotations

import csv
import io
import json
import sys
from typing import Any, Literal

import duckdb
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.printing import fitting_text, table_text, write_result

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def written(
    capsysbinary: pytest.CaptureFixture[bytes],
    form: Literal["table", "csv", "json", "parquet"],
    sql: str,
    values: list[Any] | None = None,
) -> bytes:
    capsysbinary.readouterr()
    with duckdb.connect() as con:
        con.execute("set TimeZone = 'UTC'")
        write_result(con.execute(sql, values or []), form)
    return capsysbinary.readouterr().out


def test_wide_table_is_blocks_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    names, rows = ["rule", "what", "owner"], [["a", "long " * 9, ""], ["b", "short", "me"]]
    assert fitting_text(names, rows) == table_text(names, rows)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    assert fitting_text(names, rows) == (
        f"a\n  what   {'long ' * 6}".rstrip()
        + f"\n{'':9}long long long\n\nb\n  what   short\n  owner  me"
    )
    monkeypatch.setenv("COLUMNS", "80")
    assert fitting_text(names, rows) == table_text(names, rows)


def test_table_aligns_text_left_and_numbers_right() -> None:
    assert table_text(["name", "n"], [["a", 5], ["longer", 10], [None, None]]) == (
        "name     n\n------  --\na        5\nlonger  10\n"
    )


def test_table_without_rows_has_its_headings() -> None:
    assert table_text(["a", "bc"], []) == "a  bc\n-  --"


def test_table_keeps_a_row_on_a_line() -> None:
    assert table_text(["a"], [["x\ny"]]).splitlines()[2:] == ["x\\ny"]


@pytest.mark.parametrize(
    ("is_terminal", "columns", "expected"),
    [
        (True, 11, "name     n\n------  --\na        5\nlonger  10\n"),
        (True, 9, "-- row 1 --\nname  a\nn     5\n\n-- row 2 --\nname  longer\nn     10\n"),
        (False, 9, "name     n\n------  --\na        5\nlonger  10\n"),
    ],
)
def test_rows_too_wide_for_the_terminal_are_records(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    is_terminal: bool,
    columns: int,
    expected: str,
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    monkeypatch.setenv("COLUMNS", str(columns))
    with duckdb.connect() as con:
        write_result(
            con.execute("select * from (values ('a', 5), ('longer', 10)) t (name, n)"), "table"
        )
    out, told = capsys.readouterr()
    assert out == expected
    assert told.startswith("(2 rows")
    assert ("10 characters wide" in told) == expected.startswith("-- row")


@given(text=TEXT, number=st.integers(-(2**63), 2**63 - 1), real=st.floats(allow_nan=False))
def test_json_gives_the_values_back(
    capsysbinary: pytest.CaptureFixture[bytes], text: str, number: int, real: float
) -> None:
    out = written(capsysbinary, "json", "select ? as t, ?::bigint as n, ?::double as r",
                  [text, number, real])  # fmt: skip
    real_value = real if abs(real) != float("inf") else str(real)
    assert json.loads(out) == [{"t": text, "n": number, "r": real_value}]


@given(
    rows=st.lists(st.tuples(TEXT.filter(lambda t: "\r" not in t), st.integers(0, 9)), min_size=1)
)
def test_csv_gives_the_values_back(
    capsysbinary: pytest.CaptureFixture[bytes], rows: list[tuple[str, int]]
) -> None:
    sql = "select unnest(?::varchar[]) as t, unnest(?::int[]) as n"
    out = written(capsysbinary, "csv", sql, [[r[0] for r in rows], [r[1] for r in rows]])
    found = list(csv.reader(io.StringIO(out.decode(), newline="")))
    assert found == [["t", "n"], *([text, str(number)] for text, number in rows)]


@pytest.mark.parametrize(
    ("value", "json_value", "csv_value"),
    [
        ("null", None, ""),
        ("true", True, "true"),
        ("1.50::decimal(9,2)", "1.50", "1.50"),
        ("123456789012345678901::hugeint", 123456789012345678901, "123456789012345678901"),
        ("'nan'::double", "nan", "nan"),
        ("timestamp '2026-01-31 12:00:00'", "2026-01-31T12:00:00", "2026-01-31 12:00:00"),
        ("date '2026-01-31'", "2026-01-31", "2026-01-31"),
        ("[1, null]", [1, None], "[1, null]"),
        ("{'a': date '2026-01-31'}", {"a": "2026-01-31"}, '{"a": "2026-01-31"}'),
        ("'\\xFF'::blob", "/w==", '"/w=="'),
        (
            "timestamptz '2026-01-31 12:00:00+02'",
            "2026-01-31T10:00:00+00:00",
            "2026-01-31 10:00:00+00:00",
        ),
    ],
)
def test_every_type_has_its_form(
    capsysbinary: pytest.CaptureFixture[bytes], value: str, json_value: Any, csv_value: str
) -> None:
    sql = f"select {value} as x, 1 as y"
    assert json.loads(written(capsysbinary, "json", sql))[0]["x"] == json_value
    lines = written(capsysbinary, "csv", sql).decode()
    assert list(csv.reader(io.StringIO(lines)))[1] == [csv_value, "1"]
    assert written(capsysbinary, "table", sql).count(b"\n") == 3


@pytest.mark.parametrize(
    ("form", "expected"), [("json", b"[]\n"), ("csv", b"x\n"), ("table", b"x\n-\n")]
)
def test_no_rows(
    capsysbinary: pytest.CaptureFixture[bytes], form: Literal["json", "csv"], expected: bytes
) -> None:
    assert written(capsysbinary, form, "select 1 as x where false") == expected


def test_parquet_keeps_types_and_all_rows(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    sql = "select range as n, range::decimal(9,2) as d from range(25000)"
    out = written(capsysbinary, "parquet", sql)
    table = pyarrow.parquet.read_table(io.BytesIO(out))
    assert table.num_rows == 25_000
    assert [str(field.type) for field in table.schema] == ["int64", "decimal128(9, 2)"]


def test_many_rows_come_in_order(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    out = written(capsysbinary, "csv", "select range as n from range(25000)")
    assert out.split() == [b"n", *(str(n).encode() for n in range(25_000))]
