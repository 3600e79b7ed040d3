"""Files that come all the time: payments into a folder (merge), orders into a bucket (append).

Each file is like the others in size and values, so that none is odd, and differs in what counts:
new rows, late ones, corrections, rows that were there already, and one that does not pass. Names
ascend with the time of arrival, so that the content does not depend on when runs come.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, Protocol

from flows.samples import COLUMNS

PAYMENTS, ORDERS = "payments.transactions", "shop.orders"
ROWS, CORRECTED, REPEATED = 30, 4, 2
ORDER_COLUMNS = {"id": "bigint", "amount": "decimal(10,2)", "customer": "bigint"}
FIRST_DAY = datetime(2026, 1, 1)  # noqa: DTZ001 - as the source writes it: UTC, without an offset
DAYS = 6  # too few to be compared with one another: every one of them is odd for a while
LATE_EVERY = 5

Row = dict[str, Any]


class Store(Protocol):
    """Where orders are put; `put` raises OSError while it cannot be reached."""

    def put(self, key: str, content: bytes) -> None:
        """Keep the object."""


class NoStore:
    """For where only payments are read."""

    def put(self, _key: str, _content: bytes) -> None:
        """Keep nothing."""


class Feed:
    """The files so far, and a thread that adds more; `file_count` and `keys` are what must come."""

    def __init__(self, folder: Path, store: Store, every_seconds: float) -> None:
        self._folder = folder
        self._store = store
        self._every_seconds = every_seconds
        self._rng = random.Random(1)
        self._before: dict[str, list[Row]] = {PAYMENTS: [], ORDERS: []}
        self._unsent: list[tuple[str, bytes]] = []
        self._delivering, self._lock = Lock(), Lock()
        self._over = Event()
        self._thread = Thread(target=self._work, name="feed", daemon=True)
        self.file_count = 0
        self.faults: list[str] = []
        folder.mkdir(parents=True)

    def start(self) -> None:
        """Two files of each source at once, then one after the other."""
        for _ in range(2):
            self.deliver()
        self._thread.start()

    def stop(self) -> None:
        """Nothing more comes; what the bucket did not take is put there now."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        self._send()
        if self._unsent:
            raise OSError(f"the bucket does not take {len(self._unsent)} objects")

    def deliver(self) -> None:
        """One more file of each source."""
        with self._delivering:
            number = self.file_count
            payments = self._text(PAYMENTS, list(COLUMNS), self._payments(number))
            part = self._folder / f".{number:05}.part"
            part.write_bytes(payments)
            part.rename(self._folder / f"{number:05}.csv")
            orders = self._text(ORDERS, list(ORDER_COLUMNS), self._orders(number))
            with self._lock:
                self._unsent.append((f"orders/{number:05}.csv", orders))
            self.file_count += 1
        self._send()

    @property
    def keys(self) -> int:
        """How many keys each source has by now: of each file one row does not pass."""
        return self.file_count * (ROWS - 1)

    def _work(self) -> None:
        while not self._over.wait(self._every_seconds):
            self.deliver()

    def _send(self) -> None:
        """Put into the bucket, in order, what is not there yet."""
        with self._lock:
            while self._unsent:
                try:
                    self._store.put(*self._unsent[0])
                except OSError:
                    return
                del self._unsent[0]

    def _text(self, source: str, columns: Sequence[str], fresh: list[Row]) -> bytes:
        """The rows as CSV: new ones, some of the file before changed, some as they were."""
        before = self._before[source]
        again = self._rng.sample(before, CORRECTED + REPEATED) if before else []
        if source == PAYMENTS:
            amounts = [row["TX_AMOUNT"] for row in again[:CORRECTED]]
            amounts = amounts[1:] + amounts[:1]
            again[:CORRECTED] = [
                row | {"TX_AMOUNT": amount}
                for row, amount in zip(again[:CORRECTED], amounts, strict=True)
            ]
        self._before[source] = fresh[1:]
        bad = "TX_AMOUNT" if source == PAYMENTS else "amount"
        out = io.StringIO()
        writer = csv.DictWriter(out, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*fresh[1:], fresh[0] | {bad: "n/a"}, *again])
        return out.getvalue().encode()

    def _payments(self, number: int) -> list[Row]:
        amounts = [f"{5 + 3 * nth}.{nth:02}" for nth in range(ROWS)]
        self._rng.shuffle(amounts)
        return [self._payment(number, nth, amount) for nth, amount in enumerate(amounts)]

    def _payment(self, number: int, nth: int, amount: str) -> Row:
        is_late = nth % LATE_EVERY == 0
        day = nth // LATE_EVERY % (DAYS - 1) if is_late else DAYS - 1
        # Whole hours would make many ties; the ones of a file lie round the clock.
        seconds = 86_400 * day + (nth * 2_880 + number * 7) % 86_400
        values = {
            "TRANSACTION_ID": number * ROWS + nth,
            "TX_DATETIME": (FIRST_DAY + timedelta(seconds=seconds)).isoformat(sep=" "),
            "CUSTOMER_ID": self._rng.randrange(20),
            "TERMINAL_ID": self._rng.randrange(20),
            "TX_AMOUNT": amount,
            "TX_TIME_SECONDS": seconds,
            "TX_TIME_DAYS": day,
            "TX_FRAUD": int(nth == 1),
            "TX_FRAUD_SCENARIO": int(nth == 1),
        }
        return {name: values[name] for name in COLUMNS}

    def _orders(self, number: int) -> list[Row]:
        first = number * ROWS
        return [
            {"id": first + nth, "amount": f"{nth}.50", "customer": nth % 7} for nth in range(ROWS)
        ]


def write_sources(file: Path, folder: Path, schedules: dict[str, str], bucket: str = "") -> None:
    """The sources file; `schedules` are spans such as `5s`, for `pipeline` and sources.

    Without a bucket there are payments alone.
    """
    entries = (
        (PAYMENTS, f"{folder}/*.csv", "merge", "TRANSACTION_ID", COLUMNS),
        (ORDERS, f"s3://{bucket}/orders/*.csv", "append", "id", ORDER_COLUMNS),
    )
    lines = ["version: 1", f"schedule: {{every: {schedules['pipeline']}}}", "sources:"]
    for name, path, write, key, columns in entries if bucket else entries[:1]:
        lines += [
            f"  - name: {name}",
            f"    path: {path}",
            *([f"    schedule: {{every: {schedules[name]}}}"] if name in schedules else []),
            f"    write: {write}",
            f"    key: [{key}]",
            "    columns:",
            *(f"      {column}: {kind}" for column, kind in columns.items()),
        ]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
