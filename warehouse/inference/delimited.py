"""Delimited texts: how they are written, and their rows as a table of texts."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from warehouse.duck import identifier, number, quoted
from warehouse.errors import ClearwaterError
from warehouse.inference.dialect import Dialect, detect
from warehouse.inference.encoding import encoding_of
from warehouse.inference.files import ROWS, in_utf8, is_tabbed
from warehouse.inference.result import FILE, Notes, counted
from warehouse.readers.contract import OWN_NAMES, Opened

SAMPLE_BYTES = 1 << 20
LARGE_BYTES = 1 << 30
FEWEST_ROWS_A_FILE = 1000
WIDE = 1000


@dataclass(frozen=True)
class Found:
    """What reading the files took: columns, labels, keys of sources.yml, and the rows of all.

    `partial` are the columns that some files lack.
    """

    names: list[str]
    labels: list[str]
    options: dict[str, Any]
    row_count: int
    partial: frozenset[str]


@dataclass(frozen=True)
class _Text:
    """A delimited text in UTF-8 with its dialect."""

    plain: Opened
    path: Path
    encoding: str
    dialect: Dialect


def read(con: duckdb.DuckDBPyConnection, plain: list[Opened], table: str, notes: Notes) -> Found:
    """Make `table` of the files' rows, all of text, with the column FILE if they are several.

    Raises ClearwaterError for a file that is no text or that has no usable header.
    """
    texts = _alike(_opened(plain), notes)
    encoding = _note_encoding(texts, notes)
    for text in texts:
        _check_names(text)
    unnamed = [f"column_{n}" for n in texts[0].dialect.unnamed]
    if unnamed:
        notes.warn(f"columns without a name in the header are called {', '.join(unnamed)}")
    names, partial = _union(texts)
    rows = _read_all(con, texts, names, table, notes)
    labels = [text.plain.label for text in texts]
    return Found(names, labels, _options(texts[0], encoding), rows, partial)


def _opened(plain: list[Opened]) -> list[_Text]:
    """The texts in UTF-8 with their dialects; evidence is taken of the first of each kind."""
    texts = []
    for file in plain:
        encoding, _ = encoding_of(file.path)
        path = in_utf8(file, encoding)
        with path.open("rb") as handle:
            head = handle.read(SAMPLE_BYTES)
            complete = not handle.read(1)
        text = head.decode("utf-8-sig", errors="replace")
        texts.append(_Text(file, path, encoding, detect(text, complete=complete, notes=Notes())))
    return texts


def _alike(texts: list[_Text], notes: Notes) -> list[_Text]:
    """The texts that are written like most; the others are named in a warning."""

    def like(text: _Text) -> int:
        return sum(text.dialect.reads_like(other.dialect) for other in texts)

    model = max(texts, key=like)
    alike = [text for text in texts if text.dialect.reads_like(model.dialect)]
    others = [text.plain.label for text in texts if text not in alike]
    if others:
        notes.warn(
            f"{len(others)} of {len(texts)} files are written in another dialect and were left"
            f" out: {', '.join(others[:5])}; add them as a source of their own"
        )
    with alike[0].path.open("rb") as handle:
        head = handle.read(SAMPLE_BYTES)
        complete = not handle.read(1)
    detect(head.decode("utf-8-sig", errors="replace"), complete=complete, notes=notes)
    return alike


def _note_encoding(texts: list[_Text], notes: Notes) -> str:
    """The encoding to be told of all the texts; ASCII goes with any."""
    encoding, because = encoding_of(texts[0].plain.path)
    odd = [text for text in texts if text.encoding != "utf-8"]
    if odd and texts[0].encoding == "utf-8":
        encoding, because = encoding_of(odd[0].plain.path)
    notes.decide("encoding", encoding, because)
    mixed = {text.encoding for text in odd}
    if len(mixed) > 1 or (odd and _has_letters_in_utf8(texts)):
        notes.warn(
            "the files are of several encodings"
            f" ({', '.join(sorted({text.encoding for text in texts}))}): make them one"
        )
    return encoding


def _has_letters_in_utf8(texts: list[_Text]) -> bool:
    utf8 = [text.path for text in texts if text.encoding == "utf-8"]
    for path in utf8:
        with path.open("rb") as handle:
            if not handle.read(SAMPLE_BYTES).isascii():
                return True
    return False


def _check_names(text: _Text) -> None:
    """Refuse what the loader would refuse: names that stand twice or are Clearwater's own."""
    seen: set[str] = set()
    for column in text.dialect.names:
        problem = None
        if column.lower() in seen:
            problem = f"the column {column!r} stands twice in the header"
        elif column.lower() in OWN_NAMES or column == FILE:
            problem = f"the column name {column!r} is Clearwater's own"
        if problem:
            raise ClearwaterError(
                problem, where=text.plain.label, next_step="rename it in the file"
            )
        seen.add(column.lower())
    if not seen:
        raise ClearwaterError(
            "no table can be found in the file",
            where=text.plain.label,
            next_step="name a file of records, with one line of column names first",
        )


def _union(texts: list[_Text]) -> tuple[list[str], frozenset[str]]:
    """The columns of all files, in the order in which they come up, and those that some lack."""
    names = list(dict.fromkeys(name for text in texts for name in text.dialect.names))
    return names, frozenset(n for n in names if any(n not in t.dialect.names for t in texts))


def _options(text: _Text, encoding: str) -> dict[str, Any]:
    """The keys of sources.yml that differ from what a reader takes for granted."""
    dialect = text.dialect
    granted = "\t" if is_tabbed(text.plain) else ","
    told = {
        "delimiter": dialect.delimiter if dialect.delimiter != granted else None,
        "quote": dialect.quote if dialect.quote != '"' else None,
        "escape": dialect.escape,
        "header": False if not dialect.header else None,
        "skip": dialect.skip or None,
        "encoding": encoding if encoding != "utf-8" else None,
    }
    return {key: value for key, value in told.items() if value is not None}


def _read_all(
    con: duckdb.DuckDBPyConnection,
    texts: list[_Text],
    names: list[str],
    table: str,
    notes: Notes,
) -> int:
    """Read the texts, or the beginnings of large ones, into `table`; returns the files' rows."""
    listed = ", ".join(f"{identifier(name)} varchar" for name in names)
    file = f", {FILE} integer" if len(texts) > 1 else ""
    con.execute(f"create or replace table {table} ({listed}{file})")
    con.execute("set preserve_insertion_order = true")
    if len(names) > WIDE:
        con.execute("set threads = 1")  # each thread holds thousands of rows of every column
    is_large = sum(text.path.stat().st_size for text in texts) > LARGE_BYTES
    limit = f" limit {max(FEWEST_ROWS_A_FILE, ROWS // len(texts))}" if is_large else ""
    total = torn = 0
    for place, text in enumerate(texts):
        columns = ", ".join(identifier(name) for name in text.dialect.names)
        into, select = (f"{columns}, {FILE}", f"*, {place}") if file else (columns, "*")
        sql = f"insert into {table} ({into}) select {select} from {{scan}}{limit}"
        torn += _read_one(con, text, sql)
        if limit:
            total += number(con, f"select count(*) from {_scan(text, text.path)}")
    if torn:
        notes.warn(
            f"{counted(torn, 'record')} with too many or too few fields, or not of the encoding,"
            " will go to the quarantine"
        )
    looked_at = number(con, f"select count(*) from {table}")
    if looked_at < total:
        notes.warn(f"the first {looked_at:,} of {total:,} rows were looked at")
    return total or looked_at


def _read_one(con: duckdb.DuckDBPyConnection, text: _Text, sql: str) -> int:
    """Run the SQL over the text's `{scan}`; returns the torn records."""
    for table in ("reject_errors", "reject_scans"):
        con.execute(f"drop table if exists {table}")
    try:
        try:
            con.execute(sql.replace("{scan}", _scan(text, text.path)))
        except duckdb.InvalidInputException as error:
            if "invalid state" not in str(error):
                raise
            con.execute(sql.replace("{scan}", _scan(text, _with_even_lines(text))))
        return number(con, "select count(distinct line) from reject_errors")
    except (duckdb.InvalidInputException, duckdb.IOException) as error:
        raise ClearwaterError(
            f"not a readable CSV file: {str(error).splitlines()[0]}",
            where=text.plain.label,
            next_step="have it written again, as RFC 4180 has it",
        ) from None
    except duckdb.OutOfMemoryException:
        raise ClearwaterError(
            f"looking at {len(text.dialect.names):,} columns takes more memory than is allowed",
            where=text.plain.label,
            next_step="set CLEARWATER_MEMORY_LIMIT to more, such as 4GiB",
        ) from None


def _with_even_lines(text: _Text) -> Path:
    """The text again with one kind of line end, for DuckDB refuses a mixture."""
    even = text.plain.work / "even"
    words = text.dialect.for_csv()
    with (
        text.path.open(encoding="utf-8-sig", errors="replace", newline="") as handle,
        even.open("w", encoding="utf-8", newline="") as out,
    ):
        for _ in range(text.dialect.skip):
            handle.readline()
            out.write("\n")
        csv.writer(out, **words, lineterminator="\n").writerows(csv.reader(handle, **words))
    return even


def _scan(text: _Text, path: Path) -> str:
    dialect = text.dialect
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in dialect.names)
    return (
        f"read_csv({quoted(path)}, header = {dialect.header}, skip = {dialect.skip},"
        f" delim = {quoted(dialect.delimiter)}, quote = {quoted(dialect.quote)},"
        f" escape = {quoted(dialect.escape or dialect.quote)}, auto_detect = false,"
        f" columns = {{{columns}}}, nullstr = '', store_rejects = true, rejects_limit = 0)"
    )
