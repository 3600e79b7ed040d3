"""ORC: the file's own types, or no batch at all."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import orc
from reading import read, refusal


def written(folder: Path, values: list[Any], of: pa.DataType, **options: Any) -> str:
    orc.write_table(pa.table({"x": pa.array(values, of)}), folder / "a.orc", **options)
    return "a.orc"


@pytest.mark.parametrize(
    ("of", "value", "kept"),
    [
        (pa.int8(), -1, "TINYINT"),
        (pa.int64(), 2**63 - 1, "BIGINT"),
        (pa.float64(), 0.1, "DOUBLE"),
        (pa.bool_(), True, "BOOLEAN"),
        (pa.string(), "é\0", "VARCHAR"),
        (pa.binary(), b"\0\xff", "BLOB"),
        (pa.date32(), dt.date(9999, 12, 31), "DATE"),
        (pa.decimal128(38, 10), Decimal("-1234567890123456789012345678.0123456789"), None),
        (
            pa.timestamp("us"),
            dt.datetime.fromisoformat("1960-01-31 12:00:00.000005"),
            "TIMESTAMP_NS",
        ),
        (pa.list_(pa.int64()), [1, None], "BIGINT[]"),
        (pa.struct({"a": pa.int32()}), {"a": 1}, "STRUCT(a INTEGER)"),
        (pa.map_(pa.string(), pa.int64()), {"a": 1}, "MAP(VARCHAR, BIGINT)"),
    ],
)
def test_types_are_the_files_own(
    tmp_path: Path, of: pa.DataType, value: Any, kept: str | None
) -> None:
    given = [*value.items()] if pa.types.is_map(of) else value
    one = read(tmp_path, written(tmp_path, [given, None], of))
    assert one.types == {"x": kept or "DECIMAL(38,10)"}
    assert one.rows == [(value,), (None,)]


def test_times_of_a_zone_are_kept(tmp_path: Path) -> None:
    at = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
    one = read(tmp_path, written(tmp_path, [at], pa.timestamp("us", tz="UTC")))
    assert one.types == {"x": "TIMESTAMP WITH TIME ZONE"}
    assert one.raw == {1: '{"x":"2026-01-31 12:00:00+00"}'}


def test_rows_are_numbered_in_the_files_order_over_stripes(tmp_path: Path) -> None:
    count = 200_000
    one = read(tmp_path, written(tmp_path, list(range(count)), pa.int64(), stripe_size=1 << 16))
    assert one.rows == [(number,) for number in range(count)]
    assert one.numbers == list(range(1, count + 1))


def test_no_rows_keep_their_types(tmp_path: Path) -> None:
    one = read(tmp_path, written(tmp_path, [], pa.int64()))
    assert (one.types, one.rows) == ({"x": "BIGINT"}, [])


def test_time_beyond_nanoseconds_is_refused(tmp_path: Path) -> None:
    name = written(tmp_path, [dt.datetime.fromisoformat("3000-01-01 00:00:00")], pa.timestamp("s"))
    assert "out of range" in refusal(tmp_path, name).what


def test_nanoseconds_of_a_zone_are_not_cut(tmp_path: Path) -> None:
    name = written(tmp_path, [1], pa.timestamp("ns", tz="UTC"))
    assert "would lose data" in refusal(tmp_path, name).what


@pytest.mark.parametrize("data", [b"", b"ORC", b"id,x\n1,2\n", b"ORC" + bytes(100)])
def test_file_that_is_no_orc_is_refused(tmp_path: Path, data: bytes) -> None:
    assert "not a readable ORC file" in refusal(tmp_path, "a.orc", data).what


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_part_of_a_file_is_refused(tmp_path: Path, part: float) -> None:
    data = (tmp_path / written(tmp_path, list(range(1000)), pa.int64())).read_bytes()
    refusal(tmp_path, "b.orc", data[: int(len(data) * part)])


def test_declared_column_that_is_missing_is_named(tmp_path: Path) -> None:
    assert "'id'" in refusal(tmp_path, written(tmp_path, [1], pa.int64()), key=["id"]).what
