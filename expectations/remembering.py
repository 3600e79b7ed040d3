"""Who is who: whether the rows of a code are like the earlier ones of the same code.

Where codes were exchanged one for one, every file looks as it always did by itself. The lake knows
better: what a customer pays today is like what the same customer paid before. Of that only one
coefficient is kept, and no code.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from expectations.profiling import Name, Profile, Scalar
from warehouse.duck import identifier, quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import duckdb

METRIC = "remembered"
# How many earlier batches are remembered, the newest; and about how many of their rows at most.
BATCHES = 30
MOST_ROWS = 100_000
MOST_OF_ALL = 1_000_000  # where it is made for all of the past at once
# Of fewer rows whose code is known, nothing is said.
FEWEST_ROWS = 100
# Codes that explain less of a number than this in more than one of ten cases do not explain it, and
# are not known by it again where it is less like the earlier ones than that.
LEAST_EXPLAINED = 0.05
LEAST_REMEMBERED = 0.1
FEWEST_PROFILES = 8


def tenth(values: Iterable[float]) -> float:
    """What nine of ten values are at least; 0 of none."""
    found = sorted(values)
    return found[len(found) // 10] if found else 0.0


def remembered_pairs(past: Sequence[Profile], columns: Collection[str]) -> list[str]:
    """The pairs, such as "customer and amount", whose code explained the number in the past.

    `columns` are those that there are, in small letters. What the newest profile has is kept up;
    left out is what was never remembered, such as what receipts are of.
    """
    pairs = {column for p in past for column, metric in p.scalars if metric == "explained"}
    found = []
    for pair in sorted(pairs):
        explained = _values(past, (pair, "explained"))
        remembered = _values(past, (pair, METRIC))
        is_kept = bool(past) and (pair, METRIC) in past[-1].scalars
        is_clear = len(explained) >= FEWEST_PROFILES and tenth(explained) >= LEAST_EXPLAINED
        is_vain = len(remembered) >= FEWEST_PROFILES and max(remembered) < LEAST_REMEMBERED
        if (is_clear or is_kept) and not is_vain and _parts(pair, columns):
            found.append(pair)
    return found


def _values(past: Iterable[Profile], name: Name) -> list[float]:
    return [profile.scalars[name].value for profile in past if name in profile.scalars]


def _parts(pair: str, columns: Collection[str]) -> tuple[str, str] | None:
    """The code and the number of a pair, in small letters; a name may have an "and" itself."""
    words = pair.split(" and ")
    for at in range(1, len(words)):
        code, number = " and ".join(words[:at]), " and ".join(words[at:])
        if code.lower() in columns and number.lower() in columns:
            return code.lower(), number.lower()
    return None


class Memory:
    """What the lake remembers of a source: the rows of its newest batches.

    `past` are the profiles by batch, `columns` those that have values, in small letters.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        table: str,
        past: Mapping[str, Profile],
        columns: Collection[str],
    ) -> None:
        self._con = con
        self._table = table
        self._columns = columns
        self._past = dict(sorted(past.items(), key=lambda item: (item[1].at, item[0])))
        self._pairs = remembered_pairs(list(self._past.values()), columns)
        self._newest: list[str] = []
        rows = 0
        for name, profile in reversed(self._past.items()):
            rows += profile.rows
            if self._newest and (len(self._newest) == BATCHES or rows > MOST_ROWS):
                break
            self._newest.append(name)
        most = max((self._past[name].rows for name in self._newest), default=0)
        self._every = max(1, most // MOST_ROWS)
        self._every_of_all = max(1, sum(p.rows for p in past.values()) // MOST_OF_ALL)

    def lacking(self) -> dict[str, Profile]:
        """The past profiles that had no such coefficient, with it.

        Each batch is held against those before it, all of them in one pass for each pair.
        """
        found: dict[str, Profile] = {}
        for pair in self._pairs:
            name = (pair, METRIC)
            if all(name in profile.scalars for profile in self._past.values()):
                continue
            values = self._of_the_past(pair)
            for batch, profile in self._past.items():
                if name not in profile.scalars:
                    scalars = {**found.get(batch, profile).scalars, name: values[batch]}
                    found[batch] = replace(profile, scalars=scalars)
        return found

    def coefficients(self, relation: str) -> dict[Name, Scalar]:
        """How much the rows of a relation, which the lake has not yet, are like the earlier ones.

        That is the correlation of each row's number (its inverse hyperbolic sine) with the mean of
        the earlier rows of the same code.
        """
        if not self._pairs:
            return {}
        columns = ", ".join(sorted({sql for pair in self._pairs for sql in self._columns_of(pair)}))
        ids = ", ".join(map(quoted, self._newest))
        each = " union all ".join(
            self._coefficient(at, pair) for at, pair in enumerate(self._pairs)
        )
        found = self._con.execute(
            f"with earlier as materialized (select {columns} from {self._table}"
            f" where _batch_id in ({ids})),"
            f" new as materialized (select {columns} from {relation}) {each}"
        ).fetchall()
        return {(self._pairs[at], METRIC): _scalar(value, rows) for at, value, rows in found}

    def _coefficient(self, at: int, pair: str) -> str:
        code, number = self._columns_of(pair)
        return (
            f"select {at}, corr(y, mean), count(*) from"
            f" (select {code} as code, {_folded(number)} as y from new) join"
            f" (select {code} as code, avg({_folded(number)}) as mean from earlier"
            f" where {_chosen(code, self._every)} group by 1) using (code)"
            " where y is not null and mean is not null"
        )

    def _of_the_past(self, pair: str) -> dict[str, Scalar]:
        code, number = self._columns_of(pair)
        ids = ", ".join(map(quoted, self._past))
        places = ", ".join(f"({quoted(batch)}, {n})" for n, batch in enumerate(self._past))
        found = self._con.execute(
            "with held as materialized (select _batch, place, code, y from"
            f" (select _batch_id as _batch, {code} as code, {_folded(number)} as y"
            f" from {self._table} where _batch_id in ({ids})"
            f" and {_chosen(code, max(self._every, self._every_of_all))})"
            f" join (values {places}) as t(_batch, place) using (_batch) where y is not null),"
            " each as (select place, code, count(*) as n, sum(y) as total from held group by all),"
            " before as (select place, code, sum(total) over earlier / sum(n) over earlier as mean"
            " from each window earlier as (partition by code order by place"
            f" range between {len(self._newest)} preceding and 1 preceding))"
            " select _batch, corr(y, mean), count(*) from held join before using (place, code)"
            " where mean is not null group by 1"
        ).fetchall()
        known = {batch: _scalar(value, rows) for batch, value, rows in found}
        return {batch: known.get(batch, _scalar(None, 0)) for batch in self._past}

    def _columns_of(self, pair: str) -> tuple[str, str]:
        """The code and the number in SQL."""
        parts = _parts(pair, self._columns)
        assert parts is not None
        return identifier(parts[0]), identifier(parts[1])


def _chosen(code: str, every: int) -> str:
    """SQL for the condition that leaves one in `every` codes."""
    return f"hash({code}) % {every} = 0" if every > 1 else f"{code} is not null"


def _folded(number: str) -> str:
    """SQL for the number as it is compared."""
    plain = f"try_cast({number} as double)"
    return f"asinh(if(isfinite({plain}), {plain}, null))"


def _scalar(value: float | None, rows: int) -> Scalar:
    """Of too few rows, or numbers that are all the same, it is noted that nothing is known."""
    if value is None or value != value or rows < FEWEST_ROWS:
        return Scalar(0.0, "value", 0)
    return Scalar(float(value), "value", rows)
