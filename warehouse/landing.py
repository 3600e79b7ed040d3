"""Landing: every byte that arrives is kept as it came, under its SHA-256, with a sidecar."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from warehouse.errors import BatchRefusedError
from warehouse.files import sweep, sync, temporary, write_atomically
from warehouse.settings import Settings
from warehouse.sources import Source

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Landed:
    """One arrival: the sidecar's content. `arrived_at` is ISO 8601 in UTC, `size` in bytes.

    `return_number` counts how often these bytes came back after others in the same place.
    """

    source: str
    sha256: str
    original_name: str
    original_path: str
    arrived_at: str
    size: int
    return_number: int = 0

    @property
    def batch_id(self) -> str:
        """Derived from source and content (and its returns), never from chance."""
        returned = f"\n{self.return_number}" if self.return_number else ""
        text = f"{self.source}\n{self.sha256}{returned}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def content_path(settings: Settings, sha256: str) -> Path:
    """Where the bytes with this hash lie."""
    return settings.landing / sha256[:2] / sha256


def _sidecar(settings: Settings, source: str, sha256: str, return_number: int) -> Path:
    returned = f".{return_number}" if return_number else ""
    return content_path(settings, sha256).with_name(f"{sha256}.{source}{returned}.json")


def arrivals(settings: Settings) -> list[Landed]:
    """All that ever landed, in the order of arrival."""
    found = [
        Landed(**json.loads(file.read_text(encoding="utf-8")))
        for file in settings.landing.glob("??/*.json")
    ]
    return sorted(found, key=lambda landed: (landed.arrived_at, landed.original_name))


def land(
    settings: Settings, source: Source, file: Path, before: list[Landed]
) -> tuple[Landed, bool]:
    """Keep the file's bytes and say whether they are a new arrival.

    `before` is what landed for this source so far: a file of a size among them is hashed before
    it is copied, because it is probably known. Raises BatchRefusedError when the file cannot be
    read or changes while it is read.
    """
    where = f"{source.name}: {file.name}"
    try:
        start = file.stat()
        if not stat.S_ISREG(start.st_mode):
            raise BatchRefusedError(
                "it is not a file", where=where, next_step="correct `path:` in sources.yml"
            )
        known = any(landed.size == start.st_size for landed in before)
        sha256 = _hash(file) if known else _keep(settings, file)
        if known and not content_path(settings, sha256).exists():
            sha256 = _keep(settings, file)
        end = file.stat()
    except (FileNotFoundError, PermissionError) as error:
        raise BatchRefusedError(
            f"the file cannot be read: {error.strerror}",
            where=where,
            next_step="make it a readable file and run again",
        ) from None
    if (start.st_size, start.st_mtime_ns) != (end.st_size, end.st_mtime_ns):
        raise BatchRefusedError(
            "the file changed while it was read",
            where=where,
            next_step="run again when its writer is done",
        )
    return _record(settings, source, sha256, file, before)


def _record(
    settings: Settings, source: Source, sha256: str, file: Path, before: list[Landed]
) -> tuple[Landed, bool]:
    same = [landed for landed in before if landed.sha256 == sha256]
    in_place = [landed for landed in before if landed.original_path == str(file)]
    has_returned = bool(same and in_place) and in_place[-1].sha256 != sha256
    if same and not (has_returned and source.write == "merge"):
        return same[-1], False
    size = content_path(settings, sha256).stat().st_size
    now = datetime.now(UTC).isoformat()
    landed = Landed(source.name, sha256, file.name, str(file), now, size, len(same))
    sidecar = _sidecar(settings, source.name, sha256, len(same))
    write_atomically(sidecar, json.dumps(asdict(landed), indent=1) + "\n")
    return landed, True


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb", buffering=0) as handle:
        while block := handle.read(BLOCK_BYTES):
            yield block


def _hash(file: Path) -> str:
    digest = hashlib.sha256()
    for block in _blocks(file):
        digest.update(block)
    return digest.hexdigest()


def _keep(settings: Settings, file: Path) -> str:
    """Copy the bytes under their hash; the name appears only when they are all on disk."""
    settings.landing.mkdir(parents=True, exist_ok=True)
    part = temporary(settings.landing / "arriving")
    digest = hashlib.sha256()
    try:
        with part.open("wb") as handle:
            for block in _blocks(file):
                digest.update(block)
                handle.write(block)
            handle.flush()
            os.fsync(handle.fileno())
        target = content_path(settings, digest.hexdigest())
        target.parent.mkdir(exist_ok=True)
        part.chmod(0o444)
        os.replace(part, target)
        sync(target.parent)
        sync(settings.landing)
    finally:
        part.unlink(missing_ok=True)
    return digest.hexdigest()


def sweep_landing(settings: Settings) -> None:
    """Remove what a killed process had begun to write."""
    sweep(settings.landing)
    for folder in settings.landing.glob("??"):
        sweep(folder)
