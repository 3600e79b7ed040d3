"""Small builds to audit, and settings below a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from warehouse.settings import Settings


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home", threads=1, memory_limit="500MiB")


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty database with the schemas of published tables and of one source."""
    with duckdb.connect(config={"threads": 2}) as con:
        for schema in ("marts", "features", "raw_shop"):
            con.execute(f"create schema {schema}")
        yield con


@pytest.fixture
def build(tmp_path):
    """Writes a build file from SQL statements; returns its path."""

    def write(*statements: str):
        path = tmp_path / "warehouse.duckdb"
        with duckdb.connect(str(path)) as con:
            con.execute("create schema if not exists marts")
            con.execute("create schema if not exists features")
            con.execute("create schema if not exists intermediate")
            for statement in statements:
                con.execute(statement)
        return path

    return write
