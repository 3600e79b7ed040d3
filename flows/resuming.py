"""Which run is to be tried again, and from which stage on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.run import Options
from flows.stages import STAGES
from warehouse.errors import ConfigurationError
from warehouse.wording import known_names, nearest

if TYPE_CHECKING:
    from flows.events import Mode
    from warehouse.build import Build
    from warehouse.settings import Settings

PASSED = ("done", "skipped")


@dataclass(frozen=True)
class Resumption:
    """How a run is taken up: its id, its options, the stages that are left, and why from there."""

    run_id: str
    options: Options
    stages: tuple[str, ...]
    why: str


def failed_run(runs: Sequence[dict[str, Any]], run_id: str | None) -> dict[str, Any] | None:
    """The run of this id; without one, the newest that failed and that no later run made up for.

    `runs` are all of them, newest first. Raises ConfigurationError when there is none of this id.
    """
    if run_id is not None:
        found = {run["run_id"]: run for run in runs}
        if run_id not in found:
            raise ConfigurationError(
                f"there is no run {run_id!r}",
                where="clearwater retry",
                next_step=f"runs: {known_names(found, nearest(run_id, found))}",
            )
        return found[run_id]
    for number, run in enumerate(runs):
        is_over = run["status"] in ("done", "running")
        if not is_over and not any(_makes_up(later, run) for later in runs[:number]):
            return run
    return None


def _makes_up(later: Mapping[str, Any], run: Mapping[str, Any]) -> bool:
    """Whether the later run is done and did all that this one was to do."""
    did, due = later["options"], run["options"]
    if later["status"] != "done" or not did:
        return False
    if not due:
        return True
    return (
        did["sources"] == due["sources"]
        and set(did["stands_for"]) >= set(due["stands_for"])
        and (not did["only"] or did["only"] == due["only"])
        and did["full_refresh"] >= due["full_refresh"]
    )


def resumption(
    settings: Settings,
    run: Mapping[str, Any],
    stages: Mapping[str, str],
    *,
    wait: bool = False,
    log: Mode = "text",
) -> Resumption:
    """How to take up a run of the ledger; `stages` has the status of each that it began.

    Raises ConfigurationError for a run of before its options were kept.
    """
    kept = run["options"]
    if not kept:
        raise ConfigurationError(
            "what it was asked to do was not kept",
            where=f"run {run['run_id']}",
            next_step="start it again with `clearwater run`",
        )
    options = Options(
        sources=Path(kept["sources"]),
        only=tuple(kept["only"]),
        full_refresh=kept["full_refresh"],
        wait=wait,
        log=log,
        export=kept["export"],
        trigger=f"retry of {run['run_id']}",
        stands_for=tuple(kept["stands_for"]),
    )
    left, why = _stages_left(settings, run["status"], kept, stages)
    return Resumption(run["run_id"], options, left, why)


def _stages_left(
    settings: Settings, status: str, kept: Mapping[str, Any], stages: Mapping[str, str]
) -> tuple[tuple[str, ...], str]:
    """The stages to go through, in order, and why it is these."""
    order, wanted = list(STAGES), [name for name in STAGES if name in kept["stages"]]
    first = next((name for name in wanted if stages.get(name) not in PASSED), "")
    why = f"its stage {first} did not end well"
    if status == "refused":
        first, why = wanted[0], "it refused files"
    elif status == "blocked":
        first, why = ("audit" if "audit" in wanted else first), "its gate blocked"
    elif first == "load" and "land" in wanted:
        first = "land"  # which finds again what is to be loaded
    elif not first:
        first, why = ("build" if "build" in wanted else wanted[0]), "a part of it failed"
    if first in ("audit", "publish") and (change := _changed(settings, kept["full_refresh"])):
        first, why = "build", f"{why}, and {change}"
    left = {first, *(name for name in wanted if order.index(name) >= order.index(first))}
    if {"build", "publish"} <= left:
        left.add("audit")
    return tuple(name for name in STAGES if name in left), why


def _changed(settings: Settings, full_refresh: bool) -> str:
    """Why the build that is there cannot be taken up; empty if it can."""
    from warehouse.build import newest_build
    from warehouse.dbt_runner import project_hash
    from warehouse.lake import catalog_snapshot, has_same_data, lake_identity

    built = newest_build(settings)
    if built is None or (full_refresh and built.fresh != built.models.keys()):
        return "its build is gone"
    if built.project != project_hash():
        return "the models have changed since"
    if built.lake not in ("", lake_identity(settings)):
        return "the lake was made again since"
    if not has_same_data(settings, built.lake_snapshot, catalog_snapshot(settings)):
        return "the lake has changed since"
    return "the rules have changed since" if _rules_changed(built) else ""


def _rules_changed(built: Build) -> bool:
    """Whether the rules are others than those that judged the build, if any did."""
    from expectations.rule_files import load_rules

    judged = built.read_gate()
    if judged is None:
        return False
    rules = {rule.id: rule.hash for rule in load_rules() if rule.boundary != "raw"}
    return bool(json.loads(judged)["rules"] != rules)
