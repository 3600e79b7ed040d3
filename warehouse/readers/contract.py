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
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from warehouse.duck import PARQUET, identifier, listed, quoted
from warehouse.errors import BatchRefusedError, without_values
from warehouse.readers.casting import Cast, declared_cast, failed
from warehouse.readers.header import showable, tells_a_person
from warehouse.sources import Source
from warehouse.wording import counted, known_names


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
    `stamp` is SQL for the lake's own columns of the batch, for a reader that writes `staged`.
    `beside` tells why no rows are made of it, if it only stands beside the data in a zip.
    """

    path: Path
    name: str
    label: str
    work: Path
    stamp: str = ""
    beside: str = ""

    @property
    def staged(self) -> Path:
        """The Parquet file in which a reader may leave `incoming` together with the stamp."""
        return self.work / "incoming.parquet"


STAGED_BYTES = 16 << 20
LIKE = 0.7  # names as similar as amount and amuont
MOST_STAGED_COLUMNS = 300  # DuckDB buffers a row group of each while it writes a file
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

# How DuckDB calls a file of ours, of which the user knows only the original name.
OWN_PATH = re.compile(
    r"""(?:Parquet )?(?:[Ff]ile:? )?(?:'[^']*|"[^"]*|/\S*)"""
    r"""/(?:landing/[0-9a-f]{2}/[0-9a-f]{64}|tmp/batch/[\w./]+)['"]?"""
)
MOST_COLUMNS = 1_990  # SQLite, which holds the lake's catalog, has 2,000 with its own
ERROR_KIND = re.compile(r"^[A-Z][A-Za-z ]* Error: ")

FILE_FAULTS = (
    duckdb.BinderException,
    duckdb.ConversionException,
    duckdb.IOException,
    duckdb.InvalidInputException,
    duckdb.NotImplementedException,
)


@contextmanager
def unreadable_refused(what: str, where: str) -> Iterator[None]:
    """Refuse the file when DuckDB says that its content is at fault, without the values it quotes.

    A full disk or too little memory is not the file's fault: such an error passes through.
    """
    try:
        yield
    except duckdb.Error as error:
        text = str(error).splitlines()[0]
        # What a library under DuckDB says of a broken file comes as a plain Error.
        is_files = isinstance(error, FILE_FAULTS) or type(error) is duckdb.Error
        if not is_files or any(words in text for words in MACHINE_WORDS):
            raise
        told = without_values(OWN_PATH.sub("the file", str(error))).splitlines()[0]
        raise BatchRefusedError(
            f"{what}: {ERROR_KIND.sub('', told)}",
            where=where,
            next_step="ask the sender for a new file; the bytes that came are kept in landing/",
        ) from None


def drop(con: duckdb.DuckDBPyConnection, relation: str) -> None:
    """Drop a temporary relation, be it a view or a table."""
    try:
        con.execute(f"drop view if exists {relation}")
    except duckdb.CatalogException:
        con.execute(f"drop table {relation}")


def drop_incoming(con: duckdb.DuckDBPyConnection) -> None:
    """Drop `incoming`, be it a view or a table."""
    drop(con, "incoming")


def forget_batch(con: duckdb.DuckDBPyConnection) -> None:
    """Drop what the batch before left, so that nothing of it is counted with this one."""
    for relation in ("incoming", "unshifted", "typed", "rejected"):
        drop(con, relation)


def rows_read(con: duckdb.DuckDBPyConnection) -> int:
    """How many records the file has: those that could be split, and those that could not."""
    row = con.execute(
        "select (select count(*) from incoming) + (select count(*) from rejected)"
    ).fetchone()
    assert row is not None
    return int(row[0])


def no_rejected(con: duckdb.DuckDBPyConnection) -> None:
    """An empty `rejected`, for formats whose records cannot be torn."""
    con.execute(
        "create or replace temp table rejected"
        " (_source_row bigint, reason varchar, detail varchar, raw varchar)"
    )


def where(source: Source, opened: Opened) -> str:
    """Source and file, for messages."""
    return f"{source.name}: {opened.label}"


def check_names(
    names: list[str], source: Source, opened: Opened, absent: Collection[str] = ()
) -> None:
    """Refuse names that the lake cannot hold, and a file that lacks what the loader lives by.

    Key, event time and known_at must be there. Another declared column may be missing (its rows
    have null), unless one of nearly the same name came in its place. Of the names those `absent`
    are in no record.
    """
    if len(names) > MOST_COLUMNS:
        raise BatchRefusedError(
            f"it has {len(names):,} columns; a table has {MOST_COLUMNS:,} at most",
            where=where(source, opened),
            next_step="have it written with a row for each of the values, or in several files",
        )
    seen: set[str] = set()
    came = [name for name in names if name not in absent]
    shown = showable(came, source)
    for number, name in enumerate(names, 1):
        problem = _name_problem(name, number, seen, is_shown=name in shown)
        if tells_a_person(name, source):
            problem = f"the name of column {number} is a value that may speak of a person"
        if problem:
            raise BatchRefusedError(
                problem, where=where(source, opened), next_step="rename it in the file"
            )
        seen.add(name.lower())
    needed = {*source.key, *filter(None, (source.event_time, source.known_at))}
    undeclared = [name for name in shown if source.declared(name) is None]
    for name in dict.fromkeys([*sorted(needed), *source.columns]):
        near = difflib.get_close_matches(name, undeclared, n=1, cutoff=LIKE)
        if name.lower() not in seen and (near or name in needed):
            raise BatchRefusedError(
                f"the column {name!r} that sources.yml names is not in the file",
                where=where(source, opened),
                next_step=_renamed(name, near[0]) if near else _lacking(came, shown),
            )


def _renamed(name: str, near: str) -> str:
    """What to do about a column that came under a new name."""
    return (
        f"ask the sender for a file with {name!r}; if it is called {near!r} from now on, declare"
        f" {near!r} beside it in sources.yml and read both in the staging model (docs/sources.md, A"
        " column was renamed)"
    )


def _lacking(names: list[str], shown: list[str]) -> str:
    """What to do about a file without what the loader lives by."""
    step = "ask the sender for a file that has it"
    if len(shown) == len(names):
        return f"{step}; the columns of this one: {known_names(names)}"
    others = counted(len(names) - len(shown), "column")
    return f"{step}; of the declared columns this one has: {known_names(shown)}, beside {others}"


def _name_problem(name: str, number: int, seen: set[str], *, is_shown: bool) -> str | None:
    if not name.strip():
        return f"column {number} has no name"
    if name.lower() in seen:
        return f"the column {name!r} stands twice" if is_shown else f"column {number} stands twice"
    if name.lower() in OWN_NAMES:
        return f"the column name {name!r} is Clearwater's own"
    return None


def to_stage(opened: Opened, size: int, names: list[str]) -> Opened | None:
    """Where the typed rows of a file of `size` bytes go for the lake to take them as they are.

    None for a small file, for a wide one, and where nothing is to be taken.
    """
    is_worth_it = size >= STAGED_BYTES and len(names) <= MOST_STAGED_COLUMNS
    return opened if opened.stamp and is_worth_it else None


def type_text(
    con: duckdb.DuckDBPyConnection,
    source: Source,
    names: list[str],
    text: str,
    *,
    number: str,
    staged: Opened | None = None,
) -> list[Column]:
    """Make `incoming` of the relation `text`, whose columns `names` are all text.

    `text` is SQL that may stand after `from`; `number` is SQL for `_source_row` beside it.
    Declared columns are typed, the others stay text. A value that is not of its type is null.
    The typed rows go to a temporary table, or to the file `staged.staged` if that is given.
    """
    casts = {name: declared_cast(source, name) for name in names}
    # Values are cast in an inner select, so that the doubts of the outer one need not cast again.
    values = [f"{cast.quick} as _clearwater_value{n}" for n, cast in enumerate(casts.values())]
    typed = [f"_clearwater_value{n} as {identifier(name)}" for n, name in enumerate(names)]
    select = (
        f"select {', '.join(typed)}, _source_row, {failed(casts)} as _failed"
        f" from (select *, {', '.join(values)}, {number} as _source_row from {text})"
    )
    drop(con, "typed")
    if staged is None:
        con.execute(f"create temp table typed as {select}")
    else:
        con.execute(
            f"copy (select *, {staged.stamp} from ({select})) to {quoted(staged.staged)}"
            f" (format parquet, compression {PARQUET['compression']},"
            f" parquet_version v{PARQUET['version']})"
        )
        con.execute(
            f"create temp view typed as select {listed(names)}, _source_row, _failed"
            f" from read_parquet({quoted(staged.staged)}, hive_partitioning = false)"
        )
    drop_incoming(con)
    con.execute(f"create temp view incoming as select {_nulled(con, casts)} from typed")
    return [Column(name, source.type_of(name)) for name in names]


def _nulled(con: duckdb.DuckDBPyConnection, casts: dict[str, Cast]) -> str:
    """SQL for the columns of `typed` with null in the place of values that failed."""
    if not con.execute("select 1 from typed where _failed is not null limit 1").fetchone():
        return "*"
    nulls = ", ".join(
        f"if(list_contains(split(_failed, ', '), {quoted(name)}), null, {identifier(name)})"
        f" as {identifier(name)}"
        for name, cast in casts.items()
        if cast.doubt
    )
    return f"* replace ({nulls})"


def as_json(names: list[str]) -> str:
    """SQL for the record with these columns as JSON text."""
    fields = ", ".join(f"{identifier(name)} := {identifier(name)}" for name in names)
    return f"to_json(struct_pack({fields}))::varchar"
