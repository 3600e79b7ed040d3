"""Maintenance of the lake: what nobody refers to any more is removed."""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

from warehouse.catalog import no_lake, open_catalog
from warehouse.lake import finish_swap, lake_identity, writing
from warehouse.releases import Release, releases, unreadable
from warehouse.settings import Settings

KEPT_DAYS = 30


@dataclass(frozen=True)
class Removable:
    """What is nobody's: snapshots by their numbers, and files with their sizes in bytes.

    `expired` are the files that only those snapshots need. No snapshot names the `orphans`, which
    a killed process left, or which were merged into larger files. `left` is how many snapshots
    stay, `oldest` the oldest one that something needs, and `needed_by` what that is.
    """

    snapshots: tuple[int, ...]
    expired: Mapping[Path, int]
    orphans: Mapping[Path, int]
    left: int
    oldest: int
    needed_by: str

    def __bool__(self) -> bool:
        return bool(self.snapshots or self.expired or self.orphans)


@dataclass(frozen=True)
class Maintained:
    """What was removed: files that no snapshot names, snapshots, and files of those alone."""

    orphans: int
    orphan_bytes: int
    snapshots: int
    expired_files: int
    expired_bytes: int


def maintain(settings: Settings, *, days: int = KEPT_DAYS) -> Maintained:
    """Remove orphaned files, and snapshots older than `days` that nothing needs.

    The caller holds the writer lock, so that a file without a snapshot is nobody's.
    """
    finish_swap(settings)
    if not settings.lake_catalog.exists():
        raise no_lake(settings)
    return tidy(settings, removable(settings, timedelta(days=days), releases(settings)))


def removable(settings: Settings, keep: timedelta | None, kept: Iterable[Release]) -> Removable:
    """What is nobody's if the releases `kept` stay; snapshots only if they are older than `keep`.

    A release needs its snapshot and all later ones: the next build reads what changed since. So
    does a build that is not published yet, and a release that cannot be read may need any. From
    the catalog's tables, as DuckLake's specification 1.0 has them; nothing is changed.
    """
    with open_catalog(settings) as catalog:
        times = catalog.execute("select snapshot_id, snapshot_time from ducklake_snapshot")
        at = {int(number): datetime.fromisoformat(time) for number, time in times}
        oldest, needed_by = _oldest_needed(settings, max(at), kept)
        for name in unreadable(settings):
            oldest, needed_by = min(at), f"release {name}, which cannot be read,"
        since = datetime.now(UTC) - keep if keep is not None else datetime.min.replace(tzinfo=UTC)
        snapshots = tuple(sorted(n for n, time in at.items() if n < oldest and time < since))
        stays = sorted(at.keys() - {*snapshots})
        named, expired = set(), set()
        for path, begin, end in _named_files(catalog):
            named.add(path)
            position = bisect_left(stays, begin)
            if end is not None and (position == len(stays) or stays[position] >= end):
                expired.add(path)
    on_disk = _sizes(settings)
    return Removable(
        snapshots,
        {file: size for file, size in on_disk.items() if file.name in expired},
        {
            file: size
            for file, size in on_disk.items()
            if file.name not in named and file.suffix == ".parquet"
        },
        len(stays),
        oldest,
        needed_by,
    )


def tidy(settings: Settings, found: Removable) -> Maintained:
    """Remove what was found. The caller holds the writer lock since then.

    A process killed in between leaves files that the catalog has scheduled for deletion, or that no
    snapshot names: they are found the next time.
    """
    with writing(settings) as con:
        if found.orphans:
            con.execute("call ducklake_delete_orphaned_files('lake', cleanup_all => true)")
        if found.snapshots:
            listed = ", ".join(str(number) for number in found.snapshots)
            con.execute(f"call ducklake_expire_snapshots('lake', versions => [{listed}])")
        con.execute("call ducklake_cleanup_old_files('lake', cleanup_all => true)")
    left = _sizes(settings)
    orphans = found.orphans.keys() - left.keys()
    gone = found.expired.keys() - left.keys()
    return Maintained(
        orphans=len(orphans),
        orphan_bytes=sum(found.orphans[file] for file in orphans),
        snapshots=len(found.snapshots),
        expired_files=len(gone),
        expired_bytes=sum(found.expired[file] for file in gone),
    )


def missing_files(settings: Settings) -> list[str]:
    """The names of files that the newest snapshot needs and that are not there as they were."""
    with open_catalog(settings) as catalog:
        rows = catalog.execute(
            "select path, file_size_bytes from ducklake_data_file where end_snapshot is null"
            " union all"
            " select path, file_size_bytes from ducklake_delete_file where end_snapshot is null"
        ).fetchall()
    sizes = {file.name: size for file, size in _sizes(settings).items()}
    return [path for path, size in rows if sizes.get(PurePosixPath(path).name) != size]


def _named_files(catalog: sqlite3.Connection) -> Iterator[tuple[str, int, int | None]]:
    """Name of each file of a snapshot, with the snapshots from which, and before which, it is.

    The name alone tells a file from all others.
    """
    rows = catalog.execute(
        "select path, begin_snapshot, end_snapshot from ducklake_data_file union all"
        " select path, begin_snapshot, end_snapshot from ducklake_delete_file"
    )
    for path, begin, end in rows:
        yield PurePosixPath(path).name, int(begin), None if end is None else int(end)


def _oldest_needed(settings: Settings, newest: int, kept: Iterable[Release]) -> tuple[int, str]:
    """The oldest snapshot that a line of a release or a build names, and which; else the newest."""
    identity = lake_identity(settings)
    named = {newest: "the newest"}
    for file in settings.builds.glob("*/build.json"):
        number = json.loads(file.read_text(encoding="utf-8"))["lake_snapshot"]
        named[int(number)] = f"build {file.parent.name}"
    for release in kept:
        for line in release.lines.values():
            if line.lake == identity and line.lake_snapshot is not None:
                named[line.lake_snapshot] = f"release {release.id}"
    oldest = min(named)
    return min(oldest, newest), named[oldest]


def _sizes(settings: Settings) -> dict[Path, int]:
    return {f: f.stat().st_size for f in settings.lake_data.rglob("*") if f.is_file()}
