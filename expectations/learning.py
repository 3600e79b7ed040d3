"""Rules that compare with the past: which numbers of a profile each of them looks at."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from expectations.anomalies import ALARM_RATE, Anomaly
from expectations.anomaly_words import share_in_words
from expectations.past import unjudged
from expectations.rules import Rule

if TYPE_CHECKING:
    from expectations.past import Measure
    from expectations.profiling import Name, Profile

# A distribution's facets that a drift rule compares; forms and lengths of texts are for anomalies.
_DRIFTING = ("values", "labels")


def options(rule: Rule) -> dict[str, Any]:
    """How `anomalies.compare` is to be called for the rule."""
    rate = ALARM_RATE if rule.false_alarm_rate is None else rule.false_alarm_rate
    return {
        "wanted": _WANTED[rule.check](rule),
        "alarm_rate": rate,
        "measure": measure_of(rule),
        "least": cast("float | None", rule.maximum),
    }


def measure_of(rule: Rule) -> Measure | None:
    """How the rule compares distributions; None if as usual."""
    return cast("Measure", rule.measure) if rule.measure else None


def bounded(rule: Rule, profile: Profile) -> list[Anomaly]:
    """The columns whose share of nulls is above the rule's `max`."""
    most = cast("float", rule.maximum)
    found = []
    for column in rule.columns:
        name = (column, "null_share")
        scalar = profile.scalars.get(name)
        if scalar is not None and scalar.value > most:
            told = (
                f"{column}: null in {share_in_words(scalar.value)},"
                f" at most {share_in_words(most)} is allowed"
            )
            found.append(_certain(name, scalar.value, told))
    return found


def lacking(rule: Rule, profile: Profile) -> list[Anomaly]:
    """The columns of a drift rule of which the profile has no spread of values to compare."""
    if rule.check != "drift" or not profile.rows:
        return []
    found = []
    for column in rule.columns:
        if not any((column, facet) in profile.shapes for facet in _DRIFTING):
            told = f"{column}: no values whose spread could be compared"
            found.append(_certain((column, "values"), math.nan, told))
    return found


def _certain(name: Name, value: float, told: str) -> Anomaly:
    """What needs no past to be wrong."""
    return Anomaly(name, replace(unjudged(value), p=0.0), stops=True, told=told)


def _of_volume(_: Rule) -> Callable[[Name], bool]:
    return lambda name: name == ("", "rows")


def _of_nulls(rule: Rule) -> Callable[[Name], bool]:
    return lambda name: name[0] in rule.columns and name[1] == "null_share"


def _of_drift(rule: Rule) -> Callable[[Name], bool]:
    return lambda name: name[0] in rule.columns and name[1] in _DRIFTING


def _of_freshness(rule: Rule) -> Callable[[Name], bool]:
    return lambda name: name == (rule.columns[0], "age")


def _of_all(rule: Rule) -> Callable[[Name], bool]:
    if not rule.columns:
        return lambda _: True
    columns = {"", *rule.columns}  # "" is the table: how many rows, and how many of them are new
    return lambda name: bool(columns.intersection(name[0].split(" and ")))


_WANTED: dict[str, Callable[[Rule], Callable[[Name], bool]]] = {
    "volume": _of_volume,
    "null_share": _of_nulls,
    "drift": _of_drift,
    "freshness": _of_freshness,
    "anomaly": _of_all,
}
