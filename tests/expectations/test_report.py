"""The report: one page that needs nothing else, its JSON beside it, the newest as `latest`."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html.parser import HTMLParser

import pytest

from benchmarks.report import made_up
from expectations.gate import GateResult, RuleResult
from expectations.incidents import Symptom
from expectations.offenders import MASK
from expectations.report import (
    NewestValue,
    RunReport,
    SourceReport,
    StageReport,
    TableReport,
    rules_by_table,
    write_report,
)
from expectations.trends import Trend
from flows.raw_results import NO_DATA, NO_FILE
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


EVERYTHING = made_up(seed=7, tables=12, rules=10)


def table_page(index, table):
    return (index.parent / "tables" / f"{table}.html").read_text()


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
        "3 rows\nin a.csv",
    ):
        assert text in page
    tables = page[page.index('id="tables"') :]
    assert tables.index("marts.payments<") < tables.index("marts.a<") < tables.index("marts.b<")
    assert "<code>holds" not in page  # what holds is on the table's page


def test_a_table_has_its_page_with_all_its_rules(settings):
    page = table_page(write_report(settings, RUN), "marts.payments")
    assert page.index("<code>breaks") < page.index("<code>holds")
    assert "<code>fine" not in page


def test_the_folder_needs_nothing_else(settings):
    folder = write_report(settings, EVERYTHING).parent
    pages = sorted(folder.rglob("*.html"))
    assert len(pages) == 1 + 12
    for page in pages:
        tags = Tags(page.read_text())
        assert tags.open == []
        assert not {"img", "iframe", "object", "embed", "video", "form"} & set(tags.seen)
        assert not {name for name, _ in tags.attributes if name == "src" or name.startswith("on")}
        for address in [value for name, value in tags.attributes if name == "href"]:
            file, _, anchor = address.partition("#")
            target = page.parent / file if file else page
            assert address == "data:," or target.resolve().is_relative_to(folder.resolve())
            assert address == "data:," or target.is_file()
            assert not anchor or f'id="{anchor}"' in target.read_text()
    for file in folder.rglob("*.*"):
        text = file.read_text().replace('"data:,"', "")
        assert not re.search(r"https?:|//|@import|url\(|style=\"", text), file


def test_every_page_says_what_it_may_load(settings):
    for page in write_report(settings, EVERYTHING).parent.rglob("*.html"):
        policy = dict(Tags(page.read_text()).attributes)["content"] and re.search(
            r'Content-Security-Policy" content="(.*?)"', page.read_text()
        )
        assert "default-src &#39;none&#39;" in policy[1]
        assert "unsafe" not in policy[1]
        assert "http" not in policy[1]


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


def test_pages_of_tables_that_are_gone_are_removed(settings):
    folder = write_report(settings, EVERYTHING).parent
    write_report(settings, replace(RUN, run_id=EVERYTHING.run_id))
    names = sorted(page.name for page in (folder / "tables").iterdir())
    assert names == ["marts.a.html", "marts.b.html", "marts.payments.html"]


def test_any_name_of_a_table_is_a_page(settings):
    names = ["marts.Ünïcode naïve", "marts.a/../../b", 'marts."><b>', "marts." + "x" * 300]
    results = tuple(result(f"r{n}", "pass", table=name) for n, name in enumerate(names))
    run = replace(RUN, gate=GateResult("pass", results, 1.0), tables=())
    index = write_report(settings, run)
    links = re.findall(r'href="(tables/[^"]+)"', index.read_text())
    assert len(set(links)) == len(names)
    assert all((index.parent / link).is_file() for link in links)
    assert len(list((index.parent / "tables").iterdir())) == len(names)
    assert "&#34;&gt;&lt;b&gt;" in index.read_text()


@pytest.mark.parametrize(
    ("verdict", "sentence"),
    [
        ("pass", "Every rule holds: the release of 1 November 2026, 06:15 UTC is published."),
        (
            "warn",
            "The release of 1 November 2026, 06:15 UTC is published, with warnings to look at.",
        ),
        ("", "The run ended before its gate."),
    ],
)
def test_sentences(verdict, sentence):
    run = RunReport("run-1", RUN.started_at, "done", verdict, "20261101T061507000000")
    assert run.sentence == sentence


@pytest.mark.parametrize("verdict", ["pass", "warn"])
def test_run_that_published_nothing_for_want_of_files_is_no_pass(settings, verdict):
    before, within = "20261121T110000000000", "20261121T120003000000"
    broken = result("breaks", "warn")
    run = replace(
        RUN,
        status="refused",
        verdict=verdict,
        message="",
        release=before,
        gate=GateResult(verdict, (broken,), 1.0),
    )
    page = write_report(settings, run).read_text()
    assert "Nothing new was published, for files were refused:" in page
    assert "the release of 21 November 2026, 11:00 UTC, made before this run, is still" in page
    assert '<span class="badge fail">✕ files were refused</span>' in page
    assert "Release still served" in page
    assert "passed" not in page
    page = write_report(settings, replace(run, release=within)).read_text()
    assert "12:00 UTC is published, without the files that were refused." in page
    assert '<span class="badge warn">▲ passed, and files were refused</span>' in page


def test_a_rule_that_saw_no_row_is_counted_apart(settings):
    unseen = tuple(
        replace(result(f"{table}{n}", "unseen", f"raw_shop.{table}", why), boundary="raw")
        for table, why in (("later", NO_DATA), ("quiet", NO_FILE))
        for n in range(2)
    )
    run = replace(RUN, gate=GateResult("block", (*unseen, *RESULTS), 1.0))
    index = write_report(settings, run)
    page = index.read_text()
    assert "1 of 8 does not hold" in page
    for table, why in (("later", NO_DATA), ("quiet", NO_FILE)):
        assert f"2 {why}" in page
        told = table_page(index, f"raw_shop.{table}")
        assert "– not checked" in told
        assert f"2 rules {why}" in told
        assert "holds" not in told


def test_a_rule_on_files_counts_files(settings):
    unlike = replace(
        result("like", "warn", "raw_shop.orders", "a.csv: rows: 9, usually 5"),
        boundary="raw",
        check="anomaly",
        rows_checked=7,
        unexpected_count=1,
    )
    write_report(settings, replace(RUN, gate=GateResult("warn", (unlike,), 1.0)))
    more = replace(unlike, rows_checked=1, unexpected_count=2)
    run = replace(RUN, run_id="run-2", gate=GateResult("warn", (more,), 1.0))
    page = table_page(write_report(settings, run), "raw_shop.orders")
    assert "(1 file checked)" in page
    assert "; 1 file in the run before" in page


def test_what_to_do_about_a_rule_stands_beside_it(settings):
    steps = {"breaks": ("ask the sender of <shop>", "`clearwater accept marts.payments`")}
    index = write_report(settings, replace(RUN, steps=steps))
    for page in (index.read_text(), table_page(index, "marts.payments")):
        assert "<b>Next:</b> ask the sender of &lt;shop&gt;." in page
        assert "<code>clearwater accept marts.payments</code>" in page


def test_a_table_of_the_lake_has_its_rows_and_newest_value(settings):
    day = NewestValue("ordered_at", date(2026, 11, 20))
    lake = TableReport("raw_shop.orders", 1234, newest=(day,))
    held = replace(result("fit", "pass", table=lake.name), boundary="raw")
    run = replace(RUN, gate=GateResult("pass", (held,), 1.0), lake=(lake,))
    write_report(settings, run)
    more = replace(run, run_id="run-2", lake=(replace(lake, rows=2468),))
    page = write_report(settings, more).read_text()
    row = page.partition("raw_shop.orders</a>")[2].partition("</tr>")[0]
    assert ">2,468<" in row
    assert "+100.0%" in row
    assert "ordered_at" in row


def test_what_a_comparison_finds_is_all_there_the_worst_three_open(settings):
    detail = "; ".join(f"finding number {n} of what is unlike before" for n in range(12))
    odd = replace(result("odd", "warn", detail=detail), check="anomaly", severity="warning")
    index = write_report(settings, replace(RUN, gate=GateResult("warn", (odd,), 1.0)))
    shown, _, folded = index.read_text().partition("<summary>and 9 more</summary>")
    assert "finding number 2 of" in shown.partition('id="broken"')[2]
    assert "finding number 3 of" not in shown.partition('id="broken"')[2]
    assert "finding number 11 of what is unlike before</li>" in folded
    told = json.loads(index.with_name("index.json").read_text())
    assert told["gate"]["results"][0]["detail"] == detail


def test_what_only_informs_is_no_warning(settings):
    told = replace(result("curious", "info", detail="1 row breaks it"), severity="info")
    run = replace(
        RUN, status="done", verdict="pass", message="", gate=GateResult("pass", (told,), 1.0)
    )
    page = write_report(settings, run).read_text()
    assert "Every rule that may block or warn holds: the release of release-0 is published." in page
    assert '<span class="badge pass">✓ passed</span>' in page
    assert '<span class="badge info">i info</span>' in page
    assert "1 for information" in page
    assert "warning" not in page


def test_stale_data_are_in_the_verdict_and_beside_their_source(settings):
    symptom = Symptom("overdue", "raw_payments.transactions", "raw", "no file came since a.csv")
    open_one = replace(EVERYTHING.incidents[0], closed_at=None, symptoms=(symptom,))
    gate = GateResult("pass", (result("holds", "pass"),), 1.0)
    run = replace(RUN, status="done", verdict="pass", message="", gate=gate, incidents=(open_one,))
    assert run.sentence.endswith(" But nothing new comes from payments.transactions.")
    page = write_report(settings, run).read_text()
    assert "▲ passed, and data are stale" in page
    assert "▲ no file came since a.csv" in page
    over = replace(run, incidents=(replace(open_one, closed_at=RUN.started_at),))
    assert "stale" not in over.sentence + str(over.stale)


def test_newest_data_are_told_whenever_they_came(settings):
    sold = NewestValue("sold_on", date(2025, 11, 21))
    loaded = NewestValue("_loaded_at", datetime(2026, 11, 21, 11, tzinfo=UTC))
    tables = (TableReport("marts.payments", 3, newest=(loaded, sold)),)
    page = write_report(settings, replace(RUN, tables=tables)).read_text()
    assert "<dt>Newest data</dt><dd>52 weeks before this run<small>sold_on, 2025-11-21" in page


def test_the_worst_comes_first():
    grouped = rules_by_table(RESULTS)
    assert [(rules.table, rules.status) for rules in grouped] == [
        ("marts.payments", "fail"),
        ("marts.a", "pass"),
        ("marts.b", "carried"),
    ]
    assert [found.rule_id for found in grouped[0].results] == ["breaks", "holds"]


def test_what_waits_is_shown_with_its_place(settings):
    held = Held("shop.orders", "<b>.csv", "not_of_type", 1200, 41, "not of the type: amount", 1200)
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
    held = tuple(
        Held("shop.orders", f"{n}.csv", "torn_record", 1, None, None, 1) for n in range(101)
    )
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


def test_a_sample_is_a_table_with_its_examples_left_out_of_the_sentence(settings):
    broken = replace(
        result("breaks", "fail", detail=f"2 rows break it, e.g. id=1, name={MASK}"),
        unexpected_count=2,
        columns=("id", "name"),
        sample=(("1", MASK), ("2", None)),
    )
    run = replace(RUN, gate=GateResult("block", (broken,), 1.0))
    page = table_page(write_report(settings, run), "marts.payments")
    assert "<td>1</td><td>•••</td>" in page
    assert '<td>2</td><td><span class="soft">null</span></td>' in page
    assert "e.g." not in page
    assert "2 of 2 rows" in page


def test_samples_of_very_many_broken_rules_are_left_out_the_worst_ones_kept(settings):
    def broken(n, status):
        rows = tuple(("x" * 80, "y" * 80) for _ in range(20))
        found = result(f"r{n}", status, detail=f"{n} rows break it, e.g. a=" + "z" * 5000)
        return replace(found, columns=("a", "b"), sample=rows)

    results = tuple(broken(n, "fail" if n == 99 else "warn") for n in range(100))
    index = write_report(settings, replace(RUN, gate=GateResult("block", results, 1.0)))
    told = json.loads(index.with_name("index.json").read_text())["gate"]["results"]
    assert [r["rule_id"] for r in told] == [f"r{n}" for n in range(100)]
    assert len(told[99]["sample"]) == 3
    page = table_page(index, "marts.payments")
    assert page.index("<code>r99") < page.index("<td>xxx") < page.index("<code>r0<")
    assert "sample" not in told[98]
    assert sum(file.stat().st_size for file in index.parent.rglob("*.*")) < 500_000


def test_raw_rows_are_not_shown(settings):
    secret = "4711,jane@example.com"
    message = f"a.csv: 9 of 10 rows cannot be loaded; the first is row 1: {secret}\nmore of it"
    run = replace(
        RUN,
        status="refused",
        verdict="",
        gate=None,
        message=f"{message}\n  next: mend the file",
        sources=(SourceReport("shop.orders", message=f"{message}\n  next: mend the file"),),
        waiting=Waiting(
            (Held("shop.orders", "a.csv", "torn_record", 1, 3, f"quote in: {secret}", 1),),
            (Refused("shop.orders", "a.csv", message),),
        ),
    )
    folder = write_report(settings, run).parent
    for file in (folder / "index.html", folder / "index.json"):
        text = file.read_text()
        assert "jane@" not in text
        assert "more of it" not in text
        assert "the first is row 1" in text
        assert "next: mend the file" in text
        assert "torn_record" in text


def test_what_is_known_of_a_table_is_on_its_page(settings):
    index = write_report(settings, EVERYTHING)
    table = EVERYTHING.missing[0].table
    page = table_page(index, table)
    for text in (
        "Dropping incomplete rows (listwise deletion) would cost 69.0% of the rows",
        "Whether country is missing depends on ordered_at (rank-biserial 0.31); p &lt; 0.001",
        "no test can tell whether values are missing because of what they would have been",
        "iterative",
        "Newest files",
        "raw_shop.source_0",
        "yes, never shown",
        '<svg class="spark"',
    ):
        assert text in page
    above = [name for name in EVERYTHING.lineage if table in EVERYTHING.lineage[name]]
    assert above
    for name in above:
        assert f'<a href="../tables/{name}.html">' in page


def test_open_incidents_come_first_and_tell_the_next_step(settings):
    page = write_report(settings, EVERYTHING).read_text()
    order = ["inc-7f3a", "the shop deploys a correction on Monday", "1 closed in the last 7 days"]
    places = [page.index(text) for text in order]
    assert places == sorted(places)
    assert "<code>clearwater incidents ack inc-7f3a</code>" in page
    assert "incidents ack inc-51c0" not in page  # somebody sees to it already


def test_a_table_of_the_lake_that_is_watched_has_its_page_last(settings):
    trend = replace(EVERYTHING.trends[0], table="raw_shop.source_0")
    index = write_report(settings, replace(EVERYTHING, trends=(trend,)))
    names = re.findall(r'<th scope="row"><a href="tables/(.*?).html">', index.read_text())
    assert names.index("raw_shop.source_0") == len(EVERYTHING.tables)
    page = table_page(index, "raw_shop.source_0")
    assert "judged row by row" in page
    assert "source_0-2026-11-20.csv" in page


def test_trends_of_personal_columns_count_and_tell_no_value(settings):
    points = EVERYTHING.trends[0].points
    metrics = ("median", "max", "freshness", "top label", "null share", "distinct count")
    trends = tuple(Trend("marts.people", "Born_on", metric, points) for metric in metrics)
    people = TableReport("marts.people", 10, personal=("born_on",))
    run = replace(RUN, tables=(people,), trends=(*trends, replace(trends[0], column="n")))
    page = table_page(write_report(settings, run), "marts.people")
    shown = re.findall(r"<b>([^<]+ of \w+)</b>", page)
    assert shown == ["distinct count of Born_on", "median of n", "null share of Born_on"]


def test_only_alarms_are_in_the_json(settings):
    odd = [t for t in EVERYTHING.trends if t.points[-1].is_alarm and t.column != "customer_id"]
    told = json.loads(write_report(settings, EVERYTHING).with_name("index.json").read_text())
    assert odd
    assert [trend["metric"] for trend in told["trends"]] == [trend.metric for trend in odd]


def test_what_a_raw_rule_warns_of_is_in_the_verdict(settings):
    warns = replace(result("fit", "warn", table="raw_shop.orders"), boundary="raw")
    gate = GateResult("pass", (result("holds", "pass"), warns), 1.0)
    run = replace(RUN, status="done", verdict="pass", message="", gate=gate)
    page = write_report(settings, run).read_text()
    assert "1 of 2 does not hold" in page
    assert "Every rule" not in page
    assert "The release of release-0 is published, with warnings to look at." in page
    assert '<span class="badge warn">▲ passed with warnings</span>' in page
    refused = replace(run, status="refused", release="20261121T120003000000")
    assert "without the files that were refused" in refused.sentence


def test_an_incident_is_new_only_in_the_run_that_opened_it(settings):
    opened = replace(
        EVERYTHING.incidents[0],
        closed_at=None,
        opened_at=RUN.started_at + timedelta(minutes=1),
        acknowledged_at=None,
        runs=1,
    )
    run = replace(RUN, incidents=(opened,))
    assert "New in this run." in write_report(settings, run).read_text()
    later = replace(run, run_id="run-2", started_at=RUN.started_at + timedelta(hours=3))
    page = write_report(settings, later).read_text()
    assert "New in this run." not in page
    assert "Open for 2 hours, seen in 1 run." in page
