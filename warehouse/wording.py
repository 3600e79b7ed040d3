"""Words that messages share."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """The number with its noun, such as `1 row`, `2,000 rows` and `3 batches`."""
    ending = "es" if noun.endswith(("ch", "s", "x")) else "s"
    return f"{count:,} {noun}{ending * (count != 1)}"
