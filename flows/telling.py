"""What a run tells its log beside its stages: what it was asked, what was wrong, how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from expectations.gate import RuleResult
from expectations.next_steps import is_blocking, next_steps
from flows.domains import in_short, known_rules
from flows.run_log import Level, log_file
from flows.run_summary import end_told, of_files, stale_told
from warehouse.errors import BuildError, ClearwaterError, FailedModel
from warehouse.files import sweep
from warehouse.lock import host
from warehouse.processes import this_process
from warehouse.wording import counted

if TYPE_CHECKING:
    from flows.run import Run
    from warehouse.ingest import SourceSummary

_BAD = ("failed", "stopped")
COUNTS = ("rows_in", "loaded", "quarantined", "already_known", "refused", "deleted")


def begin(run: Run) -> None:
    """Start the run's log; the caller holds the writer lock."""
    sweep(run.settings.metrics.parent)
    run.events.keep(log_file(run.settings, run.run_id))
    run.events.event(
        "run_started",
        f"run {run.run_id}",
        stages=list(run.stages),
        sources=str(run.options.sources),
        only=list(run.options.only),
        full_refresh=run.options.full_refresh,
        process=asdict(this_process()),
        host=host(),
    )


def tell(run: Run, stage: str) -> None:
    """What came of a stage that is over, each source, model and rule by itself."""
    if stage == "load":
        _tell_sources(run, stage)
    elif stage == "build":
        for model in _failed_models(run):
            _tell_model(run, model, stage)
    elif stage == "audit":
        _tell_rules(run, stage)


def conclude(run: Run) -> None:
    """The end of what the run says: its figures, and the last lines of its log."""
    if "load" not in run.trace:
        _tell_sources(run, "land")  # what could not be landed
    _write_metrics(run)
    end_log(run)


def end_log(run: Run) -> None:
    """Why and how the run ended, as the last lines of its log."""
    error = run.failure or run.crash
    if error is not None:
        bad = [name for name, trace in run.trace.items() if trace.status in _BAD]
        run.events.error(error, bad[0] if bad else "")
    run.events.event(
        "run_ended",
        end_told(run),
        level="error" if run.exit_code else "info",
        status=run.status,
        exit_code=run.exit_code,
        verdict=run.verdict,
        release=run.release.id if run.release else None,
        lake_snapshot=run.lake_snapshot,
        report=str(run.report) if run.report else None,
    )
    run.events.close()


def _write_metrics(run: Run) -> None:
    from flows.metrics import write_metrics

    try:
        write_metrics(run)
    except (ClearwaterError, OSError) as error:
        run.events.note(f"the metrics lag, the data does not: {str(error).partition(chr(10))[0]}")


def _tell_sources(run: Run, stage: str) -> None:
    is_loaded = stage == "load" and run.trace[stage].status == "done"
    for name, summary in run.summaries.items():
        if is_loaded:
            _tell_source(run, summary)
        for problem in summary.problems:
            run.events.event("refused", problem, level="error", stage=stage, source=name)
    notes, warnings = of_files(run)
    for text in notes:
        run.events.event("changed", text, stage=stage)
    for text in (*stale_told(run), *warnings["warn"]):
        run.events.event("warning", text, level="warning", stage=stage)
    for text in warnings["info"]:
        run.events.event("info", text, stage=stage)


def _tell_source(run: Run, summary: SourceSummary) -> None:
    counts = {word: getattr(summary.counts, word) for word in COUNTS}
    told = _counts_told(summary)
    values = {"source": summary.name, "batches": summary.batches} | counts
    run.events.event("source", told, level="info", stage="load", **values)


def _counts_told(summary: SourceSummary) -> str:
    counts = summary.counts
    if not summary.batches and not counts.rows_in:
        return f"{summary.name}: nothing new"
    parts = [f"{counted(counts.loaded, 'row')} loaded"]
    parts += [
        f"{count:,} {word}"
        for word, count in (
            ("quarantined", counts.quarantined),
            ("already known", counts.already_known),
            ("in refused files", counts.refused),
            ("deleted", counts.deleted),
        )
        if count
    ]
    return f"{summary.name}: {', '.join(parts)}, of {counted(summary.batches, 'file')}"


def _failed_models(run: Run) -> Iterator[FailedModel]:
    if isinstance(run.failure, BuildError):
        yield from run.failure.models
    for failure in run.unbuilt.values():
        yield from failure.models


def _tell_model(run: Run, model: FailedModel, stage: str) -> None:
    run.events.event(
        "model_failed",
        f"{model.relation} does not build",
        level="error",
        stage=stage,
        **model._asdict(),
    )


def _tell_rules(run: Run, stage: str) -> None:
    """Every rule that does not hold; of one that blocks also rows that break it, masked."""
    rules = known_rules()
    for result in run.gate.results if run.gate else run.clock or ():
        if result.status in ("pass", "carried", "unseen"):
            continue
        blocks = is_blocking(result)
        values: dict[str, Any] = {
            "rule": result.rule_id,
            "table": result.table,
            "severity": result.severity,
            "status": result.status,
            "rows_checked": result.rows_checked,
            "unexpected": result.unexpected_count,
            "reason": result.reason,
        }
        if blocks:
            rule = rules.get(result.rule_id)
            values |= _rows(result) | {
                "where": rule.where if rule is not None else "",
                "next_steps": list(next_steps(result, rule, run.lineage)),
            }
        level: Level = "error" if blocks else "info" if result.status == "info" else "warning"
        told = in_short(result).partition(", e.g.")[0]
        run.events.event("rule", f"{result.rule_id}: {told}", level=level, stage=stage, **values)


def _rows(result: RuleResult) -> dict[str, Any]:
    return {"columns": list(result.columns), "rows": [list(row) for row in result.sample]}
