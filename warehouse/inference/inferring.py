"""From files to an entry of sources.yml: dialect, types, key, event time, way of writing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb

from warehouse import duck
from warehouse.duck import identifier, number, quoted
from warehouse.errors import ClearwaterError
from warehouse.inference import delimited, through_readers
from warehouse.inference.files import ROWS, format_of, nothing_landed, plain_files, workspace
from warehouse.inference.keys import Table, infer_event_time, infer_key, infer_known_at
from warehouse.inference.result import FILE, Inferred, InferredColumn, Notes, counted
from warehouse.inference.tails import take_totals_off
from warehouse.inference.types import TEXT, Decision, Typing, cast, infer_types
from warehouse.readers.contract import Opened
from warehouse.settings import Settings
from warehouse.sources import FormatName

EXACT_ROWS = 200_000
COLUMNS_AT_ONCE = 200
FEW_VALUES = 20
EXAMPLES, EXAMPLE_ROWS = 5, 100
TABLE, TYPED = "looked_at", "typed"
FLOATS = ("FLOAT", "DOUBLE")
WORDY = ("STRUCT", "MAP", "UNION", "ENUM")


def infer(settings: Settings, files: list[Path], name: str) -> Inferred:
    """What sources.yml should say of `files` under the name `source.dataset`.

    Writes nothing but scratch below the settings' `tmp`. Raises ClearwaterError when a file is
    missing, empty, broken or unlike all others.
    """
    with workspace(settings, "inference") as work, nothing_landed():
        plain = plain_files(sorted(files), work)
        formats = Counter(map(format_of, plain))
        if len(formats) > 1:
            raise ClearwaterError(
                f"the files are of several formats: {', '.join(sorted(formats))}",
                next_step="add each as a source of its own, with a pattern such as 'data/*.csv'",
            )
        con = duck.connect(settings, work / "rows.duckdb")
        try:
            con.execute("set timezone = 'UTC'")
            (found,) = formats
            if found == "csv":
                return _infer_csv(con, plain, name)
            if found == "parquet":
                return _infer_parquet(con, plain, name)
            return _infer_read(con, plain, name, found)
        finally:
            con.close()


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
    notes: Notes | None = None,
) -> Inferred:
    """What sources.yml should say of rows that are read already.

    `relation` is a table or view with the columns `names`, all of text if `types` is None, else
    of these DuckDB types. With more than one of `files` it has the column FILE too, a file's
    place among them. `options` are the keys of sources.yml that reading them took; `row_count`
    is that of the files, where `relation` holds only the first of their rows. The columns `partial`
    are missing in some of the files, and so can be no key, event time or known_at.
    """
    notes = notes or Notes()
    options = dict(options or {})
    con.execute("set preserve_insertion_order = true")  # "the first rows" must mean something
    looked_at = number(con, f"select count(*) from {relation}")
    if not looked_at:
        notes.warn("there are no rows: no type is known, and no release until the first one comes")
    if types is None:
        typing = infer_types(con, relation, list(names), notes)
        _write_typed(con, relation, typing, with_file=len(files) > 1)
        options |= {"nulls": list(typing.nulls)} if typing.nulls else {}
        options |= {"decimal": ","} if typing.marks.decimal == "," else {}
        options |= {"thousands": typing.marks.thousands} if typing.marks.thousands else {}
        columns = _described(con, TYPED, typing.columns, looked_at)
        relation = TYPED
        _tell_of_empty(columns, notes)
    else:
        kept = {n: Decision(_typed(types[n]), "the file carries it") for n in names}
        columns = _described(con, relation, kept, looked_at)
    cure = "; with NaN among the source's `nulls` they are null" if types is None else ""
    _warn_of_nans(con, relation, columns, cure, notes)
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
        columns=columns,
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


def _tell_of_empty(columns: Sequence[InferredColumn], notes: Notes) -> None:
    """Say in the columns' evidence how many of their values are missing."""
    empty = {f"column {c.name}": c.null_count for c in columns if c.null_count}
    notes.evidence = [
        replace(told, because=f"{told.because}; {empty[told.about]:,} empty")
        if told.about in empty
        else told
        for told in notes.evidence
    ]


def _warn_of_nans(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    columns: Sequence[InferredColumn],
    cure: str,
    notes: Notes,
) -> None:
    """Warn of NaN among floats, and of the `cure` where there is one."""
    floats = [c.name for c in columns if c.type.upper() in FLOATS]
    sql = "count(*) filter (isnan({0}))"
    for name, count in _aggregated(con, relation, floats, sql).items():
        if count:
            notes.warn(
                f"column {name}: {counted(count, 'value')} {'is' if count == 1 else 'are'} NaN,"
                f" which makes every sum and average NaN{cure}"
            )


def _infer_csv(con: duckdb.DuckDBPyConnection, plain: list[Opened], name: str) -> Inferred:
    notes = Notes()
    found = delimited.read(con, plain, TABLE, notes)
    take_totals_off(con, TABLE, found.names, notes, with_file=len(found.labels) > 1)
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
        notes=notes,
    )


def _infer_read(
    con: duckdb.DuckDBPyConnection, plain: list[Opened], name: str, format_name: FormatName
) -> Inferred:
    notes = Notes()
    found = through_readers.read(con, plain, name, format_name, TABLE, notes)
    relation = TABLE
    if format_name == "excel":
        relation = f"{TABLE}_rows"
        con.execute(f"create or replace table {relation} as select * from {TABLE}")
        take_totals_off(con, relation, found.names, notes, with_file=len(found.labels) > 1)
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
        notes=notes,
    )


def _infer_parquet(con: duckdb.DuckDBPyConnection, plain: list[Opened], name: str) -> Inferred:
    notes = Notes()
    paths = ", ".join(quoted(file.path) for file in plain)
    options = "union_by_name = true, hive_partitioning = false"
    scan = f"read_parquet([{paths}], {options})"
    try:
        described = con.execute(f"describe select * from {scan}").fetchall()
        total = number(con, f"select count(*) from {scan}")
        everywhere = set.intersection(*(_names(con, file) for file in plain))
    except duckdb.Error as error:
        raise ClearwaterError(
            f"not a readable Parquet file: {str(error).splitlines()[0]}",
            where=plain[0].label,
            next_step="have it written again",
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
        [row[0] for row in described],
        {row[0]: str(row[1]) for row in described},
        name=name,
        format_name="parquet",
        files=[file.label for file in plain],
        row_count=total,
        partial=frozenset(row[0] for row in described) - everywhere,
        notes=notes,
    )


def _names(con: duckdb.DuckDBPyConnection, file: Opened) -> set[str]:
    scan = f"read_parquet({quoted(file.path)}, hive_partitioning = false)"
    return {row[0] for row in con.execute(f"describe select * from {scan}").fetchall()}


def _typed(type_name: str) -> Any:
    kind = "VARCHAR" if type_name.startswith("ENUM") else type_name
    return replace(TEXT, type=kind)


def _write_typed(
    con: duckdb.DuckDBPyConnection, relation: str, typing: Typing, *, with_file: bool
) -> None:
    """Make the table TYPED: nulls are nulls, values of their types, what does not fit null."""
    nulls = ", ".join(quoted(word) for word in typing.nulls)
    texts, casts = [], []
    for name, decision in typing.columns.items():
        column = identifier(name)
        texts.append(f"if({column} in ({nulls}), null, {column}) as {column}" if nulls else column)
        all_fit = not decision.bad_count
        sql = cast(name, decision.candidate, typing.marks, quick=all_fit)
        casts.append(f"{sql} as {column}")
    file = f", {FILE}" if with_file else ""
    con.execute(
        f"create or replace table {TYPED} as select {', '.join(casts)}{file}"
        f" from (select {', '.join(texts)}{file} from {relation})"
    )


def _described(
    con: duckdb.DuckDBPyConnection, relation: str, columns: dict[str, Decision], row_count: int
) -> tuple[InferredColumn, ...]:
    """The columns with their counts, bounds and examples."""
    names = list(columns)
    count = "count(distinct {0})" if row_count <= EXACT_ROWS else "approx_count_distinct({0})"
    facts = _aggregated(
        con,
        relation,
        names,
        f"{{'f': count({{0}}), 'd': {count}, 'l': min({{0}})::varchar, 'h': max({{0}})::varchar}}",
    )
    filled = [name for name in names if facts[name]["f"]]
    few = [
        name
        for name in filled
        if columns[name].candidate.type == "VARCHAR" and facts[name]["d"] <= FEW_VALUES
    ]
    values = _aggregated(
        con, relation, few, "list_sort(list(distinct {0}) filter ({0} is not null))"
    )
    listed = ", ".join(f"{identifier(name)}::varchar" for name in names)
    head = con.execute(f"select {listed} from {relation} limit {EXAMPLE_ROWS}").fetchall()
    examples = {
        name: tuple(dict.fromkeys(row[i] for row in head if row[i] is not None))[:EXAMPLES]
        for i, name in enumerate(names)
    }
    return tuple(
        _column(name, columns[name], facts[name], values.get(name, []), examples[name], row_count)
        for name in names
    )


def _aggregated(
    con: duckdb.DuckDBPyConnection, relation: str, names: list[str], sql: str
) -> dict[str, Any]:
    """The aggregate `sql`, in which {0} is the column, of each column."""
    found: dict[str, Any] = {}
    for start in range(0, len(names), COLUMNS_AT_ONCE):
        some = names[start : start + COLUMNS_AT_ONCE]
        parts = ", ".join(sql.replace("{0}", identifier(name)) for name in some)
        row = con.execute(f"select {parts} from {relation}").fetchone()
        assert row is not None
        found |= dict(zip(some, row, strict=True))
    return found


def _column(
    name: str,
    decision: Decision,
    facts: dict[str, Any],
    values: list[str],
    examples: tuple[str, ...],
    row_count: int,
) -> InferredColumn:
    kind = decision.candidate.type
    return InferredColumn(
        name=name,
        type=kind if kind.startswith(WORDY) else kind.lower(),
        format=decision.candidate.format,
        null_count=row_count - facts["f"] - decision.bad_count,
        distinct_count=len(values) or min(facts["d"], facts["f"]),
        minimum=facts["l"],
        maximum=facts["h"],
        examples=examples or tuple(values[:EXAMPLES]),
        values=tuple(values),
        bad_count=decision.bad_count,
        epoch=decision.epoch,
    )
