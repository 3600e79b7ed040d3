"""`clearwater retry`: a run that did not come to a good end goes on where it stood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.options import Home, Json, Log, LogMode, Wait, print_json, say
from warehouse.settings import load_settings

if TYPE_CHECKING:
    from warehouse.settings import Settings


def retry(
    run_id: Annotated[
        str | None,
        typer.Argument(metavar="[RUN]", help="The run; else the newest that failed."),
    ] = None,
    home: Home = None,
    as_json: Json = False,
    log: LogMode = Log.text,
    wait: Wait = False,
) -> None:
    """Take up a run that failed, was blocked, stopped or crashed, from the stage where it ended.

    Example: clearwater retry
    """
    from flows import pipeline
    from flows.resuming import resumption
    from flows.run_summary import print_run
    from warehouse.errors import WriterBusyError

    settings = load_settings(home)
    found, stages = _found(settings, run_id)
    if found is None or found["status"] == "done":
        _say_no_need(found, as_json=as_json)
        return
    if found["status"] == "running":
        raise WriterBusyError(
            f"run {found['run_id']} is still at work",
            next_step="let it end first; `clearwater status` shows how it went",
        )
    plan = resumption(settings, found, stages, wait=wait, log=log.value)
    if log is Log.text and not as_json:
        say(f"retry     run {plan.run_id} from {plan.stages[0]} on: {plan.why}")
    run = pipeline.execute(settings, plan.options, stages=plan.stages)
    if as_json:
        print_json(run.summary())
    else:
        print_run(run)
    raise typer.Exit(run.exit_code)


def _found(settings: Settings, run_id: str | None) -> tuple[dict[str, Any] | None, dict[str, str]]:
    """The run to take up, None if there is none, and how far each of its stages came."""
    from flows.resuming import failed_run
    from warehouse.state import open_ledger, state_exists

    if not state_exists(settings):
        return failed_run([], run_id), {}
    with open_ledger(settings) as ledger:
        found = failed_run(ledger.newest(), run_id)
        return found, ledger.stages(found["run_id"]) if found else {}


def _say_no_need(found: dict[str, Any] | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"run_id": found["run_id"] if found else None, "retried": False})
    elif found:
        say(f"run {found['run_id']} was done; there is nothing to retry")
    else:
        say("no run has failed that a later one has not made up for; there is nothing to retry")
