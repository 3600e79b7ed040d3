"""Retention: what nothing needs goes, whole and in steps that may be killed; all else works on."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from handmade import sources_file
from hypothesis import given
from hypothesis import strategies as st
from released import A, B, C, make_build, numbered, put_out, release
from shop import ORDERS, Connection, Shop

from warehouse import lake, quarantine, releases
from warehouse.errors import LakeError
from warehouse.features import extract, note_asked
from warehouse.files import temporary
from warehouse.history import landed_as, open_bytes
from warehouse.lake import catalog_snapshot, lake_identity
from warehouse.landing import arrivals, content_path
from warehouse.maintenance import missing_files
from warehouse.quarantine import Chosen
from warehouse.rebuild import rebuild
from warehouse.releases import current, folder
from warehouse.replaying import replay
from warehouse.retention import Plan, disk_use, plan, prune, size_of
from warehouse.settings import Keep, Settings
from warehouse.sources import Source, load_sources

NOTHING = timedelta(0)
STRICT = Keep(releases=2, reports=NOTHING, logs=NOTHING, snapshots=NOTHING, landing=None)
WIDE = {"columns": {"id": "bigint", "amount": "varchar"}}
RUNS = [f"2026010{n}T000000-00000{n}" for n in range(1, 6)]


@pytest.fixture(autouse=True)
def one_duckdb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "connect", Connection)


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory, empty_lake: Path) -> Path:
    """A folder with a home that has something of every kind; making it takes a while."""
    place = tmp_path_factory.mktemp("furnished")
    shutil.copytree(empty_lake, place / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lake, "connect", Connection)
        furnish(Shop(Settings(place / "home", 2, "1GiB"), place / "shop"))
    return place


@pytest.fixture
def full(shop: Shop, furnished: Path) -> Shop:
    """A shop with a copy of it."""
    for there, here in (("home", shop.settings.home), ("shop", shop.folder)):
        shutil.rmtree(here)
        shutil.copytree(furnished / there, here, symlinks=True)
    return shop


def keeping(shop: Shop, **kept: object) -> Settings:
    """The shop's settings, from now on also for what it does; all that age keeps is old."""
    shop.settings = replace(shop.settings, keep=replace(STRICT, **kept))  # type: ignore[arg-type]
    return shop.settings


def declared(shop: Shop, **entry: object) -> list[Source]:
    return load_sources(sources_file(shop.folder, ORDERS | entry), shop.settings)


def many(first: int, rows: int = 3_000) -> str:
    """A file that is large enough not to be kept in the catalog."""
    return "id,amount\n" + "".join(f"{first + n},{n}.5\n" for n in range(rows))


def release_now(shop: Shop, name: str, **changes: object) -> None:
    """A release of the newest snapshot of the shop's lake, with its extract."""
    place = make_build(shop.settings, name, *ORDERS_SQL)
    of_lake = {
        "lake": lake_identity(shop.settings),
        "lake_snapshot": catalog_snapshot(shop.settings),
    }
    made = release(name, **of_lake | changes)
    releases.publish(shop.settings, place, made)
    extract(shop.settings, made, "feat_orders")


ORDERS_SQL = (
    "create table marts.fct_orders as select range as id from range(1000)",
    "create table features.feat_orders as select range as id,"
    " timestamp '2026-01-01' + to_days(range::integer) as ordered_at from range(10)",
)


def furnish(shop: Shop) -> None:
    """A home with something of every kind, to be kept and to go."""
    home = shop.settings.home
    for number in range(1, 6):
        shop.send(many(number * 10_000), write="snapshot")
        release_now(shop, numbered(number), run_id=RUNS[number - 1])
    for run in RUNS:
        (home / "reports" / run).mkdir(parents=True)
        (home / "reports" / run / "index.html").write_text("report of " + run)
        (home / "logs").mkdir(exist_ok=True)
        (home / "logs" / f"{run}.jsonl").write_text("log of " + run)
    (home / "reports" / "latest").symlink_to(RUNS[-1])
    file = next(shop.settings.lake_data.rglob("*.parquet"))
    shutil.copy(file, file.with_name("ducklake-stray.parquet"))
    (make_build(shop.settings, "half") / "note").write_text("x")
    whole = {"base": numbered(2), "lake_snapshot": catalog_snapshot(shop.settings)}
    (make_build(shop.settings, "whole") / "build.json").write_text(json.dumps(whole))
    (home / "lake.before-20260101T000000000000").mkdir()
    (home / "lake.before-20260101T000000000000" / "catalog.sqlite").write_text("old")
    temporary(home / "landing" / "arriving").write_text("half")
    (home / "tmp" / "spill").mkdir(parents=True)
    (home / "tmp" / "spill" / "block").write_text("spilled")
    (home / "mine").mkdir()
    for foreign in ("mine/notes.txt", "reports/notes.txt", "logs/notes.txt", "releases/notes.txt"):
        (home / foreign).write_text("a person's")
    (home / "features" / "notes").mkdir()
    (home / "features" / "notes" / "todo.txt").write_text("a person's")


Tree = dict[str, tuple[int, int] | str]


def tree(home: Path) -> Tree:
    """Every path below the home, a file with size and time of writing, a link with its target."""
    found: Tree = {}
    for path in home.rglob("*"):
        state, name = path.lstat(), path.relative_to(home).as_posix()
        of_file = (state.st_size, state.st_mtime_ns) if path.is_file() else (0, 0)
        found[name] = str(path.readlink()) if path.is_symlink() else of_file
    return found


def gone(found: Plan, kind: str) -> list[str]:
    return [Path(item.path).name for item in found.gone if item.kind == kind]


def why(found: Plan, kind: str) -> dict[str, str]:
    return {Path(item.path).name: item.why for item in found.kept if item.kind == kind}


def freed(before: Tree, after: Tree) -> int:
    """The bytes of the files that are there no more."""
    gone = (before[name] for name in before.keys() - after.keys())
    return sum(state[0] for state in gone if isinstance(state, tuple))


def test_dry_run_changes_nothing_and_tells_what_is_freed(full: Shop) -> None:
    settings = keeping(full)
    before = tree(settings.home)
    told = plan(settings)
    assert tree(settings.home) == before
    assert prune(settings) == told
    assert freed(before, tree(settings.home)) == told.bytes > 0
    assert sum(disk_use(settings).prunable.values()) == 0


def test_every_kind_goes_and_what_is_needed_stays(full: Shop) -> None:
    found = prune(keeping(full))
    assert gone(found, "releases") == [numbered(1), numbered(3)]
    assert why(found, "releases") == {
        numbered(2): "base of the build whole",
        numbered(4): "one of the newest 2",
        numbered(5): "current; one of the newest 2",
    }
    assert gone(found, "features") == [numbered(1), numbered(3)]
    assert gone(found, "builds") == ["half"]
    assert gone(found, "reports") == [RUNS[0], RUNS[2]]
    assert gone(found, "logs") == [f"{RUNS[0]}.jsonl", f"{RUNS[2]}.jsonl"]
    assert why(found, "reports")[RUNS[1]] == f"its run published release {numbered(2)}"
    assert why(found, "reports")[RUNS[4]] == "the newest"
    assert gone(found, "lakes") == ["lake.before-20260101T000000000000"]
    assert len(gone(found, "temporary")) == 2
    assert [item.count for item in found.gone if item.kind == "orphans"] == [1]
    home = full.settings.home
    for foreign in ("mine/notes.txt", "reports/notes.txt", "logs/notes.txt", "releases/notes.txt"):
        assert (home / foreign).read_text() == "a person's"
    assert (home / "features" / "notes" / "todo.txt").exists()
    assert found.lake is not None
    assert (found.lake.needed_by, len(found.lake.expired)) == (f"release {numbered(2)}", 1)


def test_pruned_twice_is_pruned_once(full: Shop) -> None:
    prune(keeping(full))
    before = tree(full.settings.home)
    assert prune(full.settings).gone == ()
    assert tree(full.settings.home) == before


@pytest.mark.slow
def test_everything_kept_works_on(full: Shop, tmp_path: Path) -> None:
    full.send("id,amount\n1,x\n2,2\n", write="snapshot", tolerance=1)
    before, newest = full.orders(), current(full.settings)
    prune(keeping(full))
    assert full.orders() == before
    assert current(full.settings) == newest
    for made in releases.releases(full.settings):
        file = full.settings.database(folder(full.settings, made.id))
        with duckdb.connect(str(file), read_only=True) as con:
            assert con.execute("select count(*) from marts.fct_orders").fetchone() == (1000,)
        again = extract(full.settings, made, "feat_orders", out=tmp_path / made.id)
        first = full.settings.features / "feat_orders" / made.id
        sums = [json.loads((p / "manifest.json").read_text())["rows"] for p in (first, again)]
        assert sums == [10, 10]
    assert rebuild(full.settings, declared(full), dry_run=True).is_equal
    mended = declared(full, write="snapshot", **WIDE)
    (done,) = replay(full.settings, mended, Chosen("shop.orders"), "a replay")
    assert (done.problem, done.counts.loaded) == (None, 1)
    assert full.load(write="snapshot", **WIDE).batches == 0


def test_release_stays_that_somebody_took_features_from(settings: Settings) -> None:
    settings = replace(settings, keep=Keep(releases=1))
    one, _, _ = put_out(settings, A, B, C)
    note_asked(extract(settings, one, "feat_orders"))
    found = plan(settings)
    assert gone(found, "releases") == [B]
    assert why(found, "releases")[A] == "feat_orders was extracted from it by command"
    shutil.rmtree(settings.features / "feat_orders" / A)
    assert gone(plan(settings), "releases") == [A, B]


def test_release_stays_that_a_held_domain_is_as_in(settings: Settings) -> None:
    settings = replace(settings, keep=Keep(releases=1))
    put_out(settings, A, B)
    line = releases.Line(A, "l", 1, "pass", ["features.feat_orders"], held="blocked")
    made = release(C, domains={"shop": line})
    releases.publish(settings, make_build(settings, C), made)
    assert why(plan(settings), "releases")[A] == "the held domain shop is as in it"
    assert releases.prune(settings) == [B]


def test_what_a_rollback_holds_stays(settings: Settings) -> None:
    settings = replace(settings, keep=Keep(releases=1))
    put_out(settings, A, B, C)
    releases.rollback(settings, A)
    found = prune(settings)
    assert gone(found, "releases") == [B]
    assert why(found, "releases")[A] == "current; held after a rollback"


def test_release_that_cannot_be_read_stays_with_all_snapshots(full: Shop) -> None:
    settings = keeping(full)
    file = settings.releases / numbered(1) / "release.json"
    file.write_text("{}")
    found = prune(settings)
    assert gone(found, "releases") == [numbered(3)]
    assert "cannot be read: it lacks " in why(found, "releases")[numbered(1)]
    assert gone(found, "features") == [numbered(3)]
    assert found.lake is not None
    assert (found.lake.snapshots, found.lake.expired) == ((), {})
    assert found.lake.needed_by == f"release {numbered(1)}, which cannot be read,"


def test_snapshot_of_an_unpublished_build_stays(shop: Shop) -> None:
    shop.send(many(0), write="snapshot")
    first = catalog_snapshot(shop.settings)
    whole = {"base": None, "lake_snapshot": first}
    (make_build(shop.settings, "whole") / "build.json").write_text(json.dumps(whole))
    shop.send(many(9_000), write="snapshot")
    found = prune(keeping(shop)).lake
    assert found is not None
    assert (found.oldest, found.needed_by) == (first, "build whole")
    assert len(shop.orders(at=first)) == 3_000


def test_nothing_is_too_old_for_ever(full: Shop) -> None:
    found = plan(keeping(full, releases=9, reports=None, logs=None, snapshots=None))
    assert {item.kind for item in found.gone} == {"builds", "lakes", "orphans", "temporary"}


def test_home_without_anything_has_nothing_to_prune(settings: Settings) -> None:
    assert (plan(settings), disk_use(settings).bytes) == (Plan((), ()), {})
    assert not settings.home.exists()


def test_disk_use_adds_up(full: Shop) -> None:
    use = disk_use(keeping(full))
    assert sum(use.bytes.values()) == size_of(full.settings.home)
    assert sum(use.prunable.values()) == plan(full.settings).bytes


# -- landing ------------------------------------------------------------------------------------


def left(shop: Shop) -> set[str]:
    """The original names of the files whose bytes are in landing."""
    return {
        landed.original_name
        for landed in arrivals(shop.settings)
        if content_path(shop.settings, landed.sha256).exists()
    }


def withdraw(shop: Shop, *names: str, **entry: object) -> None:
    """Take files from the source, and let a run see that they are gone."""
    for name in names:
        (shop.folder / name).unlink()
    shop.put("id,amount\n999,1\n", "orders-last.csv")
    shop.load(**entry)


def test_only_bytes_that_nothing_needs_go(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n", "orders-done.csv")
    shop.send("id,amount\n2,x\n3,3\n", "orders-held.csv", tolerance=1)
    shop.send("other,thing\n2,x\n", "orders-refused.csv")
    shop.send("id,amount\n7,7\n", "orders-stands.csv")
    withdraw(shop, "orders-done.csv", "orders-held.csv", "orders-refused.csv")
    found = prune(keeping(shop, landing=NOTHING))
    (done,) = (item for item in found.gone if item.kind == "landing")
    assert done.name == "orders-done.csv"
    assert done.why == "shop.orders: all loaded, older than keep.landing"
    assert left(shop) == {
        "orders-held.csv", "orders-refused.csv", "orders-stands.csv", "orders-last.csv"
    }  # fmt: skip
    assert {item.why for item in found.kept if item.kind == "landing"} == {
        "shop.orders: rows of theirs wait in quarantine",
        "shop.orders: refused, and nowhere else",
        "shop.orders: they stand at the source",
    }


def test_bytes_that_make_no_rows_stay(shop: Shop) -> None:
    shop.send("a letter", "orders.bin", format="bytes")
    shop.put("another", "orders2.bin")
    (shop.folder / "orders.bin").unlink()
    shop.load(format="bytes")
    found = plan(keeping(shop, landing=NOTHING))
    assert gone(found, "landing") == []
    assert "no rows are made of them" in " ".join(item.why for item in found.kept)


def test_young_bytes_stay(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n", "orders-done.csv")
    withdraw(shop, "orders-done.csv")
    found = plan(keeping(shop, landing=timedelta(days=1)))
    assert gone(found, "landing") == []


def test_sidecar_stays_and_nothing_is_loaded_twice(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n", "orders-done.csv")
    withdraw(shop, "orders-done.csv")
    before = shop.orders()
    prune(keeping(shop, landing=NOTHING))
    (landed,) = (a for a in arrivals(shop.settings) if a.original_name == "orders-done.csv")
    assert landed.pruned_at
    with pytest.raises(LakeError, match=r"orders-done\.csv are pruned on \d{4}-"):
        open_bytes(shop.settings, landed_as(shop.settings, landed.batch_id))
    again = shop.load()
    assert (again.batches, again.problems, shop.orders()) == (0, (), before)
    shop.put("id,amount\n1,1\n", "orders-again.csv")  # its bytes come again
    again = shop.load()
    assert (again.batches, again.problems, shop.orders()) == (0, (), before)
    assert "orders-done.csv" in left(shop)


def test_members_of_a_pruned_zip_are_known(shop: Shop) -> None:
    with zipfile.ZipFile(shop.folder / "orders.zip", "w") as archive:
        archive.writestr("a.csv", "id,amount\n1,1\n")
        archive.writestr("b.csv", "id,amount\n2,2\n")
    shop.load()
    withdraw(shop, "orders.zip")
    before = shop.orders()
    prune(keeping(shop, landing=NOTHING))
    assert "orders.zip" not in left(shop)
    again = shop.load()
    assert (again.batches, again.problems, shop.orders()) == (0, (), before)


def test_newer_file_stays_as_long_as_an_older_one_is_compared_with_it(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n", "orders1.csv", write="merge")
    shop.send("id,amount\n1,x\n2,2\n", "orders2.csv", write="merge")
    shop.send("id,amount\n1,1\n2,2\n", "orders3.csv", write="merge")
    withdraw(shop, "orders1.csv", "orders2.csv", "orders3.csv", write="merge")
    prune(keeping(shop, landing=NOTHING))
    assert left(shop) == {"orders2.csv", "orders3.csv", "orders-last.csv"}
    sources = declared(shop, write="merge", **WIDE)
    (done,) = replay(shop.settings, sources, Chosen("shop.orders"), "a replay")
    assert done.problem is None
    assert shop.orders()[:2] == [(1, "1"), (2, "2")]


@pytest.mark.parametrize("accept", [False, True])
def test_rebuild_refuses_rather_than_lose_rows(shop: Shop, accept: bool) -> None:
    shop.send("id,amount\n1,1\n", "orders-done.csv")
    withdraw(shop, "orders-done.csv")
    before = shop.orders()
    prune(keeping(shop, landing=NOTHING))
    with pytest.raises(LakeError, match="raw bytes of 1 loaded batch were pruned"):
        rebuild(shop.settings, declared(shop), accept=accept)
    assert shop.orders() == before


def test_lost_lake_comes_back_without_pruned_rows_only_if_that_is_accepted(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n", "orders-done.csv")
    withdraw(shop, "orders-done.csv")
    prune(keeping(shop, landing=NOTHING))
    shutil.rmtree(shop.settings.lake_catalog.parent)
    with pytest.raises(LakeError, match="give those rows up for ever"):
        rebuild(shop.settings, declared(shop))
    assert rebuild(shop.settings, declared(shop), accept=True).swapped
    assert shop.orders() == [(999, 1.0)]


@pytest.mark.parametrize("spoil", ["lose", "damage"])
def test_nothing_goes_from_landing_when_the_lake_is_not_whole(shop: Shop, spoil: str) -> None:
    shop.send(many(0), "orders-done.csv")
    withdraw(shop, "orders-done.csv")
    if spoil == "lose":
        shutil.rmtree(shop.settings.lake_catalog.parent)
    else:
        next(shop.settings.lake_data.rglob("*.parquet")).write_bytes(b"short")
        assert len(missing_files(shop.settings)) == 1
    assert gone(plan(keeping(shop, landing=NOTHING)), "landing") == []


LEDGER = (
    "select source_file, status, rows_in, loaded, quarantined, already_known, refused, deleted"
    " from lake.meta.batches order by all"
)
# A name may come again with other content, and content under the same or another name.
SENT = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.lists(st.tuples(st.integers(0, 2), st.sampled_from("12x")), min_size=1, max_size=3),
        st.sampled_from([0, 1]),
    ),
    min_size=2,
    max_size=6,
)


def history(folder: Path, sent: list[Any], write: str, *, is_pruned: bool) -> list[Any]:
    """What became of the files, of what waited of them, and how much of them is kept."""
    keep = replace(STRICT, landing=NOTHING)
    shop = Shop(Settings(folder / "home", 2, "1GiB", keep=keep), folder / "shop")
    for name, rows, tolerance in sent:
        text = "id,amount\n" + "".join(f"{key},{amount}\n" for key, amount in rows)
        shop.send(text, f"orders{name}.csv", write=write, tolerance=tolerance)
        if is_pruned:
            prune(shop.settings)
    shop.load(write=write, **WIDE)
    mended = replay(
        shop.settings, declared(shop, write=write, **WIDE), Chosen("shop.orders"), "a replay"
    )
    problems = [(done.file, done.counts, done.problem) for done in mended]
    return [shop.orders(), [row[:2] for row in shop.quarantine()], shop.ask(LEDGER), problems]


@pytest.mark.slow
@given(sent=SENT, write=st.sampled_from(["append", "merge", "snapshot"]))
def test_whatever_arrives_is_the_same_with_pruning_and_without(sent: list[Any], write: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lake, "connect", Connection)
        patch.setattr(quarantine, "connect", Connection)
        ends = []
        for is_pruned in (False, True):
            with TemporaryDirectory() as folder:
                ends.append(history(Path(folder), sent, write, is_pruned=is_pruned))
        assert ends[0] == ends[1]


# -- killed -------------------------------------------------------------------------------------

KILLED = """
import os, sys
from datetime import timedelta
from pathlib import Path

from warehouse import maintenance
from warehouse.retention import prune
from warehouse.settings import Keep, Settings

left = int(sys.argv[2])


def step():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), 9)


sys.addaudithook(lambda event, _: event in {"os.rename", "os.remove", "os.rmdir"} and step())


class Counting:
    def __init__(self, inner):
        self.inner = inner

    def __enter__(self):
        self.con = self.inner.__enter__()
        return self

    def __exit__(self, *error):
        return self.inner.__exit__(*error)

    def execute(self, sql):
        step()
        self.con.execute(sql)
        step()


writing = maintenance.writing
maintenance.writing = lambda settings: Counting(writing(settings))
none = timedelta(0)
keep = Keep(releases=2, reports=none, logs=none, snapshots=none, landing=none)
prune(Settings(Path(sys.argv[1]), 2, "1GiB", keep=keep))
print(left)
"""


def kill_and_prune_again(shop: Shop, copy: Callable[[], Path], moment: int) -> bool:
    """Prune a copy of the home, killed at the moment; whether it was not over before."""
    home = copy()
    command = [sys.executable, "-c", KILLED, str(home), str(moment)]
    killed = subprocess.run(command, check=False, capture_output=True, text=True)
    assert killed.returncode in (0, -9), killed.stderr
    settings = replace(shop.settings, home=home, keep=replace(STRICT, landing=NOTHING))
    there = {made.id for made in releases.releases(settings)}
    serving = current(settings)
    assert serving is not None
    assert serving.id == numbered(5)
    assert there >= {numbered(2), numbered(4), numbered(5)}
    for place in settings.features.glob("*/r*"):
        assert (place / "data.parquet").exists()
    for landed in arrivals(settings):
        assert landed.pruned_at or content_path(settings, landed.sha256).exists()
    shop.settings = settings
    assert shop.load(write="snapshot").problems == ()
    prune(settings)
    assert plan(settings).gone == ()
    assert shop.orders() == EXPECTED
    return killed.returncode == -9


EXPECTED = [(50_000 + n, n + 0.5) for n in range(3_000)]


def check_kills(shop: Shop, moments: range) -> int:
    home, number = shop.settings.home, iter(range(10**6))

    def copy() -> Path:
        return Path(shutil.copytree(home, home.with_name(f"home{next(number)}"), symlinks=True))

    return sum(kill_and_prune_again(shop, copy, moment) for moment in moments)


def test_killed_pruning_is_ended_by_the_next(full: Shop) -> None:
    assert check_kills(full, range(2, 40, 12)) == 4


@pytest.mark.slow
def test_pruning_killed_at_every_third_step(full: Shop) -> None:
    assert check_kills(full, range(1, 90, 3)) >= 13
