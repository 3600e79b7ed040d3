"""The published features of the handbook's payments, where its data are at hand."""

from __future__ import annotations

import re
import shutil
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest
from handmade import PAYMENTS, sources_file
from line import Line

from warehouse.ingest import land_sources, load_sources
from warehouse.settings import PROJECT, Settings
from warehouse.sources import load_sources as read_sources

HANDBOOK = PROJECT.parent / "shared" / "data" / "handbook"
DAYS = 12


@pytest.mark.skipif(not HANDBOOK.exists(), reason="the handbook's data are not at hand")
def test_first_days_agree_with_the_handbook(
    settings: Settings, tmp_path: Path, empty_lake: Path
) -> None:
    shutil.copytree(empty_lake, settings.home)
    line = Line(settings, tmp_path)
    load_days(settings, tmp_path)
    line.publish(line.build())
    names = published_names()
    assert len(names) == 14
    with closing(duckdb.connect()) as con:
        con.execute(f"attach '{settings.current}/warehouse.duckdb' as w (read_only)")
        con.execute("create view built as from w.features.feat_transactions__behaviour")
        wrong = {name: differing(con, name, published) for name, published in names.items()}
    assert wrong == dict.fromkeys(names, 0)


def load_days(settings: Settings, folder: Path) -> None:
    """Two files, the later days first."""
    with closing(duckdb.connect()) as con:
        for n, days in enumerate((f"between 5 and {DAYS - 1}", "< 5")):
            con.execute(
                f"copy (from '{HANDBOOK}/transactions.parquet' where TX_TIME_DAYS {days})"
                f" to '{folder}/payments{n}.parquet'"
            )
    entry = {key: PAYMENTS[key] for key in ("name", "key", "event_time")}
    file = sources_file(folder, entry | {"path": "payments*.parquet"})
    sources = read_sources(file, settings)
    load_sources(settings, sources, land_sources(settings, sources), "a run")


def published_names() -> dict[str, str]:
    """Our name of each published feature."""
    yaml = (PROJECT / "models/features/feat_transactions__behaviour.yml").read_text()
    found = re.findall(r"- name: (\w+)|published_name: (\w+)", yaml)
    return {ours: published for (ours, _), (_, published) in pairwise(found) if published}


def differing(con: duckdb.DuckDBPyConnection, name: str, published: str) -> int:
    """How many rows differ, by more than running sums may."""
    row = con.execute(
        f"select count(*) from built full join (from '{HANDBOOK}/features_until_2018-06-30.parquet'"
        " semi join built using (TRANSACTION_ID)) p using (TRANSACTION_ID)"
        f" where (abs({name}::double - p.{published}) < 1e-9) is not true"
    ).fetchone()
    assert row is not None
    return int(row[0])
