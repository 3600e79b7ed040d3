"""The stages of a run, in their order: plain functions over it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING

from expectations.auditor import start_auditor
from expectations.gate import GateResult, TableScope
from flows.domains import blocked, blocks, composed, is_news, passed
from flows.exporting import exporting
from flows.failures import machine_fault
from flows.retrying import wait_for
from flows.run import Run
from flows.standing import audit_served
from warehouse import releases
from warehouse.build import Build, build, finish, rows_of
from warehouse.compaction import compact
from warehouse.errors import BuildError, GateBlockedError, ReportError
from warehouse.features import extract, prune_features
from warehouse.ingest import land_sources, load_sources
from warehouse.lake import catalog_snapshot, has_same_data, lake_identity
from warehouse.settings import Settings
from warehouse.sources import Source
from warehouse.wording import counted

if TYPE_CHECKING:
    from expectations.rules import Rule
    from warehouse.dbt_runner import Project
    from warehouse.releases import Release

HELD = "the line is held after a rollback; `clearwater resume` goes on"


def land(run: Run) -> None:
    """Keep the bytes of every file that stands at the sources."""
    run.arrivals = land_sources(
        run.settings, run.sources, again=wait_for(run), progress=run.events.progress
    )
    run.summaries = run.arrivals.summaries
    seen = len(run.arrivals.batch_ids)
    run.done(f"{run.arrivals.new_files:,} new of {counted(seen, 'file')}")


def load(run: Run) -> None:
    """Load what landed and is not in the lake yet, a transaction a batch."""
    assert run.arrivals is not None
    from expectations.examining import examiner
    from expectations.overdue import overdue
    from expectations.rule_files import load_rules

    with examiner(run.settings, run.sources, load_rules()) as examined:
        run.summaries, run.lake_snapshot = load_sources(
            run.settings,
            run.sources,
            run.arrivals,
            run.run_id,
            examined,
            run.loaded,
            run.events.progress,
        )
    run.unlike = examined.kinds if examined else {}
    for line in compact(run.settings):
        run.events.note(line)
    for name, told in overdue(run.arrivals.deliveries, run.started_at):
        run.summaries[name] = replace(run.summaries[name], overdue=told)
    counts = [summary.counts for summary in run.summaries.values()]
    total = sum(counts[1:], start=counts[0])
    refused = f"{total.refused:,} in refused files" if total.refused else "0 refused"
    run.done(
        f"{counted(total.loaded, 'row')} loaded, {total.quarantined:,} quarantined,"
        f" {total.already_known:,} already known, {refused}",
        rows=total.rows_in,
    )


def build_warehouse(run: Run) -> None:
    """Build the models into a private file, from the base release where it helps."""
    if run.lake_snapshot is None:
        run.lake_snapshot = catalog_snapshot(run.settings)
    if releases.held_at(run.settings) is not None:
        run.done(HELD, status="skipped")
        return
    # Snapshots of another lake say nothing about this one.
    is_ours = run.release is not None and run.release.lake == lake_identity(run.settings)
    base = run.release if is_ours else None
    if base is not None and not run.options.full_refresh and _up_to_date(run, base):
        run.is_up_to_date = True
        run.done(f"nothing new since release {base.id}", status="skipped")
        return
    if "audit" in run.stages and run.auditor is None:
        run.auditor = start_auditor()
    built = build(
        run.settings,
        base,
        run.lake_snapshot,
        full=run.options.full_refresh,
        check=partial(_check_columns, run),
        progress=run.events.progress,
    )
    if not built.models:
        releases.sweep_builds(run.settings, keep_newest=False)
        run.done("no model reads these sources; their rows are in the lake", status="skipped")
        return
    for failure in built.failed.values():
        if fault := machine_fault(BuildError(failure.what)):
            raise fault
    run.unbuilt = dict(built.failed)
    run.build = built
    names = ", ".join(sorted(built.incomplete))
    left_out = f"; left out, for some of their sources are not loaded: {names}" if names else ""
    failed = "".join(f"; {name} failed" for name in built.failed)
    run.done(f"{counted(len(built.models), 'model')}, {len(built.fresh)} in full{left_out}{failed}")


def _check_columns(run: Run, project: Project) -> None:
    """Refuse a rule for what no model makes, before anything is built."""
    from expectations.known_columns import NOTHING, mistakes, of_lake, of_project
    from expectations.rule_files import load_rules

    rules = _audited(load_rules())
    needs_lake = any(rule.lake_table for rule in rules)
    lake = of_lake(run.settings, run.declared) if needs_lake else NOTHING
    for mistake in mistakes(rules, of_project(project, lake)):
        raise mistake


def check_raw_rules(settings: Settings, sources: Sequence[Source]) -> None:
    """Refuse a raw rule that no file can be judged by, before anything is landed."""
    from expectations.known_columns import mistakes, of_lake
    from expectations.rule_files import load_rules

    if rules := [rule for rule in load_rules() if rule.boundary == "raw"]:
        for mistake in mistakes(rules, of_lake(settings, sources, may_grow=True)):
            raise mistake


def _up_to_date(run: Run, base: Release) -> bool:
    from expectations.rule_files import load_rules
    from warehouse.dbt_runner import project_hash

    assert run.lake_snapshot is not None
    return (
        base.is_whole
        and base.project == project_hash()
        and base.rules == {rule.id: rule.hash for rule in _audited(load_rules())}
        and has_same_data(run.settings, base.lake_snapshot, run.lake_snapshot)
    )


def _audited(rules: list[Rule]) -> list[Rule]:
    """The rules that the gate reads; those of the raw boundary have judged what was loaded."""
    return [rule for rule in rules if rule.boundary != "raw"]


def audit(run: Run) -> None:
    """Let the gate judge the build; a domain with the verdict block or error is not published.

    Without a build, the rules that look at the clock are judged on the release served. Raises
    GateBlockedError when no domain may be published.
    """
    if run.build is None:
        audit_served(run)
        return
    from expectations.gate import audit as judge_here
    from expectations.known_columns import mistakes, of_build
    from expectations.rule_files import load_rules

    rules = _audited(load_rules())
    for mistake in mistakes(rules, of_build(run.build)):  # they may have changed since
        raise mistake
    run.lineage = run.build.lineage
    built, base = run.build, run.build.base
    judged = [model for model in built.published if model.domain not in built.failed]
    earlier = GateResult.from_json(json.dumps(base.gate)).results if base else ()
    auditor, run.auditor = run.auditor, None  # it audits once; a retry has none
    judge = auditor.audit if auditor else judge_here
    run.gate = judge(
        run.settings,
        run.settings.database(built.folder),
        {model.relation: _scope(built, model.name) for model in judged},
        [rule for rule in rules if built.domains.get(rule.table) not in built.failed],
        carried={result.rule_id: result for result in earlier},
        base_rule_hashes=base.rules if base else {},
        run_id=run.run_id,
        lake_snapshot=built.lake_snapshot,
        domains=built.domains,
        lineage=built.lineage,
        progress=run.events.progress,
    )
    if run.gate.lag:
        run.events.note(f"what the tables look like was not remembered: {run.gate.lag}")
    run.rules = {rule.id: rule.hash for rule in rules}
    built.write_gate(json.dumps({"gate": asdict(run.gate), "rules": run.rules}))
    _judge(run, built, run.gate)
    checked = sum(result.status != "carried" for result in run.gate.results)
    of_all = f"of {len(run.gate.results)}"
    free = f", {' and '.join(run.passed)} passed" if run.passed else ""
    run.done(f"verdict {run.gate.verdict}{free}: {counted(checked, 'rule')} checked {of_all}")


def _judge(run: Run, built: Build, gate: GateResult) -> None:
    """Raise the failure when no domain may be published; else keep it for the run's end."""
    if found := blocks(built, gate):
        held = [m.relation for m in built.published if m.domain in found]
        run.blocked = rows_of(run.settings, built, held)
        failure = blocked(built, found, run.release)
        run.passed = tuple(passed(built, found))
        if not run.passed:
            raise failure
        run.failure = failure


def _scope(built: Build, name: str) -> TableScope:
    model = built.models[name]
    scope = TableScope(model.relation, personal=model.personal, materialized=model.materialized)
    if name in built.fresh or model.changed_rows is None:
        return scope
    changed = model.changed_rows
    return replace(scope, changed=changed.relation, key=changed.key)


def publish(run: Run) -> None:
    """Make what passed of the build the current release in one atomic step."""
    if run.build is None or releases.held_at(run.settings) is not None:
        run.done(HELD if run.build else "no build", status="skipped")
        return
    built, gate, serving = run.build, run.gate, run.release
    if gate is None:
        raise GateBlockedError(
            "the build has no passing verdict",
            where=built.id,
            next_step="run `clearwater audit` first",
        )
    _judge(run, built, gate)
    release = composed(run.settings, built, gate, run.rules, run.run_id, serving)
    if not (run.options.full_refresh or is_news(run.settings, release, built, serving)):
        run.done("nothing new but what is blocked", status="skipped")
        return
    held = {name: line.tables for name, line in release.domains.items() if line.held}
    run.tables = finish(run.settings, built, held=held, serving=serving)
    release = replace(release, tables=run.tables)
    releases.publish(run.settings, built.folder, release)
    run.release, run.build = release, None
    removed = releases.prune(run.settings)
    pruned = f", {len(removed)} old removed" if removed else ""
    old = f", {' and '.join(held)} as before" if held else ""
    run.done(f"release {release.id}{old}{pruned}", rows=sum(run.tables.values()))


def features(run: Run) -> None:
    """Extract every feature set of the current release that is not extracted yet."""
    prune_features(run.settings)
    if run.release is None:
        run.done("nothing is published", status="skipped")
        return
    total = len(run.release.features)
    for done, name in enumerate(run.release.features):
        run.events.progress(done, total, "feature set", name)
        extract(run.settings, run.release, name)
    rows = sum(run.release.tables.get(f"features.{name}", 0) for name in run.release.features)
    run.done(counted(len(run.release.features), "feature set"), rows=rows)


def report(run: Run) -> None:
    """Write the run's report; also for a run that was blocked or failed.

    What is published stays so, whatever keeps the report from being written.
    """
    from flows.reporting import write

    try:
        run.report = write(run)
    except Exception as error:
        if machine_fault(error) is not None:
            raise
        told = str(error).partition("\n")[0]
        raise ReportError(
            f"the report cannot be written: {type(error).__name__}: {told}",
            where=str(run.settings.reports),
            next_step="what the run did before stands; `clearwater report` tries again",
        ) from error
    run.done(f"{run.report}")


STAGES: dict[str, Callable[[Run], None]] = {
    "land": land,
    "load": load,
    "build": build_warehouse,
    "audit": audit,
    "publish": exporting(publish),
    "features": features,
    "report": report,
}
