"""Maintenance of the lake: what nobody refers to any more is removed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from warehouse.duck import no_lake
from warehouse.lake import lake_identity, latest_snapshot, writing
from warehouse.releases import releases
from warehouse.settings import Settings

KEPT_DAYS = 30


@dataclass(frozen=True)
class Maintained:
    """What was removed: files that no snapshot ever named, snapshots, and files of those alone."""

    orphans: int
    orphan_bytes: int
    snapshots: int
    expired_files: int
    expired_bytes: int


def maintain(settings: Settings, *, days: int = KEPT_DAYS) -> Maintained:
    """Remove orphaned files, and snapshots older than `days` that no release needs.

    A release needs its snapshot and all later ones: the next build reads what changed since. The
    caller holds the writer lock, so that a file without a snapshot is nobody's.
    """
    if not settings.lake_catalog.exists():
        raise no_lake(settings)
    with writing(settings) as con:
        before = _sizes(settings)
        con.execute("call ducklake_delete_orphaned_files('lake', cleanup_all => true)")
        orphans = before.keys() - _sizes(settings).keys()
        oldest = _oldest_needed(settings, latest_snapshot(con))
        expired = [
            row[0]
            for row in con.execute(
                "select snapshot_id from ducklake_snapshots('lake')"
                " where snapshot_id < ? and snapshot_time < ?::timestamptz",
                [oldest, (datetime.now(UTC) - timedelta(days=days)).isoformat()],
            ).fetchall()
        ]
        if expired:
            listed = ", ".join(str(number) for number in expired)
            con.execute(f"call ducklake_expire_snapshots('lake', versions => [{listed}])")
        con.execute("call ducklake_cleanup_old_files('lake', cleanup_all => true)")
        gone = before.keys() - orphans - _sizes(settings).keys()
    return Maintained(
        orphans=len(orphans),
        orphan_bytes=_total(before, orphans),
        snapshots=len(expired),
        expired_files=len(gone),
        expired_bytes=_total(before, gone),
    )


def _oldest_needed(settings: Settings, newest: int) -> int:
    """The oldest snapshot that a line of a release names; the newest one without a release."""
    identity = lake_identity(settings)
    lines = [line for release in releases(settings) for line in release.lines.values()]
    named = [line.lake_snapshot for line in lines if line.lake == identity]
    return min([*(number for number in named if number is not None), newest])


def _sizes(settings: Settings) -> dict[Path, int]:
    return {f: f.stat().st_size for f in settings.lake_data.rglob("*") if f.is_file()}


def _total(sizes: dict[Path, int], files: Iterable[Path]) -> int:
    return sum(sizes[file] for file in files)
