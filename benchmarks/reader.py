"""A reader of the current release that never rests: `python -m benchmarks.reader HOME STOP`.

It asks over new connections and over one that stays open, until the file STOP appears, and
prints as JSON what it saw. A failure or a mixed answer is text in it, not an exception.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

import duckdb

# Each is a statement of its own: within one connection they must all speak of one release.
TOTALS = (
    "select count(*), sum(amount_cents), count(*) filter (is_fraud) from marts.fct_transactions",
    "select count(*), sum(amount_cents), count(*) filter (is_fraud)"
    " from features.feat_transactions__behaviour",
    "select sum(transaction_count), sum(amount_cents), sum(fraud_count)"
    " from marts.fct_daily_transactions",
    "select sum(transaction_count), sum(amount_cents), sum(fraud_count) from marts.dim_customers",
    "select sum(transaction_count), sum(amount_cents), sum(fraud_count) from marts.dim_terminals",
)

PAUSE_SECONDS = 0.01

Totals = tuple[int, ...]


@dataclass
class Seen:
    """What the reader saw: how often it asked, the different answers, and what was wrong."""

    reads: int = 0
    held_reads: int = 0
    answers: list[Totals] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)


def main(home: Path, stop: Path) -> None:
    """Read until told to stop."""
    database = home / "current" / "warehouse.duckdb"
    seen = Seen()
    with closing(duckdb.connect(str(database), read_only=True)) as held:
        first = _totals(held, seen)
        print("reading", flush=True)
        while not stop.exists():
            _look(database, held, first, seen)
            time.sleep(PAUSE_SECONDS)
    print(json.dumps(asdict(seen)))


def _look(database: Path, held: duckdb.DuckDBPyConnection, first: Totals, seen: Seen) -> None:
    try:
        with closing(duckdb.connect(str(database), read_only=True)) as con:
            answer = _totals(con, seen)
            seen.reads += 1
        if answer not in seen.answers:
            seen.answers.append(answer)
        if _totals(held, seen) != first:
            seen.mixed.append("the connection held open answered otherwise than before")
        seen.held_reads += 1
    except duckdb.Error as error:
        seen.errors.append(str(error))


def _totals(con: duckdb.DuckDBPyConnection, seen: Seen) -> Totals:
    answers = [con.execute(sql).fetchone() for sql in TOTALS]
    if any(answer != answers[0] for answer in answers):
        seen.mixed.append(f"the tables disagree: {answers}")
    assert answers[0] is not None
    return tuple(int(value) for value in answers[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
