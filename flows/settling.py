"""Keeping the Prefect server's picture true: a run is shown as being at work only while it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from flows import live_runs
from flows.live_runs import LiveRun
from flows.prefect_api import UNFINISHED, Api, ApiError, Json, state
from flows.processes import stop
from flows.server import STOP_SECONDS
from flows.ticks import TickBook
from warehouse.settings import Settings

# A run that was just started: its process has not said yet that it is there.
GRACE = timedelta(seconds=15)
CANCELLED = "It was cancelled."
GONE = "Its process ended before the run did; the next run takes up what is left."


def at_work(settings: Settings) -> list[LiveRun]:
    """The scheduled runs whose processes live."""
    return [live for live in live_runs.known(settings) if live.scheduled and live.process.alive]


def settle_ended(
    settings: Settings, api: Api, book: TickBook, *, was_stopped: bool = False
) -> None:
    """Tell the server how runs ended whose processes are gone, and the book what they handled.

    The ticks of a run that crashed are due again; that counts as a try unless it `was_stopped`.
    """
    for live in live_runs.known(settings):
        if live.process.alive:
            continue
        kind = _settle(api, live)
        if live.scheduled:
            if live.state or kind == "CANCELLED":
                book.handled(live.handles)
            elif not was_stopped:
                book.crashed(live.handles)
        live_runs.forget(settings, live.id)


def end_cancelled(settings: Settings, api: Api, book: TickBook) -> None:
    """End the processes of runs that somebody cancelled in the UI."""
    for run in api.unfinished():
        if run["state_type"] != "CANCELLING":
            continue
        live = live_runs.find(settings, run["id"])
        if live:
            stop(live.process, patience_seconds=STOP_SECONDS)
            book.handled(live.handles)
            live_runs.forget(settings, live.id)
        _close(api, run["id"], "CANCELLED", CANCELLED)


def close_lost(settings: Settings, api: Api, own: str | None) -> None:
    """Mark runs as crashed that are shown as being at work, and of which no process knows.

    `own` is the one that the worker itself has just started.
    """
    for run in api.unfinished():
        # What was told long before the clock was set back is not new.
        is_new = abs(datetime.now(UTC) - _changed(run)) < GRACE
        if run["id"] != own and not is_new and live_runs.find(settings, run["id"]) is None:
            _close(api, run["id"], "CRASHED", GONE)


def close_open_tasks(api: Api) -> None:
    """Close the tasks of ended runs whose end never reached the server, as it was away."""
    now = datetime.now(UTC)
    for task in api.tasks_left_open(now - GRACE, now + GRACE):
        told = "The server was away when it ended; the run tells how."
        api.set_task_state(task["id"], state("CANCELLED", told, name="Unknown"))


def _settle(api: Api, live: LiveRun) -> str:
    """The state in which the run is, once its process is gone."""
    try:
        kind = str(api.flow_run(live.id)["state_type"])
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return "CANCELLED"  # somebody deleted it
        raise
    if kind not in UNFINISHED:
        return kind
    if live.state:
        return _close(api, live.id, live.state, live.message)
    if kind == "CANCELLING":
        return _close(api, live.id, "CANCELLED", CANCELLED)
    return _close(api, live.id, "CRASHED", GONE)


def _close(api: Api, run: str, kind: str, message: str) -> str:
    """Put the run, and what is left open of its tasks, into the state."""
    api.set_state(run, state(kind, message))
    for task in api.unfinished_tasks(run):
        api.set_task_state(task["id"], state("COMPLETED" if kind == "COMPLETED" else "CRASHED"))
    return kind


def _changed(run: Json) -> datetime:
    return datetime.fromisoformat(run["state"]["timestamp"]).astimezone(UTC)
