"""CSV files: in the form of RFC 4180 unless sources.yml tells another dialect."""

from __future__ import annotations

import csv
import mmap
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import duckdb

from warehouse.duck import quoted
from warehouse.errors import BatchRefusedError
from warehouse.readers.contract import (
    Column,
    Opened,
    as_json,
    check_names,
    to_stage,
    type_text,
    unreadable_refused,
    where,
)
from warehouse.readers.header import check_header
from warehouse.sources import Source

OTHER_DELIMITERS = ";\t|,"
LONGEST_FIELD = 1 << 30
LONGEST_LINE = 8 << 20  # DuckDB loses some from 16 MB on
BLOCK_BYTES = 1 << 20
LINE_ENDS = (b"\n", b"\r")
csv.field_size_limit(LONGEST_FIELD)
# The beginning of JSON's objects where a column's name should be; of an array, the rest may follow.
OBJECTS = re.compile(r'\s*(\[\s*)?\{\s*"|\s*[\[{]\s*$')
BLANK_LINES = (b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r\n")


def read(con: duckdb.DuckDBPyConnection, source: Source, opened: Opened) -> list[Column]:
    """Leave `incoming` as a table of the typed records, `rejected` with the torn ones."""
    _check_lines(source, opened)
    names = _names(source, opened)
    _check_no_objects(names, source, opened)
    if source.header:
        check_header(names, source, where(source, opened))
    check_names(names, source, opened)
    with unreadable_refused("not a readable CSV file", where(source, opened)):
        try:
            columns = _read(con, source, opened, opened.path, names)
        except duckdb.InvalidInputException as error:
            if "invalid state" not in str(error):
                raise
            even = _with_even_lines(source, opened)
            columns = _read(con, source, opened, even, names)
    return columns


def _read(
    con: duckdb.DuckDBPyConnection, source: Source, opened: Opened, file: Path, names: list[str]
) -> list[Column]:
    for table in ("reject_errors", "reject_scans"):
        con.execute(f"drop table if exists {table}")
    faults = "store_rejects = true, rejects_limit = 0"
    scan = _scan(source, opened, file, names, faults=faults, nulls=source.nulls)
    con.execute("set preserve_insertion_order = true")  # row_number() is then the file's order
    columns = type_text(
        con,
        source,
        names,
        scan,
        number="row_number() over ()",
        staged=to_stage(opened, file.stat().st_size, names),
    )
    con.execute("set preserve_insertion_order = false")
    _number_records(con, source, opened, file, names)
    return columns


def _check_no_objects(names: list[str], source: Source, opened: Opened) -> None:
    """Refuse JSON that is read as CSV: the first line's parts are no names."""
    if not names or not OBJECTS.match(names[0]):
        return
    is_by_lines = names[0].lstrip().startswith("{") and names[-1].rstrip().endswith("}")
    name = "ndjson" if is_by_lines else "json"
    raise BatchRefusedError(
        f"it is read as CSV and looks like {name.upper()}",
        where=where(source, opened),
        next_step=f"declare `format: {name}` if all files of the source are; else ask the sender"
        " for CSV",
    )


def _check_lines(source: Source, opened: Opened) -> None:
    """Refuse a line so long that DuckDB may pass over it without a word."""
    if opened.path.stat().st_size <= LONGEST_LINE:
        return
    with _mapped(opened.path) as text:
        # A line that is too long has one of these windows to itself.
        for start in range(0, len(text), LONGEST_LINE // 2):
            if any(text.find(end, start, start + LONGEST_LINE // 2) >= 0 for end in LINE_ENDS):
                continue
            begin, end = text.rfind(b"\n", 0, start) + 1, text.find(b"\n", start)
            if (len(text) if end < 0 else end) - begin > LONGEST_LINE:
                line = _line_count(opened.path, begin) + 1
                raise BatchRefusedError(
                    f"line {line:,} is longer than {LONGEST_LINE:,} bytes",
                    where=where(source, opened),
                    next_step="ask the sender for a new file; the bytes that came are kept in"
                    " landing/",
                )


def delimiter_of(source: Source, opened: Opened) -> str:
    """The declared delimiter, else the one that the suffix tells, else a comma."""
    tabbed = Path(opened.name).suffix.lower() in (".tsv", ".tab")
    return source.delimiter or ("\t" if tabbed else ",")


def _dialect(source: Source, opened: Opened) -> dict[str, Any]:
    """The source's dialect in the words of Python's csv module."""
    doubled = source.escape is None or source.escape == source.quote
    return {
        "delimiter": delimiter_of(source, opened),
        "quotechar": source.quote or None,
        "quoting": csv.QUOTE_MINIMAL if source.quote else csv.QUOTE_NONE,
        "doublequote": doubled,
        "escapechar": None if doubled else source.escape,
        "strict": True,
    }


def _handle(source: Source, file: Path) -> IO[str]:
    """The file as text, after the lines that the source skips."""
    handle = file.open(encoding="utf-8-sig", errors="surrogateescape", newline="")
    for _ in range(source.skip):
        handle.readline()
    return handle


def _names(source: Source, opened: Opened) -> list[str]:
    """The header's names, and `column_1` and so on where there is none."""
    at = where(source, opened)
    try:
        with _handle(source, opened.path) as handle:
            first = next(csv.reader(handle, **_dialect(source, opened)), None)
        "".join(first or []).encode()
        if any("\0" in name for name in first or []):
            raise csv.Error("it holds NUL bytes, as UTF-16 does")
    except (UnicodeEncodeError, csv.Error) as error:
        what = "some bytes are not UTF-8" if isinstance(error, UnicodeError) else error
        raise BatchRefusedError(
            f"the header cannot be read as UTF-8 CSV: {what}",
            where=at,
            next_step="write it as UTF-8 CSV, or tell `encoding:` or `quote:` in sources.yml",
        ) from None
    if first is None:
        raise BatchRefusedError(
            f"the file is empty{' behind the lines that are skipped' if source.skip else ''}",
            where=at,
            next_step="ask the sender for a new file; the bytes that came are kept in landing/",
        )
    if not first:
        raise BatchRefusedError(
            "the file has no header" if source.header else "the file is empty",
            where=at,
            next_step="write one line of column names first",
        )
    used = delimiter_of(source, opened)
    others = [mark for mark in OTHER_DELIMITERS if mark != used and mark in first[0]]
    if len(first) == 1 and others and source.delimiter is None:
        raise BatchRefusedError(
            f"the header has one column; the delimiter does not seem to be {used!r}",
            where=at,
            next_step=f"tell it in sources.yml, such as `delimiter: {others[0]!r}`",
        )
    named = first if source.header else [""] * len(first)
    return [name if name.strip() else f"column_{n}" for n, name in enumerate(named, 1)]


def _scan(
    source: Source,
    opened: Opened,
    file: Path,
    names: list[str],
    *,
    faults: str,
    nulls: tuple[str, ...] = (),
) -> str:
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in names)
    listed = ", ".join(quoted(text) for text in ("", *nulls))
    return (
        f"read_csv({quoted(file)}, header = {source.header}, skip = {source.skip},"
        f" delim = {quoted(delimiter_of(source, opened))}, quote = {quoted(source.quote)},"
        f" escape = {quoted(source.escape or source.quote)}, nullstr = [{listed}],"
        f" auto_detect = false, hive_partitioning = false, columns = {{{columns}}}, {faults})"
    )


def _number_records(
    con: duckdb.DuckDBPyConnection, source: Source, opened: Opened, file: Path, names: list[str]
) -> None:
    """Count the torn records in: the n-th good record is further down the file than row n."""
    before = source.skip + source.header
    con.execute(
        f"create or replace temp table rejected as select line::bigint - {before} as _source_row,"
        " 'torn_record' as reason,"
        " any_value(lower(error_type::varchar) || ': ' || error_message) as detail,"
        " trim(any_value(csv_line), chr(10) || chr(13)) as raw from reject_errors group by line"
    )
    if con.execute("select count(*) from rejected").fetchone() != (0,):
        _leave_blanks_out(con, source, opened, file)
    con.execute(
        "create or replace temp table shifts as select _source_row - number as position, number"
        " from (select *, row_number() over (order by _source_row) as number from rejected)"
        " qualify row_number() over (partition by position order by number desc) = 1"
    )
    if con.execute("select count(*) from shifts").fetchone() != (0,):
        con.execute("alter view incoming rename to unshifted")
        con.execute(f"create temp view incoming as {_shifted('select * from unshifted')}")
    scan = _scan(source, opened, file, names, faults="ignore_errors = true")
    text = f"select {as_json(names)} as raw, row_number() over () as _source_row from {scan}"
    con.execute(f"create or replace temp view incoming_raw as {_shifted(text)}")


def _leave_blanks_out(
    con: duckdb.DuckDBPyConnection, source: Source, opened: Opened, file: Path
) -> None:
    """DuckDB counts empty lines among the records where it names the torn ones; rows do not."""
    if not _has_blank_lines(file):
        return
    blank: list[int] = []
    with suppress(csv.Error), _handle(source, file) as handle:
        records = csv.reader(handle, **_dialect(source, opened) | {"strict": False})
        blank.extend(n for n, record in enumerate(records, 1 - source.header) if not record)
    con.execute(
        "create or replace temp table blanks as select unnest(?::bigint[]) as line", [blank]
    )
    con.execute(
        "update rejected set _source_row = _source_row"
        " - (select count(*) from blanks where line < rejected._source_row)"
    )


def _has_blank_lines(file: Path) -> bool:
    with _mapped(file) as text:
        return any(text.find(mark) >= 0 for mark in BLANK_LINES)


def _mapped(file: Path) -> mmap.mmap:
    with file.open("rb") as handle:
        return mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)


def _shifted(select: str) -> str:
    return (
        "select good.* replace (good._source_row + coalesce(shifts.number, 0) as _source_row)"
        f" from ({select}) as good"
        " asof left join shifts on good._source_row > shifts.position"
    )


def _with_even_lines(source: Source, opened: Opened) -> Path:
    """The file again with one kind of line end, for DuckDB refuses a mixture."""
    even = opened.work / "even.csv"
    dialect = _dialect(source, opened)
    try:
        with (
            _handle(source, opened.path) as handle,
            even.open("w", encoding="utf-8", errors="surrogateescape", newline="") as out,
        ):
            out.write("\n" * source.skip)
            writer = csv.writer(out, **dialect, lineterminator="\n")
            writer.writerows(csv.reader(handle, **dialect))
    except csv.Error as error:
        raise BatchRefusedError(
            f"the records cannot be told apart: {error}",
            where=where(source, opened),
            next_step="ask the sender for a new file; the bytes that came are kept in landing/",
        ) from None
    return even


def lines(source: Source, opened: Opened, rows: list[int], rows_in: int) -> dict[int, int]:
    """The physical lines on which the records `rows` begin; both count from 1."""
    before = source.skip + source.header
    size = opened.path.stat().st_size
    if _line_count(opened.path, size) == before + rows_in:  # one line a record: no need to look
        return {row: row + before for row in rows}
    wanted = set(rows)
    found: dict[int, int] = {}
    with suppress(csv.Error), _handle(source, opened.path) as handle:
        for number, line in enumerate(_starts(handle, _dialect(source, opened), source), 1):
            if number in wanted:
                found[number] = line
                if len(found) == len(wanted):
                    break
    return found


def _line_count(file: Path, size: int) -> int:
    """The number of lines, be the last one ended or not, in the file's first `size` bytes."""
    count, last = 0, b"\n"
    with file.open("rb", buffering=0) as handle:
        while block := handle.read(min(BLOCK_BYTES, size)):
            size -= len(block)
            count += block.count(b"\n")
            last = block[-1:]
    return count + (last != b"\n")


def _starts(handle: IO[str], dialect: dict[str, Any], source: Source) -> Iterator[int]:
    """Where each record begins that is neither header nor blank."""
    records = csv.reader(handle, **dialect | {"strict": False})
    if source.header:
        next(records, None)
    line = records.line_num
    for record in records:
        if record:
            yield line + 1 + source.skip
        line = records.line_num
