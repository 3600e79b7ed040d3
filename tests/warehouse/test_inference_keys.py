"""Keys, and how later files go with earlier ones."""

from __future__ import annotations

import json
import random
from datetime import date
from pathlib import Path

import pytest
from looks import Look, day, lines, looker, moment, types

from warehouse.settings import Settings


@pytest.fixture
def look(settings: Settings, tmp_path: Path) -> Look:
    return looker(settings, tmp_path)


R = random.Random(1)
CITIES = ["Berlin", "Paris", "Rome", "Madrid"]


CUSTOMERS = "customer_id,name,city,updated_at"


def customers(numbers: range, *, moved: int = 0, on: int = 0) -> str:
    return lines(
        CUSTOMERS,
        [f"{i},Ann {i},{'Oslo' if i % 10 < moved else 'Rome'},{day(on)}" for i in numbers],
    )


def test_files_with_other_rows_are_appended(look: Look) -> None:
    found = look(customers(range(60)), customers(range(60, 120)), name="crm.customers")
    assert (found.key, found.write) == (("customer_id",), "append")
    assert (found.row_count, found.file_count) == (120, 2)


def test_later_corrections_are_merged(look: Look) -> None:
    found = look(
        customers(range(90)), customers(range(80, 100), moved=3, on=1), name="crm.customers"
    )
    assert (found.key, found.write) == (("customer_id",), "merge")


def test_full_dumps_are_snapshots(look: Look) -> None:
    dumps = [customers(range(n, 90 + n), moved=n, on=n) for n in range(3)]
    found = look(*dumps, name="crm.customers")
    assert (found.key, found.write) == (("customer_id",), "snapshot")


def test_numbers_that_begin_anew_in_each_file_are_no_key(look: Look) -> None:
    def sales(file: int) -> str:
        rng = random.Random(file)
        return lines(
            "id,sold_at,article,amount",
            [
                f"{i},{moment(i + 1000 * file)},{rng.random():.3f},{rng.random():.2f}"
                for i in range(60)
            ],
        )

    assert look(sales(1), sales(2)).key != ("id",)


def tickets(file: int, columns: str, *, again: int = 25) -> str:
    """A hundred new tickets, and some of the day before that were closed since then."""
    rows = [(f"T-{file}{n:03}", day(file), day(file), "open") for n in range(100)]
    rows += [(f"T-{file - 1}{n:03}", day(file - 1), day(file), "closed") for n in range(again)]
    names = ["ticket_id", "created_at", "updated_at", "status"]
    places = [names.index(name) for name in columns.split(",")]
    return lines(columns, [",".join(str(row[place]) for place in places) for row in rows])


@pytest.mark.parametrize(
    ("columns", "again"),
    [
        ("ticket_id,created_at,updated_at,status", 25),
        ("ticket_id,created_at,updated_at,status", 90),
        ("ticket_id,created_at,status", 25),
        ("ticket_id,updated_at,status", 3),
    ],
)
def test_a_status_that_changes_is_no_part_of_the_key(look: Look, columns: str, again: int) -> None:
    files = [tickets(file, columns, again=again if file > 1 else 0) for file in (1, 2, 3)]
    found = look(*files, name="help.tickets")
    assert (found.key, found.write) == (("ticket_id",), "merge")


def test_a_series_in_files_by_period_or_place_keeps_both_in_its_key(look: Look) -> None:
    years = [
        lines("year,country_id,name,size", [f"{y},{n},Land {n},{n * 7 + y}" for n in range(60)])
        for y in (2021, 2022, 2023)
    ]
    found = look(*years, name="geo.sizes")
    assert (set(found.key), found.write) == ({"country_id", "year"}, "append")
    shops = [
        lines("shop,product_id,name,stock", [f"{s},{n},Thing {n},{n * 3 % 7}" for n in range(60)])
        for s in ("north", "south")
    ]
    found = look(*shops, name="wms.stock")
    assert (set(found.key), found.write) == ({"shop", "product_id"}, "append")


def test_one_corrected_row_leaves_the_key(look: Look) -> None:
    def invoices(numbers: list[int], state: str) -> str:
        rows = [f"00{n};K{n * 7 % 50};{day(n % 28)};{n}.50;{state}" for n in numbers]
        return lines("Belegnummer;Kunden-Nr.;Buchungsdatum;Nettobetrag;Status", rows)

    found = look(
        invoices(list(range(1000, 1200)), "offen"),
        invoices([*range(1200, 1300), 1007], "bezahlt"),
        name="erp.ausgang",
    )
    assert (found.key, found.write) == (("Belegnummer",), "merge")
    assert types(found)["Nettobetrag"] == "decimal(18,2)"


def test_what_is_measured_by_whom_and_when(look: Look) -> None:
    rng = random.Random(3)
    tracks = [
        f"{v},{moment(n * 10 + rng.randrange(9), 1)},{rng.random():.5f}"
        for v in ("TRK-1", "VAN-2")
        for n in range(90)
    ]
    found = look(lines("vehicle,time,lat", tracks), name="fleet.track")
    assert (found.key, found.event_time) == (("vehicle", "time"), "time")
    values = [
        f"{d},{1785888000000 + n * 20000},{m},{rng.random():.3f}"
        for n in range(60)
        for d in ("00A1", "00B2")
        for m in ("temp", "hum")
    ]
    found = look(lines("device_id,ts,metric,value", values), name="iot.sensors")
    assert (set(found.key), found.event_time) == ({"device_id", "ts", "metric"}, "ts")


def test_files_without_a_key_are_warned_of(look: Look) -> None:
    rows = [f"{n % 7},{n % 3}" for n in range(80)]
    found = look(lines("size,weight", rows))
    assert "a corrected file that comes again is loaded in full" in " ".join(found.warnings)
    assert "one file cannot tell" in next(e.because for e in found.evidence if e.about == "write")


def test_the_same_rows_again_speak_against_no_key(look: Look) -> None:
    found = look(customers(range(60)), customers(range(30, 90)), name="crm.customers")
    assert (found.key, found.write) == (("customer_id",), "append")


def test_exact_copies_are_counted(look: Look) -> None:
    rows = [f"{i},{day(i)},{i}.50" for i in range(60)]
    found = look(lines("order_id,order_date,total", rows + rows[:3]))
    assert found.key == ("order_id",)
    assert "3 rows are exact copies" in next(e.because for e in found.evidence if e.about == "key")


def test_an_identifier_that_a_few_rows_share(look: Look) -> None:
    rows = [f"{i},{day(i)},{i}.50" for i in range(1, 400)] + [f"7,{day(7)},1.00"]
    found = look(lines("order_id,order_date,total", rows))
    assert (found.key, found.write) == (("order_id",), "append")
    assert "1 row with another row's order_id" in " ".join(found.warnings)
    rows = [f"00{i};{day(i % 9)};{i}.50" for i in range(1, 400)] + [f"007;{day(7)};1.00"]
    found = look(lines("Belegnr;Datum;Betrag", rows), name="erp.ausgang")
    assert (found.key, found.write) == (("Belegnr",), "append")
    assert "1 row with another row's Belegnr" in " ".join(found.warnings)


def test_an_identifier_that_is_not_unique_is_no_key(look: Look) -> None:
    rows = [f"{i % 20},{R.random():.4f},{R.choice(CITIES)}" for i in range(200)]
    assert look(lines("id,score,city", rows)).key == ()


def test_a_measure_that_is_unique_by_chance_is_no_key(look: Look) -> None:
    rows = [f"{R.choice(CITIES)},{i * 37 % 101}" for i in range(20)]
    assert look(lines("city,visitors", rows)).key == ()


def test_moments_of_their_own_make_no_series(look: Look) -> None:
    moments = random.Random(7).sample(range(10**6), 300)
    rows = [f"{n % 9},{moment(second, 1)},{n % 40}" for n, second in enumerate(moments)]
    assert look(lines("vendor_id,at,page", rows), name="web.views").key == ()
    assert look(lines("device_id,at,page", rows), name="iot.views").key == ("device_id", "at")
    assert look(lines("channel,at,page", rows), name="web.views").key == ()


def test_a_full_panel_of_kinds_and_codes(look: Look) -> None:
    rows = [f"{place},S{n:03},{n % 7}" for place in ("north", "south", "west") for n in range(60)]
    assert look(lines("warehouse,sku,stock", rows), name="wms.stock").key == ("warehouse", "sku")


def test_a_yearly_series(look: Look) -> None:
    found = look(lines("year,passengers", [f"{1950 + i},{R.randrange(9999)}" for i in range(60)]))
    assert (found.key, found.event_time) == (("year",), None)


def test_a_column_that_comes_later_is_no_key_or_time(look: Look) -> None:
    january = lines("note", [f"n{i % 7}" for i in range(3)])
    february = lines("note,order_id,ordered_at", [f"x,{i},{moment(i)}" for i in range(900)])
    found = look(january, february)
    assert types(found) == {"note": "varchar", "order_id": "bigint", "ordered_at": "timestamp"}
    assert (found.key, found.event_time) == ((), None)


def series(days: list[date], more: str = "") -> str:
    return lines(f"day,amount{',note' if more else ''}", [f"{d},{d.day}.50{more}" for d in days])


@pytest.mark.parametrize(
    ("days", "key"),
    [
        ([day(n) for n in range(60)], ("day",)),
        ([day(n) for n in range(90) if day(n).isoweekday() < 6], ("day",)),
        ([day(7 * n) for n in range(60)], ("day",)),
        ([date(2020 + n // 12, n % 12 + 1, 1) for n in range(60)], ("day",)),
        ([date(2020 + n // 4, n % 4 * 3 + 1, 28) for n in range(60)], ("day",)),
        ([day(n) for n in range(30)], ()),
        ([day(n + n // 3 + n // 5) for n in range(60)], ()),
    ],
)
def test_a_date_alone_is_key_of_long_even_series(
    look: Look, days: list[date], key: tuple[str, ...]
) -> None:
    found = look(series(days), name="bank.bookings")
    assert (found.key, found.event_time) == (key, "day")
    if not key:
        because = next(e.because for e in found.evidence if e.about == "key")
        assert because.startswith("day is unique, but ")


def test_a_date_alone_is_key_over_several_files(look: Look) -> None:
    files = [series([day(n) for n in range(start, start + 15)]) for start in (0, 15)]
    assert look(*files, name="bank.bookings").key == ("day",)


def test_events_are_no_series(look: Look) -> None:
    rows = [f"{moment(n, 60)},message {n},{n}" for n in range(90)]
    found = look(lines("at,message,latency", rows), name="web.calls")
    assert found.key == ()
    assert "tells of events" in next(e.because for e in found.evidence if e.about == "key")


def test_what_is_measured_belongs_to_the_key_of_a_series(look: Look) -> None:
    rows = [f"KLNK,{day(n)},{n % 9}" for n in range(60)]
    found = look(lines("station,date,tmax", rows), name="met.weather")
    assert found.key == ("station", "date")


def test_a_day_with_a_time_of_day(look: Look) -> None:
    rows = [f"{day(n // 24)},{n % 24:02}:00,{n % 7}" for n in range(240)]
    assert look(lines("day,hour,load", rows), name="grid.load").key == ("day", "hour")


def test_pairs_that_differ_by_chance_are_no_key(look: Look) -> None:
    rng = random.Random(5)
    pairs = {(rng.randrange(400), rng.randrange(365)) for _ in range(120)}
    rows = [f"{customer},{day(n)},{n % 9}" for customer, n in sorted(pairs)]
    assert look(lines("customer_id,ordered_on,quantity", rows), name="shop.orders").key == ()


def test_stock_of_each_day_and_place(look: Look) -> None:
    files = [
        lines(
            "taken_on,warehouse,sku,on_hand",
            [f"{day(d)},{w},S{n:02},{n * d % 7}" for w in ("north", "south") for n in range(40)],
        )
        for d in range(5)
    ]
    assert set(look(*files, name="wms.stock").key) == {"taken_on", "warehouse", "sku"}


def test_nameless_numbers_of_rows_and_nested_values_are_no_key(look: Look) -> None:
    found = look(lines(",size", [f"{n},{n * 7 % 60}" for n in range(60)]))
    assert found.key == ()
    assert "only numbers the rows" in next(e.because for e in found.evidence if e.about == "key")
    nested = [{"attributes": {"n": n}, "kind": "a"} for n in range(60)]
    assert look(json.dumps(nested), suffix=".json").key == ()


def test_one_row_tells_no_key(look: Look) -> None:
    assert look(lines("id,name", ["1,Ann"])).key == ()


def test_an_account_with_others_is_no_key(look: Look) -> None:
    rows = [f"{day(n)},DE{n:020},{n}.50" for n in range(30)]
    assert look(lines("booked_on,IBAN,amount", rows), name="bank.bookings").key == ()


def test_names_of_people_are_no_key(look: Look) -> None:
    rows = [f"Ann Lee {n},{n % 50}" for n in range(60)]
    assert look(lines("name,age", rows)).key == ()
    assert look(lines("player,age", rows)).key == ()
    assert look(lines("country,age", rows)).key == ("country",)
    assert look(lines("code,age", [row.replace(" ", "") for row in rows])).key == ("code",)


def test_periods_written_as_codes(look: Look) -> None:
    rows = [f"{c},{2018 + q // 4}-Q{q % 4 + 1},{q % 7}" for c in CITIES for q in range(24)]
    assert look(lines("city,quarter,growth", rows)).key == ("city", "quarter")


def test_lines_count_within_what_they_belong_to(look: Look) -> None:
    rows = [f"S{(t * 7 + n * 3) % 50},T{t},{n},{t % 3}" for t in range(40) for n in range(1, 9)]
    found = look(lines("stop_id,trip_id,stop_sequence,kind", rows), name="transit.stop_times")
    assert found.key == ("trip_id", "stop_sequence")


def test_a_series_may_have_any_name(look: Look) -> None:
    rows = [f"{2010 + n // 12}-{n % 12 + 1:02}-01,{n * 3}" for n in range(120)]
    for name in ("month", "day", "place"):
        assert look(lines(f"{name},jobs", rows)).key == (name,)
