"""One trial: a day arrives at a copy of a home with history, a run is made, and judged.

The judgement asks the release that readers would see, never the run alone: what of the day is in
it, and was the rest told?
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import duckdb
import yaml

from benchmarks.faults.frame import Frame, as_parquet
from benchmarks.faults.kinds import Files
from benchmarks.faults.worlds import FEEDS, HISTORY_DAYS, Feed, World
from warehouse import releases
from warehouse.duck import quoted
from warehouse.settings import PROJECT, Settings, load_settings

if TYPE_CHECKING:
    from flows.pipeline import Run

# Before publishing: the gate blocked, the batch was refused, its bad rows were quarantined, or
# nothing of the fault is left once the rows are loaded. After it: told, or not even that.
Outcome = Literal["blocked", "refused", "quarantined", "no effect", "warned", "missed"]
STOPPED: tuple[Outcome, ...] = ("blocked", "refused", "quarantined", "no effect")
PUBLISHING = ("build", "audit", "publish")
STAGES = ("land", "load", *PUBLISHING)
# A torn record may hold more than one row: where an end of line was damaged.
ROWS_A_TORN_RECORD = 1.05
_DIGITS = re.compile(r"[\d.,:%-]+")


class TrialError(Exception):
    """A home could not be prepared: its history did not pass."""


@dataclass(frozen=True)
class Judged:
    """What became of a day.

    `wrong` rows are published and not true; `missing` ones are true and not published; `alarms`
    are what was told and was not at the run before.
    """

    outcome: Outcome
    exit_code: int
    verdict: str
    wrong: int
    missing: int
    quarantined: int
    alarms: tuple[str, ...]
    message: str
    seconds: float


class Home:
    """A home with history, and the folders that its sources watch."""

    def __init__(self, folder: Path, told: frozenset[str] = frozenset()) -> None:
        self.folder = folder
        self.told = told
        self.settings: Settings = load_settings(folder / "home")

    @classmethod
    def prepared(cls, folder: Path, world: World) -> Home:
        """A home that has loaded and published the world's first days; made once.

        Raises TrialError.
        """
        known = folder / "told.json"
        if known.exists():
            return cls(folder, frozenset(json.loads(known.read_text())))
        shutil.rmtree(folder, ignore_errors=True)
        home = cls(folder)
        home._write_sources(world)
        fixed = {
            name: {f"0000{FEEDS[name].suffix}" if name in FEEDS else "0000.parquet": frame}
            for name, frame in world.fixed.items()
        }
        for name, files in fixed.items():
            home.put(name, files)
        for day in world.days[:HISTORY_DAYS]:
            home.put_day(day.frames, str(day.on))
        run, _ = home.run()
        if run.exit_code != 0 or run.release is None:
            raise TrialError(f"{world.name}: {run.failure or run.problems}")
        home.told = _alarms(run)
        home.clear()
        known.write_text(json.dumps(sorted(home.told)))
        return home

    def _write_sources(self, world: World) -> None:
        """The shipped definitions, with paths of our own."""
        shipped = PROJECT / ("sources.yml" if world.domain == "payments" else "retail.yml")
        told = yaml.safe_load(shipped.read_text(encoding="utf-8"))
        entries = told["sources"]
        for entry in entries:
            suffix = FEEDS[entry["name"]].suffix if entry["name"] in FEEDS else ".parquet"
            entry |= {"path": f"incoming/{entry['name']}/*{suffix}", "optional": True}
        self.folder.mkdir(parents=True)
        (self.folder / "sources.yml").write_text(yaml.safe_dump({"version": 1, "sources": entries}))

    def put(self, name: str, files: Mapping[str, Frame | bytes]) -> None:
        """Put files where the source `name` looks."""
        place = self.folder / "incoming" / name
        place.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            encode = FEEDS[name].encode if name in FEEDS else as_parquet
            raw = content if isinstance(content, bytes) else encode(content)
            (place / file).write_bytes(raw)

    def put_day(self, frames: Mapping[str, Frame], word: str) -> None:
        """Put a day's files as they come when nothing is wrong."""
        for name, frame in frames.items():
            self.put(name, {f"{word}{FEEDS[name].suffix}": frame})

    def clear(self) -> None:
        """Take the files away that were loaded; landing has them."""
        for file in (self.folder / "incoming").glob("*/*"):
            file.unlink()

    def run(self, feed: str = "") -> tuple[Run, float]:
        """A run of the pipeline in this process, and its seconds.

        When the file of `feed` was refused, its day cannot be published: the run ends there.
        """
        from flows import pipeline

        def call(name: str, stage: Callable[[Run], None], run: Run) -> None:
            refused = run.problems and not run.summaries[feed].counts.loaded if feed else False
            if name in PUBLISHING and refused:
                run.done(f"nothing of {feed} to publish", status="skipped")
            else:
                stage(run)

        started = time.monotonic()
        options = pipeline.Options(sources=self.folder / "sources.yml")
        with contextlib.redirect_stderr(io.StringIO()):
            run = pipeline.execute(self.settings, options, stages=STAGES, call=call)
        return run, time.monotonic() - started

    def accept(self) -> None:
        """What a person does when a true day is refused for being unlike before: it is meant so."""
        from expectations.history import open_history

        with open_history(self.settings) as history:
            history.accept([shift for shift in history.open_shifts() if shift.stops])

    def copied(self, folder: Path) -> Home:
        """The same home elsewhere; releases other than the current one stay behind."""
        shutil.rmtree(folder, ignore_errors=True)
        current = releases.current(self.settings)
        kept = current.id if current else ""

        def left(place: str, names: list[str]) -> list[str]:
            at = Path(place)
            if at.name == "releases":
                return [name for name in names if name != kept]
            return names if at.name in ("reports", "features", "tmp") else []

        shutil.copytree(self.folder, folder, symlinks=True, ignore=left)
        return Home(folder, self.told)

    @property
    def database(self) -> Path:
        """The file that readers open."""
        return self.settings.current / "warehouse.duckdb"


def try_day(
    base: Home, folder: Path, feed: Feed, files: Files, scene_days: Mapping[str, Frame],
    others: Mapping[str, Frame], word: str,
) -> tuple[Judged, Home]:  # fmt: skip
    """What becomes of `files` on a copy of `base`, which is in `folder` afterwards.

    `scene_days` are the true rows of today (all due) and of tomorrow (allowed); `others` are the
    frames of the domain's other feeds today.
    """
    home = base.copied(folder)
    home.put_day(others, word)
    home.put(feed.name, files)
    run, seconds = home.run(feed.name)
    wrong, missing = _compared(base, home, feed, scene_days)
    told = _alarms(run)
    alarms = tuple(sorted(told - base.told))
    quarantined = sum(summary.counts.quarantined for summary in run.summaries.values())
    judged = Judged(
        outcome=_outcome(run, wrong, missing, quarantined, alarms),
        exit_code=run.exit_code,
        verdict=run.gate.verdict if run.gate else "",
        wrong=wrong,
        missing=missing,
        quarantined=quarantined,
        alarms=alarms,
        message=str(run.failure or "; ".join(run.problems))[:600],
        seconds=round(seconds, 2),
    )
    home.told = base.told | told
    home.clear()
    return judged, home


def _outcome(
    run: Run, wrong: int, missing: int, quarantined: int, alarms: tuple[str, ...]
) -> Outcome:
    if not wrong and run.failure is not None:
        return "blocked" if run.status == "blocked" else "refused"
    if not wrong and run.problems:
        return "refused"
    if not wrong and quarantined and missing <= ROWS_A_TORN_RECORD * quarantined:
        return "quarantined"
    if not wrong and not missing:
        return "no effect"
    is_told = bool(alarms or quarantined or run.exit_code)
    return "warned" if is_told else "missed"


def _alarms(run: Run) -> frozenset[str]:
    """What a run says beyond counts: rules that warn and notes on files, without their figures."""
    results = run.gate.results if run.gate else ()
    rules = {f"rule {result.rule_id}" for result in results if result.status == "warn"}
    notes = {
        f"{name}: {_DIGITS.sub('#', text)}"
        for name, summary in run.summaries.items()
        for text in (*(text for _, text in summary.told), *summary.warnings)
    }
    return frozenset(rules | notes)


def _compared(base: Home, home: Home, feed: Feed, days: Mapping[str, Frame]) -> tuple[int, int]:
    """How many published rows are not true, and how many true ones of today are not published."""
    columns = ", ".join(feed.published)
    with duckdb.connect() as con:
        for name, file in (("old", base.database), ("new", home.database)):
            con.execute(f"attach {quoted(file.resolve())} as {name} (read_only)")
        for name, frame in days.items():
            _true_rows(con, home.folder, feed, name, frame)
        now = f"select {columns} from new.{feed.relation}"
        allowed = f"select {columns} from old.{feed.relation}" + "".join(
            f" union all from {name}" for name in days
        )
        wrong = _count(con, f"({now}) except ({allowed})")
        repeated = _count(con, now) - _count(con, f"select distinct * from ({now})")
        gone = 0 if feed.replaces else _count(
            con, f"(select {columns} from old.{feed.relation}) except ({now})"
        )  # fmt: skip
        return wrong + repeated + gone, _count(con, f"(from today) except ({now})")


def _true_rows(
    con: duckdb.DuckDBPyConnection, folder: Path, feed: Feed, name: str, frame: Frame
) -> None:
    """Make the table `name`: the frame's rows as they ought to be published."""
    published = ", ".join(f"{sql} as {column}" for column, sql in feed.published.items())
    file = folder / f"{name}.parquet"
    file.write_bytes(as_parquet(frame))
    con.execute(f"create table {name} as select {published} from {quoted(file)}")


def _count(con: duckdb.DuckDBPyConnection, query: str) -> int:
    row = con.execute(f"select count(*) from ({query})").fetchone()
    assert row is not None
    return int(row[0])
