"""When schedules are due: across clock changes, in any slicing, and as Prefect has it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from handmade import PAYMENTS, sources_file
from hypothesis import given
from hypothesis import strategies as st

from flows.schedules import (
    Cron,
    Every,
    NewFiles,
    Schedule,
    Trigger,
    declared,
    next_after,
    ticks,
)
from warehouse.settings import PROJECT, Settings

if TYPE_CHECKING:
    from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
START, END = datetime(2025, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "America/Santiago",
    "Africa/Casablanca",
    "Africa/Cairo",
    "UTC",
)
DAILY = ("0 0 * * *", "45 1 * * *", "0 2 * * *", "30 2 * * *", "0 6 * * *")
CRONS = (
    *DAILY,
    "0 1-5 * * *",
    "0 */2 * * *",
    "*/20 2 * * *",
    "59 1,2 * * *",
    "0 6 * * MON-FRI",
    "0 6 1 * 1",
    "0 6 L * *",
    "0 6 * * 1#2",
)
HOURLY = ("0 * * * *", "*/30 * * * *", "15,45 0-23 * * *")
# A day on which the clocks change, or not: where, and the times of a schedule in UTC.
SPRING, AUTUMN = "2025-03-30", "2025-10-26"
CHANGES = [
    ("Europe/Berlin", SPRING, "0 2 * * *", ["01:00"]),
    ("Europe/Berlin", SPRING, "30 2 * * *", ["01:30"]),
    ("Europe/Berlin", SPRING, "30 1,2,3 * * *", ["00:30", "01:30"]),
    ("Europe/Berlin", SPRING, "59 2 * * *", ["01:59"]),
    ("Europe/Berlin", SPRING, "30,45 2,3 * * *", ["01:30", "01:45"]),
    ("Europe/Berlin", AUTUMN, "0 2 * * *", ["00:00"]),
    ("Europe/Berlin", AUTUMN, "30 2 * * *", ["00:30"]),
    ("Europe/Berlin", AUTUMN, "30 1,2,3 * * *", ["23:30", "00:30", "02:30"]),
    ("Europe/Berlin", AUTUMN, "*/30 2 * * *", ["00:00", "00:30"]),
    ("America/New_York", "2025-03-09", "30 2 * * *", ["07:30"]),
    ("America/New_York", "2025-11-02", "30 1 * * *", ["05:30"]),
    ("Australia/Lord_Howe", "2025-10-05", "0 2 * * *", ["15:30"]),
    ("Australia/Lord_Howe", "2025-04-06", "45 1 * * *", ["14:45"]),
    ("America/Santiago", "2025-09-07", "0 0 * * *", ["04:00"]),
    ("Asia/Kolkata", SPRING, "0 2 * * *", ["20:30"]),
]


def schedule(trigger: Trigger) -> Schedule:
    return Schedule("pipeline", (), trigger)


def local_day(zone: str, day: str) -> tuple[datetime, datetime]:
    """The moments just before the local day begins, and just before it ends."""
    start = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone))
    second = timedelta(seconds=1)
    end = (start + DAY).astimezone(UTC) - second
    return start.astimezone(UTC) - second, end


def changes(zone: str) -> Iterator[datetime]:
    """The days, in UTC, before the clocks are changed."""
    local, day = ZoneInfo(zone), START
    while day < END:
        if day.astimezone(local).utcoffset() != (day + DAY).astimezone(local).utcoffset():
            yield day
        day += DAY


def by_prefect(
    prefect: CronSchedule | IntervalSchedule, after: datetime, upto: datetime
) -> list[datetime]:
    dates = prefect._get_dates_generator(n=900, start=after + timedelta(seconds=1), end=upto)
    return sorted(datetime.fromtimestamp(date.timestamp(), UTC) for date in dates)


@pytest.mark.parametrize(("zone", "day", "cron", "times"), CHANGES)
def test_each_local_time_is_due_once_when_the_clocks_change(
    zone: str, day: str, cron: str, times: list[str]
) -> None:
    due = ticks(schedule(Cron(cron, zone)), *local_day(zone, day))
    assert [f"{moment:%H:%M}" for moment in due] == times


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("trigger", [*DAILY, "every"])
def test_daily_schedule_is_due_once_each_local_day(zone: str, trigger: str) -> None:
    daily = Every(DAY, zone) if trigger == "every" else Cron(trigger, zone)
    local = ZoneInfo(zone)
    due = [moment.astimezone(local) for moment in ticks(schedule(daily), START, END)]
    assert all(after.date() - before.date() == DAY for before, after in pairwise(due))
    assert due[0] - START <= DAY
    assert END - due[-1] < 2 * DAY
    usual = due[0].time()
    late = [moment for moment in due if moment.time() != usual]
    assert len(late) <= 2  # on the two days of which the clock leaves that time out
    assert all(moment.time() > usual for moment in late)


@pytest.mark.parametrize("zone", [zone for zone in ZONES if zone != "Australia/Lord_Howe"])
def test_hourly_schedule_is_due_each_elapsed_hour(zone: str) -> None:
    for day in changes(zone):
        due = ticks(schedule(Cron("0 * * * *", zone)), day - DAY, day + 3 * DAY)
        assert {after - before for before, after in pairwise(due)} == {HOUR}
        due = ticks(schedule(Cron("*/30 * * * *", zone)), day - DAY, day + 3 * DAY)
        assert {after - before for before, after in pairwise(due)} == {HOUR / 2}


def test_hourly_schedule_keeps_its_minute_where_clocks_change_by_half_an_hour() -> None:
    """Between full hours of the wall clock then lie 90 minutes once, and 30 once."""
    hourly = schedule(Cron("0 * * * *", "Australia/Lord_Howe"))
    steps = {
        after - before
        for day in changes("Australia/Lord_Howe")
        for before, after in pairwise(ticks(hourly, day - DAY, day + 3 * DAY))
    }
    assert steps == {HOUR / 2, HOUR, HOUR * 1.5}


@pytest.mark.parametrize("hours", [1, 7, 36])
def test_span_without_whole_days_is_the_same_elapsed_time(hours: int) -> None:
    due = ticks(schedule(Every(hours * HOUR)), START, START + 30 * DAY)
    assert {after - before for before, after in pairwise(due)} == {hours * HOUR}


def test_weekly_span_is_due_on_mondays() -> None:
    due = ticks(schedule(Every(7 * DAY, "Europe/Berlin")), START, END)
    local = [moment.astimezone(ZoneInfo("Europe/Berlin")) for moment in due]
    assert {f"{moment:%a %H:%M}" for moment in local} == {"Mon 00:00"}


def test_moment_itself_is_not_after_it() -> None:
    hourly = schedule(Cron("0 * * * *", "Europe/Berlin"))
    assert next_after(hourly, START) == START + HOUR
    assert next_after(hourly, START - timedelta(microseconds=1)) == START
    assert next_after(schedule(Every(HOUR)), START) == START + HOUR
    assert next_after(schedule(Every(DAY)), START) == START + DAY
    assert ticks(hourly, START, START + HOUR) == [START + HOUR]
    assert ticks(hourly, START, START) == []


def test_moments_are_of_utc_whatever_zone_is_asked_in() -> None:
    asked = datetime(2025, 6, 1, 4, tzinfo=ZoneInfo("Asia/Kolkata"))
    due = next_after(schedule(Cron("0 6 * * *", "Europe/Berlin")), asked)
    assert due == datetime(2025, 6, 1, 4, tzinfo=UTC)
    assert due.tzinfo is UTC


def test_moment_without_a_zone_is_refused() -> None:
    for trigger in (Cron("0 6 * * *"), Every(DAY), Every(HOUR), NewFiles(HOUR)):
        with pytest.raises(ValueError, match="no time zone"):
            next_after(schedule(trigger), datetime(2025, 1, 1))  # noqa: DTZ001


def test_new_files_have_no_moments() -> None:
    watch = schedule(NewFiles(HOUR))
    assert next_after(watch, START) is None
    assert ticks(watch, START, END) == []


def test_rare_day_is_found() -> None:
    leap = schedule(Cron("0 6 29 2 *", "Europe/Berlin"))
    assert next_after(leap, START) == datetime(2028, 2, 29, 5, tzinfo=UTC)


@st.composite
def triggers(draw: st.DrawFn) -> Trigger:
    zone = draw(st.sampled_from(ZONES))
    if draw(st.booleans()):
        return Cron(draw(st.sampled_from([*CRONS, *HOURLY])), zone)
    whole = draw(st.booleans())
    span = timedelta(days=draw(st.integers(1, 9))) if whole else timedelta(minutes=7)
    return Every(span, zone if whole else "UTC")


@st.composite
def moments(draw: st.DrawFn) -> datetime:
    """Often near a change of clocks."""
    zone = draw(st.sampled_from(ZONES))
    day = draw(st.sampled_from([START, *changes(zone)]))
    return day + timedelta(seconds=draw(st.integers(0, 2 * 86_400)))


@given(triggers(), moments(), st.tuples(st.integers(0, 100), st.integers(0, 100)))
def test_slices_of_time_have_the_moments_of_the_whole(
    trigger: Trigger, first: datetime, hours: tuple[int, int]
) -> None:
    due = schedule(trigger)
    second = first + hours[0] * HOUR
    third = second + hours[1] * HOUR
    whole = ticks(due, first, third)
    assert ticks(due, first, second) + ticks(due, second, third) == whole
    assert whole == sorted(set(whole))
    assert all(first < moment <= third for moment in whole)


@given(triggers(), moments())
def test_next_is_the_first_of_those_to_come(trigger: Trigger, moment: datetime) -> None:
    due = schedule(trigger)
    found = next_after(due, moment)
    assert found is not None
    assert ticks(due, moment, found) == [found]
    assert next_after(due, found - timedelta(seconds=1)) == found


@pytest.mark.parametrize("zone", ZONES)
def test_prefect_has_the_same_moments(zone: str) -> None:
    """All of two years of daily ones, and for others the days around each change of clocks."""
    from prefect.server.schemas.schedules import CronSchedule

    around = [(day - DAY, day + 2 * DAY) for day in changes(zone)] or [(START, START + 3 * DAY)]
    for cron in CRONS:
        spans = [(START, END)] if cron in ("30 2 * * *", "0 6 1 * 1") else around
        for span in spans:
            theirs = by_prefect(CronSchedule(cron=cron, timezone=zone), *span)
            assert ticks(schedule(Cron(cron, zone)), *span) == theirs, cron


@pytest.mark.parametrize("zone", ZONES)
def test_prefect_leaves_out_the_repeated_hour_alone(zone: str) -> None:
    from prefect.server.schemas.schedules import CronSchedule

    local = ZoneInfo(zone)
    for cron in HOURLY:
        for day in changes(zone):
            span = (day - DAY, day + 2 * DAY)
            ours = ticks(schedule(Cron(cron, zone)), *span)
            theirs = by_prefect(CronSchedule(cron=cron, timezone=zone), *span)
            assert [m for m in ours if not m.astimezone(local).fold] == theirs


@pytest.mark.parametrize(
    "zone", [z for z in ZONES if z not in ("America/Santiago", "Africa/Cairo")]
)
@pytest.mark.parametrize("days", [1, 2, 7])
def test_prefect_has_the_same_days(zone: str, days: int) -> None:
    """But where a midnight is left out: Prefect's days begin an hour later from then on."""
    from prefect.server.schemas.schedules import IntervalSchedule

    theirs = IntervalSchedule(
        interval=days * DAY,
        anchor_date=datetime(2024, 1, 1, tzinfo=ZoneInfo(zone)),
        timezone=zone,
    )
    assert ticks(schedule(Every(days * DAY, zone)), START, END) == by_prefect(theirs, START, END)


def test_declared_are_named_for_the_pipeline_and_the_sources(
    settings: Settings, tmp_path: Path
) -> None:
    file = sources_file(
        tmp_path,
        PAYMENTS | {"schedule": [{"every": "15m"}, {"when": "new files", "check": "5s"}]},
        {"name": "shop.orders", "path": "orders/*.csv"},
    )
    text = file.read_text().replace(
        '"version": 1',
        '"version": 1, "schedule": {"cron": "0 6 * * *", "timezone": "Asia/Kolkata"}',
    )
    file.write_text(text)
    payments = "payments.transactions"
    assert declared(file, settings) == [
        Schedule("pipeline", (), Cron("0 6 * * *", "Asia/Kolkata")),
        Schedule(payments, (payments,), Every(timedelta(minutes=15))),
        Schedule(f"{payments}-2", (payments,), NewFiles(timedelta(seconds=5))),
    ]


@pytest.mark.parametrize(
    ("trigger", "words"),
    [
        (Cron("0 6 * * *", "Europe/Berlin"), "cron 0 6 * * * (Europe/Berlin)"),
        (Every(timedelta(minutes=90)), "every 90m"),
        (Every(DAY, "Europe/Berlin"), "every 1d (Europe/Berlin)"),
        (NewFiles(timedelta(minutes=1)), "new files (every 1m)"),
    ],
)
def test_trigger_in_words(trigger: Trigger, words: str) -> None:
    assert str(trigger) == words


def test_knowing_what_is_due_loads_no_heavy_library() -> None:
    code = (
        "import sys, flows.schedules;"
        "print(*{'prefect', 'duckdb', 'pyarrow', 'dbt', 'pandas'} & set(sys.modules))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == ""
