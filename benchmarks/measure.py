"""CPU seconds and peak memory: of a command with all it starts, and of a block in this process."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from warehouse.settings import PROJECT

# Runs the command as its only child, so that the usage of its children is the command's. It is
# small itself, because a child's peak memory counts from what its parent had.
METER = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[2:], stdin=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open(sys.argv[1], "w") as file:
    json.dump([done.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20], file)
"""


class CommandFailedError(Exception):
    """A measured command did not end as it should; the text ends with what it said."""


@dataclass(frozen=True)
class Usage:
    """What a command used: CPU seconds (user and system), the peak memory of one process."""

    cpu_seconds: float
    peak_gib: float


def run_measured(command: Sequence[str | Path], home: Path | None = None) -> Usage:
    """Run the command to its end in the project's folder and say what it used.

    Raises CommandFailedError when it does not exit with 0.
    """
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "usage.json"
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", METER, told, *command],
            cwd=PROJECT,
            env=environment(home),
            capture_output=True,
            text=True,
            check=False,
        )
        exit_code, cpu_seconds, peak_gib = json.loads(told.read_text())
    if exit_code != 0:
        said = (done.stdout + done.stderr)[-2000:]
        raise CommandFailedError(f"{' '.join(map(str, command))}: exit code {exit_code}\n{said}")
    return Usage(cpu_seconds, peak_gib)


def environment(home: Path | None) -> dict[str, str]:
    """Our environment, with another home."""
    return os.environ | ({"CLEARWATER_HOME": str(home)} if home else {})


def clearwater(*arguments: str | Path) -> list[str | Path]:
    """The command line's own script where it is installed, else the module."""
    script = Path(sys.executable).with_name("clearwater")
    program: list[str | Path] = [script] if script.exists() else [sys.executable, "-m", "flows"]
    return [*program, *arguments]


def own_cpu_seconds() -> float:
    """User and system time of this process until now, its DuckDB threads included."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def cpu_seconds_of(work: Callable[[], object]) -> float:
    """The CPU seconds that `work` takes in this process."""
    before = own_cpu_seconds()
    work()
    return own_cpu_seconds() - before
