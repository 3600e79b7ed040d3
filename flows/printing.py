"""Results on stdout: tables for people, CSV, JSON and Parquet for machines."""

from __future__ import annotations

import base64
import csv
import json
import math
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Literal

import duckdb

from warehouse.wording import counted

ROWS_AT_A_TIME = 10_000


def table_text(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """An aligned table; numbers to the right, nothing shortened."""
    cells = [[_cell(value) for value in row] for row in rows]
    lines = [list(headings), *cells]
    widths = [max(len(line[n]) for line in lines) for n in range(len(headings))]
    right = [all(_is_number(row[n]) for row in rows) and bool(rows) for n in range(len(headings))]
    aligned = [
        "  ".join(
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    ]
    aligned.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(aligned)


def records_text(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Each row as lines of column and value, under its number; nothing shortened."""
    width = max((len(heading) for heading in headings), default=0)
    records = [
        "\n".join(
            [
                f"-- row {number:,} --",
                *(
                    f"{heading.ljust(width)}  {_cell(value)}".rstrip()
                    for heading, value in zip(headings, row, strict=True)
                ),
            ]
        )
        for number, row in enumerate(rows, 1)
    ]
    return "\n\n".join(records)


def fitting_text(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table, or in a terminal for which it is too wide a block of lines for each row.

    A block begins with the row's first cell; the others follow under their headings, wrapped, and
    without those that are empty.
    """
    text = table_text(headings, rows)
    columns = shutil.get_terminal_size().columns
    if not sys.stdout.isatty() or max(map(len, text.splitlines())) <= columns:
        return text
    return "\n\n".join(_block(headings, row, columns) for row in rows)


def _block(headings: Sequence[str], row: Sequence[str], columns: int) -> str:
    width = max(map(len, headings)) + 4
    lines = [row[0]]
    for heading, cell in zip(headings[1:], row[1:], strict=True):
        if cell:
            first = f"  {heading}".ljust(width)
            lines += textwrap.wrap(
                cell,
                max(columns, 2 * width),
                initial_indent=first,
                subsequent_indent=" " * width,
                break_on_hyphens=False,
            )
    return "\n".join(lines)


def _print_table(names: list[str], rows: list[tuple[Any, ...]]) -> None:
    """A table, or in a terminal for which it is too wide the rows as records."""
    text = table_text(names, rows)
    told = counted(len(rows), "row")
    width = len(text.splitlines()[1])
    if rows and sys.stdout.isatty() and width > shutil.get_terminal_size().columns:
        text = records_text(names, rows)
        told = f"{told}; column by column, for as a table it is {width:,} characters wide"
    print(text)
    print(f"({told})", file=sys.stderr)


def write_result(
    result: duckdb.DuckDBPyConnection, form: Literal["table", "csv", "json", "parquet"]
) -> None:
    """Print a query's whole result."""
    if form == "parquet":
        _write_parquet(result)
        return
    names = [column[0] for column in result.description or []]
    if form == "table":
        _print_table(names, result.fetchall())
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        for rows in _batches(result):
            writer.writerows([[_csv_value(value) for value in row] for row in rows])
    else:
        _write_json(names, result)


def _write_json(names: list[str], result: duckdb.DuckDBPyConnection) -> None:
    """A list of objects, an object a line."""
    first = True
    sys.stdout.write("[")
    for rows in _batches(result):
        for row in rows:
            values = {name: _json_value(v) for name, v in zip(names, row, strict=True)}
            sys.stdout.write(("\n" if first else ",\n") + json.dumps(values, allow_nan=False))
            first = False
    sys.stdout.write("]\n" if first else "\n]\n")


def _write_parquet(result: duckdb.DuckDBPyConnection) -> None:
    import pyarrow.parquet as parquet

    from warehouse.errors import ConfigurationError

    if sys.stdout.isatty():
        raise ConfigurationError(
            "Parquet is not for a terminal",
            where="--format parquet",
            next_step="send it to a file: clearwater query … --format parquet > result.parquet",
        )
    reader = result.to_arrow_reader(ROWS_AT_A_TIME)
    with parquet.ParquetWriter(sys.stdout.buffer, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)


def _batches(result: duckdb.DuckDBPyConnection) -> Iterator[list[tuple[Any, ...]]]:
    while rows := result.fetchmany(ROWS_AT_A_TIME):
        yield rows


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float | Decimal) and value is not True)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    return str(value).replace("\n", "\\n")


def _csv_value(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, list | dict | bytes):
        return json.dumps(_json_value(value))
    return value


def _json_value(value: Any) -> Any:
    """The value in JSON's types: exact decimals and times as text, no NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(key): _json_value(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(inner) for inner in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
