"""Which ticks of the schedules are handled, and what the next run has to cover.

Kept in a small file of the home, because Prefect's server plans nothing while it is down, and at
most a hundred runs ahead: it cannot tell how many ticks were missed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flows import schedules
from flows.schedules import Schedule
from warehouse.files import write_atomically

LATE = timedelta(minutes=2)  # one tick that starts so late was missed
LONGEST_OUTAGE = timedelta(days=92)  # ticks before that are not counted
BACKWARDS = timedelta(minutes=1)  # a clock that goes back further was set
MOST_TRIES = 3


@dataclass(frozen=True)
class Covers:
    """The ticks of a schedule that one run stands for; `first` and `last` are in UTC."""

    schedule: str
    ticks: int
    first: datetime
    last: datetime

    @property
    def told(self) -> str:
        """For people."""
        if self.ticks == 1:
            return f"covers a run missed at {_told(self.first)}"
        span = f"from {_told(self.first)} to {_told(self.last)}"
        return f"covers {self.ticks:,} runs missed {span}"

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        told = {"schedule": self.schedule, "missed": self.ticks}
        return told | {"from": self.first.isoformat(), "to": self.last.isoformat()}


@dataclass(frozen=True)
class _Kept:
    """What is known of a schedule: its last handled tick, and tries of the next that crashed."""

    handled: datetime
    trigger: str
    tries: int = 0


class TickBook:
    """The handled ticks of each schedule, in a file that is whole at any moment.

    What changes them raises OSError where the file cannot be written, and changes nothing then.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._kept = dict(_read(file))

    def keep_only(self, declared: Iterable[Schedule], now: datetime) -> None:
        """Know these schedules alone; one that is new, or another than before, starts now."""
        kept = {}
        for schedule in declared:
            known, trigger = self._kept.get(schedule.name), repr(schedule.trigger)
            is_known = known is not None and known.trigger == trigger
            kept[schedule.name] = known if known and is_known else _Kept(now, trigger)
        self._keep(kept)

    def due(self, schedule: Schedule, now: datetime) -> Covers | None:
        """What a run that starts now has to cover; None when nothing is due."""
        known = self._kept[schedule.name]
        if known.handled > now + BACKWARDS:
            known = replace(known, handled=now)
            self._keep(self._kept | {schedule.name: known})
        found = schedules.ticks(schedule, max(known.handled, now - LONGEST_OUTAGE), now)
        return Covers(schedule.name, len(found), found[0], found[-1]) if found else None

    def handled(self, upto: Mapping[str, datetime]) -> None:
        """The ticks up to these moments need no run any more."""
        self._keep(self._kept | _handled(self._kept, upto))

    def crashed(self, upto: Mapping[str, datetime]) -> None:
        """A run for these ticks crashed: they are due again, but not for ever."""
        tried = {
            name: replace(known, tries=known.tries + 1)
            for name, known in self._kept.items()
            if name in upto
        }
        given_up = {name: upto[name] for name, known in tried.items() if known.tries >= MOST_TRIES}
        self._keep(self._kept | tried | _handled(tried, given_up))

    def tries(self, name: str) -> int:
        """How many runs for the ticks that are due crashed."""
        known = self._kept.get(name)
        return known.tries if known else 0

    def last_handled(self, name: str) -> datetime:
        """The moment up to which the schedule's ticks need no run any more."""
        return self._kept[name].handled

    def _keep(self, kept: dict[str, _Kept]) -> None:
        """Know this from now on; what the disk does not take is not known either."""
        told = {
            name: asdict(known) | {"handled": known.handled.isoformat()}
            for name, known in kept.items()
        }
        write_atomically(self._file, json.dumps(told, indent=1) + "\n")
        self._kept = kept


def _handled(kept: Mapping[str, _Kept], upto: Mapping[str, datetime]) -> dict[str, _Kept]:
    """Those of these schedules whose ticks up to these moments need no run any more."""
    return {
        name: replace(kept[name], handled=max(kept[name].handled, moment), tries=0)
        for name, moment in upto.items()
        if name in kept
    }


def missed(covers: Covers, now: datetime) -> Covers | None:
    """What a run that starts now has to tell: nothing if it is the one tick, in time."""
    return covers if covers.ticks > 1 or now - covers.last > LATE else None


def _read(file: Path) -> Iterable[tuple[str, _Kept]]:
    """What the file tells; nothing if it is missing or damaged: every schedule starts anew."""
    try:
        for name, told in json.loads(file.read_text()).items():
            moment = datetime.fromisoformat(told["handled"]).astimezone(UTC)
            yield name, _Kept(moment, str(told["trigger"]), int(told["tries"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return


def _told(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
