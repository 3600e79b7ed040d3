"""What a kind of fault is, and the list of all kinds.

A fault takes one feed's clean day and gives the files that arrive in its place. It is a pure
function of the scene, a seeded generator and a strength; it knows nothing of rules or gates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from benchmarks.faults.frame import Frame, Mask, height, some
from benchmarks.faults.worlds import CATALOGUE, PAYMENTS, SALES, Feed

Severity = Literal["critical", "warning", "harmless"]
Files = dict[str, Frame | bytes]
SHARES = (0.01, 0.1, 1.0)
FACTS = (PAYMENTS, SALES)
EVERY = (PAYMENTS, SALES, CATALOGUE)


@dataclass(frozen=True)
class Scene:
    """A feed on the day that a fault strikes; `file` and `file_tomorrow` are the days' names."""

    feed: Feed
    file: str
    file_tomorrow: str
    today: Frame
    yesterday: Frame
    tomorrow: Frame

    def named(self, word: str) -> str:
        """Another file name of the feed."""
        return self.file.replace(self.feed.suffix, f"-{word}{self.feed.suffix}")


Damage = Callable[[Scene, np.random.Generator, float], Files]
RowDamage = Callable[[Scene, np.random.Generator, Mask], Frame]


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    `severity`: of a critical one no damaged row may be published at full strength, a warning must
    at least be told, and a harmless one must not do harm. The last of `strengths` is the full one;
    `unit` says what they are of.
    """

    name: str
    tells: str
    severity: Severity
    feeds: tuple[Feed, ...]
    strengths: tuple[float, ...]
    unit: str
    damage: Damage


KINDS: dict[str, Kind] = {}


def kind(
    severity: Severity,
    *,
    feeds: tuple[Feed, ...] = FACTS,
    strengths: tuple[float, ...] = (1.0,),
    unit: str = "",
) -> Callable[[Damage], Damage]:
    """List the function as a kind, under its own name; its docstring tells what happens."""

    def listed(damage: Damage) -> Damage:
        name = damage.__name__.replace("_", " ")
        tells = (damage.__doc__ or "").rstrip(".")
        KINDS[name] = Kind(name, tells, severity, feeds, strengths, unit, damage)
        return damage

    return listed


def row_kind(
    severity: Severity,
    *,
    feeds: tuple[Feed, ...] = FACTS,
    strengths: tuple[float, ...] = SHARES,
) -> Callable[[RowDamage], RowDamage]:
    """List a function that damages some rows of the day; a strength is their share."""

    def listed(change: RowDamage) -> RowDamage:
        def damage(scene: Scene, rng: np.random.Generator, strength: float) -> Files:
            hit = some(rng, height(scene.today), strength)
            return {scene.file: change(scene, rng, hit)}

        damage.__name__, damage.__doc__ = change.__name__, change.__doc__
        kind(severity, feeds=feeds, strengths=strengths, unit="of the rows")(damage)
        return change

    return listed


def every_kind() -> dict[str, Kind]:
    """All kinds by name."""
    from benchmarks.faults import files, parts, rows, schemas, times, values

    for module in (values, times, rows, parts, files, schemas):
        assert module.__doc__
    return KINDS
