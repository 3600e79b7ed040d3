"""What changed since the last run: the sentences, their order, and what they are against."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from expectations.gate import GateResult, RuleResult
from expectations.report import RunReport, SourceReport, TableReport, write_report
from expectations.reporting.changes import SHOWN


def result(rule_id, status, table="marts.orders", **parts):
    found = RuleResult(rule_id, table, "marts", "between", "critical", status, 9, 0, "", "because")
    return replace(found, **parts)


def run(number, *results, verdict="pass", tables=(), **parts):
    return RunReport(
        run_id=f"run-{number}",
        started_at=datetime(2026, 11, number, tzinfo=UTC),
        status="done",
        verdict=verdict,
        tables=tables,
        gate=GateResult(verdict, results, 1.0) if results else None,
        **parts,
    )


@pytest.fixture
def changes(settings):
    """Writes reports one after the other; returns what the last one tells as changed."""

    def told(*runs):
        for one in runs:
            page = write_report(settings, one)
        content = json.loads(page.with_name("index.json").read_text())
        for change in content["changes"]:
            assert re.split(r"marts\.|raw_shop\.", change["text"])[0] in page.read_text()
        return [change["text"] for change in content["changes"]]

    return told


def test_the_first_report_has_nothing_to_compare_with(settings, changes):
    assert changes(run(1, result("a", "fail"), verdict="block")) == []
    assert "This is the first report" in (settings.reports / "run-1" / "index.html").read_text()


def test_nothing_changed(settings, changes):
    tables = (TableReport("marts.orders", 10),)
    assert changes(*(run(n, result("a", "pass"), tables=tables) for n in (1, 2))) == []
    assert "Nothing: the same rules hold" in (settings.reports / "latest/index.html").read_text()


def test_what_only_informs_is_told_plainly(settings, changes):
    told = result("a", "info", severity="info")
    assert changes(run(1, result("a", "pass")), run(2, told)) == [
        "a of marts.orders does not hold now, for information."
    ]
    content = json.loads((settings.reports / "run-2" / "index.json").read_text())
    assert [change["tone"] for change in content["changes"]] == ["plain"]
    assert changes(run(3, result("a", "pass")), run(4, told), run(5, result("a", "warn"))) == [
        "a of marts.orders warns now."
    ]


def test_rules_that_broke_worsened_held_and_went(changes):
    before = [
        *(result(name, "pass") for name in ("breaks", "warns", "errs", "goes")),
        *(result(name, "warn") for name in ("worsens", "mends", "stays")),
    ]
    now = [
        result("breaks", "fail", unexpected_count=1200, sample=(("1",),)),
        result("warns", "warn"),
        result("errs", "error"),
        result("worsens", "fail"),
        result("mends", "carried"),
        result("stays", "warn"),
        result("comes", "pass"),
    ]
    assert changes(run(1, *before, verdict="warn"), run(2, *now, verdict="error")) == [
        "The run before passed its gate; this one is blocked.",
        "errs of marts.orders could not be checked.",
        "breaks of marts.orders fails now: 1,200 rows.",
        "worsens of marts.orders fails now; it only warned.",
        "warns of marts.orders warns now.",
        "1 rule gone: goes.",
        "mends of marts.orders holds again.",
        "1 rule still does not hold, as in the run before.",
        "1 new rule.",
    ]


def test_a_new_rule_that_fails_is_told_as_failing(changes):
    told = changes(run(1, result("a", "pass")), run(2, result("b", "fail"), verdict="block"))
    assert "b of marts.orders fails now." in told


def test_very_many_are_counted(changes):
    before = [result(f"r{n}", "pass") for n in range(9)]
    now = [result(f"r{n}", "fail") for n in range(9)]
    told = changes(run(1, *before), run(2, *now, verdict="block"))
    assert told[1 : SHOWN + 2] == [
        *(f"r{n} of marts.orders fails now." for n in range(SHOWN)),
        f"{9 - SHOWN} other rules broke too.",
    ]


def test_tables_that_came_went_grew_and_lost(changes):
    holds = result("a", "pass")
    before = {"marts.gone": 5, "marts.grown": 1000, "marts.more": 10, "marts.lost": 100}
    now = {"marts.new": 5, "marts.grown": 21_000, "marts.more": 11, "marts.lost": 90}
    told = changes(
        run(1, holds, tables=tuple(TableReport(*size) for size in before.items())),
        run(2, holds, tables=tuple(TableReport(*size) for size in now.items())),
    )
    assert told == [
        "The table marts.gone is gone.",
        "marts.lost lost 10 rows (−10.0%).",
        "New table marts.new.",
        "marts.grown grew by 20,000 rows (×21); 1 other table grew too.",
    ]


def test_columns_that_came_went_and_changed(changes):
    holds = result("a", "pass")
    before = TableReport("marts.orders", 1, (("id", "BIGINT"), ("a", "DATE"), ("b", "DATE")))
    now = TableReport("marts.orders", 1, (("id", "VARCHAR"), ("c", "DATE")))
    assert changes(run(1, holds, tables=(before,)), run(2, holds, tables=(now,))) == [
        "marts.orders lost columns: a, b.",
        "marts.orders: id is VARCHAR now; it was BIGINT.",
        "marts.orders has new column: c.",
    ]


def test_what_was_put_aside_is_told_at_the_first_report_too(changes):
    sources = (SourceReport("shop.orders", 10, 3), SourceReport("shop.visits", refused=7))
    assert changes(run(1, result("a", "pass"), sources=sources)) == [
        "shop.visits had something refused, 7 rows.",
        "3 rows of shop.orders went to the quarantine.",
    ]


def test_a_run_that_did_not_reach_its_gate_is_no_yardstick_for_rules(settings, changes):
    good, bad = run(1, result("a", "pass")), run(3, result("a", "fail"), verdict="block")
    broken = replace(run(2, verdict=""), status="failed")
    assert changes(good, broken) == ["The run before reached its gate; this one did not."]
    assert changes(bad)[-1] == "a of marts.orders fails now."
    assert "Against run run-1" in (settings.reports / "run-3" / "index.html").read_text()
    mended = changes(run(4, result("a", "pass")))
    assert mended == [
        "The run before was blocked; this one is not.",
        "a of marts.orders holds again.",
    ]


def test_an_earlier_report_that_cannot_be_read_is_passed_over(settings, changes):
    changes(run(1, result("a", "pass")), run(2, result("a", "warn"), verdict="warn"))
    (settings.reports / "run-2" / "index.json").write_text("{")
    assert changes(run(3, result("a", "warn"), verdict="warn")) == ["a of marts.orders warns now."]


def test_writing_a_report_again_compares_with_the_same_one(changes):
    first, second = run(1, result("a", "pass")), run(2, result("a", "warn"), verdict="warn")
    assert changes(first, second) == changes(second) == ["a of marts.orders warns now."]


def test_a_raw_rule_that_saw_no_row_does_not_hold_again(changes):
    first, blind, sees = (
        result("fit", status, table="raw_shop.orders", boundary="raw")
        for status in ("warn", "unseen", "pass")
    )
    assert changes(run(1, first), run(2, blind)) == [
        "1 rule that did not hold in the run before had no new row to look at."
    ]
    assert changes(run(3, first), run(4, sees)) == ["fit of raw_shop.orders holds again."]
