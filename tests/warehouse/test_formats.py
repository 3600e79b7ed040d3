"""Every format: random tables written by other programs come back equal."""

from __future__ import annotations

import csv
import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

import fastavro
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as search
from hypothesis import strategies as st
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE
from pyarrow import orc
from reading import read
from shop import Shop

from warehouse.readers import contract

EXAMPLES = max(search().max_examples // 2, 5)
COLUMNS = {
    "text": "varchar",
    "count": "bigint",
    "price": "decimal(18,4)",
    "ratio": "double",
    "day": "date",
    "at": "timestamp",
    "ok": "boolean",
}
ARROW = pa.schema(
    [
        ("text", pa.string()),
        ("count", pa.int64()),
        ("price", pa.decimal128(18, 4)),
        ("ratio", pa.float64()),
        ("day", pa.date32()),
        ("at", pa.timestamp("us")),
        ("ok", pa.bool_()),
    ]
)
AVRO = {
    "text": "string",
    "count": "long",
    "price": {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 4},
    "ratio": "double",
    "day": {"type": "int", "logicalType": "date"},
    "at": {"type": "long", "logicalType": "local-timestamp-micros"},
    "ok": "boolean",
}
Row = dict[str, Any]
# XML and Excel cannot hold control characters; XML reads a carriage return as a line end.
PRINTABLE = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")
TEXT = st.text(PRINTABLE | st.sampled_from("\"'<>&,;\n\t\\"), max_size=8)
# Excel's days begin in 1900, the nanoseconds of ORC end in 2262.
TIMES = st.datetimes(
    dt.datetime.fromisoformat("1901-01-01"), dt.datetime.fromisoformat("2261-12-31")
)


def optional(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "text": optional(TEXT.filter(bool)),  # an empty text is null in CSV, XML and Excel
            "count": optional(st.integers(-(2**63), 2**63 - 1)),
            "price": optional(st.decimals(-(10**13), 10**13, places=4)),
            "ratio": optional(st.floats(allow_nan=False, allow_infinity=False)),
            "day": optional(st.dates(dt.date(1901, 1, 1), dt.date(2261, 12, 31))),
            "at": optional(TIMES),
            "ok": optional(st.booleans()),
        }
    )
    .map(lambda row: {name: row[name] for name in COLUMNS})
    .filter(lambda row: any(value is not None for value in row.values())),
    min_size=1,
    max_size=5,
)


def shown(value: Any) -> str:
    """The value as text formats hold it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def as_json(row: Row) -> str:
    """Numbers as numbers, with all of their digits."""
    fields = []
    for name, value in row.items():
        bare = value is None or isinstance(value, (int, float, Decimal))
        text = "null" if value is None else shown(value)
        fields.append(f"{json.dumps(name)}: {text if bare else json.dumps(text)}")
    return "{" + ", ".join(fields) + "}"


def write_csv(file: Path, rows: list[Row]) -> None:
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(COLUMNS)
        texts = [["" if v is None else shown(v) for v in row.values()] for row in rows]
        writer.writerows(texts)


def write_json(file: Path, rows: list[Row]) -> None:
    file.write_text(f"[{', '.join(map(as_json, rows))}]", encoding="utf-8")


def write_ndjson(file: Path, rows: list[Row]) -> None:
    file.write_text("\n".join(map(as_json, rows)), encoding="utf-8")


def write_xml(file: Path, rows: list[Row]) -> None:
    root = Element("rows")
    for row in rows:
        record = SubElement(root, "row")
        for name, value in row.items():
            if value is not None:
                SubElement(record, name).text = shown(value)
    file.write_bytes(tostring(root, encoding="utf-8"))


def write_parquet(file: Path, rows: list[Row]) -> None:
    pq.write_table(pa.Table.from_pylist(rows, schema=ARROW), file)


def write_orc(file: Path, rows: list[Row]) -> None:
    orc.write_table(pa.Table.from_pylist(rows, schema=ARROW), file)


def write_avro(file: Path, rows: list[Row]) -> None:
    fields = [{"name": name, "type": ["null", of]} for name, of in AVRO.items()]
    with file.open("wb") as out:
        fastavro.writer(out, {"type": "record", "name": "row", "fields": fields}, rows)


WRITERS = {
    "a.csv": write_csv,
    "a.json": write_json,
    "a.ndjson": write_ndjson,
    "a.xml": write_xml,
    "a.parquet": write_parquet,
    "a.orc": write_orc,
    "a.avro": write_avro,
}
CARRY_TYPES = ("a.parquet", "a.orc", "a.avro")


def read_back(folder: Path, name: str) -> list[Row]:
    """The rows as they were read; none of them may have been torn or have failed."""
    record = {"record": "/rows/row"} if name == "a.xml" else {}
    one = read(folder, name, **record, columns={} if name in CARRY_TYPES else COLUMNS)
    assert (one.torn, one.failed) == ({}, {})
    return [dict(zip(one.types, row, strict=True)) for row in one.rows]


@pytest.mark.parametrize("name", WRITERS)
@given(rows=ROWS)
@search(max_examples=EXAMPLES)
def test_tables_come_back_equal(tmp_path: Path, name: str, rows: list[Row]) -> None:
    WRITERS[name](tmp_path / name, rows)
    assert read_back(tmp_path, name) == rows


@pytest.mark.parametrize("name", WRITERS)
def test_file_of_every_format_reaches_the_lake(shop: Shop, name: str) -> None:
    rows: list[Row] = [
        {
            "text": f"row {number}",
            "count": number,
            "price": Decimal("1.5000"),
            "ratio": 0.5,
            "day": dt.date(2026, 1, 31),
            "at": dt.datetime.fromisoformat("2026-01-31 12:00:00"),
            "ok": True,
        }
        for number in (1, 2)
    ]
    WRITERS[name](shop.folder / name, rows)
    changes = {"record": "/rows/row"} if name == "a.xml" else {}
    shop.load(path=name, columns={} if name in CARRY_TYPES else COLUMNS, key=["count"], **changes)
    assert [row[:6] for row in shop.orders()] == [tuple(row.values())[:6] for row in rows]


def exact_in_excel(row: Row) -> Row:
    """What a cell can hold: 15 digits, milliseconds, and no text that is a formula or an error."""
    text, at, ratio = row["text"], row["at"], row["ratio"]
    if text is not None:
        text = ILLEGAL_CHARACTERS_RE.sub("", text).lstrip("=#") or None
    return row | {
        "text": text,
        "count": None if row["count"] is None else row["count"] % 10**15,
        "price": None if row["price"] is None else row["price"] % 10**9,
        # openpyxl writes 16 digits, which the largest doubles overflow.
        "ratio": None if ratio is None else float(f"{max(-1e300, min(ratio, 1e300)):.15g}"),
        "at": None if at is None else at.replace(microsecond=at.microsecond // 1000 * 1000),
    }


@given(rows=ROWS)
@search(max_examples=EXAMPLES)
def test_tables_come_back_equal_from_excel(tmp_path: Path, rows: list[Row]) -> None:
    kept = [row | {"ok": row["ok"] or False} for row in map(exact_in_excel, rows)]
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(list(COLUMNS))
    for row in kept:
        sheet.append(list(row.values()))
    book.save(tmp_path / "a.xlsx")
    assert read_back(tmp_path, "a.xlsx") == kept


@pytest.mark.parametrize("name", ["a.json", "a.ndjson"])
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
@search(max_examples=EXAMPLES)
def test_any_text_comes_back_from_json(tmp_path: Path, name: str, text: str) -> None:
    one = read(tmp_path, name, json.dumps({"a": text, "b": [text]}, ensure_ascii=False))
    assert one.rows[0][0] == text
    assert json.loads(one.rows[0][1]) == [text]


def test_typed_file_of_records_is_taken_as_it_is(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "STAGED_BYTES", 1)
    (shop.folder / "a.ndjson").write_text('{"id": 1, "price": 1.10}\n{"id": 2, "price": 2}\n')
    shop.load(path="a.ndjson", columns={"id": "bigint"}, key=["id"])
    assert [row[:2] for row in shop.orders()] == [(1, "1.10"), (2, "2")]
    assert len(list(shop.settings.lake_data.rglob("*.parquet"))) == 1
