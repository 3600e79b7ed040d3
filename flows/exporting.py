"""What a run publishes is exported, too, where a place is named for that."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from flows.failures import machine_fault
from warehouse.errors import ClearwaterError, ConfigurationError, ExportError, GateBlockedError
from warehouse.export_places import export_place, refuse_foreign
from warehouse.exporting import export
from warehouse.wording import counted

if TYPE_CHECKING:
    from flows.pipeline import Run


def exporting(publish: Callable[[Run], None]) -> Callable[[Run], None]:
    """The stage `publish`, which exports the release that is served then.

    Also where nothing was published: an export that failed is made up for.
    """

    def publish_and_export(run: Run) -> None:
        try:
            publish(run)
        except GateBlockedError:
            export_served(run)
            raise
        export_served(run)

    return publish_and_export


def check_export(run: Run) -> None:
    """Refuse a place that cannot be exported to, before the run begins.

    What stands there is looked at if the command named it. A place that is set for all runs holds
    none of them up: what is foreign there is not touched, and the run says so.
    """
    place = export_to(run)
    if not place or "publish" not in run.stages:
        return
    target = export_place(run.settings, place)
    if run.options.export:
        with suppress(ExportError):  # it may be reached by then
            refuse_foreign(target, place)


def export_to(run: Run) -> str:
    """Where the run exports to; empty if nowhere."""
    return run.options.export or run.settings.export


def export_served(run: Run) -> None:
    """Export the release that is served; a failure is the run's, and the rest of it goes on."""
    place = export_to(run)
    if not place or run.release is None:
        return
    try:
        done = export(run.settings, place)
    except Exception as error:
        fault = machine_fault(error) or (error if isinstance(error, ClearwaterError) else None)
        if fault is None:
            raise
        failure = _failure(run, fault, place)
        run.failure = run.failure or failure
        told = f"not exported: {fault.what}"
    else:
        files = f"{counted(done.files, 'file')} exported to {place}"
        told = files if done.files else f"exported to {place}"
    trace = run.trace.get("publish")
    if trace is not None:
        trace.detail = f"{trace.detail}; {told}" if trace.detail else told


def _failure(run: Run, fault: ClearwaterError, place: str) -> ClearwaterError:
    assert run.release is not None
    kind = ConfigurationError if isinstance(fault, ConfigurationError) else ExportError
    return kind(
        f"release {run.release.id} is served, but not exported: {fault.what}",
        where=fault.where or place,
        next_step=f"{fault.next_step}; the next run tries again, and so does"
        f" `clearwater publish --export {place}`",
    )
