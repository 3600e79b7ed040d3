"""What a run leaves in the Prefect UI: its summary, the gate's table, links to report and release.

They are told over the server's REST interface, so that nobody has to import Prefect for them. Their
keys stay the same, so that the UI shows the newest of each and how it was before.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from flows.domains import in_short
from flows.run_log import hidden
from flows.run_summary import end_told
from warehouse.errors import without_values
from warehouse.releases import folder

if TYPE_CHECKING:
    from expectations.gate import RuleResult
    from flows.run import Run

LONGEST_CELL = 200
MOST_RULES = 500  # the UI shows all rows at once
_WORST_FIRST = ("error", "fail", "warn", "info", "pass", "carried", "unseen")

# The server's client: a method, a path below /api and a body; returns the answer's JSON.
Ask = Callable[[str, str, Any], Any]


class Artifact(NamedTuple):
    """One artifact; `data` is Markdown, or of a table its rows as JSON."""

    key: str
    type: Literal["markdown", "table"]
    description: str
    data: str


def put_artifacts(ask: Ask, flow_run: str | None, run: Run) -> None:
    """Leave the artifacts of a run that is over with the server, below its own run of this id.

    Raises what `ask` raises: whoever calls this is not to fail for it.
    """
    for artifact in artifacts(run):
        ask("POST", "artifacts/", artifact._asdict() | {"flow_run_id": flow_run})


def artifacts(run: Run) -> Iterator[Artifact]:
    """The artifacts of the run; without a gate's table where nothing was judged."""
    yield Artifact("clearwater-run", "markdown", f"Run {run.run_id}", hidden(_summary(run)))
    results = run.gate.results if run.gate else run.clock or ()
    if results:
        rows = json.dumps(_gate(results), ensure_ascii=False)
        told = f"The gate of run {run.run_id}: {run.verdict}"
        yield Artifact("clearwater-gate", "table", told, hidden(rows))
    if run.report is not None:
        told = f"The report of run {run.run_id}"
        yield Artifact("clearwater-report", "markdown", told, _link(run.report))
    if run.release is not None:
        place = folder(run.settings, run.release.id)
        told = f"Release {run.release.id}, verdict {run.release.verdict}"
        yield Artifact("clearwater-release", "markdown", told, _link(place))


def _summary(run: Run) -> str:
    parts = [f"## {_cell(end_told(run))}"]
    if run.failure is not None or run.crash is not None:
        told = without_values(str(run.failure or run.crash))
        parts += [f"> {_plain(line)}" for line in told.splitlines()]
    stages = [
        (name, trace.status, f"{trace.seconds:,.1f} s", trace.detail)
        for name, trace in run.trace.items()
    ]
    parts.append(_table(("stage", "status", "took", "what"), stages))
    sources = [
        (name, f"{c.loaded:,}", f"{c.quarantined:,}", f"{c.already_known:,}", f"{c.refused:,}")
        for name, c in ((name, summary.counts) for name, summary in run.summaries.items())
    ]
    if sources:
        words = ("source", "loaded", "quarantined", "already known", "refused")
        parts.append(_table(words, sources))
    parts += [f"- refused: {_cell(problem)}" for problem in run.problems]
    parts.append(f"The whole story: `clearwater logs {run.run_id}`")
    return "\n\n".join(parts)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """The first line, in what Markdown takes for plain text."""
    first = text.partition("\n")[0]
    short = first if len(first) <= LONGEST_CELL else f"{first[:LONGEST_CELL]}…"
    return _plain(short)


def _plain(text: str) -> str:
    """The text with what Markdown would take for a mark escaped."""
    return "".join(f"\\{char}" if char in "\\|*_`<[" else char for char in text)


def _gate(results: Sequence[RuleResult]) -> list[dict[str, Any]]:
    """A row for each rule, what does not hold first, without values of the data."""
    worst_first = sorted(results, key=lambda result: _WORST_FIRST.index(result.status))
    return [
        {
            "rule": result.rule_id,
            "status": result.status,
            "severity": result.severity,
            "what": in_short(result).partition(", e.g.")[0][:LONGEST_CELL],
            "table": result.table,
            "rows": result.rows_checked,
            "unexpected": result.unexpected_count,
        }
        for result in worst_first[:MOST_RULES]
    ]


def _link(path: Path) -> str:
    """A link to a place on the machine that ran; a browser elsewhere shows its name alone."""
    return f"[{_cell(str(path))}]({path.as_uri()})"
