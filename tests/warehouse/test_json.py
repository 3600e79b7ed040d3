"""JSON and NDJSON: every value as it is written, and a torn record torn alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import settings as search
from hypothesis import strategies as st
from reading import Read, read, refusal

from warehouse.errors import BatchRefusedError
from warehouse.readers import json_text, ndjson, records

DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    "number", ["1.10", "12345678901234567890123", "1e400", "-0", "1E+2", "0.1000000000000000000001"]
)
@pytest.mark.parametrize("name", ["a.json", "a.ndjson"])
def test_numbers_keep_their_digits(tmp_path: Path, name: str, number: str) -> None:
    one = read(tmp_path, name, f'{{"a": {number}, "b": [{number}, {{"c": {number}}}]}}')
    assert one.rows == [(number, f'[{number},{{"c":{number}}}]')]


@pytest.mark.parametrize("name", ["a.json", "a.ndjson"])
def test_declared_columns_are_typed_and_others_stay_text(tmp_path: Path, name: str) -> None:
    text = '{"id": 1, "ok": true, "n": null, "t": "007", "x": {"é": ["\\"", null, false]}}'
    one = read(tmp_path, name, text, columns={"id": "bigint"})
    assert one.types == {"id": "BIGINT"} | dict.fromkeys(("ok", "n", "t", "x"), "VARCHAR")
    assert one.rows == [(1, "true", None, "007", '{"é":["\\"",null,false]}')]


def test_value_not_of_its_type_fails_alone(tmp_path: Path) -> None:
    one = read(tmp_path, "a.ndjson", '{"a":1}\n{"a":1.5}\n{"a":"x"}', columns={"a": "bigint"})
    assert (one.rows, one.failed) == ([(1,), (None,), (None,)], {2: "a", 3: "a"})
    assert one.raw[2] == '{"a":"1.5"}'


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ("{", "not JSON: Expecting property name enclosed in double quotes (column 2)"),
        ('{"a": 1,}', "not JSON"),
        ('{"a": 01}', "not JSON"),
        ('{"a": 1} {"a": 2}', "not JSON: Extra data"),
        ('{"a": NaN}', "NaN is not JSON"),
        ('{"a": [-Infinity]}', "-Infinity is not JSON"),
        ('{"a": 1, "a": 2}', "the key 'a' stands twice"),
        ('{"b": 1, "a": 1, "A": 2}', "the names 'a' and 'A' differ in case alone"),
        ("[1]", "not an object but an array"),
        ("1", "not an object but a number"),
        ("null", "not an object but null"),
        ('{"a": "\\ud800"}', "a text is not Unicode"),
        ('{"a": "\t"}', "not JSON: Invalid control character"),
        (f'{{"a": {DEEP}}}', "nested too deep"),
    ],
)
def test_line_that_is_no_record_is_torn_alone(tmp_path: Path, line: str, detail: str) -> None:
    one = read(tmp_path, "a.ndjson", f'{{"a": 1}}\n\n{line}\r\n{{"a": 3}}')
    assert (one.rows, one.numbers) == ([("1",), ("3",)], [1, 3])
    assert detail in one.torn[2]
    assert one.lines == {1: 1, 2: 3, 3: 4}


def test_bytes_that_are_not_utf8_tear_their_record(tmp_path: Path) -> None:
    line = b'{"a": "caf\xe9"}'
    one = read(tmp_path, "a.ndjson", line + b'\n{"a": 2}')
    assert (one.rows, one.torn_raw) == ([("2",)], {1: '{"a": "caf\\xe9"}'})
    one = read(tmp_path, "a.json", b"[" + line + b', {"a": 2}]')
    assert (one.rows, list(one.torn)) == ([("2",)], [1])


def test_long_line_is_torn_and_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ndjson, "LONGEST_RECORD", 1000)
    long = json.dumps({"a": "x" * 5000})
    one = read(tmp_path, "a.ndjson", f'{long}\n{{"a": 2}}\n{long}')
    assert (one.rows, one.numbers, list(one.torn)) == ([("2",)], [2], [1, 3])
    assert "5,010" in one.torn[1]


def test_raw_text_of_a_torn_record_is_bounded(tmp_path: Path) -> None:
    one = read(tmp_path, "a.ndjson", "[" + "1," * 100_000)
    assert len(one.torn_raw[1]) < records.LONGEST_RAW + 100
    assert one.torn_raw[1].endswith("characters more)")


def test_key_of_the_last_record_alone_is_a_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "BUFFER_ROWS", 2)
    lines = [json.dumps({f"c{number // 2}": number}) for number in range(7)]
    one = read(tmp_path, "a.ndjson", "\n".join(lines))
    assert list(one.types) == ["c0", "c1", "c2", "c3"]
    assert [next(v for v in row if v) for row in one.rows] == [str(n) for n in range(7)]


@pytest.mark.parametrize(
    "text",
    [
        '[{"a":1},{"a":2}]',
        '\ufeff [\n{"a": 1} ,\r\n{"a": 2} ] ',
        '{"a":1}{"a":2}',
        '{"a":1}\n\n{"a":2}\n',
    ],
)
def test_records_are_elements_or_objects(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, "a.json", text).rows == [("1",), ("2",)]


@pytest.mark.parametrize("window", [1, 7, 1 << 20])
def test_record_path_is_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(json_text, "WINDOW", window)
    text = (
        '{"n": 12345, "other": {"items": [{"x": "a\\"]"}]}, "data":\n{"items": [\n{"a": 12.50},'
        '\n {"a": [1, 2]}, 3\n], "next": null}, "z": "end"}'
    )
    one = read(tmp_path, "a.json", text, record="data.items")
    assert (one.rows, one.torn) == ([("12.50",), ("[1,2]",)], {3: "not an object but a number"})
    assert one.lines == {1: 3, 2: 4, 3: 4}


def test_pages_that_follow_each_other_are_all_read(tmp_path: Path) -> None:
    text = '{"d": [{"a": 1}]}\n{"d": []}\n{"d": null}\n{"d": [{"a": 2}]}'
    assert read(tmp_path, "a.json", text, record="d").rows == [("1",), ("2",)]


def test_record_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path, "a.json", '{"meta": 1, "data": [{"a": 1}]}', record="date")
    assert "record: date" in error.what
    assert "meta, data" in error.next_step


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "line 1, column 1"),
        ('[{"a": 1},\n{"a": 2,}]', "line 2, column 9"),
        ('[{"a": 1},\n{"a": 2}', "line 2, column 9"),
        ('[{"a": 1}\n {"a": 2}]', "line 2, column 2"),
        ('[{"a": "x', "line 1, column 8"),
        ('[{"a": 1}] x', "line 1, column 12"),
        (DEEP, "line 1, column 2"),
        (f'[{{"a": {DEEP}}}]', "line 1, column 2"),
    ],
)
def test_broken_file_is_refused_naming_the_place(tmp_path: Path, text: str, place: str) -> None:
    error = refusal(tmp_path, "a.json", text)
    assert "not valid JSON" in error.what
    assert error.where.endswith(place)


@pytest.mark.parametrize(("name", "text"), [("a.json", "[]"), ("a.ndjson", "\n")])
def test_no_records_are_no_rows(tmp_path: Path, name: str, text: str) -> None:
    assert read(tmp_path, name, text).types == {}
    one = read(tmp_path, name, text, columns={"a": "bigint"}, key=["id"])
    assert (one.types, one.rows) == ({"a": "BIGINT", "id": "VARCHAR"}, [])


def test_declared_column_that_no_record_has_is_null_unless_it_is_the_key(tmp_path: Path) -> None:
    one = read(tmp_path, "a.ndjson", '{"a": 1}', columns={"b": "bigint"})
    assert (one.types, one.rows) == ({"a": "VARCHAR", "b": "BIGINT"}, [("1", None)])
    error = refusal(tmp_path, "a.ndjson", '{"idd": 1}', key=["id"])
    assert "'id'" in error.what
    assert "idd" in error.next_step


def test_declared_nulls_are_null_and_their_text_is_kept_as_raw(tmp_path: Path) -> None:
    one = read(tmp_path, "a.ndjson", '{"a": "n/a", "b": ""}', nulls=["n/a"])
    assert (one.rows, one.raw) == ([(None, "")], {1: '{"a":"n/a","b":""}'})


@pytest.mark.parametrize(
    ("record", "what"),
    [
        ('{"_batch_id": 1}', "Clearwater's own"),
        ('{"": 1}', "no name"),
        ('{"a\\u0000": 1}', "NUL"),
        ("{}", "no record has a named value"),
    ],
)
def test_names_that_the_lake_cannot_hold_are_refused(
    tmp_path: Path, record: str, what: str
) -> None:
    assert what in refusal(tmp_path, "a.ndjson", record).what


@pytest.mark.parametrize("name", ["a.json", "a.ndjson"])
@pytest.mark.parametrize("rows", [1, 2, 20_000])
def test_names_that_differ_in_case_alone_are_one_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, rows: int
) -> None:
    monkeypatch.setattr(records, "BUFFER_ROWS", rows)
    text = '{"a": 1}\n{"A": 2, "b": null}\n{"a": null}\n{"A": null, "B": 4}\n{"A": 5}'
    one = read(tmp_path, name, text, columns={"B": "bigint", "c": "bigint"}, key=["A"])
    assert one.types == {"a": "VARCHAR", "b": "BIGINT", "c": "BIGINT"}
    assert [row[:2] for row in one.rows] == [
        ("1", None),
        ("2", None),
        (None, None),
        (None, 4),
        ("5", None),
    ]


def test_names_may_be_sql(tmp_path: Path) -> None:
    one = read(tmp_path, "a.json", '{"select \\"x\\"; --": 1, "it\'s": 2, "c0": 3}')
    assert one.rows == [("1", "2", "3")]


def test_records_of_more_names_than_a_table_holds_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MOST_COLUMNS", 3)
    text = "\n".join(f'{{"c{number}": 1}}' for number in range(4))
    assert "more than 3 different names" in refusal(tmp_path, "a.ndjson", text).what


NUMBERS = [
    *(
        "0",
        "7",
        "-0",
        "-12",
        "1.10",
        "1.1",
        "0.0",
        "1E5",
        "1e5",
        "1e22",
        "1e+22",
        "1e400",
        "-1e400",
    ),
    *("0.30000000000000003", "12345678901234567890123", "0.00001", "9007199254740993.0", "1e-400"),
    *("01", "1.", ".5", "+1", "NaN", "nan", "-Infinity", "inf", "0x1", "true", "false", "null"),
]
TEXTS = [
    *('""', '"x"', '"null"', '"1.10"', '"é"', '"\U0001f600"', r'"\u00e9"', r'"\ud83d\ude00"'),
    *(r'"\ud800"', r'"\u0000"', r'"\u001F\/"', r'"\""', r'"\\"', r'"\": 1,"', '": 1,"', '", 5}"'),
    *(
        '"[1.10, 2]"',
        '"{"',
        '"a: b, c"',
        r'"\", \"b\": \""',
        '", "',
        '"\x7f"',
        '"\x01"',
        '"\u2028"',
    ),
]
KEYS = [
    '"a"',
    '"A"',
    '"b"',
    '"c"',
    r'"\u0061"',
    '"a b"',
    '"a.b"',
    '"$"',
    '"it\'s"',
    r'"q\"q"',
    '"[0]"',
    '"/x~1"',
]
SPACES = st.sampled_from(["", "", "", " ", " ", "\t", "  ", "\f"])
SCALARS = st.sampled_from(NUMBERS + TEXTS)


@st.composite
def listed(draw: st.DrawFn, values: st.SearchStrategy[str], marks: str) -> str:
    """Values between the marks, with commas and spaces that are usual or not."""
    comma = draw(st.sampled_from([",", ", ", ", ", " , "]))
    end = draw(st.sampled_from(["", "", "", "", ",", " "]))
    return marks[0] + comma.join(draw(st.lists(values, max_size=3))) + end + marks[1]


@st.composite
def member(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    return draw(st.sampled_from(KEYS)) + draw(SPACES) + ":" + draw(SPACES) + draw(values)


NESTED = st.recursive(
    SCALARS, lambda inner: listed(inner, "[]") | listed(member(inner), "{}"), max_leaves=4
)
USUAL = st.builds('{{"a": {}, "b": {}, "c": {}}}'.format, SCALARS, SCALARS, NESTED)
RECORDS = USUAL | listed(member(NESTED), "{}") | listed(member(SCALARS), "{}")
HOSTILE = st.sampled_from(
    [
        *("", " ", "\f", "{}", "[]", "1", "null", '"a"', "{", '{"a": 1} {"a": 2}', "{'a': 1}"),
        *('{"a": 1}\r', ' {"a": 1} ', '{"a": 1}\v', '{"a": 1}\0', '{"a": 1}//', '\ufeff{"a": 1}'),
    ]
)
LINES = st.lists(
    (RECORDS | HOSTILE).map(str.encode) | st.just(b'{"a": "caf\xe9"}') | st.binary(max_size=6),
    max_size=8,
)


def told(one: Read | BatchRefusedError) -> Any:
    """All of a reading, in whatever order its columns are."""
    if isinstance(one, BatchRefusedError):
        return str(one)
    rows = [dict(zip(one.types, row, strict=True)) for row in one.rows]
    raw = {number: json.loads(text) for number, text in one.raw.items()}
    return one.types, rows, one.numbers, one.failed, one.torn, one.torn_raw, raw, one.lines


def reading(folder: Path, data: bytes, **entry: Any) -> Any:
    try:
        return told(read(folder, "a.ndjson", data, **entry))
    except BatchRefusedError as error:
        return told(error)


def in_python(_con: Any, _records: Any, lines: pa.Table) -> list[int]:
    """What stands in for the quick way: every line is left to Python."""
    return list(lines["_source_row"].to_pylist())


@given(lines=LINES, end=st.sampled_from([b"\n", b"\r\n"]), block=st.sampled_from([1, 50, 1 << 20]))
@example(lines=[b'{"a": 1.10, "b": "x", "c": [1.10, 2]}'] * 3, end=b"\n", block=1 << 20)
@example(lines=[b'{"a": -0, "b" : 9007199254740993.0, "c": 1e22}'], end=b"\n", block=1 << 20)
@example(lines=[b'{"a": 1e22, "b": ["]"], "c": 0.00001}'], end=b"\n", block=1 << 20)
@search(max_examples=max(search().max_examples, 20))
def test_quick_way_reads_what_python_reads(
    tmp_path: Path, lines: list[bytes], end: bytes, block: int
) -> None:
    data = end.join(lines)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ndjson, "BLOCK_BYTES", block)
        quick = reading(tmp_path, data)
        patched.setattr(ndjson, "_take_quickly", in_python)
        assert quick == reading(tmp_path, data)


@pytest.mark.parametrize(
    "lines",
    [
        ['{"a": 1, "b": "x"}'] * 3,
        ['{"a": 1.10, "b": "x"}', '{"b":"y","a":1E5}', '{"a":null}', '{"b": "\\u00e9 \\"q\\""}'],
        ['{"a": {"b": [1.1, "x", null]}}', '{"a": [1.5,{"b":"y"}]}'],
        ['{"it\'s \\"q\\"": 1, "a.b": 2, "$": 3}'],
    ],
)
def test_usual_lines_do_not_need_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    monkeypatch.setattr(ndjson, "_take_line", lambda _, line, *__: pytest.fail(line.decode()))
    one = read(tmp_path, "a.ndjson", "\n".join(lines))
    assert (one.numbers, one.torn) == (list(range(1, len(lines) + 1)), {})
