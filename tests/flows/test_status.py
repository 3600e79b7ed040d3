"""`clearwater status`: one screen, and all of it as JSON."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Self

import pytest
from handmade import payment, sources_file
from sqlalchemy import delete
from works import MERGE, Works

from expectations.lag import Lag
from flows import cli, overview
from flows import next_runs as asking
from flows.commands import status
from flows.deployments import Deployment, in_force
from flows.next_runs import Served, next_runs, served
from flows.options import print_json
from flows.overview import Disk, Overview, SourceState
from flows.server import HERE, Process, ServerInfo, record
from warehouse.lock import writer_lock
from warehouse.processes import this_process
from warehouse.releases import rollback
from warehouse.state import open_ledger, open_state, runs
from warehouse.waiting import Held, Refused, Waiting

Show = Callable[..., str]
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def show(works: Works, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Show:
    """The command of a home with a release; what it prints."""
    monkeypatch.setenv("CLEARWATER_HOME", str(works.settings.home))

    def call(*options: str) -> str:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["clearwater", "status", *options])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        return capsys.readouterr().out

    return call


def source(name: str, **changed: Any) -> SourceState:
    lag = Lag(40 * HOUR, 36 * HOUR, "fresh", is_late=True)
    known = SourceState(
        name, "run", NOW - HOUR / 5, "refused", NOW - 40 * HOUR, "a.csv", lag, NOW + HOUR, "cron"
    )
    return replace(known, **changed)


def run(number: int) -> dict[str, Any]:
    began = NOW.replace(hour=number, minute=30, tzinfo=None)
    return {
        "run_id": f"20260504T{number:02}3000-abc123",
        "started_at": began,
        "ended_at": began + timedelta(seconds=8),
        "status": "crashed",
        "release": "20260504T023008000000",
    }


def full(works: Works) -> Overview:
    """A home in which all is to be told at once."""
    settings = works.settings
    return replace(
        overview.overview(settings),
        at=NOW,
        home=Path("/srv/clearwater"),
        held="20260504T023008000000",
        waiting=Waiting(
            (Held("shop.orders", "a.csv", "not_of_type", 2, 3, "x", 2),),
            (Refused("shop.orders", "b.csv", "the column amount is gone " * 9),),
        ),
        sources=(
            source("payments.transactions"),
            source("shop.a_name_that_is_much_too_long_for_a_table", due=None, next_at=None),
            source("shop.orders", lag=Lag(2 * HOUR, 24 * HOUR, None, is_late=False)),
            source("shop.new", lag=None, looked_at=None, news_at=None, ended=None, next_at=None),
        ),
        disk=Disk({"lake": 8 * 10**11, "landing": 3 * 10**9, "tmp": 0}, {"logs": 10**7}, 6 * 10**9),
        runs=tuple(run(n) for n in range(9)),
    )


def test_four_sources_fit_on_a_screen(
    works: Works, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = full(works)
    monkeypatch.setattr(overview, "overview", lambda _: seen)
    lines = show().splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 27  # 24, two of what waits, and one of a clock that was set back
    told = "\n".join(lines)
    assert "disk      803 GB (lake 800 GB, landing 3.0 GB), 6.0 GB free" in told
    assert "`clearwater prune` would free 10 MB" in told
    cells = [" ".join(line.split()) for line in lines]
    assert "payments.transactions 12 min refused 40 h 40 h of 36 h LATE 60 min" in cells
    assert "shop.orders 12 min refused 40 h 2 h, usual 24 h 60 min" in cells
    assert "shop.a_name_that_is_muc… 12 min refused 40 h 40 h of 36 h LATE" in cells
    assert "shop.new cron" in cells
    assert "waiting shop.orders: 2 rows in quarantine" in cells
    assert sum("crashed" in line for line in lines) == 5


def test_late_is_red_on_a_terminal_alone(
    works: Works, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = full(works)
    monkeypatch.setattr(overview, "overview", lambda _: seen)
    assert "\x1b" not in show()
    monkeypatch.setattr(status.sys.stdout, "isatty", lambda: True, raising=False)
    assert status._red("a LATE b") == "a \x1b[31mLATE\x1b[0m b"


def test_home_with_a_release(works: Works, show: Show) -> None:
    told = show()
    assert f"release   {works.served()} (pass), " in told
    assert "server    not running, so that nothing runs by itself" in told
    assert "payments.transactions" in told
    found = json.loads(show("--json"))
    (state,) = found["sources"]
    assert state["name"] == "payments.transactions"
    assert (state["ended"], state["news_file"], state["next_at"]) == ("done", "payments.csv", None)
    assert state["run_id"] == found["runs"][0]["run_id"]
    assert state["lag"]["is_late"] is False
    assert datetime.fromisoformat(state["news_at"]) <= datetime.fromisoformat(found["at"])
    assert found["disk"]["free"] > 0


def test_times_for_machines_are_all_of_one_kind(works: Works, show: Show) -> None:
    found = json.loads(show("--json"))
    ran, source = found["runs"][0], found["sources"][0]
    assert ran["started_at"] == source["looked_at"]
    times = (found["at"], *(ran[name] for name in ("started_at", "ended_at")), source["news_at"])
    for told in times:
        assert "T" in told
        assert datetime.fromisoformat(told).utcoffset() == timedelta(0)
    with open_ledger(works.settings) as ledger:
        ledger.start("dead")
    assert json.loads(show("--json"))["runs"][0]["ended_at"] is None


def test_moments_are_iso_in_utc_and_wall_times_stay(capsys: pytest.CaptureFixture[str]) -> None:
    local = NOW.replace(tzinfo=timezone(HOUR))
    print_json([NOW.replace(tzinfo=None), local, Path("a")])
    assert json.loads(capsys.readouterr().out) == [
        "2026-05-04 12:00:00",
        "2026-05-04T11:00:00+00:00",
        "a",
    ]


def test_clock_that_was_set_back_is_told(
    works: Works, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "clock " not in show()
    assert json.loads(show("--json"))["clock_before"] is None
    newest = overview.overview(works.settings).runs[0]["started_at"].replace(tzinfo=UTC)

    class Earlier(datetime):
        @classmethod
        def now(cls, zone: tzinfo | None = None) -> Self:
            return super().now(zone) - timedelta(days=2)

    monkeypatch.setattr(overview, "datetime", Earlier)
    assert "clock     set back: it is before 20" in show()
    told = datetime.fromisoformat(json.loads(show("--json"))["clock_before"])
    assert newest <= told <= newest + HOUR


def test_empty_home(show: Show, tmp_path: Path) -> None:
    found = json.loads(show("--json", "--home", str(tmp_path / "none")))
    assert (found["release"], found["sources"], found["runs"], found["disk"]) == (
        None,
        [],
        [],
        None,
    )
    assert "release   none yet" in show("--home", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_last_run_that_looked_at_a_source(works: Works, show: Show) -> None:
    works.run("build")  # looks at no source
    first = json.loads(show("--json"))["sources"][0]
    (works.folder / "payments9.csv").write_text("not,payments\n1,2\n")
    ran = works.run("land", "load", entries=[MERGE])
    found = json.loads(show("--json"))
    now = found["sources"][0]
    assert first["run_id"] == found["runs"][-1]["run_id"]
    assert (now["run_id"], now["ended"]) == (ran.run_id, "refused")
    assert now["news_at"] == first["news_at"]
    works.put([payment(4, day=4)], "payments4.csv")
    (works.folder / "payments9.csv").unlink()
    works.run("land", "load", entries=[MERGE])
    assert json.loads(show("--json"))["sources"][0]["news_file"] == "payments4.csv"


def noted(works: Works, run_id: str, *stages: str, **asked: Any) -> None:
    """A run that died in the last of these stages."""
    with open_ledger(works.settings) as ledger:
        ledger.start(run_id, asked)
        for stage in stages:
            ledger.stage(run_id, stage, "running", None, "")


def test_crashed_run_has_looked_at_its_sources_once_it_came_to_land(
    works: Works, show: Show
) -> None:
    def ended() -> dict[str, tuple[str, str]]:
        found = json.loads(show("--json"))["sources"]
        return {each["name"]: (each["run_id"], each["ended"]) for each in found}

    with open_ledger(works.settings) as ledger:
        (first,) = ledger.newest()
    name, file = "payments.transactions", first["options"]["sources"]
    noted(works, "early", sources=file, only=[])
    noted(works, "build", "build", sources=file, only=[])
    noted(works, "other", "land", sources=file, only=["shop.orders"])
    noted(works, "elsewhere", "land", sources="/other.yml", only=[])
    assert ended() == {name: (first["run_id"], "done"), "shop.orders": ("other", "crashed")}
    noted(works, "all", "land", "load", sources=file, only=[])
    assert ended() == {name: ("all", "crashed"), "shop.orders": ("all", "crashed")}
    with open_ledger(works.settings) as ledger, writer_lock(works.settings, run_id="now"):
        ledger.start("now", {"sources": file, "only": []})
        ledger.stage("now", "land", "running", None, "")
        assert ended()[name] == ("all", "crashed")  # that of now has not ended


def test_crashed_first_run_has_looked_at_what_it_landed(works: Works, show: Show) -> None:
    with open_state(works.settings) as engine, engine.begin() as con:
        con.execute(delete(runs))
    noted(works, "first", "land", "load", sources="s.yml", only=[])
    (state,) = json.loads(show("--json"))["sources"]
    assert (state["name"], state["ended"]) == ("payments.transactions", "crashed")


def test_run_that_failed_in_land_has_looked_at_its_sources(works: Works, show: Show) -> None:
    with open_ledger(works.settings) as ledger:
        (first,) = ledger.newest()
    noted(works, "failed", "land", sources=first["options"]["sources"], only=[])
    with open_ledger(works.settings) as ledger:
        summary = {"sources": {}, "stages": {"land": {"status": "failed"}}}
        ledger.end("failed", "failed", None, summary)
    (state,) = json.loads(show("--json"))["sources"]
    assert (state["run_id"], state["ended"]) == ("failed", "failed")


def test_held_line_is_told(works: Works, show: Show) -> None:
    rollback(works.settings, works.served())
    assert f"held      at {works.served()} after a rollback" in show()


def test_runs_of_a_ledger_without_summaries(works: Works, show: Show) -> None:
    with open_ledger(works.settings) as ledger:
        ledger.start("dead")
        (dead,) = [run for run in ledger.newest() if run["run_id"] == "dead"]

    def row() -> list[str]:
        (line,) = [line for line in show().splitlines() if line.startswith("dead")]
        return line.split()[3:]

    assert row() == ["crashed"]  # how long it took is not known
    heard = dead["started_at"] + timedelta(seconds=42)
    (works.settings.logs / "dead.jsonl").write_text(json.dumps({"at": f"{heard}+00:00"}))
    assert row() == ["42", "s", "crashed"]
    assert json.loads(show("--json"))["sources"][0]["ended"] == "done"


def declared(works: Works, *schedules: dict[str, Any] | str) -> ServerInfo:
    """A server that runs on the schedules of a sources file: the pipeline's, and each source's."""
    names = ("a.a", "b.b")
    entries = [MERGE | {"name": name} for name in names]
    for entry, schedule in zip(entries, schedules[1:], strict=False):
        entry["schedule"] = schedule
    file = sources_file(works.folder, *entries)
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"schedule": schedules[0]}))
    return ServerInfo(HERE, 1, this_process(), str(file), is_ready=True)


def due(works: Works, seen: Served, *names: str) -> dict[str, tuple[datetime | None, str]]:
    return next_runs(works.settings, seen, names or ("a.a", "b.b"), NOW).due


def test_next_run_is_the_first_that_is_due(works: Works) -> None:
    seen = Served(declared(works, {"every": "1d"}, {"every": "1h"}, {"when": "new files"}))
    assert due(works, seen) == {
        "a.a": (NOW + HOUR, "every 1h"),
        "b.b": (NOW + 12 * HOUR, "every 1d (UTC)"),
    }
    assert due(works, Served()) == {}
    assert seen.info
    by_cron = replace(seen, info=replace(seen.info, cron="30 * * * *"))
    assert due(works, by_cron, "a.a")["a.a"][0] == NOW + HOUR / 2


def test_what_is_paused_at_the_server_has_no_next_run(works: Works) -> None:
    info = declared(works, {"every": "1d"}, {"every": "1h"}, {"when": "new files"})
    known = in_force(works.settings, Path(info.sources), None)

    def seen(*paused: str) -> Served:
        shown = [Deployment("id", each, each.name not in paused) for each in known]
        return Served(info, "up", shown)

    assert due(works, seen()) == due(works, Served(info))
    assert due(works, seen("pipeline")) == {
        "a.a": (NOW + HOUR, "every 1h"),
        "b.b": (None, "new files (every 1m)"),
    }
    assert due(works, seen("a.a"))["a.a"] == (NOW + 12 * HOUR, "every 1d (UTC)")
    everything = due(works, seen("pipeline", "a.a", "b.b"))
    assert everything == dict.fromkeys(("a.a", "b.b"), (None, "paused"))


def test_mistake_in_the_sources_file_is_one_line_and_the_schedules_stay(
    works: Works, show: Show, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = declared(works, {"every": "1d"})
    shown = [
        Deployment("id", each, True) for each in in_force(works.settings, Path(info.sources), None)
    ]
    monkeypatch.setattr(overview, "served", lambda _: Served(info, "up", shown))
    before = json.loads(show("--json"))
    assert before["schedules_problem"] is None
    assert "\nschedules" not in show()
    sources = Path(info.sources)
    sources.write_text("version: 1\nschedule:\n  every: 40x\n")
    lines = show().splitlines()
    (told,) = [line for line in lines if line.startswith("schedules")]
    assert told.startswith(f"schedules {sources.name}:3: every: '40x' is not a span")
    assert len(told) <= 80
    assert any("payments.transactions" in line and " h" in line for line in lines)
    found = json.loads(show("--json"))
    assert found["schedules_problem"].startswith(f"{sources.name}:3: ")
    now, then = (each["sources"][0] for each in (found, before))
    assert (now["next_at"], now["due"]) == (then["next_at"], "every 1d (UTC)")
    by_cron = Served(replace(info, cron="30 * * * *"), "up", None)
    told_by_cron = next_runs(works.settings, by_cron, ["a.a"], NOW)
    assert told_by_cron.due["a.a"][0] == NOW + HOUR / 2
    assert told_by_cron.problem
    unasked = next_runs(works.settings, Served(info, "starting again"), ["a.a"], NOW)
    assert (unasked.due, unasked.problem) == ({}, told_by_cron.problem)


class Odd(BaseHTTPRequestHandler):
    """A server that answers each question with what its class was told to."""

    answer: bytes = b""
    seconds: float = 0.0  # before each byte of a deployment

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_POST(self) -> None:
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            for byte in self.answer:
                time.sleep(self.seconds)
                self.wfile.write(bytes([byte]))

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def odd(works: Works) -> Iterator[ServerInfo]:
    """The record of a server that is none of ours."""
    with ThreadingHTTPServer((HERE, 0), Odd) as listening:
        listening.daemon_threads = True
        listening.block_on_close = False
        thread = Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        me = this_process()
        info = declared(works, {"every": "1d"})
        info = replace(info, port=listening.server_port, server=me, worker=me)
        record(works.settings, info)
        yield info
        listening.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (b"<html>", 0.0),
        (b"[]", 0.0),
        (b'{"detail": "none"}', 0.0),
        (b'[{"name": "pipeline", "id": "1"}]', 0.0),
        (b"[" + b" " * 99 + b"]", 0.1),
    ],
    ids=["no JSON", "nothing", "an object", "odd deployments", "bytes that trickle"],
)
def test_server_that_cannot_be_asked_leaves_what_is_declared(
    works: Works,
    odd: ServerInfo,
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes,
    seconds: float,
) -> None:
    monkeypatch.setattr(Odd, "answer", answer)
    monkeypatch.setattr(Odd, "seconds", seconds)
    monkeypatch.setattr(asking, "ASK_SECONDS", 0.5)
    started = time.monotonic()
    seen = served(works.settings)
    assert time.monotonic() - started < 3
    assert (seen.info, seen.standing) == (odd, "up")
    assert due(works, seen, "a.a") == {"a.a": (NOW + 12 * HOUR, "every 1d (UTC)")}


def test_server_that_is_started_again_is_told_as_that(works: Works, show: Show) -> None:
    me, gone = this_process(), Process(2**22 + 1, "long ago")
    info = replace(declared(works, {"every": "1d"}), server=gone, worker=me)
    record(works.settings, info)
    assert f"server    starting again: {info.url} does not answer yet" in show()
    found = json.loads(show("--json"))
    assert (found["server"], found["server_standing"]) == (None, "starting again")
    assert found["sources"][0]["due"] == "every 1d (UTC)"
    with socket.create_server((HERE, 0)) as hangs:  # it listens, and answers nobody
        port = hangs.getsockname()[1]
        record(works.settings, replace(info, server=me, port=port))
        assert served(works.settings).standing == "starting again"
    record(works.settings, replace(info, is_ready=False))
    assert f"server    starting: {info.url} does not answer yet" in show()
    record(works.settings, replace(info, supervisor=gone))
    assert "server    not running, so that nothing runs by itself; `clearwater up`" in show()
    assert json.loads(show("--json"))["server_standing"] == "down"


def test_spans_and_cuts() -> None:
    seconds = [0, 119, 120, 7199, 7200, 172_800, -5]
    assert [status.span(timedelta(seconds=n)) for n in seconds] == [
        *("0 s", "119 s", "2 min", "119 min", "2 h", "2 days", "0 s")
    ]
    assert status.cut("abcdef\ng", 5) == "abcd…"
    assert status.cut("ab", 5) == "ab"
