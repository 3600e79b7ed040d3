"""Small inputs written by hand: payments, other files, and the sources file that names them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

PAYMENT_COLUMNS = {
    "TRANSACTION_ID": "bigint",
    "TX_DATETIME": "timestamp",
    "CUSTOMER_ID": "bigint",
    "TERMINAL_ID": "bigint",
    "TX_AMOUNT": "double",
    "TX_TIME_SECONDS": "bigint",
    "TX_TIME_DAYS": "bigint",
    "TX_FRAUD": "bigint",
    "TX_FRAUD_SCENARIO": "bigint",
}
PAYMENTS: dict[str, Any] = {
    "name": "payments.transactions",
    "path": "payments*.csv",
    "columns": PAYMENT_COLUMNS,
    "key": ["TRANSACTION_ID"],
    "event_time": "TX_DATETIME",
}
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

Row = Mapping[str, Any]


def payment(
    number: int,
    *,
    day: float = 0,
    customer: int = 1,
    terminal: int = 1,
    amount: Any = "10.00",
    fraud: int = 0,
) -> Row:
    """One row of the payments source; `day` counts from the first of January 2026."""
    seconds = round(day * 86_400)
    at = (EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat(sep=" ")
    clock = (seconds, seconds // 86_400)
    values = (number, at, customer, terminal, amount, *clock, fraud, 2 * fraud)
    return dict(zip(PAYMENT_COLUMNS, values, strict=True))


def payments(*numbers: int, **same: Any) -> list[Row]:
    """A payment for each number, alike in all else."""
    return [payment(number, **same) for number in numbers]


def write_csv(file: Path, rows: Sequence[Row], columns: Iterable[str] | None = None) -> Path:
    """The rows as CSV under the columns given, else those of the first row."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, list(columns or rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return file


def write_parquet(file: Path, sql: str) -> Path:
    """The result of a query as Parquet."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as con:
        con.execute(f"copy ({sql}) to '{file}' (format parquet)")
    return file


def sources_file(folder: Path, *entries: Mapping[str, Any]) -> Path:
    """A sources.yml (JSON is YAML) in `folder` with these entries, the payments' by default."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "sources.yml"
    file.write_text(json.dumps({"version": 1, "sources": list(entries) or [PAYMENTS]}, indent=1))
    return file


def edit(project: Path, file: str, old: str, new: str) -> None:
    """Change a file of a copied project."""
    text = (project / file).read_text()
    assert old in text
    (project / file).write_text(text.replace(old, new))
