"""Parquet: the file's own types, or no batch at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
from handmade import write_parquet

from warehouse.errors import BatchRefusedError
from warehouse.readers import parquet
from warehouse.readers.contract import Opened
from warehouse.sources import Source

ORDERS = "select 1::integer as id, 'x' as note union all select 2, null"


def read(file: Path, **entry: Any) -> tuple[dict[str, str], list[tuple[Any, ...]]]:
    source = Source(name="shop.orders", path="a.parquet", **entry)
    with duckdb.connect() as con:
        columns = parquet.read(con, source, Opened(file, "a.parquet", "a.parquet", file.parent))
        rows = con.execute("select * from incoming order by _source_row").fetchall()
    return {column.name: column.type for column in columns}, rows


def refusal(file: Path) -> BatchRefusedError:
    with pytest.raises(BatchRefusedError) as caught:
        read(file)
    assert caught.value.where == "shop.orders: a.parquet"
    return caught.value


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("1::smallint", "SMALLINT"),
        ("1::ubigint", "UBIGINT"),
        ("1.50::decimal(9,2)", "DECIMAL(9,2)"),
        ("0.5::float", "FLOAT"),
        ("timestamp '2026-01-31 12:00:00'", "TIMESTAMP"),
        ("timestamptz '2026-01-31 12:00:00+02'", "TIMESTAMP WITH TIME ZONE"),
        ("date '2026-01-31'", "DATE"),
        ("true", "BOOLEAN"),
        ("'x'::blob", "BLOB"),
        ("[1, 2]", "INTEGER[]"),
        ("{'a': 1}", "STRUCT(a INTEGER)"),
        ("'x'::enum('x', 'y')", "VARCHAR"),
    ],
)
def test_types_are_the_files_own(tmp_path: Path, value: str, kept: str) -> None:
    types, _ = read(write_parquet(tmp_path / "a.parquet", f"select {value} as x"))
    assert types == {"x": kept}


def test_rows_are_numbered_in_the_files_order(tmp_path: Path) -> None:
    _, rows = read(write_parquet(tmp_path / "a.parquet", ORDERS))
    assert rows == [(1, "x", 1, None), (2, None, 2, None)]


def test_no_rows_are_a_batch_of_none(tmp_path: Path) -> None:
    types, rows = read(write_parquet(tmp_path / "a.parquet", f"from ({ORDERS}) limit 0"))
    assert (list(types), rows) == (["id", "note"], [])


@pytest.mark.parametrize("content", [b"", b"junk", b"PAR1", b"PAR1" + bytes(100) + b"PAR1"])
def test_junk_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(content)
    assert "not a readable Parquet file" in refusal(tmp_path / "a.parquet").what


@pytest.mark.parametrize("lost", [1, 20, 300])
def test_half_a_file_is_refused(tmp_path: Path, lost: int) -> None:
    file = write_parquet(tmp_path / "a.parquet", ORDERS)
    file.write_bytes(file.read_bytes()[:-lost])
    refusal(file)


def test_column_of_ours_is_refused(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", "select 1 as _source_row")
    assert "_source_row" in refusal(file).what


def test_column_named_like_duckdbs_own_is_refused_by_name(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", "select 7 as file_row_number")
    assert "file_row_number" in refusal(file).what


def test_folder_names_are_no_columns(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "day=1" / "a.parquet", ORDERS)
    assert list(read(file)[0]) == ["id", "note"]


def test_key_that_is_not_there_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(BatchRefusedError, match=r"'idd'.*\n.*'id'"):
        read(write_parquet(tmp_path / "a.parquet", ORDERS), key=("idd",))
