"""Two days of the simulated week, six runs each; `python -m benchmarks week` is the whole one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import duckdb
import pytest

from benchmarks.figures import SkippedError
from benchmarks.simulated_clock import Clock
from benchmarks.week import Week, simulate
from benchmarks.week_arrivals import TWO_DAYS, WEEK, Plan, Stretch, Upstream
from expectations import offenders
from flows import schedules
from flows.ticks import TickBook
from warehouse.settings import Settings

HOUR = timedelta(hours=1)
REAL_NOW = offenders.NOW


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory) -> Week:
    try:
        return simulate("TWO_DAYS", tmp_path_factory.mktemp("week"), 7)
    except SkippedError as reason:
        pytest.skip(str(reason))


@pytest.mark.slow
def test_two_days_go_as_they_should(two_days: Week) -> None:
    assert two_days.mistakes() == []
    assert [run["status"] for run in two_days.runs] == [
        *["done"] * 5,
        *("refused", "blocked", "blocked"),
        *["done"] * 4,
    ]
    missed = {figure.name for figure in two_days.figures() if figure.verdict == "MISSED"}
    assert missed == set()


@pytest.mark.slow
def test_whatever_goes_another_way_is_told(two_days: Week) -> None:
    def told(**other: object) -> str:
        return " ".join(Week(**(vars(two_days) | other)).mistakes())

    runs = [dict(run) for run in two_days.runs]
    assert "12 runs" not in told()
    assert "11 runs, expected 12" in told(runs=runs[:-1])
    assert "run 2: blocked" in told(runs=[runs[0], runs[1] | {"status": "blocked"}, *runs[2:]])
    assert "catch-ups at the ticks []" in told(runs=[run | {"catch_up": None} for run in runs])
    served = [run | {"served": "x"} if run["run"] == 7 else run for run in runs]
    assert "run 7: what is served changed" in told(runs=served)
    end = two_days.end
    lost = end["found"] | {"marts.dim_customers": "39 rows, 1"}
    assert "marts.dim_customers" in told(end=end | {"found": lost})
    [incident] = end["incidents"]
    assert "incidents: " in told(end=end | {"incidents": [incident, incident]})
    later = incident | {"closed_at": None}
    assert "closed_at is None" in told(end=end | {"incidents": [later]})
    assert "alerts: " in told(alerts=two_days.alerts[:-1])


def test_week_has_168_runs() -> None:
    assert WEEK.runs == 168
    assert TWO_DAYS.runs == 12
    assert [outage.count for outage in WEEK.outages] == [6, 20]


@pytest.mark.parametrize("plan", [WEEK, TWO_DAYS])
def test_ticks_are_those_of_the_schedule(plan: Plan, tmp_path: Path) -> None:
    """In the week, the clocks are put on while nothing runs."""
    upstream = Upstream(tmp_path / "source", plan, 7)
    settings = Settings(tmp_path / "home", threads=2, memory_limit="1GiB")
    [schedule] = schedules.declared(upstream.sources, settings)
    first, last = plan.moment(0), plan.moment(plan.ticks - 1)
    found = schedules.ticks(schedule, first - HOUR, last)
    assert found == [plan.moment(tick) for tick in range(plan.ticks)]
    book = TickBook(tmp_path / "ticks.json")
    book.keep_only([schedule], first - HOUR)
    covers = book.due(schedule, last)
    assert covers is not None
    assert covers.ticks == plan.ticks


def test_upstream_sends_the_same_bytes_twice(tmp_path: Path) -> None:
    sent = []
    for name in ("a", "b"):
        upstream = Upstream(tmp_path / name, TWO_DAYS, 7)
        for tick in range(TWO_DAYS.ticks):
            upstream.send(tick)
        files = sorted((tmp_path / name).rglob("*.csv"))
        sent.append({file.name: file.read_bytes() for file in files})
    assert sent[0] == sent[1]
    header = "2026-03-23T04-0-payments.csv", "2026-03-24T20-0-payments.csv"
    assert [b"CHANNEL" in sent[0][name] for name in header] == [True, False]


def test_bad_files_are_sent_again_as_they_should_have_been(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "source", TWO_DAYS, 7)
    name = "2026-03-24T00-0-payments.csv"
    upstream.send(TWO_DAYS.bad.first)
    bad = (tmp_path / "source" / "payments" / name).read_text()
    upstream.send(TWO_DAYS.bad.after)
    good = (tmp_path / "source" / "payments" / name).read_text()
    amounts = [[line.split(",")[4] for line in text.splitlines()[1:]] for text in (bad, good)]
    assert len(amounts[0]) == len(amounts[1])
    for small, units in zip(*amounts, strict=True):
        assert float(small) == pytest.approx(10_000 * float(units))


def test_clock_is_where_it_was_put() -> None:
    moment = datetime(2026, 3, 23, tzinfo=UTC)
    clock = Clock(moment)
    assert HOUR > clock.now() - moment >= timedelta()
    clock.set(moment + 5 * HOUR)
    assert 6 * HOUR > clock.now() - moment >= 5 * HOUR
    assert offenders.NOW == REAL_NOW  # until it is installed, nobody goes by it


def test_rules_go_by_the_clock_that_leads_them() -> None:
    rules = ModuleType("rules")
    clock = Clock(datetime(2026, 3, 23, tzinfo=UTC))
    clock.lead(rules)
    for moment in (clock.now(), clock.now() + 5 * HOUR):
        clock.set(moment)
        with duckdb.connect() as con:
            [told] = con.execute(f"select {rules.NOW}").fetchone() or ()
        assert HOUR > told - moment.replace(tzinfo=None) >= -timedelta(seconds=1)


def test_stretch() -> None:
    stretch = Stretch(3, 2)
    assert [tick in stretch for tick in (2, 3, 4, 5)] == [False, True, True, False]
    assert stretch.after == 5
