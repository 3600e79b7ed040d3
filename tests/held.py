"""A writer lock that another machine holds, as far as can be seen from here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from warehouse.settings import PROJECT, Settings

HOLD = """
import sys
from pathlib import Path
from warehouse.lock import writer_lock
from warehouse.settings import Settings

with writer_lock(Settings(Path(sys.argv[1]), 1, "1GiB"), run_id=sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(settings: Settings, run_id: str) -> Iterator[dict[str, object]]:
    """A run of the host `elsewhere` holds the lock for the block; what the lock's file says."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, settings.home, run_id],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holding:
        assert holding.stdout
        assert holding.stdout.readline() == "held\n"
        told = json.loads(settings.lock.read_text())
        told |= {"host": "elsewhere", "pid": 1, "born": "another-boot 4711"}
        settings.lock.write_text(json.dumps(told))
        try:
            yield told
        finally:
            holding.kill()
