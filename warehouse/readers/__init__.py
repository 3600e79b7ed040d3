"""Readers of landed files: one small module a format, all against one contract."""

from __future__ import annotations

from warehouse.errors import BatchRefusedError
from warehouse.readers import csv_text, parquet
from warehouse.readers.contract import Opened, Reader, where
from warehouse.sources import SUFFIXES, Source

READERS: dict[str, Reader] = {
    "csv": Reader(csv_text.read, csv_text.lines),
    "parquet": Reader(parquet.read),
}


def reader_for(source: Source, opened: Opened) -> Reader:
    """The reader of the file's declared format, or of the one that its suffix tells.

    Raises BatchRefusedError when neither tells.
    """
    name = source.format_of(opened.name)
    if name is None:
        raise BatchRefusedError(
            "the file's suffix does not tell its format",
            where=where(source, opened),
            next_step=f"declare `format:` in sources.yml, one of {', '.join(sorted(READERS))} "
            f"(known suffixes: {', '.join(sorted(SUFFIXES))})",
        )
    return READERS[name]
