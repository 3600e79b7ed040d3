"""Inputs of a size that would take the memory of a loader that is not careful."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq

from corpus.case import ORDERS, Case, Held

KEYED = {"columns": {"id": "bigint"}, "key": ["id"]}
LINE_BYTES = 200_000_000
BLOCK = b"x" * 1_000_000
COLUMNS, WIDEST = 10_000, 1_000
NAMES = ["id", *(f"c{n}" for n in range(1, COLUMNS))]
ROW = "1" + ",1" * (COLUMNS - 1)
BOMB_BYTES = (1 << 30) + (1 << 20)
DEEP = 1_000_000


def long_line(before: bytes, after: bytes) -> Callable[[Path], object]:
    """A file with a line of 200 MB between two texts."""

    def write(file: Path) -> None:
        with file.open("wb") as out:
            out.write(before)
            for _ in range(LINE_BYTES // len(BLOCK)):
                out.write(BLOCK)
            out.write(after)

    return write


def bomb(wbits: int) -> bytes:
    """A little more than 1 GiB of one row after a header, deflated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    block = b"1,1\n" * (1 << 18)
    packed = [packer.compress(b"id,amount\n")]
    packed += [packer.compress(block) for _ in range(BOMB_BYTES // len(block))]
    return b"".join([*packed, packer.flush()])


def zip_bomb(file: Path) -> None:
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.csv", "w", force_zip64=True) as member,
    ):
        for _ in range(BOMB_BYTES >> 20):
            member.write(b"1,1\n" * (1 << 18))


def zstd_bomb(file: Path) -> None:
    with pa.CompressedOutputStream(pa.OSFile(str(file), "wb"), "zstd") as out:
        for _ in range(BOMB_BYTES >> 20):
            out.write(b"1,1\n" * (1 << 18))


def wide_parquet(file: Path) -> None:
    pq.write_table(pa.table({name: [1, 2] for name in NAMES}), file)


def far_cell(file: Path) -> None:
    """A workbook of two cells, in the first and in the last of 17 billion places."""
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet["A1"], sheet["XFD1048576"] = "id", 1
    book.save(file)


def wide_json(row: dict[str, Any]) -> str:
    return "{" + ",".join(f'"{name}": {value}' for name, value in row.items()) + "}"


CASES = [
    Case(
        "CSV of a single line of 200 MB",
        {"a.csv": long_line(b"", b"")},
        ORDERS,
        refused="line 1 is longer than 8,388,608 bytes",
    ),
    Case(
        "CSV with a row of 200 MB",
        {"a.csv": long_line(b"id,name\n1,a\n2,", b"\n3,b\n")},
        KEYED,
        refused="line 3 is longer than 8,388,608 bytes",
    ),
    Case(
        "NDJSON with a line of 200 MB",
        {"a.ndjson": long_line(b'{"id": 1}\n{"id": 2, "name": "', b'"}\n{"id": 3}\n')},
        KEYED,
        loaded=2,
        held=(Held(2, 2, "torn_record", "longer than"),),
    ),
    Case(
        "JSON with a text of 200 MB",
        {"a.json": long_line(b'[{"id": 1, "name": "', b'"}]')},
        KEYED,
        refused="a value is longer than",
    ),
    Case(
        "XML with a text of 200 MB",
        {"a.xml": long_line(b"<rows><row><id>1</id><name>", b"</name></row></rows>")},
        {**KEYED, "record": "/rows/row"},
        refused="a record is longer than",
    ),
    Case(
        "CSV of 1,000 columns",
        {
            "a.csv": ",".join(NAMES[:WIDEST])
            + f"\n{ROW[: 2 * WIDEST - 1]}\n2\n3{ROW[1 : 2 * WIDEST - 1]}\n"
        },
        KEYED,
        loaded=2,
        held=(Held(2, 3, "torn_record", "missing columns"),),
    ),
    Case(
        "CSV of 10,000 columns",
        {"a.csv": ",".join(NAMES) + f"\n{ROW}\n"},
        KEYED,
        refused="it has 10,000 columns",
    ),
    Case(
        "Parquet of 10,000 columns",
        {"a.parquet": wide_parquet},
        {"key": ["id"]},
        refused="it has 10,000 columns",
    ),
    Case(
        "NDJSON of 10,000 columns",
        {"a.ndjson": wide_json(dict.fromkeys(NAMES, 1)) + "\n"},
        KEYED,
        refused="more than 1,990 different names",
    ),
    Case(
        "NDJSON of names that are values",
        {
            "a.ndjson": "".join(
                wide_json({"id": n} | {f"v{n}_{m}": 1 for m in range(500)}) + "\n"
                for n in range(60)
            )
        },
        KEYED,
        refused="more than 1,990 different names",
    ),
    Case(
        "CSV with 1,000,000 blank lines",
        {"a.csv": "id,amount\n1,1\n" + "\n" * 1_000_000 + "2\n3,3\n"},
        ORDERS,
        loaded=2,
        held=(Held(2, 1_000_003, "torn_record"),),
    ),
    Case(
        "JSON nested 1,000,000 deep",
        {"a.json": f'[{{"id": {"[" * DEEP}'},
        KEYED,
        refused="too deep",
    ),
    Case(
        "gzip bomb",
        {"a.csv.gz": lambda file: file.write_bytes(bomb(31))},
        ORDERS,
        refused="swell to more than",
    ),
    Case("zstd bomb", {"a.csv.zst": zstd_bomb}, ORDERS, refused="swell to more than"),
    Case("zip bomb", {"a.zip": zip_bomb}, ORDERS, refused="swell to more than"),
    Case(
        "Excel of 17 billion cells",
        {"a.xlsx": far_cell},
        KEYED,
        refused="cannot be read within 1 GiB",
    ),
]
