"""Whether a column's missingness depends on what other columns hold, or lack.

For each column that lacks values, the rows in which it does are compared with the others. What is
found says that values are not missing completely at random (MCAR). Nothing can be found out about
values that are missing because of what they would have been (MNAR): these are not there to test.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from expectations.missingness.patterns import Column, Counts
from expectations.missingness.results import Dependence, some
from expectations.missingness.sampling import Codes, Flags, Floats, Sample, Sampler, levels

TESTED_ROWS = 10_000
MOST_COLUMNS = 40  # with missing values
MOST_PREDICTORS = 300
SIGNIFICANT = 0.05
SMALL_EFFECT = 0.1
_MOST_TOPPED_UP = 20
_FEW_ROWS = 500
_LEAST_ROWS = 10
_LEAST_EXPECTED = 5
_LEVELS = 20
_BINS = 10


@dataclass(frozen=True)
class Ranks:
    """A number's ranks among the rows that have it (1 in `has`), 0 in the others.

    `ties` is the sum of t³ − t over the groups of t equal values.
    """

    ranks: Floats
    has: Floats
    ties: float

    @classmethod
    def of(cls, values: Floats) -> Ranks:
        """Rank the values; equal ones get their mean rank."""
        has = ~np.isnan(values)
        _, inverse, counts = np.unique(values[has], return_inverse=True, return_counts=True)
        ranks = np.zeros(values.size)
        ranks[has] = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
        sizes = counts.astype(np.float64)
        return cls(ranks, has.astype(np.float64), float((sizes**3 - sizes).sum()))


@dataclass(frozen=True)
class Predictor:
    """A column whose values may tell where others are missing.

    `codes` are its categories, or the ranges its values are in; -1 where missing. `over` says
    which ranges, and is empty for categories. Numbers have `ranks` besides.
    """

    name: str
    codes: Codes
    over: str = ""
    ranks: Ranks | None = None

    @classmethod
    def of(cls, column: Column, sample: Sample, rows: int) -> Predictor | None:
        """The column as a predictor; None if it is constant or identifies its rows."""
        if column.kind == "category":
            lacks = sample.lacks.get(column.name)
            labels = sample.labels[column.name]
            known = labels if lacks is None else labels[~lacks]
            different = np.unique(known).size
            if different < 2 or (different > _LEVELS and different > known.size / 2):
                return None
            return cls(column.name, levels(labels, lacks, _LEVELS))
        values = sample.values[column.name]
        here = values[~np.isnan(values)]
        distinct = np.unique(here)
        if distinct.size < 2 or (column.is_integer and _numbers_rows(here, distinct, rows)):
            return None
        codes = _binned(values, distinct)
        if column.kind == "time":
            return cls(column.name, codes, "time")
        return cls(column.name, codes, "ranges", Ranks.of(values))


def _numbers_rows(values: Floats, distinct: Floats, rows: int) -> bool:
    """Whether integers only count a table's rows: no two the same, and hardly a gap."""
    return distinct.size == values.size and distinct[-1] - distinct[0] < 2 * rows


def _binned(values: Floats, distinct: Floats) -> Codes:
    """Values in at most ten ranges of as many rows each; -1 where there is none."""
    has = ~np.isnan(values)
    codes = np.full(values.size, -1, np.int64)
    if distinct.size > _BINS:
        ordered = np.sort(values[has])
        distinct = np.unique(ordered[np.arange(1, _BINS) * ordered.size // _BINS])
        codes[has] = np.searchsorted(distinct, values[has], side="right")
    else:
        codes[has] = np.searchsorted(distinct, values[has])
    return codes


class Study:
    """A sample's predictors, each made once."""

    def __init__(self, sample: Sample, columns: Sequence[Column], rows: int) -> None:
        self.sample = sample
        self._columns = columns
        self._rows = rows

    @cached_property
    def predictors(self) -> list[Predictor]:
        """The columns that may tell where others are missing."""
        made = (Predictor.of(column, self.sample, self._rows) for column in self._columns)
        return [predictor for predictor in made if predictor is not None]

    def tests(self, target: str, others: Iterable[str]) -> Iterator[Dependence]:
        """Every test of where `target` is missing, on values and on the `others`' missingness."""
        missing = self.sample.lacks[target]
        for predictor in self.predictors:
            if predictor.name != target:
                for test in _tested(missing, predictor):
                    yield replace(test, column=target)
        for other in others:
            found = _together(missing, self.sample.lacks[other])
            if found is not None:
                yield replace(found, column=target, on=other)


def dependences(
    sampler: Sampler, counts: Counts, sample: Sample
) -> tuple[tuple[Dependence, ...], tuple[str, ...]]:
    """What missingness depends on, the strongest first, and what was left out.

    Of columns that are missing in the same rows, the first is tested for all. A dependence is
    told if its p, corrected by Holm's method over all tests of the table, is below 0.05 and its
    effect at least 0.1 in size, which is Cohen's small effect (1988). A number's ranges are told
    where its level tells nothing: values are missing at both ends, say, or in between.
    """
    targets, notes = _targets(counts)
    readable = [column for column in sampler.columns if column.kind != "opaque"]
    if len(readable) > MOST_PREDICTORS:
        left_out = len(readable) - MOST_PREDICTORS
        notes += (
            f"{left_out} columns after the first {MOST_PREDICTORS} were not tested for effect",
        )
        readable = readable[:MOST_PREDICTORS]
    main = Study(sample, readable, counts.rows)
    tested: list[Dependence] = []
    topped_up = 0
    for position, target in enumerate(targets):
        study, others = main, targets[position + 1 :]
        if topped_up < _MOST_TOPPED_UP and _is_short(sample, counts.rows, target):
            topped_up += 1
            study = Study(_topped_up(sampler, sample, target), readable, counts.rows)
        tested += study.tests(target, others)
    return _told(tested), notes


def _targets(counts: Counts) -> tuple[list[str], tuple[str, ...]]:
    """The columns to test, the one that lacks least first; one for all that are alike."""
    missing = {column.column: column.missing for column in counts.columns}
    groups = [group for group in counts.alike if missing[group[0]] < counts.rows]
    notes = tuple(
        f"{some(group)} are missing in the same rows: what is told of where"
        f" {group[0]} is missing holds for all of them"
        for group in groups
        if len(group) > 1
    )
    firsts = sorted((group[0] for group in groups), key=lambda name: -missing[name])
    if len(firsts) > MOST_COLUMNS:
        notes += (
            f"only the {MOST_COLUMNS} columns that lack most were tested for what their missingness"
            " depends on",
        )
    return firsts[:MOST_COLUMNS][::-1], notes


def _is_short(sample: Sample, rows: int, target: str) -> bool:
    """Whether the table has more rows with, or without, the value than the few in the sample."""
    missing = int(sample.lacks[target].sum())
    return rows > sample.rows and min(missing, sample.rows - missing) < _FEW_ROWS


def _topped_up(sampler: Sampler, sample: Sample, target: str) -> Sample:
    """The sample with up to 500 rows of the rarer side, with or without the value.

    Both tests compare the two sides with each other, so that each may be sampled on its own.
    """
    lacks = sample.lacks[target]
    column = next(column for column in sampler.lacking if column.name == target)
    is_missing_rare = bool(lacks.mean() < 0.5)
    where = column.lacks if is_missing_rare else f"not {column.lacks}"
    return sample.taken(lacks != is_missing_rare).joined(sampler.take(_FEW_ROWS, where))


def _tested(missing: Flags, predictor: Predictor) -> Iterator[Dependence]:
    name = f"chi-square over {predictor.over}" if predictor.over else "chi-square"
    tests = [_contingency(missing, predictor.codes, predictor.name, name)]
    if predictor.ranks is not None:
        tests.append(mann_whitney(missing, predictor.name, predictor.ranks))
    yield from (test for test in tests if test is not None)


def mann_whitney(missing: Flags, on: str, ranks: Ranks) -> Dependence | None:
    """Mann and Whitney's U (1947), by its normal approximation with the correction for ties.

    The effect is the rank-biserial correlation (Wendt 1972): the chance that `on` is greater in a
    row where the value is missing than in one where it is not, less the chance of the contrary.
    None where either side has fewer than ten rows.
    """
    from scipy.special import ndtr  # type: ignore[import-untyped]

    sides = missing.astype(np.float64)
    n, n1 = round(ranks.has.sum()), round(float(ranks.has @ sides))
    n0 = n - n1
    if min(n1, n0) < _LEAST_ROWS:
        return None
    u = float(ranks.ranks @ sides) - n1 * (n1 + 1) / 2
    variance = n1 * n0 / 12 * (n + 1 - ranks.ties / (n * (n - 1)))
    if variance <= 0:
        return None
    z = max(abs(u - n1 * n0 / 2) - 0.5, 0.0) / variance**0.5
    p = float(min(1.0, 2 * ndtr(-z)))
    return Dependence("", on, "Mann–Whitney", 2 * u / (n1 * n0) - 1, "rank-biserial", p)


def _together(missing: Flags, other: Flags) -> Dependence | None:
    """Whether two columns are missing together: phi, positive where they are."""
    found = _contingency(missing, other.astype(np.int64), "", "chi-square")
    if found is None:
        return None
    share, of_other = missing.mean(), other.mean()
    covariance = (missing & other).mean() - share * of_other
    phi = float(covariance / (share * (1 - share) * of_other * (1 - of_other)) ** 0.5)
    return replace(found, test=f"{found.test} of missingness", effect=phi, effect_name="phi")


def _contingency(missing: Flags, codes: Codes, on: str, name: str) -> Dependence | None:
    cells = np.bincount(2 * (codes + 1) + missing, minlength=2 * (_LEVELS + 2))
    table = _pooled(cells.reshape(-1, 2).T[:, 1:])  # the first are the rows without a code
    if table is None:
        return None
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    effect = cramers_v(table)
    if expected.min() < _LEAST_EXPECTED:
        from scipy.stats import fisher_exact  # type: ignore[import-untyped]

        p = float(fisher_exact(table).pvalue)
        return Dependence("", on, "Fisher’s exact", effect, "Cramér’s V", p)
    p = _chi_square_p(float(((table - expected) ** 2 / expected).sum()), table.shape[1] - 1)
    return Dependence("", on, name, effect, "Cramér’s V", p)


def _pooled(table: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The 2 × k table, in which the rare categories of fewer than five expected rows are one.

    None where nothing is left to compare: fewer than two categories, or an empty side.
    """
    table = table[:, table.sum(0) > 0]
    if table.shape[1] < 2 or table.sum(1).min() == 0:
        return None
    share = table.sum(1).min() / table.sum()
    while table.shape[1] > 2:
        order = np.argsort(table.sum(0), kind="stable")
        if table[:, order[0]].sum() * share >= _LEAST_EXPECTED:
            break
        table = table[:, order]
        table = np.column_stack([table[:, :2].sum(1), table[:, 2:]])
    return table


def _chi_square_p(statistic: float, degrees: int) -> float:
    from scipy.special import chdtrc

    return float(chdtrc(degrees, statistic))


def cramers_v(table: NDArray[np.int64]) -> float:
    """Cramér's V of a table of counts, corrected for bias (Bergsma 2013)."""
    n = table.sum()
    expected = table.sum(1, keepdims=True) * table.sum(0) / n
    phi2 = ((table - expected) ** 2 / expected).sum() / n
    rows, columns = table.shape
    phi2 = max(0.0, phi2 - (rows - 1) * (columns - 1) / (n - 1))
    rows_, columns_ = (side - (side - 1) ** 2 / (n - 1) for side in (rows, columns))
    most = min(rows_, columns_) - 1
    return float(min(1.0, (phi2 / most) ** 0.5)) if most > 0 else 0.0


def holm(values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number by Holm's method (1979), in the same order."""
    p = np.asarray(values, float)
    order = np.argsort(p, kind="stable")
    corrected = np.empty(p.size)
    corrected[order] = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    return [float(value) for value in np.minimum(corrected, 1)]


def _told(tested: Sequence[Dependence]) -> tuple[Dependence, ...]:
    corrected = holm([test.p for test in tested])
    found = [replace(test, p=p) for test, p in zip(tested, corrected, strict=True)]
    kept = [t for t in found if t.p < SIGNIFICANT and abs(t.effect) >= SMALL_EFFECT]
    by_level = {(t.column, t.on) for t in kept if t.effect_name == "rank-biserial"}
    kept = [t for t in kept if "ranges" not in t.test or (t.column, t.on) not in by_level]
    return tuple(sorted(kept, key=lambda t: (-abs(t.effect), t.column, t.on, t.test)))
