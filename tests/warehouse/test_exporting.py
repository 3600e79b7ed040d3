"""A release as Parquet: whoever follows current.json sees one release, whole, whatever dies."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pandas
import pyarrow.parquet
import pytest
from released import make_build, release
from test_s3 import SECRET, Bucket, bucket, server  # noqa: F401

from warehouse.errors import ConfigurationError, ExportError, ReleaseError
from warehouse.export_places import Folder
from warehouse.exporting import export
from warehouse.files import temporary
from warehouse.releases import publish, releases, rollback
from warehouse.settings import Keep, Settings

IDS = [f"2026010{n}T000000000000" for n in range(1, 8)]
TABLES = {"marts.fct_orders": 3, "features.feat_orders": 2}


def put_out(settings: Settings, number: int, *more: str, **changes: Any) -> str:
    """Publish the release with this number, which stands in every row of its tables."""
    made = release(IDS[number], tables=TABLES, **changes)
    build = make_build(
        settings,
        made.id,
        f"create table marts.fct_orders as select {number} as number, range as id from range(3)",
        f"create table features.feat_orders as select {number} as number from range(2)",
        *more,
    )
    publish(settings, build, made)
    return made.id


def tree(place: Path) -> dict[str, tuple[int, int]]:
    """Every file with its time of writing and its node."""
    return {
        path.relative_to(place).as_posix(): (path.lstat().st_mtime_ns, path.lstat().st_ino)
        for path in place.rglob("*")
    }


def told(place: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((place / "current.json").read_text())
    return content


def numbers(place: Path) -> set[int]:
    """The releases that the tables are of which current.json names."""
    with duckdb.connect() as con:
        found: set[int] = set()
        for file in told(place)["tables"].values():
            rows = con.execute(f"select distinct number from '{place / file}'").fetchall()
            found |= {row[0] for row in rows}
    return found


def test_release_is_there_as_parquet_with_what_it_is(settings: Settings, tmp_path: Path) -> None:
    name, out = put_out(settings, 1), tmp_path / "a" / "out"
    done = export(settings, str(out))
    assert (done.release, done.files, done.removed) == (name, 2, ())
    content = json.loads((out / "current" / "release.json").read_text())
    assert (content["release"], content["lake_snapshot"], content["verdict"]) == (name, 1, "pass")
    table = content["tables"]["marts.fct_orders"]
    file = out / "releases" / name / table["file"]
    assert (table["rows"], table["bytes"]) == (3, file.stat().st_size)
    assert table["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert table["columns"] == {"number": "INTEGER", "id": "BIGINT"}
    assert told(out)["tables"]["marts.fct_orders"] == f"releases/{name}/marts/fct_orders.parquet"
    assert list(pandas.read_parquet(out / "current" / table["file"])["id"]) == [0, 1, 2]
    kept = pyarrow.parquet.ParquetFile(file).metadata.row_group(0).column(0)
    assert kept.compression == "ZSTD"


def test_rows_keep_their_order_and_come_in_groups(settings: Settings, tmp_path: Path) -> None:
    sql = "create table marts.fct_long as select 300_000 - range as id from range(300_000)"
    made = release(IDS[0], tables={"marts.fct_long": 300_000})
    publish(settings, make_build(settings, made.id, sql), made)
    export(settings, str(tmp_path / "out"))
    file = pyarrow.parquet.ParquetFile(tmp_path / "out/current/marts/fct_long.parquet")
    groups = [file.metadata.row_group(n).num_rows for n in range(file.metadata.num_row_groups)]
    assert groups == [122_880, 122_880, 54_240]
    assert file.read()["id"].to_pylist() == list(range(300_000, 0, -1))


def test_wide_numbers_stay_exact(settings: Settings, tmp_path: Path) -> None:
    sql = (
        "create table marts.t as select 170141183460469231731::hugeint as wide,"
        " [1::uhugeint] as list, {'HUGEINT': 1::integer} as \"my HUGEINT\", 'a'::enum('a') as e,"
        " 1.50::decimal(9, 2) as cents, timestamptz '2026-01-01 00:00:00+00' as at, null::int as n"
    )
    made = release(IDS[0], tables={"marts.t": 1})
    publish(settings, make_build(settings, made.id, sql), made)
    export(settings, str(tmp_path / "out"))
    content = json.loads((tmp_path / "out/current/release.json").read_text())
    assert content["tables"]["marts.t"]["columns"] == {
        "wide": "DECIMAL(38,0)",
        "list": "DECIMAL(38,0)[]",
        "my HUGEINT": "STRUCT(HUGEINT INTEGER)",
        "e": "VARCHAR",
        "cents": "DECIMAL(9,2)",
        "at": "TIMESTAMP WITH TIME ZONE",
        "n": "INTEGER",
    }
    (row,) = pyarrow.parquet.read_table(tmp_path / "out/current/marts/t.parquet").to_pylist()
    assert int(row["wide"]) == 170141183460469231731


def test_same_release_again_is_nothing_to_do(settings: Settings, tmp_path: Path) -> None:
    put_out(settings, 1)
    export(settings, str(tmp_path / "out"))
    before = tree(tmp_path / "out")
    done = export(settings, str(tmp_path / "out"))
    assert (done.files, done.bytes, done.removed) == (0, 0, ())
    assert tree(tmp_path / "out") == before


def test_next_release_takes_its_place_and_old_ones_go(settings: Settings, tmp_path: Path) -> None:
    few, out = replace(settings, keep=Keep(releases=1)), tmp_path / "out"
    for number in (1, 2, 3):
        put_out(settings, number)
        export(few, str(out))
        assert numbers(out) == {number}
        assert (out / "current").resolve().name == IDS[number]
    assert [path.name for path in sorted((out / "releases").iterdir())] == [IDS[2], IDS[3]]
    assert told(out)["before"] == IDS[2]
    rollback(settings, IDS[2])
    assert export(few, str(out)).files == 0
    assert (numbers(out), told(out)["before"]) == ({2}, IDS[3])
    rollback(settings, IDS[1])
    done = export(few, str(out))
    assert (done.files, done.removed) == (2, ())
    assert numbers(out) == {1}


@pytest.mark.parametrize("broken", ["file", "release.json", "current.json", "current"])
def test_what_is_missing_is_made_again(settings: Settings, tmp_path: Path, broken: str) -> None:
    name, out = put_out(settings, 1), tmp_path / "out"
    export(settings, str(out))
    inside = out / "releases" / name
    files = {"file": inside / "marts/fct_orders.parquet", "release.json": inside / "release.json"}
    files.get(broken, out / broken).unlink()
    export(settings, str(out))
    assert numbers(out) == {1}
    assert (out / "current" / "release.json").exists()
    assert sorted(path.name for path in out.iterdir()) == ["current", "current.json", "releases"]
    assert [path.name for path in (out / "releases").iterdir()] == [name]


def test_nothing_published_is_told(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="nothing is published yet"):
        export(settings, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_home_is_no_place_to_export_to(settings: Settings, tmp_path: Path) -> None:
    put_out(settings, 1)
    other = tmp_path / "other"
    other.mkdir()
    (other / "writer.lock").touch()
    link = tmp_path / "link"
    link.symlink_to(settings.home)
    for place in (settings.home, settings.releases, other, other / "a" / "b", link / "reports"):
        with pytest.raises(ConfigurationError, match="a home of Clearwater"):
            export(settings, str(place))
    assert [file.name for file in settings.releases.iterdir()] == [releases(settings)[0].id]


def test_foreign_files_are_left_alone(settings: Settings, tmp_path: Path) -> None:
    out, few = tmp_path / "out", replace(settings, keep=Keep(releases=1))
    out.mkdir()
    (out / "notes.txt").write_text("a person's")
    put_out(settings, 1)
    export(few, str(out))
    mine = out / "releases" / "mine" / "release.json"
    others = [out / ".notes.tmp", temporary(out / "notes"), out / "releases" / ".x.tmp" / "notes"]
    others += [temporary(out / "releases" / "notes") / "notes"]
    for file in (mine, *others):
        file.parent.mkdir(exist_ok=True)
        file.write_text("a person's")
    begun = [temporary(out / "releases" / IDS[1]), temporary(out / "current.json")]
    begun[0].mkdir()
    begun[1].touch()
    for number in (2, 3):
        put_out(settings, number)
        export(few, str(out))
    for file in (mine, *others, out / "notes.txt"):
        assert file.read_text() == "a person's"
    assert not any(path.exists() for path in begun)


SOMEBODYS = {
    "current.json": ("current.json", '{"release": "v7", "tables": {}}'),
    "a list": ("current.json", "[]"),
    "no text": ("current.json", "\udcff"),
    "a folder for a link": ("current/app.py", "x"),
    "releases": ("releases/v7/app.py", "x"),
    "a file among releases": ("releases/notes.txt", "x"),
    "releases of a home": (f"releases/{IDS[1]}/release.json", '{"id": "x", "tables": {}}'),
    "of another release": (
        f"releases/{IDS[1]}/release.json",
        json.dumps({"release": IDS[2], "tables": {}}),
    ),
    "other files": (f"releases/{IDS[1]}/app.py", "x"),
}


@pytest.mark.parametrize(("name", "text"), SOMEBODYS.values(), ids=SOMEBODYS)
def test_what_no_export_wrote_is_not_replaced(
    settings: Settings, tmp_path: Path, name: str, text: str
) -> None:
    put_out(settings, 1)
    file = tmp_path / "out" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(text.encode(errors="surrogateescape"))
    before = tree(tmp_path / "out")
    with pytest.raises(ConfigurationError, match="no export of Clearwater wrote it") as caught:
        export(settings, str(tmp_path / "out"))
    assert caught.value.what.split(" ")[0] in name
    assert tree(tmp_path / "out") == before


def test_link_that_leads_elsewhere_is_not_replaced(settings: Settings, tmp_path: Path) -> None:
    put_out(settings, 1)
    link = tmp_path / "out" / "current"
    link.parent.mkdir()
    link.symlink_to("releases/v7")
    with pytest.raises(ConfigurationError, match="current is there, and no export"):
        export(settings, str(link.parent))
    assert link.readlink() == Path("releases/v7")


def test_first_export_that_was_killed_is_ended_by_the_next(
    settings: Settings, tmp_path: Path
) -> None:
    put_out(settings, 1)
    killed = 0
    for moment in (1, 2, 3, 5, 6, 7, 8, 9):
        out = tmp_path / f"out{moment}"
        killed += kill(settings, str(out), moment)
        export(settings, str(out))
        assert numbers(out) == {1}
        assert [path.name for path in (out / "releases").iterdir()] == [IDS[1]]
    assert killed >= 5


def test_place_that_cannot_be_written_is_told(settings: Settings, tmp_path: Path) -> None:
    put_out(settings, 1)
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExportError, match=r"file.*: it cannot be written: Not a directory"):
        export(settings, str(tmp_path / "file" / "out"))


def test_what_is_read_back_otherwise_is_not_exported(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_out(settings, 1)
    export(settings, str(tmp_path / "out"))
    put_out(settings, 2)
    put = Folder.put
    monkeypatch.setattr(Folder, "put", lambda *told: put(*told) - 1)
    with pytest.raises(ExportError, match="what was written is not what is read back"):
        export(settings, str(tmp_path / "out"))
    assert numbers(tmp_path / "out") == {1}


def test_reader_who_follows_current_json_never_sees_two_releases(
    settings: Settings, tmp_path: Path
) -> None:
    few, out = replace(settings, keep=Keep(releases=1)), tmp_path / "out"
    put_out(settings, 1)
    export(few, str(out))
    seen: list[set[int]] = []
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            seen.append(numbers(out))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(2, 7):
        put_out(settings, number)
        export(few, str(out))
        reads = len(seen)
        while len(seen) < reads + 2 and reader.is_alive():
            pass
    is_over.set()
    reader.join()
    assert all(len(found) == 1 for found in seen)
    assert {1, 6} <= set().union(*seen)


# -- killed -------------------------------------------------------------------------------------

KILLED = """
import os, sys
from pathlib import Path

from warehouse import export_places, exporting
from warehouse.settings import Keep, Settings

left = int(sys.argv[3])


def step(*_):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), 9)


EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink"}
sys.addaudithook(lambda event, _: event in EVENTS and step())


def counting(function):
    def call(*told):
        step()
        result = function(*told)
        step()
        return result

    return call


for name in ("put", "_send"):
    if hasattr(export_places.Bucket, name):
        setattr(export_places.Bucket, name, counting(getattr(export_places.Bucket, name)))
exporting.export(Settings(Path(sys.argv[1]), 2, "1GiB", keep=Keep(releases=1)), sys.argv[2])
"""


def kill(settings: Settings, place: str, moment: int) -> bool:
    """Export in a process of its own that dies at the moment; whether it did not end before."""
    command = [sys.executable, "-c", KILLED, str(settings.home), place, str(moment)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ})
    assert done.returncode in (0, -9), done.stderr
    return done.returncode == -9


def test_killed_export_is_ended_by_the_next(settings: Settings, tmp_path: Path) -> None:
    out, few = tmp_path / "out", replace(settings, keep=Keep(releases=1))
    put_out(settings, 1)
    export(few, str(out))
    killed = 0
    for number, moment in ((2, 2), (3, 5), (4, 6), (5, 8)):
        put_out(settings, number)
        killed += kill(settings, str(out), moment)
        assert len(numbers(out)) == 1
        export(few, str(out))
        assert numbers(out) == {number}
        assert len(list((out / "releases").iterdir())) == 2
    assert killed == 4


# -- S3 -----------------------------------------------------------------------------------------


def objects(bucket: Bucket) -> dict[str, int]:  # noqa: F811
    listed = bucket.client.list_objects_v2(Bucket="shop").get("Contents", [])
    return {item["Key"]: item["Size"] for item in listed if not item["Key"].endswith("/")}


def fetched(bucket: Bucket, to: Path) -> Path:  # noqa: F811
    """What stands below the prefix, in a folder."""
    shutil.rmtree(to, ignore_errors=True)
    for key in objects(bucket):
        file = to / key.removeprefix("marts/")
        file.parent.mkdir(parents=True, exist_ok=True)
        bucket.client.download_file("shop", key, str(file))
    return to


def test_release_is_exported_to_s3(
    settings: Settings,
    bucket: Bucket,  # noqa: F811
    tmp_path: Path,
) -> None:
    few = replace(settings, keep=Keep(releases=1))
    bucket.put("marts/notes.txt", "a person's")
    for number in (1, 2, 3):
        put_out(settings, number)
        assert export(few, "s3://shop/marts").files == 2
        assert numbers(fetched(bucket, tmp_path / "got")) == {number}
    assert sorted(objects(bucket)) == [
        "marts/current.json",
        "marts/notes.txt",
        *(
            f"marts/releases/{IDS[number]}/{file}"
            for number in (2, 3)
            for file in ("features/feat_orders.parquet", "marts/fct_orders.parquet", "release.json")
        ),
    ]
    bucket.asked()
    assert export(few, "s3://shop/marts/").files == 0
    assert {line.split()[0] for line in bucket.asked()} <= {"GET", "HEAD"}
    assert not list(settings.tmp.rglob("*.parquet"))


def test_s3_that_refuses_is_told_without_secrets(
    settings: Settings,
    bucket: Bucket,  # noqa: F811
) -> None:
    put_out(settings, 1)
    for place, said in (("s3://none/x", "there is no such bucket"), ("s3://", "does not name")):
        with pytest.raises((ExportError, ConfigurationError), match=said) as caught:
            export(settings, place)
        assert SECRET not in str(caught.value)
        assert "sources.yml" not in str(caught.value)
    assert objects(bucket) == {}


@pytest.mark.parametrize("moment", [1, 2, 4, 6, 7, 8])
def test_export_to_s3_killed_is_ended_by_the_next(
    settings: Settings,
    bucket: Bucket,  # noqa: F811
    tmp_path: Path,
    moment: int,
) -> None:
    few, place = replace(settings, keep=Keep(releases=1)), "s3://shop/marts"
    put_out(settings, 1)
    export(few, place)
    put_out(settings, 2)
    assert kill(settings, place, moment)
    assert numbers(fetched(bucket, tmp_path / "got")) in ({1}, {2})
    put_out(settings, 3)
    export(few, place)
    got = fetched(bucket, tmp_path / "got")
    assert numbers(got) == {3}
    assert len(list((got / "releases").iterdir())) == 2
    assert all((folder / "release.json").exists() for folder in (got / "releases").iterdir())


@pytest.mark.parametrize(
    ("name", "text"),
    [pair for name, pair in SOMEBODYS.items() if not name.startswith("a folder")],
)
def test_what_no_export_wrote_in_a_bucket_is_not_replaced(
    settings: Settings,
    bucket: Bucket,  # noqa: F811
    name: str,
    text: str,
) -> None:
    put_out(settings, 1)
    bucket.put(f"marts/{name}", text.encode(errors="replace").decode())
    with pytest.raises(ConfigurationError, match="no export of Clearwater wrote it"):
        export(settings, "s3://shop/marts")
    assert list(objects(bucket)) == [f"marts/{name}"]


def test_objects_of_somebody_else_are_left_alone(
    settings: Settings,
    bucket: Bucket,  # noqa: F811
) -> None:
    put_out(settings, 1)
    bucket.put(f"marts/releases/{IDS[1]}/marts/fct_orders.parquet", "half")
    bucket.put(f"marts/releases/{IDS[2]}/marts/fct_orders.parquet", "half")
    export(settings, "s3://shop/marts")
    bucket.put("marts/releases/v7/app.py", "x")
    bucket.put(f"marts/releases/{IDS[3]}/app.py", "x")
    put_out(settings, 4)
    export(settings, "s3://shop/marts")
    names = {key.split("/")[2] for key in objects(bucket) if key.startswith("marts/releases/")}
    assert names == {IDS[1], "v7", IDS[3], IDS[4]}
