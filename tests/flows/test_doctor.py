"""`clearwater doctor`: each thing that can be wrong is told, with where and the next step."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from broken_homes import without
from handmade import payment, sources_file, write_csv
from works import Works

from expectations import rule_files
from flows import cli, doctor
from flows.checks import machine
from flows.checks import project as checks
from flows.checks.findings import Finding, Look
from flows.doctor import examine, exit_code
from warehouse import duck
from warehouse.errors import ClearwaterError

Examine = Callable[[], dict[str, Finding]]


@pytest.fixture(autouse=True)
def _any_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual one may be somebody else's on this machine."""
    monkeypatch.setenv("CLEARWATER_SERVER_PORT", "free")


@pytest.fixture
def examined(works: Works, monkeypatch: pytest.MonkeyPatch) -> Examine:
    """All checks but dbt's, which takes seconds, on a home with a release."""
    monkeypatch.setattr(doctor, "CHECKS", without("dbt"))
    sources = sources_file(works.folder)

    def call() -> dict[str, Finding]:
        return {finding.check: finding for finding in examine(sources, works.settings.home)}

    return call


@pytest.fixture
def own_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the rules, to spoil."""
    folder = tmp_path / "rules"
    shutil.copytree(rule_files.FOLDER, folder)
    monkeypatch.setattr(rule_files.read_rules, "__defaults__", (folder,))
    return folder


def wrong(found: dict[str, Finding]) -> list[str]:
    """The checks that found something; every message tells what to do."""
    errors = [error for finding in found.values() for error in finding.wrong]
    assert all(error.next_step and error.where for error in errors)
    return [name for name, finding in found.items() if finding.status == "wrong"]


def kept(home: Path) -> set[Path]:
    """What is in a home but dbt's cache, and what SQLite keeps beside an open catalog."""
    return {p for p in home.rglob("*") if "dbt" not in p.parts and ".sqlite-" not in p.name}


def test_home_that_is_well(works: Works, own_rules: Path) -> None:
    raw = own_rules / "raw"
    raw.mkdir(exist_ok=True)
    (raw / "orders.yml").write_text(
        "table: raw_payments.transactions\nowner: me\nrules:\n  - {id: r, check: not_null,"
        " column: tx_AMOUNT, severity: info, reason: b}\n"
    )
    before = kept(works.settings.home)
    findings = list(examine(sources_file(works.folder), works.settings.home))
    assert [finding.check for finding in findings] == list(doctor.CHECKS)
    assert [finding for finding in findings if finding.status != "ok"] == []
    assert exit_code(findings) == 0
    told = {finding.check: finding.well for finding in findings}
    assert told["release"] == f"{works.served()} (pass), 5 tables"
    assert kept(works.settings.home) == before

    (raw / "orders.yml").write_text((raw / "orders.yml").read_text().replace("AMOUNT", "AMUONT"))
    findings = list(examine(sources_file(works.folder), works.settings.home))
    (mistake,) = (error for finding in findings for error in finding.wrong)
    assert "raw_payments.transactions has no column 'tx_AMUONT'" in mistake.what
    assert "the nearest is 'TX_AMOUNT'" in mistake.what
    assert mistake.where == "rules/raw/orders.yml, line 4"
    assert exit_code(findings) == 2
    (own_rules / "marts" / "more.yml").write_text(
        "table: marts.fct_transactions\nowner: me\nrules:\n  - {id: s, check: references,"
        " column: customer_id, references_table: marts.dim_retail_households,"
        " references_columns: [household_id], severity: info, reason: b}\n"
    )
    findings = list(examine(sources_file(works.folder), works.settings.home))
    raw, apart = (error for finding in findings for error in finding.wrong)
    assert raw.what == mistake.what
    assert "looks into marts.dim_retail_households of 'retail'" in apart.what


def test_every_mistake_in_every_rule_file_is_told(examined: Examine, own_rules: Path) -> None:
    for name in ("dim_customers", "dim_terminals"):
        file = own_rules / "marts" / f"{name}.yml"
        file.write_text(file.read_text().replace("severity: critical", "severity: critcal"))
    found = examined()
    assert wrong(found) == ["rules"]
    told = found["rules"].wrong
    assert len(told) == 10
    assert all("the nearest is 'critical'" in error.what for error in told)
    assert {error.where.partition(",")[0] for error in told} == {
        "rules/marts/dim_customers.yml",
        "rules/marts/dim_terminals.yml",
    }
    assert exit_code(list(found.values())) == 2


def test_wrong_settings_leave_nothing_to_look_at(
    examined: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARWATER_THREADS", "many")
    found = examined()
    assert wrong(found) == ["settings"]
    assert {finding.status for name, finding in found.items() if name != "settings"} == {"skipped"}
    assert exit_code(list(found.values())) == 2


def test_wrong_setting_of_alerts(examined: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARWATER_ALERT_SEVERITY", "loud")
    found = examined()
    assert wrong(found) == ["settings"]
    assert "CLEARWATER_ALERT_SEVERITY" in str(found["settings"].wrong[0])


def test_wrong_sources_file(examined: Examine, works: Works) -> None:
    (works.folder / "sources.yml").write_text("version: 1\nsorces: []\n")
    found = examined()
    assert wrong(found) == ["sources"]
    assert exit_code(list(found.values())) == 2


def test_extension_of_another_version(examined: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Path:
        raise ClearwaterError("it is not installed", where=name, next_step="run `make setup`")

    monkeypatch.setattr(duck, "extension_file", missing)
    found = examined()
    assert len(found["extensions"].wrong) == len(machine.EXTENSIONS)
    assert exit_code(list(found.values())) == 1


def test_version_that_is_not_the_locked_one(
    examined: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        machine, "installed_version", lambda name: None if name == "prefect" else "0.1"
    )
    found = examined()
    assert wrong(found) == ["versions"]
    assert len(found["versions"].wrong) == len(machine.ENGINES)


def test_broken_state_lake_and_release(examined: Examine, works: Works) -> None:
    home = works.settings
    home.state_db.write_bytes(b"no database at all, but some text" * 99)
    home.lake_catalog.write_bytes(b"nor this" * 999)
    database = home.database(home.current)
    database.chmod(0o644)
    database.write_bytes(b"nor this" * 999)
    found = examined()
    assert wrong(found) == ["lake", "release", "state"]
    assert {found[name].status for name in ("files", "columns")} == {"skipped"}
    assert exit_code(list(found.values())) == 1
    shutil.rmtree(home.current.resolve())
    assert "leads nowhere" in examined()["release"].wrong[0].what
    shutil.rmtree(home.lake_catalog.parent)
    assert "the lake is gone" in examined()["lake"].wrong[0].what


def test_home_that_is_read_only(examined: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert wrong(examined()) == ["home"]


def test_new_home_has_nothing_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", without("dbt"))
    write_csv(tmp_path / "payments.csv", [payment(1)])
    findings = list(examine(sources_file(tmp_path), tmp_path / "none"))
    assert exit_code(findings) == 0
    assert [finding.check for finding in findings if finding.well == "none yet"] == [
        *("lake", "files", "release", "features", "state")
    ]
    assert not (tmp_path / "none").exists()


def test_published_table_without_contract_or_rules(works: Works, project: Path) -> None:
    marts = project / "models" / "marts"
    (marts / "fct_bare.sql").write_text("select 1 as id")
    (marts / "fct_open.sql").write_text("select 1 as id")
    (marts / "fct_open.yml").write_text(
        "version: 2\nmodels:\n  - name: fct_open\n    columns: [{name: id, data_type: integer}]\n"
    )
    look = Look(sources_file(works.folder), works.settings)
    for check in (checks.rules, checks.dbt):
        check(look)
    _, found = checks.published(look)
    assert [(error.where, error.what.partition(",")[0]) for error in found] == [
        ("models/marts/fct_bare.sql", "marts.fct_bare has no contract"),
        ("models/marts/fct_bare.sql", "no rule speaks of marts.fct_bare"),
        ("models/marts/fct_open.sql", "no rule speaks of marts.fct_open"),
    ]
    assert "models/marts/fct_bare.yml" in found[0].next_step
    assert "expectations/rules/marts/fct_open.yml" in found[2].next_step
    look.unread = True  # its rules may be among those that cannot be read
    assert [error.where for error in checks.published(look)[1]] == ["models/marts/fct_bare.sql"]


@pytest.mark.parametrize("as_json", [False, True])
def test_command(
    works: Works,
    own_rules: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    as_json: bool,
) -> None:
    monkeypatch.setattr(doctor, "CHECKS", without("dbt"))
    file = own_rules / "marts" / "dim_terminals.yml"
    file.write_text(file.read_text().replace("owner:", "ownr:"))
    given = ["--home", str(works.settings.home), "--sources", str(sources_file(works.folder))]
    monkeypatch.setattr(sys, "argv", ["clearwater", "doctor", *given, *["--json"] * as_json])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    said = capsys.readouterr().out
    if as_json:
        told = json.loads(said)
        assert told["exit_code"] == 2
        (rules_check,) = (check for check in told["checks"] if check["check"] == "rules")
        assert rules_check["findings"][0]["where"] == "rules/marts/dim_terminals.yml, line 3"
    else:
        lines = said.splitlines()
        assert "unknown key 'ownr'; the nearest is 'owner'" in said
        assert lines[-1] == "1 to mend"
        assert any(line.startswith("skipped   columns") for line in lines)
