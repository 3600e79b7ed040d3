"""Files whose suffix tells no format: tables are told from logs, prose and pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from looks import Look, lines, looker, types

from warehouse.errors import ClearwaterError
from warehouse.settings import Settings

BROWSER = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.fixture
def look(settings: Settings, tmp_path: Path) -> Look:
    return looker(settings, tmp_path)


def text(rows: Iterator[str]) -> str:
    return "".join(f"{row}\n" for row in rows)


NO_TABLES = {
    "access": text(
        f'10.0.0.{n % 9} - - [10/Oct/2000:13:55:{n % 60:02} -0700] "GET /{n}" 200 {n} "{BROWSER}"'
        for n in range(200)
    ),
    "common": text(
        f'10.0.0.{n % 9} - - [10/Oct/2000:13:55:{n % 60:02} -0700] "GET /{n} HTTP/1.0" 200 {n}'
        for n in range(200)
    ),
    "python": text(f"2024-01-01 12:00:{n % 60:02},{n:03} INFO app - job {n}" for n in range(200)),
    "pipes": text(f"2024-01-01 12:00:{n % 60:02} | INFO | app | job {n}" for n in range(200)),
    "prose": "It was a bright cold day, and the clocks struck.\nHe ran, fast; and on.\n\nAgain\n"
    * 9,
    "words": "aardvark\nabacus\nabbey\nzoo\n",
    "code": "import os, sys\n\n\ndef f(a, b):\n    return a, b\n" * 9,
    "markdown": "# Title\n\nSome words, and more.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
}


@pytest.mark.parametrize("content", NO_TABLES.values(), ids=NO_TABLES)
def test_lines_that_are_no_table_are_bytes(look: Look, content: str) -> None:
    found = look(content, suffix=".log", name="web.logs")
    assert (found.format, found.columns, found.key, found.row_count) == ("bytes", (), (), 0)
    assert [evidence.about for evidence in found.evidence] == ["format"]
    assert found.evidence[0].because


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".pdf", b"%PDF-1.4\n" + bytes(range(256)) * 9),
        (".jpg", b"\xff\xd8\xff\xe0" + bytes(range(256)) * 9),
        (".docx", b"PK\x05\x06" + bytes(18)),
        ("", b"SQLite format 3\0" + bytes(99)),
    ],
)
def test_what_is_no_text_is_bytes(look: Look, suffix: str, content: bytes) -> None:
    assert look(content, content, suffix=suffix).format == "bytes"


TABLES = {
    "ids": (lines("customer_id", [str(n * 7) for n in range(90)]), ("customer_id",)),
    "codes": (lines("sku", [f"AB-{n * 7}" for n in range(90)]), ("sku",)),
    "mails": (lines("email", [f"a{n}@b.de" for n in range(90)]), ("email",)),
    "tabs": (lines("id\tname", [f"{n}\tAnn Lee {n}" for n in range(90)]), ("id", "name")),
    "bare": (text(f"{n};Ann;{n}.5" for n in range(90)), ("column_1", "column_2", "column_3")),
}


@pytest.mark.parametrize(("content", "names"), TABLES.values(), ids=TABLES)
def test_tables_are_tables(look: Look, content: str, names: tuple[str, ...]) -> None:
    found = look(content, suffix=".txt")
    assert (found.format, found.row_count) == ("csv", 90)
    assert tuple(types(found)) == names


def test_json_is_told_by_its_objects(look: Look) -> None:
    rows = [{"id": n, "at": f"2024-01-01T00:00:{n:02}Z"} for n in range(60)]
    found = look(text(map(json.dumps, rows)), suffix=".log")
    assert (found.format, found.key, found.event_time) == ("ndjson", ("id",), "at")
    found = look(json.dumps({"type": "FeatureCollection", "features": rows}), suffix=".geojson")
    assert (found.format, found.options) == ("json", {"record": "features"})


def test_files_of_several_formats_are_refused(look: Look) -> None:
    with pytest.raises(ClearwaterError, match=r"formats: bytes, csv; part_2024-01-02.txt is no"):
        look(TABLES["ids"][0], NO_TABLES["prose"], suffix=".txt")


def test_an_empty_file_among_others_tells_nothing(look: Look) -> None:
    assert look("", NO_TABLES["prose"], suffix=".log").format == "bytes"
    with pytest.raises(ClearwaterError, match="the file is empty"):
        look("", suffix=".log")


def test_a_delimiter_of_several_characters_is_told(look: Look) -> None:
    ratings = text(f"{n}::{n * 3}::4::9{n}" for n in range(90))
    found = look(ratings, suffix=".dat")
    assert (found.format, "parted by '::'" in found.evidence[0].because) == ("bytes", True)
    with pytest.raises(ClearwaterError, match=r"parted by '::'\n  next: have them parted by one"):
        look(ratings)
