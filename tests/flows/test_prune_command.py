"""`clearwater prune`: it tells what would go and why the rest stays; --yes does it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest
from handmade import payment
from works import Works

from flows import cli
from warehouse import releases
from warehouse.lock import writer_lock

Prune = Callable[..., tuple[int, str]]


@pytest.fixture
def prune(
    works: Works, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Prune:
    """The command on the home of `works`: its exit code and what it printed."""
    monkeypatch.setenv("CLEARWATER_HOME", str(works.settings.home))

    def call(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["clearwater", "prune", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code in (None, 0, 4)
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out + err

    return call


def test_home_of_one_run_has_nothing_to_prune(works: Works, prune: Prune) -> None:
    code, said = prune()
    assert code == 0
    assert "there is nothing to prune" in said
    assert f"releases/{works.served()}" in said
    assert "current; one of the newest 5" in said
    assert "keep.landing is forever" in said


@pytest.mark.slow
def test_dry_run_tells_what_yes_removes(
    works: Works, prune: Prune, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = works.served()
    works.put([payment(4, day=4)], "payments2.csv")
    assert works.run().exit_code == 0
    monkeypatch.setenv("CLEARWATER_KEEP_RELEASES", "1")
    monkeypatch.setenv("CLEARWATER_KEEP_REPORTS", "1s")
    monkeypatch.setenv("CLEARWATER_KEEP_SNAPSHOTS", "1s")
    code, said = prune()
    assert code == 0
    assert f"releases/{first}" in said
    assert "`clearwater prune --yes` removes" in said
    told = json.loads(prune("--json")[1])
    assert told["removed"] is False
    assert {(item["kind"], item["path"]) for item in told["gone"]} >= {
        ("releases", f"releases/{first}"),
        ("features", f"features/feat_transactions__behaviour/{first}"),
    }
    assert [release.id for release in releases.releases(works.settings)] == [first, works.served()]
    done = json.loads(prune("--yes", "--json")[1])
    assert (done["gone"], done["bytes"]) == (told["gone"], told["bytes"])
    assert [release.id for release in releases.releases(works.settings)] == [works.served()]
    assert json.loads(prune("--json")[1])["gone"] == []
    works.put([payment(5, day=5)], "payments3.csv")
    assert works.run().exit_code == 0
    assert len(works.ask("select 1 from marts.fct_transactions")) == 5


def test_it_waits_for_no_other_writer_unless_asked(works: Works, prune: Prune) -> None:
    with writer_lock(works.settings):
        assert prune("--yes")[0] == 4
        assert prune()[0] == 0


@pytest.mark.slow
def test_features_that_were_asked_for_keep_their_release(
    works: Works,
    prune: Prune,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, name = works.served(), "feat_transactions__behaviour"
    monkeypatch.setattr(sys, "argv", ["clearwater", "features", "extract", name])
    with pytest.raises(SystemExit):
        cli.main()
    assert first in capsys.readouterr().out
    works.put([payment(4, day=4)], "payments2.csv")
    assert works.run().exit_code == 0
    monkeypatch.setenv("CLEARWATER_KEEP_RELEASES", "1")
    said = prune("--yes")[1]
    assert f"{name} was extracted from it by command" in said
    assert [release.id for release in releases.releases(works.settings)] == [first, works.served()]
