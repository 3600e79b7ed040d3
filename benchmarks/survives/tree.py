"""What `clearwater up` started for a home, seen and struck from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from benchmarks.content import TornError
from flows import server
from flows.server import ServerInfo
from warehouse.lock import Holder, lock_holder
from warehouse.settings import PROJECT, Settings, load_settings

MARK = "BENCHMARK_TREE"  # in the environment of all that we start
POLL_SECONDS = 0.25
COMMAND_SECONDS = 300.0
USUAL_SECONDS = 0.02  # of a stage, before one was seen


class Tree:
    """A home with its sources, and the processes of `up`, each of which bears our mark."""

    def __init__(self, home: Path, sources: Path, environment: dict[str, str]) -> None:
        self.sources = sources
        state_url = environment.get("CLEARWATER_STATE_URL", "")
        self.settings: Settings = replace(load_settings(home), state_url=state_url)
        self._seconds: dict[str, float] = {}
        self._read: tuple[str, int, str] = ("", 0, "start")
        self._environment = (
            os.environ
            | {
                "CLEARWATER_HOME": str(home),
                "CLEARWATER_SERVER_PORT": "free",
                "CLEARWATER_MEMORY_LIMIT": "1GiB",
                "PYTHONPATH": str(PROJECT),
                MARK: str(home),
            }
            | environment
        )

    def command(self, *arguments: str | Path, home: Path | None = None) -> str:
        """What a clearwater command says. Raises TornError when it does not end with 0."""
        done = subprocess.run(
            [sys.executable, "-m", "flows", *arguments],
            cwd=PROJECT,
            env=self._environment | ({"CLEARWATER_HOME": str(home)} if home else {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_SECONDS,
        )
        if done.returncode != 0:
            said = (done.stdout + done.stderr)[-2000:]
            raise TornError(f"clearwater {arguments[0]} ended with {done.returncode}: {said}")
        return done.stdout + done.stderr

    def up(self) -> None:
        """`clearwater up`."""
        self.command("up", "--sources", self.sources)

    def down(self) -> None:
        """`clearwater down`."""
        self.command("down")

    def info(self) -> ServerInfo | None:
        """What `server.json` says."""
        return server.recorded(self.settings)

    @property
    def has_supervisor(self) -> bool:
        """Whether a supervisor runs."""
        info = self.info()
        return info is not None and info.supervisor.alive

    @property
    def is_ready(self) -> bool:
        """Whether supervisor, server and worker run and the server answers."""
        info = self.info()
        return (
            info is not None
            and info.is_ready
            and info.supervisor.alive
            and bool(info.server and info.server.alive)
            and bool(info.worker and info.worker.alive)
            and server.answers(info)
        )

    def processes(self) -> list[psutil.Process]:
        """All living processes that bear our mark, in the order of their birth."""
        home = str(self.settings.home)
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == home and process.pid != os.getpid():
                    found.append(process)
        return sorted(found, key=lambda process: process.create_time())

    def auditor(self) -> psutil.Process | None:
        """The process of the gate, if a run has one."""
        return self._named("expectations.auditor")

    def fork_server(self) -> psutil.Process | None:
        """The process that runs are forked from."""
        info = self.info()
        if info is None or info.worker is None:
            return None
        with suppress(psutil.Error):
            return next(iter(psutil.Process(info.worker.pid).children()), None)
        return None

    def _named(self, module: str) -> psutil.Process | None:
        for process in self.processes():
            with suppress(psutil.Error):
                if module in process.cmdline():
                    return process
        return None

    def run_at_work(self) -> Holder | None:
        """The run that holds the writer lock, with its process."""
        holder = lock_holder(self.settings)
        return holder if holder and holder.run_id and holder.pid else None

    def stage(self) -> str:
        """The stage that a run is at, or was at last; `idle` where no run is at work."""
        holder = self.run_at_work()
        return self._stage_of(holder.run_id) if holder else "idle"

    def _stage_of(self, run_id: str) -> str:
        log = self.settings.logs / f"{run_id}.jsonl"
        size = log.stat().st_size if log.exists() else 0
        if self._read[:2] != (run_id, size):
            self._read = (run_id, size, self._last_stage(log))
        return self._read[2]

    def _last_stage(self, log: Path) -> str:
        found = "start"
        for line in log.read_text().splitlines() if log.exists() else ():
            with suppress(ValueError):  # a line that is being written
                event = json.loads(line)
                if event["event"] == "stage":
                    is_on = event["status"] == "start"
                    found = event["stage"] if is_on else f"after {event['stage']}"
                    if event.get("seconds"):
                        self._seconds[event["stage"]] = float(event["seconds"])
        return found

    def usual_seconds(self, stage: str) -> float:
        """How long the stage took last."""
        return self._seconds.get(stage, USUAL_SECONDS)

    def until(self, found: Callable[[], object], seconds: float, poll: float = 0.01) -> bool:
        """Whether it came true in time."""
        deadline = time.monotonic() + seconds
        while not found():
            if time.monotonic() > deadline:
                return False
            time.sleep(poll)
        return True

    def kill_everything(self) -> None:
        """All at once, as when the power goes."""
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for process in self.processes():
                with suppress(psutil.Error):
                    process.send_signal(number)
        self.until(lambda: not self.processes(), 30, POLL_SECONDS)
