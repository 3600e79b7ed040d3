"""Names for models and columns: snake_case, unique, and quoted where SQL asks for it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache

from warehouse.duck import identifier

GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})
SIGNS = str.maketrans({"%": " percent ", "€": " eur ", "$": " usd ", "£": " gbp ", "#": " number "})
# Where a new word begins: orderId, HTTPStatus, but not the plural IDs.
WORD = re.compile(r"(?<=[a-zäöüß0-9])(?=[A-ZÄÖÜ])|(?<=[A-ZÄÖÜ])(?=[A-ZÄÖÜ][a-zäöüß]{2})")
PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
# Functions that are called without brackets: unquoted, they are no column.
CALLED_BARE = frozenset(
    {
        *("current_catalog", "current_date", "current_role", "current_schema", "current_time"),
        *("current_timestamp", "current_user", "localtime", "localtimestamp", "session_user"),
        *("minus", "user"),
    }
)


def snake_case(name: str) -> str:
    """The name in lower case, its words joined by `_`; letters of other scripts stay.

    `Kunden-Nr.` becomes `kunden_nr`, `orderID` `order_id`, `Größe` `groesse`, `2023` `_2023`;
    a name without letters or digits becomes `column`.
    """
    text = WORD.sub("_", unicodedata.normalize("NFC", name).translate(SIGNS))
    text = unicodedata.normalize("NFKD", text.lower().translate(GERMAN))
    text = "".join(c for c in text if not unicodedata.combining(c))
    text = re.sub(r"[\W_]+", "_", unicodedata.normalize("NFC", text)).strip("_")
    if not text:
        return "column"
    return f"_{text}" if text[0].isdigit() else text


def column_names(originals: Iterable[str]) -> dict[str, str]:
    """A snake_case name for each original one; a second `order_id` becomes `order_id_2`."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for original in originals:
        name = base = snake_case(original)
        number = 2
        while name in taken:
            name, number = f"{base}_{number}", number + 1
        taken.add(name)
        found[original] = name
    return found


@cache
def _keywords() -> frozenset[str]:
    import duckdb

    with duckdb.connect() as con:
        rows = con.execute("select keyword_name from duckdb_keywords()").fetchall()
    return frozenset(row[0] for row in rows) | CALLED_BARE


def is_bare(name: str) -> bool:
    """Whether the name may stand in SQL without quotes."""
    return bool(PLAIN.fullmatch(name)) and name not in _keywords()


def sql_name(name: str) -> str:
    """The name as SQL, quoted only where it must be."""
    return name if is_bare(name) else identifier(name)
