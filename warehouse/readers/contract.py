"""What a reader owes the loader.

A reader is a function `read(con, source, opened) -> list[Column]`. It leaves two temporary
relations on the connection, for this batch alone:

- `incoming`: one row a record that could be split into fields: the columns that it returns, in
  their types; `_source_row` (bigint, the record's number in the file, from 1, a header not
  counted); `_failed` (varchar: null, or which columns' values are not of their declared type).
- `rejected`: one row a record that could not be split: `_source_row`, `reason`, `detail`, `raw`.

And the view `incoming_raw` (`_source_row`, `raw`): any record of `incoming` as JSON text in the
file's own values. A file that cannot be read at all raises BatchRefusedError. Column names are
the file's own. Values of formats that carry types keep them. Of a text format a reader only has
to make a relation of text columns: `type_text` makes the rest, strictly: nothing is rounded, cut
or shifted on the way.

A module may also have `lines(source, opened, rows, rows_in) -> dict[int, int]`: the physical lines,
from 1, on which the given of the file's `rows_in` records begin.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from warehouse.duck import identifier, quoted
from warehouse.errors import BatchRefusedError
from warehouse.sources import ColumnType, Source


@dataclass(frozen=True)
class Column:
    """A column's name in the file and its DuckDB type."""

    name: str
    type: str


@dataclass(frozen=True)
class Opened:
    """A landed file, or one part of it, taken out of its container: what a reader reads.

    `path` holds the plain bytes, `name` the original name without a suffix of compression,
    `label` is what people are told, and `work` a folder for files that live as long as the batch.
    """

    path: Path
    name: str
    label: str
    work: Path


OWN_NAMES = ("_batch_id", "_source_file", "_source_row", "_loaded_at", "_failed", "_rank")

Read = Callable[[duckdb.DuckDBPyConnection, Source, Opened], list[Column]]
Lines = Callable[[Source, Opened, list[int], int], dict[int, int]]


@dataclass(frozen=True)
class Reader:
    """How one format is read; `lines` where records have physical lines."""

    read: Read
    lines: Lines | None = None


# In an error about the machine or the lake, not about a file that arrived.
MACHINE_WORDS = ("No space left", "/lake/data/", "duckdb_temp", "Out of Memory")

FILE_FAULTS = (
    duckdb.BinderException,
    duckdb.ConversionException,
    duckdb.IOException,
    duckdb.InvalidInputException,
    duckdb.NotImplementedException,
)

INTEGERS = {
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
}


@contextmanager
def unreadable_refused(what: str, where: str) -> Iterator[None]:
    """Refuse the file when DuckDB says that its content is at fault.

    A full disk or too little memory is not the file's fault: such an error passes through.
    """
    try:
        yield
    except FILE_FAULTS as error:
        text = str(error).splitlines()[0]
        if any(words in text for words in MACHINE_WORDS):
            raise
        raise BatchRefusedError(
            f"{what}: {text}",
            where=where,
            next_step="have it written again; the bytes that came are kept in landing/",
        ) from None


def drop_incoming(con: duckdb.DuckDBPyConnection) -> None:
    """Drop `incoming`, be it a view or a table."""
    try:
        con.execute("drop view if exists incoming")
    except duckdb.CatalogException:
        con.execute("drop table incoming")


def forget_batch(con: duckdb.DuckDBPyConnection) -> None:
    """Drop what the batch before left, so that nothing of it is counted with this one."""
    drop_incoming(con)
    con.execute("drop table if exists rejected")


def no_rejected(con: duckdb.DuckDBPyConnection) -> None:
    """An empty `rejected`, for formats whose records cannot be torn."""
    con.execute(
        "create or replace temp table rejected"
        " (_source_row bigint, reason varchar, detail varchar, raw varchar)"
    )


def where(source: Source, opened: Opened) -> str:
    """Source and file, for messages."""
    return f"{source.name}: {opened.label}"


def check_names(names: list[str], source: Source, opened: Opened) -> None:
    """Refuse names that the lake cannot hold, and names in sources.yml that are not there."""
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        problem = _name_problem(name, number, seen)
        if problem:
            raise BatchRefusedError(
                problem, where=where(source, opened), next_step="rename it in the file"
            )
        seen.add(name.lower())
    needed = [*source.key, *filter(None, (source.event_time, source.known_at)), *source.columns]
    for name in needed:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            raise BatchRefusedError(
                f"the column {name!r} that sources.yml names is not in the file",
                where=where(source, opened),
                next_step=f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(names)}",
            )


def _name_problem(name: str, number: int, seen: set[str]) -> str | None:
    if not name.strip():
        return f"column {number} has no name"
    if name.lower() in seen:
        return f"the column {name!r} stands twice"
    if name.lower() in OWN_NAMES:
        return f"the column name {name!r} is Clearwater's own"
    return None


def type_text(
    con: duckdb.DuckDBPyConnection, source: Source, names: list[str], text: str, *, number: str
) -> list[Column]:
    """Make the table `incoming` of the relation `text`, whose columns `names` are all text.

    `text` is SQL that may stand after `from`; `number` is SQL for `_source_row` beside it.
    Declared columns are typed, the others stay text.
    """
    columns = [Column(name, source.type_of(name)) for name in names]
    casts = {name: cast_declared(source, name) for name in names}
    typed = ", ".join(f"{cast} as {identifier(name)}" for name, cast in casts.items())
    con.execute(
        f"create or replace temp table incoming as select {typed}, {number} as _source_row,"
        f" {_failed(source, casts)} as _failed from {text}"
    )
    return columns


def cast_declared(source: Source, name: str) -> str:
    """SQL that types the text column `name` as sources.yml declares; null where it does not fit."""
    declared = source.columns.get(name, ColumnType(type="VARCHAR"))
    text = identifier(name)
    if declared.format:
        parsed = f"try_strptime({text}, {quoted(declared.format)})"
        return parsed if declared.type == "TIMESTAMP" else f"{parsed}::{declared.type}"
    if source.decimal == "," and is_number(declared.type):
        # A point would part thousands there: what it means cannot be told, so the cast fails.
        text = f"replace(replace({text}, '.', '?'), ',', '.')"
    return strict_cast(text, declared.type)


def is_number(type_name: str) -> bool:
    """Whether a DuckDB type is one of numbers."""
    return type_name in INTEGERS | {"DOUBLE", "FLOAT"} or type_name.startswith("DECIMAL")


def _failed(source: Source, casts: dict[str, str]) -> str:
    """SQL that names the columns whose text is not of their type; null when there are none."""
    tests = {
        name: f"({identifier(name)} is not null and {cast} is null)"
        for name, cast in casts.items()
        if source.type_of(name) != "VARCHAR"
    }
    if not tests:
        return "null::varchar"
    listed = ", ".join(f"case when {test} then {quoted(name)} end" for name, test in tests.items())
    return f"case when {' or '.join(tests.values())} then concat_ws(', ', {listed}) end"


def as_json(names: list[str]) -> str:
    """SQL for the record with these columns as JSON text."""
    fields = ", ".join(f"{identifier(name)} := {identifier(name)}" for name in names)
    return f"to_json(struct_pack({fields}))::varchar"


def strict_cast(text: str, to: str) -> str:
    """SQL that types the SQL text `text`, null where that would change or lose the value."""
    if to == "VARCHAR":
        return text
    # DuckDB's cast to TIMESTAMP drops an offset; TIMESTAMPTZ in UTC heeds it.
    utc = f"try_cast({text} as timestamptz)::timestamp"
    cast = utc if to == "TIMESTAMP" else f"try_cast({text} as {to})"
    changed = _changed(text, to, cast, utc)
    return f"case when {changed} then null else {cast} end" if changed else cast


FRACTION_DIGITS = {
    "TIMESTAMP_S": 0,
    "TIMESTAMP_MS": 3,
    "TIMESTAMP_NS": 9,
    "TIMESTAMP": 6,
    "TIMESTAMP WITH TIME ZONE": 6,
    "TIME": 6,
}
EXACT_IN_DOUBLE = 1 << 53


def _changed(text: str, to: str, cast: str, utc: str) -> str:
    """SQL that `cast` rounds, cuts or shifts the value; empty where it never does.

    The cheap tests stand first: nearly every value passes them.
    """
    scientific = f"contains(lower({text}), 'e')"
    double = f"try_cast({text} as double)"
    if to in INTEGERS:
        # DuckDB rounds '1.5' to 2; only an integral value may become an integer.
        return (
            f"(contains({text}, '.') or {scientific})"
            f" and not regexp_matches({text}, '^[^.eE]*\\.0*\\s*$')"
            f" and not (abs({double}) < {EXACT_IN_DOUBLE} and {double} = {cast}::double)"
        )
    if to.startswith("DECIMAL"):
        digits = int(to.rstrip(")").split(",")[1])
        return f"{_finer(text, digits)} or ({scientific} and {double} <> {cast}::double)"
    if to in ("DOUBLE", "FLOAT"):
        return f"isinf({cast}) and not contains(lower({text}), 'inf')"
    if to == "DATE":
        return f"strlen({text}) > 10 and {utc} is distinct from {cast}::timestamp"
    if to in FRACTION_DIGITS:
        # Nothing shorter than a date, a time and so many digits can have more of them.
        finer = f"strlen({text}) > {len('00:00:00.')} and {_finer(text, FRACTION_DIGITS[to])}"
        if to == "TIMESTAMP":
            finer = f"strlen({text}) > {len('2026-01-31T00:00:00.000000')} and {finer}"
        return f"{finer} or regexp_matches({text}, '[-+Zz]')" if to == "TIME" else finer
    return ""


def _finer(text: str, digits: int) -> str:
    return f"regexp_matches({text}, '\\.[0-9]{{{digits}}}[0-9]*[1-9]')"
