"""Feature sets: whole, with a manifest, and only from what passed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from released import A, B, make_build, put_out, release

from warehouse import features
from warehouse.errors import ConfigurationError, GateBlockedError, ReleaseError
from warehouse.features import extract, prune_features, release_named
from warehouse.files import temporary
from warehouse.releases import current, publish
from warehouse.settings import Settings

NAME = "feat_orders"


def rows(place: Path) -> int:
    with duckdb.connect() as con:
        found = con.execute(f"select count(*) from '{place}/data.parquet'").fetchone()
    assert found is not None
    return int(found[0])


def manifest(place: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((place / "manifest.json").read_text())
    return content


def test_extract_is_whole_with_its_manifest(settings: Settings) -> None:
    (made,) = put_out(settings, A)
    place = extract(settings, made, NAME)
    told = manifest(place)
    assert place == settings.features / NAME / A
    assert (told["release"], told["rows"], rows(place)) == (A, 10, 10)
    assert told["columns"] == {"id": "BIGINT", "ordered_at": "TIMESTAMP"}
    assert (told["earliest"], told["latest"]) == ("2026-01-01T00:00:00", "2026-01-10T00:00:00")
    content = (place / "data.parquet").read_bytes()
    assert told["file_sha256"] == hashlib.sha256(content).hexdigest()


def test_extract_is_made_once(settings: Settings) -> None:
    (made,) = put_out(settings, A)
    first = manifest(extract(settings, made, NAME))
    assert manifest(extract(settings, made, NAME)) == first


@pytest.mark.parametrize(
    ("start", "end", "count"),
    [
        ("2026-01-03", None, 8),
        (None, "2026-01-03", 2),
        ("2026-01-03", "2026-01-05", 2),
        ("2026-01-03T02:00:00+02:00", "2026-01-03T00:00:01Z", 1),
        ("2027-01-01", None, 0),
    ],
)
def test_bounds_take_the_start_and_leave_the_end(
    settings: Settings, tmp_path: Path, start: str | None, end: str | None, count: int
) -> None:
    (made,) = put_out(settings, A)
    place = extract(settings, made, NAME, start=start, end=end, out=tmp_path / "out")
    assert (rows(place), manifest(place)["rows"]) == (count, count)


def test_folder_that_is_not_empty_is_left_alone(settings: Settings, tmp_path: Path) -> None:
    (made,) = put_out(settings, A)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(ConfigurationError, match="not empty"):
        extract(settings, made, NAME, out=tmp_path / "out")
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine"]


def test_empty_folder_is_taken(settings: Settings, tmp_path: Path) -> None:
    (made,) = put_out(settings, A)
    (tmp_path / "out").mkdir()
    assert rows(extract(settings, made, NAME, out=tmp_path / "out")) == 10


@pytest.mark.parametrize("wrong", [{"start": "soon"}, {"end": "2026-13-01"}])
def test_no_time_is_an_error(settings: Settings, tmp_path: Path, wrong: dict[str, str]) -> None:
    (made,) = put_out(settings, A)
    with pytest.raises(ConfigurationError, match="ISO 8601"):
        extract(settings, made, NAME, out=tmp_path / "out", **wrong)


def test_unknown_name_tells_the_known(settings: Settings) -> None:
    (made,) = put_out(settings, A)
    with pytest.raises(ConfigurationError, match=r"'feat_x'\n.*feat_orders"):
        extract(settings, made, "feat_x")


def test_release_that_did_not_pass_has_no_extracts(settings: Settings) -> None:
    blocked = release(A, verdict="block")
    publish(settings, make_build(settings, A), blocked)
    with pytest.raises(GateBlockedError):
        extract(settings, blocked, NAME)
    assert not settings.features.exists()


def test_failure_half_way_leaves_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (made,) = put_out(settings, A)

    def full(_file: Path) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(features, "_sha256", full)
    with pytest.raises(OSError, match="No space left"):
        extract(settings, made, NAME)
    assert list((settings.features / NAME).iterdir()) == []


def test_extracts_go_with_their_releases(settings: Settings) -> None:
    (made,) = put_out(settings, A)
    kept = extract(settings, made, NAME)
    for place in (kept.with_name("gone"), temporary(kept.with_name("half"))):
        place.mkdir()
    (settings.releases / A / "release.json").write_text("{}")  # it may be put back
    prune_features(settings)
    assert list((settings.features / NAME).iterdir()) == [kept]


def test_release_is_named_or_the_one_served(settings: Settings) -> None:
    one, two = put_out(settings, A, B)
    assert release_named(settings, None, current(settings)) == two
    assert release_named(settings, A, current(settings)) == one
    with pytest.raises(ReleaseError):
        release_named(settings, "z", current(settings))
