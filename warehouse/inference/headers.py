"""What files' columns are called: enough to tell which of them make one table."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from warehouse import duck
from warehouse.duck import quoted
from warehouse.errors import ClearwaterError
from warehouse.inference.dialect import detect, table_in
from warehouse.inference.encoding import encoding_of
from warehouse.inference.files import in_utf8, nothing_landed, plain_files, workspace
from warehouse.inference.formats import told_format
from warehouse.inference.layout import options_of
from warehouse.inference.result import Notes
from warehouse.inference.shapes import MISSING, kind
from warehouse.readers import reader_for
from warehouse.readers.contract import Opened, forget_batch
from warehouse.settings import Settings
from warehouse.sources import FormatName, Source

# A header and enough records to tell it from them.
HEAD_BYTES, WIDE_HEAD_BYTES, LINES = 1 << 14, 1 << 20, 30


@dataclass(frozen=True)
class Header:
    """What a file, or the member of a zip, begins with.

    `names` are its columns', none where no header names them or the format is `bytes`; `kinds` are
    what columns without names hold, such as `number`. `format` is None of an empty file. `member`
    is the name within the zip.
    """

    format: FormatName | None
    names: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    member: str = ""

    @property
    def is_table(self) -> bool:
        """Whether there are rows to expect."""
        return self.format not in (None, "bytes")

    @property
    def lowered(self) -> frozenset[str]:
        """The names; their case does not matter."""
        return frozenset(name.lower() for name in self.names)

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self.names) or len(self.kinds)


def headers(settings: Settings, files: Sequence[Path]) -> list[list[Header]]:
    """The headers of each file: one, or that of each member of a zip.

    Writes nothing but scratch. Raises ClearwaterError when a file is missing or broken.
    """
    found = []
    known: dict[bytes, Header] = {}
    with workspace(settings, "headers") as work, nothing_landed():
        con = duck.connect(settings, work / "rows.duckdb")
        try:
            for number, file in enumerate(files):
                folder = work / str(number)
                folder.mkdir()
                plain = plain_files([file], folder)
                found.append([_header(con, part, file.name, known) for part in plain])
                shutil.rmtree(folder)
        finally:
            con.close()
    return found


def _header(
    con: duckdb.DuckDBPyConnection, file: Opened, outer: str, known: dict[bytes, Header]
) -> Header:
    """The file's header; `known` are those of texts that begin with this line."""
    member = file.label.removeprefix(outer).removeprefix("/")
    told = told_format(file)
    if not told or not file.path.stat().st_size:
        return Header(None, member=member)
    format_name = told[0]
    if format_name == "bytes":
        return Header(format_name, member=member)
    if format_name == "csv":
        return replace(_of_text(file, known), member=member)
    names: tuple[str, ...] = ()
    with suppress(ClearwaterError, duckdb.Error):  # which the look at its table explains
        names = _names(con, file, format_name)
    return Header(format_name, names, member=member)


def _of_text(file: Opened, known: dict[bytes, Header]) -> Header:
    beginning, complete = _beginning(file)
    head = beginning.read_bytes()
    line = head.partition(b"\n")[0]
    if line in known:
        return known[line]
    try:
        encoding, _ = encoding_of(beginning)
    except ClearwaterError:  # as above
        return Header("csv")
    text = head.decode(encoding, errors="replace").removeprefix("\ufeff")
    dialect = detect(text, complete=complete, notes=Notes())
    if dialect.header:
        header = Header("csv", dialect.names)
        if not dialect.skip:
            known[line] = header
        return header
    records, _ = table_in(text, complete=complete)
    columns = zip(*(r for r in records if len(r) == len(dialect.names)), strict=True)
    return Header("csv", kinds=tuple(map(_kind, columns)))


def _kind(values: tuple[str, ...]) -> str:
    """What most of the values are."""
    kinds = Counter(kind(value) for value in values if value.strip() not in MISSING)
    return kinds.most_common(1)[0][0] if kinds else ""


def _names(
    con: duckdb.DuckDBPyConnection, file: Opened, format_name: FormatName
) -> tuple[str, ...]:
    if format_name == "parquet":
        rows = con.execute(
            f"describe select * from read_parquet({quoted(file.path)}, hive_partitioning = false)"
        ).fetchall()
        return tuple(row[0] for row in rows)
    if format_name == "ndjson":
        file = replace(file, path=_beginning(file)[0])
    source = Source(name="source.add", path="*", format=format_name)
    told = source.model_copy(update=options_of(con, source, file, Notes(), is_alone=False))
    plain = replace(file, path=in_utf8(file, told.encoding or "utf-8"))
    try:
        columns = reader_for(told, plain).read(con, told, plain)
    finally:
        forget_batch(con)
    return tuple(column.name for column in columns)


def _beginning(file: Opened) -> tuple[Path, bool]:
    """The file's first lines as one of their own, and whether they are all."""
    with file.path.open("rb") as handle:
        head = handle.read(HEAD_BYTES)
        if head.count(b"\n") < LINES:
            head += handle.read(WIDE_HEAD_BYTES)
        complete = not handle.read(1)
    path = file.work / "head"
    path.write_bytes(head if complete else head[: head.rfind(b"\n") + 1] or head)
    return path, complete
