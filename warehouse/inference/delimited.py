"""Delimited texts: how they are written, and their rows as a table of texts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import duckdb

from warehouse.duck import identifier, number
from warehouse.errors import ClearwaterError
from warehouse.inference.dialect import Dialect, detect, odd_delimiter
from warehouse.inference.encoding import encoding_of
from warehouse.inference.files import in_utf8, is_tabbed
from warehouse.inference.formats import objects_in
from warehouse.inference.result import FILE, Notes
from warehouse.inference.text_rows import SAMPLE_BYTES, Text, head_of, read_rows
from warehouse.readers.contract import OWN_NAMES, Opened

SHOWN_TABLES = 10


@dataclass(frozen=True)
class Found:
    """What reading the files took: columns, labels, keys of sources.yml, and the rows of all.

    `partial` are the columns that some files lack.
    """

    names: list[str]
    labels: list[str]
    options: dict[str, Any]
    row_count: int
    partial: frozenset[str]


def read(con: duckdb.DuckDBPyConnection, plain: list[Opened], table: str, notes: Notes) -> Found:
    """Make `table` of the files' rows, all of text, with the column FILE if they are several.

    Raises ClearwaterError for a file that is no text or that has no usable header.
    """
    texts = _alike(_opened(plain), notes)
    encoding = _note_encoding(texts, notes)
    for text in texts:
        _check_names(text)
    _check_alike(texts)
    names, partial = _union(texts)
    rows = read_rows(con, texts, names, table, notes)
    unnamed = [f"column_{n}" for n in texts[0].dialect.unnamed]
    empty = _empty(con, table, [name for name in unnamed if name in names])
    names = [name for name in names if name not in empty]
    if named := [name for name in unnamed if name not in empty]:
        notes.warn(f"columns without a name in the header are called {', '.join(named)}")
    labels = [text.plain.label for text in texts]
    return Found(names, labels, _options(texts[0], encoding), rows, partial)


def _empty(con: duckdb.DuckDBPyConnection, table: str, names: list[str]) -> set[str]:
    """The columns without any value, such as the one behind a comma at each line's end."""
    return {
        name for name in names if not number(con, f"select count({identifier(name)}) from {table}")
    }


def _opened(plain: list[Opened]) -> list[Text]:
    """The texts in UTF-8 with their dialects; evidence is taken of the first of each kind."""
    texts = []
    for file in plain:
        encoding, _ = encoding_of(file.path)
        text = Text(file, in_utf8(file, encoding), encoding, Dialect())
        _check_no_objects(text)
        texts.append(replace(text, dialect=_detected(text, Notes())))
    return texts


def _check_no_objects(text: Text) -> None:
    """Refuse JSON that is called CSV, whose parts would pass for names and values."""
    head, complete = head_of(text)
    if objects := objects_in(head, complete=complete):
        name, because = objects
        raise ClearwaterError(
            f"it is called CSV and looks like {name.upper()}: {because}",
            where=text.plain.label,
            next_step=f"give it the suffix .{name}, and add it as that",
        )


def _detected(text: Text, notes: Notes) -> Dialect:
    head, complete = head_of(text)
    return detect(head, complete=complete, notes=notes)


def _alike(texts: list[Text], notes: Notes) -> list[Text]:
    """The texts that are written like most; the others are named in a warning."""

    def like(text: Text) -> int:
        return sum(text.dialect.reads_like(other.dialect) for other in texts)

    model = max(texts, key=like)
    alike = [text for text in texts if text.dialect.reads_like(model.dialect)]
    others = [text.plain.label for text in texts if text not in alike]
    if others:
        notes.warn(
            f"{len(others)} of {len(texts)} files are written in another dialect and were left"
            f" out: {', '.join(others[:5])}. Runs will refuse them where the path takes them: move"
            " them away, and add them as a source of their own"
        )
    _detected(alike[0], notes)
    return alike


def _note_encoding(texts: list[Text], notes: Notes) -> str:
    """The encoding to be told of all the texts; ASCII goes with any."""
    encoding, because = encoding_of(texts[0].plain.path)
    odd = [text for text in texts if text.encoding != "utf-8"]
    if odd and texts[0].encoding == "utf-8":
        encoding, because = encoding_of(odd[0].plain.path)
    notes.decide("encoding", encoding, because)
    mixed = {text.encoding for text in odd}
    if len(mixed) > 1 or (odd and _has_letters_in_utf8(texts)):
        told = {text.encoding: text.plain.label for text in texts}
        listed = ", ".join(f"{codec} such as {label}" for codec, label in sorted(told.items()))
        raise ClearwaterError(
            f"the files are of several encodings: {listed}",
            next_step="have them written in one, such as UTF-8, or add each kind by itself",
        )
    return encoding


def _has_letters_in_utf8(texts: list[Text]) -> bool:
    utf8 = [text.path for text in texts if text.encoding == "utf-8"]
    for path in utf8:
        with path.open("rb") as handle:
            if not handle.read(SAMPLE_BYTES).isascii():
                return True
    return False


def _check_names(text: Text) -> None:
    """Refuse what the loader would refuse: names that stand twice or are Clearwater's own."""
    seen: set[str] = set()
    for column in text.dialect.names:
        problem = None
        if column.lower() in seen:
            problem = f"the column {column!r} stands twice in the header"
        elif column.lower() in OWN_NAMES or column == FILE:
            problem = f"the column name {column!r} is Clearwater's own"
        if problem:
            raise ClearwaterError(
                problem, where=text.plain.label, next_step="rename it in the file"
            )
        seen.add(column.lower())
    if len(seen) == 1 and (odd := odd_delimiter(head_of(text)[0])):
        raise ClearwaterError(
            f"the fields of its lines seem to be parted by {odd}",
            where=text.plain.label,
            next_step="have them parted by one character, such as a comma or a tab",
        )
    if not seen:
        raise ClearwaterError(
            "no table can be found in the file",
            where=text.plain.label,
            next_step="name a file of records, with one line of column names first",
        )


def _check_alike(texts: list[Text]) -> None:
    """Refuse files of different tables: with less than half of their columns in common."""
    tables: list[list[Text]] = []
    for text in texts:
        own = _lowered(text)
        for table in tables:
            usual = _lowered(table[0])
            if 2 * len(own & usual) >= min(len(own), len(usual)):
                table.append(text)
                break
        else:
            tables.append([text])
    if len(tables) == 1:
        return
    shown = tables[:SHOWN_TABLES]
    told = "; ".join(_shown([text.plain.label for text in table]) for table in shown)
    more = "; …" if len(tables) > SHOWN_TABLES else ""
    raise ClearwaterError(
        f"the files hold {len(tables)} different tables: {told}{more}",
        next_step="add each by itself: PATH may be a file or a quoted pattern; unpack a zip first",
    )


def _shown(labels: list[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{labels[0]} and {len(labels) - 1:,} more"


def _union(texts: list[Text]) -> tuple[list[str], frozenset[str]]:
    """The columns of all files, in the order in which they come up, and those that some lack."""
    names: dict[str, str] = {}
    for name in (name for text in texts for name in text.dialect.names):
        names.setdefault(name.lower(), name)
    everywhere = set.intersection(*(_lowered(text) for text in texts))
    partial = frozenset(name for lowered, name in names.items() if lowered not in everywhere)
    return list(names.values()), partial


def _options(text: Text, encoding: str) -> dict[str, Any]:
    """The keys of sources.yml that differ from what a reader takes for granted."""
    dialect = text.dialect
    granted = "\t" if is_tabbed(text.plain) else ","
    told = {
        "delimiter": dialect.delimiter if dialect.delimiter != granted else None,
        "quote": dialect.quote if dialect.quote != '"' else None,
        "escape": dialect.escape,
        "header": False if not dialect.header else None,
        "skip": dialect.skip or None,
        "encoding": encoding if encoding != "utf-8" else None,
    }
    return {key: value for key, value in told.items() if value is not None}


def _lowered(text: Text) -> set[str]:
    """The columns of the text; the case of names does not matter."""
    return {name.lower() for name in text.dialect.names}
