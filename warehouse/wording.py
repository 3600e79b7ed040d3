"""Words that messages share."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

NEAR = 0.6  # of difflib's ratio; what is less alike is no misspelling
MOST_NAMES = 8


def counted(count: int, noun: str) -> str:
    """The number with its noun, such as `1 row`, `2,000 rows` and `3 batches`."""
    ending = "es" if noun.endswith(("ch", "s", "x")) else "s"
    return f"{count:,} {noun}{ending * (count != 1)}"


def byte_size(count: float) -> str:
    """Bytes in words, such as `512 B`, `1.5 MB` and `20 GB`; a kB is 1000 of them."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def few(items: Sequence[str], *, most: int = 3) -> str:
    """The first items with semicolons, and how many more there are: `a; b; c (and 4 more)`."""
    more = len(items) - most
    return "; ".join(items[:most]) + (f" (and {more:,} more)" if more > 0 else "")


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like this one but for case; empty when none is near."""
    lower = {other.lower(): other for other in known}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=NEAR)
    return lower[near[0]] if near else ""


def known_names(known: Iterable[str], first: str = "") -> str:
    """A few of the known names with commas, the nearest one `first`, and how many more there are.

    Without any: `none`.
    """
    names = list(dict.fromkeys([*filter(None, [first]), *known]))
    more = f" (and {len(names) - MOST_NAMES} more)" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more or "none"


def accept_command(
    name: str, called: str, home: Path | None = None, *, is_undone: bool = False
) -> str:
    """The command that accepts one file, day or run of a source or table, or takes that back."""
    parts = ["clearwater", "accept", name, "--only", called]
    if is_undone:
        parts.append("--undo")
    return shlex.join([*parts, *(["--home", str(home)] if home else [])])
