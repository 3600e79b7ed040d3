"""Which differences from the past are worth stopping a file for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from expectations.anomalies import Anomaly, compare, of_the_hour
from expectations.learning import options
from expectations.past import Labels, Numbers
from expectations.profiling import QUANTILES, Profile, Scalar
from expectations.rules import Rule

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


def planned(day: int, hours: Sequence[float]) -> np.ndarray:
    """Some of those hours of the working days among the next 90."""
    rng = np.random.default_rng(day)
    rows = int(rng.uniform(700, 1_200))
    workdays = [day + ahead for ahead in range(90) if (day + ahead) % 7 < 5]
    return 20_000 + rng.choice(workdays, rows) + rng.choice(hours, rows) / 24


def of_the_day(day: int, *, rest: float = 0.0) -> np.ndarray:
    """Times of one day, none of them in so many hours after its noon."""
    seconds = np.random.default_rng(day).integers(0, 86_400, 3_000)
    kept = seconds[(seconds < 43_200) | (seconds >= 43_200 + 3_600 * rest)]
    return 20_000 + day + kept / 86_400


@pytest.mark.parametrize("hours", [[0], [17], np.arange(9, 17, 0.5)], ids=["date", "at 5", "slot"])
def test_what_is_planned_has_no_hours_without_rows(hours: Sequence[float]) -> None:
    profiles = [times(day, planned(day, hours)) for day in range(120)]
    told = [found(profiles[:day], profiles[day], "hole") for day in range(20, 120)]
    assert not any(told)


def test_only_more_hours_without_rows_than_usual_are_told() -> None:
    past = [times(day, of_the_day(day, rest=4)) for day in range(DAYS)]
    (longer,) = found(past, times(DAYS, of_the_day(DAYS, rest=7)), "hole")
    assert longer.stops
    assert found(past, times(DAYS, of_the_day(DAYS)), "hole") == []


def filled(day: int, *, rows: int, nulls: float, texts: float) -> Profile:
    """How many rows a day has, and the shares of them without a mail, and with digits in it."""
    rng = np.random.default_rng(day)
    shares = {"null_share": nulls, "digits_share": texts}
    scalars = {
        ("mail", name): Scalar(rng.binomial(rows, share) / rows if rows else 0.0, "share", rows)
        for name, share in shares.items()
    }
    return Profile(FIRST + timedelta(days=day), rows, scalars)


def test_rows_and_nulls_are_told_before_what_follows_from_them() -> None:
    rows = np.random.default_rng(1).integers(950, 1_050, DAYS).tolist()
    past = [filled(day, rows=n, nulls=0.08, texts=0.92) for day, n in enumerate(rows)]
    told = [a.name for a in compare(past, filled(DAYS, rows=120, nulls=0.54, texts=0.1))]
    assert told == [("", "rows"), ("mail", "null_share"), ("mail", "digits_share")]


def test_a_narrowed_rule_looks_at_the_number_of_rows_all_the_same() -> None:
    rule = Rule(
        id="like_before",
        boundary="raw",
        table="raw_shop.orders",
        check="anomaly",
        severity="critical",
        owner="shop",
        reason="days are alike",
        columns=("price",),
    )
    past = [profile(day, customers(day)) for day in range(DAYS)]
    (none,) = compare(past, Profile(FIRST + timedelta(days=DAYS), 0), **options(rule))
    assert none.stops
    assert none.told.startswith("0 rows, usually ")
    moved = profile(DAYS, customers(DAYS) + 1_000_000)
    assert compare(past, moved)
    assert compare(past, moved, **options(rule)) == []
