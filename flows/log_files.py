"""Logs of processes that run for months: kept small, while those who write them go on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

LARGEST = 10 * 1024 * 1024
KEPT = 3


def keep_small(log: Path, *, largest: int = LARGEST) -> None:
    """Move what a log of more than `largest` bytes holds to `<log>.1`, that to `.2`, up to three.

    The file itself stays: its writers append to it, and need not be told. What they write between
    the copy and the cut is lost.
    """
    try:
        if log.stat().st_size <= largest:
            return
        for number in range(KEPT, 1, -1):
            older = log.with_name(f"{log.name}.{number - 1}")
            if older.exists():
                older.replace(log.with_name(f"{log.name}.{number}"))
        shutil.copyfile(log, log.with_name(f"{log.name}.1"))
        os.truncate(log, 0)
    except OSError:
        return  # a full disk: the next look tries again
