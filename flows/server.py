"""`clearwater up` and `down`: a local Prefect server with its UI, and the pipeline on a schedule.

Both are processes of their own; `prefect/server.json` says which. Prefect itself is imported
only in the processes that need it.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from flows.processes import POLL_SECONDS, Process, start_detached, stop
from warehouse.errors import ClearwaterError, ConfigurationError
from warehouse.files import write_atomically
from warehouse.settings import PROJECT, Settings, load_settings

if TYPE_CHECKING:
    from flows.pipeline import Options, Run

HOST = "127.0.0.1"
USUAL_PORT = 4200
CRON = re.compile(r"[-0-9*/,]+( +[-0-9*/,]+){2}( +[-0-9*/,A-Za-z#]+){2}")
HEALTH_SECONDS = 1.0
START_SECONDS = 180.0
STOP_SECONDS = 15.0


class ServerError(ClearwaterError):
    """The local Prefect server or its schedule cannot be started."""


@dataclass(frozen=True)
class ServerInfo:
    """A running server and what it runs: the two processes, where, and on which schedule.

    `scheduler` is None while the server is starting.
    """

    port: int
    server: Process
    scheduler: Process | None
    sources: str
    cron: str
    already_up: bool = field(default=False, compare=False)

    @property
    def url(self) -> str:
        """The UI's address."""
        return f"http://{HOST}:{self.port}"

    @property
    def api_url(self) -> str:
        """The address that Prefect's clients need."""
        return f"{self.url}/api"


def up(settings: Settings, sources: Path, cron: str = "0 * * * *") -> ServerInfo:
    """The running server: started now, or as it was if it runs already.

    Raises ConfigurationError when it runs with other sources or another schedule.
    """
    wanted = sources.expanduser().absolute()
    if not wanted.is_file():
        raise ConfigurationError(
            "there is no such sources file",
            where=str(wanted),
            next_step="name one with --sources, or run `clearwater demo` for a sample",
        )
    _check_cron(cron)
    with _one_at_a_time(settings):
        known = running(settings)
        if known and known.scheduler and known.scheduler.alive:
            _refuse_other_work(known, str(wanted), cron)
            return replace(known, already_up=True)
        _stop_recorded(settings)
        return _start(settings, str(wanted), cron)


def down(settings: Settings) -> bool:
    """Whether there was anything to stop; afterwards neither process runs."""
    if not _record(settings).exists():
        return False
    with _one_at_a_time(settings):
        return _stop_recorded(settings)


def running(settings: Settings) -> ServerInfo | None:
    """The server of this home, if it runs and answers."""
    known = _recorded(settings)
    if known and known.server.alive and _answers(f"{known.api_url}/health"):
        return known
    return None


def client_environment(settings: Settings, port: int, base: Mapping[str, str]) -> dict[str, str]:
    """The environment in which Prefect speaks to our server and to nobody else.

    Whatever Prefect settings the user has for other servers stay out of it.
    """
    kept = {name: value for name, value in base.items() if not name.startswith("PREFECT_")}
    return kept | {
        "CLEARWATER_HOME": str(settings.home),
        "DO_NOT_TRACK": "1",
        "NO_PROXY": HOST,
        "no_proxy": HOST,
        "PREFECT_HOME": str(settings.prefect),
        "TMPDIR": str(settings.prefect / "tmp"),
        "PREFECT_API_URL": f"http://{HOST}:{port}/api",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


def server_environment(settings: Settings, port: int, base: Mapping[str, str]) -> dict[str, str]:
    """The environment of the server itself: everything it writes lies below our home."""
    origin = f"http://{HOST}:{port}"
    database = settings.prefect / "prefect.db"
    return client_environment(settings, port, base) | {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}",
        "PREFECT_SERVER_UI_API_URL": f"{origin}/api",
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(settings.prefect / "ui"),
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        # Any page open in the user's browser could otherwise call the API.
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": origin,
    }


def run_through_server(settings: Settings, info: ServerInfo, options: Options) -> Run:
    """The pipeline's run in this process, as `pipeline.execute` gives it, seen by the server.

    Raises what `pipeline.execute` raises.
    """
    # Prefect reads its settings when it is first imported.
    for name in [name for name in os.environ if name.startswith("PREFECT_")]:
        del os.environ[name]
    os.environ.update(client_environment(settings, info.port, os.environ))
    # Its own lines would stand among ours; the server still gets them.
    os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    from flows.scheduled import run_as_flow

    return run_as_flow(settings, options)


def _start(settings: Settings, sources: str, cron: str) -> ServerInfo:
    port = _free_port()
    server = start_detached(
        ["-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)],
        env=server_environment(settings, port, os.environ),
        folder=PROJECT,
        log=settings.prefect / "server.log",
    )
    info = ServerInfo(port, server, None, sources, cron)
    try:
        # Recorded before it is ready, so that `down` finds it even if we are killed now.
        _write_record(settings, info)
        _wait(settings, server, "server.log", lambda: _answers(f"{info.api_url}/health"))
        info = replace(info, scheduler=_start_scheduler(settings, info))
        _write_record(settings, info)
        _wait(settings, info.scheduler, "scheduler.log", _ready_file(settings).exists)
    except BaseException:
        _stop_recorded(settings)
        raise
    return info


def _start_scheduler(settings: Settings, info: ServerInfo) -> Process:
    _ready_file(settings).unlink(missing_ok=True)
    return start_detached(
        ["-m", "flows.server", "serve", "--sources", info.sources, "--cron", info.cron],
        env=client_environment(settings, info.port, os.environ),
        folder=PROJECT,
        log=settings.prefect / "scheduler.log",
    )


def _wait(
    settings: Settings, process: Process | None, log: str, is_ready: Callable[[], bool]
) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process and process.alive and time.monotonic() < deadline:
        if is_ready():
            return
        time.sleep(POLL_SECONDS)
    file = settings.prefect / log
    raise ServerError(
        f"did not start; its log ends with: {_last_lines(file)}",
        where=str(file),
        next_step="read that log; the pipeline runs without it too: `clearwater run`",
    )


def _last_lines(file: Path, count: int = 3) -> str:
    lines = file.read_text(errors="replace").split("\n") if file.exists() else []
    return " / ".join([line.strip() for line in lines if line.strip()][-count:]) or "nothing"


def _check_cron(cron: str) -> None:
    # Prefect knows better, but only after its server has taken a quarter of a minute to start.
    if not CRON.fullmatch(cron):
        raise ConfigurationError(
            f"{cron!r} is not a cron schedule",
            where="--cron",
            next_step="give five fields, such as '0 * * * *' for every hour",
        )


def _refuse_other_work(known: ServerInfo, sources: str, cron: str) -> None:
    if (known.sources, known.cron) != (sources, cron):
        raise ConfigurationError(
            f"already up with the sources {known.sources} on the schedule {known.cron!r}",
            where=known.url,
            next_step="stop it with `clearwater down`, then start it again",
        )


def _stop_recorded(settings: Settings) -> bool:
    """Whether a process was there to stop; the record is gone afterwards."""
    known = _recorded(settings)
    # The scheduler first: it tells the server what becomes of its schedule and its runs.
    processes = [p for p in (known.scheduler, known.server) if p] if known else []
    found = any(process.alive for process in processes)
    for process in processes:
        stop(process, patience_seconds=STOP_SECONDS)
    _ready_file(settings).unlink(missing_ok=True)
    _record(settings).unlink(missing_ok=True)
    return found


def _record(settings: Settings) -> Path:
    return settings.prefect / "server.json"


def _ready_file(settings: Settings) -> Path:
    return settings.prefect / "scheduler.ready"


def _write_record(settings: Settings, info: ServerInfo) -> None:
    told = asdict(info) | {"url": info.url}
    del told["already_up"]
    write_atomically(_record(settings), json.dumps(told, indent=2) + "\n")


def _recorded(settings: Settings) -> ServerInfo | None:
    """What `server.json` says; nothing if it is missing or not ours to understand."""
    try:
        told = json.loads(_record(settings).read_text())
        scheduler = told["scheduler"]
        return ServerInfo(
            int(told["port"]),
            Process(**told["server"]),
            Process(**scheduler) if scheduler else None,
            str(told["sources"]),
            str(told["cron"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _one_at_a_time(settings: Settings) -> Iterator[None]:
    (settings.prefect / "tmp").mkdir(parents=True, exist_ok=True)
    with (settings.prefect / "up.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _free_port() -> int:
    """The usual port if nobody has it, else one that the system finds."""
    for port in (USUAL_PORT, 0):
        with socket.socket() as probe:
            # As the server does: a port that was closed a moment ago is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ServerError(
        "no port is free", where=HOST, next_step="end what holds them, then try again"
    )


def _answers(url: str) -> bool:
    # No proxy: the address is this machine's own.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=HEALTH_SECONDS) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except (OSError, HTTPException):
        return False


def main(arguments: Sequence[str] | None = None) -> None:
    """The scheduler's process: serves the pipeline's deployment until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m flows.server")
    serve = parser.add_subparsers(required=True).add_parser("serve")
    serve.add_argument("--sources", required=True)
    serve.add_argument("--cron", required=True)
    told = parser.parse_args(arguments)
    settings = load_settings()
    from flows.scheduled import serve_pipeline

    serve_pipeline(settings, told.sources, told.cron, when_ready=_ready_file(settings).touch)


if __name__ == "__main__":
    main()
