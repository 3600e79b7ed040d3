"""JSON files: objects are records, whose values stay text exactly as it is written.

Python's decoder splits them, for it lets numbers through as text; DuckDB's writes 1.10 as 1.1 and
takes NaN and trailing commas for JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from json.encoder import encode_basestring
from typing import IO, Any

import duckdb

from warehouse.errors import BatchRefusedError
from warehouse.readers.contract import Column, Opened, where
from warehouse.readers.header import is_value
from warehouse.readers.records import LONGEST_RECORD, Record, Records
from warehouse.sources import Source

WINDOW = 1 << 20
LONGEST_TOKEN = 64  # but for texts
MOST_BESIDE = 100
WHITESPACE = re.compile(r"[ \t\r\n]*")
TOO_DEEP = "its values are nested too deep"
KINDS: dict[type, str] = {list: "an array", str: "a text", bool: "a boolean", type(None): "null"}


class Number(str):
    """A JSON number as it is written."""

    __slots__ = ()


class Constant(str):
    """NaN or an infinity, which JSON does not have."""

    __slots__ = ()


DECODER = json.JSONDecoder(
    object_pairs_hook=tuple, parse_int=Number, parse_float=Number, parse_constant=Constant
)


def record_of(value: Any) -> Record:
    """The decoded object as a record; objects are tuples of pairs.

    Raises ValueError saying why it is not a record.
    """
    if value.__class__ is not tuple:
        raise ValueError(f"not an object but {KINDS.get(value.__class__, 'a number')}")
    record: Record = dict(value)
    if len(record) < len(value):
        names = [name for name, _ in value]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice")
    for name, item in value:
        if item.__class__ is not str:
            record[name] = None if item is None else _text(item)
    return record


def _text(value: Any) -> str:
    """The value as text: a number as it is written, what is nested as JSON."""
    if isinstance(value, Constant):
        raise ValueError(f"{value} is not JSON")
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        return dumped(value)
    except RecursionError:
        raise ValueError(TOO_DEEP) from None


def dumped(value: Any) -> str:
    """The decoded value as JSON text without spaces; numbers as they are written."""
    if value is None:
        return "null"
    if isinstance(value, tuple):
        return "{" + ",".join([f"{encode_basestring(k)}:{dumped(v)}" for k, v in value]) + "}"
    if isinstance(value, list):
        return "[" + ",".join([dumped(item) for item in value]) + "]"
    return encode_basestring(value) if value.__class__ is str else _text(value)


def read(con: duckdb.DuckDBPyConnection, source: Source, opened: Opened) -> list[Column]:
    """Leave `incoming` with the records of a JSON file.

    They are the elements of the array at `record`, or of the one that the file is, or the objects
    that follow each other. Raises BatchRefusedError naming line and column where it is not JSON.
    """
    records = Records(source, opened)
    with _Document.of(source, opened) as document:
        for value, raw in document.records():
            try:
                records.add(record_of(value))
            except ValueError as error:
                records.tear(str(error), raw())
    return records.finish(con)


def lines(source: Source, opened: Opened, rows: list[int], rows_in: int) -> dict[int, int]:
    """The physical lines on which the records `rows` begin; both count from 1."""
    wanted, last = set(rows), min(max(rows, default=0), rows_in)
    found: dict[int, int] = {}
    with _Document.of(source, opened) as document:
        for number, _ in enumerate(document.records(), 1):
            if number in wanted:
                found[number] = document.line
            if number >= last:
                break
    return found


class _Document:
    """A JSON text of any length, decoded value by value through a window that moves along it."""

    def __init__(self, handle: IO[str], source: Source, where: str) -> None:
        self._handle = handle
        self._path = source.record.split(".") if source.record else []
        self._where = where
        self._text = ""
        self._at = 0  # in the text: what comes next
        self._began = 0  # in the text: where the last value begins
        self._ended = False  # whether the text ends where the file does
        self._line, self._column = 1, 1  # of the text's first character
        self._reached = False
        self._beside: dict[str, None] = {}

    @classmethod
    def of(cls, source: Source, opened: Opened) -> _Document:
        handle = opened.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
        return cls(handle, source, where(source, opened))

    def __enter__(self) -> _Document:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()

    @property
    def line(self) -> int:
        """The physical line on which the last value begins."""
        return self._line + self._text.count("\n", 0, self._began)

    def records(self) -> Iterator[tuple[Any, Callable[[], str]]]:
        """The values that should be records, each with a function that gives its text."""
        if not self._peek():
            raise self._fault("the file is empty", self._at)
        while self._peek():
            yield from self._records_at(self._path)
        if self._path and not self._reached:
            named = ", ".join([name for name in self._beside if not is_value(name)][:10])
            raise BatchRefusedError(
                f"there is nothing at `record: {'.'.join(self._path)}`",
                where=self._where,
                next_step="name the path to the array of records in sources.yml"
                + (f"; beside it there is: {named}" if named else ""),
            )

    def _records_at(self, path: list[str]) -> Iterator[tuple[Any, Callable[[], str]]]:
        first = self._peek()
        if path and first == "{":
            for name in self._members():
                if name == path[0]:
                    yield from self._records_at(path[1:])
                else:
                    if len(self._beside) < MOST_BESIDE:
                        self._beside[name] = None
                    self._skip()
        elif path:
            self._skip()
        elif first == "[":
            self._reached = True
            for _ in self._elements():
                yield self._value(), self._raw
        else:
            self._reached = True
            value = self._value()
            if value is not None or not self._path:
                yield value, self._raw

    def _raw(self) -> str:
        return self._text[self._began : self._at]

    def _members(self) -> Iterator[str]:
        """The names in an object; who takes one reads its value before the next."""
        self._take("{")
        if self._peek() == "}":
            return self._take("}")
        while True:
            if self._peek() != '"':
                raise self._fault("Expecting property name enclosed in double quotes", self._at)
            name = self._value()
            self._take(":")
            yield name
            if self._peek() == "}":
                return self._take("}")
            self._take(",")

    def _elements(self) -> Iterator[None]:
        """A step for each element of an array; who takes one reads it before the next."""
        self._take("[")
        if self._peek() == "]":
            return self._take("]")
        while True:
            yield
            if self._peek() == "]":
                return self._take("]")
            self._take(",")

    def _skip(self) -> None:
        """Pass a value of any size."""
        first = self._peek()
        if first not in ("{", "["):
            self._value()
        elif self._decode(WINDOW) is None:
            for _ in self._members() if first == "{" else self._elements():
                self._skip()

    def _value(self) -> Any:
        self._peek()
        decoded = self._decode(LONGEST_RECORD)
        if decoded is None:
            raise self._fault(f"a value is longer than {LONGEST_RECORD:,} characters", self._at)
        return decoded[0]

    def _decode(self, longest: int) -> tuple[Any] | None:
        """Decode what comes next and go on behind it; None when it is longer than `longest`."""
        while True:
            fault = None
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
                # What ends with the window may go on behind it, as a number does.
                if end < len(self._text) or self._ended:
                    self._began, self._at = self._at, end
                    return (value,)
            except json.JSONDecodeError as error:
                fault = error
            except RecursionError:
                raise self._fault(TOO_DEEP, self._at) from None
            if fault and (self._ended or not self._is_cut(fault)):
                raise self._fault(fault.msg, fault.pos)
            if len(self._text) - self._at > longest:
                return None
            self._more()

    def _is_cut(self, fault: json.JSONDecodeError) -> bool:
        """Whether the fault may only be that the window ends too early."""
        near = len(self._text) - fault.pos <= LONGEST_TOKEN
        return near or fault.msg.startswith("Unterminated string")

    def _peek(self) -> str:
        """The next character that is not whitespace; empty at the end."""
        while True:
            match = WHITESPACE.match(self._text, self._at)
            self._at = match.end() if match else self._at
            if self._at < len(self._text) or self._ended:
                return self._text[self._at : self._at + 1]
            self._more()

    def _take(self, mark: str) -> None:
        if self._peek() != mark:
            raise self._fault(f"Expecting {mark!r}", self._at)
        self._at += 1

    def _more(self) -> None:
        """Forget what was taken, and read as much as is left, a window at least."""
        self._line, self._column = self._place(self._at)
        rest = self._text[self._at :]
        more = self._handle.read(max(WINDOW, len(rest)))
        self._text, self._at, self._began = rest + more, 0, 0
        self._ended = not more

    def _place(self, at: int) -> tuple[int, int]:
        """Line and column of a position in the text."""
        newline = self._text.rfind("\n", 0, at)
        if newline < 0:
            return self._line, self._column + at
        return self._line + self._text.count("\n", 0, at), at - newline

    def _fault(self, what: str, at: int) -> BatchRefusedError:
        line, column = self._place(at)
        return BatchRefusedError(
            f"not valid JSON: {what}",
            where=f"{self._where}: line {line}, column {column}",
            next_step="ask the sender for a new file; the bytes that came are kept in landing/",
        )
