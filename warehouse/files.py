"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path

NUMBERS = re.compile("[0-9]+|[^0-9]+")
# What `temporary` makes of a name.
TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{32}\.tmp")


def in_order(name: str) -> list[str]:
    """A key to sort files' names by: as text, but for numbers, so that 10 is after 9."""
    return [part.zfill(20) if part.isdecimal() else part for part in NUMBERS.findall(name)]


def sync(path: Path) -> None:
    """Make a file's content, or a folder's entries, survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def temporary(target: Path) -> Path:
    """A name beside `target` that nothing else uses and that a start-up sweep recognises."""
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")


def write_atomically(target: Path, text: str) -> None:
    """Write `text` to `target` through a synced temporary file and one rename."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = temporary(target)
    try:
        with part.open("w", encoding="utf-8") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    sync(target.parent)


def link_atomically(link: Path, target: str) -> None:
    """Point the symbolic link `link` at the relative `target` in one step."""
    part = temporary(link)
    os.symlink(target, part)
    try:
        os.replace(part, link)
    finally:
        part.unlink(missing_ok=True)
    sync(link.parent)


def temporary_of(path: Path) -> str:
    """The name that `temporary` named this path for; empty if it named it not."""
    found = TEMPORARY.fullmatch(path.name)
    return found[1] if found else ""


def is_temporary(path: Path) -> bool:
    """Whether the path is named as `temporary` names one."""
    return bool(temporary_of(path))


def left_in(folder: Path) -> list[Path]:
    """The temporary files and folders that a killed process left directly in `folder`."""
    return sorted(filter(is_temporary, folder.glob(".*.tmp")))


def sweep(folder: Path) -> None:
    """Remove the temporary files that a killed process left directly in `folder`."""
    for part in left_in(folder):
        part.unlink(missing_ok=True)
