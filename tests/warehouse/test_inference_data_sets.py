"""What is inferred of data sets as they are found everywhere, each as a whole."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from looks import Look, day, entry, lines, looker, moment, types

from warehouse.settings import Settings


@pytest.fixture
def look(settings: Settings, tmp_path: Path) -> Look:
    return looker(settings, tmp_path)


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
        {"event_uuid": "varchar", "epoch_ms": "timestamp epoch_ms", "page": "varchar"},
        ("event_uuid",),
        "epoch_ms",
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
        warns="columns without a name in the header are called column_1",
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
