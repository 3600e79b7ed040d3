"""Landing: what arrived is kept as it came."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse import landing
from warehouse.errors import BatchRefusedError
from warehouse.files import temporary
from warehouse.landing import Count, Known, Landed, arrivals, content_path, sweep_landing
from warehouse.places import LocalFile, Place
from warehouse.settings import Settings
from warehouse.sources import Source

ORDERS = Source(name="shop.orders", path="*.csv")
MERGED = Source(name="shop.orders", path="*.csv", key=("id",), write="merge")


def of(settings: Settings, source: Source) -> list[Landed]:
    return [landed for landed in arrivals(settings) if landed.source == source.name]


def land(
    settings: Settings, source: Source, file: Path, before: list[Landed]
) -> tuple[Landed, bool]:
    return landing.land(settings, source, LocalFile(source.name, file), Known(before), {})


def land_text(
    settings: Settings, folder: Path, text: str, name: str = "a.csv", source: Source = ORDERS
) -> Landed:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(text)
    return land(settings, source, file, of(settings, source))[0]


@given(content=st.binary(max_size=300))
def test_bytes_are_kept_as_they_came(settings: Settings, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(content)
    landed, _ = land(settings, ORDERS, file, [])
    assert content_path(settings, landed.sha256).read_bytes() == content
    assert landed.sha256 == hashlib.sha256(content).hexdigest()


def test_kept_bytes_are_read_only(settings: Settings, tmp_path: Path) -> None:
    landed = land_text(settings, tmp_path, "id\n1\n")
    assert content_path(settings, landed.sha256).stat().st_mode & 0o777 == 0o444


def test_sidecar_tells_source_name_time_and_size(settings: Settings, tmp_path: Path) -> None:
    landed = land_text(settings, tmp_path, "id\n1\n")
    (sidecar,) = settings.landing.glob("??/*.json")
    told = json.loads(sidecar.read_text())
    assert told | {"pruned_at": "", "members": ()} == vars(landed)
    assert (told["source"], told["original_name"], told["size"]) == ("shop.orders", "a.csv", 5)


def test_same_bytes_twice_are_one_arrival(settings: Settings, tmp_path: Path) -> None:
    first = land_text(settings, tmp_path, "id\n1\n")
    again = land_text(settings, tmp_path, "id\n1\n", name="copy.csv")
    assert (again, arrivals(settings)) == (first, [first])


def test_known_bytes_are_not_new(settings: Settings, tmp_path: Path) -> None:
    land_text(settings, tmp_path, "id\n1\n")
    assert land(settings, ORDERS, tmp_path / "a.csv", arrivals(settings))[1] is False


def test_other_bytes_of_a_known_size_are_kept(settings: Settings, tmp_path: Path) -> None:
    land_text(settings, tmp_path, "id\n1\n")
    (tmp_path / "b.csv").write_text("id\n2\n")
    landed, is_new = land(settings, ORDERS, tmp_path / "b.csv", arrivals(settings))
    assert is_new
    assert content_path(settings, landed.sha256).read_text() == "id\n2\n"


def test_one_name_with_two_contents_is_two_arrivals(settings: Settings, tmp_path: Path) -> None:
    land_text(settings, tmp_path, "id\n1\n")
    land_text(settings, tmp_path, "id\n2\n")
    assert [landed.original_name for landed in arrivals(settings)] == ["a.csv", "a.csv"]


def test_bytes_that_return_arrive_again_where_order_matters(
    settings: Settings, tmp_path: Path
) -> None:
    texts = ["id\n1\n", "id\n2\n", "id\n1\n", "id\n1\n", "id\n2\n"]
    ids = [land_text(settings, tmp_path, text, source=MERGED).batch_id for text in texts]
    assert ids[2] == ids[3]
    assert len({*ids}) == len(of(settings, MERGED)) == 4


def test_bytes_that_return_are_known_where_it_does_not(settings: Settings, tmp_path: Path) -> None:
    ids = [land_text(settings, tmp_path, f"id\n{n}\n").batch_id for n in (1, 2, 1)]
    assert ids[0] == ids[2] != ids[1]


def test_one_name_in_two_folders_does_not_return(settings: Settings, tmp_path: Path) -> None:
    for _ in range(2):
        land_text(settings, tmp_path / "one", "id\n1\n", source=MERGED)
        land_text(settings, tmp_path / "two", "id\n2\n", source=MERGED)
    assert len(of(settings, MERGED)) == 2


def test_two_sources_may_bring_the_same_bytes(settings: Settings, tmp_path: Path) -> None:
    one = land_text(settings, tmp_path, "id\n1\n")
    other, is_new = land(settings, Source(name="shop.returns", path="x"), tmp_path / "a.csv", [])
    assert is_new
    assert other.sha256 == one.sha256
    assert other.batch_id != one.batch_id


def test_file_that_is_gone_is_refused(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(BatchRefusedError, match=r"shop\.orders.*gone\.csv.*cannot be read"):
        land(settings, ORDERS, tmp_path / "gone.csv", [])


def test_folder_is_no_file(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(BatchRefusedError, match="not a file"):
        land(settings, ORDERS, tmp_path, [])


def test_file_that_grows_meanwhile_is_refused(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id\n1\n")
    keep = landing._keep

    def keep_while_written(settings: Settings, place: Place, count: Count) -> str:
        sha256 = keep(settings, place, count)
        file.write_text("id\n1\n2\n")
        return sha256

    monkeypatch.setattr(landing, "_keep", keep_while_written)
    with pytest.raises(BatchRefusedError, match="changed while it was read"):
        land(settings, ORDERS, file, [])
    assert arrivals(settings) == []


def test_file_that_vanishes_meanwhile_is_refused(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id\n1\n")
    keep = landing._keep

    def keep_and_remove(settings: Settings, place: Place, count: Count) -> str:
        sha256 = keep(settings, place, count)
        file.unlink()
        return sha256

    monkeypatch.setattr(landing, "_keep", keep_and_remove)
    with pytest.raises(BatchRefusedError, match=r"shop\.orders: a\.csv: the file cannot be read"):
        land(settings, ORDERS, file, [])
    assert arrivals(settings) == []


def test_file_rewritten_with_its_size_and_time_is_found(settings: Settings, tmp_path: Path) -> None:
    land_text(settings, tmp_path, "id\n1\n")
    file = tmp_path / "a.csv"
    before = file.stat()
    file.write_text("id\n2\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert land(settings, ORDERS, file, arrivals(settings))[1] is True


def test_failed_write_leaves_nothing(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(landing.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        land_text(settings, tmp_path, "id\n1\n")
    assert [path for path in settings.landing.rglob("*") if path.is_file()] == []


def test_sweep_removes_half_written_files_alone(settings: Settings, tmp_path: Path) -> None:
    landed = land_text(settings, tmp_path, "id\n1\n")
    temporary(settings.landing / "arriving").write_text("half")
    temporary(settings.landing / landed.sha256[:2] / "x.json").write_text("half")
    (settings.landing / ".mine.tmp").write_text("a person's")
    sweep_landing(settings)
    assert list(settings.landing.rglob(".*.tmp")) == [settings.landing / ".mine.tmp"]
    assert arrivals(settings) == [landed]
