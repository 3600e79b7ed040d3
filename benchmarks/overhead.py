"""What schedules cost: a run that finds nothing new, and a command's run beside a server."""

from __future__ import annotations

import statistics
import time
from typing import Any

import psutil  # type: ignore[import-untyped]

from benchmarks.figures import Figure, Options
from benchmarks.survives.feed import Feed, NoStore, write_sources
from benchmarks.survives.tree import POLL_SECONDS, Tree
from warehouse.state import open_ledger

RUNS, RUNS_SHORT = 20, 2
PAIRS, PAIRS_SHORT = 7, 1
EVERY_SECONDS = 5
PATIENCE_SECONDS = 600.0
NEVER = "365d"


def measure(options: Options) -> tuple[list[Figure], dict[str, Any]]:
    """CPU of 20 scheduled runs with nothing new; wall time of 7 pairs of commands, interleaved."""
    folder = options.folder("overhead")
    feed = Feed(folder / "payments", NoStore(), 0)
    for _ in range(2):
        feed.deliver()
    often, never = folder / "often.yml", folder / "never.yml"
    write_sources(often, folder / "payments", {"pipeline": f"{EVERY_SECONDS}s"})
    write_sources(never, folder / "payments", {"pipeline": NEVER})
    scheduled = Tree(folder / "scheduled", often, {})
    served, alone = (Tree(folder / name, never, {}) for name in ("served", "alone"))
    try:
        cpu = _scheduled(scheduled, RUNS_SHORT if options.short else RUNS)
        scheduled.down()
        served.up()
        walls = _pairs(served, alone, feed, PAIRS_SHORT if options.short else PAIRS)
    finally:
        for tree in (scheduled, served, alone):
            tree.kill_everything()
    longer = [through - direct for through, direct in walls]
    return [
        Figure("a scheduled run with nothing new", cpu["run"], "CPU s", at_most=3.0),
        Figure("the server meanwhile, for each of them", cpu["server"], "CPU s"),
        Figure("a run through the server, longer", statistics.median(longer), "s", at_most=2.0),
        Figure("a run called directly", statistics.median(each[1] for each in walls), "s"),
    ], {"cpu_seconds": cpu, "wall_seconds": walls}


def _scheduled(tree: Tree, count: int) -> dict[str, float]:
    """CPU seconds for each of so many runs: of worker, fork server and runs, and of the server."""
    tree.up()
    _wait_for(tree, 2)  # the first loads, the second finds nothing new for the first time
    info = tree.info()
    assert info is not None
    assert info.worker is not None
    assert info.server is not None
    worker, server = psutil.Process(info.worker.pid), psutil.Process(info.server.pid)
    begun = _ended(tree)
    before = _tree_seconds(worker), _tree_seconds(server)
    _wait_for(tree, begun + count)
    done = _ended(tree) - begun
    after = _tree_seconds(worker), _tree_seconds(server)
    return {
        "runs": done,
        "run": (after[0] - before[0]) / done,
        "server": (after[1] - before[1]) / done,
    }


def _tree_seconds(process: psutil.Process) -> float:
    """User and system time of the process, its children, and all of these that have ended."""
    seconds = 0.0
    for each in [process, *process.children(recursive=True)]:
        try:
            used = each.cpu_times()
        except psutil.NoSuchProcess:  # its parent's account has it
            continue
        seconds += used.user + used.system + used.children_user + used.children_system
    return seconds


def _pairs(served: Tree, alone: Tree, feed: Feed, count: int) -> list[tuple[float, float]]:
    """Wall seconds of runs over the same new file, beside the server and without one."""
    for tree in (served, alone):
        _run(tree)
    found = []
    for number in range(count):
        feed.deliver()
        order = (served, alone) if number % 2 else (alone, served)
        took = {tree.settings.home: _run(tree) for tree in order}
        found.append((took[served.settings.home], took[alone.settings.home]))
    return found


def _run(tree: Tree) -> float:
    started = time.monotonic()
    tree.command("run", "--sources", tree.sources, "--wait")
    return time.monotonic() - started


def _ended(tree: Tree) -> int:
    with open_ledger(tree.settings) as ledger:
        return sum(run["status"] == "done" for run in ledger.newest())


def _wait_for(tree: Tree, count: int) -> None:
    """Raises TimeoutError unless so many runs are over in time."""
    if not tree.until(lambda: _ended(tree) >= count, PATIENCE_SECONDS, POLL_SECONDS):
        raise TimeoutError(f"only {_ended(tree)} runs of {count}")
