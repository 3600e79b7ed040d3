"""The gate in a process of its own: the same answers, errors and verdicts, and nothing left."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from expectations import auditor, gate
from expectations.auditor import Auditor, start_auditor
from expectations.gate import TableScope, audit
from expectations.rules import Rule
from warehouse.errors import BuildError

TABLE = "marts.payments"


def rule(rule_id="r", **parts):
    said = {"check": "between", "severity": "critical", "columns": ("amount",), "minimum": 0}
    return Rule(
        id=rule_id, boundary="marts", table=TABLE, owner="me", reason="why", **(said | parts)
    )


KEPT, BROKEN = rule("kept", minimum=-9), rule("broken")
SLOW = rule(
    "slow",
    check="expression",
    columns=(),
    minimum=None,
    expression="amount > (select sum(a.range * b.range) from range(10000000) a, range(10000) b)",
)
MADE = f"create table {TABLE} as select -1 as amount, 1 as id"


@pytest.fixture
def started():
    """A process that is ended whatever happens."""
    process = Auditor()
    yield process
    process.close()


def test_another_process_says_the_same(settings, build, started):
    asked = (settings, build(MADE), {TABLE: TableScope(TABLE)}, [KEPT, BROKEN])
    base = {"carried": {}, "base_rule_hashes": {}}
    told = started.audit(*asked, **base)
    assert told.verdict == "block"
    assert told.results == audit(*asked, **base).results
    assert started.is_gone


def test_it_tells_how_far_it_is(settings, build, started):
    come = []

    def progress(*told):
        come.append(told)

    told = started.audit(settings, build(MADE), {}, [KEPT, BROKEN], progress=progress)
    assert told.verdict == "block"
    assert come == [(0, 2, "rule", TABLE)]


def test_its_errors_are_raised_here(settings, tmp_path, started):
    with pytest.raises(BuildError, match="the build cannot be opened for its audit") as caught:
        started.audit(settings, tmp_path / "nothing.duckdb", {}, [KEPT])
    assert caught.value.next_step == "run the build again"


@pytest.mark.parametrize("is_asked", [False, True])
def test_a_process_that_died_has_checked_nothing(settings, build, started, is_asked):
    path = build(MADE)
    if not is_asked:  # dead before it was asked, and reaped: nobody reads the request
        started._process.kill()
        started._process.wait()
    else:
        os.kill(started._process.pid, signal.SIGKILL)
    told = started.audit(settings, path, {}, [KEPT, BROKEN])
    assert told.verdict == "error"
    assert [(found.rule_id, found.status, found.detail) for found in told.results] == [
        (rule_id, "error", "the gate's process ended with -9") for rule_id in ("kept", "broken")
    ]


def test_a_broken_installation_is_an_error_of_every_rule(settings, build, monkeypatch):
    def broken():
        raise ImportError("no module named 'x'")

    monkeypatch.setattr(gate, "load", broken)
    told = audit(settings, build(MADE), {}, [KEPT, BROKEN])
    assert told.verdict == "error"
    assert {found.detail for found in told.results} == {
        "Great Expectations cannot be imported: no module named 'x'"
    }


@pytest.mark.slow
@pytest.mark.parametrize("is_auditing", [False, True])
def test_it_ends_when_whoever_started_it_has_gone(settings, build, started, is_auditing):
    process = started._process
    if is_auditing:  # for hours, if it is let
        asked = (settings, build(MADE), {}, [SLOW])
        auditor.pickle.dump((asked, {}), process.stdin)
    process.stdin.close()
    assert process.wait(timeout=60) == is_auditing


def test_where_it_is_imported_already_no_process_starts(monkeypatch):
    gate.load()
    assert start_auditor() is None
    monkeypatch.delitem(sys.modules, "great_expectations")
    process = start_auditor()
    process.close()
    assert process.is_gone
    monkeypatch.setattr(auditor, "Auditor", no_more_processes)
    assert start_auditor() is None


def no_more_processes():
    raise BlockingIOError
