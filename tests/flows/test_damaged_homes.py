"""Homes with damaged files, or with somebody else's: one message each, and the rest goes on."""

from __future__ import annotations

import json

import pytest
from broken_homes import copied_release
from command_line import Clearwater
from handmade import sources_file
from works import MERGE, Works


@pytest.fixture
def home(works: Works, monkeypatch: pytest.MonkeyPatch) -> Works:
    """A home with a release, which commands take for theirs."""
    monkeypatch.setenv("CLEARWATER_HOME", str(works.settings.home))
    return works


def test_folder_of_somebody_else_among_the_releases(clearwater: Clearwater, home: Works) -> None:
    notes = home.settings.releases / "notes" / "release.json"
    notes.parent.mkdir()
    notes.write_text('{"a": 1}')
    assert clearwater("run", "--sources", sources_file(home.folder, MERGE)).code == 0
    assert clearwater("prune", "--yes").code == 0
    assert [told["id"] for told in json.loads(clearwater("releases", "--json").out)] == [
        home.served()
    ]
    assert notes.read_text() == '{"a": 1}'


def test_older_release_that_cannot_be_read(clearwater: Clearwater, home: Works) -> None:
    file = copied_release(home, "20200101T000000000000") / "release.json"
    file.write_text("{")
    assert clearwater("run", "--sources", sources_file(home.folder, MERGE)).code == 0
    pruned, listed = clearwater("prune", "--yes"), clearwater("releases")
    assert (pruned.code, listed.code) == (0, 0)
    assert "release.json cannot be read" in pruned.out
    assert f"warning: {file}: release.json cannot be read" in listed.err
    assert home.served() in listed.out
    refused = clearwater("rollback", "20200101T000000000000")
    assert (refused.code, str(file) in refused.told) == (1, True)
    assert file.exists()


def test_release_served_that_cannot_be_read(clearwater: Clearwater, home: Works) -> None:
    served = home.served()
    older = copied_release(home, "20200101T000000000000").name
    file = home.settings.releases / served / "release.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"colour": 1}))
    shown = clearwater("status")
    assert shown.code == 0
    assert f"unread    {home.settings.current}/release.json: " in shown.out
    assert "does not know colour" in shown.out
    assert "payments.transactions" in shown.out
    (unread,) = json.loads(clearwater("status", "--json").out)["unread"]
    assert "does not know colour" in unread["what"]
    assert clearwater("prune", "--yes").code == 0
    ran = clearwater("run", "--sources", sources_file(home.folder, MERGE))
    assert (ran.code, "does not know colour" in ran.told) == (1, True)
    assert older in clearwater("releases").out
    assert clearwater("rollback", older).code == 0
    assert older in clearwater("status").out
