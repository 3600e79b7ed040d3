"""From a run to its data-quality report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from expectations.gate import GateResult
from expectations.report import RunReport, SourceReport, StageReport, TableReport, write_report
from warehouse.waiting import waiting

if TYPE_CHECKING:
    from flows.pipeline import Run


def write(run: Run) -> Path:
    """Write the run's report; a run that audited nothing shows the served release's gate."""
    return write_report(run.settings, _told(run))


def _told(run: Run) -> RunReport:
    release = run.release
    gate = run.gate
    if gate is None and release is not None and run.failure is None:
        gate = GateResult.from_json(json.dumps(release.gate))
    return RunReport(
        run_id=run.run_id,
        started_at=run.started_at,
        status=run.status,
        verdict=gate.verdict if gate else "",
        release=release.id if release else "",
        lake_snapshot=run.lake_snapshot,
        sources=_sources(run),
        stages=tuple(
            StageReport(name, trace.status, trace.seconds)
            for name, trace in run.trace.items()
            if trace.status != "start"
        ),
        tables=tuple(
            TableReport(name, rows) for name, rows in (release.tables if release else {}).items()
        ),
        gate=gate,
        message=_message(run),
        waiting=waiting(run.settings),
        passed=run.passed,
    )


def _message(run: Run) -> str:
    if run.failure is not None:
        return str(run.failure)
    if run.build is not None:
        return "The build passed its gate and is not published yet."
    return ""


def _sources(run: Run) -> tuple[SourceReport, ...]:
    return tuple(
        SourceReport(
            name=name,
            loaded=summary.counts.loaded,
            quarantined=summary.counts.quarantined,
            already_known=summary.counts.already_known,
            refused=summary.counts.refused,
            message="\n".join(summary.problems),
        )
        for name, summary in run.summaries.items()
    )
