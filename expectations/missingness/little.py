"""Little's test: are all values missing completely at random?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expectations.missingness.patterns import Column
from expectations.missingness.results import LittleTest, some
from expectations.missingness.sampling import Floats, Sample
from warehouse.wording import counted

MOST_COLUMNS = 20
MOST_PATTERNS = 100
LEAST_ROWS = 50
_LEAST_DISTINCT = 5
_GREATEST = 1e70  # its fourth power is finite
_FEW_ROWS = 30  # of a pattern: too few for its means to be normal when the values are not
_MOST_LEFT_OUT = 0.1
_MOST_SKEWED = 3.0
_NORMAL_SKEW, _NORMAL_KURTOSIS = 1.5, 4.0
_DEPENDENT = 1e-4  # share of variance that the other columns leave unexplained
_ITERATIONS = 500
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class _Pattern:
    """Rows that have the same columns: their number, means and products about 0 (n × n)."""

    has: NDArray[np.int64]
    rows: int
    mean: Floats
    products: Floats


class _UnsuitableError(Exception):
    """The test's assumptions do not hold; the message says which."""


def little(sample: Sample, columns: Sequence[Column]) -> tuple[LittleTest | None, str]:
    """Little's test on the sample's numeric columns; None and the reason where it does not apply.

    It assumes roughly normal columns, or patterns of 30 rows and more, whose means are.
    """
    try:
        return _little(sample, columns)
    except _UnsuitableError as reason:
        return None, str(reason)
    except np.linalg.LinAlgError:
        return None, "not tested: the columns depend on each other linearly"


def _little(sample: Sample, columns: Sequence[Column]) -> tuple[LittleTest, str]:
    names = _suitable(sample, columns)
    data = np.column_stack([sample.values[name] for name in names])
    data = data[~np.isnan(data).all(1)]
    data = _standardised(data)
    independent = _independent(data)
    dropped = [name for name, kept in zip(names, independent, strict=True) if not kept]
    names = [name for name, kept in zip(names, independent, strict=True) if kept]
    data = data[:, independent]
    _require(len(names) > 1, "not tested: its numeric columns depend on each other linearly")
    data, note = _enough(data[~np.isnan(data).all(1)])
    if dropped:
        note = f"{note}; without {some(dropped)}, which the other columns determine".lstrip("; ")
    statistic, degrees = little_statistic(data)
    _require(degrees > 0, "not tested: all rows lack the same columns")
    from scipy.special import chdtrc  # type: ignore[import-untyped]

    p = float(chdtrc(degrees, statistic))
    return LittleTest(statistic, degrees, p, len(data), tuple(names)), note


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise _UnsuitableError(otherwise)


def _suitable(sample: Sample, columns: Sequence[Column]) -> list[str]:
    """The measured columns, those that lack values first: finite, of five values and more."""
    found = []
    for column in columns:
        if column.kind != "number":
            continue
        values = sample.values[column.name]
        here = values[~np.isnan(values)]
        if np.unique(here).size >= _LEAST_DISTINCT and np.abs(here).max() < _GREATEST:
            found.append(column.name)
    lacking = [name for name in found if np.isnan(sample.values[name]).any()]
    _require(bool(lacking), "not tested: no numeric column of five values or more lacks any")
    _require(
        len(found) > 1,
        "not tested: it compares numeric columns of five values or more: there is one",
    )
    firsts, repeats = _of_few_patterns(sample, lacking)
    others = [name for name in found if name not in lacking]
    return (firsts + others + repeats)[:MOST_COLUMNS]


def _of_few_patterns(sample: Sample, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """As many of the columns, those that lack most first, as have at most 100 patterns.

    Those that bring no new pattern come apart: where columns determine each other, it is one of
    these that is left out.
    """
    pattern = np.zeros(sample.rows, np.int64)
    firsts: list[str] = []
    repeats: list[str] = []
    for name in sorted(names, key=lambda name: -np.isnan(sample.values[name]).sum()):
        _, finer = np.unique(pattern * 2 + np.isnan(sample.values[name]), return_inverse=True)
        if finer.max() == pattern.max():
            repeats.append(name)
        elif finer.max() < MOST_PATTERNS:
            pattern = finer
            firsts.append(name)
    return firsts, repeats


def _standardised(data: Floats) -> Floats:
    """Mean 0 and deviation 1: changes nothing in the test, but keeps its sums exact."""
    return np.asarray((data - np.nanmean(data, 0)) / np.nanstd(data, 0))


def _independent(data: Floats) -> list[bool]:
    """Which columns are no linear combination of those before, judged on the complete rows."""
    complete = data[~np.isnan(data).any(1)]
    if len(complete) <= 2 * data.shape[1]:
        return [True] * data.shape[1]
    complete = complete - complete.mean(0)
    kept: list[int] = []
    for column in range(data.shape[1]):
        y = complete[:, column]
        rest = y
        if kept:
            x = complete[:, kept]
            rest = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        if (rest @ rest) > _DEPENDENT * max(y @ y, 1e-12):
            kept.append(column)
    return [column in kept for column in range(data.shape[1])]


def _enough(data: Floats) -> tuple[Floats, str]:
    """The rows whose patterns the test may compare, and what was left out.

    Roughly normal columns may have patterns of any size: a mean of few is normal, too.
    """
    _require(len(data) >= LEAST_ROWS, f"not tested: fewer than {LEAST_ROWS} rows")
    skew = np.nanmean(data**3, 0) / np.nanmean(data**2, 0) ** 1.5
    kurtosis = np.nanmean(data**4, 0) / np.nanmean(data**2, 0) ** 2 - 3
    if (np.abs(skew) <= _NORMAL_SKEW).all() and (np.abs(kurtosis) <= _NORMAL_KURTOSIS).all():
        return data, ""
    _require(
        bool((np.abs(skew) <= _MOST_SKEWED).all()),
        "not tested: it assumes roughly normal columns, and some are far from it",
    )
    _, inverse, counts = np.unique(np.isnan(data), axis=0, return_inverse=True, return_counts=True)
    is_large = counts[inverse.reshape(-1)] >= _FEW_ROWS
    left_out = int((~is_large).sum())
    _require(
        left_out <= _MOST_LEFT_OUT * len(data) and int((counts >= _FEW_ROWS).sum()) > 1,
        "not tested: the columns are not normal, and too many patterns have fewer than"
        f" {_FEW_ROWS} rows",
    )
    note = f"without {counted(left_out, 'row')} of rare patterns" if left_out else ""
    return data[is_large], note


def little_statistic(data: Floats) -> tuple[float, int]:
    """Little's d² of n × p data (NaN is missing) and its degrees of freedom.

    Little, R. J. A. (1988), A test of missing completely at random for multivariate data with
    missing values, Journal of the American Statistical Association 83, 1198–1202: the sum over
    patterns j of n_j (ȳ_j − μ_j)ᵀ Σ_j⁻¹ (ȳ_j − μ_j), where μ and Σ are the maximum likelihood
    estimates under normality (as in Enders, Applied Missing Data Analysis, 2010, 1.10). It is
    chi-square with Σ p_j − p degrees of freedom where values are missing completely at random.
    """
    patterns = _patterns(data)
    mean, covariance = em(patterns, data.shape[1])
    statistic = 0.0
    for pattern in patterns:
        has = pattern.has
        off = pattern.mean - mean[has]
        statistic += pattern.rows * float(off @ np.linalg.solve(covariance[np.ix_(has, has)], off))
    return statistic, sum(pattern.has.size for pattern in patterns) - data.shape[1]


def _patterns(data: Floats) -> list[_Pattern]:
    kinds, inverse = np.unique(np.isnan(data), axis=0, return_inverse=True)
    found = []
    for number, lacks in enumerate(kinds):
        has = np.flatnonzero(~lacks)
        if has.size:
            rows = data[inverse.reshape(-1) == number][:, has]
            found.append(_Pattern(has, len(rows), rows.mean(0), rows.T @ rows))
    return found


def em(patterns: Sequence[_Pattern], columns: int) -> tuple[Floats, Floats]:
    """The normal distribution's mean and covariance by maximum likelihood, from incomplete rows.

    The EM algorithm of Little and Rubin, Statistical Analysis with Missing Data (2019), 11.2, on
    the sums of each pattern, so that a step costs the same for any number of rows. Raises
    LinAlgError if the covariance is singular.
    """
    rows = sum(pattern.rows for pattern in patterns)
    mean, covariance = np.zeros(columns), np.eye(columns)
    for _ in range(_ITERATIONS):
        first, second = np.zeros(columns), np.zeros((columns, columns))
        for pattern in patterns:
            sums, products = _expected(pattern, mean, covariance)
            first += sums
            second += products
        new_mean = first / rows
        new_covariance = second / rows - np.outer(new_mean, new_mean)
        step = max(
            float(np.abs(new_mean - mean).max()), float(np.abs(new_covariance - covariance).max())
        )
        mean, covariance = new_mean, new_covariance
        if step < _TOLERANCE:
            break
    return mean, covariance


def _expected(pattern: _Pattern, mean: Floats, covariance: Floats) -> tuple[Floats, Floats]:
    """A pattern's expected sums and sums of products of all columns, given what its rows have."""
    has, n = pattern.has, pattern.rows
    lacks = np.setdiff1d(np.arange(mean.size), has)
    # Every row's expectation is linear in what it has: whole = offset + slope · observed.
    slope = np.zeros((mean.size, has.size))
    slope[has] = np.eye(has.size)
    slope[lacks] = np.linalg.solve(covariance[np.ix_(has, has)], covariance[np.ix_(has, lacks)]).T
    offset = mean - slope @ mean[has]
    observed = slope @ (n * pattern.mean)
    cross = np.outer(offset, observed)
    products = slope @ pattern.products @ slope.T + cross + cross.T + n * np.outer(offset, offset)
    left = covariance[np.ix_(lacks, lacks)] - slope[lacks] @ covariance[np.ix_(has, lacks)]
    products[np.ix_(lacks, lacks)] += n * left
    return n * offset + observed, products
