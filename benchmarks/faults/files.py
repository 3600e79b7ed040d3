"""Faults of whole files: cut, empty, repeated, old, of another encoding."""

from __future__ import annotations

import numpy as np

from benchmarks.faults.frame import as_csv, height, stacked, take
from benchmarks.faults.kinds import EVERY, Files, Scene, kind
from benchmarks.faults.worlds import CATALOGUE, PAYMENTS, SALES

PAGE = b"<!doctype html>\n<html><head><title>503</title></head><body>Try again.</body></html>\n"


def _clean(scene: Scene) -> bytes:
    return scene.feed.encode(scene.today)


@kind("critical", strengths=(0.1, 0.3, 0.6), unit="of the bytes", feeds=EVERY)
def bytes_cut(scene: Scene, _rng: np.random.Generator, strength: float) -> Files:
    """The file ends in the middle of a row."""
    whole = _clean(scene)
    return {scene.file: whole[: round((1 - strength) * len(whole)) - 7]}


@kind("warning", feeds=EVERY)
def file_empty(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """The file has no byte."""
    return {scene.file: b""}


@kind("warning", feeds=EVERY)
def file_without_rows(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """The file has no row."""
    return {scene.file: take(scene.today, np.arange(0))}


@kind("harmless", feeds=EVERY)
def file_loaded_twice(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """The file comes a second time under another name."""
    return {scene.file: scene.today, scene.named("again"): scene.today}


@kind("harmless", feeds=EVERY)
def file_exported_again(scene: Scene, rng: np.random.Generator, _strength: float) -> Files:
    """The rows come a second time, in another order."""
    shuffled = take(scene.today, rng.permutation(height(scene.today)))
    return {scene.file: scene.today, scene.named("export"): shuffled}


@kind("warning", feeds=(PAYMENTS, SALES))
def feed_stale(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """Yesterday's file comes under today's name."""
    return {scene.file: scene.yesterday}


@kind("warning")
def feed_silent(_scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """No file comes."""
    return {}


@kind("warning")
def day_skipped(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """A day is left out: tomorrow's file comes today."""
    return {scene.file_tomorrow: scene.tomorrow}


@kind("harmless")
def days_out_of_order(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """Two days come at once, the newer first."""
    return {"a-" + scene.file_tomorrow: scene.tomorrow, "b-" + scene.file: scene.today}


@kind("critical", feeds=EVERY)
def error_page(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """An error page comes in place of the file."""
    return {scene.file: PAGE}


@kind("harmless", feeds=(PAYMENTS,))
def marks_of_windows(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """A byte order mark and line ends of Windows."""
    return {scene.file: b"\xef\xbb\xbf" + _clean(scene).replace(b"\n", b"\r\n")}


@kind("critical", feeds=(PAYMENTS,))
def utf_16(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """UTF-16 instead of UTF-8."""
    return {scene.file: _clean(scene).decode().encode("utf-16")}


@kind("critical", strengths=(0.0001, 0.001, 0.01), unit="of the bytes", feeds=EVERY)
def bits_flipped(scene: Scene, rng: np.random.Generator, strength: float) -> Files:
    """Bits flipped on the way."""
    raw = np.frombuffer(_clean(scene), dtype=np.uint8).copy()
    header = 200
    at = header + rng.choice(len(raw) - header, size=max(1, round(strength * len(raw))))
    raw[at] ^= 0x80  # no longer ASCII: a change that could be a digit would be undetectable
    return {scene.file: raw.tobytes()}


@kind("critical", feeds=(PAYMENTS,))
def header_repeated(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """The header stands again in the middle."""
    lines = _clean(scene).splitlines(keepends=True)
    middle = len(lines) // 2
    return {scene.file: b"".join([*lines[:middle], lines[0], *lines[middle:]])}


@kind("critical", feeds=(PAYMENTS,))
def total_at_the_end(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """A total stands at the end."""
    total = float(scene.today[scene.feed.roles.amount].sum())
    return {scene.file: _clean(scene) + f"TOTAL,,,,{total:.2f},,,,\n".encode()}


@kind("critical", feeds=(CATALOGUE,))
def file_of_another_feed(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """A part of the file is of another feed: sales in the catalogue's place."""
    ids = scene.today["product_id"]
    return {
        scene.file: {
            "household_id": ids % 2_500,
            "basket_id": ids + 40_000_000_000,
            "product_id": ids,
            "quantity": np.ones_like(ids),
        }
    }


@kind("harmless", feeds=(PAYMENTS, SALES))
def yesterday_included(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """Yesterday's rows come again within today's file."""
    return {scene.file: stacked(scene.yesterday, scene.today)}


@kind("critical", feeds=(PAYMENTS,))
def delimiter_changed(scene: Scene, _rng: np.random.Generator, _strength: float) -> Files:
    """The delimiter is another."""
    return {scene.file: as_csv(scene.today, delimiter=";")}
