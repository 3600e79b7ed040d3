"""What a run leaves in the Prefect UI, in words, and as a real server takes it."""

from __future__ import annotations

import json
import urllib.request
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from works import Works

from expectations.gate import GateResult, RuleResult
from flows.artifacts import artifacts, put_artifacts
from flows.events import Events
from flows.run import Options, Run, StageTrace
from warehouse.batch import Counts
from warehouse.errors import GateBlockedError
from warehouse.ingest import SourceSummary
from warehouse.releases import current
from warehouse.settings import Settings

if TYPE_CHECKING:
    from tests.flows.conftest import Served


def result(
    rule_id: str, status: str, detail: str = "3 rows break it, e.g. name=Smith"
) -> RuleResult:
    return RuleResult(
        rule_id, "marts.t", "marts", "between", "critical", status, 9, 3, detail, "why"
    )  # type: ignore[arg-type]


@pytest.fixture
def run(settings: Settings) -> Run:
    """A run that was blocked, with a line that Markdown would take for a table's."""
    run = Run(settings, Options(), "r1", Events("text", "r1"), datetime.now(UTC))
    run.trace = {
        "land": StageTrace("done", 0.1, None, "1 | 2\nnext line"),
        "audit": StageTrace("failed"),
    }
    run.summaries = {"shop.orders": SourceSummary("shop.orders", Counts(rows_in=9, loaded=9))}
    run.gate = GateResult("block", (result("fine", "pass", "9 rows"), result("odd", "fail")), 0.1)
    run.failure = GateBlockedError("no", next_step="ask postgresql://me:hunter2@db/x")
    run.report = settings.reports / "r1" / "index.html"
    return run


def test_summary_gate_and_links(run: Run) -> None:
    found = {artifact.key: artifact for artifact in artifacts(run)}
    assert list(found) == ["clearwater-run", "clearwater-gate", "clearwater-report"]
    summary = found["clearwater-run"].data
    assert summary.startswith("## run r1: blocked, verdict block")
    assert r"| land | done | 0.1 s | 1 \| 2 |" in summary
    assert "| shop.orders | 9 | 0 | 0 | 0 |" in summary
    assert "next: ask" in summary
    assert "hunter2" not in summary
    rows = json.loads(found["clearwater-gate"].data)
    assert [(row["rule"], row["status"]) for row in rows] == [("odd", "fail"), ("fine", "pass")]
    assert "Smith" not in found["clearwater-gate"].data
    assert run.report is not None
    assert run.report.as_uri() in found["clearwater-report"].data


def test_release_that_is_served_is_linked(first: Works) -> None:
    run = Run(first.settings, Options(), "r1", Events("text", "r1"), datetime.now(UTC))
    run.release = current(first.settings)
    (told,) = [artifact for artifact in artifacts(run) if artifact.key == "clearwater-release"]
    assert first.served() in told.description
    assert first.served() in told.data


@pytest.mark.slow
def test_server_shows_the_newest_of_each_key(served: Served, run: Run) -> None:
    def ask(method: str, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            f"{served.info.api_url}/{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=15) as answer:
            return json.load(answer)

    put_artifacts(ask, None, run)
    run.run_id = "r2"
    put_artifacts(ask, None, run)
    keys = ["clearwater-gate", "clearwater-report", "clearwater-run"]
    newest = {a["key"]: a for a in ask("POST", "artifacts/latest/filter", {})}
    assert sorted(newest) == keys
    assert newest["clearwater-run"]["description"] == "Run r2"
    assert (newest["clearwater-gate"]["type"], newest["clearwater-run"]["type"]) == (
        "table",
        "markdown",
    )
    assert [row["rule"] for row in json.loads(newest["clearwater-gate"]["data"])] == ["odd", "fine"]
    every = ask("POST", "artifacts/filter", {})
    assert sorted(a["key"] for a in every) == sorted(keys * 2)  # the UI shows how they went on
