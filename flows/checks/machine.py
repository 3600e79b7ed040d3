"""Checks of what the project stands on: folders and their rights, disk, clock, packages."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shlex
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flows.checks.findings import CautionError, Entry, Found, Look
from warehouse.errors import ClearwaterError
from warehouse.releases import release_ids
from warehouse.settings import PROJECT, Settings
from warehouse.wording import byte_size, counted, few

# What has to be of the very version that the others were made for.
ENGINES = ("duckdb", "dbt-core", "dbt-duckdb", "great-expectations", "prefect", "sqlalchemy")
EXTENSIONS = ("ducklake", "sqlite_scanner", "httpfs", "avro")
LOCKED = re.compile(r"^([a-z0-9-]+)==(\S+)", re.M)
# Files that are written in place; every other is there whole or not at all, and never changed.
IN_PLACE = re.compile(
    r"(state\.db|writer\.lock|lake/catalog\.sqlite|landing/[^/]+\.ndjson)(-wal|-shm)?"
)
LEAST_FREE = 0.05
BUILDS_FREE = 2  # a build copies the release that it starts from, and grows
FIRST_YEAR, LAST_YEAR = 2026, 2100
CLOCK_SLACK = timedelta(minutes=1)
A_ZONE = "America/Sao_Paulo"


def settings(look: Look) -> Found:
    """What is set; `examine` makes no check where that cannot be read."""
    told = look.settings
    return f"{told.home}, {told.memory_limit} and {told.threads} threads", []


def home(look: Look) -> Found:
    """Whether we may read and write what the next run will."""
    place = look.settings.home
    there = existing(place)
    if not os.access(there, os.W_OK | os.X_OK):
        raise ClearwaterError(
            "the home cannot be written" if there == place else "the home cannot be made here",
            where=str(there),
            next_step="give yourself the right to write there, or choose another --home",
        )
    if there != place:
        return "not there yet; it can be made", []
    wrong: list[ClearwaterError] = []
    if closed := closed_to_us(look.tree):
        wrong.append(
            ClearwaterError(
                f"{counted(len(closed), 'file')} of ours without the rights that a run needs:"
                f" {few(list(closed))}",
                where=str(place),
                next_step="run `clearwater doctor --fix`, which gives them back",
            )
        )
    return "can be read and written", [*wrong, *_of_others(look)]


def existing(place: Path) -> Path:
    """The place, or the nearest folder above it that is there."""
    return next(above for above in (place, *place.parents) if above.exists())


def closed_to_us(tree: Mapping[str, Entry]) -> dict[str, int]:
    """Our own files and folders without the rights that a run needs, with the mode they need."""
    ours = {name: entry for name, entry in tree.items() if entry.owner == os.geteuid()}
    return {
        name: stat.S_IMODE(entry.mode) | needed
        for name, entry in ours.items()
        if entry.mode & (needed := _needed(name, entry)) != needed
    }


def _needed(name: str, entry: Entry) -> int:
    """The owner's rights without which a run fails; none for links and sockets."""
    if entry.is_folder:
        return stat.S_IRWXU
    if not entry.is_file:
        return 0
    return stat.S_IRUSR | (stat.S_IWUSR if IN_PLACE.fullmatch(name) else 0)


def _of_others(look: Look) -> Iterator[ClearwaterError]:
    """What belongs to others: an error where we cannot use it, else told if they are several."""
    place, tree = look.settings.home, look.tree
    us, owner = os.geteuid(), tree["."].owner
    others = {name: entry for name, entry in tree.items() if entry.owner != us}
    asked = shlex.quote(str(place))
    if closed := [name for name, entry in others.items() if not _is_open(place / name, entry)]:
        yield ClearwaterError(
            f"{counted(len(closed), 'file')} of other users that we may not use: {few(closed)}",
            where=str(place),
            next_step=f"sudo chown -R {us} {asked}",
        )
    elif strays := [name for name, entry in tree.items() if entry.owner != owner]:
        yield CautionError(
            f"{counted(len(strays), 'file')} not of the home's owner (user {owner}), who may fail"
            f" to change them: {few(strays)}",
            where=str(place),
            next_step=f"sudo chown -R {owner} {asked}, and run as that user alone",
        )


def _is_open(path: Path, entry: Entry) -> bool:
    """Whether we may use what belongs to somebody else as a run does."""
    if entry.is_folder:
        return os.access(path, os.R_OK | os.W_OK | os.X_OK)
    if not entry.is_file:
        return True
    return os.access(path, os.R_OK)


def disk(look: Look) -> Found:
    """Whether the next build fits: twice the last one, and a twentieth of the disk besides."""
    place = existing(look.settings.home)
    used, files = shutil.disk_usage(place), os.statvfs(place)
    wanted = BUILDS_FREE * _newest_build(look.settings)
    told = f"{byte_size(used.free)} free of {byte_size(used.total)}"
    wrong: list[ClearwaterError] = []
    if used.free < wanted or used.free < LEAST_FREE * used.total:
        needs = f"; the next build may take {byte_size(wanted)}" if used.free < wanted else ""
        wrong.append(
            CautionError(
                f"only {told}{needs}",
                where=str(place),
                next_step="`clearwater prune` shows what can go; or move the home to another disk",
            )
        )
    if files.f_files and files.f_favail < LEAST_FREE * files.f_files:
        wrong.append(
            CautionError(
                f"only {files.f_favail:,} of {files.f_files:,} files (inodes) are left",
                where=str(place),
                next_step="remove small files from this disk, or move the home to another",
            )
        )
    return told, wrong


def _newest_build(settings: Settings) -> int:
    """The bytes of the newest release's tables; 0 without one."""
    newest = release_ids(settings)[-1:]
    files = [settings.database(settings.releases / name) for name in newest]
    return sum(file.stat().st_size for file in files if file.exists())


def clock(look: Look) -> Found:
    """Whether the time is plausible: later than all that happened; and whether zones are known."""
    now = datetime.now(UTC)
    wrong: list[ClearwaterError] = []
    step = "set the clock (`timedatectl set-ntp true`), then look again"
    if not FIRST_YEAR <= now.year < LAST_YEAR:
        wrong.append(
            ClearwaterError(f"the clock says {_minute(now)}", where="clock", next_step=step)
        )
    what, newest = max(look.moments.items(), key=lambda item: item[1], default=("", now))
    if newest > now + CLOCK_SLACK:
        wrong.append(
            ClearwaterError(
                f"the clock says {_minute(now)}, but {what} is of {_minute(newest)}",
                where="clock",
                next_step=f"{step}; until it comes there, news bear the time of what is known",
            )
        )
    try:
        ZoneInfo(A_ZONE)
    except (ZoneInfoNotFoundError, OSError, ValueError):
        wrong.append(
            ClearwaterError(
                "there is no time zone data, which schedules need",
                where="clock",
                next_step="install the system's package tzdata",
            )
        )
    return _minute(now), wrong


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def versions(_look: Look) -> Found:
    """Whether the packages are those of the lock file."""
    lock = PROJECT / "requirements.lock"
    locked = dict(LOCKED.findall(lock.read_text(encoding="utf-8"))) if lock.exists() else {}
    wrong: list[ClearwaterError] = []
    for name in ENGINES:
        installed = installed_version(name)
        if installed is None or locked.get(name, installed) != installed:
            wrong.append(
                ClearwaterError(
                    f"{name} {locked.get(name, '')} is locked, but {installed or 'none'} installed",
                    where=str(lock),
                    next_step="run `make setup` to install the locked packages again",
                )
            )
    return ", ".join(f"{name} {installed_version(name)}" for name in ENGINES), wrong


def installed_version(name: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def extensions(look: Look) -> Found:
    """Whether DuckDB loads what the lake needs, without the network, and knows its signature."""
    import duckdb

    from warehouse.duck import extension_file, limits, quoted

    wrong: list[ClearwaterError] = []
    signed = limits(look.settings) | {"allow_unsigned_extensions": False}
    with closing(duckdb.connect(config=signed)) as con:
        for name in EXTENSIONS:
            try:
                con.execute(f"load {quoted(extension_file(name))}")
            except ClearwaterError as error:
                wrong.append(error)
            except duckdb.Error as error:
                wrong.append(
                    ClearwaterError(
                        f"DuckDB cannot load its extension: {first_line(error)}",
                        where=name,
                        next_step="run `make setup` to install the locked packages again",
                    )
                )
    return f"{', '.join(EXTENSIONS)} load", wrong


def first_line(error: Exception) -> str:
    """What an error says, without what follows the first line."""
    return str(error).strip().partition("\n")[0]
