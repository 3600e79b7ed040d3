"""Retention: what lies in the home, what of it nothing needs any more, and its removal.

A plan is made by looking alone. What it removes goes in steps that a process may die between: a
folder is gone in one step and swept later, raw bytes go after their sidecar says so, and the lake
removes no file before its catalog.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from warehouse.errors import ClearwaterError
from warehouse.features import old_extracts
from warehouse.files import left_in
from warehouse.lake import earlier_lakes, finish_swap
from warehouse.landing_retention import RawBytes, raw_bytes, remove_bytes
from warehouse.maintenance import Removable, removable, tidy
from warehouse.releases import Release, kept, release_ids, releases, remove
from warehouse.run_retention import LedgerRuns, forget, ledger_runs
from warehouse.settings import Settings
from warehouse.state import state_place
from warehouse.wording import counted

RUN_ID = re.compile(r"(\d{8}T\d{6})-[0-9a-f]{6}")
# Before anything is removed: what the others stand on is kept until they are gone.
KINDS = (
    "releases", "features", "builds", "snapshots", "orphans", "lakes", "reports", "logs", "runs",
    "landing", "temporary",
)  # fmt: skip


@dataclass(frozen=True)
class Item:
    """Something in the home: its kind, its path below the home, its bytes, why it goes or stays.

    `count` things that stay for one reason may be told as one, with the path that they share.
    `name` is what people call it, where its path does not say.
    """

    kind: str
    path: str
    bytes: int
    why: str
    count: int = 1
    name: str = ""


@dataclass(frozen=True)
class Plan:
    """What goes, and what stays of the kinds that may go."""

    gone: tuple[Item, ...]
    kept: tuple[Item, ...]
    lake: Removable | None = None
    runs: LedgerRuns = field(default_factory=LedgerRuns)
    raw: tuple[RawBytes, ...] = ()

    @property
    def bytes(self) -> int:
        """How many bytes it frees."""
        return sum(item.bytes for item in self.gone)


@dataclass(frozen=True)
class DiskUse:
    """Bytes by folder of the home, and by kind those that pruning would free."""

    bytes: dict[str, int]
    prunable: dict[str, int]


def plan(settings: Settings) -> Plan:
    """What pruning would remove now, and what it keeps and why. Nothing is changed.

    Raises ReleaseError when it cannot be read which release is held, LakeError when the lake's
    catalog cannot.
    """
    stays = kept(settings)
    left = [release for release in releases(settings) if release.id in stays]
    items = [
        *_releases(settings, stays),
        *_features(settings, stays),
        *_builds(settings),
        *_runs(settings, "reports", settings.reports, settings.keep.reports, left),
        *_runs(settings, "logs", settings.logs, settings.keep.logs, left),
        *_lakes(settings),
        *((False, item) for item in _temporary(settings)),
    ]
    lake = None
    if settings.lake_catalog.exists():
        lake = removable(settings, settings.keep.snapshots, left)
        items += _lake(settings, lake)
    runs = ledger_runs(settings, settings.keep.logs, {r.run_id: r.id for r in left})
    items += _ledger(settings, runs)
    raw = () if settings.keep.landing is None else raw_bytes(settings, settings.keep.landing)
    items += _landing(settings, raw)
    items.sort(key=lambda item: (KINDS.index(item[1].kind), item[1].path))
    return Plan(
        gone=tuple(item for is_kept, item in items if not is_kept),
        kept=tuple(item for is_kept, item in items if is_kept),
        lake=lake,
        runs=runs,
        raw=tuple(found for found in raw if not found.needed_by),
    )


def prune(settings: Settings) -> Plan:
    """Remove what nothing needs any more; returns what that was. The caller holds the lock.

    Raises StateError, when all else is done, where the run ledger cannot be written.
    """
    finish_swap(settings)
    found = plan(settings)
    for item in found.gone:
        path = settings.home / item.path
        if item.kind in ("releases", "features", "reports", "lakes"):
            remove(settings, path)
        elif item.kind in ("builds", "temporary") and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif item.kind in ("builds", "temporary", "logs"):
            path.unlink(missing_ok=True)
    if found.lake:
        tidy(settings, found.lake)
    remove_bytes(settings, found.raw)
    forget(settings, found.runs)
    return found


def disk_use(settings: Settings) -> DiskUse:
    """What lies in the home, and what pruning would free.

    Tells it within 0.2 s for 10,000 files; `keep.landing` makes it ask the lake besides. Nothing
    would be freed while something cannot be read that pruning must know.
    """
    use = {}
    with suppress(FileNotFoundError):
        for entry in os.scandir(settings.home):
            if not entry.is_symlink():
                use[entry.name] = size_of(Path(entry.path))
    prunable: dict[str, int] = {}
    with suppress(ClearwaterError):
        for item in plan(settings).gone:
            prunable[item.kind] = prunable.get(item.kind, 0) + item.bytes
    return DiskUse(use, prunable)


def size_of(path: Path) -> int:
    """The bytes of a file, or of all files in a folder; of links, and what goes meanwhile, 0."""
    with suppress(FileNotFoundError):
        if not path.is_symlink():
            return _total(str(path)) if path.is_dir() else path.stat().st_size
    return 0


def _total(folder: str) -> int:
    total = 0
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                total += _total(entry.path)
            elif not entry.is_symlink():
                with suppress(FileNotFoundError):
                    total += entry.stat().st_size
    return total


Judged = tuple[bool, Item]  # whether it stays


def _item(settings: Settings, kind: str, path: Path, why: str) -> Item:
    return Item(kind, str(path.relative_to(settings.home)), size_of(path), why)


def _releases(settings: Settings, stays: dict[str, str]) -> Iterator[Judged]:
    for name in release_ids(settings):
        why = stays.get(name, "older than those that are kept")
        yield name in stays, _item(settings, "releases", settings.releases / name, why)


def _features(settings: Settings, stays: dict[str, str]) -> Iterator[Judged]:
    old = old_extracts(settings, stays.keys())
    for place in sorted(settings.features.glob("*/*")):
        if place in old:
            yield False, _item(settings, "features", place, "its release goes, or is gone")
        elif place.name in stays:
            yield True, _item(settings, "features", place, f"release {place.name} is kept")


def _builds(settings: Settings) -> Iterator[Judged]:
    complete = sorted(path.parent for path in settings.builds.glob("*/build.json"))
    for place in sorted(settings.builds.glob("*")):
        if place in complete[-1:]:
            yield True, _item(settings, "builds", place, "the newest build; a command may go on")
        else:
            yield False, _item(settings, "builds", place, "no command can go on with it")


def _runs(
    settings: Settings, kind: str, folder: Path, keep: timedelta | None, left: list[Release]
) -> Iterator[Judged]:
    """The files or folders that runs left in `folder`, each named for its run."""
    found = {}
    for place in folder.glob("*") if folder.is_dir() else ():
        if (match := RUN_ID.match(place.name)) and not place.is_symlink():
            found[place] = match
    made_by = {release.run_id: release.id for release in left}
    since = datetime.now(UTC) - keep if keep is not None else None
    newest = max((place.name for place in found), default="")
    latest = folder / "latest"
    shown = latest.readlink().name if latest.is_symlink() else newest
    for place, match in sorted(found.items()):
        at = datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        if place.name in (newest, shown):
            yield True, _item(settings, kind, place, "the newest")
        elif match[0] in made_by:
            why = f"its run published release {made_by[match[0]]}"
            yield True, _item(settings, kind, place, why)
        elif since is None or at >= since:
            yield True, _item(settings, kind, place, "not old enough")
        else:
            yield False, _item(settings, kind, place, f"older than keep.{kind}")


def _ledger(settings: Settings, found: LedgerRuns) -> Iterator[Judged]:
    place = settings.state_db.name
    name = state_place(settings) if settings.state_url else ""
    if found.gone:
        yield False, Item("runs", place, found.bytes, "older than keep.logs", found.gone, name)
    for why, count in (found.stays or {}).items():
        yield True, Item("runs", place, 0, why, count, name)
    if found.problem:
        why = f"the run ledger cannot be read: {found.problem}"
        yield True, Item("runs", place, 0, why, name=name)


def _lakes(settings: Settings) -> Iterator[Judged]:
    is_lost = not settings.lake_catalog.exists()
    why = "the lake is gone" if is_lost else "a rebuild has replaced it"
    for place in earlier_lakes(settings):
        if place.is_dir() and not place.is_symlink():
            yield is_lost, _item(settings, "lakes", place, why)


def _temporary(settings: Settings) -> Iterator[Item]:
    """What a killed process left half written, beside builds."""
    folders = [settings.home, settings.releases, settings.landing, settings.reports, settings.tmp]
    folders += [*settings.landing.glob("*/"), *settings.reports.glob("*/")]
    places = [part for folder in folders for part in left_in(folder)]
    places += [settings.tmp / name for name in ("spill", "batch", "export")]
    places += [settings.home / "rebuilding"]
    places += settings.lake_catalog.parent.glob("making.sqlite*")
    for place in places:
        if place.is_symlink() or place.exists():
            yield _item(settings, "temporary", place, "a killed process left it")


def _lake(settings: Settings, found: Removable) -> Iterator[Judged]:
    place = str(settings.lake_data.relative_to(settings.home))
    if found.orphans:
        size, count = sum(found.orphans.values()), len(found.orphans)
        yield False, Item("orphans", place, size, "no snapshot names them", count)
    if found.snapshots or found.expired:
        size, count = sum(found.expired.values()), len(found.snapshots)
        files = f"old, with {counted(len(found.expired), 'file')} that only they need"
        yield False, Item("snapshots", place, size, files, count)
    why = f"not old enough, or {found.needed_by} needs them: {found.oldest} and all later ones"
    size = size_of(settings.lake_data)
    size -= sum(found.orphans.values()) + sum(found.expired.values())
    yield True, Item("snapshots", place, size, why, found.left)


def _landing(settings: Settings, raw: tuple[RawBytes, ...]) -> Iterator[Judged]:
    if settings.keep.landing is None:
        if settings.landing.exists():
            yield True, _item(settings, "landing", settings.landing, "keep.landing is forever")
        return
    groups: dict[str, list[RawBytes]] = {}
    for found in raw:
        if found.needed_by:
            groups.setdefault(found.needed_by, []).append(found)
        else:
            first = found.arrivals[0]
            path = f"{settings.landing.name}/{found.sha256[:2]}/{found.sha256}"
            why = f"{first.source}: all loaded, older than keep.landing"
            yield False, Item("landing", path, found.size, why, name=first.original_name)
    for why, same in groups.items():
        size = sum(found.size for found in same)
        yield True, Item("landing", settings.landing.name, size, why, len(same))
