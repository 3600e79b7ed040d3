"""Killed at any moment a run leaves nothing torn; the next one mends it. Readers never notice.

The long form is `python -m benchmarks kills gate_kills readers`.
"""

import random

import pytest

from benchmarks.arrivals import FIRST_DAYS
from benchmarks.gate_kills import FAULTS, GateKills
from benchmarks.kills import STAGES, KillTest
from benchmarks.readers import read_while_publishing

pytestmark = pytest.mark.slow

# Each line is a batch of new data: its runs die in these stages, one by one, then one is left
# alone. The first line kills the very first run, which makes the lake and the first release.
ROUNDS = (
    ("land", "load", "publish"),
    ("build", "audit", "features"),
)


def test_killed_runs_lose_nothing_double_nothing_and_show_nothing_torn(tmp_path):
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    test = KillTest(tmp_path, random.Random(seed), days=3 + len(ROUNDS))
    for stages in ROUNDS:
        test.round(stages)
    assert {kill.stage for kill in test.kills} == set(STAGES)
    assert any(kill.is_hit for kill in test.kills)


def test_what_must_be_blocked_is_not_served_whoever_dies_around_the_gate(tmp_path):
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    rng = random.Random(seed)
    test = GateKills(tmp_path, rng, days=FIRST_DAYS + 4)
    for fault in FAULTS:
        test.see_blocked(fault)
    for fault in (rng.choice(list(FAULTS)), ""):
        test.in_audit(fault)
        test.forget_build()
        test.in_publish(fault)
    assert [(kill.stage, bool(kill.fault)) for kill in test.kills] == [
        ("audit", True),
        ("publish", True),
        ("audit", False),
        ("publish", False),
    ]


def test_readers_see_whole_releases_while_runs_publish(tmp_path):
    seen = read_while_publishing(tmp_path, publishes=3)
    assert seen.errors == []
    assert seen.mixed == []
    assert seen.held_reads > 0
    assert len(seen.answers) >= 3
