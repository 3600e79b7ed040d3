"""What a look at files finds, with the evidence for every decision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

FILE = "__clearwater_file"  # the number of a row's file, beside the columns of a relation


def counted(count: int, noun: str) -> str:
    """The number with its noun, such as `1 row` and `2,000 rows`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


@dataclass(frozen=True)
class Evidence:
    """Why one thing was decided as it was, for a person to judge.

    `about` is what was decided, such as `delimiter`, `column order_date` or `key`.
    """

    about: str
    decision: str
    because: str


@dataclass(frozen=True)
class InferredColumn:
    """A column: its name in the file, its DuckDB type, and what its values are like.

    `format` is the strptime format of a time that is not written as ISO 8601 has it. `minimum`,
    `maximum` and `examples` are text. `values` are all values of a column of a few texts, else
    empty. `epoch` says that an integer counts seconds or milliseconds since 1970. Counts are of
    the rows looked at; `distinct_count` is approximate above 200,000 rows.
    """

    name: str
    type: str
    format: str | None = None
    null_count: int = 0
    distinct_count: int = 0
    minimum: str | None = None
    maximum: str | None = None
    examples: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    bad_count: int = 0
    epoch: Literal["s", "ms"] | None = None


@dataclass(frozen=True)
class Inferred:
    """An entry of sources.yml, as the data suggest it; `options` holds only what is no default."""

    format: str
    options: dict[str, Any]
    columns: tuple[InferredColumn, ...]
    key: tuple[str, ...]
    event_time: str | None
    known_at: str | None
    write: str
    row_count: int
    file_count: int
    rows_looked_at: int
    evidence: tuple[Evidence, ...]
    warnings: tuple[str, ...]


@dataclass
class Notes:
    """Evidence and warnings, as they gather."""

    evidence: list[Evidence] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def decide(self, about: str, decision: str, because: str) -> None:
        """Note a decision."""
        self.evidence.append(Evidence(about, decision, because))

    def warn(self, text: str) -> None:
        """Note what a person should look at; the same only once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def add(self, others: Notes) -> None:
        """Note all that the others hold."""
        self.evidence += others.evidence
        for text in others.warnings:
            self.warn(text)
