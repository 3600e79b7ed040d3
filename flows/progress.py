"""Progress in words – so much of so much, how fast, how long still – and as a bar on a terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from warehouse.progress import Unit
from warehouse.wording import counted

if TYPE_CHECKING:
    from rich.progress import Progress

BAR_AFTER_SECONDS = 0.5  # what is over sooner needs no bar
REFRESHES_PER_SECOND = 4
_SIZES = ("B", "kB", "MB", "GB", "TB")
_KILO = 1000
_MINUTE, _HOUR = 60, 3600
_FEWEST_SECONDS = 1.0  # before that a rate says nothing


class Pace:
    """How fast a stage goes, since the first that was heard of this total."""

    def __init__(self, now: float) -> None:
        self._of: tuple[float, Unit] | None = None
        self._began, self._base = now, 0.0
        self._done, self._now = 0.0, now

    def hear(self, done: float, total: float, unit: Unit, now: float) -> None:
        """So much is done at `now`, in seconds."""
        if self._of != (total, unit):
            self._began, self._base = now if self._of else self._began, done if self._of else 0.0
            self._of = (total, unit)
        self._done, self._now = done, now

    def told(self) -> str:
        """So much of so much, the rate, and about how long it takes still."""
        if self._of is None:
            return ""
        (total, unit), done = self._of, self._done
        amount = f"{_amount(done, unit)} of {_total(total, unit)}"
        seconds, moved = self._now - self._began, done - self._base
        if seconds < _FEWEST_SECONDS or moved <= 0:
            return amount
        rate = moved / seconds
        left = f", {in_words((total - done) / rate)} left" if done < total else ""
        return f"{amount}, {_rate(rate, unit)}{left}"


def size(count: float) -> str:
    """A number of bytes as people say it: 1.2 GB is 1,200,000,000."""
    for unit in _SIZES:
        if count < _KILO or unit == _SIZES[-1]:
            break
        count /= _KILO
    return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"


def in_words(seconds: float) -> str:
    """A span as people say it, rounded up: 45 s, 3 min, 2 h 5 min."""
    whole = max(1, round(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    minutes = -(-whole // _MINUTE)
    return f"{minutes} min" if whole < _HOUR else f"{minutes // 60} h {minutes % 60} min"


def _amount(count: float, unit: Unit) -> str:
    return size(count) if unit == "byte" else f"{count:,.0f}"


def _total(count: float, unit: Unit) -> str:
    return size(count) if unit == "byte" else counted(int(count), unit)


def _rate(rate: float, unit: Unit) -> str:
    if unit == "byte":
        return f"{size(rate)}/s"
    return f"{rate:,.1f} {unit}s/s" if rate >= 1 else f"{1 / rate:,.1f} s each"


class Bar:
    """A bar on stderr, which must be a terminal; other lines must not be written while it shows."""

    def __init__(self, stage: str, clock: float) -> None:
        self._stage, self._began = stage, clock
        self._shown: Progress | None = None

    def show(self, done: float, total: float, told: str, detail: str) -> None:
        """Draw how far the stage is, once it has taken a while."""
        if self._shown is None:
            if time.monotonic() - self._began < BAR_AFTER_SECONDS:
                return
            self._shown = _drawn()
            self._shown.add_task(self._stage, total=total, told=told, detail=detail)
            sys.stderr.write("\x1b[2K")
            self._shown.start()
        (task,) = self._shown.task_ids
        self._shown.update(task, completed=done, total=total, told=told, detail=detail)

    def clear(self) -> None:
        """Take the bar away; the next `show` draws it again."""
        if self._shown is not None:
            self._shown.stop()
            self._shown = None


def _drawn() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column

    class Steady(Console):
        """A console that leaves the cursor alone: a killed process would not bring it back."""

        def show_cursor(self, show: bool = True) -> bool:  # noqa: ARG002
            return False

    rest = Column(no_wrap=True, overflow="ellipsis", ratio=1)
    return Progress(
        TextColumn("{task.description:<9}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[told]}", markup=False, table_column=Column(no_wrap=True)),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}", markup=False, style="dim", table_column=rest),
        console=Steady(stderr=True),
        expand=True,
        refresh_per_second=REFRESHES_PER_SECOND,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
