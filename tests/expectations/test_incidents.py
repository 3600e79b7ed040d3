"""Incidents: which failures are one cause, and what becomes of an incident over the runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expectations.following import follow
from expectations.incidents import (
    FLAPPING,
    Incident,
    Observation,
    Symptom,
    Tracked,
    in_order,
    incidents_for_report,
    stale_sources,
)
from expectations.root_causes import OVERDUE, REFUSED, STALE, Cause, Failure, Weight, causes
from warehouse.errors import StateError
from warehouse.incident_log import Told, open_incident_log
from warehouse.settings import Settings
from warehouse.state import open_state

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
# raw → stg → fct → (daily, feat); raw → other
LINEAGE = {
    "stg": ["raw"],
    "fct": ["stg"],
    "daily": ["fct"],
    "feat": ["fct", "dim"],
    "dim": ["stg"],
    "other": ["raw"],
    "apart": ["far"],
}


def failure(
    table: str,
    rule: str = "complete",
    *,
    weight: Weight = Weight.BLOCKING,
    check: str = "not_null",
    subject: str = "amount",
    is_by_rows: bool = False,
    refers_to: str = "",
    unlike: tuple[str, ...] = (),
) -> Failure:
    symptom = Symptom(f"{table}_{rule}", table, "marts", "1 row breaks it")
    return Failure(symptom, weight, check, subject, is_by_rows, refers_to, unlike)


def refused(table: str) -> Failure:
    symptom = Symptom("refused_batch", table, "raw", "a.csv: torn")
    return Failure(symptom, Weight.CRITICAL, REFUSED)


def grouped(
    *failures: Failure, lineage: Mapping[str, Iterable[str]] = LINEAGE, new: bool = True
) -> dict[str, list[str]]:
    """Root: tables that fail because of it."""
    found: list[Cause] = causes(failures, lineage, lambda _: new)
    return {cause.root: [f.symptom.table for f in cause.failures] for cause in found}


def ran(hours: float, *failures: Failure, checked: bool = True) -> Observation:
    at = NOON + timedelta(hours=hours)
    return Observation(at, failures, LINEAGE, lambda _: checked)


def after(*runs: Observation) -> list[Tracked]:
    known: list[Tracked] = []
    for run in runs:
        known = follow(known, run)
    return known


def gone(hours: float) -> Observation:
    """A run that finds nothing failing, for what failed is no longer there."""
    return replace(ran(hours, checked=False), removed=lambda _: True)


def only(tracked: list[Tracked]) -> Incident:
    (one,) = tracked
    return one.incident


def test_what_was_removed_is_over_and_says_so() -> None:
    closed = only(after(ran(0, refused("raw")), ran(1, checked=False), gone(2)))
    assert closed.closed_at == NOON + timedelta(hours=2)
    assert closed.title == "raw: files are refused (removed since)"
    again = only(after(ran(0, refused("raw")), gone(1), ran(2, refused("raw"))))
    assert (again.closed_at, again.title) == (None, "raw: files are refused")
    partly = replace(ran(1, checked=False), removed=lambda symptom: symptom.table == "stg")
    left = only(after(ran(0, failure("stg"), failure("dim")), partly))
    assert (left.closed_at, [symptom.table for symptom in left.symptoms]) == (None, ["dim"])


def test_stale_source_is_told_as_that_and_explains_no_row_that_is_there() -> None:
    overdue = Failure(Symptom(OVERDUE, "raw", "raw", "no file came"), Weight.WARNING, STALE)
    assert grouped(overdue, failure("daily", check="freshness", subject="")) == {
        "raw": ["daily", "raw"]
    }
    assert grouped(overdue, failure("daily", is_by_rows=True)) == {
        "daily": ["daily"],
        "raw": ["raw"],
    }
    known = after(ran(0, overdue))
    assert only(known).title == "raw: nothing new comes"
    assert only(known).severity == "warning"
    assert stale_sources([only(known)]) == {"raw": "no file came"}
    assert stale_sources([only(follow(known, ran(1)))]) == {}


def test_failure_upstream_that_shows_in_ten_models_is_one_incident_with_all_of_them() -> None:
    lineage = {f"m{n}": ["fct"] if n < 5 else [f"m{n - 5}"] for n in range(10)}
    failures = [failure("fct"), *(failure(f"m{n}", check="between") for n in range(10))]
    found = follow([], Observation(NOON, tuple(failures), lineage))
    incident = only(found)
    assert (incident.root, len(incident.symptoms), incident.runs) == ("fct", 11, 1)
    assert incident.symptoms[0].table == "fct"
    assert incident.title == "fct: fct_complete fails, and 10 tables downstream"


def test_root_is_the_most_upstream_that_fails_whatever_is_between() -> None:
    assert grouped(failure("stg"), failure("daily", subject="day")) == {"stg": ["daily", "stg"]}


def test_failures_without_common_origin_are_incidents_of_their_own() -> None:
    assert grouped(failure("daily"), failure("apart")) == {"daily": ["daily"], "apart": ["apart"]}


def test_failures_of_one_kind_in_two_branches_are_of_the_nearest_table_they_share() -> None:
    assert grouped(failure("daily"), failure("dim")) == {"stg": ["daily", "dim"]}
    assert grouped(failure("daily"), failure("dim"), failure("other")) == {
        "raw": ["daily", "dim", "other"]
    }


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(failure("dim", subject="name"), id="of another column"),
        pytest.param(failure("dim", check="unique"), id="of another check"),
    ],
)
def test_failures_of_two_kinds_in_two_branches_are_two_incidents(second: Failure) -> None:
    assert set(grouped(failure("daily"), second)) == {"daily", "dim"}


def test_failures_of_one_kind_that_began_in_different_runs_are_two_incidents() -> None:
    found = after(ran(0, failure("daily")), ran(1, failure("daily"), failure("dim")))
    assert sorted((t.incident.root, t.incident.runs) for t in found) == [("daily", 2), ("dim", 1)]
    assert set(grouped(failure("daily"), failure("dim"), new=False)) == {"daily", "dim"}


def test_of_two_failing_origins_the_one_of_the_same_kind_is_the_root() -> None:
    far = failure("raw", check="between", subject="amount")
    lineage = {"feat": ["near", "stg"], "stg": ["raw"]}
    near = failure("near", check="unique", subject="id")
    assert grouped(far, near, failure("feat", check="between"), lineage=lineage) == {
        "raw": ["feat", "raw"],
        "near": ["near"],
    }
    assert grouped(far, near, failure("feat", check="regex"), lineage=lineage) == {
        "raw": ["raw"],
        "near": ["feat", "near"],
    }


def test_refused_file_explains_what_is_missing_but_no_row_that_is_there() -> None:
    stale = failure("daily", check="freshness", subject="")
    broken = failure("fct", is_by_rows=True)
    assert grouped(refused("raw"), stale) == {"raw": ["daily", "raw"]}
    assert grouped(refused("raw"), broken) == {"raw": ["raw"], "fct": ["fct"]}


def orphan(table: str, refers_to: str) -> Failure:
    """Rows of the table that have no counterpart in the other."""
    return failure(table, "known", check="references", subject="id", refers_to=refers_to)


def test_missing_reference_is_of_what_is_referred_to_and_not_of_its_own_source() -> None:
    lineage = {"orders": ["raw_orders"], "customers": ["stg"], "stg": ["raw_customers"]}
    lost = orphan("orders", "customers")
    assert grouped(refused("raw_orders"), lost, lineage=lineage) == {
        "raw_orders": ["raw_orders"],
        "orders": ["orders"],
    }
    assert grouped(refused("raw_orders"), refused("raw_customers"), lost, lineage=lineage) == {
        "raw_orders": ["raw_orders"],
        "raw_customers": ["orders", "raw_customers"],
    }
    assert grouped(refused("customers"), lost, lineage={}) == {"customers": ["customers", "orders"]}
    bad_keys = failure("raw_orders", check="regex", subject="id")
    assert grouped(bad_keys, lost, lineage=lineage) == {"raw_orders": ["orders", "raw_orders"]}
    (opened,) = follow([], Observation(NOON, (refused("raw_customers"), lost), lineage))
    assert Tracked.from_row(opened.row()).failures == opened.failures


def refused_orphans(table: str, refers_to: str) -> Failure:
    """A file that is refused because its rows have no counterpart in the other table."""
    return replace(refused(table), refers_to=refers_to)


def test_file_refused_for_want_of_another_files_rows_is_an_effect_of_that() -> None:
    lineage = {"fct": ["refunds"]}
    found = [
        refused("orders"),
        refused_orphans("refunds", "orders"),
        refused_orphans("receipts", "refunds"),
        failure("fct", check="freshness", subject=""),
    ]
    assert grouped(*found, lineage=lineage) == {"orders": ["fct", "orders", "receipts", "refunds"]}
    assert grouped(*found[1:2]) == {"refunds": ["refunds"]}  # else it is its own fault
    mutual = refused_orphans("orders", "refunds"), found[1]
    assert grouped(*mutual) == {"orders": ["orders"], "refunds": ["refunds"]}


def test_tables_that_refer_to_each_other_are_incidents_of_their_own() -> None:
    mutual = orphan("orders", "payments"), orphan("payments", "orders")
    assert grouped(*mutual, lineage={}) == {"orders": ["orders"], "payments": ["payments"]}
    below = failure("daily"), orphan("stg", "daily")
    assert grouped(*below) == {"stg": ["daily", "stg"]}


def test_lineage_that_runs_in_a_circle_ends() -> None:
    circle = {"fct": ["daily"], "daily": ["fct"]}
    found = grouped(failure("fct"), failure("daily", check="unique"), lineage=circle)
    assert sorted(table for tables in found.values() for table in tables) == ["daily", "fct"]


def test_incident_that_lasts_stays_the_same_while_its_symptoms_change() -> None:
    first = only(after(ran(0, failure("fct"))))
    later = only(after(ran(0, failure("fct")), ran(1, failure("fct"), failure("daily"))))
    assert later.id == first.id
    assert (later.opened_at, later.last_seen_at) == (NOON, NOON + timedelta(hours=1))
    assert (later.runs, len(later.symptoms)) == (2, 2)


def test_cause_that_is_found_upstream_later_becomes_the_root() -> None:
    found = after(ran(0, failure("daily")), ran(1, failure("stg"), failure("daily")))
    assert (only(found).root, only(found).runs) == ("stg", 2)


def test_other_rule_of_the_same_table_is_another_incident() -> None:
    found = after(ran(0, failure("fct", "a")), ran(1, failure("fct", "b")))
    assert [t.is_open for t in found] == [False, True]


def test_run_that_did_not_check_proves_nothing() -> None:
    found = after(ran(0, failure("fct")), ran(1, checked=False))
    assert only(found) == only(after(ran(0, failure("fct"))))


def test_symptom_that_holds_again_leaves_and_the_last_one_closes_the_incident() -> None:
    runs = [ran(0, failure("fct"), failure("daily")), ran(1, failure("daily")), ran(2)]
    assert [s.table for s in only(after(*runs[:2])).symptoms] == ["daily"]
    closed = only(after(*runs))
    assert closed.closed_at == NOON + timedelta(hours=2)
    assert [s.table for s in closed.symptoms] == ["daily"]


def test_symptom_that_was_not_checked_stays_while_others_fail() -> None:
    first = ran(0, failure("fct"), failure("daily", weight=Weight.WARNING))
    second = Observation(
        NOON + timedelta(hours=1),
        (failure("daily", weight=Weight.WARNING),),
        LINEAGE,
        lambda symptom: symptom.table != "fct",
    )
    incident = only(after(first, second))
    assert {s.table for s in incident.symptoms} == {"fct", "daily"}
    assert incident.severity == "critical"


@pytest.mark.parametrize(("hours", "same"), [(23.9, True), (24.1, False)])
def test_incident_that_comes_back_within_a_day_is_the_same(hours: float, same: bool) -> None:
    found = after(ran(0, failure("fct")), ran(1), ran(1 + hours, failure("fct")))
    assert (len(found) == 1) is same
    assert sum(t.is_open for t in found) == 1
    assert found[0].reopenings == same


def test_severity_follows_what_fails_now_and_the_worst_lasts_while_something_is_critical() -> None:
    mild, held_back = (failure("fct", weight=w) for w in (Weight.WARNING, Weight.CRITICAL))
    found = after(ran(0, mild), ran(1, failure("fct")), ran(2, held_back))
    assert (only(found).severity, found[0].worst) == ("critical", Weight.BLOCKING)
    found = follow(found, ran(3, mild))
    assert (only(found).severity, found[0].worst) == ("warning", Weight.WARNING)


# -- any sequence of runs ---------------------------------------------------------------------

TABLES = ("raw", *LINEAGE)
failures = st.builds(
    failure,
    st.sampled_from(TABLES),
    st.sampled_from(["a", "b"]),
    weight=st.sampled_from(list(Weight)),
    check=st.sampled_from(["not_null", "freshness"]),
    is_by_rows=st.booleans(),
    refers_to=st.sampled_from(["", *TABLES]),
)
steps = st.tuples(
    st.sampled_from([0.5, 6, 30]), st.lists(failures, max_size=6), st.sets(st.sampled_from(TABLES))
)


def observed(at: datetime, found: list[Failure], tables: set[str]) -> Observation:
    return Observation(at, tuple(found), LINEAGE, lambda symptom: symptom.table in tables)


@given(st.lists(steps, max_size=8))
def test_each_failure_is_in_one_open_incident_and_a_clean_run_ends_them_all(
    sequence: list[tuple[float, list[Failure], set[str]]],
) -> None:
    known: list[Tracked] = []
    at = NOON
    for hours, found, tables in sequence:
        at += timedelta(hours=hours)
        before = {t.incident.id: t for t in known}
        known = follow(known, observed(at, found, tables))
        keys = [key for t in known if t.is_open for key in t.keys]
        assert len(keys) == len(set(keys))
        assert {f.symptom.key for f in found} <= set(keys)
        assert all(t.incident.symptoms and t.incident.title for t in known)
        for tracked in known:
            earlier = before.get(tracked.incident.id)
            if earlier is not None and earlier.is_open and tracked.is_open:
                assert tracked.worst >= earlier.worst or tracked.incident.severity == "warning"
                weights = {f.weight > Weight.WARNING for f in tracked.failures}
                assert (tracked.incident.severity == "critical") is any(weights)
            if earlier is not None and not earlier.is_open and tracked.is_open:
                assert earlier.incident.closed_at is not None
                assert at - earlier.incident.closed_at < FLAPPING
    known = follow(known, ran((at - NOON).total_seconds() / 3600 + 1))
    assert not [t for t in known if t.is_open]


# -- kept in the state database ---------------------------------------------------------------


def test_incidents_are_kept_as_they_were_and_what_a_person_wrote_stays(settings: Settings) -> None:
    (tracked,) = after(ran(0, failure("fct"), failure("daily")))
    with open_incident_log(settings) as log:
        log.save([tracked.row()])
        assert [Tracked.from_row(row) for row in log.rows()] == [tracked]
        log.acknowledge(tracked.incident.id, "ada", "on it", NOON)
        (later,) = follow([tracked], ran(1, failure("fct")))
        log.save([later.row()])
        (kept,) = (Tracked.from_row(row) for row in log.rows())
    assert (kept.incident.acknowledged_by, kept.incident.note) == ("ada", "on it")
    assert kept.incident.acknowledged_at == NOON
    assert kept.incident.runs == 2


def test_report_shows_the_open_ones_and_those_closed_in_the_last_seven_days(
    settings: Settings,
) -> None:
    assert incidents_for_report(settings) == ()
    assert not settings.state_db.exists()
    known = after(
        ran(0, failure("other")),
        ran(1, failure("apart", weight=Weight.WARNING)),
        ran(2, failure("apart", weight=Weight.WARNING), failure("fct")),
        ran(3, failure("fct"), failure("apart", weight=Weight.WARNING)),
    )
    with open_incident_log(settings) as log:
        log.save(tracked.row() for tracked in known)

    def roots(days: float) -> list[str]:
        found = incidents_for_report(settings, now=NOON + timedelta(days=days))
        return [incident.root for incident in found]

    assert roots(7) == ["fct", "apart", "other"]
    assert roots(7.1) == ["fct", "apart"]
    with open_incident_log(settings) as log:
        log.note_told("json://h", {t.incident.id: Told(True, 1) for t in known})
        told_as_open = log.rows(closed_since=NOON + timedelta(days=30))
    assert len(told_as_open) == 3
    assert in_order([]) == ()


def test_most_urgent_stand_first_whoever_knows_of_them() -> None:
    mild = failure("apart", weight=Weight.WARNING)
    known = after(ran(0, failure("fct")), ran(1, failure("fct"), failure("other")))
    known = follow(known, ran(2, failure("fct"), failure("other"), mild))
    fct, other, apart = (t.incident for t in known)
    seen_to = replace(other, acknowledged_by="ada", acknowledged_at=NOON)
    assert in_order([apart, seen_to, fct]) == (fct, seen_to, apart)


def test_state_that_is_no_database_is_one_clear_error_and_no_end_of_a_report(
    settings: Settings,
) -> None:
    settings.home.mkdir()
    settings.state_db.write_text("not a database, by any means, and long enough to be read as one")
    with pytest.raises(StateError, match="incidents cannot be read"), open_incident_log(settings):
        pass
    assert incidents_for_report(settings) == ()


# -- kinds, and what an acknowledgement covers ------------------------------------------------


def refused_for(*kinds: str, table: str = "raw") -> tuple[Failure, ...]:
    symptoms = [Symptom("refused_batch", table, "raw", "a.csv", kind=kind) for kind in kinds]
    return tuple(Failure(symptom, Weight.CRITICAL, REFUSED) for symptom in symptoms)


def acknowledged(tracked: Tracked, at: datetime) -> Tracked:
    known = {"acknowledged_by": "ada", "acknowledged_at": at, "note": "on it"}
    return replace(tracked, incident=replace(tracked.incident, **known))


def test_files_refused_for_another_reason_are_another_incident() -> None:
    (first,) = after(ran(0, *refused_for("amount: values")))
    (closed,) = follow([acknowledged(first, NOON)], ran(1))
    found = follow([closed], ran(2, *refused_for("customer: nulls")))
    assert [(t.is_open, t.incident.acknowledged_by) for t in found] == [(False, "ada"), (True, "")]


def test_acknowledgement_ends_with_its_episode_and_its_note_is_kept() -> None:
    (first,) = after(ran(0, *refused_for("amount: values")))
    (lasting,) = follow([acknowledged(first, NOON)], ran(1, *refused_for("amount: values")))
    assert lasting.incident.acknowledged_by == "ada"
    (closed,) = follow([lasting], ran(2))
    assert closed.incident.note == "on it"
    back = only(follow([closed], ran(3, *refused_for("amount: values"))))
    assert (back.acknowledged_by, back.acknowledged_at, back.note) == ("", None, "")
    assert back.acknowledged_before == "known to ada, 2026-03-02 12:00 UTC: on it"


def test_acknowledgement_does_not_cover_another_kind_of_failure_of_the_root() -> None:
    (first,) = after(ran(0, *refused_for("amount: values")))
    both = refused_for("amount: values", "customer: nulls")
    (wider,) = follow([acknowledged(first, NOON)], ran(1, *both))
    assert (wider.incident.acknowledged_by, len(wider.criticals)) == ("", 2)
    (seen,) = follow([acknowledged(wider, NOON + timedelta(hours=1))], ran(2, *both))
    assert seen.incident.acknowledged_by == "ada"


def test_failure_downstream_of_a_known_one_is_no_news() -> None:
    (first,) = after(ran(0, failure("fct")))
    (wider,) = follow([acknowledged(first, NOON)], ran(1, failure("fct"), failure("daily")))
    assert (wider.incident.acknowledged_by, len(wider.incident.symptoms)) == ("ada", 2)
    (left,) = follow([wider], ran(2, failure("daily")))  # now it is not the effect of anything
    assert left.incident.acknowledged_by == ""


WARNED = failure("fct", "odd", weight=Weight.WARNING, check="between")
BLOCKED = failure("fct", "like_before", check="anomaly")


def test_acknowledgement_goes_with_the_critical_part_of_an_incident() -> None:
    (first,) = after(ran(0, WARNED, BLOCKED))
    (eased,) = follow([acknowledged(first, NOON)], ran(1, WARNED))
    assert (eased.incident.severity, eased.incident.acknowledged_by) == ("warning", "")
    assert eased.incident.acknowledged_before == "known to ada, 2026-03-02 12:00 UTC: on it"
    known = acknowledged(eased, NOON + timedelta(hours=1))
    assert only(follow([known], ran(2, WARNED))).acknowledged_by == "ada"
    for fault in (BLOCKED, failure("daily"), failure("fct", "other")):
        found = follow([known], ran(2, WARNED, fault))
        (again,) = (t for t in found if t.incident.severity == "critical")
        assert again.incident.acknowledged_by == ""
        assert again.news_at == NOON + timedelta(hours=2)


def test_what_is_mended_and_fails_again_beside_a_known_fault_is_news() -> None:
    both = (failure("fct", "a"), failure("fct", "b"))
    (first,) = after(ran(0, *both))
    (left,) = follow([acknowledged(first, NOON)], ran(1, both[1]))
    assert left.incident.acknowledged_by == "ada"
    (again,) = follow([left], ran(2, *both))
    assert (again.incident.acknowledged_by, again.news) == ("", first.news + 1)
    (flapping,) = follow(follow([again], ran(3, both[1])), ran(4, *both))
    assert (flapping.news_at, flapping.news) == (NOON + timedelta(hours=4), again.news)
    (new,) = follow(follow([flapping], ran(5, both[1])), ran(30, both[1]))
    (new,) = follow([new], ran(31, *both))
    assert new.news == flapping.news + 1


def test_title_and_severity_are_of_what_fails_now_though_nothing_was_checked_but_it() -> None:
    first = ran(0, failure("fct"), failure("daily", weight=Weight.WARNING))
    second = replace(ran(1), checked=lambda symptom: symptom.table == "fct")
    left = only(after(first, second))
    assert (left.severity, left.title, left.runs) == ("warning", "daily: daily_complete fails", 1)
    assert left.last_seen_at == NOON


def test_warning_explains_nothing_critical_and_the_title_names_what_is_worst() -> None:
    found = after(ran(0, WARNED, failure("daily", "wrong", check="sql")))
    assert {t.incident.title for t in found} == {
        "fct: fct_odd fails",
        "daily: daily_wrong fails",
    }
    mild = failure("daily", weight=Weight.WARNING)
    joined = after(ran(0, WARNED, mild), ran(1, WARNED, failure("daily")))
    assert only(joined).title == "daily: daily_complete fails, and 1 other table"
    apart = after(ran(0, WARNED, mild), ran(1, WARNED, mild, failure("daily", "wrong")))
    assert [t.incident.title for t in apart] == [
        "fct: fct_odd fails, and 1 table downstream",
        "daily: daily_wrong fails",
    ]
    assert only(after(ran(0, WARNED, BLOCKED))).title == "fct: fct_like_before fails"
    overdue = Failure(Symptom(OVERDUE, "raw", "raw", "no file came"), Weight.WARNING, STALE)
    expired = failure("daily", "fresh", check="freshness", subject="")
    assert only(after(ran(0, overdue, expired))).title == (
        "raw: nothing new comes, and so daily: daily_fresh fails"
    )


def unlike(table: str, check: str, *kinds: str, mild: bool = False) -> Failure:
    """What a rule that compares with the past finds of the kinds, such as "amount: values"."""
    weight = Weight.WARNING if mild else Weight.BLOCKING
    return failure(table, check, weight=weight, check=check, subject="", unlike=kinds)


def test_one_fault_that_rules_of_two_kinds_find_on_one_column_is_one_incident() -> None:
    warned = unlike("raw", "anomaly", "amount: values", mild=True)
    low = unlike("fct", "drift", "amount: values")
    mild = unlike("fct", "anomaly", "Amount: values", mild=True)
    found = only(after(ran(0, warned, low, mild)))
    assert (found.root, found.severity, len(found.symptoms)) == ("raw", "critical", 3)
    assert found.title == "raw: raw_anomaly fails, and so fct: fct_drift fails"
    other = unlike("raw", "anomaly", "customer: values", mild=True)
    assert grouped(other, low, mild) == {"fct": ["fct", "fct"], "raw": ["raw"]}


def test_tables_unlike_before_in_one_way_are_of_the_table_they_share() -> None:
    found = only(
        after(
            ran(
                0,
                unlike("daily", "drift", "amount: values"),
                unlike("dim", "anomaly", "amount: values", "rows"),
            )
        )
    )
    assert found.title == "stg: amount: values unlike before in 2 tables made from it"
    assert len(grouped(unlike("daily", "drift", "amount: values"), unlike("dim", "anomaly"))) == 2


def test_other_rule_that_finds_the_same_of_the_next_file_goes_on_with_the_incident() -> None:
    first = unlike("raw", "drift", "amount: values")
    assert only(after(ran(0, first), ran(1, unlike("raw", "anomaly", "amount: values")))).runs == 2
    found = after(ran(0, first), ran(1, unlike("raw", "anomaly", "amount: nulls")))
    assert [tracked.is_open for tracked in found] == [False, True]


def test_file_that_is_refused_explains_nothing_that_failed_before_it() -> None:
    low = failure("daily", "like_before", check="anomaly")
    found = after(ran(0, low), ran(1, low, refused("raw")))
    assert [(t.incident.root, len(t.keys)) for t in found] == [("daily", 1), ("raw", 1)]
    assert only(after(ran(0, refused("raw")), ran(1, low, refused("raw")))).root == "raw"


def test_incidents_of_an_earlier_version_are_read_and_taken_on(settings: Settings) -> None:
    (tracked,) = after(ran(0, failure("fct")))
    row = tracked.row()
    for entry in row["symptoms"]:
        del entry["unlike"]
    with open_incident_log(settings) as log:
        log.save([row])
    with open_state(settings) as engine, engine.begin() as con:
        con.exec_driver_sql("alter table incidents drop column kinds")
        con.exec_driver_sql("alter table incidents drop column news_at")
        con.exec_driver_sql("alter table incidents drop column news")
        con.exec_driver_sql("alter table incident_alerts drop column news")
    with open_incident_log(settings) as log:
        (old,) = (Tracked.from_row(row) for row in log.rows())
        assert (old.criticals, old.news, old.news_at) == ({}, 0, NOON)
        (later,) = follow([old], ran(1, failure("fct")))
        log.save([later.row()])
        assert [Tracked.from_row(row) for row in log.rows()] == [later]
