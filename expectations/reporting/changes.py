"""What changed since the last run, in sentences, the worst first."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from expectations.reporting.words import relative
from warehouse.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from expectations.gate import RuleResult
    from expectations.report import RunReport, TableReport

T = TypeVar("T")
Tone = Literal["bad", "warn", "good", "plain"]
BROKEN = ("error", "fail", "warn", "info")
# Single things told of one kind, before the others are counted.
SHOWN = 3
LOOKED_THROUGH = 50

_PASSED = ("pass", "warn")
_VERBS = {
    "error": "could not be checked",
    "fail": "fails now",
    "warn": "warns now",
    "info": "does not hold now, for information",
}
_TONES: dict[str, Tone] = {"error": "bad", "fail": "bad", "warn": "warn", "info": "plain"}
_ORDER: tuple[Tone, ...] = ("bad", "warn", "good", "plain")


@dataclass(frozen=True)
class Change:
    """A sentence about one thing: `before`, the table that it speaks of (may be none), `after`."""

    tone: Tone
    before: str
    table: str = ""
    after: str = ""

    @property
    def text(self) -> str:
        """The whole sentence."""
        return f"{self.before}{self.table}{self.after}"


@dataclass(frozen=True)
class Earlier:
    """What an earlier report told: verdict and status of its run, rules, tables and the lake's."""

    run_id: str
    started_at: str
    status: str
    verdict: str
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    lake: dict[str, dict[str, Any]] = field(default_factory=dict)

    def unexpected(self, rule_id: str) -> int | None:
        """In how many rows the rule was broken then; None if it was not, or is not known."""
        found = self.rules.get(rule_id)
        return int(found["unexpected_count"]) if found and found["status"] in BROKEN else None


def earlier(reports: Path, run_id: str) -> Earlier | None:
    """The last report before the run's that reached its gate; else the last one, if any.

    One that cannot be read is passed over.
    """
    names = sorted((file.parent.name for file in reports.glob("*/index.json")), reverse=True)
    last: Earlier | None = None
    for name in [name for name in names if name < run_id and name != "latest"][:LOOKED_THROUGH]:
        with suppress(OSError, ValueError, TypeError, KeyError):
            found = _read(reports / name / "index.json")
            if found.rules:
                return found
            last = last or found
    return last


def _read(file: Path) -> Earlier:
    told = json.loads(file.read_text(encoding="utf-8"))
    results = told["gate"]["results"] if told["gate"] else []
    return Earlier(
        run_id=told["run_id"],
        started_at=told["started_at"],
        status=told["status"],
        verdict=told["verdict"],
        rules={result["rule_id"]: result for result in results},
        tables={table["name"]: table for table in told["tables"]},
        lake={table["name"]: table for table in told.get("lake", ())},
    )


def changes(run: RunReport, before: Earlier | None) -> list[Change]:
    """What is otherwise than in the report `before`, and what this run put aside."""
    found = list(_put_aside(run))
    if before is not None:
        found += _verdict(run, before)
        if run.gate is not None and before.rules:
            found += _rules(run.gate.results, before)
        if run.tables and before.tables:
            found += _tables(run.tables, before)
    return sorted(found, key=lambda told: _ORDER.index(told.tone))


def _verdict(run: RunReport, before: Earlier) -> Iterator[Change]:
    if run.verdict in _PASSED and before.verdict in ("block", "error"):
        yield Change("good", "The run before was blocked; this one is not.")
    elif run.verdict in ("block", "error") and before.verdict in _PASSED:
        yield Change("bad", "The run before passed its gate; this one is blocked.")
    elif not run.verdict and run.status == "failed" and before.verdict:
        yield Change("bad", "The run before reached its gate; this one did not.")


def _put_aside(run: RunReport) -> Iterator[Change]:
    for source in run.sources:
        if source.refused or (source.message and run.status == "refused"):
            rows = f", {counted(source.refused, 'row')}" if source.refused else ""
            yield Change("bad", f"{source.name} had something refused{rows}.")
    aside = [source for source in run.sources if source.quarantined]
    for source in aside:
        rows = counted(source.quarantined, "row")
        yield Change("warn", f"{rows} of {source.name} went to the quarantine.")


def _rules(results: Iterable[RuleResult], before: Earlier) -> Iterator[Change]:
    results = list(results)
    known = before.rules
    broken = [r for r in results if r.status in BROKEN]
    newly = [r for r in broken if _status(known, r) not in BROKEN]
    worse = [
        r
        for r in broken
        if _status(known, r) in BROKEN and BROKEN.index(r.status) < BROKEN.index(_status(known, r))
    ]
    over = [r for r in results if r.status not in BROKEN and _status(known, r) in BROKEN]
    mended = [r for r in over if not _saw_nothing(r)]
    still = len(broken) - len(newly) - len(worse)
    added = [r for r in results if r.rule_id not in known]
    ids = {r.rule_id for r in results}
    gone = [rule_id for rule_id in known if rule_id not in ids]
    yield from _each(sorted(newly, key=_worst), _newly, ("rule broke too", "rules broke too"))
    yield from _each(
        sorted(worse, key=_worst), _worse, ("rule is worse too", "rules are worse too")
    )
    if still:
        verb = "does" if still == 1 else "do"
        tone: Tone = "plain"
        yield Change(tone, f"{counted(still, 'rule')} still {verb} not hold, as in the run before.")
    yield from _each(mended, _mended, ("rule holds again", "rules hold again"))
    if unknown := len(over) - len(mended):
        told = f"{counted(unknown, 'rule')} that did not hold in the run before had no new row to"
        yield Change("plain", f"{told} look at.")
    if gone:
        names = ", ".join(sorted(gone)[:SHOWN]) + (", …" if len(gone) > SHOWN else "")
        yield Change("warn", f"{counted(len(gone), 'rule')} gone: {names}.")
    if added:
        yield Change("plain", f"{counted(len(added), 'new rule')}.")


def _status(known: dict[str, dict[str, Any]], result: RuleResult) -> str:
    return str(known.get(result.rule_id, {}).get("status", ""))


def _saw_nothing(result: RuleResult) -> bool:
    """Whether nothing came for the rule: nothing is known of it that was not known before."""
    return result.status == "unseen"


def _worst(result: RuleResult) -> int:
    return BROKEN.index(result.status)


def _each(
    found: Iterable[T], tell: Callable[[T], Change], others: tuple[str, str]
) -> Iterator[Change]:
    """The first few told one by one, the others counted; `others` says what of one and of more."""
    told = [tell(one) for one in found]
    shown = len(told) if len(told) <= SHOWN + 1 else SHOWN
    yield from told[:shown]
    if more := len(told) - shown:
        yield Change(told[shown].tone, f"{more:,} other {others[more > 1]}.")


def _newly(result: RuleResult) -> Change:
    verb = _VERBS[result.status]
    rows = f": {counted(result.unexpected_count, 'row')}" if result.sample else ""
    return Change(_TONES[result.status], f"{result.rule_id} of ", result.table, f" {verb}{rows}.")


def _worse(result: RuleResult) -> Change:
    verb = "fails now; it only warned" if result.status == "fail" else _VERBS[result.status]
    return Change(_TONES[result.status], f"{result.rule_id} of ", result.table, f" {verb}.")


def _mended(result: RuleResult) -> Change:
    return Change("good", f"{result.rule_id} of ", result.table, " holds again.")


def _tables(tables: Iterable[TableReport], before: Earlier) -> Iterator[Change]:
    now = {table.name: table for table in tables}
    gone = sorted(set(before.tables) - set(now))
    added = sorted(set(now) - set(before.tables))
    yield from _each(gone, _gone, ("table is gone", "tables are gone"))
    yield from _each(added, _added, ("new table", "new tables"))
    both = [(table, before.tables[name]) for name, table in now.items() if name in before.tables]
    for table, old in both:
        yield from _columns(table, old)
    yield from _rows([(table, int(old["rows"])) for table, old in both])


def _gone(name: str) -> Change:
    return Change("bad", f"The table {name} is gone.")


def _added(name: str) -> Change:
    return Change("plain", "New table ", name, ".")


def _rows(tables: list[tuple[TableReport, int]]) -> Iterator[Change]:
    """Tables that lost rows one by one, the most first; those that grew in one sentence."""

    def share(pair: tuple[TableReport, int]) -> float:
        return (pair[0].rows - pair[1]) / max(pair[1], 1)

    moved = sorted((pair for pair in tables if pair[0].rows != pair[1]), key=share)
    less = [pair for pair in moved if pair[0].rows < pair[1]]
    more = [pair for pair in moved if pair[0].rows > pair[1]]
    yield from _each(less, _lost, ("table lost rows", "tables lost rows"))
    if more:
        table, rows = more[-1]
        grew = f"{counted(table.rows - rows, 'row')}{relative(table.rows, rows)}"
        others = f"; {counted(len(more) - 1, 'other table')} grew too" if len(more) > 1 else ""
        yield Change("plain", "", table.name, f" grew by {grew}{others}.")


def _lost(pair: tuple[TableReport, int]) -> Change:
    table, rows = pair
    tone: Tone = "bad" if 2 * table.rows < rows else "warn"
    lost = f"{counted(rows - table.rows, 'row')}{relative(table.rows, rows)}"
    return Change(tone, "", table.name, f" lost {lost}.")


def _columns(table: TableReport, old: dict[str, Any]) -> Iterator[Change]:
    """Columns that came, went or changed their type, where they were known before."""
    then = dict(old.get("columns", ()))
    now = dict(table.columns)
    if not then or not now:
        return
    if lost := [name for name in then if name not in now]:
        yield Change("warn", "", table.name, f" lost {_named_columns(lost)}.")
    if new := [name for name in now if name not in then]:
        yield Change("plain", "", table.name, f" has new {_named_columns(new)}.")
    for name, kind in now.items():
        if name in then and then[name] != kind:
            yield Change("warn", "", table.name, f": {name} is {kind} now; it was {then[name]}.")


def _named_columns(names: list[str]) -> str:
    return f"column{'s' * (len(names) > 1)}: {', '.join(names)}"
