"""Rules that look at the clock, on a release to which nothing new comes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
from made import made_rule

from expectations import offenders
from expectations.clock import as_of_now, by_clock
from expectations.gate import TableScope, audit
from warehouse.releases import Release, folder

TABLE = "marts.orders"


def rule(name, check="freshness", **said):
    return made_rule(check, TABLE, rule_id=name, **said)


BY_TIME = rule("by time", columns=("at",), max_age="36 hours")
BY_DAY = rule("by day", columns=("day",), max_age="3 days", severity="warning")
BY_NAME = rule("by name", columns=("born",), max_age="3 days", severity="info")
OF_NONE = rule("of none", columns=("nothing",), max_age="1 week")
LATELY = rule(
    "lately",
    "aggregate",
    expression="count(*) filter (where at > (now() at time zone 'UTC') - interval 1 day)",
    minimum=1,
)
NOT_THERE = rule("not there", columns=("gone",), max_age="1 day")
LARGEST = rule("largest", "aggregate", expression="max(n)", maximum=9)
LEARNED = rule("learned", columns=("at",))
CLOCKED = (BY_TIME, BY_DAY, BY_NAME, OF_NONE, LATELY, NOT_THERE)
RULES = [*CLOCKED, LARGEST, LEARNED]


def orders(hours):
    at = f"(now() at time zone 'UTC') - interval {hours} hours"
    return (
        f"create table {TABLE} as select 1 as n, {at} as at, ({at})::date as day,"
        f" ({at})::date as born, null::timestamp as nothing"
    )


def released(settings, path, result, *, personal=(), name="20260101T000000000001"):
    release = Release(
        id=name,
        created_at="2026-01-01T00:00:00+00:00",
        run_id="a run",
        base=None,
        lake="l",
        lake_snapshot=1,
        verdict="pass",
        project="p",
        code={},
        rules={},
        tables={TABLE: 1},
        features={},
        gate=json.loads(result.to_json()),
        personal={TABLE: list(personal)},
    )
    place = settings.releases / name
    place.mkdir(parents=True)
    (place / "release.json").write_text(json.dumps(asdict(release)))
    shutil.move(path, settings.database(folder(settings, name)))
    return release


@pytest.mark.parametrize("hours", [1, 30, 24 * 9])
def test_it_finds_what_the_gate_would(settings, build, hours):
    path = build(orders(hours))
    scopes = {TABLE: TableScope(TABLE, personal=frozenset({"born"}))}
    gate = audit(settings, path, scopes, RULES)
    release = released(settings, path, gate, personal=["born"])
    found = by_clock(settings, release, RULES)
    assert found == tuple(r for r in gate.results if r.rule_id in {c.id for c in CLOCKED})
    assert as_of_now(release, found) == gate


def test_what_held_breaks_as_time_goes_by(settings, build, monkeypatch):
    path = build(orders(1))
    rules = [BY_TIME, BY_DAY, LARGEST]
    release = released(settings, path, audit(settings, path, {}, rules))
    assert {r.status for r in by_clock(settings, release, rules)} == {"pass"}
    monkeypatch.setattr(offenders, "NOW", "(now() at time zone 'UTC' + interval 9 day)")
    found = {r.rule_id: r for r in by_clock(settings, release, rules)}
    assert {name: r.status for name, r in found.items()} == {"by time": "fail", "by day": "warn"}
    assert "(9 days ago), older than 36 hours" in found["by time"].detail
    now = as_of_now(release, found.values())
    assert now.verdict == "block"
    assert [r.status for r in now.results if r.rule_id == "largest"] == ["pass"]


def test_rule_that_the_release_was_not_audited_by_is_left_out(settings, build):
    path = build(orders(1))
    release = released(settings, path, audit(settings, path, {}, [BY_TIME]))
    assert by_clock(settings, release, [BY_DAY]) == ()
    loosened = replace(BY_TIME, max_age="1 minute", severity="warning")
    [found] = by_clock(settings, release, [loosened, BY_DAY])
    assert (found.status, found.severity) == ("warn", "warning")


def test_release_that_cannot_be_opened_is_an_error(settings, build):
    path = build(orders(1))
    release = released(settings, path, audit(settings, path, {}, [BY_TIME]))
    settings.database(folder(settings, release.id)).write_text("not a database")
    [found] = by_clock(settings, release, [BY_TIME])
    assert (found.status, found.detail[:28]) == ("error", "the release cannot be opened")


def test_great_expectations_is_not_imported():
    code = (
        "import sys; import expectations.clock;"
        "print([m for m in ('great_expectations', 'numpy', 'scipy', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("expression", "looks"),
    [
        ("date_diff('hour', max(at), now())", True),
        ("max(day) - current_date", True),
        ("epoch(age(max(at)))", True),
        ("max(age)", False),
        ("avg(known)", False),
    ],
)
def test_which_aggregates_look_at_the_clock(expression, looks):
    assert rule("r", "aggregate", expression=expression, minimum=0).looks_at_clock is looks
