"""`clearwater audit --suggest`: what it prints, and what it says when there is no such table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from works import Works

from expectations import rule_files, suggesting
from expectations.rule_files import load_rules
from flows import cli


def said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, str, str]:
    """How `clearwater audit` ended, and what it printed."""
    monkeypatch.setattr(sys, "argv", ["clearwater", "audit", *map(str, arguments)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return (int(ended.value.code or 0), *capsys.readouterr())


def test_it_prints_a_rule_file(
    first: Works,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = ("--home", first.settings.home)
    code, out, _ = said(capsys, monkeypatch, "--suggest", "marts.fct_daily_transactions", *home)
    assert code == 0
    assert "# 7 rules are in expectations/rules/marts/fct_daily_transactions.yml already" in out
    assert f"of release {first.served()}" in " ".join(out.replace("#", "").split())
    file = tmp_path / "rules" / "marts" / "fct_daily_transactions.yml"
    file.parent.mkdir(parents=True)
    file.write_text(out)
    written = load_rules(tmp_path / "rules")
    assert {rule.check for rule in written} == {"columns", "row_count"}
    assert {rule.owner for rule in written} == {"payments"}
    assert not {rule.id for rule in written} & {rule.id for rule in load_rules()}

    table = "raw_payments.transactions"
    code, out, _ = said(capsys, monkeypatch, "--suggest", table, *home)
    assert (code, yaml.safe_load(out)) == (0, None)
    assert "Nothing more can be proposed" in out

    table = "features.feat_transactions__behaviour"
    release = ("--release", first.served())
    code, out, _ = said(capsys, monkeypatch, "--suggest", table, *release, *home, "--json")
    told = json.loads(out)
    assert told["table"] == table
    assert all(rule["id"] and rule["evidence"] for rule in told["rules"])


def test_output_may_go_into_the_rules(
    first: Works,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rule_files.read_rules, "__defaults__", (tmp_path / "rules",))
    file = tmp_path / "rules" / "marts" / "dim_terminals.yml"
    file.parent.mkdir(parents=True)
    file.touch()  # as the shell does, before the command starts
    home = ("--home", first.settings.home)
    code, out, _ = said(capsys, monkeypatch, "--suggest", "marts.dim_terminals", *home)
    assert (code, yaml.safe_load(out)["table"]) == (0, "marts.dim_terminals")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suggest", "marts.fct_transaction"], "did you mean 'marts.fct_transactions'?"),
        (["--suggest", "fct_transactions"], "did you mean 'marts.fct_transactions'?"),
        (["--suggest", "raw_payments.transaction"], "did you mean 'raw_payments.transactions'?"),
        (["--suggest", "meta.watermarks"], "tables: "),
        (["--release", "x"], "--release goes with --suggest"),
        (
            ["--suggest", "marts.fct_transactions", "--sources", "nowhere.yml"],
            "there is no such sources file",
        ),
        (["--suggest", "raw_payments.transactions", "--release", "x"], "goes with --suggest"),
    ],
)
def test_mistakes_are_told(
    first: Works,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    code, out, err = said(capsys, monkeypatch, *arguments, "--home", first.settings.home)
    assert (code, out) == (2, "")
    assert err.count("error: ") == 1
    assert message in err


def test_model_that_is_not_published_yet_is_told_how_to_start(
    first: Works,
    project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(suggesting, "PROJECT", project)
    (project / "models" / "marts" / "fct_transactions_more.sql").write_text("select 1 as id")
    home = ("--home", first.settings.home)
    code, _, err = said(capsys, monkeypatch, "--suggest", "marts.fct_transactions_more", *home)
    assert code == 2
    assert "has a model, but no release" in err
    assert "expectations/rules/marts/fct_transactions_more.yml" in err
    assert "did you mean" not in err


def test_personal_columns_are_those_that_the_model_marks(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suggesting, "PROJECT", project)
    assert suggesting.personal_columns("raw_payments.transactions") == frozenset()
    file = project / "models" / "marts" / "own.yml"
    columns = [
        {"name": "a", "config": {"meta": {"personal": True}}},
        {"name": "b", "meta": {"personal": True}},
        {"name": "c", "config": {"meta": {"personal": False}}},
        {"name": "d"},
    ]
    file.write_text(yaml.safe_dump({"models": [{"name": "own", "columns": columns}]}))
    assert suggesting.personal_columns("marts.own") == {"a", "b"}
