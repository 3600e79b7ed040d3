"""Published tables beside their own past, by days and by runs."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from made import made_rule

from expectations.anomalies import Anomaly
from expectations.anomaly_kinds import kinds
from expectations.gate import GateResult, RuleResult, audit
from expectations.history import Shift, open_history
from expectations.past import unjudged
from expectations.profiling import Profile, Scalar
from expectations.rules import Rule

TABLE = "marts.payments"


def rule(check: Any, **parts: Any) -> Rule:
    return made_rule(check, TABLE, **parts)


def payments(*, days: int, last: str = "", growth: float = 0.0) -> str:
    """Some hundred payments a day, fewer at weekends; `last` changes those of the last day."""
    changed = f"if(day = date '2026-01-05' + {days - 1}, {last}, t)" if last else "t"
    return f"""
        create or replace table {TABLE} as
        with days as (select date '2026-01-05' + n::integer as day from range({days}) r(n)),
        rows as (
            select day, i, hash(day, i) % 1000 / 1000.0 as u, hash(i, day, 1) % 1000 / 1000.0 as v
            from days, range(400) r(i)
            where i < if(isodow(day) < 6, 300, 180) * (0.97 + hash(day) % 60 / 1000.0)
        ),
        payments as (
            select day, {{
                'id': (epoch(day) / 86400 * 1000 + i)::bigint,
                'paid_at': day + to_seconds((u * 86000)::bigint),
                'amount': round(exp(3 + v), 2),
                'kind': if(u < 0.6, 'card', if(u < 0.9, 'cash', 'cheque')),
                'customer': if(v < 0.02, null, (v * 5000)::bigint)
            }} as t
            from rows
        )
        select unnest({changed}) from payments"""


CHANGED_AMOUNT = (
    "{'id': t.id, 'paid_at': t.paid_at, 'amount': t.amount * 100, 'kind': t.kind,"
    " 'customer': t.customer}"
)
NO_CUSTOMER = (
    "{'id': t.id, 'paid_at': t.paid_at, 'amount': t.amount, 'kind': t.kind,"
    " 'customer': null::bigint}"
)
OTHER_KIND = (
    "{'id': t.id, 'paid_at': t.paid_at, 'amount': t.amount, 'kind': 'voucher',"
    " 'customer': t.customer}"
)


class Line:
    """Runs of one table and one rule, one after the other."""

    def __init__(self, settings, build, rule: Rule) -> None:
        self.settings, self.build, self.rule = settings, build, rule
        self.runs = 0

    def run(self, statement: str) -> RuleResult:
        self.runs += 1
        return self.result(statement).results[0]

    def result(self, statement: str) -> GateResult:
        database = self.build(statement)
        return audit(self.settings, database, {}, [self.rule], run_id=f"run {self.runs}")


DAILY = {
    "volume": rule("volume", by="paid_at"),
    "anomaly": rule("anomaly", by="paid_at"),
    "amount": rule("drift", columns=("amount",), by="paid_at"),
    "kind": rule("drift", columns=("kind",), by="paid_at", measure="psi"),
    "customer": rule("null_share", columns=("customer",), by="paid_at"),
}


@pytest.mark.parametrize("name", DAILY)
def test_days_like_the_others_pass(settings, build, name: str) -> None:
    line = Line(settings, build, DAILY[name])
    assert line.run(payments(days=40)).status == "pass"
    for days in (41, 42, 45):
        found = line.run(payments(days=days))
        assert found.status == "pass", found.detail
    assert found.detail == "3 days beside 42 days before"


@pytest.mark.parametrize(
    ("name", "last", "told"),
    [
        ("volume", "if(t.id % 3 = 0, t, null)", "rows"),
        ("amount", CHANGED_AMOUNT, "amount"),
        ("anomaly", CHANGED_AMOUNT, "amount"),
        ("kind", OTHER_KIND, "kind"),
        ("anomaly", OTHER_KIND, "kind"),
        ("customer", NO_CUSTOMER, "customer: null in 100 %"),
    ],
)
def test_a_day_unlike_the_others_fails(settings, build, name: str, last: str, told: str) -> None:
    line = Line(settings, build, DAILY[name])
    line.run(payments(days=40))
    found = line.run(payments(days=41, last=last))
    assert (found.status, found.unexpected_count > 0) == ("fail", True)
    assert told in found.detail
    assert "2026-02-14" in found.detail
    again = line.run(payments(days=41, last=last))
    assert again.status == "fail"  # it was not learnt
    assert line.run(payments(days=41)).status == "pass"


def test_an_accepted_day_passes_and_is_learnt(settings, build) -> None:
    line = Line(settings, build, rule("drift", columns=("amount",), by="paid_at"))
    line.run(payments(days=40))
    assert line.run(payments(days=41, last=CHANGED_AMOUNT)).status == "fail"
    with open_history(settings) as history:
        history.accept(history.waiting())
    assert line.run(payments(days=41, last=CHANGED_AMOUNT)).status in ("pass", "warn")
    with open_history(settings) as history:
        assert history.waiting() == []


def test_a_table_is_compared_by_runs_without_a_time(settings, build) -> None:
    line = Line(settings, build, rule("volume"))
    for days in range(30, 40):
        assert line.run(payments(days=days)).status == "pass"
    found = line.run(payments(days=10))
    assert found.status == "fail"
    assert "rows, usually" in found.detail


def test_nothing_is_remembered_of_a_build_that_is_not_published(settings, build) -> None:
    line = Line(settings, build, rule("expression", expression="amount < 0"))
    assert line.run(payments(days=3)).status == "fail"
    with open_history(settings) as history:
        assert history.profiles(TABLE, 10) == {}
    line.rule = replace(line.rule, expression="amount > 0")
    assert line.run(payments(days=3)).status == "pass"
    with open_history(settings) as history:
        (profile,) = history.profiles(TABLE, 10).values()
        assert profile.scalars["customer", "null_share"].value > 0


def test_freshness_without_a_bound_is_learnt(settings, build) -> None:
    line = Line(settings, build, rule("freshness", columns=("at",)))

    def aged(hours: float) -> str:
        moment = f"(now() at time zone 'UTC') - to_minutes({round(hours * 60)})"
        return f"create or replace table {TABLE} as select {moment} as at from range(5)"

    for number in range(12):
        assert line.run(aged(20 + number % 5)).status == "pass"
    found = line.run(aged(24 * 20))
    assert found.status == "fail", found.detail


def test_a_fixed_share_of_nulls(settings, build) -> None:
    line = Line(settings, build, rule("null_share", columns=("customer",), maximum=0.05))
    assert line.run(payments(days=3)).status == "pass"
    found = line.run(payments(days=3, last=NO_CUSTOMER))
    assert found.status == "fail"
    assert "at most 5.0 % is allowed" in found.detail


def test_a_distribution_beside_another_table(settings, build) -> None:
    beside = rule("drift", columns=("kind",), reference_table="marts.kinds", measure="js")
    line = Line(settings, build, beside)
    kinds = "create or replace table marts.kinds as select unnest({}) as kind"
    alike = kinds.format(
        "['card', 'card', 'card', 'card', 'card', 'card', 'cash', 'cash', 'cheque']"
    )
    database = build(payments(days=3), alike)
    rules = [line.rule, replace(rule("row_count", minimum=1), id="k", table="marts.kinds")]
    results = {found.rule_id: found for found in audit(settings, database, {}, rules).results}
    assert results["r"].status == "pass", results["r"].detail
    other = kinds.format("['voucher', 'cash']")
    database = build(payments(days=3), other)
    results = {found.rule_id: found for found in audit(settings, database, {}, rules).results}
    assert results["r"].status == "fail"
    assert "beside marts.kinds" in results["r"].detail


@pytest.mark.parametrize("measure", ["psi", "ks", "js"])
def test_columns_called_as_in_our_queries_and_flags_are_compared(
    settings, build, measure: str
) -> None:
    columns = ("label", "n", "rows")
    beside = rule("drift", columns=columns, reference_table="marts.other", measure=measure)
    table = "create or replace table marts.{} as select i % 2 = {} as label, i % 3 as n, i as rows"
    alike = [f"{table.format(name, 0)} from range(300) r(i)" for name in ("payments", "other")]
    other = f"{table.format('other', 9)} from range(300) r(i)"
    line = Line(settings, build, beside)
    rules = [line.rule, replace(rule("row_count", minimum=1), id="k", table="marts.other")]
    for statements, status in ((alike, "pass"), ([*alike, other], "fail")):
        result = audit(settings, build(*statements), {}, rules)
        found = next(found for found in result.results if found.rule_id == "r")
        assert found.status == status, found.detail
    assert "label" in found.detail


def test_drift_of_what_has_no_values_fails(settings, build) -> None:
    line = Line(settings, build, rule("drift", columns=("customer",), by="paid_at"))
    line.run(payments(days=12))
    found = line.run(payments(days=13, last=NO_CUSTOMER))
    assert found.status == "fail"
    assert "customer: no values whose spread could be compared" in found.detail


@pytest.mark.parametrize("name", ["volume", "amount", "kind"])
def test_a_new_rule_judges_the_days_that_are_not_served(settings, build, name: str) -> None:
    bad = {"volume": "if(t.id % 3 = 0, t, null)", "amount": CHANGED_AMOUNT, "kind": OTHER_KIND}
    shutil.copytree(build(payments(days=40)).parent, settings.current)
    line = Line(settings, build, DAILY[name])
    found = line.run(payments(days=41, last=bad[name]))
    assert (found.status, "2026-02-14" in found.detail) == ("fail", True)
    assert line.run(payments(days=41)).detail == "1 day beside 40 days before"


def test_a_new_table_beside_what_is_served_has_itself_as_past(settings, build) -> None:
    shutil.copytree(build("create table marts.other as select 1 as a").parent, settings.current)
    build("drop table marts.other")
    found = Line(settings, build, DAILY["volume"]).run(payments(days=40))
    assert (found.status, found.detail) == ("pass", "0 days beside 40 days before")


def test_what_cannot_be_compared_is_an_error(settings, build) -> None:
    line = Line(settings, build, rule("volume", by="nowhere"))
    found = line.run(payments(days=3))
    assert found.status == "error"
    assert "nowhere" in found.detail


def test_a_warning_publishes(settings, build) -> None:
    line = Line(settings, build, rule("volume", by="paid_at", severity="warning"))
    line.run(payments(days=40))
    line.runs += 1
    result = line.result(payments(days=41, last="if(t.id % 3 = 0, t, null)"))
    assert (result.verdict, result.results[0].status) == ("warn", "warn")


# -- what was accepted ------------------------------------------------------------------------

RAW = "raw_shop.payments"
LOADED = datetime(2026, 2, 14, 12)  # noqa: DTZ001 - the last of 41 days


def accept_all(settings) -> list[Shift]:
    with open_history(settings) as history:
        found = history.open_shifts()
        history.accept(found)
        return found


def load_accepted(settings, *names: tuple[str, str]) -> None:
    """A batch of the last day that was accepted for these, and loaded."""
    scalars = {(c, "null_share"): Scalar(0.0, "share", 300) for c in ("amount", "kind", "customer")}
    with open_history(settings) as history:
        history.note(Shift(RAW, "b1", LOADED, names, "unlike", is_accepted=True))
        history.keep(RAW, "r", {"b1": Profile(LOADED, 300, scalars)})


def audited(line: Line, statement: str) -> RuleResult:
    line.runs += 1
    return audit(
        line.settings,
        line.build(statement),
        {},
        [line.rule],
        run_id=f"run {line.runs}",
        lineage={TABLE: ["staging.payments"], "staging.payments": [RAW]},
    ).results[0]


def test_an_accepted_batch_is_accepted_in_the_tables_made_from_it(settings, build) -> None:
    line = Line(settings, build, rule("anomaly", by="paid_at"))
    line.run(payments(days=40))
    load_accepted(settings, ("amount", "mean"), ("amount", "values"))
    found = audited(line, payments(days=41, last=CHANGED_AMOUNT))
    assert found.status == "pass", found.detail
    with open_history(settings) as history:
        assert history.open_shifts() == []
        assert [s.slice for s in history.shifts(f"{TABLE} by paid_at")] == ["2026-02-14"]


@pytest.mark.parametrize(
    ("names", "days", "last"),
    [
        pytest.param([("amount", "mean")], 41, OTHER_KIND, id="a column as ever in the batch"),
        pytest.param([("amount", "mean")], 41, NO_CUSTOMER, id="nulls"),
        pytest.param([("amount", "mean")], 42, CHANGED_AMOUNT, id="another day"),
        pytest.param([("kind", "labels")], 41, CHANGED_AMOUNT, id="another column"),
    ],
)
def test_an_accepted_batch_covers_nothing_else(
    settings, build, names: list[tuple[str, str]], days: int, last: str
) -> None:
    line = Line(settings, build, rule("anomaly", by="paid_at"))
    line.run(payments(days=40))
    load_accepted(settings, *names)
    assert audited(line, payments(days=days, last=last)).status == "fail"


def test_an_accepted_batch_is_accepted_once_where_runs_are_compared(settings, build) -> None:
    line = Line(settings, build, rule("volume"))
    for days in range(30, 40):
        line.run(payments(days=days))
    load_accepted(settings, ("", "rows"))
    for _ in range(4):  # it was learnt, and three more settle it
        assert audited(line, payments(days=10)).status == "pass"
    assert audited(line, payments(days=39)).status == "fail"


def test_an_accepted_run_is_learnt_by_the_next_one(settings, build) -> None:
    line = Line(settings, build, rule("volume"))
    for days in range(30, 40):
        line.run(payments(days=days))
    assert line.run(payments(days=10)).status == "fail"
    (stopped,) = accept_all(settings)
    assert (stopped.subject, stopped.stops) == (TABLE, True)
    for _ in range(4):
        assert line.run(payments(days=10)).status == "pass"
    assert line.run(payments(days=39)).status == "fail"


def test_after_an_accepted_odd_run_the_usual_one_passes(settings, build) -> None:
    line = Line(settings, build, rule("volume"))
    for days in range(30, 40):
        line.run(payments(days=days))
    assert line.run(payments(days=10)).status == "fail"
    accept_all(settings)
    for days in (10, 40, 41, 42, 43):
        assert line.run(payments(days=days)).status == "pass", days
    assert line.run(payments(days=10)).status == "fail"


def test_what_was_only_told_is_accepted_and_learnt(settings, build) -> None:
    daily = rule("drift", columns=("amount",), by="paid_at", severity="warning")
    line = Line(settings, build, daily)
    line.run(payments(days=40))
    shifted = payments(days=43).replace("exp(3 + v)", "exp(if(day >= date '2026-02-14', 7, 3) + v)")
    first, second = (shifted.replace("range(43)", f"range({days})") for days in (41, 42))
    assert line.run(first).status == "warn"
    (told,) = accept_all(settings)
    assert (told.stops, told.slice) == (False, "2026-02-14")
    assert line.run(second).status == "pass"
    assert line.run(shifted).status == "pass"


def test_kinds_tell_faults_apart_and_not_the_numbers_that_one_fault_moves() -> None:
    def anomaly(column: str, metric: str) -> Anomaly:
        return Anomaly((column, metric), unjudged(1.0), stops=True, told=f"{column} {metric}")

    cents = [anomaly("amount", m) for m in ("mean", "values", "greatest")] + [
        anomaly("customer and amount", "sum_each")
    ]
    assert kinds(cents) == (
        (
            "amount: values",
            "amount mean; amount values; amount greatest; customer and amount sum_each",
        ),
    )
    others = [anomaly("amount", "null_share"), anomaly("", "rows"), anomaly("day", "greatest")]
    assert [kind for kind, _ in kinds(others)] == ["amount: nulls", "rows", "day: extremes"]
