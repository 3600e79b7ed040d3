"""Killed within any phase of loading, nothing is lost, nothing doubled, and nothing left behind.

The long form is `python -m benchmarks load_kills`.
"""

import random

import pytest

from benchmarks.load_kills import PHASES, LoadKillTest

pytestmark = pytest.mark.slow


def test_killed_ingests_load_every_row_exactly_once(tmp_path):
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    test = LoadKillTest(tmp_path, random.Random(seed))
    test.round(list(PHASES))
    test.finish()
    assert {kill.phase for kill in test.kills} == set(PHASES)
    assert test.hits
