"""Landing: every byte that arrives is kept as it came, under its SHA-256, with a sidecar."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from warehouse.errors import BatchRefusedError
from warehouse.files import sweep, sync_folder, temporary, write_atomically
from warehouse.settings import Settings

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Landed:
    """One arrival: the sidecar's content. `arrived_at` is ISO 8601 in UTC, `size` in bytes."""

    source: str
    sha256: str
    original_name: str
    arrived_at: str
    size: int

    @property
    def batch_id(self) -> str:
        """Derived from source and content alone: the same bytes are always the same batch."""
        return hashlib.sha256(f"{self.source}\n{self.sha256}".encode()).hexdigest()[:32]


def content_path(settings: Settings, sha256: str) -> Path:
    """Where the bytes with this hash lie."""
    return settings.landing / sha256[:2] / sha256


def _sidecar(settings: Settings, source: str, sha256: str) -> Path:
    return content_path(settings, sha256).with_name(f"{sha256}.{source}.json")


def arrivals(settings: Settings) -> list[Landed]:
    """All that ever landed, in the order of arrival."""
    found = [
        Landed(**json.loads(file.read_text(encoding="utf-8")))
        for file in settings.landing.glob("??/*.json")
    ]
    return sorted(found, key=lambda landed: (landed.arrived_at, landed.original_name))


def land(settings: Settings, source: str, file: Path, known_sizes: set[int]) -> tuple[Landed, bool]:
    """Keep the file's bytes and say whether they are new to this source.

    `known_sizes` are the sizes of what landed before: a file of such a size is hashed before it
    is copied, because it is probably known. Raises BatchRefusedError when the file cannot be
    read or changes while it is read.
    """
    try:
        before = file.stat()
        known = before.st_size in known_sizes
        sha256 = _hash(file) if known else _keep(settings, file)
        if known and not content_path(settings, sha256).exists():
            sha256 = _keep(settings, file)
        after = file.stat()
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise BatchRefusedError(
            f"the file cannot be read: {error.strerror}",
            where=f"{source}: {file}",
            next_step="make it a readable file and run again",
        ) from None
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise BatchRefusedError(
            "the file changed while it was read",
            where=f"{source}: {file}",
            next_step="run again when its writer is done",
        )
    return _record(settings, source, sha256, file.name)


def _record(settings: Settings, source: str, sha256: str, name: str) -> tuple[Landed, bool]:
    sidecar = _sidecar(settings, source, sha256)
    if sidecar.exists():
        return Landed(**json.loads(sidecar.read_text(encoding="utf-8"))), False
    size = content_path(settings, sha256).stat().st_size
    landed = Landed(source, sha256, name, datetime.now(UTC).isoformat(), size)
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
        sync_folder(target.parent)
        sync_folder(settings.landing)
    finally:
        part.unlink(missing_ok=True)
    return digest.hexdigest()


def sweep_landing(settings: Settings) -> None:
    """Remove what a killed process had begun to write."""
    sweep(settings.landing)
    for folder in settings.landing.glob("??"):
        sweep(folder)
