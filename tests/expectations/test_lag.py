"""How far a source lags behind a rule's promise, or behind what is usual."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from handmade import payment
from works import Works

from expectations import rule_files
from expectations.lag import Arrived, Lag, arrived, lags, max_age
from warehouse.landing import content_path
from warehouse.query import open_lake
from warehouse.releases import current
from warehouse.settings import Settings

NAME = "payments.transactions"
START = datetime(2026, 3, 2, 6, tzinfo=UTC)
DAY = timedelta(days=1)


def daily(days: int) -> list[Arrived]:
    return [Arrived(f"{n}.csv", f"{n:064x}", START + n * DAY, is_news=True) for n in range(days)]


def lag_of(settings: Settings, came: list[Arrived], now: datetime) -> Lag:
    return lags(settings, None, {NAME: came}, now)[NAME]


def test_files_that_came_daily_are_late_after_days(settings: Settings) -> None:
    came = daily(30)
    soon = lag_of(settings, came, came[-1].at + timedelta(hours=20))
    assert soon == Lag(timedelta(hours=20), DAY, None, is_late=False)
    late = lag_of(settings, came, came[-1].at + 4 * DAY)
    assert late == Lag(4 * DAY, DAY, None, is_late=True)


def test_of_few_files_nothing_is_claimed(settings: Settings) -> None:
    came = daily(5)
    assert lag_of(settings, came, came[-1].at + 90 * DAY) == Lag(90 * DAY, None, None, False)


def test_what_brought_nothing_is_no_news(settings: Settings) -> None:
    came = [*daily(3), Arrived("same.csv", "f" * 64, START + 9 * DAY, is_news=False)]
    assert lag_of(settings, came, START + 10 * DAY).age == 8 * DAY
    assert lag_of(settings, came[-1:], START + 10 * DAY).age == DAY


def test_files_that_came_at_once_have_the_times_they_were_written(settings: Settings) -> None:
    """A first run lands what has come for weeks."""
    came = [Arrived(f"{n}.csv", f"{n:064x}", START, is_news=True) for n in range(20)]
    for n, line in enumerate(came):
        content = content_path(settings, line.sha256)
        content.parent.mkdir(parents=True, exist_ok=True)
        written = (START - (20 - n) * DAY).timestamp()
        sidecar = content.with_name(f"{line.sha256}.{NAME}.json")
        sidecar.write_text(json.dumps({"modified_ns": int(written * 1e9)}))
    assert lag_of(settings, came, START).promised == DAY


def test_newest_news_is_found_however_old(works: Works) -> None:
    with open_lake(works.settings) as con:
        (line,) = arrived(con)[NAME]
    assert (line.file, line.is_news) == ("payments.csv", True)
    assert datetime.now(UTC) - line.at < DAY


@pytest.fixture
def promise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of rules of which the fact table's promises that it is fresh."""
    folder = tmp_path / "rules"
    (folder / "marts").mkdir(parents=True)
    monkeypatch.setattr(rule_files.rules_of, "__defaults__", (folder,))
    return folder / "marts" / "fct_transactions.yml"


RULE = (
    "table: marts.fct_transactions\nowner: me\nrules:\n  - {{id: {0}, check: freshness,"
    " column: transacted_at, max_age: {1}, severity: warning, reason: b}}\n"
)


def test_promise_of_a_rule_above_the_source(works: Works, promise: Path) -> None:
    serving = current(works.settings)
    with open_lake(works.settings) as con:
        came = arrived(con)
    now = datetime(2026, 1, 4, 6, tzinfo=UTC)  # the newest payment is of its midnight
    for text, is_late in (("36 hours", False), ("6 hours", False), ("5 hours", True)):
        promise.write_text(RULE.format("fresh", text))
        found = lags(works.settings, serving, came, now)[NAME]
        assert found == Lag(timedelta(hours=6), max_age(text), "fresh", is_late)
    more = RULE.format("strict", "2 hours").partition("rules:\n")[2]
    promise.write_text(RULE.format("fresh", "5 hours") + more)
    assert lags(works.settings, serving, came, now)[NAME].rule_id == "strict"


def test_rule_that_cannot_be_judged_promises_nothing(works: Works, promise: Path) -> None:
    promise.write_text(RULE.format("fresh", "1 hour").replace("transacted_at", "no_such"))
    with open_lake(works.settings) as con:
        came = arrived(con)
    found = lags(works.settings, current(works.settings), came, datetime.now(UTC))
    assert found[NAME].rule_id is None


@pytest.mark.slow
def test_later_payments_bring_the_promise_nearer(works: Works, promise: Path) -> None:
    promise.write_text(RULE.format("fresh", "36 hours"))
    works.put([payment(4, day=4)], "payments4.csv")
    works.run()
    with open_lake(works.settings) as con:
        came = arrived(con)
    now = datetime(2026, 1, 5, 6, tzinfo=UTC)
    assert lags(works.settings, current(works.settings), came, now)[NAME].age == DAY / 4


@pytest.mark.parametrize(
    ("text", "span"),
    [("36 hours", 1.5 * DAY), ("1 week", 7 * DAY), ("90 minutes", DAY / 16), ("0.5 day", DAY / 2)],
)
def test_ages_of_rules_are_spans(text: str, span: timedelta) -> None:
    assert max_age(text) == span
