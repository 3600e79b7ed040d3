"""Whatever arrives, in whatever order: building on the last release equals building in full."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from handmade import payment
from hypothesis import given
from hypothesis import settings as search
from hypothesis import strategies as st
from line import PUBLISHED, Line

from warehouse.retention import plan, prune
from warehouse.settings import Keep, Settings

EXAMPLES = search().max_examples
SAME = dict.fromkeys(PUBLISHED, 0)
# Whole days meet the windows' edges and tie; parts of days stand between.
DAY = st.one_of(st.integers(0, 80), st.floats(0, 80, allow_subnormal=False))
PAYMENT = st.builds(
    payment,
    st.integers(1, 25),
    day=DAY,
    customer=st.integers(1, 2),
    terminal=st.integers(1, 2),
    amount=st.integers(0, 9_999).map(lambda cents: f"{cents / 100:.2f}"),
    fraud=st.integers(0, 1),
)
BATCH = st.lists(PAYMENT, min_size=1, max_size=15)
Rows = list[Mapping[str, Any]]


@pytest.fixture
def line(settings: Settings, tmp_path: Path, empty_lake: Path) -> Line:
    shutil.copytree(empty_lake, settings.home)
    return Line(settings, tmp_path / "in")


@pytest.mark.slow
@given(releases=st.lists(st.lists(BATCH, min_size=1, max_size=2), min_size=2, max_size=3))
@search(max_examples=EXAMPLES // 2 + 1)
def test_any_history_equals_a_full_refresh(releases: list[list[Rows]], empty_lake: Path) -> None:
    with TemporaryDirectory() as folder:
        shutil.copytree(empty_lake, Path(folder) / "home")
        line = Line(Settings(Path(folder) / "home", 2, "1GiB"), Path(folder) / "in")
        for batches in releases:
            line.load(*batches)
            line.publish(line.build())
        assert line.differences(line.build(full=True)) == SAME


@pytest.mark.slow
def test_days_in_any_order_with_late_rows_labels_and_corrections(line: Line) -> None:
    """A longer history than the search affords: forty days, two hundred payments."""
    chance = random.Random(2)
    rows = [
        payment(
            n, day=chance.uniform(0, 40), customer=n % 5, terminal=n % 7, fraud=int(n % 11 == 0)
        )
        for n in range(200)
    ]
    late, rest = rows[:20], rows[20:]
    labels = [row | {"TX_FRAUD": 1} for row in rest[:15]]
    other = {"TX_AMOUNT": "99.99", "CUSTOMER_ID": 9, "TERMINAL_ID": 9}
    moved = [row | other for row in rest[15:25]]
    earlier = [row | {"TX_DATETIME": "2026-01-02 00:00:00"} for row in rest[25:30]]
    chance.shuffle(rest)
    for batches in ([rest[:90]], [rest[90:], late], [labels, moved], [earlier]):
        line.load(*batches)
        line.publish(line.build())
    assert line.differences(line.build(full=True)) == SAME


@pytest.mark.slow
def test_build_after_nothing_new_is_the_same(line: Line) -> None:
    line.load([payment(1), payment(2, day=3)])
    line.publish(line.build())
    line.publish(line.build())
    assert line.differences(line.build(full=True)) == SAME


@pytest.mark.slow
def test_pruning_takes_nothing_that_the_next_build_reads(line: Line) -> None:
    keep = Keep(releases=2, snapshots=timedelta(0))
    line.settings = replace(line.settings, keep=keep)
    for days in ((1, 2), (3, 4), (5, 6)):
        line.load([payment(n, day=n, customer=n % 2) for n in days])
        line.publish(line.build())
    line.load([payment(1, day=1, amount="5.00"), payment(7, day=2)])
    assert {item.kind for item in prune(line.settings).gone} >= {"releases", "snapshots"}
    assert plan(line.settings).gone == ()
    line.load([payment(3, day=1, amount="7.00")])
    built = line.build()
    assert built.fresh != frozenset(built.models)
    line.publish(built)
    assert line.differences(line.build(full=True)) == SAME
