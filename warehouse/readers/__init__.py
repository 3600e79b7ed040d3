"""Readers of landed files: one small module a format, all against one contract."""

from __future__ import annotations

from warehouse.errors import BatchRefusedError
from warehouse.readers import csv_text, parquet
from warehouse.readers.contract import Reader
from warehouse.sources import SUFFIXES, Source

READERS: dict[str, Reader] = {"csv": csv_text.read, "parquet": parquet.read}


def reader_for(source: Source, original_name: str) -> Reader:
    """The reader of the file's declared format, or of the one that its suffix tells.

    Raises BatchRefusedError when neither tells.
    """
    name = source.format_of(original_name)
    if name is None:
        raise BatchRefusedError(
            "the file's suffix does not tell its format",
            where=f"{source.name}: {original_name}",
            next_step=f"declare `format:` in sources.yml, one of {', '.join(sorted(READERS))} "
            f"(known suffixes: {', '.join(sorted(SUFFIXES))})",
        )
    return READERS[name]
