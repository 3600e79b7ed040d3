"""Releases: published builds, the `current` link, going back and holding.

`release.json` is written and synced inside the build's folder, the folder is renamed into
`releases/`, then `current` flips in one atomic step. What is true is decided by these folders
alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from warehouse.domains import MAIN, Line
from warehouse.errors import ReleaseError, UnknownReleaseError
from warehouse.files import link_atomically, sweep, sync, write_atomically
from warehouse.settings import Settings

# What `new_id` makes.
ID_FORMAT, ID_LENGTH = "%Y%m%dT%H%M%S%f", 21
RELEASE_ID = re.compile(r"\d{8}T\d{12,}")
# Beside the manifest of a feature set that a person asked for: it keeps its release.
ASKED = "asked"


@dataclass(frozen=True)
class Release:
    """The content of release.json.

    `lake` is the lake's identity; `project` is a hash of dbt's files as a whole; `code` has one
    for each model, its upstream included; `rules` one for each rule that was audited; `tables`
    the rows of each published table; `features` what each feature set declares; `gate` the
    gate's result. `lake` and `lake_snapshot` are the build's. `domains` tells where each line's
    tables come from: code, rules and results of a held line are those of then. `lineage` are the
    relations that each model reads, those of the lake included; `personal` the columns of a table
    that are marked as such.
    """

    id: str
    created_at: str
    run_id: str
    base: str | None
    lake: str
    lake_snapshot: int
    verdict: str
    project: str
    code: dict[str, str]
    rules: dict[str, str]
    tables: dict[str, int]
    features: dict[str, dict[str, Any]]
    gate: dict[str, Any]
    lineage: dict[str, list[str]] = field(default_factory=dict)
    personal: dict[str, list[str]] = field(default_factory=dict)
    domains: dict[str, Line] = field(default_factory=dict)

    @property
    def lines(self) -> dict[str, Line]:
        """The line of each domain; a release from before there were domains is one line."""
        one = Line(self.id, self.lake, self.lake_snapshot, self.verdict, list(self.tables))
        return self.domains or {MAIN: one}

    @property
    def is_whole(self) -> bool:
        """Whether every domain's newest build is in it."""
        return not any(line.held for line in self.domains.values())

    def line(self, table: str) -> tuple[str, Line] | None:
        """The domain and line of a table, as `schema.name`; None for one that it does not have."""
        return next((item for item in self.lines.items() if table in item[1].tables), None)


def new_id(settings: Settings) -> str:
    """An id that sorts by time, later than every release there is: as many digits each time."""
    now = datetime.now(UTC).replace(tzinfo=None)
    newest = max((release.id for release in releases(settings)), default="")
    if (match := RELEASE_ID.match(newest)) is not None:
        last = datetime.strptime(match[0][:ID_LENGTH], ID_FORMAT)  # noqa: DTZ007 - UTC, as `now`
        now = max(now, last + timedelta(microseconds=1))
    return now.strftime(ID_FORMAT)


def releases(settings: Settings) -> list[Release]:
    """Every release on disk, oldest first."""
    folders = sorted(settings.releases.glob("*/release.json"))
    return [_read(file) for file in folders]


def _read(file: Path) -> Release:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        lines = {name: Line(**line) for name, line in content.pop("domains", {}).items()}
        return Release(**content, domains=lines)
    except (ValueError, TypeError, AttributeError) as error:
        raise ReleaseError(
            f"release.json cannot be read: {error}",
            where=str(file),
            next_step="remove this release's folder, or restore it from a copy",
        ) from None


def told_lines(release: Release) -> dict[str, dict[str, Any]]:
    """The release's lines for machines: what is in release.json, but for the tables."""
    lines = {name: asdict(line) for name, line in release.lines.items()}
    return {name: {k: v for k, v in line.items() if k != "tables"} for name, line in lines.items()}


def current(settings: Settings) -> Release | None:
    """The release that `current` points at."""
    file = settings.current / "release.json"
    return _read(file) if file.exists() else None


def folder(settings: Settings, release_id: str | None = None) -> Path:
    """The folder of the named release, or of the current one, by its link.

    Raises ReleaseError when there is none.
    """
    if release_id is None:
        if not settings.current.exists():
            raise ReleaseError(
                "nothing is published yet",
                where=str(settings.current),
                next_step="run `clearwater demo` or `clearwater run` first",
            )
        return settings.current
    path = settings.releases / release_id
    if path.name != release_id or not (path / "release.json").exists():
        known = ", ".join(release.id for release in releases(settings)) or "none yet"
        told = f"there is no release {release_id!r}"
        raise UnknownReleaseError(told, next_step=f"releases: {known}")
    return path


def publish(settings: Settings, build: Path, release: Release) -> None:
    """Make the build folder the current release; the last step is one atomic flip."""
    write_atomically(build / "release.json", json.dumps(asdict(release), indent=1) + "\n")
    database = settings.database(build)
    sync(database)
    database.chmod(0o444)
    settings.releases.mkdir(parents=True, exist_ok=True)
    sync(build)
    os.replace(build, settings.releases / release.id)
    sync(settings.releases)
    link_atomically(settings.current, f"releases/{release.id}")


def _held_file(settings: Settings) -> Path:
    return settings.releases / "held.json"


def held_at(settings: Settings) -> str | None:
    """The release that a rollback holds, or None."""
    file = _held_file(settings)
    if not file.exists():
        return None
    return str(json.loads(file.read_text(encoding="utf-8"))["release"])


def rollback(settings: Settings, release_id: str) -> Release:
    """Serve an older release and hold: nothing is published until `resume`.

    The hold is written first, so that no run can publish over a half-done rollback.
    """
    path = folder(settings, release_id)
    held = {"release": release_id, "held_at": datetime.now(UTC).isoformat()}
    write_atomically(_held_file(settings), json.dumps(held) + "\n")
    link_atomically(settings.current, f"releases/{release_id}")
    return _read(path / "release.json")


def resume(settings: Settings) -> bool:
    """Let runs publish again; says whether the line was held."""
    file = _held_file(settings)
    was_held = file.exists()
    file.unlink(missing_ok=True)
    if was_held:
        sync(settings.releases)
    return was_held


def kept(settings: Settings) -> dict[str, str]:
    """The releases that stay, by id, each with why; the others are nobody's any more.

    The newest ones, and whatever is served, held, extended by a build, shown by a held domain, or
    what a feature set was made from that somebody asked for.
    """
    known = releases(settings)
    why: dict[str, list[str]] = {release.id: [] for release in known}

    def needed(release_id: str | None, reason: str) -> None:
        if release_id in why and reason not in why[release_id]:
            why[release_id].append(reason)

    serving = current(settings)
    if serving is not None:
        needed(serving.id, "current")
        for name, line in serving.lines.items():
            if line.held:
                needed(line.release, f"the held domain {name} is as in it")
    needed(held_at(settings), "held after a rollback")
    for file in sorted(settings.builds.glob("*/build.json")):
        base = json.loads(file.read_text(encoding="utf-8"))["base"]
        needed(base, f"base of the build {file.parent.name}")
    for file in sorted(settings.features.glob(f"*/*/{ASKED}")):
        needed(file.parent.name, f"{file.parent.parent.name} was extracted from it by command")
    for release in known[-settings.keep.releases :]:
        needed(release.id, f"one of the newest {settings.keep.releases}")
    return {release_id: "; ".join(reasons) for release_id, reasons in why.items() if reasons}


def prune(settings: Settings) -> list[str]:
    """Remove the releases that nothing keeps. Open readers keep theirs. The lock is held."""
    stays = kept(settings)
    removed = [release.id for release in releases(settings) if release.id not in stays]
    for release_id in removed:
        remove(settings, settings.releases / release_id)
    return removed


def remove(settings: Settings, path: Path) -> None:
    """Remove a folder of the home: it is gone at once, and swept if the process dies meanwhile."""
    doomed = settings.builds / f"removed-{path.name}-{uuid.uuid4().hex}"
    settings.builds.mkdir(parents=True, exist_ok=True)
    os.replace(path, doomed)
    sync(path.parent)
    shutil.rmtree(doomed)


def sweep_builds(settings: Settings, *, keep_newest: bool) -> None:
    """Remove what a killed run left: half-made builds, temporary links, spilled data.

    The caller holds the writer lock, so nobody works on any of it. A complete build, the newest,
    is kept for a stage that takes it up.
    """
    complete = sorted(path.parent for path in settings.builds.glob("*/build.json"))
    kept = complete[-1:] if keep_newest else []
    for path in [*settings.builds.glob("*"), settings.tmp / "spill"]:
        if path not in kept:
            shutil.rmtree(path, ignore_errors=True)
    for path in (settings.home, settings.releases):
        sweep(path)
