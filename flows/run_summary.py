"""What a run says when it is over: what was refused, what was warned of, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from expectations.gate import told_as
from flows.domains import in_short, known_rules
from flows.options import complain, home_option, say
from flows.raw_results import rule_told
from warehouse.ingest import by_text
from warehouse.wording import counted, few

if TYPE_CHECKING:
    from expectations.rules import Rule
    from flows.pipeline import Run
    from warehouse.ingest import SourceSummary

SHOWN = 3  # of each kind; the report and --json have them all
_WORDS = {"warn": "warning", "info": "info"}


def print_run(run: Run) -> None:
    """The summary, the worst of each kind: what is refused, changed, warned of, held, the end.

    Refusals and the failure go to stderr, the rest to stdout, in this order. Where the run speaks
    JSON lines it has told all that by itself.
    """
    if run.events.mode == "json":
        return
    _say_few("refused", run.problems, complain)
    notes, warnings = of_files(run)
    stale = stale_told(run)
    _say_few("changed", notes)
    _say_few("warning", stale)
    _say_few("warning", warnings["warn"])
    _say_few("warning", list(_of_gate(run, "warn")))
    _say_few("info", [*warnings["info"], *_of_gate(run, "info")])
    _say_held(run)
    if run.failure is not None:
        complain(f"error: {run.failure}")
    say(end_told(run))


def _say_few(word: str, lines: Sequence[str], tell: Callable[[str], None] = say) -> None:
    """The first lines under the word, and how many more there are."""
    for line in lines[:SHOWN]:
        tell(f"{word}: {line}")
    if (more := len(lines) - SHOWN) > 0:
        tell(f"{word}: and {more:,} more; the report and --json have them all")


def stale_told(run: Run) -> list[str]:
    """The sources that bring nothing new, against what is usual."""
    return [f"{s.name}: {told}" for s in run.summaries.values() for told in s.warnings]


def of_files(run: Run) -> tuple[list[str], dict[str, list[str]]]:
    """What the run tells of files: of what changed, and of rules by what a breach is told as."""
    notes: list[str] = []
    warnings: dict[str, list[str]] = {word: [] for word in _WORDS}
    rules = list(known_rules().values()) if any(s.told for s in run.summaries.values()) else []
    for name, summary in run.summaries.items():
        notes += [f"{name}: {note}" for note in notes_of(summary, rules)]
        for rule in rules:
            told = (f"{name}: {line}" for line in _of_rule(rule, summary))
            warnings[told_as(rule.severity)] += told
    return notes, warnings


def notes_of(summary: SourceSummary, rules: Iterable[Rule]) -> list[str]:
    """What changed at a source that no rule speaks of, each thing once."""
    rules = list(rules)
    plain = [(file, text) for file, text in summary.told if rule_told(rules, summary, text) is None]
    return [f"{files}: {text}" for text, files in by_text(plain).items()]


def _of_rule(rule: Rule, summary: SourceSummary) -> Iterator[str]:
    """A line for each file, or for several with the same, that breaks the rule."""
    own = [
        (file, text.removeprefix(f"{rule.id}: "))
        for file, text in summary.told
        if rule_told([rule], summary, text)
    ]
    lines: dict[str, list[str]] = {}
    for text, files in by_text(own).items():
        lines.setdefault(files, []).append(text)
    for files, texts in lines.items():
        named = "" if any(rule.id in text for text in texts) else f"{rule.id}: "
        yield f"{files}: {named}{few(texts)}"


def _of_gate(run: Run, status: str) -> Iterator[str]:
    for result in run.gate.results if run.gate else run.clock or ():
        if result.status == status:
            yield f"{result.rule_id}: {in_short(result).partition(', e.g.')[0]}"


def _say_held(run: Run) -> None:
    for name, summary in run.summaries.items():
        if count := summary.counts.quarantined:
            are, they = ("is", "it") if count == 1 else ("are", "they")
            rows = f"{counted(count, 'row')} of {name}"
            say(f"{rows} {are} in quarantine. Why, and where {they} came from:")
            say(f"  clearwater quarantine show {name}{home_option()}")


def end_told(run: Run) -> str:
    """The run's last line: its status, the gate's verdict and the release that is served."""
    refused = f" ({counted(len(run.problems), 'file')})" if run.status == "refused" else ""
    verdict = f", verdict {run.verdict}" if run.verdict else ""
    release = f", release {run.release.id}" if run.release else ""
    return f"run {run.run_id}: {run.status}{refused}{verdict}{release}"
