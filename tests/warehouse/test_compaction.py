"""Merged files hold the rows that they held, in every snapshot, for every reader."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from handmade import sources_file
from hypothesis import given
from hypothesis import settings as search
from hypothesis import strategies as st
from shop import ORDERS, TABLE, Connection, Shop

from warehouse import compaction, quarantine
from warehouse.compaction import compact, small_files
from warehouse.duck import extension_file
from warehouse.errors import ClearwaterError
from warehouse.lake import catalog_snapshot, has_same_data
from warehouse.maintenance import maintain, missing_files
from warehouse.rebuild import rebuild
from warehouse.retention import plan, prune
from warehouse.settings import Keep
from warehouse.sources import load_sources

MERGE = {"write": "merge"}
Rows = list[tuple[Any, ...]]
STRICT = Keep(snapshots=timedelta(0))


@pytest.fixture(autouse=True)
def two_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MANY", 2)
    monkeypatch.setattr(quarantine, "connect", Connection)


def orders(first: int, rows: int = 30, amount: str = "{n}.5") -> str:
    """A file with more rows than are kept in the catalog itself."""
    lines = (f"{n},{amount.format(n=n)}" for n in range(first, first + rows))
    return "\n".join(["id,amount", *lines, ""])


def send(shop: Shop, *firsts: int, **entry: Any) -> None:
    for first in firsts:
        shop.send(orders(first), f"orders{first}.csv", **entry)


def data_files(shop: Shop) -> set[str]:
    return {file.name for file in shop.settings.lake_data.rglob("*.parquet")}


def everything(shop: Shop) -> dict[str, Rows]:
    """All rows of each snapshot with what they are known by, and what changed since some."""
    (found,) = shop.ask(
        "select snapshot_id from lake.snapshots() where snapshot_id >= (select begin_snapshot from"
        " __ducklake_metadata_lake.ducklake_table where table_name = 'orders') order by all"
    )
    numbers = [number for (number,) in found]
    queries = [f"select rowid, * from {TABLE} at (version => {n}) order by all" for n in numbers]
    for first in (numbers[0], numbers[len(numbers) // 2]):
        feed = f"ducklake_table_changes('lake', 'raw_shop', 'orders', {first}, {numbers[-1]})"
        queries.append(f"from {feed} order by all")
    return dict(zip(queries, shop.ask(*queries), strict=True))


def same(before: dict[str, Rows], shop: Shop) -> bool:
    """Whether all that was asked before has the same answer."""
    return shop.ask(*before) == list(before.values())


def test_small_files_become_one_and_hold_the_same(shop: Shop) -> None:
    send(shop, *range(0, 500, 100))
    before = everything(shop)
    (small,) = small_files(shop.settings)
    assert (small.schema, small.table, small.files) == ("raw_shop", "orders", 5)
    assert small.bytes == sum(f.stat().st_size for f in shop.settings.lake_data.rglob("*.parquet"))
    assert compact(shop.settings) == ["5 small files of raw_shop.orders merged into 1"]
    assert same(before, shop)
    assert small_files(shop.settings) == []
    assert compact(shop.settings) == []
    assert missing_files(shop.settings) == []


def test_few_files_and_large_ones_are_left_alone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(shop, 0, 100)
    monkeypatch.setattr(compaction, "MANY", 3)
    assert compact(shop.settings) == []
    send(shop, 200)
    monkeypatch.setattr(compaction, "SMALL_BYTES", 100)
    assert compact(shop.settings) == []


def test_no_data_is_new_after_it(shop: Shop) -> None:
    send(shop, 0, 100)
    before = catalog_snapshot(shop.settings)
    compact(shop.settings)
    after = catalog_snapshot(shop.settings)
    assert after > before
    assert has_same_data(shop.settings, before, after)
    send(shop, 200)
    assert not has_same_data(shop.settings, after, catalog_snapshot(shop.settings))


def test_lake_made_again_is_equal(shop: Shop) -> None:
    send(shop, 0, 100, 50, **MERGE)
    compact(shop.settings)
    sources = load_sources(sources_file(shop.folder, ORDERS | MERGE), shop.settings)
    assert rebuild(shop.settings, sources, dry_run=True).is_equal


def test_merged_files_stay_for_readers_until_they_are_pruned(shop: Shop) -> None:
    send(shop, 0, 100)
    merged = data_files(shop)
    compact(shop.settings)
    assert merged < data_files(shop)
    keeping = replace(shop.settings, keep=STRICT)
    (item,) = [item for item in plan(keeping).gone if item.kind == "orphans"]
    assert (item.count, item.bytes > 0) == (2, True)
    before = shop.orders()
    prune(keeping)
    assert merged.isdisjoint(data_files(shop))
    assert shop.orders() == before
    assert plan(keeping).gone == ()


def test_next_merging_removes_those_of_a_day_ago(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(shop, 0, 100)
    merged = data_files(shop)
    compact(shop.settings)
    send(shop, 200)
    compact(shop.settings)
    assert merged < data_files(shop)
    monkeypatch.setattr(compaction, "FOR_READERS", "now() + interval '1 day'")
    send(shop, 300)
    compact(shop.settings)
    assert merged.isdisjoint(data_files(shop))


def test_what_cannot_be_merged_is_told_and_stays(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(shop, 0, 100)
    before, files = everything(shop), data_files(shop)
    number = catalog_snapshot(shop.settings)

    def fail(*_: object) -> None:
        raise duckdb.InvalidInputException("no such luck\nat all")

    with monkeypatch.context() as patch:
        patch.setattr(compaction, "describe_commit", fail)
        (told,) = compact(shop.settings)
    assert told == "2 small files of raw_shop.orders cannot be merged: no such luck"
    assert same(before, shop)
    assert catalog_snapshot(shop.settings) == number
    assert files <= data_files(shop)
    maintain(shop.settings)
    assert data_files(shop) == files


OPERATIONS = st.lists(
    st.sampled_from(["new", "again", "wider", "tiny", "compact", "expire"]),
    min_size=4,
    max_size=9,
)


@pytest.mark.slow
@given(operations=OPERATIONS, seed=st.integers(0, 10_000))
@search(max_examples=6)
def test_any_history_is_the_same_before_and_after(
    shop: Shop, empty_lake: Path, operations: list[str], seed: int
) -> None:
    with fresh(shop, empty_lake):
        expected: dict[int, float] = {}
        rng = random.Random(seed)
        send_some(shop, "new", rng, expected, 0)
        for number, operation in enumerate([*operations, "compact"], 1):
            if operation == "compact":
                before = everything(shop)
                files = sum(small.files for small in small_files(shop.settings))
                told = compact(shop.settings)
                assert sum(int(line.split()[0]) for line in told) == files
                assert same(before, shop)
            elif operation == "expire":
                maintain(shop.settings, days=0)
            else:
                send_some(shop, operation, rng, expected, number)
            assert {row[0]: row[1] for row in shop.orders()} == expected
            assert missing_files(shop.settings) == []


def send_some(
    shop: Shop, kind: str, rng: random.Random, expected: dict[int, float], number: int
) -> None:
    """A file of new rows, of known keys with other amounts, with one more column, or with few."""
    rows = 4 if kind == "tiny" else 30
    first = rng.randrange(0, 200) if kind == "again" else 1_000 * number
    amounts = {n: rng.randrange(10_000) / 4 for n in range(first, first + rows)}
    expected |= amounts
    more = (f",c{number}", ",x") if kind == "wider" else ("", "")
    lines = [f"{n},{amount}{more[1]}" for n, amount in amounts.items()]
    shop.send("\n".join([f"id,amount{more[0]}", *lines, ""]), f"orders{number}.csv", **MERGE)


@contextmanager
def fresh(shop: Shop, empty_lake: Path) -> Iterator[None]:
    """The shop with nothing in it, for one example."""
    for folder in (shop.settings.home, shop.folder):
        shutil.rmtree(folder)
    shutil.copytree(empty_lake, shop.settings.home)
    shop.folder.mkdir()
    yield


def test_encrypted_lake_stays_so(shop: Shop) -> None:
    try:
        extension_file("httpfs")
    except ClearwaterError as error:
        pytest.skip(error.what)
    shutil.rmtree(shop.settings.home)
    shop.settings = replace(shop.settings, encrypted=True)
    send(shop, 0, 100)
    before = everything(shop)
    assert compact(shop.settings) == ["2 small files of raw_shop.orders merged into 1"]
    assert same(before, shop)
    heads = [file.read_bytes()[:4] for file in shop.settings.lake_data.rglob("*.parquet")]
    assert heads == [b"PARE"] * len(heads)


COMPACTING = """
import sys
from pathlib import Path
from warehouse import compaction
from warehouse.lock import writer_lock
from warehouse.settings import Settings

settings = Settings(Path(sys.argv[1]), 2, "1GiB")
compaction.MANY = 2
with writer_lock(settings):
    print("begins", flush=True)
    compaction.compact(settings)
    print("done", flush=True)
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_leaves_either_state(shop: Shop) -> None:
    for first in range(0, 36_000, 3_000):
        shop.send(orders(first, 3_000), f"orders{first}.csv")
    before = everything(shop)
    whole = shop.settings
    took = compacting(copied(whole.home), 60)
    rng = random.Random()
    seen = set()
    for _ in range(8):
        home = copied(whole.home)
        compacting(home, rng.uniform(0, took))
        shop.settings = replace(whole, home=home)
        assert same(before, shop)
        assert missing_files(shop.settings) == []
        is_merged = small_files(shop.settings) == []
        seen.add(is_merged)
        compact(shop.settings)
        assert same(before, shop)
        keeping = replace(shop.settings, keep=STRICT)
        prune(keeping)
        assert plan(keeping).gone == ()
        assert len(shop.orders()) == 36_000
        shutil.rmtree(home.parent)
    shop.settings = whole
    assert False in seen


def copied(home: Path) -> Path:
    """A copy of the home, in a folder of its own."""
    return Path(shutil.copytree(home, Path(tempfile.mkdtemp(dir=home.parent)) / "home"))


def compacting(home: Path, seconds: float) -> float:
    """Merge in a process that is killed after so long since it began; how long it was at work."""
    with subprocess.Popen(
        [sys.executable, "-c", COMPACTING, str(home)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        began = time.monotonic()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait()
    return time.monotonic() - began
