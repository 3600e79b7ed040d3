"""Files whose format has no dialect to guess: their rows, as the loader's own readers give them."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import duckdb

from warehouse.duck import identifier, number
from warehouse.errors import ClearwaterError
from warehouse.inference.files import ROWS, in_utf8
from warehouse.inference.layout import options_of
from warehouse.inference.result import FILE, Notes
from warehouse.readers import reader_for
from warehouse.readers.contract import OWN_NAMES, Opened, forget_batch
from warehouse.sources import FormatName, Source

TYPED = ("avro", "orc")


@dataclass(frozen=True)
class Found:
    """What reading the files took; `types` is None where all columns are text.

    `partial` are the columns that some files lack.
    """

    names: list[str]
    types: dict[str, str] | None
    labels: list[str]
    options: dict[str, Any]
    row_count: int
    partial: frozenset[str]


def read(
    con: duckdb.DuckDBPyConnection,
    files: list[Opened],
    source_name: str,
    format_name: FormatName,
    relation: str,
    notes: Notes,
) -> Found:
    """Make the view `relation` of the files' rows, with the column FILE if they are several.

    Raises ClearwaterError when a file cannot be read.
    """
    source = Source(name=source_name, path="*", format=format_name)
    files, options = _alike(con, source, files, notes)
    con.execute("set preserve_insertion_order = true")
    told = source.model_copy(update=options)
    row_count, everywhere = _read_all(con, told, files, relation, notes)
    described = con.execute(f"describe select * from {relation}").fetchall()
    types = {row[0]: str(row[1]) for row in described if row[0] != FILE}
    return Found(
        list(types),
        types if format_name in TYPED else None,
        [file.label for file in files],
        options,
        row_count,
        frozenset(name for name in types if name.lower() not in everywhere),
    )


def _alike(
    con: duckdb.DuckDBPyConnection, source: Source, files: list[Opened], notes: Notes
) -> tuple[list[Opened], dict[str, Any]]:
    """The files that most files' options read, and these; the others are named in a warning."""
    noted = [Notes() for _ in files]
    found = [
        options_of(con, source, file, own, is_alone=len(files) == 1)
        for file, own in zip(files, noted, strict=True)
    ]
    told = [json.dumps(_without_end(options), sort_keys=True) for options in found]
    (most, _), *_ = Counter(told).most_common()
    first = told.index(most)
    notes.add(noted[first])
    others = [file.label for file, text in zip(files, told, strict=True) if text != most]
    if others:
        notes.warn(
            f"{len(others)} of {len(files)} files are laid out in another way and were left out:"
            f" {', '.join(others[:5])}; add them as a source of their own"
        )
    alike = [file for file, text in zip(files, told, strict=True) if text == most]
    options = [options for options, text in zip(found, told, strict=True) if text == most]
    return alike, max(options, key=lambda o: (len(o.get("range", "")), o.get("range", "")))


def _without_end(options: dict[str, Any]) -> dict[str, Any]:
    """The options with only the beginning of a range: a later file may have a column more."""
    begin = {"range": options["range"].partition(":")[0]} if "range" in options else {}
    return options | begin


def _read_all(
    con: duckdb.DuckDBPyConnection,
    source: Source,
    files: list[Opened],
    relation: str,
    notes: Notes,
) -> tuple[int, set[str]]:
    """Make the view of all files' first rows; how many rows they have, and the names of all."""
    total = looked_at = 0
    names_of: list[set[str]] = []
    parts = []
    for place, file in enumerate(files):
        plain = replace(file, path=in_utf8(file, source.encoding or "utf-8"))
        columns = reader_for(source, plain).read(con, source, plain)
        names = [column.name for column in columns]
        _check_names(names, file)
        names_of.append({name.lower() for name in names})
        listed = "".join(f"{identifier(name)}, " for name in names)
        part = f"part_{place}"
        con.execute(
            f"create or replace table {part} as select {listed}{place} as {FILE} from incoming"
            f" order by _source_row limit {max(0, ROWS - looked_at)}"
        )
        parts.append(f"select * from {part}")
        looked_at += number(con, f"select count(*) from {part}")
        total += number(con, "select count(*) from incoming")
        _warn_of_torn(con, file, notes)
    if not any(names_of):
        raise ClearwaterError(
            "no record has a named value",
            where=files[0].label,
            next_step="name a file that holds records",
        )
    forget_batch(con)  # its relations would hide ours
    united = " union all by name ".join(parts)
    hidden = f" exclude {FILE}" if len(files) == 1 else ""
    con.execute(f"create or replace view {relation} as select *{hidden} from ({united})")
    if looked_at < total:
        notes.warn(f"the first {looked_at:,} of {total:,} rows were looked at")
    return total, set.intersection(*names_of)


def _check_names(names: list[str], file: Opened) -> None:
    own = next((name for name in names if name.lower() in OWN_NAMES or name == FILE), None)
    if own:
        raise ClearwaterError(
            f"the column name {own!r} is Clearwater's own",
            where=file.label,
            next_step="rename it in the file",
        )


def _warn_of_torn(con: duckdb.DuckDBPyConnection, file: Opened, notes: Notes) -> None:
    row = con.execute(
        "select count(*), min(_source_row), arg_min(detail, _source_row) from rejected"
    ).fetchone()
    assert row is not None
    count, first, detail = row
    if count:
        notes.warn(
            f"{file.label}: {count:,} record{'s' * (count != 1)} cannot be read and will go to the"
            f" quarantine, such as record {first:,}: {detail}"
        )
