"""The pipeline as a Prefect flow: the same stages as tasks, with retries, for schedules and UI.

Importing this imports Prefect: only for those who run through a server.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import State, flow, serve, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import (
    ConcurrencyLimitConfig,
    ConcurrencyLimitStrategy,
    StateType,
    TaskRun,
)
from prefect.deployments.runner import RunnerDeployment
from prefect.states import Completed, Crashed, Failed
from prefect.types.entrypoint import EntrypointType

from flows.retrying import JITTER, RETRY_DELAYS_SECONDS, note, passes_by_itself
from warehouse.settings import Settings, load_settings

if TYPE_CHECKING:
    from prefect.tasks import Task

    from flows.pipeline import Options, Run

FLOW = "clearwater"
DEPLOYMENT = "pipeline"


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


@flow(name=FLOW, persist_result=False)
def clearwater_flow(home: str, sources: str, full_refresh: bool = False) -> State[Any]:
    """One scheduled run of the pipeline over the sources file, stage by stage."""
    from flows import pipeline

    # Somebody's own `clearwater run` may be at work: a schedule can wait for it.
    options = pipeline.Options(sources=Path(sources), full_refresh=full_refresh, wait=True)
    return final_state(pipeline.execute(load_settings(home), options, call=as_task))


def run_as_flow(settings: Settings, options: Options) -> Run:
    """The pipeline's run in this process, as a run of the same flow.

    The inner flow's parameters are there for the server to show.
    """
    from flows import pipeline

    runs: list[Run] = []

    @flow(name=FLOW, persist_result=False)
    def attended(sources: str, only: list[str], full_refresh: bool) -> State[Any]:  # noqa: ARG001
        runs.append(pipeline.execute(settings, options, call=as_task))
        return final_state(runs[0])

    try:
        attended(str(options.sources), list(options.only), options.full_refresh)
    except Exception:
        # The run tells itself how it went; a server that went away spoils nobody's finished run.
        if not runs:
            raise
    return runs[0]


def final_state(run: Run) -> State[Any]:
    """What the server shows of a run that came to its end, in the run's own words."""
    if run.exit_code == 0:
        return Completed(message=run.status)
    return Failed(message=f"{run.status}: {run.failure or '; '.join(run.problems)}")


def serve_pipeline(
    settings: Settings, sources: str, cron: str, *, when_ready: Callable[[], None]
) -> None:
    """Serve the pipeline's deployment, one run at a time, until told to stop."""
    abandon_lost_runs()
    deployment = RunnerDeployment.from_flow(
        clearwater_flow,
        DEPLOYMENT,
        cron=cron,
        parameters={"home": str(settings.home), "sources": sources},
        concurrency_limit=ConcurrencyLimitConfig(
            limit=1, collision_strategy=ConcurrencyLimitStrategy.ENQUEUE
        ),
        # The file's path would be looked up in whatever folder the run is started from.
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    deployment.apply()
    when_ready()
    serve(deployment, limit=1, print_starting_message=False)


def abandon_lost_runs() -> None:
    """Mark runs as crashed that a killed scheduler left behind: they hold the only slot."""
    unfinished = FlowRunFilterStateType(
        any_=[StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    )
    with get_client(sync_client=True) as client:
        lost = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=unfinished))
        )
        for run in lost:
            state: State[Any] = Crashed(message="Its process was gone when the scheduler started.")
            client.set_flow_run_state(run.id, state, force=True)
