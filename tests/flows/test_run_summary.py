"""The end of a run on a console: its order, and the worst few of each kind."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from expectations.gate import GateResult, RuleResult
from expectations.rules import Rule
from flows.events import Events
from flows.pipeline import Options, Run
from flows.raw_results import NO_DATA, raw_results
from flows.run_summary import print_run
from warehouse.arrived import ArrivedFile, SourceArrivals
from warehouse.batch import Counts
from warehouse.errors import GateBlockedError
from warehouse.ingest import SourceSummary
from warehouse.settings import Settings
from warehouse.sources import Source
from warehouse.waiting import Waiting

NAME = "shop.orders"


def like_before(rule_id: str = "orders_like_before") -> Rule:
    return Rule(rule_id, "raw", f"raw_{NAME}", "anomaly", "warning", "me", "as before")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("expectations.rule_files.load_rules", lambda: [like_before()])
    settings = Settings(tmp_path, 1, "1GiB")
    return Run(settings, Options(), "r1", Events("text", "r1"), datetime.now(UTC))


def warned(rule_id: str, detail: str, check: str = "between", status: str = "warn") -> RuleResult:
    return RuleResult(rule_id, "marts.t", "marts", check, "warning", status, 9, 1, detail, "why")  # type: ignore[arg-type]


def test_refusals_then_warnings_then_the_verdict(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a console shows them, where both streams are one."""
    monkeypatch.setattr("sys.stderr", __import__("sys").stdout)
    told = (("a.csv", "new column note"), ("a.csv", "orders_like_before: rows: 9, usually 5"))
    run.summaries[NAME] = SourceSummary(NAME, Counts(quarantined=2), 1, ("b.csv: torn",), told)
    run.gate = GateResult("warn", (warned("quiet", "odd", status="info"), warned("odd", "3")), 1.0)
    print_run(run)
    assert capsys.readouterr().out.splitlines() == [
        "refused: b.csv: torn",
        f"changed: {NAME}: a.csv: new column note",
        f"warning: {NAME}: a.csv: orders_like_before: rows: 9, usually 5",
        "warning: odd: 3",
        "info: quiet: odd",
        f"2 rows of {NAME} are in quarantine. Why, and where they came from:",
        f"  clearwater quarantine show {NAME}",
        "run r1: refused (1 file), verdict warn",
    ]


def test_one_odd_file_is_one_line_with_the_worst_three(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    told = tuple(("odd.csv", f"orders_like_before: finding {n}") for n in range(15))
    run.summaries[NAME] = SourceSummary(NAME, told=told)
    clauses = "; ".join(f"clause {n}" for n in range(12))
    run.gate = GateResult("warn", (warned("like", clauses, "anomaly"),), 1.0)
    print_run(run)
    file, gate, _ = capsys.readouterr().out.splitlines()
    findings = "finding 0; finding 1; finding 2 (and 12 more)"
    assert file == f"warning: {NAME}: odd.csv: orders_like_before: {findings}"
    assert gate == "warning: like: clause 0; clause 1; clause 2 (and 9 more)"
    broken = run.summary()["broken"]
    assert [rule["detail"] for rule in broken] == [clauses]
    assert len(run.summary()["sources"][NAME]["changes"]) == 15


def test_of_many_refusals_and_warnings_three_are_shown(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    run.summaries[NAME] = SourceSummary(NAME, problems=tuple(f"f{n}.csv: torn" for n in range(7)))
    run.gate = GateResult("warn", tuple(warned(f"rule{n}", "3 rows") for n in range(5)), 1.0)
    run.failure = GateBlockedError("blocked", next_step="mend")
    print_run(run)
    out, err = capsys.readouterr()
    assert err.splitlines()[3] == "refused: and 4 more; the report and --json have them all"
    assert err.splitlines()[4:] == ["error: blocked", "  next: mend"]
    assert out.splitlines()[3] == "warning: and 2 more; the report and --json have them all"
    assert out.splitlines()[4:] == ["run r1: blocked, verdict warn"]


@pytest.mark.parametrize(
    ("counts", "arrived", "status", "detail"),
    [
        (Counts(), 0, "unseen", NO_DATA),
        (Counts(rows_in=5, refused=5), 0, "unseen", NO_DATA),
        (Counts(), 9, "carried", "no new file"),
        (Counts(rows_in=5, loaded=5), 0, "pass", "5 rows"),
    ],
)
def test_rule_that_never_saw_a_row_is_not_said_to_hold(
    run: Run, tmp_path: Path, counts: Counts, arrived: int, status: str, detail: str
) -> None:
    file = ArrivedFile("a.csv", datetime(2026, 9, 1), arrived, arrived)  # noqa: DTZ001 (UTC)
    run.sources = [source(tmp_path)]
    run.summaries[NAME] = SourceSummary(NAME, counts)
    came = [SourceArrivals(NAME, 1, arrived, (file,))] if arrived else []
    other = Rule("other", "raw", "raw_shop.nowhere", "not_null", "critical", "me", "why")
    (found,) = raw_results(run, [like_before(), other], Waiting(), came)
    assert (found.status, found.detail) == (status, detail)


def source(folder: Path) -> Source:
    from warehouse.sources import load_sources

    file = folder / "sources.yml"
    entry = f"  - name: {NAME}\n    kind: files\n    path: '*.csv'\n    format: csv\n"
    file.write_text(f"version: 1\nsources:\n{entry}    write: append\n")
    (found,) = load_sources(file, Settings(folder, 1, "1GiB"))
    return found
