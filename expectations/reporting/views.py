"""What each page shows: the run's tables, each with all that is known of it, and the overview."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from expectations.incidents import in_order
from expectations.report import rules_by_table
from expectations.reporting.changes import BROKEN, Change, Earlier
from expectations.reporting.words import change, utc

if TYPE_CHECKING:
    from expectations.gate import RuleResult
    from expectations.incidents import Incident
    from expectations.missing import TableMissing
    from expectations.report import NewestValue, RunReport, TableReport
    from expectations.trends import Trend
    from warehouse.arrived import SourceArrivals

LAYERS = ("staging", "intermediate", "marts", "features")
# How a table's worst rule is told of the table.
_ORDER = ("error", "fail", "warn", "info", "pass", "unseen", "none", "lake")
_RECENTLY = timedelta(days=7)


@dataclass(frozen=True)
class TableView:
    """A table's page: its rules worst first, its size, trends, missing data and lineage.

    `status` is that of its worst rule, `none` without any, `lake` for a table of the lake.
    `upstream` and `downstream` are relations by layer, from the lake on. `page` is its file, from
    the folder of the report; `grown` how its rows changed, in words.
    """

    name: str
    page: str
    status: str
    results: tuple[RuleResult, ...]
    report: TableReport | None
    grown: str
    trends: tuple[Trend, ...]
    missing: TableMissing | None
    upstream: tuple[tuple[str, tuple[str, ...]], ...]
    downstream: tuple[tuple[str, tuple[str, ...]], ...]
    sources: tuple[SourceArrivals, ...]

    @property
    def broken(self) -> tuple[RuleResult, ...]:
        """The rules that do not hold."""
        return tuple(result for result in self.results if result.status in BROKEN)

    @property
    def holding(self) -> tuple[RuleResult, ...]:
        """The rules that hold."""
        return tuple(result for result in self.checked if result.status not in BROKEN)

    @property
    def checked(self) -> tuple[RuleResult, ...]:
        """The rules that had something to look at, in this run or before."""
        return tuple(result for result in self.results if result.status != "unseen")

    @property
    def alarms(self) -> int:
        """How many of its trends are out of what is usual."""
        return sum(is_alarmed(trend) for trend in self.trends)

    @property
    def missing_share(self) -> float:
        """The share of its rows in which something is missing."""
        if self.missing is None or not self.missing.rows:
            return 0.0
        return 1 - self.missing.complete_rows / self.missing.rows


@dataclass(frozen=True)
class Incidents:
    """The incidents that are open, the most urgent first, and those closed lately."""

    open: tuple[Incident, ...]
    closed: tuple[Incident, ...]

    @property
    def acknowledged(self) -> int:
        """How many of the open ones somebody is seeing to."""
        return sum(incident.acknowledged_at is not None for incident in self.open)


@dataclass(frozen=True)
class Overview:
    """The first page: the run, what changed, every table, and what is broken, the worst first.

    `tolerated` are the rules that hold though rows break them: not more than they allow. `newest`
    is the newest time that the data speak of, whenever they came.
    """

    run: RunReport
    before: Earlier | None
    changes: tuple[Change, ...]
    tables: tuple[TableView, ...]
    broken: tuple[RuleResult, ...]
    tolerated: tuple[RuleResult, ...]
    counts: Mapping[str, int]
    incidents: Incidents
    alarmed: tuple[Trend, ...]
    arrived_at: datetime | None
    newest: NewestValue | None


def overview(run: RunReport, changed: Iterable[Change], before: Earlier | None) -> Overview:
    """All that the pages show of the run."""
    tables = _tables(run, before)
    results = run.gate.results if run.gate else ()
    counts = dict.fromkeys((*BROKEN, "pass", "unseen"), 0)
    for result in results:
        counts["pass" if result.status == "carried" else result.status] += 1
    broken = sorted(
        (result for result in results if result.status in BROKEN),
        key=lambda result: (BROKEN.index(result.status), result.table, result.rule_id),
    )
    alarmed = [trend for trend in run.trends if is_alarmed(trend)]
    arrived = [utc(source.arrived_at) for source in run.arrivals]
    return Overview(
        run=run,
        before=before,
        changes=tuple(changed),
        tables=tuple(tables),
        broken=tuple(broken),
        tolerated=tuple(r for r in results if r.status not in BROKEN and r.unexpected_count),
        counts=counts,
        incidents=_incidents(run),
        alarmed=tuple(alarmed),
        arrived_at=max(arrived, default=None),
        newest=_newest(run),
    )


def _newest(run: RunReport) -> NewestValue | None:
    """The newest time in any table, but for when rows were loaded."""
    found = [value for table in run.tables for value in table.newest]
    own = [value for value in found if value.column.lstrip("_") != "loaded_at"]
    return max(own, key=lambda value: _moment(value.at), default=None)


def _moment(at: datetime | date) -> datetime:
    return utc(at if isinstance(at, datetime) else datetime(at.year, at.month, at.day, tzinfo=UTC))


def is_alarmed(trend: Trend) -> bool:
    """Whether the newest point is out of what is usual."""
    return bool(trend.points) and trend.points[-1].is_alarm


def _incidents(run: RunReport) -> Incidents:
    ordered = in_order(run.incidents)
    recent = utc(run.started_at) - _RECENTLY
    return Incidents(
        open=tuple(found for found in ordered if found.closed_at is None),
        closed=tuple(f for f in ordered if f.closed_at is not None and utc(f.closed_at) >= recent),
    )


def _tables(run: RunReport, before: Earlier | None) -> list[TableView]:
    """Every table that the run speaks of, the worst first."""
    ruled = {found.table: found for found in rules_by_table(run.gate.results if run.gate else ())}
    sizes = {table.name: table for table in run.tables}
    lake = {table.name: table for table in run.lake}
    missing = {found.table: found for found in run.missing}
    trends: dict[str, list[Trend]] = {}
    for trend in run.trends:
        if trend.points:
            trends.setdefault(trend.table, []).append(trend)
    names = dict.fromkeys([*sizes, *ruled, *missing, *trends])
    lineage = _Lineage(run)
    views = [
        TableView(
            name=name,
            page=f"tables/{page_name(name)}",
            status=_status(ruled[name].status) if name in ruled else _without_rules(name),
            results=ruled[name].results if name in ruled else (),
            report=sizes.get(name) or lake.get(name),
            grown=_grown(sizes.get(name) or lake.get(name), before),
            trends=tuple(sorted(trends.get(name, ()), key=_trend_order)),
            missing=missing.get(name),
            upstream=lineage.upstream(name),
            downstream=lineage.downstream(name),
            sources=lineage.sources(name),
        )
        for name in names
    ]
    return sorted(views, key=lambda view: (_ORDER.index(view.status), -view.alarms, view.name))


def page_name(table: str) -> str:
    """The file of the table's page: its name, if that may be a file's and part of an address."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", table)[:100]
    if plain == table:
        return f"{plain}.html"
    return f"{plain}-{hashlib.sha256(table.encode()).hexdigest()[:8]}.html"


def _status(worst: str) -> str:
    return "pass" if worst == "carried" else worst


def _without_rules(table: str) -> str:
    """A table of the lake has no rules here: what arrives is judged row by row."""
    return "lake" if table.startswith("raw_") else "none"


def _trend_order(trend: Trend) -> tuple[bool, bool, str, str]:
    """Alarms first, then what speaks of the whole table."""
    return not is_alarmed(trend), bool(trend.column), trend.metric, trend.column


def _grown(table: TableReport | None, before: Earlier | None) -> str:
    known = before.tables | before.lake if before else {}
    old = known.get(table.name) if table else None
    return change(table.rows, int(old["rows"])) if table and old else ""


class _Lineage:
    """What each relation is made from and what is made from it, through all layers."""

    def __init__(self, run: RunReport) -> None:
        self._above = run.lineage
        self._below: dict[str, list[str]] = {}
        for name, parents in run.lineage.items():
            for parent in parents:
                self._below.setdefault(parent, []).append(name)
        self._arrivals = {source.table: source for source in run.arrivals}

    def upstream(self, name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """All that the relation is made from, by layer, the lake first."""
        return _by_layer(_reached(name, self._above))

    def downstream(self, name: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """All that is made from the relation, by layer."""
        return _by_layer(_reached(name, self._below))

    def sources(self, name: str) -> tuple[SourceArrivals, ...]:
        """What arrived of the sources that the relation is made from, or is itself."""
        above = sorted({name, *_reached(name, self._above)})
        return tuple(self._arrivals[table] for table in above if table in self._arrivals)


def _reached(name: str, steps: Mapping[str, Iterable[str]]) -> set[str]:
    """All that the steps lead to from `name`, itself left out."""
    found: set[str] = set()
    ahead = list(steps.get(name, ()))
    while ahead:
        step = ahead.pop()
        if step not in found:
            found.add(step)
            ahead.extend(steps.get(step, ()))
    return found - {name}


def _by_layer(names: set[str]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    layers: dict[str, list[str]] = {}
    for name in sorted(names):
        schema = name.partition(".")[0]
        layers.setdefault(schema if schema in LAYERS else "lake", []).append(name)
    return tuple((layer, tuple(layers[layer])) for layer in ("lake", *LAYERS) if layer in layers)
