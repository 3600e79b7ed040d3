"""Great Expectations, the examples of the report and the quarantine count the same rows."""

from __future__ import annotations

from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expectations.gx_loading import load_great_expectations
from expectations.offenders import find, offends
from expectations.raw import row_rule
from expectations.rules import LEARNED, RAW_CHECKS, Rule

TABLE = "main.payments"
ROWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(-3, 12)),
        st.one_of(st.none(), st.sampled_from(["a", "bb", "it's", "50%", "", "ÄÖ", "a\nb", ":x"])),
        st.one_of(st.none(), st.integers(-3, 12)),
    ),
    min_size=1,
    max_size=30,
)


def rule(check: Any, **parts: Any) -> Rule:
    return Rule(
        id="r",
        boundary="raw",
        table=TABLE,
        check=check,
        severity="critical",
        owner="me",
        reason="because",
        **parts,
    )


RULES = [
    rule("not_null", columns=("amount",)),
    rule("not_null", columns=("amount", "kind")),
    rule("between", columns=("amount",), minimum=0, maximum=10),
    rule("between", columns=("amount",), minimum=0, strict_min=True),
    rule("between", columns=("amount",), maximum=9.5, strict_max=True),
    rule("between", columns=("amount",), minimum_sql="other - 2", maximum_sql="other + 2"),
    rule("in_set", columns=("amount",), values=(1, 2, 3)),
    rule("in_set", columns=("kind",), values=("a", "it's", "50%")),
    rule("length", columns=("kind",), minimum=1, maximum=2),
    rule("regex", columns=("kind",), pattern="[a-z']+"),
    rule("references", columns=("amount",), references_table="k", references_columns=("n",)),
    rule("expression", expression="amount > other or kind like '5%:%'"),
]


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    load_great_expectations()
    con = duckdb.connect()
    con.execute("create table k as select unnest([1, 2, null]) as n")
    con.execute(f"create table {TABLE} (amount integer, kind varchar, other integer)")
    return con


def counted_by_gx(con: duckdb.DuckDBPyConnection, rules: list[Rule]) -> list[int]:
    from great_expectations.validator.validator import Validator

    from expectations.compilation import expectation, validation

    with validation(con.cursor(), [TABLE], lambda _: True) as checks:
        asset = checks._datasource.get_asset(TABLE)
        validator = Validator(
            execution_engine=checks._datasource.get_execution_engine(),
            batches=[asset.get_batch(asset.build_batch_request())],
            data_context=checks._context,
        )
        results = validator.graph_validate(
            [expectation(rule).configuration for rule in rules],
            runtime_configuration={"result_format": "BASIC"},
        )
        for result in results:
            assert not result.exception_info["raised_exception"], result
        return [
            result.result.get("unexpected_count", result.result.get("observed_value"))
            for result in results
        ]


@given(rows=ROWS)
def test_one_list_of_rules_counts_the_same_everywhere(
    con: duckdb.DuckDBPyConnection, rows: list[tuple[Any, ...]]
) -> None:
    con.execute(f"delete from {TABLE}")
    con.executemany(f"insert into {TABLE} values (?, ?, ?)", rows)
    by_sql = [
        con.execute(f"select count(*) from {TABLE} where {offends(rule)}").fetchall()[0][0]
        for rule in RULES
    ]
    assert counted_by_gx(con, RULES) == by_sql
    assert [find(con, rule, TABLE, None).count for rule in RULES] == by_sql
    con.execute("attach if not exists ':memory:' as lake")
    con.execute("create table if not exists lake.k as from k")
    in_quarantine = [
        con.execute(f"select count(*) from {TABLE} where {row_rule(rule).broken}").fetchall()[0][0]
        for rule in RULES
    ]
    assert in_quarantine == by_sql


def test_every_check_on_rows_is_among_them() -> None:
    assert {rule.check for rule in RULES} == set(RAW_CHECKS) - LEARNED
