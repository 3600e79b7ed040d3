"""What a look at files finds, with the evidence for every decision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

FILE = "__clearwater_file"  # the number of a row's file, beside the columns of a relation


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

    `format` is that of a time that is not written as ISO 8601 has it, in the words of sources.yml.
    `minimum`, `maximum` and `examples` are text. `values` are all values of a column of a few
    texts, else empty, and `late_values` says how many of them come in the second half of the rows
    alone. `sample` has some of the different values of texts and whole numbers, of all rows, as
    text. `epoch` is the format of a number that counts since 1970, in a file that
    carries its types. Counts are of the rows looked at; `distinct_count` is approximate above
    200,000 rows.
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
    late_values: int = 0
    bad_count: int = 0
    epoch: str | None = None
    sample: tuple[str, ...] = ()


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
