"""The rules: what must be true of each table, and the words that say it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field, fields
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

Boundary = Literal["raw", "marts", "features"]
Check = Literal[
    "not_null",
    "unique",
    "between",
    "in_set",
    "length",
    "regex",
    "references",
    "expression",
    "row_count",
    "distinct_count",
    "aggregate",
    "freshness",
    "total",
    "columns",
    "volume",
    "null_share",
    "drift",
    "anomaly",
]
Severity = Literal["critical", "warning", "info"]
Bound = int | float | date
Value = Bound | str

# What a gate reads; raw rules judge rows and files when they are loaded.
PUBLISHED: tuple[Boundary, ...] = ("marts", "features")
RAW_CHECKS: tuple[Check, ...] = (
    "not_null",
    "between",
    "in_set",
    "length",
    "regex",
    "references",
    "expression",
    "volume",
    "null_share",
    "drift",
    "anomaly",
)
# Compared with what was before: at the raw boundary a file with earlier files.
LEARNED = frozenset({"volume", "null_share", "drift", "anomaly"})
MEASURES = ("psi", "ks", "js")
CHECKS: tuple[Check, ...] = get_args(Check)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
ROW_LEVEL = frozenset({"not_null", "unique", "between", "in_set", "length", "regex", "expression"})

FILE_KEYS = ("table", "owner", "rules")
COMMON_KEYS = ("id", "check", "severity", "reason")
CHECK_KEYS: Mapping[str, tuple[str, ...]] = {
    "not_null": ("column", "columns", "mostly"),
    "unique": ("column", "columns"),
    "between": ("column", "min", "max", "strict_min", "strict_max", "mostly"),
    "in_set": ("column", "values", "mostly"),
    "length": ("column", "min", "max", "mostly"),
    "regex": ("column", "pattern", "mostly"),
    "references": ("column", "columns", "references_table", "references_columns", "mostly"),
    "expression": ("expression", "mostly"),
    "row_count": ("min", "max", "equals_table"),
    "distinct_count": ("column", "columns", "min", "max"),
    "aggregate": ("expression", "min", "max", "strict_min", "strict_max"),
    "freshness": ("column", "max_age"),
    "total": ("expression", "equals", "equals_table"),
    "columns": ("columns", "ordered"),
    "volume": ("by", "false_alarm_rate"),
    "null_share": ("column", "columns", "max", "by", "false_alarm_rate"),
    "drift": (
        "column",
        "columns",
        "measure",
        "max",
        "reference_table",
        "by",
        "false_alarm_rate",
    ),
    "anomaly": ("columns", "by", "false_alarm_rate"),
}
# What only speaks of published tables.
PUBLISHED_KEYS = ("mostly", "by", "reference_table")
# What only raw rules on single rows say.
RAW_KEY = "tolerance"
WHOLE_BOUNDS = ("row_count", "distinct_count", "length")
MAX_AGE = re.compile(r"(\d+(?:\.\d+)?) (minute|hour|day|week)s?")
_UNHASHED = frozenset({"owner", "reason", "file", "line"})
# An expression with one of these can change its mind about a row that has not changed.
_LOOKS_ELSEWHERE = re.compile(r"\b(select|now|today|current_\w+|random|uuid)\b", re.IGNORECASE)
# What makes an aggregate another one as time goes by.
_CLOCK = re.compile(
    r"\b(now|today|get_current_\w+|transaction_timestamp|age)\s*\("
    r"|\b(current_(date|time|timestamp|localtime|localtimestamp)|localtime|localtimestamp)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Rule:
    """One thing that must be true of one published table.

    A bound is a value, or SQL over the row's columns: `minimum_sql`, `maximum_sql`. `expression`
    is a row's condition, or an aggregate. `column_types` are the exact names and DuckDB types of a
    `columns` check. `mostly` is the least share of rows that must hold. `equals` is the aggregate
    over `equals_table`. `max_age` is an SQL interval. `tolerance` is the share of a raw batch's
    rows that may break the rule. `by` is the column by whose days the table is compared with its
    own past, else it is by runs; `measure` how distributions are; `false_alarm_rate` how often
    that may be an alarm when nothing is wrong. `file`, from the project's folder on, and
    `line` are where it is written.
    """

    id: str
    boundary: Boundary
    table: str
    check: Check
    severity: Severity
    owner: str
    reason: str
    columns: tuple[str, ...] = ()
    minimum: Bound | None = None
    maximum: Bound | None = None
    minimum_sql: str = ""
    maximum_sql: str = ""
    strict_min: bool = False
    strict_max: bool = False
    values: tuple[Value, ...] = ()
    expression: str = ""
    equals: str = ""
    equals_table: str = ""
    pattern: str = ""
    references_table: str = ""
    references_columns: tuple[str, ...] = ()
    max_age: str = ""
    column_types: tuple[tuple[str, str], ...] = ()
    ordered: bool = False
    mostly: float = field(default=1.0)
    tolerance: float | None = None
    by: str = ""
    measure: str = ""
    reference_table: str = ""
    false_alarm_rate: float | None = None
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)

    @property
    def where(self) -> str:
        """File and line, for people."""
        return f"{self.file}, line {self.line}"

    @cached_property
    def hash(self) -> str:
        """A digest of everything that decides the outcome: owner and reason do not.

        What a rule does not use is left out, so that a new kind of check changes no digest.
        """
        said = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _UNHASHED}
        parts = {
            name: value
            for name, value in said.items()
            if value is not None and value is not False and value not in ("", ())
        }
        text = json.dumps(parts, sort_keys=True, default=str, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def lake_table(self) -> str:
        """The table of the lake that a rule on a published one looks into; empty if none."""
        if self.boundary == "raw":
            return ""
        others = (self.references_table, self.equals_table)
        return next((name for name in others if is_of_lake(name)), "")

    @property
    def is_learned(self) -> bool:
        """Whether what is usual decides, not a bound that is written down."""
        if self.check == "freshness":
            return not self.max_age
        fixed = self.check == "null_share" and self.maximum is not None
        return self.check in LEARNED and not fixed and not self.reference_table

    @property
    def looks_at_clock(self) -> bool:
        """Whether a value of the table as a whole may break the rule just because time goes by.

        What is learnt does not count: it is compared with runs that brought something.
        """
        if self.check == "freshness":
            return not self.is_learned
        return self.check == "aggregate" and bool(_CLOCK.search(self.expression))

    @property
    def is_row_level(self) -> bool:
        """Whether the rule can be decided from the changed rows alone.

        A share of the whole table cannot, nor can an expression that looks at other rows or at
        the clock.
        """
        sql = f"{self.expression} {self.minimum_sql} {self.maximum_sql}"
        looks_elsewhere = bool(_LOOKS_ELSEWHERE.search(sql))
        return self.check in ROW_LEVEL and self.mostly >= 1 and not looks_elsewhere


def is_of_lake(table: str) -> bool:
    """Whether the table, a dotted name, is one that a source fills: `raw_<group>.<dataset>`."""
    return table.startswith("raw_")


def keys_of(check: Check, *, is_raw: bool) -> list[str]:
    """The keys that a rule of this check may have at that boundary, besides those of every rule."""
    if not is_raw:
        return list(CHECK_KEYS[check])
    own = [key for key in CHECK_KEYS[check] if key not in PUBLISHED_KEYS]
    return own if check in LEARNED else [*own, RAW_KEY]
