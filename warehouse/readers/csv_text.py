"""CSV files in the form of RFC 4180: UTF-8, comma, double quotes, a header."""

from __future__ import annotations

import csv
from pathlib import Path

import duckdb

from warehouse.duck import identifier, quoted
from warehouse.errors import BatchRefusedError
from warehouse.readers.contract import Column, check_names, strict_cast, unreadable_refused
from warehouse.sources import Source


def read(
    con: duckdb.DuckDBPyConnection, file: Path, source: Source, original_name: str
) -> list[Column]:
    """Leave `incoming` as a table of the typed records, `rejected` with the torn ones."""
    names = _header(file, source, original_name)
    check_names(names, source, original_name)
    _check_declared(names, source, original_name)
    columns = [Column(name, source.columns.get(name, "VARCHAR")) for name in names]
    with unreadable_refused("not a readable CSV file", f"{source.name}: {original_name}"):
        scan = _scan(file, names, faults="store_rejects = true, rejects_limit = 0")
        _read_typed(con, scan, columns)
        _number_records(con, _scan(file, names, faults="ignore_errors = true"), names)
    return columns


def _header(file: Path, source: Source, original_name: str) -> list[str]:
    where = f"{source.name}: {original_name}"
    try:
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as handle:
            names = next(csv.reader(handle, strict=True), None)
        "".join(names or []).encode()
    except (UnicodeEncodeError, csv.Error) as error:
        raise BatchRefusedError(
            f"the header is not UTF-8 CSV: {error}", where=where, next_step="write it as UTF-8 CSV"
        ) from None
    if not names:
        raise BatchRefusedError(
            "the file has no header", where=where, next_step="write one line of column names first"
        )
    if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
        raise BatchRefusedError(
            "the header has one column; the delimiter does not seem to be a comma",
            where=where,
            next_step="write the file with commas",
        )
    return names


def _check_declared(names: list[str], source: Source, original_name: str) -> None:
    for name in source.columns:
        if name not in names:
            raise BatchRefusedError(
                f"the declared column {name!r} is not in the file",
                where=f"{source.name}: {original_name}",
                next_step=f"it has: {', '.join(names)}; mend the file or `columns:` in sources.yml",
            )


def _scan(file: Path, names: list[str], *, faults: str) -> str:
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in names)
    return (
        f"read_csv({quoted(file)}, header = true, delim = ',', quote = '\"', escape = '\"',"
        f" auto_detect = false, columns = {{{columns}}}, {faults})"
    )


def _read_typed(con: duckdb.DuckDBPyConnection, scan: str, columns: list[Column]) -> None:
    for table in ("reject_errors", "reject_scans"):
        con.execute(f"drop table if exists {table}")
    con.execute("set preserve_insertion_order = true")  # row_number() is then the file's order
    typed = ", ".join(f"{strict_cast(c.name, c.type)} as {identifier(c.name)}" for c in columns)
    con.execute(
        f"create or replace temp table incoming as select {typed},"
        f" row_number() over () as _source_row, {_failed(columns)} as _failed from {scan}"
    )
    con.execute("set preserve_insertion_order = false")


def _failed(columns: list[Column]) -> str:
    """SQL that names the columns whose text is not of their type; null when there are none."""
    tests = {
        c.name: f"({identifier(c.name)} is not null and {strict_cast(c.name, c.type)} is null)"
        for c in columns
        if c.type != "VARCHAR"
    }
    if not tests:
        return "null::varchar"
    listed = ", ".join(f"case when {test} then {quoted(name)} end" for name, test in tests.items())
    return f"case when {' or '.join(tests.values())} then concat_ws(', ', {listed}) end"


def _number_records(con: duckdb.DuckDBPyConnection, scan: str, names: list[str]) -> None:
    """Count the torn records in: the n-th good record is further down the file than row n."""
    con.execute(
        "create or replace temp table rejected as select line::bigint - 1 as _source_row,"
        " 'torn_record' as reason,"
        " any_value(lower(error_type::varchar) || ': ' || error_message) as detail,"
        " any_value(csv_line) as raw from reject_errors group by line"
    )
    con.execute(
        "create or replace temp table shifts as select _source_row - number as position, number"
        " from (select *, row_number() over (order by _source_row) as number from rejected)"
        " qualify row_number() over (partition by position order by number desc) = 1"
    )
    if con.execute("select count(*) from shifts").fetchone() != (0,):
        con.execute(
            f"create or replace temp table incoming as {_shifted('select * from incoming')}"
        )
    fields = ", ".join(f"{identifier(name)} := {identifier(name)}" for name in names)
    text = (
        f"select to_json(struct_pack({fields}))::varchar as raw,"
        f" row_number() over () as _source_row from {scan}"
    )
    con.execute(f"create or replace temp view incoming_raw as {_shifted(text)}")


def _shifted(select: str) -> str:
    return (
        "select good.* replace (good._source_row + coalesce(shifts.number, 0) as _source_row)"
        f" from ({select}) as good"
        " asof left join shifts on good._source_row > shifts.position"
    )
