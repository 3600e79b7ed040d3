"""The data-quality report of a run: what it tells, and writing it as pages and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from expectations.incidents import stale_sources
from expectations.offenders import EXAMPLES
from expectations.reporting.changes import BROKEN, Change, changes, earlier
from expectations.reporting.words import made_at, moment_of, utc, without_rows
from expectations.rules import LEARNED
from warehouse.files import link_atomically, write_atomically
from warehouse.row_rules import RULE
from warehouse.waiting import Held, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import date, datetime
    from pathlib import Path

    from expectations.gate import GateResult, RuleResult
    from expectations.incidents import Incident
    from expectations.missing import TableMissing
    from expectations.trends import Trend
    from warehouse.arrived import SourceArrivals
    from warehouse.settings import Settings

# All samples of a report together, so that a run in which everything breaks still makes a page.
SAMPLE_CHARACTERS = 120_000
LONGEST_DETAIL = 300
# What a comparison with the past finds is told in full, as long as all of it together is not more.
DETAIL_CHARACTERS = 60_000
SHOWN_NAMES = 3
SHOWN_NOTES = 50  # of a source
_CELL = 12  # what a cell costs beside its text
# Metrics of a column that are no value of it.
_COUNTING = ("count", "null", "missing", "distinct", "drift")
# Reasons of the quarantine whose detail names columns alone.
_NAMING_COLUMNS = frozenset({"not_of_type", "key_missing", "key_conflict", "superseded"})
_WORST_FIRST = ("error", "fail", "warn", "info", "pass", "carried", "unseen")
_SENTENCES = {
    "pass": "Every rule holds: the release of {release} is published.",
    "info": "Every rule that may block or warn holds: the release of {release} is published.",
    "refused": "The release of {release} is published, without the files that were refused.",
    "unchanged": "Nothing new was published, for files were refused:"
    " the release of {release}, made before this run, is still served.",
    "warn": "The release of {release} is published, with warnings to look at.",
    "block": "Blocked: a critical rule does not hold. Nothing was published.",
    "error": "Blocked: a check could not run, or checked nothing. Nothing was published.",
}


@dataclass(frozen=True)
class SourceReport:
    """What became of one source's rows, and where to look when some did not load.

    `notes` are what changed of its files, such as new columns.
    """

    name: str
    loaded: int = 0
    quarantined: int = 0
    already_known: int = 0
    refused: int = 0
    message: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class StageReport:
    """How one stage of the run ended."""

    name: str
    status: str
    seconds: float


@dataclass(frozen=True)
class NewestValue:
    """The newest value of a time column: a moment in UTC without offset, or a day."""

    column: str
    at: datetime | date


@dataclass(frozen=True)
class TableReport:
    """A published table of the build: its size, columns (name, type), and how fresh it is.

    `personal` are the columns of which no value is shown.
    """

    name: str
    rows: int
    columns: tuple[tuple[str, str], ...] = ()
    newest: tuple[NewestValue, ...] = ()
    personal: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunReport:
    """All that the report of a run tells.

    `status` is the run's own (done, failed, blocked, …); `verdict` the gate's, empty when no
    gate was reached; `release` the one published by this run, else the one still served;
    `waiting` what is in quarantine or refused when the report is written, whenever it came;
    `passed` the domains that passed where others were blocked; `blocked` the rows of tables in the
    build that was blocked, of which `tables` has what readers see; `lineage` the relations that
    each relation is made from; `lake` the tables of the lake; `steps` what to do about each rule
    that blocks or refused files, by its id; `catch_up` which runs were missed before this one,
    which covers them.
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
    arrivals: tuple[SourceArrivals, ...] = ()
    lineage: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    incidents: tuple[Incident, ...] = ()
    missing: tuple[TableMissing, ...] = ()
    trends: tuple[Trend, ...] = ()
    passed: tuple[str, ...] = ()
    blocked: Mapping[str, int] = field(default_factory=dict)
    lake: tuple[TableReport, ...] = ()
    steps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    catch_up: str = ""

    @property
    def stale(self) -> dict[str, str]:
        """The sources from which nothing new comes, with what is known of each."""
        return stale_sources(self.incidents)

    @property
    def outcome(self) -> str:
        """The verdict or, where it lets the release be served, what else is to be told of the run.

        That is `unchanged` where files were refused and the release is none of this run, else
        refused, warn or info. The gate's verdict does not speak of arriving rows; what it calls a
        pass may have warnings.
        """
        if self.status == "refused" and self.verdict in ("pass", "warn"):
            return "refused" if self._is_release_new else "unchanged"
        if self.verdict != "pass":
            return self.verdict
        statuses = {result.status for result in self.gate.results} if self.gate else set()
        if not statuses.isdisjoint(("error", "fail", "warn")):
            return "warn"
        return "info" if "info" in statuses else "pass"

    @property
    def _is_release_new(self) -> bool:
        """Whether the release was made after the run began, and so by it."""
        made = made_at(self.release)
        return made is not None and made >= utc(self.started_at)

    @property
    def sentence(self) -> str:
        """The outcome, in a sentence or two."""
        if self.passed:
            served = f"Served: the release of {moment_of(self.release)}."
            return f"Blocked, but for {' and '.join(self.passed)}. {served}"
        if self.message and self.verdict not in ("block", "error"):
            return self.message
        said = self.outcome
        sentence = _SENTENCES.get(said, "The run ended before its gate.")
        told = sentence.format(release=moment_of(self.release) or "(none)")
        if self.stale and said in ("pass", "info", "warn", "refused", "unchanged"):
            told += f" But nothing new comes from {_few(sorted(self.stale))}."
        return told


def _few(names: list[str]) -> str:
    """The names, the first three where there are more."""
    if len(names) > SHOWN_NAMES:
        return f"{', '.join(names[:SHOWN_NAMES])} and {len(names) - SHOWN_NAMES} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


@dataclass(frozen=True)
class TableRules:
    """The rules of one table with what became of them, the worst first."""

    table: str
    status: str
    results: tuple[RuleResult, ...]


def write_report(settings: Settings, run: RunReport) -> Path:
    """Write the run's pages and their JSON, point `reports/latest` at them; returns the first page.

    What changed is told against the report before, which is looked for in `reports/`.
    """
    from expectations.reporting.pages import write_pages

    folder = settings.reports / run.run_id
    folder.mkdir(parents=True, exist_ok=True)
    before = earlier(settings.reports, run.run_id)
    shown = _shown(run)
    changed = changes(shown, before)
    page = write_pages(folder, settings.compiled, shown, changed, before)
    write_atomically(folder / "index.json", _as_json(shown, changed))
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


def _shown(run: RunReport) -> RunReport:
    """The run as it may be shown: no text of raw rows, samples and details of bounded size."""
    sources = tuple(
        replace(s, message=without_rows(s.message), notes=s.notes[:SHOWN_NOTES])
        for s in run.sources
    )
    waiting = replace(
        run.waiting,
        held=tuple(replace(group, detail=_reason_told(group)) for group in run.waiting.held),
        refused=tuple(replace(b, reason=without_rows(b.reason)) for b in run.waiting.refused),
    )
    return replace(
        run,
        sources=sources,
        waiting=waiting,
        gate=replace(run.gate, results=_bounded(run.gate.results)) if run.gate else None,
        message=without_rows(run.message),
        incidents=tuple(_without_excerpts(incident) for incident in run.incidents),
        trends=tuple(_without_values(run)),
    )


def _without_excerpts(incident: Incident) -> Incident:
    symptoms = (replace(s, detail=without_rows(s.detail)) for s in incident.symptoms)
    return replace(incident, title=without_rows(incident.title), symptoms=tuple(symptoms))


def _without_values(run: RunReport) -> Iterator[Trend]:
    """The trends, but those of a personal column that are values of it, as a median is."""
    personal = {(t.name, column.lower()) for t in run.tables for column in t.personal}
    for trend in run.trends:
        is_personal = (trend.table, trend.column.lower()) in personal
        if not is_personal or any(word in trend.metric for word in _COUNTING):
            yield trend


def _reason_told(group: Held) -> str | None:
    """The quarantine's detail where it names columns or a rule, never where it quotes the row."""
    names_only = group.reason in _NAMING_COLUMNS or group.reason.startswith(RULE)
    return group.detail if names_only else None


def _bounded(results: tuple[RuleResult, ...]) -> tuple[RuleResult, ...]:
    """The results with short details, and with samples while there is room: for the worst first."""
    left, details_left = SAMPLE_CHARACTERS, DETAIL_CHARACTERS
    bounded = {}
    for n in sorted(range(len(results)), key=lambda n: _badness(results[n].status)):
        result = results[n]
        is_broken = result.status in BROKEN
        if is_broken:
            left -= sum(_CELL + len(value or "") for row in result.sample for value in row)
        has_room = is_broken and left >= 0
        details_left -= len(result.detail) if is_broken else 0
        bounded[n] = replace(
            result,
            detail=_detail(result, is_whole=is_broken and details_left >= 0),
            columns=result.columns if has_room else (),
            sample=result.sample if has_room else (),
        )
    return tuple(bounded[n] for n in range(len(results)))


def _detail(result: RuleResult, *, is_whole: bool) -> str:
    """What was seen; the examples in it are shown as rows instead, where there is a sample."""
    detail = result.detail
    if result.sample:
        detail = detail.partition(", e.g. ")[0]
    if len(detail) <= LONGEST_DETAIL or (is_whole and result.check in LEARNED):
        return detail
    return f"{detail[: LONGEST_DETAIL - 1]}…"


def _as_json(run: RunReport, changed: Iterable[Change]) -> str:
    """The report for machines: without most of what only the tables' pages tell."""
    told: dict[str, Any] = asdict(replace(run, gate=None, missing=(), trends=()))
    if run.gate:
        results = [_result_json(result) for result in run.gate.results]
        told["gate"] = vars(run.gate) | {"results": results}
    told["missing"] = [
        {"table": found.table, "rows": found.rows, "complete_rows": found.complete_rows}
        for found in run.missing
    ]
    told["trends"] = [
        {"table": trend.table, "column": trend.column, "metric": trend.metric}
        | asdict(trend.points[-1])
        for trend in run.trends
        if trend.points and trend.points[-1].is_alarm
    ]
    told["changes"] = [{"tone": change.tone, "text": change.text} for change in changed]
    told["sentence"] = run.sentence
    told["stale"] = run.stale
    return json.dumps(told, default=str, separators=(",", ":")) + "\n"


def _result_json(result: RuleResult) -> dict[str, Any]:
    """A rule's result, with a few rows if it is broken; if not, what is needed to compare."""
    told = {name: value for name, value in vars(result).items() if value != ()}
    if result.status in BROKEN:
        return told | ({"sample": result.sample[:EXAMPLES]} if result.sample else {})
    return {name: value for name, value in told.items() if name not in ("detail", "reason")}
