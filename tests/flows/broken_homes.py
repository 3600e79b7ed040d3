"""What tests put into a home to break it."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

from works import Works

from flows import doctor
from flows.checks import runs
from flows.checks.findings import Check
from warehouse.settings import Settings


def data_files(works: Works) -> list[Path]:
    """The Parquet files of its lake."""
    return sorted(works.settings.lake_data.rglob("*.parquet"))


def _over(file: Path, start: int, end: int) -> None:
    """Noise in the place of these bytes: the same at each call."""
    content = bytearray(file.read_bytes())
    content[start:end] = random.Random(start).randbytes(end - start)
    file.write_bytes(content)


def _folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "noise at its head": lambda file: _over(file, 0, 5_000),
    "noise within": lambda file: _over(file, 4_096, 20_000),
    "empty": lambda file: file.write_bytes(b""),
    "half": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "text": lambda file: file.write_text("a person's notes\n" * 500),
    "a folder": _folder,
}


def copied_release(works: Works, name: str) -> Path:
    """The release served once more, under another id."""
    place = works.settings.releases / name
    shutil.copytree(works.settings.current.resolve(), place)
    content = json.loads((place / "release.json").read_text())
    (place / "release.json").write_text(json.dumps(content | {"id": name}))
    return place


def gone() -> dict[str, object]:
    """A process that was, as the record of the server names it."""
    return {"pid": 2**22 - 1, "born": "another boot 1"}


def noted(settings: Settings, **processes: object) -> None:
    """Note a server of these processes."""
    settings.prefect.mkdir(exist_ok=True)
    told = {"port": 4200, "url": "http://127.0.0.1:4200", "sources": "x", "cron": "y"}
    runs.record(settings).write_text(json.dumps(told | processes))


def without(*names: str) -> dict[str, Check]:
    """The doctor's checks but these, in their order."""
    return {name: check for name, check in doctor.CHECKS.items() if name not in names}
