"""Runs that export what they publish: after the flip, and again until it is done."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from command_line import Clearwater
from handmade import payment
from works import Works

from flows.checks import places
from flows.checks.findings import Look
from warehouse import releases
from warehouse.errors import BuildError, ConfigurationError
from warehouse.settings import load_settings


def exporting(works: Works, place: str) -> Works:
    works.settings = replace(works.settings, export=place)
    return works


def exported(out: Path) -> tuple[str, int]:
    """The release that current.json names, and the rows of its payments."""
    told = json.loads((out / "current.json").read_text())
    with duckdb.connect() as con:
        file = out / told["tables"]["marts.fct_transactions"]
        row = con.execute(f"select count(*) from '{file}'").fetchone()
    assert row is not None
    return told["release"], row[0]


def test_current_release_is_exported_without_a_new_build(works: Works, tmp_path: Path) -> None:
    run = works.run("publish", "features", export=str(tmp_path / "out"))
    assert (run.exit_code, run.trace["publish"].status) == (0, "skipped")
    assert run.trace["publish"].detail.endswith(f"5 files exported to {tmp_path / 'out'}")
    assert exported(tmp_path / "out") == (works.served(), 3)


@pytest.mark.slow
def test_each_run_exports_what_it_publishes_and_tries_again(works: Works, tmp_path: Path) -> None:
    out = tmp_path / "out"
    exporting(works, str(out))
    out.write_text("in the way")
    works.put([payment(n, day=n, customer=n) for n in (4, 5)], "payments2.csv")
    run = works.run()
    assert (run.exit_code, run.status) == (1, "failed")
    assert f"release {works.served()} is served, but not exported" in str(run.failure)
    assert "the next run tries again" in str(run.failure)
    assert run.trace["features"].status == run.trace["report"].status == "done"
    assert len(works.ask("select 1 from marts.fct_transactions")) == 5
    out.unlink()
    run = works.run()
    assert (run.exit_code, run.trace["build"].status) == (0, "skipped")
    assert exported(out) == (works.served(), 5)
    assert works.run().exit_code == 0
    releases.rollback(works.settings, releases.releases(works.settings)[0].id)
    assert works.run().exit_code == 0
    assert exported(out) == (works.served(), 3)


def test_what_the_gate_blocks_is_not_exported(works: Works, tmp_path: Path) -> None:
    out = tmp_path / "out"
    works.put([payment(9, day=1, amount="-1.00")], "payments2.csv")
    works.run("land", "load")
    works.run("build")
    run = works.run("publish", export=str(out))  # without an audit
    assert run.exit_code == 3
    assert exported(out) == (works.served(), 3)


def foreign(folder: Path) -> Path:
    """A folder with a current.json that no export wrote."""
    folder.mkdir()
    (folder / "current.json").write_text('{"version": 7}')
    return folder


def test_foreign_place_that_the_command_names_is_refused_before_the_run(
    clearwater: Clearwater, works: Works, tmp_path: Path
) -> None:
    home, out, runs = works.settings.home, foreign(tmp_path / "out"), works.runs()
    for place, why in (
        (out, "current.json is there, and no export of Clearwater wrote it"),
        (home / "releases", "it is a home of Clearwater, or lies in one"),
        (home / "exports", "it is a home of Clearwater, or lies in one"),
        ("s3://", "it does not name a place in a bucket"),
    ):
        said = clearwater("publish", "--export", place, "--home", home)
        assert (said.code, f"{place}: {why}" in said.told) == (2, True)
    assert works.runs() == runs
    assert (out / "current.json").read_text() == '{"version": 7}'


def test_foreign_place_that_is_set_holds_no_run_up(works: Works, tmp_path: Path) -> None:
    out = foreign(tmp_path / "out")
    exporting(works, str(out))
    run = works.run("publish", "features")
    assert (run.exit_code, run.status) == (2, "failed")
    assert "is served, but not exported: current.json is there" in str(run.failure)
    assert run.trace["features"].status == "done"
    assert [path.name for path in out.iterdir()] == ["current.json"]
    with pytest.raises(ConfigurationError, match="no export of Clearwater wrote it"):
        places.export(Look(tmp_path / "sources.yml", works.settings))


def test_place_in_the_home_that_is_set_is_refused_before_the_run(works: Works) -> None:
    exporting(works, str(works.settings.home / "exports"))
    runs = works.runs()
    with pytest.raises(ConfigurationError, match="lies in one"):
        works.run()
    assert works.runs() == runs


def test_relative_folder_of_the_settings_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARWATER_EXPORT", "out")
    with pytest.raises(ConfigurationError, match="CLEARWATER_EXPORT is 'out', neither a folder's"):
        load_settings()


def test_nothing_published_and_nothing_built_is_told(tmp_path: Path) -> None:
    works = Works(tmp_path / "works")
    with pytest.raises(BuildError, match="there is no build"):
        works.run("publish", "features", export=str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
