"""The gate: every rule on a build, and one verdict on whether the build may be published."""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import duckdb

from expectations.lake_looks import attach_for
from expectations.offenders import Finding, error_told, find, relation
from expectations.rules import LEARNED, PUBLISHED, Boundary, Check, Rule, Severity
from warehouse.domains import MAIN
from warehouse.duck import connect, identifier
from warehouse.errors import BuildError
from warehouse.progress import Progress, untold
from warehouse.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from expectations.comparing import Comparison
    from expectations.compilation import Outcome
    from warehouse.settings import Settings

Status = Literal["pass", "info", "warn", "fail", "error", "carried", "unseen"]
Verdict = Literal["pass", "warn", "block", "error"]

# What keeps a check from being made, and is no fault of its rule.
SAW_NO_ROWS = "the check saw no rows"
NO_VALUE = "there is nothing to compare"  # though there are rows
NO_GATE = ("Great Expectations cannot be imported", "the gate's process ended")
NOT_BUILT = "is not in the build"
NO_TABLE = "published relations are tables"

_NONE: Mapping[str, Any] = MappingProxyType({})
# From this share of changed rows on, reading the whole table costs less than setting them apart.
_MOST_CHANGED = 0.03


@dataclass(frozen=True)
class TableScope:
    """Which rows of a published table to audit.

    `changed` is the relation in the build that holds the changed keys in its column `key`; None
    audits the whole table. Of the columns `personal` no value is told. `materialized` is dbt's word
    for how the model is made, empty if unknown.
    """

    table: str
    changed: str | None = None
    key: str | None = None
    personal: frozenset[str] = frozenset()
    materialized: str = ""


@dataclass(frozen=True)
class RuleResult:
    """What became of one rule.

    `carried` means: nothing it reads has changed since the base release, where it held; `info` that
    a rule of that severity does not hold, which is shown and is no warning; `unseen` that a raw
    rule had nothing to look at in this run. `sample` has up to 20 of the rows that break it, as
    texts, with the values of `columns`. `kinds` are in which ways a table is unlike before, each
    with what is told of it.
    """

    rule_id: str
    table: str
    boundary: Boundary
    check: Check | Literal["suite"]
    severity: Severity
    status: Status
    rows_checked: int
    unexpected_count: int
    detail: str
    reason: str
    columns: tuple[str, ...] = ()
    sample: tuple[tuple[str | None, ...], ...] = ()
    kinds: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> RuleResult:
        """The result whose `asdict` went through JSON, by this or an earlier version."""
        columns, sample = content.get("columns", ()), content.get("sample", ())
        lists = {"columns": tuple(columns), "sample": tuple(tuple(row) for row in sample)}
        lists["kinds"] = tuple((kind, told) for kind, told in content.get("kinds", ()))
        is_info = (content["status"], content["severity"]) == ("warn", "info")
        return cls(**content | lists | ({"status": "info"} if is_info else {}))


@dataclass(frozen=True)
class GateResult:
    """The verdict on a build with the results that led to it; `seconds` without start-up.

    `lag` says why what the tables look like could not be remembered: that changes no verdict.
    """

    verdict: Verdict
    results: tuple[RuleResult, ...]
    seconds: float
    lag: str = ""

    def to_json(self) -> str:
        """This result as a JSON object."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> GateResult:
        """The result that `to_json` wrote."""
        content = json.loads(text)
        results = tuple(RuleResult.from_json(result) for result in content["results"])
        return cls(content["verdict"], results, content["seconds"])


@dataclass(frozen=True)
class _Batch:
    """Rows to check together: a whole table, or its changed rows in a temporary one."""

    source: str
    rows: int
    key: str | None
    rules: tuple[Rule, ...] = ()
    personal: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Plan:
    """What to check of one table, and the results that need no check."""

    settled: tuple[RuleResult, ...]
    batches: tuple[_Batch, ...] = ()


def audit(
    settings: Settings,
    database: Path,
    scopes: Mapping[str, TableScope],
    rules: Sequence[Rule],
    carried: Mapping[str, RuleResult] = _NONE,
    base_rule_hashes: Mapping[str, str] = _NONE,
    *,
    run_id: str = "",
    lake_snapshot: int | None = None,
    domains: Mapping[str, str] = _NONE,
    lineage: Mapping[str, Sequence[str]] = _NONE,
    progress: Progress = untold,
) -> GateResult:
    """The verdict of `rules` on the build in `database`, which is left as it was, and closed.

    `scopes` are by table; a table without one is audited whole. `carried` and `base_rule_hashes`
    are the base release's results and rule hashes, by rule id: a rule runs on the changed rows
    alone when it is the same as then and held then, and on the whole table otherwise. Rules for
    tables that are neither in `scopes` nor in the build are left out. Those that look into the
    lake see it as it was at `lake_snapshot`, which the build was made from. What the tables look
    like is remembered for later runs under `run_id`, if the verdict on its domain lets it be
    published; `domains` are by table, `lineage` has the tables that each is made from.

    Raises BuildError when the build cannot be opened.
    """
    from expectations.comparing import Comparison
    from expectations.history import open_history
    from warehouse.imports import garbage_collection_paused

    try:
        load()
    except Exception as error:  # whatever a broken installation raises
        return unchecked(rules, f"{NO_GATE[0]}: {error}")
    started = time.perf_counter()
    with (
        garbage_collection_paused(),
        closing(_open(settings, database)) as con,
        closing(_open(settings, database)) as beside,  # Great Expectations closes the other
        open_history(settings) as history,
    ):
        personal = {table: scope.personal for table, scope in scopes.items()}
        served = partial(_open_served, settings)
        comparison = Comparison(beside, history, run_id, personal, lineage, served)
        blind = attach_for(con, settings, rules, lake_snapshot)
        planner = _Planner(con, scopes, carried, base_rule_hashes, blind)
        results = tuple(_results(con, planner, rules, comparison, progress))
        said = verdict(results)
        comparison.finish(_passed(results, domains))
        lag = history.lag or ""
    return GateResult(said, results, time.perf_counter() - started, lag)


def load() -> None:
    """Import all that an audit needs, once; later calls cost nothing."""
    from expectations.gx_loading import load_great_expectations

    load_great_expectations()
    import expectations.comparing
    import expectations.compilation  # noqa: F401


def unchecked(rules: Sequence[Rule], why: str) -> GateResult:
    """The result of a gate that could check nothing: an error of every rule."""
    results = tuple(_result(rule, "error", detail=why) for rule in rules)
    return GateResult(verdict(results), results, 0.0)


def verdict(results: Iterable[RuleResult]) -> Verdict:
    """The worst that the results call for; a gate that checked nothing is an error."""
    statuses = {result.status for result in results}
    if not statuses or "error" in statuses:
        return "error"
    if "fail" in statuses:
        return "block"
    return "warn" if "warn" in statuses else "pass"


def _passed(results: Sequence[RuleResult], domains: Mapping[str, str]) -> list[str]:
    """The tables of the domains that may be published."""
    found: dict[str, list[RuleResult]] = {}
    for result in results:
        found.setdefault(domains.get(result.table, MAIN), []).append(result)
    passed = [told for told in found.values() if verdict(told) in ("pass", "warn")]
    return sorted({result.table for told in passed for result in told})


def _open(settings: Settings, database: Path) -> duckdb.DuckDBPyConnection:
    try:
        return connect(settings, database, read_only=True)
    except duckdb.Error as error:
        raise BuildError(
            f"the build cannot be opened for its audit: {error}",
            where=str(database),
            next_step="run the build again",
        ) from error


def _open_served(settings: Settings) -> duckdb.DuckDBPyConnection | None:
    """The release that is served; None where none is, or it does not open: doctor tells."""
    database = settings.database(settings.current)
    if not database.exists():
        return None
    try:
        return connect(settings, database.resolve(), read_only=True)
    except duckdb.Error:
        return None


class _Planner:
    """Decides which rows each rule reads."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        scopes: Mapping[str, TableScope],
        base: Mapping[str, RuleResult],
        base_rule_hashes: Mapping[str, str],
        blind: Mapping[str, str],
    ) -> None:
        self._con = con
        self._scopes = scopes
        self._base = base
        self._base_rule_hashes = base_rule_hashes
        self._blind = blind  # by rule id, why it cannot be judged

    def plans(self, rules: Sequence[Rule]) -> Iterator[_Plan]:
        """A plan for every table that is in the build or ought to be."""
        built = _published_tables(self._con)
        for table in sorted({*built, *self._scopes}):
            speaking = [rule for rule in rules if rule.table == table]
            if not speaking:
                yield _Plan((_no_rules(table),))
            elif table in built:
                yield _Plan(tuple(self._unjudged(speaking)))
                seeing = [rule for rule in speaking if rule.id not in self._blind]
                yield self._plan(self._scopes.get(table, TableScope(table)), seeing)
            else:
                detail = _absent(self._scopes[table])
                yield _Plan(tuple(_result(rule, "error", detail=detail) for rule in speaking))

    def _unjudged(self, rules: Sequence[Rule]) -> Iterator[RuleResult]:
        for rule in rules:
            if rule.id in self._blind:
                yield _result(rule, "error", detail=self._blind[rule.id])

    def _plan(self, scope: TableScope, rules: Sequence[Rule]) -> _Plan:
        table = relation(scope.table)
        whole = _Batch(table, self._count(table), scope.key, personal=scope.personal)
        narrow = tuple(rule for rule in rules if self._may_narrow(rule, scope))
        changed = self._changed(scope, whole.rows) if narrow else None
        if changed is None:
            return _settled(replace(whole, rules=tuple(rules)))
        wide = replace(whole, rules=tuple(rule for rule in rules if rule not in narrow))
        if changed.rows:
            return _settled(replace(changed, rules=narrow), wide)
        carried = tuple(replace(self._base[rule.id], status="carried") for rule in narrow)
        return _settled(wide, carried=carried)

    def _may_narrow(self, rule: Rule, scope: TableScope) -> bool:
        """Whether the rule's outcome on unchanged rows is known: it held, and is the same."""
        base = self._base.get(rule.id)
        if rule.check == "unique" and scope.key not in rule.columns:
            return False  # a changed row may repeat the other key of an unchanged one
        return (
            rule.is_row_level
            and base is not None
            and base.status in ("pass", "carried")
            and self._base_rule_hashes.get(rule.id) == rule.hash
        )

    def _changed(self, scope: TableScope, rows: int) -> _Batch | None:
        """The table's changed rows set apart; None when the whole table is to be read."""
        if scope.changed is None or scope.key is None or not rows:
            return None
        changed, key = relation(scope.changed), identifier(scope.key)
        try:
            if self._count(changed) > _MOST_CHANGED * rows:
                return None
        except duckdb.CatalogException:  # nobody says what changed: everything may have
            return None
        source = "temp.main." + identifier(f"changed rows of {scope.table}")
        table = f"select * from {relation(scope.table)}"
        # A row without a key is in no list of changed keys: any may have changed.
        self._con.execute(
            f"create temporary table {source} as"
            f" {table} where {key} in (select {key} from {changed})"
            f" union all {table} where {key} is null"
        )
        return _Batch(source, self._count(source), scope.key, personal=scope.personal)

    def _count(self, source: str) -> int:
        row = self._con.execute(f"select count(*) from {source}").fetchone()
        return int(row[0]) if row else 0


def _absent(scope: TableScope) -> str:
    """Why there is no such table."""
    kind = {"view": "a view", "ephemeral": "ephemeral"}.get(scope.materialized)
    if kind is None:
        return f"{scope.table} {NOT_BUILT}"
    return f"{scope.table} is {kind}: {NO_TABLE}; set materialized to table or incremental"


def _settled(*batches: _Batch, carried: tuple[RuleResult, ...] = ()) -> _Plan:
    """The plan for `batches`, where a check that would see no rows is settled as an error."""
    unseen = [
        rule for batch in batches if not batch.rows for rule in batch.rules if _reads_rows(rule)
    ]
    errors = tuple(_result(rule, "error", detail=SAW_NO_ROWS) for rule in unseen)
    remaining = (
        replace(batch, rules=tuple(rule for rule in batch.rules if rule not in unseen))
        for batch in batches
    )
    return _Plan((*carried, *errors), tuple(batch for batch in remaining if batch.rules))


def _results(
    con: duckdb.DuckDBPyConnection,
    planner: _Planner,
    rules: Sequence[Rule],
    comparison: Comparison,
    progress: Progress,
) -> Iterator[RuleResult]:
    from expectations.compilation import validation

    plans = list(planner.plans(rules))
    sources = [batch.source for plan in plans for batch in plan.batches]
    compared = {rule.id: rule for rule in rules}
    done = 0
    with validation(con, sources, lambda id_: comparison.unlike(compared[id_]).holds) as checks:
        for plan in plans:
            yield from plan.settled
            done += len(plan.settled)
            for batch in plan.batches:
                progress(done, len(rules), "rule", batch.rules[0].table)
                done += len(batch.rules)
                outcomes = checks.outcomes(batch.source, batch.rules)
                for rule in batch.rules:
                    if rule.check in LEARNED or rule.is_learned:
                        yield _compared(comparison, rule, outcomes[rule.id], batch)
                    else:
                        yield _explained(con, rule, outcomes[rule.id], batch)


def _explained(
    con: duckdb.DuckDBPyConnection, rule: Rule, outcome: Outcome, batch: _Batch
) -> RuleResult:
    saw_nothing = outcome.error == SAW_NO_ROWS
    if outcome.error and not saw_nothing:
        told = error_told(outcome.error, rule, batch.personal)
        return _result(rule, "error", batch.rows, detail=told)
    if outcome.holds and (rule.mostly >= 1 or outcome.unexpected == 0):
        return _result(rule, "pass", batch.rows, detail=counted(batch.rows, "row"))
    try:
        finding = find(con, rule, batch.source, batch.key, batch.personal)
    except duckdb.Error as error:
        told = error_told(str(error), rule, batch.personal)
        return _result(rule, "error", batch.rows, detail=told)
    if saw_nothing:
        why = NO_VALUE if batch.rows else SAW_NO_ROWS
        return _result(rule, "error", batch.rows, detail=f"{why}: {finding.detail}")
    status = "pass" if outcome.holds else failed_as(rule)
    return _with_finding(_result(rule, status, batch.rows), finding)


def _with_finding(result: RuleResult, found: Finding) -> RuleResult:
    return replace(
        result,
        unexpected_count=found.count,
        detail=found.detail,
        columns=found.columns,
        sample=found.sample,
    )


def _compared(comparison: Comparison, rule: Rule, outcome: Outcome, batch: _Batch) -> RuleResult:
    """What became of a rule that compares with the past; of a critical one it may also warn."""
    if outcome.error:
        return _result(rule, "error", batch.rows, detail=outcome.error)
    unlike = comparison.unlike(rule)
    if not outcome.holds:
        stopped = _result(rule, failed_as(rule), batch.rows, detail="; ".join(unlike.stopping))
        return replace(stopped, unexpected_count=len(unlike.stopping), kinds=unlike.kinds)
    if unlike.told:
        warned = _result(rule, told_as(rule.severity), batch.rows, detail="; ".join(unlike.told))
        return replace(warned, unexpected_count=len(unlike.told), kinds=unlike.kinds)
    return _result(rule, "pass", batch.rows, detail=unlike.compared)


def _published_tables(con: duckdb.DuckDBPyConnection) -> set[str]:
    rows = con.execute(
        "select schema_name || '.' || table_name from duckdb_tables()"
        " where not internal and not temporary and list_contains(?, schema_name)",
        [list(PUBLISHED)],
    ).fetchall()
    return {row[0] for row in rows}


def _reads_rows(rule: Rule) -> bool:
    """Whether finding no rows means that nothing was checked."""
    return rule.check not in ("row_count", "distinct_count", "aggregate", "total", "columns")


def failed_as(rule: Rule) -> Status:
    """What a rule that does not hold is told as."""
    return "fail" if rule.severity == "critical" else told_as(rule.severity)


def told_as(severity: Severity) -> Status:
    """What a breach that stops nothing is told as."""
    return "info" if severity == "info" else "warn"


def _result(rule: Rule, status: Status, rows: int = 0, detail: str = "") -> RuleResult:
    return RuleResult(
        rule_id=rule.id,
        table=rule.table,
        boundary=rule.boundary,
        check=rule.check,
        severity=rule.severity,
        status=status,
        rows_checked=rows,
        unexpected_count=0,
        detail=detail,
        reason=rule.reason,
    )


def _no_rules(table: str) -> RuleResult:
    boundary: Boundary = "features" if table.startswith("features.") else "marts"
    return RuleResult(
        rule_id=f"{table.partition('.')[2]}_has_rules",
        table=table,
        boundary=boundary,
        check="suite",
        severity="critical",
        status="error",
        rows_checked=0,
        unexpected_count=0,
        detail=f"no rule speaks of {table}",
        reason="what nobody checks must not be published",
    )
