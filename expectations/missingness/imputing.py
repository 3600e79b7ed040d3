"""How well imputations would do: observed values are hidden, imputed, and compared.

Values are hidden the way they are missing: a row that lacks some is drawn, and what it lacks is
hidden from one of the rows that are most like it in all that it has. So columns that are missing
together are hidden together, and where missingness depends on other columns, so does hiding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from expectations.missingness.patterns import Column, Counts
from expectations.missingness.results import Imputation, some
from expectations.missingness.sampling import Codes, Flags, Floats, Sample, levels

IMPUTED_ROWS = 1_500
MOST_TARGETS = 8
REPEATS = 5
_MOST_FEATURES = 40
_MOST_LEVELS = 20
_PREDICTOR_LEVELS = 8
_LEAST_OBSERVED = 50
_LEAST_HIDDEN = 20
_HIDDEN_SHARE = 0.2  # of the rows, in each repeat
_ALIKE = 20
_NEIGHBOURS = 10
_ROUNDS = 3
_BOOTSTRAPS = 500


@dataclass(frozen=True)
class Feature:
    """A column as one number (standardised), or one 0/1 column for each category.

    `at` are its columns in the matrix.
    """

    name: str
    at: NDArray[np.int64]
    is_category: bool


@dataclass(frozen=True)
class Encoded:
    """A sample as a matrix of features; NaN is missing."""

    matrix: Floats
    features: tuple[Feature, ...]

    def of(self, name: str) -> Feature:
        """The feature of this column."""
        return next(feature for feature in self.features if feature.name == name)

    def lacks(self, feature: Feature) -> Flags:
        """The rows that lack it."""
        return np.asarray(np.isnan(self.matrix[:, feature.at[0]]))


def imputations(
    sample: Sample, columns: Sequence[Column], counts: Counts, seed: int
) -> tuple[tuple[Imputation, ...], tuple[str, ...]]:
    """Each method's error on hidden values, by column; and which columns were left out, and why.

    The simplest method (mean, mode) is the best unless another's error is surely lower: the
    interval of the difference, corrected for the number of methods (Bonferroni), is below zero.
    """
    rng = np.random.default_rng(seed)
    # In random order: of rows that are equally alike, the imputer takes the first.
    sample = sample.taken(rng.permutation(sample.rows)[:IMPUTED_ROWS])
    targets, notes = _targets(sample, columns, counts)
    if not targets:
        return (), notes
    encoded = encode(sample, columns, targets)
    losses = {target: _Losses(sample.rows) for target in targets}
    for _ in range(REPEATS):
        hidden = hide(encoded, targets, rng)
        for target, rows in hidden.items():
            losses[target].hidden[rows] += 1
        for method, imputed in _imputed(encoded, targets, hidden):
            for target, filled in imputed.items():
                rows, feature = hidden[target], encoded.of(target)
                losses[target].add(method, rows, _loss(encoded.matrix[rows], filled, feature))
    found: list[Imputation] = []
    for target in targets:
        if losses[target].hidden.sum() < _LEAST_HIDDEN:
            notes += (f"{target} was not imputed: too few rows are like those that lack it",)
            continue
        found += _compared(target, losses[target], encoded.of(target).is_category, rng)
    return tuple(found), notes


def _targets(
    sample: Sample, columns: Sequence[Column], counts: Counts
) -> tuple[list[str], tuple[str, ...]]:
    """The columns to impute, those that lack most first, and why others are left out."""
    by_name = {column.name: column for column in columns}
    targets: list[str] = []
    left_out: dict[str, list[str]] = {}
    for counted in sorted(counts.columns, key=lambda column: -column.missing):
        reason = _unfit(sample, by_name[counted.column])
        if reason is None and len(targets) == MOST_TARGETS:
            reason = f"{MOST_TARGETS} other columns lack more"
        if reason is None:
            targets.append(counted.column)
        else:
            left_out.setdefault(reason, []).append(counted.column)
    notes = (f"not imputed ({reason}): {some(names)}" for reason, names in left_out.items())
    return targets, tuple(notes)


def _unfit(sample: Sample, column: Column) -> str | None:
    """Why no imputation of the column is tried; None where one is."""
    lacks = sample.lacks[column.name]
    if column.kind in ("opaque", "time"):
        return "neither a number nor a category, or not to be read"
    if lacks.all():
        return "no value"
    if (~lacks).sum() < _LEAST_OBSERVED or not lacks.any():
        return f"fewer than {_LEAST_OBSERVED} values in the sample, or none missing there"
    if column.kind == "category":
        different = np.unique(sample.labels[column.name][~lacks]).size
        reason = f"more than {_MOST_LEVELS} categories" if different > _MOST_LEVELS else None
        return "one value only" if different == 1 else reason
    values = sample.values[column.name]
    if np.unique(values[~lacks]).size == 1:
        return "one value only"
    return "infinite numbers" if _standardised(values) is None else None


def encode(sample: Sample, columns: Sequence[Column], targets: Sequence[str]) -> Encoded:
    """The targets and the other columns that can help, as far as 40 features go.

    Categories of which there are many are eight, and a rest; infinite numbers leave a column out.
    """
    ordered = [c for name in targets for c in columns if c.name == name]
    ordered += [c for c in columns if c.kind != "opaque" and c.name not in targets]
    parts: list[Floats] = []
    features: list[Feature] = []
    width = 0
    for column in ordered:
        is_target = column.name in targets
        made = _part(sample, column, _MOST_LEVELS if is_target else _PREDICTOR_LEVELS)
        if made is None or (not is_target and width + made.shape[1] > _MOST_FEATURES):
            continue
        at = np.arange(width, width + made.shape[1])
        features.append(Feature(column.name, at, column.kind == "category"))
        parts.append(made)
        width += made.shape[1]
    return Encoded(np.column_stack(parts), tuple(features))


def _part(sample: Sample, column: Column, most: int) -> Floats | None:
    if column.kind == "category":
        lacks = sample.lacks.get(column.name)
        labels = sample.labels[column.name]
        different = np.unique(labels if lacks is None else labels[~lacks]).size
        if different < 2 or different > max(most, sample.rows / 10):
            return None
        codes = levels(labels, lacks, most)
        dummies = np.eye(codes.max() + 1)[codes]
        dummies[codes < 0] = np.nan
        return np.asarray(dummies)
    values = _standardised(sample.values[column.name])
    return None if values is None else values[:, None]


def _standardised(values: Floats) -> Floats | None:
    """The numbers with mean 0 and deviation 1; None where they have no finite deviation above 0."""
    known = values[~np.isnan(values)]
    with np.errstate(over="ignore", invalid="ignore"):
        spread = known.std() if known.size else 0.0
    if not np.isfinite(spread) or spread <= 0:
        return None
    return np.asarray((values - known.mean()) / spread)


def hide(encoded: Encoded, targets: Sequence[str], rng: np.random.Generator) -> dict[str, Codes]:
    """The rows from which each target's values are to be hidden.

    The same number of rows for each target, a fifth of all rows together: for each, a row that
    lacks the target is drawn, and one of the 20 rows most like it, by mean distance over the
    features that both have, that have the target. From there what the first lacks is hidden.
    """
    lacks = np.column_stack([encoded.lacks(encoded.of(target)) for target in targets])
    hidden = np.zeros_like(lacks)
    draws = max(1, int(_HIDDEN_SHARE * len(lacks) / len(targets)))
    for position in range(len(targets)):
        donors = np.flatnonzero(lacks[:, position])
        takers = np.flatnonzero(~lacks[:, position])
        drawn = rng.choice(donors, min(draws, takers.size // 4))
        likes = _most_alike(encoded.matrix, drawn, rng.permutation(takers))
        chosen = likes[np.arange(drawn.size), rng.integers(likes.shape[1], size=drawn.size)]
        hidden[chosen] |= lacks[drawn]
    hidden &= ~lacks
    return {target: np.flatnonzero(hidden[:, n]) for n, target in enumerate(targets)}


def _most_alike(matrix: Floats, rows: Codes, among: Codes) -> Codes:
    """For each of the rows the 20 others that are nearest to it, over what both have."""
    has = ~np.isnan(matrix)
    filled = np.where(has, matrix, 0.0)
    a, b = filled[rows], filled[among]
    ha, hb = has[rows].astype(float), has[among].astype(float)
    shared = ha @ hb.T
    squares = (a**2) @ hb.T + ha @ (b**2).T - 2 * a @ b.T
    distance = np.where(shared > 0, squares / np.maximum(shared, 1), np.inf)
    nearest = min(_ALIKE, among.size)
    return np.asarray(among[np.argpartition(distance, nearest - 1, axis=1)[:, :nearest]])


def _imputed(
    encoded: Encoded, targets: Sequence[str], hidden: dict[str, Codes]
) -> Iterator[tuple[str, dict[str, Floats]]]:
    """Each method's imputation of the hidden rows: for each target its columns of the matrix."""
    matrix = encoded.matrix.copy()
    for target in targets:
        matrix[np.ix_(hidden[target], encoded.of(target).at)] = np.nan
    simple: tuple[tuple[str, Callable[[Floats], Floats]], ...] = (
        ("mean", lambda part: np.nanmean(part, 0)),
        ("median", lambda part: np.nanmedian(part, 0)),
        ("mode", lambda part: np.nanmean(part, 0)),
    )
    for name, centre in simple:
        filled = {}
        for target in targets:
            feature = encoded.of(target)
            if feature.is_category == (name == "mode"):
                part = centre(matrix[:, feature.at])
                filled[target] = np.tile(part, (hidden[target].size, 1))
        yield name, filled
    rows = np.unique(np.concatenate(list(hidden.values())))
    for name, method in (("kNN", _nearest), ("iterative", _iterated)):
        whole = method(matrix, rows)
        at = {target: np.searchsorted(rows, hidden[target]) for target in targets}
        yield name, {t: whole[np.ix_(at[t], encoded.of(t).at)] for t in targets}


def _nearest(matrix: Floats, rows: Codes) -> Floats:
    """These rows, each with the mean of the ten nearest rows that have the value."""
    from sklearn.impute import KNNImputer

    imputer = KNNImputer(n_neighbors=_NEIGHBOURS, keep_empty_features=True).fit(matrix)
    return np.asarray(imputer.transform(matrix[rows]), float)


def _iterated(matrix: Floats, rows: Codes) -> Floats:
    """These rows, each feature by ridge regression on all others, in rounds (chained equations)."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer
    from sklearn.linear_model import Ridge

    imputer = IterativeImputer(Ridge(), max_iter=_ROUNDS, keep_empty_features=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # so many rounds are all that it gets
        return np.asarray(imputer.fit_transform(matrix)[rows], float)


def _loss(truth: Floats, imputed: Floats, feature: Feature) -> Floats:
    """Squared errors in units of the column's variance, or 1 for each wrong category."""
    mine = truth[:, feature.at]
    if not feature.is_category:
        return np.asarray((mine[:, 0] - imputed[:, 0]) ** 2)
    return np.asarray(mine.argmax(1) != imputed.argmax(1), float)


class _Losses:
    """Sums of losses by row, for each method, over the repeats."""

    def __init__(self, rows: int) -> None:
        self.hidden = np.zeros(rows)
        self.sums: dict[str, Floats] = {}

    def add(self, method: str, rows: Codes, losses: Floats) -> None:
        """Add the losses of one repeat."""
        self.sums.setdefault(method, np.zeros(self.hidden.size))[rows] += losses


def _compared(
    column: str, losses: _Losses, is_category: bool, rng: np.random.Generator
) -> list[Imputation]:
    """The methods' errors with bootstrap intervals over rows (Efron 1979), the simplest first."""
    used = np.flatnonzero(losses.hidden)
    weights = rng.multinomial(used.size, np.full(used.size, 1 / used.size), size=_BOOTSTRAPS)
    counts = weights @ losses.hidden[used]
    means = {m: float(s.sum() / losses.hidden.sum()) for m, s in losses.sums.items()}
    draws = {m: (weights @ s[used]) / counts for m, s in losses.sums.items()}
    simplest, *others = losses.sums
    sure = 1 - 0.025 / len(others)
    better = [m for m in others if np.quantile(draws[m] - draws[simplest], sure) < 0]
    best = min(better, key=lambda method: means[method], default=simplest)
    power = 1.0 if is_category else 0.5
    found = []
    for method in losses.sums:
        low, high = np.quantile(draws[method], [0.025, 0.975]) ** power
        found.append(
            Imputation(
                column=column,
                method=method,
                error=means[method] ** power,
                error_name="share wrong" if is_category else "NRMSE",
                low=float(low),
                high=float(high),
                hidden=int(losses.hidden.sum()),
                is_best=method == best,
            )
        )
    return found
