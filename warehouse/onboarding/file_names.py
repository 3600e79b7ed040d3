"""What files' names tell: which differ in numbers and dates alone, and what to call a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path, PurePosixPath

from warehouse.onboarding.names import snake_case
from warehouse.sources import SUFFIXES

ENDINGS = {*SUFFIXES, ".gz", ".gzip", ".zst", ".zstd", ".zip"}
DIGITS = re.compile(r"\d+")
MOMENT = re.compile(r"(?<![A-Za-z])\d+[Tt]\d+[Zz]?(?![A-Za-z])")
# What stands beside the digits of 2024Q1, KW03 and v2.
MARKS = frozenset({"", "fy", "h", "kw", "q", "t", "v", "w"})
MONTHS = frozenset(
    {
        *("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "sept", "oct", "nov"),
        *("dec", "january", "february", "march", "april", "june", "july", "august", "september"),
        *("october", "november", "december", "januar", "februar", "maerz", "mai", "juni", "juli"),
        *("oktober", "dezember", "okt", "dez", "mrz"),
    }
)
# Words that say what any file is.
NOISE = frozenset(
    {
        *("csv", "data", "dataset", "datasets", "dump", "export", "exports", "extract", "file"),
        *("json", "part", "table", "tbl", "xlsx"),
    }
)
PLAIN = re.compile(r"[a-z][a-z0-9_]*")
OTHER_SUFFIX = re.compile(r"\.[A-Za-z]{1,5}")
LONGEST = 60
UNTOLD = "files"


def series(name: str) -> str:
    """The name without numbers, dates and months: equal for the files of a daily export.

    `name` is a path below a folder; `2024/orders_2024-01-31.csv` gives `orders`.
    """
    parts = [_words(part, with_digits=False) for part in _stem(name).parts]
    return "/".join("_".join(words) for words in parts if words)


def dataset_names(tables: Sequence[Sequence[str]], folder: str, source: str) -> list[str]:
    """A name for each table by those of its files in the folder, unlike the others'.

    `olist_orders_dataset.csv` gives `olist_orders`, and `orders` in the source `olist`; a second
    `orders` becomes `orders_2`.
    """
    found: list[str] = []
    for names in tables:
        called = _called(names, folder)
        own = called.removeprefix(f"{source}_")
        base = name = own if PLAIN.fullmatch(own) else called
        number = 2
        while name in found:
            name, number = f"{base}_{number}", number + 1
        found.append(name)
    return found


def _called(names: Sequence[str], folder: str) -> str:
    """The words that all names share, else those of the folder that all are in."""
    stems = [_stem(name) for name in names]
    levels = zip(*(stem.parts[:-1] for stem in stems), strict=False)
    inner = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)]
    above = folder if "://" in folder else str(Path(folder).expanduser().resolve())
    telling = [_shared([stem.name for stem in stems], NOISE)]
    telling += [_shared([part], NOISE) for part in reversed(inner)]
    telling += [_shared([part], frozenset()) for part in reversed(PurePosixPath(above).parts)]
    return next(filter(None, telling), UNTOLD)


def _shared(texts: Sequence[str], noise: frozenset[str]) -> str:
    """The words of all texts, joined to a name in ASCII; empty where they make none."""
    several = len(set(texts)) > 1
    first, *rest = [_words(text, with_digits=not several) for text in texts]
    words = [word for word in first if all(word in other for other in rest)]
    told = "_".join(word for word in words if word not in noise)
    plain = re.sub(r"[^a-z0-9_]+", "", told).strip("_")[:LONGEST].strip("_")
    return plain if PLAIN.fullmatch(plain) else ""


def _stem(name: str) -> PurePosixPath:
    """The path without the suffixes of a format and a compression, or one that tells neither."""
    path = PurePosixPath(name)
    if path.suffix.lower() not in ENDINGS:
        return path.with_suffix("") if OTHER_SUFFIX.fullmatch(path.suffix) else path
    while path.suffix.lower() in ENDINGS:
        path = path.with_suffix("")
    return path


def _words(text: str, *, with_digits: bool) -> list[str]:
    """The words of a name that are no numbers, dates or months."""
    words: list[str] = []
    if not any(map(str.isalnum, text)):
        return words
    for word in snake_case(MOMENT.sub(" ", text)).split("_"):
        letters = DIGITS.sub("", word)
        if letters in MONTHS or (letters in MARKS and letters != word) or not letters:
            continue
        words.append(word if with_digits else letters)
    return words
