"""Faults in which rows there are: lost, repeated, invented, summed up."""

from __future__ import annotations

import numpy as np

from benchmarks.faults.frame import Frame, Mask, Values, changed, height, some, stacked, take
from benchmarks.faults.kinds import FACTS, Files, Scene, kind, row_kind
from benchmarks.faults.worlds import CATALOGUE, PAYMENTS, SALES

LOST = (0.1, 0.3, 0.6)


@row_kind("harmless", feeds=(PAYMENTS, SALES, CATALOGUE))
def rows_repeated(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Rows stand twice."""
    return stacked(scene.today, take(scene.today, hit))


@row_kind("critical")
def rows_booked_twice(scene: Scene, rng: np.random.Generator, hit: Mask) -> Frame:
    """Rows are booked again under new keys."""
    return stacked(scene.today, with_new_keys(scene, take(scene.today, hit), rng))


@row_kind("critical")
def key_conflicts(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Keys stand again with another amount."""
    again = take(scene.today, hit)
    amount = scene.feed.roles.amount
    return stacked(scene.today, again | {amount: np.round(again[amount] + 1, 2)})


@row_kind("critical", feeds=(PAYMENTS,))
def keys_used_again(scene: Scene, rng: np.random.Generator, hit: Mask) -> Frame:
    """Keys of yesterday with the rows of today."""
    old = scene.yesterday[scene.feed.roles.key]
    return changed(
        scene.today,
        scene.feed.roles.key,
        hit,
        lambda values: rng.choice(old, size=len(values), replace=len(values) > len(old)),
    )


@kind("critical")
def keys_restart(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """Keys start from 1 again."""
    key = scene.feed.roles.key
    _, numbers = np.unique(scene.today[key], return_inverse=True)
    return {scene.file: scene.today | {key: numbers + 1}}


@kind("critical", strengths=LOST, unit="of the rows")
def day_cut_short(scene: Scene, _rng: np.random.Generator, strength: float) -> Files:
    """The end of the day is missing."""
    order = np.argsort(scene.today[scene.feed.roles.time], kind="stable")
    kept = order[: round((1 - strength) * len(order))]
    return {scene.file: take(scene.today, np.sort(kept))}


@kind("critical", strengths=LOST, unit="of the rows")
def rows_lost(scene: Scene, rng: np.random.Generator, strength: float) -> Files:
    """Rows are missing here and there."""
    return {scene.file: take(scene.today, ~some(rng, height(scene.today), strength))}


@kind("critical", strengths=LOST, unit="of the places")
def places_missing(scene: Scene, rng: np.random.Generator, strength: float) -> Files:
    """Some terminals or stores did not report."""
    places = np.unique(scene.today[scene.feed.roles.where])
    gone = rng.choice(places, size=max(1, round(strength * len(places))), replace=False)
    return {scene.file: take(scene.today, ~np.isin(scene.today[scene.feed.roles.where], gone))}


@kind("critical", strengths=(1.5, 2, 10), unit="x the rows")
def rows_multiplied(scene: Scene, rng: np.random.Generator, strength: float) -> Files:
    """Far too many rows, all new."""
    extra = rng.choice(height(scene.today), size=round((strength - 1) * height(scene.today)))
    copies = with_new_keys(scene, take(scene.today, np.sort(extra)), rng)
    return {scene.file: stacked(scene.today, copies)}


@kind("critical")
def aggregated(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """Sums per customer or household instead of rows."""
    roles = scene.feed.roles
    _, first, group = np.unique(scene.today[roles.who], return_index=True, return_inverse=True)
    total = np.round(np.bincount(group, weights=scene.today[roles.amount]), 2)
    return {scene.file: take(scene.today, first) | {roles.amount: total}}


@kind("warning", strengths=(0.01, 0.1, 1.0), unit="more rows")
def test_rows(scene: Scene, rng: np.random.Generator, strength: float) -> Files:
    """Payments of a test: one customer, one amount."""
    roles = scene.feed.roles
    rows = some(rng, height(scene.today), strength)
    fakes = with_new_keys(scene, take(scene.today, rows), rng)
    who = np.full_like(fakes[roles.who], scene.today[roles.who].min())
    same = {roles.who: who, roles.amount: np.ones(len(who))}
    return {scene.file: stacked(scene.today, fakes | same)}


@kind("critical", feeds=(CATALOGUE,), strengths=LOST, unit="of the rows")
def catalogue_cut_short(scene: Scene, _rng: np.random.Generator, strength: float) -> Files:
    """An update that has lost most of its products."""
    kept = np.arange(round((1 - strength) * height(scene.today)))
    return {scene.file: take(scene.today, kept)}


def with_new_keys(scene: Scene, frame: Frame, rng: np.random.Generator) -> Frame:
    """The rows under keys that go on from today's last; tomorrow's are not in use yet."""
    key = scene.feed.roles.key
    assert scene.feed in FACTS
    last = int(max(scene.today[key].max(), scene.yesterday[key].max()))
    if scene.feed is PAYMENTS:
        return frame | {key: last + 50_000 + np.arange(height(frame))}
    _, basket = np.unique(frame[key], return_inverse=True)
    # Copies of one line of a receipt are of different baskets.
    return frame | {key: last + 50_000 + basket + _repeats(frame) * 1_000_000 + rng.integers(9)}


def _repeats(frame: Frame) -> Values:
    """For each row, how many of the same basket and product stand before it."""
    seen: dict[tuple[int, int], int] = {}
    counts = []
    for pair in zip(frame["basket_id"].tolist(), frame["product_id"].tolist(), strict=True):
        counts.append(seen.get(pair, 0))
        seen[pair] = counts[-1] + 1
    return np.array(counts, dtype=np.int64)
