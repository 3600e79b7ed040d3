"""What became of the rules of the raw boundary in a run, in the words of the gate."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from expectations.gate import RuleResult, Status, told_as
from expectations.reporting.words import counted_in
from expectations.rules import LEARNED
from warehouse.errors import FIRST_ROW
from warehouse.row_rules import RULE
from warehouse.wording import counted

if TYPE_CHECKING:
    from expectations.rules import Rule
    from flows.pipeline import Run
    from warehouse.arrived import SourceArrivals
    from warehouse.batch import Judged
    from warehouse.ingest import SourceSummary
    from warehouse.waiting import Waiting

NO_DATA = "not checked: no data yet"
NO_FILE = "not checked: no new file"
NONE_LOADED = "not checked: no new file was loaded, for what came was refused"
_NEXT = "\n  next: "


def raw_results(
    run: Run, rules: Sequence[Rule], waits: Waiting, arrived: Sequence[SourceArrivals]
) -> tuple[RuleResult, ...]:
    """A result for each rule of the run's sources.

    It fails where a file is refused for it, and warns where rows break it or wait in quarantine;
    one of severity `info` only tells. Where this run loaded nothing that it could look at, it is
    `unseen`: for its files were refused, or none came; whether any ever did, `arrived` tells. A
    rule on rows counts rows: those that wait, whenever they came, those of files that this run
    loaded in breach of it, and of files that it refused. A rule on files counts files.
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


def looked_at(rule: Rule, judged: Judged) -> int:
    """How many rows the rule looked at, or files if it is one on files."""
    return judged.files if rule.check in LEARNED else judged.rows


def _result(rule: Rule, summary: SourceSummary, held: int, *, was_seen: bool) -> RuleResult:
    in_loaded = summary.judged.broken[rule.id]
    in_refused = summary.judged_refused.broken[rule.id]
    # The message of a file that several rules stop names the first of them, its reasons each.
    refusals = [*_refusals(rule, summary, summary.problems)]
    refusals = refusals or [*_refusals(rule, summary, (text for _, text in summary.reasons))]
    told = list(warnings_of(rule, summary))
    checked = looked_at(rule, summary.judged)
    status: Status = "pass" if checked else "unseen"
    if held or told or in_refused:
        status = told_as(rule.severity)
    if refusals:
        status = "fail"
    if status != "unseen":
        checked += looked_at(rule, summary.judged_refused)
    if in_refused and not refusals:
        told.insert(0, f"{counted(in_refused, 'row')} of refused files")
    waiting = [f"{counted(held, 'row')} in quarantine"] if held else []
    seen = counted(checked, counted_in(rule))
    if status == "unseen":
        seen = NONE_LOADED if summary.problems else NO_FILE if was_seen else NO_DATA
    is_held = rule.severity == "critical" and rule.check not in LEARNED
    return RuleResult(
        rule_id=rule.id,
        table=rule.table,
        boundary=rule.boundary,
        check=rule.check,
        severity=rule.severity,
        status=status,
        rows_checked=checked,
        unexpected_count=held + in_refused + (0 if is_held else in_loaded),
        detail="; ".join([*refusals, *waiting, *told]) or seen,
        reason=rule.reason,
    )


def _refusals(rule: Rule, summary: SourceSummary, texts: Iterable[str]) -> Iterator[str]:
    """Why files were refused, without the row that a message quotes."""
    for text in texts:
        what = text.partition("\n")[0].partition(FIRST_ROW)[0]
        if is_refused_for(rule, what):
            yield what.removeprefix(f"{summary.name}: ")


def next_step_of(rule: Rule, summary: SourceSummary) -> str:
    """What the refusal of a file for the rule says to do; empty if none was refused for it."""
    for text in summary.problems:
        what, _, step = text.partition(_NEXT)
        if step and is_refused_for(rule, what.partition("\n")[0]):
            return step
    # A file that several rules stop: its message names the first of them.
    files = {told.partition(": ")[0] for _, told in summary.reasons if is_refused_for(rule, told)}
    steps = (text.partition(_NEXT)[2] for text in summary.problems if any(f in text for f in files))
    return next(filter(None, steps), "")


def is_refused_for(rule: Rule, told: str) -> bool:
    """Whether what is told of a refused file names the rule as the reason."""
    what = told.partition(FIRST_ROW)[0]
    return re.search(rf"\brule {re.escape(rule.id)}[: ]", what) is not None


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
