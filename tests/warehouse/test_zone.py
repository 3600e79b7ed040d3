"""The machine's own time zone decides nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from warehouse.settings import PROJECT

ASKED = """
from pathlib import Path
from warehouse import duck
from warehouse.settings import load_settings
con = duck.connect(load_settings(Path({home!r})))
sql = "select timestamptz '2026-01-01 00:30:00+00' :: date, current_setting('TimeZone')"
print(con.execute(sql).fetchall(), con.cursor().execute(sql).fetchall())
"""


def test_times_with_a_zone_are_read_in_utc_by_each_cursor(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", ASKED.format(home=str(tmp_path))],
        env=os.environ | {"TZ": "America/New_York", "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert told.split() == 2 * ["[(datetime.date(2026,", "1,", "1),", "'UTC')]"]
