"""Which differences from the past are worth stopping a file for."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from expectations.anomalies import Anomaly, compare, of_the_hour
from expectations.past import Labels, Numbers
from expectations.profiling import QUANTILES, Profile, Scalar

FIRST = datetime.fromisoformat("2026-03-02")
DAYS = 28


def profile(day: int, ids: np.ndarray, *, rows: int | None = None) -> Profile:
    """What a day's column of ids looks like."""
    quantiles = tuple(float(value) for value in np.quantile(ids, QUANTILES))
    spread = {
        ("id", "least"): Scalar(math.asinh(ids.min()), "value", len(ids)),
        ("id", "greatest"): Scalar(math.asinh(ids.max()), "value", len(ids)),
    }
    shapes = {("id", "values"): Numbers(quantiles, len(ids))}
    return Profile(FIRST + timedelta(days=day), rows or len(ids), spread, shapes)


def customers(day: int, least: int = 0) -> np.ndarray:
    rng = np.random.default_rng(day)
    return np.concatenate([[least], rng.integers(max(least, 3), 800, 1_500)])


def running(day: int) -> np.ndarray:
    """Numbers that are counted on from day to day, from a thousand rows to twelve hundred."""
    rng = np.random.default_rng(99)
    ends = 20_000 + np.cumsum(rng.integers(1_000, 1_200, DAYS + 10))
    return np.arange(ends[day], ends[day + 1])


def found(past: list[Profile], new: Profile, metric: str) -> list[Anomaly]:
    return [anomaly for anomaly in compare(past, new) if anomaly.name[1] == metric]


def test_an_id_that_is_missing_for_a_day_is_nothing() -> None:
    past = [profile(day, customers(day, least=int(day == 7))) for day in range(DAYS)]
    assert found(past, profile(DAYS, customers(DAYS, least=2)), "least") == []
    (far,) = found(past, profile(DAYS, customers(DAYS) + 1_000_000), "least")
    assert far.stops


def test_running_numbers_that_start_again_stop() -> None:
    past = [profile(day, running(day)) for day in range(DAYS)]
    assert found(past, profile(DAYS, running(DAYS)), "pace") == []
    (again,) = found(past, profile(DAYS, running(DAYS) - running(DAYS).min() + 1), "pace")
    assert again.stops
    assert again.told.startswith("id: since the one before it went on by -")


def test_running_numbers_may_leave_out_a_day_or_go_back_one() -> None:
    past = [profile(day, running(day)) for day in range(DAYS)]
    for day in (DAYS + 1, DAYS - 2):
        assert not any(anomaly.stops for anomaly in found(past, profile(day, running(day)), "pace"))


def test_what_is_huge_need_only_be_likely() -> None:
    """Rows between 1,000 and 5,000 a day: a third of the least is unlikely, a thirtieth stops."""
    rng = np.random.default_rng(4)
    past = [
        profile(day, customers(day), rows=int(np.exp(rng.uniform(6.9, 8.5)))) for day in range(DAYS)
    ]
    usual = found(past, profile(DAYS, customers(DAYS), rows=900), "rows")
    assert not any(anomaly.stops for anomaly in usual)
    (few,) = found(past, profile(DAYS, customers(DAYS), rows=30), "rows")
    assert few.stops


def test_hours_are_compared_with_the_same_hour_of_enough_days() -> None:
    def hourly(days: int) -> list[Profile]:
        start = datetime(2026, 3, 2)  # noqa: DTZ001 (UTC)
        return [Profile(start + timedelta(hours=hour), 10) for hour in range(24 * days)]

    at = datetime(2026, 4, 1, 13, 30)  # noqa: DTZ001
    assert of_the_hour(hourly(7), at) == []
    near = of_the_hour(hourly(10), at)
    assert {profile.at.hour for profile in near} == {13, 14}
    assert len(near) == 20
    daily = [Profile(profile.at, 10) for profile in hourly(10) if profile.at.hour == 3]
    assert of_the_hour(daily, at) == daily


def test_rows_that_come_again_are_not_too_many() -> None:
    past = [profile(day, customers(day)) for day in range(DAYS)]
    twice = profile(DAYS, customers(DAYS), rows=3_002)
    assert [anomaly.stops for anomaly in found(past, twice, "rows")] == [True]
    known = {**twice.scalars, ("", "known_share"): Scalar(0.5, "share", 3_002)}
    assert found(past, replace(twice, scalars=known), "rows") == []
    again = profile(DAYS, customers(DAYS))
    known = {**again.scalars, ("", "known_share"): Scalar(1.0, "share", 1_501)}
    assert found(past, replace(again, scalars=known), "rows") == []


def test_a_week_may_begin_on_another_day() -> None:
    """The number of the week is a label that was never seen before, on Mondays; after a holiday,
    on a Tuesday."""

    def week(day: int, number: int) -> Profile:
        shapes = {
            ("week", "values"): Numbers((float(number),) * len(QUANTILES), 1_500),
            ("week", "labels"): Labels({str(number): 1_500}, 1_500),
        }
        return Profile(FIRST + timedelta(days=day), 1_500, {}, shapes)

    past = [week(day, day // 7) for day in range(DAYS)]
    assert compare(past, week(DAYS + 1, DAYS // 7)) == []


def times(day: int, values: np.ndarray) -> Profile:
    """What a day's column of times looks like; `values` are days since 1970."""
    quantiles = tuple(float(value) for value in np.quantile(values, QUANTILES, method="lower"))
    middle = {("at", "middle"): Scalar(float(np.median(values)), "value", len(values))}
    shapes = {("at", "values"): Numbers(quantiles, len(values))}
    return Profile(FIRST + timedelta(days=day), len(values), middle, shapes)


def planned(day: int, *, hour: int) -> np.ndarray:
    """Days among the next 90, each at that hour."""
    rng = np.random.default_rng(day)
    return 20_000 + day + rng.integers(0, 90, int(rng.uniform(700, 1_200))) + hour / 24


def of_the_day(day: int, *, rest: float = 0.0) -> np.ndarray:
    """Times of one day, none of them in so many hours after its noon."""
    seconds = np.random.default_rng(day).integers(0, 86_400, 3_000)
    kept = seconds[(seconds < 43_200) | (seconds >= 43_200 + 3_600 * rest)]
    return 20_000 + day + kept / 86_400


@pytest.mark.parametrize("hour", [0, 17])
def test_dates_have_no_hours_without_rows(hour: int) -> None:
    profiles = [times(day, planned(day, hour=hour)) for day in range(120)]
    told = [found(profiles[:day], profiles[day], "hole") for day in range(20, 120)]
    assert not any(told)


def test_only_more_hours_without_rows_than_usual_are_told() -> None:
    past = [times(day, of_the_day(day, rest=4)) for day in range(DAYS)]
    (longer,) = found(past, times(DAYS, of_the_day(DAYS, rest=7)), "hole")
    assert longer.stops
    assert found(past, times(DAYS, of_the_day(DAYS)), "hole") == []
