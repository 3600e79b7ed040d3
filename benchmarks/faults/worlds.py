"""The clean worlds that faults are planted in: daily files of payments and of a grocery retailer.

A world is a seeded choice of data: which customers, which stretch of time, which rhythm and
growth. Two worlds of a domain differ as two months or two towns do.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Literal

import duckdb
import numpy as np

from benchmarks.faults.frame import Frame, Values, as_csv, as_parquet, height, some, take
from flows import retail
from flows.samples import COLUMNS, write_samples
from warehouse.duck import quoted

HISTORY_DAYS = 28
CUSTOMERS = 800
RHYTHMS = ("flat", "weekly", "growing", "weekly and growing")
PRODUCTS_A_DAY = 1_500
DomainName = Literal["payments", "retail"]


@dataclass(frozen=True)
class Roles:
    """What a feed's columns are to a fault: the same words for both domains."""

    key: str
    amount: str
    who: str
    where: str
    time: str
    label: str = ""
    category: str = ""
    spare: str = ""


@dataclass(frozen=True)
class Feed:
    """One source of a domain: its roles, and the published table and columns that it fills.

    `published` maps the published column to SQL over the source's columns.
    """

    name: str
    roles: Roles
    relation: str
    published: dict[str, str]
    suffix: str
    encode: Callable[[Frame], bytes]
    replaces: bool = False  # a row with a known key replaces it


@dataclass(frozen=True)
class Day:
    """What one day brings: a frame for each feed, by the feed's name."""

    on: date
    frames: dict[str, Frame]


@dataclass(frozen=True)
class World:
    """A domain's days in order; the first HISTORY_DAYS are loaded before anything is tried."""

    domain: DomainName
    name: str
    days: list[Day]
    fixed: dict[str, Frame] = field(default_factory=dict)


def _cents(column: str) -> str:
    return f"cast(round({column} * 100) as bigint)"


PAYMENTS = Feed(
    name="payments.transactions",
    roles=Roles(
        key="TRANSACTION_ID",
        amount="TX_AMOUNT",
        who="CUSTOMER_ID",
        where="TERMINAL_ID",
        time="TX_DATETIME",
        label="TX_FRAUD",
        category="TX_FRAUD_SCENARIO",
        spare="TX_TIME_DAYS",
    ),
    relation="marts.fct_transactions",
    published={
        "transaction_id": "TRANSACTION_ID",
        "transacted_at": "TX_DATETIME",
        "customer_id": "CUSTOMER_ID",
        "terminal_id": "TERMINAL_ID",
        "amount_cents": _cents("TX_AMOUNT"),
        "is_fraud": "cast(TX_FRAUD as boolean)",
    },
    suffix=".csv",
    encode=as_csv,
)
SALES = Feed(
    name="retail.transactions",
    roles=Roles(
        key="basket_id",
        amount="sales_value",
        who="household_id",
        where="store_id",
        time="transaction_timestamp",
        category="product_id",
        spare="coupon_match_disc",
    ),
    relation="marts.fct_retail_transactions",
    published={
        "basket_id": "basket_id",
        "product_id": "product_id",
        "household_id": "household_id",
        "store_id": "store_id",
        "transacted_at": "transaction_timestamp",
        "week": "week",
        "quantity": "quantity",
        "sales_value_cents": _cents("sales_value"),
        "retail_discount_cents": _cents("retail_disc"),
        "coupon_discount_cents": _cents("coupon_disc"),
        "coupon_match_discount_cents": _cents("coupon_match_disc"),
    },
    suffix=".parquet",
    encode=as_parquet,
)
CATALOGUE = Feed(
    name="retail.products",
    roles=Roles(
        key="product_id",
        amount="",
        who="manufacturer_id",
        where="",
        time="",
        category="department",
        spare="package_size",
    ),
    relation="marts.dim_retail_products",
    published={
        name: name
        for name in (
            "product_id",
            "manufacturer_id",
            "department",
            "brand",
            "product_category",
            "product_type",
            "package_size",
        )
    },
    suffix=".parquet",
    encode=as_parquet,
    replaces=True,
)
FEEDS = {feed.name: feed for feed in (PAYMENTS, SALES, CATALOGUE)}


def worlds(
    domain: DomainName, count: int, days: int, seed: int, handbook: Path | None, scratch: Path
) -> Iterator[World]:
    """`count` worlds of HISTORY_DAYS + `days` days each; `scratch` keeps what is simulated."""
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        length = HISTORY_DAYS + days
        if domain == "retail":
            yield _retail(number, rng, length)
        elif handbook is not None and number % 3 == 2:
            yield _published_payments(number, rng, length, handbook)
        else:
            yield _simulated_payments(number, rng, length, scratch)


def _simulated_payments(number: int, rng: np.random.Generator, days: int, scratch: Path) -> World:
    # The first days of the sample hold rows that are wrong on purpose: they are left out.
    sample = write_samples(
        scratch / f"simulated-{number}",
        days=days + 2,
        customers=CUSTOMERS,
        terminals=2 * CUSTOMERS,
        seed=int(rng.integers(1_000_000)),
    )
    files = ", ".join(quoted(file) for file in sample.files[2:])
    source = f"read_csv([{files}], columns = {{{_types()}}})"
    rhythm = RHYTHMS[number % len(RHYTHMS)]
    return _payments(f"simulated {number}, {rhythm}", source, rng, days, rhythm)


def _published_payments(number: int, rng: np.random.Generator, days: int, file: Path) -> World:
    first = int(rng.integers(0, 180 - days))
    lowest = int(rng.integers(0, 5_000 - CUSTOMERS))
    source = (
        f"(from {quoted(file)} where TX_TIME_DAYS between {first} and {first + days - 1}"
        f" and CUSTOMER_ID between {lowest} and {lowest + CUSTOMERS - 1})"
    )
    return _payments(f"handbook {number}, from day {first}", source, rng, days, "flat")


def _types() -> str:
    return ", ".join(f"{name}: {quoted(kind)}" for name, kind in COLUMNS.items())


def _payments(name: str, source: str, rng: np.random.Generator, days: int, rhythm: str) -> World:
    """The days of `source`, moved so that the last of them was yesterday."""
    with duckdb.connect() as con:
        table = con.execute(f"from {source} order by TRANSACTION_ID").fetchnumpy()
    frame = {column: np.asarray(table[column]) for column in COLUMNS}
    frame["TX_DATETIME"] = frame["TX_DATETIME"].astype("datetime64[s]")
    dates = frame["TX_DATETIME"].astype("datetime64[D]")
    last = datetime.now(UTC).date() - timedelta(days=1)
    frame["TX_DATETIME"] = frame["TX_DATETIME"] + (np.datetime64(last) - dates.max())
    dates = frame["TX_DATETIME"].astype("datetime64[D]")
    told = []
    for at, on in enumerate(np.unique(dates)):
        rows = take(frame, dates == on)
        share = _kept_share(rhythm, on.astype(object), at / days)
        rows = take(rows, some(rng, height(rows), share)) if share < 1 else rows
        told.append(Day(on.astype(object), {PAYMENTS.name: rows}))
    return World("payments", name, told)


def _kept_share(rhythm: str, on: date, progress: float) -> float:
    """The share of a day's payments that this world has: fewer on weekends, more with time."""
    weekly = {5: 0.75, 6: 0.6}.get(on.weekday(), 1.0) if "weekly" in rhythm else 1.0
    return weekly * (0.7 + 0.3 * progress if "growing" in rhythm else 1.0)


@cache
def _retail_data() -> Path:
    spec = importlib.util.find_spec(retail.PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the retailer's data are not installed: `make retail`")
    return Path(spec.submodule_search_locations[0]) / "data"


def _retail(number: int, rng: np.random.Generator, days: int) -> World:
    data = _retail_data()
    # Every day of the year is drawn from, the holidays at its end as well.
    first = date(2017, 1, 1) + timedelta(days=int(rng.integers(0, 365 - days)))
    if number % 4 == 3:
        first = date(2017, 12, 31) - timedelta(days=days)  # nothing is sold on Christmas Day
    local = "timezone('America/New_York', timezone('UTC', transaction_timestamp))::date"
    with duckdb.connect() as con:
        con.execute(
            f"create table sales as select *, {local} as day_ from"
            f" {quoted(data / 'transactions.parquet')} where {local} >= {quoted(str(first))}"
            f" and {local} <= {quoted(str(first + timedelta(days=days)))}"
        )
        con.execute(
            f"create table products as from {quoted(data / 'products.parquet')}"
            " semi join sales using (product_id)"
        )
        products = _columns(con, "from products order by product_id")
        told = [
            Day(
                on,
                {
                    SALES.name: _columns(
                        con,
                        f"select * exclude (day_) from sales where day_ = {quoted(str(on))}"
                        " order by transaction_timestamp, basket_id, product_id",
                    ),
                    CATALOGUE.name: take(
                        products, some(rng, height(products), PRODUCTS_A_DAY / height(products))
                    ),
                },
            )
            for (on,) in con.execute(
                f"select distinct day_ from sales order by 1 limit {days}"
            ).fetchall()
        ]
        fixed = {
            "retail.products": products,
            "retail.demographics": _columns(con, f"from {quoted(data / 'demographics.parquet')}"),
        }
    return World("retail", f"retail {number}, from {first}", told, fixed)


def _columns(con: duckdb.DuckDBPyConnection, sql: str) -> Frame:
    """The rows of a query; nulls are None in columns of objects."""
    return {name: _unmasked(values) for name, values in con.execute(sql).fetchnumpy().items()}


def _unmasked(values: Values) -> Values:
    if not isinstance(values, np.ma.MaskedArray):
        return values
    known = values.data.astype(object)
    known[np.ma.getmaskarray(values)] = None
    return known
