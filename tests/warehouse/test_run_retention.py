"""Old runs leave the ledger, and what still speaks of them stays."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from released import A, make_build, release
from sqlalchemy import select, update

from warehouse import releases
from warehouse.errors import StateError
from warehouse.retention import Item, plan, prune
from warehouse.settings import Keep, Settings
from warehouse.state import gate_results, open_ledger, open_state, runs, stages

MONTH = timedelta(days=30)
RULES = [
    dict.fromkeys(("severity", "status", "detail"), "x" * 50)
    | {"rule_id": f"rule {n}", "rows_checked": 1.0, "unexpected_count": 0.0}
    for n in range(40)
]


def run(settings: Settings, run_id: str, age: timedelta) -> None:
    """A run of that age in the ledger, with its stages and results."""
    with open_ledger(settings) as ledger:
        ledger.start(run_id)
        ledger.stage(run_id, "land", "done", 1.0, "")
        ledger.gate(run_id, RULES)
        ledger.end(run_id, "done", None, {"told": "x" * 1000})
    began = datetime.now(UTC).replace(tzinfo=None) - age
    with open_state(settings) as engine, engine.begin() as con:
        con.execute(update(runs).where(runs.c.run_id == run_id).values(started_at=began))


def known(settings: Settings) -> dict[str, set[str]]:
    """The runs that each table speaks of."""
    with open_state(settings) as engine, engine.connect() as con:
        return {
            table.name: set(con.execute(select(table.c.run_id)).scalars())
            for table in (runs, stages, gate_results)
        }


def everywhere(*run_ids: str) -> dict[str, set[str]]:
    return {name: set(run_ids) for name in ("runs", "stages", "gate_results")}


def of_runs(items: tuple[Item, ...]) -> dict[str, int]:
    return {item.why: item.count for item in items if item.kind == "runs"}


@pytest.fixture
def home(settings: Settings) -> Settings:
    """Runs of every age, one of which made a release that is kept."""
    settings = replace(settings, keep=Keep(logs=MONTH))
    for number in range(5):
        run(settings, f"old {number}", MONTH * (2 + number))
    run(settings, "made it", MONTH * 3)
    run(settings, "young", MONTH / 2)
    run(settings, "newest", timedelta(0))
    place = make_build(settings, A, "create table marts.t as select 1 as id")
    releases.publish(settings, place, release(A, run_id="made it"))
    return settings


def test_old_runs_go_and_the_rest_stays(home: Settings) -> None:
    before = known(home)
    found = plan(home)
    assert of_runs(found.gone) == {"older than keep.logs": 5}
    assert of_runs(found.kept) == {
        "the newest": 1,
        "their releases are kept": 1,
        "not old enough": 1,
    }
    assert known(home) == before
    prune(home)
    assert known(home) == everywhere("made it", "young", "newest")
    assert of_runs(plan(home).gone) == {}


def test_the_newest_stays_however_old(settings: Settings) -> None:
    settings = replace(settings, keep=Keep(logs=timedelta(0)))
    for run_id, months in (("a", 4), ("b", 3)):
        run(settings, run_id, MONTH * months)
    prune(settings)
    assert known(settings) == everywhere("b")


def test_for_ever_is_for_ever(home: Settings) -> None:
    before = known(home)
    prune(replace(home, keep=Keep(logs=None)))
    assert known(home) == before


def test_file_shrinks_by_what_was_told_or_more(home: Settings) -> None:
    for number in range(40):
        run(home, f"older {number}", MONTH * 9)
    (told,) = [item.bytes for item in plan(home).gone if item.kind == "runs"]
    size = home.state_db.stat().st_size
    prune(home)
    assert size - home.state_db.stat().st_size >= told > 45 * 40 * 150
    assert [file.name for file in home.home.glob("state.db*")] == ["state.db"]


def test_ledger_that_is_read_meanwhile_loses_its_runs_all_the_same(home: Settings) -> None:
    with closing(sqlite3.connect(home.state_db)) as reader:
        reader.execute("begin")
        assert reader.execute("select count(*) from runs").fetchone() == (8,)
        reader.commit()
        prune(home)
        assert reader.execute("select count(*) from runs").fetchone() == (3,)


@pytest.mark.slow
def test_locked_ledger_keeps_its_runs_until_the_next_time(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def hasty(*given: Any, **named: Any) -> sqlite3.Connection:
        return connect(*given, **named | {"timeout": 0.01})

    monkeypatch.setattr(sqlite3, "connect", hasty)
    with closing(connect(home.state_db)) as writer:
        writer.execute("begin immediate")
        (home.home / "tmp" / "spill").mkdir(parents=True)
        with pytest.raises(StateError, match="old runs cannot be removed: database is locked"):
            prune(home)
        assert not (home.home / "tmp" / "spill").exists()
        assert len(known(home)["runs"]) == 8
        writer.rollback()
    prune(home)
    assert len(known(home)["runs"]) == 3


def test_damaged_ledger_hinders_nothing_else(home: Settings) -> None:
    home.state_db.write_bytes(b"no database" * 1000)
    (home.home / "tmp" / "spill").mkdir(parents=True)
    found = prune(home)
    assert [item.kind for item in found.gone] == ["temporary"]
    (why,) = of_runs(found.kept)
    assert why == "the run ledger cannot be read: file is not a database"


def test_home_without_a_ledger_gets_none(settings: Settings) -> None:
    assert of_runs(plan(settings).kept) == {}
    assert not settings.state_db.exists()
