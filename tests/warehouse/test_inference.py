"""What is inferred of files never seen before: types, keys, event times, dialects."""

from __future__ import annotations

import gzip
import random
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from warehouse.errors import ClearwaterError
from warehouse.inference import Inferred, infer, infer_relation
from warehouse.settings import Settings
from warehouse.sources import Source

Look = Callable[..., Inferred]
START = datetime.fromisoformat("2024-01-01 08:00")


@pytest.fixture
def look(settings: Settings, tmp_path: Path) -> Look:
    """Writes texts or bytes as files and looks at them."""

    def look(*contents: str | bytes, name: str = "shop.orders", suffix: str = ".csv") -> Inferred:
        files = []
        for number, content in enumerate(contents, 1):
            file = tmp_path / f"part_2024-01-0{number}{suffix}"
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
            files.append(file)
        return infer(settings, files, name)

    return look


def lines(header: str, rows: Iterator[str] | list[str], end: str = "\n") -> str:
    return end.join([header, *rows]) + end


def types(found: Inferred) -> dict[str, str]:
    return {c.name: f"{c.type} {c.format}" if c.format else c.type for c in found.columns}


def entry(found: Inferred, name: str) -> Source:
    """The entry of sources.yml that says what was found; invalid ones raise."""
    columns = {
        c.name: {"type": c.type, "format": c.format} if c.format else c.type for c in found.columns
    }
    return Source.model_validate(
        {"name": name, "path": "x.csv", "format": found.format, "columns": columns}
        | {"key": found.key, "event_time": found.event_time, "write": found.write}
        | found.options
    )


def day(n: int) -> date:
    return START.date() + timedelta(days=n)


def moment(n: int, seconds: int = 61) -> datetime:
    return START + timedelta(seconds=seconds * n)


@dataclass(frozen=True)
class Case:
    """A data set, and what is true of it."""

    name: str
    text: str | bytes
    types: dict[str, str]
    key: tuple[str, ...] = ()
    event_time: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    warns: str = ""


R = random.Random(1)
CITIES = ["Berlin", "Paris", "Rome", "Madrid"]

CASES = [
    Case(
        "shop.orders",
        lines(
            "order_id,customer_id,order_date,total,status",
            [
                f"{i},{i % 7},{day(i // 3)},{i * 1.37:.2f},{['open', 'paid'][i % 2]}"
                for i in range(1, 90)
            ],
        ),
        {
            "order_id": "bigint",
            "customer_id": "bigint",
            "order_date": "date",
            "total": "decimal(18,2)",
            "status": "varchar",
        },
        ("order_id",),
        "order_date",
    ),
    Case(
        "bank.umsaetze",
        lines(
            "Buchungstag;Wertstellung;Empfänger;Verwendungszweck;Betrag",
            [
                f"{day(i):%d.%m.%Y};{day(i + 1):%d.%m.%Y};Müller & Söhne;Rechnung {i % 9};"
                f"-{i % 50},{i % 90 + 10}"
                for i in range(60)
            ],
            "\r\n",
        ).encode("cp1252"),
        {
            "Buchungstag": "date %d.%m.%Y",
            "Wertstellung": "date %d.%m.%Y",
            "Empfänger": "varchar",
            "Verwendungszweck": "varchar",
            "Betrag": "decimal(18,2)",
        },
        ("Buchungstag",),
        "Buchungstag",
        {"delimiter": ";", "encoding": "cp1252", "decimal": ","},
    ),
    Case(
        "us.sales",
        lines(
            "SaleID,SaleDate,Amount",
            [f"S-{i:04},{day(i * 3):%m/%d/%Y},{i}.99" for i in range(60)],
        ),
        {"SaleID": "varchar", "SaleDate": "date %m/%d/%Y", "Amount": "decimal(18,2)"},
        ("SaleID",),
        "SaleDate",
    ),
    Case(
        "dump.events",
        lines(
            "id\tuser_id\tkind\tcreated_at",
            [f"{i}\t{i % 5 if i % 4 else chr(92) + 'N'}\tclick\t{moment(i)}" for i in range(80)],
        ),
        {"id": "bigint", "user_id": "bigint", "kind": "varchar", "created_at": "timestamp"},
        ("id",),
        "created_at",
        {"delimiter": "\t", "nulls": ["\\N"]},
    ),
    Case(
        "old.items",
        lines("item_no|label|qty", [f"A{i}|thing, {i}|{i % 3}" for i in range(60)]),
        {"item_no": "varchar", "label": "varchar", "qty": "bigint"},
        ("item_no",),
        None,
        {"delimiter": "|"},
    ),
    Case(
        "raw.readings",
        "".join(f"{moment(i)},s{i % 3},{R.uniform(1, 9):.3f}\n" for i in range(60)),
        {"column_1": "timestamp", "column_2": "varchar", "column_3": "double"},
        ("column_1",),
        "column_1",
        {"header": False},
    ),
    Case(
        "report.figures",
        "Monthly report\nmade by: accounting, 2024\n\n"
        + lines(
            "region,month,units",
            [f"{c},2024-{m:02}-01,{R.randrange(99)}" for m in range(1, 13) for c in CITIES],
        ),
        {"region": "varchar", "month": "date", "units": "bigint"},
        ("region", "month"),
        "month",
        {"skip": 3},
    ),
    Case(
        "shop.reviews",
        lines(
            "review_id,text,stars,created",
            [
                f'{i},"good,\n""very"" good {i}",{i % 5 + 1},{moment(i).isoformat()}Z'
                for i in range(60)
            ],
        ),
        {"review_id": "bigint", "text": "varchar", "stars": "bigint", "created": "timestamp"},
        ("review_id",),
        "created",
    ),
    Case(
        "crm.customers",
        lines(
            "customer_id,first_name,zip,phone,birth_date,signup_date,is_active",
            [
                f"{i},Ann,{1000 + i * 7:05},+49 30 {i:05},19{60 + i % 40}-02-03,{day(i)},{i % 2}"
                for i in range(1, 80)
            ],
        ),
        {
            "customer_id": "bigint",
            "first_name": "varchar",
            "zip": "varchar",
            "phone": "varchar",
            "birth_date": "date",
            "signup_date": "date",
            "is_active": "boolean",
        },
        ("customer_id",),
        None,
    ),
    Case(
        "iot.sensor_readings",
        lines(
            "sensor_id,ts,temperature,humidity",
            [
                f"{s},{moment(i, 600)},{R.uniform(10, 30):.2f},{R.randrange(100)}"
                for i in range(40)
                for s in (1, 2, 3)
            ],
        ),
        {"sensor_id": "bigint", "ts": "timestamp", "temperature": "double", "humidity": "bigint"},
        ("sensor_id", "ts"),
        "ts",
    ),
    Case(
        "web.log",
        lines(
            "ip,time,method,path,status,bytes",
            [
                f"10.0.0.{R.randrange(20)},{moment(i // 2, 1):%d/%b/%Y:%H:%M:%S} +0000,GET,"
                f"/p{i % 4},{R.choice([200, 404])},{R.randrange(900)}"
                for i in range(200)
            ],
        ),
        {
            "ip": "varchar",
            "time": "timestamp %d/%b/%Y:%H:%M:%S %z",
            "method": "varchar",
            "path": "varchar",
            "status": "bigint",
            "bytes": "bigint",
        },
        (),
        "time",
    ),
    Case(
        "shop.order_lines",
        lines(
            "order_id,line_no,product_id,quantity,unit_price",
            [
                f"{o},{n},{R.randrange(30)},{R.randrange(1, 5)},{R.randrange(999)}.50"
                for o in range(1, 40)
                for n in range(1, o % 4 + 2)
            ],
        ),
        {
            "order_id": "bigint",
            "line_no": "bigint",
            "product_id": "bigint",
            "quantity": "bigint",
            "unit_price": "decimal(18,2)",
        },
        ("order_id", "line_no"),
        None,
    ),
    Case(
        "geo.countries",
        lines(
            "code,name,population",
            [
                "DE,Germany,83000000",
                "FR,France,67000000",
                "NA,Namibia,2500000",
                "IT,Italy,59000000",
            ],
        ),
        {"code": "varchar", "name": "varchar", "population": "bigint"},
        ("code",),
        None,
    ),
    Case(
        "shop.products",
        lines(
            "sku;name;price;weight_kg;launched",
            [
                f"P{i:03};Chair {i};{i},{i % 10}9;{i / 7:.3f}".replace(".", ",") + f";{day(i)}"
                for i in range(60)
            ],
        ),
        {
            "sku": "varchar",
            "name": "varchar",
            "price": "decimal(18,2)",
            "weight_kg": "double",
            "launched": "date",
        },
        ("sku",),
        None,
        {"delimiter": ";", "decimal": ","},
    ),
    Case(
        "app.clicks",
        lines(
            "event_uuid,epoch_ms,page",
            [f"{i:08x}-0000-4000-8000-{i:012x},{1700000000000 + i * 977},/a" for i in range(60)],
        ),
        {"event_uuid": "varchar", "epoch_ms": "bigint", "page": "varchar"},
        ("event_uuid",),
        None,
        warns="since 1970",
    ),
    Case(
        "ml.iris",
        lines(
            "sepal_length,sepal_width,petal_length,petal_width,species",
            [
                f"{R.uniform(4, 8):.1f},{R.uniform(2, 4):.1f},{R.uniform(1, 7):.1f},"
                f"{R.uniform(0, 3):.1f},{R.choice(['setosa', 'virginica'])}"
                for i in range(150)
            ],
        ),
        {
            "sepal_length": "double",
            "sepal_width": "double",
            "petal_length": "double",
            "petal_width": "double",
            "species": "varchar",
        },
    ),
    Case(
        "ml.titanic",
        lines(
            "PassengerId,Survived,Pclass,Name,Sex,Age,Ticket,Fare,Cabin",
            [
                f'{i},{i % 2},{i % 3 + 1},"Smith, Mr. {i}",male,{"" if i % 5 else 20 + i / 2},'
                f"{'PC ' if i % 4 else ''}{i * 17},{i * 1.0417:.4f},{'C85' if i % 9 == 0 else ''}"
                for i in range(1, 120)
            ],
        ),
        {
            "PassengerId": "bigint",
            "Survived": "bigint",
            "Pclass": "bigint",
            "Name": "varchar",
            "Sex": "varchar",
            "Age": "double",
            "Ticket": "varchar",
            "Fare": "decimal(18,4)",
            "Cabin": "varchar",
        },
        ("PassengerId",),
    ),
    Case(
        "hr.answers",
        lines(
            "person_id,smoker,agrees,size,note",
            [f"{i % 30},{['yes', 'no'][i % 2]},{'TF'[i % 2]},{'SML'[i % 3]}," for i in range(90)],
        ),
        {
            "person_id": "bigint",
            "smoker": "boolean",
            "agrees": "boolean",
            "size": "varchar",
            "note": "varchar",
        },
        warns="note holds no value",
    ),
    Case(
        "fin.rates",
        lines(
            "rate_date,rate,price,volume",
            [f'{day(i)},{i / 10:.1f}%,$1{i % 9}.00,"{i + 1},{i % 900 + 100}"' for i in range(60)],
        ),
        {"rate_date": "date", "rate": "varchar", "price": "varchar", "volume": "varchar"},
        ("rate_date",),
        "rate_date",
        warns="percent signs",
    ),
    Case(
        "lab.samples",
        lines(
            "sample_id,taken,value",
            [f"{i},{day(i)},{'NA' if i % 3 == 0 else R.uniform(0, 1):.4}" for i in range(120)],
        ),
        {"sample_id": "bigint", "taken": "date", "value": "double"},
        ("sample_id",),
        "taken",
        {"nulls": ["NA"]},
    ),
    Case(
        "lab.dirty",
        lines(
            "sample_id,taken,value",
            [f"{i},{day(i)},{'broken' if i == 77 else i}" for i in range(1, 301)],
        ),
        {"sample_id": "bigint", "taken": "date", "value": "bigint"},
        ("sample_id",),
        "taken",
        warns="1 value cannot be bigint",
    ),
    Case(
        "taxi.trips",
        lines(
            "VendorID,tpep_pickup_datetime,tpep_dropoff_datetime,passenger_count,fare_amount",
            [
                f"{i % 2 + 1},{moment(i // 3)},{moment(i // 3 + 9)},{i % 4}.0,{i % 40}.5"
                for i in range(200)
            ],
        ),
        {
            "VendorID": "bigint",
            "tpep_pickup_datetime": "timestamp",
            "tpep_dropoff_datetime": "timestamp",
            "passenger_count": "double",
            "fare_amount": "decimal(18,2)",
        },
        (),
        "tpep_pickup_datetime",
    ),
    Case(
        "retail.invoices",
        lines(
            "InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID,Country",
            [
                f"{536365 + o},{85123 + s}A,{R.randrange(9)},"
                f"{moment(o, 3600):%m/%d/%Y %H:%M},2.55,17850.0,United Kingdom"
                for o in range(60)
                for s in range(o % 3 + 1)
            ],
        ),
        {
            "InvoiceNo": "bigint",
            "StockCode": "varchar",
            "Quantity": "bigint",
            "InvoiceDate": "timestamp %m/%d/%Y %H:%M",
            "UnitPrice": "decimal(18,2)",
            "CustomerID": "bigint",
            "Country": "varchar",
        },
        ("InvoiceNo", "StockCode"),
        "InvoiceDate",
    ),
    Case(
        "stocks.quotes",
        lines(
            "Date,Symbol,Open,Close,Volume",
            [
                f"{day(i):%d-%b-%Y},{s},{100 + i}.1,{100 + i}.25,{i * 1000}"
                for i in range(40)
                for s in ("AAPL", "MSFT")
            ],
        ),
        {
            "Date": "date %d-%b-%Y",
            "Symbol": "varchar",
            "Open": "double",
            "Close": "double",
            "Volume": "bigint",
        },
        ("Symbol", "Date"),
        "Date",
    ),
    Case(
        "weather.daily",
        lines(
            "date,city,tmax,tmin,rain",
            [
                f"{day(i):%Y%m%d},{c},{20 + i % 9}.5,{i % 9},{i % 3 / 10}"
                for i in range(30)
                for c in CITIES
            ],
        ),
        {
            "date": "date %Y%m%d",
            "city": "varchar",
            "tmax": "double",
            "tmin": "bigint",
            "rain": "double",
        },
        ("city", "date"),
        "date",
    ),
    Case(
        "work.shifts",
        lines(
            "shift_id,employee_id,starts,ends,on_date",
            [
                f'{i},{i % 4},08:{i % 60:02},4:{i % 60:02} PM,"Jan {i % 28 + 1}, 2024"'
                for i in range(60)
            ],
        ),
        {
            "shift_id": "bigint",
            "employee_id": "bigint",
            "starts": "time",
            "ends": "time %I:%M %p",
            "on_date": "date %b %d, %Y",
        },
        ("shift_id",),
        "on_date",
    ),
    Case(
        "big.ledger",
        lines(
            "entry_id,account_number,big,booked_at",
            [
                f"{i},{'0' if i == 9 else ''}{4000 + i},{10**20 + i},{moment(i).isoformat()}+02:00"
                for i in range(60)
            ],
        ),
        {
            "entry_id": "bigint",
            "account_number": "varchar",
            "big": "varchar",
            "booked_at": "timestamp",
        },
        ("entry_id",),
        "booked_at",
    ),
    Case(
        "flights.delays",
        lines(
            "flight_date,carrier,delay",
            [f"{day(i % 20):%d/%m/%y},{['AA', 'UA'][i % 2]},{i % 7}" for i in range(100)],
        ),
        {"flight_date": "date %d/%m/%y", "carrier": "varchar", "delay": "bigint"},
        (),
        "flight_date",
    ),
    Case(
        "quoted.things",
        lines("'id','label'", [f"'{i}','it, is {i}'" for i in range(60)]),
        {"id": "bigint", "label": "varchar"},
        ("id",),
        None,
        {"quote": "'"},
    ),
    Case(
        "escaped.things",
        lines("id,label", [f'{i},"say \\"hi\\", {i}"' for i in range(60)]),
        {"id": "bigint", "label": "varchar"},
        ("id",),
        None,
        {"escape": "\\"},
    ),
    Case(
        "pandas.frame",
        lines(",x,y", [f"{i},{R.random():.3f},{R.choice('abc')}" for i in range(60)]),
        {"column_1": "bigint", "x": "double", "y": "varchar"},
        ("column_1",),
        None,
        warns="column_1",
    ),
    Case(
        "ops.incidents",
        lines(
            "incident_id,occurred_at,recorded_at,updated_at,resolved_at",
            [
                f"{i},{moment(i)},{moment(i + 3)},{moment(i + 90)},{moment(i + 80)}"
                for i in range(60)
            ],
        ),
        {
            "incident_id": "bigint",
            "occurred_at": "timestamp",
            "recorded_at": "timestamp",
            "updated_at": "timestamp",
            "resolved_at": "timestamp",
        },
        ("incident_id",),
        "occurred_at",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_data_set(look: Look, case: Case) -> None:
    found = look(case.text, name=case.name)
    assert types(found) == case.types
    assert found.key == case.key
    assert found.event_time == case.event_time
    assert found.options == case.options
    assert entry(found, case.name).columns.keys() == case.types.keys()
    assert case.warns in " ".join(found.warnings)
    about = {evidence.about for evidence in found.evidence}
    assert {"key", "event_time", "header", *(f"column {name}" for name in case.types)} <= about


def test_known_at_is_a_time_of_recording(look: Look) -> None:
    found = look(next(case.text for case in CASES if case.name == "ops.incidents"))
    assert (found.event_time, found.known_at) == ("occurred_at", "recorded_at")


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
    assert (set(found.key), found.event_time) == ({"device_id", "ts", "metric"}, None)


def test_files_without_a_key_are_warned_of(look: Look) -> None:
    rows = [f"{n % 7},{n % 3}" for n in range(80)]
    found = look(lines("size,weight", rows))
    assert "a corrected file that comes again is loaded in full" in " ".join(found.warnings)
    assert "one file cannot tell" in next(e.because for e in found.evidence if e.about == "write")


@pytest.mark.parametrize("offset", ["-0400", "+02:00", "+02"])
@pytest.mark.parametrize("fraction", ["", ".250"])
def test_a_blank_before_the_offset(look: Look, offset: str, fraction: str) -> None:
    found = look(lines("id,at", [f"{n},{moment(n)}{fraction} {offset}" for n in range(60)]))
    form = "%Y-%m-%d %H:%M:%S.%f %z" if fraction else "%Y-%m-%d %H:%M:%S %z"
    assert types(found)["at"] == f"timestamp {form}"
    hour = 12 if offset == "-0400" else 6
    assert str(found.columns[1].minimum).startswith(f"2024-01-01 {hour:02}:00:00{fraction[:3]}")


def test_totals_and_notes_below_the_table_do_not_count(look: Look) -> None:
    rows = [f"{n:03},{day(7)},{n * 3},{'x' if n % 4 else ''}" for n in range(1, 41)]
    text = lines("Store No.,Week ending,Units,Note", [*rows, "Total,,2460,", "* preliminary,,,"])
    found = look(text, text.replace(str(day(7)), str(day(14))), name="acme.weekly")
    assert found.key == ("Store No.", "Week ending")
    assert (found.event_time, found.row_count, found.rows_looked_at) == ("Week ending", 84, 80)
    assert "4 rows at the files' ends look like totals or notes" in found.warnings[0]
    because = {e.about: e.because for e in found.evidence}
    assert because["column Note"].endswith("; 20 empty")


def test_a_last_record_with_gaps_is_no_total(look: Look) -> None:
    rows = [f"{n},{day(n)},{n * 3}" for n in range(60)]
    found = look(lines("id,sold,units", [*rows, "60,,5", f"61,{day(1)},"]))
    assert (found.rows_looked_at, found.key) == (62, ("id",))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Nettobetrag (€)", "decimal(18,2)"),
        ("Einzelpreis", "decimal(18,2)"),
        ("Shipping", "decimal(18,2)"),
        ("Revenue EUR", "decimal(18,2)"),
        ("MwSt. %", "double"),
        ("Steuersatz", "double"),
        ("speed", "double"),
    ],
)
def test_names_of_money(look: Look, name: str, kind: str) -> None:
    assert types(look(lines(f"id,{name}", [f"{n},{n}.5" for n in range(60)])))[name] == kind


def test_values_that_are_no_numbers_are_warned_of(look: Look) -> None:
    rows = [f"{n},{'NaN' if n == 9 else f'{n % 9 + 11}.531'}" for n in range(60)]
    found = look(lines("id,value", rows))
    assert types(found)["value"] == "double"
    assert len(found.warnings) == 1
    assert "column value: 1 value is NaN" in found.warnings[0]


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


def test_titles_beside_empty_fields_stand_before_the_header(look: Look) -> None:
    rows = [f"{day(n):%d.%m.%Y};DE0{n % 7};{n},50;x" for n in range(60)]
    found = look("Konto;DE02;;\nStand;01.02.2024;;\n" + lines("Buchungstag;IBAN;Betrag;Text", rows))
    assert found.options["skip"] == 2
    assert list(types(found)) == ["Buchungstag", "IBAN", "Betrag", "Text"]


def test_times_of_mail_and_feeds(look: Look) -> None:
    rows = [f"{n},{moment(n):%a} {moment(n):%d %b %Y %H:%M:%S} GMT" for n in range(60)]
    texts = [row.replace(" ", "; ", 1) for row in rows]
    found = look(lines("id;sent", [t.replace(",", ";", 1).replace("; ", ", ", 1) for t in texts]))
    assert types(found)["sent"] == "timestamp %a, %d %b %Y %H:%M:%S GMT"


def test_a_yearly_series(look: Look) -> None:
    found = look(lines("year,passengers", [f"{1950 + i},{R.randrange(9999)}" for i in range(60)]))
    assert (found.key, found.event_time) == (("year",), None)


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


def test_a_code_that_looks_like_a_null_stays(look: Look) -> None:
    codes = ["DE", "FR", "NA", "IT"]
    rows = [f"{i},{codes[i % 4]},{'NA' if i % 5 == 0 else i}" for i in range(100)]
    found = look(lines("id,country,score", rows))
    assert "nulls" not in found.options
    assert types(found)["score"] == "varchar"
    assert "is a value in another column" in " ".join(found.warnings)


def test_quarantined_nulls_are_typed_when_they_are_few(look: Look) -> None:
    rows = [f"{i},{'unknown' if i == 5 else i * 2},{['unknown', 'red'][i % 2]}" for i in range(500)]
    found = look(lines("id,size,colour", rows))
    assert types(found) == {"id": "bigint", "size": "bigint", "colour": "varchar"}
    assert found.columns[1].bad_count == 1
    assert found.columns[1].null_count == 0


def test_a_number_late_in_the_file_is_seen(look: Look) -> None:
    rows = [f"{i},{i}" for i in range(7000)] + [f"{7000 + i},{i}.5" for i in range(200)]
    rows += [f"{7200 + i},x" for i in range(2)]
    found = look(lines("id,size", rows))
    assert types(found)["size"] == "double"
    assert found.columns[1].bad_count == 2


def written(number: float, marks: str, digits: int = 2) -> str:
    """The number as a report has it, with `marks` for thousands and decimals."""
    return f"{number:,.{digits}f}".translate(str.maketrans(",.", marks))


@pytest.mark.parametrize(
    ("marks", "options"),
    [
        (",.", {"thousands": ","}),
        (".,", {"thousands": ".", "decimal": ","}),
        (" ,", {"thousands": " ", "decimal": ","}),
        ("\u00a0,", {"thousands": " ", "decimal": ","}),
        ("\u202f,", {"thousands": " ", "decimal": ","}),
        ("'.", {"thousands": "'"}),
        ("\u2019.", {"thousands": "'"}),
    ],
)
def test_thousands_are_told(look: Look, marks: str, options: dict[str, str]) -> None:
    rows = [f"{i};{written(i * 97.25, marks)};{written(i * 41, marks, 0)}" for i in range(90)]
    found = look(lines("id;amount;visitors", rows))
    assert types(found) == {"id": "bigint", "amount": "decimal(18,2)", "visitors": "bigint"}
    assert found.options == {"delimiter": ";"} | options
    assert [column.maximum for column in found.columns] == ["89", "8655.25", "3649"]
    assert [column.bad_count for column in found.columns] == [0, 0, 0]
    assert not any("text" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("values", "kind", "thousands"),
    [
        (["1,234,567", "12,345", "345,678,901"], "bigint", ","),
        (["1.234.567", "12.345", "345.678.901"], "bigint", "."),
        (["1 234", "12 345", "999", "345 678 901"], "bigint", " "),
        (["950", "1,230", "12,500", "812", "3,471"], "bigint", ","),  # none is written like 950,000
        (["950", "1.230", "12.500", "812", "3.471"], "bigint", "."),
        (["1,234.5", "12,345.25", "3,456.75", "12.5"], "double", ","),
        (["1,234.5", "12,345.25", "345,67.5", "12.5"], "varchar", None),
        (["12'34'567", "1'23'456", "3'45'678"], "varchar", None),
        (["1.234", "1.235", "2.236", "9.871"], "double", None),
        (["0,123", "1,235", "2,236", "9,871"], "double", None),
        (["192.168.100.101", "192.168.100.102", "192.168.101.103"], "varchar", None),
        (["123.456.789", "987.654.321", "564.738.291"], "varchar", None),
        (["560 001", "110 002", "400 003", "600 004"], "varchar", None),
        (["01.02.2024", "03.02.2024", "17.02.2024"], "date %d.%m.%Y", None),
    ],
)
def test_thousands_need_proper_groups(
    look: Look, values: list[str], kind: str, thousands: str | None
) -> None:
    rows = [f"{i};{values[i % len(values)]}" for i in range(60)]
    found = look(lines("id;size", rows))
    assert types(found)["size"] == kind
    assert found.options.get("thousands") == thousands


def test_thousands_that_come_late_are_told(look: Look) -> None:
    found = look(lines("id;total", [f"{i};{i / 8 + 1:,.3f}" for i in range(1, 9000)]))
    assert types(found)["total"] == "decimal(18,3)"
    assert found.options == {"delimiter": ";", "thousands": ","}
    assert found.columns[1].maximum == "1125.875"
    assert [evidence.about for evidence in found.evidence].count("thousands") == 1


def test_three_digits_behind_one_comma_are_not_guessed(look: Look) -> None:
    rows = [f"{i};{i + 1},{i * 7 % 900 + 100}" for i in range(60)]
    found = look(lines("id;size", rows))
    assert types(found)["size"] == "varchar"
    assert found.options == {"delimiter": ";"}
    assert "nothing tells whether the comma in '1,100'" in " ".join(found.warnings)


@pytest.mark.parametrize(
    ("other", "kind", "options"),
    [
        ("{}.5", "bigint", {"thousands": ","}),
        ("{},5", "double", {"decimal": ","}),
    ],
)
def test_another_column_settles_what_a_comma_is(
    look: Look, other: str, kind: str, options: dict[str, str]
) -> None:
    rows = [f"{i};{i + 1},{i * 7 % 900 + 100};{other.format(i)}" for i in range(60)]
    found = look(lines("id;size;weight", rows))
    assert types(found) == {"id": "bigint", "size": kind, "weight": "double"}
    assert found.options == {"delimiter": ";"} | options


def test_another_column_settles_what_a_point_is(look: Look) -> None:
    rows = [f"{i};{i + 1}.{i * 7 % 900 + 100};{i},5" for i in range(60)]
    found = look(lines("id;size;weight", rows))
    assert types(found) == {"id": "bigint", "size": "bigint", "weight": "double"}
    assert found.options == {"delimiter": ";", "decimal": ",", "thousands": "."}
    alone = look(lines("id;size", [row.rpartition(";")[0] for row in rows]))
    assert (types(alone)["size"], alone.options) == ("double", {"delimiter": ";"})
    assert "the point in '1.100' is taken to part decimals" in " ".join(alone.warnings)


def test_columns_of_other_marks_stay_text(look: Look) -> None:
    rows = [
        f"{i};{written(i * 97.25, ',.')};{written(i * 97.25, ' .')};{written(i * 9.75, '.,')}"
        for i in range(90)
    ]
    found = look(lines("id;amount;paid;weight", rows))
    assert types(found) == {
        "id": "bigint",
        "amount": "decimal(18,2)",
        "paid": "varchar",
        "weight": "varchar",
    }
    said = " ".join(found.warnings)
    assert "column paid parts thousands, such as '1 069.75': it stays text" in said
    assert "decimal commas in weight, but points elsewhere: they stay text" in said


def test_a_column_that_comes_later_is_no_key_or_time(look: Look) -> None:
    january = lines("note", [f"n{i % 7}" for i in range(3)])
    february = lines("note,order_id,ordered_at", [f"x,{i},{moment(i)}" for i in range(900)])
    found = look(january, february)
    assert types(found) == {"note": "varchar", "order_id": "bigint", "ordered_at": "timestamp"}
    assert (found.key, found.event_time) == ((), None)


def test_columns_are_described(look: Look) -> None:
    rows = [f"{i},{['red', 'blue', ''][i % 3]}" for i in range(60)]
    identity, colour = look(lines("id,colour", rows)).columns
    assert (identity.minimum, identity.maximum, identity.distinct_count) == ("0", "59", 60)
    assert (colour.null_count, colour.values) == (20, ("blue", "red"))
    assert set(colour.examples) <= {"red", "blue"}


def test_headers_that_differ_are_united(look: Look) -> None:
    found = look("id,a\n1,x\n2,y\n", "id,b\n3,x\n4,z\n")
    assert [column.name for column in found.columns] == ["id", "a", "b"]
    assert "not every file has a, b: null there" in found.warnings
    assert found.columns[1].null_count == 2


def test_files_in_another_dialect_are_left_out(look: Look) -> None:
    found = look("id,a\n1,x\n", "id,a\n2,x\n", "id;a\n3;x\n")
    assert found.row_count == 2
    assert "another dialect" in " ".join(found.warnings)


def test_torn_records_are_warned_of(look: Look) -> None:
    found = look(lines("id,a,b", [f"{i},x,y" for i in range(50)] + ["51,x"]))
    assert found.row_count == 50
    assert "1 record with too many or too few fields" in " ".join(found.warnings)


ENCODED = [
    ("utf-8-sig", "Zoë,Łódź", None),
    ("utf-16", "Zoë,Łódź", "utf-16"),
    ("utf-16-le", "Zoe,Lodz", "utf-16-le"),
    ("cp1252", "José,São Paulo – 5 €", "cp1252"),
    ("cp1250", "Wałęsa,Łódź", "cp1250"),
    ("iso8859_2", "Kowalski,świętokrzyskie", "iso8859_2"),
    ("cp1251", "Иванов,Москва улица", "cp1251"),
    ("shift_jis", "東京都,カタカナひらがな", "shift_jis"),
    ("gb18030", "北京市,中国人民数据库", "gb18030"),
    ("cp437", "Müller,Österreich", "cp437"),
]


@pytest.mark.parametrize(("codec", "text", "told"), ENCODED, ids=[row[0] for row in ENCODED])
def test_an_encoding(look: Look, codec: str, text: str, told: str | None) -> None:
    found = look(lines("id,name,place", [f"{i},{text}" for i in range(30)]).encode(codec))
    assert found.options.get("encoding") == told
    assert found.columns[1].values == (text.split(",")[0],)
    assert found.columns[0].name == "id"


def test_packed_files(tmp_path: Path, settings: Settings) -> None:
    import pyarrow as pa

    text = lines("order_id,total", [f"{i},{i}.50" for i in range(60)]).encode()
    packed = tmp_path / "a.csv.gz"
    packed.write_bytes(gzip.compress(text))
    squeezed = tmp_path / "b.csv.zst"
    with pa.output_stream(str(squeezed), compression="zstd") as out:
        out.write(text)
    archive = tmp_path / "c.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("one.csv", text)
        zipped.writestr("b/two.csv", text)
    for file, rows in ((packed, 60), (squeezed, 60), (archive, 120)):
        found = infer(settings, [file], "shop.orders")
        assert (found.format, found.key, found.row_count) == ("csv", ("order_id",), rows)
    assert not list(settings.tmp.glob("inference*"))
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.writestr("../three.csv", text)
    with pytest.raises(ClearwaterError, match="would climb out"):
        infer(settings, [archive], "shop.orders")
    assert not list(tmp_path.parent.rglob("three.csv"))


def test_parquet_keeps_its_types(tmp_path: Path, settings: Settings) -> None:
    for number in (1, 2):
        duckdb.sql(
            f"select i + 100 * {number} as basket_id, i % 7 as store_id, i::decimal(9,3) as weight,"
            " timestamp '2024-01-01' + interval (i) hour as sold_at, {'A': i} as Nested"
            " from range(100) t(i)"
        ).write_parquet(str(tmp_path / f"{number}.parquet"))
    found = infer(settings, sorted(tmp_path.glob("*.parquet")), "shop.baskets")
    assert types(found) == {
        "basket_id": "bigint",
        "store_id": "bigint",
        "weight": "decimal(9,3)",
        "sold_at": "timestamp",
        "Nested": "STRUCT(A BIGINT)",
    }
    assert (found.format, found.key, found.event_time) == ("parquet", ("basket_id",), "sold_at")
    assert (found.row_count, found.file_count, found.write) == (200, 2, "append")


def test_a_relation_of_texts(settings: Settings) -> None:
    con = duckdb.connect()
    con.execute("create table t as select i::varchar as id, 'x' as kind from range(60) s(i)")
    found = infer_relation(
        con, "t", ["id", "kind"], None, name="a.b", format_name="json", options={"record": "rows"}
    )
    assert (types(found), found.key) == ({"id": "bigint", "kind": "varchar"}, ("id",))
    assert (found.format, found.options) == ("json", {"record": "rows"})


REFUSED = [
    (b"", "the file is empty"),
    (b" \n\n", "the file is empty"),
    (b"PAR1" + bytes(50), "holds Parquet"),
    (bytes(range(256)) * 9, "binary data"),
    (b"id,name,ID\n1,a,2\n", "stands twice"),
    (b"id,_loaded_at\n1,a\n", "Clearwater's own"),
]


@pytest.mark.parametrize(("content", "message"), REFUSED, ids=[row[1] for row in REFUSED])
def test_what_cannot_be_added_is_said(look: Look, content: bytes, message: str) -> None:
    with pytest.raises(ClearwaterError, match=message) as raised:
        look(content)
    assert raised.value.next_step
    assert raised.value.where


def test_a_missing_file_is_said(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ClearwaterError, match="there is no such file"):
        infer(settings, [tmp_path / "none.csv"], "a.b")
    with pytest.raises(ClearwaterError, match="there are no files"):
        infer(settings, [], "a.b")


def test_broken_containers_and_parquet_are_said(look: Look) -> None:
    with pytest.raises(ClearwaterError, match="cannot be unpacked"):
        look(gzip.compress(b"id\n1\n" * 999)[:40], suffix=".csv.gz")
    with pytest.raises(ClearwaterError, match="cannot be unpacked"):
        look(b"PK\x03\x04 no zip", suffix=".zip")
    with pytest.raises(ClearwaterError, match="not a readable Parquet file"):
        look(b"id,a\n1,2\n", suffix=".parquet")


def test_a_header_alone_and_a_single_column(look: Look) -> None:
    found = look("id,name\n")
    assert (types(found), found.row_count, found.key) == (
        {"id": "varchar", "name": "varchar"},
        0,
        (),
    )
    assert types(look(lines("id", [str(i) for i in range(60)]))) == {"id": "bigint"}


def test_hostile_names(look: Look) -> None:
    found = look(lines('"order\'s ""id""; drop",select', [f"{i},x" for i in range(60)]))
    assert [column.name for column in found.columns] == ['order\'s "id"; drop', "select"]
    assert types(found)["select"] == "varchar"


def test_line_ends_of_several_kinds(look: Look) -> None:
    found = look("id,text\r\n" + "".join(f'{i},"a\nb"' + "\r\n\n"[i % 2 * 2 :] for i in range(60)))
    assert (types(found), found.row_count) == ({"id": "bigint", "text": "varchar"}, 60)


def test_years_of_two_digits_that_lie_ahead_stay_text(look: Look) -> None:
    found = look(lines("id,born", [f"{i},13.{i % 12 + 1:02}.{50 + i % 40}" for i in range(60)]))
    assert types(found)["born"] == "varchar"
    assert "two digits" in next(e.because for e in found.evidence if e.about == "column born")


def test_a_matrix_with_numbers_for_names(look: Look) -> None:
    found = look(lines(",10,20", [f"{i},{i % 3},{i % 4}" for i in range(9)]))
    assert [column.name for column in found.columns] == ["column_1", "10", "20"]
