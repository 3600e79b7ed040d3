"""The faults: each strikes, undoes what is not the platform's to undo, and says when it struck."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]

from benchmarks.survives.bucket import Bucket
from benchmarks.survives.clock import Clock
from benchmarks.survives.disk import Disk
from benchmarks.survives.tree import Tree
from flows.processes import with_birth

if TYPE_CHECKING:
    from tests.postgres import Postgres

STAGES = ("land", "load", "build", "audit", "publish", "features", "report")
# Where a rollback holds, runs do nothing in the others.
STAGES_HELD = ("land", "load", "report")
WAIT_SECONDS = 90.0
LOOK_SECONDS = 0.002  # some stages take no more than hundredths
OUTAGE_SECONDS = (4.0, 10.0)
MOMENT_SECONDS = 5.0
MISSED = "nothing"
STOPPED = "run stopped in "
GONE_SECONDS = 5.0
CLOCK = "clock "
JUMPS = {
    f"{CLOCK}put on an hour": timedelta(hours=1),
    f"{CLOCK}put on two days": timedelta(days=2),
    f"{CLOCK}set back an hour": timedelta(hours=-1),
    f"{CLOCK}set back two days": timedelta(days=-2),
}


@dataclass
class Yard:
    """What can be struck, and chance."""

    tree: Tree
    bucket: Bucket
    disk: Disk
    clock: Clock
    postgres: Postgres | None
    rng: random.Random
    is_held: bool = False

    def pause(self, least: float, most: float) -> None:
        """Let the platform go on for a random while."""
        time.sleep(self.rng.uniform(least, most))


Strike = Callable[[Yard], str]


def _kill(yard: Yard, pid: int) -> str:
    where = yard.tree.stage()
    os.kill(pid, signal.SIGKILL)
    yard.tree.until(lambda: not with_birth(pid).alive, GONE_SECONDS)
    return where


def _kill_recorded(name: str, yard: Yard) -> str:
    """The supervisor, the server or the worker, at any moment."""
    yard.pause(0, MOMENT_SECONDS)
    info = yard.tree.info()
    process = getattr(info, name) if info else None
    return _kill(yard, process.pid) if process and process.alive else MISSED


def _kill_found(find: Callable[[Tree], psutil.Process | None], yard: Yard) -> str:
    """The auditor or the fork server, once there is one."""
    found: list[psutil.Process] = []

    def look() -> bool:
        process = find(yard.tree)
        found[:] = [process] if process else []
        return bool(process)

    if not yard.tree.until(look, WAIT_SECONDS, 0.1):
        return MISSED
    yard.pause(0, 2)
    where = yard.tree.stage()
    try:
        found[0].kill()
    except psutil.NoSuchProcess:
        return MISSED
    return where


def _in_stage(yard: Yard, stage: str, number: signal.Signals) -> str:
    """A signal to a run at a random moment of the stage."""
    tree = yard.tree
    if not tree.until(lambda: tree.stage() == stage, WAIT_SECONDS, LOOK_SECONDS):
        stage = ""
    yard.pause(0, tree.usual_seconds(stage) if stage else 0)
    run, where = tree.run_at_work(), tree.stage()
    if run is None:
        return MISSED
    try:
        os.kill(run.pid, number)
    except ProcessLookupError:
        return MISSED
    return where


def _kill_run(yard: Yard) -> str:
    stages = STAGES_HELD if yard.is_held else STAGES
    return _in_stage(yard, yard.rng.choice(stages), signal.SIGKILL)


def _reboot(yard: Yard) -> str:
    yard.pause(0, MOMENT_SECONDS)
    where = yard.tree.stage()
    yard.tree.kill_everything()
    return where


def _stop_supervisor(yard: Yard) -> str:
    """What systemd does before it starts it again."""
    yard.pause(0, MOMENT_SECONDS)
    where, info = yard.tree.stage(), yard.tree.info()
    if info and info.supervisor.alive:
        os.kill(info.supervisor.pid, signal.SIGTERM)
        yard.tree.until(lambda: not info.supervisor.alive, WAIT_SECONDS, 0.1)
    return where


def _fill_disk(yard: Yard) -> str:
    yard.pause(0, MOMENT_SECONDS)
    where = yard.tree.stage()
    yard.disk.fill()
    try:
        yard.pause(*OUTAGE_SECONDS)
    finally:
        yard.disk.free()
    return where


def _until_met(yard: Yard) -> str:
    """Let a run meet the outage of its source for a while."""
    tree = yard.tree
    is_met = tree.until(lambda: tree.stage() == "land", WAIT_SECONDS, LOOK_SECONDS)
    yard.pause(0, OUTAGE_SECONDS[1])
    return "land" if is_met else MISSED


def _hang_bucket(yard: Yard) -> str:
    yard.bucket.hang()
    try:
        return _until_met(yard)
    finally:
        yard.bucket.go_on()


def _lose_bucket(yard: Yard) -> str:
    yard.bucket.kill()
    try:
        return _until_met(yard)
    finally:
        yard.bucket.start()


def _lose_state(yard: Yard) -> str:
    assert yard.postgres is not None
    yard.pause(0, MOMENT_SECONDS)
    where = yard.tree.stage()
    yard.postgres.kill()
    try:
        yard.pause(*OUTAGE_SECONDS)
    finally:
        yard.postgres.start()
    return where


def _set_clock(yard: Yard, by: timedelta) -> str:
    yard.pause(0, MOMENT_SECONDS)
    where = yard.tree.stage()
    yard.clock.jump(by)
    return where


STRIKES: dict[str, Strike] = {
    "worker killed": partial(_kill_recorded, "worker"),
    "server killed": partial(_kill_recorded, "server"),
    "supervisor killed": partial(_kill_recorded, "supervisor"),
    "fork server killed": partial(_kill_found, Tree.fork_server),
    "auditor killed": partial(_kill_found, Tree.auditor),
    "run killed": _kill_run,
    "reboot": _reboot,
    "supervisor stopped": _stop_supervisor,
    **{
        f"{STOPPED}{stage}": partial(_in_stage, stage=stage, number=signal.SIGTERM)
        for stage in STAGES
    },
    "disk full": _fill_disk,
    "source hangs": _hang_bucket,
    "source gone": _lose_bucket,
    "state database gone": _lose_state,
    **{kind: partial(_set_clock, by=by) for kind, by in JUMPS.items()},
}


def is_hit(kind: str, struck: str) -> bool:
    """Whether the fault was made as it was meant, by what was going on when it struck."""
    return struck != MISSED and (not kind.startswith(STOPPED) or kind == f"{STOPPED}{struck}")


def possible(yard: Yard) -> list[str]:
    """The faults that can be made here and now."""
    absent = {
        "disk full": not yard.disk.is_small,
        "state database gone": yard.postgres is None,
        "auditor killed": yard.is_held,
    }
    absent |= dict.fromkeys(JUMPS, not yard.clock.is_fake)
    absent |= {f"{STOPPED}{stage}": yard.is_held for stage in STAGES if stage not in STAGES_HELD}
    return [name for name in STRIKES if not absent.get(name)]
