"""Which ticks are handled: counted by the clock, whatever was down meanwhile."""

from __future__ import annotations

import errno
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from flows import ticks
from flows.schedules import Cron, Every, Schedule
from flows.ticks import MOST_TRIES, Covers, TickBook, missed

START = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
HOURLY = Schedule("pipeline", (), Cron("0 * * * *"))
OFTEN = Schedule("shop.orders", ("shop.orders",), Every(timedelta(minutes=15)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ticks.json"


@pytest.fixture
def book(file: Path) -> TickBook:
    opened = TickBook(file)
    opened.keep_only([HOURLY, OFTEN], START)
    return opened


def hours(count: float) -> datetime:
    return START + timedelta(hours=count)


def test_nothing_is_due_before_the_first_tick(book: TickBook) -> None:
    assert book.due(HOURLY, hours(0.9)) is None


def test_missed_ticks_are_counted_with_their_span(book: TickBook) -> None:
    covers = book.due(HOURLY, hours(50))
    assert covers
    first, last = datetime(2026, 3, 1, 13, tzinfo=UTC), datetime(2026, 3, 3, 14, tzinfo=UTC)
    assert covers == Covers("pipeline", 50, first, last)
    assert covers.told == "covers 50 runs missed from 2026-03-01 13:00 UTC to 2026-03-03 14:00 UTC"
    told = {"schedule": "pipeline", "missed": 50}
    assert covers.as_json() == told | {"from": first.isoformat(), "to": last.isoformat()}


def test_what_is_handled_is_not_due_and_other_schedules_are(book: TickBook) -> None:
    book.handled({"pipeline": hours(50)})
    assert book.due(HOURLY, hours(50)) is None
    assert book.due(OFTEN, hours(50))


def test_what_is_handled_survives_a_restart(book: TickBook, file: Path) -> None:
    book.handled({"pipeline": hours(2)})
    again = TickBook(file)
    again.keep_only([HOURLY, OFTEN], hours(5))
    covers = again.due(HOURLY, hours(5))
    assert covers
    assert covers.ticks == 3


def test_handled_never_goes_back(book: TickBook) -> None:
    book.handled({"pipeline": hours(5)})
    book.handled({"pipeline": hours(2)})
    assert book.due(HOURLY, hours(5)) is None


def test_a_schedule_that_changed_starts_now(book: TickBook) -> None:
    every_minute = Schedule("pipeline", (), Cron("* * * * *"))
    book.keep_only([every_minute], hours(5))
    assert book.due(every_minute, hours(5)) is None


def test_a_clock_that_was_set_back_stops_no_schedule(book: TickBook) -> None:
    book.handled({"pipeline": hours(48)})
    assert book.due(HOURLY, START) is None
    covers = book.due(HOURLY, hours(1))
    assert covers
    assert covers.ticks == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pipeline": 1}', '{"pipeline": {}}'])
def test_a_damaged_file_lets_every_schedule_start_now(file: Path, text: str) -> None:
    file.write_text(text)
    book = TickBook(file)
    book.keep_only([HOURLY], START)
    assert book.due(HOURLY, START) is None
    assert book.due(HOURLY, hours(1))


def test_ticks_of_runs_that_crash_are_due_again_but_not_for_ever(book: TickBook) -> None:
    for tried in range(1, MOST_TRIES):
        book.crashed({"pipeline": hours(1)})
        assert book.tries("pipeline") == tried
        assert book.due(HOURLY, hours(1))
    book.crashed({"pipeline": hours(1)})
    assert book.due(HOURLY, hours(1)) is None
    assert book.tries("pipeline") == 0


def test_one_tick_in_time_is_no_catch_up() -> None:
    tick = datetime(2026, 3, 1, 13, tzinfo=UTC)
    one = Covers("pipeline", 1, tick, tick)
    assert missed(one, tick + timedelta(seconds=5)) is None
    assert missed(one, tick + timedelta(hours=8)) == one
    assert one.told == "covers a run missed at 2026-03-01 13:00 UTC"
    two = Covers("pipeline", 2, tick, tick + timedelta(minutes=15))
    assert missed(two, two.last) == two


def test_an_endless_outage_is_counted_from_its_last_quarter_of_a_year(book: TickBook) -> None:
    covers = book.due(HOURLY, START + timedelta(days=4000))
    assert covers
    assert covers.ticks == 92 * 24


def test_what_a_full_disk_does_not_take_is_not_known_either(
    book: TickBook, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ticks, "write_atomically", full)
        for _ in range(MOST_TRIES):  # each look of a worker that waits for space
            with pytest.raises(OSError, match="No space"):
                book.crashed({"pipeline": hours(2)})
        with pytest.raises(OSError, match="No space"):
            book.handled({"pipeline": hours(2)})
    assert book.tries("pipeline") == 0
    assert book.due(HOURLY, hours(2))
    book.crashed({"pipeline": hours(2)})
    assert book.tries("pipeline") == TickBook(file).tries("pipeline") == 1
