"""The lake's catalog, a SQLite file: opened here alone, and what to say when it cannot be."""

from __future__ import annotations

import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

import duckdb

from warehouse.errors import LakeError
from warehouse.settings import Settings

# As SQLite and DuckLake say it of a file that is no catalog, or not a whole one.
DAMAGED = re.compile(
    "file is not a database|database disk image is malformed|no such table: ducklake_\\w+"
    "|Existing DuckLake at metadata catalog .* does not exist"
)
FULL = "database or disk is full"
LOCKED = "is locked"


@contextmanager
def open_catalog(settings: Settings) -> Iterator[sqlite3.Connection]:
    """The catalog of the lake, read without DuckDB.

    Its tables are those of the DuckLake specification, version 1.0. Raises LakeError when there is
    no lake, or when its catalog cannot be read.
    """
    if not settings.lake_catalog.exists():
        raise no_lake(settings)
    with catalog_errors(settings), closing(sqlite3.connect(settings.lake_catalog)) as catalog:
        yield catalog


@contextmanager
def catalog_errors(settings: Settings) -> Iterator[None]:
    """Turn what SQLite says of the lake's catalog, or DuckDB of a damaged one, into a LakeError.

    A full disk stays one, and what DuckDB says of anything else.
    """
    try:
        yield
    except (sqlite3.Error, duckdb.Error) as error:
        text = str(error)
        if FULL in text or (isinstance(error, duckdb.Error) and not _is_damaged(settings, text)):
            raise
        raise _unreadable(settings, text) from None


def check_catalog(settings: Settings) -> None:
    """Raise LakeError when the catalog is none: DuckLake would make a new lake in an empty file."""
    with open_catalog(settings) as catalog:
        catalog.execute("select max(snapshot_id) from ducklake_snapshot").fetchone()
        catalog.execute("select count(*) from ducklake_metadata").fetchone()


def put_aside(settings: Settings) -> str:
    """The next step when the lake cannot be read: it is kept, and made again from landing."""
    lake = settings.lake_catalog.parent
    move = shlex.join(["mv", str(lake), f"{lake}.damaged"])
    return (
        f"put a copy of {lake} back; or put it aside, `{move}`, and make the lake again from"
        " landing: `clearwater lake rebuild` (docs/recovery.md)"
    )


def _is_damaged(settings: Settings, text: str) -> bool:
    return DAMAGED.search(text) is not None or settings.lake_catalog.is_dir()


def _unreadable(settings: Settings, text: str) -> LakeError:
    where = str(settings.lake_catalog)
    if not _is_damaged(settings, text):
        step = "try again" if LOCKED in text else "check the disk, and the rights of the file"
        return LakeError(f"the lake's catalog cannot be read: {text}", where=where, next_step=step)
    found = DAMAGED.search(text)
    why = found[0] if found else "it is a folder"
    if why.startswith(("no such table", "Existing")):
        why = "there is no lake in it"
    return LakeError(
        f"the lake's catalog is damaged: {why}", where=where, next_step=put_aside(settings)
    )


def is_lake_lost(settings: Settings) -> bool:
    """Whether there is no catalog, though landing knows of loads or files of the lake are there."""
    if settings.lake_catalog.exists():
        return False
    return _is_noted(settings) or any(settings.lake_data.rglob("*.parquet"))


def _is_noted(settings: Settings) -> bool:
    """Whether landing knows of loads."""
    return (settings.landing / "definitions").exists()  # written before anything is loaded


def no_lake(settings: Settings) -> LakeError:
    """What to say when there is no lake: none yet, or none any more."""
    if is_lake_lost(settings):
        why = "landing knows of loads" if _is_noted(settings) else "files of it are there"
        return LakeError(
            f"the lake is gone, though {why}",
            where=str(settings.lake_catalog),
            next_step="make it again with `clearwater lake rebuild`, and the same --home and"
            " --sources",
        )
    return LakeError(
        "there is no lake yet",
        where=str(settings.lake_catalog),
        next_step="load something first: `clearwater demo` or `clearwater run`",
    )
