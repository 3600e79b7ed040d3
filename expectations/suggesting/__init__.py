"""Rules proposed from what a table holds, with the evidence, as YAML for a person to review."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import yaml

from expectations.rules import PUBLISHED, Rule
from expectations.suggesting import formats, keys, others, pairs, single, times, writing
from expectations.suggesting.profile import Profile, described, read
from expectations.suggesting.proposal import Proposal, named
from warehouse.errors import ConfigurationError
from warehouse.query import open_lake, open_release
from warehouse.releases import current, releases
from warehouse.settings import PROJECT
from warehouse.wording import counted

if TYPE_CHECKING:
    import duckdb

    from warehouse.settings import Settings

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
    now: datetime,
) -> Suggestion:
    """The rules that the table's data propose, without those that `rules` have for it.

    `table` is a published one of the release (the current one if None), or one of the lake.
    Raises ConfigurationError when there is no such table.
    """
    is_raw = table.startswith("raw_")
    opened = open_lake(settings) if is_raw else open_release(settings, release)
    known = [rule for rule in rules if rule.table == table]
    with opened as con:
        tables = _tables(con, table)
        profile = read(con, table, personal_columns(table) | _released(settings, table, release))
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


def _released(settings: Settings, table: str, release: str | None) -> frozenset[str]:
    """The columns that are personal in the release, by marks of their own or inherited ones."""
    if release is None:
        read_from = current(settings)
    else:
        read_from = next((r for r in releases(settings) if r.id == release), None)
    return frozenset(read_from.personal.get(table, ())) if read_from else frozenset()


def _current(settings: Settings) -> str:
    serving = current(settings)
    assert serving is not None  # it was opened
    return serving.id


def _owner(table: str) -> str:
    """Who answers for the table: of a raw one the source, else nobody knows."""
    return table.partition(".")[0].removeprefix("raw_") if table.startswith("raw_") else "unknown"
