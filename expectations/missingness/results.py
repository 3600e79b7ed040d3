"""What an analysis of missing values tells. Nothing here holds a value of the table itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

SHOWN_NAMES = 10


@dataclass(frozen=True)
class MissingColumn:
    """A column that lacks values: in how many rows, and in which share of them (0 to 1)."""

    column: str
    missing: int
    share: float


@dataclass(frozen=True)
class MissingPattern:
    """The rows in which exactly these columns lack a value; no columns: the complete rows."""

    columns: tuple[str, ...]
    rows: int
    share: float


@dataclass(frozen=True)
class Dependence:
    """Whether `column` is missing depends on `on`, by a test and the size of the effect.

    `p` is corrected for all tests on the table (Holm). `effect` is 0 where nothing depends and at
    most 1 in size; a positive rank-biserial means greater values of `on` where `column` is missing.
    """

    column: str
    on: str
    test: str
    effect: float
    effect_name: str
    p: float


@dataclass(frozen=True)
class LittleTest:
    """Little's test that all values are missing completely at random: a chi-square."""

    statistic: float
    degrees: int
    p: float
    rows: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Imputation:
    """How far a method misses values that were hidden from it, with its 95 % interval.

    `error` is in standard deviations of the column (NRMSE), or the share of wrong categories.
    `hidden` counts the hidden values over all repeats.
    """

    column: str
    method: str
    error: float
    error_name: str
    low: float
    high: float
    hidden: int
    is_best: bool


@dataclass(frozen=True)
class Basis:
    """What the table was like when its tests were made: they hold while little has changed.

    `schema` is a hash of the columns, their types, and what may be read of them; no hash: no test
    has been made yet.
    """

    schema: str = ""
    rows: int = 0
    columns: tuple[MissingColumn, ...] = ()


@dataclass(frozen=True)
class TableMissing:
    """What is missing from one table.

    `rows`, `columns`, `patterns` (the 20 most frequent), `is_monotone` and `complete_rows` are
    counted on all rows, each time. Tests and imputations come from a sample of `analysed_rows`
    rows, taken at `analysed_at`; where that is 0 there was no time for them yet, since then.
    `notes` say what listwise deletion would change, and what was left out and why.
    """

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
    notes: tuple[str, ...] = ()
    basis: Basis = Basis()


def some(names: Sequence[str]) -> str:
    """The names in a sentence: the first ten, and how many more there are."""
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more
