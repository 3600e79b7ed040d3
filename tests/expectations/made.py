"""Rules made in a line."""

from __future__ import annotations

from typing import Any

from expectations.rules import Rule


def made_rule(check: Any, table: str, *, rule_id: str = "r", **parts: Any) -> Rule:
    """A critical rule of somebody's on the table, unless `parts` say otherwise."""
    schema = table.partition(".")[0]
    boundary = schema if schema in ("marts", "features") else "raw"
    told = {"severity": "critical", "owner": "me", "reason": "because"} | parts
    return Rule(id=rule_id, boundary=boundary, table=table, check=check, **told)  # type: ignore[arg-type]
