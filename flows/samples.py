"""Sample sources for the demo: simulated card payments, one CSV file a day.

The behaviour follows the published parameters of the card-fraud handbook of Le Borgne, Siblini,
Lebichot and Bontempi (ULB, 2022). Nobody's payments are in it, and its README.txt says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from warehouse.files import write_atomically

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float64]

FIRST_DAY = date(2026, 9, 1)
COLUMNS = {
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
DAY_SECONDS = 86_400
GRID_SIDE = 100.0
REACH = 5.0
LARGE_AMOUNT_CENTS = 22_000
TERMINALS_COMPROMISED_A_DAY, TERMINAL_FRAUD_DAYS = 2, 28
CUSTOMERS_COMPROMISED_A_DAY, CUSTOMER_FRAUD_DAYS = 3, 14
CUSTOMER_FRAUD_SHARE, CUSTOMER_FRAUD_FACTOR = 1 / 3, 5
# What is wrong on purpose, by position in the day: of the first two days, a value each; and
# the payments of the first day that the second day repeats with another amount.
SPOILT = (
    ((40, "TX_AMOUNT", "n/a"),),
    ((25, "TX_DATETIME", "2026-09-31 08:00:00"), (60, "CUSTOMER_ID", "C-1183")),
)
CONTRADICTED = (10, 20)


@dataclass(frozen=True)
class PlantedRow:
    """A row made wrong on purpose, so that the quarantine has something to show.

    `row` counts the file's data rows from 1; `fault` is the quarantine's word for it; `text` is
    the value that is wrong.
    """

    file: Path
    row: int
    transaction_id: int
    fault: Literal["not_of_type", "key_conflict"]
    column: str
    text: str


@dataclass(frozen=True)
class SampleSet:
    """What was written: the day files in order, their data rows in all, the planted ones."""

    folder: Path
    files: tuple[Path, ...]
    rows: int
    planted: tuple[PlantedRow, ...]


class Population(NamedTuple):
    """The customers' habits; customer c reaches `terminals[start[c] : start[c] + reach[c]]`."""

    daily_rate: Floats
    mean_amount: Floats
    terminals: Integers
    start: Integers
    reach: Integers
    terminal_count: int


class Payments(NamedTuple):
    """One day's payments in time order; amounts in cents, seconds since midnight."""

    second: Integers
    customer: Integers
    terminal: Integers
    cents: Integers
    scenario: Integers


def write_samples(
    folder: Path, *, days: int = 30, customers: int = 5000, terminals: int = 10_000, seed: int = 7
) -> SampleSet:
    """Simulated payments below `folder`: the same bytes for the same arguments.

    A file that already holds its bytes is left untouched. More days only add files: a day's
    content depends on the days before it, never on how many follow.
    """
    files: list[Path] = []
    planted: list[PlantedRow] = []
    next_id = rows = 0
    for day, payments in enumerate(_simulated_days(days, customers, terminals, seed)):
        file = folder / "payments" / f"transactions-{_date_of(day)}.csv"
        lines = _lines(day, next_id, payments)
        next_id += len(lines)
        planted += _plant(file, day, lines, files)
        _write_if_changed(file, "\n".join([",".join(COLUMNS), *lines, ""]))
        rows += len(lines)
        files.append(file)
    sample = SampleSet(folder, tuple(files), rows, tuple(planted))
    _write_if_changed(folder / "README.txt", _readme(sample, seed))
    return sample


def _write_if_changed(file: Path, text: str) -> None:
    if not file.is_file() or file.read_bytes() != text.encode():
        write_atomically(file, text)


def _simulated_days(days: int, customers: int, terminals: int, seed: int) -> Iterator[Payments]:
    import numpy as np

    population = _population(np.random.default_rng([seed, 0]), customers, terminals)
    bad_terminals: list[Integers] = []
    bad_customers: list[Integers] = []
    for day in range(days):
        rng = np.random.default_rng([seed, 1, day])
        bad_terminals.append(_picked(rng, terminals, TERMINALS_COMPROMISED_A_DAY))
        bad_customers.append(_picked(rng, customers, CUSTOMERS_COMPROMISED_A_DAY))
        yield _with_fraud(
            rng,
            _honest_payments(rng, population),
            np.concatenate(bad_terminals[-TERMINAL_FRAUD_DAYS:]),
            np.concatenate(bad_customers[-CUSTOMER_FRAUD_DAYS:]),
        )


def _picked(rng: np.random.Generator, population: int, count: int) -> Integers:
    return rng.choice(population, size=min(count, population), replace=False)


def _population(rng: np.random.Generator, customers: int, terminals: int) -> Population:
    import numpy as np

    home = rng.uniform(0, GRID_SIDE, (customers, 2))
    place = rng.uniform(0, GRID_SIDE, (terminals, 2))
    mean_amount = rng.uniform(5, 100, customers)
    daily_rate = rng.uniform(0, 4, customers)
    near = _terminals_in_reach(home, place)
    reach = np.array([len(found) for found in near], dtype=np.int64)
    return Population(
        daily_rate=np.where(reach > 0, daily_rate, 0.0),
        mean_amount=mean_amount,
        terminals=np.concatenate(near),
        start=np.cumsum(reach) - reach,
        reach=reach,
        terminal_count=terminals,
    )


def _terminals_in_reach(home: Floats, place: Floats) -> list[Integers]:
    import numpy as np

    by_x = np.argsort(place[:, 0], kind="stable")
    x, y = place[by_x, 0], place[by_x, 1]
    first = np.searchsorted(x, home[:, 0] - REACH)
    last = np.searchsorted(x, home[:, 0] + REACH)
    found = []
    for (home_x, home_y), low, high in zip(home, first, last, strict=True):
        near = (x[low:high] - home_x) ** 2 + (y[low:high] - home_y) ** 2 < REACH**2
        found.append(np.sort(by_x[low:high][near]))
    return found


def _honest_payments(rng: np.random.Generator, population: Population) -> Payments:
    import numpy as np

    counts = rng.poisson(population.daily_rate)
    customer = np.repeat(np.arange(len(counts)), counts)
    second = np.floor(rng.normal(43_200, 20_000, len(customer))).astype(np.int64)
    mean = population.mean_amount[customer]
    amount = rng.normal(mean, mean / 2)
    amount = np.where(amount < 0, rng.uniform(0, 2 * mean), amount)
    choice = (rng.random(len(customer)) * population.reach[customer]).astype(np.int64)
    terminal = population.terminals[population.start[customer] + choice]
    cents = np.rint(amount * 100).astype(np.int64)
    order = np.argsort(second, kind="stable")
    order = order[(second[order] >= 0) & (second[order] < DAY_SECONDS)]
    nothing = np.zeros(len(order), dtype=np.int64)
    return Payments(second[order], customer[order], terminal[order], cents[order], nothing)


def _with_fraud(
    rng: np.random.Generator, honest: Payments, bad_terminals: Integers, bad_customers: Integers
) -> Payments:
    import numpy as np

    scenario = np.where(honest.cents > LARGE_AMOUNT_CENTS, 1, honest.scenario)
    scenario = np.where(np.isin(honest.terminal, bad_terminals), 2, scenario)
    drawn = rng.random(len(scenario)) < CUSTOMER_FRAUD_SHARE
    stolen = np.isin(honest.customer, bad_customers) & drawn
    return honest._replace(
        scenario=np.where(stolen, 3, scenario),
        cents=np.where(stolen, honest.cents * CUSTOMER_FRAUD_FACTOR, honest.cents),
    )


def _lines(day: int, first_id: int, payments: Payments) -> list[str]:
    midnight = day * DAY_SECONDS
    shown_day = _date_of(day)
    values = zip(*(column.tolist() for column in payments), strict=True)
    return [
        f"{number},{shown_day} {second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d},"
        f"{customer},{terminal},{cents // 100}.{cents % 100:02d},{midnight + second},{day},"
        f"{int(scenario > 0)},{scenario}"
        for number, (second, customer, terminal, cents, scenario) in enumerate(values, first_id)
    ]


def _date_of(day: int) -> date:
    return FIRST_DAY + timedelta(days=day)


def _plant(file: Path, day: int, lines: list[str], earlier: list[Path]) -> list[PlantedRow]:
    """Make a few rows of the first two days wrong, in `lines` itself.

    The second day ends with rows that contradict payments of the first.
    """
    if day > 1:
        return []
    planted = [
        _spoil(file, lines, at, column, text) for at, column, text in SPOILT[day] if at < len(lines)
    ]
    if day == 1:
        known = earlier[0].read_text().splitlines()[1:]
        planted += [_contradict(file, lines, known[at]) for at in CONTRADICTED if at < len(known)]
    return planted


def _spoil(file: Path, lines: list[str], at: int, column: str, text: str) -> PlantedRow:
    values = lines[at].split(",")
    values[list(COLUMNS).index(column)] = text
    lines[at] = ",".join(values)
    return PlantedRow(file, at + 1, int(values[0]), "not_of_type", column, text)


def _contradict(file: Path, lines: list[str], known: str) -> PlantedRow:
    values = known.split(",")
    amount = list(COLUMNS).index("TX_AMOUNT")
    whole, cents = values[amount].split(".")
    values[amount] = f"{int(whole) + 100}.{cents}"
    lines.append(",".join(values))
    return PlantedRow(file, len(lines), int(values[0]), "key_conflict", "TX_AMOUNT", values[amount])


def _readme(sample: SampleSet, seed: int) -> str:
    planted = "\n".join(
        f"  {row.file.name}, row {row.row}: {row.column} is {row.text!r} ({row.fault}, "
        f"transaction {row.transaction_id})"
        for row in sample.planted
    )
    return f"""\
SIMULATED DATA. These card payments were made by a program (seed {seed}): no person, card,
terminal or payment in them is real, and nothing learnt from them holds for real payments.

{len(sample.files)} files, one a day, {sample.rows} rows in all, below payments/. The program
follows the simulation published in "Reproducible Machine Learning for Credit Card Fraud
Detection - Practical Handbook" (Le Borgne, Siblini, Lebichot, Bontempi; ULB, 2022).

A few rows are wrong on purpose, so that there is something in quarantine
(`clearwater quarantine list`):

{planted}
"""
