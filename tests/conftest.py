"""What all tests share: a home below a temporary folder, and how long hypothesis searches."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from handmade import payment
from hypothesis import HealthCheck
from hypothesis import settings as search

from warehouse import dbt_runner
from warehouse.settings import PROJECT, Settings

if TYPE_CHECKING:
    from works import Works

# A lake or a build for each example: seconds are normal, and fixtures are meant to be shared.
EXPENSIVE = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
search.register_profile("ci", max_examples=5, derandomize=True, database=None, **EXPENSIVE)
search.register_profile("dev", max_examples=50, **EXPENSIVE)
search.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", threads=2, memory_limit="1GiB")


@pytest.fixture
def no_raw_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is wrong with a row, it gets as far as the gate."""
    monkeypatch.setattr("expectations.raw.load_rules", list)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the dbt project, to change; builds take it for the project."""
    copy = tmp_path / "project"
    copy.mkdir()
    for name in dbt_runner.PROJECT_FILES:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, copy / name)
        elif (PROJECT / name).exists():
            shutil.copy(PROJECT / name, copy / name)
    monkeypatch.setattr(dbt_runner, "PROJECT", copy)
    return copy


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Works:
    """A home after its first run: three payments on three days. Not to be changed."""
    from works import Works

    works = Works(tmp_path_factory.mktemp("works"))
    works.put([payment(n, day=n, customer=n) for n in (1, 2, 3)])
    assert works.run().exit_code == 0
    return works


@pytest.fixture
def works(first: Works, tmp_path: Path) -> Works:
    """A copy of it: no path in it may be absolute."""
    shutil.copytree(first.folder, tmp_path / "works", symlinks=True)
    return type(first)(tmp_path / "works")
