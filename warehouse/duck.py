"""DuckDB connections: extensions from their wheels, bounded memory, the lake attached."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any
from weakref import WeakSet

import duckdb

from warehouse.catalog import catalog_errors, check_catalog
from warehouse.configuration import SIZE
from warehouse.errors import ClearwaterError
from warehouse.settings import Settings

# How the lake's files are written. The second version's encodings make numbers a fifth smaller,
# and cheaper to compress.
PARQUET = {"compression": "zstd", "version": "2"}
LAKE_EXTENSIONS = ("ducklake", "sqlite_scanner")
# Loading streams: more memory would not make it faster, and the process has to stay below 1 GiB.
LOADING_BYTES = 640 << 20
_connections: WeakSet[duckdb.DuckDBPyConnection] = WeakSet()
UNITS = {"K": 10, "M": 20, "G": 30, "T": 40}


def quoted(text: str | Path) -> str:
    """A SQL string literal."""
    return "'" + str(text).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def listed(names: Iterable[str]) -> str:
    """A SQL list of quoted identifiers."""
    return ", ".join(identifier(name) for name in names)


def number(con: duckdb.DuckDBPyConnection, sql: str) -> int:
    """The one whole number that the query gives; 0 for null."""
    row = con.execute(sql).fetchone()
    assert row is not None
    return int(row[0] or 0)


def limits(settings: Settings) -> dict[str, Any]:
    """DuckDB's configuration: bounded memory, spills and extensions in our own places."""
    if settings.home.exists():
        # DuckDB makes the spill folder when it must, but not the one above it.
        with suppress(OSError):  # a reader without the right to write here cannot spill
            settings.tmp.mkdir(exist_ok=True)
    return {
        "threads": settings.threads,
        "memory_limit": settings.memory_limit,
        "temp_directory": str(settings.tmp / "spill"),
        "extension_directory": str(settings.tmp / "extensions"),
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        # DuckDB would hash 70 MB at each connection to check what came with pinned hashes; doctor
        # has it do so.
        "allow_unsigned_extensions": True,
        # It takes a file that was written again within a second for the one that it was.
        "enable_external_file_cache": False,
    }


def loading_memory(settings: Settings) -> str:
    """What DuckDB may use while it loads: the settings' limit, but 640 MiB at most."""
    match = SIZE.fullmatch(settings.memory_limit)
    assert match is not None, settings.memory_limit
    size = float(match[1]) * (1 << UNITS[match[2]])
    return settings.memory_limit if size <= LOADING_BYTES else f"{LOADING_BYTES >> 20}MiB"


def connect(
    settings: Settings, database: Path | None = None, *, read_only: bool = False
) -> duckdb.DuckDBPyConnection:
    """A connection to `database` (in memory if None) in UTC that keeps to the settings' limits."""
    con = duckdb.connect(
        str(database) if database else ":memory:",
        read_only=read_only,
        config=limits(settings) | {"python_enable_replacements": False},
    )
    use_utc(con)
    _connections.add(con)
    return con


def interrupt() -> None:
    """End every statement that runs on a connection of this process.

    A signal in the main thread ends the waiting for a statement, but not the statement.
    """
    for con in list(_connections):
        with suppress(duckdb.Error):
            con.interrupt()


def use_utc(con: duckdb.DuckDBPyConnection) -> None:
    """Read times with a zone in UTC, in every cursor, wherever the machine stands."""
    con.execute("set global TimeZone = 'UTC'")


def extension_file(name: str) -> Path:
    """The extension file that the wheel `duckdb-extension-<name>` installed."""
    package = f"duckdb_extension_{name}"
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or []:
        relative = f"extensions/v{duckdb.__version__}/{name}.duckdb_extension"
        file = Path(folder) / relative
        if file.is_file():
            return file
    raise ClearwaterError(
        f"DuckDB's extension {name} for version {duckdb.__version__} is not installed",
        where=package,
        next_step="run `make setup` to install the locked packages again",
    )


def load_extensions(con: duckdb.DuckDBPyConnection) -> None:
    """Load what the lake needs, by path and without the network."""
    for name in LAKE_EXTENSIONS:
        con.execute(f"load {quoted(extension_file(name))}")


def attach_lake(
    con: duckdb.DuckDBPyConnection,
    settings: Settings,
    *,
    snapshot: int | None = None,
    read_only: bool = True,
) -> None:
    """Attach the lake as `lake`, at `snapshot` if given.

    Raises LakeError when there is no lake, or its catalog is damaged.
    """
    check_catalog(settings)
    load_extensions(con)
    options = [f"data_path {quoted(f'{settings.lake_data}/')}", "override_data_path true"]
    if read_only:
        options.append("read_only")
    if snapshot is not None:
        options.append(f"snapshot_version {int(snapshot)}")
    source = quoted(f"ducklake:sqlite:{settings.lake_catalog}")
    with catalog_errors(settings):
        con.execute(f"attach {source} as lake ({', '.join(options)})")
