"""How far each source lags behind what was promised of it, or else behind what is usual.

The promise is a `freshness` rule on a table made from the source; the strictest one counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from expectations.overdue import overdue, usual_gap
from warehouse.deliveries import Delivery, deliveries, repeats
from warehouse.landing import Landed, content_path

if TYPE_CHECKING:
    import duckdb

    from expectations.rules import Rule
    from warehouse.releases import Release
    from warehouse.settings import Settings

NEWEST = 120  # files of a source that say how often one comes


@dataclass(frozen=True)
class Arrived:
    """A batch of the ledger: its file, its hash, when it arrived (UTC), if it brought anything."""

    file: str
    sha256: str
    at: datetime
    is_news: bool


@dataclass(frozen=True)
class Lag:
    """How old the newest of a source is, and how old it may be.

    `rule_id` is the rule that promises so; without one `promised` is the usual gap, if known.
    """

    age: timedelta
    promised: timedelta | None
    rule_id: str | None
    is_late: bool


def arrived(con: duckdb.DuckDBPyConnection) -> dict[str, list[Arrived]]:
    """The newest loaded batches of each source, oldest first, in the lake that `con` has open.

    The newest one that brought something is among them, however old it is.
    """
    # No parameters: with them DuckDB imports pandas.
    rows = con.execute(
        "select source, source_file, content_sha256, arrived_at,"
        " rows_in <> already_known or deleted > 0 as is_news"
        " from meta.batches where status = 'loaded'"
        f" qualify row_number() over (partition by source order by arrived_at desc) <= {NEWEST}"
        " or (is_news and row_number() over (partition by source, is_news"
        " order by arrived_at desc) = 1) order by source, arrived_at, source_file"
    ).fetchall()
    found: dict[str, list[Arrived]] = {}
    for source, file, sha256, at, is_news in rows:
        line = Arrived(file, sha256, at.replace(tzinfo=UTC), bool(is_news))
        found.setdefault(source, []).append(line)
    return found


def lags(
    settings: Settings,
    release: Release | None,
    came: Mapping[str, Sequence[Arrived]],
    now: datetime,
) -> dict[str, Lag]:
    """The lag of each source from which something came."""
    promised = dict(_promised(settings, release, now)) if release else {}
    return {
        source: promised.get(source) or _by_habit(settings, source, lines, now)
        for source, lines in came.items()
    }


def _by_habit(settings: Settings, source: str, lines: Sequence[Arrived], now: datetime) -> Lag:
    files = _deliveries(settings, source, lines)
    newest = [line.at for line in lines if line.is_news] or [line.at for line in lines]
    is_late = any(True for _ in overdue({source: files}, now))
    return Lag(_age(newest[-1], now), usual_gap(files), None, is_late)


def _deliveries(settings: Settings, source: str, lines: Sequence[Arrived]) -> tuple[Delivery, ...]:
    """When the files were written, as their sidecars say; a zip is one file."""
    own = {line.sha256: _landed(settings, source, line) for line in lines}
    return deliveries(list(own.values()), repeats(settings, source))


def _landed(settings: Settings, source: str, line: Arrived) -> Landed:
    content = content_path(settings, line.sha256)
    try:
        told = json.loads(content.with_name(f"{line.sha256}.{source}.json").read_text())
        modified_ns = int(told["modified_ns"])
    except (OSError, ValueError, KeyError, TypeError):
        modified_ns = 0
    at = line.at.isoformat()
    return Landed(source, line.sha256, line.file, "", at, 0, modified_ns=modified_ns)


def _promised(settings: Settings, release: Release, now: datetime) -> Iterator[tuple[str, Lag]]:
    """The lag by rule of each source that a `freshness` with `max_age` stands above."""
    from expectations.rule_files import rules_of

    ours = [rule for rule in rules_of("freshness") if rule.max_age and rule.table in release.tables]
    if not ours:
        return
    judged = list(_judged(settings, ours, now))
    for source, found in _by_source(release, judged).items():
        yield source, max(found, key=lambda lag: lag.age / (lag.promised or lag.age))


def _judged(settings: Settings, rules: Iterable[Rule], now: datetime) -> Iterator[tuple[str, Lag]]:
    """Each rule's table and lag; a column without any time in it has none."""
    import duckdb

    from expectations.offenders import aggregate, relation
    from warehouse.query import open_release

    with open_release(settings) as con:
        for rule in rules:
            sql = f"select ({aggregate(rule)})::timestamp from {relation(rule.table)}"
            try:
                (newest,) = con.execute(sql).fetchone() or (None,)
            except duckdb.Error:  # the gate tells of a rule that cannot be judged
                continue
            if newest is not None:
                age, most = _age(newest.replace(tzinfo=UTC), now), max_age(rule.max_age)
                yield rule.table, Lag(age, most, rule.id, age > most)


def _by_source(release: Release, judged: Iterable[tuple[str, Lag]]) -> dict[str, list[Lag]]:
    found: dict[str, list[Lag]] = {}
    for table, lag in judged:
        for source in _sources_of(release, table):
            found.setdefault(source, []).append(lag)
    return found


def _sources_of(release: Release, table: str) -> set[str]:
    """The sources whose rows the table is made from, by the release's lineage."""
    seen: set[str] = set()
    waiting = [table]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += release.lineage.get(name, ())
    return {name.removeprefix("raw_") for name in seen if name.startswith("raw_")}


def max_age(text: str) -> timedelta:
    """The span of a rule's `max_age`, such as `36 hours`."""
    count, unit = text.split()
    return timedelta(**{f"{unit.rstrip('s')}s": float(count)})


def _age(at: datetime, now: datetime) -> timedelta:
    return max(now - at, timedelta())
