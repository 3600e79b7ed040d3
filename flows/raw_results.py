"""What became of the rules of the raw boundary in a run, in the words of the gate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from expectations.gate import RuleResult, Status, told_as
from warehouse.row_rules import RULE
from warehouse.wording import counted

if TYPE_CHECKING:
    from expectations.rules import Rule
    from flows.pipeline import Run
    from warehouse.arrived import SourceArrivals
    from warehouse.ingest import SourceSummary
    from warehouse.waiting import Waiting

NO_DATA = "not checked: no data yet"
_ROW_QUOTED = "; the first is row"


def raw_results(
    run: Run, rules: Sequence[Rule], waits: Waiting, arrived: Sequence[SourceArrivals]
) -> tuple[RuleResult, ...]:
    """A result for each rule of the run's sources.

    It fails where a file is refused for it, and warns where rows break it or wait in quarantine;
    one of severity `info` only tells. Where no row has come yet, in this run or (as `arrived`
    tells) before, it is `unseen`.
    """
    summaries = {
        f"{source.schema_name}.{source.table_name}": run.summaries[source.name]
        for source in run.sources
        if source.name in run.summaries
    }
    have_rows = {source.table for source in arrived if source.rows}
    return tuple(
        _result(rule, summaries[rule.table], _held(rule, waits), was_seen=rule.table in have_rows)
        for rule in rules
        if rule.boundary == "raw" and rule.table in summaries
    )


def _held(rule: Rule, waits: Waiting) -> int:
    """The rows that wait in quarantine and break the rule, among others perhaps."""
    return sum(group.rows for group in waits.held if group.reason == RULE + rule.id)


def _result(rule: Rule, summary: SourceSummary, held: int, *, was_seen: bool) -> RuleResult:
    refusals = list(_refusals(rule, summary))
    told = list(warnings_of(rule, summary))
    rows = summary.counts.rows_in
    came = rows - summary.counts.refused  # a refused file need not have come as far as its rules
    status: Status = "pass" if came else "carried" if was_seen else "unseen"
    if held or told:
        status = told_as(rule.severity)
    if refusals:
        status = "fail"
    waiting = [f"{counted(held, 'row')} in quarantine"] if held else []
    seen = {"pass": counted(rows, "row"), "carried": "no new file"}.get(status, NO_DATA)
    return RuleResult(
        rule_id=rule.id,
        table=rule.table,
        boundary=rule.boundary,
        check=rule.check,
        severity=rule.severity,
        status=status,
        rows_checked=rows,
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


def rule_told(rules: Iterable[Rule], summary: SourceSummary, text: str) -> Rule | None:
    """The raw rule of which the run told the text; None where it is of none of them."""
    told = (rule for rule in rules if rule.boundary == "raw" and _is_told(rule, text))
    return next((rule for rule in told if rule.table == f"raw_{summary.name}"), None)


def _is_told(rule: Rule, text: str) -> bool:
    return text.startswith(f"{rule.id}: ") or f"the rule {rule.id}: " in text


def warnings_of(rule: Rule, summary: SourceSummary) -> Iterator[str]:
    """What the run told of files that are loaded though they, or rows of them, break the rule."""
    for file, text in summary.told:
        if _is_told(rule, text):
            yield f"{file}: {text.removeprefix(f'{rule.id}: ')}"
