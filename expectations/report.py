"""The data-quality report of a run: one HTML page that needs nothing else, and its JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.files import link_atomically, write_atomically
from warehouse.waiting import Waiting
from warehouse.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from expectations.gate import GateResult, RuleResult
    from warehouse.settings import Settings

_TEMPLATES = Path(__file__).parent / "templates"
SHOWN_WAITING = 100
_WORST_FIRST = ("error", "fail", "warn", "pass", "carried")
_SENTENCES = {
    "pass": "Every rule holds: release {release} is published.",
    "warn": "Release {release} is published, with warnings to look at.",
    "block": "Blocked: a critical rule does not hold. Nothing was published.",
    "error": "Blocked: a check could not run, or checked nothing. Nothing was published.",
}


@dataclass(frozen=True)
class SourceReport:
    """What became of one source's rows, and where to look when some did not load."""

    name: str
    loaded: int = 0
    quarantined: int = 0
    already_known: int = 0
    refused: int = 0
    message: str = ""


@dataclass(frozen=True)
class StageReport:
    """How one stage of the run ended."""

    name: str
    status: str
    seconds: float


@dataclass(frozen=True)
class TableReport:
    """A published table of the build and its size."""

    name: str
    rows: int


@dataclass(frozen=True)
class RunReport:
    """All that the report of a run tells.

    `status` is the run's own (done, failed, blocked, …); `verdict` the gate's, empty when no
    gate was reached; `release` the one published by this run, else the one still served;
    `waiting` what is in quarantine or refused when the report is written, whenever it came;
    `passed` the domains that passed where others were blocked.
    """

    run_id: str
    started_at: datetime
    status: str
    verdict: str = ""
    release: str = ""
    lake_snapshot: int | None = None
    sources: tuple[SourceReport, ...] = ()
    stages: tuple[StageReport, ...] = ()
    tables: tuple[TableReport, ...] = ()
    gate: GateResult | None = None
    message: str = ""
    waiting: Waiting = field(default_factory=Waiting)
    passed: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The outcome, in one sentence."""
        if self.passed:
            return f"Blocked, but for {' and '.join(self.passed)}. Served: release {self.release}."
        if self.message and self.verdict not in ("block", "error"):
            return self.message
        sentence = _SENTENCES.get(self.verdict, "The run ended before its gate.")
        return sentence.format(release=self.release or "(none)")


@dataclass(frozen=True)
class TableRules:
    """The rules of one table with what became of them, the worst first."""

    table: str
    status: str
    results: tuple[RuleResult, ...]


def write_report(settings: Settings, run: RunReport) -> Path:
    """Write the run's page and its JSON, point `reports/latest` at them; returns the page."""
    folder = settings.reports / run.run_id
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "index.json", _as_json(run))
    page = folder / "index.html"
    write_atomically(page, _as_html(run))
    link_atomically(settings.reports / "latest", run.run_id)
    return page


def rules_by_table(results: Iterable[RuleResult]) -> list[TableRules]:
    """The results grouped by table, what failed first."""
    tables: dict[str, list[RuleResult]] = {}
    for result in results:
        tables.setdefault(result.table, []).append(result)
    grouped = [_table_rules(table, found) for table, found in tables.items()]
    return sorted(grouped, key=lambda rules: (_badness(rules.status), rules.table))


def _table_rules(table: str, results: list[RuleResult]) -> TableRules:
    ordered = sorted(results, key=lambda result: _badness(result.status))
    return TableRules(table, ordered[0].status, tuple(ordered))


def _badness(status: str) -> int:
    return _WORST_FIRST.index(status)


def _as_json(run: RunReport) -> str:
    return json.dumps(asdict(run) | {"sentence": run.sentence}, indent=2, default=str) + "\n"


def _as_html(run: RunReport) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    results = run.gate.results if run.gate else ()
    counts = dict.fromkeys(_WORST_FIRST, 0)
    for result in results:
        counts[result.status] += 1
    template = environment.get_template("report.html.j2")
    return template.render(
        run=run,
        tables=rules_by_table(results),
        counts=counts,
        counted=counted,
        shown_waiting=SHOWN_WAITING,
    )
