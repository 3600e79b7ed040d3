"""Dates and times: how they are written, and which number is the day."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb
import pytest
from looks import Look, lines, looker, moment, types

from warehouse.inference import infer
from warehouse.settings import Settings


@pytest.fixture
def look(settings: Settings, tmp_path: Path) -> Look:
    return looker(settings, tmp_path)


@pytest.mark.parametrize("offset", ["-0400", "+02:00", "+02"])
@pytest.mark.parametrize("fraction", ["", ".250"])
def test_a_blank_before_the_offset(look: Look, offset: str, fraction: str) -> None:
    found = look(lines("id,at", [f"{n},{moment(n)}{fraction} {offset}" for n in range(60)]))
    form = "%Y-%m-%d %H:%M:%S.%f %z" if fraction else "%Y-%m-%d %H:%M:%S %z"
    assert types(found)["at"] == f"timestamp {form}"
    hour = 12 if offset == "-0400" else 6
    assert str(found.columns[1].minimum).startswith(f"2024-01-01 {hour:02}:00:00{fraction[:3]}")


def test_times_of_mail_and_feeds(look: Look) -> None:
    rows = [f"{n},{moment(n):%a} {moment(n):%d %b %Y %H:%M:%S} GMT" for n in range(60)]
    texts = [row.replace(" ", "; ", 1) for row in rows]
    found = look(lines("id;sent", [t.replace(",", ";", 1).replace("; ", ", ", 1) for t in texts]))
    assert types(found)["sent"] == "timestamp %a, %d %b %Y %H:%M:%S GMT"


def test_days_and_months_are_told_apart_by_order(look: Look) -> None:
    rows = [
        f"{i},{m}/{d}/2024"
        for i, (m, d) in enumerate((m, d) for m in range(1, 9) for d in (3, 5, 8))
    ]
    assert types(look(lines("id,sold", rows)))["sold"] == "date %m/%d/%Y"
    rows = [
        f"{i},{d}/{m}/2024"
        for i, (m, d) in enumerate((m, d) for m in range(1, 9) for d in (3, 5, 8))
    ]
    assert types(look(lines("id,sold", rows)))["sold"] == "date %d/%m/%Y"


def test_a_monthly_series_is_not_read_as_days(look: Look) -> None:
    rows = [f"01/{m:02}/{y},{m * y}" for y in range(2015, 2020) for m in range(1, 13)]
    assert types(look(lines("month,value", rows)))["month"] == "date %d/%m/%Y"


def test_what_cannot_be_told_apart_is_warned_of(look: Look) -> None:
    found = look(lines("id,sold", [f"{i},03/04/2024" for i in range(20)]))
    assert "no value tells day from month" in " ".join(found.warnings)


def test_years_of_two_digits_that_lie_ahead_stay_text(look: Look) -> None:
    found = look(lines("id,born", [f"{i},13.{i % 12 + 1:02}.{50 + i % 40}" for i in range(60)]))
    assert types(found)["born"] == "varchar"
    assert "two digits" in next(e.because for e in found.evidence if e.about == "column born")


@pytest.mark.parametrize(
    ("name", "unit", "kind"),
    [
        ("ts", 1, "timestamp epoch"),
        ("created_at", 1000, "timestamp epoch_ms"),
        ("eventTime", 10**6, "timestamp epoch_us"),
        ("timestamp", 10**9, "timestamp epoch_ns"),
        ("order_number", 1, "bigint"),
        ("phone", 1, "varchar"),
        ("visitors", 1, "bigint"),
    ],
)
def test_numbers_that_count_since_1970(look: Look, name: str, unit: int, kind: str) -> None:
    rows = [f"{n},{(1_700_000_000 + n * 7919) * unit}" for n in range(90)]
    found = look(lines(f"reading_id,{name}", rows))
    assert types(found)[name] == kind
    if kind.startswith("timestamp"):
        assert (found.event_time, found.columns[1].minimum) == (name, "2023-11-14 22:13:20")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("{}.25", "timestamp epoch"),
        ("{}.0", "timestamp epoch"),
        ("{}.1234567", "double"),
        ("1{}", "bigint"),
    ],
)
def test_fractions_of_seconds_since_1970(look: Look, value: str, kind: str) -> None:
    rows = [f"{n},{value.format(1_700_000_000 + n * 7919)}" for n in range(90)]
    assert types(look(lines("id,ts", rows)))["ts"] == kind


def test_a_typed_number_that_counts_since_1970_is_told(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    duckdb.sql(
        "select i as id, 1700000000000 + i as ts, random() as size from range(90) t(i)"
    ).write_parquet(str(file))
    found = infer(settings, [file], "iot.readings")
    assert (types(found)["ts"], found.event_time) == ("bigint", None)
    assert "column ts counts milliseconds since 1970" in " ".join(found.warnings)


def test_months(look: Look) -> None:
    rows = [f"{2020 + n // 12}-{n % 12 + 1:02},A{n % 3},{n}" for n in range(60)]
    found = look(lines("month,ref,budget", rows))
    assert (types(found)["month"], found.event_time) == ("date %Y-%m", "month")
    assert types(look(lines("code,ref,budget", rows)))["code"] == "varchar"


def test_a_guess_of_the_day_shows_the_other_line(look: Look) -> None:
    rows = [f"{n},{n % 3 + 1:02}/{n % 5 + 2:02}/2024" for n in range(60)]
    found = look(lines("id,sold", rows))
    assert types(found)["sold"] == "date %d/%m/%Y"
    assert (
        "Where the month does, the line in sources.yml is\n"
        "  sold: {type: date, format: '%m/%d/%Y'}" in found.warnings[0]
    )
    assert "is a guess" in next(e.because for e in found.evidence if e.about == "column sold")


def test_the_guess_heeds_how_numbers_are_written(look: Look) -> None:
    rows = [f"{n};{n % 3 + 1}/{n % 5 + 2}/2024;{n}{{}}5" for n in range(60)]
    for mark, order in ((".", "%m/%d/%Y"), (",", "%d/%m/%Y")):
        found = look(lines("id;sold;size", [row.format(mark) for row in rows]))
        assert types(found)["sold"] == f"date {order}"


@pytest.mark.parametrize("order", ["%d/%m/%Y", "%m/%d/%Y"])
def test_another_column_or_file_tells_the_day(look: Look, order: str) -> None:
    near = [date(2024, n % 5 + 1, n % 3 + 1).strftime(order) for n in range(60)]
    far = [date(2024, 3, n % 28 + 1).strftime(order) for n in range(60)]
    rows = [f"{n},{near[n]},{far[n]}" for n in range(60)]
    found = look(lines("id,sold,paid", rows))
    assert types(found) == {"id": "bigint", "sold": f"date {order}", "paid": f"date {order}"}
    because = {e.about: e.because for e in found.evidence}
    assert because["column sold"].endswith("day and month stand as in paid")
    assert not any("guess" in warning for warning in found.warnings)
    files = [lines("id,sold", [f"{n},{value}" for n, value in enumerate(f)]) for f in (near, far)]
    assert types(look(*files))["sold"] == f"date {order}"


def test_a_time_that_most_rows_lack_is_not_of_their_event(look: Look) -> None:
    rows = [f"{n},{moment(n) if n % 3 == 0 else ''}" for n in range(90)]
    assert look(lines("id,cancelled_on", rows)).event_time is None


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("{:%Y-%m-%d %H:%M:%S},250", "timestamp %Y-%m-%d %H:%M:%S,%f"),
        ("{:%d-%b-%y %I.%M.%S}.250000 AM", "timestamp %d-%b-%y %I.%M.%S.%f %p"),
        ("{:%Y-%m-%dT%H:%M:%S}.250+0000", "timestamp"),
    ],
)
def test_times_of_programs(look: Look, written: str, form: str) -> None:
    rows = [f"{n};{written.format(moment(n, 7))}" for n in range(60)]
    found = look(lines("id;at", rows))
    assert types(found)["at"] == form
    assert found.columns[1].minimum == "2024-01-01 08:00:00.25"
