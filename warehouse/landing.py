"""Landing: every byte that arrives is kept as it came, under its SHA-256, with a sidecar."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from warehouse.errors import BatchRefusedError
from warehouse.files import sweep, sync, temporary, write_atomically
from warehouse.places import LocalFile, Place, S3Object, State, where
from warehouse.settings import Settings
from warehouse.sources import Source

BLOCK_BYTES = 1 << 18  # fits into a core's cache: hashing and copying a block costs half
# S3 takes no request from a clock that is further off than this, so an object that was older when
# it was read has got another time by now if it was written again.
SETTLED_NS = 15 * 60 * 1_000_000_000
Count = Callable[[bytes], object]


@dataclass(frozen=True)
class Landed:
    """One arrival: the sidecar's content. `arrived_at` is ISO 8601 in UTC, `size` in bytes.

    `return_number` counts how often these bytes came back after others in the same place.
    `modified_ns` is when the file says it was written, in nanoseconds since 1970; 0 if unknown.
    `pruned_at` is when retention removed the bytes, ISO 8601 in UTC, empty as long as it has not;
    `members` are those of the zip that it was.
    """

    source: str
    sha256: str
    original_name: str
    original_path: str
    arrived_at: str
    size: int
    return_number: int = 0
    modified_ns: int = 0
    pruned_at: str = ""
    members: tuple[str, ...] = ()

    @property
    def batch_id(self) -> str:
        """Derived from source and content (and its returns), never from chance."""
        returned = f"\n{self.return_number}" if self.return_number else ""
        text = f"{self.source}\n{self.sha256}{returned}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


class Known:
    """What landed of a source until now, in order: asked of each file that stands there."""

    def __init__(self, landed: Iterable[Landed] = ()) -> None:
        self.in_order: list[Landed] = []
        self._by_hash: dict[str, list[Landed]] = {}
        self._by_path: dict[str, list[Landed]] = {}
        self._sizes: set[int] = set()
        for one in landed:
            self.add(one)

    def add(self, landed: Landed) -> None:
        """Note that this landed, too."""
        self.in_order.append(landed)
        self._by_hash.setdefault(landed.sha256, []).append(landed)
        self._by_path.setdefault(landed.original_path, []).append(landed)
        self._sizes.add(landed.size)

    def same(self, sha256: str) -> list[Landed]:
        """The arrivals of these bytes."""
        return self._by_hash.get(sha256, [])

    def in_place(self, path: str) -> list[Landed]:
        """The arrivals from this path."""
        return self._by_path.get(path, [])

    def has_size(self, size: int) -> bool:
        """Whether there is one of so many bytes."""
        return size in self._sizes


def content_path(settings: Settings, sha256: str) -> Path:
    """Where the bytes with this hash lie."""
    return settings.landing / sha256[:2] / sha256


def _sidecar(settings: Settings, source: str, sha256: str, return_number: int) -> Path:
    returned = f".{return_number}" if return_number else ""
    return content_path(settings, sha256).with_name(f"{sha256}.{source}{returned}.json")


def _read(file: Path) -> Landed:
    content = json.loads(file.read_text(encoding="utf-8"))
    return Landed(**content | {"members": tuple(content.get("members", ()))})


def write_sidecar(settings: Settings, landed: Landed) -> None:
    """Write the arrival's sidecar, in the place of one that is there."""
    content = asdict(landed)
    if not landed.pruned_at:
        del content["pruned_at"], content["members"]
    file = _sidecar(settings, landed.source, landed.sha256, landed.return_number)
    write_atomically(file, json.dumps(content, indent=1) + "\n")


def is_pruned(settings: Settings, landed: Landed) -> bool:
    """Whether retention removed the bytes, and they have not come again."""
    return bool(landed.pruned_at) and not content_path(settings, landed.sha256).exists()


def arrivals(settings: Settings) -> list[Landed]:
    """All that ever landed, in the order of arrival."""
    found = [_read(file) for file in settings.landing.glob("??/*.json")]
    return sorted(found, key=lambda landed: (landed.arrived_at, landed.original_name))


def _standing_file(settings: Settings) -> Path:
    return settings.landing / "standing.json"


def standing_bytes(settings: Settings) -> dict[str, list[str]]:
    """By source: the SHA-256 of all that stood there when a run looked last."""
    try:
        content: dict[str, list[str]] = json.loads(_standing_file(settings).read_text())
    except (OSError, ValueError):
        return {}
    return content


def note_standing(settings: Settings, found: dict[str, list[str]]) -> None:
    """Keep what stands at these sources now; what is known of others stays."""
    before = standing_bytes(settings)
    if before | found != before:
        write_atomically(_standing_file(settings), json.dumps(before | found) + "\n")


@dataclass(frozen=True)
class Seen:
    """A remote file as it was listed when its bytes were read: known again without reading them.

    It only saves reading: without it the bytes come again and their hash is known. Times are in
    nanoseconds since 1970, `size` in bytes; `etag` is that of the bytes read.
    """

    path: str
    size: int
    modified_ns: int
    etag: str
    sha256: str
    seen_ns: int


def _seen_file(settings: Settings, source: str) -> Path:
    return settings.landing / f"{source}.seen.ndjson"


def seen_places(settings: Settings, source: Source) -> dict[str, Seen]:
    """What was last seen at each remote path of this source."""
    found: dict[str, Seen] = {}
    file = _seen_file(settings, source.name)
    if file.exists():
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, TypeError):  # a line that a killed process left half written
                seen = Seen(**json.loads(line))
                found[seen.path] = seen
    return found


def _remember(settings: Settings, source: Source, seen: Seen, seen_before: dict[str, Seen]) -> None:
    seen_before[seen.path] = seen
    with _seen_file(settings, source.name).open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(asdict(seen)) + "\n")


def land(
    settings: Settings,
    source: Source,
    place: Place,
    before: Known,
    seen_before: dict[str, Seen],
    standing: frozenset[str] = frozenset(),
    count: Count = len,
) -> tuple[Landed, bool]:
    """Keep the bytes that stand at `place` and say whether they are a new arrival.

    `before` is what landed for this source so far: a local file of a size among them is hashed
    before it is copied, because it is probably known. `seen_before` (from `seen_places`; it learns
    what is read) tells which remote files are known without reading them. `standing` are the paths
    of all files that stand at the source now. `count` is called with each block that is read.
    Raises BatchRefusedError when the bytes cannot be read or change while they are read.
    """
    now = time.time_ns()
    if isinstance(place, S3Object):
        known = _known_unread(settings, source, place, before, seen_before)
        if known is not None:
            return known, False
    start = place.state()
    sha256 = _kept(settings, place, before, start.size, count)
    kept_size = content_path(settings, sha256).stat().st_size
    if place.state() != start or kept_size != start.size:
        raise BatchRefusedError(
            "the file changed while it was read",
            where=where(place),
            next_step="run again when its writer is done",
        )
    landed, is_new = _record(settings, source, sha256, place, start, before, standing)
    if isinstance(place, S3Object):
        seen = Seen(place.path, place.size, place.modified_ns, start.etag, sha256, now)
        _remember(settings, source, seen, seen_before)
    return landed, is_new


def _known_unread(
    settings: Settings,
    source: Source,
    place: S3Object,
    before: Known,
    seen_before: dict[str, Seen],
) -> Landed | None:
    """What landed from this object, if it surely has not been written since.

    Times have a resolution of a second: an object that was read soon after it was written is told
    from a later one by its entity tag, until it has stayed the same for long enough.
    """
    seen = seen_before.get(place.path)
    if seen is None or (seen.size, seen.modified_ns) != (place.size, place.modified_ns):
        return None
    same = before.same(seen.sha256)
    if not same or not content_path(settings, seen.sha256).exists():
        return None
    if seen.seen_ns - seen.modified_ns < SETTLED_NS:
        now = time.time_ns()
        if not seen.etag or place.state().etag != seen.etag:
            return None
        _remember(settings, source, replace(seen, seen_ns=now), seen_before)
    return same[-1]


def _kept(settings: Settings, place: Place, before: Known, size: int, count: Count) -> str:
    """The hash of the bytes, which are in landing now."""
    if isinstance(place, LocalFile) and before.has_size(size):
        sha256 = _hash(place, count)
        if content_path(settings, sha256).exists():
            return sha256
    return _keep(settings, place, count)


def _record(
    settings: Settings,
    source: Source,
    sha256: str,
    place: Place,
    state: State,
    before: Known,
    standing: frozenset[str],
) -> tuple[Landed, bool]:
    same, in_place = before.same(sha256), before.in_place(place.path)
    if same and not _returns(source, same, in_place, before.in_order[-1], standing):
        return next((landed for landed in reversed(in_place) if landed in same), same[-1]), False
    landed = Landed(
        source.name,
        sha256,
        place.name,
        place.path,
        _arrival_time(before.in_order),
        state.size,
        return_number=len(same),
        modified_ns=state.modified_ns,
    )
    write_sidecar(settings, landed)
    return landed, True


def _arrival_time(before: list[Landed]) -> str:
    """The time now (ISO 8601, UTC), later than that of all that landed before, oldest first.

    So what comes later is taken for newer even when the clock was set back.
    """
    now = datetime.now(UTC)
    if before:
        last = datetime.fromisoformat(before[-1].arrived_at)
        now = max(now, last + timedelta(microseconds=1))
    return now.isoformat()


def _returns(
    source: Source,
    same: list[Landed],
    in_place: list[Landed],
    newest: Landed,
    standing: frozenset[str],
) -> bool:
    """Whether bytes that are known are news even so, because other bytes came between.

    Bytes that come back in their place are, but for appends. A snapshot is, too, under a new name:
    the state is again what it was. But a file that only got another name is not.
    """
    sha256 = same[-1].sha256
    if in_place:
        return source.write != "append" and in_place[-1].sha256 != sha256
    is_renamed = same[-1].original_path not in standing
    return source.write == "snapshot" and newest.sha256 != sha256 and not is_renamed


def _blocks(place: Place, count: Count) -> Iterator[bytes]:
    with place.open() as handle:
        while block := handle.read(BLOCK_BYTES):
            count(block)
            yield block


def _hash(place: Place, count: Count) -> str:
    digest = hashlib.sha256()
    for block in _blocks(place, count):
        digest.update(block)
    return digest.hexdigest()


def _keep(settings: Settings, place: Place, count: Count) -> str:
    """Copy the bytes under their hash; the name appears only when they are all on disk."""
    settings.landing.mkdir(parents=True, exist_ok=True)
    part = temporary(settings.landing / "arriving")
    digest = hashlib.sha256()
    try:
        with part.open("wb") as handle:
            for block in _blocks(place, count):
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
    for folder in settings.landing.glob("*/"):
        sweep(folder)
