from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.false_alarms import FAULTS, KINDS, RATES, allowed, clean_alarms, detected
from expectations.past import (
    MIN_PAST,
    Judgement,
    Labels,
    Numbers,
    Point,
    alarms,
    divergence,
    judge,
    judge_accepted,
    judge_shape,
    relearn,
    since_accepted,
)

MONDAY = datetime(2026, 1, 5, 6, tzinfo=UTC)
PROBABILITIES = np.linspace(0, 1, 51)


def days(values, rows=0):
    return [Point(MONDAY + timedelta(days=i), float(v), rows) for i, v in enumerate(values)]


def after(past, value, rows=0):
    return Point(past[-1].at + timedelta(days=1), float(value), rows)


def noisy(level, n, sd=0.1, seed=3):
    return np.round(level * np.exp(np.random.default_rng(seed).normal(0, sd, n)))


def numbers(values):
    found = np.quantile(values, PROBABILITIES, method="inverted_cdf")
    return Numbers(tuple(found.tolist()), len(values))


def shapes(make, n=30, seed=5):
    rng = np.random.default_rng(seed)
    return [(MONDAY + timedelta(days=i), make(rng, i)) for i in range(n)]


def made(p, enough=True):
    return Judgement(enough, 0, None, None, None, p, 0, False)


# --- points


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_clean_series_alarm_no_more_often_than_promised(kind):
    rng = np.random.default_rng(1)
    found = [clean_alarms(kind, rng, n, 30) for n in (MIN_PAST, 14, 21, 40)]
    for rate in RATES:
        assert sum(counts[rate] for counts in found) / 120 <= allowed(rate, 120)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_faults_are_caught(fault):
    assert detected(fault, np.random.default_rng(2), 0.01, 40) >= fault.at_least - 0.1


@pytest.mark.parametrize("length", range(MIN_PAST))
def test_too_short_a_past_claims_nothing(length):
    past = days(noisy(1000, length))
    judgement = judge(past, Point(MONDAY + timedelta(days=20), 1e9), "count", alarm_rate=0.01)
    assert judgement == Judgement(False, 1e9, None, None, None, 1.0, 1.0, False)


def test_the_first_weekend_after_many_batches_of_a_week_claims_nothing():
    past = [Point(MONDAY + timedelta(hours=3 * i), 100 + i % 7) for i in range(36)]
    saturday = Point(MONDAY + timedelta(days=5, hours=3), 1)
    assert not judge(past, saturday, "count", alarm_rate=0.01).enough


def test_a_weekday_that_never_came_in_three_weeks_is_judged():
    past = [p for p in days(noisy(1000, 28)) if p.at.weekday() < 5]
    saturday = Point(MONDAY + timedelta(days=26), 20)
    assert judge(past, saturday, "count", alarm_rate=0.01).p < 0.001


def test_one_null_after_none_is_no_alarm_and_five_percent_are():
    past = days([0] * 30, rows=10_000)
    few, many = (
        judge(past, after(past, share, 10_000), "share", alarm_rate=0.001)
        for share in (1 / 10_000, 0.05)
    )
    assert few.p > 0.01
    assert few.low <= few.value <= few.high
    assert many.p < 1e-4
    assert many.value > many.high
    assert many.effect == pytest.approx(5, abs=0.01)


def test_few_points_make_a_wider_interval():
    past = days(noisy(1000, 60))
    widths = []
    for n in (8, 14, 60):
        judgement = judge(past[-n:], after(past, 1000), "count", alarm_rate=0.001)
        widths.append(math.log(judgement.high / judgement.low))
    assert widths[0] > widths[1] > widths[2]


@pytest.mark.parametrize("outlier", [0, 1e6])
def test_a_single_earlier_outlier_does_not_blind(outlier):
    values = noisy(1000, 30)
    values[22] = outlier
    past = days(values)
    for new in (500, 2000):
        assert judge(past, after(past, new), "count", alarm_rate=0.01).p < 0.01


def test_the_weekday_is_used_when_it_is_clear_and_not_when_it_is_not():
    weekly = [
        Point(p.at, p.value * (0.2 if p.at.weekday() > 4 else 1)) for p in days(noisy(9e3, 35))
    ]
    monday = judge(weekly, after(weekly, 9000 * 0.2), "count", alarm_rate=0.01)
    assert monday.uses_weekday
    assert monday.p < 0.001  # a Saturday's count on a Monday
    saturday = Point(MONDAY + timedelta(days=40), 9000 * 0.2)
    assert judge(weekly, saturday, "count", alarm_rate=0.01).p > 0.05
    plain = days(noisy(9000, 35))
    assert not judge(plain, after(plain, 9000), "count", alarm_rate=0.01).uses_weekday


def test_a_weekday_seen_once_may_come_again():
    past = days([1000, 1030, 990, 1010, 1005, 980, 0, 1000, 1010, 1020, 970, 995, 1000])
    sunday = judge(past, after(past, 0), "count", alarm_rate=0.01)
    assert sunday.p > 0.05
    assert sunday.low == 0


@pytest.mark.parametrize("scale", ["count", "share", "value"])
def test_the_interval_is_where_there_is_no_alarm(scale):
    rng = np.random.default_rng(4)
    level = {"count": rng.poisson(12, 25), "share": rng.binomial(400, 0.02, 25) / 400}
    past = days(level.get(scale, rng.normal(50, 5, 25)), rows=400)
    judgement = judge(past, after(past, 0, 400), scale, alarm_rate=0.01)
    unit = {"count": 1, "share": 1 / 400}.get(scale, (judgement.high - judgement.low) / 40)
    for value in np.arange(0, 2 * judgement.high, unit):
        p = judge(past, after(past, value, 400), scale, alarm_rate=0.01).p
        if judgement.low + unit <= value <= judgement.high - unit:
            assert p >= 0.01
        elif value > judgement.high + unit or value < judgement.low - unit:
            assert p <= 0.0102


def test_effects_are_in_the_units_of_the_scale():
    past = days(noisy(1000, 30))
    assert judge(past, after(past, 2000), "count", alarm_rate=0.01).effect == pytest.approx(2, 0.1)
    effects = []
    for seed in range(9):
        past = days(np.random.default_rng(seed).normal(50, 5, 60))
        effects.append(judge(past, after(past, 65), "value", alarm_rate=0.01).effect)
    assert np.median(effects) == pytest.approx(3, abs=0.5)


def test_a_constant_value_may_tremble_but_not_jump():
    past = days([7.0] * 30)
    assert judge(past, after(past, 7.0), "value", alarm_rate=0.01).p == pytest.approx(1)
    assert judge(past, after(past, 7.005), "value", alarm_rate=0.01).p > 0.01
    assert judge(past, after(past, 8), "value", alarm_rate=0.01).p < 1e-5
    past = days([0.0] * 30)  # of what size a change is, nothing tells
    assert judge(past, after(past, 5), "value", alarm_rate=0.01).p == pytest.approx(1 / 32)


def test_values_that_are_not_finite_are_defined():
    past = days(noisy(1000, 30))
    assert not judge(past, after(past, math.nan), "value", alarm_rate=0.01).enough
    assert judge(past, after(past, math.inf), "value", alarm_rate=0.01).p == 0
    holes = [*past, after(past, math.nan), after(past, -math.inf)]
    assert judge(holes, after(past, 1000), "value", alarm_rate=0.01).p > 0.05


@given(
    values=st.lists(st.floats(0, 1e12), min_size=8, max_size=40),
    new=st.floats(0, 1e12),
    scale=st.sampled_from(["count", "share", "value"]),
    rows=st.sampled_from([0, 1, 1000]),
)
def test_any_series_gets_a_probability_and_an_ordered_interval(values, new, scale, rows):
    top = max(*values, new, 1) if scale == "share" else 1
    past = days([value / top for value in values], rows)
    judgement = judge(past, after(past, new / top, rows), scale, alarm_rate=0.01)
    assert 0 <= judgement.p <= 1
    assert judgement.low <= judgement.expected <= judgement.high
    assert math.isfinite(judgement.low) and math.isfinite(judgement.high)
    assert judgement == judge(past[::-1], after(past, new / top, rows), scale, alarm_rate=0.01)


# --- accepted levels


def test_an_accepted_level_is_the_usual_one_at_once_and_still_judged():
    past = days([*noisy(1000, 20), 3000])
    assert judge(past, after(past, 3050), "count", alarm_rate=0.01).p < 0.02
    learnt = relearn(past, [past[20].at], "count")
    assert judge(learnt, after(past, 3050), "count", alarm_rate=0.01).p > 0.1
    for fault in (1000, 9000):
        assert judge(learnt, after(past, fault), "count", alarm_rate=0.01).p < 0.01


def judged_after(past, accepted, value):
    return judge_accepted(past, accepted, after(past, value), "count", alarm_rate=0.01).p


@pytest.mark.parametrize("further", [[], [3050], [1020, 990], [3050, 1010]])
def test_until_three_came_after_it_an_accepted_level_and_the_one_before_are_usual(further):
    past = days([*noisy(1000, 20), 3000, *further])
    for usual in (1000, 3000):
        assert judged_after(past, [past[20].at], usual) > 0.1, usual
    for fault in (300, 9000):
        assert judged_after(past, [past[20].at], fault) < 0.01, fault


@pytest.mark.parametrize(
    ("further", "usual", "fault"),
    [
        ([1020, 990, 1010], 1000, 3000),
        ([1020, 3050, 1010], 1000, 9000),
        ([3050, 2950, 3020], 3000, 1000),
        ([3050, 1010, 3020], 3000, 9000),
    ],
)
def test_three_say_whether_an_accepted_level_was_an_odd_day_or_stays(further, usual, fault):
    past = days([*noisy(1000, 30), 3000, *further])
    assert judged_after(past, [past[30].at], usual) > 0.1
    assert judged_after(past, [past[30].at], fault) < 0.01


def test_odd_days_that_were_accepted_in_turn_leave_the_level_before_them_usual():
    past = days([*noisy(1000, 20), 3000, 9000, 100])
    accepted = [point.at for point in past[20:]]
    for usual in (1000, 3000, 9000, 100):
        assert judged_after(past, accepted, usual) > 0.1, usual
    past = days([*noisy(1000, 20), 3000, 1010, 9000, 1000, 990, 1020])
    accepted = [past[20].at, past[22].at]
    assert relearn(past, accepted, "count") == past
    assert judged_after(past, accepted, 1000) > 0.1


def test_closed_days_do_not_say_which_level_stays():
    week = [0 if i % 7 > 4 else v for i, v in enumerate(noisy(1000, 32))]
    past = days([*week, 3000, 0, 0, 3050])  # a Friday, a weekend and a Monday
    learnt = relearn(past, [past[32].at], "count")
    assert np.median([p.value for p in learnt if p.value]) == pytest.approx(3000, rel=0.1)


def test_acceptances_compose():
    values = [*noisy(1000, 15), *noisy(4000, 5), *noisy(500, 5)]
    past = days(values)
    learnt = relearn(past, [past[15].at, past[20].at], "count")
    assert len(learnt) == 25
    assert [p.at for p in learnt] == [p.at for p in past]
    assert learnt[20:] == past[20:]
    for part in (slice(0, 15), slice(15, 20)):
        assert np.median([p.value for p in learnt[part]]) == pytest.approx(500, rel=0.1)


def test_an_accepted_share_a_unit_and_a_closed_day():
    past = days([0] * 20 + [0.05], rows=5000)
    learnt = relearn(past, [past[20].at], "share")
    assert all(point.value == pytest.approx(0.05) for point in learnt)
    past = days([*(5 + 0.5 * np.random.default_rng(1).normal(size=20)), 500])
    learnt = relearn(past, [past[20].at], "value")
    assert judge(learnt, after(past, 570), "value", alarm_rate=0.01).p > 0.05
    past = days([0 if i % 7 == 6 else v for i, v in enumerate(noisy(1000, 35))] + [3000])
    learnt = relearn(past, [past[35].at], "count")
    assert {p.value for p in learnt if p.at.weekday() == 6} == {0}
    assert np.median([p.value for p in learnt]) == pytest.approx(3000, rel=0.1)


def test_what_was_not_observed_cannot_be_accepted():
    past = days(noisy(1000, 10))
    assert relearn(past, [MONDAY - timedelta(days=1), past[0].at], "count") == past
    assert relearn([], [MONDAY], "count") == []


# --- distributions


def test_an_accepted_distribution_begins_anew_unless_it_was_one_odd_day():
    def at(mean, n, start=0):
        made = shapes(lambda rng, _: numbers(rng.normal(mean, 1, 400)), n, seed=start)
        return [(when + timedelta(days=start), one) for when, one in made]

    odd, since = at(9, 1, 20), MONDAY + timedelta(days=20)
    usual = at(0, 20)
    assert since_accepted([*usual, *odd, *at(0, 2, 21)], [since], "ks") == [*odd, *at(0, 2, 21)]
    assert since_accepted([*usual, *odd, *at(0, 3, 21)], [since], "ks") == [*usual, *at(0, 3, 21)]
    assert since_accepted([*usual, *odd, *at(9, 3, 21)], [since], "ks") == [*odd, *at(9, 3, 21)]


def test_psi_is_the_textbook_s():
    rng = np.random.default_rng(6)
    old, new = rng.normal(0, 1, 200_000), rng.normal(0.3, 1.2, 200_000)
    edges = [-np.inf, *np.quantile(old, np.linspace(0.1, 0.9, 9)), np.inf]
    left, right = (np.histogram(x, edges)[0] / len(x) for x in (old, new))
    textbook = float(((right - left) * np.log(right / left)).sum())
    assert divergence(numbers(old), numbers(new), "psi") == pytest.approx(textbook, rel=0.02)
    middle = (left + right) / 2
    bits = (left * np.log2(left / middle) + right * np.log2(right / middle)).sum() / 2
    assert divergence(numbers(old), numbers(new), "js") == pytest.approx(math.sqrt(bits), rel=0.02)


def test_psi_of_labels_by_hand():
    old, new = (
        Labels({"a": 50_000, "b": 50_000}, 100_000),
        Labels({"a": 70_000, "b": 30_000}, 100_000),
    )
    by_hand = 0.2 * math.log(1.4) - 0.2 * math.log(0.6)
    assert divergence(old, new, "psi") == pytest.approx(by_hand, rel=1e-3)
    assert divergence(old, new, "ks") == pytest.approx(0.2)  # total variation


def test_ks_is_the_greatest_difference_of_the_distribution_functions():
    rng = np.random.default_rng(6)
    old, new = np.sort(rng.normal(0, 1, 5000)), np.sort(rng.exponential(1, 5000))
    both = np.concatenate([old, new])
    steps = np.searchsorted(old, both, "right") - np.searchsorted(new, both, "right")
    by_hand = np.abs(steps).max() / 5000
    assert divergence(numbers(old), numbers(new), "ks") == pytest.approx(by_hand, abs=0.021)


@pytest.mark.parametrize("measure", ["psi", "ks", "js"])
@pytest.mark.parametrize(
    "shape",
    [
        numbers(np.arange(1000.0)),
        numbers(np.array([5.0])),
        numbers(np.repeat([1.0, 2.0, 3.0], [100, 500, 400])),
        numbers(np.array([-np.inf, 0, 1, 2, np.inf, np.inf])),
        Labels({"a": 3, "": 9}, 12),
    ],
    ids=["numbers", "one row", "ties", "infinities", "labels"],
)
def test_a_shape_is_no_distance_from_itself(shape, measure):
    assert divergence(shape, shape, measure) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("measure", "least"), [("psi", 2), ("ks", 0.9), ("js", 0.85)])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (numbers(np.full(100, 5.0)), numbers(np.full(100, 7.0))),
        (numbers(np.full(100, 5.0)), numbers(np.full(100, 3.0))),
        (numbers(np.full(100, 5.0)), numbers(np.full(100, np.inf))),
        (numbers(np.full(100, 5.0)), numbers(np.full(100, np.nan))),
        (numbers(np.arange(100.0)), numbers(np.arange(1000.0, 1100))),
        (Labels({"a": 100}, 100), Labels({"b": 100}, 100)),
    ],
    ids=["up", "down", "infinite", "nan", "apart", "other label"],
)
def test_shapes_apart_are_far(old, new, measure, least):
    assert divergence(old, new, measure) > least
    assert math.isfinite(divergence(old, new, measure))
    if measure != "psi":
        assert divergence(old, new, measure) <= 1


def test_without_rows_there_is_no_divergence_and_no_claim():
    empty, full = Numbers((), 0), numbers(np.arange(100.0))
    assert divergence(empty, full, "psi") == divergence(full, empty, "ks") == 0
    past = shapes(lambda rng, _: numbers(rng.normal(size=500)))
    last = past[-1][0] + timedelta(days=1)
    assert not judge_shape(past, (last, empty), "psi", alarm_rate=0.01).enough
    assert not judge_shape(
        [(at, empty) for at, _ in past], (last, full), "js", alarm_rate=0.01
    ).enough
    with pytest.raises(TypeError, match="labels"):
        divergence(full, Labels({"a": 1}, 1), "psi")


@pytest.mark.parametrize("measure", ["psi", "ks", "js"])
def test_a_shift_of_half_a_standard_deviation_is_seen_and_chance_is_not(measure):
    past = shapes(lambda rng, _: numbers(rng.normal(size=3000)))
    rng, last = np.random.default_rng(9), past[-1][0] + timedelta(days=1)
    same = judge_shape(past, (last, numbers(rng.normal(size=3000))), measure, alarm_rate=0.01)
    moved = judge_shape(past, (last, numbers(rng.normal(0.5, 1, 3000))), measure, alarm_rate=0.01)
    assert same.p > 0.01
    assert same.value <= same.high
    assert moved.p < 0.001
    assert moved.effect == moved.value > moved.high


def test_few_rows_are_no_alarm():
    past = shapes(lambda rng, _: numbers(rng.normal(size=3000)))
    last = past[-1][0] + timedelta(days=1)
    for rows in (1, 5, 30):
        new = numbers(np.random.default_rng(rows).normal(size=rows))
        assert judge_shape(past, (last, new), "psi", alarm_rate=0.01).p > 0.01


@pytest.mark.parametrize("length", [9, 12, 20, 40])
def test_a_weekday_s_own_shape_is_no_alarm(length):
    def make(rng, day):
        return numbers(rng.normal(2 if day % 7 > 4 else 0, 1, 2000))

    past = shapes(make, length)
    rng = np.random.default_rng(8)
    for ahead in range(7):
        day = length + ahead
        new = (MONDAY + timedelta(days=day), make(rng, day))
        judgement = judge_shape(past, new, "psi", alarm_rate=0.01)
        assert judgement.p > 0.01
        assert length != 40 or judgement.uses_weekday
    wrong = (MONDAY + timedelta(days=length + 7), make(rng, 5 if length % 7 <= 4 else 1))
    assert length < 40 or judge_shape(past, wrong, "psi", alarm_rate=0.01).p < 0.001


def test_a_new_label_alarms_and_a_constant_one_does_not():
    def make(rng, _):
        counts = rng.multinomial(2000, [0.3, 0.7])
        return Labels(dict(zip("ab", counts, strict=True)), 2000)

    past = shapes(make)
    last = past[-1][0] + timedelta(days=1)
    drift = Labels({"a": 500, "b": 1300, "new": 200}, 2000)
    assert judge_shape(past, (last, drift), "psi", alarm_rate=0.01).p < 0.001
    constant = [(at, Labels({"a": 2000}, 2000)) for at, _ in past]
    new = judge_shape(constant, (last, Labels({"a": 1900}, 1900)), "js", alarm_rate=0.01)
    assert (new.enough, new.p, new.value) == (True, 1.0, 0.0)


# --- the family


def test_holm_steps_down_and_stops():
    judged = {"a": made(0.001), "b": made(0.02), "c": made(0.03), "d": made(0.9)}
    assert alarms(judged, 0.05) == {"a"}
    assert alarms(judged | {"b": made(0.016)}, 0.05) == {"a", "b"}
    assert alarms(judged | {"a": made(0.02)}, 0.05) == set()
    assert alarms({}, 0.05) == set()


def test_those_without_a_past_do_not_count_in_the_family():
    judged = {i: made(1.0, enough=False) for i in range(1000)} | {"a": made(0.04)}
    assert alarms(judged, 0.05) == {"a"}


def test_numpy_comes_with_the_first_judgement():
    code = "import sys, expectations.past; print({'numpy', 'scipy'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "set()"
