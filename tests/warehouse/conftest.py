"""What the tests of the warehouse share: an empty lake, and a shop that sends files to it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from shop import Connection, Shop

from warehouse import lake
from warehouse.settings import Settings


@pytest.fixture(scope="session")
def empty_lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with nothing in it; making one takes longer than copying it."""
    settings = Settings(tmp_path_factory.mktemp("empty"), threads=2, memory_limit="1GiB")
    with lake.writing(settings):
        pass
    return settings.home


@pytest.fixture
def shop(
    settings: Settings, tmp_path: Path, empty_lake: Path, monkeypatch: pytest.MonkeyPatch
) -> Shop:
    monkeypatch.setattr(lake, "connect", Connection)
    shutil.copytree(empty_lake, settings.home)
    return Shop(settings, tmp_path / "shop")
