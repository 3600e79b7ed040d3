"""What the clock alone breaks: rules on the release that is served, while nothing new comes."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import duckdb

from expectations.gate import NO_VALUE, SAW_NO_ROWS, GateResult, RuleResult, failed_as, verdict
from expectations.offenders import aggregate, error_told, find, relation, within
from warehouse.duck import connect
from warehouse.releases import folder
from warehouse.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from expectations.rules import Rule
    from warehouse.releases import Release
    from warehouse.settings import Settings


def by_clock(settings: Settings, release: Release, rules: Iterable[Rule]) -> tuple[RuleResult, ...]:
    """What became, as it is now, of the rules on the release that look at the clock.

    Those that it was not audited by are left out. A gate that judged its tables today would find
    the same; it costs a small query a rule, and no Great Expectations.
    """
    before = {result["rule_id"]: result for result in release.gate.get("results", ())}
    ours = [
        rule
        for rule in rules
        if rule.looks_at_clock and rule.id in before and rule.table in release.tables
    ]
    if not ours:
        return ()
    results = [_as_told(rule, RuleResult.from_json(before[rule.id]), release) for rule in ours]
    try:
        with closing(_open(settings, release)) as con:
            return tuple(_judged(con, *pair, release) for pair in zip(ours, results, strict=True))
    except duckdb.Error as error:
        told = "the release cannot be opened: " + str(error).partition("\n")[0]
        return tuple(replace(result, status="error", detail=told) for result in results)


def as_of_now(release: Release, judged: Iterable[RuleResult]) -> GateResult:
    """The release's gate with what `judged` tells of some of its rules today."""
    told = GateResult.from_json(json.dumps(release.gate))
    now = {result.rule_id: result for result in judged}
    results = tuple(now.get(result.rule_id, result) for result in told.results)
    return replace(told, results=results, verdict=verdict(results) if now else told.verdict)


def _open(settings: Settings, release: Release) -> duckdb.DuckDBPyConnection:
    return connect(settings, settings.database(folder(settings, release.id)), read_only=True)


def _as_told(rule: Rule, before: RuleResult, release: Release) -> RuleResult:
    """The result that the release has, in the words that its rule has today."""
    return replace(
        before,
        table=rule.table,
        severity=rule.severity,
        reason=rule.reason,
        rows_checked=release.tables[rule.table],
        unexpected_count=0,
        columns=(),
        sample=(),
    )


def _judged(
    con: duckdb.DuckDBPyConnection, rule: Rule, result: RuleResult, release: Release
) -> RuleResult:
    source, personal = relation(rule.table), frozenset(release.personal.get(rule.table, ()))
    try:
        row = con.execute(f"select {within(rule, aggregate(rule))} from {source}").fetchone()
        if row and row[0]:
            return replace(result, status="pass", detail=counted(result.rows_checked, "row"))
        found = find(con, rule, source, None, personal)
        if row and row[0] is None:
            why = NO_VALUE if result.rows_checked else SAW_NO_ROWS
            return replace(result, status="error", detail=f"{why}: {found.detail}")
    except duckdb.Error as error:
        message = str(error).partition("\n")[0]
        return replace(result, status="error", detail=error_told(message, rule, personal))
    return replace(
        result, status=failed_as(rule), detail=found.detail, unexpected_count=found.count
    )
