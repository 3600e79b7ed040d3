"""The run ledger: what ran, how it went, what died."""

from __future__ import annotations

from warehouse.settings import Settings
from warehouse.state import open_ledger


def test_newest_runs_come_first_with_their_end(settings: Settings) -> None:
    with open_ledger(settings) as ledger:
        for run_id, status in (("1", "done"), ("2", "blocked")):
            ledger.start(run_id)
            ledger.end(run_id, status, "r", {"run_id": run_id})
        found = ledger.newest(5)
    assert [(run["run_id"], run["status"]) for run in found] == [("2", "blocked"), ("1", "done")]
    assert all(run["ended_at"] >= run["started_at"] for run in found)


def test_run_that_died_is_noted_by_the_next(settings: Settings) -> None:
    with open_ledger(settings) as ledger:
        ledger.start("1")
        ledger.stage("1", "load", "running", None, "")
    with open_ledger(settings) as ledger:
        ledger.start("2")
        assert [run["status"] for run in ledger.newest(2)] == ["crashed", "crashed"]


def test_lost_ledger_is_made_again(settings: Settings) -> None:
    for _ in range(2):
        with open_ledger(settings) as ledger:
            ledger.start("1")
        settings.state_db.unlink()
