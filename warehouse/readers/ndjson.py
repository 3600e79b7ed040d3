"""NDJSON files: every line that is not blank is a record; a broken one is torn alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import IO

import duckdb

from warehouse.readers.contract import Column, Opened
from warehouse.readers.json_text import DECODER, TOO_DEEP, record_of
from warehouse.readers.records import LONGEST_RAW, LONGEST_RECORD, Records
from warehouse.sources import Source

SKIPPED_BYTES = 1 << 20
BOM = b"\xef\xbb\xbf"


def read(con: duckdb.DuckDBPyConnection, source: Source, opened: Opened) -> list[Column]:
    """Leave `incoming` with the records of an NDJSON file, `rejected` with what is not an object.

    A broken line tears its record alone.
    """
    records = Records(source, opened)
    with opened.path.open("rb") as handle:
        for _, line, length in _lines(handle):
            if length > len(line):
                text = line[:LONGEST_RAW].decode("utf-8", "backslashreplace")
                records.tear(f"longer than {LONGEST_RECORD:,} bytes: {length:,}", text)
            else:
                _take_line(records, line)
    return records.finish(con)


def _lines(handle: IO[bytes]) -> Iterator[tuple[int, bytes, int]]:
    """Number, bytes (cut where it is too long) and length of every line that is not blank."""
    number = 0
    while line := handle.readline(LONGEST_RECORD):
        number += 1
        if number == 1:
            line = line.removeprefix(BOM)
        length = len(line)
        if length >= LONGEST_RECORD and not line.endswith(b"\n"):
            while rest := handle.readline(SKIPPED_BYTES):
                length += len(rest)
                if rest.endswith(b"\n"):
                    break
        if not line.isspace() and line:
            yield number, line, length


def _take_line(records: Records, line: bytes) -> None:
    try:
        records.add(record_of(DECODER.decode(line.rstrip(b"\r\n").decode())))
    except UnicodeDecodeError as error:
        detail = f"byte {error.start + 1} is not UTF-8"
    except json.JSONDecodeError as error:
        detail = f"not JSON: {error.msg} (column {error.pos + 1})"
    except ValueError as error:
        detail = str(error)
    except RecursionError:
        detail = TOO_DEEP
    else:
        return
    records.tear(detail, line.rstrip(b"\r\n").decode("utf-8", "backslashreplace"))


def lines(_source: Source, opened: Opened, rows: list[int], _: int) -> dict[int, int]:
    """The physical lines of the records `rows`; both count from 1."""
    wanted = set(rows)
    with opened.path.open("rb") as handle:
        numbered = enumerate(_lines(handle), 1)
        return {record: line for record, (line, _, _) in numbered if record in wanted}
