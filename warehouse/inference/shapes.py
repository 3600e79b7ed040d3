"""How single values are written: the shapes that types and headers are told by."""

from __future__ import annotations

import re
from functools import lru_cache

# Texts that stand for a missing value wherever numbers or times are expected; JSON has empty ones.
MISSING = frozenset(
    {
        "",
        *("NA", "N/A", "n/a", "na", "#N/A", "<NA>", "NaN", "nan", "NAN", "NULL", "null", "Null"),
        *("(null)", "\\N", "-", "--", "---", "?", ".", "..", "*", "None", "none", "NONE"),
        *("0000-00-00", "0000-00-00 00:00:00"),
        *("unknown", "Unknown", "UNKNOWN", "missing", "Missing", "nil", "n.a.", "k.A.", "#NV"),
    }
)
# Of these, the ones that may well be a value of their own in a column of text.
PERHAPS_A_VALUE = frozenset(
    {"None", "none", "NONE", "unknown", "Unknown", "UNKNOWN", "missing", "Missing", "nil", "*"}
)
# These mean null even in a column of text.
ALWAYS_NULL = frozenset({"\\N", "<NA>", "#N/A", "(null)"})
BOOLEAN_WORDS = frozenset({"true", "false", "t", "f", "yes", "no", "y", "n"})

REMEMBERED = 1 << 16
LONGEST_TIME = 64
NO_TIME = re.compile(r"\D*|[-+]?(?:\d{1,5}|\d*\.\d+)")  # no digit, or a number

MOSTLY = 0.9  # the share of a column's values that tells what the column is

MONTH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
LONG_MONTH = (
    "(?:january|february|march|april|may|june|july|august|september|october|november|december)"
)
OFFSET = r"[-+]\d\d(?::?\d\d)?"
DAY, YEAR, CLOCK = r"\d{1,2}", r"(?:19|20|21)\d\d", r"\d{1,2}:\d\d"
TIME_ENDS = (
    (r"", ""),
    (rf"[ ]{CLOCK}", " %H:%M"),
    (rf"[ ]{CLOCK}:\d\d", " %H:%M:%S"),
    (rf"[ ]{CLOCK}:\d\d\.\d+", " %H:%M:%S.%f"),
    (rf", {CLOCK}", ", %H:%M"),
    (rf", {CLOCK}:\d\d", ", %H:%M:%S"),
    (rf"T{CLOCK}", "T%H:%M"),
    (rf"T{CLOCK}:\d\d", "T%H:%M:%S"),
    (rf"[ ]{CLOCK} ?[ap]m", " %I:%M %p"),
    (rf"[ ]{CLOCK}:\d\d ?[ap]m", " %I:%M:%S %p"),
)
# A shape of a date, and the strptime formats that may read it, the likelier first.
DATES = (
    (rf"{DAY}\.{DAY}\.{YEAR}", ("%d.%m.%Y",)),
    (rf"{DAY}\.{DAY}\.\d\d", ("%d.%m.%y",)),
    (rf"{DAY}/{DAY}/{YEAR}", ("%d/%m/%Y", "%m/%d/%Y")),
    (rf"{DAY}/{DAY}/\d\d", ("%d/%m/%y", "%m/%d/%y")),
    (rf"{DAY}-{DAY}-{YEAR}", ("%d-%m-%Y", "%m-%d-%Y")),
    (rf"{DAY}-{DAY}-\d\d", ("%d-%m-%y", "%m-%d-%y")),
    (rf"{YEAR}\.{DAY}\.{DAY}", ("%Y.%m.%d",)),
    (rf"{YEAR}-(?:0[1-9]|1[0-2])", ("%Y-%m",)),
    (rf"{DAY}-{MONTH}-{YEAR}", ("%d-%b-%Y",)),
    (rf"{DAY}-{MONTH}-\d\d", ("%d-%b-%y",)),
    (rf"{DAY} {MONTH} {YEAR}", ("%d %b %Y",)),
    (rf"{DAY} {LONG_MONTH} {YEAR}", ("%d %B %Y",)),
    (rf"{DAY}/{MONTH}/{YEAR}", ("%d/%b/%Y",)),
    (rf"{MONTH} {DAY}, {YEAR}", ("%b %d, %Y",)),
    (rf"{LONG_MONTH} {DAY}, {YEAR}", ("%B %d, %Y",)),
    (rf"{MONTH} {DAY} {YEAR}", ("%b %d %Y",)),
    (rf"[a-z]{{3}}, {DAY} {MONTH} {YEAR}", ("%a, %d %b %Y",)),
    (rf"{YEAR}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])", ("%Y%m%d",)),
)
GROUPED = r"\d[\d.,'\u2019 \u00a0\u2009\u202f]*"
_ZONE = rf"(?:Z|{OFFSET})"
SHAPES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        ("zeros", r"[-+]?0\d+|\+\d+"),
        ("integer", r" *-?\d+ *"),
        ("decimal", r" *[-+]?(?:\d+\.\d*|\.\d+) *"),
        ("scientific", r" *[-+]?(?:\d+\.?\d*|\.\d+)e[-+]?\d+ *|[-+]?inf(?:inity)?"),
        ("boolean", "true|false|t|f|yes|no|y|n"),
        ("date", r"\d{4}[-/]\d{1,2}[-/]\d{1,2}"),
        (
            "timestamp",
            rf"\d{{4}}[-/]\d{{1,2}}[-/]\d{{1,2}}[ T]\d{{1,2}}:\d\d(?::\d\d(?:\.\d+)?)?"
            rf"(?: ?{_ZONE}| UTC)?",
        ),
        ("time", rf"{CLOCK}(?::\d\d(?:\.\d+)?)?"),
        ("time am/pm", rf"{CLOCK}(?::\d\d)? ?[ap]m"),
        (
            "thousands",
            r"[-+]?[1-9]\d{0,2}(?:(?:,\d{3})+(?:\.\d+)?|(?:\.\d{3})+,\d+|(?:\.\d{3}){2,}"
            r"|(?:['\u2019 \u00a0\u2009\u202f]\d{3})+(?:[.,]\d+)?)",
        ),
        ("comma", r" *[-+]?\d*,\d+ *"),
        ("percent", r"[-+]?\d+(?:[.,]\d+)? ?%"),
        (
            "currency",
            rf"[-+(]?[€$£¥] ?[-+]?{GROUPED}\)?|[-+(]?{GROUPED} ?(?:[€$£¥]|EUR|USD|GBP|CHF)\)?",
        ),
        ("uuid", r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    )
)
_FORMATS = tuple(
    (re.compile(date + end, re.IGNORECASE), tuple(f + clock for f in formats))
    for date, formats in DATES
    for end, clock in TIME_ENDS
) + tuple(
    (re.compile(pattern, re.IGNORECASE), (text,))
    for pattern, text in (
        (rf"{DAY}/{MONTH}/{YEAR}:{CLOCK}:\d\d [-+]\d{{4}}", "%d/%b/%Y:%H:%M:%S %z"),
        (rf"\[{DAY}/{MONTH}/{YEAR}:{CLOCK}:\d\d [-+]\d{{4}}\]", "[%d/%b/%Y:%H:%M:%S %z]"),
        (rf"{YEAR}-\d\d-\d\d {CLOCK}:\d\d {OFFSET}", "%Y-%m-%d %H:%M:%S %z"),
        (rf"{YEAR}-\d\d-\d\d {CLOCK}:\d\d\.\d+ {OFFSET}", "%Y-%m-%d %H:%M:%S.%f %z"),
        (rf"{YEAR}-\d\d-\d\d {CLOCK}:\d\d,\d{{3,6}}", "%Y-%m-%d %H:%M:%S,%f"),
        (rf"{YEAR}-\d\d-\d\dT\d\d:\d\dZ", "%Y-%m-%dT%H:%MZ"),
        (rf"{YEAR}\d{{4}}T\d{{6}}Z?", "%Y%m%dT%H%M%SZ"),
        (rf"{YEAR}\d{{10}}", "%Y%m%d%H%M%S"),
        (rf"[a-z]{{3}}, {DAY} {MONTH} {YEAR} {CLOCK}:\d\d GMT", "%a, %d %b %Y %H:%M:%S GMT"),
        (rf"[a-z]{{3}}, {DAY} {MONTH} {YEAR} {CLOCK}:\d\d [-+]\d{{4}}", "%a, %d %b %Y %H:%M:%S %z"),
        (rf"[a-z]{{3}} {MONTH} {DAY} {CLOCK}:\d\d {YEAR}", "%a %b %d %H:%M:%S %Y"),
        (rf"{DAY}-{MONTH}-\d\d \d\d\.\d\d\.\d\d\.\d+ [ap]m", "%d-%b-%y %I.%M.%S.%f %p"),
    )
)


@lru_cache(REMEMBERED)
def shape(value: str) -> str:
    """The first shape that the whole value has; `text` when it has none."""
    return next((name for name, pattern in SHAPES if pattern.fullmatch(value)), "text")


@lru_cache(REMEMBERED)
def time_formats(value: str) -> tuple[str, ...]:
    """The strptime formats by which the value may be a time that is not ISO 8601."""
    if len(value) > LONGEST_TIME or NO_TIME.fullmatch(value):
        return ()
    return next((formats for pattern, formats in _FORMATS if pattern.fullmatch(value)), ())


def kind(value: str) -> str:
    """Number, time, boolean, uuid or text: what a header does not look like, but data may."""
    found = shape(value)
    if found in ("zeros", "integer", "decimal", "scientific", "thousands", "comma", "percent"):
        return "number"
    if found in ("date", "timestamp", "time", "time am/pm") or time_formats(value):
        return "time"
    return found if found in ("boolean", "uuid") else "text"
