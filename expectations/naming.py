"""What the names of a source's files tell: of which day each is, and which one mends another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

_DATE = re.compile(r"(?<!\d)(20\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d)")
# Where more of the files than this come again under their names, a day grows, and is not mended.
MOST_MENDED = 0.2


def named_date(file: str) -> datetime | None:
    """The date in a file's name, as in orders-2026-09-30.csv; None where it has none."""
    found = _DATE.findall(file)
    if not found:
        return None
    try:
        return datetime(*(int(part) for part in found[-1]))  # type: ignore[arg-type]  # noqa: DTZ001
    except ValueError:
        return None


def mended_by(file: str, files: Mapping[str, str]) -> set[str]:
    """The batches, of `files` by batch, that a new file of this name takes the place of.

    They have the name of the one day with it. None are where that is nothing out of the ordinary.
    """
    if named_date(file) is None or not _is_seldom(files):
        return set()
    return {batch for batch, name in files.items() if name == file}


def newest(files: Mapping[str, str]) -> set[str]:
    """The batches that no later one, in the order of `files`, took the place of."""
    if not _is_seldom(files):
        return set(files)
    by_name = {batch if named_date(name) is None else name: batch for batch, name in files.items()}
    return set(by_name.values())


def _is_seldom(files: Mapping[str, str]) -> bool:
    """Whether hardly a name comes again."""
    return len(files) - len(set(files.values())) <= MOST_MENDED * len(files)
