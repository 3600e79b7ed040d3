"""The kill test: a run killed at a random moment of a stage leaves nothing that a reader sees.

A home whose runs are killed and a twin whose runs are not get the same arrivals. After each kill
the current release must open, be one that passed its gate, and hold what the twin's held before
or after these arrivals. The next run must succeed without help, and both homes be equal then.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from benchmarks.arrivals import FIRST_DAYS, Arrivals
from benchmarks.content import Digests, TornError, current_release, differences, whole_home
from benchmarks.figures import Figure, Options
from benchmarks.measure import environment
from benchmarks.pipeline_runs import run_here
from warehouse.settings import PROJECT, Settings, load_settings

STAGES = ("land", "load", "build", "audit", "publish", "features")
# Before the first stage and after the last that matters; moments of a run like any other.
AROUND = ("start", "report")
MOMENTS = ("start", *STAGES, "report")
BUILD, FEATURES = MOMENTS.index("build"), MOMENTS.index("features")
KILLS_A_STAGE, KILLS_AROUND = 15, 5
ATTEMPTS_A_KILL = 4
STARTING_SECONDS = 0.4


@dataclass(frozen=True)
class Kill:
    """One kill: where it was meant, when, and where it struck.

    `fraction` is the planned part of the stage's usual time, `slept_seconds` the wait that this
    made, `struck` the stage that was running, or the one just over.
    """

    stage: str
    fraction: float
    slept_seconds: float
    struck: str

    @property
    def is_hit(self) -> bool:
        """Whether the stage was the one that was meant."""
        return self.struck == self.stage


@dataclass
class Watch:
    """What a run's events tell: the stage that is on, and the seconds of those that are done."""

    running: str = "start"
    is_between: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def read(self, line: bytes) -> None:
        """Take in a line of the run's stderr; other lines than events are kept, too."""
        text = line.decode(errors="replace")
        self.said.append(text)
        try:
            event = json.loads(text)
        except ValueError:
            return
        if event["event"] == "stage":
            self._note(event["stage"], event["status"], event.get("seconds", 0.0))

    def _note(self, stage: str, status: str, seconds: float) -> None:
        self.running = stage
        self.is_between = status != "start"
        if status == "done":
            self.seconds[stage] = seconds

    @property
    def struck(self) -> str:
        """Where a kill struck, when nothing more is said: in a stage, or after one."""
        return f"after {self.running}" if self.is_between else self.running

    @property
    def resumes_at(self) -> int:
        """The first stage, by its number, that has work left: a build is begun anew."""
        reached = MOMENTS.index(self.running) + self.is_between
        return BUILD if BUILD <= reached < FEATURES else reached


@contextmanager
def started(
    settings: Settings, *arguments: str | Path, project: Path = PROJECT
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A `clearwater` command in a process group of its own, killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flows", *arguments, "--log", "json"],
        cwd=project,
        env=environment(settings.home) | {"PYTHONPATH": str(project)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        yield process, process.stderr
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stderr.close()


def _run(sources: Path) -> tuple[str | Path, ...]:
    return "run", "--sources", sources


class KillTest:
    """The two homes, their arrivals, and what is known of the stages' usual times."""

    def __init__(self, folder: Path, rng: random.Random, days: int) -> None:
        self._arrivals = Arrivals(folder, days)
        self._rng = rng
        self._killed = load_settings(folder / "killed")
        self._twin = load_settings(folder / "twin")
        self._before: Digests = {}
        self._after: Digests = {}
        self._seconds: dict[str, float] = {}
        self._resumes_at = 0
        self.kills: list[Kill] = []

    def round(self, stages: Sequence[str]) -> None:
        """New data arrive; a run is killed in each of the stages, one after another.

        Raises TornError.
        """
        self._arrivals.deliver()
        self._resumes_at = 0
        self._run_twin()
        for stage in stages:
            self.kills.append(self._kill(stage))
            self._check_release()
        self._learn(_completed(self._killed, self._arrivals.sources))
        if wrong := differences(whole_home(self._killed), whole_home(self._twin)):
            raise TornError(f"not as without kills: {wrong}")

    def _run_twin(self) -> None:
        if not self._seconds:  # In a process of its own: it shows how long the stages take there.
            self._learn(_completed(self._twin, self._arrivals.sources))
            self._seconds["start"] = STARTING_SECONDS
        else:
            run_here(self._twin, self._arrivals.sources)
        self._before, self._after = self._after, current_release(self._twin)

    def _learn(self, watch: Watch) -> None:
        """Keep the times of the stages that had work to do."""
        for stage, took in watch.seconds.items():
            if MOMENTS.index(stage) >= self._resumes_at:
                self._seconds[stage] = took

    def _kill(self, stage: str) -> Kill:
        # Stages begin with imports: every second kill comes in the half where the work is.
        fraction = self._rng.random()
        if len(self.kills) % 2:
            fraction = 0.5 + fraction / 2
        slept = fraction * self._seconds[stage]
        watch = Watch()
        with started(self._killed, *_run(self._arrivals.sources)) as (process, events):
            while watch.running != stage:
                line = events.readline()
                if not line:
                    raise TornError(f"ended before {stage}: {''.join(watch.said)}")
                watch.read(line)
            time.sleep(slept)
            os.killpg(process.pid, signal.SIGKILL)
            for line in events:
                watch.read(line)
            process.wait()
        self._learn(watch)
        self._resumes_at = max(self._resumes_at, watch.resumes_at)
        return Kill(stage, fraction, slept, watch.struck)

    def _check_release(self) -> None:
        found = current_release(self._killed)
        if found not in (self._before, self._after):
            wrong = differences(found, self._before or self._after)
            raise TornError(f"current is neither the old release nor the new one: {wrong}")


def _completed(settings: Settings, sources: Path) -> Watch:
    """An undisturbed run, in a process of its own.

    Raises TornError when it does not succeed.
    """
    watch = Watch()
    with started(settings, *_run(sources)) as (process, events):
        for line in events:
            watch.read(line)
        if process.wait() != 0:
            raise TornError(f"a run ended with {process.returncode}: {''.join(watch.said)}")
    return watch


def measure(options: Options) -> tuple[list[Figure], dict[str, Any]]:
    """At least 15 kills that struck in each stage, a recovery and a comparison after each."""
    wanted = dict.fromkeys(STAGES, 1 if options.short else KILLS_A_STAGE)
    if not options.short:
        wanted |= dict.fromkeys(AROUND, KILLS_AROUND)
    print(f"kills: seed {options.seed}", flush=True)
    faults: list[str] = []
    rounds = ATTEMPTS_A_KILL * sum(wanted.values())
    test = KillTest(options.folder("kills"), random.Random(options.seed), FIRST_DAYS + rounds)
    for _ in range(rounds):
        hits = Counter(kill.stage for kill in test.kills if kill.is_hit)
        due = [stage for stage, count in wanted.items() if hits[stage] < count]
        if not due:
            break
        try:
            test.round([min(due, key=lambda stage: hits[stage])])
        except TornError as error:
            faults.append(f"{test.kills[-1] if test.kills else 'first run'}: {error}")
            print(f"kills: {faults[-1]}", flush=True)
            break  # The two homes are no longer alike: there is nothing to compare with.
    return _figures(test.kills, wanted, faults), {
        "seed": options.seed,
        "kills": [asdict(kill) for kill in test.kills],
        "faults": faults,
    }


def _figures(kills: list[Kill], wanted: dict[str, int], faults: list[str]) -> list[Figure]:
    hits = Counter(kill.stage for kill in kills if kill.is_hit)
    return [
        Figure(f"kills in {stage}", hits[stage], "kills", at_least=count)
        for stage, count in wanted.items()
    ] + [
        Figure("kills that struck elsewhere", sum(not kill.is_hit for kill in kills), "kills"),
        Figure("torn states or lost or doubled rows", len(faults), "faults", at_most=0),
    ]
