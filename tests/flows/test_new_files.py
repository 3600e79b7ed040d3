"""Whether files came that no run has taken: over real files, written slowly, replaced, removed."""

from __future__ import annotations

import os
import shutil
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from handmade import sources_file

from flows.schedules import LONGEST_PAUSE, PATIENCE, NewFiles, Schedule, Watch
from warehouse.ingest import land_sources
from warehouse.listed import note_taken
from warehouse.settings import Settings
from warehouse.sources import load_sources

ORDERS = {"name": "shop.orders", "path": "orders/*.csv"}
RETURNS = {"name": "shop.returns", "path": "returns/*.csv", "optional": True}
ROWS = "id,amount\n1,10\n"


class Shop:
    """Two sources in a folder, what a watch over them says, and runs that take what is there."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.told: list[str] = []
        self.file = sources_file(folder, ORDERS, RETURNS)
        (folder / "orders").mkdir()
        (folder / "returns").mkdir()
        self.watch = self.started()

    def started(self, *only: str) -> Watch:
        """A watch as a process that was started just now has it."""
        schedule = Schedule("pipeline", only, NewFiles(timedelta(minutes=1)))
        sources = load_sources(self.file, self.settings)
        return Watch(self.settings, schedule, sources, self.told.append)

    def put(self, name: str, text: str = ROWS) -> Path:
        file = self.folder / name
        file.write_text(text)
        return file

    def looks(self, count: int = 3) -> list[bool]:
        return [self.watch.arrived() for _ in range(count)]

    def run(self, name: str = "") -> None:
        """Land what stands at the sources, and note it as a run does that has loaded it."""
        sources = load_sources(self.file, self.settings)
        taken = [source for source in sources if name in ("", source.name)]
        note_taken(self.settings, land_sources(self.settings, taken).listed)


@pytest.fixture
def shop(settings: Settings, tmp_path: Path) -> Shop:
    return Shop(settings, tmp_path / "shop")


def test_nothing_is_nothing_new(shop: Shop) -> None:
    assert shop.looks() == [False] * 3
    assert shop.told == []


def test_file_is_new_when_two_looks_find_it_alike(shop: Shop) -> None:
    shop.put("orders/a.csv")
    assert shop.looks(2) == [False, True]
    shop.run()
    assert shop.looks() == [False] * 3


def test_file_that_is_being_written_is_not_taken(shop: Shop) -> None:
    with (shop.folder / "orders" / "a.csv").open("w") as handle:
        for number in range(5):
            handle.write(f"{number},1\n")
            handle.flush()
            assert not shop.watch.arrived()
    assert shop.looks(1) == [True]


def test_growing_file_holds_up_those_that_are_whole(shop: Shop) -> None:
    shop.put("orders/a.csv")
    for number in range(2 * PATIENCE):
        shop.put("orders/log.csv", ROWS * (number + 1))
        assert not shop.watch.arrived()
    assert shop.looks(1) == [True]


def test_files_that_come_all_the_time_hold_up_nothing_for_long(shop: Shop) -> None:
    said = []
    for number in range(PATIENCE + 5):
        shop.put(f"orders/{number}.csv", f"id\n{number}\n")
        said.append(shop.watch.arrived())
    assert said.index(True) == PATIENCE


def test_file_that_is_renamed_in_is_new(shop: Shop) -> None:
    shop.put("orders/a.part")
    assert shop.looks(2) == [False, False]
    (shop.folder / "orders" / "a.part").rename(shop.folder / "orders" / "a.csv")
    assert shop.looks(2) == [False, True]


def test_file_that_is_replaced_is_new_even_by_one_of_its_size_and_time(shop: Shop) -> None:
    file = shop.put("orders/a.csv", "id\n1\n")
    shop.run()
    before = file.stat()
    other = shop.put("orders/other", "id\n2\n")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert shop.looks(2) == [False, True]


def test_file_that_is_removed_is_nothing_new(shop: Shop) -> None:
    file = shop.put("orders/a.csv")
    shop.put("orders/b.csv")
    shop.run()
    file.unlink()
    assert shop.looks() == [False] * 3


def test_file_that_goes_before_it_is_taken_is_forgotten(shop: Shop) -> None:
    file = shop.put("orders/a.csv")
    assert shop.looks(1) == [False]
    file.unlink()
    assert shop.looks() == [False] * 3


def test_what_was_taken_is_known_after_a_restart(shop: Shop) -> None:
    shop.put("orders/a.csv")
    shop.run()
    shop.watch = shop.started()
    assert shop.looks() == [False] * 3
    shop.put("orders/b.csv")
    shop.watch = shop.started()
    assert shop.looks(2) == [False, True]


def test_known_bytes_are_asked_for_once(shop: Shop) -> None:
    file = shop.put("orders/a.csv")
    shop.run()
    shutil.copy(file, shop.folder / "orders" / "copy.csv")
    os.utime(file)
    assert shop.looks(2) == [False, True]
    shop.run()
    assert shop.looks() == [False] * 3


def test_file_that_is_opened_to_us_is_asked_for_again(shop: Shop) -> None:
    file = shop.put("orders/a.csv")
    file.chmod(0)
    shop.run()
    assert shop.looks(2) == [False, False]
    file.chmod(0o644)
    assert shop.looks(2) == [False, True]


def test_run_that_takes_nothing_is_asked_for_ever_more_rarely(shop: Shop) -> None:
    shop.put("orders/a.csv")
    asked = [n for n, said in enumerate(shop.looks(1000)) if said]
    pauses = [after - before for before, after in pairwise(asked)]
    assert asked[0] == 1
    assert pauses[:4] == [2, 3, 5, 9]
    assert set(pauses[6:]) == {LONGEST_PAUSE + 1}
    shop.put("orders/b.csv")
    assert shop.looks(2) == [False, True]


def test_watch_of_a_source_looks_at_that_alone(shop: Shop) -> None:
    shop.watch = shop.started("shop.returns")
    shop.put("orders/a.csv")
    assert shop.looks() == [False] * 3
    shop.put("returns/a.csv")
    assert shop.looks(2) == [False, True]
    shop.run("shop.returns")
    assert shop.looks() == [False] * 3
    shop.watch = shop.started()
    assert shop.looks(2) == [False, True]  # the orders


def test_note_that_is_lost_costs_one_run(shop: Shop, settings: Settings) -> None:
    shop.put("orders/a.csv")
    shop.run()
    (settings.landing / "listed.json").write_text("{half")
    assert shop.looks(2) == [False, True]
    shop.run()
    assert shop.looks() == [False] * 3


def test_source_that_cannot_be_listed_is_told_once_and_holds_up_no_other(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import schedules

    listing = schedules.standing

    def failing(source: Any) -> Any:
        if source.name == "shop.returns":
            raise OSError("Stale file handle")
        return listing(source)

    monkeypatch.setattr(schedules, "standing", failing)
    shop.put("orders/a.csv")
    assert shop.looks(2) == [False, True]
    (told,) = shop.told
    assert "shop.returns" in told
    assert "Stale file handle" in told
    monkeypatch.setattr(schedules, "standing", listing)
    shop.looks(1)
    monkeypatch.setattr(schedules, "standing", failing)
    shop.looks(2)
    assert len(shop.told) == 2
