"""The process that is forked for each run: warm, and without a thread that a fork would miss."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WARM = """
import os, sys
from flows import fork_server

fork_server.preload()
print(len(os.listdir("/proc/self/task")))
if os.fork():
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
import duckdb

with duckdb.connect() as con:
    print(con.execute("select sum(i) from range(1000000) t(i)").fetchone()[0], flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
def test_the_warm_process_has_one_thread_and_its_forks_end_well() -> None:
    done = subprocess.run([sys.executable, "-c", WARM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split()[-1] == "499999500000"
    assert done.stdout.split()[0] == "1"
