"""Raw bytes that are in the lake for long: which may go, which not, and that they went."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from warehouse.batch import batch_id
from warehouse.catalog import is_lake_lost
from warehouse.containers import parts
from warehouse.files import sync
from warehouse.landing import Landed, arrivals, content_path, standing_bytes, write_sidecar
from warehouse.maintenance import missing_files
from warehouse.quarantine import reading
from warehouse.settings import Settings
from warehouse.wording import counted

REFUSED = "refused"
LEDGER = """
    select b.batch_id, b.source, b.status, b.loaded_at, b.arrived_at, b.already_known,
        coalesce(q.waiting, 0)
    from lake.meta.batches b
    left join (select batch_id, count(*) as waiting from lake.meta.quarantine group by all) q
        using (batch_id)
"""


@dataclass(frozen=True)
class RawBytes:
    """The bytes with one hash, `size` of them: all their arrivals, and what needs them, if any."""

    sha256: str
    size: int
    arrivals: tuple[Landed, ...]
    needed_by: str


@dataclass(frozen=True)
class _Line:
    """A batch in the ledger; `waiting` of its rows are in quarantine. Times are in UTC."""

    source: str
    status: str
    loaded_at: datetime
    arrived_at: datetime
    already_known: int
    waiting: int


def raw_bytes(settings: Settings, keep: timedelta) -> tuple[RawBytes, ...]:
    """All bytes in landing whose arrival is noted, those that may go and those that stay.

    Those may go of which everything is loaded, longer ago than `keep`, with no row in quarantine,
    that do not stand at a source now, and that no file which waits is compared with. Nothing may
    where the lake is gone, or lacks files of its own: landing is what it is made again from.
    """
    found: dict[str, list[Landed]] = {}
    for landed in arrivals(settings):
        found.setdefault(landed.sha256, []).append(landed)
    judge = _Judge(settings, keep)
    return tuple(
        RawBytes(
            sha256, content_path(settings, sha256).stat().st_size, tuple(same), judge.needs(same)
        )
        for sha256, same in found.items()
        if content_path(settings, sha256).exists()
    )


def remove_bytes(settings: Settings, found: Iterable[RawBytes]) -> None:
    """Remove the bytes; each sidecar says so first, with the members if they were a zip.

    A process killed in between leaves bytes that may go the next time. The lock is held.
    """
    now = datetime.now(UTC).isoformat()
    for raw in found:
        for landed in raw.arrivals:
            members = tuple(part for part in parts(settings, landed) if part is not None)
            write_sidecar(settings, replace(landed, pruned_at=now, members=members))
        file = content_path(settings, raw.sha256)
        file.unlink()
        sync(file.parent)


class _Judge:
    """What the ledger and the sources say of raw bytes."""

    def __init__(self, settings: Settings, keep: timedelta) -> None:
        self._settings = settings
        self._before = (datetime.now(UTC) - keep).replace(tzinfo=None)
        self._standing = {
            sha256: source
            for source, hashes in standing_bytes(settings).items()
            for sha256 in hashes
        }
        self._lines, self._no_lake = _ledger(settings)
        waiting = [line for line in self._lines.values() if line.waiting or line.status == REFUSED]
        self._waiting_since: dict[str, datetime] = {}
        for line in waiting:
            since = self._waiting_since.get(line.source, line.arrived_at)
            self._waiting_since[line.source] = min(since, line.arrived_at)

    def needs(self, same: Iterable[Landed]) -> str:
        """Why these arrivals' bytes must stay; empty if nothing needs them."""
        if self._no_lake:
            return self._no_lake
        for landed in same:
            for part in parts(self._settings, landed):
                if why := self._needs_batch(landed, self._lines.get(batch_id(landed, part))):
                    return why
        return ""

    def _needs_batch(self, landed: Landed, line: _Line | None) -> str:
        if line is None:
            return f"{landed.source}: not loaded yet"
        if line.status == REFUSED:
            return f"{landed.source}: refused, and nowhere else"
        if line.status != "loaded":
            return f"{landed.source}: no rows are made of them, and they are nowhere else"
        if line.waiting:
            return f"{landed.source}: rows of theirs wait in quarantine"
        if landed.sha256 in self._standing:
            return f"{self._standing[landed.sha256]}: they stand at the source"
        since = self._waiting_since.get(landed.source)
        if line.already_known and since is not None and line.arrived_at >= since:
            return f"{landed.source}: an older file that waits is compared with them"
        return "" if line.loaded_at < self._before else "not old enough"


def _ledger(settings: Settings) -> tuple[dict[str, _Line], str]:
    """The ledger by batch; or why it says nothing on what may go."""
    if not settings.lake_catalog.exists():
        return {}, "the lake is gone" if is_lake_lost(settings) else "there is no lake yet"
    if missing := missing_files(settings):
        return {}, f"the lake lacks {counted(len(missing), 'file')}; make it again from these"
    with reading(settings) as con:
        rows = con.execute(LEDGER).fetchall()
    return {row[0]: _Line(*row[1:]) for row in rows}, ""
