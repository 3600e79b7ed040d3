"""What `clearwater doctor` finds in a home that somebody, or some crash, has broken."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from broken_homes import copied_release, data_files, gone, noted
from handmade import PAYMENTS, payment, sources_file, write_csv
from works import Works

from flows.checks import machine, places, project, runs, store
from flows.checks.findings import Check, Look, is_caution
from warehouse import duck
from warehouse.errors import ClearwaterError
from warehouse.files import temporary
from warehouse.landing import content_path
from warehouse.lock import writer_lock
from warehouse.processes import this_process
from warehouse.releases import rollback
from warehouse.settings import Server
from warehouse.sources import load_sources
from warehouse.state import open_ledger


def look_at(works: Works, **changed: object) -> Look:
    """What checks are given of a home whose lake can be read."""
    look = Look(sources_file(works.folder), replace(works.settings, **changed))  # type: ignore[arg-type]
    store.lake(look)
    return look


def found(check: Check, look: Look) -> list[ClearwaterError]:
    """What the check finds; each says where, and what to do."""
    try:
        _, wrong = check(look)
    except ClearwaterError as error:
        wrong = [error]
    assert all(error.where and error.next_step for error in wrong)
    return wrong


def told(check: Check, look: Look) -> str:
    """The one thing that the check finds, that is a failure."""
    (error,) = found(check, look)
    assert not is_caution(error)
    return error.what


def cautioned(check: Check, look: Look) -> str:
    """The one thing that it finds, that is none."""
    (error,) = found(check, look)
    assert is_caution(error)
    return error.what


def test_files_of_the_lake_are_those_of_the_catalog(loaded: Works) -> None:
    assert found(store.files, look_at(loaded)) == []
    assert store.files(look_at(loaded))[0] == "1 file as the catalog names them"
    (file,) = data_files(loaded)
    lost = file.parent / "before.parquet"
    shutil.copy(file, lost)
    assert "1 file that no snapshot names" in cautioned(store.files, look_at(loaded))
    lost.unlink()
    with file.open("ab") as handle:
        handle.write(b"more")
    assert "1 file of the lake missing or of another size" in told(store.files, look_at(loaded))
    file.unlink()
    assert file.name in told(store.files, look_at(loaded))


def test_files_of_older_snapshots_alone_are_a_warning(loaded: Works) -> None:
    (file,) = data_files(loaded)
    with closing(sqlite3.connect(loaded.settings.lake_catalog)) as catalog, catalog:
        catalog.execute("update ducklake_data_file set end_snapshot = 99")
    file.unlink()
    assert "1 file of older snapshots missing" in cautioned(store.files, look_at(loaded))


def test_files_of_a_table_that_was_renamed_are_named_once(loaded: Works) -> None:
    with closing(sqlite3.connect(loaded.settings.lake_catalog)) as catalog, catalog:
        catalog.execute(
            "insert into ducklake_table select table_id, table_uuid, 99, null, schema_id, 'other',"
            " path, path_is_relative from ducklake_table where table_name = 'transactions'"
        )
    assert len(store.named_files(loaded.settings)) == 1


def test_files_are_no_orphans_while_somebody_writes(loaded: Works) -> None:
    (file,) = data_files(loaded)
    shutil.copy(file, file.parent / "new.parquet")
    with writer_lock(loaded.settings):
        assert found(store.files, look_at(loaded)) == []


def test_landing_keeps_what_the_ledger_says_is_loaded(works: Works) -> None:
    assert found(store.landing, look_at(works)) == []
    (sidecar,) = works.settings.landing.glob("??/*.json")
    content = sidecar.with_name(sidecar.name.partition(".")[0])
    assert content == content_path(works.settings, content.name)
    content.chmod(0o644)
    content.write_bytes(b"another size")
    assert "changed its size of 1 loaded file" in told(store.landing, look_at(works))
    content.unlink()
    assert "lost its bytes of 1 loaded file: payments.transactions: payments.csv" in told(
        store.landing, look_at(works)
    )
    sidecar.unlink()
    assert len(found(store.landing, look_at(works))) == 2


def test_bytes_that_were_pruned_are_not_lost(works: Works) -> None:
    (sidecar,) = works.settings.landing.glob("??/*.json")
    content_path(works.settings, sidecar.name.partition(".")[0]).unlink()
    assert "lost its bytes" in told(store.landing, look_at(works))
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | {"pruned_at": "2026-01-01"}))
    assert found(store.landing, look_at(works)) == []


def test_what_a_run_writes_meanwhile_is_not_missing(loaded: Works) -> None:
    look = look_at(loaded)
    assert look.tree
    loaded.put([payment(n, day=5) for n in range(3000, 3900)], "payments5.csv")
    loaded.run("land", "load")
    store.lake(look)
    assert found(store.files, look) == []
    assert [error for error in found(store.landing, look) if "bytes" in error.what] == []


def test_landing_of_what_is_not_loaded(works: Works) -> None:
    sha256 = "ab" * 32
    content = content_path(works.settings, sha256)
    content.parent.mkdir()
    content.write_bytes(b"1")
    assert "1 file landed without sidecar: abababababab…" in cautioned(
        store.landing, look_at(works)
    )
    content.rename(content.with_name(f"{sha256}.shop.orders.1.json"))
    assert "1 sidecar without bytes" in told(store.landing, look_at(works))


def test_lake_that_is_older_than_landing(works: Works) -> None:
    before = works.folder / "before"
    shutil.copytree(works.settings.lake_catalog.parent, before)
    works.put([payment(4, day=4)], "payments4.csv")
    works.run("land", "load")
    shutil.rmtree(works.settings.lake_catalog.parent)
    shutil.copytree(before, works.settings.lake_catalog.parent)
    assert "lacks 1 load that landing noted: payments.transactions: payments4.csv" in told(
        store.landing, look_at(works)
    )


def test_release_that_is_held_is_not_to_be_replaced(works: Works) -> None:
    held = rollback(works.settings, works.served()).id
    works.settings.current.unlink()
    (error,) = found(store.release, look_at(works))
    assert f"`clearwater rollback {held}`" in error.next_step
    (works.settings.releases / "held.json").unlink()
    (error,) = found(store.release, look_at(works))
    assert "`clearwater doctor --fix`" in error.next_step


def test_release_that_a_rollback_could_not_serve(works: Works) -> None:
    assert store.releases(look_at(works)) == ("no other", [])
    older = works.settings.releases / "20200101T000000000000"
    copied_release(works, older.name)
    (works.settings.releases / "notes").mkdir()
    assert store.releases(look_at(works)) == ("1 other", [])
    right = (older / "release.json").read_text()
    for wrong in ("{}", right.replace(older.name, works.served())):
        (older / "release.json").write_text(wrong)
        assert "has no release.json" in told(store.releases, look_at(works))
    (older / "release.json").write_text(right)
    works.settings.database(older).unlink()
    assert "cannot be opened" in told(store.releases, look_at(works))


def test_extract_that_is_not_what_its_manifest_says(works: Works) -> None:
    assert found(store.features, look_at(works)) == []
    (manifest,) = works.settings.features.glob("*/*/manifest.json")
    right = manifest.read_text()
    manifest.write_text(json.dumps(json.loads(right) | {"rows": 4}))
    assert "does not have its 4 rows" in told(store.features, look_at(works))
    manifest.write_text(right)
    manifest.with_name("data.parquet").unlink()
    assert "has no data.parquet" in told(store.features, look_at(works))
    manifest.write_text("{")
    assert "has no manifest" in told(store.features, look_at(works))


def test_ledger_with_a_run_that_died(works: Works) -> None:
    with open_ledger(works.settings) as ledger:
        ledger.start("dead")
    assert "1 run noted as running, but nobody writes: dead" in cautioned(
        runs.state, look_at(works)
    )
    with writer_lock(works.settings):
        assert found(runs.state, look_at(works)) == []


def test_ledger_that_is_gone_or_damaged(works: Works) -> None:
    works.settings.state_db.write_bytes(b"")
    assert "cannot be read" in told(runs.state, look_at(works))
    works.settings.state_db.unlink()
    assert "is gone" in cautioned(runs.state, look_at(works))


def test_state_database_that_is_not_reached_keeps_its_password(works: Works) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    for url in (f"postgresql://me:secret@127.0.0.1:{number}/db", "postgresql://me:secret@[x/db"):
        (error,) = found(runs.state, look_at(works, state_url=url))
        assert "secret" not in str(error)
        assert error.where == "CLEARWATER_STATE_URL"


def test_rubbish_of_killed_runs(works: Works) -> None:
    home = works.settings.home
    (home / "builds" / "half").mkdir()
    (home / "builds" / "half" / "warehouse.duckdb").write_bytes(b"123")
    (home / "builds" / "whole").mkdir()
    (home / "builds" / "whole" / "build.json").write_text("{}")
    part = temporary(home / "landing" / "arriving")
    part.touch()
    (home / "tmp" / "spill").mkdir()
    (home / "samples").mkdir()
    (home / "samples" / ".mine.tmp").touch()
    assert cautioned(runs.rubbish, look_at(works)) == (
        f"3 things left by killed runs (3 B): builds/half; landing/{part.name}; tmp/spill"
    )
    with writer_lock(works.settings):
        assert runs.rubbish(look_at(works)) == ("a run is at work", [])


def test_lock_tells_who_writes(works: Works) -> None:
    assert runs.lock(look_at(works)) == ("nobody writes", [])  # whatever process its file names
    with writer_lock(works.settings):
        assert f"process {os.getpid()} is at work" in runs.lock(look_at(works))[0]


def test_lock_where_the_system_lists_none(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.checks.holder.LOCKS", Path("/nowhere"))
    assert runs.lock(look_at(works)) == ("nobody writes", [])
    with writer_lock(works.settings):
        assert runs.lock(look_at(works))[0].startswith(f"process {os.getpid()} is at work")


def test_lock_tells_who_waits(works: Works) -> None:
    if not Path("/proc/locks").exists():
        pytest.skip("the system lists no locks")
    code = "import fcntl, sys; f = open(sys.argv[1]); print(flush=True); fcntl.flock(f, 2)"
    with writer_lock(works.settings):
        waiter = subprocess.Popen(
            [sys.executable, "-c", code, str(works.settings.lock)], stdout=subprocess.PIPE
        )
        assert waiter.stdout is not None
        waiter.stdout.readline()
        while not runs.lock(look_at(works))[0].endswith("; 1 waiting"):
            assert waiter.poll() is None
    assert waiter.wait() == 0
    waiter.stdout.close()


def test_rights_that_a_run_needs(works: Works) -> None:
    assert found(machine.home, look_at(works)) == []
    works.settings.state_db.chmod(0o444)
    works.settings.reports.chmod(0o500)
    assert "2 files of ours" in told(machine.home, look_at(works))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_files_of_somebody_else(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    os.chown(works.settings.state_db, 12345, -1)
    assert "1 file not of the home's owner (user 0)" in cautioned(machine.home, look_at(works))
    monkeypatch.setattr(machine.os, "access", lambda path, _: Path(path).name != "state.db")
    assert "1 file of other users that we may not use: state.db" in told(
        machine.home, look_at(works)
    )


def test_disk_that_is_nearly_full(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    for free, words in ((40, "only 40 B free"), (60, "the next build may take")):
        monkeypatch.setattr(machine.shutil, "disk_usage", lambda _, n=free: usage(1000, 0, n))
        assert words in cautioned(machine.disk, look_at(works))


def test_disk_without_room_for_files(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = namedtuple("counts", "f_files f_favail")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage(10**12, 0, 10**12))
    monkeypatch.setattr(machine.os, "statvfs", lambda _: counts(1000, 40))
    assert "only 40 of 1,000 files (inodes)" in cautioned(machine.disk, look_at(works))
    monkeypatch.setattr(machine.os, "statvfs", lambda _: counts(0, 0))  # a system without any
    assert found(machine.disk, look_at(works)) == []


def test_extension_that_was_changed(
    works: Works, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "avro.duckdb_extension"
    data = bytearray(duck.extension_file("avro").read_bytes())
    data[len(data) // 2] ^= 1
    changed.write_bytes(data)
    monkeypatch.setattr(machine, "EXTENSIONS", ("avro",))
    look = look_at(works)
    assert found(machine.extensions, look) == []
    monkeypatch.setattr(duck, "extension_file", lambda _: changed)
    assert "signature" in told(machine.extensions, look)


def test_clock_before_what_happened(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    class Earlier(datetime):
        @classmethod
        def now(cls, zone: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(zone) - timedelta(hours=2)  # type: ignore[arg-type]

    look = look_at(works)
    assert set(look.moments) == {"the newest arrival", "the newest load"}
    assert found(machine.clock, look) == []
    monkeypatch.setattr(machine, "datetime", Earlier)
    assert "but the newest" in told(machine.clock, look)


def test_clock_without_zones(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "A_ZONE", "Nowhere/At_All")
    assert "no time zone data" in told(machine.clock, look_at(works))


def reaching(works: Works, **entry: object) -> Look:
    """What `reach` is given of a home with one source."""
    look = look_at(works)
    look.declared = load_sources(sources_file(works.folder, PAYMENTS | entry), works.settings)
    return look


def test_sources_that_are_reached(works: Works) -> None:
    assert places.reach(reaching(works)) == ("1 file stands at the sources", [])
    assert found(places.reach, reaching(works, path="gone*.csv")) == []  # as all was fetched
    assert told(places.reach, reaching(works, path="gone.csv")) == "there is no such file"
    assert found(places.reach, reaching(works, path="gone.csv", optional=True)) == []
    assert told(places.reach, reaching(works, name="shop.orders", path="no*")) == "no file matches"
    (works.folder / "folder.csv").mkdir()
    assert "1 file cannot be read: folder.csv" in told(
        places.reach, reaching(works, path="folder.csv")
    )


def test_sources_on_a_service_that_is_not_there(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "one half")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    (error,) = found(places.reach, reaching(works, path="s3://bucket/*.csv"))
    assert "one half of the S3 credentials" in error.what


@pytest.fixture
def taken() -> Iterator[int]:
    """A port at which somebody listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_port_that_is_taken(works: Works, taken: int) -> None:
    look = look_at(works, server=Server(port=taken))
    assert f"port {taken} is taken" in cautioned(places.port, look)
    assert places.port(look_at(works, server=Server(port=None))) == ("any free one", [])
    (error,) = found(places.port, look_at(works, server=Server("192.0.2.1", taken)))
    assert error.exit_code == 2


def test_server_that_is_gone_or_runs_in_part(works: Works) -> None:
    assert runs.server(look_at(works)) == ("not running", [])
    noted(works.settings, server=gone(), scheduler=gone())
    assert "is gone" in cautioned(runs.server, look_at(works))
    noted(works.settings, server=gone(), scheduler=vars(this_process()))
    assert "runs in part" in told(runs.server, look_at(works))


@pytest.mark.parametrize(("is_ready", "told"), [(True, "started again"), (False, "being started,")])
def test_server_that_its_supervisor_starts(works: Works, is_ready: bool, told: str) -> None:
    where = {"host": "127.0.0.1", "port": 9, "sources": "sources.yml", "cron": None}
    processes = {"supervisor": vars(this_process()), "server": gone(), "worker": gone()}
    noted(works.settings, **where, **processes, is_ready=is_ready)
    assert told in cautioned(runs.server, look_at(works))


def test_server_that_shows_dead_runs(works: Works) -> None:
    works.settings.prefect.mkdir()
    with closing(sqlite3.connect(works.settings.prefect / "prefect.db")) as con, con:
        con.execute(
            "create table flow_run (state_type text, start_time text, expected_start_time text,"
            " created text)"
        )
        con.executemany(
            "insert into flow_run values (?, ?, null, ?)",
            [("RUNNING", "2026-01-01 00:00:00.1", "2026-01-01"), ("COMPLETED", None, "2026-01-01")],
        )
    assert "the UI shows 1 run as unfinished" in cautioned(runs.server, look_at(works))
    with writer_lock(works.settings):
        assert found(runs.server, look_at(works)) == []
    (works.settings.prefect / "prefect.db").write_bytes(b"no database" * 99)
    assert "cannot be read" in cautioned(runs.server, look_at(works))


def test_export_to_a_place_that_cannot_be_written(works: Works, tmp_path: Path) -> None:
    assert places.export(look_at(works)) == ("none is set", [])
    place = tmp_path / "out" / "put"
    assert places.export(look_at(works, export=str(place))) == (f"{place} can be written", [])
    place.parent.write_text("a file")
    assert "is no folder" in told(places.export, look_at(works, export=str(place)))


def test_addresses_of_alerts_that_nothing_is_sent_to(works: Works) -> None:
    urls = "json://127.0.0.1/secret, nowhere://secret"
    (error,) = found(project.alerts, look_at(works, alert_urls=urls))
    assert "nowhere://" in error.what
    assert "secret" not in str(error)
    assert error.exit_code == 2
    assert project.alerts(look_at(works)) == ("nobody is told of incidents", [])


def test_a_home_of_many_files_is_walked_once(works: Works) -> None:
    look = look_at(works)
    write_csv(works.settings.home / "later.csv", [payment(1)])
    assert look.tree is look.tree
    (works.settings.home / "more.csv").touch()
    assert "more.csv" not in look.tree
