"""Whether names are names: a file that came without its header has values in their place.

Such a value may speak of a person, so that a message shows no name of which that can be thought.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from warehouse.errors import BatchRefusedError
from warehouse.sources import Source

# E-mail addresses, numbers, amounts, dates, times, phone numbers, bank accounts and UUIDs.
_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_PHONE = re.compile(r"\+\d[\d ().\-/]{6,18}\d")
_VALUE = re.compile(
    rf"{_MAIL.pattern}|[-+(€$£]*\d[\d\s.,:/()+\-TZ%€$£]*"
    r"|[A-Z]{2}\d{2}[A-Z0-9]{11,30}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
)
ROW_FIRST = "the first line looks like a row, not a header"


def is_value(name: str) -> bool:
    """Whether the name is written as a value is: an e-mail address, a number, a date, a phone."""
    return _VALUE.fullmatch(name.strip()) is not None


def named(source: Source) -> frozenset[str]:
    """The names, in lower case, by which sources.yml calls columns of the source."""
    single = filter(None, (source.event_time, source.known_at))
    return frozenset(map(str.lower, (*source.columns, *source.key, *single, *source.personal)))


def check_header(names: Sequence[str], source: Source, where: str) -> None:
    """Refuse a file whose first line, which should hold its column names, looks like a row.

    With the key and the times there it is a header, whatever else it holds. Raises
    BatchRefusedError, which shows nothing of the line.
    """
    known, here = named(source), {name.lower() for name in names}
    if not known or _has_needed(source, here):
        return
    found = known & here
    has_values = len(found) * 2 < len(known) and any(map(is_value, names))
    if has_values or (source.personal and not found):
        raise BatchRefusedError(
            ROW_FIRST,
            where=where,
            next_step="ask the sender for a file with the column names in its first line; if files"
            " come without from now on, say `header: false` in sources.yml and declare column_1,"
            " column_2 …",
        )


def _has_needed(source: Source, here: set[str]) -> bool:
    needed = {*source.key, *filter(None, (source.event_time, source.known_at))}
    return bool(needed) and {name.lower() for name in needed} <= here


def tells_a_person(name: str, source: Source) -> bool:
    """Whether an undeclared name is a person's e-mail address or phone number itself."""
    if not source.personal or name.lower() in named(source):
        return False
    return any(pattern.fullmatch(name.strip()) for pattern in (_MAIL, _PHONE))


def showable(names: Sequence[str], source: Source) -> list[str]:
    """Those of the file's names that a message may show.

    Where the source has personal columns and the names may be values, these are the declared ones.
    """
    known, here = named(source), {name.lower() for name in names}
    may_be_row = any(map(is_value, names)) or len(known & here) * 2 < len(known)
    if not source.personal or not may_be_row:
        return list(names)
    return [name for name in names if name.lower() in known]
