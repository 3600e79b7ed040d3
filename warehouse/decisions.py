"""Decisions: what a person decided about quarantined rows, kept in landing beside the bytes.

A decision is written to `landing/decisions/` before the lake's transaction that carries it out,
and that transaction notes it in `meta.decisions`. So a lake made again from landing can do the
same, and one that a killed process left between the two is found: it is *pending*.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import duckdb

from warehouse.batch import Withheld
from warehouse.errors import LakeError
from warehouse.files import sync, write_atomically
from warehouse.settings import Settings

Kind = Literal["replay", "drop"]


@dataclass(frozen=True)
class Decision:
    """To judge rows of a batch again (replay), or to give them up (drop).

    `rows` are the rows meant, with why they were in quarantine; `decided_at` is ISO 8601 in UTC,
    without offset, later than every load before it. `source_fingerprint` is of the definition
    under which rows were judged again; empty where that is not known, and for a drop.
    """

    kind: Kind
    source: str
    batch_id: str
    decided_at: str
    rows: tuple[Withheld, ...]
    source_fingerprint: str = ""

    @property
    def id(self) -> str:
        """Sorts by time."""
        at = datetime.fromisoformat(self.decided_at)
        return f"{at:%Y%m%dT%H%M%S%f}-{self.batch_id[:12]}"

    @property
    def row_numbers(self) -> list[int]:
        """The rows' numbers in their file."""
        return [row.row for row in self.rows]


def _file(settings: Settings, decision: Decision) -> Path:
    return settings.landing / "decisions" / f"{decision.id}.json"


def keep(settings: Settings, decision: Decision) -> None:
    """Write the decision to landing."""
    write_atomically(_file(settings, decision), json.dumps(asdict(decision)) + "\n")


def forget(settings: Settings, decision: Decision) -> None:
    """Remove a decision that was not carried out."""
    file = _file(settings, decision)
    file.unlink(missing_ok=True)
    sync(file.parent)


def note(con: duckdb.DuckDBPyConnection, decision: Decision) -> None:
    """Say in the lake that the decision is carried out; in the transaction that does."""
    con.execute(
        "insert into lake.meta.decisions (decision_id, kind, source, batch_id, decided_at)"
        " values (?, ?, ?, ?, ?)",
        [
            decision.id,
            decision.kind,
            decision.source,
            decision.batch_id,
            datetime.fromisoformat(decision.decided_at),
        ],
    )


def decisions(settings: Settings) -> list[Decision]:
    """Every decision in landing, in the order of their times."""
    return [_read(file) for file in sorted((settings.landing / "decisions").glob("*.json"))]


def _read(file: Path) -> Decision:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        rows = tuple(Withheld(*row) for row in content.pop("rows"))
        return Decision(rows=rows, **content)
    except (ValueError, TypeError, KeyError) as error:
        raise LakeError(
            f"the decision cannot be read: {error}",
            where=str(file),
            next_step="restore the file from a copy, or move it away to give the decision up",
        ) from None


def carried_out(con: duckdb.DuckDBPyConnection) -> set[str]:
    """The ids of the decisions that the lake has carried out."""
    return {row for (row,) in con.execute("select decision_id from lake.meta.decisions").fetchall()}
