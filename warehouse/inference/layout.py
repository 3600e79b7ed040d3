"""Where in a file its records are: what JSON, XML and Excel need to be told to be read."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from typing import Any

import duckdb

from warehouse.errors import ClearwaterError
from warehouse.inference import words
from warehouse.inference.encoding import encoding_of
from warehouse.inference.files import in_utf8
from warehouse.inference.result import Notes
from warehouse.inference.sheets import excel
from warehouse.readers.contract import Opened
from warehouse.readers.xml_text import record_path
from warehouse.sources import Source

SAMPLE_CHARACTERS = 8 << 20
MARK = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]:]', re.DOTALL)
FEWEST, MOSTLY = 3, 0.8  # objects by key that are records; of them, that have a usual key
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
        found = _Outline(text.read(SAMPLE_CHARACTERS))
    if found.roots != 1:
        return {}
    if found.is_keyed:
        raise ClearwaterError(
            f"the file is one object, whose {len(found.inner)} values are records of their own,"
            f" as that of {next(iter(found.inner))!r}: no `record:` can tell them",
            where=file.label,
            next_step="have them written as an array, such as with: jq"
            f" '[to_entries[] | {{key}} + .value]' {shlex.quote(file.name)} > rows.json",
        )
    if not found.arrays:
        if is_alone:
            notes.warn("the file is one object, which is taken as one record")
        return {}
    path, count = found.arrays.most_common(1)[0]
    ids = [key for key in found.keys if words.identifying(key, "") >= IDENTIFIER]
    if ids and (count == 1 or not is_alone):
        return {}  # the object is a record itself
    notes.decide("record", path, f"the largest array of objects, {count:,} at the beginning")
    return {"record": path}


class _Outline:
    """What a JSON text's first characters hold.

    `roots` counts the objects that it is made of, `arrays` the objects in each array that a path
    of keys leads to; `keys` are those of the first object that have neither object nor array, and
    `inner` those of each object in it, by its key.
    """

    def __init__(self, text: str) -> None:
        self.roots = 0
        self.arrays: Counter[str] = Counter()
        self.keys: list[str] = []
        self.inner: dict[str, set[str]] = {}
        self._path: list[str] = []  # the keys down to the object that is open; the root has ""
        self._key = ""
        self._inside = 0  # how deep within an array
        last = ""
        for mark in MARK.findall(text):
            if mark[0] == '"':
                last = mark
            elif self._inside:
                self._in_array(mark)
            elif mark == ":":
                self._key = last[1:-1]
                if len(self._path) == 1 and self.roots == 1:
                    self.keys.append(self._key)
                elif len(self._path) == 2 and self.roots == 1:
                    self.inner[self._path[1]].add(self._key)
            elif mark == "}":
                del self._path[-1:]
            else:
                self._open(mark)

    @property
    def is_keyed(self) -> bool:
        """Whether the text is one object of nothing but objects with mostly the same keys."""
        counts = Counter(key for own in self.inner.values() for key in own)
        usual = [count for count in counts.values() if count >= MOSTLY * len(self.inner)]
        is_alone = not self.keys and all("." in path for path in self.arrays)
        return is_alone and len(self.inner) >= FEWEST and 2 * sum(usual) > counts.total()

    def _in_array(self, mark: str) -> None:
        if mark in "{[":
            names = [*self._path[1:], self._key]
            can_be_told = self._path and all(name and "." not in name for name in names)
            if self._inside == 1 and mark == "{" and can_be_told:
                self.arrays[".".join(names)] += 1
            self._inside += 1
        elif mark in "}]":
            self._inside -= 1

    def _open(self, mark: str) -> None:
        if self._path:
            if len(self._path) == 1 and self.roots == 1:
                self.keys.pop()
        elif mark == "{":
            self.roots += 1
        if mark == "{":
            if len(self._path) == 1 and self.roots == 1:
                self.inner[self._key] = set()
            self._path.append(self._key if self._path else "")
        elif mark == "[":
            self._inside = 1
