"""The lake made again from landing alone, compared with the old one, and put in its place.

Landing has every byte that arrived, every decision about quarantined rows, and when and under which
definition each file was loaded. The old lake, where there is one, is what is compared.
"""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from warehouse.batch import Batch, Batches, Counts, Withheld, landed_batches
from warehouse.catalog import put_aside
from warehouse.decisions import Decision, carried_out, decisions, forget
from warehouse.duck import identifier, number, quoted
from warehouse.errors import BatchRefusedError, LakeError
from warehouse.files import sync
from warehouse.lake import earlier_lakes, finish_swap, is_encrypted, made_anew, writing
from warehouse.landing import BLOCK_BYTES, Landed, content_path, is_pruned
from warehouse.loading import load_batch
from warehouse.loads import (
    Load,
    LoadLog,
    definition,
    ledger_loads,
    note_encrypted,
    note_redefined,
    noted_loads,
    was_encrypted,
)
from warehouse.quarantine import carry_out_drop, reading, settle
from warehouse.replaying import replay_batch
from warehouse.settings import Settings
from warehouse.sources import Source
from warehouse.wording import counted

META_COMPARED = ("batches", "quarantine", "dropped")
# What a batch was loaded under is not what was loaded; an older lake has no list of reasons.
NOT_COMPARED = ("run_id", "source_fingerprint", "reasons")


@dataclass(frozen=True)
class Compared:
    """A table of both lakes: its rows, and how many stand in one of them alone.

    `columns` are those that only one lake has, or has with another type.
    """

    table: str
    rows_before: int
    rows_now: int
    only_before: int
    only_now: int
    columns: tuple[str, ...] = ()

    @property
    def is_equal(self) -> bool:
        """Row for row the same."""
        return not (self.only_before or self.only_now or self.columns)


@dataclass(frozen=True)
class Rebuilt:
    """What a rebuild made: the comparison (empty without an old lake), and what could not be done.

    `kept` is where the old lake stands now; None when nothing was put in its place.
    """

    tables: tuple[Compared, ...]
    problems: tuple[str, ...]
    batches: int
    swapped: bool
    kept: Path | None = None

    @property
    def is_equal(self) -> bool:
        """Whether nothing is missing and nothing differs."""
        return not self.problems and all(table.is_equal for table in self.tables)


@dataclass(frozen=True)
class _Event:
    """Something to do again at its time: load a batch, or carry a decision out.

    `fingerprint` is of the source's definition then, empty where that is not known; `load` is set
    for a load, `decision` for a decision.
    """

    at: datetime
    batch_id: str
    source: str
    run_id: str
    fingerprint: str
    load: Load | None = None
    decision: Decision | None = None


def rebuild(
    settings: Settings,
    sources: list[Source],
    *,
    encrypted: bool | None = None,
    redefine: bool = False,
    dry_run: bool = False,
    accept: bool = False,
) -> Rebuilt:
    """Make the lake again beside the old one; it takes the old one's place if it is equal.

    Every batch is loaded under the definition of its source that it was loaded under before; with
    `redefine` under those of `sources`, and then rows may differ: replays are forgotten, for each
    row is judged anew, and rows that were given up stay away. With `accept` rows may differ, too,
    and batches may be missing; with `dry_run` the old lake stays. What the old lake has not loaded
    yet is left to the next run. `encrypted` is as the old lake is, unless given. The caller holds
    the writer lock.
    """
    finish_swap(settings)
    has_old = settings.lake_catalog.exists()
    if has_old:
        _check_old(settings)
    if encrypted is None:
        encrypted = is_encrypted(settings) if has_old else was_encrypted(settings)
    work = replace(settings, home=settings.home / "rebuilding", encrypted=encrypted)
    shutil.rmtree(work.home, ignore_errors=True)
    try:
        work.home.mkdir()
        work.landing.symlink_to(f"../{settings.landing.name}")
        landed = landed_batches(settings)
        loads, decided = (
            _old_lake(settings, dry_run=dry_run)
            if has_old
            else (_noted_and_landed(settings, landed), None)
        )
        _check_bytes(settings, landed, loads, may_lack=accept and not has_old)
        events, problems = _events(settings, landed, loads, decided)
        again = _Again(work, sources, landed, events, redefine=redefine)
        with writing(work, anew=True) as con:
            problems += again.do(con)
            done = Rebuilt(
                tables=tuple(_compare(con, settings) if has_old else []),
                problems=tuple(problems),
                batches=sum(event.load is not None for event in events),
                swapped=False,
            )
            is_good = not done.problems if redefine else done.is_equal
            if dry_run or not (is_good or accept):
                return done
            if redefine:
                note_redefined(settings, con)
        done = replace(done, swapped=True, kept=_swap(settings, work))
        for decision in again.obsolete:
            forget(settings, decision)
        with reading(settings) as con:
            LoadLog(settings, con)
        note_encrypted(settings, encrypted=encrypted)
        return done
    finally:
        shutil.rmtree(work.home, ignore_errors=True)


def _check_old(settings: Settings) -> None:
    """Raise LakeError when the old lake cannot be read."""
    try:
        with reading(settings) as con:
            con.execute("select count(*) from lake.meta.batches")
    except duckdb.Error as error:
        raise LakeError(
            f"the old lake cannot be read: {str(error).splitlines()[0]}",
            where=str(settings.lake_catalog),
            next_step=put_aside(settings),
        ) from None


def _check_bytes(
    settings: Settings, landed: Batches, loads: Iterable[str], *, may_lack: bool
) -> None:
    """Raise LakeError when bytes of the `loads` were pruned: their rows are in no other place."""
    pruned = sum(batch in landed and is_pruned(settings, landed[batch][0]) for batch in loads)
    if not pruned or may_lack:
        return
    accepting = (
        ""
        if settings.lake_catalog.exists()
        else "; or give those rows up for ever: `clearwater lake rebuild --accept`"
    )
    raise LakeError(
        f"the raw bytes of {counted(pruned, 'loaded batch')} were pruned (keep.landing),"
        " so a lake made again would lack their rows",
        where=str(settings.landing),
        next_step=f"restore their files there from a copy{accepting}",
    )


def _old_lake(settings: Settings, *, dry_run: bool) -> tuple[dict[str, Load], set[str]]:
    """The old ledger's loads by batch, and the decisions that the old lake has carried out."""
    with reading(settings) if dry_run else writing(settings) as con:
        if not dry_run:
            settle(con, settings)
        decided: set[str] = set()
        with suppress(duckdb.CatalogException):  # an older lake has no decisions
            decided = carried_out(con)
        loads = ledger_loads(con)
    for batch, load in noted_loads(settings).items():
        if load.redefined and loads.get(batch) == load._replace(redefined=False):
            loads[batch] = load
    return loads, decided


def _noted_and_landed(settings: Settings, landed: Batches) -> dict[str, Load]:
    """The loads that landing noted, then in the order of arrival what else landed."""
    loads = noted_loads(settings)
    last = max((load.loaded_at for load in loads.values()), default=None)
    for batch, (arrival, part) in landed.items():
        if batch in loads:
            continue
        at = datetime.fromisoformat(arrival.arrived_at).astimezone(UTC).replace(tzinfo=None)
        last = max(at, last + timedelta(microseconds=1)) if last else at
        name = f"{arrival.original_name}/{part}" if part else arrival.original_name
        loads[batch] = Load(batch, arrival.source, name, last, "", "rebuild", 0, "landed")
    return loads


def _events(
    settings: Settings, landed: Batches, loads: dict[str, Load], decided: set[str] | None
) -> tuple[list[_Event], list[str]]:
    """What is to be done again, in order, and which batches landing does not have."""
    events = [
        _Event(
            load.loaded_at,
            load.batch_id,
            load.source,
            load.run_id,
            load.source_fingerprint,
            load=load,
        )
        for load in loads.values()
    ]
    problems = [
        f"{load.source}: {load.source_file}: the bytes of batch {batch[:12]} are not in landing"
        for batch, load in loads.items()
        if batch not in landed
    ]
    for decision in decisions(settings):
        if decided is None or decision.id in decided:
            at = datetime.fromisoformat(decision.decided_at)
            if (load := loads.get(decision.batch_id)) and load.loaded_at > at:
                at = load.loaded_at  # into a lake that was restored from a copy of before
            events.append(
                _Event(
                    at,
                    decision.batch_id,
                    decision.source,
                    "rebuild",
                    decision.source_fingerprint,
                    decision=decision,
                )
            )
    return sorted(events, key=lambda event: (event.at, event.decision is not None)), problems


class _Again:
    """Everything done again, in order, under the definitions of then or, to redefine, of today."""

    def __init__(
        self,
        settings: Settings,
        sources: list[Source],
        landed: Batches,
        events: list[_Event],
        *,
        redefine: bool,
    ) -> None:
        """`obsolete` are the decisions that have no meaning for what is made, once it is done."""
        self.obsolete: list[Decision] = []
        self._settings = settings
        self._today = {source.name: source for source in sources}
        self._landed = landed
        self._events = events
        self._redefine = redefine
        self._then: dict[str, Source | None] = {}
        self._sound: dict[str, bool] = {}
        self._last = _last_decisions(events)
        self._renumbered: set[str] = set()
        self._problems: list[str] = []

    def do(self, con: duckdb.DuckDBPyConnection) -> list[str]:
        """Do it; returns what could not be done, refusals left out."""
        for event in self._events:
            if event.batch_id not in self._landed:
                continue
            if event.decision is not None and event.decision.kind == "drop":
                self._drop(con, event.decision)
                continue
            source = self._source(event)
            arrival, part = self._landed[event.batch_id]
            if source is None or not self._is_sound(arrival, event):
                continue
            batch = Batch(arrival, source, event.run_id, event.at, part)
            if event.load is not None:
                self._load(con, batch, event, event.load)
            elif event.decision is not None:
                self._replay(con, batch, event, event.decision)
        return list(dict.fromkeys(self._problems))

    def _source(self, event: _Event) -> Source | None:
        """How the event's source was defined then, else how it is today."""
        if then := self._as_then(event):
            return then
        today = self._today.get(event.source)
        if today is None:
            told = "not in the sources file, so its batches were left out"
            self._problems.append(f"{event.source}: {told}")
        elif event.fingerprint not in ("", today.fingerprint()) and not self._redefine:
            told = f"its definition {event.fingerprint} is not in landing; today's was taken"
            self._problems.append(f"{event.source}: {told}")
        return today

    def _as_then(self, event: _Event) -> Source | None:
        """The event's source as it was; None if that is not known or not wanted."""
        if self._redefine or not event.fingerprint:
            return None
        if event.fingerprint not in self._then:
            self._then[event.fingerprint] = definition(self._settings, event.fingerprint)
        return self._then[event.fingerprint]

    def _is_sound(self, arrival: Landed, event: _Event) -> bool:
        """Whether landing still holds the very bytes that arrived."""
        if arrival.sha256 not in self._sound:
            self._sound[arrival.sha256] = _is_sound(self._settings, arrival)
        if not self._sound[arrival.sha256] and event.load is not None:
            self._problems.append(
                f"{event.source}: {arrival.original_name}: the bytes in landing are not those"
                f" that arrived: landing/{arrival.sha256[:2]}/{arrival.sha256}"
            )
        return self._sound[arrival.sha256]

    def _load(
        self, con: duckdb.DuckDBPyConnection, batch: Batch, event: _Event, load: Load
    ) -> None:
        last = self._last.get(batch.id, {}).values()
        if self._redefine or load.redefined:
            # Each row is judged anew, but for those that were given up.
            held = tuple(row for decision, row in last if decision.kind == "drop")
        elif self._as_then(event) is not None:
            held = ()
        else:
            # Under another definition a row might load before it was decided on.
            held = tuple(row for _, row in last)
        rows_in = None
        with suppress(BatchRefusedError):  # the ledger tells
            withheld_of = load.rows_in if self._redefine else None
            ready = replace(batch, withheld=held, withheld_of=withheld_of)
            examiner = _Held(load.held) if load.held else None
            rows_in = load_batch(con, self._settings, ready, examiner).counts.rows_in
        if self._redefine and held and rows_in != load.rows_in:
            self._renumbered.add(batch.id)
            read = "is refused now" if rows_in is None else f"has {rows_in:,} now"
            self._problems.append(
                f"{batch.where}: it had {load.rows_in:,} rows and {read}, so which of them were"
                " given up cannot be told, and none is"
            )

    def _replay(
        self, con: duckdb.DuckDBPyConnection, batch: Batch, event: _Event, decision: Decision
    ) -> None:
        if self._redefine:
            self.obsolete.append(decision)
            return
        rows = self._last[event.batch_id]
        meant = {row for row in decision.row_numbers if rows[row][0] is decision}
        only = None if self._as_then(event) is not None else meant
        again = replace(batch, whole=False)
        try:
            replay_batch(con, self._settings, again, decided=decision, only=only)
        except BatchRefusedError as error:
            self._problems.append(str(error))

    def _drop(self, con: duckdb.DuckDBPyConnection, decision: Decision) -> None:
        if decision.batch_id in self._renumbered:
            self.obsolete.append(decision)
        else:
            carry_out_drop(con, decision)


class _Held:
    """Refuses a batch as it was refused then, for being unlike the files before it."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def examine(self, _con: object, batch: Batch, _counts: Counts, /) -> list[str]:
        """Refuse it."""
        raise BatchRefusedError(self._reason, where=batch.where)

    def loaded(self, _batch: Batch, /) -> None:
        """Never: it is refused."""


def _last_decisions(events: list[_Event]) -> dict[str, dict[int, tuple[Decision, Withheld]]]:
    """By batch and row: the last decision on it, and why it was in quarantine until then."""
    last: dict[str, dict[int, tuple[Decision, Withheld]]] = {}
    for event in events:
        if event.decision is not None:
            rows = last.setdefault(event.batch_id, {})
            rows.update({row.row: (event.decision, row) for row in event.decision.rows})
    return last


def _is_sound(settings: Settings, arrival: Landed) -> bool:
    """Whether landing still holds the very bytes that arrived."""
    file = content_path(settings, arrival.sha256)
    if not file.is_file():
        return False
    digest = hashlib.sha256()
    with file.open("rb", buffering=0) as handle:
        while block := handle.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest() == arrival.sha256


def _compare(con: duckdb.DuckDBPyConnection, settings: Settings) -> list[Compared]:
    """Both lakes, table by table: the new one is attached as `lake`."""
    catalog = quoted(f"ducklake:sqlite:{settings.lake_catalog}")
    data = quoted(f"{settings.lake_data}/")
    con.execute(f"attach {catalog} as old (data_path {data}, override_data_path true, read_only)")
    rows = con.execute(
        "select database_name, schema_name, table_name, column_name, data_type"
        " from duckdb_columns() where database_name in ('lake', 'old')"
        " and (schema_name like 'raw!_%' escape '!' or schema_name = 'meta')"
    ).fetchall()
    sides: dict[str, dict[tuple[str, str], dict[str, str]]] = {"lake": {}, "old": {}}
    for database, schema, table, column, type_name in rows:
        if schema != "meta" or (table in META_COMPARED and column not in NOT_COMPARED):
            sides[database].setdefault((schema, table), {})[column] = type_name
    tables = sorted(sides["lake"].keys() | sides["old"].keys())
    found = [
        _compare_table(con, table, sides["old"].get(table, {}), sides["lake"].get(table, {}))
        for table in tables
    ]
    con.execute("detach old")
    return found


def _compare_table(
    con: duckdb.DuckDBPyConnection,
    table: tuple[str, str],
    before: dict[str, str],
    now: dict[str, str],
) -> Compared:
    name = ".".join(identifier(part) for part in table)
    rows_before = number(con, f"select count(*) from old.{name}") if before else 0
    rows_now = number(con, f"select count(*) from lake.{name}") if now else 0
    differing = tuple(sorted(c for c in before | now if before.get(c) != now.get(c)))
    common = ", ".join(identifier(c) for c in sorted(before.keys() & now.keys()))
    only_before, only_now = rows_before, rows_now
    if common:
        one, other = f"select {common} from old.{name}", f"select {common} from lake.{name}"
        only_before = number(con, f"select count(*) from ({one} except all {other})")
        # Every row that is not alone has its pair on the other side.
        only_now = rows_now - (rows_before - only_before)
    return Compared(".".join(table), rows_before, rows_now, only_before, only_now, differing)


def _swap(settings: Settings, work: Settings) -> Path | None:
    """Put the new lake in place; returns where the old one is kept. One earlier lake is kept."""
    for earlier in earlier_lakes(settings):
        shutil.rmtree(earlier)
    with closing(sqlite3.connect(work.lake_catalog)) as catalog:
        catalog.execute("pragma wal_checkpoint(truncate)")
    for file in work.lake_catalog.parent.rglob("*"):
        sync(file)
    sync(work.lake_catalog.parent)
    work.lake_catalog.parent.rename(made_anew(settings))
    sync(settings.home)
    finish_swap(settings)
    return next(iter(earlier_lakes(settings)), None)
