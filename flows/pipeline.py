"""The pipeline, composed once: the stages over one run, under the writer lock.

`clearwater run` calls the stages directly; the Prefect flow calls the same ones as tasks. Both
leave the same trace in the run ledger.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from expectations.gate import GateResult
from expectations.raw import declared_sources
from flows.events import Events
from flows.exporting import check_export, export_to
from flows.failures import machine_fault
from flows.limits import End, Limits
from flows.options import complain_of
from flows.retrying import tried
from flows.run import Options, Run, StageTrace
from flows.stages import STAGES, check_raw_rules
from flows.telling import begin, conclude, end_log, tell
from flows.watching import send_alerts, watch
from warehouse import releases
from warehouse.build import newest_build
from warehouse.errors import BuildError, ClearwaterError, StageTimeoutError
from warehouse.files import sweep
from warehouse.lake import lake_identity
from warehouse.landing import sweep_landing
from warehouse.lock import writer_lock
from warehouse.settings import Settings
from warehouse.sources import chosen

if TYPE_CHECKING:
    from warehouse.state import RunLedger

__all__ = ["STAGES", "Options", "Run", "StageTrace", "execute"]

StageCall = Callable[[str, Callable[[Run], None], Run], None]


def execute(
    settings: Settings,
    options: Options,
    *,
    stages: tuple[str, ...] = tuple(STAGES),
    call: StageCall = tried,
) -> Run:
    """Run the named stages under the writer lock; a ClearwaterError is in the run's `failure`.

    Raises ConfigurationError for a bad sources file and WriterBusyError before anything is done,
    StoppedError when the process is told to stop.
    """
    from warehouse.state import open_ledger

    run = _new_run(settings, options, stages)
    check_export(run)
    if "land" in stages:
        run.declared = declared_sources(options.sources, settings)
        check_raw_rules(settings, run.declared)
        run.sources = chosen(run.declared, list(options.only))
    with ExitStack() as stack:
        limits = stack.enter_context(Limits(partial(_last_words, run)))
        lock = writer_lock(settings, wait=options.wait, run_id=run.run_id, tell=run.events.note)
        stack.enter_context(lock)
        run.started_at = datetime.now(UTC)  # it may have waited
        _recover(settings, keep_build="build" not in stages)
        stack.callback(_dismiss_auditor, run)
        run.release = releases.current(settings)
        _take_up_build(run, stages)
        ledger = run.ledger = stack.enter_context(open_ledger(settings))
        ledger.start(run.run_id, asked(options, stages), options.trigger)
        begin(run)
        if options.covers:
            run.events.note(f"catch-up  {options.covers.told}")
        stack.callback(conclude, run)
        try:
            _run_stages(run, stages, ledger, call, limits)
        except BaseException as error:
            run.crash = error
            raise
        finally:
            with limits.shielded():
                _note_end(run, ledger)
            watch(run)
            send_alerts(run)
            if ledger.lag is not None:
                run.events.note(f"the run ledger lags, the data does not: {ledger.lag}")
    return run


def asked(options: Options, stages: tuple[str, ...]) -> dict[str, Any]:
    """What a run was asked to do, as the ledger keeps it."""
    return {
        "sources": str(options.sources.expanduser().absolute()),
        "only": list(options.only),
        "full_refresh": options.full_refresh,
        "export": options.export,
        "stages": list(stages),
        "stands_for": list(options.stands_for or stages),
    }


def _note_end(run: Run, ledger: RunLedger) -> None:
    release = run.release.id if run.release else None
    ledger.end(run.run_id, run.status, release, run.summary())


def _last_words(run: Run, end: End) -> None:
    """Note and tell why the process ends at once, from another thread than the run's."""
    if isinstance(end, StageTimeoutError):
        run.failure = end
    else:
        run.crash = end
    if run.ledger is not None:
        for name, trace in run.trace.items():
            if trace.status == "start":
                trace.status, trace.detail = run.status, str(end).partition("\n")[0]
                run.ledger.stage(run.run_id, name, trace.status, None, trace.detail)
                run.events.stage(name, trace.status, detail=trace.detail)
        _note_end(run, run.ledger)
    end_log(run)
    complain_of(end)


def _dismiss_auditor(run: Run) -> None:
    """End the process that a run started and did not come to use."""
    if run.auditor is not None:
        run.auditor.close()


def _new_run(settings: Settings, options: Options, stages: tuple[str, ...]) -> Run:
    now = datetime.now(UTC)
    run_id = f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"
    return Run(settings, options, run_id, Events(options.log or settings.log, run_id), now, stages)


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
    if run.build.lake and run.build.lake != lake_identity(run.settings):
        raise BuildError(
            "the build was made from a lake that another has taken the place of",
            where=run.build.id,
            next_step="run `clearwater build` again",
        )
    kept = run.build.read_gate()
    if kept is not None:
        told = json.loads(kept)
        run.gate, run.rules = GateResult.from_json(json.dumps(told["gate"])), told["rules"]
    run.lake_snapshot = run.build.lake_snapshot


def _run_stages(
    run: Run, stages: tuple[str, ...], ledger: RunLedger, call: StageCall, limits: Limits
) -> None:
    is_over = False  # not yet when the failure is that of one domain: others are published
    for name, function in STAGES.items():
        if name not in stages or (is_over and name != "report"):
            continue
        if name == "report":
            watch(run)  # which shows the incidents
        try:
            _run_stage(run, name, function, ledger, call, limits)
        except Exception as error:
            fault = machine_fault(error) or (error if isinstance(error, ClearwaterError) else None)
            if fault is None:
                raise
            if not is_over:
                run.failure = fault
            is_over = True
        tell(run, name)
        if name == "audit":
            results = run.gate.results if run.gate else run.clock or ()
            ledger.gate(run.run_id, [asdict(result) for result in results])


def _run_stage(
    run: Run,
    name: str,
    function: Callable[[Run], None],
    ledger: RunLedger,
    call: StageCall,
    limits: Limits,
) -> None:
    trace = run.trace[name] = StageTrace("start")
    ledger.stage(run.run_id, name, "running", None, "")
    run.events.stage(name, "start")
    started = time.perf_counter()
    try:
        with limits.stage(name, run.settings.timeouts.get(name)):
            call(name, function, run)
    except BaseException as error:
        trace.status = "failed" if isinstance(error, Exception) else "stopped"
        trace.detail = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise
    finally:
        trace.seconds = round(time.perf_counter() - started, 3)
        ledger.stage(run.run_id, name, trace.status, trace.seconds, trace.detail)
        run.events.stage(
            name, trace.status, detail=trace.detail, seconds=trace.seconds, rows=trace.rows
        )
