"""Profiles: what the rows of a batch, or of a day, look like, in numbers that can be compared.

A profile never holds a single row's value of a text column but its most frequent labels, and of a
personal column not even those.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal

from expectations.grouping import codes_among, grouped, repeated, row_hash
from expectations.past import Labels, Numbers, Shape
from warehouse.duck import identifier, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import duckdb

    from expectations.past import Scale

Kind = Literal["number", "time", "flag", "text", "other"]
Name = tuple[str, str]  # a column ("" for the table) and what is measured of it

QUANTILES = tuple(n / 50 for n in range(51))
MOST_LABELS = 40
# A whole number or text of so few different values is a label; of more it is none.
FEW = 40
SAMPLE_ROWS = 20_000
FEWEST_BLOCKS = 20  # blocks with so many times the rows of a sample are spread over all of a table
MOST_PAIRED = 6
# From which length on, of 1, the mean resultant vector of hours says when most of the rows are.
LEAST_DIRECTED = 0.1
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT")
WHOLE = (*_INTEGERS, "UINTEGER", "UBIGINT", "UHUGEINT")
_TIMES = ("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS")
_ZONED = "TIMESTAMP WITH TIME ZONE"


@dataclass(frozen=True)
class Field:
    """A column to profile: its name and DuckDB type.

    Of a personal one no value is kept: of numbers only how many digits they have.
    """

    name: str
    type: str
    is_personal: bool = False

    @property
    def kind(self) -> Kind:
        """What can be measured of it."""
        if self.type in WHOLE or self.type in ("FLOAT", "DOUBLE"):
            return "number"
        if self.type.startswith("DECIMAL"):
            return "number"
        if self.type in _TIMES or self.type == _ZONED:
            return "time"
        if self.type == "BOOLEAN":
            return "flag"
        return "text" if self.type == "VARCHAR" or self.type.startswith("ENUM") else "other"


@dataclass(frozen=True)
class Scalar:
    """One number: on which scale it is compared, and over how many rows it was taken."""

    value: float
    scale: Scale
    rows: int


@dataclass(frozen=True)
class Profile:
    """What some rows look like: `at` is when they are of (UTC), `rows` how many they are."""

    at: datetime
    rows: int
    scalars: Mapping[Name, Scalar] = field(default_factory=dict)
    shapes: Mapping[Name, Shape] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """This profile in plain values."""
        return {
            "at": self.at.isoformat(),
            "rows": self.rows,
            "scalars": [[*n, s.value, s.scale, s.rows] for n, s in self.scalars.items()],
            "shapes": [[*n, *_plain(shape)] for n, shape in self.shapes.items()],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Profile:
        """The profile that `to_json` gave."""
        return cls(
            at=datetime.fromisoformat(content["at"]),
            rows=content["rows"],
            scalars={(c, m): Scalar(v, scale, n) for c, m, v, scale, n in content["scalars"]},
            shapes={(c, m): _shape(kind, v, n) for c, m, kind, v, n in content["shapes"]},
        )


def _plain(shape: Shape) -> tuple[str, Any, int]:
    if isinstance(shape, Numbers):
        return "numbers", shape.quantiles, shape.rows
    return "labels", dict(shape.counts), shape.rows


def _shape(kind: str, values: Any, rows: int) -> Shape:
    return Numbers(tuple(values), rows) if kind == "numbers" else Labels(values, rows)


def profiles(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    fields: Sequence[Field],
    *,
    slices: str,
    at: Mapping[str, datetime] | None = None,
    order: str = "rowid",
    sample: int = SAMPLE_ROWS,
    in_short: bool = False,
) -> dict[str, Profile]:
    """The profile of each slice of a relation, by the text of its slice.

    `slices` is SQL over a row for the slice that it belongs to; `at` says when a slice is of, for
    slices that are not dates. Of a slice of more than `sample` rows only their number is exact;
    the rest is of so many of them, chosen by the hash of `order`. `in_short` leaves out how columns
    go together, labels and forms of texts.
    """
    counted = con.execute(
        f"select ({slices})::varchar, count(*) from {relation} group by 1"
    ).fetchall()
    rows = {slice_: count for slice_, count in counted if slice_ is not None}
    if not rows:
        return {}
    every = max(1, max(rows.values()) // sample)
    sampled = "" if every == 1 else f" where hash({order}) % {every} = 0"
    if order == "rowid" and every > FEWEST_BLOCKS:  # of so large a table only some blocks are read
        blocks = f" tablesample system ({100 * FEWEST_BLOCKS / every:.4f} percent) repeatable (1)"
        sampled = f"{blocks} where hash(rowid) % {FEWEST_BLOCKS} = 0"
    names = "".join(f", {_compared(column)}" for column in fields)
    con.execute(
        f"create or replace temp table profiled as select *, {row_hash(fields)} as _row_hash from"
        f" (select ({slices})::varchar as _slice{names} from {relation}{sampled})"
    )
    try:
        plain = [measure for column in fields for measure in _measures(column)]
        if in_short:
            scalars, shapes = _measured(con, plain)
        else:
            different, present = _different(con, fields)
            codes = codes_among(fields, different, max(present.values(), default=0))
            keys = codes.keys if every == 1 else ()  # repeats are rare in a sample
            scalars, shapes = _measured(con, [*plain, *_paired(fields), *_repeated(keys)])
            for slice_, name, value, seen in grouped(con, "profiled", codes, is_whole=every == 1):
                scalars[slice_][name] = Scalar(value, "value", seen)
            for column, facet, label in _facets(fields, different, present):
                for slice_, labels in _labels(con, column, label).items():
                    shapes.setdefault(slice_, {})[column, facet] = labels
    finally:
        con.execute("drop table profiled")
    return {
        name: Profile(
            at[name] if at and name in at else datetime.fromisoformat(name),
            count,
            scalars.get(name, {}),
            shapes.get(name, {}),
        )
        for name, count in rows.items()
    }


def _compared(column: Field) -> str:
    """SQL for the column as it is measured: times without zone, what cannot be measured as true."""
    name = identifier(column.name)
    if column.type == _ZONED:
        return f"({name} at time zone 'UTC') as {name}"
    if column.kind == "other":
        return f"if({name} is null, null, true) as {name}"
    if column.type.startswith("ENUM"):
        return f"{name}::varchar as {name}"
    return name


_Scalars = dict[str, dict[Name, Scalar]]
_Shapes = dict[str, dict[Name, Shape]]


def _measured(con: duckdb.DuckDBPyConnection, plan: Sequence[_Measure]) -> tuple[_Scalars, _Shapes]:
    """What is measured of each slice, in one pass."""
    parts = "".join(f", {measure.sql}" for measure in plan)
    scalars: _Scalars = {}
    shapes: _Shapes = {}
    for slice_, seen, *values in con.execute(
        f"select _slice, count(*){parts} from profiled group by 1"
    ).fetchall():
        ours, forms = scalars.setdefault(slice_, {}), shapes.setdefault(slice_, {})
        for measure, value in zip(plan, values, strict=True):
            measure.keep(value, seen, ours, forms)
    return scalars, shapes


def _facets(
    fields: Sequence[Field], different: Mapping[str, int], present: Mapping[str, int]
) -> Iterator[tuple[str, str, str]]:
    """What is counted by label: column, facet, and SQL for the label."""
    for column in fields:
        if _is_labelled(column, different, present):
            yield column.name, "labels", identifier(column.name)
    for column in fields:
        if column.kind == "text":
            yield column.name, "pattern", _pattern(column.name)
        elif column.kind == "number" and column.is_personal:
            yield column.name, "digits", f"length(trunc(abs({identifier(column.name)}))::varchar)"
        elif column.kind == "time" and column.type != "DATE" and not column.is_personal:
            yield column.name, "hour", f"hour({identifier(column.name)})"


@dataclass(frozen=True)
class _Measure:
    """A number, or a list of quantiles, of one column: its SQL and what is made of it."""

    column: str
    metric: str
    sql: str
    scale: Scale | Literal["shape"]

    def keep(
        self,
        value: Any,
        rows: int,
        scalars: dict[Name, Scalar],
        shapes: dict[Name, Shape],
    ) -> None:
        """Put the value where it belongs; what is unknown is left out."""
        if value is None:
            return
        if self.scale == "shape":
            quantiles, present = value["q"], value["n"]
            if quantiles is not None and present:
                shapes[self.column, self.metric] = Numbers(tuple(map(float, quantiles)), present)
        else:
            scalars[self.column, self.metric] = Scalar(float(value), self.scale, rows)


def _measures(column: Field) -> list[_Measure]:
    # No aggregate has a FILTER: DuckDB copies every other one's arguments for each that has.
    name = identifier(column.name)
    present = f"count({name})"

    def share(metric: str, condition: str) -> _Measure:
        return _Measure(column.name, metric, f"count_if({condition}) / count(*)", "share")

    measures = [share("null_share", f"{name} is null")]
    if column.kind == "other":
        return measures
    distinct = f"if({present} = 0, null, count(distinct {name}) / {present})"
    measures.append(_Measure(column.name, "distinct_share", distinct, "share"))
    if column.kind == "number":
        measures += _of_numbers(column, name, share)
    elif column.kind == "time":
        measures += _of_times(column, name, share)
    elif column.kind == "flag":
        measures.append(share("true_share", name))
    elif column.kind == "text":
        measures += [
            _quantiles(column.name, "length", f"length({name})"),
            share("empty_share", f"trim({name}) = ''"),
            share("padded_share", f"{name} <> trim({name})"),
            share("foreign_share", f"regexp_matches({name}, '[^\\x00-\\x7F]')"),
            share("digits_share", f"regexp_matches({name}, '[0-9]')"),
        ]
    return measures


def _of_numbers(column: Field, name: str, share: Any) -> list[_Measure]:
    finite = f"isfinite({name}::double)"
    number = f"if({finite}, {name}::double, null)"
    # The inverse hyperbolic sine is a logarithm that also takes zero and what is below it.
    spread = {
        metric: f"asinh({aggregate}({number}))"
        for metric, aggregate in (("least", "min"), ("greatest", "max"), ("mean", "avg"))
    }
    # Numbers that were merged, rounded or converted end otherwise: in cents where they have parts.
    # Of few different ones the last digit says no more than they do.
    last = name if column.type in WHOLE else f"round({number} * 100)"
    measures = [share("negative_share", f"{name} < 0"), share("zero_share", f"{name} = 0")]
    for metric, step in (("even_share", 2), ("fifth_share", 5)):
        ends = f"count_if({last} % {step} = 0) / count(*)"
        sql = f"if(count(distinct {name}) > {FEW}, {ends}, null)"
        measures.append(_Measure(column.name, metric, sql, "share"))
    if not column.is_personal:
        measures.append(_quantiles(column.name, "values", number))
        measures += [_Measure(column.name, m, sql, "value") for m, sql in spread.items()]
    if column.type not in WHOLE:
        measures.append(share("whole_share", f"{number} = trunc({number})"))
        measures.append(share("nan_share", f"not {finite}"))
    return measures


def _of_times(column: Field, name: str, share: Any) -> list[_Measure]:
    if column.is_personal:
        return []
    moment = f"{name}::timestamp"
    days = f"if(isfinite({moment}), epoch({moment}) / 86400.0, null)"
    measures = [
        _quantiles(column.name, "values", days),
        _Measure(column.name, "middle", f"median({days})", "value"),
        _Measure(
            column.name,
            "before",
            f"median({days}) - min({days})",
            "value",
        ),
        _Measure(
            column.name,
            "after",
            f"max({days}) - median({days})",
            "value",
        ),
        _Measure(
            column.name,
            "span",
            f"quantile_cont({days}, 0.99) - quantile_cont({days}, 0.01)",
            "value",
        ),
    ]
    if column.type != "DATE":
        measures.append(share("midnight_share", f"{name}::time = time '00:00:00'"))
        measures.append(_Measure(column.name, "clock", _clock(moment), "value"))
    return measures


def _clock(moment: str) -> str:
    """SQL for the mean hour of the day, round the clock: from -12 to 12, midnight is 0.

    It is the direction of the mean resultant vector (Mardia and Jupp, Directional Statistics);
    null where that is so short that it has none, as of what is measured day and night.
    """
    turn = f"if(isfinite({moment}), 2 * pi() * (epoch({moment}) % 86400) / 86400, null)"
    sine, cosine = f"avg(sin({turn}))", f"avg(cos({turn}))"
    length = f"sqrt({sine} ** 2 + {cosine} ** 2)"
    return f"if({length} < {LEAST_DIRECTED}, null, 12 / pi() * atan2({sine}, {cosine}))"


def _quantiles(column: str, metric: str, number: str) -> _Measure:
    points = "[" + ", ".join(str(point) for point in QUANTILES) + "]"
    sql = f"{{'q': quantile_disc({number}, {points}), 'n': count({number})}}"
    return _Measure(column, metric, sql, "shape")


def _paired(fields: Sequence[Field]) -> list[_Measure]:
    """How columns go together: numbers by their correlation, times by which is the earlier."""
    measures = []
    numbers = [column for column in fields if column.kind == "number"][:MOST_PAIRED]
    for one, other in combinations(numbers, 2):
        a, b = (f"{identifier(column.name)}::double" for column in (one, other))
        finite = f"isfinite({a}) and isfinite({b})"
        corr = f"corr(if({finite}, asinh({a}), null), if({finite}, asinh({b}), null))"
        pair = f"{one.name} and {other.name}"
        measures.append(_Measure(pair, "correlation", f"if(isnan({corr}), null, {corr})", "value"))
    times = [column for column in fields if column.kind == "time"][:MOST_PAIRED]
    for one, other in combinations(times, 2):
        below = f"{identifier(one.name)} < {identifier(other.name)}"
        share = f"count_if({below}) / count(*)"
        pair = f"{one.name} and {other.name}"
        measures.append(_Measure(pair, "below_share", share, "share"))
    return measures


def _repeated(keys: Sequence[Field]) -> list[_Measure]:
    return [_Measure(*name, sql, "share") for name, sql in repeated(keys, "_row_hash")]


def _different(
    con: duckdb.DuckDBPyConnection, fields: Sequence[Field]
) -> tuple[dict[str, int], dict[str, int]]:
    """About how many values the columns have that may be codes or labels, and in how many rows."""
    able = [c for c in fields if c.kind in ("text", "flag") or c.type in WHOLE]
    if not able:
        return {}, {}
    names = [identifier(column.name) for column in able]
    counts = ", ".join(f"approx_count_distinct({name}), count({name})" for name in names)
    row = con.execute(f"select {counts} from profiled").fetchone()
    assert row is not None
    return (
        {column.name: count for column, count in zip(able, row[::2], strict=True)},
        {column.name: count for column, count in zip(able, row[1::2], strict=True)},
    )


def _is_labelled(column: Field, different: Mapping[str, int], present: Mapping[str, int]) -> bool:
    """Whether the values are labels: few, and not those of people."""
    if column.is_personal or column.name not in different:
        return False
    most = max(2, present[column.name] / _rows_a_label(column))
    return different[column.name] <= min(FEW, most)


def _rows_a_label(column: Field) -> int:
    """With fewer rows to each, values are no labels; numbers least of all."""
    return 5 if column.kind == "number" else 2


def _labels(con: duckdb.DuckDBPyConnection, column: str, label: str) -> dict[str, Labels]:
    """The most frequent labels of each slice, and under "" how many rows have others."""
    found = con.execute(
        f"select _slice, ({label})::varchar as _label, count(*) as _rows,"
        f" sum(count(*)) over (partition by _slice)::bigint from profiled"
        f" where {identifier(column)} is not null group by 1, 2 qualify"
        f" row_number() over (partition by _slice order by _rows desc, _label) <= {MOST_LABELS}"
    ).fetchall()
    counts: dict[str, dict[str, int]] = {}
    totals: dict[str, int] = {}
    for slice_, label_, count, total in found:
        counts.setdefault(slice_, {})[label_] = count
        totals[slice_] = total
    for slice_, labels in counts.items():
        others = totals[slice_] - sum(labels.values())
        if others:
            labels[""] = labels.get("", 0) + others
    return {slice_: Labels(labels, totals[slice_]) for slice_, labels in counts.items()}


def _pattern(column: str) -> str:
    """SQL for a text's form: letters of any script as a and A, digits as 9, repeats once.

    24 characters.
    """
    text = f"left({identifier(column)}, 40)"
    forms = ((r"\p{Ll}+", "a"), (r"[\p{Lu}\p{Lt}]+", "A"), (r"[\p{Lm}\p{Lo}\p{M}]+", "a"))
    for kind, mark in (*forms, (r"\p{N}+", "9")):
        text = f"regexp_replace({text}, {quoted(kind)}, {quoted(mark)}, 'g')"
    return f"left({text}, 24)"
