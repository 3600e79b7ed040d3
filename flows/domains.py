"""What a gate's results mean for each domain, and the release that is made of those that passed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from expectations.gate import GateResult, RuleResult, verdict
from expectations.next_steps import is_blocking, next_steps
from expectations.rules import LEARNED
from warehouse.domains import MAIN, Line, held_line, tables_now, worst
from warehouse.errors import ClearwaterError, GateBlockedError
from warehouse.features import PASSED
from warehouse.lake import changed_tables, lake_identity
from warehouse.releases import Release
from warehouse.wording import few

if TYPE_CHECKING:
    from expectations.rules import Rule
    from warehouse.build import Build
    from warehouse.settings import Settings

SHOWN_STEPS = 2  # of what to do, besides what stays published
IN_REPORT = "; the report has all there is to do, and what is wrong in full"
BREAK = "\n        "  # under the first step, after `  next: `


@dataclass(frozen=True)
class Block:
    """Why a domain is not published: what is wrong, in which table or file, and how to mend it.

    `reason` is the same in short, without the values of a failing row; `broken` are the results
    that block, the first one told in `what`.
    """

    what: str
    where: str
    next_step: str
    reason: str
    broken: tuple[RuleResult, ...] = ()


def in_short(result: RuleResult) -> str:
    """What was seen; of a comparison with the past, which finds many things, the worst few."""
    if result.check not in LEARNED:
        return result.detail
    return few(result.detail.split("; "))


def domain_of(built: Build, table: str) -> str:
    """The domain of a published table; main for one that no model makes."""
    return built.domains.get(table, MAIN)


def _results(built: Build, gate: GateResult, domain: str) -> list[RuleResult]:
    return [result for result in gate.results if domain_of(built, result.table) == domain]


def blocks(built: Build, gate: GateResult) -> dict[str, Block]:
    """The domains of the build that must not be published, by name."""
    found = {}
    domains = {*built.lines, *(domain_of(built, result.table) for result in gate.results)}
    for domain in sorted(domains) or [MAIN]:
        results = _results(built, gate, domain)
        if domain in built.failed:
            failure = built.failed[domain]
            reason = failure.what.partition("\n")[0]
            found[domain] = Block(failure.what, failure.where, failure.next_step, reason)
        elif verdict(results) not in PASSED:
            found[domain] = _block(results)
    return found


def _block(results: Sequence[RuleResult]) -> Block:
    says = f"the gate says {verdict(results)}"
    bad = [result for result in results if is_blocking(result)]
    if not bad:
        return Block(told := f"{says}: no rule was checked", "", "", told)
    first = bad[0]
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    details = (in_short(first), in_short(first).partition(", e.g.")[0])
    what, reason = (f"{says}: {first.rule_id}: {detail}{more}" for detail in details)
    return Block(what, first.table, "", reason, tuple(bad))


def passed(built: Build, found: Mapping[str, Block]) -> list[str]:
    """The domains of the build that may be published."""
    return [domain for domain in built.lines if domain not in found]


def blocked(built: Build, found: Mapping[str, Block], serving: Release | None) -> GateBlockedError:
    """The error that tells which domains are blocked and why, and what readers see meanwhile."""
    several = len({*built.lines, *found}) > 1
    told = [f"domain {name}: {b.what}" if several else b.what for name, b in found.items()]
    steps = _steps(built, found)
    if free := passed(built, found):
        stays = [_what_stays(name, built, serving) for name in found]
        stays.append(f"{' and '.join(free)} {'is' if len(free) == 1 else 'are'} not held back")
    else:
        served = "the last release is still served" if serving else "there is no release yet"
        stays = [f"nothing was published, {served}"]
    lines = [*steps[:SHOWN_STEPS], "; ".join(stays) + IN_REPORT]
    where = next(iter(found.values())).where
    return GateBlockedError("; ".join(told), where=where, next_step=BREAK.join(lines))


def _steps(built: Build, found: Mapping[str, Block]) -> list[str]:
    """What to do about each thing that blocks, each step once, with its rule where they differ."""
    rules = known_rules()
    steps = {block.next_step: "" for block in found.values() if block.next_step}
    broken = [result for block in found.values() for result in block.broken]
    shifted = sorted({result.table for result in broken if result.kinds})
    for result in broken:
        step = next_steps(result, rules.get(result.rule_id), built.lineage, shifted)[0]
        steps.setdefault(step, f"{result.rule_id}: ")
    return [rule + step if len(steps) > 1 else step for step, rule in steps.items()]


def known_rules() -> dict[str, Rule]:
    """The rules by id, as far as their files can be read."""
    from expectations.rule_files import load_rules

    with suppress(ClearwaterError):  # rules that cannot be read have failed the run already
        return {rule.id: rule for rule in load_rules()}
    return {}


def _what_stays(domain: str, built: Build, serving: Release | None) -> str:
    line = _held(domain, "", built, serving)
    if line.release is None:
        return f"{domain} has no tables until it passes"
    at = f"release {line.release}, lake snapshot {line.lake_snapshot}"
    return f"until it passes, {domain} stays as in {at}"


def _held(domain: str, why: str, built: Build, serving: Release | None) -> Line:
    if serving is None:
        return Line(None, held=why)
    tables = tables_now(serving.lines, built.domains).get(domain, [])
    return held_line(serving.lines.values(), tables, why)


def lines(
    settings: Settings, built: Build, gate: GateResult, serving: Release | None
) -> dict[str, Line]:
    """The line of each domain in the release that the build makes, on top of the one served."""
    found = blocks(built, gate)
    lake = lake_identity(settings)
    made = {name: _held(name, block.reason, built, serving) for name, block in found.items()}
    for domain in passed(built, found):
        tables = [model.relation for model in built.published if model.domain == domain]
        said = verdict(_results(built, gate, domain))
        made[domain] = Line(built.id, lake, built.lake_snapshot, said, tables)
    return dict(sorted(made.items()))


def is_news(settings: Settings, made: Release, built: Build, serving: Release | None) -> bool:
    """Whether a domain that passed differs from what is served, or others are held than there.

    A blocked domain is built again in every run. Without this each would make a release, and push
    an older one out.
    """
    if serving is None or made.is_whole or _held_names(made) != _held_names(serving):
        return True
    return any(
        _differs(settings, domain, made, built, serving)
        for domain, line in made.lines.items()
        if not line.held
    )


def _held_names(release: Release) -> set[str]:
    return {name for name, line in release.lines.items() if line.held}


def _differs(
    settings: Settings, domain: str, made: Release, built: Build, serving: Release
) -> bool:
    """Whether the domain's code, rules or sources are others than those of its line served."""
    now, then = made.lines[domain], serving.lines.get(domain)
    if then is None or then.lake_snapshot is None or then.lake != now.lake:
        return True
    if _definition(made, now) != _definition(serving, then):
        return True
    changed = changed_tables(settings, then.lake_snapshot, built.lake_snapshot)
    return any(model.sources & changed for model in built.published if model.domain == domain)


def _definition(release: Release, line: Line) -> tuple[dict[str, str | None], dict[str, str]]:
    """The code of the line's tables, and its rules."""
    code = {table: release.code.get(table.partition(".")[2]) for table in line.tables}
    ids = {result["rule_id"] for result in _told_of(release, line.tables)}
    return code, {name: rule for name, rule in release.rules.items() if name in ids}


def _told_of(release: Release, tables: Sequence[str]) -> list[dict[str, Any]]:
    return [r for r in release.gate.get("results", []) if r["table"] in tables]


def composed(
    settings: Settings,
    built: Build,
    gate: GateResult,
    rules: Mapping[str, str],
    run_id: str,
    serving: Release | None,
) -> Release:
    """The release that the build makes: what passed of it, and else what is served.

    `rules` are the hashes of the rules that were audited. The rows of the tables are not in yet.
    """
    made = lines(settings, built, gate, serving)
    free = {name for name, line in made.items() if not line.held}
    models = [model for model in built.models.values() if model.domain in free]
    results = [asdict(r) for r in gate.results if domain_of(built, r.table) in free]
    held_ids = {r.rule_id for r in gate.results} - {r["rule_id"] for r in results}
    content: dict[str, dict[str, Any]] = {
        "code": {model.name: model.code for model in models},
        "rules": {name: rule for name, rule in rules.items() if name not in held_ids},
        "features": {m.name: m.feature_set for m in models if m.feature_set},
        "lineage": {model.relation: sorted(model.parents) for model in models},
        "personal": {
            m.relation: sorted(m.personal)
            for m in built.published
            if m.domain in free and m.personal
        },
    }
    for line in made.values():
        if serving is not None and line.held:
            told = _told_of(serving, line.tables)
            results += told
            names = {table.partition(".")[2] for table in line.tables}
            _add(content["code"], serving.code, names)
            _add(content["features"], serving.features, names)
            _add(content["rules"], serving.rules, {result["rule_id"] for result in told})
            _add(content["personal"], serving.personal, set(line.tables))
            _add(content["lineage"], serving.lineage, _above(serving.lineage, line.tables))
    said = worst(line.verdict for line in made.values() if line.tables)
    return Release(
        id=built.id,
        created_at=datetime.now(UTC).isoformat(),
        run_id=run_id,
        base=built.base.id if built.base else None,
        lake=lake_identity(settings),
        lake_snapshot=built.lake_snapshot,
        verdict=said,
        project=built.project,
        tables={},
        gate={"verdict": said, "results": results, "seconds": gate.seconds},
        domains=made,
        **content,
    )


def _above(lineage: Mapping[str, Sequence[str]], tables: Sequence[str]) -> set[str]:
    """The tables with all that they are made from, as far as models made it."""
    found: set[str] = set()
    waiting = list(tables)
    while waiting:
        table = waiting.pop()
        if table not in found:
            found.add(table)
            waiting += lineage.get(table, ())
    return found


def _add(to: dict[str, Any], given: Mapping[str, Any], names: set[str]) -> None:
    to |= {name: value for name, value in given.items() if name in names}
