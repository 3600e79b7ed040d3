"""What all values of a column say to a type that it may have, by the very casts of the loader."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache

import duckdb

from warehouse.duck import identifier
from warehouse.inference.candidates import Candidate
from warehouse.inference.marks import Marks
from warehouse.inference.shapes import MISSING
from warehouse.readers.casting import Cast, declared_cast
from warehouse.sources import ColumnType, Source

COLUMNS_AT_ONCE = 50  # a query over more takes longer to plan than to run
FORGIVEN_SHARE, FORGIVEN_ROWS = 0.01, 100
BAD_VALUES = 100
ANY_COLUMN = "__clearwater_column"


@dataclass
class Trial:
    """What all values of a column say to a candidate."""

    candidate: Candidate
    filled: int = 0
    bad: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    bad_values: list[tuple[str, int]] = field(default_factory=list)
    facts: tuple[int, ...] = ()  # see _facts
    low: str | None = None
    high: str | None = None

    @property
    def really_bad(self) -> int:
        """The values that do not fit and do not stand for a missing one."""
        return self.bad - sum(self.missing.values())

    @property
    def passes(self) -> bool:
        """Whether all values fit, or so few do not that quarantine is the place for them."""
        return are_few(self.really_bad, self.filled - sum(self.missing.values()))


def are_few(bad: int, filled: int) -> bool:
    """Whether some of the values fit, and all or nearly all of many do."""
    few = filled >= FORGIVEN_ROWS and bad <= FORGIVEN_SHARE * filled
    return filled > 0 and (bad == 0 or few)


def try_all(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    chains: dict[str, list[Candidate]],
    marks: Marks,
) -> dict[str, list[Trial]]:
    """Try each column's candidates one after another until one fits every value.

    All formats of one kind of time are tried, for the best of them wins.
    """
    trials: dict[str, list[Trial]] = {name: [] for name in chains}
    for step in range(max(map(len, chains.values()), default=0)):
        due = {
            name: chain[step]
            for name, chain in chains.items()
            if len(chain) > step and (chain[step].format or not _fits(trials[name]))
        }
        listed = list(due.items())
        for start in range(0, len(listed), COLUMNS_AT_ONCE):
            for name, trial in _try(con, relation, listed[start : start + COLUMNS_AT_ONCE], marks):
                trials[name].append(trial)
    return trials


def _fits(trials: list[Trial]) -> bool:
    return any(trial.really_bad == 0 for trial in trials)


def _try(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    due: list[tuple[str, Candidate]],
    marks: Marks,
) -> Iterator[tuple[str, Trial]]:
    casts = {name: cast(name, candidate, marks) for name, candidate in due}
    inner = ", ".join(
        f"{_of(name, _declared_cast(candidate, marks).text)} as t{i}, {casts[name]} as v{i}"
        for i, (name, candidate) in enumerate(due)
    )
    outer = ", ".join(_facts(i, candidate) for i, (_, candidate) in enumerate(due))
    row = con.execute(f"select {outer} from (select {inner} from {relation})").fetchone()
    assert row is not None
    width = len(row) // len(due)
    for i, (name, candidate) in enumerate(due):
        filled, good, low, high, *facts = row[i * width : (i + 1) * width]
        trial = Trial(candidate, filled, filled - good, facts=tuple(facts), low=low, high=high)
        if trial.bad:
            _look_at_bad(con, relation, name, casts[name], trial)
        yield name, trial


def _facts(i: int, candidate: Candidate) -> str:
    """SQL for a candidate's counts, bounds and four facts, of its values and texts as cast.

    Of integers: values like 007, values like 5.0, longest text, values that are no thousands. Of
    other numbers: most and fewest digits after the point, values with an exponent, values that are
    not numbers. Else zeros.
    """
    facts = ["0"] * 4
    if candidate.type == "BIGINT":
        facts[0] = (
            f"count(*) filter (starts_with(t{i}, '0') and t{i}[2] between '0' and '9'"
            f" and v{i} is not null)"
        )
        facts[1] = f"count(*) filter (contains(t{i}, '.') or starts_with(t{i}, '+'))"
        facts[2] = f"max(strlen(t{i})) filter (v{i} is not null)"
        facts[3] = f"count(*) filter (v{i} % 1000 <> 0)"
    if candidate.type == "DOUBLE":
        at = f"strpos(t{i}, '.')"
        scale = f"if({at} > 0, strlen(t{i}) - {at}, 0)"
        facts[0], facts[1] = (f"{m}({scale}) filter (v{i} is not null)" for m in ("max", "min"))
        facts[2] = f"count(*) filter (contains(lower(t{i}), 'e'))"
        facts[3] = f"count(*) filter (isnan(v{i}))"
    return f"count(t{i}), count(v{i}), min(v{i})::varchar, max(v{i})::varchar, {', '.join(facts)}"


def _look_at_bad(
    con: duckdb.DuckDBPyConnection, relation: str, name: str, sql: str, trial: Trial
) -> None:
    rows = con.execute(
        f"select {identifier(name)}, count(*) from {relation} where {identifier(name)} is not null"
        f" and ({sql}) is null group by 1 order by 2 desc, 1 limit {BAD_VALUES}"
    ).fetchall()
    trial.missing = {value: count for value, count in rows if value.strip() in MISSING}
    trial.bad_values = [(value, count) for value, count in rows if value.strip() not in MISSING]


def cast(name: str, candidate: Candidate, marks: Marks, *, quick: bool = False) -> str:
    """The SQL by which the loader types the column; `quick` if all values are known to fit."""
    found = _declared_cast(candidate, marks)
    # The quick cast of a timestamp drops an offset.
    sql = found.quick if quick and candidate.type != "TIMESTAMP" else found.strict
    return f"({_of(name, sql)})::{candidate.type}"


def _of(name: str, sql: str) -> str:
    return sql.replace(identifier(ANY_COLUMN), identifier(name))


@cache
def _declared_cast(candidate: Candidate, marks: Marks) -> Cast:
    declared = ColumnType.model_construct(type=candidate.type, format=candidate.format)
    source = Source.model_construct(
        columns={ANY_COLUMN: declared}, decimal=marks.decimal, thousands=marks.thousands
    )
    return declared_cast(source, ANY_COLUMN)
