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
from collections.abc import Iterator
from dataclasses import MISSING, asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import UnionType
from typing import Any, get_origin, get_type_hints

from warehouse.domains import MAIN, Line
from warehouse.errors import ReleaseError, UnknownReleaseError
from warehouse.files import link_atomically, sweep, sync, write_atomically
from warehouse.settings import Settings
from warehouse.wording import few

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
    if newest := max(release_ids(settings), default=""):
        last = datetime.strptime(newest[:ID_LENGTH], ID_FORMAT)  # noqa: DTZ007 - UTC, as `now`
        now = max(now, last + timedelta(microseconds=1))
    return now.strftime(ID_FORMAT)


def release_ids(settings: Settings) -> list[str]:
    """The ids of the releases on disk, oldest first, also of those that cannot be read.

    Whatever else lies in `releases/` is somebody's own.
    """
    found = (file.parent.name for file in settings.releases.glob("*/release.json"))
    return sorted(name for name in found if RELEASE_ID.fullmatch(name))


def releases(settings: Settings) -> list[Release]:
    """Every release on disk that can be read, oldest first."""
    return [found for found in _all(settings).values() if isinstance(found, Release)]


def unreadable(settings: Settings) -> dict[str, ReleaseError]:
    """What is wrong with each release on disk whose release.json cannot be read, by its id."""
    found = _all(settings)
    return {name: what for name, what in found.items() if isinstance(what, ReleaseError)}


def _all(settings: Settings) -> dict[str, Release | ReleaseError]:
    found: dict[str, Release | ReleaseError] = {}
    for name in release_ids(settings):
        try:
            found[name] = release_at(settings, name)
        except ReleaseError as error:
            found[name] = error
    return found


def release_at(settings: Settings, release_id: str) -> Release:
    """The release with this id. Raises ReleaseError when it is not there, or cannot be read."""
    file = folder(settings, release_id) / "release.json"
    release = _read(file)
    if release.id != release_id:
        raise _unreadable(file, f"it is that of release {release.id}")
    return release


def _read(file: Path) -> Release:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(file, str(getattr(error, "strerror", None) or error)) from None
    if told := _misfit(Release, content):
        raise _unreadable(file, told)
    lines = content.pop("domains", {})
    for name, line in lines.items():
        if told := _misfit(Line, line):
            raise _unreadable(file, f"domain {name}: {told}")
    return Release(**content, domains={name: Line(**line) for name, line in lines.items()})


def _misfit(kind: type, content: Any) -> str:
    """Why this is not the content of the dataclass; empty if it is."""
    if not isinstance(content, dict):
        return "it is no JSON object"
    known = fields(kind)
    needed = {f.name for f in known if f.default is MISSING and f.default_factory is MISSING}
    if more := sorted(content.keys() - {f.name for f in known}):
        return f"this version does not know {few(more)}; a newer one may have written it"
    if lacking := sorted(needed - content.keys()):
        return f"it lacks {few(lacking)}"
    hints = get_type_hints(kind)
    kinds = {
        name: hint if isinstance(hint, UnionType) else get_origin(hint) or hint
        for name, hint in hints.items()
    }
    wrong = sorted(name for name, value in content.items() if not isinstance(value, kinds[name]))
    return f"{few(wrong)} is not what it should be" if wrong else ""


def _unreadable(file: Path, why: str) -> ReleaseError:
    return ReleaseError(
        f"release.json cannot be read: {why}",
        where=str(file),
        next_step="put it back from a copy; or serve another release (`clearwater releases`,"
        " `clearwater rollback ID`) if this one is served, and move its folder away",
    )


def told_lines(release: Release) -> dict[str, dict[str, Any]]:
    """The release's lines for machines: what is in release.json, but for the tables."""
    lines = {name: asdict(line) for name, line in release.lines.items()}
    return {name: {k: v for k, v in line.items() if k != "tables"} for name, line in lines.items()}


def served_id(settings: Settings) -> str | None:
    """The id that `current` leads to, whether or not that release can be read."""
    return settings.current.resolve().name if settings.current.exists() else None


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
    if not RELEASE_ID.fullmatch(release_id) or not (path / "release.json").exists():
        known = ", ".join(release_ids(settings)) or "none yet"
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
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["release"])
    except (ValueError, TypeError, KeyError):
        raise ReleaseError(
            "which release is held cannot be read",
            where=str(file),
            next_step="hold it again with `clearwater rollback ID`, or go on with `clearwater"
            " resume`",
        ) from None


def rollback(settings: Settings, release_id: str) -> Release:
    """Serve an older release and hold: nothing is published until `resume`.

    The hold is written first, so that no run can publish over a half-done rollback.
    """
    release = release_at(settings, release_id)
    held = {"release": release_id, "held_at": datetime.now(UTC).isoformat()}
    write_atomically(_held_file(settings), json.dumps(held) + "\n")
    link_atomically(settings.current, f"releases/{release_id}")
    return release


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
    what a feature set was made from that somebody asked for. One that cannot be read stays; all do
    while the one that is served cannot be read, for that may need any of them.
    """
    why: dict[str, list[str]] = {name: [] for name in release_ids(settings)}
    for name, reason in _needs(settings):
        if name in why and reason not in why[name]:
            why[name].append(reason)
    return {name: "; ".join(reasons) for name, reasons in why.items() if reasons}


def _needs(settings: Settings) -> Iterator[tuple[str | None, str]]:
    """The releases that something needs, and what that is; some may be gone."""
    known, torn = release_ids(settings), unreadable(settings)
    yield from ((name, error.what) for name, error in torn.items())
    try:
        serving = current(settings)
    except ReleaseError:
        yield from ((name, "what the release served needs cannot be read") for name in known)
        return
    if serving is not None:
        yield serving.id, "current"
        for name, line in serving.lines.items():
            if line.held:
                yield line.release, f"the held domain {name} is as in it"
    yield held_at(settings), "held after a rollback"
    for file in sorted(settings.builds.glob("*/build.json")):
        base = json.loads(file.read_text(encoding="utf-8"))["base"]
        yield base, f"base of the build {file.parent.name}"
    for file in sorted(settings.features.glob(f"*/*/{ASKED}")):
        yield file.parent.name, f"{file.parent.parent.name} was extracted from it by command"
    for name in [name for name in known if name not in torn][-settings.keep.releases :]:
        yield name, f"one of the newest {settings.keep.releases}"


def prune(settings: Settings) -> list[str]:
    """Remove the releases that nothing keeps. Open readers keep theirs. The lock is held."""
    stays = kept(settings)
    removed = [name for name in release_ids(settings) if name not in stays]
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
