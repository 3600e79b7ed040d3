"""Never blocked: a reader works on while runs publish."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.arrivals import FIRST_DAYS, Arrivals
from benchmarks.figures import Figure, Options
from benchmarks.pipeline_runs import run_here
from benchmarks.reader import Seen
from warehouse.settings import PROJECT, load_settings

PUBLISHES, SHORT_PUBLISHES = 10, 2


class ReaderFailedError(Exception):
    """The reader's process ended early or with an error."""


def read_while_publishing(folder: Path, publishes: int) -> Seen:
    """What a reader saw while that many runs published, each with new data."""
    arrivals = Arrivals(folder, FIRST_DAYS + publishes)
    settings = load_settings(folder / "home")
    arrivals.deliver()
    run_here(settings, arrivals.sources)
    stop = folder / "stop"
    with _reader(settings.home, stop) as process:
        for _ in range(publishes):
            arrivals.deliver()
            run_here(settings, arrivals.sources)
        stop.touch()
        told, _ = process.communicate()
    if process.returncode != 0:
        raise ReaderFailedError(f"the reader ended with {process.returncode}")
    return Seen(**json.loads(told))


@contextmanager
def _reader(home: Path, stop: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "benchmarks.reader", str(home), str(stop)]
    process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "reading\n":
            raise ReaderFailedError("the reader did not start")
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()


def measure(options: Options) -> tuple[list[Figure], dict[str, Any]]:
    """The reader's counts over ten publishes."""
    publishes = SHORT_PUBLISHES if options.short else PUBLISHES
    seen = read_while_publishing(options.folder("readers"), publishes)
    return [
        Figure("reads over new connections", seen.reads, "reads"),
        Figure("reads over one held open", seen.held_reads, "reads"),
        Figure("releases the reader saw", len(seen.answers), "releases", at_least=publishes),
        Figure("reader's errors", len(seen.errors), "errors", at_most=0),
        Figure("mixed answers", len(seen.mixed), "answers", at_most=0),
    ], {"errors": seen.errors[:10], "mixed": seen.mixed[:10]}
