"""One run: what it was asked, what each stage leaves for the next, and how it went."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.events import Events, Mode
from flows.standing import standing
from warehouse import releases
from warehouse.errors import TERMINATED, ClearwaterError, GateBlockedError, StoppedError
from warehouse.settings import PROJECT, Settings

if TYPE_CHECKING:
    from expectations.auditor import Auditor
    from expectations.gate import GateResult, RuleResult
    from flows.ticks import Covers
    from warehouse.batch import Batch, Loaded
    from warehouse.build import Build, Failure
    from warehouse.ingest import Arrivals, SourceSummary
    from warehouse.releases import Release
    from warehouse.sources import Source
    from warehouse.state import RunLedger


@dataclass(frozen=True)
class Options:
    """What a run was asked to do; `trigger` says by what: `schedule`, `retry of <run>`.

    `log` is as the settings say where None. `stands_for` are the stages of the run that this one
    takes up, which are its own for any other. `covers` are the ticks of a schedule that were missed
    before.
    """

    sources: Path = PROJECT / "sources.yml"
    only: tuple[str, ...] = ()
    full_refresh: bool = False
    wait: bool = False
    log: Mode | None = None
    export: str = ""
    trigger: str = "command line"
    stands_for: tuple[str, ...] = ()
    covers: Covers | None = None


@dataclass
class StageTrace:
    """How a stage went."""

    status: str
    seconds: float = 0.0
    rows: int | None = None
    detail: str = ""


@dataclass
class Run:
    """One run: what it was asked, and what each stage leaves for the next.

    `started_at` (UTC) is when it got the writer lock: who waits for it is not at work. `declared`
    are all sources of the file, `sources` those that were asked for; `loaded` the batches of every
    try; `unlike` the kinds of what raw rules found unlike before in files that are loaded, by rule;
    `unbuilt` are the domains with models that failed; `passed` those that passed although others
    are blocked, as `failure` tells then; `blocked` the rows of the build's tables that must not be
    published; `clock` what became, where nothing was built, of rules on the release served;
    `retries` tells what was tried again.
    """

    settings: Settings
    options: Options
    run_id: str
    events: Events
    started_at: datetime
    stages: tuple[str, ...] = ()
    declared: list[Source] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    arrivals: Arrivals | None = None
    summaries: dict[str, SourceSummary] = field(default_factory=dict)
    loaded: dict[str, tuple[Batch, Loaded]] = field(default_factory=dict)
    unlike: dict[str, tuple[str, ...]] = field(default_factory=dict)
    lake_snapshot: int | None = None
    build: Build | None = None
    auditor: Auditor | None = None
    gate: GateResult | None = None
    clock: tuple[RuleResult, ...] | None = None
    rules: dict[str, str] = field(default_factory=dict)
    unbuilt: dict[str, Failure] = field(default_factory=dict)
    passed: tuple[str, ...] = ()
    blocked: dict[str, int] = field(default_factory=dict)
    release: Release | None = None
    tables: dict[str, int] = field(default_factory=dict)
    report: Path | None = None
    is_up_to_date: bool = False
    lineage: dict[str, list[str]] = field(default_factory=dict)
    watched: frozenset[str] = frozenset()
    trace: dict[str, StageTrace] = field(default_factory=dict)
    retries: list[str] = field(default_factory=list)
    failure: ClearwaterError | None = None
    crash: BaseException | None = None
    ledger: RunLedger | None = None

    def done(self, detail: str, *, rows: int | None = None, status: str = "done") -> None:
        """Say how the stage that is running went."""
        trace = next(trace for trace in self.trace.values() if trace.status == "start")
        trace.status, trace.detail, trace.rows = status, detail, rows

    @property
    def verdict(self) -> str | None:
        """The gate's; where nothing was built, that of the release served if the clock counts."""
        gate = self.gate or (standing(self) if self.clock else None)
        return gate.verdict if gate else None

    @property
    def problems(self) -> list[str]:
        """What went wrong at the sources."""
        return [text for summary in self.summaries.values() for text in summary.problems]

    @property
    def exit_code(self) -> int:
        """0 done; 1 failed or a batch refused; 3 blocked; as the failure says."""
        if self.failure is not None:
            return self.failure.exit_code
        if isinstance(self.crash, StoppedError):
            return TERMINATED
        return 1 if self.problems or self.crash else 0

    @property
    def status(self) -> str:
        """done, refused (a batch was, the rest is done), blocked, failed or stopped."""
        if self.crash is not None and not isinstance(self.crash, Exception):
            return "stopped"
        if isinstance(self.failure, GateBlockedError):
            return "blocked"
        if self.failure is not None or self.crash is not None:
            return "failed"
        return "refused" if self.problems else "done"

    def _broken(self) -> list[dict[str, str]]:
        """The rules of the gate that do not hold, with what was seen, without rows."""
        return [
            {"rule_id": r.rule_id, "table": r.table, "status": r.status}
            | {"detail": r.detail.partition(", e.g.")[0]}
            for r in (self.gate.results if self.gate else self.clock or ())
            if r.status not in ("pass", "carried")
        ]

    def summary(self) -> dict[str, Any]:
        """The run for machines."""
        return {
            "run_id": self.run_id,
            "status": self.status,
            "exit_code": self.exit_code,
            "catch_up": self.options.covers.as_json() if self.options.covers else None,
            "release": self.release.id if self.release else None,
            "lake_snapshot": self.lake_snapshot,
            "verdict": self.verdict,
            "broken": self._broken(),
            "domains": releases.told_lines(self.release) if self.release else {},
            "held": releases.held_at(self.settings) is not None,
            "stages": {name: asdict(trace) for name, trace in self.trace.items()},
            "sources": {
                name: {
                    "loaded": summary.counts.loaded,
                    "quarantined": summary.counts.quarantined,
                    "already_known": summary.counts.already_known,
                    "refused": summary.counts.refused,
                    "rows_in": summary.counts.rows_in,
                    "deleted": summary.counts.deleted,
                    "batches": summary.batches,
                    "changes": list(summary.changes),
                    "problems": list(summary.problems),
                    "warnings": list(summary.warnings),
                }
                for name, summary in self.summaries.items()
            },
            "retries": list(self.retries),
            "tables": self.tables,
            "report": str(self.report) if self.report else None,
            "error": str(self.failure or self.crash) if self.failure or self.crash else None,
        }
