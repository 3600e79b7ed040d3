"""The lake through time: snapshots by number and by moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from shop import TABLE, Shop

from warehouse.errors import LakeError
from warehouse.lake import catalog_snapshot, raw_tables, snapshot_at
from warehouse.query import open_lake, run_query
from warehouse.settings import Settings


def count(shop: Shop, at: str | None = None) -> int:
    with open_lake(shop.settings, at) as con:
        row = run_query(con, f"select count(*) from {TABLE}", on_lake=True).fetchone()
    assert row is not None
    return int(row[0])


def test_lake_is_queried_as_of_a_snapshot_and_a_time(shop: Shop) -> None:
    shop.send("id,amount\n1,2\n")
    first, moment = catalog_snapshot(shop.settings), datetime.now(UTC)
    shop.send("id,amount\n2,2\n3,3\n")
    ahead = timezone_ahead(moment)
    assert [count(shop, at) for at in (str(first), moment.isoformat(), ahead, None)] == [1, 1, 1, 3]


def timezone_ahead(moment: datetime) -> str:
    """The same moment as a clock with an offset tells it."""
    return f"{(moment + timedelta(hours=2)).replace(tzinfo=None).isoformat()}+02:00"


def test_time_without_offset_is_utc(shop: Shop) -> None:
    shop.send("id,amount\n1,2\n")
    now = datetime.now(UTC).replace(tzinfo=None)
    assert snapshot_at(shop.settings, now.isoformat()) == catalog_snapshot(shop.settings)


def test_time_before_the_lake_is_an_error(shop: Shop) -> None:
    with pytest.raises(LakeError, match="did not exist at 2001-01-01"):
        snapshot_at(shop.settings, "2001-01-01")


def test_no_time_at_all_is_an_error(shop: Shop) -> None:
    with pytest.raises(LakeError, match=r"'yesterday'.*\n.*ISO|yesterday"):
        snapshot_at(shop.settings, "yesterday")


def test_tables_are_known_from_the_snapshot_on(shop: Shop) -> None:
    before = catalog_snapshot(shop.settings)
    shop.send("id,amount\n1,2\n")
    assert raw_tables(shop.settings, before) == set()
    newest = catalog_snapshot(shop.settings)
    assert raw_tables(shop.settings, newest) == {("raw_shop", "orders")}


def test_moved_home_takes_its_lake_along(shop: Shop) -> None:
    shop.send("id,amount\n1,2\n")
    moved = shop.settings.home.with_name("moved")
    shop.settings.home.rename(moved)
    shop.settings = Settings(moved, threads=2, memory_limit="1GiB")
    assert count(shop) == 1
    assert shop.send("id,amount\n2,2\n").counts.loaded == 1


def test_no_lake_is_an_error_that_makes_none(settings: Settings) -> None:
    with pytest.raises(LakeError, match="there is no lake yet"), open_lake(settings):
        pass
    assert not settings.home.exists()
