"""Faults at random while schedules run every few seconds: nothing torn, lost, doubled or stuck.

Files come all the time to two sources of a home under `clearwater up`. In each round a process is
killed or stopped, the disk is full, a source or the state database away, or the clock jumps; then
the home must come back by itself (or by `up`, where the supervisor was struck). In some rounds an
older release is held. After each session, the home must be as one that took the same files without
faults.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.content import TornError
from benchmarks.figures import Figure, Options

ROUNDS, ROUNDS_A_SESSION, ROUNDS_SHORT = 200, 25, 4
FEED_SECONDS, FEED_SECONDS_SHORT = 45.0, 15.0  # and a file of each source with each round
ZOMBIE_SECONDS = 60.0


class Record:
    """What was done: a JSON object a line, of a round or of a session's end."""

    def __init__(self, file: Path) -> None:
        self._file = file
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        self._lines: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def add(self, line: dict[str, Any]) -> None:
        """Keep it, at once."""
        self._lines.append(line)
        with self._file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")

    @property
    def rounds(self) -> list[dict[str, Any]]:
        """All rounds."""
        return [line for line in self._lines if "kind" in line]

    @property
    def ends(self) -> list[dict[str, Any]]:
        """The ends of the sessions that came to theirs."""
        return [line for line in self._lines if "lost" in line]

    @property
    def last(self) -> dict[str, Any]:
        """The newest line."""
        return self._lines[-1]

    @property
    def faults(self) -> Iterator[str]:
        """What must never be, in words."""
        for line in self._lines:
            for fault in line["faults"]:
                yield f"{line.get('kind', 'end')}: {fault}"

    @property
    def kinds(self) -> Counter[str]:
        """How often each fault was made as it was meant."""
        return Counter(line["kind"] for line in self.rounds if line["is_hit"])


def measure(options: Options) -> tuple[list[Figure], dict[str, Any]]:
    """200 rounds in sessions of 25, every second of them with its run ledger in PostgreSQL.

    With `--work` the rounds are kept in `survives/rounds.ndjson` there, and a later call makes
    those that are missing, in a new home. The first fault ends it. Raises SkippedError without
    moto.
    """
    wanted, share = (ROUNDS_SHORT, 2) if options.short else (ROUNDS, ROUNDS_A_SESSION)
    work = options.work / "survives"
    work.mkdir(parents=True, exist_ok=True)
    record = Record(work / "rounds.ndjson")
    while (done := len(record.rounds)) < wanted and not any(record.faults):
        count = min(share, wanted - done)
        run_session(
            work / f"session-{done:03}-{len(record.ends)}",
            record,
            count,
            seed=options.seed + done,
            every_seconds=FEED_SECONDS_SHORT if options.short else FEED_SECONDS,
            on_postgres=len(record.ends) % 2 == 1,
        )
    return _figures(record), {
        "seed": options.seed,
        "rounds": record.rounds,
        "ends": record.ends,
        "faults": list(record.faults),
    }


def run_session(
    folder: Path,
    record: Record,
    rounds: int,
    *,
    seed: int,
    every_seconds: float,
    on_postgres: bool = False,
    kinds: tuple[str, ...] = (),
) -> None:
    """One session in a new folder: its rounds and its end are in the record afterwards.

    The faults are `kinds`, one after the other, or those that were made least often so far.
    """
    from benchmarks.survives.session import session

    rng = random.Random(seed)
    print(f"survives: {folder.name}, seed {seed}", flush=True)
    try:
        with session(folder, rng, every_seconds=every_seconds, on_postgres=on_postgres) as at:
            for number in range(rounds):
                at.hold_or_resume()
                done = at.round(kinds[number] if kinds else at.due(record.kinds, rng))
                record.add(asdict(done))
                print(f"  {number + 1:2} {done}", flush=True)
            record.add(at.finish())
    except TornError as error:
        record.add({"faults": [f"it did not go on: {error}"]})
    print(f"  end {record.last}", flush=True)


def _figures(record: Record) -> list[Figure]:
    rounds, ends = record.rounds, record.ends
    lost, doubled = (sum(end[name] for end in ends) for name in ("lost", "doubled"))
    zombies = sum(line["zombie_seconds"] > ZOMBIE_SECONDS for line in rounds)
    return [
        *(Figure(kind, count, "rounds") for kind, count in sorted(record.kinds.items())),
        Figure("faults that struck elsewhere", sum(not r["is_hit"] for r in rounds), "rounds"),
        Figure("rounds", len(rounds), "rounds", at_least=ROUNDS),
        Figure("rounds while an older release was held", sum(r["was_held"] for r in rounds), ""),
        Figure("batches that came", sum(end["batches"] for end in ends), "batches"),
        Figure("batches lost", lost, "batches", at_most=0),
        Figure("batches doubled", doubled, "batches", at_most=0),
        Figure("runs shown for over a minute without a process", zombies, "runs", at_most=0),
        Figure("what must never be, of any kind", len(list(record.faults)), "faults", at_most=0),
        Figure("longest until all was up", _longest(rounds, "up_seconds"), "s"),
        Figure("longest until a run had ended well", _longest(rounds, "seconds"), "s"),
    ]


def _longest(rounds: list[dict[str, Any]], name: str) -> float:
    return max((float(line[name]) for line in rounds), default=0.0)
