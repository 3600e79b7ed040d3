"""How the release that is served stands today: what no build changes, the clock does."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from expectations.gate import verdict
from expectations.next_steps import next_steps
from flows.domains import known_rules
from warehouse.errors import ClearwaterError, GateBlockedError
from warehouse.features import PASSED
from warehouse.releases import held_at
from warehouse.wording import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from expectations.gate import GateResult, RuleResult
    from flows.pipeline import Run
    from warehouse.releases import Release


def audit_served(run: Run) -> None:
    """The audit of a run that builds nothing: of what is served, the rules that look at the clock.

    What is published stays so. A critical one that does not hold makes the run a blocked one, by
    its `failure`; features and report follow all the same.
    """
    from expectations.clock import by_clock
    from expectations.rule_files import load_rules

    rules = [rule for rule in load_rules() if rule.boundary != "raw"]
    judged = run.clock = by_clock(run.settings, run.release, rules) if run.release else ()
    if run.release is None or not judged:
        run.done("no build", status="skipped")
        return
    run.rules = {rule.id: rule.hash for rule in rules}
    run.lineage = run.release.lineage
    said = verdict(judged)
    if said not in PASSED:
        run.failure = _blocked(run, run.release, judged)
    count = counted(len(judged), "rule")
    run.done(f"verdict {said} by the clock: {count} checked on the release served")


def standing(run: Run) -> GateResult | None:
    """The gate of the release served, with what the clock says of it now; None without one.

    Rules that cannot be read say nothing.
    """
    from expectations.clock import as_of_now, by_clock
    from expectations.rule_files import load_rules

    if run.release is None:
        return None
    if run.clock is None:
        with suppress(ClearwaterError):
            run.clock = by_clock(run.settings, run.release, load_rules())
    return as_of_now(run.release, run.clock or ())


def _blocked(run: Run, release: Release, judged: Sequence[RuleResult]) -> GateBlockedError:
    """The error that names the first rule that the clock breaks, and what is served meanwhile."""
    bad = [result for result in judged if result.status in ("fail", "error")]
    first, more = bad[0], f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    line = release.line(first.table)
    domain = f"domain {line[0]}: " if line and len(release.lines) > 1 else ""
    steps = next_steps(first, known_rules().get(first.rule_id), release.lineage)
    if held_at(run.settings) is not None:
        why = f"{release.id} is served and held after a rollback; `clearwater resume` goes on"
    else:
        why = f"nothing new came to build from, and release {release.id} is still served"
    return GateBlockedError(
        f"{domain}the gate says {verdict(judged)} of what is served:"
        f" {first.rule_id}: {first.detail}{more}",
        where=first.table,
        next_step=f"{why}; {steps[0]}; the report shows more",
    )
