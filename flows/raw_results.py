"""What became of the rules of the raw boundary in a run, in the words of the gate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from expectations.gate import RuleResult, Status, told_as
from warehouse.row_rules import RULE
from warehouse.wording import counted

if TYPE_CHECKING:
    from expectations.rules import Rule
    from flows.pipeline import Run
    from warehouse.ingest import SourceSummary
    from warehouse.waiting import Waiting

_ROW_QUOTED = "; the first is row"


def raw_results(run: Run, rules: Sequence[Rule], waits: Waiting) -> tuple[RuleResult, ...]:
    """A result for each rule of the run's sources.

    It fails where a file is refused for it, and warns where rows break it or wait in quarantine;
    one of severity `info` only tells.
    """
    summaries = {
        f"{source.schema_name}.{source.table_name}": run.summaries[source.name]
        for source in run.sources
        if source.name in run.summaries
    }
    return tuple(
        _result(rule, summaries[rule.table], _held(rule, waits))
        for rule in rules
        if rule.boundary == "raw" and rule.table in summaries
    )


def _held(rule: Rule, waits: Waiting) -> int:
    """The rows that wait in quarantine for breaking the rule first of all."""
    return sum(group.rows for group in waits.held if group.reason == RULE + rule.id)


def _result(rule: Rule, summary: SourceSummary, held: int) -> RuleResult:
    refusals = list(_refusals(rule, summary))
    told = list(warnings_of(rule, summary))
    status: Status = "pass" if summary.counts.rows_in else "carried"
    if held or told:
        status = told_as(rule.severity)
    if refusals:
        status = "fail"
    waiting = [f"{counted(held, 'row')} in quarantine"] if held else []
    seen = counted(summary.counts.rows_in, "row") if summary.counts.rows_in else "no new file"
    return RuleResult(
        rule_id=rule.id,
        table=rule.table,
        boundary=rule.boundary,
        check=rule.check,
        severity=rule.severity,
        status=status,
        rows_checked=summary.counts.rows_in,
        unexpected_count=held + len(refusals) + len(told),
        detail="; ".join([*refusals, *waiting, *told]) or seen,
        reason=rule.reason,
    )


def _refusals(rule: Rule, summary: SourceSummary) -> Iterator[str]:
    """Why files were refused, without the row that a message quotes."""
    for problem in summary.problems:
        what = problem.partition("\n")[0].partition(_ROW_QUOTED)[0]
        if f"the rule {rule.id}:" in what or f"the rule {rule.id} " in what:
            yield what.removeprefix(f"{summary.name}: ")


def warnings_of(rule: Rule, summary: SourceSummary) -> Iterator[str]:
    """What the run told of files that are loaded though they, or rows of them, break the rule."""
    for file, text in summary.told:
        if text.startswith(f"{rule.id}: ") or f"the rule {rule.id}: " in text:
            yield f"{file}: {text.removeprefix(f'{rule.id}: ')}"
