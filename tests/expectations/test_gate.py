"""The gate: each check passes, fails and errs as it should; scopes, verdicts, a clean exit."""

from __future__ import annotations

import gc
import hashlib
import subprocess
import sys
from dataclasses import replace
from datetime import date, datetime

import duckdb
import pytest
from made import made_rule

from expectations.comparing import Comparison
from expectations.gate import (
    NO_VALUE,
    GateResult,
    RuleResult,
    TableScope,
    audit,
    verdict,
)
from expectations.rule_files import load_rules
from warehouse.errors import BuildError

TABLE = "marts.payments"


def rule(check, *, table=TABLE, **parts):
    return made_rule(check, table, **parts)


NOT_NULL = rule("not_null", columns=("id",))
NOT_NULL_SEVERAL = rule("not_null", columns=("id", "amount"))
UNIQUE = rule("unique", columns=("id",))
UNIQUE_PAIR = rule("unique", columns=("id", "paid_on"))
BETWEEN = rule("between", columns=("amount",), minimum=0, maximum=10)
STRICT = rule("between", columns=("amount",), minimum=0, strict_min=True)
SINCE = rule("between", columns=("paid_at",), minimum=datetime(2018, 4, 1))  # noqa: DTZ001 (as in DuckDB)
SINCE_DAY = rule("between", columns=("paid_on",), minimum=date(2018, 4, 1))
MIXED_BOUNDS = rule(
    "between",
    columns=("paid_at",),
    minimum=date(2018, 4, 1),
    maximum=datetime(2018, 5, 1),  # noqa: DTZ001 (as in DuckDB)
)
IN_SET = rule("in_set", columns=("kind",), values=("a", "it's"))
EXPRESSION = rule("expression", expression="amount::double >= 0 and kind not like '50%:?'")
MOSTLY = rule("between", columns=("amount",), minimum=0, mostly=0.5)
ROW_COUNT = rule("row_count", minimum=1, maximum=2)
SAME_COUNT = rule("row_count", equals_table="marts.other")
HOLDS = rule("aggregate", rule_id="holds", expression="count(*)", minimum=1)
TOTAL = rule("total", expression="sum(amount)", equals="sum(n)", equals_table="marts.other")
BETWEEN_COLUMNS = rule(
    "between", columns=("paid_at",), minimum_sql="paid_on", maximum_sql="paid_on + interval 1 day"
)
LENGTH = rule("length", columns=("kind",), minimum=1, maximum=4)
REGEX = rule("regex", columns=("kind",), pattern="[a-z']+ ?[a-z]?")
REFERENCES = rule(
    "references", columns=("amount",), references_table="marts.other", references_columns=("n",)
)
REFERENCES_PAIR = rule(
    "references",
    columns=("id", "amount"),
    references_table=TABLE,
    references_columns=("id", "amount"),
)
DISTINCT = rule("distinct_count", columns=("kind",), minimum=1, maximum=2)
DISTINCT_PAIRS = rule("distinct_count", columns=("kind", "paid_on"), minimum=2, maximum=2)
AGGREGATE = rule("aggregate", expression="avg(amount)", minimum=4, maximum=4.5)
STRICT_AGGREGATE = rule("aggregate", expression="max(amount)", maximum=6, strict_max=True)
FRESH = rule("freshness", columns=("paid_at",), max_age="36 hours")
ORDERED = rule("columns", ordered=True, column_types=(("n", "INTEGER"), ("m", "INTEGER")))
COLUMNS = rule(
    "columns",
    column_types=tuple(
        {
            "id": "BIGINT",
            "amount": "INTEGER",
            "kind": "VARCHAR",
            "paid_at": "TIMESTAMP",
            "paid_on": "DATE",
        }.items()
    ),
)

GOOD = "(1::bigint, 4, 'a', timestamp '2018-04-01', date '2018-04-01')"
ALSO_GOOD = "(2::bigint, 5, 'it''s', timestamp '2018-05-01', date '2018-05-01')"


def table(*rows):
    return (
        f"create or replace table {TABLE} as"
        f" select * from (values {', '.join(rows)}) as t(id, amount, kind, paid_at, paid_on)"
    )


OTHER = "create table marts.other as select * from (values (4), (5)) as t(n)"
OTHER_RULE = rule("row_count", rule_id="other", table="marts.other", minimum=1)


def only(result: GateResult, rule_id="r") -> RuleResult:
    (found,) = [found for found in result.results if found.rule_id == rule_id]
    return found


@pytest.mark.parametrize(
    "checked",
    [
        NOT_NULL,
        NOT_NULL_SEVERAL,
        UNIQUE,
        UNIQUE_PAIR,
        BETWEEN,
        STRICT,
        SINCE,
        SINCE_DAY,
        MIXED_BOUNDS,
        IN_SET,
        EXPRESSION,
        MOSTLY,
        ROW_COUNT,
        SAME_COUNT,
        TOTAL,
        COLUMNS,
        BETWEEN_COLUMNS,
        LENGTH,
        REGEX,
        REFERENCES,
        REFERENCES_PAIR,
        DISTINCT,
        DISTINCT_PAIRS,
        AGGREGATE,
        STRICT_AGGREGATE,
    ],
)
def test_a_check_passes(settings, build, checked):
    result = audit(settings, build(table(GOOD, ALSO_GOOD), OTHER), {}, [checked, OTHER_RULE])
    assert result.verdict == "pass", only(result).detail
    assert only(result).status == "pass"
    assert only(result).rows_checked == 2
    assert only(result).unexpected_count == 0


@pytest.mark.parametrize(
    ("checked", "row", "detail"),
    [
        (
            NOT_NULL,
            "(null, 3, 'a', now()::timestamp, today())",
            "1 row breaks it, e.g. id is empty",
        ),
        (
            NOT_NULL_SEVERAL,
            "(7, null, 'a', now()::timestamp, today())",
            "1 row breaks it, e.g. id=7, amount is empty",
        ),
        (
            UNIQUE,
            "(1, 3, 'a', now()::timestamp, today())",
            "1 row repeats a key, e.g. id=1, rows=2",
        ),
        (
            UNIQUE_PAIR,
            "(1, 3, 'a', now()::timestamp, date '2018-04-01')",
            "1 row repeats a key, e.g. id=1, paid_on=2018-04-01, rows=2",
        ),
        (
            BETWEEN,
            "(7, 11, 'a', now()::timestamp, today())",
            "1 row breaks it, e.g. id=7, amount=11",
        ),
        (STRICT, "(7, 0, 'a', now()::timestamp, today())", "1 row breaks it, e.g. id=7, amount=0"),
        (
            SINCE,
            "(7, 1, 'a', timestamp '2018-03-31 23:59:59', today())",
            "1 row breaks it, e.g. id=7, paid_at=2018-03-31 23:59:59",
        ),
        (
            SINCE_DAY,
            "(7, 1, 'a', now()::timestamp, date '2018-03-31')",
            "1 row breaks it, e.g. id=7, paid_on=2018-03-31",
        ),
        (
            MIXED_BOUNDS,
            "(7, 1, 'a', timestamp '2018-05-01 00:00:01', today())",
            "1 row breaks it, e.g. id=7, paid_at=2018-05-01 00:00:01",
        ),
        (IN_SET, "(7, 1, 'b', now()::timestamp, today())", "1 row breaks it, e.g. id=7, kind=b"),
        (
            EXPRESSION,
            "(7, -1, 'a', now()::timestamp, today())",
            "1 row breaks it, e.g. id=7, amount=-1, kind=a",
        ),
        (
            EXPRESSION,
            "(7, null, 'a', now()::timestamp, today())",
            "1 row breaks it, e.g. id=7, amount is empty, kind=a",
        ),
        (ROW_COUNT, ALSO_GOOD, "3 rows, expected at least 1 and at most 2"),
        (SAME_COUNT, ALSO_GOOD, "rows: 3, but 2 in marts.other"),
        (TOTAL, ALSO_GOOD, "sum(amount): 14, but 9 in marts.other"),
        (
            BETWEEN_COLUMNS,
            "(7, 1, 'a', timestamp '2018-04-03', date '2018-04-01')",
            "1 row breaks it, e.g. id=7, paid_at=2018-04-03 00:00:00, paid_on=2018-04-01",
        ),
        (
            BETWEEN_COLUMNS,
            "(7, 1, 'a', timestamp '2018-03-31', date '2018-04-01')",
            "1 row breaks it, e.g. id=7, paid_at=2018-03-31 00:00:00, paid_on=2018-04-01",
        ),
        (LENGTH, "(7, 1, '', now()::timestamp, today())", "1 row breaks it, e.g. id=7, kind="),
        (LENGTH, "(7, 1, 'abcde', null, today())", "1 row breaks it, e.g. id=7, kind=abcde"),
        (REGEX, "(7, 1, 'aB', null, today())", "1 row breaks it, e.g. id=7, kind=aB"),
        (REFERENCES, "(7, 6, 'a', null, today())", "1 row breaks it, e.g. id=7, amount=6"),
        (
            DISTINCT,
            "(7, 1, 'c', null, today())",
            "3 different kind, expected at least 1 and at most 2",
        ),
        (
            DISTINCT_PAIRS,
            "(7, 1, 'c', null, today())",
            "3 different kind, paid_on, expected 2",
        ),
        (
            AGGREGATE,
            "(7, 9, 'a', null, today())",
            "avg(amount) is 6.0, expected at least 4 and at most 4.5",
        ),
        (
            STRICT_AGGREGATE,
            "(7, 6, 'a', null, today())",
            "max(amount) is 6, expected less than 6",
        ),
    ],
)
def test_a_check_fails_and_tells_what_it_saw(settings, build, checked, row, detail):
    path = build(table(GOOD, ALSO_GOOD, row), OTHER)
    result = audit(settings, path, {TABLE: TableScope(TABLE)}, [checked, OTHER_RULE])
    assert result.verdict == "block"
    assert (only(result).status, only(result).unexpected_count) == ("fail", 1)
    assert only(result).detail == detail


@pytest.mark.parametrize(("age", "status"), [(35, "pass"), (37, "fail"), (None, "fail")])
def test_freshness_is_of_the_newest_row(settings, build, age, status):
    newest = "null" if age is None else f"now() at time zone 'UTC' - interval {age} hours"
    rows = [f"({n}, 1, 'a', {value}, today())" for n, value in enumerate((newest, "null"))]
    path = build(table(*rows).replace("null,", "null::timestamp,"))
    result = only(audit(settings, path, {}, [FRESH]))
    assert result.status == status, result.detail
    told = {"pass": "2 rows", "fail": "older than 36 hours"}
    assert (told[status] if age else "no row has a paid_at") in result.detail


def test_a_row_of_the_future_proves_no_freshness(settings, build):
    ahead = [f"now() at time zone 'UTC' {sign} interval 99 hours" for sign in "+-"]
    rows = [f"({n}, 1, 'a', {moment}, today())" for n, moment in enumerate(ahead)]
    assert only(audit(settings, build(table(*rows)), {}, [FRESH])).status == "fail"


def test_order_of_columns_counts_when_told(settings, build):
    created = f"create or replace table {TABLE} as select 1 as m, 2 as n"
    result = only(audit(settings, build(created), {}, [ORDERED]))
    assert (result.status, result.detail) == ("fail", "the order is m, n, not n, m")
    free = replace(ORDERED, ordered=False)
    assert only(audit(settings, build(created), {}, [free])).status == "pass"


@pytest.mark.parametrize(
    "checked",
    [BETWEEN, BETWEEN_COLUMNS, IN_SET, LENGTH, REGEX, REFERENCES, REFERENCES_PAIR],
    ids=lambda checked: checked.check,
)
def test_unknown_value_keeps_a_rule_on_values(settings, build, checked):
    unknown = "(null::bigint, null, null, null, null)"
    path = build(table(GOOD, unknown), "create table marts.other as select unnest([4, null]) as n")
    result = only(audit(settings, path, {}, [checked, OTHER_RULE]))
    assert result.status == "pass", result.detail


def test_columns_differ(settings, build):
    path = build(
        f"create table {TABLE} as"
        " select 1 as id, 2 as amount, 'a' as kind, today() as paid_on, 5 as x"
    )
    result = only(audit(settings, path, {}, [COLUMNS]))
    assert result.detail == "paid_at is missing; x is not expected; id is INTEGER, not BIGINT"
    assert (result.status, result.unexpected_count) == ("fail", 3)


@pytest.mark.parametrize("severity", ["critical", "warning", "info"])
@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (
            {"check": "total", "equals": "sum(n)", "equals_table": "marts.other"},
            "no value, for want of rows that have one, but no value",
        ),
        ({"check": "aggregate", "minimum": 0}, "none of 1 row has what it is made from"),
    ],
)
def test_nothing_compared_is_an_error_whatever_the_severity(settings, build, parts, told, severity):
    checked = rule(expression="sum(amount)", severity=severity, **parts)
    path = build(
        table("(1, null, 'a', now()::timestamp, today())"),
        "create table marts.other as select null::integer as n",
    )
    result = audit(settings, path, {}, [checked, OTHER_RULE, HOLDS])
    found = only(result)
    assert (found.status, result.verdict) == ("error", "error")
    assert found.detail.startswith(f"{NO_VALUE}: ")  # there is a row
    assert told in found.detail
    assert only(result, "holds").status == "pass"


def test_total_of_nothing_beside_something_does_not_hold(settings, build):
    checked = replace(TOTAL, severity="warning")
    path = build(
        table("(1, null, 'a', now()::timestamp, today())"),
        "create table marts.other as select 5 as n",
    )
    assert only(audit(settings, path, {}, [checked, OTHER_RULE])).status == "warn"


def test_unknown_values_pass_between_and_in_set(settings, build):
    rows = (GOOD, "(2, null, null, null, null)")
    for checked in (BETWEEN, IN_SET):
        assert only(audit(settings, build(table(*rows)), {}, [checked])).status == "pass"


def test_mostly_allows_a_share(settings, build):
    bad = "(7, -1, 'a', now()::timestamp, today())"
    held = only(audit(settings, build(table(GOOD, bad)), {}, [MOSTLY]))
    assert (held.status, held.unexpected_count) == ("pass", 1)
    broken = only(audit(settings, build(table(GOOD, bad, bad)), {}, [MOSTLY]))
    assert (broken.status, broken.unexpected_count) == ("fail", 2)


@pytest.mark.parametrize(
    "values",
    [
        "range(-3, 3)",
        "unnest([-128, 127]::tinyint[])",
        "unnest([0, 65535]::usmallint[])",
        "unnest([-9223372036854775808, 9223372036854775807]::bigint[])",
        "unnest([9223372036854775806, 9223372036854775807]::bigint[])",
        "unnest([-9223372036854775808, -9223372036854775807]::bigint[])",
        "unnest([1, 2]::hugeint[])",
        "unnest([1.5, 2.5]::decimal(9, 1)[])",
        "unnest(['a', 'b'])",
        "unnest([true, false])",
        "unnest([null, null, 1]::integer[])",
    ],
)
def test_uniqueness_of_every_type(settings, build, values):
    unique = f"create or replace table {TABLE} as select {values} as id"
    assert only(audit(settings, build(unique), {}, [UNIQUE])).status == "pass"
    repeated = f"insert into {TABLE} select id from {TABLE} where id is not null limit 1"
    result = only(audit(settings, build(repeated), {}, [UNIQUE]))
    assert (result.status, result.unexpected_count) == ("fail", 1)


def test_keys_all_unknown_are_unique(settings, build):
    path = build(f"create table {TABLE} as select null::bigint as id from range(3)")
    assert only(audit(settings, path, {}, [UNIQUE])).status == "pass"


def test_an_error_is_an_error_for_the_broken_rule_alone(settings, build):
    broken = rule("expression", rule_id="broken", expression="amuont > 0", severity="info")
    failing = rule("between", rule_id="failing", columns=("amount",), maximum=4)
    result = audit(settings, build(table(GOOD, ALSO_GOOD)), {}, [NOT_NULL, broken, failing])
    assert result.verdict == "error"
    assert only(result).status == "pass"
    assert only(result, "failing").status == "fail"
    assert only(result, "broken").status == "error"
    assert only(result, "broken").detail.startswith(
        'Binder Error: Referenced column "amuont" not found'
    )


@pytest.mark.parametrize(
    "checked",
    [
        rule("not_null", columns=("nowhere",)),
        rule("unique", columns=("nowhere",)),
        rule("between", columns=("nowhere",), minimum=0),
        rule("between", columns=("kind",), minimum=0),
        rule("in_set", columns=("nowhere",), values=(1,)),
        rule("expression", expression="sum(amount) > 0"),
        rule("expression", expression="amount >"),
        rule("row_count", equals_table="marts.nowhere"),
        rule("total", expression="sum(amount", equals="1", equals_table="marts.payments"),
    ],
)
def test_a_check_that_cannot_run_is_an_error(settings, build, checked):
    result = audit(settings, build(table(GOOD)), {}, [checked])
    assert (result.verdict, only(result).status) == ("error", "error")
    assert only(result).detail


def test_nothing_to_check_is_an_error(settings, build):
    assert audit(settings, build(), {}, []).verdict == "error"


def test_a_published_table_without_rules_is_an_error(settings, build):
    result = audit(settings, build(table(GOOD), OTHER), {}, [NOT_NULL])
    assert result.verdict == "error"
    assert only(result, "other_has_rules").detail == "no rule speaks of marts.other"


def test_a_table_that_should_be_there_but_is_not_is_an_error(settings, build):
    result = audit(settings, build(OTHER), {TABLE: TableScope(TABLE)}, [NOT_NULL, OTHER_RULE])
    assert result.verdict == "error"
    assert only(result).detail == "marts.payments is not in the build"


@pytest.mark.parametrize(("materialized", "kind"), [("view", "a view"), ("ephemeral", "ephemeral")])
def test_a_published_model_that_is_no_table_is_told(settings, build, materialized, kind):
    path = build(OTHER, f"create view {TABLE} as select 1 as id")
    scope = TableScope(TABLE, materialized=materialized)
    result = audit(settings, path, {TABLE: scope}, [NOT_NULL, OTHER_RULE])
    assert result.verdict == "error"
    assert only(result).detail == (
        f"marts.payments is {kind}: published relations are tables; set materialized to table or"
        " incremental"
    )


def test_rules_for_a_table_that_nobody_builds_are_left_out(settings, build):
    result = audit(settings, build(OTHER), {}, [NOT_NULL, OTHER_RULE])
    assert result.verdict == "pass"
    assert [found.rule_id for found in result.results] == ["other"]


def test_a_check_that_saw_no_rows_is_an_error(settings, build):
    path = build(table(GOOD), f"delete from {TABLE}")
    for checked in (NOT_NULL, UNIQUE, BETWEEN, IN_SET, EXPRESSION):
        result = audit(settings, path, {}, [checked])
        assert (result.verdict, only(result).detail) == ("error", "the check saw no rows")
    assert audit(settings, path, {}, [ROW_COUNT]).verdict == "block"


def test_verdicts(settings, build):
    path = build(table(GOOD, "(7, -1, 'a', now()::timestamp, today())"))
    warning, info = replace(BETWEEN, severity="warning"), replace(BETWEEN, severity="info")
    assert audit(settings, path, {}, [BETWEEN]).verdict == "block"
    assert audit(settings, path, {}, [warning]).verdict == "warn"
    told = audit(settings, path, {}, [info])
    assert (told.verdict, only(told).status, only(told).unexpected_count) == ("pass", "info", 1)
    as_before = told.to_json().replace('"status": "info"', '"status": "warn"')
    assert GateResult.from_json(as_before) == told
    assert verdict([]) == "error"


CHANGES = "create table intermediate.changes as select unnest([90, 91, 500, null])::bigint as id"
SCOPES = {TABLE: TableScope(TABLE, "intermediate.changes", "id")}


def numbered(rows=100):
    return (
        f"create table {TABLE} as select i as id, i as position, 5 as amount, 'a' as kind,"
        f" timestamp '2018-04-01' as paid_at, date '2018-04-01' as paid_on"
        f" from range({rows}) as t(i)"
    )


def base_of(settings, path, rules):
    base = audit(settings, path, {}, rules)
    return (
        {result.rule_id: result for result in base.results},
        {checked.id: checked.hash for checked in rules},
    )


def test_only_changed_rows_are_read(settings, build):
    path = build(numbered(200), CHANGES)
    carried, hashes = base_of(settings, path, [BETWEEN])
    build(f"update {TABLE} set amount = -1 where id in (3, 90)")
    narrow = only(audit(settings, path, SCOPES, [BETWEEN], carried, hashes))
    assert (narrow.rows_checked, narrow.unexpected_count, narrow.status) == (2, 1, "fail")


@pytest.mark.parametrize(
    "change",
    [
        f"update {TABLE} set amount = -1 where id = 90",
        f"update {TABLE} set kind = 'z' where id = 91",
        f"insert into {TABLE} select * from {TABLE} where id = 90",
        f"update {TABLE} set amount = null where id = 91",
        f"update {TABLE} set amount = 6 where id = 91",
        f"delete from {TABLE} where id in (90, 91)",
        f"insert into {TABLE} select 500, 500, 5, 'a', null, null",
        f"insert into {TABLE} select null, null, 5, 'a', null, null",
    ],
)
def test_changed_rows_alone_decide_as_the_whole_table_does(settings, build, change):
    rules = [
        replace(checked, id=f"rule_{number}")
        for number, checked in enumerate(
            [NOT_NULL_SEVERAL, UNIQUE, UNIQUE_PAIR, BETWEEN, IN_SET, EXPRESSION]
        )
    ]
    path = build(numbered(), CHANGES)
    carried, hashes = base_of(settings, path, rules)
    build(change)
    narrow = audit(settings, path, SCOPES, rules, carried, hashes)
    whole = audit(settings, path, {}, rules)
    assert narrow.verdict == whole.verdict
    assert {(found.rule_id, found.unexpected_count) for found in narrow.results} == {
        (found.rule_id, found.unexpected_count) for found in whole.results
    }


def test_unchanged_tables_carry_the_bases_result(settings, build):
    path = build(numbered(), "create table intermediate.changes (id bigint)")
    carried, hashes = base_of(settings, path, [BETWEEN, replace(ROW_COUNT, id="n", maximum=None)])
    rules = [BETWEEN, replace(ROW_COUNT, id="n", maximum=None)]
    result = audit(settings, path, SCOPES, rules, carried, hashes)
    assert result.verdict == "pass"
    assert only(result) == replace(carried["r"], status="carried")
    assert only(result, "n").status == "pass"
    again = audit(settings, path, SCOPES, rules, {"r": only(result)}, hashes)
    assert only(again).status == "carried"


def test_the_whole_table_is_read_when_the_base_cannot_vouch_for_the_rest(settings, build):
    path = build(numbered(), CHANGES)
    carried, hashes = base_of(settings, path, [BETWEEN])
    failed = {"r": replace(carried["r"], status="warn")}
    subquery = rule("expression", expression=f"id in (select id from {TABLE})")
    clock = rule("expression", expression="paid_at < now()")
    other_key = rule("unique", columns=("position",))
    for checked, base, base_hashes in (
        (replace(BETWEEN, maximum=9), carried, hashes),
        (BETWEEN, {}, hashes),
        (BETWEEN, failed, hashes),
        (MOSTLY, carried, {"r": MOSTLY.hash}),
        (subquery, carried, {"r": subquery.hash}),
        (clock, carried, {"r": clock.hash}),
        (other_key, carried, {"r": other_key.hash}),
    ):
        result = audit(settings, path, SCOPES, [checked], base, base_hashes)
        assert only(result).rows_checked == 100
    for scope in (
        TableScope(TABLE),
        TableScope(TABLE, "intermediate.nowhere", "id"),
    ):
        result = audit(settings, path, {TABLE: scope}, [BETWEEN], carried, hashes)
        assert only(result).rows_checked == 100


def test_the_whole_table_is_read_when_much_changed(settings, build):
    path = build(numbered(), f"create table intermediate.changes as select id from {TABLE}")
    carried, hashes = base_of(settings, path, [BETWEEN])
    assert only(audit(settings, path, SCOPES, [BETWEEN], carried, hashes)).rows_checked == 100


def test_an_emptied_table_is_not_carried(settings, build):
    path = build(numbered(), "create table intermediate.changes as select 1::bigint as id")
    carried, hashes = base_of(settings, path, [BETWEEN])
    build(f"delete from {TABLE}")
    assert audit(settings, path, SCOPES, [BETWEEN], carried, hashes).verdict == "error"


def test_the_build_is_left_as_it_was_and_unlocked(settings, build):
    path = build(numbered(), CHANGES)
    carried, hashes = base_of(settings, path, [BETWEEN])
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    broken = rule("expression", rule_id="broken", expression="nowhere")
    audit(settings, path, SCOPES, [BETWEEN, broken], carried, hashes)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    assert sorted(file.name for file in path.parent.iterdir() if file.is_file()) == [path.name]
    with duckdb.connect(str(path)) as con:  # fails while the gate's read-only one is open
        con.execute("create table written (i integer)")


def test_nothing_of_an_audit_stays_in_memory(settings, build):
    """Great Expectations keeps its newest context, and with it whatever that knows."""
    result = audit(settings, build(numbered()), {}, [BETWEEN], run_id="over")
    assert result.verdict == "pass"
    gc.collect()
    left = [found for found in gc.get_objects() if isinstance(found, Comparison)]
    assert "over" not in [comparison._run_id for comparison in left]


def test_a_build_that_cannot_be_opened_says_so(settings, tmp_path):
    with pytest.raises(BuildError, match="the build cannot be opened for its audit"):
        audit(settings, tmp_path / "nothing.duckdb", {}, [NOT_NULL])


def test_a_result_survives_json(settings, build):
    result = audit(settings, build(table(GOOD)), {}, [NOT_NULL, replace(BETWEEN, id="b")])
    assert GateResult.from_json(result.to_json()) == result


IMPORTING = """
import sys
from expectations.gx_loading import load_great_expectations
load_great_expectations()
import expectations.compilation
print([name for name in ("scipy.stats._stats_py", "altair.vegalite") if name in sys.modules])
"""


def test_the_seldom_used_modules_stay_unloaded():
    # In a process of its own: other tests may have imported them here.
    told = subprocess.run(
        [sys.executable, "-c", IMPORTING], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "[]"


def test_the_projects_rules_are_well_formed():
    tables = {checked.table for checked in load_rules()}
    assert {"marts.fct_transactions", "features.feat_transactions__behaviour"} <= tables


def test_column_names_that_sql_reserves(settings, build):
    path = build(f'create table {TABLE} as select 1 as "order", 2 as "at", 3 as "Mixed Case"')
    rules = [
        replace(checked, id=f"{checked.check} {column}", columns=(column,))
        for column in ("order", "at", "Mixed Case")
        for checked in (NOT_NULL, UNIQUE, BETWEEN, replace(IN_SET, values=(1, 2, 3)))
    ]
    result = audit(settings, path, {}, rules)
    assert {found.rule_id: found.detail for found in result.results if found.status != "pass"} == {}
