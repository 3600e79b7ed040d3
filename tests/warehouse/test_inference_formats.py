"""What is inferred of formats that the loader's own readers read: records, sheets, types."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import openpyxl
import pyarrow as pa
import pytest
from pyarrow import orc

from warehouse.errors import ClearwaterError
from warehouse.inference import Inferred, infer
from warehouse.inference.files import workspace
from warehouse.settings import Settings

START = datetime(2024, 3, 1, 8, tzinfo=UTC)
Look = Callable[..., Inferred]


@pytest.fixture
def look(settings: Settings, tmp_path: Path) -> Look:
    """Looks at files after writing the texts or bytes to them."""

    def look(name: str = "shop.orders", **contents: str | bytes) -> Inferred:
        files = []
        for file_name, content in contents.items():
            file = tmp_path / ".".join(file_name.rsplit("_", 1))
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
            files.append(file)
        return infer(settings, files, name)

    return look


def types(found: Inferred) -> dict[str, str]:
    return {column.name: column.type for column in found.columns}


def moment(n: int) -> datetime:
    return (START + timedelta(minutes=37 * n)).replace(tzinfo=None)


def products(count: int = 60) -> list[dict[str, Any]]:
    return [
        {
            "product_id": 1000 + n,
            "price": n * 1.25,
            "stock": None if n % 9 == 0 else n,
            "rating": "" if n % 2 else 4.5,
            "tags": ["a", "b"][: n % 3],
            "is_new": n % 4 == 0,
            "listed_at": f"{moment(n).isoformat()}Z",
        }
        for n in range(count)
    ]


PRODUCT_TYPES = {
    "product_id": "bigint",
    "price": "decimal(18,2)",
    "stock": "bigint",
    "rating": "double",
    "tags": "varchar",
    "is_new": "boolean",
    "listed_at": "timestamp",
}


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (json.dumps(products()), {}),
        (json.dumps(products(), indent=2), {}),
        ("\n".join(map(json.dumps, products())), {}),
        (
            json.dumps({"page": 1, "data": {"w": [{}], "items": products()}}),
            {"record": "data.items"},
        ),
        (
            json.dumps({"products": products(), "meta": {"tags": ["x"] * 99}}),
            {"record": "products"},
        ),
        (json.dumps({"a.b": products(70), "rows": products()}), {"record": "rows"}),
    ],
    ids=["array", "indented", "concatenated", "nested", "beside", "dotted"],
)
def test_where_the_records_of_json_are(look: Look, text: str, options: dict[str, str]) -> None:
    found = look("shop.products", a_json=text)
    assert types(found) == PRODUCT_TYPES
    assert found.options == options | {"nulls": [""]}
    assert (found.key, found.row_count) == (("product_id",), 60)


def test_an_object_that_is_a_record_itself(look: Look) -> None:
    order = {"order_id": 1, "items": [{"sku": "a"}, {"sku": "b"}]}
    found = look(a_json=json.dumps(order), b_json=json.dumps(order | {"order_id": 2}))
    assert (types(found), found.options) == ({"order_id": "bigint", "items": "varchar"}, {})
    found = look(c_json=json.dumps({"items": [{"sku": "a"}], "id": 1}))
    assert list(types(found)) == ["items", "id"]


def test_ndjson_with_torn_lines_and_a_new_name(look: Look) -> None:
    rows = [json.dumps(product) for product in products()]
    last = json.dumps(products()[0] | {"product_id": 1, "colour": "red"})
    found = look("shop.products", a_ndjson="\n".join([*rows, "{broken", last]))
    assert types(found) == PRODUCT_TYPES | {"colour": "varchar"}
    assert (found.row_count, found.columns[-1].null_count) == (61, 60)
    (warning,) = found.warnings
    assert "1 record cannot be read and will go to the quarantine, such as record 61" in warning


def test_json_in_another_encoding(look: Look) -> None:
    rows = [{"id": n, "city": "Köln", "note": "größer"} for n in range(60)]
    found = look(a_json=json.dumps(rows, ensure_ascii=False).encode("cp1252"))
    assert found.options == {"encoding": "cp1252"}
    assert found.columns[1].values == ("Köln",)


def orders_xml(count: int, extra: str = "") -> str:
    orders = "".join(
        f'<order id="{n}"><placed_on>{moment(n * 9).date()}</placed_on><total>{n}.50</total>'
        '<item sku="a"/><item sku="b"/></order>'
        for n in range(count)
    )
    return (
        f'<shop xmlns="http://shop/1"><v n="1"/><v n="2"/>{extra}<orders>{orders}</orders></shop>'
    )


def test_the_repeated_elements_of_xml(look: Look) -> None:
    found = look(a_xml=orders_xml(60), b_xml=orders_xml(3).replace('id="', 'id="9'))
    assert found.options == {"record": "/shop/orders/order"}
    assert list(types(found).values()) == ["bigint", "date", "decimal(18,2)", "varchar"]
    assert (found.key, found.event_time, found.row_count) == (("id",), "placed_on", 63)
    found = look(one_xml="<a><b><id>1</id></b></a>")
    assert (found.options, types(found)) == ({"record": "/a/b"}, {"id": "bigint"})


def workbook(tmp_path: Path, sheets: dict[str, list[list[Any]]]) -> bytes:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    file = tmp_path / "made.xlsx"
    book.save(file)
    return file.read_bytes()


READINGS = [[n, moment(n), n * 1.5, "x" if n % 7 else None] for n in range(60)]
NAMES = ["reading_id", "read_at", "Temp (°C)", "note"]


@pytest.mark.parametrize(
    ("sheets", "options"),
    [
        ({"A": [NAMES, *READINGS]}, {}),
        ({"A": [["Weather 2024"], [], ["by", "me"], NAMES, *READINGS]}, {"range": "A4:D"}),
        ({"Read me": [["Notes"], ["a", "b"]], "B": [NAMES, *READINGS]}, {"sheet": "B"}),
        ({"A": [[None, *NAMES], *([n, *r] for n, r in enumerate(READINGS))]}, {"range": "B1:E"}),
        ({"A": [[None, *NAMES], *([None, *r] for r in READINGS)]}, {}),
    ],
    ids=["plain", "titles", "second", "numbered", "indented"],
)
def test_where_the_table_of_a_workbook_is(
    look: Look, tmp_path: Path, sheets: dict[str, list[list[Any]]], options: dict[str, str]
) -> None:
    found = look("met.readings", a_xlsx=workbook(tmp_path, sheets))
    assert found.options == options
    kinds = ["bigint", "timestamp", "double", "varchar"]
    assert types(found) == dict(zip(NAMES, kinds, strict=True))
    assert (found.key, found.event_time, found.row_count) == (("reading_id",), "read_at", 60)


def test_a_sheet_without_a_header_and_two_with_tables(look: Look, tmp_path: Path) -> None:
    content = workbook(tmp_path, {"A": READINGS, "B": [NAMES, *READINGS]})
    found = look("met.readings", a_xlsx=content)
    assert found.options == {"header": False}
    assert list(types(found)) == ["column_1", "column_2", "column_3", "column_4"]
    assert "another source can take 'B'" in " ".join(found.warnings)


def test_a_column_without_a_name_loses_nothing(look: Look, tmp_path: Path) -> None:
    rows = [["id", None, "total"], *([n, f"c{n}", n * 2] for n in range(60))]
    found = look(a_xlsx=workbook(tmp_path, {"A": rows}))
    assert found.options == {"header": False, "range": "A2:C"}
    assert (types(found)["column_2"], found.row_count) == ("varchar", 60)
    assert "column B has values but no name" in " ".join(found.warnings)


def test_files_that_are_laid_out_otherwise_are_left_out(look: Look, tmp_path: Path) -> None:
    plain = workbook(tmp_path, {"A": [NAMES, *READINGS]})
    titled = workbook(tmp_path, {"A": [["Title"], NAMES, *READINGS]})
    found = look("met.readings", a_xlsx=plain, b_xlsx=plain, c_xlsx=titled)
    assert (found.file_count, found.options) == (2, {})
    assert "1 of 3 files are laid out in another way and were left out: c.xlsx" in found.warnings[0]


def test_a_later_workbook_with_a_column_more(look: Look, tmp_path: Path) -> None:
    titled = [["Title"], NAMES, *READINGS]
    more = [
        ["Title"],
        [*NAMES, "wind"],
        *([n + 60, *row, 5] for n, (_, *row) in enumerate(READINGS)),
    ]
    found = look(
        "met.readings",
        a_xlsx=workbook(tmp_path, {"A": titled}),
        b_xlsx=workbook(tmp_path, {"A": more}),
    )
    assert (found.file_count, found.row_count, found.options) == (2, 120, {"range": "A2:E"})
    assert types(found)["wind"] == "bigint"
    assert "not every file has wind: null there" in found.warnings
    assert (found.key, found.write) == (("reading_id",), "append")


def test_avro_and_orc_keep_their_types(settings: Settings, tmp_path: Path) -> None:
    fields = [
        {"name": "trip_id", "type": "long"},
        {"name": "picked_up_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {
            "name": "fare",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        },
    ]
    schema = fastavro.parse_schema({"type": "record", "name": "trip", "fields": fields})
    for part in (1, 2):
        trips = [
            {"trip_id": part * 100 + n, "picked_up_at": START, "fare": Decimal(n)}
            for n in range(60)
        ]
        with (tmp_path / f"{part}.avro").open("wb") as handle:
            fastavro.writer(handle, schema, trips)
    found = infer(settings, sorted(tmp_path.glob("*.avro")), "taxi.trips")
    assert list(types(found).values()) == ["bigint", "timestamp", "decimal(9,2)"]
    assert (found.format, found.key, found.row_count) == ("avro", ("trip_id",), 120)
    table = pa.table({"id": range(60), "measured_at": [moment(n) for n in range(60)]})
    orc.write_table(table, tmp_path / "a.orc")
    found = infer(settings, [tmp_path / "a.orc"], "iot.readings")
    assert types(found) == {"id": "bigint", "measured_at": "timestamp_ns"}
    assert (found.key, found.event_time) == (("id",), "measured_at")


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ({"a_json": ""}, "the file is empty"),
        ({"a_json": '[{"id": 1}, {"id": }]'}, "not valid JSON"),
        ({"a_json": "[]"}, "no record has a named value"),
        ({"a_json": '[{"_loaded_at": 1}]'}, "Clearwater's own"),
        ({"a_xml": "<a><b></a>"}, "not a readable XML file"),
        ({"a_xlsx": b"PK no workbook"}, "not a readable workbook"),
        ({"a_avro": b"Obj\x01"}, "not a readable Avro file"),
        ({"a_orc": b"ORC"}, "not a readable ORC file"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value[:20],
)
def test_what_cannot_be_read_is_said(
    look: Look, contents: dict[str, str | bytes], message: str
) -> None:
    with pytest.raises(ClearwaterError, match=message) as raised:
        look(**contents)
    assert raised.value.where
    assert raised.value.next_step
    assert "landing" not in str(raised.value)


@pytest.mark.slow
def test_very_many_columns_stay_text(look: Look) -> None:
    names = ",".join(f"c{n}" for n in range(2001))
    rows = "\n".join(",".join([str(row)] * 2001) for row in range(3))
    found = look(wide_csv=f"{names}\n{rows}\n")
    assert set(types(found).values()) == {"varchar"}
    assert "2,001 columns are too many" in " ".join(found.warnings)


def test_workspaces_of_processes_that_died_are_swept(settings: Settings) -> None:
    with workspace(settings, "inference") as mine:
        assert mine.name == f"inference-{os.getpid()}"
        dead, alive = mine.with_name("inference-4194305"), mine.with_name("inference-1")
        dead.mkdir()
        alive.mkdir()
        with workspace(settings, "downloaded"):
            assert dead.exists()
    with workspace(settings, "inference"):
        assert not dead.exists()
        assert alive.exists()
    shutil.rmtree(alive)
    assert not list(settings.tmp.glob("*-*"))
