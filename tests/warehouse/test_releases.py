"""Releases: one atomic flip, going back, holding, keeping a few."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import duckdb
import pytest
from released import A, B, C, make_build, numbered, put_out, release

from warehouse import releases
from warehouse.errors import ReleaseError
from warehouse.files import temporary
from warehouse.releases import current, folder, held_at, new_id, prune, publish, resume, rollback
from warehouse.settings import Keep, Settings


def test_publishing_flips_the_link(settings: Settings) -> None:
    put_out(settings, A, B)
    assert settings.current.readlink().as_posix() == f"releases/{B}"
    assert current(settings) == release(B)
    assert list(settings.builds.iterdir()) == []


def test_published_file_is_read_only_and_its_stem_constant(settings: Settings) -> None:
    put_out(settings, A)
    file = settings.current / "warehouse.duckdb"
    assert file.stat().st_mode & 0o777 == 0o444
    with duckdb.connect(str(file), read_only=True) as con:
        assert con.execute("select current_database()").fetchone() == ("warehouse",)


def test_failed_publishing_leaves_the_line_as_it_was(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_out(settings, A)
    build = make_build(settings, B)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(releases, "sync", full)
        with pytest.raises(OSError, match="No space left"):
            publish(settings, build, release(B))
    assert [found.id for found in releases.releases(settings)] == [A]
    assert current(settings) == release(A)


def test_open_reader_keeps_its_release(settings: Settings) -> None:
    put_out(settings, A)
    reader = duckdb.connect(str(settings.current / "warehouse.duckdb"), read_only=True)
    put_out(settings, *(numbered(n) for n in range(2, Keep().releases + 2)))
    assert prune(settings) == [A]
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
    names = [numbered(n) for n in range(Keep().releases + 2)]
    put_out(settings, *names)
    assert prune(settings) == names[:2]
    assert [found.id for found in releases.releases(settings)] == names[2:]
    assert prune(settings) == []


def test_current_release_is_kept_however_old(settings: Settings) -> None:
    put_out(settings, *(numbered(n) for n in range(Keep().releases + 2)))
    rollback(settings, numbered(0))
    assert prune(settings) == [numbered(1)]
    assert current(settings) == release(numbered(0))


def test_rollback_holds_until_resume(settings: Settings) -> None:
    put_out(settings, A, B)
    assert held_at(settings) is None
    assert rollback(settings, A) == release(A) == current(settings)
    assert held_at(settings) == A
    assert resume(settings) is True
    assert (held_at(settings), resume(settings)) == (None, False)


def test_rollback_to_an_unknown_release_changes_nothing(settings: Settings) -> None:
    put_out(settings, A, B)
    with pytest.raises(ReleaseError, match=rf"no release '{numbered(3)}'\n.*{A}, {B}"):
        rollback(settings, numbered(3))
    assert (held_at(settings), current(settings)) == (None, release(B))


@pytest.mark.parametrize(
    "name", [f"../releases/{A}", ".", "..", "", f"{A}/../{A}", "/etc", f"{A}\n"]
)
def test_id_is_no_path(settings: Settings, name: str) -> None:
    put_out(settings, A)
    with pytest.raises(ReleaseError):
        folder(settings, name)


def test_no_release_says_what_to_do(settings: Settings) -> None:
    with pytest.raises(ReleaseError, match=r"nothing is published yet\n  next: run"):
        folder(settings)


WRONG: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "absent": (lambda told: told.pop("gate"), "it lacks gate"),
    "of a newer version": (
        lambda told: told.update(colour=1, shape=2),
        "this version does not know colour; shape",
    ),
    "another kind": (lambda told: told.update(tables=[1]), "tables is not what it should be"),
    "of another release": (lambda told: told.update(id=B), f"it is that of release {B}"),
    "of a wrong line": (
        lambda told: told.update(domains={"shop": {"lake": "l"}}),
        "domain shop: it lacks release",
    ),
}


@pytest.mark.parametrize(("change", "why"), WRONG.values(), ids=WRONG)
def test_release_that_cannot_be_read_is_named(
    settings: Settings, change: Callable[[dict[str, Any]], object], why: str
) -> None:
    put_out(settings, A, B, C)
    file = settings.releases / A / "release.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    (error,) = releases.unreadable(settings).values()
    assert why in error.what
    assert error.where == str(file)
    assert [found.id for found in releases.releases(settings)] == [B, C]
    with pytest.raises(ReleaseError, match="cannot be read"):
        rollback(settings, A)
    assert (held_at(settings), current(settings)) == (None, release(C))


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"id": 1'])
def test_release_served_that_cannot_be_read_keeps_all(settings: Settings, content: str) -> None:
    settings = replace(settings, keep=Keep(releases=1))
    put_out(settings, A, B)
    (settings.current / "release.json").write_text(content)
    with pytest.raises(ReleaseError, match="cannot be read") as caught:
        current(settings)
    assert "`clearwater rollback ID`" in caught.value.next_step
    assert prune(settings) == []
    assert rollback(settings, A) == release(A)


def test_what_is_not_named_as_a_release_is_none(settings: Settings) -> None:
    settings = replace(settings, keep=Keep(releases=1))
    put_out(settings, A, B)
    for name in ("notes", "current", f"{A}-copy", "20260101T0000"):
        (settings.releases / name).mkdir()
        (settings.releases / name / "release.json").write_text('{"a": 1}')
        with pytest.raises(ReleaseError, match="there is no release"):
            folder(settings, name)
    assert releases.unreadable(settings) == {}
    assert prune(settings) == [A]
    assert {path.name for path in settings.releases.iterdir()} == {
        *("notes", "current", f"{A}-copy", "20260101T0000", B)
    }


def test_hold_that_cannot_be_read_is_told(settings: Settings) -> None:
    put_out(settings, A, B)
    rollback(settings, A)
    (settings.releases / "held.json").write_text("{}")
    with pytest.raises(ReleaseError, match="which release is held cannot be read") as caught:
        held_at(settings)
    assert "`clearwater resume`" in caught.value.next_step
    assert resume(settings) is True


@pytest.mark.parametrize("how", [shutil.copytree, shutil.move])
def test_home_may_be_copied_and_moved(settings: Settings, how: object) -> None:
    put_out(settings, A, B)
    elsewhere = settings.home.with_name("elsewhere")
    options = {"symlinks": True} if how is shutil.copytree else {}
    how(settings.home, elsewhere, **options)  # type: ignore[operator]
    assert current(Settings(elsewhere, 2, "1GiB")) == release(B)
    assert (elsewhere / "current").resolve() == elsewhere / "releases" / B


def test_sweep_removes_what_a_killed_run_left(settings: Settings) -> None:
    put_out(settings, A)
    make_build(settings, "half")
    (make_build(settings, "whole") / "build.json").write_text("{}")
    temporary(settings.current).symlink_to(f"releases/{B}")
    releases.sweep_builds(settings, keep_newest=True)
    assert [path.name for path in settings.builds.iterdir()] == ["whole"]
    releases.sweep_builds(settings, keep_newest=False)
    assert list(settings.builds.iterdir()) == []
    assert list(settings.home.glob(".*.tmp")) == []
    assert current(settings) == release(A)
