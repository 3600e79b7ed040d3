"""How rows go together by the codes that they carry: by customer, by receipt, by product.

A column of codes may look as it always did while its rows do not belong to it any more. What is
measured here moves when rows are lost from baskets, booked again, or shuffled. No code is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.duck import identifier, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb

    from expectations.profiling import Field, Name

# By so many columns of codes rows are grouped, and so many numbers are measured by each.
MOST_CODES = 3
MOST_NUMBERS = 2
ROWS_A_CODE = 1.25
FEWEST_CODES = 5
# With fewer rows beyond the first of each code, nothing is said of what codes explain.
FEWEST_BEYOND = 30


@dataclass(frozen=True)
class Codes:
    """Columns of codes, and the numbers that these may explain: first those with decimals.

    `keys` are what may be new in a row that is booked again; those of the most values come first.
    """

    codes: Sequence[Field]
    numbers: Sequence[Field]
    keys: Sequence[Field]

    @property
    def is_of_amounts(self) -> bool:
        """Whether sums of the first number mean something: it is no code itself."""
        return bool(self.numbers) and self.numbers[0] not in self.codes


def codes_among(fields: Sequence[Field], different: Mapping[str, int], rows: int) -> Codes:
    """What of the columns is a code; `different` says how many values each has in `rows` rows."""
    from expectations.profiling import FEW, WHOLE

    able = [column for column in fields if column.kind == "text" or column.type in WHOLE]
    able = sorted(able, key=lambda column: -different[column.name])
    codes = [c for c in able if FEWEST_CODES <= different[c.name] <= rows / ROWS_A_CODE]
    keys = [c for c in able if different[c.name] > FEW]
    plain = [c for c in fields if c.kind == "number" and c.type not in WHOLE]
    whole = [c for c in codes if c.type in WHOLE and c in keys]
    numbers = [c for c in (*plain, *whole) if not c.is_personal]
    return Codes(codes[:MOST_CODES], numbers[:MOST_NUMBERS], keys[:MOST_CODES])


def row_hash(fields: Sequence[Field]) -> str:
    """SQL for a number that rows have in common if they are equal in all columns."""
    hashes = [_hash(column.name) for column in fields]
    row = "0::ubigint"
    for one in hashes:
        row = f"xor({row}, {one})"
    return row


def repeated(keys: Sequence[Field], row: str) -> Iterator[tuple[Name, str]]:
    """SQL for the share of rows that others equal in all columns but one of `keys`.

    `row` is the column that has `row_hash`.
    """
    for key in keys:
        but = f"xor({row}, {_hash(key.name)})"
        yield (key.name, "repeated_share"), f"1 - count(distinct {but}) / count(*)"


def _hash(name: str) -> str:
    return f"hash({identifier(name)}, {quoted(name)})"


def grouped(
    con: duckdb.DuckDBPyConnection, relation: str, found: Codes, *, is_whole: bool
) -> Iterator[tuple[str, Name, float, int]]:
    """What the rows of each slice of a relation are by code: slice, name, value, rows.

    - `rows_each`, the mean of the logarithm of the rows that a code has;
    - `sum_each`, that of what the first number sums up to (the inverse hyperbolic sine), if it has
      decimals and mostly is above zero;
      neither of a sample (`is_whole` is False), in which codes are thinned;
    - `explained`, which share of a number's variance its code explains: one-way analysis of
      variance, adjusted for chance (epsilon squared; Kelley, PNAS 21, 1935), so that it is about 0
      where code and number have nothing to do with each other.
    """
    names = [column.name for column in found.codes]
    if not names:
        return
    numbers = [column.name for column in found.numbers]
    is_summed = is_whole and found.is_of_amounts
    for slice_, place, rows, each, total, *explained in con.execute(
        _by_code(relation, names, numbers)
    ).fetchall():
        code = names[place]
        pairs = [f"{code} and {number}" for number in numbers]
        measured = [(pair, "explained", part) for pair, part in zip(pairs, explained, strict=True)]
        if is_whole:
            measured.append((code, "rows_each", each))
        if is_summed:
            measured.append((pairs[0], "sum_each", total))
        for column, metric, value in measured:
            if value is not None and column != f"{code} and {code}":
                yield slice_, (column, metric), float(value), int(rows)


def _by_code(relation: str, codes: Sequence[str], numbers: Sequence[str]) -> str:
    """SQL for a row of measures of each slice and place in `codes`."""
    columns = ", ".join(map(identifier, codes))
    sets = ", ".join(f"(_slice, {identifier(code)})" for code in codes)
    place = f"{len(codes) - 1} - log2({2 ** len(codes) - 1} - grouping({columns}))::integer"
    inner = ["_slice", f"{place} as _place", "count(*) as _rows"]
    outer = ["_slice", "_place", "sum(_rows)", "avg(ln(_rows))"]
    for at, number in enumerate(numbers):
        plain = f"{identifier(number)}::double"
        x = f"if(isfinite({plain}), {plain}, null)"
        if at == 0:
            inner += [f"sum({x}) as total", f"count_if({x} > 0) as above"]
            outer.append("if(2 * sum(above) > sum(n0), avg(asinh(total)), null)")
        y = f"asinh({x})"
        inner += [f"count({x}) as n{at}", f"sum({y}) as s{at}", f"sum({y} * {y}) as q{at}"]
        outer.append(_explained(at))
    if not numbers:
        outer.append("null")
    known = f"coalesce({', '.join(f'{identifier(code)}::varchar' for code in codes)}) is not null"
    return (
        f"select {', '.join(outer)} from (select {', '.join(inner)} from {relation}"
        f" group by grouping sets ({sets}) having {known}) group by 1, 2"
    )


def _explained(at: int) -> str:
    """SQL for the adjusted share of the variance that is between the codes."""
    rows, codes = f"sum(n{at})", f"count_if(n{at} > 0)"
    total = f"(sum(q{at}) - sum(s{at}) * sum(s{at}) / {rows})"
    within = f"(sum(q{at}) - sum(s{at} * s{at} / nullif(n{at}, 0)))"
    is_enough = f"{rows} - {codes} >= {FEWEST_BEYOND} and {total} > 1e-9 * sum(q{at})"
    value = f"1 - ({within} / ({rows} - {codes})) / ({total} / ({rows} - 1))"
    return f"case when {is_enough} then {value} end"
