"""Faults in single values: missing, scaled, swapped, foreign, of another distribution."""

from __future__ import annotations

import numpy as np

from benchmarks.faults.frame import Frame, Mask, Values, changed, some
from benchmarks.faults.kinds import SHARES, Files, Scene, kind, row_kind
from benchmarks.faults.worlds import CATALOGUE, PAYMENTS, SALES

BINS = 10


@row_kind("critical", feeds=(PAYMENTS, SALES, CATALOGUE))
def key_missing(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """The key is missing."""
    return changed(scene.today, scene.feed.roles.key, hit, lambda _: None)


@row_kind("critical")
def amount_missing(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """The amount is missing."""
    return changed(scene.today, scene.feed.roles.amount, hit, lambda _: None)


@row_kind("critical")
def customer_missing(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """The customer or household is missing."""
    return changed(scene.today, scene.feed.roles.who, hit, lambda _: None)


@row_kind("critical", feeds=(PAYMENTS,))
def label_missing(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """The label is missing."""
    return changed(scene.today, scene.feed.roles.label, hit, lambda _: None)


@row_kind("critical", feeds=(CATALOGUE,))
def category_missing(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """The category is missing."""
    return changed(scene.today, scene.feed.roles.category, hit, lambda _: None)


@row_kind("critical")
def text_in_amount(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Amounts say n/a."""
    return changed(scene.today, scene.feed.roles.amount, hit, lambda _: "n/a")


@row_kind("critical", feeds=(CATALOGUE,))
def text_null(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """A text says NULL instead of being empty."""
    return changed(scene.today, scene.feed.roles.category, hit, lambda _: "NULL")


@row_kind("critical", feeds=(PAYMENTS,))
def decimal_comma(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Amounts are written 12,50."""
    return changed(
        scene.today,
        scene.feed.roles.amount,
        hit,
        lambda values: np.array([f"{v:.2f}".replace(".", ",") for v in values], dtype=object),
    )


@row_kind("critical")
def amount_x100(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Amounts in cents: x 100."""
    return _amount(scene, hit, lambda values: np.round(values * 100, 2))


@row_kind("critical")
def amount_hundredth(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Amounts in hundreds: / 100."""
    return _amount(scene, hit, lambda values: np.round(values / 100, 2))


@row_kind("critical")
def amount_thousandth(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Amounts in thousands: / 1000, unrounded."""
    return _amount(scene, hit, lambda values: values / 1000)


@row_kind("warning")
def currency_mixed(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Amounts in another currency: x 1.17."""
    return _amount(scene, hit, lambda values: np.round(values * 1.17, 2))


@row_kind("critical")
def sign_flipped(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Amounts with the wrong sign."""
    return _amount(scene, hit, lambda values: -values)


@row_kind("warning")
def amount_rounded(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Amounts rounded to whole units."""
    return _amount(scene, hit, np.round)


@row_kind("critical")
def amount_constant(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """One amount for all."""
    return _amount(scene, hit, lambda values: np.full(len(values), np.round(values.mean(), 2)))


@row_kind("critical")
def amount_zero(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Amounts are 0."""
    return _amount(scene, hit, np.zeros_like)


@row_kind("critical")
def amount_minus_one(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Amounts are -1, a default for unknown."""
    return _amount(scene, hit, lambda values: np.full(len(values), -1.0))


@row_kind("critical")
def amount_999(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Amounts are 999, a default for unknown."""
    return _amount(scene, hit, lambda values: np.full(len(values), 999.0))


@row_kind("critical")
def amount_not_finite(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Amounts are infinite or not a number."""
    return _amount(scene, hit, lambda values: np.where(np.arange(len(values)) % 2, np.inf, np.nan))


@row_kind("critical")
def amount_noisy(scene: Scene, rng: np.random.Generator, hit: Mask) -> Frame:
    """Amounts with an error of up to a tenth: no whole cents."""
    return _amount(scene, hit, lambda values: values * rng.uniform(0.9, 1.1, len(values)))


@row_kind("critical")
def amount_and_customer_swapped(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Amount and customer stand in each other's column."""
    return _swapped(scene.today, scene.feed.roles.amount, scene.feed.roles.who, hit)


@row_kind("critical")
def customer_and_place_swapped(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Customer and terminal, or household and store, are swapped."""
    return _swapped(scene.today, scene.feed.roles.who, scene.feed.roles.where, hit)


@row_kind("critical", feeds=(CATALOGUE,))
def texts_swapped(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Department and brand are swapped."""
    return _swapped(scene.today, "department", "brand", hit)


@row_kind("warning")
def amount_shuffled(scene: Scene, rng: np.random.Generator, hit: Mask) -> Frame:
    """Amounts are shuffled among the rows: each column alone looks right."""
    return _amount(scene, hit, rng.permutation)


@row_kind("critical")
def customer_orphaned(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Customers or households that nobody knows."""
    return changed(scene.today, scene.feed.roles.who, hit, lambda values: values + 1_000_000)


@row_kind("critical")
def place_orphaned(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Terminals or stores that nobody knows."""
    return changed(scene.today, scene.feed.roles.where, hit, lambda values: values + 1_000_000)


@row_kind("critical", feeds=(SALES,))
def product_orphaned(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Products that are not in the catalogue."""
    return changed(scene.today, "product_id", hit, lambda values: values + 90_000_000)


@row_kind("critical")
def id_through_float(scene: Scene, rng: np.random.Generator, hit: Mask) -> Frame:
    """Ids went through a float: 1.2e+15."""
    return changed(
        scene.today,
        scene.feed.roles.who,
        hit,
        lambda values: values * 1e12 + rng.integers(0, 100, len(values)),
    )


@row_kind("critical")
def one_place(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """All from one terminal or store."""
    return changed(
        scene.today, scene.feed.roles.where, hit, lambda values: np.full_like(values, values[0])
    )


@row_kind("critical")
def one_customer(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """All by one customer or household."""
    return changed(
        scene.today, scene.feed.roles.who, hit, lambda values: np.full_like(values, values[0])
    )


@row_kind("critical", feeds=(PAYMENTS, CATALOGUE))
def category_new(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """A category that there is not."""
    is_text = scene.feed is CATALOGUE
    return changed(
        scene.today, scene.feed.roles.category, hit, lambda _: "DEPT-17" if is_text else 7
    )


@row_kind("critical", feeds=(CATALOGUE,))
def category_case(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Brands in capitals."""
    return _text(scene, "brand", hit, str.upper)


@row_kind("critical", feeds=(CATALOGUE,))
def category_padded(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Departments with blanks at their end."""
    return _text(scene, "department", hit, lambda text: text + "  ")


@row_kind("critical", feeds=(CATALOGUE,))
def mojibake(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """UTF-8 read as Latin-1."""
    return _text(scene, "product_type", hit, lambda text: text.replace("E", "Ã©") + "Â®")


@row_kind("critical", feeds=(CATALOGUE,))
def replacement_characters(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Characters lost to a wrong encoding."""
    return _text(scene, "product_type", hit, lambda text: text.replace("E", "\ufffd") + "\ufffd")


@row_kind("critical", feeds=(CATALOGUE,))
def texts_cut(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Texts cut after five characters."""
    return _text(scene, "department", hit, lambda text: text[:5])


@kind("warning", feeds=(PAYMENTS,), strengths=SHARES, unit="of the frauds")
def labels_late(scene: Scene, rng: np.random.Generator, strength: float) -> Files:
    """Labels are not there yet: no fraud."""
    label, category = scene.feed.roles.label, scene.feed.roles.category
    frauds = np.flatnonzero(scene.today[label])
    hit = np.zeros(len(scene.today[label]), dtype=bool)
    hit[frauds[some(rng, len(frauds), strength)]] = True
    today = changed(scene.today, label, hit, np.zeros_like)
    return {scene.file: changed(today, category, hit, np.zeros_like)}


@row_kind("critical", feeds=(PAYMENTS,))
def label_flood(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Everything is fraud."""
    return changed(scene.today, scene.feed.roles.label, hit, np.ones_like)


@row_kind("critical", feeds=(PAYMENTS,))
def label_flood_consistent(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Everything is fraud, and of a scenario."""
    today = changed(scene.today, scene.feed.roles.label, hit, np.ones_like)
    return changed(today, scene.feed.roles.category, hit, lambda v: np.full_like(v, 2))


@row_kind("critical", feeds=(PAYMENTS,))
def label_inverted(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """The label means its opposite."""
    return changed(scene.today, scene.feed.roles.label, hit, lambda values: 1 - values)


@row_kind("critical", feeds=(SALES,))
def quantity_zero(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Quantities are 0."""
    return changed(scene.today, "quantity", hit, np.zeros_like)


@row_kind("critical", feeds=(SALES,))
def discount_x100(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Discounts x 100."""
    return changed(scene.today, "retail_disc", hit, lambda values: np.round(values * 100, 2))


@row_kind("critical", feeds=(SALES,))
def amount_and_discount_swapped(scene: Scene, _rng: np.random.Generator, hit: Mask) -> Frame:
    """Sales value and discount are swapped."""
    return _swapped(scene.today, "sales_value", "retail_disc", hit)


@kind("warning", strengths=(0.25, 0.5, 1.0, 2.0), unit="sd")
def mean_shifted(scene: Scene, _rng: np.random.Generator, strength: float) -> Files:
    """Amounts are shifted by a part of their standard deviation."""
    column = scene.feed.roles.amount
    values = scene.today[column]
    shifted = np.round(values + strength * values.std(), 2)
    return {scene.file: scene.today | {column: shifted}}


@kind("warning", strengths=(1.25, 1.5, 2.0), unit="x sd")
def spread_widened(scene: Scene, _rng: np.random.Generator, strength: float) -> Files:
    """Amounts vary more."""
    column = scene.feed.roles.amount
    values = scene.today[column]
    middle = np.median(values)
    wide = np.abs(np.round(middle + strength * (values - middle), 2))
    return {scene.file: scene.today | {column: wide}}


@kind("warning", strengths=(0.1, 0.25, 0.5), unit="PSI")
def distribution_drift(scene: Scene, rng: np.random.Generator, strength: float) -> Files:
    """Amounts drift by a stated PSI."""
    column = scene.feed.roles.amount
    return {scene.file: scene.today | {column: drifted(scene.today[column], rng, strength)}}


def drifted(values: Values, rng: np.random.Generator, psi: float) -> Values:
    """As many values, drawn anew so that their decile shares are `psi` from even ones.

    The shares are tilted, exp(t * bin), with t found by halving: PSI = sum (q - p) ln (q / p)
    grows with t.
    """
    bins = np.minimum(np.argsort(np.argsort(values)) * BINS // max(1, len(values)), BINS - 1)
    even = np.full(BINS, 1 / BINS)
    low, high = 0.0, 2.0
    for _ in range(40):
        tilt = (low + high) / 2
        shares = np.exp(tilt * np.arange(BINS))
        shares /= shares.sum()
        is_less = float(((shares - even) * np.log(shares / even)).sum()) < psi
        low, high = (tilt, high) if is_less else (low, tilt)
    weights = shares[bins]
    return rng.choice(values, size=len(values), p=weights / weights.sum())


def _amount(scene: Scene, hit: Mask, change: object) -> Frame:
    assert callable(change)
    return changed(scene.today, scene.feed.roles.amount, hit, change)


def _swapped(frame: Frame, one: str, other: str, hit: Mask) -> Frame:
    def mixed(kept: Values, new: Values) -> Values:
        values = kept.astype(np.result_type(kept, new)) if kept.dtype != new.dtype else kept.copy()
        values[hit] = new[hit]
        return values

    return frame | {one: mixed(frame[one], frame[other]), other: mixed(frame[other], frame[one])}


def _text(scene: Scene, column: str, hit: Mask, change: object) -> Frame:
    assert callable(change)
    is_known = np.array([value is not None for value in scene.today[column]])
    return changed(
        scene.today,
        column,
        hit & is_known,
        lambda values: np.array([change(value) for value in values], dtype=object),
    )
