"""All trials, spread over worlds and days; what is done is on disk, and is not done again."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.kinds import Kind, Scene, every_kind
from benchmarks.faults.trial import Home, TrialError, try_day
from benchmarks.faults.worlds import FEEDS, HISTORY_DAYS, DomainName, Feed, World, worlds

DOMAINS: tuple[DomainName, ...] = ("payments", "retail")
CLEAN = "clean"


@dataclass(frozen=True)
class Plan:
    """How much is tried: `trials` of every kind, feed and strength, clean days besides."""

    worlds: int
    days: int
    trials: int
    seed: int
    full_only: bool = False
    kinds: tuple[str, ...] = ()
    domains: tuple[DomainName, ...] = DOMAINS


@dataclass(frozen=True)
class Case:
    """A kind at one strength on one feed; the n-th trial of it."""

    kind: Kind
    feed: Feed
    strength: float
    nth: int

    @property
    def is_full(self) -> bool:
        """Whether this is the kind's full strength."""
        return self.strength == self.kind.strengths[-1]


def cases(plan: Plan, domain: DomainName) -> list[Case]:
    """Every case of the domain, in a seeded random order; the n-th trials before the n+1-th."""
    chosen = [kind for kind in every_kind().values() if not plan.kinds or kind.name in plan.kinds]
    found: list[Case] = []
    for nth in range(plan.trials):
        round_ = [
            Case(kind, feed, strength, nth)
            for kind in chosen
            for feed in kind.feeds
            if feed.name.startswith(domain)
            for strength in (kind.strengths[-1:] if plan.full_only else kind.strengths)
        ]
        np.random.default_rng([plan.seed, nth]).shuffle(round_)
        found += round_
    return found


class Record:
    """The trials that are done, one JSON object a line."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.lines: list[dict[str, Any]] = []
        if file.exists():
            self.lines = [json.loads(line) for line in file.read_text().splitlines()]
        self._done = {_key(line) for line in self.lines}

    def has(self, **key: Any) -> bool:
        """Whether this trial is done."""
        return _key(key) in self._done

    def add(self, line: dict[str, Any]) -> None:
        """Keep a trial, at once."""
        self.lines.append(line)
        self._done.add(_key(line))
        with self._file.open("a") as out:
            out.write(json.dumps(line) + "\n")


def _key(line: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(line.get(name) for name in ("domain", "kind", "feed", "strength", "nth", "world"))


def run_all(plan: Plan, work: Path, handbook: Path | None, record: Record) -> None:
    """Make every trial of the plan that the record lacks."""
    for domain in plan.domains:
        todo = cases(plan, domain)
        slots = plan.worlds * plan.days
        found = worlds(domain, plan.worlds, plan.days + 1, plan.seed, handbook, work / "simulated")
        for number, world in enumerate(found):
            # Every world and day gets its share of the cases.
            shares = [todo[number * plan.days + step :: slots] for step in range(plan.days)]
            _run_world(plan, work, world, number, shares, record)


def _run_world(
    plan: Plan, work: Path, world: World, number: int, shares: list[list[Case]], record: Record
) -> None:
    due = {step: list(_due(world, shares[step], record)) for step in range(plan.days)}
    clean_due = [
        step
        for step in range(plan.days)
        if not record.has(domain=world.domain, kind=CLEAN, nth=step, world=number)
    ]
    if not clean_due and not any(due.values()):
        return
    try:
        home = Home.prepared(work / f"{world.domain}-{number}", world).copied(work / "home")
    except TrialError as error:
        record.add({"domain": world.domain, "kind": "history", "world": number, "text": str(error)})
        return
    for step in range(max([*clean_due, *(step for step, some in due.items() if some)]) + 1):
        for case in due[step]:
            record.add(_trial(plan, work, world, step, home, case))
        line, grown = _clean_day(work, world, number, step, home)
        if step in clean_due:
            record.add(line)
        if grown is None:
            break  # The days that follow would build on a day that is missing.
        home = grown


def _due(world: World, share: list[Case], record: Record) -> Iterator[Case]:
    for case in share:
        if not record.has(
            domain=world.domain,
            kind=case.kind.name,
            feed=case.feed.name,
            strength=case.strength,
            nth=case.nth,
        ):
            yield case


def _trial(
    plan: Plan, work: Path, world: World, step: int, home: Home, case: Case
) -> dict[str, Any]:
    at = HISTORY_DAYS + step
    before, today, after = world.days[at - 1 : at + 2]
    name = case.feed.name
    word = str(today.on)
    scene = Scene(
        case.feed,
        f"{word}{case.feed.suffix}",
        f"{after.on}{case.feed.suffix}",
        today.frames[name],
        before.frames[name],
        after.frames[name],
    )
    rng = np.random.default_rng([plan.seed, zlib.crc32(case.kind.name.encode()), case.nth, step])
    files = case.kind.damage(scene, rng, case.strength)
    others = {feed: frame for feed, frame in today.frames.items() if feed != name}
    true = {"today": scene.today, "tomorrow": scene.tomorrow}
    try:
        judged, _ = try_day(home, work / "trial", case.feed, files, true, others, word)
        told = asdict(judged)
    except Exception as error:
        told = {"outcome": "crashed", "message": f"{type(error).__name__}: {error}"[:600]}
    told |= {"kind": case.kind.name, "feed": name, "strength": case.strength, "nth": case.nth}
    told |= {"severity": case.kind.severity, "full": case.is_full}
    return told | {"domain": world.domain, "in": world.name, "on": word, "step": step}


def _clean_day(
    work: Path, world: World, number: int, step: int, home: Home
) -> tuple[dict[str, Any], Home | None]:
    """A day with nothing wrong, on a copy that becomes the home: if it is stopped, once accepted.

    No home comes back when it is stopped all the same.
    """
    day, after = world.days[HISTORY_DAYS + step : HISTORY_DAYS + step + 2]
    feed = FEEDS[next(iter(day.frames))]
    others = {name: frame for name, frame in day.frames.items() if name != feed.name}
    word = str(day.on)
    judged, grown = try_day(
        home,
        work / "trial",
        feed,
        {f"{word}{feed.suffix}": day.frames[feed.name]},
        {"today": day.frames[feed.name], "tomorrow": after.frames[feed.name]},
        others,
        word,
    )
    line = asdict(judged) | {"kind": CLEAN, "nth": step, "world": number, "domain": world.domain}
    line |= {"in": world.name, "on": word}
    if judged.outcome in ("blocked", "refused"):
        grown.accept()
        grown.put_day(day.frames, word)
        if grown.run(feed.name)[0].exit_code:
            return line, None
        grown.clear()
    shutil.rmtree(home.folder)
    grown.folder.rename(home.folder)
    return line, Home(home.folder, grown.told)
