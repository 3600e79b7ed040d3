"""The lake made again from landing: row for row the same, or told and left alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import duckdb
import pytest
from handmade import sources_file
from released import release
from shop import ORDERS, TABLE, Connection, Shop

from warehouse import ingest, quarantine, replaying
from warehouse.decisions import decisions
from warehouse.duck import extension_file
from warehouse.errors import ClearwaterError, LakeError
from warehouse.history import changes, landed_as, open_bytes, snapshots
from warehouse.lake import catalog_snapshot, earlier_lakes, is_encrypted, lake_identity, writing
from warehouse.landing import arrivals, content_path
from warehouse.loads import noted_loads
from warehouse.maintenance import maintain
from warehouse.quarantine import Chosen
from warehouse.rebuild import Rebuilt, rebuild
from warehouse.sources import Source, load_sources

WIDE = {"columns": {"id": "bigint", "amount": "varchar"}}
WHOLE = {"columns": {"id": "bigint", "amount": "bigint"}}
CHOSEN = Chosen("shop.orders")
EVERYTHING = (
    f"select id, amount, * exclude (id, amount) from {TABLE} order by all",
    "select * exclude (source_fingerprint) from lake.meta.batches order by all",
    "from lake.meta.quarantine order by all",
    "from lake.meta.dropped order by all",
)


@pytest.fixture(autouse=True)
def one_duckdb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "connect", Connection)


def lose(shop: Shop) -> None:
    shutil.rmtree(shop.settings.lake_catalog.parent)


def declared(shop: Shop, **entry: Any) -> list[Source]:
    return load_sources(sources_file(shop.folder, ORDERS | entry), shop.settings)


def again(shop: Shop, entry: dict[str, Any], **asked: Any) -> Rebuilt:
    return rebuild(shop.settings, declared(shop, **entry), **asked)


def fill(shop: Shop, **entry: Any) -> None:
    """Four files with every kind of dirt, one of them a zip, one refused."""
    shop.send("id,amount\n1,2\n2,x\n3,3\n3,4\n,5\n6,6\n7,7\n8,x\n", **entry)
    shop.send("id,amount\n2,8\n1,2\n9\n10,10\n11,11\n12,12\n", "orders2.csv", **entry)
    with zipfile.ZipFile(shop.folder / "orders3.zip", "w") as archive:
        archive.writestr("a.csv", "id,amount\n1,20\n21,x\n22,1\n")
        archive.writestr("b.csv", "id,amount\n21,20\n22,1\n23,x\n")
    shop.load(**entry)
    shop.send("other,amount\n40,z\n41,y\n", "orders4.csv", **entry)


@pytest.mark.slow
@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"write": "merge"},
        {"write": "snapshot"},
        {"write": "snapshot", "key": []},
    ],
    ids=["append", "merge", "snapshot", "keyless snapshot"],
)
def test_rebuilt_lake_is_equal_after_loads_replays_and_drops(
    shop: Shop, entry: dict[str, Any]
) -> None:
    # A whole number is the same text again, so that the retyped rows are what the file says.
    fill(shop, **entry | WHOLE)
    quarantine.drop(shop.settings, Chosen("shop.orders", reason="torn_record"))
    mended = entry | WIDE
    replayed = replaying.replay(shop.settings, declared(shop, **mended), CHOSEN, "a replay")
    assert sum(done.counts.loaded for done in replayed) > 0
    quarantine.drop(shop.settings, CHOSEN)  # what is out of date would load under the mended entry
    shop.send("id,amount\n50,x\n51,1\n1,77\n", "orders5.csv", **mended)
    assert len(decisions(shop.settings)) >= 3
    before, identity = shop.ask(*EVERYTHING), lake_identity(shop.settings)
    done = again(shop, mended)
    assert done.is_equal, done
    assert shop.ask(*EVERYTHING) == before
    assert lake_identity(shop.settings) != identity
    assert earlier_lakes(shop.settings) == [done.kept]


@pytest.mark.slow
def test_nothing_mended_is_equal_and_changes_nothing_but_the_identity(shop: Shop) -> None:
    fill(shop)
    before = shop.ask(*EVERYTHING)
    done = again(shop, {})
    assert (done.is_equal, done.swapped, done.batches) == (True, True, 5)
    assert shop.ask(*EVERYTHING) == before
    shop.send("id,amount\n60,1\n", "orders6.csv")
    assert (60, 1.0) in shop.orders()


@pytest.mark.slow
def test_dry_run_leaves_the_old_lake(shop: Shop) -> None:
    fill(shop)
    identity = lake_identity(shop.settings)
    assert again(shop, {}, dry_run=True).is_equal
    assert lake_identity(shop.settings) == identity
    assert sorted(p.name for p in shop.settings.home.glob("*lake*")) == ["lake"]


@pytest.mark.slow
def test_every_batch_is_loaded_as_it_was_unless_redefined(shop: Shop) -> None:
    shop.send("id,amount\n1,x\n2,2\n")
    identity = lake_identity(shop.settings)
    assert again(shop, WIDE, dry_run=True).is_equal
    done = again(shop, WIDE, redefine=True, dry_run=True)
    orders = next(table for table in done.tables if table.table == "raw_shop.orders")
    assert (orders.rows_before, orders.rows_now, orders.columns) == (1, 2, ("amount",))
    assert (done.is_equal, done.swapped) == (False, False)
    assert lake_identity(shop.settings) == identity
    assert again(shop, WIDE, redefine=True).swapped
    assert shop.orders() == [(1, "x"), (2, "2")]
    assert again(shop, {}).is_equal  # the wide definition is that of the batch now


def test_unequal_lake_needs_acceptance(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n2,2\n")
    with writing(shop.settings) as con:
        con.execute(f"delete from {TABLE} where id = 1")
    done = again(shop, {})
    assert (done.is_equal, done.swapped, len(shop.orders())) == (False, False, 1)
    assert again(shop, {}, accept=True).swapped
    assert len(shop.orders()) == 2


@pytest.mark.slow
@pytest.mark.parametrize("entry", [{}, {"write": "merge"}, {"write": "snapshot"}])
def test_lost_lake_comes_back_from_landing_as_it_was(shop: Shop, entry: dict[str, Any]) -> None:
    fill(shop, **entry | WHOLE)
    quarantine.drop(shop.settings, Chosen("shop.orders", reason="torn_record"))
    # The refused file is loaded after one that is newer, and under another definition.
    shop.send("id,amount\n40,1\n", "orders5.csv", **entry | WHOLE)
    shop.load(**entry | WIDE | {"key": ["amount"]})
    replaying.replay(shop.settings, declared(shop, **entry | WIDE), CHOSEN, "a replay")
    before = shop.ask(*EVERYTHING)
    shutil.rmtree(shop.settings.lake_catalog.parent)
    with pytest.raises(LakeError, match="the lake is gone"):
        shop.load(**entry)
    done = again(shop, entry)
    assert (done.tables, done.problems, done.swapped, done.kept) == ((), (), True, None)
    assert shop.ask(*EVERYTHING) == before


def test_what_a_killed_process_did_not_note_is_noted_by_the_next(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n")
    log = shop.settings.landing / "loads.ndjson"
    [first] = noted_loads(shop.settings).values()
    log.write_text(log.read_text()[:-20])
    assert noted_loads(shop.settings) == {}
    shop.send("id,amount\n2,2\n")
    noted = [*noted_loads(shop.settings).values()]
    assert (noted[0], len(noted)) == (first, 2)


@pytest.mark.slow
def test_undefined_source_and_spoilt_bytes_are_problems(shop: Shop) -> None:
    shop.send("id,amount\n1,2\n")
    assert again(shop, {"name": "shop.others"}, dry_run=True).is_equal
    shutil.rmtree(shop.settings.landing / "definitions")
    assert "not in the sources file" in again(shop, {"name": "shop.others"}).problems[0]
    [landed] = arrivals(shop.settings)
    file = content_path(shop.settings, landed.sha256)
    file.chmod(0o644)
    file.write_text("id,amount\n1,3\n")
    done = again(shop, {})
    assert "not those that arrived" in done.problems[0]
    assert not done.swapped
    with pytest.raises(LakeError, match="not those that arrived"):
        open_bytes(shop.settings, landed)


KILLED = """
import os, sys
from pathlib import Path
from warehouse import lake, rebuild
from warehouse.settings import Settings
from warehouse.sources import load_sources

home, sources, moment = sys.argv[1:]


def die(*_, **__):
    os.kill(os.getpid(), 9)


class Stopped(type(Path())):
    def rename(self, target):
        done = super().rename(target)
        if moment == self.name:
            die()
        return done


if moment == "compare":
    rebuild._compare = die
settings = Settings(Stopped(home), 2, "1GiB")
rebuild.rebuild(settings, load_sources(Path(sources), settings))
die()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "is_new"),
    [("compare", False), ("lake", True)],
)
def test_killed_rebuild_leaves_one_lake_whole(shop: Shop, moment: str, is_new: bool) -> None:
    shop.send("id,amount\n1,x\n2,2\n")
    quarantine.drop(shop.settings, CHOSEN)
    identity, before = lake_identity(shop.settings), shop.ask(*EVERYTHING)
    file = sources_file(shop.folder, ORDERS)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, shop.settings.home, file, moment], check=False
    )
    assert killed.returncode == -9
    shop.load()
    assert (lake_identity(shop.settings) != identity) == is_new
    assert shop.ask(*EVERYTHING) == before
    assert again(shop, {}).is_equal  # and sweeps what is left
    left = {path.name.split("-")[0] for path in shop.settings.home.glob("*")}
    assert left.isdisjoint({"rebuilding", "lake.new"})


def test_changes_between_two_snapshots(shop: Shop) -> None:
    shop.send("id,amount\n1,2\n", write="merge")
    first = catalog_snapshot(shop.settings)
    shop.send("id,amount\n1,3\n5,5\n", write="merge")
    second = catalog_snapshot(shop.settings)
    shop.send("id,amount\n7,7\n", write="merge")

    def kinds(start: int, end: int | None) -> list[tuple[Any, ...]]:
        with changes(
            shop.settings, "shop.orders", str(start), None if end is None else str(end)
        ) as con:
            names = [column[0] for column in con.description or []]
            at = [names.index(name) for name in ("change_type", "id", "amount")]
            return sorted(tuple(row[n] for n in at) for row in con.fetchall())

    changed = [("delete", 1, 2.0), ("insert", 1, 3.0), ("insert", 5, 5.0)]
    assert kinds(first, second) == changed
    assert kinds(first, first) == []
    assert kinds(second, None) == [("insert", 7, 7.0)]
    with pytest.raises(LakeError, match=f"snapshot {second} is later than {first}"):
        kinds(second, first)
    other = changes(shop.settings, "shop.other", str(first), None)
    with pytest.raises(LakeError, match=r"no table of 'shop\.other'"), other:
        pass
    assert snapshots(shop.settings)[-1]["what"] == "loaded shop.orders: orders.csv"


def test_bytes_of_a_batch_are_found_by_the_beginning_of_its_id(shop: Shop) -> None:
    shop.send("id,amount\n1,2\n")
    [(batch,)] = shop.ask("select batch_id from lake.meta.batches")[0]
    with open_bytes(shop.settings, landed_as(shop.settings, batch[:8])) as content:
        assert content.read() == b"id,amount\n1,2\n"
    with pytest.raises(LakeError, match="no batches begin with 'nothing'"):
        landed_as(shop.settings, "nothing")


def many(first: int, rows: int = 2_000) -> str:
    """Enough rows that they are not kept in the catalog itself."""
    return "id,amount\n" + "".join(f"{first + n},{n}.5\n" for n in range(rows))


def data_files(shop: Shop) -> set[Path]:
    return set(shop.settings.lake_data.rglob("*.parquet"))


def test_maintenance_removes_orphans_and_nothing_else(shop: Shop) -> None:
    shop.send(many(0))
    files, before = data_files(shop), shop.orders()
    stray = next(iter(files)).with_name("ducklake-stray.parquet")
    shutil.copy(next(iter(files)), stray)
    done = maintain(shop.settings)
    assert (done.orphans, done.orphan_bytes) == (1, next(iter(files)).stat().st_size)
    assert (done.snapshots, data_files(shop)) == (0, files)
    assert shop.orders() == before
    assert maintain(shop.settings).orphans == 0


def test_maintenance_expires_what_no_release_names(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in (0, 5_000, 10_000):
        shop.send(many(first), write="snapshot")
    newest, before = catalog_snapshot(shop.settings), shop.orders()
    assert maintain(shop.settings).snapshots == 0  # all of them are young
    named = release("a", lake=lake_identity(shop.settings), lake_snapshot=newest - 1)
    monkeypatch.setattr("warehouse.maintenance.releases", lambda _: [named])
    done = maintain(shop.settings, days=0)
    assert done.snapshots == newest - 1
    assert (done.orphans, done.expired_files) == (0, 1)
    assert [row["snapshot"] for row in snapshots(shop.settings)] == [newest - 1, newest]
    assert shop.orders() == before
    with changes(shop.settings, "shop.orders", str(newest - 1), None) as con:
        assert len(con.fetchall()) == 4_000
    with (
        pytest.raises(LakeError, match="no snapshot 1"),
        changes(shop.settings, "shop.orders", "1", None),
    ):
        pass


def test_killed_write_leaves_an_orphan_that_maintenance_removes(shop: Shop) -> None:
    shop.send("id,amount\n1,2\n")
    shop.put(many(100, 400_000), "orders2.csv")
    file, files = sources_file(shop.folder, ORDERS), data_files(shop)
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from warehouse import ingest, loading\n"
        "from warehouse.settings import Settings\n"
        "from warehouse.sources import load_sources\n"
        "settings = Settings(Path(sys.argv[1]), 2, '1GiB')\n"
        "sources = load_sources(Path(sys.argv[2]), settings)\n"
        "loading.hold_rows = lambda con: os.kill(os.getpid(), 9)\n"
        "ingest.load_sources(settings, sources, ingest.land_sources(settings, sources), 'killed')\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, shop.settings.home, file], check=False)
    assert killed.returncode == -9
    orphans = data_files(shop) - files
    assert orphans
    assert maintain(shop.settings).orphans == len(orphans)
    assert not data_files(shop) & orphans
    assert shop.orders() == [(1, 2.0)]
    assert shop.load().counts.loaded == 400_000


@pytest.fixture
def cipher() -> None:
    try:
        extension_file("httpfs")
    except ClearwaterError:
        pytest.skip("DuckDB's extension httpfs is not installed")
    return


def notes(first: int) -> str:
    """Values that are found again in a file that is not encrypted."""
    return "id,note\n" + "".join(f"{n},telltale{n}\n" for n in range(first, first + 2_000))


@pytest.mark.slow
@pytest.mark.usefixtures("cipher")
def test_encrypted_lake_keeps_no_plain_value_in_its_files(shop: Shop) -> None:
    shop.send(notes(0), columns={"id": "bigint"})
    assert any(b"telltale999" in file.read_bytes() for file in data_files(shop))
    done = again(shop, {"columns": {"id": "bigint"}}, encrypted=True)
    assert (done.is_equal, is_encrypted(shop.settings)) == (True, True)
    shop.send(notes(2_000), columns={"id": "bigint"})
    files = data_files(shop)
    assert files
    for file in files:
        assert b"telltale" not in file.read_bytes()
        with duckdb.connect() as con, pytest.raises(duckdb.Error, match="encrypted"):
            con.execute(f"from read_parquet('{file}')")
    (count,) = shop.ask(f"select count(*), count(distinct note) from {TABLE}")
    assert count == [(4_000, 4_000)]
    lose(shop)
    assert again(shop, {"columns": {"id": "bigint"}}).swapped
    assert is_encrypted(shop.settings)
    plain = again(shop, {"columns": {"id": "bigint"}}, encrypted=False)
    assert (plain.is_equal, is_encrypted(shop.settings)) == (True, False)


@pytest.mark.slow
def test_redefined_lake_can_be_proved_and_made_again(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n2,x\n3,y\n4,4\n")
    quarantine.drop(shop.settings, CHOSEN)
    shop.send("id,amount\n5,5\n6,z\n", "orders2.csv")
    replaying.replay(shop.settings, declared(shop, **WIDE), CHOSEN, "a replay")
    assert again(shop, WIDE, redefine=True).swapped
    before = shop.ask(*EVERYTHING)
    assert len(before[0]) == 4  # rows that were given up stay away
    assert len(before[3]) == 2
    assert again(shop, {}, dry_run=True).is_equal
    lose(shop)
    assert again(shop, {}).swapped
    assert shop.ask(*EVERYTHING) == before


@pytest.mark.slow
def test_rows_given_up_are_not_guessed_when_the_file_is_read_otherwise(shop: Shop) -> None:
    shop.send("junk,\nid,amount\n1,1\n2,2\n", header=False, columns={"column_1": "bigint"}, key=[])
    dropped = len(shop.quarantine())
    assert dropped == 2
    quarantine.drop(shop.settings, CHOSEN)
    mended = {"skip": 1, "key": []}
    done = again(shop, mended, redefine=True)
    assert (done.swapped, len(done.problems)) == (False, 1)
    assert "which of them were given up cannot be told" in done.problems[0]
    assert again(shop, mended, redefine=True, accept=True).swapped
    assert [row[0] for row in shop.ask(f"select id from {TABLE} order by id")[0]] == [1, 2]
    assert decisions(shop.settings) == []
    assert again(shop, mended, dry_run=True).is_equal


def test_replays_do_not_hinder_another_way_of_writing(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n2,x\n")
    shop.send("id,amount\n3,3\n", "orders2.csv")
    replaying.replay(shop.settings, declared(shop, **WIDE), CHOSEN, "a replay")
    done = again(shop, WIDE | {"write": "snapshot"}, redefine=True)
    assert (done.swapped, done.problems) == (True, ())
    assert shop.orders() == [(3, "3")]


def test_definition_that_is_lost_is_a_problem(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n2,x\n")
    for file in (shop.settings.landing / "definitions").iterdir():
        file.write_text(file.read_text()[:20])
    lose(shop)
    done = again(shop, WIDE)
    assert not done.swapped
    assert "is not in landing; today's was taken" in done.problems[0]
    assert again(shop, {}).swapped  # it is today's, so nothing is lost


@pytest.mark.slow
def test_decisions_wait_for_a_batch_that_a_restored_lake_does_not_have(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n")
    copy = shop.settings.home / "copy"
    shutil.copytree(shop.settings.lake_catalog.parent, copy)
    shop.send("id,amount\n2,x\n3,3\n", "orders2.csv")
    quarantine.drop(shop.settings, CHOSEN)
    lose(shop)
    shutil.copytree(copy, shop.settings.lake_catalog.parent)
    assert again(shop, {}).is_equal
    assert len(decisions(shop.settings)) == 1
    shop.load()
    assert len(shop.quarantine()) == 1
    replaying.replay(shop.settings, declared(shop), CHOSEN, "a replay")  # settles first
    assert shop.quarantine() == []
    assert again(shop, {}, dry_run=True).is_equal


def test_loads_are_noted_one_by_one(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.put("id,amount\n1,1\n", "orders1.csv")
    shop.put("id,amount\n2,2\n", "orders2.csv")
    really, loaded = ingest.load_batch, iter((True, False))

    def once(*args: Any) -> Any:
        if next(loaded):
            return really(*args)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ingest, "load_batch", once)
    with pytest.raises(OSError, match="No space left"):
        shop.load()
    assert [load.source_file for load in noted_loads(shop.settings).values()] == ["orders1.csv"]
