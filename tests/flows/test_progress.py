"""Progress: in words, as a bar on a terminal, now and then in logs, and to nobody else."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from flows import events
from flows.events import Events, show_progress
from flows.progress import Pace, in_words, size
from flows.run_log import log_file, read_log
from warehouse.progress import Unit
from warehouse.settings import Settings

# A stage of two seconds, in a process whose stderr is what a test makes it.
STAGE = """
import sys, time
from flows.events import Events, show_progress

show_progress(sys.argv[2] != "machine")
events = Events(sys.argv[1], "r1")
events.stage("load", "start")
for n in range(20):
    events.progress(n * 5e5, 1e7, "byte", "shop.orders: [red]day.csv, 12 rows so far")
    if n == 18:
        events.note("a note in between")
    time.sleep(0.12)
events.stage("load", "done", detail="12 rows loaded", seconds=1.2)
"""


def on_terminal(mode: str, reader: str = "person") -> str:
    """What a terminal of 120 columns is sent."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", STAGE, mode, reader],
        stderr=theirs,
        env=os.environ
        | {"COLUMNS": "120", "TERM": "xterm", "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    os.close(theirs)
    sent = b""
    try:
        while block := os.read(ours, 1 << 16):
            sent += block
    except OSError as error:  # the other end is closed
        assert error.errno == errno.EIO
    finally:
        os.close(ours)
    assert child.wait() == 0
    return sent.decode()


def in_file(mode: str) -> str:
    """What the same stage writes where there is no terminal."""
    done = subprocess.run(
        [sys.executable, "-c", STAGE, mode, "person"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stderr


@pytest.mark.slow
def test_terminal_shows_a_bar_with_amount_rate_and_time_left() -> None:
    sent = on_terminal("text")
    assert "━" in sent
    assert re.search(r"[1-9]\.\d MB of 10\.0 MB, [\d.]+ [kM]B/s, \d+ s left", sent)
    assert "shop.orders: [red]day.csv" in sent  # as it is called, whatever brackets mean to rich
    assert "\x1b[?25l" not in sent  # a killed run would leave a terminal without a cursor
    *_, note, end = [line for line in sent.replace("\r\n", "\n").split("\n") if "\x1b[2K" in line]
    assert note.endswith("a note in between") or "━" in note
    assert end.endswith("load         1.2 s  12 rows loaded")


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "reader"), [("text", "machine"), ("json", "person")])
def test_machines_see_no_bar_on_a_terminal(mode: str, reader: str) -> None:
    assert "━" not in on_terminal(mode, reader)


@pytest.mark.slow
def test_where_there_is_no_terminal_short_stages_are_a_line() -> None:
    assert in_file("text") == "a note in between\nload         1.2 s  12 rows loaded\n"
    told = [json.loads(line)["event"] for line in in_file("json").splitlines()]
    assert told == ["stage", "note", "stage"]


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(events, "time", clock)
    return clock


@pytest.mark.parametrize(("mode", "every"), [("text", 30), ("json", 5)])
def test_long_stages_tell_a_line_now_and_then(
    settings: Settings,
    clock: Clock,
    capsys: pytest.CaptureFixture[str],
    mode: events.Mode,
    every: int,
) -> None:
    show_progress(True)
    told = Events(mode, "r1")
    told.keep(log_file(settings, "r1"))
    told.stage("build", "start")
    capsys.readouterr()
    for second in range(1, 62):
        clock.now += 1
        told.progress(second, 100, "model", f"model {second}")
    told.close()
    lines = capsys.readouterr().err.splitlines()
    texts = [json.loads(line)["text"] if mode == "json" else line for line in lines]
    assert len(texts) == 61 // every
    assert texts[-1].endswith("60 of 100 models, 1.0 models/s, 40 s left: model 60")
    kept = [line for line in read_log(settings, "r1") if line.event == "progress"]
    assert [(line.stage, line.values["done"]) for line in kept] == [("build", 30), ("build", 60)]


def test_results_for_machines_come_without_progress(
    settings: Settings, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    show_progress(False)
    told = Events("text", "r1")
    told.keep(log_file(settings, "r1"))
    told.stage("build", "start")
    clock.now += 31
    told.progress(1, 2, "model")
    told.close()
    show_progress(True)
    assert capsys.readouterr().err == ""
    assert [line.event for line in read_log(settings, "r1")] == ["stage", "progress"]


@pytest.mark.parametrize(
    ("done", "total", "unit", "seconds", "told"),
    [
        (0, 4, "file", 9, "0 of 4 files"),
        (1, 1, "feature set", 9, "1 of 1 feature set, 9.0 s each"),
        (2, 8, "file", 8, "2 of 8 files, 4.0 s each, 24 s left"),
        (3e9, 12e9, "byte", 60, "3.0 GB of 12.0 GB, 50.0 MB/s, 3 min left"),
        (3e9, 3e12, "byte", 60, "3.0 GB of 3.0 TB, 50.0 MB/s, 16 h 39 min left"),
    ],
)
def test_pace_in_words(done: float, total: float, unit: Unit, seconds: float, told: str) -> None:
    pace = Pace(0.0)
    pace.hear(done, total, unit, seconds)
    assert pace.told() == told


def test_pace_begins_anew_with_another_total() -> None:
    """As with the next source's files, which say nothing of how fast those before came."""
    pace = Pace(0.0)
    pace.hear(4, 4, "file", 2.0)
    pace.hear(0, 1000, "file", 2.0)
    assert pace.told() == "0 of 1,000 files"
    pace.hear(100, 1000, "file", 12.0)
    assert pace.told() == "100 of 1,000 files, 10.0 files/s, 2 min left"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.2, "1 s"), (59.4, "59 s"), (60, "1 min"), (61, "2 min"), (7260, "2 h 1 min")],
)
def test_span_in_words(seconds: float, told: str) -> None:
    assert in_words(seconds) == told


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 B"), (999, "999 B"), (1200, "1.2 kB"), (5e15, "5,000.0 TB")]
)
def test_size_in_words(count: float, told: str) -> None:
    assert size(count) == told


def test_stage_before_the_first_progress_has_no_line(tmp_path: Path) -> None:
    assert Pace(0.0).told() == ""
