"""The typed rows, and what their columns are like: counts, bounds, examples."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import duckdb

from warehouse.duck import identifier, quoted
from warehouse.inference.decisions import Decision
from warehouse.inference.result import FILE, InferredColumn, Notes
from warehouse.inference.trials import COLUMNS_AT_ONCE, cast
from warehouse.inference.types import Typing
from warehouse.wording import counted

EXACT_ROWS = 200_000
FEW_VALUES = 20
EXAMPLES, EXAMPLE_ROWS = 5, 100
SAMPLE_VALUES, SAMPLE_CHARACTERS = 200, 300
SAMPLED = re.compile(r"VARCHAR|U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?")
TYPED = "typed"
FLOATS = ("FLOAT", "DOUBLE")
WORDY = ("STRUCT", "MAP", "UNION", "ENUM")


def write_typed(
    con: duckdb.DuckDBPyConnection, relation: str, typing: Typing, *, with_file: bool
) -> None:
    """Make the table TYPED: nulls are nulls, values of their types, what does not fit null."""
    nulls = ", ".join(quoted(word) for word in typing.nulls)
    texts, casts = [], []
    for name, decision in typing.columns.items():
        column = identifier(name)
        texts.append(f"if({column} in ({nulls}), null, {column}) as {column}" if nulls else column)
        all_fit = not decision.bad_count
        sql = cast(name, decision.candidate, typing.marks, quick=all_fit)
        casts.append(f"{sql} as {column}")
    file = f", {FILE}" if with_file else ""
    con.execute(
        f"create or replace table {TYPED} as select {', '.join(casts)}{file}"
        f" from (select {', '.join(texts)}{file} from {relation})"
    )


def described(
    con: duckdb.DuckDBPyConnection, relation: str, columns: dict[str, Decision], row_count: int
) -> tuple[InferredColumn, ...]:
    """The columns with their counts, bounds and examples."""
    names = list(columns)
    count = "count(distinct {0})" if row_count <= EXACT_ROWS else "approx_count_distinct({0})"
    facts = _aggregated(
        con,
        relation,
        names,
        f"{{'f': count({{0}}), 'd': {count}, 'l': min({{0}})::varchar, 'h': max({{0}})::varchar}}",
    )
    filled = [name for name in names if facts[name]["f"]]
    few = [
        name
        for name in filled
        if columns[name].candidate.type == "VARCHAR" and facts[name]["d"] <= FEW_VALUES
    ]
    values = _aggregated(
        con, relation, few, "list_sort(list(distinct {0}) filter ({0} is not null))"
    )
    half = f"(select * from {relation} limit {row_count // 2})"
    for name, early in _aggregated(con, half, few, "count(distinct {0})").items():
        facts[name]["late"] = len(values[name]) - early
    telling = [name for name in filled if SAMPLED.fullmatch(columns[name].candidate.type)]
    samples = _samples(con, relation, {name: facts[name]["d"] for name in telling})
    listed = ", ".join(f"{identifier(name)}::varchar" for name in names)
    head = con.execute(f"select {listed} from {relation} limit {EXAMPLE_ROWS}").fetchall()
    examples = {
        name: tuple(dict.fromkeys(row[i] for row in head if row[i] is not None))[:EXAMPLES]
        for i, name in enumerate(names)
    }
    found = (
        _column(name, columns[name], facts[name], values.get(name, []), examples[name], row_count)
        for name in names
    )
    return tuple(replace(column, sample=samples.get(column.name, ())) for column in found)


def _samples(
    con: duckdb.DuckDBPyConnection, relation: str, distinct: dict[str, int]
) -> dict[str, tuple[str, ...]]:
    """About SAMPLE_VALUES of the different values of each column, chosen by their hashes."""
    steps: dict[int, list[str]] = {}
    for name, count in distinct.items():
        # Powers of two, so that few queries do for many columns.
        steps.setdefault(1 << (max(count // SAMPLE_VALUES, 1).bit_length() - 1), []).append(name)
    found: dict[str, tuple[str, ...]] = {}
    for step, names in steps.items():
        text = f"left({{0}}::varchar, {SAMPLE_CHARACTERS})"
        sql = f"list(distinct {text}) filter ({{0}} is not null and hash({{0}}) % {step} = 0)"
        some = _aggregated(con, relation, names, sql)
        found |= {name: tuple(sorted(values or ())) for name, values in some.items()}
    return found


def _aggregated(
    con: duckdb.DuckDBPyConnection, relation: str, names: list[str], sql: str
) -> dict[str, Any]:
    """The aggregate `sql`, in which {0} is the column, of each column."""
    found: dict[str, Any] = {}
    for start in range(0, len(names), COLUMNS_AT_ONCE):
        some = names[start : start + COLUMNS_AT_ONCE]
        parts = ", ".join(sql.replace("{0}", identifier(name)) for name in some)
        row = con.execute(f"select {parts} from {relation}").fetchone()
        assert row is not None
        found |= dict(zip(some, row, strict=True))
    return found


def _column(
    name: str,
    decision: Decision,
    facts: dict[str, Any],
    values: list[str],
    examples: tuple[str, ...],
    row_count: int,
) -> InferredColumn:
    kind = decision.candidate.type
    return InferredColumn(
        name=name,
        type=kind if kind.startswith(WORDY) else kind.lower(),
        format=decision.candidate.format,
        null_count=row_count - facts["f"] - decision.bad_count,
        distinct_count=len(values) or min(facts["d"], facts["f"]),
        minimum=facts["l"],
        maximum=facts["h"],
        examples=examples or tuple(values[:EXAMPLES]),
        values=tuple(values),
        late_values=facts.get("late", 0),
        bad_count=decision.bad_count,
    )


def warn_of_nans(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    columns: Sequence[InferredColumn],
    cure: str,
    notes: Notes,
) -> None:
    """Warn of NaN among floats, and of the `cure` where there is one."""
    floats = [c.name for c in columns if c.type.upper() in FLOATS]
    sql = "count(*) filter (isnan({0}))"
    for name, count in _aggregated(con, relation, floats, sql).items():
        if count:
            notes.warn(
                f"column {name}: {counted(count, 'value')} {'is' if count == 1 else 'are'} NaN,"
                f" which makes every sum and average NaN{cure}"
            )


def tell_of_empty(columns: Sequence[InferredColumn], notes: Notes) -> None:
    """Say in the columns' evidence how many of their values are missing."""
    empty = {f"column {c.name}": c.null_count for c in columns if c.null_count}
    notes.evidence = [
        replace(told, because=f"{told.because}; {empty[told.about]:,} empty")
        if told.about in empty
        else told
        for told in notes.evidence
    ]
