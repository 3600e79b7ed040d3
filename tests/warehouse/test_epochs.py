"""Times that count since 1970: cast exactly, out of range or finer than a TIMESTAMP never."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import read

from warehouse.errors import ConfigurationError
from warehouse.settings import Settings
from warehouse.sources import EPOCHS, load_sources

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The years 1 to 9999, in microseconds since 1970.
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999


def columns(form: str) -> dict[str, Any]:
    return {"at": {"type": "timestamp", "format": form}}


def written(micros: int, form: str) -> str:
    """The moment as a number of units, with as many decimals as it takes."""
    count = Decimal(micros).scaleb(EPOCHS[form] - 6)
    return f"{count.normalize():f}"


def moment(micros: int) -> datetime:
    return (EPOCH + timedelta(microseconds=micros)).replace(tzinfo=None)


@given(
    st.lists(st.integers(FIRST, LAST), min_size=1, max_size=30),
    st.sampled_from(sorted(EPOCHS)),
)
def test_every_moment_comes_through(tmp_path: Path, moments: list[int], form: str) -> None:
    text = "at\n" + "".join(f"{written(micros, form)}\n" for micros in moments)
    found = read(tmp_path, "a.csv", text, columns=columns(form))
    assert found.types == {"at": "TIMESTAMP"}
    assert [row[0] for row in found.rows] == [moment(micros) for micros in moments]
    assert found.failed == {}


@pytest.mark.parametrize(
    ("form", "text", "is_time"),
    [
        ("epoch", "1700000000", True),
        ("epoch", "-1", True),
        ("epoch", "1700000000.0", True),
        ("epoch", "1700000000.1234560", True),
        ("epoch", "1.7e9", True),
        ("epoch", "1700000000.1234567", False),
        ("epoch", "1700000000123", False),
        ("epoch", "253402300800", False),
        ("epoch", "-62135596801", False),
        ("epoch", "9" * 40, False),
        ("epoch", "nan", False),
        ("epoch", "inf", False),
        ("epoch", "yesterday", False),
        ("epoch_ms", "1700000000123.5", True),
        ("epoch_ms", "1700000000123.0005", False),
        ("epoch_us", "1700000000123456", True),
        ("epoch_us", "1700000000123456.5", False),
        ("epoch_ns", "1700000000123456000", True),
        ("epoch_ns", "1700000000123456789", False),
    ],
)
def test_what_is_no_time_fails(tmp_path: Path, form: str, text: str, *, is_time: bool) -> None:
    found = read(tmp_path, "a.csv", f"id,at\n1,{text}\n2,\n", columns=columns(form))
    assert (found.rows[0][1] is not None) is is_time
    assert found.failed == ({} if is_time else {1: "at"})
    assert found.rows[1] == ("2", None)


def test_numbers_of_other_formats_and_marks(tmp_path: Path) -> None:
    at = moment(1_700_000_000_250_000)
    rows = [{"at": 1_700_000_000.25}, {"at": "1700000000.25"}, {"at": None}]
    for name, text in {
        "a.json": json.dumps(rows),
        "a.ndjson": "".join(f"{json.dumps(row)}\n" for row in rows),
    }.items():
        found = read(tmp_path, name, text, columns=columns("epoch"))
        assert ([row[0] for row in found.rows], found.failed) == ([at, at, None], {})
    book = openpyxl.Workbook()
    for row in (["at"], [1_700_000_000_250], ["1700000000250"]):
        book.worksheets[0].append(row)
    book.save(tmp_path / "a.xlsx")
    found = read(tmp_path, "a.xlsx", columns=columns("epoch_ms"))
    assert ([row[0] for row in found.rows], found.failed) == ([at, at], {})
    german = "at;id\n1.700.000.000,25;1\n1700000000,25;2\n1700000000.25;3\n"
    found = read(
        tmp_path,
        "b.csv",
        german,
        columns=columns("epoch"),
        delimiter=";",
        decimal=",",
        thousands=".",
    )
    assert ([row[0] for row in found.rows], found.failed) == ([at, at, None], {3: "at"})


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ("{type: date, format: epoch}", "`format: epoch` goes with TIMESTAMP"),
        ("{type: bigint, format: epoch_ms}", "goes with DATE"),
        ("{type: timestamp, format: unix}", "one of epoch, epoch_ms, epoch_us, epoch_ns"),
    ],
)
def test_a_format_that_is_none_is_told(
    tmp_path: Path, settings: Settings, declared: str, words: str
) -> None:
    file = tmp_path / "sources.yml"
    file.write_text(
        "version: 1\nsources:\n  - name: shop.orders\n    path: a.csv\n"
        f"    columns:\n      at: {declared}\n"
    )
    with pytest.raises(ConfigurationError, match=words) as refused:
        load_sources(file, settings)
    assert f"{file}:6" in str(refused.value)
