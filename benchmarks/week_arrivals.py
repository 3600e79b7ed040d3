"""An upstream that sends files with every tick: payments, labels and rows that come late, orders.

Columns come and go, a type widens, and for a while the amounts of all payments are of another
unit; then the files are sent once more as they should have been, under their names. The same plan
and seed make the same bytes.
"""

from __future__ import annotations

import csv
import json
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from flows.samples import COLUMNS

BEGIN = datetime(2026, 3, 23, tzinfo=UTC)  # on the Sunday, Europe's clocks are put on
ZONE = "Europe/Berlin"
ROWS, HELD_BACK = 60, 10
CUSTOMERS, TERMINALS = 40, 60
FRAUDS_EVERY = 15  # of so many payments one is a fraud
BROKEN_EVERY = 8  # of so many files one has a row for the quarantine

Row = dict[str, Any]


@dataclass(frozen=True)
class Stretch:
    """So many ticks from `first` on."""

    first: int
    count: int

    def __contains__(self, tick: int) -> bool:
        return self.first <= tick < self.after

    @property
    def after(self) -> int:
        """The first tick that is no more of it."""
        return self.first + self.count


@dataclass(frozen=True)
class Plan:
    """What happens at which tick of the schedule; the first run is that of tick 0.

    `backlog` ticks were before it, whose files are there then. Labels come `labels_late` ticks
    after their payments, some payments `rows_late` ticks after their own file. `stale_after` is the
    age at which a critical rule calls what is published too old.
    """

    cron: str
    span: timedelta
    ticks: int
    backlog: int
    outages: tuple[Stretch, ...]
    bad: Stretch
    labels_late: int
    rows_late: int
    late_every: int
    stale_after: timedelta
    channel: Stretch  # when payments have one more column
    widened_from: int  # orders: a larger integer
    noted_from: int  # orders: one more column
    shopless_from: int  # orders: one column less
    tidy_every: int

    def moment(self, tick: int) -> datetime:
        """When the tick is, in UTC."""
        return BEGIN + tick * self.span

    @property
    def missed(self) -> int:
        """How many ticks pass without a run."""
        return sum(outage.count for outage in self.outages)

    @property
    def runs(self) -> int:
        """How many runs there are: one for each tick that is not missed, one after each outage."""
        return self.ticks - self.missed + len(self.outages)


WEEK = Plan(
    cron="0 * * * *",
    span=timedelta(hours=1),
    ticks=192,  # 168 runs: a week, and the day that the outages take
    backlog=60,
    outages=(Stretch(40, 6), Stretch(130, 20)),
    bad=Stretch(72, 24),
    labels_late=48,
    rows_late=30,
    late_every=6,
    stale_after=timedelta(hours=12),
    channel=Stretch(56, 52),
    widened_from=62,
    noted_from=104,
    shopless_from=152,
    tidy_every=24,
)
TWO_DAYS = Plan(
    cron="0 1-21/4 * * *",  # every four hours of UTC, on days in winter
    span=timedelta(hours=4),
    ticks=13,
    backlog=13,
    outages=(Stretch(2, 2),),
    bad=Stretch(6, 3),
    labels_late=4,
    rows_late=4,
    late_every=1,
    stale_after=timedelta(hours=6),
    channel=Stretch(1, 9),
    widened_from=4,
    noted_from=5,
    shopless_from=10,
    tidy_every=6,
)


class Upstream:
    """The folder that runs read from; `send` brings a tick's files."""

    def __init__(self, folder: Path, plan: Plan, seed: int) -> None:
        self._folder, self._plan, self._seed = folder, plan, seed
        self.sources = folder / "sources.yml"
        (folder / "payments").mkdir(parents=True)
        (folder / "orders").mkdir()
        self.sources.write_text(json.dumps(_sources(plan), indent=1), encoding="utf-8")
        for tick in range(-plan.backlog, 0):
            self.send(tick)

    def send(self, tick: int) -> None:
        """The files of this tick, and after a bad time those of it as they should have been."""
        if tick == self._plan.bad.after:
            for earlier in range(self._plan.bad.first, tick):
                self._send_payments(earlier, tick, is_bad=False)
        self._send_payments(tick, tick, is_bad=tick in self._plan.bad)
        self._send_orders(tick)

    def _send_payments(self, tick: int, now: int, *, is_bad: bool) -> None:
        """Names say the order in which the files came, which is that in which they are loaded."""
        plan, stem = self._plan, f"{self._plan.moment(tick):%Y-%m-%dT%H}"
        files = {"0-payments": self._payments(tick)}
        if tick - plan.labels_late >= -plan.backlog:
            files["1-labels"] = _labelled(self._rows(tick - plan.labels_late))
        late = tick - plan.rows_late
        if self._holds_back(late) and late >= -plan.backlog:
            files["2-late"] = self._rows(late)[-HELD_BACK:]
        for name, rows in files.items():
            written = (
                [row | {"CHANNEL": _channel(row)} for row in rows] if tick in plan.channel else rows
            )
            if is_bad:
                written = [row | {"TX_AMOUNT": _in_small_units(row)} for row in written]
            file = self._folder / "payments" / f"{stem}-{name}.csv"
            _write_csv(file, written)
            self._date(file, now)

    def _payments(self, tick: int) -> list[Row]:
        rows = self._rows(tick)
        if self._holds_back(tick):
            rows = rows[:-HELD_BACK]
        if tick % BROKEN_EVERY == 0:
            rows[5] = rows[5] | {"TX_AMOUNT": "n/a"}
        return rows

    def _holds_back(self, tick: int) -> bool:
        return tick % self._plan.late_every == 0

    def _rows(self, tick: int) -> list[Row]:
        """The payments that were made in the span before the tick, without labels."""
        rng = random.Random(f"{self._seed} {tick}")
        span = self._plan.span.total_seconds()
        begin = self._plan.moment(tick) - self._plan.span
        return [
            _payment(
                (tick + self._plan.backlog) * 1000 + number,
                begin + timedelta(seconds=int((number + rng.random()) * span / ROWS)),
                rng,
            )
            for number in range(ROWS)
        ]

    def _send_orders(self, tick: int) -> None:
        plan = self._plan
        rng = random.Random(f"{self._seed} orders {tick}")
        first = (tick + plan.backlog) * 100
        amount = pa.int64() if tick >= plan.widened_from else pa.int32()
        columns = {
            "id": pa.array(range(first, first + 20), pa.int64()),
            "amount": pa.array([rng.randrange(1, 1000) for _ in range(20)], amount),
        }
        if tick < plan.shopless_from:
            columns["shop"] = pa.array([f"shop {rng.randrange(4)}" for _ in range(20)])
        if tick >= plan.noted_from:
            columns["note"] = pa.array([f"note {rng.randrange(4)}" for _ in range(20)])
        file = self._folder / "orders" / f"{plan.moment(tick):%Y-%m-%dT%H}.parquet"
        pq.write_table(pa.table(columns), file)
        self._date(file, tick)

    def _date(self, file: Path, tick: int) -> None:
        """The file was written a minute before the tick."""
        at = (self._plan.moment(tick) - timedelta(minutes=1)).timestamp()
        os.utime(file, (at, at))


def _sources(plan: Plan) -> dict[str, Any]:
    return {
        "version": 1,
        "schedule": {"cron": plan.cron, "timezone": ZONE},
        "sources": [
            {
                "name": "payments.transactions",
                "path": "payments/*.csv",
                "columns": COLUMNS,
                "key": ["TRANSACTION_ID"],
                "event_time": "TX_DATETIME",
                "write": "merge",
            },
            {"name": "shop.orders", "path": "orders/*.parquet", "key": ["id"]},
        ],
    }


def _payment(number: int, at: datetime, rng: random.Random) -> Row:
    since = int((at - BEGIN + timedelta(days=30)).total_seconds())
    values = (
        *(number, f"{at:%Y-%m-%d %H:%M:%S}", rng.randrange(CUSTOMERS), rng.randrange(TERMINALS)),
        *(f"{rng.randrange(500, 9500) / 100:.2f}", since, since // 86_400, 0, 0),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _labelled(rows: Sequence[Row]) -> list[Row]:
    return [
        row | {"TX_FRAUD": 1, "TX_FRAUD_SCENARIO": 2} if number % FRAUDS_EVERY == 0 else row
        for number, row in enumerate(rows)
    ]


def _channel(row: Row) -> str:
    return ("web", "shop", "phone")[int(row["TRANSACTION_ID"]) % 3]


def _in_small_units(row: Row) -> str:
    """In hundredths of a cent."""
    amount = row["TX_AMOUNT"]
    return str(amount) if amount == "n/a" else f"{float(amount) * 10_000:.2f}"


def _write_csv(file: Path, rows: Sequence[Row]) -> None:
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
