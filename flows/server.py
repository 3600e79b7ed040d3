"""`clearwater up` and `down`: a Prefect server with its UI, and a worker that runs the schedules.

Both are children of one supervisor (`flows.supervisor`); `prefect/server.json` says which processes
these are. Prefect itself is imported only in the processes that need it.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from flows import live_runs
from flows.processes import POLL_SECONDS, Process, start_detached, stop
from warehouse.configuration import FILE_VARIABLE
from warehouse.errors import ClearwaterError, ConfigurationError
from warehouse.files import write_atomically
from warehouse.settings import PROJECT, Settings

if TYPE_CHECKING:
    from flows.run import Options, Run

HERE = "127.0.0.1"
ANYWHERE = "0.0.0.0"  # what a container may be told to listen at
CRON = re.compile(r"[-0-9*/,]+( +[-0-9*/,]+){2}( +[-0-9*/,A-Za-z#]+){2}")
HEALTH_SECONDS = 1.0
START_SECONDS = 180.0
RUN_SECONDS = 20.0  # for a run in progress to come to its end, when all is to stop
STOP_SECONDS = 15.0  # for a process that was asked to end, before it is killed
DOWN_SECONDS = RUN_SECONDS + 4 * STOP_SECONDS


class ServerError(ClearwaterError):
    """The local Prefect server or its worker cannot be started."""


@dataclass(frozen=True)
class ServerInfo:
    """What `up` started: the processes, where the server listens, and what the worker runs.

    `server` and `worker` are None before they are started; `cron` where the schedules are those of
    the sources file. `is_ready` once the worker takes runs.
    """

    host: str
    port: int
    supervisor: Process
    sources: str
    cron: str | None = None
    server: Process | None = None
    worker: Process | None = None
    is_ready: bool = False
    already_up: bool = field(default=False, compare=False)

    @property
    def url(self) -> str:
        """The UI's address."""
        return f"http://{HERE if self.host == ANYWHERE else self.host}:{self.port}"

    @property
    def api_url(self) -> str:
        """The address that Prefect's clients need."""
        return f"{self.url}/api"


def up(settings: Settings, sources: Path, cron: str | None = None) -> ServerInfo:
    """The running server: started now, or as it was if it runs already.

    Raises ConfigurationError for a sources file with a mistake, before anything is started, and
    when it runs with other sources or another schedule.
    """
    wanted = checked_sources(sources, settings)
    check_cron(cron)
    with _one_at_a_time(settings):
        known = recorded(settings)
        if known and known.supervisor.alive:
            _refuse_other_work(known, wanted, cron)
            said = log_size(_log(settings))
            return replace(_wait(settings, known.supervisor, said), already_up=True)
        return _start(settings, wanted, cron)


def down(settings: Settings) -> bool:
    """Whether there was anything to stop; afterwards neither server nor worker runs."""
    if not _record(settings).exists():
        return False
    with _one_at_a_time(settings):
        found = stop_recorded(settings)
        end_scheduled_runs(settings)
        return found


def running(settings: Settings) -> ServerInfo | None:
    """The server of this home, if it runs and answers."""
    known = recorded(settings)
    if known and known.server and known.server.alive and answers(known):
        return known
    return None


def run_through_server(settings: Settings, info: ServerInfo, options: Options) -> Run:
    """The pipeline's run in this process, as `pipeline.execute` gives it, seen by the server.

    Raises what `pipeline.execute` raises.
    """
    from flows.attended import run_attended

    return run_attended(settings, info.api_url, options)


def client_environment(settings: Settings, api_url: str, base: Mapping[str, str]) -> dict[str, str]:
    """The environment in which Prefect speaks to our server and to nobody else.

    Whatever Prefect settings the user has for other servers stay out of it.
    """
    kept = {name: value for name, value in base.items() if not name.startswith("PREFECT_")}
    return (kept | own_environment(settings, base)) | {
        "DO_NOT_TRACK": "1",
        "NO_PROXY": HERE,
        "no_proxy": HERE,
        "PREFECT_HOME": str(settings.prefect),
        "TMPDIR": str(settings.prefect / "tmp"),
        "PREFECT_API_URL": api_url,
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Our own lines tell the log what Prefect's would; the UI has both.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING",
    }


def own_environment(settings: Settings, base: Mapping[str, str]) -> dict[str, str]:
    """What a process of ours needs in another folder to have the very settings of this one."""
    given = base.get(FILE_VARIABLE)
    file = {FILE_VARIABLE: str(Path(given).expanduser().absolute())} if given else {}
    return {"CLEARWATER_HOME": str(settings.home)} | file


def server_environment(
    settings: Settings, info: ServerInfo, base: Mapping[str, str]
) -> dict[str, str]:
    """The environment of the server itself: everything it writes lies below our home."""
    own = f"sqlite+aiosqlite:///{settings.prefect / 'prefect.db'}"
    return client_environment(settings, info.api_url, base) | {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": settings.server.database_url or own,
        "PREFECT_SERVER_UI_API_URL": info.api_url,
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(settings.prefect / "ui"),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # After an outage or a jump of the clock it would mark hundreds of planned runs at once, and
        # lock its SQLite for a minute; the worker skips or starts each of them itself.
        "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
        # Any page open in the user's browser could otherwise call the API.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": info.url,
    }


def checked_sources(sources: Path, settings: Settings) -> str:
    """The file's absolute path. Raises ConfigurationError if it is not there or has a mistake."""
    from warehouse.sources import read_sources_file

    wanted = sources.expanduser().absolute()
    read_sources_file(wanted, settings)
    return str(wanted)


def check_cron(cron: str | None) -> None:
    """Refuse what is no cron expression, before a server has taken a quarter of a minute."""
    from datetime import UTC, datetime

    from cronsim import CronSim, CronSimError

    try:
        if cron is None or (CRON.fullmatch(cron) and CronSim(cron, datetime.now(UTC))):
            return
    except CronSimError:
        pass
    raise ConfigurationError(
        f"{cron!r} is not a cron schedule",
        where="--cron",
        next_step="give five fields, such as '0 * * * *' for every hour",
    )


def free_port(settings: Settings) -> int:
    """The port that is set if nobody has it, else one that the system finds.

    Raises ServerError if there is none.
    """
    host = settings.server.host
    for port in (settings.server.port or 0, 0):
        try:
            with socket.socket() as probe:
                # As the server does: a port that was closed a moment ago is free.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
                return int(probe.getsockname()[1])
        except OSError:
            continue
    raise ServerError(
        "no port is free there",
        where=host,
        next_step="set CLEARWATER_SERVER_HOST to an address of this machine",
    )


def answers(info: ServerInfo) -> bool:
    """Whether the server is there and well."""
    # No proxy: the address is this machine's own.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{info.api_url}/health", timeout=HEALTH_SECONDS) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except (OSError, HTTPException):
        return False


def recorded(settings: Settings) -> ServerInfo | None:
    """What `server.json` says; nothing if it is missing or not ours to understand."""
    try:
        told = json.loads(_record(settings).read_text())
        server, worker = (Process(**p) if p else None for p in (told["server"], told["worker"]))
        return ServerInfo(
            host=str(told["host"]),
            port=int(told["port"]),
            supervisor=Process(**told["supervisor"]),
            sources=str(told["sources"]),
            cron=told["cron"],
            server=server,
            worker=worker,
            is_ready=bool(told["is_ready"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def record(settings: Settings, info: ServerInfo) -> None:
    """Tell other commands what runs."""
    told = asdict(info) | {"url": info.url}
    del told["already_up"]
    write_atomically(_record(settings), json.dumps(told, indent=2) + "\n")


def forget(settings: Settings) -> None:
    """Nothing runs any more."""
    _record(settings).unlink(missing_ok=True)


def log_size(log: Path) -> int:
    """How many bytes the log has now: what it tells later stands behind them."""
    try:
        return log.stat().st_size
    except OSError:
        return 0


def last_lines(log: Path, since: int, count: int = 3) -> str:
    """The end, in one line, of what stands in a log behind its first `since` bytes."""
    if log_size(log) < since:  # what it held was moved away meanwhile
        since = 0
    try:
        with log.open("rb") as file:
            file.seek(since)
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        lines = []
    return " / ".join([line.strip() for line in lines if line.strip()][-count:]) or "nothing"


def _start(settings: Settings, sources: str, cron: str | None) -> ServerInfo:
    command = ["-m", "flows.supervisor", "--sources", sources]
    said = log_size(_log(settings))
    supervisor = start_detached(
        [*command, "--cron", cron] if cron else command,
        env={**os.environ, **own_environment(settings, os.environ)},
        folder=PROJECT,
        log=_log(settings),
    )
    try:
        return _wait(settings, supervisor, said)
    except BaseException:
        stop(supervisor, patience_seconds=DOWN_SECONDS)
        stop_recorded(settings)
        raise


def _wait(settings: Settings, supervisor: Process, said: int) -> ServerInfo:
    """What the supervisor has started, once all of it is ready.

    Raises ServerError with the end of what its log has behind the first `said` bytes.
    """
    deadline = time.monotonic() + START_SECONDS
    while supervisor.alive and time.monotonic() < deadline:
        known = recorded(settings)
        if known and known.supervisor == supervisor and known.is_ready:
            return known
        time.sleep(POLL_SECONDS)
    file = _log(settings)
    raise ServerError(
        f"did not start; its log ends with: {last_lines(file, said)}",
        where=str(file),
        next_step="read that log; the pipeline runs without it too: `clearwater run`",
    )


def _log(settings: Settings) -> Path:
    return settings.prefect / "supervisor.log"


def _refuse_other_work(known: ServerInfo, sources: str, cron: str | None) -> None:
    if (known.sources, known.cron) != (sources, cron):
        schedule = f"the schedule {known.cron!r}" if known.cron else "the schedules declared there"
        raise ConfigurationError(
            f"already up with the sources {known.sources} on {schedule}",
            where=known.url,
            next_step="stop it with `clearwater down`, then start it again",
        )


def stop_recorded(settings: Settings) -> bool:
    """Whether a process was there to stop; the record is gone afterwards.

    The supervisor ends the others. What a killed one left behind is ended here, but for runs.
    """
    known = recorded(settings)
    if known is None:
        forget(settings)
        return False
    processes = [p for p in (known.supervisor, known.worker, known.server) if p]
    found = any(process.alive for process in processes)
    for process in processes:
        is_first = process == known.supervisor
        stop(process, patience_seconds=DOWN_SECONDS if is_first else STOP_SECONDS)
    forget(settings)
    return found


def end_scheduled_runs(settings: Settings) -> None:
    """End the scheduled runs that are at work, once they had their time to come to an end."""
    deadline = time.monotonic() + RUN_SECONDS
    runs = [live.process for live in live_runs.known(settings) if live.scheduled]
    while time.monotonic() < deadline and any(process.alive for process in runs):
        time.sleep(POLL_SECONDS)
    for process in runs:
        stop(process, patience_seconds=STOP_SECONDS)


def _record(settings: Settings) -> Path:
    return settings.prefect / "server.json"


@contextmanager
def _one_at_a_time(settings: Settings) -> Iterator[None]:
    (settings.prefect / "tmp").mkdir(parents=True, exist_ok=True)
    with (settings.prefect / "up.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
