"""Records that Python takes from a file one by one, on their way into DuckDB.

They are spilled to Parquet as text, with the columns that are known by then, so a file of any
size needs the memory of one buffer, and a name that comes in the last record is a column too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouse.duck import identifier, quoted
from warehouse.errors import BatchRefusedError
from warehouse.readers.contract import (
    MOST_COLUMNS,
    Column,
    Opened,
    as_json,
    check_names,
    no_rejected,
    to_stage,
    type_text,
    where,
)
from warehouse.sources import Source

BUFFER_BYTES = 16 << 20
BUFFER_ROWS = 20_000
CELL_BYTES = 64  # what a value takes besides its text
BUFFER_CELLS = 8_000_000
# Of a file from this size on the typed rows are written once, to the file that the lake takes.
LONGEST_RAW = 64 << 10
LONGEST_RECORD = 8 << 20
TORN = pa.schema([("_source_row", pa.int64()), ("detail", pa.string()), ("raw", pa.string())])

Record = dict[str, str | None]


def shown(raw: str) -> str:
    """The text as people may read it: of bounded length, and what is not Unicode escaped."""
    cut = raw[:LONGEST_RAW]
    mark = f"… ({len(raw) - len(cut):,} characters more)" if len(cut) < len(raw) else ""
    return cut.encode("utf-8", "backslashreplace").decode() + mark


def check_case(record: Record) -> None:
    """Raise ValueError when names of the record differ in case alone: they are one column."""
    if len({*map(str.lower, record)}) == len(record):
        return
    first: dict[str, str] = {}
    for name in record:
        other = first.setdefault(name.lower(), name)
        if other != name:
            raise ValueError(f"the names {other!r} and {name!r} differ in case alone")


class Records:
    """The records of one file, numbered from 1 as they come; some of them may be torn.

    Names that differ in case alone are one column. `names` are columns that are there even when no
    record has a value for them.
    """

    def __init__(self, source: Source, opened: Opened, names: Sequence[str] = ()) -> None:
        self._source = source
        self._opened = opened
        self._columns = {name.lower(): [name] for name in names}  # by place; all its spellings
        self._spellings = set(names)
        self._rows: list[Record] = []
        self._numbers: list[int] = []
        self._bytes = 0
        self._files: list[Path] = []
        self._writer: pq.ParquetWriter | None = None
        self._torn: list[tuple[int, str, str]] = []
        self._torn_bytes = 0
        self._torn_writer: pq.ParquetWriter | None = None
        self._torn_file = opened.work / "torn.parquet"
        self.count = 0

    @property
    def names(self) -> list[str]:
        """The columns that are known so far; of several spellings always the same one."""
        return [max(spellings) for spellings in self._columns.values()]

    def add(self, record: Record, number: int | None = None) -> None:
        """Take a record, the next one unless its number is told: text or null by column name.

        Raises ValueError, having taken nothing, when two of its names are one column.
        """
        check_case(record)
        self._numbers.append(self._counted(number))
        self._rows.append(record)
        self._bytes += CELL_BYTES * len(record) + sum(map(len, filter(None, record.values())))
        if len(self._rows) >= BUFFER_ROWS or self._bytes > BUFFER_BYTES:
            self._spill()

    def add_table(self, names: list[str], table: pa.Table) -> None:
        """Take records by columns: `_source_row`, then a column of text for each of `names`.

        No two of the names may differ in case alone.
        """
        if not len(table):
            return
        self._make_places(names)
        texts = dict(zip(map(str.lower, names), table.columns[1:], strict=True))
        columns = {"_source_row": table["_source_row"]}
        for place, name in enumerate(self._columns):
            columns[f"c{place}"] = texts.get(name, pa.nulls(len(table), pa.string()))
        self._write_table(pa.table(columns))
        self._counted(pc.max(table["_source_row"]).as_py())

    def tear(self, detail: str, raw: str, number: int | None = None) -> None:
        """Count a record, the next one unless its number is told, as one without fields."""
        self._tear(self._counted(number), detail, raw)

    def _counted(self, number: int | None) -> int:
        """The number given, or the next one."""
        number = number or self.count + 1
        self.count = max(self.count, number)
        return number

    def _tear(self, number: int, detail: str, raw: str) -> None:
        text = shown(raw)
        self._torn.append((number, shown(detail), text))
        self._torn_bytes += len(text)
        if len(self._torn) >= BUFFER_ROWS or self._torn_bytes > BUFFER_BYTES:
            self._spill_torn()

    def _spill_torn(self) -> None:
        if self._torn_writer is None:
            self._torn_writer = pq.ParquetWriter(self._torn_file, TORN)
        rows = [dict(zip(TORN.names, torn, strict=True)) for torn in self._torn]
        self._torn_writer.write_table(pa.Table.from_pylist(rows, schema=TORN))
        self._torn, self._torn_bytes = [], 0

    def _spill(self) -> None:
        rows, numbers = self._rows, self._numbers
        self._rows, self._numbers, self._bytes = [], [], 0
        try:
            self._write(rows, numbers)
        except UnicodeEncodeError:
            pairs = zip(rows, numbers, strict=True)
            good = [(row, number) for row, number in pairs if self._is_unicode(row, number)]
            self._write([row for row, _ in good], [number for _, number in good])

    def _is_unicode(self, row: Record, number: int) -> bool:
        """Whether the record is Unicode text; it counts as torn when it is not."""
        try:
            "".join(chain(row, filter(None, row.values()))).encode()
        except UnicodeEncodeError:
            self._tear(number, "a text is not Unicode", json.dumps(row))
            return False
        return True

    def _write(self, rows: list[Record], numbers: list[int]) -> None:
        if not rows:
            return
        self._make_places(chain.from_iterable(rows))
        step = max(1, BUFFER_CELLS // (len(self._columns) + 1))
        for start in range(0, len(rows), step):
            table = self._table(rows[start : start + step], numbers[start : start + step])
            self._write_table(table)

    def _make_places(self, names: Iterable[str]) -> None:
        """Give those of the names a column that have none."""
        found = [name for name in dict.fromkeys(names) if name not in self._spellings]
        "".join(found).encode()
        before = len(self._columns)
        for name in found:
            self._columns.setdefault(name.lower(), []).append(name)
        self._spellings.update(found)
        if len(self._columns) > before and self._writer is not None:
            self._writer.close()
            self._writer = None
        if len(self._columns) > MOST_COLUMNS:
            raise BatchRefusedError(
                f"its records have more than {MOST_COLUMNS:,} different names",
                where=where(self._source, self._opened),
                next_step="names seem to be values; have them written as values of one name",
            )

    def _write_table(self, table: pa.Table) -> None:
        self._writer = self._writer or self._next_writer(table.schema)
        self._writer.write_table(table)

    def _table(self, rows: list[Record], numbers: list[int]) -> pa.Table:
        columns = {"_source_row": pa.array(numbers, pa.int64())}
        for place, spellings in enumerate(self._columns.values()):
            values = [row.get(spellings[0]) for row in rows]
            for name in spellings[1:]:
                values = [row.get(name, value) for row, value in zip(rows, values, strict=True)]
            columns[f"c{place}"] = pa.array(values, pa.string())
        return pa.table(columns)

    def _next_writer(self, schema: pa.Schema) -> pq.ParquetWriter:
        file = self._opened.work / f"records{len(self._files)}.parquet"
        self._files.append(file)
        return pq.ParquetWriter(
            file, schema, compression="lz4", use_dictionary=False, write_statistics=False
        )

    def finish(
        self, con: duckdb.DuckDBPyConnection, renamed: Callable[[list[str]], list[str]] = list
    ) -> list[Column]:
        """Leave what a reader owes, and return the columns.

        `renamed` gives their final names, of those under which they were added.
        A declared column that no record has is null, except those that the loader lives by (key,
        event time): a file with records but without them is refused.
        """
        self._spill()
        self._leave_rejected(con)
        if self._writer is not None:
            self._writer.close()
        found = renamed(self.names)
        absent = self._absent(found)
        names = [*found, *absent]
        check_names(names, self._source, self._opened, absent)
        self._check_holdable(names)
        if not names:
            return self._leave_nothing(con)
        size = self._opened.path.stat().st_size if self._files else 0
        columns = type_text(
            con,
            self._source,
            names,
            self._scan(names, len(absent), plain=False),
            number="_source_row",
            staged=to_stage(self._opened, size, names),
        )
        con.execute(
            f"create or replace temp view incoming_raw as select _source_row, {as_json(names)}"
            f" as raw from {self._scan(names, len(absent), plain=True)}"
        )
        return columns

    def _absent(self, found: list[str]) -> list[str]:
        """The declared columns that no record has and that may be missing."""
        source = self._source
        needed = sorted({*source.key, *filter(None, (source.event_time, source.known_at))})
        may_miss = {name.lower(): name for name in (*source.columns, *needed)}
        kept = {name.lower() for name in (*found, *(needed if self._files else ()))}
        return [name for lower, name in may_miss.items() if lower not in kept]

    def _check_holdable(self, names: list[str]) -> None:
        odd = next((name for name in names if "\0" in name), None)
        if odd or (not names and self._files):
            raise BatchRefusedError(
                f"the name {odd!r} holds a NUL character" if odd else "no record has a named value",
                where=where(self._source, self._opened),
                next_step="ask the sender for a new file; the bytes that came are kept in landing/",
            )

    def _scan(self, names: list[str], absent: int, *, plain: bool) -> str:
        """SQL for the records as text; the last `absent` columns are in none of them."""
        texts = [identifier(f"c{place}") for place in range(len(names) - absent)]
        if self._source.nulls and not plain:
            nulls = ", ".join(map(quoted, self._source.nulls))
            texts = [f"case when {text} not in ({nulls}) then {text} end" for text in texts]
        texts.extend(["null::varchar"] * absent)
        listed = ", ".join(f"{t} as {identifier(n)}" for t, n in zip(texts, names, strict=True))
        if not self._files:
            empty = ", ".join(f"null::varchar as {identifier(name)}" for name in names)
            return f"(select {empty}, null::bigint as _source_row where false)"
        files = ", ".join(map(quoted, self._files))
        scan = f"read_parquet([{files}], union_by_name = true, hive_partitioning = false)"
        return f"(select {listed}, _source_row from {scan})"

    def _leave_nothing(self, con: duckdb.DuckDBPyConnection) -> list[Column]:
        """No records and no columns."""
        con.execute("create or replace temp table incoming (_source_row bigint, _failed varchar)")
        con.execute(
            "create or replace temp view incoming_raw as"
            " select _source_row, null::varchar as raw from incoming"
        )
        return []

    def _leave_rejected(self, con: duckdb.DuckDBPyConnection) -> None:
        no_rejected(con)
        if self._torn:
            self._spill_torn()
        if self._torn_writer is not None:
            self._torn_writer.close()
            con.execute(
                "insert into rejected select _source_row, 'torn_record', detail, raw"
                f" from read_parquet({quoted(self._torn_file)}, hive_partitioning = false)"
            )
