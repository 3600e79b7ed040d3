"""A session: a home from its first file on, rounds of faults, and the comparison at its end."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.content import Digests, TornError, differences, whole_home
from benchmarks.load_kills import lake_content
from benchmarks.survives.bucket import BUCKET, Bucket
from benchmarks.survives.clock import Clock
from benchmarks.survives.disk import Disk
from benchmarks.survives.feed import ORDERS, PAYMENTS, Feed, write_sources
from benchmarks.survives.strikes import JUMPS, STRIKES, Yard, is_hit, possible
from benchmarks.survives.tree import POLL_SECONDS, Tree
from benchmarks.survives.watching import PATIENCE_SECONDS, Watch, check_release
from warehouse import releases
from warehouse.duck import attach_lake, connect
from warehouse.settings import Settings, load_settings
from warehouse.state import open_ledger

if TYPE_CHECKING:
    from tests.postgres import Postgres

NEEDS_UP = ("supervisor killed", "supervisor stopped", "reboot")
SCHEDULES = {"pipeline": "20s", PAYMENTS: "5s", ORDERS: "7s"}
HOLD_SHARE, RESUME_SHARE = 0.15, 0.3
# Half of the ticks of the pipeline in an hour: who covers so many was not late, but the clock.
MANY_TICKS = 3_600 // 20 // 2
TABLES = {PAYMENTS: "raw_payments.transactions", ORDERS: "raw_shop.orders"}


@dataclass(frozen=True)
class Round:
    """One round: its fault, whether it struck as meant and when, and how the home came back."""

    kind: str
    is_hit: bool
    struck: str
    was_held: bool
    had_to_be_started: bool
    up_seconds: float
    seconds: float
    zombie_seconds: float
    faults: tuple[str, ...]


class Session:
    """A home under `up` with files that come all the time; see `session`."""

    def __init__(self, yard: Yard, feed: Feed, folder: Path) -> None:
        self._yard = yard
        self._tree = yard.tree
        self._feed = feed
        self._folder = folder
        self._held: str | None = None
        self._hours_left_out = 0

    def begin(self) -> None:
        """The first files, `up`, and its first run."""
        self._feed.start()
        self._tree.up()
        first = self._watch().follow()
        if first.faults:
            raise TornError(f"the first run: {first.faults}")

    def hold_or_resume(self) -> None:
        """Now and then go back to an older release, and after some rounds let runs publish."""
        rng = self._yard.rng
        if self._held is None and rng.random() < HOLD_SHARE:
            serving = releases.current(self._tree.settings)
            older = [each for each in releases.releases(self._tree.settings) if each != serving]
            if older:
                self._held = older[-1].id
                self._tree.command("rollback", self._held, "--wait")
        elif self._held is not None and rng.random() < RESUME_SHARE:
            self._tree.command("resume", "--wait")
            self._held = None
        self._yard.is_held = self._held is not None

    def round(self, kind: str) -> Round:
        """Let files come, strike, let all come back, and look at what must be true."""
        self._feed.deliver()
        struck = STRIKES[kind](self._yard)
        watch = self._watch()
        is_down = not self._tree.has_supervisor
        if is_down:
            self._tree.up()
        found = watch.follow()
        if is_down and kind not in NEEDS_UP:
            found.faults.append("the supervisor has ended, though nobody struck it")
        with _kept(found.faults):
            check_release(self._tree)
            if kind in JUMPS:
                found.faults += self._clock_faults(JUMPS[kind], watch)
        return Round(
            kind,
            is_hit(kind, struck),
            struck,
            self._held is not None,
            is_down,
            round(found.up_seconds, 1),
            round(found.seconds, 1),
            round(found.zombie_seconds, 1),
            tuple(found.faults),
        )

    def _watch(self) -> Watch:
        return Watch(self._tree, self._held, self._yard.clock.now())

    def _clock_faults(self, by: timedelta, watch: Watch) -> list[str]:
        """After a jump ahead one run covers all ticks; one back is told. Of Watch's run before."""
        if by < timedelta():
            told = json.loads(self._tree.command("status", "--json"))
            return [] if told["clock_before"] else ["status does not tell of the clock"]
        self._hours_left_out += 1
        self._tree.until(lambda: _catch_ups(watch.begun()), PATIENCE_SECONDS, POLL_SECONDS)
        found = _catch_ups(watch.begun())
        return [] if len(found) == 1 else [f"{len(found)} runs cover what the clock left out"]

    def due(self, done: Counter[str], rng: random.Random) -> str:
        """The fault that was made least often of those that are possible now."""
        kinds = possible(self._yard)
        fewest = min(done[kind] for kind in kinds)
        return rng.choice([kind for kind in kinds if done[kind] == fewest])

    def finish(self) -> dict[str, Any]:
        """Nothing more arrives; a last run, and the comparison with a home without faults.

        Returns how many batches were `lost` and `doubled`, and in words what is wrong (`faults`).
        """
        faults: list[str] = []
        with _kept(faults):
            self._feed.stop()
            if self._held:
                self._tree.command("resume", "--wait")
                self._held = None
            faults += self._watch().follow().faults
            faults += self._burst()
            self._tree.down()
            if left := self._tree.processes():
                faults.append(f"left by `down`: {[' '.join(each.cmdline()) for each in left]}")
            self._tree.command("run", "--sources", self._tree.sources, "--wait")
            twin = load_settings(self._folder / "twin")
            self._tree.command("run", "--sources", self._tree.sources, home=twin.home)
            if wrong := differences(content(self._tree.settings), content(twin)):
                faults.append(f"not as without faults: {wrong}")
        return self._batches() | {"faults": faults}

    def _burst(self) -> list[str]:
        """Nothing if one run each has covered what the clock left out in this session."""
        with open_ledger(self._tree.settings) as ledger:
            found = _catch_ups(ledger.newest())
        if len(found) == self._hours_left_out:
            return []
        return [f"{len(found)} catch-up runs after {self._hours_left_out} jumps of the clock"]

    def _batches(self) -> dict[str, Any]:
        """How many batches of the feed were lost, and loaded twice; keys in the same way."""
        lost = doubled = 0
        with closing(connect(self._tree.settings)) as con:
            attach_lake(con, self._tree.settings)
            for source, table in TABLES.items():
                found = con.execute(
                    "select count(*), count(distinct source_file) from lake.meta.batches"
                    " where source = ? and status = 'loaded'",
                    [source],
                ).fetchone()
                key = "TRANSACTION_ID" if source == PAYMENTS else "id"
                rows = con.execute(
                    f'select count(*), count(distinct "{key}") from lake.{table}'
                ).fetchone()
                assert found is not None
                assert rows is not None
                lost += max(self._feed.file_count - found[1], self._feed.keys - rows[1], 0)
                doubled += max(found[0] - found[1], rows[0] - rows[1])
        return {"lost": lost, "doubled": doubled, "batches": 2 * self._feed.file_count}


def _catch_ups(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    """The runs that cover what a clock left out."""
    told = {run["run_id"]: (run["summary"] or {}).get("catch_up") for run in runs}
    return [run for run, covers in told.items() if covers and covers["missed"] > MANY_TICKS]


def content(settings: Settings) -> Digests:
    """All that must be the same in two homes over the same files. Raises TornError."""
    return whole_home(settings) | lake_content(settings)


@contextmanager
def session(
    folder: Path, rng: random.Random, *, every_seconds: float, on_postgres: bool = False
) -> Iterator[Session]:
    """A session in a new folder, begun; at its end nothing of it is left running or mounted."""
    with ExitStack() as stack:
        bucket = Bucket()
        stack.callback(bucket.kill)
        bucket.start()
        disk = Disk(folder / "disk")
        stack.callback(disk.remove)
        postgres = _postgres(stack) if on_postgres else None
        state = {"CLEARWATER_STATE_URL": postgres.make("clearwater")} if postgres else {}
        sources, files = folder / "sources.yml", folder / "payments"
        feed = Feed(files, bucket, every_seconds)
        write_sources(sources, files, SCHEDULES, BUCKET)
        clock = Clock(folder / "clock")
        environment = bucket.environment | state | clock.environment
        tree = Tree(disk.folder / "home", sources, environment)
        stack.callback(_keep_logs, tree.settings, folder / "logs")
        stack.callback(tree.kill_everything)
        stack.callback(_quietly(feed.stop))
        made = Session(Yard(tree, bucket, disk, clock, postgres, rng), feed, folder)
        made.begin()
        yield made


@contextmanager
def _kept(faults: list[str]) -> Iterator[None]:
    """Let a TornError of the block be one of the faults."""
    try:
        yield
    except TornError as error:
        faults.append(str(error))


def _keep_logs(settings: Settings, folder: Path) -> None:
    """What was told is there when the disk is gone."""
    folder.mkdir()
    for log in (*settings.prefect.glob("*.log*"), *settings.logs.glob("*.jsonl")):
        shutil.copy(log, folder)


def _quietly(call: Callable[[], None]) -> Callable[[], None]:
    def quiet() -> None:
        with contextlib.suppress(OSError):
            call()

    return quiet


def _postgres(stack: ExitStack) -> Postgres | None:
    try:
        from tests.postgres import Postgres
    except ImportError:
        return None
    made = Postgres()
    stack.callback(made.remove)
    return made
