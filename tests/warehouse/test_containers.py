"""Compressed files, archives and encodings: the same rows come out, or one clear refusal."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from shop import Shop

from warehouse import containers
from warehouse.batch import Counts

TEXT = "id,amount\n1,1.5\n2,2\n"
ROWS = [(1, 1.5), (2, 2.0)]


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(content)
    return bytes(sink.getvalue())


def zipped(**members: str | bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def put(shop: Shop, content: bytes, name: str) -> None:
    (shop.folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("name", "pack"),
    [("orders.csv.gz", gzip.compress), ("orders.csv.zst", zstd), ("orders.CSV.GZ", gzip.compress)],
)
def test_compressed_file_is_read(shop: Shop, name: str, pack: Callable[[bytes], bytes]) -> None:
    put(shop, pack(TEXT.encode()), name)
    assert shop.load().counts == Counts(rows_in=2, loaded=2)
    assert shop.orders() == ROWS
    assert shop.load().counts == Counts()


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_truncated_file_is_refused_whole(shop: Shop, pack: Callable[[bytes], bytes]) -> None:
    lines = "".join(f"{n},{n}\n" for n in range(50_000))
    name = "orders.csv.gz" if pack is gzip.compress else "orders.csv.zst"
    put(shop, pack(f"id,amount\n{lines}".encode())[:-20], name)
    (problem,) = shop.load().problems
    assert "cannot be unpacked" in problem
    (tables,) = shop.ask("select count(*) from duckdb_tables() where schema_name = 'raw_shop'")
    assert tables == [(0,)]


def test_each_member_of_a_zip_is_a_batch(shop: Shop) -> None:
    members = {"b/may.csv": "id,amount\n3,3\n", "april.csv": TEXT, "__MACOSX/april.csv": "x"}
    put(shop, zipped(**members), "orders.zip")
    summary = shop.load()
    assert (summary.batches, summary.counts) == (2, Counts(rows_in=3, loaded=3))
    (files,) = shop.ask("select source_file from lake.meta.batches order by loaded_at")
    assert files == [("orders.zip/april.csv",), ("orders.zip/b/may.csv",)]
    assert shop.load().counts == Counts()


LEDGER = "select source_file, status, rows_in from lake.meta.batches order by source_file"
BESIDE = "catalogued without rows: other members' suffixes tell"


@pytest.mark.parametrize(
    ("entry", "members", "read", "told"),
    [
        (
            {},
            {"a.csv.gz": gzip.compress(TEXT.encode()), "Read.me.TXT": "see a", "LICENSE": "\0"},
            ["a.csv.gz"],
            [f"LICENSE: {BESIDE} their format, it has none", f"Read.me.TXT: {BESIDE} their format"],
        ),
        (
            {"format": "csv", "encoding": "utf-16"},
            {"a.tsv": TEXT.replace(",", "\t").encode("utf-16"), "about.json": "{", "b": "odd"},
            ["a.tsv"],
            [f"about.json: {BESIDE} the format csv, .json does not", f"b: {BESIDE} the format"],
        ),
        ({"format": "csv"}, {"a.txt": TEXT, "b/c": "id,amount\n"}, ["a.txt", "b/c"], []),
        (
            {},
            {"a.csv": TEXT, ".DS_Store": "x", "b/Thumbs.db": "x", "__MACOSX/._a.csv": "x"},
            ["a.csv"],
            None,
        ),
    ],
)
def test_members_beside_the_data_are_catalogued_and_told_once(
    shop: Shop,
    entry: dict[str, Any],
    members: dict[str, str | bytes],
    read: list[str],
    told: list[str] | None,
) -> None:
    put(shop, zipped(**members), "orders.zip")
    summary = shop.load(**entry)
    assert (summary.problems, summary.counts) == ((), Counts(rows_in=2, loaded=2))
    assert shop.orders() == ROWS
    notes = [change for change in summary.changes if "column" not in change]
    for note, words in zip(notes, told or [], strict=True):
        assert note.startswith(f"orders.zip/{words}")
    catalogued = [] if told is None else sorted(members.keys() - read)
    (ledger,) = shop.ask(LEDGER)
    rows = {f"orders.zip/{name}": ("loaded", 2 if name == read[0] else 0) for name in read}
    rows |= {f"orders.zip/{name}": ("landed", 0) for name in catalogued}
    assert ledger == [(file, *line) for file, line in sorted(rows.items())]
    again = shop.load(**entry)
    assert (again.batches, again.problems, again.changes) == (0, (), ())


def test_zip_in_which_no_suffix_tells_the_format_is_refused(shop: Shop) -> None:
    put(shop, zipped(**{"orders": TEXT, "read.me": "see orders"}), "orders.zip")
    for _ in range(2):
        summary = shop.load()
        assert summary.batches == 0
        for problem, name in zip(summary.problems, ("orders", "read.me"), strict=True):
            assert f"orders.zip/{name}: the file's suffix does not tell its format" in problem
            assert "declare `format:`" in problem


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (zipped(**{"../orders.csv": TEXT}), "would climb out"),
        (zipped(**{"/etc/orders.csv": TEXT}), "would climb out"),
        (zipped(**{"inner.zip": zipped(a=TEXT)}), "is a zip itself"),
        (zipped(), "holds no file"),
        (zipped(**{"orders.csv": TEXT})[:-30], "not a zip"),
        (b"no zip at all", "not a zip"),
    ],
)
def test_hostile_zip_is_refused(shop: Shop, content: bytes, told: str) -> None:
    put(shop, content, "orders.zip")
    (problem,) = shop.load().problems
    assert "cannot be unpacked" in problem
    assert told in problem


def test_bomb_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "BOMB_BYTES", 1 << 20)
    put(shop, gzip.compress(b"id,amount\n" + b"1,1\n" * (1 << 20)), "orders.csv.gz")
    (problem,) = shop.load().problems
    assert "swell to more than" in problem
    assert not (shop.settings.tmp / "batch").exists()


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "iso-8859-15", "utf-8-sig"])
def test_encoding_that_is_told_is_read(shop: Shop, encoding: str) -> None:
    put(shop, "id,amount,name\n1,1.5,Müller\n".encode(encoding), "orders.csv")
    shop.load(encoding=encoding)
    assert shop.orders() == [(1, 1.5, "Müller")]


def test_byte_order_mark_tells_the_encoding(shop: Shop) -> None:
    put(shop, "id,amount,name\n1,1.5,Žižek\n".encode("utf-16"), "orders.csv")
    shop.load()
    assert shop.orders() == [(1, 1.5, "Žižek")]


def test_byte_that_the_encoding_lacks_tears_its_record_alone(shop: Shop) -> None:
    put(shop, b"id,amount,name\n1,1,\xe4\n2,2,\x81\n3,3,b\n", "orders.csv")
    summary = shop.load(encoding="cp1252")
    assert summary.counts == Counts(rows_in=3, loaded=2, quarantined=1)
    assert shop.orders() == [(1, 1.0, "ä"), (3, 3.0, "b")]


def test_small_files_in_a_row_are_not_taken_for_each_other(shop: Shop) -> None:
    for number in range(8):
        items = [{"id": number * 30 + n, "amount": n / 7, "name": f"n{n}"} for n in range(30)]
        put(shop, json.dumps({"page": number, "items": items}).encode(), f"{number}.json")
    columns = {"id": "bigint", "amount": "double"}
    summary = shop.load(path="*.json", format="json", record="items", columns=columns)
    assert (summary.problems, summary.counts) == ((), Counts(rows_in=240, loaded=240))


def test_bytes_are_landed_and_catalogued_without_a_table(shop: Shop) -> None:
    put(shop, b"\0\1\2 anything", "orders.log")
    summary = shop.load(format="bytes", columns={}, key=[])
    assert (summary.problems, summary.batches) == ((), 1)
    ledger = "select source_file, byte_count, status, rows_in from lake.meta.batches"
    (lines,) = shop.ask(ledger)
    assert lines == [("orders.log", 12, "landed", 0)]
    assert shop.load(format="bytes", columns={}, key=[]).batches == 0
