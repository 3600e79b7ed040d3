"""Rules proposed from what a table holds, with the evidence, as YAML for a person to review."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import yaml

from expectations.rules import PUBLISHED, Rule
from expectations.suggesting import formats, keys, others, pairs, single, times, writing
from expectations.suggesting.profile import Profile, described, read
from expectations.suggesting.proposal import Proposal, named
from warehouse.errors import ConfigurationError
from warehouse.onboarding.names import snake_case
from warehouse.query import open_lake, open_release
from warehouse.releases import current, release_at
from warehouse.settings import PROJECT
from warehouse.wording import counted

if TYPE_CHECKING:
    import duckdb

    from warehouse.releases import Release
    from warehouse.settings import Settings
    from warehouse.sources import Source

__all__ = ["Proposal", "Suggestion", "propose", "suggest"]


@dataclass(frozen=True)
class Suggestion:
    """The rules proposed for a table: for machines, and as the text of a rule file."""

    table: str
    rules: tuple[tuple[dict[str, Any], Proposal], ...]
    text: str


def suggest(
    settings: Settings,
    table: str,
    release: str | None,
    rules: Sequence[Rule],
    sources: Sequence[Source],
    now: datetime,
) -> Suggestion:
    """The rules that the table's data propose, without those that `rules` have for it.

    `table` is a published one of the release (the current one if None), or one of the lake; what
    `sources` declare as time of an event is such a time in the tables made from them, too.
    Raises ConfigurationError when there is no such table.
    """
    is_raw = table.startswith("raw_")
    opened = open_lake(settings) if is_raw else open_release(settings, release)
    known = [rule for rule in rules if rule.table == table]
    with opened as con:
        tables = _tables(con, table)
        read_from = _release(settings, release)
        inherited = frozenset(read_from.personal.get(table, ()) if read_from else ())
        declared = event_times(table, sources, read_from)
        profile = read(con, table, personal_columns(table) | inherited, declared)
        found = list(writing.new_ones(propose(profile, tables, now), known))
    with_ids = writing.with_ids(found, table, [rule.id for rule in rules])
    where = "the lake" if is_raw else f"release {release or _current(settings)}"
    owner = known[0].owner if known else _owner(table)
    header = writing.header(table, profile.rows, where, profile.order, now, known)
    if not found:
        header.append("Nothing more can be proposed from the data.")
    text = writing.file_text(with_ids, table, owner, header)
    return Suggestion(table, tuple(with_ids), text)


def propose(table: Profile, tables: Sequence[str], now: datetime) -> Iterator[Proposal]:
    """All rules that the table's data speak for; `tables` are those that it may refer to."""
    yield from others.whole(table, described(table.con, table.table))
    if not table.rows:
        return
    beside = others.others(table, tables)
    key = keys.find_key(table) if not table.is_raw else ()
    yield from keys.unique(table, key)
    if key:
        yield Proposal(
            "key_complete",
            {"check": "not_null", **named(list(key))},
            "critical",
            "a row without its key is nobody's",
            (f"none is null in {counted(table.rows, 'row')}",),
        )
    yield from single.complete(table, key)
    refunds = single.refunded(table)
    for column in table.own:
        as_set = list(single.closed_set(table, column))
        yield from as_set
        if not as_set and column.name not in key:
            yield from single.bounds(table, column, refunds=refunds)
        if not as_set:
            yield from formats.formats(table, column)
        if column.kind == "time":
            yield from times.times(table, column)
    yield from pairs.pairs(table)
    yield from others.references(table, beside)
    yield from others.totals(table, key, beside)
    yield from times.like_before(table)
    yield from times.fresh(table, now)


def _tables(con: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    """The tables that may be spoken of: all published ones, or all raw ones.

    Raises ConfigurationError when `table` is not among them.
    """
    rows = con.execute(
        "select schema_name || '.' || table_name from duckdb_tables() where not internal"
        " and database_name = current_database() order by 1"
    ).fetchall()
    there = [name for (name,) in rows if name.startswith(("raw_", *(f"{p}." for p in PUBLISHED)))]
    if table in there:
        return there
    schema, _, name = table.partition(".")
    if schema in PUBLISHED and name and any((PROJECT / "models").rglob(f"{name}.sql")):
        raise ConfigurationError(
            f"{table} has a model, but no release that is read has the table",
            where="clearwater audit --suggest",
            next_step=f"write a first rule into expectations/rules/{schema}/{name}.yml, such as the"
            " key's `unique` (docs/models.md), and run; then its data can be looked at",
        )
    near = difflib.get_close_matches(table, there, n=1)
    raise ConfigurationError(
        f"there is no table {table!r}",
        where="clearwater audit --suggest",
        next_step=f"did you mean {near[0]!r}?" if near else f"tables: {', '.join(there) or 'none'}",
    )


def personal_columns(table: str) -> frozenset[str]:
    """The columns that the model's YAML marks as personal."""
    name = table.partition(".")[2]
    found = set()
    for file in (PROJECT / "models").rglob(f"{name}.yml"):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        for model in content.get("models") or []:
            for column in model.get("columns") or []:
                meta = column.get("meta") or (column.get("config") or {}).get("meta") or {}
                if model.get("name") == name and meta.get("personal"):
                    found.add(column["name"])
    return frozenset(found)


def event_times(table: str, sources: Sequence[Source], release: Release | None) -> tuple[str, ...]:
    """The columns of the table that are declared to say when an event happened, the likelier first.

    They are those of its feature set and of the sources that it is made from, under their own names
    or as onboarding writes them; first of the source that the table is called by.
    """
    features = release.features.get(table.removeprefix("features."), {}) if release else {}
    found = [features["event_time"]] if "event_time" in features else []
    above = {table} if release is None else {table, *_above(table, release.lineage)}
    of_table = [
        source
        for source in sources
        if f"{source.schema_name}.{source.table_name}" in above and source.event_time
    ]
    for source in sorted(of_table, key=lambda source: source.table_name not in table):
        assert source.event_time is not None
        found += [source.event_time, snake_case(source.event_time)]
    return tuple(dict.fromkeys(found))


def _above(table: str, lineage: Mapping[str, Sequence[str]]) -> set[str]:
    """All that the table is made from."""
    above: set[str] = set()
    waiting = list(lineage.get(table, ()))
    while waiting:
        parent = waiting.pop()
        if parent not in above:
            above.add(parent)
            waiting += lineage.get(parent, ())
    return above


def _release(settings: Settings, id_: str | None) -> Release | None:
    """The release of that id, or the current one."""
    if id_ is None:
        return current(settings)
    return release_at(settings, id_)


def _current(settings: Settings) -> str:
    serving = current(settings)
    assert serving is not None  # it was opened
    return serving.id


def _owner(table: str) -> str:
    """Who answers for the table: of a raw one the source, else nobody knows."""
    return table.partition(".")[0].removeprefix("raw_") if table.startswith("raw_") else "unknown"
