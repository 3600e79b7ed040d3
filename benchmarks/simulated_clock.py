"""A clock that is put where it should be, for the modules of the project in this process.

Nothing of the product knows of it: what stands for `datetime` in its modules is another class once
it is installed, and the rules' SQL for the time is another expression. Libraries keep their clock.
"""

from __future__ import annotations

import importlib
import pkgutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from types import ModuleType
from typing import Any

PACKAGES = ("warehouse", "expectations", "flows")
# Programs, and what would import Prefect.
NOT_IMPORTED = frozenset({"flows.__main__", "flows.scheduled"})
# It holds the time against that of DuckLake's snapshots, which is the library's.
REAL = frozenset({"warehouse.maintenance"})


class Clock:
    """The time, in UTC: what it was set to, and what has passed since."""

    def __init__(self, moment: datetime) -> None:
        self._rules: ModuleType | None = None
        self.set(moment)

    def set(self, moment: datetime) -> None:
        """Put it there."""
        self._moment, self._set_at = moment, time.monotonic()
        if self._rules is not None:
            behind = (datetime.now(UTC) - moment).total_seconds()
            told = f"(now() at time zone 'UTC' - interval '{behind:.3f} seconds')"
            self._rules.NOW = told  # type: ignore[attr-defined]

    def lead(self, rules: ModuleType) -> None:
        """Let the SQL of the rules, in their module, go by this clock from now on."""
        self._rules = rules
        self.set(self.now())

    def now(self) -> datetime:
        """The time."""
        return datetime.fromtimestamp(
            self._moment.timestamp() + time.monotonic() - self._set_at, tz=UTC
        )


def install(clock: Clock) -> None:
    """Let all modules of the project go by this clock, from now on and in this process."""
    simulated = _datetime_of(clock)
    for module in _modules():
        if module.__name__ not in REAL and vars(module).get("datetime") is datetime:
            module.datetime = simulated  # type: ignore[attr-defined]
    clock.lead(importlib.import_module("expectations.offenders"))


def _modules() -> Iterator[ModuleType]:
    """Every module of the project, imported: one that comes later would have the real clock."""
    for name in PACKAGES:
        package = importlib.import_module(name)
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            if found.name not in NOT_IMPORTED:
                yield importlib.import_module(found.name)


def _datetime_of(clock: Clock) -> type[datetime]:
    """A `datetime` that differs in `now` alone; what it makes are plain ones."""

    class Kind(type):
        def __instancecheck__(cls, value: object) -> bool:
            return isinstance(value, datetime)

    class Simulated(datetime, metaclass=Kind):
        def __new__(cls, *args: Any, **named: Any) -> Any:
            return datetime(*args, **named)  # noqa: DTZ001 - as it was asked for

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            if tz is None:
                raise ValueError("the project knows no time without a zone")
            return clock.now().astimezone(tz)

    return Simulated
