"""Where in a file its records are: what JSON, XML and Excel need to be told to be read."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import duckdb

from warehouse.inference import words
from warehouse.inference.encoding import encoding_of
from warehouse.inference.files import in_utf8
from warehouse.inference.result import Notes
from warehouse.inference.sheets import excel
from warehouse.readers.contract import Opened
from warehouse.readers.xml_text import record_path
from warehouse.sources import Source

SAMPLE_CHARACTERS = 8 << 20
TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:]', re.DOTALL)
IDENTIFIER = 2  # of words.identifying: surely one


def options_of(
    con: duckdb.DuckDBPyConnection, source: Source, file: Opened, notes: Notes, *, is_alone: bool
) -> dict[str, Any]:
    """The keys of sources.yml that reading the file takes; evidence goes to `notes`.

    `source` says the name and the format; `is_alone` that there are no other files. Raises
    ClearwaterError when the file is empty or of another format.
    """
    if source.format in ("json", "ndjson"):
        encoding, because = encoding_of(file.path)
        options = {} if encoding == "utf-8" else {"encoding": encoding}
        if options:
            notes.decide("encoding", encoding, because)
        if source.format == "json":
            options |= _json(file, encoding, notes, is_alone=is_alone)
        return options
    if source.format == "xml":
        path, count = record_path(source, file)
        is_many = "the elements that come most often, " if count > 1 else ""
        notes.decide("record", path, f"{is_many}{count:,} time{'s' * (count != 1)}")
        return {"record": path}
    return excel(con, source, file, notes) if source.format == "excel" else {}


def _json(file: Opened, encoding: str, notes: Notes, *, is_alone: bool) -> dict[str, Any]:
    with in_utf8(file, encoding).open(encoding="utf-8-sig", errors="replace") as text:
        found = _Outline.of(text.read(SAMPLE_CHARACTERS))
    if found.roots != 1 or not found.arrays:
        return {}
    path, count = found.arrays.most_common(1)[0]
    ids = [key for key in found.keys if words.identifying(key, "") >= IDENTIFIER]
    if ids and (count == 1 or not is_alone):
        return {}  # the object is a record itself
    notes.decide("record", path, f"the largest array of objects, {count:,} at the beginning")
    return {"record": path}


@dataclass
class _Outline:
    """What a JSON text's first characters hold.

    `roots` are its values that are no arrays, `arrays` the objects in each array that a path of
    keys leads to, `keys` those of the first object whose values are neither objects nor arrays.
    """

    roots: int
    arrays: Counter[str]
    keys: list[str]

    @classmethod
    def of(cls, text: str) -> _Outline:
        found = cls(0, Counter(), [])
        path: list[str] = []  # the keys down to where we are; the root's is empty
        inside = 0  # how deep within an array
        last = key = ""
        for token in TOKEN.findall(text):
            if token == ":":
                key = last[1:-1]
                if len(path) == 1 and not inside and found.roots == 1:
                    found.keys.append(key)
            elif token in ("{", "["):
                if inside:
                    found.arrays[".".join([*path[1:], key])] += inside == 1 and token == "{"
                    inside += 1
                    continue
                if not path:
                    found.roots += 1
                elif found.keys and found.keys[-1] == key and len(path) == 1:
                    found.keys.pop()
                if token == "[":
                    if not path:
                        return cls(0, Counter(), [])
                    inside = 1
                else:
                    path.append(key if path else "")
            elif token in ("}", "]"):
                if inside:
                    inside -= 1
                elif path:
                    path.pop()
            else:
                last = token
        return found
