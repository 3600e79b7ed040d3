"""When a run gave its last sign of life: its log tells, of one that died without a word."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime

from warehouse.settings import Settings

READ_BYTES = 2**16  # of the log's end; a line is far shorter


def last_heard(settings: Settings, run_id: str) -> datetime | None:
    """The time (UTC) of the last whole line in the run's log; None where there is none."""
    try:
        with (settings.logs / f"{run_id}.jsonl").open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - READ_BYTES))
            lines = log.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            return datetime.fromisoformat(json.loads(line)["at"]).astimezone(UTC)
        except (ValueError, TypeError, KeyError):  # torn
            continue
    return None
