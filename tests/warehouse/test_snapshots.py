"""`write: snapshot`: the lake becomes what the newest file says, and remembers what it was."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shop import Connection, Shop

from warehouse import lake
from warehouse.batch import Counts
from warehouse.settings import Settings

SNAPSHOT = {"write": "snapshot"}
KEYLESS = {"write": "snapshot", "key": [], "columns": {"id": "bigint", "amount": "double"}}
ROWS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2)), min_size=1, max_size=8)


def text(rows: list[tuple[Any, ...]]) -> str:
    return "id,amount\n" + "".join(f"{a},{b}\n" for a, b in rows)


def test_differences_are_all_that_is_written(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n2,2\n3,3\n", **SNAPSHOT)
    counts = shop.send("id,amount\n2,2\n3,30\n4,4\n", **SNAPSHOT).counts
    assert counts == Counts(rows_in=3, loaded=2, already_known=1, deleted=1)
    assert shop.orders() == [(2, 2.0), (3, 30.0), (4, 4.0)]


def test_history_is_kept(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n", **SNAPSHOT)
    (((before,),),) = shop.ask("select max(snapshot_id) from lake.snapshots()")
    shop.send("id,amount\n2,2\n", **SNAPSHOT)
    assert shop.orders() == [(2, 2.0)]
    assert shop.orders(at=before) == [(1, 1.0)]


def test_row_whose_new_state_is_quarantined_stays(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n2,2\n", **SNAPSHOT)
    shop.send("id,amount\n1,x\n2,2\n3,3\n", **SNAPSHOT)
    assert shop.orders() == [(1, 1.0), (2, 2.0), (3, 3.0)]
    assert [row[:2] for row in shop.quarantine()] == [(1, "not_of_type")]


def test_state_that_comes_back_is_news(shop: Shop) -> None:
    for rows in ("1,1\n", "2,2\n", "1,1\n"):
        shop.send("id,amount\n" + rows, **SNAPSHOT)
    assert shop.orders() == [(1, 1.0)]


def test_state_that_comes_back_under_another_name_is_news(shop: Shop) -> None:
    for day, rows in enumerate(("1,1\n2,1\n", "1,2\n", "1,1\n2,1\n")):
        shop.send("id,amount\n" + rows, f"orders-{day}.csv", **SNAPSHOT)
    assert shop.orders() == [(1, 1.0), (2, 1.0)]
    assert shop.load(**SNAPSHOT).counts == Counts()


def test_renamed_snapshot_is_no_news(shop: Shop) -> None:
    old = shop.put("id,amount\n1,1\n", "orders-1.csv")
    shop.load(**SNAPSHOT)
    shop.send("id,amount\n1,2\n", "orders-2.csv", **SNAPSHOT)
    old.rename(shop.folder / "orders-old.csv")
    assert shop.load(**SNAPSHOT).counts == Counts()
    assert shop.orders() == [(1, 2.0)]


@pytest.mark.parametrize("entry", [SNAPSHOT, KEYLESS])
def test_empty_snapshot_deletes_nothing(shop: Shop, entry: dict[str, Any]) -> None:
    shop.send("id,amount\n1,1\n", **entry)
    (problem,) = shop.send("id,amount\n", **entry).problems
    assert "would delete all of the table, 1 row" in problem
    assert shop.orders() == [(1, 1.0)]


def test_equal_rows_without_a_key_count(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n1,1\n1,1\n2,\n", **KEYLESS)
    counts = shop.send("id,amount\n2,\n1,1\n1,1\n3,3\n", **KEYLESS).counts
    assert counts == Counts(rows_in=4, loaded=1, already_known=3, deleted=1)
    assert shop.orders() == [(1, 1.0), (1, 1.0), (2, None), (3, 3.0)]


@pytest.mark.slow
@given(states=st.lists(ROWS, min_size=1, max_size=4), keyed=st.booleans())
def test_the_lake_is_the_newest_state(
    states: list[list[tuple[int, int]]],
    keyed: bool,
    empty_lake: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lake, "connect", Connection)
    with TemporaryDirectory() as folder:
        shutil.copytree(empty_lake, Path(folder) / "home")
        shop = Shop(Settings(Path(folder) / "home", 2, "1GiB"), Path(folder) / "shop")
        for rows in states:
            counts = shop.send(text(rows), **(SNAPSHOT if keyed else KEYLESS)).counts
            assert counts.loaded + counts.already_known + counts.quarantined == counts.rows_in
        newest = dict(states[-1]).items() if keyed else states[-1]
        assert shop.orders() == sorted((a, float(b)) for a, b in newest)


@pytest.mark.parametrize("entry", [SNAPSHOT, KEYLESS, {"write": "merge"}])
def test_column_that_a_file_lacks_is_null_in_each_of_its_rows(
    shop: Shop, entry: dict[str, Any]
) -> None:
    shop.send("id,amount,note\n1,1,a\n2,2,b\n3,3,\n", **entry)
    counts = shop.send("id,amount\n1,1\n2,20\n3,3\n", **entry).counts
    assert (counts.loaded, counts.already_known) == (2, 1)
    assert shop.orders() == [(1, 1.0, None), (2, 20.0, None), (3, 3.0, None)]
