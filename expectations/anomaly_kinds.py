"""In which way something is unlike before: the kinds of anomalies, and what an acceptance covers.

One fault shows in many numbers. Amounts in cents move the mean, the spread, the greatest one and
what each customer pays: all that is one kind, "amount: values".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from expectations.past import Numbers

if TYPE_CHECKING:
    from expectations.anomalies import Anomaly
    from expectations.profiling import Name, Profile

_EPOCH = date(1970, 1, 1)
_FAMILIES = {
    "rows": "rows",
    "changed_share": "rows",
    "known_share": "rows",
    "quarantined_share": "rows",
    "repeated_share": "repeats",
    "null_share": "nulls",
    **dict.fromkeys(("least", "greatest", "span"), "extremes"),
    **dict.fromkeys(("clock", "hole", "hour", "midnight_share", "age", "days_off_name"), "times"),
    **dict.fromkeys(("before", "after", "step", "pace"), "times"),
    **dict.fromkeys(("correlation", "below_share", "explained"), "relations"),
    **dict.fromkeys(("rows_each", "sum_each", "remembered"), "relations"),
}
# What follows from any other kind of the same columns, and is one of its own only without.
_FOLLOWING = ("extremes", "relations")
# What no other kind upstream gives rise to: rows, nulls and times come from their like alone.
_OF_ITS_OWN = ("rows", "nulls", "times")


def family(name: Name) -> str:
    """What is unlike before of the column: its values, nulls, times, extremes, relations."""
    return _FAMILIES.get(name[1], "values")


def kinds(anomalies: Iterable[Anomaly]) -> tuple[tuple[str, str], ...]:
    """The kinds, such as "amount: values", each with what is told of it.

    What follows from another kind is told with it: the mean of a column moves its extremes, and
    what it is together with other columns.
    """
    found = list(anomalies)
    own = list(dict.fromkeys(_kind(a.name) for a in found if family(a.name) not in _FOLLOWING))
    for rank in _FOLLOWING:
        following = {_kind(a.name) for a in found if family(a.name) == rank}
        own += sorted(kind for kind in following if _home(kind, own) is None)
    told: dict[tuple[str, str], list[str]] = {kind: [] for kind in own}
    for anomaly in found:
        kind = _kind(anomaly.name)
        told[kind if kind in told else _home(kind, own) or kind].append(anomaly.told)
    return tuple(
        (f"{column}: {what}" if column else what, "; ".join(dict.fromkeys(texts)))
        for (column, what), texts in told.items()
    )


def _kind(name: Name) -> tuple[str, str]:
    return name[0], family(name)


def _home(kind: tuple[str, str], own: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """The kind among `own` from which this one follows."""
    columns = set(kind[0].split(" and "))
    for other in own:
        is_wider = kind[1] == "relations" and other[1] == "rows"
        if other != kind and (is_wider or columns.intersection(other[0].split(" and "))):
            return other
    return None


@dataclass(frozen=True)
class Accepted:
    """A batch that was accepted and loaded: what of it was unlike before, and what was as ever.

    `first` and `last` are the days that its rows are of. Columns are in small letters.
    """

    names: frozenset[tuple[str, str]]
    usual: frozenset[str]
    first: date
    last: date

    @classmethod
    def of(cls, names: Iterable[Name], profile: Profile) -> Accepted:
        """What the batch's profile tells, of which `names` were unlike before."""
        unlike = frozenset((column.lower(), family((column, what))) for column, what in names)
        touched = {part for column, _ in unlike for part in column.split(" and ")}
        usual = {column.lower() for column, _ in profile.scalars if " and " not in column}
        return cls(unlike, frozenset(usual - touched), *_days(profile))

    def explains(self, name: Name) -> bool:
        """Whether this follows, in a table made from the batch, from what was accepted.

        A column that the batch has, too, and that was as ever there, is unlike before for another
        reason; so are rows, nulls and times where the batch's own were as ever.
        """
        columns = set(name[0].lower().split(" and ")) - {""}
        if columns and columns <= self.usual:
            return False
        what = family(name)
        return what not in _OF_ITS_OWN or what in {found for _, found in self.names}

    def has_day(self, at: datetime) -> bool:
        """Whether its rows are of that day, too."""
        return self.first <= at.date() <= self.last


def _days(profile: Profile) -> tuple[date, date]:
    """The first and last day of the time whose middle says when the profile is of; else its day."""
    day = profile.at.date()
    found = [day]
    for (column, facet), shape in profile.shapes.items():
        if (
            (column, "middle") in profile.scalars
            and facet == "values"
            and isinstance(shape, Numbers)
        ):
            quantiles = shape.quantiles
            if abs(quantiles[len(quantiles) // 2] - (day - _EPOCH).days) < 2:
                found += [_EPOCH + timedelta(days=int(quantiles[n] // 1)) for n in (0, -1)]
    return min(found), max(found)
