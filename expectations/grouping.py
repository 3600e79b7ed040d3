"""How rows go together by the codes that they carry: by customer, by receipt, by product.

A column of codes may look as it always did while its rows do not belong to it any more. What is
measured here moves when rows are lost from baskets, booked again, or shuffled. No code is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.duck import identifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import duckdb

    from expectations.profiling import Field, Name

# By so many columns of codes rows are grouped, and so many numbers are measured by each.
MOST_CODES = 4
MOST_NUMBERS = 2
ROWS_A_CODE = 1.25
FEWEST_CODES = 5
# With fewer rows beyond the first of each code, nothing is said of what codes explain.
FEWEST_BEYOND = 30


@dataclass(frozen=True)
class Codes:
    """Columns of codes, and the numbers that these may explain.

    `keys` are what may be new in a row that is booked again; those of the most values come first.
    """

    codes: Sequence[Field]
    numbers: Sequence[Field]
    keys: Sequence[Field]


def codes_among(
    con: duckdb.DuckDBPyConnection, relation: str, fields: Sequence[Field], *, few: int
) -> Codes:
    """What of the columns of a relation is a code; of no more than `few` values it is a label."""
    from expectations.profiling import WHOLE

    able = [c for c in fields if c.kind == "text" or c.type in WHOLE]
    numbers = [c for c in fields if c.kind == "number" and c.type not in WHOLE]
    if not able:
        return Codes([], [], [])
    counts = ", ".join(f"approx_count_distinct({identifier(c.name)})" for c in able)
    row = con.execute(f"select count(*), {counts} from {relation}").fetchone()
    assert row is not None
    rows, *different = row
    found = sorted(zip(different, able, strict=True), key=lambda pair: -pair[0])
    codes = [c for n, c in found if FEWEST_CODES <= n <= rows / ROWS_A_CODE]
    keys = [c for n, c in found if n > few]
    plain = [c for c in numbers if not c.is_personal]
    whole = [c for c in codes if c.type in WHOLE and c in keys and not c.is_personal]
    return Codes(codes[:MOST_CODES], [*plain, *whole][:MOST_NUMBERS], keys[:MOST_CODES])


def repeated(names: Sequence[str], keys: Sequence[Field]) -> Iterator[tuple[Name, str]]:
    """SQL for the share of rows that others equal in all columns, or in all but one of `keys`."""
    every = [f"hash({identifier(name)}, {at})" for at, name in enumerate(names)]
    for key in keys:
        if len(names) > 1:
            but = [h for h, name in zip(every, names, strict=True) if name != key.name]
            yield (key.name, "repeated_share"), _in_common(but)


def _in_common(hashes: Sequence[str]) -> str:
    row = hashes[0]
    for one in hashes[1:]:
        row = f"xor({row}, {one})"
    return f"1 - count(distinct {row}) / count(*)"


def grouped(
    con: duckdb.DuckDBPyConnection, relation: str, found: Codes, *, is_whole: bool
) -> Iterator[tuple[str, Name, float, int]]:
    """What the rows of each slice of a relation are by code: slice, name, value, rows.

    - `rows_each`, the mean of the logarithm of the rows that a code has;
    - `sum_each`, that of what the first number sums up to, if it mostly is above zero (the inverse
      hyperbolic sine); neither of a sample (`is_whole` is False), in which codes are thinned;
    - `explained`, which share of a number's variance its code explains: one-way analysis of
      variance, adjusted for chance (epsilon squared; Kelley, PNAS 21, 1935), so that it is about 0
      where code and number have nothing to do with each other.
    """
    for code in found.codes:
        numbers = [number for number in found.numbers if number.name != code.name]
        yield from _by_code(con, relation, code.name, [n.name for n in numbers], is_whole=is_whole)


def _by_code(
    con: duckdb.DuckDBPyConnection, relation: str, code: str, numbers: list[str], *, is_whole: bool
) -> Iterator[tuple[str, Name, float, int]]:
    inner, outer = [], []
    for at, number in enumerate(numbers):
        plain = f"{identifier(number)}::double"
        x = f"if(isfinite({plain}), {plain}, null)"
        y = f"asinh({x})"
        inner += [
            f"count({x}) as n{at}, sum({x}) as t{at}, count_if({x} > 0) as p{at}",
            f"sum({y}) as s{at}, sum({y} * {y}) as q{at}",
        ]
        outer.append(_explained(at))
    names = [(code, "rows_each"), *((f"{code} and {number}", "explained") for number in numbers)]
    if numbers:
        outer.append("if(2 * sum(p0) > sum(n0), avg(asinh(t0)), null)")
        names.append((f"{code} and {numbers[0]}", "sum_each"))
    by = ", ".join([f"_slice, {identifier(code)} as _code, count(*) as _rows", *inner])
    of = ", ".join(["_slice, sum(_rows), avg(ln(_rows))", *outer])
    for slice_, rows, *values in con.execute(
        f"select {of} from (select {by} from {relation}"
        f" where {identifier(code)} is not null group by 1, 2) group by 1"
    ).fetchall():
        for name, value in zip(names, values, strict=True):
            if value is not None and (is_whole or name[1] == "explained"):
                yield slice_, name, float(value), int(rows)


def _explained(at: int) -> str:
    """SQL for the adjusted share of the variance that is between the codes."""
    rows, codes = f"sum(n{at})", f"count_if(n{at} > 0)"
    total = f"(sum(q{at}) - sum(s{at}) * sum(s{at}) / {rows})"
    within = f"(sum(q{at}) - sum(s{at} * s{at} / nullif(n{at}, 0)))"
    is_enough = f"{rows} - {codes} >= {FEWEST_BEYOND} and {total} > 1e-9 * sum(q{at})"
    value = f"1 - ({within} / ({rows} - {codes})) / ({total} / ({rows} - 1))"
    return f"case when {is_enough} then {value} end"
