"""What waits for a person: rows in quarantine, and refused files that still stand."""

from __future__ import annotations

import shutil

import pytest
from shop import Shop

from warehouse import duck
from warehouse.lake import writing
from warehouse.lock import writer_lock
from warehouse.quarantine import Chosen, drop
from warehouse.settings import Settings
from warehouse.waiting import Held, Refused, Waiting, waiting

BAD = "number,amount\n1,1\n"


def refused_files(shop: Shop) -> list[str]:
    return [batch.file for batch in waiting(shop.settings).refused]


def test_nothing_waits_without_a_lake_or_after_a_clean_load(shop: Shop, settings: Settings) -> None:
    assert waiting(Settings(settings.home / "none", 1, "1GiB")) == Waiting()
    shop.send("id,amount\n1,2\n")
    assert waiting(shop.settings) == Waiting()


def test_rows_wait_by_file_and_reason_until_they_are_given_up(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n2,x\n3,y\n1,5\n", "orders1.csv")
    shop.send("id,amount\n4,1\n\n5,z\n", "orders2.csv")
    found = waiting(shop.settings)
    assert found.held == (
        Held(
            *("shop.orders", "orders1.csv", "key_conflict", 1, 5),
            "the key stands in row 1 with other values of amount",
            1,
        ),
        Held(
            *("shop.orders", "orders1.csv", "not_of_type", 2, 3),
            "not of the type of the column: amount",
            2,
        ),
        Held(
            *("shop.orders", "orders2.csv", "not_of_type", 1, 4),
            "not of the type of the column: amount",
            1,
        ),
    )
    assert found.rows == {"shop.orders": 4}
    with writer_lock(shop.settings):
        drop(shop.settings, Chosen("shop.orders", reason="not_of_type"))
    assert waiting(shop.settings).rows == {"shop.orders": 1}


def test_refused_file_waits_while_it_stands(shop: Shop) -> None:
    file = shop.put(BAD, "orders1.csv")
    shop.send(BAD.replace("1", "2"), "orders2.csv")
    (first, _) = waiting(shop.settings).refused
    assert first == Refused(
        "shop.orders", "orders1.csv", "the column 'id' that sources.yml names is not in the file"
    )
    file.rename(shop.folder / "orders9.csv")
    shop.load()
    assert refused_files(shop) == ["orders1.csv", "orders2.csv"]  # by the name that it came with
    (shop.folder / "orders9.csv").unlink()
    shop.load()
    assert refused_files(shop) == ["orders2.csv"]


def test_refused_file_that_was_corrected_in_its_place_waits_no_more(shop: Shop) -> None:
    shop.send(BAD)
    shop.send(BAD.replace("1,1", "1,2"))
    assert refused_files(shop) == ["orders.csv"]
    shop.send("id,amount\n1,1\n")
    assert refused_files(shop) == []


def test_file_of_the_same_name_in_another_folder_hides_no_refusal(shop: Shop) -> None:
    for name, text in (("a", BAD), ("b", "id,amount\n1,1\n")):
        (shop.folder / name).mkdir()
        (shop.folder / name / "orders.csv").write_text(text)
    shop.load(path="*/orders.csv")
    assert refused_files(shop) == ["orders.csv"]


def test_it_is_told_while_another_writes(shop: Shop) -> None:
    shop.send("id,amount\n1,x\n2,2\n")
    with writer_lock(shop.settings), writing(shop.settings) as con:
        con.execute("begin")
        con.execute("delete from lake.meta.quarantine")
        assert waiting(shop.settings).rows == {"shop.orders": 1}
        con.execute("rollback")


def test_lake_that_is_gone_is_told(shop: Shop) -> None:
    shop.send("id,amount\n1,x\n2,2\n")
    shutil.rmtree(shop.settings.lake_catalog.parent)
    assert waiting(shop.settings).problem == "the lake is gone, though landing knows of loads"


def test_lake_that_cannot_be_read_is_told(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.send("id,amount\n1,x\n2,2\n")
    monkeypatch.setattr(duck, "LAKE_EXTENSIONS", ("not_there",))
    problem = waiting(shop.settings).problem
    assert problem is not None
    assert "extension not_there" in problem
