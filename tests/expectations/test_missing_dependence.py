"""What missingness depends on: known answers, what must be found, and no false findings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest

from expectations.missing import analyse
from expectations.missingness.dependence import Ranks, cramers_v, holm, mann_whitney
from expectations.missingness.little import little, little_statistic
from expectations.missingness.patterns import Column
from expectations.missingness.sampling import Sample

NORMAL = "sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random())"


@pytest.fixture
def con():
    with duckdb.connect(config={"threads": 1}) as con:
        con.execute("create schema marts")
        con.execute("select setseed(0.42)")
        yield con


def analysed(con, sql, **options):
    con.execute(f"create or replace table marts.t as {sql}")
    return analyse(con, "marts.t", **({"seed": 1} | options))


def found(con, sql):
    return {(one.column, one.on, one.test): one for one in analysed(con, sql).dependences}


def test_mann_whitney_is_scipys():
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(1)
    values = rng.integers(0, 8, 300).astype(float)
    values[:20] = np.nan
    missing = rng.random(300) < 0.3
    told = mann_whitney(missing, "x", Ranks.of(values))
    has = ~np.isnan(values)
    a, b = values[missing & has], values[~missing & has]
    expected = mannwhitneyu(a, b, method="asymptotic")
    assert told.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert told.effect == pytest.approx(2 * expected.statistic / (a.size * b.size) - 1)


def test_mann_whitney_leaves_few_rows_alone():
    values = Ranks.of(np.arange(100.0))
    assert mann_whitney(np.arange(100) < 9, "x", values) is None
    assert mann_whitney(np.arange(100) < 10, "x", values).effect == -1
    assert mann_whitney(np.arange(100) < 50, "x", Ranks.of(np.ones(100))) is None


def test_holm_is_the_textbooks():
    """Holm (1979): the smallest times their number, then one less each; never falling."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


def test_cramers_v_is_corrected_for_bias():
    assert cramers_v(np.array([[50, 0], [0, 50]])) == pytest.approx(1)
    assert cramers_v(np.array([[25, 25], [25, 25]])) == 0
    # Bergsma (2013): phi² = 0.04 less 1/99, over 2 − 1/99 − 1.
    assert cramers_v(np.array([[30, 20], [20, 30]])) == pytest.approx(
        ((0.04 - 1 / 99) / (1 - 1 / 99)) ** 0.5
    )


def test_the_column_that_decides_is_found(con):
    told = found(
        con,
        f"select {NORMAL} as noise, x, case when random() < 1 / (1 + exp(1 - x)) then null else"
        f" {NORMAL} end as y, 'k' || (random() * 5)::int as kind from (select {NORMAL} as x"
        " from range(2000))",
    )
    assert set(told) == {("y", "x", "Mann–Whitney")}
    assert 0.3 < told["y", "x", "Mann–Whitney"].effect < 0.7
    assert told["y", "x", "Mann–Whitney"].p < 1e-10


@pytest.mark.parametrize("where", ["abs(x) > 1.5", "abs(x) < 0.2"])
def test_a_range_that_decides_is_found(con, where):
    """At both ends alike, or in between: the level tells nothing, the ranges do."""
    told = found(
        con,
        f"select x, case when {where} then null else random() end as y"
        f" from (select {NORMAL} as x from range(2000))",
    )
    assert set(told) == {("y", "x", "chi-square over ranges")}


def test_a_category_that_decides_is_found(con):
    told = found(
        con,
        "select store, random() as x, case when store = 's3' and random() < 0.5 then null"
        " else random() < 0.5 end as flag"
        " from (select 's' || (random() * 6)::int as store from range(3000))",
    )
    assert set(told) == {("flag", "store", "chi-square")}


def test_an_outage_is_found_over_time_in_the_middle_too(con):
    told = found(
        con,
        "select timestamp '2024-01-01' + interval (i) minute as at,"
        " case when i between 4000 and 4500 then null else random() end as x"
        " from range(9000) r(i)",
    )
    assert set(told) == {("x", "at", "chi-square over time")}


def test_columns_missing_together_are_found_once(con):
    told = found(
        con,
        "select case when u < 0.2 or random() < 0.05 then null else random() end as a,"
        " case when u < 0.2 or random() < 0.1 then null else random() end as b"
        " from (select random() as u from range(2000))",
    )
    assert set(told) == {("a", "b", "chi-square of missingness")}
    assert 0.6 < told["a", "b", "chi-square of missingness"].effect < 0.9


def test_few_missing_values_among_many_rows_are_all_looked_at(con):
    """Of 60 in 200,000 rows a sample of 10,000 holds three: too few to tell anything."""
    told = found(
        con,
        "select store, random() as y, case when store <> 's7' or random() > 0.006 then random() end"
        " as x from (select 's' || (i % 20) as store from range(200000) r(i))",
    )
    assert set(told) == {("x", "store", "chi-square")}
    (few,) = con.execute("select count(*) from marts.t where x is null").fetchone()
    assert 40 < few < 80


def test_few_values_among_many_missing_are_all_looked_at(con):
    told = found(
        con,
        "select store, case when store = 's7' and random() < 0.006 then random() end as x"
        " from (select 's' || (i % 20) as store from range(200000) r(i))",
    )
    assert set(told) == {("x", "store", "chi-square")}


def test_few_expected_counts_are_fishers(con):
    told = found(
        con,
        "select case when i < 8 then null else i % 11 end as x, case when i % 100 < 8 then 'a' else"
        " 'b' end as k from range(100) r(i)",
    )
    assert set(told) == {("x", "k", "Fisher’s exact")}


def test_identifiers_and_constants_tell_nothing(con):
    """Rows come in order, so that an identifier would tell where the first thousand are."""
    told = found(
        con,
        "select i as row, 'n' || i as name, 5 as constant, i * 37 as order_id,"
        " case when i < 1000 then null else random() end as x from range(3000) r(i)",
    )
    assert told == {}


def test_by_chance_nothing_is_found(con):
    """On 40 tables without any dependence, 13 tests each: Holm allows two tables in 40."""
    told = []
    for seed in range(40):
        con.execute(f"select setseed({seed / 40})")
        told += analysed(
            con,
            "select random() as x, (random() * 4)::int::varchar as k,"
            " timestamp '2024-01-01' + interval (i) minute as at,"
            " case when random() < 0.2 then null else 'v' end as a,"
            " case when random() < 0.3 then null else 'w' end as b"
            " from range(400) r(i)",
        ).dependences
    assert len(told) <= 4


IQ = [78, 84, 84, 85, 87, 91, 92, 94, 94, 96, 99, 105, 105, 106, 108, 112, 113, 115, 118, 134]
PERFORMANCE = [np.nan] * 10 + [7, 10, 11, 15, 10, 10, 12, 14, 16, 12]
NAN = np.nan
WELL_BEING = [13, 9, 10, 10, NAN, 3, 12, 3, 13, NAN, 6, 12, 14, 10, NAN, 10, 14, 14, 12, 11]


def test_little_is_enders():
    """Enders, Applied Missing Data Analysis (2010), table 1.1 and section 1.10: 14.63, 5, p .01."""
    statistic, degrees = little_statistic(np.array([IQ, PERFORMANCE, WELL_BEING], float).T)
    assert statistic == pytest.approx(14.63, abs=0.005)
    assert degrees == 5


def test_little_is_that_of_r(con):
    """New York's air quality in 1973 (R's airquality): naniar's mcar_test gives 35.1061, 14."""
    file = Path(__file__).parent / "airquality.csv"
    test = analysed(con, f"from read_csv('{file}', delim = ';', header = true)").little
    assert test.statistic == pytest.approx(35.1061, abs=0.001)
    assert test.p == pytest.approx(0.0014178, abs=1e-6)
    assert (test.degrees, test.rows) == (14, 153)


COLUMNS = [Column(f"c{n}", "number", is_float=True, is_integer=False) for n in range(4)]


def sampled(data):
    lacks = np.isnan(data)
    columns = {f"c{n}": data[:, n] for n in range(data.shape[1])}
    return Sample(
        len(data),
        {f"c{n}": lacks[:, n] for n in range(data.shape[1]) if lacks[:, n].any()},
        columns,
        {},
    )


def correlated(rng, rows):
    return rng.normal(size=(rows, 4)) @ np.linalg.cholesky(np.eye(4) / 2 + 0.5).T


@pytest.mark.parametrize("rows", [500, 2000])
def test_little_keeps_its_level(rows):
    """p is uniform where values are missing at random: 150 tables, bounds of 4 deviations."""
    rng = np.random.default_rng(rows)
    p = []
    for _ in range(150):
        data = correlated(rng, rows)
        data[rng.random(data.shape) < [0.05, 0.1, 0.2, 0]] = np.nan
        test, note = little(sampled(data), COLUMNS)
        assert note == ""
        p.append(test.p)
    assert np.mean(np.array(p) < 0.05) < 0.05 + 4 * (0.05 * 0.95 / 150) ** 0.5
    assert abs(np.mean(np.array(p) < 0.5) - 0.5) < 4 * (0.25 / 150) ** 0.5


def test_little_sees_what_depends_on_other_columns():
    rng = np.random.default_rng(5)
    data = correlated(rng, 500)
    data[rng.random(500) < 1 / (1 + np.exp(1 - data[:, 3])), 0] = np.nan
    test, _ = little(sampled(data), COLUMNS)
    assert test.p < 1e-6
    assert test.columns[0] == "c0"
    assert test.rows == 500


def test_little_cannot_see_what_depends_on_the_missing_value_itself():
    """Independent columns, the highest values missing (MNAR): nothing that is there tells."""
    rng = np.random.default_rng(6)
    data = rng.normal(size=(2000, 2))
    data[data[:, 0] > 0.5, 0] = np.nan
    test, _ = little(sampled(data), COLUMNS[:2])
    assert test.p > 0.01


def lacking(data, share=0.2):
    data[np.random.default_rng(8).random(len(data)) < share, 0] = np.nan
    return data


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (
            np.random.default_rng(1).normal(size=(300, 2)),
            "no numeric column of five values or more lacks",
        ),
        (lacking(np.random.default_rng(1).normal(size=(300, 1))), "there is one"),
        (lacking(np.random.default_rng(1).normal(size=(40, 2))), "fewer than 50 rows"),
        (lacking(np.random.default_rng(1).normal(size=(300, 1)) @ [[1, 2]]), "linearly"),
        (lacking(np.random.default_rng(1).lognormal(0, 1.5, (300, 2))), "roughly normal"),
        (lacking(np.random.default_rng(2).exponential(size=(90, 2)), 0.3), "fewer than 30 rows"),
        (lacking(np.random.default_rng(1).integers(0, 4, (300, 2)) * 1.0), "no numeric column"),
    ],
)
def test_little_says_why_it_does_not_apply(data, reason):
    test, note = little(sampled(data), COLUMNS[: data.shape[1]])
    assert test is None
    assert reason in note


def test_little_leaves_out_what_others_determine():
    rng = np.random.default_rng(2)
    net, tax = lacking(rng.normal(size=(500, 2))).T
    test, note = little(sampled(np.column_stack([net, tax, net + tax])), COLUMNS[:3])
    assert set(test.columns) == {"c0", "c1"}
    assert test.degrees == 1
    assert note == "without c2, which the other columns determine"


def test_little_keeps_what_lacks_values_where_others_determine_it():
    x, z = np.random.default_rng(3).normal(size=(2, 500))
    data = lacking(np.column_stack([2 * x + z, x, z]))
    test, note = little(sampled(data), COLUMNS[:3])
    assert test.columns == ("c0", "c1")
    assert "without c2" in note


def test_little_takes_columns_of_few_patterns():
    rng = np.random.default_rng(4)
    data = rng.normal(size=(2000, 12))
    data[rng.random(data.shape) < 0.3] = np.nan
    columns = [replace(COLUMNS[0], name=f"c{n}") for n in range(12)]
    test, _ = little(sampled(data), columns)
    assert test.degrees < 100 * len(test.columns)
    assert 5 < len(test.columns) <= 12
    assert test.p > 0.001
