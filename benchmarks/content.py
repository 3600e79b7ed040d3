"""What a home holds, as one digest a relation: equal content, equal digests, in any row order.

Left out is what differs between two runs over the same arrivals: times, run ids, release ids.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from pathlib import Path

import duckdb

from warehouse import releases
from warehouse.duck import attach_lake, connect, identifier, quoted
from warehouse.landing import arrivals
from warehouse.settings import Settings

PASSED = ("pass", "warn")
PUBLISHED = ("marts", "features")
UNLIKE = {"_loaded_at", "arrived_at", "loaded_at", "quarantined_at", "run_id"}
LAKE = (
    "raw_payments.transactions",
    "meta.batches",
    "meta.quarantine",
    "meta.sources",
)

Digests = dict[str, str]


class TornError(Exception):
    """The home is not what an undisturbed run leaves."""


def digest(con: duckdb.DuckDBPyConnection, relation: str) -> str:
    """The number of rows and the sum of their hashes: a row lost or doubled changes it."""
    described = con.execute(f"describe select * from {relation}").fetchall()
    columns = ", ".join(identifier(row[0]) for row in described if row[0] not in UNLIKE)
    found = con.execute(f"select count(*), sum(hash({columns})) from {relation}").fetchone()
    assert found is not None
    return f"{found[0]} rows, {found[1]}"


def current_release(settings: Settings) -> Digests:
    """What the current release holds; nothing if there is none.

    Raises TornError when it does not open, did not pass its gate or is not what it says.
    """
    if not settings.current.is_symlink():
        return {}
    release = releases.current(settings)
    if release is None or release.verdict not in PASSED:
        raise TornError(f"current is {release.verdict if release else 'a link to nothing'}")
    database = settings.database(settings.current.resolve())
    try:
        with closing(connect(settings, database, read_only=True)) as con:
            found = con.execute(
                "select schema_name || '.' || table_name from duckdb_tables()"
                f" where schema_name in {PUBLISHED}"
            ).fetchall()
            told = {name: digest(con, name) for (name,) in found}
    except duckdb.Error as error:
        raise TornError(f"the current release does not open: {error}") from error
    rows = {name: int(text.split()[0]) for name, text in told.items()}
    if rows != release.tables:
        raise TornError(f"release.json tells of {release.tables}, its tables hold {rows}")
    return told


def whole_home(settings: Settings) -> Digests:
    """What the release, the lake, the landing area and the extracted features hold.

    Raises TornError for what no completed run leaves, half-written files among it.
    """
    told = current_release(settings)
    if not told:
        raise TornError("nothing is published")
    _check_debris(settings)
    with closing(connect(settings)) as con:
        attach_lake(con, settings)
        told |= {f"lake {name}": digest(con, f"lake.{name}") for name in LAKE}
    return told | _landed(settings) | _extracted(settings)


def _check_debris(settings: Settings) -> None:
    # Not in dbt/, which is a cache, nor in reports/, where a dead run may leave its draft.
    places = (settings.landing, settings.releases, settings.features)
    left = [part for place in places for part in place.rglob(".*.tmp")]
    left += [*settings.home.glob(".*.tmp"), *settings.builds.glob("*")]
    if left:
        raise TornError(f"left behind: {', '.join(str(path) for path in left)}")


def _landed(settings: Settings) -> Digests:
    found = sorted(landed.batch_id for landed in arrivals(settings))
    for file in settings.landing.glob("??/*"):
        if not file.suffix and hashlib.sha256(file.read_bytes()).hexdigest() != file.name:
            raise TornError(f"the bytes of {file} are not those of its name")
    return {"landing": f"{len(found)} batches, {hash_of(found)}"}


def hash_of(names: list[str]) -> str:
    """One hash of many names."""
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def _extracted(settings: Settings) -> Digests:
    serving = releases.current(settings)
    assert serving is not None
    return {
        f"extract {name}": _extract(settings.features / name / serving.id)
        for name in serving.features
    }


def _extract(folder: Path) -> str:
    file = folder / "data.parquet"
    if not file.exists():
        raise TornError(f"the features are not extracted: {folder}")
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if hashlib.sha256(file.read_bytes()).hexdigest() != manifest["file_sha256"]:
        raise TornError(f"the manifest does not belong to {file}")
    with duckdb.connect() as con:
        return digest(con, f"read_parquet({quoted(file)})")


def differences(found: Digests, expected: Digests) -> str:
    """Where two homes differ, for a person; empty when they do not."""
    names = sorted(found.keys() | expected.keys())
    return "; ".join(
        f"{name}: {found.get(name, 'absent')}, expected {expected.get(name, 'absent')}"
        for name in names
        if found.get(name) != expected.get(name)
    )
