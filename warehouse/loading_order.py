"""The order in which sources are loaded: what a rule looks up is loaded before who looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

from warehouse.sources import Source


def ranks(sources: Sequence[Source]) -> dict[str, int]:
    """By name: how long the longest chain of references from each source is, 0 without any.

    A source is ranked after those that its rules look into. Of sources that look into each other
    one that is declared earlier is loaded earlier.
    """
    by_table = {f"{s.schema_name}.{s.table_name}".lower(): s.name for s in sources}
    looked_up = {
        source.name: {
            name
            for rule in source.row_rules
            if (name := by_table.get(rule.references.lower())) and name != source.name
        }
        for source in sources
    }
    reached = {name: _reached(looked_up, name) for name in looked_up}
    declared = {name: n for n, name in enumerate(looked_up)}

    @cache
    def rank(name: str) -> int:
        before = (
            other
            for other in looked_up[name]
            if name not in reached[other] or declared[other] < declared[name]
        )
        return max((rank(other) + 1 for other in before), default=0)

    return {name: rank(name) for name in looked_up}


def _reached(edges: Mapping[str, set[str]], start: str) -> set[str]:
    """All that `start` leads to."""
    found: set[str] = set()
    due = [start]
    while due:
        new = edges[due.pop()] - found
        found |= new
        due += new
    return found
