"""The types that a column of texts may have, as its first values suggest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import duckdb

from warehouse.duck import identifier
from warehouse.inference import words
from warehouse.inference.marks import Marks
from warehouse.inference.result import Notes
from warehouse.inference.shapes import BOOLEAN_WORDS, MISSING, MOSTLY, shape, time_formats

HEAD_ROWS, HEAD_CELLS, HEAD_VALUES = 5000, 500_000, 2000
FEW_VALUES = 20


@dataclass(frozen=True)
class Candidate:
    """A type that a column may have; `format` as sources.yml takes it."""

    type: str
    format: str | None = None


TEXT = Candidate("VARCHAR")


def first_values(
    con: duckdb.DuckDBPyConnection, relation: str, names: list[str]
) -> Iterator[tuple[str, list[str]]]:
    """Different values from the beginning of each column, nulls left out."""
    limit = max(100, min(HEAD_ROWS, HEAD_CELLS // len(names)))
    listed = ", ".join(identifier(name) for name in names)
    rows = con.execute(f"select {listed} from {relation} limit {limit}").fetchall()
    columns: Iterable[tuple[str | None, ...]] = (
        zip(*rows, strict=True) if rows else [()] * len(names)
    )
    for name, column in zip(names, columns, strict=True):
        values = list(dict.fromkeys(value for value in column if value is not None))
        if len(values) < FEW_VALUES and len(rows) == limit:
            found = con.execute(
                f"select distinct {identifier(name)} from {relation}"
                f" where {identifier(name)} is not null limit {HEAD_VALUES}"
            ).fetchall()
            values = sorted(row[0] for row in found)
        yield name, values[:HEAD_VALUES]


def candidates(name: str, values: list[str], marks: Marks, notes: Notes) -> list[Candidate]:
    """The types worth trying on all values, the narrower first; empty for text."""
    filled = [value for value in values if value not in MISSING]
    if not filled:
        return []
    if all(value.lower() in BOOLEAN_WORDS for value in filled):
        return [Candidate("BOOLEAN")] if _is_boolean(name, filled) else []
    if times := _time_candidates(name, filled):
        return times
    return _number_candidates(name, filled, marks, notes)


def _is_boolean(name: str, filled: list[str]) -> bool:
    """Whether words for true and false are meant so: both, or one that cannot mean else."""
    found = {value.lower() for value in filled}
    both = found & {"true", "t", "yes", "y"} and found & {"false", "f", "no", "n"}
    whole = found <= {"true", "false", "yes", "no"}
    return bool(both) or whole or (len(found) > 1 and words.says(name, words.FLAGS))


def _time_candidates(name: str, filled: list[str]) -> list[Candidate]:
    formats = Counter(text for value in filled for text in time_formats(value))
    wide = [text for text, count in formats.items() if count >= MOSTLY * len(filled)]
    if share(filled, "date", "timestamp") >= MOSTLY:
        dates = [Candidate("DATE")] if share(filled, "date") else []
        return [*dates, Candidate("TIMESTAMP"), *(Candidate("TIMESTAMP", f) for f in wide)]
    if share(filled, "time") >= MOSTLY:
        return [Candidate("TIME")]
    if share(filled, "time am/pm") >= MOSTLY:
        return [Candidate("TIME", "%I:%M %p"), Candidate("TIME", "%I:%M:%S %p")]
    needs_name = share(filled, "integer") > 0 or "%Y-%m" in wide
    if wide and (not needs_name or words.says(name, words.TIMES)):
        return [Candidate("TIMESTAMP" if "%M" in f else "DATE", f) for f in wide]
    return []


def _number_candidates(name: str, filled: list[str], marks: Marks, notes: Notes) -> list[Candidate]:
    for oddity in ("percent", "currency"):
        if share(filled, oddity) >= MOSTLY:
            notes.warn(f"column {name} holds {oddity} signs, such as {filled[0]!r}: it stays text")
            return []
    filled = [marks.plain(value) for value in filled]
    if share(filled, "zeros") and share(filled, "zeros", "integer") >= MOSTLY:
        return []
    whole = share(filled, "integer")
    if share(filled, "integer", "decimal", "scientific") < MOSTLY:
        return []
    if words.says(name, words.VERSIONS) and share(filled, "decimal"):
        return []
    if words.is_label(name) and whole >= MOSTLY:
        return []
    # Identifiers like 17850.0 come from programs that know missing values only among floats.
    is_name = words.identifying(name, "") > 0 or words.is_label(name)
    is_whole = is_name and all(re.fullmatch(r"\d+\.0", v) for v in filled)
    return (
        [Candidate("BIGINT"), Candidate("DOUBLE")] if whole or is_whole else [Candidate("DOUBLE")]
    )


def share(values: list[str], *shapes: str) -> float:
    """The share of the values that are not missing and have one of the shapes."""
    filled = [value for value in values if value not in MISSING]
    return sum(shape(value) in shapes for value in filled) / len(filled) if filled else 0.0
