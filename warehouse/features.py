"""Feature sets: extracted from a release that passed its gate, with a manifest."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from warehouse.duck import connect, identifier, quoted
from warehouse.errors import ConfigurationError, GateBlockedError, ReleaseError
from warehouse.files import is_temporary, sync, temporary, write_atomically
from warehouse.releases import ASKED, Release, folder, release_at, release_ids, remove
from warehouse.settings import Settings

PASSED = ("pass", "warn")


@dataclass(frozen=True)
class Manifest:
    """What an extracted feature set was made from.

    `earliest` and `latest` are the event times in it (ISO 8601, UTC); `file_sha256` is the hash
    of the Parquet file beside the manifest; `columns` maps each column to its DuckDB type.
    `domain_release` is the release whose build made the set: `release` itself, or an older one
    while the set's domain is held. `lake_snapshot` and `verdict` are of then.
    """

    feature_set: str
    release: str
    domain: str
    domain_release: str | None
    lake_snapshot: int | None
    verdict: str
    model_code: str
    rules: dict[str, str]
    declared: dict[str, Any]
    bounds: dict[str, str | None]
    rows: int
    earliest: str | None
    latest: str | None
    columns: dict[str, str]
    file_sha256: str
    extracted_at: str
    duckdb: str


def extract(
    settings: Settings,
    release: Release,
    name: str,
    *,
    start: str | None = None,
    end: str | None = None,
    out: Path | None = None,
) -> Path:
    """Write the feature set's rows in [start, end) as Parquet with a manifest; returns the folder.

    The folder is `out`, or `features/<name>/<release>` below the home; it is there whole or not
    at all, and one that is there already is left as it is. Raises GateBlockedError when the
    release did not pass, ConfigurationError for an unknown name or time.
    """
    declared = _declared(release, name)
    if release.verdict not in PASSED:
        raise GateBlockedError(
            f"release {release.id} did not pass its gate ({release.verdict})", where=name
        )
    bounds = {"from": _time(start), "to": _time(end)}
    target = out or settings.features / name / release.id
    if (target / "manifest.json").exists() and out is None:
        return target
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ConfigurationError(
            "the folder is not empty", where=str(target), next_step="name a new folder with --out"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    part = temporary(target)
    part.mkdir()
    try:
        manifest = _write(settings, release, name, declared, bounds, part)
        write_atomically(part / "manifest.json", json.dumps(asdict(manifest), indent=1) + "\n")
        if target.exists():
            target.rmdir()
        part.rename(target)
        sync(target.parent)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def _declared(release: Release, name: str) -> dict[str, Any]:
    if name not in release.features:
        known = ", ".join(release.features) or "none"
        raise ConfigurationError(
            f"release {release.id} has no feature set {name!r}", next_step=f"it has: {known}"
        )
    return release.features[name]


def _time(text: str | None) -> str | None:
    """An ISO 8601 time as text in UTC without offset, as the warehouse keeps times."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError(
            f"{text!r} is not an ISO 8601 time",
            where="--from/--to",
            next_step="write 2026-01-31 or 2026-01-31T12:00:00Z",
        ) from None
    moment = moment.astimezone(UTC) if moment.tzinfo else moment
    return moment.replace(tzinfo=None).isoformat()


def _write(
    settings: Settings,
    release: Release,
    name: str,
    declared: Mapping[str, Any],
    bounds: dict[str, str | None],
    part: Path,
) -> Manifest:
    file = part / "data.parquet"
    time = identifier(declared["event_time"])
    table = f"features.{identifier(name)}"
    con = connect(settings, settings.database(folder(settings, release.id)), read_only=True)
    try:
        con.execute("set preserve_insertion_order = false")
        tests = [
            f"{time} {sign} {quoted(value)}::timestamp"
            for sign, value in ((">=", bounds["from"]), ("<", bounds["to"]))
            if value is not None
        ]
        where = f" where {' and '.join(tests)}" if tests else ""
        con.execute(
            f"copy (select * from {table}{where}) to {quoted(file)}"
            " (format parquet, parquet_version v2)"
        )
        rows, earliest, latest = _one(
            con, f"select count(*), min({time}), max({time}) from {table}{where}"
        )
        described = con.execute(f"describe {table}").fetchall()
    finally:
        con.close()
    found = release.line(f"features.{name}")
    assert found is not None, name
    domain, line = found
    return Manifest(
        feature_set=name,
        release=release.id,
        domain=domain,
        domain_release=line.release,
        lake_snapshot=line.lake_snapshot,
        verdict=line.verdict,
        model_code=release.code[name],
        rules=release.rules,
        declared=dict(declared),
        bounds=bounds,
        rows=rows,
        earliest=earliest.isoformat() if earliest else None,
        latest=latest.isoformat() if latest else None,
        columns={row[0]: row[1] for row in described},
        file_sha256=_sha256(file),
        extracted_at=datetime.now(UTC).isoformat(),
        duckdb=duckdb.__version__,
    )


def _one(con: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    row = con.execute(sql).fetchone()
    assert row is not None
    return tuple(row)


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def note_asked(place: Path) -> None:
    """Note that a person asked for the extract: its release is kept as long as it is there."""
    if not (place / ASKED).exists():
        write_atomically(place / ASKED, "")


def old_extracts(settings: Settings, known: Collection[str]) -> list[Path]:
    """The extracts, whole or half written, that are of none of the releases `known`."""
    return [
        place
        for place in sorted(settings.features.glob("*/*"))
        if place.is_dir()
        and place.name not in known
        and ((place / "manifest.json").exists() or is_temporary(place) or not any(place.iterdir()))
    ]


def prune_features(settings: Settings) -> None:
    """Remove half-written extracts, and those of releases that are gone. The lock is held."""
    for place in old_extracts(settings, release_ids(settings)):
        remove(settings, place)


def release_named(settings: Settings, release_id: str | None, serving: Release | None) -> Release:
    """The release with this id, or the one served."""
    if release_id is None:
        if serving is None:
            folder(settings)
            raise ReleaseError("nothing is published yet")
        return serving
    return release_at(settings, release_id)
