"""Looks at files that tests write, and the columns of such files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from pathlib import Path

from warehouse.inference import Inferred, infer
from warehouse.settings import Settings
from warehouse.sources import Source

Look = Callable[..., Inferred]
START = datetime.fromisoformat("2024-01-01 08:00")


def looker(settings: Settings, folder: Path) -> Look:
    """A function that writes texts or bytes as files to the folder and looks at them."""

    def look(*contents: str | bytes, name: str = "shop.orders", suffix: str = ".csv") -> Inferred:
        files = []
        for number, content in enumerate(contents, 1):
            file = folder / f"part_2024-01-0{number}{suffix}"
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
            files.append(file)
        return infer(settings, files, name)

    return look


def lines(header: str, rows: Iterator[str] | list[str], end: str = "\n") -> str:
    return end.join([header, *rows]) + end


def types(found: Inferred) -> dict[str, str]:
    return {c.name: f"{c.type} {c.format}" if c.format else c.type for c in found.columns}


def entry(found: Inferred, name: str) -> Source:
    """The entry of sources.yml that says what was found; invalid ones raise."""
    columns = {
        c.name: {"type": c.type, "format": c.format} if c.format else c.type for c in found.columns
    }
    return Source.model_validate(
        {"name": name, "path": "x.csv", "format": found.format, "columns": columns}
        | {"key": found.key, "event_time": found.event_time, "write": found.write}
        | found.options
    )


def day(n: int) -> date:
    return START.date() + timedelta(days=n)


def moment(n: int, seconds: int = 61) -> datetime:
    return START + timedelta(seconds=seconds * n)
