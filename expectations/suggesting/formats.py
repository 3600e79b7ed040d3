"""Rules on what texts look like: common formats, codes of one shape, lengths."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from expectations.suggesting.profile import Column, Profile
from expectations.suggesting.proposal import ENOUGH, Proposal, rounded_up
from warehouse.duck import quoted
from warehouse.inference import words
from warehouse.wording import counted

LOOKED_AT = 2000  # different values
LONGEST_TIMES = 3
SLACK = 20  # characters that a text may always have more than the longest so far
MOST_GROUPS = 12
# Texts that are written the same everywhere.
COMMON = {
    "UUID": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "e-mail address": r"[^@\s]+@[^@\s]+\.[^@\s.]+",
    "URL": r"https?://\S+",
    "IPv4 address": r"\d{1,3}(\.\d{1,3}){3}",
    "MAC address": r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}",
    "MD5": r"[0-9a-f]{32}",
    "SHA-1": r"[0-9a-f]{40}",
    "SHA-256": r"[0-9a-f]{64}",
}
# Few different ones are enough where the name says what they are.
NAMED = {
    "ISO country": (frozenset({"country", "land", "pays"}), r"[A-Z]{2,3}"),
    "ISO currency": (frozenset({"currency", "währung", "waehrung", "devise"}), r"[A-Z]{3}"),
    "ISO language": (frozenset({"language", "lang", "sprache"}), r"[a-z]{2,3}(-[A-Z]{2})?"),
}
# What a code is made of, and what may part it.
CLASSES = {"[A-Z]": re.compile(r"[A-Z]"), "[a-z]": re.compile("[a-z]"), r"\d": re.compile(r"[0-9]")}
MARKS = frozenset("-_/.:# ")


def formats(table: Profile, column: Column) -> Iterator[Proposal]:
    """The format that all values have, else how long they are."""
    if column.kind != "text" or column.filled < ENOUGH or column.distinct < 2:
        return
    pattern, what = _pattern(table, column)
    if pattern and not _others(table, column, pattern):
        yield Proposal(
            f"{column.name}_format",
            {"check": "regex", "column": column.name, "pattern": pattern},
            "warning",
            f"each is {what}; others come from another system, or are broken",
            (
                f"all of {counted(column.filled, 'value')} match,"
                f" {column.different} of them different",
            ),
        )
    elif not column.below:
        yield from _lengths(column)


def _pattern(table: Profile, column: Column) -> tuple[str, str]:
    """The pattern that a look at some values suggests, and what it is; empty without one."""
    rows = table.con.execute(
        f"select distinct v from (select {column.sql} as v from"
        f" {table.sample([column.name])}) where v is not null order by hash(v) limit {LOOKED_AT}"
    ).fetchall()
    values = [row[0] for row in rows]
    for name, (vocabulary, pattern) in NAMED.items():
        if words.says(column.name, vocabulary) and _all_match(pattern, values):
            return pattern, f"a code of an {name}"
    if len(values) < ENOUGH:
        return "", ""
    for name, pattern in COMMON.items():
        if _all_match(pattern, values):
            return pattern, f"{'an' if name[0] in 'eIM' else 'a'} {name}"
    return shape(values), "a code of one shape"


def _all_match(pattern: str, values: list[str]) -> bool:
    return bool(values) and all(re.fullmatch(pattern, value) for value in values)


def shape(values: list[str]) -> str:
    r"""The regular expression of codes such as `[A-Z]{2}-\d+`; empty for values of several shapes.

    A run of digits has a fixed length only if some of it begin with 0: others grow by one digit
    some day.
    """
    found: dict[tuple[str, ...], list[list[str]]] = {}
    for value in values:
        runs = [(kind, "".join(part)) for kind, part in groupby(value, key=_class)]
        found.setdefault(tuple(kind for kind, _ in runs), []).append([text for _, text in runs])
        if len(found) > 1:
            return ""
    (kinds, texts), *_ = found.items()
    if not kinds or "" in kinds or len(kinds) > MOST_GROUPS or not _is_code(kinds, texts):
        return ""
    return "".join(_run(kind, [text[place] for text in texts]) for place, kind in enumerate(kinds))


def _class(character: str) -> str:
    """The class of a character, as a regular expression; empty for one that codes do not have."""
    if character in MARKS:
        return re.escape(character) if character in ".#-" else character
    return next((name for name, known in CLASSES.items() if known.match(character)), "")


def _is_code(kinds: tuple[str, ...], texts: list[list[str]]) -> bool:
    """Whether the shape tells more than that these are words or numbers."""
    is_fixed = len({sum(map(len, text)) for text in texts}) == 1
    if kinds == (r"\d",):
        return is_fixed and any(text[0].startswith("0") for text in texts)
    return r"\d" in kinds or (is_fixed and "[A-Z]" in kinds and " " not in kinds)


def _run(kind: str, texts: list[str]) -> str:
    lengths = {len(text) for text in texts}
    if kind not in CLASSES:
        return kind if lengths == {1} else f"{kind}+"
    is_padded = kind != r"\d" or any(text.startswith("0") for text in texts)
    if len(lengths) == 1 and is_padded:
        (length,) = lengths
        return kind if length == 1 else f"{kind}{{{length}}}"
    return f"{kind}+"


def _others(table: Profile, column: Column, pattern: str) -> int:
    """How many values do not match, of all."""
    return table.number(f"count(*) filter (not regexp_full_match({column.sql}, {quoted(pattern)}))")


def _lengths(column: Column) -> Iterator[Proposal]:
    """How long the texts are: exactly, for codes, else with slack."""
    shortest, longest = int(column.minimum), int(column.maximum)
    if shortest == longest > 1 and column.distinct >= ENOUGH:
        least, most = shortest, longest
        reason, evidence = "codes of one length", f"all have {counted(longest, 'character')}"
    else:
        least, most = 1, max(int(rounded_up(LONGEST_TIMES * longest)), longest + SLACK)
        reason = "empty texts are nulls in disguise, and far longer ones are broken"
        evidence = f"from {shortest:,} to {counted(longest, 'character')}, and none is blank"
    yield Proposal(
        f"{column.name}_length",
        {"check": "length", "column": column.name, "min": least, "max": most},
        "warning",
        reason,
        (f"{evidence}, in {counted(column.filled, 'value')}",),
    )
