"""Kills while files are loaded: no row is lost, none is there twice, nothing is left behind.

A home whose ingests are killed and a twin whose ingests are not get the same files of every format.
The process says where it is (`marked_ingest`); a kill comes within the phase that was meant, at a
random moment of the time that it usually takes with this source. After some kills an ingest is left
alone, and both lakes must be equal then; at the end the killed home's lake is made again from
landing, and must be equal too.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import duckdb

from benchmarks.content import Digests, TornError, differences, digest, hash_of
from benchmarks.figures import Figure, Options
from benchmarks.marked_ingest import COMMITTED, LAND, LEDGER, READ, TRANSACTION
from benchmarks.measure import environment
from benchmarks.mixed_arrivals import SOURCES, MixedArrivals
from warehouse.duck import attach_lake, connect
from warehouse.landing import arrivals
from warehouse.maintenance import maintain
from warehouse.rebuild import rebuild
from warehouse.settings import PROJECT, Settings, load_settings
from warehouse.sources import load_sources

PHASES = (LAND, READ, TRANSACTION, LEDGER)
KILLS_A_PHASE = 50
KILLS_A_ROUND = 5
MOST_ROUNDS_A_KILL = 2
USUAL_SECONDS = 0.02
META = ("batches", "quarantine", "sources")
ARITHMETIC = "rows_in <> loaded + quarantined + already_known + refused + dropped"


@dataclass(frozen=True)
class Kill:
    """One kill: the phase that was meant, how long after its mark, and where it struck."""

    phase: str
    moment: str
    source: str
    slept_seconds: float
    struck: str

    @property
    def is_hit(self) -> bool:
        """Whether the phase was the one that was meant."""
        return self.struck == self.phase


@dataclass
class _Marks:
    """What the process said: its last mark, and how long it took from each mark to the next."""

    moment: str = "start"
    source: str = ""
    at: float = 0.0
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)

    def read(self, line: bytes) -> None:
        """Take in a line of the pipe."""
        moment, source, at = line.decode().split()
        self.seconds[self.moment, self.source] = float(at) - self.at
        self.moment, self.source, self.at = moment, source, float(at)

    @property
    def phase(self) -> str:
        """The phase that is on: a batch just committed is at its line in the ledger still."""
        return LEDGER if self.moment == COMMITTED else self.moment


@contextmanager
def _started(
    settings: Settings, sources: Path
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A marked ingest in a process group of its own, killed at the end if it still runs."""
    marks, pipe = os.pipe()
    command = [sys.executable, "-m", "benchmarks.marked_ingest", str(pipe), str(sources)]
    with os.fdopen(marks, "rb", buffering=0) as lines:
        process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env=environment(settings.home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[pipe],
            start_new_session=True,
        )
        os.close(pipe)
        assert process.stderr is not None
        try:
            yield process, lines
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            process.stderr.close()


class LoadKillTest:
    """The two homes, their files, and how long the phases usually take."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self._rng = rng
        self._arrivals = MixedArrivals(folder / "files", rng)
        self._killed = load_settings(folder / "killed")
        self._twin = load_settings(folder / "twin")
        self._seconds: dict[tuple[str, str], float] = {}
        self.kills: list[Kill] = []

    @property
    def hits(self) -> Counter[str]:
        """How many kills struck in the phase that was meant."""
        return Counter(kill.phase for kill in self.kills if kill.is_hit)

    def round(self, phases: list[str]) -> None:
        """New files come; ingests die in the phases, one after another; then one is left alone.

        Raises TornError when the killed home is not as its twin then.
        """
        self._arrivals.deliver()
        _ingest_here(self._twin, self._arrivals.sources)
        for phase in sorted(phases, key=PHASES.index):
            self._kill(phase)
        self._complete()
        if wrong := differences(lake_content(self._killed), lake_content(self._twin)):
            raise TornError(f"not as without kills: {wrong}")

    def _kill(self, phase: str) -> None:
        moment = self._rng.choice((LEDGER, COMMITTED)) if phase == LEDGER else phase
        wanted = self._rng.randint(1, 12 if phase == LAND else 3)
        marks = _Marks()
        with _started(self._killed, self._arrivals.sources) as (process, lines):
            while wanted and (line := lines.readline()):
                marks.read(line)
                wanted -= marks.moment == moment
            if wanted:
                return  # It came to its end before: there was nothing left to kill.
            source = marks.source
            slept = 0.0 if moment == COMMITTED else self._rng.random() * self._usual(moment, source)
            time.sleep(slept)
            os.killpg(process.pid, signal.SIGKILL)
            for line in lines:
                marks.read(line)
        self.kills.append(Kill(phase, moment, source, slept, marks.phase))

    def _usual(self, moment: str, source: str) -> float:
        """The usual seconds from this mark of this source to the next one."""
        known = [took for (of, _), took in self._seconds.items() if of == moment]
        usual = statistics.median(known) if known else USUAL_SECONDS
        return self._seconds.get((moment, source), usual)

    def _complete(self) -> None:
        """An ingest that nobody kills."""
        marks = _Marks()
        with _started(self._killed, self._arrivals.sources) as (process, lines):
            for line in lines:
                marks.read(line)
            assert process.stderr is not None
            said = process.stderr.read().decode(errors="replace")
            if process.wait() != 0:
                raise TornError(f"an ingest ended with {process.returncode}: {said[-2000:]}")
        self._seconds |= marks.seconds

    def finish(self) -> int:
        """Tidy the killed home and make its lake again; returns how many orphans there were.

        Raises TornError when a file is left that the catalog does not name, or the lake that is
        made again differs.
        """
        orphans = maintain(self._killed).orphans
        _check_files(self._killed)
        sources = load_sources(self._arrivals.sources, self._killed)
        made = rebuild(self._killed, sources)
        if not made.is_equal:
            differing = [table for table in made.tables if not table.is_equal]
            raise TornError(f"made again it differs: {made.problems} {differing}")
        if wrong := differences(lake_content(self._killed), lake_content(self._twin)):
            raise TornError(f"made again it is not as without kills: {wrong}")
        return orphans


def _ingest_here(settings: Settings, sources: Path) -> None:
    """An ingest in this process, where imports are paid once."""
    from flows import pipeline

    options = pipeline.Options(sources=sources)
    with contextlib.redirect_stderr(io.StringIO()):
        run = pipeline.execute(settings, options, stages=(LAND, "load"))
    if run.exit_code != 0:
        raise TornError(f"the twin: {run.failure or '; '.join(run.problems)}")


def lake_content(settings: Settings) -> Digests:
    """A digest of every table of the lake and of what landed.

    Raises TornError for what no completed ingest leaves: a half-written file, bytes that are not
    those of their name, a line in the ledger that does not add up.
    """
    left = [*settings.landing.rglob(".*.tmp"), *settings.tmp.glob("batch")]
    if left:
        raise TornError(f"left behind: {', '.join(map(str, left))}")
    with closing(connect(settings)) as con:
        attach_lake(con, settings)
        wrong = con.execute(f"select source_file from lake.meta.batches where {ARITHMETIC}")
        if files := wrong.fetchall():
            raise TornError(f"the ledger does not add up: {files}")
        names = [f"meta.{table}" for table in META] + _raw_tables(con)
        told = {name: digest(con, f"lake.{name}") for name in names}
        changes = "(select * exclude changed_at from lake.meta.schema_changes)"
        told["meta.schema_changes"] = digest(con, changes)
    return told | {"landing": _landed(settings)}


def _raw_tables(con: duckdb.DuckDBPyConnection) -> list[str]:
    rows = con.execute(
        "select schema_name || '.' || table_name from duckdb_tables()"
        " where database_name = 'lake' and schema_name like 'raw!_%' escape '!'"
    ).fetchall()
    return sorted(name for (name,) in rows)


def _landed(settings: Settings) -> str:
    for file in settings.landing.glob("??/*"):
        if not file.suffix and hashlib.sha256(file.read_bytes()).hexdigest() != file.name:
            raise TornError(f"the bytes of {file} are not those of its name")
    found = sorted(landed.batch_id for landed in arrivals(settings))
    return f"{len(found)} files, {hash_of(found)}"


def _check_files(settings: Settings) -> None:
    """Every file in the lake's folder is named by the catalog, and every one named is there."""
    with closing(sqlite3.connect(settings.lake_catalog)) as catalog:
        rows = catalog.execute(
            "select path from ducklake_data_file union select path from ducklake_delete_file"
        ).fetchall()
    named = {Path(path).name for (path,) in rows}
    there = {file.name for file in settings.lake_data.rglob("*.parquet")}
    if named != there:
        raise TornError(f"orphans: {sorted(there - named)}; lost: {sorted(named - there)}")


def measure(options: Options) -> tuple[list[Figure], dict[str, Any]]:
    """At least 50 kills that struck in each phase, a comparison with the twin every five."""
    wanted = 2 if options.short else KILLS_A_PHASE
    print(f"load_kills: seed {options.seed}", flush=True)
    test = LoadKillTest(options.folder("load_kills"), random.Random(options.seed))
    faults: list[str] = []
    orphans = 0
    try:
        for _ in range(MOST_ROUNDS_A_KILL * wanted):
            hits = test.hits
            due = [phase for phase in PHASES if hits[phase] < wanted]
            if not due:
                break
            least = sorted(PHASES, key=lambda phase: hits[phase])
            test.round([*PHASES, *least[: KILLS_A_ROUND - len(PHASES)]])
        orphans = test.finish()
    except TornError as error:
        faults.append(f"{test.kills[-1] if test.kills else 'first ingest'}: {error}")
        print(f"load_kills: {faults[-1]}", flush=True)
    return _figures(test, wanted, faults, orphans), {
        "seed": options.seed,
        "kills": [asdict(kill) for kill in test.kills],
        "faults": faults,
    }


def _figures(test: LoadKillTest, wanted: int, faults: list[str], orphans: int) -> list[Figure]:
    hits = test.hits
    struck = {kill.source for kill in test.kills}
    return [
        *(Figure(f"kills in {phase}", hits[phase], "kills", at_least=wanted) for phase in PHASES),
        Figure("kills that struck elsewhere", len(test.kills) - hits.total(), "kills"),
        Figure("sources that were struck", len(struck), "sources", at_least=len(SOURCES)),
        Figure("orphaned files removed", orphans, "files"),
        Figure("rows lost or doubled, or left behind", len(faults), "faults", at_most=0),
    ]
