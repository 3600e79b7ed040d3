"""Readers of landed files: one small module a format, all against one contract."""

from __future__ import annotations

from importlib import import_module

from warehouse.errors import BatchRefusedError
from warehouse.readers.contract import Opened, Reader, where
from warehouse.sources import SUFFIXES, FormatName, Source

# The module of each format; imported when a file of it comes. Bytes need no reader.
READERS: dict[FormatName, str] = {
    "avro": "avro",
    "csv": "csv_text",
    "excel": "excel",
    "json": "json_text",
    "ndjson": "ndjson",
    "orc": "orc",
    "parquet": "parquet",
    "xml": "xml_text",
}


def reader_for(source: Source, opened: Opened) -> Reader:
    """The reader of the file's declared format, or of the one that its suffix tells.

    Raises BatchRefusedError when neither tells.
    """
    name = source.format_of(opened.name)
    if name is None:
        formats = ", ".join(sorted((*READERS, "bytes")))
        raise BatchRefusedError(
            "the file's suffix does not tell its format",
            where=where(source, opened),
            next_step=f"declare `format:` in sources.yml, one of {formats}"
            f" (known suffixes: {', '.join(sorted(SUFFIXES))})",
        )
    module = import_module(f"warehouse.readers.{READERS[name]}")
    return Reader(module.read, getattr(module, "lines", None))
