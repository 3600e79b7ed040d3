"""`clearwater doctor --fix`: what it mends, and what it leaves alone."""

from __future__ import annotations

import json
import shutil
import stat
import sys
from pathlib import Path

import pytest
from broken_homes import copied_release, data_files, gone, noted, without
from handmade import payment, sources_file
from works import Works

from flows import cli, doctor
from flows.checks.findings import Look
from flows.checks.runs import record
from flows.checks.store import files, orphans
from flows.mending import mend
from warehouse.errors import WriterBusyError
from warehouse.files import temporary
from warehouse.lock import writer_lock
from warehouse.releases import current, rollback
from warehouse.state import open_ledger


@pytest.fixture(autouse=True)
def _any_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual one may be somebody else's on this machine."""
    monkeypatch.setenv("CLEARWATER_SERVER_PORT", "free")


def mended(works: Works) -> list[str]:
    """What was done; the second time nothing is left to do."""
    done = list(mend(works.settings))
    assert list(mend(works.settings)) == []
    return done


def test_home_that_is_well_is_left_alone(works: Works) -> None:
    def state() -> dict[str, int]:
        files = works.settings.home.rglob("*")
        kept = (f for f in files if f.is_file() and f != works.settings.lock)
        return {str(f): f.stat().st_mtime_ns for f in kept if ".sqlite" not in f.name}

    before = state()
    assert mended(works) == []
    assert state() == before


def test_home_that_is_not_there_stays_so(tmp_path: Path, works: Works) -> None:
    shutil.rmtree(works.settings.home)
    assert mended(works) == []
    assert not works.settings.home.exists()


def test_rubbish_is_removed(works: Works) -> None:
    home = works.settings.home
    (home / "builds" / "half" / "deep").mkdir(parents=True)
    (home / "builds" / "whole").mkdir()
    (home / "builds" / "whole" / "build.json").write_text("{}")
    part = temporary(home / "current")
    part.symlink_to("releases")
    (home / "mine.txt").touch()
    assert mended(works) == [f"removed 2 things left by killed runs: {part.name}; builds/half"]
    assert [path.name for path in (home / "builds").iterdir()] == ["whole"]
    assert (home / "releases").is_dir()
    assert (home / "mine.txt").exists()


def test_orphans_are_removed(loaded: Works) -> None:
    (file,) = data_files(loaded)
    (file.parent / "ducklake-lost.parquet").write_bytes(file.read_bytes())
    assert mended(loaded) == ["removed 1 file of the lake that no snapshot names"]
    assert data_files(loaded) == [file]


def test_files_of_a_lake_newer_than_its_catalog_are_kept(loaded: Works) -> None:
    before = loaded.folder / "catalog"
    shutil.copy(loaded.settings.lake_catalog, before)
    loaded.put([payment(n, day=4) for n in range(2000, 2900)], "payments4.csv")
    loaded.run("land", "load")
    for part in loaded.settings.lake_catalog.parent.glob("catalog.sqlite-*"):
        part.unlink()
    shutil.copy(before, loaded.settings.lake_catalog)
    look = Look(Path(), loaded.settings)
    assert len(orphans(loaded.settings, look.tree)) == 1
    assert mended(loaded) == []
    assert len(data_files(loaded)) == 2
    look.batches = []
    assert "they may be rows" in files(look)[1][0].next_step


def test_current_leads_to_the_newest_release_that_is_whole(works: Works) -> None:
    whole = works.served()
    torn = copied_release(works, "29990101T000000000000")
    works.settings.database(torn).unlink()
    works.settings.current.unlink()
    works.settings.current.symlink_to("releases/none")
    assert mended(works) == [f"let `current` lead to {whole}, the newest release that is whole"]
    assert works.served() == whole


def test_current_is_left_alone_where_the_line_is_held(works: Works) -> None:
    rollback(works.settings, works.served())
    works.settings.current.unlink()
    assert mended(works) == []
    assert current(works.settings) is None


def test_dead_runs_are_closed(works: Works) -> None:
    with open_ledger(works.settings) as ledger:
        ledger.start("dead")
        ledger.stage("dead", "land", "running", None, "")
    assert mended(works) == ["closed 1 run as crashed: dead"]
    assert works.runs() == ["crashed", "done"]


def test_ledger_that_is_gone_knows_the_runs_that_published(works: Works) -> None:
    works.settings.state_db.unlink()
    assert mended(works) == ["made the run ledger again, with 1 run"]
    with open_ledger(works.settings) as ledger:
        (run,) = ledger.newest(9)
    assert (run["status"], run["release"]) == ("done", works.served())
    works.put([payment(4, day=4)], "payments4.csv")
    assert works.run("land", "load").exit_code == 0


def test_what_cannot_be_read_keeps_nothing_else_from_being_mended(works: Works) -> None:
    works.settings.state_db.write_bytes(b"no database" * 999)
    works.settings.lake_catalog.write_bytes(b"nor this" * 999)
    (works.settings.builds / "half").mkdir()
    noted(works.settings, server=gone())
    assert [text.partition(" ")[0] for text in mended(works)] == ["removed", "forgot"]


def test_rights_are_given_back(works: Works) -> None:
    closed = works.settings.landing / "definitions"
    for path, mode in ((closed, 0o000), (works.settings.lock, 0o400)):
        path.chmod(mode)
    assert mended(works) == ["gave 2 files of ours the rights that a run needs"]
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    database = works.settings.database(works.settings.current)
    assert stat.S_IMODE(database.stat().st_mode) == 0o444


def test_server_that_is_gone_is_forgotten(works: Works) -> None:
    noted(works.settings, server=gone(), scheduler=gone())
    assert mended(works) == ["forgot the server that is gone"]
    assert not record(works.settings).exists()


def test_nothing_is_mended_while_somebody_writes(works: Works) -> None:
    (works.settings.builds / "half").mkdir()
    with writer_lock(works.settings), pytest.raises(WriterBusyError):
        list(mend(works.settings))
    assert (works.settings.builds / "half").exists()


def test_command_says_what_it_mended(
    works: Works, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "CHECKS", without("dbt", "versions", "extensions"))
    given = ["--home", str(works.settings.home), "--sources", str(sources_file(works.folder))]

    def call(*options: str) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["clearwater", "doctor", *given, *options])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, capsys.readouterr().out

    (works.settings.builds / "half").mkdir()
    code, said = call()
    assert (code, said.splitlines()[-1]) == (0, "1 warning")
    assert "warning   rubbish" in said
    code, said = call("--fix")
    assert said.splitlines()[0] == "mended    removed 1 thing left by killed runs: builds/half"
    assert (code, said.splitlines()[-1]) == (0, "all is well")
    (works.settings.builds / "half").mkdir()
    told = json.loads(call("--json")[1])
    assert [check["status"] for check in told["checks"] if check["findings"]] == ["warning"]
    assert told["mended"] == []
    assert len(json.loads(call("--json", "--fix")[1])["mended"]) == 1
