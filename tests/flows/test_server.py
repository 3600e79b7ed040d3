"""`up` and `down` without a server: what is refused and what is stale."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from flows import server
from warehouse.errors import ConfigurationError
from warehouse.settings import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(tmp_path / "home")


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    file = tmp_path / "sources.yml"
    file.write_text("version: 1\n")
    return file


def record(settings: Settings, text: str) -> None:
    settings.prefect.mkdir(parents=True)
    (settings.prefect / "server.json").write_text(text)


def recorded(pid: int) -> str:
    process = {"pid": pid, "born": "long ago"}
    return json.dumps(
        {"port": 1, "server": process, "scheduler": process, "sources": "s", "cron": "0 * * * *"}
    )


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


@pytest.mark.parametrize("cron", ["", "hourly", "* * * *", "0 * * * * *", "a b c d e"])
def test_up_needs_a_cron_schedule(settings: Settings, sources: Path, cron: str) -> None:
    with pytest.raises(ConfigurationError, match="not a cron schedule"):
        server.up(settings, sources, cron)


@pytest.mark.parametrize("cron", ["0 * * * *", "*/15 8-18 * * 1-5", "5 4 1,15 JAN SUN"])
def test_cron_schedules(cron: str) -> None:
    assert server.CRON.fullmatch(cron)


def test_a_server_that_cannot_start_leaves_nothing(
    settings: Settings, sources: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "prefect.py").write_text("raise SystemExit('no prefect today')")
    monkeypatch.setattr(server, "PROJECT", tmp_path)
    with pytest.raises(server.ServerError, match="no prefect today"):
        server.up(settings, sources)
    assert not (settings.prefect / "server.json").exists()


def test_the_users_own_prefect_settings_stay_out(settings: Settings) -> None:
    base = {"PREFECT_API_KEY": "secret", "PREFECT_PROFILE": "cloud", "CRM_URL": "kept"}
    env = server.server_environment(settings, 4321, base)
    assert not {"PREFECT_API_KEY", "PREFECT_PROFILE"} & set(env)
    assert env["CRM_URL"] == "kept"
    assert env["PREFECT_API_URL"] == env["PREFECT_SERVER_UI_API_URL"] == "http://127.0.0.1:4321/api"


def test_another_port_is_found_when_the_usual_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind((server.HOST, 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(server, "USUAL_PORT", port)
        assert server._free_port() not in (0, port)


def test_asking_costs_no_import_of_prefect() -> None:
    code = "import sys, flows.server; raise SystemExit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
