"""A run of somebody's own command, which the Prefect server shows too.

It is told over its REST interface, in a thread beside the run, so that nothing waits for it: that
spares the command the import of Prefect.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any

from flows import live_runs
from flows.live_runs import LiveRun, end_by, end_of
from flows.prefect_api import Api, ApiError, state
from warehouse.processes import this_process
from warehouse.settings import Settings

if TYPE_CHECKING:
    from flows.run import Options, Run

PATIENCE_SECONDS = 1.5  # for the server, once the run itself is over


def run_attended(settings: Settings, api_url: str, options: Options) -> Run:
    """The pipeline's run in this process, as `pipeline.execute` gives it, seen by the server.

    It is from its first stage on: one that waits for the writer lock is not at work, and one that
    another writer turned away is no run. Raises what `pipeline.execute` raises; a server that goes
    away changes nothing.
    """
    from flows import pipeline
    from flows.retrying import tried

    teller = _Teller(settings, Api(api_url))

    def call(name: str, function: Callable[[Run], None], run: Run) -> None:
        if not teller.has_begun:
            teller.start({"only": list(options.only), "full_refresh": options.full_refresh})
        teller.stage(name)
        try:
            tried(name, function, run)
        except BaseException as error:
            teller.stage_ended(name, *end_by(error))
            raise
        teller.stage_ended(name, "COMPLETED", "")

    try:
        run = pipeline.execute(settings, options, call=call)
    except BaseException as error:
        if teller.has_begun:
            teller.ended(*end_by(error))
        raise
    teller.artifacts(run)
    teller.ended(*end_of(run))
    return run


class _Teller:
    """Tells the server of one run, one thing after the other, until it does not answer."""

    def __init__(self, settings: Settings, api: Api) -> None:
        self._settings = settings
        self._api = api
        self._live: LiveRun | None = None
        self._is_told = False
        self._tasks: dict[str, str] = {}
        self._todo: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="prefect-teller", daemon=True)

    @property
    def has_begun(self) -> bool:
        """Whether it was told of the run's start."""
        return self._thread.ident is not None

    def start(self, parameters: dict[str, Any]) -> None:
        """Tell that the run is at work."""
        self._thread.start()

        def tell() -> None:
            run = self._api.new_run(self._api.flow_id(), parameters, uuid.uuid4().hex)
            self._live = LiveRun(str(run["id"]), this_process())
            live_runs.write(self._settings, self._live)

        self._todo.put(tell)

    def stage(self, name: str) -> None:
        """Tell that a stage is at work."""

        def tell() -> None:
            assert self._live is not None
            self._tasks[name] = self._api.new_task(self._live.id, name)

        self._todo.put(tell)

    def stage_ended(self, name: str, kind: str, message: str) -> None:
        """Tell how a stage ended."""
        self._todo.put(lambda: self._api.set_task_state(self._tasks[name], state(kind, message)))

    def artifacts(self, run: Run) -> None:
        """Leave the run's summary, its gate's table and where its report and release are."""
        from flows.artifacts import put_artifacts

        def tell() -> None:
            assert self._live is not None
            with suppress(ApiError):  # the run's end is to be told all the same
                put_artifacts(self._api.ask, self._live.id, run)

        self._todo.put(tell)

    def ended(self, kind: str, message: str) -> None:
        """Tell how the run ended; what the server does not hear in time, the worker tells it."""

        def tell() -> None:
            assert self._live is not None
            self._api.set_state(self._live.id, state(kind, message))
            self._is_told = True
            live_runs.forget(self._settings, self._live.id)

        self._todo.put(tell)
        self._todo.put(None)
        self._thread.join(PATIENCE_SECONDS)
        if self._live is not None and not self._is_told:
            live_runs.write(self._settings, self._live.ended(kind, message))

    def _work(self) -> None:
        with suppress(ApiError, OSError):
            while todo := self._todo.get():
                todo()
