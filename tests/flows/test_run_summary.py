"""The end of a run on a console: its order, and the worst few of each kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from expectations.gate import GateResult, RuleResult
from expectations.rules import Rule
from flows.events import Events
from flows.pipeline import Options, Run
from flows.raw_results import NO_DATA, NO_FILE, NONE_LOADED, next_step_of, raw_results
from flows.run_summary import print_run
from warehouse.arrived import ArrivedFile, SourceArrivals
from warehouse.batch import Counts, Judged
from warehouse.errors import BatchRefusedError, GateBlockedError
from warehouse.ingest import SourceSummary
from warehouse.loads import UNLIKE
from warehouse.settings import Settings
from warehouse.sources import Source
from warehouse.waiting import Held, Waiting

NAME = "shop.orders"


POSITIVE = Rule("positive", "raw", f"raw_{NAME}", "between", "critical", "me", "x", minimum=0)


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


def found_by(
    run: Run, folder: Path, rule: Rule, summary: SourceSummary, held: int = 0, arrived: int = 0
) -> RuleResult:
    """The one result of the rule after a run with this summary."""
    file = ArrivedFile("a.csv", datetime(2026, 9, 1), arrived, arrived)  # noqa: DTZ001 (UTC)
    run.sources = [source(folder)]
    run.summaries[NAME] = summary
    came = [SourceArrivals(NAME, 1, arrived, (file,))] if arrived else []
    waits = Held(NAME, "a.csv", f"rule:{rule.id}", held, 2, None, held)
    other = Rule("other", "raw", "raw_shop.nowhere", "not_null", "critical", "me", "why")
    (found,) = raw_results(run, [rule, other], Waiting((waits,) if held else ()), came)
    return found


ON_FILES = like_before()


@pytest.mark.parametrize(
    ("rule", "judged", "refused", "arrived", "told"),
    [
        (ON_FILES, Judged(), Judged(), 0, ("unseen", NO_DATA, 0)),
        (POSITIVE, Judged(), Judged(0, 5), 0, ("unseen", NO_DATA, 0)),
        (POSITIVE, Judged(), Judged(), 9, ("unseen", NO_FILE, 0)),
        (POSITIVE, Judged(1, 0), Judged(), 9, ("unseen", NO_FILE, 0)),
        (ON_FILES, Judged(1, 0), Judged(), 9, ("pass", "1 file", 1)),
        (ON_FILES, Judged(1, 5), Judged(1, 3), 0, ("pass", "2 files", 2)),
        (POSITIVE, Judged(1, 5), Judged(1, 3), 0, ("pass", "8 rows", 8)),
    ],
)
def test_rule_that_looked_at_nothing_is_not_said_to_hold(
    run: Run,
    tmp_path: Path,
    rule: Rule,
    judged: Judged,
    refused: Judged,
    arrived: int,
    told: tuple[str, str, int],
) -> None:
    summary = SourceSummary(NAME, judged=judged, judged_refused=refused)
    found = found_by(run, tmp_path, rule, summary, arrived=arrived)
    assert (found.status, found.detail, found.rows_checked) == told
    assert found.unexpected_count == 0


def test_rule_of_a_source_whose_file_was_refused_does_not_wait_for_a_file(
    run: Run, tmp_path: Path
) -> None:
    summary = SourceSummary(NAME, problems=("a.csv: torn",), judged_refused=Judged(1, 4))
    found = found_by(run, tmp_path, POSITIVE, summary, arrived=9)
    assert (found.status, found.detail) == ("unseen", NONE_LOADED)


def test_next_step_of_a_rule_is_of_the_file_that_it_refused() -> None:
    first, second = replace(POSITIVE, id="dated"), POSITIVE
    breaks = "b.csv: 3 of 4 rows break the rule dated (x), more than its tolerance of 0%"
    problems = (f"{NAME}: a.csv: torn\n  next: mend it", f"{NAME}: {breaks}\n  next: ask for one")
    reasons = (("k", breaks), ("l", "b.csv: 1 of 4 rows break the rule positive (x)"))
    summary = SourceSummary(NAME, problems=problems, reasons=reasons)
    assert next_step_of(first, summary) == "ask for one"
    assert next_step_of(second, summary) == "ask for one"
    assert next_step_of(replace(POSITIVE, id="posit"), summary) == ""


def test_rule_on_rows_counts_rows(run: Run, tmp_path: Path) -> None:
    breaks = (
        f"{NAME}: b.csv: 3 of 4 rows break the rule positive (x), more than its tolerance of 0%"
    )
    refused = Judged(0, 4, Counter(positive=3, dated=4))
    loaded = Judged(1, 50, Counter(positive=2, dated=7))
    text = "7 rows, 5 of them loaded, in breach of the rule dated: y"
    summary = SourceSummary(
        NAME, Counts(54, 48, 2, 0, 4), 1, (breaks,), (("a.csv", text),), "", "", (), loaded, refused
    )
    found = found_by(run, tmp_path, POSITIVE, summary, held=6)
    assert (found.status, found.rows_checked, found.unexpected_count) == ("fail", 54, 6 + 3)
    assert found.detail.endswith("more than its tolerance of 0%; 6 rows in quarantine")
    found = found_by(run, tmp_path, replace(POSITIVE, id="dated", severity="warning"), summary)
    assert (found.status, found.rows_checked, found.unexpected_count) == ("warn", 54, 7 + 4)
    assert found.detail == f"4 rows of refused files; a.csv: {text}"


def test_rule_on_files_counts_files(run: Run, tmp_path: Path) -> None:
    told = tuple(
        (file, f"{rule}: {what}")
        for file, rule, what in (
            *(("a.csv", "orders_like_before", w) for w in ("rows: 9", "amount: 3")),
            ("b.csv", "orders_like_before", "rows: 8"),
        )
    )
    loaded = Judged(5, 50, Counter(orders_like_before=2, second=1))
    summary = SourceSummary(NAME, Counts(50, 50), 5, (), told, judged=loaded)
    found = found_by(run, tmp_path, like_before(), summary)
    assert (found.status, found.rows_checked, found.unexpected_count) == ("warn", 5, 2)
    error = BatchRefusedError(f"{UNLIKE}, says the rule first: rows: 9", where=f"{NAME}: c.csv")
    error.rows, error.broken = 9, {"first": 1, "second": 1}
    error.kinds = {
        f"{rule}: rows": f"{UNLIKE}, says the rule {rule}: rows: 9" for rule in error.broken
    }
    found = found_by(run, tmp_path, like_before("second"), summary.with_refusal(error))
    assert (found.status, found.rows_checked, found.unexpected_count) == ("fail", 6, 2)
    assert found.detail == f"c.csv: {UNLIKE}, says the rule second: rows: 9"


def source(folder: Path) -> Source:
    from warehouse.sources import load_sources

    file = folder / "sources.yml"
    entry = f"  - name: {NAME}\n    kind: files\n    path: '*.csv'\n    format: csv\n"
    file.write_text(f"version: 1\nsources:\n{entry}    write: append\n")
    (found,) = load_sources(file, Settings(folder, 1, "1GiB"))
    return found
