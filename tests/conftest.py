"""What all tests share: a home below a temporary folder, and how long hypothesis searches."""

from __future__ import annotations

import gc
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from handmade import payment
from hypothesis import HealthCheck
from hypothesis import settings as search

from warehouse import dbt_runner
from warehouse.settings import PROJECT, Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from works import Works

CACHE = Path("target", "partial_parse.msgpack")
# A lake or a build for each example: seconds are normal, and fixtures are meant to be shared.
EXPENSIVE = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
search.register_profile("ci", max_examples=5, derandomize=True, database=None, **EXPENSIVE)
search.register_profile("dev", max_examples=50, **EXPENSIVE)
search.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
# What takes a minute and more in the slow tests, from the longest down: a worker that begins one
# of them at the end leaves the others with nothing to do.
LONG = (
    "flows/test_supervisor.py",
    "test_kill.py",
    "flows/test_domains.py",
    "test_survives.py",
    "flows/test_scheduled.py",
    "flows/test_stopping.py",
    "warehouse/test_retention.py",
    "test_week.py",
    "warehouse/test_compaction.py",
    "flows/test_unfinished.py",
    "flows/test_source_add.py",
    "warehouse/test_incremental.py",
)


# What collecting makes stays to the end: looking through it for garbage is a quarter of its time.
gc.disable()


def pytest_collection_finish() -> None:
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, then those of many tests; workers take them in this order."""
    tests = Counter(item.path for item in items)
    here = Path(__file__).parent
    places = {here / file: place for place, file in enumerate(LONG)}
    items.sort(key=lambda item: (places.get(item.path, len(LONG)), -tests[item.path], item.path))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", threads=2, memory_limit="1GiB")


@pytest.fixture(scope="session", autouse=True)
def parsed_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """dbt's own cache of the parsed project, handed to homes that have none: seconds a home."""
    parse = dbt_runner.parse
    kept = tmp_path_factory.mktemp("parsed") / CACHE.name

    def parse_with_cache(settings: Settings) -> dbt_runner.Project:
        cache = settings.dbt / CACHE
        is_new = dbt_runner.PROJECT == PROJECT and not cache.exists()
        if is_new and kept.exists():
            cache.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(kept, cache)
        project = parse(settings)
        if is_new and not kept.exists():
            shutil.copy(cache, kept)
        return project

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dbt_runner, "parse", parse_with_cache)
        yield


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
