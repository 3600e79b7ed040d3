"""A clock that jumps for the processes of one tree, and for nobody else: libfaketime's.

The library is preloaded into each of them, and reads from a file how far off they are, in each
second that one asks for the time: they all jump together, between two seconds. As when a clock is
set, the monotonic clock and the files' times stay right.
"""

from __future__ import annotations

import importlib.util
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from warehouse.files import write_atomically

LIBRARY = "vendor/libfaketime/src/libfaketime.so.1"


class Clock:
    """The tree's clock; `is_fake` tells whether it can be set, else it is the machine's."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.is_fake = _library() is not None
        self._off = timedelta()
        self._tell()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to go by it."""
        library = _library()
        if library is None:
            return {}
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "0",  # whole seconds that may pass until it reads again
            "FAKETIME_DONT_RESET": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "FAKETIME_DISABLE_SHM": "1",
            "FAKE_UTIME": "0",
            "NO_FAKE_STAT": "1",
        }

    def now(self) -> datetime:
        """The time (UTC, without a zone, as the run ledger has it)."""
        return datetime.now(UTC).replace(tzinfo=None) + self._off

    def jump(self, by: timedelta) -> None:
        """Set it for all of its processes; afterwards it is."""
        time.sleep((1.5 - time.time() % 1) % 1)  # in the middle of a second
        self._off += by
        self._tell()
        time.sleep(1)

    def _tell(self) -> None:
        write_atomically(self._file, f"{self._off.total_seconds():+.0f}s\n")


@cache
def _library() -> Path | None:
    """The preloaded library, where the package is installed on Linux."""
    found = importlib.util.find_spec("libfaketime")
    for folder in (found and found.submodule_search_locations) or ():
        if (file := Path(folder, LIBRARY)).exists():
            return file
    return None
