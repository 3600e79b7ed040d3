"""What is missing, counted; how the tests of it are kept; what is never read."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import replace

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from expectations.missing import (
    MissingColumn,
    MissingPattern,
    analyse,
    keep_analyses,
    known_analyses,
    missing_of_release,
)
from expectations.missingness.patterns import columns_of, count
from expectations.missingness.sampling import Sampler

TABLE = "marts.t"


@pytest.fixture
def con():
    with duckdb.connect(config={"threads": 2}) as con:
        con.execute("create schema marts")
        con.execute("select setseed(0.42)")
        yield con


def make(con, sql):
    con.execute(f"create or replace table {TABLE} as {sql}")


def analysed(con, sql, **options):
    make(con, sql)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return analyse(con, TABLE, **({"seed": 1} | options))


def counted(con):
    return count(con, TABLE, columns_of(con, TABLE, frozenset(), frozenset()))


def facts(analysis):
    return replace(analysis, analysed_at=None)


def test_counts_and_patterns_are_known(con):
    found = analysed(
        con,
        "select * from (values (1, 'x', null, 1.5), (2, null, null, 'nan'::double),"
        " (null, null, null, 2.5), (4, 'y', 7, 3.5), (5, 'z', null, 4.5)) t(a, b, c, d)",
    )
    assert found.rows == 5
    assert found.columns == (
        MissingColumn("a", 1, 0.2),
        MissingColumn("b", 2, 0.4),
        MissingColumn("c", 4, 0.8),
        MissingColumn("d", 1, 0.2),
    )
    assert found.patterns == (
        MissingPattern(("c",), 2, 0.4),
        MissingPattern((), 1, 0.2),
        MissingPattern(("a", "b", "c"), 1, 0.2),
        MissingPattern(("b", "c", "d"), 1, 0.2),
    )
    assert found.complete_rows == 1
    assert not found.is_monotone  # a and d are both missing where b is, each without the other


def test_what_cannot_be_tested_is_said(con):
    assert "no test can tell" in analysed(con, "select null::int as a").notes[-1]


def test_nothing_is_told_of_a_table_that_lacks_nothing(con):
    assert analysed(con, "select i, 'x' as t, 1.5::double as d from range(9) r(i)") is None
    assert analysed(con, "select null::int as a where false") is None


@pytest.mark.parametrize(
    ("rows", "is_monotone"),
    [
        ("(1, 2, 3), (1, 2, null), (1, null, null)", True),
        ("(1, 2, 3), (null, null, null)", True),
        ("(null, 2, 3), (null, null, 3), (null, null, null)", True),
        ("(1, null, 3), (1, 2, null)", False),
        ("(1, null, null), (null, 2, null)", False),
    ],
)
def test_monotone_is_a_matter_of_nesting(con, rows, is_monotone):
    make(con, f"select * from (values {rows}) t(a, b, c)")
    assert counted(con).is_monotone is is_monotone


def test_columns_that_are_missing_in_the_same_rows_are_told_as_one(con):
    found = analysed(
        con,
        "select case when i % 3 = 0 then null else i end as a, case when i % 3 = 0 then null else"
        " 'x' end as b, case when i % 3 = 1 then null else i end as c from range(300) r(i)",
    )
    assert any(note.startswith("a, b are missing in the same rows") for note in found.notes)
    assert counted(con).alike == (("a", "b"), ("c",))


ROWS = st.lists(st.tuples(*[st.sampled_from([None, 1, 2])] * 4), min_size=1, max_size=30)


@given(rows=ROWS, padding=st.integers(0, 70))
def test_counts_equal_those_of_python(rows, padding):
    """`padding` columns in between: patterns of more than 60 columns take two words."""
    with duckdb.connect() as con:
        con.execute("create schema marts")
        empty = ", ".join(f"null::int as p{n}" for n in range(padding))
        values = ", ".join(
            f"({', '.join('null' if v is None else str(v) for v in row)})" for row in rows
        )
        make(
            con,
            f"select a, b{', ' * bool(empty)}{empty}, c, d from (values {values}) t(a, b, c, d)",
        )
        found = counted(con)
    expected = Counter(
        tuple(name for name, value in zip("abcd", row, strict=True) if value is None)
        for row in rows
    )
    if found is None:
        assert padding == 0
        assert set(expected) == {()}
        return
    patterns = Counter({tuple(c for c in p.columns if len(c) == 1): p.rows for p in found.patterns})
    assert patterns == Counter(dict(expected.most_common(20)))
    missing = {column.column: column.missing for column in found.columns}
    for position, name in enumerate("abcd"):
        assert missing.get(name, 0) == sum(row[position] is None for row in rows)
    assert found.complete_rows == (0 if padding else expected[()])
    sets = [set(pattern) for pattern in expected]
    assert found.is_monotone == all(a <= b or b <= a for a in sets for b in sets)


MIXED = """
    select i % 5 as a, case when i % 7 = 0 then null else i % 11 + 0.5 end as b,
        case when i % 4 = 0 then null else 'v' || (i % 3) end as c,
        case when i % 9 = 0 then null else date '2024-01-01' + (i % 40)::int end as d,
        i % 2 = 0 as e, (i * 7919 % 1009)::double as f
    from range(3000) r(i)
"""


@pytest.mark.parametrize("repeats", [1, 12])
def test_the_order_of_rows_does_not_matter(con, repeats):
    """12 copies of each row are more than a sample takes: it takes of each in proportion."""
    sql = f"from ({MIXED}), range({repeats})"
    once = analysed(con, f"select * exclude (range) {sql}")
    for seed in (0.1, 0.2):
        con.execute(f"select setseed({seed})")
        again = analysed(con, f"select * exclude (range) {sql} order by random()")
        assert facts(again) == facts(once)


def test_copies_are_sampled_in_proportion(con):
    make(
        con,
        "select case when i % 10 < 7 then 'x' when i % 10 < 9 then 'y' end as c, i % 2 as h"
        " from range(1000000) r(i)",
    )
    columns = columns_of(con, TABLE, frozenset(), frozenset())
    sample = Sampler(con, TABLE, columns, columns[:1], seed=3).take(10_000)
    shares = sorted(Counter(sample.labels["c"].tolist()).values())
    assert [round(share, -2) for share in shares] == [1000, 2000, 7000]
    assert sample.lacks["c"].sum() == shares[0]


ODD = {
    "one row": "select 1 as a, null::varchar as b",
    "all null": "select null::int as a, null::double as b, null::date as c from range(100)",
    "only text": "select case when i % 3 = 0 then null else 'n' || i end as a, 'x' || (i % 4) as b"
    " from range(500) r(i)",
    "not finite": "select case when i % 5 = 0 then null when i % 5 = 1 then 'nan'::double"
    " when i % 7 = 1 then 'inf'::double else i end as f, i * 1.5e307 / 600 as g,"
    " timestamp 'infinity' as t, case when i % 3 = 0 then null else i * 1e305 end as k"
    " from range(600) r(i)",
    "awkward names": "select i % 3 as h, i % 4 as n, case when i % 5 = 0 then null else i end"
    ' as w0, i as l0, case when i % 9 = 0 then null else i % 2 end as v0, 1 as "co""pies"'
    " from range(600) r(i)",
    "every type": "select case when i % 2 = 0 then null else x end as a, case when i % 3 = 0 then"
    " null else x end as b, x as c, true as flag, 1.5::decimal(9, 2) as money, time '10:00' as t,"
    " timestamptz '2024-01-01' as tz, '{}'::json as j, uuid() as u, 3::hugeint as hu, [1] as l"
    " from range(300) r(i), (select {'a': 1} as x)",
    "constant": "select case when i % 2 = 0 then null else 1 end as a,"
    " case when i % 3 = 0 then null else true end as b from range(300) r(i)",
}


@pytest.mark.parametrize("sql", ODD.values(), ids=ODD)
def test_odd_tables_are_analysed_without_a_warning(con, sql):
    found = analysed(con, sql)
    types = {name: kind for name, kind, *_ in con.execute(f"describe {TABLE}").fetchall()}
    for column in found.columns:
        lacks = f'"{column.column}" is null'
        if types[column.column] == "DOUBLE":
            lacks += f' or isnan("{column.column}")'
        expected = con.execute(f"select count(*) from {TABLE} where {lacks}").fetchone()[0]
        assert column.missing == expected
    assert sum(pattern.rows for pattern in found.patterns) == found.rows
    assert found.little is None
    assert found.little_note


def test_values_of_personal_columns_are_not_read(con):
    """Whatever they are, the analysis is the same: only whether they are there is known."""
    sql = "select i % 5 as a, case when i % 7 = 0 then null else {} end as p, {} as q"
    first, second = (
        analysed(con, f"{sql.format(p, q)} from range(2000) r(i)", personal=frozenset({"p", "q"}))
        for p, q in (("'Ada' || (i % 5)", "'Lovelace'"), ("'Alan'", "'Turing' || (i % 7 = 0)"))
    )
    assert [column.column for column in first.columns] == ["p"]
    assert facts(first) == facts(second)
    assert not first.imputations
    assert "not imputed (neither a number nor a category, or not to be read): p" in first.notes
    told = analysed(con, f"{sql.format(0, 'i % 7 = 0')} from range(2000) r(i)")
    assert [found.on for found in told.dependences] == ["q"]  # it would have been found


def test_ignored_columns_are_not_there(con):
    assert analysed(con, "select 1 as a, null as b", ignored=frozenset({"b"})) is None
    assert analysed(con, "select null as b", ignored=frozenset({"b"})) is None


SIMPLE = (
    "create or replace table {} as select i as id, i % 10 as a, case when i % 10 < {} then null"
)


def table(name, rows=1000, tenths=3, extra=""):
    return f"{SIMPLE.format(name, tenths)} else i % 8 end as b{extra} from range({rows}) r(i)"


def test_a_release_is_analysed_again_only_after_changes(settings, build):
    first = missing_of_release(settings, build(table("marts.t"), table("features.f")), {})
    assert [found.table for found in first] == ["features.f", "marts.t"]
    keep_analyses(settings, first)
    known = known_analyses(settings)
    assert tuple(known.values()) == first

    def again(*statements):
        found = missing_of_release(settings, build(*statements), known)
        return next(one for one in found if one.table == "marts.t")

    grown = again(table("marts.t", rows=1090))
    assert grown.rows == 1090
    assert sum(pattern.rows for pattern in grown.patterns) == 1090
    assert grown.dependences == first[1].dependences
    assert (grown.analysed_at, grown.analysed_rows) == (first[1].analysed_at, 1000)
    assert again(table("marts.t", rows=1200)).analysed_rows == 1200
    for changed in (
        table("marts.t", tenths=4),
        table("marts.t", extra=", 1 as c"),
        table("marts.t", extra=", case when i < 20 then null else 1 end as c"),
    ):
        assert again(changed).analysed_at > first[1].analysed_at


def test_a_slow_drift_is_measured_from_the_analysis_on(settings, build):
    """Not from run to run: ten steps of 9 % are no little change."""
    known = {}
    analysed_rows = []
    for rows in (1000, 1090, 1180):
        found = missing_of_release(settings, build(table("marts.t", rows=rows)), known)
        known = {one.table: one for one in found}
        analysed_rows.append(found[0].analysed_rows)
    assert analysed_rows == [1000, 1000, 1180]


def test_what_becomes_personal_is_analysed_anew(settings, build):
    database = build(table("marts.t"))
    known = {found.table: found for found in missing_of_release(settings, database, {})}
    assert [found.on for found in known["marts.t"].dependences] == ["a"]
    personal = {"marts.t": frozenset({"a"})}
    (found,) = missing_of_release(settings, database, known, personal=personal)
    assert not found.dependences


def test_without_time_all_is_still_counted(settings, build):
    database = build(table("marts.t"), "create table marts.u as select null::int as x")
    found = missing_of_release(settings, database, {}, seconds=0)
    assert [(one.table, one.rows, one.analysed_rows) for one in found] == [
        ("marts.t", 1000, 0),
        ("marts.u", 1, 0),
    ]
    assert "not analysed yet" in found[0].little_note
    later = missing_of_release(settings, database, {one.table: one for one in found})
    assert later[0].analysed_rows == 1000


def test_who_waited_for_longest_is_analysed_first(settings, build):
    """Tables that change in each run must not keep those after them from ever being analysed."""
    known = {}
    analysed_tables = []
    for rows in (1000, 2000, 3000):
        database = build(table("marts.a", rows), table("marts.b", rows), table("marts.c", rows))
        # So little time that it is up after the first one.
        found = missing_of_release(settings, database, known, seconds=1e-3)
        known = {one.table: one for one in found}
        analysed_tables += [one.table for one in found if one.analysed_rows]
    assert analysed_tables == ["marts.a", "marts.b", "marts.c"]


def test_losing_what_is_known_is_harmless(settings):
    assert known_analyses(settings) == {}
    settings.home.mkdir()
    settings.missing_json.write_text('{"marts.t": {"rows": 1')
    assert known_analyses(settings) == {}
    keep_analyses(settings, ())
    assert known_analyses(settings) == {}


@pytest.mark.slow
def test_three_hundred_columns_are_analysed(con):
    columns = ", ".join(
        f"case when hash(i, {n}) % 100 < {n % 20} then null else hash({n}, i) % 1000 end as c{n}"
        for n in range(300)
    )
    found = analysed(con, f"select {columns} from range(1500) r(i)")
    assert len(found.columns) == 285
    assert not found.dependences
    assert any("only the 40 columns that lack most" in note for note in found.notes)
    assert {one.column for one in found.imputations} <= {c.column for c in found.columns}
    assert all(len(note) < 300 for note in found.notes)
