"""What a reader owes the loader.

A reader is a function `read(con, file, source, original_name) -> list[Column]`. It leaves two
temporary relations on the connection, for this batch alone:

- `incoming`: one row a record that could be split into fields: the columns that it returns, in
  their types; `_source_row` (bigint, the record's number in the file, from 1, a header not
  counted); `_failed` (varchar: null, or which columns' values are not of their declared type).
- `rejected`: one row a record that could not be split: `_source_row`, `reason`, `detail`, `raw`.

And the view `incoming_raw` (`_source_row`, `raw`): any record of `incoming` as JSON text in the
file's own values. A file that cannot be read at all raises BatchRefusedError. Column names are
the file's own. Values of formats that carry types keep them; text is typed as `source.columns`
declares, strictly: nothing is rounded, cut or shifted on the way.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from warehouse.duck import identifier
from warehouse.errors import BatchRefusedError
from warehouse.sources import Source


@dataclass(frozen=True)
class Column:
    """A column's name in the file and its DuckDB type."""

    name: str
    type: str


OWN_NAMES = ("_batch_id", "_source_file", "_source_row", "_loaded_at", "_failed", "_rank")

Reader = Callable[[duckdb.DuckDBPyConnection, Path, Source, str], list[Column]]

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


def check_names(names: list[str], source: Source, original_name: str) -> None:
    """Refuse names that the lake cannot hold, and keys or times that are not there."""
    where = f"{source.name}: {original_name}"
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if not name.strip():
            raise BatchRefusedError(
                f"column {number} has no name", where=where, next_step="name it"
            )
        if name.lower() in seen:
            raise BatchRefusedError(
                f"the column {name!r} stands twice", where=where, next_step="rename one of them"
            )
        if name.lower() in OWN_NAMES:
            raise BatchRefusedError(
                f"the column name {name!r} is Clearwater's own", where=where, next_step="rename it"
            )
        seen.add(name.lower())
    needed = [*source.key, *filter(None, (source.event_time, source.known_at))]
    for name in needed:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            raise BatchRefusedError(
                f"the column {name!r} that sources.yml names is not in the file",
                where=where,
                next_step=f"did you mean {near[0]!r}?" if near else f"it has: {', '.join(names)}",
            )


def strict_cast(column: str, to: str) -> str:
    """SQL that types the text `column`, null where that would change or lose the value."""
    text = identifier(column)
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
