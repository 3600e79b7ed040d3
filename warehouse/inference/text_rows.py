"""The rows of delimited texts whose dialect is known, as a table of texts."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import duckdb

from warehouse.duck import identifier, number, quoted
from warehouse.errors import ClearwaterError
from warehouse.inference.dialect import Dialect
from warehouse.inference.files import ROWS
from warehouse.inference.result import FILE, Notes
from warehouse.readers.contract import Opened
from warehouse.wording import counted

SAMPLE_BYTES = 1 << 20
LARGE_BYTES = 1 << 30
FEWEST_ROWS_A_FILE = 1000
WIDE = 1000
ESCAPED = re.compile(r"\\[a-zA-Z0]")


@dataclass(frozen=True)
class Text:
    """A delimited text in UTF-8 with its dialect."""

    plain: Opened
    path: Path
    encoding: str
    dialect: Dialect


def head_of(text: Text) -> tuple[str, bool]:
    """The beginning of the text, and whether that is all of it."""
    with text.path.open("rb") as handle:
        head = handle.read(SAMPLE_BYTES)
        complete = not handle.read(1)
    return head.decode("utf-8-sig", errors="replace"), complete


def read_rows(
    con: duckdb.DuckDBPyConnection,
    texts: list[Text],
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
    if any(text.dialect.escape and ESCAPED.search(head_of(text)[0]) for text in texts):
        notes.warn(
            "a backslash escapes the character behind it, so it is left out of the texts: what was"
            " written as \\n for a new line becomes n"
        )
    if torn:
        notes.warn(
            f"{counted(torn, 'record')} with too many or too few fields, or not of the encoding,"
            " will go to the quarantine"
        )
    looked_at = number(con, f"select count(*) from {table}")
    if looked_at < total:
        notes.warn(f"the first {looked_at:,} of {total:,} rows were looked at")
    return total or looked_at


def _read_one(con: duckdb.DuckDBPyConnection, text: Text, sql: str) -> int:
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
            next_step="ask the sender for a new file, written as RFC 4180 has it",
        ) from None
    except duckdb.OutOfMemoryException:
        raise ClearwaterError(
            f"looking at {len(text.dialect.names):,} columns takes more memory than is allowed",
            where=text.plain.label,
            next_step="set CLEARWATER_MEMORY_LIMIT to more, such as 4GiB",
        ) from None


def _with_even_lines(text: Text) -> Path:
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


def _scan(text: Text, path: Path) -> str:
    dialect = text.dialect
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in dialect.names)
    return (
        f"read_csv({quoted(path)}, header = {dialect.header}, skip = {dialect.skip},"
        f" delim = {quoted(dialect.delimiter)}, quote = {quoted(dialect.quote)},"
        f" escape = {quoted(dialect.escape or dialect.quote)}, auto_detect = false,"
        f" columns = {{{columns}}}, nullstr = '', store_rejects = true, rejects_limit = 0,"
        " hive_partitioning = false)"
    )
