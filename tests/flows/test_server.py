"""`up` and `down` without a server: what is refused and what is stale."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from flows import cli, server
from tests.flows.conftest import SOURCES
from warehouse.errors import ConfigurationError
from warehouse.processes import this_process
from warehouse.settings import Server, Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path / "home")


def info(port: int) -> server.ServerInfo:
    return server.ServerInfo(server.HERE, port, this_process(), "sources.yml")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    file = tmp_path / "sources.yml"
    file.write_text(f"version: 1\n{SOURCES}")
    return file


def record(settings: Settings, text: str) -> None:
    settings.prefect.mkdir(parents=True)
    (settings.prefect / "server.json").write_text(text)


def recorded(pid: int) -> str:
    process = {"pid": pid, "born": "long ago"}
    processes = dict.fromkeys(("supervisor", "server", "worker"), process)
    told = {"host": server.HERE, "port": 1, "sources": "s", "cron": None, "is_ready": True}
    return json.dumps(told | processes)


def test_nothing_runs_in_a_new_home(settings: Settings) -> None:
    assert server.running(settings) is None
    assert server.down(settings) is False
    assert not settings.home.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"port": 1, "server": 2}'])
def test_a_damaged_record_means_that_nothing_runs(settings: Settings, text: str) -> None:
    record(settings, text)
    assert server.running(settings) is None
    assert server.down(settings) is False


def test_a_process_that_only_has_the_id_is_neither_ours_nor_stopped(settings: Settings) -> None:
    record(settings, recorded(os.getpid()))
    assert server.running(settings) is None
    assert server.down(settings) is False
    assert not (settings.prefect / "server.json").exists()


def test_up_needs_a_sources_file(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such sources file"):
        server.up(settings, tmp_path / "none.yml")


@pytest.mark.parametrize("options", [[], ["--foreground"], ["--cron", "0 * * * *"]])
def test_up_tells_a_mistake_in_the_sources_file_before_it_starts_anything(
    settings: Settings,
    sources: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
) -> None:
    sources.write_text(f"version: 1\nschedule:\n  - every: 1h\n  - every: 40x\n{SOURCES}")
    words = ["clearwater", "up", "--sources", str(sources), "--home", str(settings.home)]
    monkeypatch.setattr(sys, "argv", [*words, *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert (ended.value.code, said.out) == (2, "")
    assert said.err.startswith(f"error: {sources}:4: ")
    assert said.err.count("error:") == 1
    assert not settings.home.exists()


def test_what_a_log_tells_is_of_this_start_alone(tmp_path: Path) -> None:
    log = tmp_path / "worker.log"
    assert server.last_lines(log, server.log_size(log)) == "nothing"
    log.write_text("of an earlier start\n")
    said = server.log_size(log)
    assert server.last_lines(log, said) == "nothing"
    with log.open("a") as more:
        more.write("one\n\ntwo\nthree\nfour\n")
    assert server.last_lines(log, said) == "two / three / four"
    log.write_text("moved away\n")
    assert server.last_lines(log, said) == "moved away"


@pytest.mark.parametrize(
    "cron", ["", "hourly", "* * * *", "0 * * * * *", "a b c d e", "61 * * * *"]
)
def test_up_needs_a_cron_schedule(settings: Settings, sources: Path, cron: str) -> None:
    with pytest.raises(ConfigurationError, match="not a cron schedule"):
        server.up(settings, sources, cron)


@pytest.mark.parametrize("cron", ["0 * * * *", "*/15 8-18 * * 1-5", "5 4 1,15 JAN SUN"])
def test_cron_schedules(cron: str) -> None:
    server.check_cron(cron)


def test_a_server_that_cannot_start_leaves_nothing(
    settings: Settings, sources: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nif 'prefect' in sys.orig_argv: raise SystemExit('no prefect today')"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CLEARWATER_SERVER_PORT", "free")
    settings.prefect.mkdir(parents=True)
    for name in ("server", "supervisor"):
        (settings.prefect / f"{name}.log").write_text("of an earlier start\n")
    with pytest.raises(server.ServerError, match="no prefect today") as caught:
        server.up(settings, sources)
    assert "earlier" not in str(caught.value)
    assert server.recorded(settings) is None


def test_the_users_own_prefect_settings_stay_out(settings: Settings) -> None:
    base = {"PREFECT_API_KEY": "secret", "PREFECT_PROFILE": "cloud", "CRM_URL": "kept"}
    env = server.server_environment(settings, info(4321), base)
    assert not {"PREFECT_API_KEY", "PREFECT_PROFILE"} & set(env)
    assert env["CRM_URL"] == "kept"
    assert env["PREFECT_API_URL"] == env["PREFECT_SERVER_UI_API_URL"] == "http://127.0.0.1:4321/api"


def test_the_servers_database_may_be_another(settings: Settings) -> None:
    elsewhere = replace(settings, server=Server(database_url="postgresql+asyncpg://u@h/p"))
    env = server.server_environment(elsewhere, info(1), {})
    assert env["PREFECT_SERVER_DATABASE_CONNECTION_URL"] == "postgresql+asyncpg://u@h/p"
    env = server.server_environment(settings, info(1), {})
    assert str(settings.prefect) in env["PREFECT_SERVER_DATABASE_CONNECTION_URL"]


def test_a_server_that_listens_anywhere_is_found_here() -> None:
    anywhere = replace(info(4321), host=server.ANYWHERE)
    assert anywhere.url == "http://127.0.0.1:4321"


def test_another_port_is_found_when_the_usual_one_is_taken(settings: Settings) -> None:
    with socket.socket() as taken:
        taken.bind((server.HERE, 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = server.free_port(replace(settings, server=Server(port=port)))
        assert found not in (0, port)


def test_an_address_of_another_machine_is_refused(settings: Settings) -> None:
    with pytest.raises(server.ServerError, match="no port is free"):
        server.free_port(replace(settings, server=Server(host="192.0.2.1")))


def test_what_is_recorded_is_read_again(settings: Settings) -> None:
    told = replace(info(4321), server=this_process(), cron="0 * * * *", is_ready=True)
    server.record(settings, told)
    assert server.recorded(settings) == told


@pytest.mark.parametrize("module", ["server", "supervisor", "worker", "attended", "fork_server"])
def test_these_processes_import_nothing_heavy(module: str) -> None:
    heavy = {"prefect", "dbt", "duckdb", "great_expectations", "pyarrow"}
    code = f"import sys, flows.{module}; raise SystemExit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
