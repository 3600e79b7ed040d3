"""A line of releases that no gate holds: payments in, builds out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
from handmade import PAYMENTS, sources_file, write_csv
from released import release

from warehouse.build import Build, build, finish
from warehouse.ingest import land_sources, load_sources
from warehouse.lake import catalog_snapshot
from warehouse.releases import current, publish
from warehouse.settings import Settings
from warehouse.sources import load_sources as read_sources

PUBLISHED = (
    "marts.fct_transactions",
    "marts.dim_customers",
    "marts.dim_terminals",
    "marts.fct_daily_transactions",
    "features.feat_transactions__behaviour",
)


class Line:
    """Payments loaded by merge and built, release after release."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.files = 0

    def load(self, *batches: Sequence[Mapping[str, Any]]) -> None:
        """Each batch as a file of its own."""
        for rows in batches:
            self.files += 1
            write_csv(self.folder / f"payments{self.files:03}.csv", rows)
        file = sources_file(self.folder, PAYMENTS | {"write": "merge"})
        sources = read_sources(file, self.settings)
        summaries, _ = load_sources(
            self.settings, sources, land_sources(self.settings, sources), "a run"
        )
        assert not summaries["payments.transactions"].problems

    def build(self, *, full: bool = False) -> Build:
        """Build on the current release, or in full."""
        snapshot = catalog_snapshot(self.settings)
        return build(self.settings, current(self.settings), snapshot, full=full)

    def publish(self, built: Build) -> None:
        """Publish without a gate."""
        tables = finish(self.settings, built)
        made = release(
            built.id, code=built.code, tables=tables, lake_snapshot=built.lake_snapshot, features={}
        )
        publish(self.settings, built.folder, made)

    def differences(self, full: Build) -> dict[str, int]:
        """The rows that only one of the current release and a build has, by table."""
        finish(self.settings, full)
        with closing(duckdb.connect()) as con:
            con.execute(f"attach '{self.settings.current}/warehouse.duckdb' as a (read_only)")
            con.execute(f"attach '{self.settings.database(full.folder)}' as b (read_only)")
            return {table: _differing(con, table) for table in PUBLISHED}


def _differing(con: duckdb.DuckDBPyConnection, table: str) -> int:
    one, other = (
        f"(select columns(c -> c <> '_loaded_at') from {side}.{table})" for side in ("a", "b")
    )
    row = con.execute(
        f"select count(*) from (({one} except all {other}) union all ({other} except all {one}))"
    ).fetchone()
    assert row is not None
    return int(row[0])
