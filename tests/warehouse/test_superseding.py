"""Under merge the newest file's word stands, in whichever order files come to be loaded."""

from __future__ import annotations

import zipfile
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import pytest
from handmade import sources_file
from hypothesis import given
from hypothesis import strategies as st
from shop import ORDERS, Connection, Shop

from warehouse import lake, landing, quarantine, replaying
from warehouse.batch import Counts
from warehouse.landing import arrivals, content_path
from warehouse.quarantine import Chosen
from warehouse.settings import Settings
from warehouse.sources import load_sources

FROZEN = {"write": "merge", "tolerance": 0}
WIDE = {"write": "merge", "columns": {"id": "bigint", "amount": "varchar"}}
FILES = st.lists(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from("1122x")), min_size=1, max_size=3),
    min_size=2,
    max_size=4,
)


@pytest.fixture(autouse=True)
def one_duckdb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "connect", Connection)


def text(rows: list[tuple[int, str]]) -> str:
    return "id,amount\n" + "".join(f"{key},{amount}\n" for key, amount in rows)


def replay(shop: Shop, **entry: Any) -> list[replaying.Mended]:
    sources = load_sources(sources_file(shop.folder, ORDERS | entry), shop.settings)
    return replaying.replay(shop.settings, sources, Chosen("shop.orders"), "a replay")


def test_refused_batch_does_not_undo_what_a_newer_file_said_again(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n2,2\n", "orders1.csv", **FROZEN)
    assert shop.send("id,amount\n1,2\n2,x\n3,3\n", "orders2.csv", **FROZEN).problems
    shop.send("id,amount\n1,1\n", "orders3.csv", **FROZEN)
    counts = shop.load(**WIDE).counts
    assert counts == Counts(rows_in=3, loaded=2, quarantined=1)
    assert shop.orders() == [(1, "1"), (2, "x"), (3, "3")]
    assert [row[:2] for row in shop.quarantine()] == [(1, "superseded")]


def test_correction_stands_that_came_after_the_clock_was_set_back(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.send("id,amount\n1,1\n2,2\n", "orders1.csv", write="merge")

    class Earlier(datetime):
        @classmethod
        def now(cls, zone: tzinfo | None = None) -> Self:
            return super().now(zone) - timedelta(days=2)

    monkeypatch.setattr(landing, "datetime", Earlier)
    shop.send("id,amount\n1,5\n", "orders2.csv", write="merge")
    shop.send("id,amount\n2,7\n", "orders3.csv", write="merge")
    assert shop.orders() == [(1, 5.0), (2, 7.0)]
    assert shop.quarantine() == []
    came = arrivals(shop.settings)
    assert [landed.original_name for landed in came] == [f"orders{n}.csv" for n in (1, 2, 3)]


def test_row_out_of_quarantine_does_not_undo_it_either(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n", "orders1.csv", write="merge")
    shop.send("id,amount\n1,x\n2,2\n", "orders2.csv", write="merge")
    shop.send("id,amount\n1,1\n2,2\n", "orders3.csv", write="merge")
    assert [done.counts.loaded for done in replay(shop, **WIDE)] == [0]
    assert shop.orders() == [(1, "1"), (2, "2")]
    assert [row[:2] for row in shop.quarantine()] == [(1, "superseded")]


def test_what_cannot_be_told_is_not_guessed(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n", "orders1.csv", write="merge")
    shop.send("id,amount\n1,x\n2,2\n", "orders2.csv", write="merge")
    shop.send("id,amount\n1,1\n2,2\n", "orders3.csv", write="merge")
    content_path(shop.settings, arrivals(shop.settings)[-1].sha256).unlink()
    (done,) = replay(shop, **WIDE)
    assert "a newer file, orders3.csv, may have the same keys" in str(done.problem)
    assert shop.orders() == [(1, 1.0), (2, 2.0)]


def test_file_ten_comes_after_file_nine(shop: Shop) -> None:
    for number in (10, 9, 8):
        shop.put(f"id,amount\n1,{number}\n", f"orders{number}.csv")
    shop.load(write="merge")
    assert shop.orders() == [(1, 10.0)]


@pytest.mark.slow
@given(files=FILES)
def test_order_of_loading_does_not_matter(files: list[list[tuple[int, str]]]) -> None:
    """Files with a bad value are refused at first, and loaded when the type is mended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lake, "connect", Connection)
        patch.setattr(quarantine, "connect", Connection)
        states = []
        for first in (FROZEN, WIDE):
            with TemporaryDirectory() as folder:
                shop = Shop(Settings(Path(folder) / "home", 2, "1GiB"), Path(folder) / "shop")
                for number, rows in enumerate(files):
                    # A row of its own keeps equal content from being one arrival.
                    shop.send(text(rows) + f"{9 + number},0\n", f"orders{number}.csv", **first)
                shop.send("id,amount\n99,x\n", "orders9.csv", **WIDE)
                states.append(shop.orders())
        assert states[0] == states[1]


def test_members_of_one_zip_are_in_order(shop: Shop) -> None:
    """A member that says again what the lake knows is not newer than one that comes after it."""
    shop.send("id,amount\n1,1\n", "orders0.csv", write="merge")
    with zipfile.ZipFile(shop.folder / "orders1.zip", "w") as archive:
        archive.writestr("9.csv", "id,amount\n1,1\n")
        archive.writestr("10.csv", "id,amount\n1,5\n")
    shop.load(write="merge")
    assert shop.orders() == [(1, 5.0)]
    assert shop.quarantine() == []
