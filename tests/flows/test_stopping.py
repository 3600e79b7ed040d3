"""SIGTERM and time-outs in every stage of real runs, in processes of their own."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from handmade import payment, sources_file
from works import MERGE, Works

from benchmarks.kills import Watch, started
from flows.stages import STAGES
from warehouse.lock import lock_holder
from warehouse.state import open_ledger

pytestmark = pytest.mark.slow

SOON_SECONDS = 20  # on a busy machine; the watchdog ends what lasts longer than ten


def newest(works: Works) -> dict[str, Any]:
    with open_ledger(works.settings) as ledger:
        return ledger.newest(1)[0]


def terminated(works: Works, sources: Path, stage: str) -> tuple[int, float]:
    """The exit code of a run that is told to stop in the stage, and how long that took."""
    watch = Watch()
    with started(works.settings, "run", "--sources", sources) as (process, events):
        while watch.running != stage:
            line = events.readline()
            assert line, "".join(watch.said)
            watch.read(line)
        process.send_signal(signal.SIGTERM)
        since = time.monotonic()
        events.read()
        return process.wait(), time.monotonic() - since


def test_sigterm_in_every_stage_stops_within_seconds_and_the_next_run_takes_up(
    works: Works,
) -> None:
    sources = sources_file(works.folder, MERGE)
    works.put([payment(4, day=4)], "payments4.csv")
    for number, stage in enumerate(STAGES):
        code, seconds = terminated(works, sources, stage)
        assert (stage, code) == (stage, 143)
        assert seconds < SOON_SECONDS
        assert (stage, newest(works)["status"]) == (stage, "stopped")
        assert lock_holder(works.settings) is None
        if stage in ("publish", "features"):  # else nothing would be left for the next
            works.put([payment(5 + number, day=5)], f"payments{number + 5}.csv")
    run = works.run()
    assert run.exit_code == 0
    assert list(works.settings.builds.iterdir()) == []
    rows = len(list(works.folder.glob("payments*.csv"))) + 2
    assert works.ask("select count(*) from fct_transactions") == [(rows,)]


ENDLESS = """
select 1::bigint as n
where (select count(*) from range(10000000) a, range(1000000) b where a.range * b.range % 7 = 3) > 0
"""
CONTRACT = """
models:
  - name: fct_endless
    description: never done
    config:
      contract: {enforced: true}
    columns:
      - name: n
        data_type: bigint
"""


def test_model_that_takes_too_long_is_ended_in_dbt(works: Works, project: Path) -> None:
    (project / "models/marts/fct_endless.sql").write_text(ENDLESS)
    (project / "models/marts/fct_endless.yml").write_text(CONTRACT)
    works.put([payment(4, day=4)], "payments4.csv")
    before = works.served()
    works.settings = replace(works.settings, timeouts={"build": timedelta(seconds=15)})
    run = works.run("land", "load", "build")
    assert (run.status, run.exit_code) == ("failed", 1)
    assert "stage build took longer than 15 s" in str(run.failure)
    assert works.served() == before
    (project / "models/marts/fct_endless.sql").unlink()
    (project / "models/marts/fct_endless.yml").unlink()
    works.settings = replace(works.settings, timeouts={})
    assert works.run().exit_code == 0
