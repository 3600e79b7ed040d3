"""Parquet, Avro and ORC: cut, damaged, empty, of odd types and names, or something else."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import orc

from corpus.case import Case, Held

KEY = {"key": ["id"]}
BIG = 2**63 - 1


def parquet(**columns: Any) -> Callable[[Path], object]:
    """A file with these columns."""
    return lambda file: pq.write_table(pa.table(columns), file)


def bytes_of(write: Callable[[Any, Any], object], **columns: Any) -> bytes:
    out = io.BytesIO()
    write(pa.table(columns), out)
    return out.getvalue()


PARQUET = bytes_of(pq.write_table, id=list(range(1, 1001)), name=[f"n{n}" for n in range(1000)])
ORC = bytes_of(orc.write_table, id=list(range(1, 1001)), name=[f"n{n}" for n in range(1000)])


def damaged_page(file: Path) -> None:
    """A file whose pages are noise behind a footer that is whole."""
    content = bytearray(PARQUET)
    content[4:1500] = bytes(range(256)) * 5 + bytes(216)
    file.write_bytes(content)


def no_row_group(file: Path) -> None:
    pq.ParquetWriter(file, pa.schema([("id", pa.int64())])).close()


def twice(file: Path) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["id", "id"])
    pq.write_table(table, file)


def no_unicode(file: Path) -> None:
    """A column of texts that holds bytes which are none."""
    ends, text = pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")
    pq.write_table(pa.table({"id": [1], "x": pa.StringArray.from_buffers(1, ends, text)}), file)


def no_columns(file: Path) -> None:
    pq.write_table(pa.table({}), file)


def avro(*fields: tuple[str, Any], rows: list[dict[str, Any]], **more: Any) -> bytes:
    out = io.BytesIO()
    named = [{"name": name, "type": of} for name, of in fields]
    fastavro.writer(out, {"type": "record", "name": "r", "fields": named}, rows, **more)
    return out.getvalue()


ROWS = [{"id": n, "name": f"n{n}"} for n in range(1000)]
AVRO = avro(("id", "long"), ("name", "string"), rows=ROWS, codec="deflate")
NESTED = pa.array([{"a": [1, None], "b": {"c": "x"}}, None])
ENUM = pa.array(["x", None, "x"]).dictionary_encode()
CHAIN = {"type": "record", "name": "r", "fields": [{"name": "next", "type": ["null", "r"]}]}


def endless(file: Path) -> None:
    """A schema that holds itself."""
    with file.open("wb") as out:
        fastavro.writer(out, CHAIN, [{"next": {"next": None}}])


def overlong(file: Path) -> None:
    """A block that tells a length of 2^60 bytes."""
    empty = avro(("id", "long"), rows=[])
    file.write_bytes(empty + b"\x02" + b"\x80" * 8 + b"\x20")


CASES = [
    Case("Parquet of no bytes", {"a.parquet": b""}, refused="not a readable Parquet file"),
    Case(
        "CSV called Parquet",
        {"a.parquet": "id,amount\n1,1.5\n2,2.5\n3,3.5\n"},
        refused="not a readable Parquet file",
    ),
    Case(
        "Parquet with half a footer",
        {"a.parquet": PARQUET[:-200]},
        refused="not a readable Parquet file",
    ),
    Case(
        "Parquet that ends before its footer",
        {"a.parquet": PARQUET[:900]},
        refused="not a readable Parquet file",
    ),
    Case(
        "Parquet with a footer of 4 GiB",
        {"a.parquet": PARQUET[:-8] + b"\xff\xff\xff\xffPAR1"},
        refused="not a readable Parquet file",
    ),
    Case(
        "Parquet with damaged pages",
        {"a.parquet": damaged_page},
        KEY,
        refused="cannot be read to its end",
        refused_rows=1_000,
    ),
    Case(
        "Parquet that says it is encrypted",
        {"a.parquet": PARQUET[:-4] + b"PARE"},
        refused="not a readable Parquet file",
    ),
    Case("Parquet without a row group", {"a.parquet": no_row_group}, KEY, rows=[]),
    Case(
        "Parquet without a column", {"a.parquet": no_columns}, refused="not a readable Parquet file"
    ),
    Case("Parquet with a name twice", {"a.parquet": twice}, refused="stands twice"),
    Case(
        "Parquet with names that differ in case alone",
        {"a.parquet": parquet(id=[1], ID=[2])},
        refused="stands twice",
    ),
    Case(
        "Parquet with an empty name",
        {"a.parquet": parquet(**{"id": [1], "": [2]})},
        refused="no name",
    ),
    Case(
        "Parquet with names of SQL, quotes and emojis",
        {
            "a.parquet": parquet(
                **{"select": [1], 'a"b': [2], "'; drop table x; --": [3], "🙂\n": [4]}
            )
        },
        loaded=1,
        rows=[(1, 2, 3, 4)],
    ),
    Case(
        "Parquet with a column of our own name",
        {"a.parquet": parquet(id=[1], _loaded_at=[2])},
        refused="'_loaded_at' is Clearwater's own",
    ),
    Case(
        "Parquet with a column file_row_number",
        {"a.parquet": parquet(id=[7, 8], file_row_number=[70, 80])},
        KEY,
        refused="'file_row_number' is DuckDB's own",
    ),
    Case(
        "Parquet with a column filename",
        {"a.parquet": parquet(id=[7], filename=["x"])},
        KEY,
        loaded=1,
        rows=[(7, "x")],
    ),
    Case(
        "Parquet with nested values",
        {"a.parquet": parquet(id=[1, 2], n=NESTED)},
        KEY,
        loaded=2,
        rows=[(1, {"a": [1, None], "b": {"c": "x"}}), (2, None)],
    ),
    Case(
        "Parquet with an enumeration and a column of nulls alone",
        {"a.parquet": parquet(id=[1, 2, 3], e=ENUM, n=pa.nulls(3))},
        KEY,
        loaded=3,
        rows=[(1, "x", None), (2, None, None), (3, "x", None)],
    ),
    Case(
        "Parquet with decimals of 76 digits",
        {"a.parquet": parquet(id=[1], d=pa.array([Decimal(10**70)], pa.decimal256(76, 2)))},
        KEY,
        refused="the column 'd' has decimals of 76 digits",
    ),
    Case(
        "Parquet with unsigned integers past 63 bits",
        {"a.parquet": parquet(id=[1], n=pa.array([2**64 - 1], pa.uint64()))},
        KEY,
        loaded=1,
        rows=[(1, 2**64 - 1)],
    ),
    Case(
        "Parquet with NaN, infinities and minus zero",
        {"a.parquet": parquet(id=[1, 2, 3], x=[float("inf"), float("-inf"), -0.0])},
        KEY,
        loaded=3,
        rows=[(1, float("inf")), (2, float("-inf")), (3, -0.0)],
    ),
    Case(
        "Parquet with keys that are null",
        {"a.parquet": parquet(id=[1, None, 3, 1])},
        KEY,
        loaded=2,
        known=1,
        held=(Held(2, None, "key_missing"),),
    ),
    Case(
        "Parquet with times in nanoseconds, of a zone and far away",
        {
            "a.parquet": parquet(
                id=[1],
                ns=pa.array([1], pa.timestamp("ns")),
                tz=pa.array([1_000], pa.timestamp("ns", tz="Asia/Kolkata")),
                far=pa.array([-(2**55)], pa.timestamp("us")),
                t=pa.array([dt.time(23, 59, 59, 999999)]),
            )
        },
        KEY,
        loaded=1,
    ),
    Case(
        "Parquet with instants in nanoseconds that microseconds do not hold",
        {"a.parquet": parquet(id=[1], at=pa.array([1], pa.timestamp("ns", tz="UTC")))},
        KEY,
        refused="the column 'at' has times in nanoseconds",
    ),
    Case(
        "Parquet with times of day in nanoseconds that microseconds do not hold",
        {"a.parquet": parquet(id=[1], at=pa.array([1], pa.time64("ns")))},
        KEY,
        refused="the column 'at' has times in nanoseconds",
    ),
    Case(
        "Parquet with text that is not UTF-8",
        {"a.parquet": no_unicode},
        KEY,
        refused="not valid UTF8",
        refused_rows=1,
    ),
    Case(
        "Parquet files of other types and columns",
        {
            "1.parquet": parquet(id=[1], x=pa.array([1], pa.int32())),
            "2.parquet": parquet(id=[2], x=pa.array([BIG], pa.int64()), y=["new"]),
            "3.parquet": parquet(id=[3], x=["text"]),
        },
        KEY,
        loaded=3,
        rows=[(1, None, "1"), (2, "new", str(BIG)), (3, None, "text")],
    ),
    Case("Avro of no bytes", {"a.avro": b""}, refused="not a readable Avro file"),
    Case("CSV called Avro", {"a.avro": "id,amount\n1,1\n"}, refused="does not begin as one"),
    Case("Avro that is cut", {"a.avro": AVRO[:-25]}, refused="ends too early"),
    Case(
        "Avro with a damaged block",
        {"a.avro": AVRO[:2000] + b"\xff" * 20 + AVRO[2020:]},
        refused="are damaged",
    ),
    Case("Avro with a block of 2^60 bytes", {"a.avro": overlong}, refused="tells a length"),
    Case("Avro of a schema that holds itself", {"a.avro": endless}, refused="holds itself"),
    Case("Avro without records", {"a.avro": avro(("id", "long"), rows=[])}, KEY, rows=[]),
    Case(
        "Avro files of other schemas",
        {
            "1.avro": avro(("id", "int"), ("x", "int"), rows=[{"id": 1, "x": 1}]),
            "2.avro": avro(
                ("id", "long"), ("y", ["null", "string"]), rows=[{"id": BIG, "y": None}]
            ),
            "3.avro": avro(("id", "long"), ("x", "string"), rows=[{"id": 3, "x": "three"}]),
        },
        KEY,
        loaded=3,
        rows=[(1, None, "1"), (BIG, None, None), (3, None, "three")],
    ),
    Case(
        "Avro with keys that are null",
        {"a.avro": avro(("id", ["null", "long"]), rows=[{"id": 1}, {"id": None}, {"id": 1}])},
        KEY,
        loaded=1,
        known=1,
        held=(Held(2, None, "key_missing"),),
    ),
    Case("ORC of no bytes", {"a.orc": b""}, refused="not a readable ORC file"),
    Case("CSV called ORC", {"a.orc": "id,amount\n1,1\n"}, refused="not a readable ORC file"),
    Case("ORC that is cut", {"a.orc": ORC[:-40]}, refused="not a readable ORC file"),
    Case(
        "ORC with damaged stripes",
        {"a.orc": ORC[:50] + bytes(1500) + ORC[1550:]},
        refused="ORC file",
    ),
    Case(
        "ORC without rows",
        {"a.orc": bytes_of(orc.write_table, id=pa.array([], pa.int64()))},
        KEY,
        rows=[],
    ),
    Case(
        "ORC with a time in the year 9999",
        {
            "a.orc": bytes_of(
                orc.write_table, id=[1], at=pa.array([dt.datetime.fromisoformat("9999-01-01")])
            )
        },
        KEY,
        refused="ORC file",
    ),
    Case(
        "ORC with nested values and names of SQL",
        {"a.orc": bytes_of(orc.write_table, **{"id": [1, 2], 'n"; --': NESTED})},
        KEY,
        loaded=2,
        rows=[(1, {"a": [1, None], "b": {"c": "x"}}), (2, None)],
    ),
    Case(
        "ORC with a column of our own name",
        {"a.orc": bytes_of(orc.write_table, id=[1], _source_row=[2])},
        refused="'_source_row' is Clearwater's own",
    ),
]
