"""A batch: one landed file, or one member of a landed zip, on its way into the lake."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

import duckdb

from warehouse.containers import parts
from warehouse.duck import quoted
from warehouse.landing import Landed, arrivals
from warehouse.settings import Settings
from warehouse.sources import Source


@dataclass(frozen=True)
class Counts:
    """Rows of one or more batches; `deleted` are rows of the lake that a snapshot lacked."""

    rows_in: int = 0
    loaded: int = 0
    quarantined: int = 0
    already_known: int = 0
    refused: int = 0
    deleted: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.rows_in + other.rows_in,
            self.loaded + other.loaded,
            self.quarantined + other.quarantined,
            self.already_known + other.already_known,
            self.refused + other.refused,
            self.deleted + other.deleted,
        )


@dataclass(frozen=True)
class Judged:
    """What the rules of the raw boundary found in one or more batches.

    `rows` are those that rules on rows looked at, `files` those that rules on files did. `broken`
    has, by rule, how many of these break it.
    """

    files: int = 0
    rows: int = 0
    broken: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: Judged) -> Judged:
        return Judged(self.files + other.files, self.rows + other.rows, self.broken + other.broken)


class Withheld(NamedTuple):
    """A row that goes to quarantine whatever it holds, and why.

    `reasons` are all of them where it can have several, `reason` the first.
    """

    row: int
    reason: str
    detail: str | None
    reasons: list[str] | None = None


@dataclass(frozen=True)
class Batch:
    """One landed file on its way into the lake, or the member `part` of a landed zip.

    `refused_before` if the ledger has its refusal. `whole` is false when only its quarantined rows
    are judged again. `withheld` are rows that a decision keeps from loading, by their numbers in a
    file of `withheld_of` rows: where it is read as another number, none is.
    """

    landed: Landed
    source: Source
    run_id: str
    loaded_at: datetime
    part: str | None = None
    refused_before: bool = False
    whole: bool = True
    withheld: tuple[Withheld, ...] = ()
    withheld_of: int | None = None

    @property
    def id(self) -> str:
        """Derived from source and content, never from chance."""
        return batch_id(self.landed, self.part)

    @property
    def file(self) -> str:
        """The original name, with the member's."""
        return batch_file(self.landed, self.part)

    @property
    def where(self) -> str:
        """Source and file, for messages."""
        return f"{self.source.name}: {self.file}"

    @property
    def stamp(self) -> str:
        """SQL for the lake's own columns but `_source_row`: they are the same for all its rows."""
        return (
            f"{quoted(self.id)} as _batch_id, {quoted(self.file)} as _source_file,"
            f" {quoted(self.loaded_at.isoformat())}::timestamp as _loaded_at"
        )


def batch_id(landed: Landed, part: str | None) -> str:
    """The batch of a landed file, or of the member `part` of a landed zip."""
    if part is None:
        return landed.batch_id
    return hashlib.sha256(f"{landed.batch_id}\n{part}".encode()).hexdigest()[:32]


def batch_file(landed: Landed, part: str | None) -> str:
    """What people call a batch: the original name of the file, with the member's."""
    return f"{landed.original_name}/{part}" if part else landed.original_name


@dataclass(frozen=True)
class Loaded:
    """What loading a batch did: its rows, and in words how the table's shape changed.

    `status` is loaded, or landed for what makes no rows. `broken` has, by rule, how many rows break
    it, whatever became of them; 1 for a rule on the file.
    """

    counts: Counts
    told: tuple[str, ...] = ()
    status: str = "loaded"
    broken: Mapping[str, int] = field(default_factory=dict)


class Examiner(Protocol):
    """Compares a batch with those before it; what it is goes beyond loading."""

    def examine(self, con: duckdb.DuckDBPyConnection, batch: Batch, counts: Counts, /) -> list[str]:
        """What is unlike before, in words; the batch is judged, and not written yet.

        Raises BatchRefusedError for a batch that is not to be loaded therefore.
        """

    def loaded(self, batch: Batch, /) -> None:
        """The batch is in the lake."""


Batches = dict[str, tuple[Landed, str | None]]


def landed_batches(settings: Settings) -> Batches:
    """Every batch that landing can give, in the order of arrival, by its id.

    The arrival, and the member of a zip.
    """
    return {
        batch_id(landed, part): (landed, part)
        for landed in arrivals(settings)
        for part in parts(settings, landed)
    }
