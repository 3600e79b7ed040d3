"""Which run `clearwater retry` takes up, and from which stage on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from handmade import payment
from works import Works

from flows import resuming, stages
from flows.resuming import failed_run, resumption
from flows.stages import STAGES
from warehouse.errors import ConfigurationError
from warehouse.settings import Settings
from warehouse.state import open_ledger

ALL = tuple(STAGES)


def noted(run_id: str, status: str, stages: tuple[str, ...] = ALL, **asked: Any) -> dict[str, Any]:
    """A line of the ledger."""
    options = {"sources": "/s.yml", "only": [], "full_refresh": False, "stages": list(stages)}
    options |= {"stands_for": list(stages), "export": ""} | asked
    return {"run_id": run_id, "status": status, "options": options}


@pytest.mark.parametrize(
    ("runs", "found"),
    [
        ([], None),
        ([noted("2", "done")], None),
        ([noted("2", "failed"), noted("1", "blocked")], "2"),
        ([noted("2", "running"), noted("1", "crashed")], "1"),
        ([noted("2", "done"), noted("1", "failed")], None),
        ([noted("2", "done", ("land", "load")), noted("1", "failed")], "1"),
        ([noted("2", "done", ("audit",), stands_for=list(ALL)), noted("1", "blocked")], None),
        ([noted("2", "done", only=["a.b"]), noted("1", "failed")], "1"),
        ([noted("2", "done"), noted("1", "failed", only=["a.b"])], None),
        ([noted("2", "done"), noted("1", "failed", full_refresh=True)], "1"),
        ([noted("2", "done"), noted("1", "stopped", sources="/other.yml")], "1"),
    ],
)
def test_newest_that_nothing_made_up_for(runs: list[dict[str, Any]], found: str | None) -> None:
    run = failed_run(runs, None)
    assert (run and run["run_id"]) == found


def test_unknown_run_is_told_with_the_nearest() -> None:
    runs = [noted("20260102T000000-aaaaaa", "done"), noted("20260101T000000-bbbbbb", "done")]
    with pytest.raises(ConfigurationError, match="runs: 20260101T000000-bbbbbb, 2026") as caught:
        failed_run(runs, "20260101T000000-bbbbbc")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("status", "went", "left"),
    [
        ("crashed", {}, ALL),
        ("failed", {"land": "failed"}, ALL),
        ("failed", {"land": "done", "load": "failed", "report": "done"}, ALL),
        ("crashed", {"land": "done", "load": "crashed"}, ALL),
        ("refused", dict.fromkeys(ALL, "done"), ALL),
        ("failed", {"land": "done", "load": "done", "build": "failed"}, ALL[2:]),
        ("stopped", {"land": "done", "load": "done"}, ALL[2:]),
        ("failed", dict.fromkeys(ALL, "done"), ALL[2:]),
        ("blocked", dict.fromkeys(ALL[:3], "done") | {"audit": "failed"}, ALL[2:]),
        ("failed", dict.fromkeys(ALL[:4], "done") | {"publish": "failed"}, ALL[2:]),
        ("failed", dict.fromkeys(ALL[:5], "done") | {"features": "failed"}, ALL[5:]),
        ("failed", dict.fromkeys(ALL[:6], "skipped") | {"report": "failed"}, ALL[6:]),
    ],
)
def test_from_which_stage_on_where_no_build_is_left(
    settings: Settings, status: str, went: dict[str, str], left: tuple[str, ...]
) -> None:
    assert resumption(settings, noted("1", status), went).stages == left


def test_publishing_alone_is_audited_when_it_has_to_be_built_again(settings: Settings) -> None:
    run = noted("1", "failed", ("publish", "features"))
    plan = resumption(settings, run, {"publish": "failed"})
    assert plan.stages == ("build", "audit", "publish", "features")


def test_options_are_those_of_the_run(settings: Settings) -> None:
    run = noted("1", "failed", only=["a.b"], full_refresh=True)
    options = resumption(settings, run, {}, wait=True, log="json").options
    assert (options.sources, options.only) == (Path("/s.yml"), ("a.b",))
    assert (options.full_refresh, options.wait, options.log) == (True, True, "json")
    assert (options.trigger, options.stands_for) == ("retry of 1", ALL)


def test_run_of_an_earlier_version_is_not_guessed_at(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="not kept"):
        resumption(settings, noted("1", "failed") | {"options": None}, {})


def newest_plan(works: Works) -> resuming.Resumption:
    with open_ledger(works.settings) as ledger:
        run = ledger.newest(1)[0]
        return resumption(works.settings, run, ledger.stages(run["run_id"]))


@pytest.mark.slow
def test_blocked_build_is_audited_again_unless_something_changed(
    works: Works, no_raw_rules: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    works.put([payment(4, day=4, fraud="")], "payments4.csv")
    assert works.run().status == "blocked"
    plan = newest_plan(works)
    assert plan.stages == ("audit", "publish", "features", "report")
    with monkeypatch.context() as patch:
        patch.setattr("warehouse.dbt_runner.project_hash", lambda: "another")
        assert newest_plan(works).why == "its gate blocked, and the models have changed since"
    with monkeypatch.context() as patch:
        patch.setattr("expectations.rule_files.load_rules", list)
        assert newest_plan(works).why == "its gate blocked, and the rules have changed since"
    works.put([payment(4, day=4)], "payments4.csv")
    works.run("land", "load")
    with open_ledger(works.settings) as ledger:
        blocked = next(run for run in ledger.newest() if run["status"] == "blocked")
        went = ledger.stages(blocked["run_id"])
    plan = resumption(works.settings, blocked, went)
    assert plan.stages[0] == "build"
    assert plan.why == "its gate blocked, and the lake has changed since"


@pytest.mark.slow
def test_publish_that_failed_goes_on_with_the_build_that_was_audited(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    works.put([payment(4, day=4)], "payments4.csv")
    before = works.served()

    def broken(*_: object, **__: object) -> None:
        raise OSError(13, "forbidden")

    with monkeypatch.context() as patch:
        patch.setattr(stages, "finish", broken)
        assert works.run().status == "failed"
    built = next(works.settings.builds.iterdir()).name
    plan = newest_plan(works)
    assert plan.stages == ("publish", "features", "report")
    monkeypatch.setattr(stages, "build", None)  # nothing is built again
    run = works.run(*plan.stages, trigger=plan.options.trigger, stands_for=plan.options.stands_for)
    assert (run.status, works.served()) == ("done", built)
    assert built > before
    with open_ledger(works.settings) as ledger:
        assert failed_run(ledger.newest(), None) is None
