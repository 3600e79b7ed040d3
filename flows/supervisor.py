"""The supervisor: one process that keeps the Prefect server and the worker running.

`clearwater up` starts it detached, `clearwater up --foreground` is it. It imports nothing heavy and
waits nearly all the time.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from flows import server
from flows.failures import is_full, reported
from flows.log_files import keep_small
from flows.options import complain
from flows.processes import Process, StopFlag, stop, with_birth
from flows.server import RUN_SECONDS, STOP_SECONDS, ServerError, ServerInfo
from flows.service_manager import tell_service_manager
from warehouse.processes import this_process
from warehouse.settings import PROJECT, Settings, load_settings

RESTART_SECONDS = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # before each start after a failed one
WELL_SECONDS = 120.0  # who ran so long starts again at the first delay
SILENT_SECONDS = 90.0  # without a sign of life: it hangs, and is killed
LOOK_SECONDS = 0.5
CARE_SECONDS = 10.0  # between looks at health and at logs
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)


@dataclass
class Child:
    """A process that is kept running; `shows_life` tells whether it does its work."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    log: Path | None
    shows_life: Callable[[], bool]
    patience_seconds: float
    process: subprocess.Popen[bytes] | None = None
    identity: Process | None = None
    failures: int = 0
    started: float = 0.0
    seen: float = 0.0
    not_before: float = 0.0
    said: int = 0  # bytes of the log before it was started last

    def start(self) -> None:
        """Start it, in a session of its own; it ends when we are killed."""
        self.said = server.log_size(self.log) if self.log else 0
        with _output(self.log) as output:
            self.process = subprocess.Popen(
                [sys.executable, *self.command],
                env=dict(self.env),
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT if output else None,
                start_new_session=True,
                preexec_fn=partial(_end_with, os.getpid()),
            )
        self.identity = with_birth(self.process.pid)
        self.started = self.seen = time.monotonic()

    @property
    def has_ended(self) -> bool:
        """Whether it was started and does not run any more."""
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> None:
        """End it: asked first, then killed with all that it started."""
        if self.identity:
            stop(self.identity, patience_seconds=self.patience_seconds)
        if self.process:
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_SECONDS)


def _end_with(parent: int) -> None:
    """In a child, before its program starts: ask the system to kill it when its parent is gone.

    It is killed, not asked to end: asked, a server would wait for the last run's connection to
    close, and a worker could not tell an order to end, with its run, from the death of its parent.
    (Where that has several threads, the system sends the signal when the first has ended, and
    `getppid` tells the parent still.) Elsewhere than on Linux the worker sees by itself that it is
    alone, and the next `up` ends the server.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it was gone before we asked
            os._exit(1)


class Supervisor:
    """Starts the children in order, starts again whichever ends, and ends them in reverse."""

    def __init__(self, settings: Settings, info: ServerInfo, *, logs: bool) -> None:
        self._settings = settings
        self._info = info
        self._stopping = StopFlag()
        self._is_recorded = True
        environment = server.client_environment(settings, info.api_url, os.environ)
        worker = ["-m", "flows.worker", "--sources", info.sources, "--parent", str(os.getpid())]
        self._server = Child(
            "server",
            ["-m", "prefect", "server", "start", "--host", info.host, "--port", str(info.port)],
            server.server_environment(settings, info, os.environ),
            settings.prefect / "server.log" if logs else None,
            lambda: server.answers(info),
            STOP_SECONDS,
        )
        self._worker = Child(
            "worker",
            [*worker, "--cron", info.cron] if info.cron else worker,
            environment,
            settings.prefect / "worker.log" if logs else None,
            _Beat(heartbeat(settings)).was_heard,
            RUN_SECONDS + 2 * STOP_SECONDS,
        )
        self._children = (self._server, self._worker)

    def run(self) -> None:
        """Keep them running until we are told to stop; raises ServerError when that is in vain."""
        self._stopping.heed()
        try:
            for child in self._children:
                self._start_first(child)
            if self._stopping.is_set:
                return
            self._record(is_ready=True)
            _say(f"up: {self._info.url}")
            tell_service_manager("READY=1")
            self._keep()
        finally:
            tell_service_manager("STOPPING=1")
            for child in reversed(self._children):
                child.stop()
            server.forget(self._settings)

    def _start_first(self, child: Child) -> None:
        """Start it and wait until it works; who does not come up at once never will."""
        if self._stopping.is_set:
            return
        child.start()
        self._record()
        deadline = time.monotonic() + server.START_SECONDS
        while not self._stopping.wait(LOOK_SECONDS / 5):
            if child.shows_life():
                return
            if child.has_ended or time.monotonic() > deadline:
                raise self._failure(child, "did not start")

    def _keep(self) -> None:
        last_care = time.monotonic()
        while not self._stopping.wait(LOOK_SECONDS):
            tell_service_manager("WATCHDOG=1")
            for child in self._children:
                self._look_after(child)
            if not self._is_recorded:
                self._record_if_possible()
            if time.monotonic() - last_care > CARE_SECONDS:
                self._care()
                last_care = time.monotonic()

    def _look_after(self, child: Child) -> None:
        """Start it again if it has ended, later each time; raises ServerError in the end."""
        now = time.monotonic()
        if child.has_ended and child.not_before < child.started:
            lived, code = now - child.started, child.process.returncode if child.process else 0
            child.failures = 1 if lived > WELL_SECONDS else child.failures + 1
            if child.failures > len(RESTART_SECONDS):
                raise self._failure(child, f"ended {child.failures} times in a row")
            wait = RESTART_SECONDS[child.failures - 1]
            child.not_before = now + wait
            _say(f"the {child.name} ended with {code}; it starts again in {wait:g} s")
        if child.has_ended and now >= child.not_before:
            child.start()
            self._is_recorded = False

    def _care(self) -> None:
        """Kill who hangs, and keep the logs small."""
        for child in self._children:
            if child.shows_life():
                child.seen = time.monotonic()
            elif not child.has_ended and time.monotonic() - child.seen > SILENT_SECONDS:
                _say(f"the {child.name} gives no sign of life; it is killed")
                os.kill(child.process.pid if child.process else 0, signal.SIGKILL)
        for log in self._settings.prefect.glob("*.log"):
            keep_small(log)

    def _record(self, *, is_ready: bool = False) -> None:
        self._info = replace(
            self._info,
            server=self._server.identity,
            worker=self._worker.identity,
            is_ready=is_ready,
        )
        server.record(self._settings, self._info)

    def _record_if_possible(self) -> None:
        """Record who runs; on a full disk the next look tries again."""
        try:
            self._record(is_ready=True)
        except OSError as error:
            if not is_full(error):
                raise
        else:
            self._is_recorded = True

    def _failure(self, child: Child, what: str) -> ServerError:
        told = f": {server.last_lines(child.log, child.said)}" if child.log else ""
        return ServerError(
            f"the {child.name} {what}{told}",
            where=str(child.log or self._settings.prefect),
            next_step="read its log, then `clearwater up`; `clearwater run` works without it",
        )


def supervise(
    settings: Settings, sources: Path, cron: str | None = None, *, logs: bool = False
) -> None:
    """Run server and worker until a signal ends us; what they say goes to `logs` or our output.

    Raises ConfigurationError for what cannot be run, ServerError when it is up already or one of
    them cannot be kept running.
    """
    wanted = server.checked_sources(sources, settings)
    server.check_cron(cron)
    (settings.prefect / "tmp").mkdir(parents=True, exist_ok=True)
    with _only_one(settings):
        server.stop_recorded(settings)  # what a killed one left behind
        port = server.free_port(settings)
        info = ServerInfo(settings.server.host, port, this_process(), wanted, cron)
        server.record(settings, info)
        Supervisor(settings, info, logs=logs).run()


def heartbeat(settings: Settings) -> Path:
    """The file that the worker touches each time it has looked at everything."""
    return settings.prefect / "worker.alive"


class _Beat:
    """Whether a file was touched since it was asked last; the clock may jump meanwhile."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._last = self._touched()

    def was_heard(self) -> bool:
        touched = self._touched()
        was_heard, self._last = touched != self._last, touched
        return was_heard

    def _touched(self) -> int:
        try:
            return self._file.stat().st_mtime_ns
        except OSError:
            return 0


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    """Hold a kernel lock for the block, which dies with us."""
    with (settings.prefect / "supervisor.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServerError(
                "it is up already",
                where=str(settings.home),
                next_step="stop it with `clearwater down`, then start it again",
            ) from None
        yield


@contextmanager
def _output(log: Path | None) -> Iterator[int | None]:
    if log is None:
        yield None
        return
    with log.open("ab") as file:
        yield file.fileno()


def _say(text: str) -> None:
    complain(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}")


def main(arguments: Sequence[str] | None = None) -> None:
    """The detached supervisor's process."""
    parser = argparse.ArgumentParser(prog="python -m flows.supervisor")
    parser.add_argument("--sources", required=True, type=Path)
    parser.add_argument("--cron")
    told = parser.parse_args(arguments)
    with reported():
        supervise(load_settings(), told.sources, told.cron, logs=True)


if __name__ == "__main__":
    main()
