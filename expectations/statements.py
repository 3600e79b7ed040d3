"""What a rule says, in plain words with its bounds: the one place to take them from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from expectations.reporting.words import share
from expectations.rules import is_of_lake

if TYPE_CHECKING:
    from expectations.rules import Bound, Rule, Value

_AS_USUAL = "as usual"


def statement(rule: Rule) -> str:
    """What must be true, with all bounds, such as "`amount` is at least `0`".

    Names, values and SQL stand between backticks, so that it is Markdown as well.
    """
    said = _SAID[rule.check](rule)
    if rule.by:
        said += f", day by day of {code(rule.by)}"
    if rule.false_alarm_rate is not None:
        said += f"; {share(rule.false_alarm_rate)} false alarms at most"
    return said


def exceptions(rule: Rule) -> str:
    """How many rows may break it all the same, such as `2.0% of a file's rows`; empty if untold."""
    if rule.tolerance is not None:
        return f"{share(rule.tolerance)} of a file's rows"
    return f"{share(round(1 - rule.mostly, 12))} of the rows" if rule.mostly < 1 else ""


def code(text: str) -> str:
    """The text as Markdown's code on one line, whatever backticks are in it."""
    line = text.replace("\n", r"\n")
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}"


def _listed(names: Sequence[str], last: str = "and") -> str:
    told = [code(name) for name in names]
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} {last} {told[-1]}"


def _value(value: Value) -> str:
    """The value as YAML would have it read back, such as `'no'`, `false` and `2024-01-31`."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else str(value)


def _bounds(rule: Rule) -> str:
    """Such as "at least `0` and less than `ordered_at`"; empty without bounds."""
    told = [
        f"{words} {code(sql if bound is None else _value(bound))}"
        for words, bound, sql in (
            ("more than" if rule.strict_min else "at least", rule.minimum, rule.minimum_sql),
            ("less than" if rule.strict_max else "at most", rule.maximum, rule.maximum_sql),
        )
        if sql or bound is not None
    ]
    return " and ".join(told)


def _counts(rule: Rule) -> str:
    """Such as "1 to 20", "at least 1,000" and "exactly 3"."""
    least, most = (_count(bound) for bound in (rule.minimum, rule.maximum))
    if least and most:
        return f"exactly {least}" if least == most else f"{least} to {most}"
    return f"at least {least}" if least else f"at most {most}"


def _count(bound: Bound | None) -> str:
    return f"{bound:,}" if isinstance(bound, int) else ""


def _not_null(rule: Rule) -> str:
    return f"{_listed(rule.columns)} {_are(rule)} never null"


def _are(rule: Rule) -> str:
    return "are" if len(rule.columns) > 1 else "is"


def _unique(rule: Rule) -> str:
    return f"no two rows have the same {_listed(rule.columns)}"


def _between(rule: Rule) -> str:
    return f"{_listed(rule.columns)} is {_bounds(rule)}"


def _in_set(rule: Rule) -> str:
    return f"{_listed(rule.columns)} is {_listed([_value(v) for v in rule.values], 'or')}"


def _length(rule: Rule) -> str:
    return f"{_listed(rule.columns)} has {_counts(rule)} characters"


def _regex(rule: Rule) -> str:
    return f"all of {_listed(rule.columns)} matches {code(rule.pattern)}"


def _references(rule: Rule) -> str:
    there = "" if rule.references_columns == rule.columns else _listed(rule.references_columns)
    named = f", as {there} there" if there else ""
    return f"{_listed(rule.columns)} {_are(rule)} in {_other(rule.references_table)}{named}"


def _other(table: str) -> str:
    return f"{code(table)} of the lake" if is_of_lake(table) else code(table)


def _expression(rule: Rule) -> str:
    return f"true of each row: {code(rule.expression)}"


def _row_count(rule: Rule) -> str:
    if rule.equals_table:
        return f"it has as many rows as {_other(rule.equals_table)}"
    return f"its number of rows is {_counts(rule)}"


def _distinct_count(rule: Rule) -> str:
    return f"the number of different {_listed(rule.columns)} is {_counts(rule)}"


def _aggregate(rule: Rule) -> str:
    return f"{code(rule.expression)} is {_bounds(rule)}"


def _freshness(rule: Rule) -> str:
    age = rule.max_age or "is usual"
    return f"the newest {_listed(rule.columns)} is no older than {age}"


def _total(rule: Rule) -> str:
    return f"{code(rule.expression)} equals {code(rule.equals)} of {_other(rule.equals_table)}"


def _columns(rule: Rule) -> str:
    typed = _listed([f"{name} {kind.lower()}" for name, kind in rule.column_types])
    order = ", in this order" if rule.ordered else ""
    return f"it has exactly the columns {typed}{order}"


def _volume(_rule: Rule) -> str:
    return f"there are as many rows {_AS_USUAL}"


def _null_share(rule: Rule) -> str:
    if isinstance(rule.maximum, int | float):
        return f"of {_listed(rule.columns)}, {share(rule.maximum)} at most is null"
    return f"of {_listed(rule.columns)}, no larger share is null than usual"


def _drift(rule: Rule) -> str:
    like = f"as in {code(rule.reference_table)}" if rule.reference_table else _AS_USUAL
    told = f"the values of {_listed(rule.columns)} are spread {like}"
    limit = f"at most {rule.maximum} away" if rule.maximum is not None else ""
    measured = f"by {rule.measure.upper()}" if rule.measure else ""
    detail = " ".join(filter(None, (limit, measured)))
    return f"{told} ({detail})" if detail else told


def _anomaly(rule: Rule) -> str:
    of = f" of {_listed(rule.columns)}" if rule.columns else ""
    return f"nothing that a profile measures{of} is unlike before"


_SAID: Mapping[str, Callable[[Rule], str]] = {
    "not_null": _not_null,
    "unique": _unique,
    "between": _between,
    "in_set": _in_set,
    "length": _length,
    "regex": _regex,
    "references": _references,
    "expression": _expression,
    "row_count": _row_count,
    "distinct_count": _distinct_count,
    "aggregate": _aggregate,
    "freshness": _freshness,
    "total": _total,
    "columns": _columns,
    "volume": _volume,
    "null_share": _null_share,
    "drift": _drift,
    "anomaly": _anomaly,
}
