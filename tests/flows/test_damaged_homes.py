"""Homes with damaged files, or with somebody else's: one message each, and the rest goes on."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from broken_homes import DAMAGES, copied_release
from command_line import Clearwater
from handmade import payment, sources_file
from works import MERGE, Works

from warehouse.query import open_lake


@pytest.fixture
def home(works: Works, monkeypatch: pytest.MonkeyPatch) -> Works:
    """A home with a release, which commands take for theirs."""
    monkeypatch.setenv("CLEARWATER_HOME", str(works.settings.home))
    return works


def one_fast(damages: dict[str, Callable[[Path], object]]) -> list[Any]:
    """A case for each damage: the first is fast, the others are with the slow tests."""
    names = list(damages)
    return [
        pytest.param(damages[name], id=name, marks=[pytest.mark.slow] * (name != names[0]))
        for name in names
    ]


def test_folder_of_somebody_else_among_the_releases(clearwater: Clearwater, home: Works) -> None:
    notes = home.settings.releases / "notes" / "release.json"
    notes.parent.mkdir()
    notes.write_text('{"a": 1}')
    assert clearwater("run", "--sources", sources_file(home.folder, MERGE)).code == 0
    assert clearwater("prune", "--yes").code == 0
    assert [told["id"] for told in json.loads(clearwater("releases", "--json").out)] == [
        home.served()
    ]
    assert notes.read_text() == '{"a": 1}'


def test_older_release_that_cannot_be_read(clearwater: Clearwater, home: Works) -> None:
    file = copied_release(home, "20200101T000000000000") / "release.json"
    file.write_text("{")
    assert clearwater("run", "--sources", sources_file(home.folder, MERGE)).code == 0
    pruned, listed = clearwater("prune", "--yes"), clearwater("releases")
    assert (pruned.code, listed.code) == (0, 0)
    assert "release.json cannot be read" in pruned.out
    assert f"warning: {file}: release.json cannot be read" in listed.err
    assert home.served() in listed.out
    refused = clearwater("rollback", "20200101T000000000000")
    assert (refused.code, str(file) in refused.told) == (1, True)
    assert file.exists()


def test_release_served_that_cannot_be_read(clearwater: Clearwater, home: Works) -> None:
    served = home.served()
    older = copied_release(home, "20200101T000000000000").name
    file = home.settings.releases / served / "release.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"colour": 1}))
    shown = clearwater("status")
    assert shown.code == 0
    assert f"unread    {home.settings.current}/release.json: " in shown.out
    assert "does not know colour" in shown.out
    assert "payments.transactions" in shown.out
    (unread,) = json.loads(clearwater("status", "--json").out)["unread"]
    assert "does not know colour" in unread["what"]
    assert clearwater("prune", "--yes").code == 0
    ran = clearwater("run", "--sources", sources_file(home.folder, MERGE))
    assert (ran.code, "does not know colour" in ran.told) == (1, True)
    assert older in clearwater("releases").out
    assert clearwater("rollback", older).code == 0
    assert older in clearwater("status").out


def commands(home: Works) -> dict[str, tuple[str, ...]]:
    """Those that read or write the lake."""
    sources = ("--sources", str(sources_file(home.folder, MERGE)))
    return {
        "run": ("run", *sources),
        "ingest": ("ingest", *sources),
        "build": ("build",),
        "prune": ("prune",),
        "prune --yes": ("prune", "--yes"),
        "query": ("query", "--lake", "select count(*) from meta.batches"),
        "query --at": ("query", "--lake", "--at", "1", "select 1"),
        "snapshots": ("lake", "snapshots"),
        "maintain": ("lake", "maintain"),
        "rebuild": ("lake", "rebuild", *sources),
        "dry run": ("lake", "rebuild", "--dry-run", *sources),
        "quarantine": ("quarantine", "list"),
        "replay": ("quarantine", "replay", "payments.transactions", *sources),
    }


@pytest.mark.parametrize("damage", one_fast(DAMAGES))
def test_damaged_catalog(
    clearwater: Clearwater, home: Works, damage: Callable[[Path], object]
) -> None:
    catalog, served = home.settings.lake_catalog, home.served()
    damage(catalog)
    for name, command in commands(home).items():
        said = clearwater(*command)
        assert said.code == 1, name
        assert f"{catalog}: the lake's catalog is damaged: " in said.told, (name, said.told)
        assert f"mv {catalog.parent} {catalog.parent}.damaged" in said.told, name
    shown = clearwater("status")
    assert shown.code == 0
    assert "lake      cannot be read: the lake's catalog is damaged" in shown.out
    assert f"release   {served} (pass)" in shown.out
    assert json.loads(clearwater("status", "--json").out)["disk"]["bytes"]["landing"]
    assert home.runs()[0] == "failed"
    told = json.loads(clearwater("doctor", "--json").out)["checks"]
    (lake,) = (check for check in told if check["check"] == "lake")
    assert "is damaged" in lake["findings"][0]["what"]
    assert home.served() == served


def rows(home: Works) -> list[tuple[object, ...]]:
    with open_lake(home.settings) as con:
        table = "raw_payments.transactions"
        return con.execute(f"select * exclude _loaded_at from {table} order by all").fetchall()


def test_lake_that_was_put_aside_is_made_again(clearwater: Clearwater, home: Works) -> None:
    catalog, before = home.settings.lake_catalog, rows(home)
    DAMAGES["noise at its head"](catalog)
    sources = sources_file(home.folder, MERGE)
    told = clearwater("run", "--sources", sources).told
    move = re.search(r"`(mv [^`]*)`", told)
    assert move is not None
    subprocess.run(shlex.split(move[1]), check=True)
    for command in ("run", "ingest"):
        lost = clearwater(command, "--sources", sources)
        assert (lost.code, "the lake is gone" in lost.told) == (1, True)
    assert clearwater("lake", "rebuild", "--sources", sources).code == 0
    assert rows(home) == before
    assert clearwater("run", "--sources", sources).code == 0
    assert clearwater("prune", "--yes").code == 0
    assert (home.settings.home / "lake.damaged" / "catalog.sqlite").exists()


@pytest.mark.parametrize("is_noted", [True, False])
def test_catalog_that_is_gone(clearwater: Clearwater, home: Works, is_noted: bool) -> None:
    settings = home.settings
    settings.lake_catalog.unlink()
    file = settings.lake_data / "of_a_table.parquet"
    file.touch()
    if not is_noted:
        shutil.rmtree(settings.landing)
    for name, command in commands(home).items():
        if "prune" not in name and "rebuild" not in command:
            said = clearwater(*command)
            assert (said.code, "the lake is gone" in said.told) == (1, True), name
    assert "lake      cannot be read: the lake is gone" in clearwater("status").out
    assert clearwater("prune", "--yes").code == 0
    assert file.exists()
    assert not settings.lake_catalog.exists()


NO_LEDGER = {
    name: damage for name, damage in DAMAGES.items() if name not in ("empty", "noise within")
}


def test_state_database_that_is_damaged_within_holds_no_run_up(
    clearwater: Clearwater, home: Works
) -> None:
    DAMAGES["noise within"](home.settings.state_db)
    assert clearwater("status").code == 0
    ran = clearwater("run", "--sources", sources_file(home.folder, MERGE))
    assert "Traceback" not in ran.err
    assert "is malformed" in ran.err
    for command in ("retry", "incidents"):
        said = clearwater(command)
        assert said.code in (0, 1)
        assert "Traceback" not in said.err


@pytest.mark.parametrize("damage", one_fast(NO_LEDGER))
def test_damaged_state_database(
    clearwater: Clearwater, home: Works, damage: Callable[[Path], object]
) -> None:
    file, served = home.settings.state_db, home.served()
    damage(file)
    sources = ("--sources", str(sources_file(home.folder, MERGE)))
    shown = clearwater("status")
    assert shown.code == 0
    assert f"unread    {file}: " in shown.out
    assert f"release   {served} (pass)" in shown.out
    assert "payments.transactions" in shown.out
    for command in (
        ("run", *sources),
        ("ingest", *sources),
        ("report",),
        ("retry",),
        ("incidents",),
    ):
        said = clearwater(*command)
        assert said.code == 1, command
        assert f"{file}: " in said.told, (command, said.told)
        assert "move the file away" in said.told, command
    accepted = clearwater("accept", "payments.transactions", "--only", "payments.csv")
    assert (accepted.code, "what waits cannot be read" in accepted.told) == (1, True)
    told = json.loads(clearwater("doctor", "--json").out)["checks"]
    (state,) = (check for check in told if check["check"] == "state")
    assert "move the file away" in state["findings"][0]["next_step"]
    assert "cannot be read" in clearwater("prune").out
    file.rename(file.with_name("state.db.damaged"))
    assert clearwater("run", *sources).code == 0
    assert clearwater("status").code == 0


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["noise at its head", "empty"])
def test_damaged_tables_of_the_release_served(
    clearwater: Clearwater, home: Works, tmp_path: Path, damage: str
) -> None:
    file = home.settings.database(home.settings.current.resolve())
    file.chmod(0o644)
    DAMAGES[damage](file)
    home.put([payment(7, day=7)], "payments7.csv")
    run = ("run", "--sources", str(sources_file(home.folder, MERGE)))
    for command in (
        ("query", "select 1"),
        ("features", "extract", "feat_transactions__behaviour", "--out", str(tmp_path / "out")),
        ("publish", "--export", str(tmp_path / "exported")),
        run,
    ):
        said = clearwater(*command)
        assert said.code == 1, command
        assert "the tables of a release cannot be read" in said.told, said.told
        assert "`clearwater run --full-refresh" in said.told, said.told
    assert clearwater("status").code == 0
    assert clearwater(*run, "--full-refresh").code == 0
    assert home.ask("select count(*) from marts.fct_transactions") == [(4,)]
