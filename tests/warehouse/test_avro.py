"""Avro: the file's own types and every record, or no batch at all."""

from __future__ import annotations

import datetime as dt
import json
import zlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from reading import read, refusal

from warehouse.readers import avro

Schema = dict[str, Any] | list[Any] | str


def written(folder: Path, values: list[Any], of: Schema, **options: Any) -> str:
    schema = {
        "type": "record",
        "name": "order",
        "namespace": "shop.v1",
        "fields": [{"name": "x", "type": of}],
    }
    with (folder / "a.avro").open("wb") as out:
        fastavro.writer(out, schema, [{"x": value} for value in values], **options)
    return "a.avro"


def logical(kind: str, of: str = "long", **more: Any) -> Schema:
    return {"type": of, "logicalType": kind, **more}


MONEY = logical("decimal", "bytes", precision=10, scale=2)
COLOUR = {"type": "enum", "name": "colour", "symbols": ["RED", "BLUE"]}
PAIR = {
    "type": "record",
    "name": "pair",
    "fields": [{"name": "a", "type": ["null", MONEY]}, {"name": "b", "type": COLOUR}],
}


@pytest.mark.parametrize(
    ("of", "value", "kept"),
    [
        ("int", -1, "INTEGER"),
        ("long", -(2**63), "BIGINT"),
        ("float", 1.5, "FLOAT"),
        ("double", 0.1, "DOUBLE"),
        ("boolean", True, "BOOLEAN"),
        ("string", "é\0'", "VARCHAR"),
        ("bytes", b"\0\xff", "BLOB"),
        (["null", "string"], None, "VARCHAR"),
        (["long"], 1, "BIGINT"),
        (COLOUR, "BLUE", "VARCHAR"),
        ({"type": "fixed", "name": "f", "size": 3}, b"abc", "BLOB"),
        ({"type": "array", "items": "int"}, [1, 2], "INTEGER[]"),
        ({"type": "array", "items": MONEY}, [Decimal("-0.05")], "DECIMAL(10,2)[]"),
        ({"type": "map", "values": "int"}, {"k": 1, "l": 2}, "MAP(VARCHAR, INTEGER)"),
        ({"type": "map", "values": MONEY}, {"k": Decimal("1.50")}, "MAP(VARCHAR, DECIMAL(10,2))"),
        (PAIR, {"a": Decimal("-1.50"), "b": "RED"}, "STRUCT(a DECIMAL(10,2), b VARCHAR)"),
        (PAIR, {"a": None, "b": "RED"}, "STRUCT(a DECIMAL(10,2), b VARCHAR)"),
        (["null", PAIR], None, "STRUCT(a DECIMAL(10,2), b VARCHAR)"),
        (logical("date", "int"), dt.date(9999, 12, 31), "DATE"),
        (logical("time-millis", "int"), dt.time(12, 0, 0, 123000), "TIME"),
        (logical("time-micros"), dt.time(12, 0, 0, 123456), "TIME"),
        (
            logical("local-timestamp-millis"),
            dt.datetime.fromisoformat("0001-01-01 00:00:00"),
            "TIMESTAMP",
        ),
        (
            logical("local-timestamp-micros"),
            dt.datetime.fromisoformat("2026-01-01 00:00:00.000001"),
            "TIMESTAMP",
        ),
        (logical("of-nobody"), 7, "BIGINT"),
        (logical("uuid", "string"), "00000000-0000-0000-0000-000000000005", "VARCHAR"),
    ],
)
def test_types_are_the_files_own(tmp_path: Path, of: Schema, value: Any, kept: str) -> None:
    one = read(tmp_path, written(tmp_path, [value], of))
    assert (one.types, one.rows) == ({"x": kept}, [(value,)])


@pytest.mark.parametrize("name", ["timestamp-millis", "timestamp-micros"])
def test_instants_are_utc(tmp_path: Path, name: str) -> None:
    at = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
    one = read(tmp_path, written(tmp_path, [at], logical(name)))
    assert (one.types, one.rows) == ({"x": "TIMESTAMP"}, [(at.replace(tzinfo=None),)])


@pytest.mark.parametrize("kind", ["bytes", "fixed"])
@pytest.mark.parametrize(
    ("precision", "scale", "texts"),
    [
        (10, 2, ["1.50", "-12345678.90", "0.00", "-0.01", "-1.28", "99999999.99"]),
        (5, 0, ["-1", "255", "0", "-99999"]),
        (38, 10, ["-1234567890123456789012345678.0123456789", "9" * 28 + "." + "9" * 10]),
        (4, 4, ["0.0001", "-0.9999"]),
    ],
)
def test_decimals_are_exact(
    tmp_path: Path, kind: str, precision: int, scale: int, texts: list[str]
) -> None:
    named = {"name": "d", "size": 16} if kind == "fixed" else {}
    of = logical("decimal", kind, precision=precision, scale=scale, **named)
    values = [Decimal(text) for text in texts]
    one = read(tmp_path, written(tmp_path, [*values, None], ["null", of]))
    assert one.types == {"x": f"DECIMAL({precision},{scale})"}
    assert one.rows == [*((value,) for value in values), (None,)]


def test_choice_of_types_becomes_text(tmp_path: Path) -> None:
    one = read(tmp_path, written(tmp_path, [None, 1, "x"], ["null", "int", "string"]))
    assert (one.types, one.rows) == ({"x": "VARCHAR"}, [(None,), ("1",), ("x",)])


def test_named_types_are_found_in_their_namespaces(tmp_path: Path) -> None:
    inner = {
        "type": "record",
        "name": "p",
        "namespace": "other",
        "fields": [{"name": "e", "type": COLOUR}, {"name": "f", "type": "colour"}],
    }
    of = {
        "type": "record",
        "name": "q",
        "fields": [{"name": "a", "type": inner}, {"name": "b", "type": ["null", "other.p"]}],
    }
    pair = {"e": "RED", "f": "BLUE"}
    one = read(tmp_path, written(tmp_path, [{"a": pair, "b": pair}], of))
    assert one.rows == [({"a": pair, "b": pair},)]


@pytest.mark.parametrize(
    ("of", "value", "what"),
    [
        (logical("decimal", "bytes", precision=50, scale=2), Decimal(1), "50 digits"),
        (
            {
                "type": "record",
                "name": "node",
                "fields": [{"name": "next", "type": ["null", "node"]}],
            },
            {"next": None},
            "holds itself",
        ),
        (["int", {"type": "map", "values": "int"}], {"a": 1}, "cannot be kept"),
    ],
)
def test_type_that_cannot_be_kept_is_refused(
    tmp_path: Path, of: Schema, value: Any, what: str
) -> None:
    assert what in refusal(tmp_path, written(tmp_path, [value], of)).what


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
def test_rows_are_numbered_in_the_files_order_over_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, codec: str
) -> None:
    monkeypatch.setattr(avro, "CHUNK_BYTES", 20_000)
    count = 20_000
    name = written(tmp_path, list(range(count)), "long", codec=codec, sync_interval=2000)
    one = read(tmp_path, name)
    assert one.rows == [(number,) for number in range(count)]
    assert one.numbers == list(range(1, count + 1))


def container(codec: str, block: bytes, count: int) -> bytes:
    """An Avro file of longs with one block."""
    schema = {"type": "record", "name": "r", "fields": [{"name": "x", "type": "long"}]}
    meta = {b"avro.schema": json.dumps(schema).encode(), b"avro.codec": codec.encode()}
    head = avro._written(len(meta)) + b"".join(
        avro._prefixed(key) + avro._prefixed(value) for key, value in meta.items()
    )
    sync = b"sixteen bytes ok"
    body = avro._written(count) + avro._prefixed(block)
    return avro.MAGIC + head + avro._written(0) + sync + body + sync


NUMBERS = b"".join(avro._written(number) for number in range(1000))


def test_snappy_and_zstandard_are_unpacked(tmp_path: Path) -> None:
    checksum = zlib.crc32(NUMBERS).to_bytes(4)
    snappy = pa.compress(NUMBERS, codec="snappy", asbytes=True)
    zstandard = pa.compress(NUMBERS, codec="zstd", asbytes=True)
    for codec, block in (("snappy", snappy + checksum), ("zstandard", zstandard)):
        one = read(tmp_path, "a.avro", container(codec, block, 1000))
        assert one.rows == [(number,) for number in range(1000)]
    damaged = container("snappy", snappy + bytes(4), 1000)
    assert "checksum" in refusal(tmp_path, "a.avro", damaged).what


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "does not begin as one"),
        (b"id,x\n1,2\n", "does not begin as one"),
        (container("lzo", NUMBERS, 1000), "codec 'lzo'"),
        (container("null", NUMBERS, 1001), "some are damaged"),
        (container("deflate", NUMBERS, 1000), "the block before byte"),
        (container("null", NUMBERS, 1000)[:-1], "ends too early"),
        (container("null", NUMBERS, 1000)[:-1] + b"!", "the block before byte"),
        (avro.MAGIC + b"\xff" * 20, "does not continue a number"),
    ],
)
def test_damaged_file_is_refused(tmp_path: Path, data: bytes, what: str) -> None:
    assert what in refusal(tmp_path, "a.avro", data).what


def test_no_part_of_a_file_passes_for_the_whole(tmp_path: Path) -> None:
    data = (tmp_path / written(tmp_path, list(range(300)), "long", sync_interval=100)).read_bytes()
    header_and_block_ends = 0
    for end in range(len(data)):
        (tmp_path / "b.avro").write_bytes(data[:end])
        with (tmp_path / "b.avro").open("rb") as handle:
            try:
                list(avro._Container.of(handle)._blocks())
            except (EOFError, ValueError):
                continue
        header_and_block_ends += 1
    # What ends behind a block is a whole file of fewer blocks: nothing in Avro tells.
    assert header_and_block_ends == data.count(data[-16:]) - 1


def test_no_records_keep_their_types(tmp_path: Path) -> None:
    one = read(tmp_path, written(tmp_path, [], "long"))
    assert (one.types, one.rows) == ({"x": "BIGINT"}, [])
