"""From a run to its report: what it shows of a build and of a release, and what it hides."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from handmade import PAYMENTS, payment
from works import MERGE, Works

from expectations.rule_files import load_rules
from expectations.rules import Rule
from flows.pipeline import Run
from flows.ticks import Covers
from warehouse import releases
from warehouse.wording import counted

CUSTOMER = 8_675_309_421
FACTS = "marts.fct_transactions"


def told(run: Run) -> dict[str, Any]:
    assert run.report is not None
    content: dict[str, Any] = json.loads(run.report.with_name("index.json").read_text())
    return content


def page(run: Run, table: str) -> str:
    assert run.report is not None
    return (run.report.parent / "tables" / f"{table}.html").read_text()


def ledger(home: Path) -> str:
    """All that the state database says."""
    with closing(sqlite3.connect(home / "state.db")) as con:
        names = [row[0] for row in con.execute("select name from sqlite_master where type='table'")]
        told = [con.execute(f"select * from {name}").fetchall() for name in names]
    return str(told)


@pytest.fixture
def known_customers(monkeypatch: pytest.MonkeyPatch) -> None:
    """One rule more, that names a column which is marked as personal."""
    rule = Rule(
        id="fct_transactions_customer_known",
        boundary="marts",
        table=FACTS,
        check="expression",
        severity="critical",
        owner="payments",
        reason="somebody paid",
        expression="CUSTOMER_ID < 1000 and amount_cents > 0",
    )
    monkeypatch.setattr("expectations.rule_files.load_rules", lambda: [*load_rules(), rule])


def test_no_value_of_a_personal_column_leaves_the_warehouse(
    works: Works, known_customers: None, capfd: pytest.CaptureFixture[str]
) -> None:
    works.put([payment(4, day=4, customer=CUSTOMER)], "payments4.csv")
    run = works.run(entries=[MERGE | {"personal": ["CUSTOMER_ID"]}])
    assert run.status == "blocked"
    (broken,) = [r for r in told(run)["gate"]["results"] if r["status"] == "fail"]
    assert broken["columns"] == ["transaction_id", "customer_id", "amount_cents"]
    assert broken["sample"] == [["4", "•••", "1000"]]
    assert "<td>4</td><td>•••</td><td>1000</td>" in page(run, FACTS)
    home = works.settings.home
    assert str(CUSTOMER) not in ledger(home)
    seen = [*home.glob("releases/*/release.json"), *home.glob("builds/*/gate.json")]
    seen += [file for file in home.glob("reports/**/*.*") if file.is_file()]
    assert [file.name for file in seen if str(CUSTOMER).encode() in file.read_bytes()] == []
    said = capfd.readouterr()
    assert str(CUSTOMER) not in said.out + said.err + str(run.failure)
    assert "•••" in str(run.failure)


@pytest.mark.slow
def test_a_blocked_run_shows_what_readers_see_and_what_was_judged_apart(
    works: Works, known_customers: None
) -> None:
    works.put([payment(4, day=4, customer=CUSTOMER)], "payments4.csv")
    content = told(works.run())
    rows = {table["name"]: table["rows"] for table in content["tables"]}
    assert (rows[FACTS], content["blocked"][FACTS]) == (3, 4)
    assert works.ask(f"select count(*) from {FACTS}") == [(3,)]


def test_a_release_tells_what_it_was_made_from_and_what_is_personal(first: Works) -> None:
    release = releases.current(first.settings)
    assert release is not None
    assert release.lineage["staging.stg_payments__transactions"] == ["raw_payments.transactions"]
    assert release.lineage["marts.dim_customers"] == [FACTS]
    assert release.personal[FACTS] == ["customer_id"]
    assert set(release.personal) == {
        FACTS,
        "marts.dim_customers",
        "features.feat_transactions__behaviour",
    }


def test_a_tables_page_leads_up_to_its_files_and_down_to_its_readers(works: Works) -> None:
    run = works.run("report")
    text = page(run, FACTS)
    for name in ("payments.csv", "raw_payments.transactions", "staging.stg_payments__transactions"):
        assert name in text
    assert '<a href="../tables/marts.dim_customers.html">' in text
    assert counted(3, "row") in text
    source = told(run)["arrivals"][0]
    assert (source["source"], source["batches"], source["rows"]) == ("payments.transactions", 1, 3)
    assert [file["file"] for file in source["newest"]] == ["payments.csv"]


def test_how_fresh_a_table_is(works: Works) -> None:
    tables = {table["name"]: table for table in told(works.run("report"))["tables"]}
    newest = {at["column"]: at["at"] for at in tables[FACTS]["newest"]}
    assert newest["transacted_at"] == "2026-01-04 00:00:00"
    assert list(newest) == ["transacted_at", "_loaded_at"]
    (feature,) = tables["features.feat_transactions__behaviour"]["newest"]
    assert feature["column"] == "transacted_at"


@pytest.mark.slow
def test_the_next_report_tells_what_changed(works: Works) -> None:
    works.put([payment(4, day=4), payment(5, amount="much")], "payments4.csv")
    run = works.run(entries=[MERGE | {"tolerance": 0.5}])
    assert "1 row of payments.transactions went to the quarantine." in [
        change["text"] for change in told(run)["changes"]
    ]
    assert any("grew by 1 row" in change["text"] for change in told(run)["changes"])


def test_the_report_tells_what_was_missed(works: Works) -> None:
    first, last = (datetime(2026, 3, 2, hour, tzinfo=UTC) for hour in (1, 5))
    run = works.run("report", covers=Covers("pipeline", 5, first, last))
    assert run.report is not None
    assert "covers 5 runs missed from 2026-03-02 01:00" in run.report.read_text()
    usual = works.run("report").report
    assert usual is not None
    assert "runs missed" not in usual.read_text()


@pytest.mark.slow
def test_raw_rows_of_a_refused_file_are_not_shown(works: Works) -> None:
    rows = [payment(n, amount="far too much") for n in range(4, 8)]
    works.put(rows, "payments4.csv")
    run = works.run(entries=[PAYMENTS | {"write": "merge", "tolerance": 0.1}])
    assert "far too much" in run.problems[0]
    (refused,) = (source for source in told(run)["sources"] if source["message"])
    assert run.problems[0].startswith(f"{refused['name']}: ")
    assert not refused["message"].startswith(refused["name"])
    assert run.report is not None
    for file in run.report.parent.rglob("*.*"):
        assert "far too much" not in file.read_text()
    assert "the first is row 1" in run.report.read_text()


def test_a_release_file_that_cannot_be_opened_is_told_by_its_own_word(works: Works) -> None:
    database: Path = works.settings.current / "warehouse.duckdb"
    database.chmod(0o644)
    database.write_bytes(b"no database")
    rows = {table["name"]: table["rows"] for table in told(works.run("report"))["tables"]}
    assert rows[FACTS] == 3
