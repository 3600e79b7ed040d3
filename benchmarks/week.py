"""A week in minutes: 168 hourly runs in one process, by a simulated clock.

Files come with every hour, late rows and labels among them; a column comes, one goes, a type
widens; twice nothing runs for a while; for a day all payments are in another unit, and are sent
again the day after. At the end the release must be that of a fresh home over all files, the
incidents and alerts those that are meant, and what the process holds must not have grown.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.content import differences
from benchmarks.figures import Figure, Options, SkippedError
from benchmarks.measure import CommandFailedError, environment
from benchmarks.week_arrivals import TWO_DAYS, WEEK, Plan
from warehouse.settings import PROJECT

PLANS = {"WEEK": WEEK, "TWO_DAYS": TWO_DAYS}
SETTLED = 40  # runs after which nothing may grow any more
MEMORY_SHARE, MEMORY_BYTES = 0.05, 20_000_000
ALERTS = ("opened", "worsened", "closed")  # of the one incident that is meant

Json = dict[str, Any]


@dataclass
class Receiver:
    """A local web hook, and the titles and texts that were posted to it."""

    url: str
    posts: list[Json] = field(default_factory=list)


@dataclass(frozen=True)
class Week:
    """What the process told of its runs and of their end, and the alerts that it sent."""

    plan: Plan
    runs: list[Json]
    end: Json
    alerts: list[Json]

    def mistakes(self) -> list[str]:
        """Whatever is not as it is meant, in words; none is how it should be."""
        return [
            *self._of_runs(),
            *self._of_outages(),
            *self._of_the_bad_time(),
            *self._of_the_end(),
        ]

    def _of_runs(self) -> Iterator[str]:
        plan = self.plan
        if len(self.runs) != plan.runs:
            yield f"{len(self.runs)} runs, expected {plan.runs}"
        for run in self.runs:
            if run["tick"] not in plan.bad and (run["status"], run["verdict"]) != ("done", "pass"):
                yield f"run {run['run']}: {run['status']}, {run['verdict']}: {run['error']}"
            if run["due_after"]:
                yield f"run {run['run']}: a run is due at once after it"
            if run["warnings"]:
                yield f"run {run['run']} warns: {run['warnings'][0]}"
        told = " ".join(change for run in self.runs for change in run["changes"])
        for change in ("CHANNEL (VARCHAR) is new", "BIGINT now", "shop (VARCHAR) is not in"):
            if change not in told:
                yield f"no run told: {change}"

    def _of_outages(self) -> Iterator[str]:
        """Each outage has one catch-up, which tells its ticks; no other run is one."""
        found = {run["tick"]: run["catch_up"] for run in self.runs if run["catch_up"]}
        meant = {outage.after - 1: outage for outage in self.plan.outages}
        if found.keys() != meant.keys():
            yield f"catch-ups at the ticks {sorted(found)}, expected {sorted(meant)}"
        for tick, outage in meant.items():
            first, last = self.plan.moment(outage.first), self.plan.moment(tick)
            told = found.get(tick) or {}
            covered = (told.get("missed"), told.get("from"), told.get("to"))
            if covered != (outage.count, first.isoformat(), last.isoformat()):
                yield f"the catch-up at tick {tick} covers {covered}"

    def _of_the_bad_time(self) -> Iterator[str]:
        """Its files are refused, what was published stays, and one incident tells of it."""
        bad = self.plan.bad
        before = [run["served"] for run in self.runs if run["tick"] < bad.first][-1]
        for run in self.runs:
            if run["tick"] not in bad:
                continue
            age = (run["tick"] - bad.first + 1) * self.plan.span
            meant = "blocked" if age >= self.plan.stale_after else "refused"
            if run["status"] != meant:
                yield f"run {run['run']}: {run['status']}, expected {meant}: {run['error']}"
            if run["served"] != before:
                yield f"run {run['run']}: what is served changed while all files were bad"

    def _of_the_end(self) -> Iterator[str]:
        if differs := differences(self.end["found"], self.end["expected"]):
            yield f"the release is not that of a fresh home: {differs}"
        if self.end["fresh"]["status"] != "done":
            yield f"the fresh home's run: {self.end['fresh']['status']}"
        if len(self.end["incidents"]) != 1:
            yield f"incidents: {[each['title'] for each in self.end['incidents']]}"
        for incident in self.end["incidents"]:
            yield from self._of_the_incident(incident)
        told = [post["title"] for post in self.alerts]
        if len(told) != len(ALERTS):
            yield f"alerts: {told}"

    def _of_the_incident(self, incident: Json) -> Iterator[str]:
        bad = self.plan.bad
        times = {"opened_at": bad.first, "closed_at": bad.after}
        for name, tick in times.items():
            moment, at = self.plan.moment(tick), incident[name]
            if at is None or not 0 <= (_time(at) - moment) / self.plan.span < 1:
                yield f"the incident's {name} is {at}, expected {moment} or soon after"
        if (incident["root"], incident["severity"]) != ("raw_payments.transactions", "critical"):
            yield f"the incident is {incident['severity']}, of {incident['root']}"

    def figures(self) -> list[Figure]:
        """How much grew since nothing should, and how large things are at the end."""
        first, last = self.runs[min(SETTLED, len(self.runs)) - 1], self.runs[-1]
        limit = MEMORY_SHARE * first["memory"] + MEMORY_BYTES
        mistakes = self.mistakes()
        growth = [
            Figure(f"{name} since run {first['run']}", last[name] - first[name], "", at_most=0)
            for name in ("handles", "threads", "children")
        ]
        seconds = [run["seconds"] for run in self.runs]
        return [
            Figure(
                "not as it is meant", len(mistakes), "", at_most=0, note="; ".join(mistakes)[:500]
            ),
            Figure(
                f"memory since run {first['run']}",
                (last["memory"] - first["memory"]) / 1e6,
                "MB",
                at_most=limit / 1e6,
            ),
            *growth,
            *(Figure(name, size / 1e6, "MB") for name, size in self._sizes().items()),
            Figure("files in the lake", last["lake_files"], ""),
            Figure("longest run", max(seconds), "s"),
            Figure("runs", sum(seconds), "s"),
        ]

    def _sizes(self) -> dict[str, int]:
        kept = ("state.db", "landing", "lake", "releases", "features", "reports", "logs")
        sizes = self.runs[-1]["bytes"]
        return {name: sizes.get(name, 0) for name in kept} | {"catalog": self.runs[-1]["catalog"]}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def simulate(name: str, folder: Path, seed: int) -> Week:
    """Let a process of its own make the runs of a plan in an empty folder.

    Raises CommandFailedError when it does not come to the end, SkippedError where there is no /proc
    to tell what it holds.
    """
    if not Path("/proc/self/statm").exists():
        raise SkippedError("there is no /proc")
    with _receiver() as receiver:
        environ = environment(folder / "home") | {
            "CLEARWATER_ALERT_URLS": receiver.url,
            "CLEARWATER_ALERT_SEVERITY": "warning",
        }
        log = folder / "log.txt"
        with log.open("w", encoding="utf-8") as out:
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.week_runs", name, folder, str(seed)],
                cwd=PROJECT,
                env=environ,
                stdout=out,
                stderr=subprocess.STDOUT,
                check=False,
            )
    if done.returncode != 0:
        said = log.read_text(encoding="utf-8")[-2000:]
        raise CommandFailedError(f"the week ended with {done.returncode}\n{said}")
    lines = (folder / "runs.ndjson").read_text(encoding="utf-8").splitlines()
    end = json.loads((folder / "end.json").read_text(encoding="utf-8"))
    return Week(PLANS[name], [json.loads(line) for line in lines], end, receiver.posts)


@contextmanager
def _receiver() -> Iterator[Receiver]:
    """A web hook on this machine, as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.posts.append(json.loads(body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing: posts are kept."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(f"json://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield receiver
        server.shutdown()
        thread.join()


def measure(options: Options) -> tuple[list[Figure], Json]:
    """The week; in short two days of six runs each."""
    name = "TWO_DAYS" if options.short else "WEEK"
    week = simulate(name, options.folder("week"), options.seed)
    kept = ("run", "at", "status", "memory", "handles", "threads", "children", "bytes", "catalog")
    shown = {1, 20, SETTLED, 60, 100, len(week.runs)}
    details = {
        "runs": [{key: run[key] for key in kept} for run in week.runs if run["run"] in shown],
        "incidents": week.end["incidents"],
        "alerts": [post["title"] for post in week.alerts],
        "mistakes": week.mistakes(),
        "seed": options.seed,
    }
    return week.figures(), details
