"""What the report costs: a made-up run with something to tell of every kind."""

from __future__ import annotations

import math
import random
import statistics
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, Options
from benchmarks.measure import cpu_seconds_of
from expectations.gate import GateResult, RuleResult, verdict
from expectations.incidents import Incident, Symptom
from expectations.missing import (
    Dependence,
    Imputation,
    LittleTest,
    MissingColumn,
    MissingPattern,
    TableMissing,
)
from expectations.report import (
    NewestValue,
    RunReport,
    SourceReport,
    StageReport,
    TableReport,
    write_report,
)
from expectations.trends import Trend, TrendPoint
from warehouse.arrived import ArrivedFile, SourceArrivals
from warehouse.settings import Settings
from warehouse.waiting import Held, Refused, Waiting

NOW = datetime(2026, 11, 21, 6, 15, tzinfo=UTC)
REPEATS = 5
SIZES = ((50, 20), (200, 20))  # tables, rules of each
COLUMNS = ("order_id", "customer_id", "status", "amount_cents", "ordered_at", "country", "note")
CHECKS = ("not_null", "unique", "between", "in_set", "regex", "references", "expression")
METRICS = ("row count", "null share", "distinct count", "median", "freshness")


def measure(options: Options) -> tuple[list[Figure], dict[str, Any]]:
    """Medians of five; each follows a report of a run in which other rules were broken."""
    figures = []
    for tables, rules in SIZES:
        name = f"{tables} tables, {tables * rules:,} rules"
        settings = Settings(options.folder(f"report-{tables}"), 2, "1GiB")
        write_report(settings, made_up(options.seed, tables, rules, "run-1"))
        seconds = []
        for n in range(REPEATS):
            run = made_up(options.seed + 1, tables, rules, f"run-{n + 2}")
            seconds.append(cpu_seconds_of(partial(write_report, settings, run)))
        size = folder_bytes(settings.reports / "run-2") / 1e6
        first = (settings.reports / "run-2" / "index.html").stat().st_size / 1e6
        bars = (2.0, 1.5) if tables == 50 else (None, None)
        figures += [
            Figure(f"report of {name}", statistics.median(seconds), "CPU s", at_most=bars[0]),
            Figure(f"its folder, {name}", size, "MB", at_most=bars[1]),
            Figure(f"its first page, {name}", first, "MB"),
        ]
    return figures, {}


def folder_bytes(folder: Path) -> int:
    """The bytes of all files in the folder and below."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def made_up(
    seed: int, tables: int, rules: int, run_id: str = "run-1", *, broken: float = 0.06
) -> RunReport:
    """A run of so many tables with so many rules each, of which a share is broken."""
    chance = random.Random(seed)
    names = _names(tables)
    results = tuple(_result(chance, table, n, broken) for table in names for n in range(rules))
    gate = GateResult(verdict(results), results, 4.2)
    stages = ("land", "load", "build", "audit", *(["publish"] * (gate.verdict in ("pass", "warn"))))
    sources = [f"shop.source_{n}" for n in range(max(1, tables // 10))]
    return RunReport(
        run_id=run_id,
        started_at=NOW,
        status="done" if gate.verdict in ("pass", "warn") else "blocked",
        verdict=gate.verdict,
        release="20261121T061500000000",
        lake_snapshot=412,
        sources=tuple(
            SourceReport(s, chance.randrange(9000), chance.randrange(4)) for s in sources
        ),
        stages=tuple(StageReport(name, "done", chance.random() * 5) for name in stages),
        tables=tuple(_table(chance, name) for name in names),
        gate=gate,
        steps={r.rule_id: _steps(r.table) for r in results if r.status == "fail"},
        message=_blocked(results) if gate.verdict == "block" else "",
        waiting=Waiting(
            tuple(
                Held(s, "orders-2026-11-20.csv", "not_of_type", 3, 41, "not of the type: amount", 3)
                for s in sources
            ),
            (Refused(sources[0], "orders-2026-11-19.csv", "the column amount is gone"),),
        ),
        arrivals=tuple(_arrivals(chance, s) for s in sources),
        lineage=_lineage(names, sources),
        incidents=_incidents(results),
        missing=tuple(_missing(name) for name in names[:: max(1, tables // 10)]),
        trends=(
            *(_trend(chance, t, c, m) for t in names for c, m in _watched()),
            Trend(names[0], "note", "null share", (TrendPoint(NOW, 0.6, None, None, False),)),
        ),
    )


def _names(tables: int) -> list[str]:
    kinds = ("marts.fct_", "marts.dim_", "features.feat_")
    areas = ("orders", "payments", "customers", "returns", "stock", "visits", "campaigns")
    return [f"{kinds[n % 3]}{areas[n % 7]}_{n}" for n in range(tables)]


def _watched() -> list[tuple[str, str]]:
    return [("", "row count"), *((c, m) for c in COLUMNS[:5] for m in METRICS[1:])]


def _result(chance: random.Random, table: str, n: int, broken: float) -> RuleResult:
    check = CHECKS[n % len(CHECKS)]
    column = COLUMNS[n % len(COLUMNS)]
    severity = "critical" if n % 3 == 0 else "warning"
    name = table.partition(".")[2]
    held = RuleResult(
        rule_id=f"{name}_{column}_{check}_{n}",
        table=table,
        boundary="features" if table.startswith("features") else "marts",
        check=check,  # type: ignore[arg-type]
        severity=severity,  # type: ignore[arg-type]
        status="pass",
        rows_checked=1_000_000,
        unexpected_count=0,
        detail="1,000,000 rows",
        reason=f"dashboards and models read {column} and cannot do with another value in it",
    )
    if chance.random() >= broken:
        return held
    count = chance.randrange(1, 5000)
    shown = tuple(_row(chance) for _ in range(min(count, 20)))
    return replace(
        held,
        status="fail" if severity == "critical" and chance.random() < 0.3 else "warn",
        unexpected_count=count,
        detail=f"{count:,} rows break it, e.g. order_id=1, customer_id=•••; order_id=2",
        columns=("order_id", "customer_id", "status", "amount_cents", "ordered_at"),
        sample=shown,
    )


def _row(chance: random.Random) -> tuple[str | None, ...]:
    amount = None if chance.random() < 0.2 else str(chance.randrange(-500, 90_000))
    return (str(chance.randrange(10**9)), "•••", "unknown", amount, "2026-11-20 18:04:11")


def _blocked(results: tuple[RuleResult, ...]) -> str:
    bad = [result for result in results if result.status == "fail"]
    return (
        f"{bad[0].table}: the gate says block: {bad[0].rule_id}: {bad[0].detail} (and"
        f" {len(bad) - 1} more)\n  next: nothing was published, the last release is still served"
    )


def _steps(table: str) -> tuple[str, ...]:
    rows = "ask the sender of shop.orders for a corrected file, or mend the rule, if it is wrong"
    return rows, f"`clearwater accept {table}` if it is meant so"


def _table(chance: random.Random, name: str) -> TableReport:
    newest = NOW.replace(tzinfo=None) - timedelta(minutes=chance.randrange(20, 9000))
    kinds = ("BIGINT", "BIGINT", "VARCHAR", "BIGINT", "TIMESTAMP", "VARCHAR", "VARCHAR")
    return TableReport(
        name,
        chance.randrange(1000, 20_000_000),
        tuple(zip(COLUMNS, kinds, strict=True)),
        (NewestValue("ordered_at", newest),),
        ("customer_id",),
    )


def _arrivals(chance: random.Random, source: str) -> SourceArrivals:
    files = tuple(
        ArrivedFile(
            f"{source.partition('.')[2]}-2026-11-{20 - n}.csv",
            NOW.replace(tzinfo=None) - timedelta(days=n, hours=chance.randrange(1, 20)),
            9000 + n,
            9000,
        )
        for n in range(5)
    )
    return SourceArrivals(source, 325, 2_900_000, files)


def _lineage(names: list[str], sources: list[str]) -> dict[str, tuple[str, ...]]:
    above: dict[str, tuple[str, ...]] = {}
    for n, source in enumerate(sources):
        above[f"staging.stg_shop__source_{n}"] = (f"raw_{source}",)
    for n, name in enumerate(names):
        stage = f"staging.stg_shop__source_{n % len(sources)}"
        others = (names[n - 3],) if n >= 3 and n % 2 else ()
        above[name] = (stage, *others)
    return above


def _incidents(results: tuple[RuleResult, ...]) -> tuple[Incident, ...]:
    broken = [r for r in results if r.status in ("fail", "warn")][:9]
    symptoms = tuple(Symptom(r.rule_id, r.table, r.boundary, "4 rows break it") for r in broken)
    if not broken:
        return ()
    shown = Incident(
        id="inc-7f3a",
        title=f"{broken[0].table} has amounts out of bounds",
        severity="critical",
        root=broken[0].table,
        opened_at=NOW - timedelta(hours=5),
        last_seen_at=NOW,
        closed_at=None,
        runs=3,
        acknowledged_by="",
        acknowledged_at=None,
        note="",
        symptoms=symptoms,
    )
    seen = replace(
        shown,
        id="inc-51c0",
        title="shop.source_0 delivers the status in another language",
        severity="warning",
        opened_at=NOW - timedelta(days=4),
        acknowledged_by="mira",
        acknowledged_at=NOW - timedelta(days=3),
        note="the shop deploys a correction on Monday",
        symptoms=symptoms[:2],
    )
    ended = replace(seen, id="inc-40aa", title="A late delivery", closed_at=NOW - timedelta(days=1))
    return (shown, seen, ended)


def _missing(table: str) -> TableMissing:
    rows = 1_000_000
    return TableMissing(
        table=table,
        rows=rows,
        analysed_rows=20_000,
        analysed_at=NOW,
        columns=(
            MissingColumn("country", 120_000, 0.12),
            MissingColumn("note", 640_000, 0.64),
            MissingColumn("amount_cents", 400, 0.0004),
        ),
        patterns=(
            MissingPattern((), 310_000, 0.31),
            MissingPattern(("note",), 570_000, 0.57),
            MissingPattern(("country", "note"), 119_600, 0.1196),
            MissingPattern(("country", "note", "amount_cents"), 400, 0.0004),
        ),
        is_monotone=True,
        complete_rows=310_000,
        dependences=(
            Dependence("country", "ordered_at", "Mann–Whitney", 0.31, "rank-biserial", 1e-9),
            Dependence("note", "status", "chi-square", 0.22, "Cramér's V", 0.004),
        ),
        little=LittleTest(412.7, 9, 1e-7, 20_000, ("amount_cents", "country")),
        little_note="",
        notes=("no test can tell whether values are missing because of what they would have been",),
        imputations=(
            Imputation("amount_cents", "median", 1.01, "NRMSE", 0.98, 1.05, 500, False),
            Imputation("amount_cents", "kNN", 0.61, "NRMSE", 0.57, 0.66, 500, False),
            Imputation("amount_cents", "iterative", 0.55, "NRMSE", 0.51, 0.58, 500, True),
            Imputation("country", "mode", 0.42, "share wrong", 0.39, 0.45, 500, True),
            Imputation("country", "kNN", 0.41, "share wrong", 0.37, 0.44, 500, False),
        ),
    )


def _trend(chance: random.Random, table: str, column: str, metric: str) -> Trend:
    level = chance.uniform(0.01, 0.4) if "share" in metric else chance.uniform(100, 100_000)
    points = []
    for n in range(60):
        expected = level * (1 + 0.1 * math.sin(n * math.tau / 7))
        value = expected * chance.gauss(1, 0.03)
        is_last_odd = n == 59 and chance.random() < 0.005
        value *= 1.6 if is_last_odd else 1
        low, high = (expected * 0.88, expected * 1.12) if n >= 8 else (None, None)
        at = NOW - timedelta(days=59 - n)
        points.append(TrendPoint(at, value, low, high, is_last_odd))
    return Trend(table, column, metric, tuple(points))
