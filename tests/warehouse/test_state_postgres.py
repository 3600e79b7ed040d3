"""The state database on a real PostgreSQL server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from handmade import payment
from postgres import PASSWORD, Postgres
from sqlalchemy import text
from works import MERGE, Works

from expectations.history import Shift, open_history
from flows import stages
from flows.run import Run
from warehouse import state
from warehouse.errors import ClearwaterError, ConfigurationError, StateError
from warehouse.incident_log import incidents, open_incident_log
from warehouse.retention import prune
from warehouse.settings import Keep, Settings
from warehouse.state import open_ledger, open_state


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.remove()


@pytest.fixture
def on_postgres(postgres: Postgres, settings: Settings, request: pytest.FixtureRequest) -> Settings:
    return replace(settings, state_url=postgres.make(f"of_{abs(hash(request.node.name))}"))


def test_ledger_history_and_incidents_are_kept(on_postgres: Settings) -> None:
    with open_ledger(on_postgres) as ledger:
        ledger.start("1", {"stages": ["load"]}, "schedule")
        ledger.stage("1", "load", "running", None, "")
        ledger.stage("1", "load", "done", 1.5, "3 rows")
        ledger.end("1", "done", "r", {"run_id": "1"})
        (run,) = ledger.newest()
        assert ledger.lag is None
        assert ledger.stages("1") == {"load": "done"}
    assert (run["status"], run["trigger"], run["options"]) == (
        "done",
        "schedule",
        {"stages": ["load"]},
    )
    at = datetime(2026, 1, 1)  # noqa: DTZ001 - as times of files are kept
    shift = Shift("raw_a.b", "f.csv", at, (("x", "mean"),), "unlike", is_accepted=False)
    with open_history(on_postgres) as history:
        history.note(shift)
        history.accept([shift])
        assert history.lag is None
        (kept,) = history.shifts("raw_a.b")
    assert (kept.at, kept.names, kept.is_accepted) == (at, shift.names, True)
    now = datetime.now(UTC)
    row = {"id": "i", "title": "t", "severity": "critical", "root": "r", "opened_at": now}
    row |= {"last_seen_at": now, "closed_at": None, "runs": 1, "acknowledged_by": ""}
    row |= {"acknowledged_at": None, "note": "", "symptoms": [], "worst": 1, "reopenings": 0}
    with open_incident_log(on_postgres) as log:
        log.save([row])
        log.acknowledge("i", "ann", "mine", now)
        (kept_row,) = log.rows(closed_since=now)
    assert (kept_row["opened_at"], kept_row["acknowledged_by"]) == (now, "ann")
    assert not on_postgres.state_db.exists()


def test_old_runs_leave_it(on_postgres: Settings) -> None:
    settings = replace(on_postgres, keep=Keep(logs=timedelta(0)))
    with open_ledger(settings) as ledger:
        for run_id in ("1", "2"):
            ledger.start(run_id)
            ledger.stage(run_id, "load", "done", 1.5, "")
            ledger.end(run_id, "done", None, {})
    (item,) = [item for item in prune(settings).gone if item.kind == "runs"]
    assert (item.count, item.bytes) == (1, 0)
    with open_ledger(settings) as ledger:
        assert [run["run_id"] for run in ledger.newest()] == ["2"]
        assert (ledger.stages("1"), ledger.stages("2")) == ({}, {"load": "done"})


def test_tables_of_an_earlier_version_get_their_new_columns(on_postgres: Settings) -> None:
    with open_ledger(on_postgres) as ledger:
        ledger.start("1")
    with open_incident_log(on_postgres):
        pass
    with open_state(on_postgres) as engine, engine.begin() as con:
        con.execute(text("alter table runs drop column options, drop column trigger"))
        con.execute(text("alter table incidents drop column kinds"))
    with open_ledger(on_postgres) as ledger:
        assert [run["trigger"] for run in ledger.newest()] == [None]
    with open_incident_log(on_postgres), open_state(on_postgres) as engine, engine.begin() as con:
        con.execute(incidents.select())


def test_wrong_address_is_told_without_its_secret(
    postgres: Postgres, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "OPENING_DELAYS_SECONDS", (0.0, 0.0))
    for url in (f"mysql://u:{PASSWORD}@h/d", f"{PASSWORD}", f"postgresql://u:{PASSWORD}@h:port/d"):
        with (
            pytest.raises(ConfigurationError, match="not the address") as caught,
            open_ledger(replace(settings, state_url=url)),
        ):
            pass
        assert PASSWORD not in str(caught.value)
    wrong = replace(settings, state_url=postgres.address(password="wr0ng"))
    with (
        pytest.raises(StateError, match="password authentication failed") as refused,
        open_ledger(wrong),
    ):
        pass
    assert "wr0ng" not in str(refused.value)
    assert f"(127.0.0.1:{postgres.port}/postgres)" in str(refused.value)
    assert "wr0ng" not in repr(wrong)


def test_server_that_is_away_at_the_start_is_one_message(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "OPENING_DELAYS_SECONDS", (0.0, 0.0))
    away = replace(settings, state_url="postgresql://u:p4ss@127.0.0.1:1/d")
    with (
        pytest.raises(StateError, match="the run ledger cannot be opened") as caught,
        open_ledger(away),
    ):
        pass
    assert isinstance(caught.value, ClearwaterError)
    assert "p4ss" not in str(caught.value)


def test_what_could_not_be_written_is_written_when_the_server_is_back(
    postgres: Postgres, on_postgres: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "PAUSE_SECONDS", 0.0)
    with open_ledger(on_postgres) as ledger:
        ledger.start("1")
        postgres.kill()
        ledger.stage("1", "load", "done", 1.0, "")
        assert ledger.lag
        postgres.start()
        ledger.stage("1", "build", "done", 1.0, "")
        ledger.end("1", "done", None, {})
        assert ledger.lag is None
        assert ledger.stages("1") == {"load": "done", "build": "done"}
        assert [run["status"] for run in ledger.newest()] == ["done"]


@pytest.mark.slow
def test_server_that_is_killed_in_the_middle_fails_no_run(
    postgres: Postgres, works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    works.settings = replace(works.settings, state_url=postgres.make("in_a_run"))
    works.put([payment(4, day=4)], "payments4.csv")
    load = stages.STAGES["load"]

    def killing(run: Run) -> None:
        postgres.kill()
        load(run)

    with monkeypatch.context() as patch:
        patch.setitem(stages.STAGES, "load", killing)
        assert works.run(entries=[MERGE]).exit_code == 0
    assert works.ask("select count(*) from fct_transactions") == [(4,)]
    postgres.start()
    works.put([payment(5, day=5)], "payments5.csv")
    assert works.run(entries=[MERGE]).exit_code == 0
    assert works.runs() == ["done", "crashed"]  # its end could not be noted
