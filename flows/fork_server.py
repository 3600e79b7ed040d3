"""A process that has imported all that a run needs, and becomes a run by forking itself.

A run that finds nothing new takes less time than these imports. The process itself opens nothing
and starts no thread, so that a fork of it is as good as a new process.
"""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from flows.processes import Process, with_birth
from flows.ticks import Covers
from warehouse.settings import PROJECT

PRELOADED = (
    "flows.scheduled",
    "flows.pipeline",
    "flows.reporting",
    "flows.unfinished",
    "expectations.clock",
    "expectations.examining",
    "expectations.overdue",
    "expectations.reporting.pages",
    "warehouse.dbt_runner",
    "warehouse.state",
    "dbt.cli.main",
    "dbt.adapters.duckdb.connections",
)

# How a run ends that has no space on the disk: to be tried again, the same one.
NO_SPACE = os.EX_TEMPFAIL
MOST_ENDED = 64
_ended: dict[int, int] = {}  # in the process itself: the last exit codes, by id of the process


@dataclass(frozen=True)
class Order:
    """A run that the worker wants: the Prefect server's id of it, and over which sources file.

    `handles` are the schedules whose ticks up to a moment it stands for; `covers` what it has to
    tell of those that were missed.
    """

    run: str
    home: Path
    sources: Path
    handles: Mapping[str, datetime]
    covers: Covers | None = None


@dataclass(frozen=True)
class Question:
    """Whether the lake of this home has what no release has: the exit code says it."""

    home: Path


Asked = Order | Question


class ForkServer:
    """The process as the worker sees it; it ends with the worker, its runs do not."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, so that it is warm when the first run is due."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def fork(self, order: Asked) -> Process:
        """The process that does what is asked now. Raises OSError if there can be none."""
        try:
            return self._ask(order)
        except (OSError, ValueError):  # it was killed
            self.close()
            self.start()
            return self._ask(order)

    def exit_code(self, process: Process) -> int | None:
        """The exit code of a process that it forked and that has ended; None if nobody knows."""
        try:
            return _number(self._told(process.pid))
        except (OSError, ValueError):  # it was killed, and what it knew with it
            return None

    def close(self) -> None:
        """End it, and what was not heard of it."""
        if self._process is not None:
            self._process.kill()
            with suppress(BrokenPipeError):
                self._process.communicate()

    def _ask(self, order: Asked) -> Process:
        if self._process is None:
            self.start()
        return with_birth(int(self._told(order)))

    def _told(self, asked: Asked | int) -> bytes:
        """The line that it answers. Raises OSError or ValueError where there is none."""
        if self._process is None:
            raise OSError("there is no fork server")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        pickle.dump(asked, self._process.stdin)
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise OSError("the fork server has ended")
        return answer


def _number(line: bytes) -> int | None:
    return int(line) if line.strip() else None


def preload() -> None:
    """Import what a run needs, and leave no thread behind: a fork would not have it."""
    for name in PRELOADED:
        importlib.import_module(name)
    import duckdb

    duckdb.default_connection().close()  # which an import opens, with a thread of its own
    gc.collect()
    gc.freeze()  # what is shared with the forks stays so


def main() -> None:
    """Fork for each order on stdin until there is no more; each fork executes its own."""
    preload()
    signal.signal(signal.SIGCHLD, _reap)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order = _next_order(sys.stdin.buffer, sys.stdout.buffer)
    if isinstance(order, Order):
        from flows.scheduled import execute_order

        execute_order(order)
    elif order is not None:
        from flows.unfinished import answer

        answer(order.home)


def _next_order(orders: BinaryIO, answers: BinaryIO) -> Asked | None:
    """In a fork, its order; in the server itself, None once nobody asks any more."""
    while True:
        try:
            order: Asked | int = pickle.load(orders)  # our own worker's
        except EOFError:
            return None
        if isinstance(order, int):
            _reap()  # the signal may be on its way still
            code = _ended.get(order)  # which may be asked again, if nothing could be made of it
            answers.write(f"{'' if code is None else code}\n".encode())
            answers.flush()
            continue
        pid = os.fork()
        if pid == 0:
            _become_a_run()
            return order
        answers.write(f"{pid}\n".encode())
        answers.flush()


def _become_a_run() -> None:
    """Leave the pipes to the server, and what it knew of its own life."""
    os.setsid()  # what the run starts ends with it
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)


def _reap(*_: object) -> None:
    """Collect what has ended, with its exit code; tell of what something ended."""
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            _ended.pop(found[0], None)
            _ended[found[0]] = os.waitstatus_to_exitcode(found[1])
            if len(_ended) > MOST_ENDED:
                del _ended[next(iter(_ended))]
            if os.WIFSIGNALED(found[1]):
                told = f"run process {found[0]} was ended by signal {os.WTERMSIG(found[1])}\n"
                with suppress(OSError):  # its log is on a full disk
                    os.write(2, told.encode())


if __name__ == "__main__":
    # By its name: what the worker asks for is of the classes there, not of those in here.
    from flows import fork_server

    fork_server.main()
