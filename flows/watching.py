"""From a run to its incidents: what failed in it, what it checked, and who is told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from expectations.following import follow
from expectations.gate import GateResult, RuleResult, verdict
from expectations.incidents import FLAPPING, Observation, Symptom, Tracked
from expectations.root_causes import (
    BUILD,
    NOTHING_NEW,
    OVERDUE,
    REFUSED,
    STAGE,
    STALE,
    Failure,
    Lineage,
    Weight,
)
from expectations.rules import LEARNED
from flows.domains import known_rules
from flows.standing import standing
from warehouse.errors import BuildError, ClearwaterError, GateBlockedError
from warehouse.wording import counted

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from expectations.rules import Rule
    from flows.alerts import News, Receiver
    from flows.pipeline import Run
    from warehouse.incident_log import IncidentLog
    from warehouse.settings import Settings

REFUSED_BATCH = "refused_batch"
# A failure here leaves the release as good as it is.
AFTER_PUBLISHING = ("features", "report")


def watch(run: Run) -> None:
    """Take the incidents on by the stages that no earlier call has looked at.

    Never fails the run: where the incidents cannot be noted, a line says so.
    """
    stages = frozenset(run.trace) - run.watched
    run.watched |= stages
    if not stages or _is_stopped(run):
        return
    from warehouse.incident_log import open_incident_log

    try:
        seen = _observation(run, stages)
        with open_incident_log(run.settings) as log:
            rows = log.rows(closed_since=seen.at - FLAPPING)
            known = {row["id"]: Tracked.from_row(row) for row in rows}
            after = follow(list(known.values()), seen)
            changed = [t for t in after if known.get(t.incident.id) != t]
            log.save(tracked.row() for tracked in changed)
    except ClearwaterError as error:
        run.events.note(f"the incidents lag, the data does not: {error.what}")
        return
    for tracked in changed:
        _tell(run, known.get(tracked.incident.id), tracked)


def _is_stopped(run: Run) -> bool:
    """Whether a person stopped it, which proves nothing."""
    return run.crash is not None and not isinstance(run.crash, Exception)


def _tell(run: Run, before: Tracked | None, now: Tracked) -> None:
    """A line for an incident that opened, came back, is worse, better or over; else none."""
    incident = now.incident
    if not now.is_open:
        run.events.note(f"incident {incident.id} is closed, was: {incident.title}")
    elif before is None or not before.is_open:
        word = "opened" if before is None else "is back"
        run.events.note(f"incident {incident.id} {word}, {incident.severity}: {incident.title}")
    elif incident.severity == "warning" and before.incident.severity == "critical":
        run.events.note(f"incident {incident.id} is a warning now: {incident.title}")
    elif now.news_at > before.news_at:
        run.events.note(f"incident {incident.id} got worse: {incident.title}")


def send_alerts(run: Run) -> None:
    """Tell each receiver, in at most one message, what it does not know yet of the incidents.

    Never fails the run: what could not be sent is told in a line, and sent with the next run.
    """
    from flows import alerts

    receivers = alerts.receivers(run.settings.alert_urls)
    if not receivers or not run.trace or _is_stopped(run):
        return
    from warehouse.incident_log import open_incident_log

    outcome = alerts.Outcome(
        home=run.settings.home,
        run_id=run.run_id,
        status=run.status,
        release=run.release.id if run.release else None,
        report=run.report,
    )
    try:
        with open_incident_log(run.settings) as log:
            due = _due(run.settings, log, receivers)
            problems = alerts.deliver(
                {receiver: alerts.message(items, outcome) for receiver, items in due.items()}
            )
            sent = [receiver for receiver in due if receiver not in problems]
            for receiver in sent:
                told = {item.tracked.incident.id: item.told for item in due[receiver]}
                log.note_told(receiver.name, told)
    except ClearwaterError as error:
        run.events.note(f"the alerts lag, the data does not: {error.what}")
        return
    for receiver, problem in problems.items():
        run.events.note(
            f"the alert to {receiver.name} was not sent: {problem}; the next run tries again"
        )
    for receiver in sent:
        count = counted(len(due[receiver]), "incident")
        run.events.note(f"an alert of {count} was sent to {receiver.name}")


def _due(
    settings: Settings, log: IncidentLog, receivers: list[Receiver]
) -> dict[Receiver, list[News]]:
    """What each receiver does not know yet, for those for whom there is something."""
    from flows.alerts import THRESHOLDS, news

    now, least = datetime.now(UTC), THRESHOLDS[settings.alert_severity]
    incidents = [Tracked.from_row(row) for row in log.rows(closed_since=now - FLAPPING)]
    found = {
        receiver: news(incidents, log.told(receiver.name), least, now) for receiver in receivers
    }
    return {receiver: items for receiver, items in found.items() if items}


def _observation(run: Run, stages: AbstractSet[str]) -> Observation:
    """What these stages of the run saw."""
    gate = _gate(run, stages)
    failures = [
        *_refusals(run, stages),
        *_stale(run, stages),
        *_raw_warnings(run, stages),
        *_stage_failures(run, stages),
    ]
    if gate is not None:
        failures += _gate_failures(gate)
    checked = _Checked(run, stages, gate)
    return Observation(
        at=datetime.now(UTC),
        failures=tuple(failures),
        lineage=_lineage(run, failures),
        checked=checked,
        removed=checked.is_removed,
    )


def _gate(run: Run, stages: AbstractSet[str]) -> GateResult | None:
    """The results that speak of the newest state: this run's, or the release's if it is that."""
    if "audit" in stages and run.gate is not None:
        return run.gate
    if "build" in stages and run.is_up_to_date:
        return standing(run)
    if "audit" in stages and run.clock:  # served, though it is not the newest
        return GateResult(verdict(run.clock), run.clock, 0.0)
    return None


def _refusals(run: Run, stages: AbstractSet[str]) -> Iterator[Failure]:
    """A failure for each reason for which files of a source were refused, or are not there."""
    if "land" not in stages:
        return
    tables = {source.name: f"{source.schema_name}.{source.table_name}" for source in run.sources}
    for name, summary in run.summaries.items():
        found: dict[str, list[str]] = {}
        for kind, told in summary.reasons:
            found.setdefault(kind, []).append(told)
        for kind, (first, *more) in found.items():
            detail = f"{first} (and {len(more):,} more)" if more else first
            declared_in = _declared_in(run)
            symptom = Symptom(REFUSED_BATCH, tables[name], "raw", detail, declared_in, kind)
            refers_to, unlike = _referred_by(first, tables[name]), _unlike_of(kind)
            yield Failure(symptom, Weight.CRITICAL, REFUSED, refers_to=refers_to, unlike=unlike)


def _referred_by(refusal: str, table: str) -> str:
    """The table in which rows have no counterpart, where the refusal is for a rule on that."""
    from flows.raw_results import is_refused_for

    rules = (rule for rule in known_rules().values() if rule.table == table)
    return next((r.references_table for r in rules if is_refused_for(r, refusal)), "")


def _unlike_of(kind: str) -> tuple[str, ...]:
    """What is unlike before, where that is the kind of a refusal: it begins with the rule."""
    rule_id, _, unlike = kind.partition(": ")
    rule = known_rules().get(rule_id)
    return (unlike,) if rule is not None and rule.check in LEARNED else ()


def _stale(run: Run, stages: AbstractSet[str]) -> Iterator[Failure]:
    """A failure for each way in which a source is stale."""
    if "load" not in stages:
        return
    for source in run.sources:
        summary = run.summaries.get(source.name)
        told = {NOTHING_NEW: summary.nothing_new, OVERDUE: summary.overdue} if summary else {}
        for rule_id, detail in told.items():
            if detail:
                table = f"{source.schema_name}.{source.table_name}"
                symptom = Symptom(rule_id, table, "raw", detail, _declared_in(run))
                yield Failure(symptom, Weight.WARNING, STALE)


def _declared_in(run: Run) -> str:
    return str(run.options.sources.resolve())


def _raw_warnings(run: Run, stages: AbstractSet[str]) -> Iterator[Failure]:
    """A failure for each rule of the raw boundary that loaded files, or rows of them, break."""
    told = {name: summary for name, summary in run.summaries.items() if summary.told}
    if "load" not in stages or not told:
        return
    from expectations.rule_files import load_rules
    from flows.raw_results import warnings_of

    tables = {
        f"{s.schema_name}.{s.table_name}": told[s.name] for s in run.sources if s.name in told
    }
    for rule in load_rules():
        if rule.table in tables and rule.severity != "info":
            detail = "; ".join(warnings_of(rule, tables[rule.table]))
            if detail:
                symptom = Symptom(rule.id, rule.table, "raw", detail, _declared_in(run))
                columns = ", ".join(sorted(rule.columns))
                about = (columns, True, rule.references_table, run.unlike.get(rule.id, ()))
                yield Failure(symptom, Weight.WARNING, rule.check, *about)


def _stage_failures(run: Run, stages: AbstractSet[str]) -> Iterator[Failure]:
    """The models that do not build, or the stage that ended with an error; no verdict of a gate."""
    if "build" in stages:
        for failure in run.unbuilt.values():
            yield from _unbuilt(failure.relations, failure.what)
    for name in stages:
        trace = run.trace[name]
        if trace.status != "failed":
            continue
        if name == "build" and isinstance(run.failure, BuildError) and run.failure.failed:
            yield from _unbuilt(run.failure.failed, trace.detail)
        elif not (name in ("audit", "publish") and isinstance(run.failure, GateBlockedError)):
            weight = Weight.CRITICAL if name in AFTER_PUBLISHING else Weight.BLOCKING
            yield Failure(Symptom("stage", name, "run", trace.detail), weight, STAGE)


def _unbuilt(relations: Iterable[str], why: str) -> Iterator[Failure]:
    """A failure for each model that does not build, with the reason for the first of them."""
    for number, relation in enumerate(relations):
        detail = why if number == 0 else "does not build"
        symptom = Symptom("build", relation, "build", detail)
        yield Failure(symptom, Weight.BLOCKING, BUILD, is_by_rows=True)


def _gate_failures(gate: GateResult) -> Iterator[Failure]:
    failed = [result for result in gate.results if _is_failure(result)]
    if not failed:
        return
    from expectations.rule_files import load_rules
    from expectations.rules import ROW_LEVEL

    rules = {rule.id: rule for rule in load_rules()}
    for result in failed:
        weight = Weight.WARNING if result.status == "warn" else Weight.BLOCKING
        rule = rules.get(result.rule_id)
        subject = _subject(rule, result)
        refers_to = rule.references_table if rule and result.status != "error" else ""
        is_by_rows = result.status != "error" and result.check in ROW_LEVEL | {"columns"}
        for kind, told in result.kinds or (("", result.detail),):
            symptom = Symptom(result.rule_id, result.table, result.boundary, told, kind=kind)
            unlike = (kind,) if kind else ()
            yield Failure(symptom, weight, result.check, subject, is_by_rows, refers_to, unlike)


def _is_failure(result: RuleResult) -> bool:
    return result.status in ("fail", "error", "warn")


def _subject(rule: Rule | None, result: RuleResult) -> str:
    """What two rules of one kind have in common if one fault upstream breaks both."""
    if rule is None:
        return result.table  # such as a table without rules: nothing that others share
    if rule.check in ("freshness", "row_count", "columns"):
        return ""
    return ", ".join(sorted(rule.columns)) or rule.expression


def _lineage(run: Run, failures: list[Failure]) -> Lineage:
    """What each table reads; empty where it is not known, or nobody asks."""
    if len({failure.symptom.table for failure in failures}) < 2:
        return {}
    if run.lineage or not any(failure.check == BUILD for failure in failures):
        return run.lineage
    from warehouse.dbt_runner import parse

    models = parse(run.settings).models.values()
    return {model.relation: sorted(model.parents) for model in models}


def _raw_checks() -> set[str]:
    """What may be wrong with the files of a source: the rules of the raw boundary, and our own."""
    from expectations.rule_files import load_rules

    rules = {rule.id for rule in load_rules() if rule.boundary == "raw"}
    return {REFUSED_BATCH, NOTHING_NEW, OVERDUE, *rules}


class _Checked:
    """Whether the stages would have seen a symptom failing: then it is over if they did not."""

    def __init__(self, run: Run, stages: AbstractSet[str], gate: GateResult | None) -> None:
        self._stages = {name for name in stages if run.trace[name].status == "done"}
        if run.is_up_to_date:  # what the release was made by is what would be done again
            self._stages |= stages & {"build", "audit", "publish"}
        if "audit" in stages and isinstance(run.failure, GateBlockedError):
            self._stages.add("audit")  # it did its work
        self._tables = {f"{source.schema_name}.{source.table_name}" for source in run.sources}
        self._judged = {result.rule_id for result in gate.results} if gate else set()
        release_rules = run.release.rules if run.release else {}
        self._rules = run.rules or release_rules
        self._gate = gate
        self._declared_in = _declared_in(run)
        self._declared = {f"{source.schema_name}.{source.table_name}" for source in run.declared}
        self._looked_at = {
            f"{source.schema_name}.{source.table_name}"
            for source in run.sources
            if run.arrivals is not None and source.name in run.arrivals.deliveries
        }
        self._summaries = {
            f"{source.schema_name}.{source.table_name}": run.summaries[source.name]
            for source in run.sources
            if source.name in run.summaries
        }

    def __call__(self, symptom: Symptom) -> bool:
        if symptom.boundary == "run":
            return symptom.table in self._stages
        if symptom.boundary == "build":
            return "build" in self._stages
        if symptom.rule_id == REFUSED_BATCH:
            return {"land", "load"} <= self._stages and symptom.table in self._tables
        if symptom.rule_id == OVERDUE:
            return "load" in self._stages and symptom.table in self._looked_at
        if symptom.boundary == "raw":
            return "load" in self._stages and self._is_of_a_new_file(symptom)
        return self._gate is not None and symptom.rule_id in self._judged

    def _is_of_a_new_file(self, symptom: Symptom) -> bool:
        """Whether a file came and was loaded of which it is known whether it is better."""
        from flows.raw_results import looked_at

        summary, rule = self._summaries.get(symptom.table), known_rules().get(symptom.rule_id)
        if summary is None or rule is None:
            return summary is not None and bool(summary.batches)
        return bool(looked_at(rule, summary.judged))

    def is_removed(self, symptom: Symptom) -> bool:
        """Whether the symptom's source, model or rule is no longer there."""
        if symptom.boundary == "raw":
            return "load" in self._stages and (
                self._is_undeclared(symptom) or symptom.rule_id not in _raw_checks()
            )
        # A rule that waits for its table is still there.
        is_of_the_gate = symptom.boundary not in ("build", "run")
        return is_of_the_gate and self._gate is not None and symptom.rule_id not in self._rules

    def _is_undeclared(self, symptom: Symptom) -> bool:
        """Whether the file that named the symptom's source does so no more.

        Another file's sources are not this run's to judge, unless that file is gone.
        """
        file = symptom.declared_in
        is_another = file not in ("", self._declared_in) and Path(file).exists()
        return not is_another and symptom.table not in self._declared
