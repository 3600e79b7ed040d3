"""Files that come and bring nothing new: told where that is not usual of their source."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from handmade import sources_file
from shop import ORDERS

from warehouse.deliveries import repeats
from warehouse.ingest import Arrivals, SourceSummary, land_sources, load_sources
from warehouse.settings import Settings
from warehouse.sources import load_sources as read_sources

EARLIER = 9


class Feed:
    """A source that sends numbered files, and a run at a time over what stands in its folder."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self._runs = count(1)
        folder.mkdir()

    def put(self, name: str, *ids: int) -> Path:
        return self.write(name, "".join(["id,amount\n", *(f"{n},{n}\n" for n in ids)]))

    def write(self, name: str, text: str) -> Path:
        """A file that is written later than all that came before."""
        file = self.folder / name
        file.write_text(text)
        os.utime(file, ns=(time.time_ns(), time.time_ns()))
        return file

    def run(self, **changes: Any) -> SourceSummary:
        return self.landed_and_loaded(**changes)[1]

    def landed_and_loaded(self, **changes: Any) -> tuple[Arrivals, SourceSummary]:
        sources = read_sources(sources_file(self.folder, ORDERS | changes), self.settings)
        landed = land_sources(self.settings, sources)
        summaries, _ = load_sources(self.settings, sources, landed, f"run {next(self._runs)}")
        return landed, summaries["shop.orders"]


@pytest.fixture(scope="module")
def nine_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that loaded nine files, each with news, in one run."""
    folder = tmp_path_factory.mktemp("feed")
    feed = Feed(Settings(home=folder / "home", threads=2, memory_limit="1GiB"), folder / "in")
    for day in range(EARLIER):
        feed.put(f"orders-{day}.csv", day)
    assert feed.run().counts.loaded == EARLIER
    return folder


@pytest.fixture
def feed(nine_days: Path, tmp_path: Path) -> Iterator[Feed]:
    shutil.copytree(nine_days / "home", tmp_path / "home", symlinks=True)
    made = Feed(Settings(tmp_path / "home", threads=2, memory_limit="1GiB"), tmp_path / "in")
    made.put("orders-8.csv", 8)
    os.utime(made.folder / "orders-8.csv", ns=(1, 1))
    made._runs = count(2)
    yield made


def test_yesterdays_file_under_todays_name_is_told_once(feed: Feed) -> None:
    feed.put("orders-9.csv", 8)
    summary = feed.run()
    assert summary.nothing_new == (
        "nothing new came: orders-9.csv is orders-8.csv, byte by byte; so it was with none before"
    )
    assert summary.warnings == (summary.nothing_new,)
    assert not summary.problems
    assert not feed.run().warnings
    assert len(repeats(feed.settings, "shop.orders")) == 1


def test_file_whose_rows_are_all_known_is_told_and_so_is_one_without_rows(feed: Feed) -> None:
    feed.put("orders-9.csv", 7, 8)
    assert "orders-9.csv has 2 rows, known already" in feed.run().nothing_new
    assert not feed.run().warnings


def test_file_without_rows_is_told(feed: Feed) -> None:
    feed.put("orders-9.csv")
    assert "orders-9.csv has no rows; so it was with none before" in feed.run().nothing_new


def test_news_beside_the_known_is_enough(feed: Feed) -> None:
    feed.put("orders-9.csv", 9)
    feed.put("orders-9-again.csv", 9)
    feed.put("orders-9-export.csv", 9, 8)
    summary = feed.run()
    assert (summary.counts.loaded, summary.warnings) == (1, ())
    assert repeats(feed.settings, "shop.orders") == []
    assert not feed.run().warnings


def test_what_is_only_renamed_or_copied_brings_nothing_twice(feed: Feed, tmp_path: Path) -> None:
    (feed.folder / "orders-8.csv").rename(feed.folder / "orders-eight.csv")
    assert not feed.run().warnings
    (feed.folder / "orders-eight.csv").unlink()
    for day in range(EARLIER):
        feed.put(f"orders-{day}.csv", day)
    assert not feed.run().warnings
    shutil.copytree(feed.folder, tmp_path / "moved", copy_function=shutil.copyfile)
    feed.folder = tmp_path / "moved"
    assert not feed.run().warnings


def test_source_whose_files_often_repeat_is_let_be(feed: Feed) -> None:
    feed.put("orders-9.csv", 8)
    assert feed.run().warnings
    feed.put("orders-10.csv", 7)
    assert not feed.run().warnings  # one in ten is a habit
    feed.put("orders-11.csv", 7, 8)
    assert not feed.run().warnings


@pytest.mark.slow
def test_one_file_that_is_written_again_each_day(settings: Settings, tmp_path: Path) -> None:
    feed = Feed(settings, tmp_path / "in")
    entry: dict[str, Any] = {"path": "orders.csv", "write": "snapshot"}
    for day in range(EARLIER - 1):
        feed.put("orders.csv", day)
        assert not feed.run(**entry).warnings
    assert not feed.run(**entry).warnings  # it stands there as before
    feed.put("orders.csv", EARLIER - 2)
    told = feed.run(**entry).nothing_new
    assert "orders.csv is as it was, byte by byte; so it was with none before" in told
    assert not feed.run(**entry).warnings


def test_nothing_is_claimed_of_few_files(settings: Settings, tmp_path: Path) -> None:
    feed = Feed(settings, tmp_path / "in")
    for day in range(7):
        feed.put(f"orders-{day}.csv", day)
    feed.run()
    feed.put("orders-8.csv", 1)
    assert not feed.run().warnings


def test_deliveries_tell_when_files_were_written_and_never_a_time_to_come(feed: Feed) -> None:
    file = feed.put("orders-9.csv", 9)
    os.utime(file, ns=(time.time_ns() + 10**15, time.time_ns() + 10**15))
    landed, _ = feed.landed_and_loaded()
    came = landed.deliveries["shop.orders"]
    assert [delivery.file for delivery in came] == [f"orders-{day}.csv" for day in range(10)]
    assert all(delivery.at <= delivery.seen_at for delivery in came)
    assert came[-1].at == came[-1].seen_at
