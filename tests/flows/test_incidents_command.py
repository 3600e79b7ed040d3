"""`clearwater incidents`, as a user calls it."""

from __future__ import annotations

import getpass
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from expectations.following import follow
from expectations.incidents import Observation, Symptom
from expectations.root_causes import Failure, Weight
from flows.cli import app
from warehouse.errors import ClearwaterError, ConfigurationError
from warehouse.incident_log import open_incident_log
from warehouse.settings import Settings

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.fixture
def ids(settings: Settings) -> list[str]:
    """A home with a critical incident, a warning, and one that is over."""

    def failure(table: str, weight: Weight) -> Failure:
        symptom = Symptom(f"{table}_ok", table, "marts", f"2 rows of {table} break it")
        return Failure(symptom, weight, "unique", table)

    worst, mild = failure("fct", Weight.BLOCKING), failure("dim", Weight.WARNING)
    first = Observation(NOON, (failure("old", Weight.BLOCKING),), {}, lambda _: True)
    second = Observation(NOON + timedelta(hours=1), (mild, worst), {}, lambda _: True)
    known = follow(follow([], first), second)
    with open_incident_log(settings) as log:
        log.save(tracked.row() for tracked in known)
    return [
        next(t.incident.id for t in known if t.incident.root == root)
        for root in ("fct", "dim", "old")
    ]


def call(settings: Settings, *words: str) -> Result:
    """The command's result; what it raises is raised."""
    result = CliRunner().invoke(app, [*words, "--home", str(settings.home)])
    if isinstance(result.exception, ClearwaterError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def as_json(settings: Settings, *words: str) -> Any:
    return json.loads(call(settings, *words, "--json").stdout)


def test_list_shows_the_open_ones_the_critical_first(settings: Settings, ids: list[str]) -> None:
    fct, dim, old = ids
    told = call(settings, "incidents").stdout
    assert told == call(settings, "incidents", "list").stdout
    assert told.index(fct) < told.index(dim)
    assert old not in told
    assert "fct: fct_ok fails" in told
    assert "clearwater incidents ack ID" in told
    assert [found["id"] for found in as_json(settings, "incidents")] == [fct, dim]
    assert [found["id"] for found in as_json(settings, "incidents", "list", "--all")] == ids


def test_options_before_the_word_mean_the_same(settings: Settings, ids: list[str]) -> None:
    given = ["incidents", "--home", str(settings.home), "--json", "show", ids[0]]
    result = CliRunner().invoke(app, given)
    assert json.loads(result.stdout)["id"] == ids[0]


def test_home_without_incidents_says_so_and_makes_nothing(settings: Settings) -> None:
    assert call(settings, "incidents").stdout == "no incident is open\n"
    assert "never" in call(settings, "incidents", "--all").stdout
    assert as_json(settings, "incidents") == []
    assert not settings.home.exists()


def test_show_tells_all_its_symptoms(settings: Settings, ids: list[str]) -> None:
    told = call(settings, "incidents", "show", ids[0]).stdout
    assert "fct  fct_ok\n  2 rows of fct break it" in told
    assert "in 1 run" in told
    assert "closed    2026-03-02 13:00 UTC" in call(settings, "incidents", "show", ids[2]).stdout


def test_ack_notes_who_knows_and_what_is_done(settings: Settings, ids: list[str]) -> None:
    call(settings, "incidents", "ack", ids[0], "--note", "asked the bank", "--by", "ada")
    found = as_json(settings, "incidents", "show", ids[0])
    assert (found["acknowledged_by"], found["note"]) == ("ada", "asked the bank")
    assert found["acknowledged_at"]
    assert "known to ada" in call(settings, "incidents").stdout
    assert as_json(settings, "incidents", "ack", ids[1])["acknowledged_by"] == getpass.getuser()
    told = call(settings, "incidents", "ack", ids[2]).stdout
    assert "closed itself, 2026-03-02 13:00 UTC" in told
    assert as_json(settings, "incidents", "show", ids[2])["acknowledged_by"] == ""


def test_unknown_id_is_told_with_the_nearest(settings: Settings, ids: list[str]) -> None:
    almost = ids[0][:-1] + ("0" if ids[0][-1] != "0" else "1")
    with pytest.raises(ConfigurationError, match=f"did you mean {ids[0]}") as failed:
        call(settings, "incidents", "ack", almost)
    assert failed.value.exit_code == 2
    with pytest.raises(ConfigurationError, match="lists them"):
        call(replace(settings, home=settings.home / "other"), "incidents", "show", "abcdef")


def test_status_says_how_many_are_open(settings: Settings, ids: list[str]) -> None:
    call(settings, "incidents", "ack", ids[1])
    told = call(settings, "status").stdout
    assert "incidents 2 open (1 critical, 1 acknowledged): clearwater incidents" in told
    counts = {"open": 2, "critical": 1, "acknowledged": 1}
    assert as_json(settings, "status")["incidents"] == counts


def test_status_without_any_says_nothing_of_them(settings: Settings) -> None:
    assert "incidents" not in call(settings, "status").stdout
