"""What arrived last, by the lake's ledger."""

from __future__ import annotations

import shutil
from pathlib import Path

from shop import ORDERS, Shop

from warehouse.arrived import NEWEST_FILES, arrivals
from warehouse.settings import Settings
from warehouse.waiting import Waiting, waiting_and


def test_the_newest_files_of_each_source_come_first(shop: Shop) -> None:
    for n in range(NEWEST_FILES + 2):
        shop.send(f"id,amount\n{n},1\n{n + 100},2\n", f"orders{n}.csv")
    shop.put("id\n1\n", "visits.csv")
    shop.put('id,amount\n1,"torn', "orders9.csv")
    shop.load_all(ORDERS, {"name": "shop.visits", "path": "visits.csv"})
    _, (orders, visits) = waiting_and(shop.settings, arrivals, ())
    assert (orders.source, orders.table) == ("shop.orders", "raw_shop.orders")
    assert (orders.batches, orders.rows) == (7, 14)
    assert [file.file for file in orders.newest] == [f"orders{n}.csv" for n in (6, 5, 4, 3, 2)]
    assert {(file.rows, file.loaded) for file in orders.newest} == {(2, 2)}
    assert orders.arrived_at == orders.newest[0].arrived_at < visits.arrived_at
    assert (visits.batches, visits.rows, len(visits.newest)) == (1, 1, 1)


def test_nothing_arrived_at_an_empty_lake_or_none(settings: Settings, empty_lake: Path) -> None:
    assert waiting_and(settings, arrivals, ()) == (Waiting(), ())
    shutil.copytree(empty_lake, settings.home)
    assert waiting_and(settings, arrivals, ()) == (Waiting(), ())


def test_a_lake_that_cannot_be_read_is_told_once(settings: Settings) -> None:
    settings.lake_catalog.parent.mkdir(parents=True)
    settings.lake_catalog.write_bytes(b"no catalog")
    waits, arrived = waiting_and(settings, arrivals, ())
    assert waits.problem
    assert arrived == ()
