"""The report: one page that needs nothing else, its JSON beside it, the newest as `latest`."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from expectations.gate import GateResult, RuleResult
from expectations.report import (
    RunReport,
    SourceReport,
    StageReport,
    TableReport,
    rules_by_table,
    write_report,
)
from warehouse.waiting import Held, Refused, Waiting


def result(rule_id, status, table="marts.payments", detail="10 rows"):
    return RuleResult(
        rule_id, table, "marts", "between", "critical", status, 10, 0, detail, "because"
    )


RESULTS = (
    result("holds", "pass"),
    result("breaks", "fail", detail="1 row breaks it, e.g. name=<script>alert(1)</script>"),
    result("fine", "pass", table="marts.a"),
    result("same", "carried", table="marts.b"),
)
RUN = RunReport(
    run_id="run-1",
    started_at=datetime(2026, 11, 21, 12, tzinfo=UTC),
    status="blocked",
    verdict="block",
    release="release-0",
    lake_snapshot=17,
    sources=(
        SourceReport("payments.transactions", 1000, quarantined=3, message="3 rows\nin a.csv"),
    ),
    stages=(StageReport("land", "done", 0.25),),
    tables=(TableReport("marts.payments", 1754155),),
    gate=GateResult("block", RESULTS, 1.0),
    message="1 of 4 rules does not hold",
)


class Tags(HTMLParser):
    """The tags of a page, and whether they close in order."""

    void = frozenset({"meta", "br", "link", "img", "input", "hr"})

    def __init__(self, page):
        super().__init__()
        self.open, self.seen, self.attributes = [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_tells_what_happened(settings):
    page = write_report(settings, RUN).read_text()
    for text in (
        "Blocked: a critical rule does not hold. Nothing was published.",
        "1 of 4 rules does not hold",
        "run-1",
        "release-0",
        "payments.transactions",
        "1,754,155",
        "3 rows\nin a.csv\n<code>clearwater quarantine show payments.transactions</code>",
    ):
        assert text in page
    assert page.index("<code>breaks") < page.index("<code>holds") < page.index("<code>fine")


def test_the_page_needs_nothing_else(settings):
    page = write_report(settings, RUN).read_text()
    tags = Tags(page)
    assert tags.open == []
    assert not {"script", "link", "img", "iframe"} & set(tags.seen)
    assert not {"src", "onclick"} & {name for name, _ in tags.attributes}
    assert all(value.startswith("#") for name, value in tags.attributes if name == "href")
    assert not re.search(r"https?:|//|@import|url\(", page)


def test_values_are_escaped(settings):
    page = write_report(settings, RUN).read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_the_json_beside_it_tells_the_same(settings):
    content = json.loads(write_report(settings, RUN).with_name("index.json").read_text())
    assert content["run_id"] == "run-1"
    assert content["gate"]["results"][1]["rule_id"] == "breaks"
    assert content["sources"][0]["quarantined"] == 3


def test_latest_is_the_newest_and_can_be_moved(settings, tmp_path):
    write_report(settings, RUN)
    write_report(settings, RunReport("run-2", RUN.started_at, "failed", message="no lake"))
    latest = settings.reports / "latest"
    assert str(latest.readlink()) == "run-2"
    settings.home.rename(tmp_path / "moved")
    assert "no lake" in (tmp_path / "moved" / "reports" / "latest" / "index.html").read_text()


def test_writing_again_replaces(settings):
    first = write_report(settings, RUN).read_bytes()
    assert write_report(settings, RUN).read_bytes() == first
    names = sorted(file.name for file in settings.reports.iterdir())
    assert names == ["latest", "run-1"]


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        ("pass", "Every rule holds: release release-1 is published."),
        ("warn", "Release release-1 is published, with warnings to look at."),
        ("", "The run ended before its gate."),
    ],
)
def test_sentences(verdict, sentence):
    run = RunReport("run-1", RUN.started_at, "done", verdict, "release-1")
    assert run.sentence == sentence


def test_the_worst_comes_first():
    grouped = rules_by_table(RESULTS)
    assert [(rules.table, rules.status) for rules in grouped] == [
        ("marts.payments", "fail"),
        ("marts.a", "pass"),
        ("marts.b", "carried"),
    ]
    assert [found.rule_id for found in grouped[0].results] == ["breaks", "holds"]


def test_what_waits_is_shown_with_its_place(settings):
    held = Held("shop.orders", "<b>.csv", "not_of_type", 1200, 41, "not of the type: amount")
    waits = Waiting((held,), (Refused("shop.orders", "bad.csv", "no header"),))
    page = write_report(settings, replace(RUN, waiting=waits)).read_text()
    assert Tags(page).open == []
    for text in (
        "shop.orders: 1,200 rows · <code>clearwater quarantine show shop.orders</code>",
        "&lt;b&gt;.csv",
        "not_of_type",
        "not of the type: amount",
        ">41<",
        "bad.csv",
        "no header",
    ):
        assert text in page
    content = json.loads((settings.reports / "run-1" / "index.json").read_text())
    assert content["waiting"]["held"][0]["rows"] == 1200


def test_the_first_of_very_many_are_shown(settings):
    held = tuple(Held("shop.orders", f"{n}.csv", "torn_record", 1, None, None) for n in range(101))
    page = write_report(settings, replace(RUN, waiting=Waiting(held))).read_text()
    assert "99.csv" in page
    assert "100.csv" not in page
    assert "The first 100 of 101" in page


def test_nothing_that_waits_is_no_section(settings):
    page = write_report(settings, RUN).read_text()
    assert "Rows in quarantine" not in page
    assert "Refused files" not in page


def test_lake_that_cannot_be_read_is_told(settings):
    page = write_report(settings, replace(RUN, waiting=Waiting(problem="no right to"))).read_text()
    assert "the lake cannot be read. no right to" in page
