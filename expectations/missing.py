"""Missing data of a table: where it is, what it depends on, what could be done about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class MissingColumn:
    """How many values of a column are missing; `share` is of all rows."""

    column: str
    missing: int
    share: float


@dataclass(frozen=True)
class MissingPattern:
    """Columns that are missing together in so many rows; no columns: complete rows."""

    columns: tuple[str, ...]
    rows: int
    share: float


@dataclass(frozen=True)
class Dependence:
    """Whether `column` is missing depends on `on`; `p` is corrected for the tests of the table."""

    column: str
    on: str
    test: str
    effect: float
    effect_name: str
    p: float


@dataclass(frozen=True)
class LittleTest:
    """Little's test that values are missing completely at random."""

    statistic: float
    degrees: int
    p: float
    rows: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Imputation:
    """A method's error on `hidden` values that were hidden on purpose, with its interval."""

    column: str
    method: str
    error: float
    error_name: str
    low: float
    high: float
    hidden: int
    is_best: bool


@dataclass(frozen=True)
class TableMissing:
    """The missing data of one table."""

    table: str
    rows: int
    analysed_rows: int
    analysed_at: datetime
    columns: tuple[MissingColumn, ...]
    patterns: tuple[MissingPattern, ...]
    is_monotone: bool
    complete_rows: int
    dependences: tuple[Dependence, ...]
    little: LittleTest | None
    little_note: str
    imputations: tuple[Imputation, ...]
