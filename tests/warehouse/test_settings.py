"""Settings: one root, every path below it."""

from __future__ import annotations

from pathlib import Path

import pytest

from warehouse.errors import ConfigurationError
from warehouse.settings import PROJECT, Settings, load_settings


def test_home_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEARWATER_HOME", "/elsewhere")
    assert load_settings("/given").home == Path("/given")
    assert load_settings().home == Path("/elsewhere")
    monkeypatch.delenv("CLEARWATER_HOME")
    assert load_settings().home == PROJECT / "var"


def test_every_path_is_below_the_home() -> None:
    settings = Settings(Path("/home"), 1, "1GiB")
    names = [name for name, value in vars(Settings).items() if isinstance(value, property)]
    assert names
    assert all(getattr(settings, name).is_relative_to("/home/") for name in names)


def test_relative_home_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_settings("here").home == tmp_path / "here"


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", ""])
def test_threads_are_a_positive_number(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("CLEARWATER_THREADS", text)
    with pytest.raises(ConfigurationError, match="CLEARWATER_THREADS"):
        load_settings()
