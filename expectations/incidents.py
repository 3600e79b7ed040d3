"""Incidents: what is wrong, one for each root cause, with its symptoms."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True)
class Symptom:
    """One thing that shows an incident: a rule that does not hold, a refused batch."""

    rule_id: str
    table: str
    boundary: str
    detail: str


@dataclass(frozen=True)
class Incident:
    """One root cause over the runs in which it was seen; `closed_at` None while it is open."""

    id: str
    title: str
    severity: Literal["critical", "warning"]
    root: str
    opened_at: datetime
    last_seen_at: datetime
    closed_at: datetime | None
    runs: int
    acknowledged_by: str
    acknowledged_at: datetime | None
    note: str
    symptoms: tuple[Symptom, ...]
