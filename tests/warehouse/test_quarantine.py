"""The quarantine: rows judged again are loaded exactly once; rows given up stay given up."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from typing import Any

import pytest
from handmade import sources_file
from shop import ORDERS, TABLE, Connection, Shop

from warehouse import quarantine, replaying
from warehouse.batch import Counts
from warehouse.decisions import decisions
from warehouse.errors import LakeError
from warehouse.quarantine import Chosen, groups, rows
from warehouse.replaying import Mended
from warehouse.sources import load_sources

LEDGER = (
    "select source_file, rows_in, loaded, quarantined, already_known, dropped, deleted"
    " from lake.meta.batches order by arrived_at, source_file"
)
UNEVEN = (
    "select batch_id from lake.meta.batches"
    " where rows_in <> loaded + quarantined + already_known + refused + dropped"
)
SNAPSHOT = "select max(snapshot_id) from lake.snapshots()"
TEXT = {"columns": {"id": "bigint"}}
CHOSEN = Chosen("shop.orders")


@pytest.fixture(autouse=True)
def one_duckdb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "connect", Connection)


def replay(shop: Shop, chosen: Chosen = CHOSEN, *, dry: bool = False, **entry: Any) -> list[Mended]:
    """Judge again under the orders' entry with these changes."""
    file = sources_file(shop.folder, ORDERS | entry)
    sources = load_sources(file, shop.settings)
    return replaying.replay(shop.settings, sources, chosen, "a replay", dry_run=dry)


def counts(mended: list[Mended]) -> list[Counts]:
    assert [m.problem for m in mended] == [None] * len(mended)
    return [m.counts for m in mended]


def check_sums(shop: Shop) -> None:
    """The ledger's arithmetic holds, and its quarantine is the quarantine."""
    uneven, held, rows = shop.ask(
        UNEVEN,
        "select sum(quarantined) from lake.meta.batches",
        "select count(*) from lake.meta.quarantine",
    )
    assert (uneven, held) == ([], rows)


def test_list_groups_by_file_and_reason(shop: Shop) -> None:
    shop.send("id,amount\n1,x\n,2\n3,y\n", tolerance=1)
    found = groups(shop.settings, CHOSEN)
    assert [(g.file, g.reason, g.rows, g.first_row, g.first_line, g.landed) for g in found] == [
        ("orders.csv", "key_missing", 1, 2, 3, True),
        ("orders.csv", "not_of_type", 2, 1, 2, True),
    ]


def test_show_gives_the_rows_as_they_came(shop: Shop) -> None:
    shop.send("id,amount\n1,x\n,2\n3,y\n", tolerance=1)
    found = rows(shop.settings, Chosen("shop.orders", reason="not_of_type"), 5)
    assert [(row["line"], json.loads(row["raw"])) for row in found] == [
        (2, {"id": "1", "amount": "x"}),
        (4, {"id": "3", "amount": "y"}),
    ]
    assert len(rows(shop.settings, CHOSEN, 2)) == 2


def test_unknown_source_or_batch_is_an_error(shop: Shop) -> None:
    shop.send("id,amount\n1,x\n2,2\n")
    with pytest.raises(LakeError, match=r"did you mean 'shop\.orders'"):
        groups(shop.settings, Chosen("shop.order"))
    with pytest.raises(LakeError, match="no batches begin with 'zzz'"):
        groups(shop.settings, Chosen("shop.orders", batch="zzz"))


def test_mended_type_loads_the_rows_once(shop: Shop) -> None:
    shop.send("id,amount\n1,x\n2,2\n,3\n", tolerance=1)
    [(batch, loaded_at)] = shop.ask("select batch_id, loaded_at from lake.meta.batches")[0]
    done = replay(shop, **TEXT | {"columns": {"id": "bigint", "amount": "varchar"}})
    assert counts(done) == [Counts(rows_in=2, loaded=1, quarantined=1)]
    again, ledger, quarantined = shop.ask(
        f"select id, _batch_id, _source_file, _source_row, _loaded_at > '{loaded_at}' from {TABLE}"
        " order by id",
        LEDGER,
        "select _source_row, reason, quarantined_at from lake.meta.quarantine",
    )
    assert again == [(1, batch, "orders.csv", 1, True), (2, batch, "orders.csv", 2, False)]
    assert shop.orders() == [(1, "x"), (2, "2")]
    assert ledger == [("orders.csv", 3, 2, 1, 0, 0, 0)]
    assert quarantined == [(3, "key_missing", loaded_at)]


def test_twice_changes_nothing(shop: Shop) -> None:
    shop.send("id,amount\n1,x\n2,2\n2,3\n", tolerance=1)
    wide = {"columns": {"id": "bigint", "amount": "varchar"}}
    replay(shop, **wide)
    before = shop.ask(SNAPSHOT, f"from {TABLE} order by all", LEDGER, "from lake.meta.quarantine")
    replay(shop, **wide)
    assert shop.ask(
        SNAPSHOT, f"from {TABLE} order by all", LEDGER, "from lake.meta.quarantine"
    ) == (before)
    assert len(decisions(shop.settings)) == 1


def test_nothing_mended_writes_nothing(shop: Shop) -> None:
    shop.send("id,amount\n1,x\n2,2\n2,3\n,\n")
    before = shop.ask(SNAPSHOT, "from lake.meta.quarantine order by all")
    assert [c.loaded for c in counts(replay(shop))] == [0]
    assert shop.ask(SNAPSHOT, "from lake.meta.quarantine order by all") == before
    assert decisions(shop.settings) == []


def test_dry_run_tells_and_changes_nothing(shop: Shop) -> None:
    shop.send("id,amount\n1,x\n2,2\n")
    before = shop.ask(SNAPSHOT, LEDGER)
    assert [c.loaded for c in counts(replay(shop, dry=True, columns={"id": "bigint"}))] == [1]
    assert shop.ask(SNAPSHOT, LEDGER) == before
    assert decisions(shop.settings) == []


def test_torn_rows_load_once_their_dialect_is_told(shop: Shop) -> None:
    shop.send("id,amount\n1,'2,5'\n2,3\n3,4\n", columns={"id": "bigint"})
    assert [row[1] for row in shop.quarantine()] == ["torn_record"]
    done = replay(shop, columns={"id": "bigint"}, quote="'")
    assert counts(done) == [Counts(rows_in=1, loaded=1)]
    assert shop.orders() == [(1, "2,5"), (2, "3"), (3, "4")]
    check_sums(shop)


def test_other_row_numbers_leave_the_batch_alone(shop: Shop) -> None:
    shop.send("id,amount\n1,x\n2,2\n")
    before = shop.ask(SNAPSHOT)
    [mended] = replay(shop, header=False, columns={}, key=["column_1"])
    assert mended.problem is not None
    assert "the file has 3 rows as it is read now, and had 2" in mended.problem
    assert shop.ask(SNAPSHOT) == before


def test_corrected_file_makes_the_row_known(shop: Shop) -> None:
    shop.send("id,amount\n1,x\n2,2\n")
    shop.send("id,amount\n1,x\n", columns={"id": "bigint", "amount": "varchar"})
    done = replay(shop, columns={"id": "bigint", "amount": "varchar"})
    assert counts(done) == [Counts(rows_in=1, already_known=1)]
    assert shop.orders() == [(1, "x"), (2, "2")]
    check_sums(shop)


def test_append_keeps_the_conflict_with_a_later_file(shop: Shop) -> None:
    shop.send("id,amount\n1,x\n2,2\n")
    shop.send("id,amount\n1,7\n")
    done = replay(shop, columns={"id": "bigint", "amount": "varchar"})
    assert counts(done) == [Counts(rows_in=1, quarantined=1)]
    assert shop.quarantine() == [
        (1, "key_conflict", "the key is loaded with other values of amount")
    ]
    check_sums(shop)


def test_conflicts_load_when_the_key_is_another(shop: Shop) -> None:
    shop.send("id,amount\n1,2\n1,3\n", tolerance=1)
    assert counts(replay(shop, key=["id", "amount"])) == [Counts(rows_in=1, loaded=1)]
    assert shop.orders() == [(1, 2.0), (1, 3.0)]


@pytest.mark.parametrize(
    ("later", "orders"),
    [
        ("id,amount\n1,7\n", [(1, "7"), (2, "2")]),  # a newer file has the key
        ("id,amount\n3,7\n", [(1, "x"), (2, "2"), (3, "7")]),
    ],
)
def test_merge_never_puts_an_older_row_over_a_newer(
    shop: Shop, later: str, orders: list[tuple[Any, ...]]
) -> None:
    shop.send("id,amount\n1,5\n", write="merge")
    shop.send("id,amount\n1,x\n2,2\n", write="merge")
    shop.send(later, write="merge")
    replay(shop, columns={"id": "bigint", "amount": "varchar"}, write="merge")
    assert shop.orders() == orders
    check_sums(shop)


def test_merge_keeps_the_last_row_of_the_file(shop: Shop) -> None:
    shop.send("id,amount\n1,2\n1,3\n2,4\n2,x\n", write="merge")
    assert shop.orders() == [(1, 3.0), (2, 4.0)]
    done = replay(shop, columns={"id": "bigint", "amount": "varchar"}, write="merge")
    assert counts(done) == [Counts(rows_in=2, loaded=1, quarantined=1)]
    assert shop.orders() == [(1, "3"), (2, "x")]
    assert [row[:2] for row in shop.quarantine()] == [(1, "superseded")]
    check_sums(shop)


@pytest.mark.parametrize("key", [["id"], []])
def test_snapshot_takes_rows_of_the_newest_file_alone(shop: Shop, key: list[str]) -> None:
    entry = {"write": "snapshot", "key": key}
    wide = {"columns": {"id": "bigint", "amount": "varchar"}}
    shop.send("id,amount\n1,x\n2,2\n3,4\n", **entry)
    shop.send("id,amount\n2,y\n3,4\n3,4\n4,5\n", **entry)
    old, new = replay(shop, **entry | wide)
    assert old.problem is not None
    assert "a newer snapshot is loaded" in old.problem
    assert new.counts == Counts(rows_in=1, loaded=1)
    assert [row for row in shop.orders() if row[0] == 2] == [(2, "y")]
    assert {row[0] for row in shop.orders()} == {2, 3, 4}
    check_sums(shop)


def test_member_of_a_zip_is_judged_again(shop: Shop) -> None:
    with zipfile.ZipFile(shop.folder / "orders.zip", "w") as archive:
        archive.writestr("a.csv", "id,amount\n1,x\n2,2\n")
        archive.writestr("b.csv", "id,amount\n3,3\n")
    shop.load()
    done = replay(shop, columns={"id": "bigint"})
    assert [m.file for m in done] == ["orders.zip/a.csv"]
    assert (1, "x") in shop.orders()


def test_frozen_schema_that_differs_is_a_problem_of_its_batch(shop: Shop) -> None:
    shop.send("id,amount\n1,x\n2,2\n")
    [mended] = replay(shop, columns={"id": "bigint"}, schema="freeze")
    assert mended.problem is not None
    assert "the schema is frozen" in mended.problem
    check_sums(shop)


def test_dropped_rows_move_and_stay_away(shop: Shop) -> None:
    shop.send("id,amount\n1,x\n2,2\n,3\n", tolerance=1)
    given_up = quarantine.drop(shop.settings, Chosen("shop.orders", reason="not_of_type"))
    assert [(g.reason, g.rows) for g in given_up] == [("not_of_type", 1)]
    dropped, ledger = shop.ask("select _source_row, reason, raw from lake.meta.dropped", LEDGER)
    assert dropped == [(1, "not_of_type", '{"id":"1","amount":"x"}')]
    assert ledger == [("orders.csv", 3, 1, 1, 0, 1, 0)]
    replay(shop, columns={"id": "bigint"})
    assert [row[0] for row in shop.orders()] == [2]
    check_sums(shop)


KILLED = """
import os, sys
from pathlib import Path
from warehouse import quarantine, replaying
from warehouse.settings import Settings
from warehouse.sources import load_sources

home, sources, command, moment = sys.argv[1:]


def die(*_, **__):
    os.kill(os.getpid(), 9)


if moment == "note":
    quarantine.note = replaying.note = die
settings = Settings(Path(home), 2, "1GiB")
chosen = quarantine.Chosen("shop.orders")
if command == "replay":
    replaying.replay(settings, load_sources(Path(sources), settings), chosen, "killed")
else:
    quarantine.drop(settings, chosen)
die()
"""


def kill(shop: Shop, command: str, moment: str) -> None:
    file = sources_file(shop.folder, ORDERS | {"columns": {"id": "bigint", "amount": "varchar"}})
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, shop.settings.home, file, command, moment], check=False
    )
    assert killed.returncode == -9


@pytest.mark.parametrize("moment", ["note", "after"])
def test_killed_replay_is_done_or_not_begun(shop: Shop, moment: str) -> None:
    shop.send("id,amount\n1,x\n2,2\n,3\n", tolerance=1)
    kill(shop, "replay", moment)
    is_done = moment == "after"
    (ledger,) = shop.ask(LEDGER)
    assert ledger == [("orders.csv", 3, 1 + is_done, 2 - is_done, 0, 0, 0)]
    replay(shop, columns={"id": "bigint", "amount": "varchar"})
    assert shop.orders() == [(1, "x"), (2, "2")]
    assert len(decisions(shop.settings)) == 1
    check_sums(shop)


@pytest.mark.parametrize("moment", ["note", "after"])
def test_killed_drop_is_ended_by_the_next(shop: Shop, moment: str) -> None:
    shop.send("id,amount\n1,x\n2,2\n,3\n", tolerance=1)
    kill(shop, "drop", moment)
    quarantine.drop(shop.settings, CHOSEN)
    dropped, ledger = shop.ask("select count(*) from lake.meta.dropped", LEDGER)
    assert (dropped, ledger) == ([(2,)], [("orders.csv", 3, 1, 0, 0, 2, 0)])
    assert len(decisions(shop.settings)) == 1
    check_sums(shop)


@pytest.mark.parametrize("write", ["merge", "snapshot"])
def test_row_stays_behind_the_newer_one_that_was_known(shop: Shop, write: str) -> None:
    shop.send("id,amount\n3,33\n", write=write)
    shop.send("id,amount\n3,3\n3,33\n", "orders2.csv", write=write)
    replay(shop, write=write)
    assert shop.orders() == [(3, 33.0)]
    assert [row[:2] for row in shop.quarantine()] == [(1, "superseded")]
