"""The injector of faults: what it damages, how much, and that a trial judges what readers see."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest

from benchmarks.faults.frame import Frame, as_csv, as_parquet, changed, some
from benchmarks.faults.kinds import EVERY, Kind, Scene, every_kind
from benchmarks.faults.run import CLEAN, Plan, Record, cases, run_all
from benchmarks.faults.summary import figures, markdown
from benchmarks.faults.values import BINS, drifted
from benchmarks.faults.worlds import CATALOGUE, PAYMENTS, SALES, Feed

ROWS = 400


def payments(rng: np.random.Generator, day: int) -> Frame:
    second = np.sort(rng.integers(0, 86_400, ROWS))
    fraud = (rng.random(ROWS) < 0.4).astype(np.int64)
    return {
        "TRANSACTION_ID": day * ROWS + np.arange(ROWS),
        "TX_DATETIME": np.datetime64("2026-11-03", "s") + day * 86_400 + second,
        "CUSTOMER_ID": rng.integers(0, 50, ROWS),
        "TERMINAL_ID": rng.integers(0, 90, ROWS),
        "TX_AMOUNT": np.round(rng.uniform(1, 100, ROWS), 2),
        "TX_TIME_SECONDS": day * 86_400 + second,
        "TX_TIME_DAYS": np.full(ROWS, day),
        "TX_FRAUD": fraud,
        "TX_FRAUD_SCENARIO": 2 * fraud,
    }


def sales(rng: np.random.Generator, day: int) -> Frame:
    second = np.repeat(np.sort(rng.integers(0, 86_400, ROWS // 4)), 4)
    basket = np.repeat(np.arange(ROWS // 4), 4)
    return {
        "household_id": 7 + basket % 40,
        "store_id": 1 + basket % 7,
        "basket_id": 31_000_000_000 + day * ROWS + basket,
        "product_id": 100 + np.arange(ROWS),
        "quantity": rng.integers(1, 4, ROWS),
        "sales_value": np.round(rng.uniform(1, 9, ROWS), 2),
        "retail_disc": np.round(rng.uniform(0, 1, ROWS), 2),
        "coupon_disc": np.zeros(ROWS),
        "coupon_match_disc": np.zeros(ROWS),
        "week": np.full(ROWS, 10),
        "transaction_timestamp": np.datetime64("2017-03-07", "us")
        + (day * 86_400 + second) * np.timedelta64(1, "s"),
    }


def products(rng: np.random.Generator, _day: int) -> Frame:
    def texts(*known: str | None) -> np.ndarray:
        return np.array(known, dtype=object)[rng.integers(0, len(known), ROWS)]

    return {
        "product_id": 100 + np.arange(ROWS),
        "manufacturer_id": rng.integers(1, 60, ROWS),
        "department": texts("GROCERY", "PRODUCE", "FROZEN GROCERY"),
        "brand": texts("National", "Private"),
        "product_category": texts("BREAD", "CHEESE"),
        "product_type": texts("RYE BREAD", "CREAM CHEESE"),
        "package_size": texts("1 LB", None),
    }


MADE = {PAYMENTS.name: payments, SALES.name: sales, CATALOGUE.name: products}


def scene(feed: Feed) -> Scene:
    rng = np.random.default_rng(3)
    days = [MADE[feed.name](rng, day) for day in range(3)]
    names = [f"2026-11-0{day}{feed.suffix}" for day in (4, 5)]
    return Scene(feed, *names, days[1], days[0], days[2])


def arrived(kind: Kind, feed: Feed, strength: float) -> dict[str, bytes]:
    rng = np.random.default_rng([5, zlib.crc32(kind.name.encode())])
    files = kind.damage(scene(feed), rng, strength)
    return {
        name: content if isinstance(content, bytes) else feed.encode(content)
        for name, content in files.items()
    }


PAIRS = [(kind, feed) for kind in every_kind().values() for feed in kind.feeds]


def test_there_are_many_kinds_and_each_is_told() -> None:
    kinds = every_kind()
    assert len(kinds) >= 100
    assert all(kind.tells and kind.feeds and kind.strengths for kind in kinds.values())
    assert {feed.name for kind in kinds.values() for feed in kind.feeds} == set(MADE)


@pytest.mark.parametrize(("kind", "feed"), PAIRS, ids=lambda part: part.name)
def test_damage_is_seeded_and_changes_what_arrives(kind: Kind, feed: Feed) -> None:
    clean = scene(feed)
    name = clean.file
    for strength in kind.strengths:
        files = arrived(kind, feed, strength)
        assert files == arrived(kind, feed, strength)
        assert files != {name: feed.encode(clean.today)}


@pytest.mark.parametrize("feed", EVERY, ids=lambda feed: feed.name)
def test_a_clean_day_is_left_as_it_was(feed: Feed) -> None:
    before, after = scene(feed), scene(feed)
    for kind in every_kind().values():
        if feed in kind.feeds:
            kind.damage(after, np.random.default_rng(1), kind.strengths[-1])
    for name, values in before.today.items():
        assert values.tolist() == after.today[name].tolist()


def test_as_many_rows_are_damaged_as_the_strength_says() -> None:
    clean = scene(PAYMENTS)
    for strength, wanted in ((0.01, 4), (0.1, 40), (1.0, ROWS)):
        files = every_kind()["amount x100"].damage(clean, np.random.default_rng(1), strength)
        frame = files[clean.file]
        assert isinstance(frame, dict)
        assert int((frame["TX_AMOUNT"] != clean.today["TX_AMOUNT"]).sum()) == wanted


@pytest.mark.parametrize("psi", [0.1, 0.25, 0.5])
def test_drift_has_the_stated_size(psi: float) -> None:
    rng = np.random.default_rng(2)
    values = rng.lognormal(3, 1, 100_000)
    new = drifted(values, rng, psi)
    edges = np.quantile(values, np.arange(1, BINS) / BINS)
    old_share, new_share = (
        np.bincount(np.searchsorted(edges, part), minlength=BINS) / len(part)
        for part in (values, new)
    )
    found = float(((new_share - old_share) * np.log(new_share / old_share)).sum())
    assert found == pytest.approx(psi, rel=0.05)


def test_a_missing_value_is_empty_in_text_and_null_in_parquet() -> None:
    frame = {"a": np.array([1, 2]), "at": np.array(["2026-11-04T05:06:07"] * 2, "datetime64[s]")}
    holed = changed(frame, "a", np.array([False, True]), lambda _: None)
    assert as_csv(holed) == b"a,at\n1,2026-11-04 05:06:07\n,2026-11-04 05:06:07\n"
    assert as_parquet(holed) != as_parquet(frame)
    assert some(np.random.default_rng(1), 10, 0.3).sum() == 3


def test_cases_are_all_kinds_at_all_strengths() -> None:
    plan = Plan(worlds=1, days=1, trials=2, seed=7)
    found = cases(plan, "payments")
    wanted = sum(len(kind.strengths) for kind in every_kind().values() if PAYMENTS in kind.feeds)
    assert len(found) == 2 * wanted
    assert len({(case.kind.name, case.strength, case.nth) for case in found}) == len(found)


def test_summary_counts_what_was_stopped_and_what_clean_days_told() -> None:
    trial = {"kind": "amount x100", "feed": PAYMENTS.name, "severity": "critical"}
    told = {"alarms": [], "quarantined": 0}
    lines = [
        trial | told | {"strength": 1.0, "full": True, "outcome": "refused"},
        trial | told | {"strength": 1.0, "full": True, "outcome": "missed"},
        trial | told | {"strength": 0.01, "full": False, "outcome": "missed"},
        told | {"kind": CLEAN, "outcome": "no effect"},
        told | {"kind": CLEAN, "outcome": "no effect", "alarms": ["rule a"]},
        told | {"kind": CLEAN, "outcome": "blocked", "alarms": ["rule a"]},
        told | {"kind": CLEAN, "outcome": "no effect", "quarantined": 1},
    ]
    values = {figure.name: figure.value for figure in figures(lines)}
    assert values["critical at full strength stopped"] == 50
    assert values["clean runs blocked or refused"] == 25
    assert values["clean runs warned"] == 50
    assert "1% of the rows: M1; 100% of the rows: R1 M1" in markdown(lines)


@pytest.mark.slow
def test_trials_judge_what_readers_would_see(tmp_path: Path) -> None:
    """A whole home: a fault that rules stop, one that is none, and a clean day."""
    record = Record(tmp_path / "trials.ndjson")
    kinds = ("amount missing", "rows repeated", "sign flipped")
    plan = Plan(1, 1, 1, 7, full_only=True, kinds=kinds, domains=("payments",))
    run_all(plan, tmp_path, None, record)
    found = {line["kind"]: line for line in record.lines}
    assert {name: line["outcome"] for name, line in found.items()} == {
        "amount missing": "refused",
        "rows repeated": "no effect",
        "sign flipped": "refused",
        CLEAN: "no effect",
    }
    assert found["sign flipped"]["missing"] > 1_000
    assert found["sign flipped"]["wrong"] == 0
    again = Record(tmp_path / "trials.ndjson")
    run_all(plan, tmp_path, None, again)
    assert len(again.lines) == 4
