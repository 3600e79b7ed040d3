"""Struck while schedules run every few seconds, a home under `up` comes back and loses nothing.

The long form is `python -m benchmarks survives`.
"""

import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from benchmarks.survives import Record, run_session
from benchmarks.survives.clock import Clock
from benchmarks.survives.strikes import JUMPS

KINDS = ("worker killed", "run stopped in build", "source gone", "run killed", "server killed")
TELLS = """
import sys, time, duckdb
for _ in sys.stdin:
    now = duckdb.sql("select epoch_us(now())").fetchone()[0] / 1e6
    print(time.time(), now, time.monotonic(), flush=True)
"""


@pytest.mark.slow
def test_a_clock_jumps_for_its_own_processes_alone(tmp_path):
    clock = Clock(tmp_path / "clock")
    if not clock.is_fake:
        pytest.skip("libfaketime is not installed")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", TELLS]
    with subprocess.Popen(command, env=os.environ | clock.environment, **pipes) as process:

        def told():
            process.stdin.write("\n")
            process.stdin.flush()
            return [float(word) for word in process.stdout.readline().split()]

        for by in (timedelta(), timedelta(days=-2), timedelta(hours=1)):
            clock.jump(by)
            here, since = datetime.now(UTC).replace(tzinfo=None), time.monotonic()
            by_python, by_duckdb, monotonic = told()
            expected = clock.now().replace(tzinfo=UTC).timestamp()
            assert by_python == pytest.approx(expected, abs=10)
            assert by_duckdb == pytest.approx(expected, abs=10)
            assert since <= monotonic <= time.monotonic()
        process.stdin.close()
    assert clock.now() - here == pytest.approx(timedelta(hours=-47), abs=timedelta(minutes=1))


@pytest.mark.slow
def test_a_home_that_is_struck_ends_as_one_that_is_not(tmp_path):
    seed = random.SystemRandom().randrange(10**6)
    rng = random.Random(seed)
    can_jump = Clock(tmp_path / "clock").is_fake
    kinds = (rng.choice(KINDS), *([rng.choice([*JUMPS])] if can_jump else []), "reboot")
    record = Record(tmp_path / "rounds.ndjson")
    run_session(tmp_path / "home", record, len(kinds), seed=seed, every_seconds=15.0, kinds=kinds)
    assert list(record.faults) == []
    (end,) = record.ends
    assert (end["lost"], end["doubled"]) == (0, 0)
    assert end["batches"] > 4
    assert [line["kind"] for line in record.rounds] == list(kinds)
