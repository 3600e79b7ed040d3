"""The payments that are measured with: as one file, in days, ten times over, as a source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from benchmarks.figures import Options, SkippedError
from warehouse.duck import quoted

SHORT_DAYS = 12
# Copies of the data get keys of their own, by these steps; the floor script takes the same.
SHIFTED = (
    "* replace (TRANSACTION_ID + {i} * 2000000 as TRANSACTION_ID,"
    " CUSTOMER_ID + {i} * 5000 as CUSTOMER_ID, TERMINAL_ID + {i} * 10000 as TERMINAL_ID)"
)


def transactions(options: Options) -> Path:
    """The file of transactions; in a short measurement its first days.

    Raises SkippedError when it is absent.
    """
    if not options.data.exists():
        raise SkippedError(f"the data are absent: {options.data}")
    if not options.short:
        return options.data
    file = options.work / "short.parquet"
    if not file.exists():
        select = f"select * from {quoted(options.data)} where TX_TIME_DAYS < {SHORT_DAYS}"
        write_parquet(select, file)
    return file


def write_parquet(select: str, file: Path) -> None:
    """Write the rows of `select`, in their order."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as con:
        con.execute(f"copy ({select}) to {quoted(file)} (format parquet)")


def write_copies(file: Path, copies: int, to: Path) -> None:
    """Write the data repeated with shifted keys, copy after copy."""
    parts = [f"select {SHIFTED.format(i=i)} from {quoted(file)}" for i in range(copies)]
    write_parquet(" union all ".join(parts), to)


def write_days(file: Path, to: Path, *, order: str = "TRANSACTION_ID") -> list[Path]:
    """Write one Parquet file a day, its rows in `order`; returns the files in order of time."""
    to.mkdir(parents=True)
    found = []
    with duckdb.connect() as con:
        con.execute(f"create table t as from {quoted(file)}")
        days = con.execute("select distinct TX_TIME_DAYS from t order by 1").fetchall()
        for (day,) in days:
            target = to / f"transactions-{day:04d}.parquet"
            select = f"select * from t where TX_TIME_DAYS = {day} order by {order}"
            con.execute(f"copy ({select}) to {quoted(target)} (format parquet)")
            found.append(target)
    return found


def write_sources(
    file: Path, pattern: str | Path, *, write: str = "append", columns: Sequence[str] = ()
) -> Path:
    """Write a sources file that declares the payments at `pattern`; returns it."""
    declared = ["    columns:", *(f"      {column}" for column in columns)] if columns else []
    lines = [
        "version: 1",
        "sources:",
        "  - name: payments.transactions",
        f"    path: {pattern}",
        *declared,
        "    key: [TRANSACTION_ID]",
        "    event_time: TX_DATETIME",
        f"    write: {write}",
        "",
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file
