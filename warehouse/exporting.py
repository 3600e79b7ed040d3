"""The current release as Parquet, for machines that cannot open its file.

Whoever follows `current.json` sees the tables of one release, whole: they are written and read back
before it is put, and stay for as long as it, or the one before it, names them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from warehouse.duck import connect, identifier, quoted
from warehouse.errors import ExportError
from warehouse.export_places import (
    CURRENT,
    RELEASE,
    RELEASES,
    ExportPlace,
    export_place,
    refuse_foreign,
)
from warehouse.releases import Release, current, folder, told_lines
from warehouse.settings import Settings

ROW_GROUP_ROWS = 122_880
# Parquet has no whole number of 128 bits; DuckDB would write a double, which is not exact.
# A field's name is followed by its type, or is in quotes.
WIDE = re.compile(r'"(?:[^"]|"")*"|\bU?HUGEINT\b(?=[\[,)]|$)')
WIDE_AS = "DECIMAL(38,0)"


@dataclass(frozen=True)
class Exported:
    """What an export did: `files` and `bytes` that were written, none if all was there already."""

    release: str
    place: str
    files: int
    bytes: int
    removed: tuple[str, ...]


def export(settings: Settings, place: str) -> Exported:
    """Write the current release to the place, unless it is there, and make it the current one.

    Raises ReleaseError when nothing is published, ConfigurationError for a place that cannot be or
    holds what no export wrote, and ExportError when it cannot be written. The caller holds the
    writer lock.
    """
    release = current(settings)
    if release is None:
        raise _nothing(settings)
    target = export_place(settings, place)
    refuse_foreign(target, place)
    target.sweep()
    before = _json(target, CURRENT)
    tables = _whole(target, release)
    written: Mapping[str, Any] = {}
    if tables is None:
        written = tables = _write(settings, target, release)
    is_current = before.get("release") == release.id
    earlier = before.get("before") if is_current else before.get("release")
    if not (is_current and target.is_flipped(release.id)):
        target.flip(release.id, _current(release, tables, earlier))
    return Exported(
        release.id,
        place,
        len(written),
        sum(table["bytes"] for table in written.values()),
        _remove_old(settings, target, {release.id, earlier}),
    )


def _nothing(settings: Settings) -> Exception:
    folder(settings)  # which says that nothing is published
    return ExportError("nothing is published yet")


def _json(target: ExportPlace, name: str) -> dict[str, Any]:
    """What a file says; nothing if it is not there, or not what an export writes."""
    try:
        content = json.loads(target.read(name) or "{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _whole(target: ExportPlace, release: Release) -> dict[str, Any] | None:
    """The tables of the release's export if it is there with all its files; else None."""
    sizes = target.sizes(release.id)
    if RELEASE not in sizes:
        return None
    tables = _json(target, f"{RELEASES}/{release.id}/{RELEASE}").get("tables")
    if not isinstance(tables, dict) or tables.keys() != release.tables.keys():
        return None
    is_there = all(sizes.get(table["file"]) == table["bytes"] for table in tables.values())
    return tables if is_there else None


def _write(settings: Settings, target: ExportPlace, release: Release) -> dict[str, Any]:
    name = target.start(release.id)
    database = settings.database(folder(settings, release.id))
    with closing(connect(settings, database, read_only=True)) as con:
        try:
            tables = {table: _write_table(con, target, name, table) for table in release.tables}
        except duckdb.Error as error:
            raise ExportError(
                str(error).partition("\n")[0],
                where=release.id,
                next_step="mend that, and export again",
            ) from error
    told = {
        "release": release.id,
        "created_at": release.created_at,
        "exported_at": datetime.now(UTC).isoformat(),
        "run_id": release.run_id,
        "lake": release.lake,
        "lake_snapshot": release.lake_snapshot,
        "verdict": release.verdict,
        "domains": told_lines(release),
        "personal": release.personal,
        "duckdb": duckdb.__version__,
        "tables": tables,
    }
    target.finish(name, release.id, json.dumps(told, indent=1) + "\n")
    return tables


def _write_table(
    con: duckdb.DuckDBPyConnection, target: ExportPlace, name: str, table: str
) -> dict[str, Any]:
    """Write one table as it is stored, and read it back."""
    schema, _, relation = table.partition(".")
    file = f"{schema}/{relation}.parquet"
    path = target.local(name, file)
    stored = f"{identifier(schema)}.{identifier(relation)}"
    types = {row[0]: _type(row[1]) for row in con.execute(f"describe {stored}").fetchall()}
    columns = ", ".join(
        f"{identifier(column)}::{to} as {identifier(column)}" if to else identifier(column)
        for column, to in types.items()
    )
    con.execute(
        f"copy (select {columns} from {stored}) to {quoted(path)}"
        f" (format parquet, compression zstd, row_group_size {ROW_GROUP_ROWS})"
    )
    counts = _counts(con, stored)
    parquet = f"read_parquet({quoted(path)})"
    described = con.execute(f"describe select * from {parquet}").fetchall()
    is_right = _counts(con, parquet) == counts
    sha256, size = _sha256(path), path.stat().st_size
    if target.put(name, file) != counts[0] or not is_right:
        raise ExportError(
            "what was written is not what is read back",
            where=f"{table}: {file}",
            next_step="check the disk or the bucket, and export again",
        )
    return {
        "file": file,
        "rows": counts[0],
        "bytes": size,
        "sha256": sha256,
        "columns": {row[0]: row[1] for row in described},
    }


def _type(stored: str) -> str:
    """The type to write a column as, where it is not the one that it is stored as; else empty."""
    to = WIDE.sub(lambda found: found[0] if found[0].startswith('"') else WIDE_AS, stored)
    return to if to != stored else ""


def _counts(con: duckdb.DuckDBPyConnection, relation: str) -> tuple[int, ...]:
    """How many rows there are, and how many values in each column: to count them, all are read."""
    row = con.execute(f"select count(*), count(columns(*)) from {relation}").fetchone()
    assert row is not None
    return tuple(row)


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _current(release: Release, tables: Mapping[str, Any], before: str | None) -> str:
    place = f"{RELEASES}/{release.id}"
    told = {
        "release": release.id,
        "before": before,
        "flipped_at": datetime.now(UTC).isoformat(),
        "tables": {name: f"{place}/{table['file']}" for name, table in tables.items()},
    }
    return json.dumps(told, indent=1) + "\n"


def _remove_old(settings: Settings, target: ExportPlace, named: set[str | None]) -> tuple[str, ...]:
    """Remove all exports but the newest, and but those that current.json names."""
    old = target.exports()[: -settings.keep.releases]
    removed = tuple(release_id for release_id in old if release_id not in named)
    for release_id in removed:
        target.remove(release_id)
    return removed
