"""Fifty ticks pass while all is down: one run, which covers them, and no other for any of them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.figures import Figure, Options
from benchmarks.survives.feed import Feed, NoStore, write_sources
from benchmarks.survives.tree import POLL_SECONDS, Tree
from flows.prefect_api import FLOW, PAGE, Api
from warehouse.state import open_ledger

EVERY = timedelta(seconds=5)
MISSED, MISSED_SHORT = 50, 6
PATIENCE_SECONDS = 180.0
RUNS_AFTER = 3  # so many are seen to come, none of them for what was missed

Json = dict[str, Any]


def measure(options: Options) -> tuple[list[Figure], dict[str, Any]]:
    """Up until a run is over, down while the ticks pass, up again until some runs more are over."""
    folder = options.folder("catch_up")
    feed = Feed(folder / "payments", NoStore(), 0)
    feed.deliver()
    sources = folder / "sources.yml"
    write_sources(sources, folder / "payments", {"pipeline": f"{EVERY.seconds}s"})
    tree = Tree(folder / "home", sources, {})
    wanted = MISSED_SHORT if options.short else MISSED
    try:
        tree.up()
        _wait_for(tree, 1)
        tree.down()
        known = {run["run_id"] for run in _ledger(tree)}
        down = datetime.now(UTC)
        for _ in range(3):
            feed.deliver()
        time.sleep((wanted + 1) * EVERY.total_seconds())
        up = datetime.now(UTC)
        tree.up()
        _wait_for(tree, len(known) + 1 + RUNS_AFTER)
        shown = _shown(tree, up)
    finally:
        tree.kill_everything()
    runs = [run for run in _ledger(tree) if run["run_id"] not in known][::-1]
    return _figures(runs, shown, (down, up), wanted), {"runs": [_told(run) for run in runs]}


def _figures(
    runs: list[Json], shown: list[Json], outage: tuple[datetime, datetime], wanted: int
) -> list[Figure]:
    covers = [run["summary"]["catch_up"] for run in runs]
    in_outage = [each for each in covers if each and _moment(each["from"]) <= outage[1]]
    first = covers[0] or {"missed": 0, "from": outage[1].isoformat()}
    began = min(_moment(run["start_time"]) for run in shown if run["run_count"])
    planned_then = [run for run in shown if _moment(run["expected_start_time"]) <= began]
    executed = [run for run in planned_then if run["run_count"]]
    skipped = [run for run in planned_then if run["state_name"] == "Skipped"]
    rows = runs[0]["summary"]["sources"]["payments.transactions"]["batches"]
    return [
        Figure("runs in the ledger for ticks missed", len(in_outage), "runs", at_most=1),
        Figure("runs executed for them, at the server", len(executed), "runs", at_most=1),
        Figure("ticks that the first run covers", first["missed"], "ticks", at_least=wanted),
        Figure("batches that it loads", rows, "batches", at_least=3),
        Figure("planned runs shown as skipped", len(skipped), "runs"),
    ]


def _wait_for(tree: Tree, count: int) -> None:
    """Raises TimeoutError unless so many runs are over in time."""

    def are_over() -> bool:
        return len([run for run in _ledger(tree) if run["status"] != "running"]) >= count

    if not tree.until(are_over, PATIENCE_SECONDS, POLL_SECONDS):
        raise TimeoutError(f"fewer than {count} runs: {[_told(run) for run in _ledger(tree)]}")


def _ledger(tree: Tree) -> list[Json]:
    with open_ledger(tree.settings) as ledger:
        return ledger.newest()


def _shown(tree: Tree, since: datetime) -> list[Json]:
    """The flow runs that the server shows of the time of the outage and since, but for the past."""
    info = tree.info()
    assert info is not None
    asked = {
        "flows": {"name": {"any_": [FLOW]}},
        "flow_runs": {"state": {"type": {"not_any_": ["SCHEDULED"]}}},
        "limit": PAGE,
    }
    found: list[Json] = Api(info.api_url).ask("POST", "flow_runs/filter", asked)
    return [run for run in found if not run["end_time"] or _moment(run["end_time"]) >= since]


def _told(run: Json) -> Json:
    return {name: str(run[name]) for name in ("run_id", "status", "trigger")} | {
        "catch_up": (run["summary"] or {}).get("catch_up")
    }


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
