"""Landing from S3, against moto's server over real HTTP."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import boto3
import pytest
from handmade import sources_file
from s3_server import empty_s3, tell
from shop import ORDERS, Shop

from flows.schedules import NewFiles, Schedule, Watch
from warehouse import landing, places
from warehouse.errors import BatchRefusedError
from warehouse.ingest import Arrivals, land_sources, load_sources
from warehouse.landing import Known, arrivals, content_path
from warehouse.listed import note_taken
from warehouse.places import S3Object, State, _matches, standing
from warehouse.settings import PROJECT, Settings
from warehouse.sources import Source
from warehouse.sources import load_sources as read_sources

SECRET = "wJalrXUtnFEMI-K7MDENG-EXAMPLE"
ONE = "id,amount\n1,10\n"
TWO = "id,amount\n2,20\n"
REQUEST = re.compile(r"(GET|HEAD|PUT|POST|DELETE) \S+")
VARIABLES = ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "REGION", "DEFAULT_REGION")


class Bucket:
    """The bucket `shop` of a server, what it was asked since the last look, and what is sent."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.requests: list[str] = []
        self.client: Any = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="clearwater",
            aws_secret_access_key=SECRET,
        )

    def put(self, key: str, content: str | bytes) -> None:
        self.client.put_object(Bucket="shop", Key=key, Body=content)
        self.requests.clear()

    def asked(self) -> list[str]:
        """Method and path of each request since the last look."""
        asked, self.requests[:] = list(self.requests), []
        return asked

    def tell(self, action: str, text: str = "") -> None:
        """Moto's own interface: `reset`, or how many requests go without authentication."""
        tell(self.endpoint, action, text)


class Log(logging.Handler):
    """The server's log of requests."""

    def __init__(self, requests: list[str]) -> None:
        super().__init__()
        self.requests = requests

    def emit(self, record: logging.LogRecord) -> None:
        if found := REQUEST.search(record.getMessage()):
            self.requests.append(unquote(found.group()))


@pytest.fixture(scope="module")
def server() -> Iterator[Bucket]:
    with empty_s3() as address:
        bucket = Bucket(address)
        log, handler = logging.getLogger("werkzeug"), Log(bucket.requests)
        level, log.propagate = log.level, False
        log.setLevel(logging.INFO)
        log.addHandler(handler)
        yield bucket
        log.removeHandler(handler)
        log.setLevel(level)
        log.propagate = True


@pytest.fixture
def bucket(server: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    server.tell("reset")
    server.client.create_bucket(Bucket="shop")
    for name in VARIABLES:
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "clearwater")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    return server


def from_s3(path: str = "s3://shop/in/*.csv", **more: Any) -> Source:
    return Source(name="shop.orders", path=path, **more)


def land(settings: Settings, source: Source | None = None) -> Arrivals:
    return land_sources(settings, [source or from_s3()])


def problem(settings: Settings, path: str = "s3://shop/in/*.csv") -> str:
    """The one message, which holds no secret, and came soon."""
    began = time.monotonic()
    (message,) = land(settings, from_s3(path)).summaries["shop.orders"].problems
    assert time.monotonic() - began < 10
    assert "shop.orders: " in message
    assert "next: " in message
    assert SECRET not in message
    return message


def reads(asked: list[str]) -> list[str]:
    """The objects whose bytes were asked for."""
    return [line.removeprefix("GET /shop/") for line in asked if line.startswith("GET /shop/")]


def names(path: str) -> list[str]:
    return [place.path.removeprefix("s3://shop/") for place in standing(from_s3(path))]


def test_one_object_lands_with_name_and_place(settings: Settings, bucket: Bucket) -> None:
    bucket.put("in/a b=ü?.csv", ONE)
    found = land(settings, from_s3("s3://shop/in/*.csv"))
    (landed,) = arrivals(settings)
    assert (found.new_files, found.batch_ids) == (1, {landed.batch_id})
    assert landed.original_name == "a b=ü?.csv"
    assert landed.original_path == "s3://shop/in/a b=ü?.csv"
    assert content_path(settings, landed.sha256).read_text() == ONE


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("s3://shop/in/a.csv", ["in/a.csv"]),
        ("s3://shop/in/*.csv", ["in/a.csv", "in/b.csv"]),
        ("s3://shop/in/?.*", ["in/a.csv", "in/b.csv", "in/c.txt"]),
        ("s3://shop/*.csv", ["top.csv"]),
        ("s3://shop/**/*.csv", ["in/2026/d.csv", "in/2026/05/e.csv", "in/a.csv", "in/b.csv",
                                "top.csv"]),
        ("s3://shop/in/**/e.csv", ["in/2026/05/e.csv"]),
        ("s3://shop/in/20*/*.csv", ["in/2026/d.csv"]),
        ("s3://shop/in/2026/**", ["in/2026/05/e.csv", "in/2026/d.csv"]),
        ("s3://shop/in/[ab].csv", ["in/a.csv", "in/b.csv"]),
        ("s3://shop/none/*.csv", []),
        ("s3://shop/in/none.csv", []),
    ],
)  # fmt: skip
def test_paths_find_objects(bucket: Bucket, path: str, keys: list[str]) -> None:
    for key in ("in/a.csv", "in/b.csv", "in/c.txt", "in/2026/d.csv", "in/2026/05/e.csv", "top.csv"):
        bucket.put(key, ONE)
    bucket.put("in/2026/", b"")  # what a console makes for a folder
    assert sorted(names(path)) == sorted(keys)
    assert names(path) == sorted(names(path), key=lambda name: name.split("/"))


def test_many_stars_are_matched_soon() -> None:
    assert not _matches(["a"] * 60, ["**", "a"] * 3 + ["b"])


def test_variables_are_not_patterns(
    settings: Settings, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHERE_ORDERS_ARE", "s3://shop/in[1]")
    for key in ("in[1]/a.csv", "in1/b.csv"):
        bucket.put(key, ONE)
    entry = {"name": "shop.orders", "path": "${WHERE_ORDERS_ARE}/*.csv"}
    (source,) = read_sources(sources_file(tmp_path, entry), settings)
    assert [place.path for place in standing(source)] == ["s3://shop/in[1]/a.csv"]


def test_compressed_bytes_are_kept_as_they_came(settings: Settings, bucket: Bucket) -> None:
    content = b"\x1f\x8b not really gzip"
    bucket.put("in/a.csv.gz", content)
    land(settings, from_s3("s3://shop/in/*.gz"))
    (landed,) = arrivals(settings)
    assert content_path(settings, landed.sha256).read_bytes() == content


def test_empty_object_lands(settings: Settings, bucket: Bucket) -> None:
    bucket.put("in/a.csv", b"")
    assert land(settings).new_files == 1


def test_nothing_new_reads_nothing(settings: Settings, bucket: Bucket) -> None:
    bucket.put("in/a.csv", ONE)
    bucket.put("in/copy.csv", ONE)
    bucket.put("in/b.csv", TWO)
    first = land(settings)
    assert reads(bucket.asked()) == ["in/a.csv", "in/b.csv", "in/copy.csv"]
    second = land(settings)
    assert reads(bucket.asked()) == []
    assert (first.new_files, second.new_files) == (2, 0)
    assert first.batch_ids == second.batch_ids


def test_what_has_settled_is_only_listed(
    settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landing, "SETTLED_NS", -(10**18))
    bucket.put("in/a.csv", ONE)
    land(settings)
    bucket.asked()
    land(settings)
    assert [line.split("?")[0] for line in bucket.asked()] == ["GET /shop"]


def test_what_was_fresh_settles_without_being_read(
    settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("in/a.csv", ONE)
    land(settings)
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 2 * landing.SETTLED_NS)
    bucket.asked()
    land(settings)
    assert [line.split("?")[0] for line in bucket.asked()] == ["GET /shop", "HEAD /shop/in/a.csv"]
    land(settings)
    assert [line.split("?")[0] for line in bucket.asked()] == ["GET /shop"]


def test_other_bytes_of_the_same_size_and_second_are_found(
    settings: Settings, bucket: Bucket
) -> None:
    for text in (ONE, TWO, ONE, TWO):
        bucket.put("in/a.csv", text)
        land(settings)
    assert len(arrivals(settings)) == 2


def test_bytes_that_return_arrive_again_under_merge(settings: Settings, bucket: Bucket) -> None:
    source = from_s3(key=("id",), write="merge")
    ids = []
    for text in (ONE, TWO, ONE, ONE):
        bucket.put("in/a.csv", text)
        ids.append(land(settings, source).batch_ids)
    assert ids[2] == ids[3]
    assert len(set(ids)) == len(arrivals(settings)) == 3


def test_without_its_memory_the_bytes_are_known_by_hash(settings: Settings, bucket: Bucket) -> None:
    bucket.put("in/a.csv", ONE)
    first = land(settings)
    memory = settings.landing / "shop.orders.seen.ndjson"
    memory.write_text(memory.read_text()[:40])
    again = land(settings)
    assert (again.new_files, again.batch_ids) == (0, first.batch_ids)
    assert reads(bucket.asked()) == ["in/a.csv", "in/a.csv"]


def test_lost_bytes_are_read_again(settings: Settings, bucket: Bucket) -> None:
    bucket.put("in/a.csv", ONE)
    land(settings)
    (landed,) = arrivals(settings)
    content_path(settings, landed.sha256).unlink()
    assert land(settings).new_files == 0
    assert content_path(settings, landed.sha256).read_text() == ONE


@contextmanager
def while_read(monkeypatch: pytest.MonkeyPatch, action: Any) -> Iterator[None]:
    keep = landing._keep

    def keep_then(settings: Settings, place: Any, count: Any) -> str:
        sha256 = keep(settings, place, count)
        action()
        return sha256

    with monkeypatch.context() as patch:
        patch.setattr(landing, "_keep", keep_then)
        yield


def test_object_written_while_it_is_read_is_refused(
    settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("in/a.csv", ONE)
    with while_read(monkeypatch, lambda: bucket.put("in/a.csv", TWO)):
        assert "a.csv: the file changed while it was read" in problem(settings)
    assert arrivals(settings) == []
    assert land(settings).new_files == 1


def test_object_removed_while_it_is_read_is_refused(
    settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("in/a.csv", ONE)
    with while_read(
        monkeypatch, lambda: bucket.client.delete_object(Bucket="shop", Key="in/a.csv")
    ):
        assert "a.csv: the object is gone" in problem(settings)
    assert arrivals(settings) == []


def test_object_removed_after_it_was_listed(settings: Settings, bucket: Bucket) -> None:
    bucket.put("in/a.csv", ONE)
    (place,) = standing(from_s3())
    bucket.client.delete_object(Bucket="shop", Key="in/a.csv")
    with pytest.raises(BatchRefusedError, match="the object is gone"):
        landing.land(settings, from_s3(), place, Known(), {})


def test_keys_that_clients_would_resolve_are_refused_alone(
    settings: Settings, bucket: Bucket
) -> None:
    for key in ("in//a.csv", "in/../b.csv", "in/c.csv"):
        bucket.put(key, ONE)
    found = land(settings, from_s3("s3://shop/**/*.csv"))
    assert len(found.summaries["shop.orders"].problems) == 2
    assert all("a part of its key" in text for text in found.summaries["shop.orders"].problems)
    assert [landed.original_path for landed in arrivals(settings)] == ["s3://shop/in/c.csv"]


def test_state_is_the_objects_own(bucket: Bucket) -> None:
    bucket.put("in/a.csv", ONE)
    (place,) = standing(from_s3())
    assert isinstance(place, S3Object)
    state = place.state()
    told = bucket.client.head_object(Bucket="shop", Key="in/a.csv")
    assert state == State(
        len(ONE), int(told["LastModified"].timestamp()) * 1_000_000_000, told["ETag"]
    )


def test_no_bucket(settings: Settings, bucket: Bucket) -> None:
    assert "there is no such bucket" in problem(settings, "s3://nothere/in/*.csv")
    assert "there is no such bucket" in problem(settings, "s3://nothere/in/a.csv")


def test_no_object(settings: Settings, bucket: Bucket) -> None:
    assert "there is no such file" in problem(settings, "s3://shop/in/none.csv")
    assert "no file matches" in problem(settings)


def test_folder_is_no_object(settings: Settings, bucket: Bucket) -> None:
    bucket.put("in/a.csv", ONE)
    assert "it is a folder" in problem(settings, "s3://shop/in")


@pytest.mark.parametrize(
    "path",
    [
        *("s3://", "s3://shop", "s3:///in/a.csv", "s3://*/a.csv", "s3://shop/in/"),
        *("s3://shop/in//*.csv", "s3://shop/../in/a.csv"),
    ],
)
def test_path_without_bucket_and_key(settings: Settings, bucket: Bucket, path: str) -> None:
    assert "does not name objects of one bucket" in problem(settings, path)


def test_nobody_listens(
    settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
    assert "S3 cannot be reached: Could not connect" in problem(settings)


def test_nobody_answers(
    settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "SILENCE_SECONDS", 1)
    monkeypatch.setattr(places, "ATTEMPTS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "S3 cannot be reached: Timeout was reached" in problem(settings)


def test_endpoint_that_is_no_address(
    settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://no such host/")
    assert "AWS_ENDPOINT_URL" in problem(settings)


@pytest.fixture
def guarded(bucket: Bucket) -> Iterator[Bucket]:
    """A bucket whose server asks who is there."""
    bucket.put("in/a.csv", ONE)
    bucket.tell("reset-auth", "0")
    yield bucket
    bucket.tell("reset-auth", "inf")


@pytest.mark.parametrize("path", ["s3://shop/in/*.csv", "s3://shop/in/a.csv"])
def test_wrong_credentials(settings: Settings, guarded: Bucket, path: str) -> None:
    message = problem(settings, path)
    assert "S3 denies access as AWS_ACCESS_KEY_ID" in message
    assert "clearwater" not in message


def test_no_credentials_are_anonymous(
    settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("in/a.csv", ONE)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "S3 denies access anonymously" in problem(settings, "s3://shop/in/a.csv")
    bucket.client.put_object_acl(Bucket="shop", Key="in/a.csv", ACL="public-read")
    assert land(settings, from_s3("s3://shop/in/a.csv")).new_files == 1


def test_half_of_the_credentials(
    settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    assert "only one half of the S3 credentials" in problem(settings)


def test_object_that_breaks_off_is_refused(
    settings: Settings, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    bucket.put("in/a.csv", ONE)
    (place,) = standing(from_s3())
    assert isinstance(place, S3Object)

    class Torn:
        """A file system whose streams end with an error, as pyarrow words it."""

        def open_input_stream(self, address: str, *, compression: None) -> Any:
            stream = place.filesystem.open_input_stream(address, compression=compression)

            class Stream:
                def __enter__(self) -> Any:
                    return stream

                def __exit__(self, *_: Any) -> None:
                    stream.close()

                def read(self, size: int) -> bytes:
                    raise OSError("AWS Error NETWORK_CONNECTION: curlCode: 18, Partial; Details")

                def close(self) -> None:
                    stream.close()

            return Stream()

    torn = S3Object("shop.orders", place.path, place.size, place.modified_ns, Torn())
    with pytest.raises(BatchRefusedError, match=r"a\.csv: S3 cannot be reached: Partial"):
        landing.land(settings, from_s3(), torn, Known(), {})
    assert [file for file in settings.landing.rglob("*") if file.is_file()] == []


GROWTH = """
import sys
from pathlib import Path
from warehouse.ingest import land_sources
from warehouse.settings import Settings
from warehouse.sources import Source

def land(name):
    source = Source(name="shop.orders", path=f"s3://shop/in/{name}")
    assert land_sources(Settings(Path(sys.argv[1]), 2, "1GiB"), [source]).new_files == 1
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])

small = land("small.csv")
print(land("large.csv") - small)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells the peak there")
def test_memory_does_not_grow_with_the_object(
    settings: Settings, bucket: Bucket, tmp_path: Path
) -> None:
    bucket.put("in/small.csv", ONE)
    bucket.put("in/large.csv", os.urandom(1 << 20) * 100)
    done = subprocess.run(
        [sys.executable, "-c", GROWTH, str(settings.home)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 48 * 1024  # KiB, of 100 MiB read


def test_local_files_do_without_pyarrow(settings: Settings, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; import warehouse.landing;"
        " from warehouse.places import standing; from warehouse.sources import Source;"
        " standing(Source(name='shop.orders', path='*.csv')); assert 'pyarrow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)


def test_objects_are_loaded_and_other_sources_go_on(shop: Shop, bucket: Bucket) -> None:
    bucket.put("in/a.csv", ONE)
    bucket.put("in/b.csv", TWO)
    columns = {"columns": ORDERS["columns"], "key": ["id"]}
    entries = [
        {"name": "away.orders", "path": "s3://nothere/*.csv"},
        {"name": "shop.orders", "path": "s3://shop/in/*.csv"} | columns,
    ]
    sources = read_sources(sources_file(shop.folder, *entries), shop.settings)
    for loaded in (2, 0):
        landed = land_sources(shop.settings, sources)
        summaries, _ = load_sources(shop.settings, sources, landed, "a run")
        assert summaries["shop.orders"].counts.loaded == loaded
        assert summaries["shop.orders"].problems == ()
        assert "no such bucket" in summaries["away.orders"].problems[0]
    assert shop.orders() == [(1, 10.0), (2, 20.0)]


def test_new_objects_are_seen_without_reading_them(settings: Settings, bucket: Bucket) -> None:
    told: list[str] = []
    schedule = Schedule("pipeline", (), NewFiles(timedelta(minutes=1)))
    watch = Watch(settings, schedule, [from_s3()], told.append)
    bucket.put("in/a.csv", ONE)
    assert [watch.arrived(), watch.arrived()] == [False, True]
    assert reads(bucket.asked()) == []
    note_taken(settings, land(settings).listed)
    assert not watch.arrived()
    time.sleep(1.1)  # S3's times have whole seconds
    bucket.put("in/a.csv", TWO)
    assert [watch.arrived(), watch.arrived()] == [False, True]
    bucket.client.delete_object(Bucket="shop", Key="in/a.csv")
    assert not watch.arrived()
    assert told == []


def test_bucket_that_cannot_be_listed_is_told_of_once(settings: Settings, bucket: Bucket) -> None:
    told: list[str] = []
    schedule = Schedule("shop.orders", ("shop.orders",), NewFiles(timedelta(minutes=1)))
    watch = Watch(settings, schedule, [from_s3("s3://elsewhere/*.csv")], told.append)
    assert [watch.arrived() for _ in range(3)] == [False] * 3
    (message,) = told
    assert message.startswith("new files are not seen: shop.orders: ")
    assert "no such bucket" in message
    assert SECRET not in message
