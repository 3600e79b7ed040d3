"""Exactness: every feature of every row, whatever the order in which the data arrived."""

from __future__ import annotations

import random
import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import reference
from benchmarks.figures import Figure, Options
from benchmarks.payments import transactions, write_days, write_sources
from benchmarks.pipeline_runs import run_here
from warehouse.duck import connect, quoted
from warehouse.settings import Settings, load_settings

PUBLISHED_FILE = "features_until_2018-06-30.parquet"
AVERAGES_AGREE_TO = 1e-9
TIE_ROWS = 20
SHUFFLED_FILES_A_RUN = 3
MODEL = "features.feat_transactions__behaviour"
PUBLISHED_NAMES = {
    "is_weekend": "TX_DURING_WEEKEND",
    "is_night": "TX_DURING_NIGHT",
} | {
    ours.format(days=days): theirs.format(days=days)
    for days in reference.WINDOW_DAYS
    for ours, theirs in (
        ("customer_transaction_count_{days}d", "CUSTOMER_ID_NB_TX_{days}DAY_WINDOW"),
        ("customer_amount_avg_{days}d", "CUSTOMER_ID_AVG_AMOUNT_{days}DAY_WINDOW"),
        ("terminal_transaction_count_{days}d", "TERMINAL_ID_NB_TX_{days}DAY_WINDOW"),
        ("terminal_risk_{days}d", "TERMINAL_ID_RISK_{days}DAY_WINDOW"),
    )
}

Columns = dict[str, NDArray[Any]]


def measure(options: Options) -> tuple[list[Figure], dict[str, Any]]:
    """Rows that disagree, of data that came at once, day by day, and shuffled."""
    data = transactions(options)
    expected = _expected(data)
    days = write_days(data, options.folder("exact") / "days")
    shuffled = write_days(data, options.work / "exact" / "shuffled", order="hash(TRANSACTION_ID)")
    random.Random(options.seed).shuffle(shuffled)
    orders = {
        "one run": [[data]],
        "daily, run by run": [[file] for file in days],
        "days and rows shuffled": _grouped(shuffled, SHUFFLED_FILES_A_RUN),
    }
    figures = []
    for name, deliveries in orders.items():
        settings = _home(options.work / "exact" / name.replace(" ", "-"), deliveries)
        figures += _figures(name, len(deliveries), settings, expected, options)
        shutil.rmtree(settings.home)
    return figures, {"seed": options.seed}


def _grouped(files: list[Path], size: int) -> list[list[Path]]:
    return [files[i : i + size] for i in range(0, len(files), size)]


def _home(folder: Path, deliveries: Sequence[Sequence[Path]]) -> Settings:
    """A home after one run for each delivery of files."""
    place = folder / "source"
    place.mkdir(parents=True)
    sources = write_sources(folder / "sources.yml", place / "*.parquet")
    settings = load_settings(folder / "home")
    for files in deliveries:
        for file in files:
            shutil.copy(file, place)
        run_here(settings, sources)
    return settings


def _expected(data: Path) -> Columns:
    """The independent reference's features by ascending id."""
    sql = (
        "select TRANSACTION_ID as transaction_id, epoch_us(TX_DATETIME) as transacted_at,"
        " CUSTOMER_ID as customer_id, TERMINAL_ID as terminal_id,"
        " round(TX_AMOUNT * 100)::bigint as amount_cents, TX_FRAUD::bigint as is_fraud"
        f" from {quoted(data)} order by transaction_id"
    )
    with closing(connect(load_settings())) as con:
        rows = con.execute(sql).fetchnumpy()
    return {"transaction_id": rows["transaction_id"]} | reference.features(rows)


def _figures(
    name: str, runs: int, settings: Settings, expected: Columns, options: Options
) -> list[Figure]:
    published = options.data.with_name(PUBLISHED_FILE)
    with closing(connect(settings, settings.database(settings.current), read_only=True)) as con:
        names = ", ".join(["transaction_id", *PUBLISHED_NAMES])
        found = con.execute(f"select {names} from {MODEL} order by transaction_id").fetchnumpy()
        answers = _published(con, published) if published.exists() else None
    wrong, _ = disagreements(found, expected)
    note = f"{len(found['transaction_id']):,} rows, {runs} runs"
    figures = [Figure(f"{name}: rows unlike the reference", wrong, "rows", at_most=0, note=note)]
    if answers is not None:
        figures += _published_figures(name, found, answers)
    return figures


def _published(con: Any, file: Path) -> Columns:
    names = ", ".join(f'"{theirs}" as {ours}' for ours, theirs in PUBLISHED_NAMES.items())
    answers: Columns = con.execute(
        f"select p.TRANSACTION_ID as transaction_id, {names} from {quoted(file)} as p"
        f" where p.TRANSACTION_ID in (select f.transaction_id from {MODEL} as f) order by 1"
    ).fetchnumpy()
    return answers


def _published_figures(name: str, found: Columns, answers: Columns) -> list[Figure]:
    known = np.isin(found["transaction_id"], answers["transaction_id"])
    ours = {column: values[known] for column, values in found.items()}
    counts = [column for column in PUBLISHED_NAMES if column.startswith("customer_transaction")]
    other = [column for column in PUBLISHED_NAMES if column not in counts]
    tied, _ = disagreements(ours, answers, counts)
    tie_rows = _rows_unlike(ours, answers, counts)
    # Where the order of a tie is another, the running average is another, too.
    rest = {column: values[~tie_rows] for column, values in ours.items()}
    wrong, by_column = disagreements(
        rest, {column: values[~tie_rows] for column, values in answers.items()}, other
    )
    note = f"{int(known.sum()):,} rows are published; {by_column or 'all columns agree'}"
    return [
        Figure(f"{name}: customer counts unlike the published", tied, "rows", at_most=TIE_ROWS),
        Figure(f"{name}: others unlike the published", wrong, "rows", at_most=0, note=note),
    ]


def disagreements(
    found: Columns, expected: Columns, columns: Sequence[str] = tuple(PUBLISHED_NAMES)
) -> tuple[int, str]:
    """How many rows disagree in one of the columns, and in which how many, as text."""
    if not np.array_equal(found["transaction_id"], expected["transaction_id"]):
        difference = len(found["transaction_id"]) - len(expected["transaction_id"])
        return len(expected["transaction_id"]), f"not the same rows, {difference:+} of them"
    counts = {name: int(_rows_unlike(found, expected, [name]).sum()) for name in columns}
    told = ", ".join(f"{name}: {count}" for name, count in counts.items() if count)
    return int(_rows_unlike(found, expected, columns).sum()), told


def _rows_unlike(found: Columns, expected: Columns, columns: Sequence[str]) -> NDArray[np.bool_]:
    unlike = np.zeros(len(found["transaction_id"]), dtype=bool)
    for name in columns:
        tolerance = AVERAGES_AGREE_TO if "_avg_" in name else 0.0
        apart = np.abs(_floats(found[name]) - _floats(expected[name]))
        unlike |= ~(apart <= tolerance)  # A missing value agrees with nothing.
    return unlike


def _floats(values: NDArray[Any]) -> NDArray[np.float64]:
    """The values, with NaN for those that DuckDB gives as masked."""
    return np.ma.filled(values.astype(np.float64), np.nan)
