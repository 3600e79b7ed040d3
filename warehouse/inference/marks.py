"""The marks in a file's numbers: which one parts decimals, and which one thousands, if any."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from warehouse.inference.result import Notes
from warehouse.inference.shapes import MISSING, MOSTLY
from warehouse.readers.casting import grouped_number, spelt
from warehouse.sources import Decimal, Thousands

DECIMALS: tuple[Decimal, ...] = (".", ",")
THOUSANDS: tuple[Thousands, ...] = (",", ".", " ", "'")
NAMES = {",": "comma", ".": "point", " ": "space", "'": "apostrophe"}
FEWEST_GROUPED = 3
SHOWN = 3
# Digits with any marks, in their places or not; a number as a cast takes it; one with a mark.
NUMBER = re.compile(r" *[-+]?[0-9.,'\u2019 \u00a0\u2009\u202f]*[0-9]\.?(?:[eE][-+]?[0-9]+)? *")
PLAIN = re.compile(r" *[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)? *")
MARKED = re.compile(r"[^-+0-9]")
# Written by programs for floats, which have no groups.
NOT_A_NUMBER = frozenset({"NaN", "nan", "NAN"})
BELOW_A_THOUSAND = re.compile(r" *[-+]?[0-9]{1,3} *")


@dataclass(frozen=True)
class Marks:
    """How a file's numbers are written, as `decimal` and `thousands` in sources.yml say it."""

    decimal: Decimal = "."
    thousands: Thousands | None = None

    @cached_property
    def _grouped(self) -> re.Pattern[str] | None:
        return re.compile(grouped_number(self.thousands, self.decimal)) if self.thousands else None

    def is_grouped(self, value: str) -> bool:
        """Whether the value is a number with marks of thousands, all in their places."""
        return self._grouped is not None and self._grouped.fullmatch(value) is not None

    def plain(self, value: str) -> str:
        """The text that the loader casts to a number."""
        if self.thousands and self.is_grouped(value):
            value = value.translate(dict.fromkeys(map(ord, spelt(self.thousands))))
        return value.replace(".", "?").replace(",", ".") if self.decimal == "," else value


@dataclass(frozen=True)
class _Reading:
    """A way to read a column's numbers; None for a mark that they do not have."""

    decimal: Decimal | None
    thousands: Thousands | None
    grouped: tuple[str, ...]


def is_marked(value: str) -> bool:
    """Whether the value is of digits with some mark among them."""
    return bool(NUMBER.fullmatch(value) and MARKED.search(value))


def infer_marks(heads: dict[str, list[str]], notes: Notes) -> Marks:
    """The marks of the numbers among each column's different values, the same for all columns.

    A column of other marks, or of marks that nothing in the file explains, is warned of.
    """
    readings = {name: found for name, values in heads.items() if (found := _readings(values))}
    settled = {name: found[0] for name, found in readings.items() if len(found) == 1}
    decimal = _decimal(settled, notes)
    told = {
        name: reading
        for name, found in readings.items()
        for reading in found
        if reading.decimal == decimal or len(found) == 1
    }
    marks = Marks(decimal or ".", _thousands(told, decimal, notes))
    for name, found in readings.items():
        _warn_of_unread(name, heads[name], found, marks, notes)
    _warn_of_points(readings, heads, marks, notes)
    return marks


def _warn_of_points(
    readings: dict[str, list[_Reading]], heads: dict[str, list[str]], marks: Marks, notes: Notes
) -> None:
    """Warn of columns whose points may part thousands, where no other column tells."""
    if marks != Marks():
        return
    open_ones = {
        name: next(reading for reading in found if reading.thousands)
        for name, found in readings.items()
        if len(found) > 1 and _is_read(heads[name], marks)
    }
    if open_ones:
        names = list(open_ones)
        listed = ", ".join(names[:SHOWN]) + (" and others" if len(names) > SHOWN else "")
        example = open_ones[names[0]].grouped[0].strip()
        word = "column" if len(names) == 1 else "columns"
        notes.warn(f"{word} {listed}: the point in {example!r} is taken to part decimals")


def _is_read(values: list[str], marks: Marks) -> bool:
    """Whether the marks make numbers of most values."""
    filled = [value for value in values if value not in MISSING]
    fit = sum(bool(PLAIN.fullmatch(marks.plain(value))) for value in filled)
    return fit >= MOSTLY * len(filled)


def _readings(values: list[str]) -> list[_Reading]:
    """The readings that most of the values allow: two of `1,234` alone, none of integers."""
    filled = [value for value in values if value not in MISSING]
    numbers = [value for value in filled if NUMBER.fullmatch(value)]
    if len(numbers) < MOSTLY * len(filled) or not any(map(is_marked, numbers)):
        return []
    found: dict[_Reading, int] = {}
    seen = set("".join(numbers))
    for thousands, decimal in product((None, *THOUSANDS), DECIMALS):
        if thousands == decimal or (thousands and seen.isdisjoint(spelt(thousands))):
            continue
        marks = Marks(decimal, thousands)
        fit = [value for value in numbers if PLAIN.fullmatch(marks.plain(value))]
        grouped = tuple(value for value in fit if marks.is_grouped(value))
        if len(fit) < MOSTLY * len(filled):
            continue
        if thousands and (len(fit) < len(numbers) or not _are_groups(grouped, numbers, marks)):
            continue
        has_decimal = thousands in DECIMALS or any(decimal in value for value in fit)
        if has_decimal or thousands:
            found[_Reading(decimal if has_decimal else None, thousands, grouped)] = len(fit)
    best = [reading for reading, count in found.items() if count == max(found.values())]
    clear = [r for r in best if _leaves_no_doubt(r, numbers)] or _of_floats(best, values)
    return clear or best


def _are_groups(grouped: tuple[str, ...], numbers: list[str], marks: Marks) -> bool:
    """Whether the marked values are numbers, not codes such as 560 001 or 192.168.100.101."""
    if not grouped or marks.thousands == ",":
        return bool(grouped)
    is_even = len({len(value) for value in numbers}) == 1
    has_decimals = any(marks.decimal in value for value in numbers)
    if marks.thousands == ".":
        counts = {value.count(".") for value in grouped}
        return counts != {3} and (1 in counts or not is_even or has_decimals)
    return not is_even or has_decimals


def _leaves_no_doubt(reading: _Reading, numbers: list[str]) -> bool:
    """Whether 950 beside 12,500 tells groups: decimals would be left off or written in both."""
    others = set(numbers) - set(reading.grouped)
    return (
        len(reading.grouped) >= FEWEST_GROUPED
        and any(value.rstrip().endswith("0") for value in reading.grouped)
        and bool(others)
        and all(map(BELOW_A_THOUSAND.fullmatch, others))
    )


def _of_floats(readings: list[_Reading], values: list[str]) -> list[_Reading]:
    """The reading of points as decimals, if a NaN among the values tells floats of a program."""
    plain = [r for r in readings if r.decimal == "." and r.thousands is None]
    return [] if NOT_A_NUMBER.isdisjoint(values) else plain


def _decimal(settled: dict[str, _Reading], notes: Notes) -> Decimal | None:
    """The decimal mark of most columns; None where none has one."""
    commas = [name for name, reading in settled.items() if reading.decimal == ","]
    points = [name for name, reading in settled.items() if reading.decimal == "."]
    if not commas:
        return "." if points else None
    if len(points) >= len(commas):
        notes.warn(f"decimal commas in {', '.join(commas)}, but points elsewhere: they stay text")
        return "."
    if points:
        notes.warn(f"decimal points in {', '.join(points)}, but commas elsewhere: they stay text")
    verb = "is" if len(commas) == 1 else "are"
    notes.decide("decimal", "comma", f"{', '.join(commas)} {verb} written like 1,5")
    return ","


def _thousands(
    told: dict[str, _Reading], decimal: Decimal | None, notes: Notes
) -> Thousands | None:
    """The mark of thousands that the most values have; None where hardly any has one."""
    counts: Counter[Thousands] = Counter()
    fit = {name: reading for name, reading in told.items() if reading.decimal in (None, decimal)}
    for reading in fit.values():
        if reading.thousands:
            counts[reading.thousands] += len(reading.grouped)
    mark, count = max(counts.items(), key=lambda item: item[1], default=(None, 0))
    if mark is None or count < FEWEST_GROUPED:
        return None
    names = [name for name, reading in fit.items() if reading.thousands == mark]
    verb = "is" if len(names) == 1 else "are"
    example = fit[names[0]].grouped[0].strip()
    notes.decide("thousands", NAMES[mark], f"{', '.join(names)} {verb} written like {example}")
    return mark


def _warn_of_unread(
    name: str, values: list[str], readings: list[_Reading], marks: Marks, notes: Notes
) -> None:
    """Warn of a column that the marks do not read."""
    grouped = next((reading for reading in readings if reading.thousands), None)
    if grouped is None or _is_read(values, marks):
        return
    example = grouped.grouped[0].strip()
    if len(readings) > 1:
        notes.warn(
            f"column {name}: nothing tells whether the comma in {example!r} parts thousands or"
            " decimals: it stays text"
        )
    elif grouped.decimal in (None, marks.decimal):
        notes.warn(f"column {name} parts thousands, such as {example!r}: it stays text")
