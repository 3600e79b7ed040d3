"""Which process executes which run that the Prefect server shows: a small file a run.

The process itself writes it, first thing, and adds how the run ended, last thing. So whoever finds
the run shown as being at work can tell whether it is, and if not, how it ended.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.processes import Process
from warehouse.files import write_atomically
from warehouse.settings import Settings

if TYPE_CHECKING:
    from flows.run import Run

_NAME = re.compile(r"[0-9a-f-]{36}")


@dataclass(frozen=True)
class LiveRun:
    """A run of the Prefect server's, by its id, and the process that executes it.

    `handles` are the schedules whose ticks up to a moment it stands for; it has none if somebody
    started it from the command line. `state` and `message` tell how it ended, once it has.
    """

    id: str
    process: Process
    scheduled: bool = False
    handles: Mapping[str, datetime] = field(default_factory=dict)
    state: str = ""
    message: str = ""

    def ended(self, state: str, message: str) -> LiveRun:
        """The same run with its end."""
        return replace(self, state=state, message=message)


def folder(settings: Settings) -> Path:
    """Where the files are."""
    return settings.prefect / "runs"


def write(settings: Settings, live: LiveRun) -> None:
    """Keep what is known of the run."""
    handles = {name: moment.isoformat() for name, moment in live.handles.items()}
    told = asdict(replace(live, handles={})) | {"handles": handles}
    write_atomically(_file(settings, live.id), json.dumps(told) + "\n")


def find(settings: Settings, run: str) -> LiveRun | None:
    """What is known of the run; nothing if no process ever wrote, or what cannot be understood."""
    if not _NAME.fullmatch(run):
        return None
    try:
        return _read(json.loads(_file(settings, run).read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def known(settings: Settings) -> Iterator[LiveRun]:
    """All runs of which something is known."""
    for file in sorted(folder(settings).glob("*.json")):
        if live := find(settings, file.stem):
            yield live


def forget(settings: Settings, run: str) -> None:
    """The server tells of the run itself now."""
    _file(settings, run).unlink(missing_ok=True)


def _file(settings: Settings, run: str) -> Path:
    return folder(settings) / f"{run}.json"


def _read(told: dict[str, Any]) -> LiveRun:
    handles = {
        str(name): datetime.fromisoformat(moment).astimezone(UTC)
        for name, moment in told["handles"].items()
    }
    return LiveRun(
        id=str(told["id"]),
        process=Process(**told["process"]),
        scheduled=bool(told["scheduled"]),
        handles=handles,
        state=str(told["state"]),
        message=str(told["message"]),
    )


def end_of(run: Run) -> tuple[str, str]:
    """The state that the server shows of a run that came to its end, and the run's own words."""
    covers = f"; {run.options.covers.told}" if run.options.covers else ""
    if run.exit_code == 0:
        return "COMPLETED", f"{run.status}{covers}"
    return "FAILED", f"{run.status}: {run.failure or '; '.join(run.problems)}{covers}"


def end_by(error: BaseException) -> tuple[str, str]:
    """The same of a run that an error ended; one that was stopped from outside crashed."""
    if isinstance(error, Exception):
        return "FAILED", str(error) or type(error).__name__
    return "CRASHED", "It was stopped."
