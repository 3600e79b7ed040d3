"""What rules say in plain words."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from expectations.rules import CHECKS, Rule
from expectations.statements import code, exceptions, statement

RULE = Rule("r", "marts", "marts.payments", "unique", "critical", "me", "because", ("a",))
SAID: list[tuple[str, dict[str, Any], str]] = [
    ("not_null", {}, "`a` is never null"),
    ("not_null", {"columns": ("a", "b", "c")}, "`a`, `b` and `c` are never null"),
    ("unique", {"columns": ("a", "b")}, "no two rows have the same `a` and `b`"),
    ("between", {"minimum": 0, "maximum": 2.5}, "`a` is at least `0` and at most `2.5`"),
    (
        "between",
        {"minimum": 0, "strict_min": True, "maximum": date(2024, 1, 31), "strict_max": True},
        "`a` is more than `0` and less than `2024-01-31`",
    ),
    ("between", {"maximum_sql": "b + interval 1 day"}, "`a` is at most `b + interval 1 day`"),
    ("in_set", {"values": ("no", True, 3)}, "`a` is `'no'`, `true` or `3`"),
    ("length", {"minimum": 1, "maximum": 2000}, "`a` has 1 to 2,000 characters"),
    ("length", {"minimum": 22, "maximum": 22}, "`a` has exactly 22 characters"),
    ("regex", {"pattern": "[A-Z]|`"}, "all of `a` matches `` [A-Z]|` ``"),
    (
        "references",
        {"references_table": "marts.b", "references_columns": ("a",)},
        "`a` is in `marts.b`",
    ),
    (
        "references",
        {"references_table": "marts.b", "references_columns": ("id",)},
        "`a` is in `marts.b`, as `id` there",
    ),
    ("expression", {"expression": "a > b"}, "true of each row: `a > b`"),
    ("row_count", {"minimum": 0}, "its number of rows is at least 0"),
    ("row_count", {"maximum": 9000}, "its number of rows is at most 9,000"),
    ("row_count", {"equals_table": "marts.b"}, "it has as many rows as `marts.b`"),
    ("row_count", {"equals_table": "raw_a.b"}, "it has as many rows as `raw_a.b` of the lake"),
    (
        "references",
        {"references_table": "raw_a.b", "references_columns": ("id",)},
        "`a` is in `raw_a.b` of the lake, as `id` there",
    ),
    (
        "total",
        {"expression": "sum(a)", "equals": "sum(b)", "equals_table": "raw_a.b"},
        "`sum(a)` equals `sum(b)` of `raw_a.b` of the lake",
    ),
    ("distinct_count", {"maximum": 3}, "the number of different `a` is at most 3"),
    ("aggregate", {"expression": "avg(a)", "minimum": 4}, "`avg(a)` is at least `4`"),
    ("freshness", {"max_age": "36 hours"}, "the newest `a` is no older than 36 hours"),
    ("freshness", {}, "the newest `a` is no older than is usual"),
    (
        "total",
        {"expression": "sum(a)", "equals": "sum(b)", "equals_table": "marts.b"},
        "`sum(a)` equals `sum(b)` of `marts.b`",
    ),
    (
        "columns",
        {"column_types": (("a", "BIGINT"), ("b", "DATE")), "ordered": True},
        "it has exactly the columns `a bigint` and `b date`, in this order",
    ),
    (
        "volume",
        {"by": "day", "false_alarm_rate": 0.02},
        "there are as many rows as usual, day by day of `day`; 2.0% false alarms at most",
    ),
    ("null_share", {"maximum": 0.05}, "of `a`, 5.0% at most is null"),
    ("null_share", {}, "of `a`, no larger share is null than usual"),
    ("drift", {}, "the values of `a` are spread as usual"),
    (
        "drift",
        {"reference_table": "marts.b", "measure": "psi", "maximum": 0.2},
        "the values of `a` are spread as in `marts.b` (at most 0.2 away by PSI)",
    ),
    ("anomaly", {}, "nothing that a profile measures of `a` is unlike before"),
    ("anomaly", {"columns": ()}, "nothing that a profile measures is unlike before"),
]


@pytest.mark.parametrize(("check", "parts", "said"), SAID)
def test_a_rule_says_what_it_demands(check: Any, parts: dict[str, Any], said: str) -> None:
    assert statement(replace(RULE, check=check, **parts)) == said


def test_every_check_is_said() -> None:
    assert {check for check, _, _ in SAID} == set(CHECKS)


def test_how_many_rows_may_break_a_rule() -> None:
    assert exceptions(RULE) == ""
    assert exceptions(replace(RULE, mostly=0.99)) == "1.0% of the rows"
    assert exceptions(replace(RULE, tolerance=0.0)) == "0% of a file's rows"
    assert exceptions(replace(RULE, tolerance=0.02)) == "2.0% of a file's rows"


def test_code_survives_backticks_and_line_ends() -> None:
    assert code("a`b\nc") == "``a`b\\nc``"
    assert code("``x``") == "``` ``x`` ```"
