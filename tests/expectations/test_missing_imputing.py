"""Imputations, compared on hidden values: the right one wins, and none where none can."""

from __future__ import annotations

import duckdb
import numpy as np
import pytest

from expectations.missing import analyse
from expectations.missingness.imputing import Encoded, Feature, hide

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


def by_method(analysis, column):
    return {one.method: one for one in analysis.imputations if one.column == column}


def best(analysis, column):
    (chosen,) = [one.method for one in by_method(analysis, column).values() if one.is_best]
    return chosen


LINEAR = f"""
    select x, case when random() < 0.2 then null else 2 * x + 0.3 * {NORMAL} end as y
    from (select {NORMAL} as x from range(2000))
"""


def test_what_is_linear_is_best_imputed_by_regression(con):
    told = by_method(analysed(con, LINEAR), "y")
    assert list(told) == ["mean", "median", "kNN", "iterative"]
    assert told["iterative"].is_best
    assert told["iterative"].error == pytest.approx(0.15, abs=0.03)  # 0.3 / sqrt(4.09)
    assert told["iterative"].error < told["kNN"].error < 0.3 < 0.8 < told["mean"].error
    for one in told.values():
        assert one.low < one.error < one.high
        assert one.error_name == "NRMSE"
        assert one.hidden >= 500


def test_what_is_curved_is_best_imputed_by_neighbours(con):
    sql = f"select x, case when random() < 0.2 then null else x * x + 0.1 * {NORMAL} end as y"
    found = analysed(con, f"{sql} from (select {NORMAL} as x from range(1500))")
    assert best(found, "y") == "kNN"


def test_of_noise_the_mean_and_the_mode_are_not_beaten(con):
    found = analysed(
        con,
        f"select {NORMAL} as x, random() as z, case when random() < 0.2 then null else {NORMAL} end"
        " as y, case when random() < 0.2 then null when random() < 0.6 then 'a' when random() < 0.5"
        " then 'b' else 'c' end as k from range(2000)",
    )
    assert best(found, "y") == "mean"
    assert best(found, "k") == "mode"
    assert by_method(found, "k")["mode"].error == pytest.approx(0.4, abs=0.1)
    assert by_method(found, "k")["mode"].error_name == "share wrong"


def test_copies_of_few_rows_are_not_taken_for_knowledge(con):
    """Neighbours that are all alike must not be those alone from which values were hidden."""
    found = analysed(
        con,
        "select (random() * 3)::int as a, case when random() < 0.1 then null"
        " when random() < 0.5 then 'x' else 'y' end as b from range(100000)",
    )
    assert best(found, "b") == "mode"
    assert by_method(found, "b")["kNN"].error == pytest.approx(0.5, abs=0.1)


def test_a_category_that_follows_from_another_is_imputed(con):
    found = analysed(
        con,
        "select city, case when random() < 0.2 then null when city in ('Bern', 'Basel') then 'CH'"
        " else 'AT' end as country, random() < 0.5 as flag"
        " from (select ['Bern', 'Basel', 'Wien', 'Graz'][1 + (random() * 3.999)::int % 4] as city"
        " from range(1500))",
    )
    assert best(found, "country") in ("kNN", "iterative")
    told = by_method(found, "country")
    assert told["kNN"].error < 0.01
    assert told["mode"].error > 0.3


def test_columns_missing_together_cannot_impute_each_other(con):
    """y2 is y1, but never there when it is needed: hiding y1 alone would make it look easy."""
    sql = "select {} as y1, {} as y2, random() as z from (select u, {} as y"
    sql += " from (select random() as u from range(2000)))"
    together = "case when u < 0.3 then null else y end"
    alone = "case when hash(u, {}) % 10 < 3 then null else y end"
    apart = analysed(con, sql.format(alone.format(1), alone.format(2), NORMAL))
    assert best(apart, "y1") in ("kNN", "iterative")
    joined = analysed(con, sql.format(together, together, NORMAL))
    assert best(joined, "y1") == "mean"
    assert by_method(joined, "y1")["iterative"].error > 0.8


def test_values_are_hidden_where_they_are_missing():
    """y is missing where x is high, so that y is hidden where x is high too."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=1000)
    y = rng.normal(size=1000)
    y[rng.random(1000) < 1 / (1 + np.exp(1 - 3 * x))] = np.nan
    features = (Feature("y", np.array([0]), False), Feature("x", np.array([1]), False))
    rows = hide(Encoded(np.column_stack([y, x]), features), ["y"], rng)["y"]
    assert not np.isnan(y[rows]).any()
    assert x[rows].mean() > x[~np.isnan(y)].mean() + 0.5


def test_hidden_at_random_where_missing_at_random():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 2000))
    y[rng.random(2000) < 0.3] = np.nan
    features = (Feature("y", np.array([0]), False), Feature("x", np.array([1]), False))
    rows = hide(Encoded(np.column_stack([y, x]), features), ["y"], rng)["y"]
    assert 250 < rows.size <= 400
    assert abs(x[rows].mean()) < 0.2
    assert abs(y[rows].mean()) < 0.2


def test_what_is_not_imputed_is_told(con):
    found = analysed(
        con,
        "select case when i % 4 = 0 then null else date '2024-01-01' + i::int end as d,"
        " case when i % 4 = 1 then null else 'n' || i end as name,"
        " case when i % 4 = 2 then null else 1 end as one,"
        " case when i < 160 then null else i end as few, null::int as none,"
        " case when i % 4 = 3 then null when i = 8 then 'inf'::double else i end as big"
        " from range(200) r(i)",
    )
    assert found.imputations == ()
    assert [note for note in found.notes if "not imputed" in note] == [
        "not imputed (no value): none",
        "not imputed (fewer than 50 values in the sample, or none missing there): few",
        "not imputed (neither a number nor a category, or not to be read): d",
        "not imputed (more than 20 categories): name",
        "not imputed (one value only): one",
        "not imputed (infinite numbers): big",
    ]


def test_the_table_is_not_changed(con):
    con.execute(f"create table marts.before as {LINEAR}")
    con.execute("create table marts.t as from marts.before")
    assert analyse(con, "marts.t", seed=1).imputations
    difference = "select count(*) from ({} except all {})"
    for a, b in (("from marts.t", "from marts.before"), ("from marts.before", "from marts.t")):
        assert con.execute(difference.format(a, b)).fetchone() == (0,)


@pytest.mark.slow
def test_noise_is_seldom_taken_for_knowledge(con):
    """The simplest method is beaten in error in at most 5 of 100 columns."""
    beaten = 0
    for seed in range(50):
        con.execute(f"select setseed({seed / 50})")
        found = analysed(
            con,
            "select random() as x, -ln(1 - random()) as w, case when random() < 0.2 then null else"
            " -ln(1 - random()) end as y, case when random() < 0.2 then null else random() < 0.4"
            " end as k from range(600)",
            seed=seed,
        )
        beaten += (best(found, "y") != "mean") + (best(found, "k") != "mode")
    assert beaten <= 5
