"""Sources whose files came in a rhythm and come no more."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest

from expectations.overdue import overdue
from warehouse.deliveries import Delivery

MONDAY = datetime(2026, 3, 2, 6, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def seen(times: Iterable[datetime]) -> list[Delivery]:
    return [Delivery(f"orders-{n}.csv", at, at) for n, at in enumerate(times)]


def daily(days: int, weekdays: int = 7, seed: int = 0) -> list[Delivery]:
    """A file on each of the week's first days, some minutes more or less after six."""
    chance = random.Random(seed)
    on = (MONDAY + n * DAY for n in range(days))
    return seen(at + chance.gauss(0, 0.1) * HOUR for at in on if at.weekday() < weekdays)


def told(came: list[Delivery], hours: float) -> str:
    """What is told so long after the last file."""
    return dict(overdue({"shop.orders": came}, came[-1].at + hours * HOUR)).get("shop.orders", "")


def test_daily_feed_is_overdue_on_the_second_day() -> None:
    came = daily(30)
    assert told(came, 30) == ""
    assert told(came, 49) == (
        "no file came since orders-29.csv, 49 hours ago; the next one usually comes after 24 hours"
    )
    assert told(came, 240).startswith("no file came since orders-29.csv, 10 days ago;")


@pytest.mark.parametrize("weeks", [2, 3, 4, 8])
def test_weekend_is_no_alarm_for_a_feed_of_weekdays(weeks: int) -> None:
    for seed in range(5):
        to_friday = daily(7 * weeks + 5, weekdays=5, seed=seed)
        assert to_friday[-1].at.weekday() == 4
        assert told(to_friday, 74) == ""
        assert told(to_friday, 24 * 14) != ""
        if weeks > 2:
            assert told(to_friday, 24 * 7).endswith("usually comes after 72 hours")
    to_tuesday = daily(7 * weeks + 2, weekdays=5)
    assert told(to_tuesday, 26) == ""
    assert told(to_tuesday, 24 * 14) != ""
    if weeks > 2:
        assert told(to_tuesday, 80).endswith("usually comes after 24 hours")


def test_nothing_is_claimed_of_fewer_than_nine_arrivals_and_less_in_two_weeks() -> None:
    assert told(daily(8), 24 * 100) == ""
    assert told(daily(10), 72) == ""
    assert told(daily(10), 24 * 5) != ""


def test_files_that_come_together_are_one_arrival() -> None:
    first_run = seen(MONDAY + n * timedelta(minutes=1) for n in range(50))
    assert told(first_run, 24 * 100) == ""
    threes = seen(at.at + n * timedelta(minutes=5) for at in daily(30) for n in range(3))
    assert told(threes, 30) == ""
    assert told(threes, 49) != ""


def test_old_files_that_were_loaded_at_once_are_no_feed_that_lives() -> None:
    written = [delivery.at for delivery in daily(60)]
    years_later = written[-1] + 700 * DAY
    came = [Delivery(f"{n}.csv", at, years_later) for n, at in enumerate(written)]
    assert dict(overdue({"shop.orders": came}, years_later + 9 * DAY)) == {}
    this_morning = [Delivery(f"{n}.csv", at, written[-1] + HOUR) for n, at in enumerate(written)]
    assert told(this_morning, 30) == ""
    assert told(this_morning, 49) != ""


def test_irregular_feed_is_let_be_for_long() -> None:
    chance = random.Random(3)
    at, times = MONDAY, []
    for _ in range(40):
        at += timedelta(hours=chance.expovariate(1 / 24))
        times.append(at)
    assert told(seen(times), 96) == ""


def test_nights_and_weekends_of_an_office() -> None:
    hours = (MONDAY + n * HOUR for n in range(24 * 32))
    came = seen(at for at in hours if at.weekday() < 5 and 8 <= at.hour < 18)
    for n in range(24 * 15, len(came) - 1):
        assert told(came[: n + 1], (came[n + 1].at - came[n].at) / HOUR) == ""


def test_promise_is_kept_on_feeds_that_come_as_they_always_did() -> None:
    looks = alarms = 0
    for seed in range(10):
        for weekdays in (5, 6, 7):
            came = daily(70, weekdays=weekdays, seed=seed)
            for n in range(9, len(came), 3):
                looks += 1
                alarms += bool(told(came[:n], (came[n].at - came[n - 1].at) / HOUR))
    assert looks > 400
    assert alarms <= 0.01 * looks


def test_usual_silence_costs_next_to_nothing() -> None:
    came = {f"shop.s{n}": daily(400, weekdays=5, seed=n) for n in range(10)}
    latest = max(files[-1].at for files in came.values())
    started = time.process_time()
    assert dict(overdue(came, latest + 20 * HOUR)) == {}
    assert time.process_time() - started < 0.05
    lines = "import sys, expectations.overdue; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", lines], check=False).returncode == 0
