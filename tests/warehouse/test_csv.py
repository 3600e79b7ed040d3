"""CSV: records split, numbered and typed without changing a value."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import settings as search
from hypothesis import strategies as st
from pydantic import ValidationError

from warehouse.errors import BatchRefusedError
from warehouse.readers import csv_text
from warehouse.readers.contract import Opened
from warehouse.sources import Source

EXAMPLES = search().max_examples
FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


@dataclass
class Read:
    """What the reader left: rows with their numbers last, and what failed of them."""

    types: dict[str, str]
    rows: list[tuple[Any, ...]]
    failed: dict[int, str]
    rejected: dict[int, str]
    raw: dict[int, str]


def read(folder: Path, text: str | bytes, **columns: str) -> Read:
    file = folder / "a.csv"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    source = Source(name="shop.orders", path="a.csv", columns=columns)
    with duckdb.connect(config={"threads": 2}) as con:
        con.execute("set TimeZone = 'UTC'")
        found = csv_text.read(con, source, Opened(file, "a.csv", "a.csv", folder))
        ordered = con.execute("select * exclude _failed from incoming order by _source_row")
        return Read(
            types={column.name: column.type for column in found},
            rows=ordered.fetchall(),
            failed=dict(
                con.execute(
                    "select _source_row, _failed from incoming where _failed is not null"
                ).fetchall()
            ),
            rejected=dict(con.execute("select _source_row, raw from rejected").fetchall()),
            raw=dict(con.execute("select _source_row, raw from incoming_raw").fetchall()),
        )


def typed(folder: Path, text: str, of: str) -> Any:
    """The text as a value of the type, or 'failed'."""
    one = read(folder, f'id,x\n1,"{text}"\n', x=of)
    return "failed" if one.failed else one.rows[0][1]


def refusal(folder: Path, text: str | bytes, **columns: str) -> BatchRefusedError:
    with pytest.raises(BatchRefusedError) as caught:
        read(folder, text, **columns)
    assert caught.value.where == "shop.orders: a.csv"
    assert caught.value.next_step
    return caught.value


def test_declared_columns_are_typed_and_others_stay_text(tmp_path: Path) -> None:
    one = read(tmp_path, "id,note\n1,007\n", id="bigint")
    assert one.types == {"id": "BIGINT", "note": "VARCHAR"}
    assert one.rows == [(1, "007", 1)]


@pytest.mark.parametrize(
    ("text", "of", "value"),
    [
        ("15", "bigint", 15),
        ("15.0", "bigint", 15),
        ("1e3", "bigint", 1000),
        ("9223372036854775807", "bigint", 2**63 - 1),
        ("9223372036854775807.0", "bigint", 2**63 - 1),
        ("0.1", "double", 0.1),
        ("inf", "double", float("inf")),
        ("true", "boolean", True),
    ],
)
def test_value_of_the_type_is_kept(tmp_path: Path, text: str, of: str, value: Any) -> None:
    assert typed(tmp_path, text, of) == value


@pytest.mark.parametrize(
    ("text", "of"),
    [
        ("1.5", "bigint"),
        ("1e-1", "bigint"),
        ("9007199254740993.5", "bigint"),
        ("9223372036854775808", "bigint"),
        ("-9223372036854775809", "bigint"),
        ("99999999999999999999.0", "bigint"),
        ("300", "tinyint"),
        ("-1", "ubigint"),
        ("ten", "bigint"),
        (" ", "bigint"),
        ("1,5", "double"),
        ("1e400", "double"),
        ("1.005", "decimal(18,2)"),
        ("1e-3", "decimal(18,2)"),
        ("2026-02-30", "date"),
        ("2026-01-31 12:30:00", "date"),
        ("31/01/2026", "timestamp"),
        ("2026-01-31 25:00:00", "timestamp"),
        ("2026-01-31 12:00:00.1234567", "timestamp"),
        ("2026-01-31 12:00:00.5", "timestamp_s"),
        ("12:00:00+02", "time"),
        ("maybe", "boolean"),
    ],
)
def test_value_that_would_change_or_be_lost_fails(tmp_path: Path, text: str, of: str) -> None:
    assert typed(tmp_path, text, of) == "failed"


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31 12:00:00",
        "2026-01-31T12:00:00Z",
        "2026-01-31 14:00:00+02:00",
        "2026-01-31T04:00:00.000000-08:00",
        "2026-01-31 12:00:00.0000000",
    ],
)
def test_timestamps_are_utc_and_offsets_heeded(tmp_path: Path, text: str) -> None:
    assert str(typed(tmp_path, text, "timestamp")) == "2026-01-31 12:00:00"


@given(number=st.integers(-(2**64), 2**64))
@search(max_examples=4 * EXAMPLES)
def test_every_integer_is_kept_or_fails(tmp_path: Path, number: int) -> None:
    fits = -(2**63) <= number < 2**63
    assert typed(tmp_path, str(number), "bigint") == (number if fits else "failed")


def test_failed_row_names_its_columns(tmp_path: Path) -> None:
    one = read(tmp_path, "id,a,b\n1,x,2\n2,3,4\n3,y,z\n", a="bigint", b="bigint")
    assert one.failed == {1: "a", 3: "a, b"}


def test_empty_field_is_null_of_any_type(tmp_path: Path) -> None:
    one = read(tmp_path, "id,a,b\n1,,\n", a="bigint", b="timestamp")
    assert one.rows == [("1", None, None, 1)]
    assert one.failed == {}


def test_torn_records_are_rejected_with_their_numbers(tmp_path: Path) -> None:
    one = read(tmp_path, "id,a\n1,x\n2\n3,y,z\n4,w\n")
    assert one.rejected == {2: "2", 3: "3,y,z"}
    assert one.rows == [("1", "x", 1), ("4", "w", 4)]


def test_numbers_count_records_not_lines(tmp_path: Path) -> None:
    one = read(tmp_path, 'id,a\n1,"x\n\ny"\n2\n3,"p\nq"\n4,w,w\n5,v\n')
    assert one.rejected == {2: "2", 4: "4,w,w"}
    assert [row[-1] for row in one.rows] == [1, 3, 5]
    assert one.rows[0][1] == "x\n\ny"


def test_first_and_last_record_may_be_torn(tmp_path: Path) -> None:
    one = read(tmp_path, "id,a\n1\n2,x\n3\n")
    assert (list(one.rejected), one.rows) == ([1, 3], [("2", "x", 2)])


@given(
    kinds=st.lists(st.sampled_from(["good", "short", "long", "quoted", "bad"]), max_size=30),
)
@search(max_examples=4 * EXAMPLES)
def test_every_record_keeps_its_number(tmp_path: Path, kinds: list[str]) -> None:
    """Each record carries its own number; it must be the one that the reader gives."""
    forms = {
        "good": "{0},x\n",
        "short": "{0}\n",
        "long": "{0},x,y\n",
        "quoted": '{0},"a\n{0}\n"\n',
        "bad": "{0}.5,x\n",
    }
    lines = (forms[kind].format(n) for n, kind in enumerate(kinds, 1))
    one = read(tmp_path, "id,a\n" + "".join(lines), id="bigint")
    torn = {n for n, kind in enumerate(kinds, 1) if kind in ("short", "long")}
    assert set(one.rejected) == torn
    assert all(raw.startswith(str(n)) for n, raw in one.rejected.items())
    assert [row[-1] for row in one.rows] == [n for n in range(1, len(kinds) + 1) if n not in torn]
    assert all(row[0] in (row[-1], None) for row in one.rows)
    assert set(one.failed) == {n for n, kind in enumerate(kinds, 1) if kind == "bad"}
    assert all(raw.startswith(f'{{"id":"{n}') for n, raw in one.raw.items())


@given(rows=st.lists(st.tuples(FIELD, FIELD), max_size=8))
@search(max_examples=4 * EXAMPLES)
def test_text_survives_any_content(tmp_path: Path, rows: list[tuple[str, str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([("a", "b"), *rows])
    one = read(tmp_path, text.getvalue())
    assert [row[:2] for row in one.rows] == [(a or None, b or None) for a, b in rows]


def test_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    assert read(tmp_path, "\ufeffid,a\n1,x\n").types == {"id": "VARCHAR", "a": "VARCHAR"}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system(tmp_path: Path, end: str) -> None:
    one = read(tmp_path, end.join(["id,a", "1,x", "2,y", ""]))
    assert one.rows == [("1", "x", 1), ("2", "y", 2)]


@pytest.mark.parametrize("text", ["id,a\n", "id,a", "\ufeffid,a\r\n"])
def test_header_alone_is_no_rows(tmp_path: Path, text: str) -> None:
    one = read(tmp_path, text, id="bigint")
    assert (one.types, one.rows) == ({"id": "BIGINT", "a": "VARCHAR"}, [])


def test_last_line_needs_no_end(tmp_path: Path) -> None:
    assert len(read(tmp_path, "id,a\n1,x\n2,y").rows) == 2


def test_not_utf8_is_rejected_row_by_row(tmp_path: Path) -> None:
    one = read(tmp_path, b"id,a\n1,caf\xe9\n2,y\n")
    assert (list(one.rejected), one.rows) == ([1], [("2", "y", 2)])


def test_file_without_a_header_is_refused(tmp_path: Path) -> None:
    assert "no header" in refusal(tmp_path, "\n1,2\n").what


@pytest.mark.parametrize("text", ["", "\ufeff", b""])
def test_file_without_a_character_is_told_as_empty(tmp_path: Path, text: str | bytes) -> None:
    error = refusal(tmp_path, text)
    assert error.what == "the file is empty"
    assert "ask the sender for a new file" in error.next_step


@pytest.mark.parametrize("header", ["id,id", "id,ID"])
def test_header_with_one_name_twice_is_refused(tmp_path: Path, header: str) -> None:
    assert "stands twice" in refusal(tmp_path, f"{header}\n1,2\n").what


def test_column_without_a_name_gets_its_number(tmp_path: Path) -> None:
    assert list(read(tmp_path, "id,\n1,2\n").types) == ["id", "column_2"]


def test_header_with_a_name_of_ours_is_refused(tmp_path: Path) -> None:
    assert "_batch_id" in refusal(tmp_path, "id,_batch_id\n1,2\n").what


def test_other_delimiter_is_named(tmp_path: Path) -> None:
    assert "delimiter" in refusal(tmp_path, "id;a\n1;x\n").what


def test_header_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    assert "UTF-8" in refusal(tmp_path, b"id,caf\xe9\n1,2\n").what


@pytest.mark.parametrize(
    ("text", "format_name"),
    [
        ('[{"id": 1, "status": "a"}, {"id": 2, "status": "a"}]', "json"),
        ('[\n  {\n    "id": 1\n  }\n]\n', "json"),
        ('{"id": 1, "status": "a"}\n{"id": 2, "status": "a"}\n', "ndjson"),
    ],
)
def test_json_that_is_read_as_csv_is_told(tmp_path: Path, text: str, format_name: str) -> None:
    told = refusal(tmp_path, text)
    assert told.what == f"it is read as CSV and looks like {format_name.upper()}"
    assert f"declare `format: {format_name}`" in str(told.next_step)


def test_brackets_in_a_header_are_no_json(tmp_path: Path) -> None:
    assert list(read(tmp_path, "[id],{x}\n1,2\n").types) == ["[id]", "{x}"]


def test_declared_column_that_is_missing_is_named(tmp_path: Path) -> None:
    error = refusal(tmp_path, "id,amuont\n1,2\n", amount="double")
    assert "'amount' that sources.yml names is not in the file" in error.what
    assert "amuont" in error.next_step


def test_names_may_hold_quotes_and_spaces(tmp_path: Path) -> None:
    one = read(tmp_path, 'it\'s,"a ""b"" c"\n1,2\n3\n', **{"it's": "bigint"})
    assert one.types == {"it's": "BIGINT", 'a "b" c': "VARCHAR"}
    assert (one.rows, one.rejected) == ([(1, "2", 1)], {2: "3"})


def told(folder: Path, text: str, **entry: Any) -> tuple[list[tuple[Any, ...]], dict[int, int]]:
    """Rows without their number, and the physical line of each, under a dialect that is told."""
    file = folder / entry.pop("name", "a.csv")
    file.write_bytes(text.encode())
    source = Source(name="shop.orders", path=file.name, **entry)
    opened = Opened(file, file.name, file.name, folder)
    with duckdb.connect(config={"threads": 2}) as con:
        con.execute("set TimeZone = 'UTC'")
        csv_text.read(con, source, opened)
        sql = "select * exclude (_source_row, _failed) from incoming order by _source_row"
        rows = con.execute(sql).fetchall()
        (numbers,) = con.execute(
            "select list(_source_row order by _source_row)"
            " from (select _source_row from incoming union all select _source_row from rejected)"
        ).fetchone()
    return rows, csv_text.lines(source, opened, numbers, len(numbers))


@pytest.mark.parametrize(
    ("text", "entry", "rows"),
    [
        ("a;b\n1;'x;y'\n", {"delimiter": ";", "quote": "'"}, [("1", "x;y")]),
        ("a\tb\n1\tx\n", {"name": "a.tsv"}, [("1", "x")]),
        ('a|b\n1|"x\n', {"delimiter": "|", "quote": ""}, [("1", '"x')]),
        ('a,b\n1,"x\\"y"\n', {"escape": "\\"}, [("1", 'x"y')]),
        ("1,x\n2,y\n", {"header": False}, [("1", "x"), ("2", "y")]),
        ("export of today\n\na,b\n1,x\n", {"skip": 2}, [("1", "x")]),
        ("a,b\nNA,-\n", {"nulls": ["NA", "-"]}, [(None, None)]),
    ],
)
def test_dialect_that_is_told_is_read(
    tmp_path: Path, text: str, entry: dict[str, Any], rows: list[tuple[Any, ...]]
) -> None:
    assert told(tmp_path, text, **entry)[0] == rows


def test_numbers_and_times_are_read_as_they_are_told(tmp_path: Path) -> None:
    columns = {
        "price": "double",
        "count": "bigint",
        "day": {"type": "date", "format": "%d.%m.%Y"},
        "at": {"type": "timestamp", "format": "%d/%m/%Y %H:%M"},
    }
    text = "price;count;day;at\n3,5;1;31.01.2026;31/01/2026 08:15\n1.000;2;31.02.2026;x\n"
    rows, _ = told(tmp_path, text, delimiter=";", decimal=",", columns=columns)
    assert [str(value) for value in rows[0]] == ["3.5", "1", "2026-01-31", "2026-01-31 08:15:00"]
    assert rows[1] == (None, 2, None, None)


def grouped(folder: Path, text: str, of: str, thousands: str, decimal: str) -> Any:
    """The text as a value of the type, None if it failed."""
    rows, _ = told(
        folder,
        f"x\n{text}\n",
        delimiter="|",
        thousands=thousands,
        decimal=decimal,
        columns={"x": of},
    )
    return rows[0][0]


@pytest.mark.parametrize(
    ("text", "of", "marks", "value"),
    [
        ("1.234.567,5", "double", ".,", 1234567.5),
        ("-1.234", "bigint", ".,", -1234),
        ("+12.345", "bigint", ".,", 12345),
        ("1234,5", "double", ".,", 1234.5),
        (" 1,234 ", "bigint", ",.", 1234),
        ("1,234.00", "bigint", ",.", 1234),
        ("1,234.", "double", ",.", 1234.0),
        ("1 234\u00a0567\u202f890,25", "decimal(18,2)", " ,", Decimal("1234567890.25")),
        ("12'345\u2019678.10", "decimal(18,2)", "'.", Decimal("12345678.10")),
        ("9,223,372,036,854,775,807", "bigint", ",.", 2**63 - 1),
        ("1e3", "double", ",.", 1000.0),
        ("1.234", "varchar", ".,", "1.234"),
    ],
)
def test_thousands_lose_their_marks(
    tmp_path: Path, text: str, of: str, marks: str, value: Any
) -> None:
    assert grouped(tmp_path, text, of, *marks) == value


@pytest.mark.parametrize(
    ("text", "of", "marks"),
    [
        ("1.5", "double", ".,"),
        ("1.2345", "double", ".,"),
        ("12.34.567", "double", ".,"),
        ("1234.567", "double", ".,"),
        ("0.123", "double", ".,"),
        (".123", "double", ".,"),
        ("1.234.", "double", ".,"),
        ("1.234e3", "double", ".,"),
        ("1,234,56", "double", ",."),
        ("1,23", "bigint", ",."),
        ("12 34", "bigint", " ,"),
        ("1'234,5", "double", "'."),
        ("1,234.5", "bigint", ",."),
        ("9,223,372,036,854,775,808", "bigint", ",."),
        ("1,234.567", "decimal(18,2)", ",."),
    ],
)
def test_mark_of_thousands_in_any_other_place_fails(
    tmp_path: Path, text: str, of: str, marks: str
) -> None:
    assert grouped(tmp_path, text, of, *marks) is None


@pytest.mark.parametrize(("spelt", "mark"), [("\u00a0", " "), ("\u202f", " "), ("\u2019", "'")])
def test_mark_of_thousands_has_one_name(spelt: str, mark: str) -> None:
    source = Source.model_validate({"name": "shop.orders", "path": "a.csv", "thousands": spelt})
    assert source.thousands == mark


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"thousands": "."}, "'.' cannot part both decimals and thousands"),
        ({"thousands": ",", "decimal": ","}, "',' cannot part both"),
        ({"thousands": "_"}, "Input should be"),
        ({"thousands": ",", "format": "orc"}, "`thousands` goes with csv"),
    ],
)
def test_mark_of_thousands_that_means_nothing_is_refused(entry: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(words)):
        Source.model_validate({"name": "shop.orders", "path": "a.csv"} | entry)


@given(
    number=st.decimals(-(10**15), 10**15, places=2),
    marks=st.sampled_from([",.", ".,", " ,", "'."]),
)
@search(max_examples=EXAMPLES)
def test_every_grouped_number_is_kept(tmp_path: Path, number: Decimal, marks: str) -> None:
    text = f"{number:,}".translate(str.maketrans(",.", marks))
    assert grouped(tmp_path, text, "decimal(18,2)", *marks) == number


@pytest.mark.parametrize(
    "text",
    [
        'a,b\n1,x\n\n2,"y\nz"\n\n\n3\n4,w\n',
        'a,b\r\n1,x\r\n\r\n2,"y\r\nz"\r\n\r\n\r\n3\r\n4,w\r\n',
    ],
)
def test_lines_are_those_of_the_file(tmp_path: Path, text: str) -> None:
    rows, lines = told(tmp_path, text)
    assert len(rows) == 3
    assert lines == {1: 2, 2: 4, 3: 8, 4: 9}


def test_mixed_line_ends_are_read(tmp_path: Path) -> None:
    rows, _ = told(tmp_path, 'a,b\r\n1,x\n2,"y\nz"\r\n3,w\n')
    assert rows == [("1", "x"), ("2", "y\nz"), ("3", "w")]
