"""What the tests of readers share: one file read through its reader alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from warehouse.errors import BatchRefusedError
from warehouse.readers import reader_for
from warehouse.readers.contract import Opened
from warehouse.sources import Source


@dataclass
class Read:
    """What the reader left; rows without their numbers and without what failed of them."""

    types: dict[str, str]
    rows: list[tuple[Any, ...]]
    numbers: list[int]
    failed: dict[int, str]
    torn: dict[int, str]
    torn_raw: dict[int, str]
    raw: dict[int, str]
    lines: dict[int, int]


def pairs(con: duckdb.DuckDBPyConnection, select: str) -> dict[Any, Any]:
    return dict(con.execute(select).fetchall())


def read(folder: Path, name: str, data: str | bytes | None = None, **entry: Any) -> Read:
    """Read the file `name` in the folder, after writing `data` to it if there is any."""
    file = folder / name
    if data is not None:
        file.write_bytes(data if isinstance(data, bytes) else data.encode())
    work = folder / "work"
    work.mkdir(exist_ok=True)
    source = Source(name="shop.orders", path=name, **entry)
    opened = Opened(file, name, name, work)
    reader = reader_for(source, opened)
    with duckdb.connect(config={"threads": 2}) as con:
        con.execute("set TimeZone = 'UTC'")
        columns = reader.read(con, source, opened)
        rows = con.execute("select * exclude _failed from incoming order by _source_row").fetchall()
        numbers = [row[-1] for row in rows]
        torn = pairs(con, "select _source_row, detail from rejected")
        every = [*numbers, *torn]
        return Read(
            types={column.name: column.type for column in columns},
            rows=[row[:-1] for row in rows],
            numbers=numbers,
            failed=pairs(
                con, "select _source_row, _failed from incoming where _failed is not null"
            ),
            torn=torn,
            torn_raw=pairs(con, "select _source_row, raw from rejected"),
            raw=pairs(con, "select _source_row, raw from incoming_raw"),
            lines=reader.lines(source, opened, every, len(every)) if reader.lines else {},
        )


def refusal(
    folder: Path, name: str, data: str | bytes | None = None, **entry: Any
) -> BatchRefusedError:
    with pytest.raises(BatchRefusedError) as caught:
        read(folder, name, data, **entry)
    assert caught.value.where.startswith(f"shop.orders: {name}")
    assert caught.value.next_step
    return caught.value
