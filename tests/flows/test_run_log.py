"""The log of a run: its lines, what stays out of it, and a disk that does not take it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable

import pytest

from flows import run_log
from flows.events import Events
from flows.run_log import HIDDEN, LogFile, hidden, log_file, logged_runs, new_line, read_log
from warehouse.errors import GateBlockedError
from warehouse.settings import Settings


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARWATER_ALERT_URLS", "slack://tokenA/tokenB, json://host/hook-31415926")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", 'se"cret/Ключ')
    run_log._secrets.cache_clear()
    yield
    run_log._secrets.cache_clear()


def test_line_is_an_object_with_the_same_fields_always(settings: Settings) -> None:
    events = Events("text", "r1")
    events.keep(log_file(settings, "r1"))
    events.stage("land", "start")
    events.note("a\nnote with ünïcode \ud800")
    events.close()
    text = log_file(settings, "r1").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    fields = ["at", "run_id", "level", "event", "stage", "text"]
    assert [list(line) for line in lines] == [[*fields, "status"], fields]
    assert [line["stage"] for line in lines] == ["land", "land"]
    assert [line.event for line in read_log(settings, "r1")] == ["stage", "note"]


def test_error_is_told_as_what_where_and_next_step(settings: Settings) -> None:
    events = Events("text", "r1")
    events.keep(log_file(settings, "r1"))
    events.error(GateBlockedError("blocked", where="marts.a", next_step="mend"))
    who = "Mrs Smith"
    try:
        raise ValueError(f"Conversion Error: Could not convert string {who!r}")
    except ValueError as error:
        events.error(error)
    events.close()
    told, crashed = read_log(settings, "r1")
    assert told.values == {
        "what": "blocked",
        "where": "marts.a",
        "next_step": "mend",
        "exit_code": 3,
    }
    assert crashed.text.startswith("ValueError: Conversion Error")
    assert "test_run_log.py" in crashed.values["traceback"]
    assert who not in crashed.to_json()


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("postgresql://me:hunter2@db:5432/x", f"postgresql://me:{HIDDEN}@db:5432/x"),
        ("sent to slack://tokenA/tokenB", f"sent to {HIDDEN}"),
        ("json://host/hook-31415926 says 404", f"{HIDDEN} says 404"),
        ('key se"cret/Ключ', f"key {HIDDEN}"),
        ("s3://bucket/a:b@c is a path", "s3://bucket/a:b@c is a path"),
    ],
)
def test_secrets_stay_out_of_text_and_json(settings: Settings, text: str, told: str) -> None:
    assert hidden(text) == told
    assert json.loads(new_line("r1", "note", text).to_json())["text"] == told
    assert json.loads(new_line("r1", "note", why=[text]).to_json())["why"] == [told]


@pytest.mark.usefixtures("secrets")
def test_secrets_stay_out_of_what_people_read(capsys: pytest.CaptureFixture[str]) -> None:
    Events("text", "r1").note("no answer from slack://tokenA/tokenB")
    assert capsys.readouterr().err == f"no answer from {HIDDEN}\n"


def full_at(count: int, *, partly: bool) -> Callable[[int, bytes], int]:
    """`os.write` on a disk that is full for the line of this number."""
    written = 0
    real = os.write

    def write(handle: int, data: bytes) -> int:
        nonlocal written
        written += 1
        if written != count:
            return real(handle, data)
        if partly:
            return real(handle, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return write


@pytest.mark.parametrize("partly", [False, True])
def test_full_disk_costs_a_line_and_no_run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, partly: bool
) -> None:
    log = LogFile(log_file(settings, "r1"))
    monkeypatch.setattr(os, "write", full_at(2, partly=partly))
    for number in range(4):
        log.write(new_line("r1", "note", str(number)))
    log.close()
    assert [line.text for line in read_log(settings, "r1")] == ["0", "2", "3"]
    assert log.lag


def test_log_that_cannot_be_written_is_told_once(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.home.mkdir()
    settings.logs.write_text("a file where the folder should be")
    events = Events("text", "r1")
    events.keep(log_file(settings, "r1"))
    events.note("first")
    events.note("second")
    events.close()
    assert capsys.readouterr().err.splitlines() == [
        "first",
        "second",
        "the run's log lags, the data does not: File exists",
    ]


def test_newest_run_is_first(settings: Settings) -> None:
    assert logged_runs(settings) == []
    settings.logs.mkdir(parents=True)
    for run in ("20260101T000000-b", "20260102T000000-a", "20260101T000000-a"):
        log_file(settings, run).touch()
    (settings.logs / "notes.txt").touch()
    assert logged_runs(settings) == ["20260102T000000-a", "20260101T000000-b", "20260101T000000-a"]
