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
MOST_ROWS = 1_000_000
# Of fewer rows whose code is known, nothing is said.
FEWEST_ROWS = 100
# Codes that explain less of a number than this in any of ten cases do not explain it.
EXPLAINED = 0.05
_FEWEST_PROFILES = 8


def tenth(values: Iterable[float]) -> float:
    """What nine of ten values are at least; 0 of none."""
    found = sorted(values)
    return found[len(found) // 10] if found else 0.0


def remembered_pairs(past: Sequence[Profile], columns: Collection[str]) -> list[str]:
    """The pairs, such as "customer and amount", whose code explained the number in the past.

    `columns` are those that there are, in small letters. What the newest profile has is kept up.
    """
    names = {name for p in past for name in p.scalars if name[1] == "explained"}
    kept = {column for column, metric in (past[-1].scalars if past else ()) if metric == METRIC}
    found = []
    for name in names:
        values = [p.scalars[name].value for p in past if name in p.scalars]
        is_clear = len(values) >= _FEWEST_PROFILES and tenth(values) >= EXPLAINED
        if (is_clear or name[0] in kept) and _parts(name[0], columns):
            found.append(name[0])
    return sorted(found)


def _parts(pair: str, columns: Collection[str]) -> tuple[str, str] | None:
    """The code and the number of a pair; names of columns may have an "and" themselves."""
    words = pair.split(" and ")
    for at in range(1, len(words)):
        code, number = " and ".join(words[:at]), " and ".join(words[at:])
        if code.lower() in columns and number.lower() in columns:
            return code, number
    return None


class Memory:
    """The earlier rows of one table of the lake, as those of its newest batches.

    `past` are the profiles by batch, `columns` those of the table, in small letters.
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

    def lacking(self) -> dict[str, Profile]:
        """The past profiles that had not what is `remembered`, with it: in one pass for each pair.

        Each batch is held against those before it.
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

    def of(self, relation: str) -> dict[Name, Scalar]:
        """What is `remembered` of the rows of a relation that the lake has not yet.

        That is the correlation of each row's number (its inverse hyperbolic sine) with the mean of
        the earlier rows of the same code.
        """
        ids = ", ".join(map(quoted, self._newest))
        found: dict[Name, Scalar] = {}
        for pair in self._pairs:
            code, number = self._sql(pair)
            row = self._con.execute(
                f"select corr(y, mean), count(*) from (select {code} as code, {number} as y"
                f" from {relation}) join (select {code} as code, avg({number}) as mean"
                f" from {self._table} where _batch_id in ({ids}){self._thinned(code)} group by 1)"
                " using (code) where y is not null and mean is not null"
            ).fetchone()
            assert row is not None
            found[pair, METRIC] = _scalar(*row)
        return found

    def _of_the_past(self, pair: str) -> dict[str, Scalar]:
        code, number = self._sql(pair)
        places = ", ".join(f"({quoted(batch)}, {n})" for n, batch in enumerate(self._past))
        found = self._con.execute(
            "with held as materialized (select _batch, place, code, y from"
            f" (select _batch_id as _batch, {code} as code, {number} as y from {self._table}"
            f" where true{self._thinned(code)}) join (values {places}) as t(_batch, place)"
            " using (_batch) where code is not null and y is not null),"
            " each as (select place, code, count(*) as n, sum(y) as total from held group by all),"
            " before as (select place, code, sum(total) over earlier / sum(n) over earlier as mean"
            " from each window earlier as (partition by code order by place"
            f" range between {len(self._newest)} preceding and 1 preceding))"
            " select _batch, corr(y, mean), count(*) from held join before using (place, code)"
            " where mean is not null group by 1"
        ).fetchall()
        known = {batch: _scalar(value, rows) for batch, value, rows in found}
        return {batch: known.get(batch, _scalar(None, 0)) for batch in self._past}

    def _sql(self, pair: str) -> tuple[str, str]:
        """SQL for the code, and for the number as it is compared."""
        parts = _parts(pair, self._columns)
        assert parts is not None
        number = f"{identifier(parts[1])}::double"
        return identifier(parts[0]), f"asinh(if(isfinite({number}), {number}, null))"

    def _thinned(self, code: str) -> str:
        """SQL for the condition that leaves only some of the codes of a very large table."""
        return f" and hash({code}) % {self._every} = 0" if self._every > 1 else ""


def _scalar(value: float | None, rows: int) -> Scalar:
    """Of too few rows, or numbers that are all the same, it is noted that nothing is known."""
    if value is None or value != value or rows < FEWEST_ROWS:
        return Scalar(0.0, "value", 0)
    return Scalar(float(value), "value", rows)
