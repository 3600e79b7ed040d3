"""Nothing unaudited is ever served: builds that must be blocked, and runs killed around the gate.

Runs are killed during audit and publish, half of them with a build that passes, the others with one
that must be blocked. Some kills strike the whole run, some leave its gate behind, some strike the
gate alone. After each, `current` must be the last good release, or, of a build that may pass, a new
one whose verdict says so; and what it holds must be right by SQL that knows nothing of the gate.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.arrivals import AMOUNT, FIRST_DAYS, Arrivals
from benchmarks.content import PASSED, TornError, current_release
from benchmarks.figures import Figure, Options
from benchmarks.kills import Watch, started
from warehouse import releases
from warehouse.build import newest_build
from warehouse.duck import connect, number
from warehouse.settings import PROJECT, load_settings

KILLS = 50
CODE = ("flows", "expectations", "warehouse", "models", "macros", "dbt_project.yml", "profiles.yml")
BLOCKED = 3
PATIENCE_SECONDS = 60

Stage = Literal["audit", "publish"]
Victim = Literal["all", "run", "gate"]

EMPTY_MODEL = "select customer_id from {{ ref('dim_customers') }} where customer_id < 0\n"
EMPTY_YAML = """version: 2
models:
  - name: dim_nothing
    columns:
      - name: customer_id
        data_type: bigint
"""
RULES = """table: marts.{table}
owner: payments
rules:
  - id: {table}_{check}
    check: {check}
    {keys}
    severity: {severity}
    reason: to see it
"""
EMPTY_RULE = RULES.format(
    table="dim_nothing", check="row_count", keys="min: 0", severity="critical"
)
# What is wrong with a served release, whatever its gate says.
WRONG = {
    "repeated keys": "select count(*) - count(distinct transaction_id) from marts.fct_transactions",
    "incomplete rows": "select count(*) from marts.fct_transactions"
    " where (amount_cents + customer_id + terminal_id + epoch(transacted_at)) is null",
    "rows without features": "select count(*) from marts.fct_transactions"
    " anti join features.feat_transactions__behaviour using (transaction_id)",
    "features without rows": "select count(*) from features.feat_transactions__behaviour"
    " anti join marts.fct_transactions using (transaction_id)",
    "money lost by customer": "select (select sum(amount_cents) from marts.dim_customers)"
    " - (select sum(amount_cents) from marts.fct_transactions)",
    "money lost by terminal": "select (select sum(amount_cents) from marts.dim_terminals)"
    " - (select sum(amount_cents) from marts.fct_transactions)",
    "money lost by day": "select (select sum(amount_cents) from marts.fct_daily_transactions)"
    " - (select sum(amount_cents) from marts.fct_transactions)",
}


@dataclass(frozen=True)
class Kill:
    """One kill: in which stage, of what processes, and where it struck.

    `fault` is what is wrong with the build, empty for one that passes; `struck` the stage that was
    running, or the one just over.
    """

    stage: Stage
    fault: str
    victim: Victim
    struck: str

    @property
    def is_hit(self) -> bool:
        """Whether the stage was the one that was meant."""
        return self.struck == self.stage


class GateKills:
    """A home, and a copy of the project whose rules are bent so that a build is to be blocked."""

    def __init__(self, folder: Path, rng: random.Random, days: int) -> None:
        self._rng = rng
        self._arrivals = Arrivals(folder, days)
        self._settings = load_settings(folder / "home")
        self._project = folder / "project"
        self._good = ""
        self._mend: list[str] = []
        self._seconds: dict[str, float] = {"audit": 1.0, "publish": 0.05}
        self._refusing_seconds = 0.0
        self.kills: list[Kill] = []
        self._copy_project()
        self._bend("")
        self._arrivals.deliver()
        self._finish("run", expected=0)
        self._check("")

    def _copy_project(self) -> None:
        for name in CODE:
            source, target = PROJECT / name, self._project / name
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        marts = self._project / "models" / "marts"
        (marts / "dim_nothing.sql").write_text(EMPTY_MODEL, encoding="utf-8")
        (marts / "dim_nothing.yml").write_text(EMPTY_YAML, encoding="utf-8")

    def _bend(self, fault: str) -> None:
        """Give the project the rules of that fault, or good ones; data go wrong and right again."""
        rules = self._project / "expectations" / "rules"
        shutil.rmtree(rules)
        shutil.copytree(PROJECT / "expectations" / "rules", rules)
        (rules / "marts" / "dim_nothing.yml").write_text(EMPTY_RULE, encoding="utf-8")
        if fault:
            FAULTS[fault](self, rules)
        elif self._mend:
            self._send(self._mend)
            self._mend = []

    def spoil_data(self, _rules: Path) -> None:
        """A payment without an amount breaks a critical rule of the project's own."""
        lines = self._arrivals.some_lines(2)
        values = lines[1].split(",")
        values[AMOUNT] = ""
        self._mend = lines
        self._send([lines[0], ",".join(values)])

    def _send(self, lines: list[str]) -> None:
        name = f"sent-{time.time_ns()}.csv"
        text = "\n".join(lines) + "\n"
        (self._arrivals.sources.parent / "source" / name).write_text(text, encoding="utf-8")

    def see_blocked(self, fault: str) -> None:
        """A run that nobody kills is blocked.

        Raises TornError.
        """
        self._bend(fault)
        self._finish("run", expected=BLOCKED)
        self._check(fault)

    def in_audit(self, fault: str) -> None:
        """Kill a run while its gate is at work. Raises TornError."""
        self._bend(fault)
        if not fault:
            self._arrivals.deliver()
        victim: Victim = self._rng.choice(("all", "run", "gate"))
        self._kill("audit", fault, victim, "run")

    def in_publish(self, fault: str) -> None:
        """Kill `publish` of a build that was audited before. Raises TornError."""
        build = newest_build(self._settings)
        if build is None or build.read_gate() is None:
            self._bend(fault)
            if not fault:
                self._arrivals.deliver()
            self._finish("ingest", expected=0)
            self._finish("build", expected=0)
            self._finish("audit", expected=BLOCKED if fault else 0)
            if fault:
                started_at = time.monotonic()
                self._finish("publish", expected=BLOCKED)
                self._refusing_seconds = time.monotonic() - started_at
        if fault:
            self._kill_refusal(fault)
        else:
            self._kill("publish", fault, "all", "publish")

    def forget_build(self) -> None:
        """Throw the newest build away, so that the next kill makes its own."""
        releases.sweep_builds(self._settings, keep_newest=False)

    def _arguments(self, command: str) -> tuple[str | Path, ...]:
        takes_sources = command in ("run", "ingest")
        return (command, "--sources", self._arrivals.sources) if takes_sources else (command,)

    def _finish(self, command: str, *, expected: int) -> None:
        watch = Watch()
        with started(self._settings, *self._arguments(command), project=self._project) as (
            process,
            events,
        ):
            for line in events:
                watch.read(line)
            code = process.wait()
        self._seconds |= watch.seconds
        if code != expected:
            raise TornError(f"{command} ended with {code}, not {expected}: {''.join(watch.said)}")

    def _kill(self, stage: Stage, fault: str, victim: Victim, command: str) -> None:
        watch = Watch()
        with started(self._settings, *self._arguments(command), project=self._project) as (
            process,
            events,
        ):
            while watch.running != stage:
                line = events.readline()
                if not line:
                    raise TornError(f"ended before {stage}: {''.join(watch.said)}")
                watch.read(line)
            time.sleep(self._rng.random() * self._seconds[stage])
            gates = _gates(process.pid)
            _strike(process, victim, gates)
            if victim != "gate":
                process.wait()
                _wait_until_gone(gates)
            for line in events:
                watch.read(line)
            process.wait()
        struck = watch.struck
        if victim == "gate":  # its run goes on
            struck = stage if gates else f"after {stage}"
        self.kills.append(Kill(stage, fault, victim, struck))
        self._check(fault)

    def _kill_refusal(self, fault: str) -> None:
        """Kill `publish` at any moment: refusing a build takes it no time."""
        with started(self._settings, "publish", project=self._project) as (process, events):
            time.sleep(self._rng.random() * self._refusing_seconds)
            os.killpg(process.pid, signal.SIGKILL)
            events.read()
            is_killed = process.wait() == -signal.SIGKILL
        self.kills.append(Kill("publish", fault, "all", "publish" if is_killed else "end"))
        self._check(fault)

    def _check(self, fault: str) -> None:
        """Raises TornError when what is served must not be."""
        held = current_release(self._settings)
        serving = releases.current(self._settings)
        assert serving is not None
        assert held
        if fault and serving.id != self._good:
            raise TornError(f"a build that must be blocked is served: {fault}")
        self._good = serving.id
        told = {release.id: release.verdict for release in releases.releases(self._settings)}
        if set(told.values()) - set(PASSED):
            raise TornError(f"among the releases is one that did not pass: {told}")
        database = self._settings.database(self._settings.current.resolve())
        with closing(connect(self._settings, database, read_only=True)) as con:
            wrong = [name for name, sql in WRONG.items() if number(con, sql)]
        if wrong:
            raise TornError(f"the served release has {', '.join(wrong)}")


def _break_check(_test: GateKills, rules: Path) -> None:
    # It binds, so that nobody can refuse it before; and nobody would miss what it says.
    text = RULES.format(
        table="dim_terminals",
        check="expression",
        keys="expression: cast('x' || terminal_id as integer) > 0",
        severity="info",
    )
    (rules / "marts" / "dim_terminals_more.yml").write_text(text, encoding="utf-8")


def _forget_table(_test: GateKills, rules: Path) -> None:
    (rules / "marts" / "dim_terminals.yml").unlink()


def _forget_all(_test: GateKills, rules: Path) -> None:
    for file in rules.glob("*/*.yml"):
        file.unlink()


def _look_at_nothing(_test: GateKills, rules: Path) -> None:
    text = RULES.format(
        table="dim_nothing", check="not_null", keys="column: customer_id", severity="warning"
    )
    (rules / "marts" / "dim_nothing.yml").write_text(text, encoding="utf-8")


FAULTS: dict[str, Callable[[GateKills, Path], None]] = {
    "a critical rule is broken": GateKills.spoil_data,
    "a check cannot run": _break_check,
    "a table has no rules": _forget_table,
    "there are no rules at all": _forget_all,
    "a check sees no rows": _look_at_nothing,
}


def _gates(pid: int) -> list[int]:
    """The processes that audit for the run; others are helpers of dbt's."""
    command = ["pgrep", "-P", str(pid), "-f", "expectations.auditor"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    return [int(text) for text in told.stdout.split()]


def _strike(process: subprocess.Popen[bytes], victim: Victim, gates: list[int]) -> None:
    if victim == "all":
        os.killpg(process.pid, signal.SIGKILL)
    for pid in gates if victim == "gate" else [process.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _wait_until_gone(pids: list[int]) -> None:
    """Raises TornError when a gate outlives its run for long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(_runs(pid) for pid in pids):
        if time.monotonic() > deadline:
            raise TornError(f"a gate outlived its run: {pids}")
        time.sleep(0.01)


def _runs(pid: int) -> bool:
    shown = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return bool(shown.stdout.strip()) and not shown.stdout.startswith("Z")


def measure(options: Options) -> tuple[list[Figure], dict[str, Any]]:
    """At least 50 kills that struck in each stage, half of them with a build to be blocked."""
    wanted = len(FAULTS) * 2 if options.short else KILLS
    print(f"gate_kills: seed {options.seed}", flush=True)
    test = GateKills(
        options.folder("gate_kills"), random.Random(options.seed), FIRST_DAYS + 8 * wanted
    )
    faults = []
    try:
        for fault in FAULTS:
            test.see_blocked(fault)
        _kill_in_turns(test, wanted)
    except TornError as error:
        faults.append(f"{test.kills[-1] if test.kills else 'no kill yet'}: {error}")
        print(f"gate_kills: {faults[-1]}", flush=True)
    return _figures(test.kills, wanted, faults), {
        "seed": options.seed,
        "kills": [asdict(kill) for kill in test.kills],
        "faults": faults,
    }


def _kill_in_turns(test: GateKills, wanted: int) -> None:
    """Until enough kills struck: each fault as often as the others, together as often as none."""
    ways: dict[Stage, Callable[[str], None]] = {
        "audit": test.in_audit,
        "publish": test.in_publish,
    }
    share = wanted // 2 // len(FAULTS)
    for stage, kill in ways.items():
        for fault in FAULTS:
            for due in (fault, ""):
                test.forget_build()
                struck = _hits(test.kills, stage, due)
                while _hits(test.kills, stage, due) < struck + share:
                    kill(due)


def _hits(kills: list[Kill], stage: Stage, fault: str) -> int:
    return sum(kill.is_hit and (kill.stage, kill.fault) == (stage, fault) for kill in kills)


def _figures(kills: list[Kill], wanted: int, faults: list[str]) -> list[Figure]:
    hits = Counter((kill.stage, bool(kill.fault)) for kill in kills if kill.is_hit)
    stages: tuple[Stage, ...] = ("audit", "publish")
    return [
        *(
            Figure(f"kills in {stage}, {what}", hits[stage, is_bad], "kills", at_least=wanted // 2)
            for stage in stages
            for what, is_bad in (("to be blocked", True), ("to pass", False))
        ),
        Figure("kills that struck elsewhere", sum(not kill.is_hit for kill in kills), "kills"),
        Figure("unaudited or wrong releases served", len(faults), "faults", at_most=0),
    ]
