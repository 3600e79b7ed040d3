"""The dialect of a delimited text: delimiter, quoting, lines before the header, the header."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

from warehouse.inference.result import Notes
from warehouse.inference.shapes import MISSING, YEAR, kind

DELIMITERS = (",", ";", "\t", "|")
ODD_DELIMITERS = ("::", "||", "|~|", "~~", ";;", "^|^")
ALIKE = 0.95
NAMED = {" ": "space", ",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
RECORDS = 2000
LONGEST_FIELD = 1 << 30
LINES_IN_A_FIELD = 200
MOSTLY = 0.8


@dataclass(frozen=True)
class Dialect:
    """How a delimited text is written; `names` are its columns."""

    delimiter: str = ","
    quote: str = '"'
    escape: str | None = None
    header: bool = True
    skip: int = 0
    names: tuple[str, ...] = ()
    unnamed: tuple[int, ...] = ()  # the places, from 1, of columns that the header does not name

    def reads_like(self, other: Dialect) -> bool:
        """Whether one entry in sources.yml can tell both."""
        mine = (self.delimiter, self.quote, self.escape, self.header, self.skip)
        return mine == (other.delimiter, other.quote, other.escape, other.header, other.skip)

    def for_csv(self) -> dict[str, Any]:
        """The dialect in the words of Python's csv module."""
        return {
            "delimiter": self.delimiter,
            "quotechar": self.quote or None,
            "quoting": csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            "doublequote": self.escape is None,
            "escapechar": self.escape,
        }


@dataclass(frozen=True)
class _Split:
    """The sample's records under one delimiter, each with the line on which it begins."""

    delimiter: str
    records: list[tuple[int, list[str]]]
    width: int
    share: float
    score: float


def detect(text: str, *, complete: bool, notes: Notes) -> Dialect:
    """The dialect of a text's beginning; `complete` if that is the whole text."""
    quote, escape = _quoting(text)
    if quote and _runs_away(text, quote, escape):
        notes.decide("quote", "none", f"a {quote} opens a field that never ends")
        quote = ""
    best = _best_split(text, quote, escape, complete=complete)
    if quote and quote in text:
        plain = _best_split(text, "", None, complete=complete)
        is_whole = plain.width > 1 and plain.share == 1
        if is_whole and (best.share < 1 or len(plain.records) > len(best.records)):
            reason = (
                f"without quotes every record has {plain.width} fields, with them not every one"
            )
            notes.decide("quote", "none", reason)
            quote, escape, best = "", None, plain
    records = _after_preamble(best)
    if not records:
        return Dialect(best.delimiter, quote, escape)
    header, because = has_header([record for _, record in records])
    skip = records[0][0]
    _tell(notes, best, quote, escape, skip, header=header, because=because)
    first = records[0][1]
    unnamed = [n for n, cell in enumerate(first, 1) if header and not cell.strip()]
    names = [
        cell if header and n not in unnamed else f"column_{n}" for n, cell in enumerate(first, 1)
    ]
    return Dialect(best.delimiter, quote, escape, header, skip, tuple(names), tuple(unnamed))


def table_in(text: str, *, complete: bool) -> tuple[list[list[str]], float]:
    """The table in a text's beginning, its header included, and how much of the text is like it.

    That is the share of the records that have as many fields as the table.
    """
    best = _best_split(text, *_quoting(text), complete=complete)
    return [record for _, record in _after_preamble(best)], best.share


def odd_delimiter(text: str) -> str | None:
    """What parts the fields of each line if it is no single character, such as `::`, in words."""
    lines = [line for line in text.splitlines()[:RECORDS] if line.strip()][:-1]
    for mark in ODD_DELIMITERS:
        if _are_alike([line.count(mark) for line in lines]):
            return repr(mark)
    widths = [len(re.split(r"\s{2,}", line.strip())) - 1 for line in lines]
    return "columns of spaces" if _are_alike(widths) else None


def _are_alike(counts: list[int]) -> bool:
    """Whether most lines have the same number of delimiters."""
    (usual, times), *_ = Counter(counts).most_common(1) or [(0, 0)]
    return len(counts) > 1 and usual > 0 and times >= MOSTLY * len(counts)


def _best_split(text: str, quote: str, escape: str | None, *, complete: bool) -> _Split:
    splits = [_split(text, d, quote, escape, complete=complete) for d in DELIMITERS]
    best = max(splits, key=lambda split: (split.score, split.width))
    if best.width > 1:
        return best
    spaced = _split(text, " ", quote, escape, complete=complete)
    return spaced if spaced.share >= ALIKE and _is_parted_by_space(spaced) else splits[0]


def _is_parted_by_space(spaced: _Split) -> bool:
    """Whether single spaces part fields of numbers and words, not the words of texts."""
    cells = [cell for _, record in spaced.records for cell in record]
    typed = sum(kind(cell) != "text" for cell in cells)
    return spaced.width > 2 and "" not in cells and typed * 2 >= len(cells)


def _tell(
    notes: Notes,
    best: _Split,
    quote: str,
    escape: str | None,
    skip: int,
    *,
    header: bool,
    because: str,
) -> None:
    if best.width > 1:
        reason = f"{best.share:.0%} of the first {len(best.records):,} records have {best.width}"
        notes.decide("delimiter", NAMED[best.delimiter], f"{reason} fields by it")
    if quote == "'":
        notes.decide("quote", "'", "fields stand between single quotes")
    if escape:
        notes.decide("escape", escape, f"{escape}{quote} stands within quoted fields")
    if skip:
        notes.decide(
            "skip", f"{skip} lines", f"the table of {best.width} columns begins after them"
        )
    notes.decide("header", "yes" if header else "none", because)


def _quoting(text: str) -> tuple[str, str | None]:
    single = len(re.findall(r"(?:^|[,;\t|])'[^'\n]*'(?=[,;\t|\r\n]|$)", text, re.MULTILINE))
    double = len(re.findall(r'(?:^|[,;\t|])"', text, re.MULTILINE))
    quote = "'" if single > text.count("\n") / 2 and not double else '"'
    escaped = re.search(rf"\\{quote}(?![,;\t|\r\n])", text)
    doubled = re.search(rf"[^,;\t|\r\n]{quote}{quote}(?![,;\t|\r\n])", text)
    return quote, "\\" if escaped and not doubled else None


def _records(
    text: str, delimiter: str, quote: str, escape: str | None
) -> Iterator[tuple[int, list[str]]]:
    """The text's first records, each with the number of lines that stand before it."""
    csv.field_size_limit(LONGEST_FIELD)
    words = Dialect(delimiter, quote, escape).for_csv()
    reader = csv.reader(io.StringIO(text, newline=""), **words)
    before = 0
    for record in islice(reader, RECORDS):
        yield before, record
        before = reader.line_num


def _runs_away(text: str, quote: str, escape: str | None) -> bool:
    """Whether, by every delimiter, a quote opens a field of more lines than can be meant."""
    return all(_longest(text, d, quote, escape) > LINES_IN_A_FIELD for d in DELIMITERS)


def _longest(text: str, delimiter: str, quote: str, escape: str | None) -> int:
    """The number of lines of the record that has most of them."""
    starts = [start for start, _ in _records(text, delimiter, quote, escape)]
    if len(starts) < RECORDS:
        starts.append(text.count("\n"))
    return max((after - start for start, after in pairwise(starts)), default=0)


def _split(text: str, delimiter: str, quote: str, escape: str | None, *, complete: bool) -> _Split:
    records = list(_records(text, delimiter, quote, escape))
    if not complete and 1 < len(records) < RECORDS:
        records.pop()  # the sample may end within it
    records = [(line, record) for line, record in records if record]
    widths = Counter(len(record) for _, record in records)
    if not widths:
        return _Split(delimiter, [], 0, 0, 0)
    width, count = max(widths.items(), key=lambda item: (item[1], item[0]))
    share = count / len(records)
    cells = [cell for _, record in records[:300] if len(record) == width for cell in record]
    typed = sum(kind(cell) != "text" or not cell or cell in MISSING for cell in cells)
    is_table = width > 1
    return _Split(
        delimiter, records, width, share, is_table * share * (1 + typed / max(1, len(cells)))
    )


def _after_preamble(split: _Split) -> list[tuple[int, list[str]]]:
    """The records from the header on: as wide as most, and not mostly empty as a title's cells."""
    wide = [(line, record) for line, record in split.records if len(record) == split.width]
    filled = [sum(bool(cell.strip()) for cell in record) for _, record in wide]
    usual = max(Counter(filled).items(), key=lambda item: item[0] * item[1])[0] if wide else 0
    is_title = [split.width > 2 and (n <= 1 or n * 2 <= usual) for n in filled]
    return wide[is_title.index(False) :] if False in is_title else []


def has_header(records: list[list[str]]) -> tuple[bool, str]:
    """Whether the first record names the columns, and why."""
    first, data = records[0], records[1:RECORDS]
    names = [cell.strip() for cell in first]
    if not data:
        return True, "there is nothing else in the file"
    if not names[0] and all(names[1:]) and all(record[0].strip() for record in data):
        return True, "only the first column has no name, as that of row numbers or labels"
    votes = [_vote(name, [record[i].strip() for record in data]) for i, name in enumerate(names)]
    against = [name for name, vote in zip(names, votes, strict=True) if vote < 0]
    if sum(votes) > 0:
        name = names[votes.index(1)]
        return True, f"{name!r} is a name, and the values below it are not text"
    if sum(votes) < 0:
        return False, f"{against[0]!r} in the first line is a value like those below it"
    if any(kind(name) in ("number", "time") and not re.fullmatch(YEAR, name) for name in names):
        return False, "the first line holds numbers or times, not names"
    return True, "all columns are text, and the first line does not come again"


def _vote(name: str, values: list[str]) -> int:
    """1 if `name` is unlike its column's values, -1 if it is one of them, 0 if that is open."""
    filled = [value for value in values if value and value not in MISSING]
    if not filled:
        return 0
    kinds = Counter(kind(value) for value in filled)
    common, count = kinds.most_common(1)[0]
    mine = kind(name)
    if common == "text" or count < MOSTLY * len(filled):
        return _vote_by_pattern(name, filled)
    if mine == common:
        is_year = re.fullmatch(YEAR, name) and not re.fullmatch(YEAR, filled[0])
        return 0 if is_year else -1
    return 0 if not name or mine != "text" else 1


def _vote_by_pattern(name: str, values: list[str]) -> int:
    """The same of texts: codes and the like are all written alike, a name above them is not."""
    if name and values.count(name) > 1:
        return -1
    (pattern, count), *_ = Counter(map(_pattern, values)).most_common(1)
    if pattern.isalpha() or count < MOSTLY * len(values) or not name:
        return 0
    return -1 if _pattern(name) == pattern else 0


def _pattern(value: str) -> str:
    """How a text is written: its runs of letters as a, those of digits as 9."""
    return re.sub(r"\d+", "9", re.sub(r"[^\W\d_]+", "a", value))
