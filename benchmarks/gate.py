"""What the gate costs against the SQL that one would write by hand, and what waits for its import.

Both judge the same 40 rules (gate_rules/, gate.sql) on the same build, each in a process of its
own, one after the other; on the builds with planted faults, too, they must count the same. With ten
times the rows the import of Great Expectations is counted, else it is not: there it is the audit
stage of real runs that must not wait for it.
"""

from __future__ import annotations

import io
import json
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, nullcontext, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.arrivals import FIRST_DAYS, Arrivals
from benchmarks.figures import Figure, Options
from benchmarks.gate_faults import FAULTS, plant
from benchmarks.measure import clearwater, environment, own_cpu_seconds, run_measured
from benchmarks.payments import transactions, write_copies, write_sources
from warehouse.duck import connect
from warehouse.settings import PROJECT, Settings, load_settings

HERE = Path(__file__).parent
RULES, SQL = HERE / "gate_rules", HERE / "gate.sql"
COUNT = 40
REPEATS, RUNS, COPIES = 5, 3, 10

Counts = dict[str, int]


@dataclass(frozen=True)
class Judged:
    """What one process found: offending rows by rule, CPU seconds of the work and of it all.

    `broken` are the rules that do not hold; of the SQL it is empty.
    """

    counts: Counts
    broken: list[str]
    work_cpu_seconds: float
    all_cpu_seconds: float


@dataclass(frozen=True)
class Audited:
    """A run's seconds: of all, of its audit stage, and of that what was not auditing; its CPU."""

    run: float
    audit: float
    waiting: float
    cpu_seconds: float


def measure(options: Options) -> tuple[list[Figure], dict[str, Any]]:
    """Ratios at the data's size and at ten times it, disagreements, the audit stage of runs."""
    folder = options.folder("gate")
    data = transactions(options)
    once = _home(folder / "once", data)
    pairs = [_pair(once) for _ in range(1 if options.short else REPEATS)]
    disagreeing, broken = _disagreements(once, folder)
    shutil.rmtree(folder / "once")
    large = folder / "copies.parquet"
    write_copies(data, COPIES, large)
    tenfold = _home(folder / "tenfold", large)
    large_pairs = [_pair(tenfold) for _ in range(1 if options.short else RUNS)]
    shutil.rmtree(folder / "tenfold")
    large.unlink()
    runs = _runs(folder, data, 1 if options.short else RUNS)
    return [
        *_cost("40 rules, import not counted", pairs, "work_cpu_seconds", 2.0),
        *_cost("ten times the rows, import counted", large_pairs, "all_cpu_seconds", 1.7),
        Figure("rules that count otherwise than the SQL", len(disagreeing), "rules", at_most=0),
        Figure("rules broken by planted faults", len(broken), "rules", at_least=COUNT),
        *_stage_figures(runs),
    ], {
        "disagreeing": disagreeing,
        "pairs": [[vars(judged) | {"counts": {}} for judged in pair] for pair in pairs],
        "tenfold": [[vars(judged) | {"counts": {}} for judged in pair] for pair in large_pairs],
        "runs": {name: [vars(run) for run in found] for name, found in runs.items()},
    }


def _home(folder: Path, data: Path) -> Path:
    folder.mkdir()
    sources = write_sources(folder / "sources.yml", data)
    run_measured(clearwater("run", "--sources", sources), folder / "home")
    shutil.rmtree(folder / "home" / "features")
    return folder / "home"


def _cost(name: str, pairs: list[tuple[Judged, Judged]], what: str, at_most: float) -> list[Figure]:
    ratios = [getattr(gate, what) / getattr(sql, what) for gate, sql in pairs]
    note = f"{len(pairs)} repeats: {', '.join(f'{ratio:.2f}' for ratio in ratios)}"
    gate, sql = (statistics.median(getattr(pair[i], what) for pair in pairs) for i in (0, 1))
    return [
        Figure(f"gate against SQL, {name}", statistics.median(ratios), "×", at_most, note=note),
        Figure(f"the gate, {name}", gate, "CPU s"),
        Figure(f"the SQL, {name}", sql, "CPU s"),
    ]


def _pair(home: Path) -> tuple[Judged, Judged]:
    settings = load_settings(home)
    database = settings.database(settings.current.resolve())
    return _judged("gate", home, database), _judged("sql", home, database)


def _judged(how: str, home: Path, database: Path) -> Judged:
    return Judged(**_told(how, database, home=home))


def _told(*arguments: str | Path, home: Path) -> dict[str, Any]:
    """What this module says as a program, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, *arguments],
        cwd=PROJECT,
        env=environment(home),
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def _disagreements(home: Path, folder: Path) -> tuple[list[str], set[str]]:
    """Where gate and SQL differ, by build and rule, and which rules a planted fault has broken."""
    settings = load_settings(home)
    builds = {"as released": settings.database(settings.current.resolve())}
    for name in FAULTS:
        builds[name] = folder / name / "warehouse.duckdb"  # The stem is in its views.
        builds[name].parent.mkdir()
        plant(builds["as released"], name, builds[name])
    differing, broken = [], set()
    for name, database in builds.items():
        gate, sql = _judged("gate", home, database), _judged("sql", home, database)
        broken |= set(gate.broken)
        differing += [
            f"{name}, {rule}: {gate.counts.get(rule)}, the SQL {sql.counts.get(rule)}"
            for rule in sorted(gate.counts.keys() | sql.counts.keys())
            if gate.counts.get(rule) != sql.counts.get(rule)
        ]
    return differing, broken


def _runs(folder: Path, data: Path, repeats: int) -> dict[str, list[Audited]]:
    """Real runs over the data and over a few days, with the import ahead and without, in turns."""
    few = Arrivals(folder / "few", FIRST_DAYS)
    few.deliver()
    sources = {
        "the data": write_sources(folder / "sources.yml", data),
        "a few days": few.sources,
    }
    found: dict[str, list[Audited]] = {}
    for _ in range(repeats):
        for name, file in sources.items():
            for how in ("ahead", "in turn"):
                told = _told(how, file, home=folder / "run")
                found.setdefault(f"{name}, {how}", []).append(Audited(**told))
                shutil.rmtree(folder / "run")
    return found


def _stage_figures(runs: dict[str, list[Audited]]) -> list[Figure]:
    figures = []
    for name, found in runs.items():
        audit, run, cpu = (
            statistics.median(getattr(one, what) for one in found)
            for what in ("audit", "run", "cpu_seconds")
        )
        figures += [
            Figure(f"audit stage, {name}", audit, "s"),
            Figure(f"run, {name}", run, "s"),
            Figure(f"run, {name}", cpu, "CPU s"),
        ]
        if name.endswith("ahead"):
            waiting = statistics.median(r.waiting for r in found)
            bar = 0.2 if name.startswith("the data") else None
            figures.append(Figure(f"the audit's wait for its import, {name}", waiting, "s", bar))
    return figures


def by_gate(database: Path, settings: Settings) -> Judged:
    """What the gate finds in this process; -1 for a check that could not run."""
    from expectations import gate
    from expectations.rule_files import load_rules

    rules = load_rules(RULES)
    gate.load()
    before = own_cpu_seconds()
    result = gate.audit(settings, database, {}, rules)
    after = own_cpu_seconds()
    counts = {found.rule_id: found.unexpected_count for found in result.results}
    errors = [found for found in result.results if found.status == "error"]
    # The SQL knows no errors: what is not there is not fresh, and not enough.
    unseen = [found.rule_id for found in errors if found.detail.startswith(gate.SAW_NO_ROWS)]
    counts |= {found.rule_id: -1 for found in errors} | dict.fromkeys(unseen, 1)
    broken = [found.rule_id for found in result.results if found.status == "fail"] + unseen
    assert (result.verdict == "block") == bool(broken) or -1 in counts.values()
    return Judged(counts, broken, after - before, after)


def by_sql(database: Path, settings: Settings) -> Judged:
    """What the hand-written SQL finds."""
    before = own_cpu_seconds()
    with closing(connect(settings, database, read_only=True)) as con:
        found = con.execute(SQL.read_text(encoding="utf-8"))
        names = [column[0] for column in found.description]
        row = found.fetchone()
    after = own_cpu_seconds()
    assert row is not None
    return Judged(dict(zip(names, row, strict=True)), [], after - before, after)


def _run(sources: Path, settings: Settings, *, is_ahead: bool) -> Audited:
    """A run in this process, which has imported nothing for it yet."""
    from flows import pipeline, stages

    in_turn = nullcontext() if is_ahead else patch.object(stages, "start_auditor", lambda: None)
    started = time.perf_counter()
    with in_turn, redirect_stderr(io.StringIO()):
        run = pipeline.execute(settings, pipeline.Options(sources=sources))
    seconds = time.perf_counter() - started
    assert run.exit_code == 0, run.failure
    assert run.gate is not None
    audit = run.trace["audit"].seconds
    gate = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_seconds = own_cpu_seconds() + gate.ru_utime + gate.ru_stime
    return Audited(seconds, audit, audit - run.gate.seconds, cpu_seconds)


def main() -> None:
    """Do one of the things that need a process of their own, and print what came of it as JSON."""
    how, place = sys.argv[1], Path(sys.argv[2])
    ways: dict[str, Callable[[], Judged | Audited]] = {
        "gate": lambda: by_gate(place, load_settings()),
        "sql": lambda: by_sql(place, load_settings()),
        "ahead": lambda: _run(place, load_settings(), is_ahead=True),
        "in turn": lambda: _run(place, load_settings(), is_ahead=False),
    }
    print(json.dumps(vars(ways[how]())))


if __name__ == "__main__":
    main()
