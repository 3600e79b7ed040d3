"""What a run tells of loads that do other than their source's owner may expect."""

from __future__ import annotations

from shop import Shop

REDEFINE = "what was loaded before stays as it is until `clearwater lake rebuild --redefine`"


def test_changed_key_is_told_once(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n")
    assert shop.send("id,amount\n2,2\n").changes == ()
    told = shop.send("id,amount\n3,3\n", key=["id", "amount"], write="merge").changes
    assert told == (
        f"orders.csv: `key` was id and is id, amount; {REDEFINE}",
        f"orders.csv: `write` was append and is merge; {REDEFINE}",
    )
    assert shop.send("id,amount\n4,4\n", key=["id", "amount"], write="merge").changes == ()


def test_corrected_file_without_a_key_is_told(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n", key=[])
    assert shop.send("id,amount\n2,1\n", "orders2.csv", key=[]).changes == ()
    (told,) = shop.send("id,amount\n1,1\n2,2\n", key=[]).changes
    assert told.startswith("orders.csv: came again with other content, and all its rows were added")
    assert len(shop.orders()) == 4
    shop.send("number\n1\n", "orders3.csv", key=[], columns={"id": "bigint"}, event_time="id")
    told = shop.send("id,amount\n1,1\n", "orders3.csv", key=[]).changes
    assert not any("came again" in text for text in told)  # nothing was loaded of it before
    assert shop.send("id,amount\n1,5\n", "orders2.csv", key=[], write="snapshot").changes == (
        f"orders2.csv: `write` was append and is snapshot; {REDEFINE}",
    )


def test_the_same_bytes_under_another_name_are_told(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n", "orders1.csv")
    summary = shop.send("id,amount\n1,1\n", "orders2.csv")
    assert summary.changes == ("orders2.csv: the very bytes of orders1.csv again",)
    assert len(shop.orders()) == 1
    (shop.folder / "orders1.csv").unlink()
    assert shop.load().changes == ()  # it was renamed
