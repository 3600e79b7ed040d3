"""What is told of broken rules: a sample of the rows, and no value of a personal column."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date

import duckdb
import pytest
from made import made_rule

from expectations.gate import GateResult, RuleResult, TableScope, audit
from expectations.offenders import LONGEST_VALUE, MASK, SAMPLED, find, within

PEOPLE = (
    "create table marts.people as select range as id, 'secret-' || range as email, range % 3 as n,"
    " date '1970-01-01' + range::integer as born_on from range(50)"
)
# What may not be seen anywhere: the e-mail addresses and the birthdays.
SECRETS = ("secret-", "1970-0")
MARKED = frozenset({"Email", "born_on"})


def rule(check, **parts):
    return made_rule(check, "marts.people", **parts)


NAMING = {
    "not_null and more": rule("expression", expression='"EMAIL" is null and n >= 0'),
    "between": rule("between", columns=("born_on",), minimum_sql="born_on + interval 1 day"),
    "in_set": rule("in_set", columns=("email",), values=("x",)),
    "length": rule("length", columns=("EMAIL",), maximum=2),
    "regex": rule("regex", columns=("email",), pattern="x"),
    "expression": rule("expression", expression="email || id = 'x'"),
    "aggregate": rule("aggregate", expression="max(born_on)", maximum=date(1960, 1, 1)),
    "aggregate in parts": rule("aggregate", expression="count(*) + len(max(email))", maximum=3),
    "freshness": rule("freshness", columns=("born_on",), max_age="1 day"),
    "total": rule(
        "total", expression="max(email)", equals="min(email)", equals_table="marts.people"
    ),
    "distinct_count": rule("distinct_count", columns=("email",), maximum=3),
    "conversion": rule("expression", expression="email::integer > 0"),
    "conversion in an aggregate": rule("aggregate", expression="max(email::date)", minimum=1),
    "error function": rule("expression", expression="error(email) is null"),
}


@pytest.mark.parametrize("checked", NAMING.values(), ids=NAMING)
def test_no_value_of_a_personal_column_is_told(settings, build, checked):
    scope = TableScope("marts.people", personal=MARKED)
    result = audit(settings, build(PEOPLE), {"marts.people": scope}, [checked])
    assert result.results[0].status in ("fail", "error")
    assert result.results[0].detail
    assert not any(secret in result.to_json() for secret in SECRETS)


@pytest.mark.parametrize("name", ["between", "expression", "aggregate", "total", "conversion"])
def test_without_the_mark_they_are_told(settings, build, name):
    result = audit(settings, build(PEOPLE), {}, [NAMING[name]]).to_json()
    assert any(secret in result for secret in SECRETS)


def test_repeated_personal_keys_are_counted_and_hidden():
    with duckdb.connect() as con:
        con.execute("create table t as select 'secret' as email from range(4)")
        found = find(con, rule("unique", columns=("EMAIL",)), "t", None, frozenset({"email"}))
    assert found.sample == ((MASK, "4"),)
    assert found.detail == f"3 rows repeat a key, e.g. EMAIL={MASK}, rows=4"


def test_a_missing_personal_value_is_told_as_missing():
    with duckdb.connect() as con:
        con.execute("create table t as select 1 as id, null::varchar as email")
        found = find(con, rule("not_null", columns=("email",)), "t", "id", frozenset({"email"}))
    assert (found.columns, found.sample) == (("id", "email"), (("1", None),))


def test_counts_of_personal_columns_are_told():
    with duckdb.connect() as con:
        con.execute("create table t as select range::varchar as email from range(4)")
        for expression in ("count(distinct email)", "count(*) filter (where email <> 'x')"):
            checked = rule("aggregate", expression=expression, maximum=3)
            found = find(con, checked, "t", None, frozenset({"email"}))
            assert found.detail == f"{expression} is 4, expected at most 3"


def test_errors_that_speak_of_the_statement_alone_are_told_whole(settings, build):
    wrong = rule("expression", expression="emial = email")
    scope = TableScope("marts.people", personal=MARKED)
    result = audit(settings, build(PEOPLE), {"marts.people": scope}, [wrong])
    assert "emial" in result.results[0].detail


def test_twenty_rows_and_eighty_characters_are_shown():
    with duckdb.connect() as con:
        con.execute("create table t as select range as id, repeat('x', 999) as name from range(50)")
        found = find(con, rule("length", columns=("name",), maximum=3), "t", "id")
    assert found.count == 50
    assert len(found.sample) == SAMPLED
    assert found.columns == ("id", "name")
    assert [len(name) for _, name in found.sample] == [LONGEST_VALUE] * SAMPLED
    assert found.detail.startswith("50 rows break it, e.g. id=0, name=xxx")


def test_the_most_repeated_keys_come_first():
    with duckdb.connect() as con:
        con.execute("create table t as select n % 7 % 4 as id from range(700) t (n)")
        found = find(con, rule("unique", columns=("id",)), "t", None)
    assert found.sample == (("0", "200"), ("1", "200"), ("2", "200"), ("3", "100"))


def test_of_many_columns_that_must_not_be_null_those_that_are_it_are_told():
    with duckdb.connect() as con:
        con.execute("create table t as select 1 as id, 2 as a, null as b, 3 as c, null as d")
        found = find(con, rule("not_null", columns=("id", "a", "b", "c", "d")), "t", "id")
    assert found.detail == "1 row breaks it, e.g. id=1, b is empty, d is empty"
    assert found.columns == ("id", "b", "d", "a", "c")
    assert found.sample == (("1", None, None, "2", "3"),)


def test_nothing_is_shown_where_nothing_breaks():
    with duckdb.connect() as con:
        con.execute("create table t as select 1 as id, 2 as a")
        found = find(con, rule("not_null", columns=("id", "a"), mostly=0.5), "t", "id")
    assert (found.count, found.detail, found.sample) == (0, "0 rows break it", ())


def test_columns_are_named_in_any_case():
    with duckdb.connect() as con:
        con.execute("create table t as select 1 as id, -1 as amount")
        found = find(con, rule("expression", expression='"AMOUNT" > 0'), "t", "id")
    assert found.detail == "1 row breaks it, e.g. id=1, amount=-1"


def test_samples_go_through_json_and_older_results_have_none(settings, build):
    checked = rule("between", columns=("n",), maximum=1)
    result = audit(settings, build(PEOPLE), {}, [checked])
    assert result.results[0].columns == ("id", "n")
    assert result.results[0].sample[0] == ("2", "2")
    assert GateResult.from_json(result.to_json()) == result
    older = asdict(result.results[0])
    del older["columns"], older["sample"]
    read = RuleResult.from_json(json.loads(json.dumps(older)))
    assert (read.columns, read.sample) == ((), ())
    assert read.detail == result.results[0].detail


@pytest.mark.parametrize(
    ("checked", "where", "told"),
    [
        (
            rule("aggregate", expression="avg(n)", minimum=1),
            "n > 5",
            "there is no value of avg(n): the table has no rows; expected at least 1",
        ),
        (
            rule("aggregate", expression="avg(n) filter (n > 5)", minimum=1),
            "true",
            "there is no value of avg(n) filter (n > 5): none of 50 rows has what it is made from;"
            " expected at least 1",
        ),
        (
            rule("aggregate", expression="sum('nan'::double)", maximum=1),
            "true",
            "sum('nan'::double) is not a number (NaN): some row has NaN, or 0 was divided by 0;"
            " expected at most 1",
        ),
        (
            rule("aggregate", expression="avg(n)", minimum=2),
            "n = 1",
            "avg(n) is 1.0, expected at least 2",
        ),
        (
            rule("aggregate", expression="max(n) - count(*)", minimum=0, maximum=0),
            "n = 1",
            "max(n) - count(*) is -16, expected 0",
        ),
        (
            rule("row_count", minimum=3, maximum=3),
            "n > 5",
            "0 rows, expected 3",
        ),
        (
            rule("total", expression="sum(n)", equals="count(*)", equals_table="marts.people"),
            "n > 5",
            "sum(n): no value, for want of rows that have one, but 50 in marts.people",
        ),
        (
            rule("total", expression="count(*)", equals="'nan'::float", equals_table="marts.one"),
            "true",
            "count(*): 50, but no number (NaN) in marts.one",
        ),
    ],
)
def test_no_value_is_told_in_words(checked, where, told):
    with duckdb.connect() as con:
        con.execute("create schema marts")
        con.execute(PEOPLE)
        con.execute("create table marts.one as select 1 as x")
        source = f"(select * from marts.people where {where})"
        assert find(con, checked, source, None).detail == told


@pytest.mark.parametrize("bounds", [{"minimum": 1}, {"maximum": 1}])
def test_what_is_no_number_is_within_no_bounds(bounds):
    checked = rule("aggregate", expression="sum('nan'::double)", **bounds)
    (value,) = duckdb.execute(f"select {within(checked, checked.expression)}").fetchone()
    assert value is False


def test_figures_are_told_to_six_digits_and_totals_that_differ_stay_apart():
    with duckdb.connect() as con:
        con.execute("create table t as select n / 7 as price from range(1, 3) t (n)")
        found = find(con, rule("aggregate", expression="avg(price)", minimum=1), "t", None)
        assert found.detail == "avg(price) is 0.214286, expected at least 1"
        con.execute("create table near as select 0.9999999::double as a, 1.0000001::double as b")
        total = rule("total", expression="sum(a)", equals="sum(b)", equals_table="near")
        found = find(con, total, "near", None)
    assert found.detail == "sum(a): 1.0, but 1.0000001 in near"
