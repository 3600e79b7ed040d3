"""A shop that sends files: one source, and the lake that they go to."""

from __future__ import annotations

from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
from handmade import sources_file

from warehouse.duck import attach_lake, load_extensions
from warehouse.ingest import SourceSummary, land_sources, load_sources
from warehouse.settings import Settings
from warehouse.sources import load_sources as read_sources

ORDERS: dict[str, Any] = {
    "name": "shop.orders",
    "path": "orders*",
    "columns": {"id": "bigint", "amount": "double"},
    "key": ["id"],
}


@cache
def instance() -> duckdb.DuckDBPyConnection:
    """One DuckDB for all: loading DuckLake takes longer than loading a small batch."""
    con = duckdb.connect(config={"threads": 2})
    load_extensions(con)
    return con


class Connection:
    """A connection of its own to the one DuckDB, which lets go of the lake at the end."""

    def __init__(self, *_: Any) -> None:
        self._con = instance().cursor()
        self._con.execute("set TimeZone = 'UTC'")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._con, name)

    def close(self) -> None:
        self._con.execute("detach database if exists lake")
        self._con.close()


class Shop:
    """One source, its files in a folder of their own, and the lake that they go to."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        folder.mkdir()

    def put(self, text: str, name: str = "orders.csv") -> Path:
        """A file of the shop, in the place of one of the same name."""
        file = self.folder / name
        file.write_text(text)
        return file

    def load(self, **changes: Any) -> SourceSummary:
        """Land and load what stands in the folder, with changes to the source's entry."""
        return self.load_all(ORDERS | changes)["shop.orders"]

    def load_all(self, *entries: dict[str, Any]) -> dict[str, SourceSummary]:
        """Land and load several sources."""
        sources = read_sources(sources_file(self.folder, *entries), self.settings)
        landed = land_sources(self.settings, sources)
        return load_sources(self.settings, sources, landed, "a run")[0]

    def send(self, text: str, name: str = "orders.csv", **changes: Any) -> SourceSummary:
        """Put one file and load."""
        self.put(text, name)
        return self.load(**changes)

    def ask(self, *queries: str, at: int | None = None) -> list[list[tuple[Any, ...]]]:
        """The rows of each query on the lake."""
        with closing(Connection()) as con:
            attach_lake(con, self.settings, snapshot=at)
            return [con.execute(query).fetchall() for query in queries]

    def orders(self, at: int | None = None) -> list[tuple[Any, ...]]:
        """The loaded orders, without where they came from."""
        own = "_batch_id, _source_file, _source_row, _loaded_at"
        (rows,) = self.ask(f"select * exclude ({own}) from {TABLE} order by all", at=at)
        return rows

    def quarantine(self) -> list[tuple[Any, ...]]:
        """Row number, reason and detail of every quarantined row."""
        sql = "select _source_row, reason, detail from lake.meta.quarantine order by all"
        (rows,) = self.ask(sql)
        return rows


TABLE = "lake.raw_shop.orders"
