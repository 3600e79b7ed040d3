"""Faults of the columns: dropped, renamed, retyped, moved."""

from __future__ import annotations

import numpy as np

from benchmarks.faults.frame import Frame, as_csv
from benchmarks.faults.kinds import EVERY, Files, Scene, kind
from benchmarks.faults.worlds import PAYMENTS


def _renamed(frame: Frame, old: str, new: str) -> Frame:
    return {new if name == old else name: values for name, values in frame.items()}


@kind("critical")
def amount_dropped(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """The column of the amount is gone."""
    amount = scene.feed.roles.amount
    return {scene.file: {name: v for name, v in scene.today.items() if name != amount}}


@kind("critical")
def customer_dropped(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """The column of the customer or household is gone."""
    who = scene.feed.roles.who
    return {scene.file: {name: v for name, v in scene.today.items() if name != who}}


@kind("warning", feeds=EVERY)
def spare_dropped(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """A column that no model needs is gone."""
    spare = scene.feed.roles.spare
    return {scene.file: {name: v for name, v in scene.today.items() if name != spare}}


@kind("critical")
def amount_renamed(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """The column of the amount has another name."""
    return {scene.file: _renamed(scene.today, scene.feed.roles.amount, "gross_value")}


@kind("critical", feeds=EVERY)
def key_renamed(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """The key has another name."""
    return {scene.file: _renamed(scene.today, scene.feed.roles.key, "uuid")}


@kind("warning", feeds=EVERY)
def column_added(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """There is a new column."""
    size = len(scene.today[scene.feed.roles.key])
    return {scene.file: scene.today | {"channel": np.array(["online"] * size, dtype=object)}}


@kind("harmless", feeds=EVERY)
def columns_reordered(scene: Scene, rng: np.random.Generator, _strength: float) -> Files:
    """The columns stand in another order."""
    names = list(scene.today)
    return {scene.file: {names[at]: scene.today[names[at]] for at in rng.permutation(len(names))}}


@kind("critical")
def values_moved(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """The values stand one column to the right of their name."""
    names = list(scene.today)
    moved = [names[-1], *names[:-1]]
    return {
        scene.file: {name: scene.today[other] for name, other in zip(names, moved, strict=True)}
    }


@kind("critical")
def amount_retyped(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """Amounts are texts with their currency."""
    amount = scene.feed.roles.amount
    texts = np.array([f"{value:.2f} EUR" for value in scene.today[amount]], dtype=object)
    return {scene.file: scene.today | {amount: texts}}


@kind("critical")
def amount_emptied(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """The amount's column is there and empty."""
    amount = scene.feed.roles.amount
    return {scene.file: scene.today | {amount: np.full(len(scene.today[amount]), None)}}


@kind("critical", feeds=(PAYMENTS,))
def header_missing(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """The header is missing."""
    return {scene.file: as_csv(scene.today, header=False)}


@kind("critical")
def id_retyped(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """Ids are texts with a prefix."""
    who = scene.feed.roles.who
    texts = np.array([f"C-{value}" for value in scene.today[who]], dtype=object)
    return {scene.file: scene.today | {who: texts}}
