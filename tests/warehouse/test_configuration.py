"""What can be set: by whom, in which order, and what is told of mistakes."""

from __future__ import annotations

import pickle
from datetime import timedelta
from pathlib import Path

import pytest

from warehouse import configuration as configured
from warehouse.configuration import FILE_VARIABLE, OPTIONS, configuration, duration
from warehouse.errors import ConfigurationError
from warehouse.settings import load_settings

SECRET = "postgresql://me:hunter2@db/clearwater"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clearwater.toml that is read, empty at first."""
    path = tmp_path / "clearwater.toml"
    path.write_text("")
    monkeypatch.setenv(FILE_VARIABLE, str(path))
    for option in OPTIONS.values():
        monkeypatch.delenv(option.variable, raising=False)
    return path


def test_environment_comes_before_the_file_and_that_before_the_default(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings().keep.releases == 5
    file.write_text("[keep]\nreleases = 7\n")
    assert load_settings().keep.releases == 7
    assert configuration()["keep.releases"].origin == f"{file}:2"
    monkeypatch.setenv("CLEARWATER_KEEP_RELEASES", "9")
    assert load_settings().keep.releases == 9
    assert configuration()["keep.releases"].origin == "environment"
    assert configuration()["keep.logs"].origin == "default"


def test_every_option_has_a_default_that_it_takes(file: Path) -> None:
    settings = load_settings()
    assert settings.timeouts["load"] == timedelta(hours=6)
    assert settings.keep.landing is None
    assert settings.server.port == 4200


def test_home_in_the_file_is_beside_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('home = "data"\n')
    assert load_settings().home == file.parent / "data"
    assert load_settings("/given").home == Path("/given")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kep.releases = 1", "there is no option 'kep.releases'\n  next: did you mean 'keep.rel"),
        ("[keep]\n\nreleeses = 1", "clearwater.toml:3: there is no option 'keep.releeses'"),
        ("threads = 0", "threads is '0', not a positive whole number"),
        ("[timeout]\nload = '1 hour'", "timeout.load is '1 hour', neither forever nor a span"),
        ("[timeout]\nload = 5.5", "timeout.load is neither a text nor a number"),
        ("alert_severity = 'loud'", "neither critical nor warning"),
        ("[server]\nport = 70000", "server.port is '70000', not a port"),
        ("lake_encrypted = 2", "neither 0 nor 1"),
        ("keep = ", "cannot be read"),
    ],
)
def test_mistake_in_the_file_is_told_with_its_place(file: Path, text: str, told: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        load_settings()
    assert told in str(error.value)
    assert str(file) in str(error.value)


def test_misspelt_variable_is_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARWATER_KEEP_RELEASE", "3")
    with pytest.raises(ConfigurationError, match="did you mean CLEARWATER_KEEP_RELEASES"):
        load_settings()


def test_file_that_is_named_must_be_there(file: Path) -> None:
    file.unlink()
    with pytest.raises(ConfigurationError, match="no such file"):
        load_settings()


def test_no_secret_stands_in_the_file_and_none_is_shown(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARWATER_STATE_URL", SECRET)
    told = configuration()["state_url"]
    assert told.shown == "(set, not shown)"
    assert "hunter2" not in f"{told!r} {load_settings()!r}"
    file.write_text(f'alert_urls = "{SECRET}"\n')
    with pytest.raises(ConfigurationError) as error:
        load_settings()
    assert "export CLEARWATER_ALERT_URLS" in str(error.value)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("6h", 21600), ("14d", 14 * 86400)]
)
def test_durations(text: str, seconds: int) -> None:
    assert duration(text).total_seconds() == seconds


def test_options_with_a_wrong_value_name_their_variable(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for option in OPTIONS.values():
        if option.read is not str:
            monkeypatch.setenv(option.variable, "wrong, surely")
            with pytest.raises(ConfigurationError, match=option.variable):
                load_settings()
            monkeypatch.delenv(option.variable)


def test_settings_go_to_another_process(file: Path) -> None:
    settings = load_settings()
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert hash(settings) == hash(load_settings())


def test_list_of_stages_is_the_pipelines() -> None:
    from flows.pipeline import STAGES

    assert tuple(STAGES) == configured.STAGES
