"""NDJSON files: every line that is not blank is a record; a broken one is torn alone.

DuckDB splits the lines wherever it can be proven that nothing is lost by it; the rest, usually
few, are decoded in Python. DuckDB alone would write 1.10 as 1.1 and take NaN, trailing commas and
keys that stand twice.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import IO, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.duck import quoted
from warehouse.readers.contract import Column, Opened
from warehouse.readers.json_text import DECODER, TOO_DEEP, record_of
from warehouse.readers.records import LONGEST_RAW, LONGEST_RECORD, Records, check_case
from warehouse.sources import Source

BLOCK_BYTES = 8 << 20
SKIPPED_BYTES = 1 << 20
BOM = b"\xef\xbb\xbf"
SAMPLE_LINES = 100
MOST_NAMES = 1000  # a line of more is better decoded in Python
DEEPEST = 64  # so many brackets cannot be nested too deep for Python
# A top-level number as it is written, in an object that holds no other.
NUMBER = r'("\s*:\s*)(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(\s*[,}])'
# What DuckDB takes for JSON though it is none: a constant that is no number, a comma too many.
TOLERATED = r"(?i)[:,\[]\s*[-+]?(?:nan|inf)|,\s*[}\]]"
Pairs = tuple[tuple[str, Any], ...]


def read(con: duckdb.DuckDBPyConnection, source: Source, opened: Opened) -> list[Column]:
    """Leave `incoming` with the records of an NDJSON file, `rejected` with what is not an object.

    A broken line tears its record alone.
    """
    records = Records(source, opened)
    with opened.path.open("rb") as handle:
        for block, passed in _blocks(handle):
            _take_block(con, records, block, passed)
    return records.finish(con)


def _blocks(handle: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Whole lines in blocks; of a line that is too long its beginning, and how much is left out."""
    block = handle.read(BLOCK_BYTES).removeprefix(BOM)
    while block:
        passed = 0
        if not block.endswith(b"\n"):
            block += handle.readline(LONGEST_RECORD)
        if not block.endswith(b"\n"):
            passed = _pass_line(handle)
        yield block, passed
        block = handle.read(BLOCK_BYTES)


def _pass_line(handle: IO[bytes]) -> int:
    """Go on behind the line's end; returns how many bytes that were."""
    passed = 0
    while rest := handle.readline(SKIPPED_BYTES):
        passed += len(rest)
        if rest.endswith(b"\n"):
            break
    return passed


def _take_block(
    con: duckdb.DuckDBPyConnection, records: Records, block: bytes, passed: int
) -> None:
    """Take the lines of the block; `passed` bytes of the last one are left out."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
    if not block.endswith(b"\n"):
        ends = np.append(ends, len(block))
    starts = np.concatenate(([0], ends[:-1]))
    lengths = ends - starts
    lengths[-1] += passed
    offsets = np.append(starts, len(block)).astype(np.int32)
    text = pa.StringArray.from_buffers(len(ends), pa.py_buffer(offsets), pa.py_buffer(block))
    filled = ~pc.ascii_is_space(text).to_numpy(zero_copy_only=False)
    first = records.count + 1
    numbers = np.cumsum(filled) + records.count
    sound = filled & (lengths <= LONGEST_RECORD) & _are_utf8(text)
    lines = pa.table({"_source_row": numbers, "line": pc.ascii_rtrim(text, characters=" \t\r\n")})
    lines = lines if sound.all() else lines.filter(pa.array(sound))
    doubtful = _take_quickly(con, records, lines)
    at = np.flatnonzero(filled)
    for number in sorted(chain(doubtful, numbers[filled & ~sound].tolist())):
        start, end = starts[at[number - first]], ends[at[number - first]]
        _take_line(records, block[start:end], number, int(lengths[at[number - first]]))


def _are_utf8(text: pa.StringArray) -> Any:
    """A mask of the lines that are UTF-8."""
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return np.array([_is_utf8(line) for line in text.view(pa.binary()).to_pylist()])
    return np.ones(len(text), bool)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _take_line(records: Records, line: bytes, number: int, length: int) -> None:
    """Take one line, of which `line` is all unless it is longer than a record may be."""
    raw = line.rstrip(b"\r\n")
    try:
        if length > LONGEST_RECORD:
            raw = raw[:LONGEST_RAW]
            raise ValueError(f"longer than {LONGEST_RECORD:,} bytes: {length:,}")
        records.add(record_of(DECODER.decode(raw.decode())), number)
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
    records.tear(detail, raw.decode("utf-8", "backslashreplace"), number)


@dataclass(frozen=True)
class _Shape:
    """What most lines look like: the names of all, and the commonest line's names and marks."""

    names: list[str]
    common: tuple[str, ...]
    texts: frozenset[str]  # the names whose values are texts
    comma: str
    colon: str

    @classmethod
    def of(cls, known: list[str], lines: list[str]) -> _Shape | None:
        """The shape of these lines; None where DuckDB cannot hold their names as they are."""
        sample = {line: pairs for line in lines if (pairs := _pairs(line))}
        found = chain.from_iterable(dict(pairs) for pairs in sample.values())
        counted = Counter(tuple(dict(pairs)) for pairs in sample.values())
        common = counted.most_common(1)[0][0] if sample else ()
        # Of names that differ in case alone one, the commonest line's; others are left to Python.
        names = list({name.lower(): name for name in chain(known, found, common)}.values())
        odd = any(not name.strip() or "\0" in name for name in names)
        if not sample or odd or len(names) > MOST_NAMES:
            return None
        values = chain.from_iterable(sample.values())
        bare = {name for name, value in values if value.__class__ is not str and value is not None}
        like = next(line for line, pairs in sample.items() if tuple(dict(pairs)) == common)
        colon = ": " if like.startswith(f"{{{_key(common[0])}: ") else ":"
        comma = ", " if any(f", {_key(name)}{colon}" in like for name in common[1:]) else ","
        return cls(names, common, frozenset(names) - bare, comma, colon)

    @property
    def structure(self) -> str:
        """SQL for all names with the type text, as json_transform takes it."""
        return quoted(json.dumps(dict.fromkeys(self.names, "VARCHAR"), ensure_ascii=False))

    @property
    def pointers(self) -> str:
        """SQL for the list of the names as JSON pointers."""
        escaped = [name.replace("~", "~0").replace("/", "~1") for name in self.names]
        return f"[{', '.join(quoted(f'/{name}') for name in escaped)}]"

    @property
    def is_common(self) -> str:
        """SQL that the line is the commonest one, with the values in `v` as they are written.

        Written again with them it must be equal. That proves it: without a backslash a text is
        written as it is, so by and by each value is found where the line has it. What is nested
        or no number (NaN sorts behind A) is left to others.
        """
        parts, proofs = [], ["not contains(line, '\\')", "not contains(line, '-Infinity')"]
        for place, name in enumerate(self.common):
            value = f"struct_extract(v, {quoted(name)})"
            mark = self.comma if place else "{"
            parts.append(quoted(f"{mark}{_key(name)}{self.colon}"))
            if name in self.texts:
                parts.append(f"coalesce('\"' || {value} || '\"', 'null')")
            else:
                parts.append(f"coalesce({value}, 'null')")
                proofs.append(f"coalesce({value} < 'A' or {value} in ('true', 'false'), true)")
        return f"{' and '.join(proofs)} and concat({', '.join(parts)}, '}}') = line"


def _key(name: str) -> str:
    return json.dumps(name, ensure_ascii=False)


def _pairs(line: str) -> Pairs:
    """The names and values of a line that is a record with any; nothing otherwise."""
    try:
        value: Pairs = DECODER.decode(line)
        record = record_of(value)
        check_case(record)
        "".join(chain(record, filter(None, record.values()))).encode()
    except (ValueError, RecursionError):
        return ()
    return value


def _take_quickly(con: duckdb.DuckDBPyConnection, records: Records, lines: pa.Table) -> list[int]:
    """Take the lines whose values DuckDB is proven to give exactly; returns the others' numbers."""
    shape = _Shape.of(records.names, lines["line"].slice(0, SAMPLE_LINES).to_pylist())
    if shape is None:
        return list(lines["_source_row"].to_pylist())
    for select in (_common_lines(shape), _other_lines(shape)):
        con.register("ndjson_lines", lines)
        split = con.execute(select).to_arrow_table()
        con.unregister("ndjson_lines")
        proven = split["proven"]
        lines = split.filter(pc.invert(proven)).select(["_source_row", "line"])
        taken = split.filter(proven) if len(lines) else split
        records.add_table(shape.names, taken.drop_columns(["proven", "line"]))
        if not len(lines):
            break
    return list(lines["_source_row"].to_pylist())


def _common_lines(shape: _Shape) -> str:
    """SQL that splits the lines and proves the commonest ones."""
    fields = ", ".join(
        f"struct_extract(v, {quoted(name)}) as c{place}" for place, name in enumerate(shape.names)
    )
    return (
        f"select _source_row, {fields}, coalesce({shape.is_common}, false) as proven,"
        " case when not proven then line end as line"
        f" from (select *, try(json_transform(line, {shape.structure})) as v from ndjson_lines)"
    )


def _other_lines(shape: _Shape) -> str:
    """SQL that splits lines with any order and choice of the names, and proves what it can.

    In a flat object numbers are put in quotes first, as texts keep every digit; a quote that came
    into a text by that is followed by a digit, so the line is JSON no more. What is nested must
    equal what DuckDB writes, but for the spaces behind commas and colons.
    """
    known, common = (f"[{', '.join(map(quoted, names))}]" for names in (shape.names, shape.common))
    even = "replace(replace({}, ': ', ':'), ', ', ',')"
    brackets = "strlen(line) - strlen(translate(line, '[{', ''))"
    are_known = (  # and none of them twice; `case`, for `and` would look at every line
        f"case when names = {common} then true else list_has_all({known}, names)"
        " and list_unique(names) = len(names) end"
    )
    is_exact = (
        f"case when nested then not contains(line, '\\u00') and {brackets} <= {DEEPEST}"
        f" and {even.format('try(json(line))')} = {even.format('line')} else true end"
    )
    fields = ", ".join(f"v[{place + 1}] as c{place}" for place in range(len(shape.names)))
    return (
        f"select _source_row, {fields}, coalesce(starts_with(line, '{{') and {are_known}"
        f" and not regexp_matches(line, {quoted(TOLERATED)}) and {is_exact}, false) as proven, line"
        f" from (select *, try(json_extract_string(text, {shape.pointers})) as v,"
        " try(json_keys(text)) as names from (select *, case when nested then line else"
        f" regexp_replace(line, {quoted(NUMBER)}, '\\1\"\\2\"\\3', 'g') end as text"
        " from (select *, contains(line, '[') or contains(line[2:], '{') as nested"
        " from ndjson_lines)))"
    )


def lines(_source: Source, opened: Opened, rows: list[int], _: int) -> dict[int, int]:
    """The physical lines of the records `rows`; both count from 1."""
    wanted = set(rows)
    found: dict[int, int] = {}
    record = line = 0
    with opened.path.open("rb") as handle:
        for block, _passed in _blocks(handle):
            for text in block.removesuffix(b"\n").split(b"\n"):
                line += 1
                if text and not text.isspace():
                    record += 1
                    if record in wanted:
                        found[record] = line
    return found
