"""From a run to its data-quality report."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from expectations.incidents import incidents_for_report
from expectations.next_steps import is_blocking, next_steps
from expectations.report import RunReport, SourceReport, StageReport, TableReport, write_report
from expectations.reporting.sizes import lake_sizes, table_sizes
from flows.domains import IN_REPORT, known_rules
from flows.raw_results import next_step_of, raw_results
from flows.run_summary import notes_of
from flows.standing import standing
from warehouse.arrived import SourceArrivals, arrivals
from warehouse.errors import ClearwaterError
from warehouse.releases import folder
from warehouse.waiting import waiting_and

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from expectations.missing import TableMissing
    from expectations.trends import Trend
    from flows.pipeline import Run
    from warehouse.sources import Source


def write(run: Run) -> Path:
    """Write the run's report; a run that audited nothing shows how the served release stands."""
    return write_report(run.settings, _told(run))


def _told(run: Run) -> RunReport:
    release = run.release
    gate = run.gate
    if gate is None and (run.clock or run.failure is None):
        gate = standing(run)
    none: tuple[tuple[SourceArrivals, ...], tuple[TableReport, ...]] = ((), ())
    waits, (arrived, lake) = waiting_and(run.settings, partial(_of_lake, run.declared), none)
    if gate is not None:
        raw = raw_results(run, list(known_rules().values()), waits, arrived)
        gate = replace(gate, results=(*raw, *gate.results))
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
        tables=_tables(run),
        gate=gate,
        message=_message(run),
        waiting=waits,
        arrivals=arrived,
        lineage={name: tuple(parents) for name, parents in _lineage(run).items()},
        incidents=incidents_for_report(run.settings),
        trends=_trends(run),
        missing=_missing(run),
        passed=run.passed,
        blocked=run.blocked,
        lake=lake,
        steps=_steps(run),
        catch_up=run.options.covers.told if run.options.covers else "",
    )


def _of_lake(
    declared: Sequence[Source], con: duckdb.DuckDBPyConnection
) -> tuple[tuple[SourceArrivals, ...], tuple[TableReport, ...]]:
    """What arrived, and the sizes of the tables that it is in; no time that is personal."""
    arrived = arrivals(con)
    times = {
        f"raw_{source.name}": source.event_time
        for source in declared
        if source.event_time not in source.personal
    }
    return arrived, lake_sizes(con, {found.table: times.get(found.table) for found in arrived})


def _steps(run: Run) -> dict[str, tuple[str, ...]]:
    """What to do about each rule that blocks, or for which files were refused, by its id."""
    rules = known_rules()
    summaries = {f"{s.schema_name}.{s.table_name}": run.summaries.get(s.name) for s in run.sources}
    refused = {
        rule.id: next_step_of(rule, summary)
        for rule in rules.values()
        if rule.boundary == "raw" and (summary := summaries.get(rule.table)) is not None
    }
    return {rule_id: (step,) for rule_id, step in refused.items() if step} | {
        result.rule_id: next_steps(result, rules.get(result.rule_id), _lineage(run))
        for result in (run.gate.results if run.gate else ())
        if is_blocking(result)
    }


def _trends(run: Run) -> tuple[Trend, ...]:
    """How the served tables, and the files of the lake's, went on."""
    from expectations.history import open_history
    from expectations.trends import trends_of

    tables = run.release.tables if run.release else {}
    personal = run.release.personal if run.release else {}
    with open_history(run.settings) as history:
        subjects = [
            name for name in history.subjects() if name in tables or name.startswith("raw_")
        ]
        return trends_of(history, subjects, personal)


def _missing(run: Run) -> tuple[TableMissing, ...]:
    """What the served release lacks; tested anew only after something was published."""
    from expectations.missing import keep_analyses, known_analyses, missing_of_release

    if run.release is None:
        return ()
    known = known_analyses(run.settings)
    if run.trace.get("publish", run.trace["report"]).status == "skipped":
        return tuple(known[name] for name in sorted(known) if name in run.release.tables)
    personal = {table: frozenset(names) for table, names in run.release.personal.items()}
    with suppress(duckdb.Error, ClearwaterError):
        database = run.settings.database(folder(run.settings, run.release.id))
        found = missing_of_release(run.settings, database, known, personal=personal)
        keep_analyses(run.settings, found)
        return found
    return ()


def _message(run: Run) -> str:
    if run.failure is not None:
        return str(run.failure).removesuffix(IN_REPORT)
    if run.build is not None:
        return "The build passed its gate and is not published yet."
    return ""


def _lineage(run: Run) -> Mapping[str, list[str]]:
    """What each table is made from: of the build that was audited, else of the release."""
    if run.build is not None and run.gate is not None:
        return run.build.lineage
    return run.release.lineage if run.release else {}


def _tables(run: Run) -> tuple[TableReport, ...]:
    """The tables that the gate judged, in the build or, once it is published, in the release.

    Those that are blocked are told as they are in the release that readers see.
    """
    if run.build is None or run.gate is None:
        return _served(run)
    features = {m.relation: m.feature_set for m in run.build.published if m.feature_set}
    built: tuple[TableReport, ...] = ()
    with suppress(duckdb.Error, ClearwaterError):
        database = run.settings.database(run.build.folder)
        built = table_sizes(run.settings, database, _times(features), run.build.personal)
    if not run.blocked:
        return built
    served = (table for table in _served(run) if table.name in run.blocked)
    passed = (table for table in built if table.name not in run.blocked)
    return tuple(sorted([*served, *passed], key=lambda table: table.name))


def _served(run: Run) -> tuple[TableReport, ...]:
    """The tables of the release served; of one that cannot be opened its own word is told."""
    if run.release is None:
        return ()
    features = {f"features.{name}": told for name, told in run.release.features.items()}
    with suppress(duckdb.Error, ClearwaterError):
        database = run.settings.database(folder(run.settings, run.release.id))
        return table_sizes(run.settings, database, _times(features), run.release.personal)
    return tuple(TableReport(name, rows) for name, rows in run.release.tables.items())


def _times(feature_sets: Mapping[str, Mapping[str, Any]]) -> dict[str, set[str]]:
    """The time columns that feature sets and freshness rules name, by table."""
    named: dict[str, set[str]] = {}
    for table, column in (*_fresh_columns(), *_event_times(feature_sets)):
        named.setdefault(table, set()).add(column)
    return named


def _event_times(feature_sets: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for table, declared in feature_sets.items():
        if "event_time" in declared:
            yield table, declared["event_time"]


def _fresh_columns() -> list[tuple[str, str]]:
    return [
        (rule.table, rule.columns[0])
        for rule in known_rules().values()
        if rule.check == "freshness"
    ]


def _sources(run: Run) -> tuple[SourceReport, ...]:
    rules = list(known_rules().values())
    return tuple(
        SourceReport(
            name=name,
            loaded=summary.counts.loaded,
            quarantined=summary.counts.quarantined,
            already_known=summary.counts.already_known,
            refused=summary.counts.refused,
            message="\n".join(told.removeprefix(f"{name}: ") for told in summary.problems),
            notes=tuple(notes_of(summary, rules)),
        )
        for name, summary in run.summaries.items()
    )
