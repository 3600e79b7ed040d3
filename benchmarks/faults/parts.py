"""Faults that strike a part of the day, or that each column alone does not show."""

from __future__ import annotations

import numpy as np

from benchmarks.faults.frame import Frame, Mask, Values, changed, height, stacked, take
from benchmarks.faults.kinds import FACTS, Files, Scene, kind, row_kind
from benchmarks.faults.rows import with_new_keys
from benchmarks.faults.worlds import CATALOGUE, PAYMENTS, SALES

HOURS = (1, 3, 6)


@kind("warning", strengths=HOURS, unit="hours")
def hours_lost(scene: Scene, _rng: np.random.Generator, strength: float) -> Files:
    """Hours are missing in the middle of the day."""
    return {scene.file: take(scene.today, ~_middle_hours(scene, strength))}


@kind("warning", strengths=HOURS, unit="hours")
def hours_doubled(scene: Scene, rng: np.random.Generator, strength: float) -> Files:
    """Hours in the middle of the day are booked again under new keys, as when clocks go back."""
    again = take(scene.today, _middle_hours(scene, strength))
    return {scene.file: stacked(scene.today, with_new_keys(scene, again, rng))}


@kind("warning")
def busiest_place_missing(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """The terminal or store with the most rows did not report."""
    return {scene.file: take(scene.today, ~_commonest(scene.today[scene.feed.roles.where]))}


@kind("warning")
def busiest_customer_missing(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """The customer or household with the most rows is missing."""
    return {scene.file: take(scene.today, ~_commonest(scene.today[scene.feed.roles.who]))}


@kind("warning", strengths=(0.99, 0.9, 0.5), unit="quantile")
def amount_capped(scene: Scene, _rng: np.random.Generator, strength: float) -> Files:
    """Amounts above a cap are the cap."""
    amount = scene.feed.roles.amount
    values = scene.today[amount]
    cap = np.round(np.quantile(values, strength), 2)
    return {scene.file: scene.today | {amount: np.minimum(values, cap)}}


@row_kind("warning")
def amount_to_five(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Amounts rounded to steps of five cents."""
    return _amount(scene, hit, lambda values: np.round(np.round(values * 20) / 20, 2))


@row_kind("warning")
def amount_truncated(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Amounts have lost what is behind the point."""
    return _amount(scene, hit, np.trunc)


@row_kind("warning")
def amount_jittered(scene: Scene, rng: np.random.Generator, hit: Mask) -> Frame:
    """Amounts with an error of 5 %, in whole cents."""
    return _amount(scene, hit, lambda v: np.round(v * rng.normal(1, 0.05, len(v)), 2))


@row_kind("warning")
def digits_swapped(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """The last two digits of amounts are swapped."""

    def swapped(values: Values) -> Values:
        cents = np.round(values * 100).astype(np.int64)
        tens, ones = cents // 10 % 10, cents % 10
        return (cents - 10 * tens - ones + 10 * ones + tens) / 100

    return _amount(scene, hit, swapped)


@row_kind("warning", strengths=(0.1, 0.5))
def currency_doubled(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Amounts of some rows in another currency: x 2."""
    return _amount(scene, hit, lambda values: np.round(values * 2, 2))


@row_kind("critical", strengths=(0.1, 0.5))
def amount_partly_constant(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Some rows have one and the same amount."""
    return _amount(scene, hit, lambda values: np.full(len(values), values[0]))


@row_kind("critical", strengths=(0.1, 0.5))
def amount_partly_zero(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """What is missing is written as 0."""
    return _amount(scene, hit, np.zeros_like)


@kind("critical")
def amount_sorted(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """Amounts are sorted, and the other columns are not."""
    amount = scene.feed.roles.amount
    return {scene.file: scene.today | {amount: np.sort(scene.today[amount])}}


@kind("critical")
def amount_ranked(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """Ranks stand in place of the amounts."""
    amount = scene.feed.roles.amount
    ranks = np.argsort(np.argsort(scene.today[amount])) + 1.0
    return {scene.file: scene.today | {amount: ranks}}


@kind("critical")
def amount_off_by_one(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """Each row has the amount of the row before it."""
    amount = scene.feed.roles.amount
    return {scene.file: scene.today | {amount: np.roll(scene.today[amount], 1)}}


@row_kind("critical")
def customer_shuffled(scene: Scene, rng: np.random.Generator, hit: Mask) -> Frame:
    """Customers or households are shuffled among the rows."""
    return changed(scene.today, scene.feed.roles.who, hit, rng.permutation)


@row_kind("warning")
def place_shuffled(scene: Scene, rng: np.random.Generator, hit: Mask) -> Frame:
    """Terminals or stores are shuffled among the rows."""
    return changed(scene.today, scene.feed.roles.where, hit, rng.permutation)


@row_kind("warning", feeds=(PAYMENTS,))
def label_shuffled(scene: Scene, rng: np.random.Generator, hit: Mask) -> Frame:
    """Labels are shuffled among the rows."""
    return changed(scene.today, scene.feed.roles.label, hit, rng.permutation)


@kind("critical")
def customers_renumbered(scene: Scene, rng: np.random.Generator, _strength: float) -> Files:
    """Customers or households have other numbers: one for one, of the same range."""
    who = scene.feed.roles.who
    known, place = np.unique(scene.today[who], return_inverse=True)
    return {scene.file: scene.today | {who: rng.permutation(known)[place]}}


@kind("critical")
def customers_numbered_anew(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """Customers or households are numbered from 1 on."""
    who = scene.feed.roles.who
    _, place = np.unique(scene.today[who], return_inverse=True)
    return {scene.file: scene.today | {who: place + 1}}


@kind("critical")
def customers_merged(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """Customers or households are taken for each other: two have one number."""
    who = scene.feed.roles.who
    return {scene.file: scene.today | {who: scene.today[who] // 2 * 2}}


@kind("critical", feeds=(CATALOGUE,))
def categories_merged(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """One department's products are said to be of another."""
    found, counts = np.unique(scene.today["department"].astype(str), return_counts=True)
    order = np.argsort(-counts)
    hit = scene.today["department"].astype(str) == found[order[0]]
    return {scene.file: changed(scene.today, "department", hit, lambda _: found[order[1]])}


@row_kind("critical", feeds=(CATALOGUE,), strengths=(0.1, 0.5))
def category_emptied(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """What is missing is written as an empty text."""
    return changed(scene.today, "department", hit, lambda _: "")


@kind("critical", feeds=(CATALOGUE,))
def encoded_twice(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """Texts are encoded twice."""
    texts = [
        None if t is None else t.replace("A", "Ä").encode().decode("latin-1")
        for t in scene.today["product_category"]
    ]
    return {scene.file: scene.today | {"product_category": np.array(texts, dtype=object)}}


@row_kind("critical", strengths=(0.1, 0.5))
def some_days_and_months_swapped(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Day and month are swapped in some rows, where that is a date."""

    def swapped(values: Values) -> Values:
        texts = np.datetime_as_string(values, unit="s")
        turned = [f"{t[:5]}{t[8:10]}-{t[5:7]}{t[10:]}" if int(t[8:10]) <= 12 else t for t in texts]
        return np.array(turned, dtype=values.dtype)

    return changed(scene.today, scene.feed.roles.time, hit, swapped)


@row_kind("warning")
def minutes_lost(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Times are cut to whole hours."""
    time = scene.feed.roles.time
    return changed(scene.today, time, hit, lambda v: v.astype("datetime64[h]").astype(v.dtype))


@row_kind("warning")
def times_shuffled(scene: Scene, rng: np.random.Generator, hit: Mask) -> Frame:
    """Times are shuffled among the rows."""
    return changed(scene.today, scene.feed.roles.time, hit, rng.permutation)


@kind("harmless", feeds=FACTS)
def rows_in_other_order(scene: Scene, rng: np.random.Generator, _strength: float) -> Files:
    """The rows stand in another order."""
    return {scene.file: take(scene.today, rng.permutation(height(scene.today)))}


@row_kind("critical", feeds=(SALES,), strengths=(0.1, 1.0))
def quantity_as_amount(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Quantities are multiplied into prices that were sums already."""
    frame = scene.today
    values = frame["sales_value"].copy()
    values[hit] = np.round(values[hit] * frame["quantity"][hit], 2)
    return frame | {"sales_value": values}


def _middle_hours(scene: Scene, hours: float) -> Mask:
    """The rows of so many hours around the day's middle one."""
    times = scene.today[scene.feed.roles.time]
    middle = np.sort(times)[len(times) // 2]
    half = np.timedelta64(round(hours * 1_800), "s")
    found: Mask = (times >= middle - half) & (times < middle + half)
    return found


def _commonest(values: Values) -> Mask:
    found, counts = np.unique(values, return_counts=True)
    hit: Mask = values == found[np.argmax(counts)]
    return hit


def _amount(scene: Scene, hit: Mask, change: object) -> Frame:
    assert callable(change)
    return changed(scene.today, scene.feed.roles.amount, hit, change)
