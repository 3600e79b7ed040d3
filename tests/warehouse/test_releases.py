"""Releases: one atomic flip, going back, holding, keeping a few."""

from __future__ import annotations

import json
import shutil

import duckdb
import pytest
from released import make_build, put_out, release

from warehouse import releases
from warehouse.errors import ReleaseError
from warehouse.releases import current, folder, held_at, new_id, prune, publish, resume, rollback
from warehouse.settings import Keep, Settings


def test_publishing_flips_the_link(settings: Settings) -> None:
    put_out(settings, "a", "b")
    assert settings.current.readlink().as_posix() == "releases/b"
    assert current(settings) == release("b")
    assert list(settings.builds.iterdir()) == []


def test_published_file_is_read_only_and_its_stem_constant(settings: Settings) -> None:
    put_out(settings, "a")
    file = settings.current / "warehouse.duckdb"
    assert file.stat().st_mode & 0o777 == 0o444
    with duckdb.connect(str(file), read_only=True) as con:
        assert con.execute("select current_database()").fetchone() == ("warehouse",)


def test_failed_publishing_leaves_the_line_as_it_was(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_out(settings, "a")
    build = make_build(settings, "b")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(releases, "sync", full)
        with pytest.raises(OSError, match="No space left"):
            publish(settings, build, release("b"))
    assert [found.id for found in releases.releases(settings)] == ["a"]
    assert current(settings) == release("a")


def test_open_reader_keeps_its_release(settings: Settings) -> None:
    put_out(settings, "a")
    reader = duckdb.connect(str(settings.current / "warehouse.duckdb"), read_only=True)
    put_out(settings, *(f"b{n}" for n in range(Keep().releases)))
    assert prune(settings) == ["a"]
    assert reader.execute("select count(*) from marts.fct_orders").fetchone() == (2,)
    reader.close()


def test_ids_sort_by_time_even_when_the_clock_goes_back(settings: Settings) -> None:
    names = ["99991231T000000000000"]
    for _ in range(3):
        put_out(settings, names[-1])
        names.append(new_id(settings))
    assert names == sorted({*names})
    assert {len(name) for name in names} == {len(names[0])}


def test_newest_releases_are_kept(settings: Settings) -> None:
    names = [f"r{n}" for n in range(Keep().releases + 2)]
    put_out(settings, *names)
    assert prune(settings) == names[:2]
    assert [found.id for found in releases.releases(settings)] == names[2:]
    assert prune(settings) == []


def test_current_release_is_kept_however_old(settings: Settings) -> None:
    put_out(settings, *(f"r{n}" for n in range(Keep().releases + 2)))
    rollback(settings, "r0")
    assert prune(settings) == ["r1"]
    assert current(settings) == release("r0")


def test_rollback_holds_until_resume(settings: Settings) -> None:
    put_out(settings, "a", "b")
    assert held_at(settings) is None
    assert rollback(settings, "a") == release("a") == current(settings)
    assert held_at(settings) == "a"
    assert resume(settings) is True
    assert (held_at(settings), resume(settings)) == (None, False)


def test_rollback_to_an_unknown_release_changes_nothing(settings: Settings) -> None:
    put_out(settings, "a", "b")
    with pytest.raises(ReleaseError, match=r"no release 'c'\n.*a, b"):
        rollback(settings, "c")
    assert (held_at(settings), current(settings)) == (None, release("b"))


@pytest.mark.parametrize("name", ["../releases/a", ".", "..", "", "a/../a", "/etc"])
def test_id_is_no_path(settings: Settings, name: str) -> None:
    put_out(settings, "a")
    with pytest.raises(ReleaseError):
        folder(settings, name)


def test_no_release_says_what_to_do(settings: Settings) -> None:
    with pytest.raises(ReleaseError, match=r"nothing is published yet\n  next: run"):
        folder(settings)


def test_broken_release_is_named(settings: Settings) -> None:
    put_out(settings, "a")
    file = settings.current / "release.json"
    file.write_text(json.dumps({"id": "a"}))
    with pytest.raises(ReleaseError, match="cannot be read") as caught:
        current(settings)
    assert "release.json" in caught.value.where


@pytest.mark.parametrize("how", [shutil.copytree, shutil.move])
def test_home_may_be_copied_and_moved(settings: Settings, how: object) -> None:
    put_out(settings, "a", "b")
    elsewhere = settings.home.with_name("elsewhere")
    options = {"symlinks": True} if how is shutil.copytree else {}
    how(settings.home, elsewhere, **options)  # type: ignore[operator]
    assert current(Settings(elsewhere, 2, "1GiB")) == release("b")
    assert (elsewhere / "current").resolve() == elsewhere / "releases" / "b"


def test_sweep_removes_what_a_killed_run_left(settings: Settings) -> None:
    put_out(settings, "a")
    make_build(settings, "half")
    (make_build(settings, "whole") / "build.json").write_text("{}")
    (settings.home / ".current.1.tmp").symlink_to("releases/b")
    releases.sweep_builds(settings, keep_newest=True)
    assert [path.name for path in settings.builds.iterdir()] == ["whole"]
    releases.sweep_builds(settings, keep_newest=False)
    assert list(settings.builds.iterdir()) == []
    assert list(settings.home.glob(".*.tmp")) == []
    assert current(settings) == release("a")
