"""What files' names tell: which day each is of, and which file mends another."""

from __future__ import annotations

from datetime import datetime

import pytest

from expectations.naming import mended_by, named_date, newest

DAYS = {f"b{day}": f"orders-2026-03-{day:02}.csv" for day in range(1, 11)}


@pytest.mark.parametrize(
    ("file", "day"),
    [
        ("orders-2026-03-02.csv", datetime(2026, 3, 2)),  # noqa: DTZ001 - times are UTC
        ("2026_03_02/orders.20260303.zip/a.csv", datetime(2026, 3, 3)),  # noqa: DTZ001
        ("orders-2026-02-31.csv", None),
        ("orders-120260302.csv", None),
        ("orders.csv", None),
    ],
)
def test_a_name_tells_the_day(file: str, day: datetime | None) -> None:
    assert named_date(file) == day


def test_a_file_of_the_name_of_a_day_takes_the_place_of_the_one_before() -> None:
    assert mended_by("orders-2026-03-04.csv", DAYS) == {"b4"}
    assert mended_by("orders-2026-03-11.csv", DAYS) == set()
    again = DAYS | {"b4 again": DAYS["b4"]}
    assert newest(again) == set(again) - {"b4"}


def test_names_that_come_again_each_time_mend_nothing() -> None:
    growing = {f"{batch} {hour}": name for batch, name in DAYS.items() for hour in range(3)}
    assert mended_by("orders-2026-03-04.csv", growing) == set()
    assert newest(growing) == set(growing)
    same = {f"b{n}": "orders.csv" for n in range(10)}
    assert mended_by("orders.csv", same) == set()
    assert newest(same | DAYS | {"b": "orders.csv"}) == {*same, *DAYS, "b"}
