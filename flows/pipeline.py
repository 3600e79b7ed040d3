"""The pipeline, composed once: plain functions over one run.

`clearwater run` calls the stages directly; the Prefect flow calls the same ones as tasks. Both
leave the same trace in the run ledger.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expectations.auditor import Auditor, start_auditor
from expectations.gate import GateResult, TableScope
from expectations.raw import declared_sources
from flows.domains import blocked, blocks, composed, is_news, passed
from flows.events import Events, Mode
from flows.exporting import export_to, exporting
from flows.failures import machine_fault
from flows.standing import audit_served, standing
from flows.watching import send_alerts, watch
from warehouse import releases
from warehouse.build import Build, Failure, build, finish, newest_build, rows_of
from warehouse.errors import (
    BuildError,
    ClearwaterError,
    GateBlockedError,
    ReportError,
)
from warehouse.features import extract, prune_features
from warehouse.files import sweep
from warehouse.ingest import Arrivals, SourceSummary, land_sources, load_sources
from warehouse.lake import catalog_snapshot, has_same_data, lake_identity
from warehouse.landing import sweep_landing
from warehouse.lock import writer_lock
from warehouse.settings import PROJECT, Settings
from warehouse.sources import Source, chosen
from warehouse.wording import counted

if TYPE_CHECKING:
    from expectations.gate import RuleResult
    from expectations.rules import Rule
    from warehouse.dbt_runner import Project
    from warehouse.releases import Release
    from warehouse.state import RunLedger

HELD = "the line is held after a rollback; `clearwater resume` goes on"

StageCall = Callable[[str, Callable[["Run"], None], "Run"], None]


@dataclass(frozen=True)
class Options:
    """What a run was asked to do."""

    sources: Path = PROJECT / "sources.yml"
    only: tuple[str, ...] = ()
    full_refresh: bool = False
    wait: bool = False
    log: Mode = "text"
    export: str = ""


@dataclass
class StageTrace:
    """How a stage went."""

    status: str
    seconds: float = 0.0
    rows: int | None = None
    detail: str = ""


@dataclass
class Run:
    """One run: what it was asked, and what each stage leaves for the next.

    `declared` are all sources of the file, `sources` those that were asked for;
    `unbuilt` are the domains with models that failed; `passed` those that passed although others
    are blocked, as `failure` tells then; `blocked` the rows of the build's tables that must not be
    published; `clock` what became, where nothing was built, of rules on the release served.
    """

    settings: Settings
    options: Options
    run_id: str
    events: Events
    started_at: datetime
    stages: tuple[str, ...] = ()
    declared: list[Source] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    arrivals: Arrivals | None = None
    summaries: dict[str, SourceSummary] = field(default_factory=dict)
    lake_snapshot: int | None = None
    build: Build | None = None
    auditor: Auditor | None = None
    gate: GateResult | None = None
    clock: tuple[RuleResult, ...] | None = None
    rules: dict[str, str] = field(default_factory=dict)
    unbuilt: dict[str, Failure] = field(default_factory=dict)
    passed: tuple[str, ...] = ()
    blocked: dict[str, int] = field(default_factory=dict)
    release: Release | None = None
    tables: dict[str, int] = field(default_factory=dict)
    report: Path | None = None
    is_up_to_date: bool = False
    lineage: dict[str, list[str]] = field(default_factory=dict)
    watched: frozenset[str] = frozenset()
    trace: dict[str, StageTrace] = field(default_factory=dict)
    failure: ClearwaterError | None = None
    crash: BaseException | None = None

    def done(self, detail: str, *, rows: int | None = None, status: str = "done") -> None:
        """Say how the stage that is running went."""
        trace = next(trace for trace in self.trace.values() if trace.status == "start")
        trace.status, trace.detail, trace.rows = status, detail, rows

    @property
    def verdict(self) -> str | None:
        """The gate's; where nothing was built, that of the release served if the clock counts."""
        gate = self.gate or (standing(self) if self.clock else None)
        return gate.verdict if gate else None

    @property
    def problems(self) -> list[str]:
        """What went wrong at the sources."""
        return [text for summary in self.summaries.values() for text in summary.problems]

    @property
    def exit_code(self) -> int:
        """0 done; 1 failed or a batch refused; 3 blocked; as the failure says."""
        if self.failure is not None:
            return self.failure.exit_code
        return 1 if self.problems or self.crash else 0

    @property
    def status(self) -> str:
        """done, refused (a batch was, the rest is done), blocked or failed."""
        if isinstance(self.failure, GateBlockedError):
            return "blocked"
        if self.failure is not None or self.crash is not None:
            return "failed"
        return "refused" if self.problems else "done"

    def _broken(self) -> list[dict[str, str]]:
        """The rules of the gate that do not hold, with what was seen, without rows."""
        return [
            {"rule_id": r.rule_id, "table": r.table, "status": r.status}
            | {"detail": r.detail.partition(", e.g.")[0]}
            for r in (self.gate.results if self.gate else self.clock or ())
            if r.status not in ("pass", "carried")
        ]

    def summary(self) -> dict[str, Any]:
        """The run for machines."""
        return {
            "run_id": self.run_id,
            "status": self.status,
            "exit_code": self.exit_code,
            "release": self.release.id if self.release else None,
            "lake_snapshot": self.lake_snapshot,
            "verdict": self.verdict,
            "broken": self._broken(),
            "domains": releases.told_lines(self.release) if self.release else {},
            "held": releases.held_at(self.settings) is not None,
            "stages": {name: asdict(trace) for name, trace in self.trace.items()},
            "sources": {
                name: {
                    "loaded": summary.counts.loaded,
                    "quarantined": summary.counts.quarantined,
                    "already_known": summary.counts.already_known,
                    "refused": summary.counts.refused,
                    "rows_in": summary.counts.rows_in,
                    "deleted": summary.counts.deleted,
                    "batches": summary.batches,
                    "changes": list(summary.changes),
                    "problems": list(summary.problems),
                    "warnings": list(summary.warnings),
                }
                for name, summary in self.summaries.items()
            },
            "tables": self.tables,
            "report": str(self.report) if self.report else None,
            "error": str(self.failure or self.crash) if self.failure or self.crash else None,
        }


def land(run: Run) -> None:
    """Keep the bytes of every file that stands at the sources."""
    run.arrivals = land_sources(run.settings, run.sources)
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
            run.settings, run.sources, run.arrivals, run.run_id, examined
        )
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
        run.settings, base, run.lake_snapshot, full=run.options.full_refresh, check=_check_columns
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


def _check_columns(project: Project) -> None:
    """Refuse a rule for what no model makes, before anything is built."""
    from expectations.known_columns import mistakes, of_project
    from expectations.rule_files import load_rules

    for mistake in mistakes(_audited(load_rules()), of_project(project)):
        raise mistake


def _check_raw_rules(settings: Settings, sources: Sequence[Source]) -> None:
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
        domains=built.domains,
        lineage=built.lineage,
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
    for name in run.release.features:
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


def directly(_name: str, function: Callable[[Run], None], run: Run) -> None:
    """Call a stage as it is."""
    function(run)


def execute(
    settings: Settings,
    options: Options,
    *,
    stages: tuple[str, ...] = tuple(STAGES),
    call: StageCall = directly,
) -> Run:
    """Run the named stages under the writer lock; a ClearwaterError is in the run's `failure`.

    Raises ConfigurationError for a bad sources file and WriterBusyError before anything is done.
    """
    from warehouse.state import open_ledger

    run = _new_run(settings, options, stages)
    if "land" in stages:
        run.declared = declared_sources(options.sources, settings)
        _check_raw_rules(settings, run.declared)
        run.sources = chosen(run.declared, list(options.only))
    with ExitStack() as stack:
        stack.enter_context(writer_lock(settings, wait=options.wait))
        _recover(settings, keep_build="build" not in stages)
        stack.callback(_dismiss_auditor, run)
        run.release = releases.current(settings)
        _take_up_build(run, stages)
        ledger = stack.enter_context(open_ledger(settings))
        ledger.start(run.run_id)
        try:
            _run_stages(run, stages, ledger, call)
        except BaseException as error:
            run.crash = error
            raise
        finally:
            release = run.release.id if run.release else None
            ledger.end(run.run_id, run.status, release, run.summary())
            watch(run)
            send_alerts(run)
            if ledger.lag is not None:
                run.events.note(f"the run ledger lags, the data does not: {ledger.lag}")
    return run


def _dismiss_auditor(run: Run) -> None:
    """End the process that a run started and did not come to use."""
    if run.auditor is not None:
        run.auditor.close()


def _new_run(settings: Settings, options: Options, stages: tuple[str, ...]) -> Run:
    now = datetime.now(UTC)
    run_id = f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    return Run(settings, options, run_id, Events(options.log, run_id), now, stages)


def _recover(settings: Settings, *, keep_build: bool) -> None:
    """Clear what a killed run left half done; the lock is held, so it is nobody's."""
    releases.sweep_builds(settings, keep_newest=keep_build)
    sweep_landing(settings)
    for place in [settings.reports, *settings.reports.glob("*/")]:
        sweep(place)
    settings.dev_db.parent.mkdir(parents=True, exist_ok=True)


def _take_up_build(run: Run, stages: tuple[str, ...]) -> None:
    """For `audit` and `publish` on their own: the build that `build` left."""
    if "build" in stages or not {"audit", "publish"} & set(stages):
        return
    run.build = newest_build(run.settings)
    if run.build is None:
        if run.release is not None and "audit" not in stages and export_to(run):
            return
        raise BuildError("there is no build", next_step="run `clearwater build` first")
    kept = run.build.read_gate()
    if kept is not None:
        told = json.loads(kept)
        run.gate, run.rules = GateResult.from_json(json.dumps(told["gate"])), told["rules"]
    run.lake_snapshot = run.build.lake_snapshot


def _run_stages(run: Run, stages: tuple[str, ...], ledger: RunLedger, call: StageCall) -> None:
    is_over = False  # not yet when the failure is that of one domain: others are published
    for name, function in STAGES.items():
        if name not in stages or (is_over and name != "report"):
            continue
        if name == "report":
            watch(run)  # which shows the incidents
        try:
            _run_stage(run, name, function, ledger, call)
        except Exception as error:
            fault = machine_fault(error) or (error if isinstance(error, ClearwaterError) else None)
            if fault is None:
                raise
            if not is_over:
                run.failure = fault
            is_over = True
        if name == "audit":
            results = run.gate.results if run.gate else run.clock or ()
            ledger.gate(run.run_id, [asdict(result) for result in results])


def _run_stage(
    run: Run, name: str, function: Callable[[Run], None], ledger: RunLedger, call: StageCall
) -> None:
    trace = run.trace[name] = StageTrace("start")
    ledger.stage(run.run_id, name, "running", None, "")
    run.events.stage(name, "start")
    started = time.perf_counter()
    try:
        call(name, function, run)
    except BaseException as error:
        trace.status = "failed"
        trace.detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise
    finally:
        trace.seconds = round(time.perf_counter() - started, 3)
        ledger.stage(run.run_id, name, trace.status, trace.seconds, trace.detail)
        run.events.stage(
            name, trace.status, detail=trace.detail, seconds=trace.seconds, rows=trace.rows
        )
