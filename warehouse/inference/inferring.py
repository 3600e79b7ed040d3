"""From files to an entry of sources.yml: dialect, types, key, event time, way of writing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from warehouse import duck
from warehouse.duck import number, quoted
from warehouse.errors import ClearwaterError
from warehouse.files import in_order
from warehouse.inference import delimited, through_readers
from warehouse.inference.candidates import TEXT
from warehouse.inference.columns import TYPED, described, tell_of_empty, warn_of_nans, write_typed
from warehouse.inference.decisions import Decision
from warehouse.inference.epochs import epoch_format
from warehouse.inference.event_time import infer_event_time, infer_known_at
from warehouse.inference.files import ROWS, nothing_landed, plain_files, workspace
from warehouse.inference.formats import infer_format
from warehouse.inference.keys import Key, infer_key
from warehouse.inference.result import FILE, Inferred, InferredColumn, Notes
from warehouse.inference.table import Table
from warehouse.inference.tails import take_headers_off, take_totals_off
from warehouse.inference.types import infer_types
from warehouse.readers.casting import INTEGERS
from warehouse.readers.contract import Opened
from warehouse.settings import Settings
from warehouse.sources import FormatName

TABLE = "looked_at"
PARTITION = re.compile(r"([A-Za-z_]\w*)=.")


def infer(settings: Settings, files: list[Path], name: str) -> Inferred:
    """What sources.yml should say of `files` under the name `source.dataset`.

    Files that are no tables, such as logs and images, have the format `bytes` and no columns.
    Writes nothing but scratch below the settings' `tmp`. Raises ClearwaterError when a file is
    missing, empty, broken or unlike all others.
    """
    with workspace(settings, "inference") as work, nothing_landed():
        plain = plain_files(sorted(files, key=_order), work)
        notes = Notes()
        _warn_of_partitions(files, notes)
        found = infer_format(plain, notes)
        if found == "bytes":
            return _as_bytes(len(plain), notes)
        con = duck.connect(settings, work / "rows.duckdb")
        try:
            con.execute("set timezone = 'UTC'")
            if found == "csv":
                return _infer_csv(con, plain, name, notes)
            if found == "parquet":
                return _infer_parquet(con, plain, name, notes)
            return _infer_read(con, plain, name, found, notes)
        finally:
            con.close()


def _order(file: Path) -> list[list[str]]:
    """A key to sort files by as loading does."""
    return [in_order(part) for part in file.parts]


def _with_nulls_of(
    left_off: Sequence[frozenset[str]], columns: tuple[InferredColumn, ...], key: Key
) -> tuple[InferredColumn, ...]:
    """The columns with the nulls of rows that were left off, but for those that lack the key."""
    loaded = [filled for filled in left_off if filled.issuperset(key.columns)]
    return tuple(
        replace(c, null_count=c.null_count + sum(c.name not in filled for filled in loaded))
        for c in columns
    )


def _warn_of_partitions(files: list[Path], notes: Notes) -> None:
    """Warn of values that stand in folders' names, such as year=2024, as Hive writes them."""
    names = {m.group(1) for file in files for p in file.parent.parts if (m := PARTITION.match(p))}
    if names:
        notes.warn(
            f"what stands in the folders' names alone ({', '.join(sorted(names))}) is not loaded:"
            " where no column of the files has it, have it written there"
        )


def infer_relation(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    names: Sequence[str],
    types: dict[str, str] | None,
    *,
    name: str,
    format_name: str,
    options: dict[str, Any] | None = None,
    files: Sequence[str] = (),
    row_count: int | None = None,
    partial: frozenset[str] = frozenset(),
    left_off: Sequence[frozenset[str]] = (),
    notes: Notes | None = None,
) -> Inferred:
    """What sources.yml should say of rows that are read already.

    `relation` is a table or view with the columns `names`, all of text if `types` is None, else
    of these DuckDB types. With more than one of `files` it has the column FILE too, a file's
    place among them. `options` are the keys of sources.yml that reading them took; `row_count`
    is that of the files, where `relation` holds only the first of their rows. The columns `partial`
    are missing in some of the files, and so can be no key, event time or known_at. `left_off` are
    the columns with a value of each row that is not in the relation, though a run may load it.
    """
    notes = notes or Notes()
    options = dict(options or {})
    con.execute("set preserve_insertion_order = true")  # "the first rows" must mean something
    looked_at = number(con, f"select count(*) from {relation}")
    if not looked_at:
        notes.warn("there are no rows: no type is known, and no release until the first one comes")
    if types is None:
        typing = infer_types(con, relation, list(names), notes)
        write_typed(con, relation, typing, with_file=len(files) > 1)
        options |= {"nulls": list(typing.nulls)} if typing.nulls else {}
        options |= {"decimal": ","} if typing.marks.decimal == "," else {}
        options |= {"thousands": typing.marks.thousands} if typing.marks.thousands else {}
        columns = described(con, TYPED, typing.columns, looked_at)
        relation = TYPED
        tell_of_empty(columns, notes)
    else:
        kept = {n: Decision(_typed(types[n]), "the file carries it") for n in names}
        columns = tuple(map(_with_epoch, described(con, relation, kept, looked_at)))
    cure = "; with NaN among the source's `nulls` they are null" if types is None else ""
    warn_of_nans(con, relation, columns, cure, notes)
    dataset = name.partition(".")[2] or name
    if partial:
        notes.warn(f"not every file has {', '.join(n for n in names if n in partial)}: null there")
    table = Table(
        con, relation, dataset, columns, looked_at, max(1, len(files)), tuple(files), partial
    )
    key = infer_key(table, notes)
    event_time = infer_event_time(table, key, notes)
    return Inferred(
        format=format_name,
        options=options,
        columns=_with_nulls_of(left_off, columns, key),
        key=key.columns,
        event_time=event_time,
        known_at=infer_known_at(table, event_time, notes),
        write=key.write,
        row_count=looked_at if row_count is None else row_count,
        file_count=max(1, len(files)),
        rows_looked_at=looked_at,
        evidence=tuple(notes.evidence),
        warnings=tuple(notes.warnings),
    )


def _as_bytes(file_count: int, notes: Notes) -> Inferred:
    """Files that are no tables: they are landed and catalogued, and have neither rows nor key."""
    return Inferred(
        format="bytes",
        options={},
        columns=(),
        key=(),
        event_time=None,
        known_at=None,
        write="append",
        row_count=0,
        file_count=file_count,
        rows_looked_at=0,
        evidence=tuple(notes.evidence),
        warnings=tuple(notes.warnings),
    )


def _infer_csv(
    con: duckdb.DuckDBPyConnection, plain: list[Opened], name: str, notes: Notes
) -> Inferred:
    found = delimited.read(con, plain, TABLE, notes)
    take_headers_off(con, TABLE, found.names, notes)
    left_off = take_totals_off(con, TABLE, found.names, notes, with_file=len(found.labels) > 1)
    return infer_relation(
        con,
        TABLE,
        found.names,
        None,
        name=name,
        format_name="csv",
        options=found.options,
        files=found.labels,
        row_count=found.row_count,
        partial=found.partial,
        left_off=left_off,
        notes=notes,
    )


def _infer_read(
    con: duckdb.DuckDBPyConnection,
    plain: list[Opened],
    name: str,
    format_name: FormatName,
    notes: Notes,
) -> Inferred:
    found = through_readers.read(con, plain, name, format_name, TABLE, notes)
    relation = TABLE
    left_off: list[frozenset[str]] = []
    if format_name == "excel":
        relation = f"{TABLE}_rows"
        con.execute(f"create or replace table {relation} as select * from {TABLE}")
        several = len(found.labels) > 1
        left_off = take_totals_off(con, relation, found.names, notes, with_file=several)
    return infer_relation(
        con,
        relation,
        found.names,
        found.types,
        name=name,
        format_name=format_name,
        options=found.options,
        files=found.labels,
        row_count=found.row_count,
        partial=found.partial,
        left_off=left_off,
        notes=notes,
    )


def _infer_parquet(
    con: duckdb.DuckDBPyConnection, plain: list[Opened], name: str, notes: Notes
) -> Inferred:
    paths = ", ".join(quoted(file.path) for file in plain)
    options = "union_by_name = true, hive_partitioning = false"
    scan = f"read_parquet([{paths}], {options})"
    try:
        schema = con.execute(f"describe select * from {scan}").fetchall()
        total = number(con, f"select count(*) from {scan}")
        everywhere = set.intersection(*(_names(con, file) for file in plain))
    except duckdb.Error as error:
        raise ClearwaterError(
            f"not a readable Parquet file: {str(error).splitlines()[0]}",
            where=plain[0].label,
            next_step="ask the sender for a new file",
        ) from None
    parts = " union all by name ".join(
        f"select *, {place} as {FILE} from read_parquet({quoted(file.path)},"
        " hive_partitioning = false)"
        for place, file in enumerate(plain)
    )
    con.execute(f"create or replace view {TABLE} as select * from ({parts}) limit {ROWS}")
    if total > ROWS:
        notes.warn(f"the first {ROWS:,} of {total:,} rows were looked at")
    return infer_relation(
        con,
        TABLE,
        [row[0] for row in schema],
        {row[0]: str(row[1]) for row in schema},
        name=name,
        format_name="parquet",
        files=[file.label for file in plain],
        row_count=total,
        partial=frozenset(row[0] for row in schema if row[0].lower() not in everywhere),
        notes=notes,
    )


def _names(con: duckdb.DuckDBPyConnection, file: Opened) -> set[str]:
    """The file's columns; the case of names does not matter."""
    scan = f"read_parquet({quoted(file.path)}, hive_partitioning = false)"
    return {row[0].lower() for row in con.execute(f"describe select * from {scan}").fetchall()}


def _with_epoch(column: InferredColumn) -> InferredColumn:
    """The column of a typed file, told if it is a number that counts since 1970."""
    if column.type.upper() not in INTEGERS or column.minimum is None or column.maximum is None:
        return column
    form = epoch_format(column.name, float(column.minimum), float(column.maximum))
    return replace(column, epoch=form)


def _typed(type_name: str) -> Any:
    kind = "VARCHAR" if type_name.startswith("ENUM") else type_name
    return replace(TEXT, type=kind)
