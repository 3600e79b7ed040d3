"""Checks of what is kept: the lake's catalog and ledger against the files, landing, releases."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from flows.checks.findings import Batch, CautionError, Entry, Found, Look
from flows.checks.machine import first_line
from warehouse.catalog import open_catalog, put_aside
from warehouse.errors import ClearwaterError, LakeError, ReleaseError
from warehouse.landing import content_path
from warehouse.releases import RELEASE_ID, current, release_at, release_ids
from warehouse.settings import Settings
from warehouse.wording import byte_size, counted, few

LANDED = re.compile(r"landing/[0-9a-f]{2}/([0-9a-f]{64})(?:\.(.+?)(\.[0-9]+)?\.json)?")
REBUILD = "make the lake again from landing: `clearwater lake rebuild`"
NONE_YET = "none yet"


def lake(look: Look) -> Found:
    """Whether the lake opens, and leaves its ledger for others."""
    import duckdb

    from warehouse.catalog import is_lake_lost, no_lake
    from warehouse.lake import catalog_snapshot, raw_tables
    from warehouse.query import open_lake

    settings = look.settings
    if is_lake_lost(settings):
        raise no_lake(settings)
    if not settings.lake_catalog.exists():
        return NONE_YET, []
    try:
        snapshot = catalog_snapshot(settings)
        with open_lake(settings) as con:
            look.batches = [
                Batch(*row)
                for row in con.execute(
                    "select batch_id, source, source_file, content_sha256, byte_count, status"
                    " from meta.batches"
                ).fetchall()
            ]
            newest = con.execute(
                "select max(arrived_at), max(loaded_at) from meta.batches"
            ).fetchone()
        _note(look, "the newest arrival", newest[0] if newest else None)
        _note(look, "the newest load", newest[1] if newest else None)
        return f"{counted(len(raw_tables(settings, snapshot)), 'table')}, {snapshot=}", []
    except duckdb.Error as error:
        raise LakeError(
            f"the lake cannot be opened: {first_line(error)}",
            where=str(settings.lake_catalog),
            next_step=put_aside(settings),
        ) from None


def _note(look: Look, what: str, at: datetime | None) -> None:
    if at is not None:
        look.moments[what] = at.replace(tzinfo=UTC)


def files(look: Look) -> Found:
    """The catalog against the lake's files: those it names are there, and no others."""
    if not look.settings.lake_catalog.exists():
        return NONE_YET, []
    if look.batches is None:
        return "", []
    data = look.settings.lake_data
    named = named_files(look.settings)
    on_disk = _sizes(look.tree, "lake/data/")
    wrong: list[ClearwaterError] = []
    unlike = [file for file in named if on_disk.get(file.path) != file.size]
    # A run may have written since the home was walked.
    missing = [file for file in unlike if _size_of(data / file.path) != file.size]
    if now := [file.path for file in missing if file.is_current]:
        wrong.append(
            LakeError(
                f"{counted(len(now), 'file')} of the lake missing or of another size: {few(now)}",
                where=str(look.settings.lake_data),
                next_step=REBUILD,
            )
        )
    if then := [file.path for file in missing if not file.is_current]:
        wrong.append(
            CautionError(
                f"{counted(len(then), 'file')} of older snapshots missing or of another size:"
                f" {few(then)}",
                where=str(look.settings.lake_data),
                next_step="what is served stays right; to look back as well, "
                "`clearwater lake rebuild`",
            )
        )
    if look.holder is None and (found := orphans(look.settings, look.tree)):
        total = sum(on_disk[name] for name in found)
        is_old = bool(not_in_ledger(look.settings, look.batches))
        wrong.append(
            CautionError(
                f"{counted(len(found), 'file')} that no snapshot names ({byte_size(total)}):"
                f" {few(found)}",
                where=str(look.settings.lake_data),
                next_step="they may be rows: the catalog is older than they are, as `landing` says"
                if is_old
                else "`clearwater doctor --fix` removes what killed runs left",
            )
        )
    return f"{counted(len(named), 'file')} as the catalog names them", wrong


def _size_of(file: Path) -> int | None:
    """The bytes of a file as it is now; None if it is not there."""
    try:
        return file.stat().st_size
    except OSError:
        return None


class Named(NamedTuple):
    """A file that the catalog names: where, its size in bytes, and if the lake of now needs it."""

    path: str
    size: int
    is_current: bool


# The catalog's tables are those of the DuckLake specification, version 1.0.
_NAMED = """
select s.path, t.path_is_relative, t.path,
       f.path_is_relative, f.path, f.file_size_bytes, f.end_snapshot is null
from (select table_id, path_is_relative, path, file_size_bytes, end_snapshot
      from ducklake_data_file
      union all
      select table_id, path_is_relative, path, file_size_bytes, end_snapshot
      from ducklake_delete_file) f
join (select distinct table_id, schema_id, path, path_is_relative from ducklake_table) t
  using (table_id)
join (select distinct schema_id, path from ducklake_schema) s using (schema_id)
"""


def named_files(settings: Settings) -> list[Named]:
    """Every file that a snapshot in the catalog names, by its path below the lake's data."""
    with open_catalog(settings) as catalog:
        rows = catalog.execute(_NAMED).fetchall()
    return [
        Named(_below(settings, schema, is_under_schema, table, is_under_table, file), size, is_now)
        for schema, is_under_schema, table, is_under_table, file, size, is_now in rows
    ]


def _below(
    settings: Settings,
    schema: str,
    is_under_schema: int,
    table: str,
    is_under_table: int,
    file: str,
) -> str:
    """The file's path below the lake's data; in full if it lies elsewhere."""
    table = f"{schema}{table}" if is_under_schema else table
    path = f"{table}{file}" if is_under_table else file
    return path.removeprefix(f"{settings.lake_data}/")


def _sizes(tree: Mapping[str, Entry], folder: str) -> dict[str, int]:
    """The plain files below a folder of the home, by their path in it, with their sizes."""
    return {
        name.removeprefix(folder): entry.size
        for name, entry in tree.items()
        if name.startswith(folder) and entry.is_file
    }


def orphans(settings: Settings, tree: Mapping[str, Entry]) -> list[str]:
    """The files below the lake's data that its catalog does not name, nor means to remove.

    Only where nobody writes: a file comes before the snapshot that names it.
    """
    with open_catalog(settings) as catalog:
        doomed = catalog.execute("select path from ducklake_files_scheduled_for_deletion")
        named = {Path(path).name for (path,) in doomed}
    named |= {Path(file.path).name for file in named_files(settings)}
    return sorted(name for name in _sizes(tree, "lake/data/") if Path(name).name not in named)


def landing(look: Look) -> Found:
    """The ledger against landing: each loaded file's bytes and sidecar are there."""
    found = [(LANDED.fullmatch(name), entry) for name, entry in look.tree.items()]
    names = [(match[1], match[2], entry.size) for match, entry in found if match]
    sizes = {sha: size for sha, source, size in names if source is None}
    sidecars = {(sha, source) for sha, source, _ in names if source is not None}
    for batch in look.batches or ():
        if batch.sha256 not in sizes:  # a run may have landed it since the home was walked
            now = _size_of(content_path(look.settings, batch.sha256))
            sizes |= {batch.sha256: now} if now is not None else {}
    pruned = {sha for sha, source in sidecars if sha not in sizes and _is_pruned(look, sha, source)}
    wrong = list(_unlike_ledger(look, sizes, sidecars, pruned))
    where = str(look.settings.landing)
    if lone := sorted({sha for sha, _ in sidecars} - sizes.keys() - _shas(look) - pruned):
        wrong.append(
            ClearwaterError(
                f"{counted(len(lone), 'sidecar')} without bytes: {few([_short(s) for s in lone])}",
                where=where,
                next_step="restore them from a copy of landing; what still stands at its source"
                " lands again with the next run once the sidecar is removed",
            )
        )
    if bare := sorted(sizes.keys() - {sha for sha, _ in sidecars} - _shas(look)):
        wrong.append(
            CautionError(
                f"{counted(len(bare), 'file')} landed without sidecar:"
                f" {few([_short(s) for s in bare])}",
                where=where,
                next_step="nothing to do: `clearwater run` writes it for what still stands at its"
                " source, and nothing reads the others",
            )
        )
    return f"{counted(len(sidecars), 'arrival')} with bytes", wrong


def _shas(look: Look) -> set[str]:
    """What the ledger says is loaded, of which `_unlike_ledger` tells."""
    return {batch.sha256 for batch in look.batches or () if batch.status != "refused"}


def _is_pruned(look: Look, sha256: str, source: str | None) -> bool:
    """Whether the sidecar says that its bytes went after they were loaded."""
    file = content_path(look.settings, sha256).with_name(f"{sha256}.{source}.json")
    try:
        return bool(json.loads(file.read_text(encoding="utf-8")).get("pruned_at"))
    except (OSError, ValueError, AttributeError):
        return False


def _short(sha256: str) -> str:
    return f"{sha256[:12]}…"


def _unlike_ledger(
    look: Look,
    sizes: Mapping[str, int],
    sidecars: set[tuple[str, str | None]],
    pruned: set[str],
) -> Iterator[ClearwaterError]:
    where, batches = str(look.settings.landing), look.batches or []
    loaded = [batch for batch in batches if batch.status != "refused"]
    there = sizes.keys() | pruned
    for what, lost in (
        ("lost its bytes", [b for b in loaded if b.sha256 not in there]),
        (
            "changed its size",
            [b for b in loaded if b.sha256 in sizes and b.size not in (None, sizes[b.sha256])],
        ),
        ("lost its sidecar", [b for b in loaded if (b.sha256, b.source) not in sidecars]),
    ):
        if lost:
            told = few([f"{batch.source}: {batch.file} ({_short(batch.sha256)})" for batch in lost])
            yield ClearwaterError(
                f"landing {what} of {counted(len(lost), 'loaded file')}: {told}",
                where=where,
                next_step="restore landing from a copy: the lake could not be made again",
            )
    if look.batches is not None and (behind := not_in_ledger(look.settings, look.batches)):
        yield LakeError(
            f"the lake's ledger lacks {counted(len(behind), 'load')} that landing noted:"
            f" {few(behind)}",
            where=str(look.settings.lake_catalog),
            next_step=f"was the lake put back from an older copy? {REBUILD} --dry-run compares",
        )


def not_in_ledger(settings: Settings, batches: list[Batch]) -> list[str]:
    """What landing noted as loaded and the lake's ledger does not know: its files."""
    from warehouse.loads import noted_loads

    known = {batch.id for batch in batches}
    noted = noted_loads(settings).values()
    return [
        f"{load.source}: {load.source_file}"
        for load in noted
        if load.is_loaded and load.batch_id not in known
    ]


def release(look: Look) -> Found:
    """Whether the release served is there, and opens with all its tables."""
    from warehouse.releases import held_at

    settings = look.settings
    serving = current(settings)
    if serving is None:
        if not settings.current.is_symlink() and not sound_release(settings):
            return NONE_YET, []
        held = held_at(settings)
        raise ReleaseError(
            "the link to the current release leads nowhere",
            where=str(settings.current),
            next_step=f"the line is held at {held}: `clearwater rollback {held}` serves it again"
            if held
            else "`clearwater doctor --fix` serves the newest release that is whole;"
            " `clearwater rollback ID` another one",
        )
    _note(look, "the release served", datetime.fromisoformat(serving.created_at))
    if told := broken(settings, None):
        raise ReleaseError(
            f"the current release {told}",
            where=str(settings.current),
            next_step="`clearwater releases` lists others; `clearwater rollback ID` serves one of"
            " them",
        )
    return f"{serving.id} ({serving.verdict}), {counted(len(serving.tables), 'table')}", []


def broken(settings: Settings, release_id: str | None) -> str:
    """What is wrong with a release, the one served if None; empty if it opens with its tables."""
    import duckdb

    from warehouse.query import open_release

    try:
        release = release_at(settings, release_id) if release_id else current(settings)
        tables = set(release.tables) if release else set()
        with open_release(settings, release_id) as con:
            rows = con.execute("select schema_name || '.' || table_name from duckdb_tables()")
            there = {name for (name,) in rows.fetchall()}
    except (duckdb.Error, OSError) as error:
        return f"cannot be opened: {first_line(error)}"
    except ClearwaterError:
        return "has no release.json that can be read"
    missing = sorted(tables - there)
    return f"lacks {', '.join(missing)}" if missing else ""


def sound_release(settings: Settings) -> str | None:
    """The newest release that opens with all its tables."""
    names = reversed(release_ids(settings))
    return next((name for name in names if not broken(settings, name)), None)


def releases(look: Look) -> Found:
    """Whether the other releases open, too: they are what a rollback goes back to."""
    settings = look.settings
    serving = settings.current.resolve().name
    places = (place for place in settings.releases.glob("*/") if RELEASE_ID.fullmatch(place.name))
    others = sorted(place for place in places if place.name != serving)
    wrong: list[ClearwaterError] = [
        ReleaseError(
            f"an older release {told}, so that no rollback can serve it",
            where=str(place),
            next_step="remove its folder, or put it back from a copy",
        )
        for place in others
        if (told := broken(settings, place.name))
    ]
    return f"{counted(len(others), 'other')}" if others else "no other", wrong


def features(look: Look) -> Found:
    """Whether each extract of a feature set is what its manifest says."""
    import duckdb

    from warehouse.duck import connect, number, quoted

    manifests = sorted(look.settings.features.glob("*/*/manifest.json"))
    wrong: list[ClearwaterError] = []
    with closing(connect(look.settings)) as con:
        for file in manifests:
            data = file.with_name("data.parquet")
            try:
                rows = json.loads(file.read_text(encoding="utf-8"))["rows"]
                sql = f"select num_rows from parquet_file_metadata({quoted(data)})"
                told = "" if number(con, sql) == rows else f"does not have its {rows:,} rows"
            except (ValueError, KeyError, TypeError):
                told = "has no manifest that can be read"
            except (duckdb.Error, OSError):
                told = "has no data.parquet that can be read"
            if told:
                wrong.append(
                    ClearwaterError(
                        f"this extract {told}",
                        where=str(file.parent),
                        next_step="remove its folder; the next `clearwater run` extracts the"
                        " current release's again",
                    )
                )
    return counted(len(manifests), "extract") if manifests else NONE_YET, wrong
