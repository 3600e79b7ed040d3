"""The pipeline as a Prefect flow: the same stages as tasks, with retries, for schedules and UI.

Importing this imports Prefect: only the worker's fork server does, once for all runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import util
from shutil import disk_usage
from threading import Timer
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import State, flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import StateType, TaskRun
from prefect.flow_engine import load_flow_run, run_flow

from flows import live_runs
from flows.artifacts import put_artifacts
from flows.failures import lacks_space
from flows.fork_server import NO_SPACE
from flows.live_runs import LiveRun, end_by, end_of
from flows.options import complain
from flows.prefect_api import FLOW, Api, ApiError
from flows.retrying import JITTER, RETRY_DELAYS_SECONDS, note, passes_by_itself
from warehouse.processes import this_process
from warehouse.settings import load_settings

if TYPE_CHECKING:
    from prefect.tasks import Task

    from flows.fork_server import Order
    from flows.run import Run

LEAST_BYTES = 2**20  # with less free the server cannot keep its database
FAREWELL_SECONDS = 20.0  # for telling the server the end of a run


def may_pass(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether the stage failed of something that may be gone soon, for Prefect."""
    failure = state.result(raise_on_failure=False)
    return isinstance(failure, BaseException) and passes_by_itself(failure)


def as_task(name: str, function: Callable[[Run], None], run: Run) -> None:
    """Run one stage as a Prefect task of its name."""
    tries = 0

    # The run is no parameter of the task: Prefect would take it apart, hash it and send it.
    @task(
        name=name,
        retries=len(RETRY_DELAYS_SECONDS),
        retry_delay_seconds=list(RETRY_DELAYS_SECONDS),
        retry_jitter_factor=JITTER,
        retry_condition_fn=may_pass,
        cache_policy=NO_CACHE,
        persist_result=False,
    )
    def stage() -> None:
        nonlocal tries
        tries += 1
        try:
            function(run)
        except Exception as error:
            if tries <= len(RETRY_DELAYS_SECONDS) and passes_by_itself(error):
                note(run, name, error, tries, RETRY_DELAYS_SECONDS[tries - 1])
            raise

    stage()


def execute_order(order: Order) -> None:
    """Execute one scheduled run in this process, from its first step to its last.

    One that has no space on the disk ends the process with `NO_SPACE`, and tells the server of no
    end: it is to be tried again. The same where the server, on that disk, cannot note its start.
    """
    settings = load_settings(order.home)
    live = LiveRun(order.run, this_process(), scheduled=True, handles=order.handles)
    with _needing_space():
        live_runs.write(settings, live)

    has_begun = False

    @flow(name=FLOW, persist_result=False)
    def clearwater(only: list[str], full_refresh: bool = False) -> State[Any]:
        from flows import pipeline

        nonlocal has_begun
        has_begun = True
        options = pipeline.Options(
            sources=order.sources,
            only=tuple(only),
            full_refresh=full_refresh,
            wait=True,  # somebody's own `clearwater run` may be at work
            trigger="schedule",
            covers=order.covers,
        )
        try:
            with _needing_space():
                run = pipeline.execute(settings, options, call=as_task)
                if run.failure is not None and lacks_space(run.failure):
                    raise run.failure
        except Exception as error:
            live_runs.write(settings, live.ended(*end_by(error)))
            _leave_after(FAREWELL_SECONDS)
            raise
        kind, message = end_of(run)
        # Before the server is told: it may be gone, and Prefect would try for minutes.
        with suppress(OSError):  # on a disk that is full by now; the server knows then
            live_runs.write(settings, live.ended(kind, message))
        _leave_after(FAREWELL_SECONDS)
        with suppress(ApiError):
            put_artifacts(Api(os.environ["PREFECT_API_URL"]).ask, order.run, run)
        return State(type=StateType(kind), message=message)

    try:
        run_flow(clearwater, flow_run=load_flow_run(UUID(order.run)), return_type="state")
    except Exception as error:  # the server's: what the flow raises is in its state
        told = str(error).partition("\n")[0]
        complain(f"the server does not take how the run goes: {type(error).__name__}: {told}")
        is_full = disk_usage(settings.home).free < LEAST_BYTES
        sys.exit(NO_SPACE if is_full and not has_begun else 1)


@contextmanager
def _needing_space() -> Iterator[None]:
    """Let the process end at once where there is no space for what the block does."""
    try:
        yield
    except Exception as error:
        if not lacks_space(error):
            raise
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        # Else what dbt holds of the system would be told as leaked.
        util._exit_function()  # type: ignore[attr-defined]
        os._exit(NO_SPACE)


def _leave_after(seconds: float) -> None:
    """End this process then at the latest; the worker tells the server what it did not hear."""
    timer = Timer(seconds, os._exit, (0,))
    timer.daemon = True
    timer.start()
