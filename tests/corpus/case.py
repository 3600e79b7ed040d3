"""A case of the corpus: a hostile or broken input, and the verdict that it must get, to the row."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

# What a file holds, or a function that writes it to the path that it is given.
Content = bytes | str | Callable[[Path], object]

ORDERS: Mapping[str, Any] = {"columns": {"id": "bigint", "amount": "double"}, "key": ["id"]}


@dataclass(frozen=True)
class Held:
    """A row that must be quarantined: number, physical line, reason, and words of the detail."""

    row: int
    line: int | None
    reason: str
    words: str = ""


@dataclass(frozen=True)
class Case:
    """One input, in `files` by their names, and all that must come of it.

    `entry` is the source's in sources.yml, without name and path. `loaded` and `known` count rows,
    `rows` are the loaded ones in their order where they are worth a look. `refused` are words of
    the refusal, which came after `refused_rows` rows were counted. `while_read` is done to the file
    once its first block was read: its bytes never land.
    """

    name: str
    files: Mapping[str, Content]
    entry: Mapping[str, Any] = field(default_factory=dict)
    loaded: int = 0
    held: tuple[Held, ...] = ()
    known: int = 0
    refused: str = ""
    refused_rows: int = 0
    rows: list[tuple[Any, ...]] | None = None
    while_read: Callable[[Path], object] | None = None
    path: str = "*"

    @property
    def slug(self) -> str:
        """The name as a dataset's."""
        return re.sub(r"[^a-z0-9]+", "_", self.name.lower()).strip("_")

    @property
    def source(self) -> str:
        """The source that brings the case."""
        return f"corpus.{self.slug}"

    def declared(self, folder: Path) -> dict[str, Any]:
        """The source's entry in sources.yml for files in the folder."""
        return {"name": self.source, "path": f"{folder}/{self.path}", **self.entry}

    def put(self, folder: Path) -> None:
        """Write the files below the folder."""
        for name, content in self.files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if callable(content):
                content(file)
            else:
                file.write_bytes(content.encode() if isinstance(content, str) else content)


def zipped(members: Mapping[str, str | bytes]) -> bytes:
    """A zip with these members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def gzipped(content: str) -> bytes:
    """The text as gzip."""
    return gzip.compress(content.encode(), mtime=0)


def zstd(content: bytes) -> bytes:
    """The bytes as one zstd frame."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(content)
    return bytes(sink.getvalue())
