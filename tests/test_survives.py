"""Struck while schedules run every few seconds, a home under `up` comes back and loses nothing.

The long form is `python -m benchmarks survives`.
"""

import random

import pytest

from benchmarks.survives import Record, run_session

pytestmark = pytest.mark.slow

KINDS = ("worker killed", "run stopped in build", "source gone", "run killed", "server killed")


def test_a_home_that_is_struck_ends_as_one_that_is_not(tmp_path):
    seed = random.SystemRandom().randrange(10**6)
    kinds = (random.Random(seed).choice(KINDS), "reboot")
    record = Record(tmp_path / "rounds.ndjson")
    run_session(tmp_path / "session", record, len(kinds), seed=seed, every_seconds=2.0, kinds=kinds)
    assert list(record.faults) == []
    (end,) = record.ends
    assert (end["lost"], end["doubled"]) == (0, 0)
    assert end["batches"] > 4
    assert [line["kind"] for line in record.rounds] == list(kinds)
