"""What the tests of the server share: one server for all of them, started once."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import clearwater as clearwater
from handmade import payment
from works import Works

from flows import options, server
from warehouse.settings import Settings, load_settings

CRON = "0 0 1 1 *"
SOURCES = """
sources:
  - name: shop.orders
    kind: files
    path: orders.csv
    format: csv
    columns: {id: bigint}
    key: [id]
"""
# Stands for `flows.pipeline` in processes of their own, which import it before any of ours.
# `FAILURE` in the environment makes the first try of the second stage fail; while there is a file
# `full` in the home there is no space for the first one.
STAND_IN = """
import errno, os, sys, time, types
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Options:
    sources: Path
    only: tuple = ()
    full_refresh: bool = False
    wait: bool = False
    trigger: str = "command line"
    covers: object = None


@dataclass
class Run:
    home: Path
    options: Options
    tried: list = field(default_factory=list)
    retries: list = field(default_factory=list)
    events = types.SimpleNamespace(note=lambda text: None)
    failure: Exception | None = None
    problems: tuple = ()

    @property
    def exit_code(self):
        return 1 if self.failure else 0

    @property
    def status(self):
        return "failed" if self.failure else "done"


def is_seen(run):
    from flows import live_runs
    from warehouse.settings import load_settings

    lives = live_runs.known(load_settings(run.home))
    return any(live.process.pid == os.getpid() for live in lives)


def land(run):
    run.tried.append("land")
    # No run is as short as this one: a busy server may not hear of it before it is over.
    late = time.monotonic() + 30
    while run.options.trigger == "command line" and not is_seen(run) and time.monotonic() < late:
        time.sleep(0.05)
    (run.home / "landed").write_text(str(run.options.sources))
    with (run.home / "runs.log").open("a") as log:
        print(run.options.covers.told if run.options.covers else "in time", file=log)
    while (run.home / "wait").exists():
        time.sleep(0.05)
    if (run.home / "full").exists():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def audit(run):
    import warehouse.errors

    run.tried.append("audit")
    if run.tried.count("audit") == 1:
        if failure := eval(os.environ.get("FAILURE", "None"), vars(warehouse.errors)):
            raise failure


def execute(settings, options, call):
    from warehouse.errors import ClearwaterError

    run = Run(settings.home, options)
    try:
        for stage in (land, audit):
            call(stage.__name__, stage, run)
    except ClearwaterError as error:
        run.failure = error
    return run


import flows.artifacts

flows.artifacts.artifacts = lambda run: ()  # there is nothing to show of such a run
module = types.ModuleType("flows.pipeline")
module.Options, module.execute = Options, execute
sys.modules["flows.pipeline"] = module
"""


@dataclass(frozen=True)
class Served:
    """A running server with its home and its sources file; the stand-in lies in `folder`."""

    folder: Path
    settings: Settings
    sources: Path
    info: server.ServerInfo


@contextmanager
def serving(folder: Path, cron: str | None = CRON, declared: str = "") -> Iterator[Served]:
    """Up in the folder's home, with the stand-in, for the block; `declared` is a schedule."""
    (folder / "sitecustomize.py").write_text(STAND_IN)
    sources = folder / "sources.yml"
    sources.write_text(f"version: 1\n{declared}{SOURCES}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        # A free port at once: the usual one may be the user's own, or another worker's.
        patch.setenv("CLEARWATER_SERVER_PORT", "free")
        settings = load_settings(folder / "home")
        try:
            yield Served(folder, settings, sources, server.up(settings, sources, cron))
        finally:
            server.down(settings)


def until(found: Callable[[], object], seconds: float = 60) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def _no_home_of_another_test() -> None:
    """A command that was called in this process leaves the home that it was given."""
    options._GIVEN_HOME.set(None)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as started:
        yield started
    info = started.info
    assert info.server
    assert info.worker
    assert not any(process.alive for process in (info.supervisor, info.server, info.worker))


@pytest.fixture(scope="session")
def large(first: Works, tmp_path_factory: pytest.TempPathFactory) -> Works:
    """The first home with so many rows more that they are files of the lake. Not to be changed."""
    folder = tmp_path_factory.mktemp("large") / "works"
    shutil.copytree(first.folder, folder, symlinks=True)
    works = Works(folder)
    works.put([payment(n, day=n / 100, customer=n % 9) for n in range(10, 900)], "payments2.csv")
    assert works.run("land", "load").exit_code == 0
    return works


@pytest.fixture
def loaded(large: Works, tmp_path: Path) -> Works:
    """A copy of it, to break."""
    shutil.copytree(large.folder, tmp_path / "large", symlinks=True)
    return Works(tmp_path / "large")
