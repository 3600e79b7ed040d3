"""Files beside the files before them: what is unlike them waits, until it is mended or accepted."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from handmade import sources_file

from expectations.examining import examiner
from expectations.history import open_history
from expectations.rule_files import load_rules
from expectations.rules import Rule
from warehouse.batch import Judged
from warehouse.duck import attach_lake, connect
from warehouse.ingest import SourceSummary, land_sources, load_sources
from warehouse.rebuild import rebuild
from warehouse.settings import Settings
from warehouse.sources import Source
from warehouse.sources import load_sources as read_sources

ENTRY = {
    "name": "shop.orders",
    "path": "orders*.csv",
    "columns": {
        "id": "bigint",
        "at": "timestamp",
        "shop": "varchar",
        "customer": "bigint",
        "amount": "double",
    },
    "key": ["id"],
    "event_time": "at",
}
RULE = """\
table: raw_shop.orders
owner: shop
rules:
  - {id: like_before, check: anomaly, severity: SEVERITY, reason: every day is like the others}
"""
FIRST = date(2026, 3, 2)
Row = list[str]
Damage = Callable[[list[Row], random.Random], list[Row]]


def day_rows(number: int) -> list[Row]:
    """The orders of one day: fewer at weekends, a few without a customer."""
    random_ = random.Random(number)
    day = FIRST + timedelta(days=number)
    count = round((400 if day.weekday() < 5 else 220) * random_.uniform(0.95, 1.05))
    rows = []
    for order in range(count):
        second = int(min(86_399, max(0, random_.gauss(50_000, 9_000))))
        time = f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
        customer = "" if random_.random() < 0.01 else str(random_.randint(1, 3_000))
        amount = f"{random_.lognormvariate(3, 0.6):.2f}"
        shop = random_.choices(["north", "south", "web"], [5, 3, 2])[0]
        rows.append([str(number * 1_000 + order), f"{day} {time}", shop, customer, amount])
    return rows


class Orders:
    """A source that sends a file a day, and one run for each day from the thirtieth on."""

    def __init__(self, folder: Path, settings: Settings, severity: str = "critical") -> None:
        self.folder = folder / "shop"
        self.folder.mkdir()
        self.settings = settings
        rules = folder / "rules" / "raw"
        rules.mkdir(parents=True)
        (rules / "orders.yml").write_text(RULE.replace("SEVERITY", severity))
        self.rules: list[Rule] = load_rules(rules.parent)
        self.runs = 0
        self.write = "append"
        self.personal: list[str] = []
        self.kinds: dict[str, tuple[str, ...]] = {}

    def put(self, number: int, damage: Damage = lambda rows, _: rows, *, named: int = 0) -> Path:
        rows = damage(day_rows(number), random.Random(f"damage {number}"))
        day = FIRST + timedelta(days=number + named)
        header = ",".join(["id", "at", "shop", "customer", "amount"][: len(rows[0])])
        text = "\n".join([header, *(",".join(row) for row in rows), ""])
        file = self.folder / f"orders-{day}.csv"
        file.write_text(text)
        return file

    def sources(self) -> list[Source]:
        return read_sources(sources_file(self.folder, self.entry()), self.settings)

    def entry(self) -> dict[str, Any]:
        return ENTRY | {"write": self.write, "personal": self.personal}

    def run(self) -> SourceSummary:
        self.runs += 1
        sources = self.sources()
        landed = land_sources(self.settings, sources)
        with examiner(self.settings, sources, self.rules) as examined:
            run_id = f"run {self.runs}"
            found = load_sources(self.settings, sources, landed, run_id, examined)[0]
        self.kinds = examined.kinds if examined else {}
        return found["shop.orders"]

    def accept(self) -> int:
        with open_history(self.settings) as history:
            waiting = history.waiting()
            history.accept(waiting)
            return len(waiting)

    def waiting(self) -> list[str]:
        with open_history(self.settings) as history:
            return [shift.told for shift in history.waiting()]

    def noted(self) -> list[str]:
        with open_history(self.settings) as history:
            return [shift.told for shift in history.shifts("raw_shop.orders")]

    def rows(self) -> int:
        con = connect(self.settings)
        attach_lake(con, self.settings)
        found = con.execute("select count(*) from lake.raw_shop.orders").fetchone()
        con.close()
        assert found is not None
        return int(found[0])


@pytest.fixture(scope="module")
def thirty_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that has loaded thirty days in one run."""
    folder = tmp_path_factory.mktemp("orders")
    orders = Orders(folder, Settings(home=folder / "home", threads=2, memory_limit="1GiB"))
    for number in range(30):
        orders.put(number)
    assert not orders.run().problems
    return folder


@pytest.fixture
def orders(thirty_days: Path, tmp_path: Path) -> Orders:
    return copied(thirty_days, tmp_path)


def copied(thirty_days: Path, folder: Path, severity: str = "critical") -> Orders:
    import shutil

    settings = Settings(home=folder / "home", threads=2, memory_limit="1GiB")
    shutil.copytree(thirty_days / "home", settings.home, symlinks=True)
    orders = Orders(folder, settings, severity)
    shutil.rmtree(orders.folder)
    shutil.copytree(thirty_days / "shop", orders.folder)
    orders.runs = 1
    return orders


def test_days_like_the_others_load_without_a_word(orders: Orders) -> None:
    for number in range(30, 37):
        orders.put(number)
        summary = orders.run()
        assert (summary.problems, summary.changes) == ((), ()), number


def times(factor: float) -> Damage:
    return lambda rows, _: [[*row[:4], f"{float(row[4]) * factor:.2f}"] for row in rows]


def without(column: int, share: float) -> Damage:
    def damage(rows: list[Row], random_: random.Random) -> list[Row]:
        return [
            [*row[:column], "", *row[column + 1 :]] if random_.random() < share else row
            for row in rows
        ]

    return damage


def later(**shift: float) -> Damage:
    def damage(rows: list[Row], _: random.Random) -> list[Row]:
        from datetime import datetime

        return [
            [row[0], str(datetime.fromisoformat(row[1]) + timedelta(**shift)), *row[2:]]
            for row in rows
        ]

    return damage


FAULTS: dict[str, tuple[Damage, str]] = {
    "amounts in cents": (times(100), "amount"),
    "amounts in thousands": (times(0.001), "amount"),
    "signs": (times(-1), "amount"),
    "half of the rows": (lambda rows, _: rows[::2], "rows"),
    "no customers": (without(3, 1), "customer: null"),
    "a tenth of the amounts missing": (without(4, 0.1), "amount: null"),
    "swapped columns": (lambda rows, _: [[*r[:3], r[4][:-3], r[3]] for r in rows], "customer"),
    "another shop": (lambda rows, _: [[*r[:2], "east", *r[3:]] for r in rows], "shop"),
    "capitals": (lambda rows, _: [[*r[:2], r[2].upper(), *r[3:]] for r in rows], "shop"),
    "seven hours later": (later(hours=7), "at"),
    "a day later": (later(days=1), "at: days between it and the date in the file's name"),
    "a column left out": (lambda rows, _: [row[:4] for row in rows], "amount: null in 100 %"),
    "one customer": (lambda rows, _: [[*r[:3], "7", r[4]] for r in rows], "customer"),
}


QUICK = ("amounts in cents", "half of the rows", "a column left out", "a day later")


@pytest.mark.parametrize(
    "fault", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in FAULTS]
)
def test_a_day_unlike_the_others_waits(orders: Orders, fault: str) -> None:
    damage, named = FAULTS[fault]
    before = orders.rows()
    orders.put(30, damage)
    summary = orders.run()
    assert len(summary.problems) == 1, summary
    cause = " (it lacks the column 'amount')" if fault == "a column left out" else ""
    assert f"unlike the files before it{cause}, says the rule like_before" in summary.problems[0]
    assert named in summary.problems[0]
    assert "clearwater accept shop.orders --only orders-2026-" in summary.problems[0]
    assert (summary.counts.loaded, orders.rows()) == (0, before)
    assert summary.judged_refused == Judged(1, summary.counts.refused, Counter(like_before=1))
    assert len(orders.waiting()) == 1


def test_another_kind_of_file_is_not_compared_with_these(orders: Orders) -> None:
    file = orders.put(30, times(100))
    file.rename(file.with_name("orders-north-2026-04-01.csv"))
    summary = orders.run()
    assert (summary.problems, summary.changes) == ((), ())


def test_the_corrected_file_loads_and_nothing_waits_any_more(orders: Orders) -> None:
    file = orders.put(30, times(100))
    assert orders.run().problems
    assert orders.run().problems  # as long as it stands there
    orders.put(30)
    assert file.exists()
    summary = orders.run()
    assert (summary.problems, summary.batches) == ((), 1)
    assert orders.waiting() == []


@pytest.mark.parametrize("write", ["append", "merge"])
def test_the_file_that_mends_a_loaded_one_is_compared_with_the_days_before(
    thirty_days: Path, tmp_path: Path, write: str
) -> None:
    orders = copied(thirty_days, tmp_path)
    orders.write = write
    orders.put(30, lambda rows, _: [row for n, row in enumerate(rows) if n % 10])
    assert orders.run().batches == 1
    orders.put(30)
    summary = orders.run()
    assert (summary.batches, summary.problems, summary.changes) == (1, (), ()), summary
    orders.put(31)
    summary = orders.run()
    assert (summary.batches, summary.problems, summary.changes) == (1, (), ())


def test_the_same_fault_has_the_same_reason_and_another_one_another(orders: Orders) -> None:
    orders.put(30, times(100))
    first = dict(orders.run().reasons)
    orders.put(31, times(100))
    assert {kind for kind, _ in orders.run().reasons} == first.keys()
    assert list(first) == ["like_before: amount: values"]
    orders.put(30)
    orders.put(31, without(3, 1))
    (told,) = {kind for kind, _ in orders.run().reasons if "nulls" in kind}
    assert told == "like_before: customer: nulls"


def test_an_accepted_file_loads_without_a_word_and_is_learnt(orders: Orders) -> None:
    orders.put(30, times(100))
    orders.run()
    assert orders.accept() == 1
    summary = orders.run()
    assert (summary.batches, summary.problems, summary.changes) == (1, (), ())
    orders.put(31, times(100))
    summary = orders.run()
    assert (summary.batches, summary.problems, summary.changes) == (1, (), ())


@pytest.mark.slow
def test_what_was_only_told_can_be_accepted_until_other_files_come(
    thirty_days: Path, tmp_path: Path
) -> None:
    orders = copied(thirty_days, tmp_path, severity="warning")
    orders.put(30, times(100))
    assert orders.run().changes
    orders.run()
    with open_history(orders.settings) as history:
        (told,) = history.open_shifts()
        assert (told.stops, history.waiting()) == (False, [])
        history.accept([told])
    for number in (31, 32, 33):
        orders.put(number, times(100))
        assert orders.run().changes == ()
    orders.put(34)
    assert orders.run().changes
    orders.put(35, times(100))
    orders.run()
    with open_history(orders.settings) as history:
        assert history.open_shifts() == []


def test_after_an_accepted_odd_day_the_usual_ones_pass_and_another_odd_one_waits(
    orders: Orders,
) -> None:
    orders.put(30, times(100))
    assert orders.run().problems
    assert orders.accept() == 1
    for number in range(31, 34):
        orders.put(number)
        assert not orders.run().problems, number
    orders.put(34, times(100))
    assert orders.run().problems


@pytest.mark.slow
def test_what_is_accepted_is_the_new_level(orders: Orders) -> None:
    def doubled(rows: list[Row], _: random.Random) -> list[Row]:
        again = [[str(int(row[0]) + 500_000), *row[1:]] for row in rows]
        return [*rows, *again]

    orders.put(30, doubled)
    assert "rows" in orders.run().problems[0]
    assert orders.accept() == 1
    assert not orders.run().problems
    for number in range(31, 35):
        orders.put(number, doubled)
        assert not orders.run().problems, number
    orders.put(35)  # and back to the old level
    assert "rows" in orders.run().problems[0]


def test_likeliest_cause_is_told_first_whichever_rule_finds_it(orders: Orders) -> None:
    text = RULE.replace("SEVERITY", "critical").replace("like_before, check: anomaly", "{}")
    drift = text.replace("{}", "drifts, check: drift, column: amount")
    volume = "  - {id: as_many, check: volume, severity: critical, reason: as ever}\n"
    file = orders.folder.parent / "rules" / "raw" / "orders.yml"
    file.write_text(drift + volume)
    orders.rules = load_rules(file.parent.parent)
    orders.put(30, lambda rows, random_: times(100)(rows[::2], random_))
    (problem,) = orders.run().problems
    assert "unlike the files before it, says the rule as_many: 201 rows, usually" in problem
    assert problem.index("201 rows") < problem.index("amount: its values are spread")


def test_swapped_columns_are_told_as_that(orders: Orders) -> None:
    orders.put(30, FAULTS["swapped columns"][0])
    (problem,) = orders.run().problems
    assert "columns may be shifted or swapped, for amount looks as customer did" in problem


MAIL, NUMBER = "anna.secret@private.example", 7_654_321


def shifted(rows: list[Row], _: random.Random) -> list[Row]:
    """The customer's number stands as the amount, and an address as the shop."""
    return [[row[0], row[1], MAIL, row[4].partition(".")[0], f"{NUMBER}"] for row in rows]


@pytest.mark.parametrize("severity", ["critical", "warning"])
def test_no_value_of_a_person_is_told_of_a_shifted_file(
    thirty_days: Path, tmp_path: Path, severity: str
) -> None:
    orders = copied(thirty_days, tmp_path, severity)
    orders.personal = ["customer"]
    orders.put(30, shifted)
    summary = orders.run()
    told = f"{summary} {orders.waiting()} {orders.noted()}"
    assert "amount: the mean is above what is usual, " in told
    assert "amount: the greatest is above what is usual, " in told
    assert "shop: labels never seen before in 100 %" in told
    assert [told.count(text) for text in (MAIL, "secret", "7.654e+06", "7,654", "7654")] == [0] * 5


def test_mean_of_a_column_that_alone_is_unlike_before_is_told_extremes_are_not(
    orders: Orders,
) -> None:
    orders.personal = ["customer"]
    orders.put(30, times(100))
    [(_, told)] = orders.run().reasons
    assert "amount: the mean is 2" in told
    assert "amount: the greatest is above what is usual, " in told


def test_a_warning_loads_and_tells(thirty_days: Path, tmp_path: Path) -> None:
    orders = copied(thirty_days, tmp_path, severity="warning")
    orders.put(30, times(100))
    summary = orders.run()
    assert not summary.problems
    assert summary.counts.loaded
    assert any("like_before: amount" in text for text in summary.changes)
    assert orders.kinds == {"like_before": ("amount: values",)}


@pytest.mark.slow
def test_nothing_is_claimed_in_the_first_days(tmp_path: Path, settings: Settings) -> None:
    orders = Orders(tmp_path, settings)
    for number in range(5):
        orders.put(number, times(10**number))
        assert not orders.run().problems


def test_a_lost_memory_is_made_again_from_the_lake(orders: Orders) -> None:
    orders.put(30)
    assert not orders.run().problems
    for file in orders.settings.home.glob("state.db*"):
        file.unlink()
    orders.put(31, times(100))
    assert "amount" in orders.run().problems[0]


@pytest.mark.slow
def test_the_lake_made_again_holds_the_same_files_back(orders: Orders) -> None:
    orders.put(30, times(100))
    assert orders.run().problems
    orders.put(31)
    assert len(orders.run().problems) == 1
    done = rebuild(orders.settings, orders.sources())
    assert done.is_equal, done
    assert len(orders.run().problems) == 1


class Catalogue(Orders):
    """A source that sends the same rows each day, of which the newest hold."""

    def sources(self) -> list[Source]:
        entry = {name: value for name, value in ENTRY.items() if name != "event_time"}
        return read_sources(sources_file(self.folder, entry | {"write": "merge"}), self.settings)

    def send(self, day: int, changed: int) -> SourceSummary | None:
        """The rows of the first day, of which the amounts of some are some cents higher."""

        def damage(rows: list[Row], _: random.Random) -> list[Row]:
            return [
                [*row[:-1], f"{float(row[-1]) + 0.01 * day:.2f}"] if at < changed else row
                for at, row in enumerate(rows)
            ]

        self.put(0, damage, named=day)
        return self.run() if day >= 20 else None


@pytest.mark.slow
def test_a_file_that_changes_far_more_of_what_stands_than_usual_is_refused(
    tmp_path: Path, settings: Settings
) -> None:
    catalogue = Catalogue(tmp_path, settings)
    for day in range(20):
        catalogue.send(day, changed=1 + day % 3)
    assert not catalogue.run().problems
    told = catalogue.send(20, changed=4)
    assert told is not None and not told.problems
    told = catalogue.send(21, changed=200)
    assert told is not None
    assert "rows that are new or changed: 48.3 %" in told.problems[0]


class Regulars(Orders):
    """A source whose customers, of whom nothing may be told, pay each an amount of their own."""

    def sources(self) -> list[Source]:
        return read_sources(
            sources_file(self.folder, ENTRY | {"personal": ["customer"]}), self.settings
        )

    def send(self, day: int, *, renumbered: bool = False) -> None:
        def damage(rows: list[Row], random_: random.Random) -> list[Row]:
            named = [str(number) for number in range(100)]
            if renumbered:
                random_.shuffle(named)
            regulars = []
            for row in rows:
                customer = random_.randrange(100)
                amount = (5 + customer % 7 * 20) * random_.uniform(0.5, 1.5)
                regulars.append([*row[:3], named[customer], f"{amount:.2f}"])
            return regulars

        self.put(day, damage)


@pytest.mark.slow
def test_customers_who_were_exchanged_wait_also_after_a_first_run_of_many_days(
    tmp_path: Path, settings: Settings
) -> None:
    orders = Regulars(tmp_path, settings)
    for day in range(21):
        orders.send(day)
    assert not orders.run().problems
    orders.send(21)
    assert not orders.run().problems
    orders.send(22, renumbered=True)
    told = "amount: like the earlier ones of its customer only by"
    assert told in orders.run().problems[0]
    for file in settings.home.glob("state.db*"):
        file.unlink()
    assert told in orders.run().problems[0]
    assert orders.accept() == 1
    assert not orders.run().problems
