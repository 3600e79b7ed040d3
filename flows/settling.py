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
NO_SPACE = "The disk was full; it is tried again when there is space."


def at_work(settings: Settings) -> list[LiveRun]:
    """The scheduled runs whose processes live."""
    return [live for live in live_runs.known(settings) if live.scheduled and live.process.alive]


def settle_ended(
    settings: Settings, api: Api, book: TickBook, *, was_stopped: bool = False
) -> None:
    """Settle all runs whose processes are gone, as `settle` does one."""
    for live in live_runs.known(settings):
        if not live.process.alive:
            settle(settings, api, book, live, was_stopped=was_stopped)


def settle(
    settings: Settings, api: Api, book: TickBook, live: LiveRun, *, was_stopped: bool = False
) -> str:
    """Tell the server how a run ended whose process is gone, and the book what it handled.

    The ticks of a run that crashed are due again; that counts as a try unless it `was_stopped`. The
    state in which the server shows the run is returned.
    """
    kind = _settle(api, live)
    if live.scheduled:
        if live.state or kind != "CRASHED":
            book.handled(live.handles)
        elif not was_stopped:
            book.crashed(live.handles)
    live_runs.forget(settings, live.id)
    return kind


def put_back(settings: Settings, api: Api, run: str) -> bool:
    """Let the server show a run as planned that ended for want of space; its ticks are due still.

    Not one that somebody has cancelled or deleted meanwhile: then False.
    """
    kind = _shown(api, run)
    if kind != "SCHEDULED":
        if kind not in ("RUNNING", "PENDING"):
            return False
        _close(api, run, "SCHEDULED", NO_SPACE)
    live_runs.forget(settings, run)
    return True


def end_cancelled(settings: Settings, api: Api, book: TickBook) -> bool:
    """End the processes of runs that somebody cancelled in the UI; says whether there were some."""
    ended = False
    for run in api.unfinished():
        if run["state_type"] != "CANCELLING":
            continue
        live = live_runs.find(settings, run["id"])
        if live:
            stop(live.process, patience_seconds=STOP_SECONDS)
            book.handled(live.handles)
            live_runs.forget(settings, live.id)
        _close(api, run["id"], "CANCELLED", CANCELLED)
        ended = True
    return ended


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
    kind = _shown(api, live.id)
    if kind not in UNFINISHED:
        return kind
    if live.state:
        return _close(api, live.id, live.state, live.message)
    if kind == "CANCELLING":
        return _close(api, live.id, "CANCELLED", CANCELLED)
    return _close(api, live.id, "CRASHED", GONE)


def _shown(api: Api, run: str) -> str:
    """The run's state as the server has it."""
    try:
        return str(api.flow_run(run)["state_type"])
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return "CANCELLED"  # somebody deleted it
        raise


def _close(api: Api, run: str, kind: str, message: str) -> str:
    """Put what is left open of the run's tasks, and then the run, into the state."""
    for task in api.unfinished_tasks(run):
        api.set_task_state(task["id"], state("COMPLETED" if kind == "COMPLETED" else "CRASHED"))
    api.set_state(run, state(kind, message))
    return kind


def _changed(run: Json) -> datetime:
    return datetime.fromisoformat(run["state"]["timestamp"]).astimezone(UTC)
