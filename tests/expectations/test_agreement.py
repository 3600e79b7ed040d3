"""Great Expectations, the examples of the report and the quarantine count the same rows."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import made_rule

from expectations.gx_loading import load_great_expectations
from expectations.offenders import find, offends
from expectations.raw import row_rule
from expectations.rules import LEARNED, RAW_CHECKS, Rule
from warehouse.readers.contract import Column
from warehouse.row_rules import judge_rules

if TYPE_CHECKING:
    from warehouse.batch import Batch

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
    return made_rule(check, TABLE, **parts)


ROW_RULES = [
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
    rule("references", columns=("amount",), references_table="raw_k.k", references_columns=("n",)),
    rule(
        "references",
        columns=("kind", "amount"),
        references_table="raw_k.pairs",
        references_columns=("name", "n"),
    ),
    rule("expression", expression="amount > other or kind like '5%:%'"),
]


RULES = [replace(rule, id=f"r{n}") for n, rule in enumerate(ROW_RULES)]
# Of the table as a whole; published, for raw rules are of rows.
COUNT = replace(rule("row_count", equals_table="raw_k.pairs"), id="count", boundary="marts")
TOTAL = replace(
    rule("total", expression="sum(amount)", equals="sum(n)", equals_table="raw_k.k"),
    id="total",
    boundary="marts",
)


@pytest.fixture(scope="module")
def con() -> duckdb.DuckDBPyConnection:
    load_great_expectations()
    con = duckdb.connect()
    con.execute("attach ':memory:' as lake")
    con.execute("create schema lake.raw_k")
    con.execute("create table lake.raw_k.k as select unnest([1, 2, null]) as n")
    con.execute(
        "create table lake.raw_k.pairs as"
        " select * from (values ('a', 1), ('bb', 2), (null, 1), ('a', null)) as t(name, n)"
    )
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


def in_quarantine(con: duckdb.DuckDBPyConnection, rules: list[Rule]) -> list[int]:
    """How many rows are held for each rule, by their lists of reasons."""
    con.execute(
        "create or replace temp table judged"
        " (_source_row bigint, verdict varchar, reason varchar, detail varchar, reasons varchar[])"
    )
    con.execute(f"create or replace view fit as select *, rowid as _source_row from {TABLE}")
    described = con.execute(f"describe {TABLE}").fetchall()
    columns = [Column(name, kind) for name, kind, *_ in described]
    source = SimpleNamespace(row_rules=[row_rule(rule) for rule in rules])
    batch = SimpleNamespace(source=source, where="a file", stamp="1 as _batch_id")
    judge_rules(con, cast("Batch", batch), columns, [])
    by_reason = "select r, count(*) from (select unnest(reasons) as r from judged) group by r"
    found = dict(con.execute(by_reason).fetchall())
    return [found.get(f"rule:{rule.id}", 0) for rule in rules]


def put(con: duckdb.DuckDBPyConnection, rows: list[tuple[Any, ...]]) -> None:
    con.execute(f"delete from {TABLE}")
    con.executemany(f"insert into {TABLE} values (?, ?, ?)", rows)


@given(rows=ROWS)
def test_one_list_of_rules_counts_the_same_everywhere(
    con: duckdb.DuckDBPyConnection, rows: list[tuple[Any, ...]]
) -> None:
    put(con, rows)
    by_sql = [
        con.execute(f"select count(*) from {TABLE} where {offends(rule)}").fetchall()[0][0]
        for rule in RULES
    ]
    assert counted_by_gx(con, RULES) == by_sql
    assert [find(con, rule, TABLE, None).count for rule in RULES] == by_sql
    assert in_quarantine(con, RULES) == by_sql


def test_rows_that_break_nearly_all_rules_are_counted_for_each(
    con: duckdb.DuckDBPyConnection,
) -> None:
    put(con, [(-3, "a\nb", 12), (None, None, None), (11, "", 0), (1, "a", 0)])
    counts = counted_by_gx(con, RULES)
    assert in_quarantine(con, RULES) == counts
    assert [find(con, rule, TABLE, None).count for rule in RULES] == counts
    assert counts == [1, 1, 2, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2]


@given(rows=ROWS)
def test_the_table_beside_the_lake_is_judged_as_arithmetic_has_it(
    con: duckdb.DuckDBPyConnection, rows: list[tuple[Any, ...]]
) -> None:
    from expectations.compilation import validation

    put(con, rows)
    with validation(con.cursor(), [TABLE], lambda _: True) as checks:
        found = checks.outcomes(TABLE, [COUNT, TOTAL])
    amounts = [amount for amount, *_ in rows if amount is not None]
    assert found["count"].holds == (len(rows) == 4)
    assert found["total"].holds == (bool(amounts) and sum(amounts) == 3)
    assert not found["count"].error
    assert not found["total"].error


def test_every_check_on_rows_is_among_them() -> None:
    assert {rule.check for rule in RULES} == set(RAW_CHECKS) - LEARNED
