"""Rules on single rows: what breaks a critical one goes to the quarantine instead of the lake."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from textwrap import shorten
from typing import NamedTuple

import duckdb

from warehouse.batch import Batch
from warehouse.duck import identifier, quoted
from warehouse.errors import FIRST_ROW, BatchRefusedError, without_values
from warehouse.lake import PROVENANCE
from warehouse.readers.contract import Column
from warehouse.readers.header import showable
from warehouse.sources import RowRule
from warehouse.wording import counted, known_names

RULE = "rule:"  # before the id of the rule that a row breaks
SHOWN_CHARACTERS = 200
MASK = "•••"
RULE_FAULTS = (
    duckdb.BinderException,
    duckdb.CatalogException,
    duckdb.ConversionException,
    duckdb.InvalidInputException,
    duckdb.OutOfRangeException,
    duckdb.ParserException,
)


class BrokenBy(NamedTuple):
    """How many rows of a batch break a rule, and how many of these are not in quarantine."""

    rows: int
    loaded: int


class Fault(NamedTuple):
    """What is wrong with the rows of a batch: in words, the first such row, and what to do."""

    what: str
    first: str
    next_step: str

    def refusal(self, where: str) -> BatchRefusedError:
        """The refusal of a batch with this fault alone."""
        what = f"{self.what}{FIRST_ROW}{self.first}"
        return BatchRefusedError(what, where=where, next_step=self.next_step)


def judge_rules(
    con: duckdb.DuckDBPyConnection, batch: Batch, columns: list[Column], absent: list[Column]
) -> None:
    """Judge the rows that break a rule of their source, all rules in one pass.

    The rows are those of the view `fit`, with the lake's own columns as they will be loaded;
    `absent` are columns of the table that the batch has not.
    Makes `broken`: for each such row the numbers of its rules, from 1. A row that breaks several
    critical ones has the first one's name as its reason, and tells of all.
    """
    rules = batch.source.row_rules
    _check_rules_fit(batch, [*columns, *absent, *PROVENANCE])
    nulls = "".join(f", null::{c.type} as {identifier(c.name)}" for c in absent)
    tests = ", ".join(f"case when {rule.broken} then {n} end" for n, rule in enumerate(rules, 1))
    any_broken = " or ".join(f"({rule.broken})" for rule in rules)
    rows = f"(select *{nulls}, {batch.stamp} from fit)"
    try:
        con.execute(
            # Lists only for rows that break something: nearly none do.
            "create or replace temp table broken as select _source_row,"
            f" [n for n in [{tests}] if n is not null] as rules"
            f" from {rows} where {any_broken}"
        )
    except RULE_FAULTS as error:
        try:
            _check_references(con, batch)
            at = next((_at(rule) for rule in rules if not _can_judge(con, rule, rows)), "")
        except duckdb.TransactionException:  # a file that cannot be read ends it, no rule does
            raise error from None
        raise BatchRefusedError(
            f"a rule cannot be checked: {_complaint(error, batch)}",
            where=batch.where,
            next_step=f"mend it {at or 'in expectations/rules/raw'}, and run again",
        ) from None
    critical = [n for n, rule in enumerate(rules, 1) if rule.is_critical]
    ids = ", ".join(quoted(RULE + rule.id) for rule in rules)
    told = ", ".join(quoted(f"{rule.id}: {rule.reason}") for rule in rules)
    con.execute(
        f"insert into judged select _source_row, 'quarantine', [{ids}][stopped[1]],"
        f" array_to_string([[{told}][n] for n in stopped], '; '), [[{ids}][n] for n in stopped]"
        " from (select _source_row,"
        f" [n for n in rules if list_contains({critical}::integer[], n)] as stopped from broken)"
        " where len(stopped) > 0"
    )


def _complaint(error: duckdb.Error, batch: Batch) -> str:
    """What DuckDB says, in one line; without values where a column is personal."""
    told = without_values(str(error)) if batch.source.personal else str(error)
    return told.splitlines()[0]


def _check_references(con: duckdb.DuckDBPyConnection, batch: Batch) -> None:
    """Refuse a batch of which a rule looks into a table that nothing was loaded into yet."""
    rows = con.execute(
        "select lower(schema_name || '.' || table_name) from duckdb_tables()"
        " where database_name = 'lake'"
    ).fetchall()
    there = {name for (name,) in rows}
    for rule in batch.source.row_rules:
        if rule.references and rule.references.lower() not in there:
            raise BatchRefusedError(
                f"rule {rule.id}: it looks into {rule.references}, and no file of that is loaded",
                where=batch.where,
                next_step=f"put a file of {rule.references.removeprefix('raw_')} there and run"
                f" again; if no source fills the table, mend the rule {_at(rule)}",
            )


def _can_judge(con: duckdb.DuckDBPyConnection, rule: RowRule, rows: str) -> bool:
    try:
        con.execute(f"select count(*) from {rows} where {rule.broken}")
    except RULE_FAULTS:
        return False
    return True


def broken_rules(con: duckdb.DuckDBPyConnection, batch: Batch) -> dict[str, BrokenBy]:
    """Of each rule that rows of the judged batch break, how many, whatever other rules say."""
    rules = batch.source.row_rules
    if not rules:
        return {}
    found = con.execute(
        "select rule, count(*), count(*) filter (held is null)"
        " from (select _source_row, unnest(rules) as rule from broken) left join"
        " (select distinct _source_row, true as held from judged where verdict = 'quarantine')"
        " using (_source_row) group by rule order by rule"
    ).fetchall()
    return {rules[rule - 1].id: BrokenBy(*counts) for rule, *counts in found}


def warned(batch: Batch, broken: Mapping[str, BrokenBy]) -> list[str]:
    """What the rules that only warn say of the rows that break them, in words."""
    return [
        f"{_came_of(broken[rule.id])} in breach of the rule {rule.id}: {rule.reason}"
        for rule in batch.source.row_rules
        if not rule.is_critical and rule.id in broken
    ]


def _came_of(found: BrokenBy) -> str:
    """The rows with what became of them: `2 rows loaded`, `3 rows, 1 of them loaded,`."""
    rows = counted(found.rows, "row")
    if found.loaded == found.rows:
        return f"{rows} loaded"
    return f"{rows}, {f'{found.loaded:,} of them' if found.loaded else 'not'} loaded,"


def _check_rules_fit(batch: Batch, columns: list[Column]) -> None:
    """Refuse a batch whose table has not the columns that a rule names."""
    known = {column.name.lower(): column.name for column in columns}
    for rule in batch.source.row_rules:
        for name in rule.columns:
            if name.lower() not in known:
                near = difflib.get_close_matches(name.lower(), known, n=1)
                meant = (
                    f"did you mean {known[near[0]]!r}?"
                    if near
                    else f"there are {known_names(showable([*known.values()], batch.source))}"
                )
                raise BatchRefusedError(
                    f"rule {rule.id}: neither the file nor the table has a column {name!r}",
                    where=batch.where,
                    next_step=f"mend the rule {_at(rule)}: {meant}; or ask the sender for a file"
                    " that has the column",
                )


def _at(rule: RowRule) -> str:
    return f"at {rule.where}" if rule.where else "in expectations/rules/raw"


def over_tolerance(
    con: duckdb.DuckDBPyConnection, batch: Batch, rows_in: int, broken: Mapping[str, BrokenBy]
) -> list[Fault]:
    """A fault for each critical rule that more rows break than it tolerates, the worst first."""
    found: list[tuple[int, Fault]] = []
    for n, rule in enumerate(batch.source.row_rules, 1):
        tolerance = batch.source.tolerance if rule.tolerance is None else rule.tolerance
        rows = broken[rule.id].rows if rule.id in broken else 0
        if not rule.is_critical or rows <= tolerance * rows_in:
            continue
        first = con.execute(
            "select _source_row, raw from broken left join incoming_raw using (_source_row)"
            f" where list_contains(rules, {n}) order by _source_row limit 1"
        ).fetchone()
        assert first is not None
        fault = Fault(
            f"{rows:,} of {counted(rows_in, 'row')} break the rule {rule.id} ({rule.reason}),"
            f" more than its tolerance of {tolerance:.0%}",
            f"{first[0]}: {_shown(con, batch, first[1])}",
            f"{_first_step(con, rule)}ask the sender for a corrected file, or mend the rule"
            f" {_at(rule)}, if it is wrong, and run again",
        )
        found.append((rows, fault))
    return [fault for _, fault in sorted(found, key=lambda one: -one[0])]


def _first_step(con: duckdb.DuckDBPyConnection, rule: RowRule) -> str:
    """Where a rule looks into another table: to see first whether a file of that is missing.

    It names the newest one that was refused, unless a file of that name was loaded since.
    """
    if not rule.references:
        return ""
    source = rule.references.removeprefix("raw_")
    refused = con.execute(
        "select source_file, reason from lake.meta.batches r"
        " where lower(source) = lower(?) and status = 'refused' and not exists"
        " (from lake.meta.batches l where l.source = r.source and l.source_file = r.source_file"
        " and l.status = 'loaded' and l.loaded_at > r.loaded_at)"
        " order by loaded_at desc, source_file desc limit 1",
        [source],
    ).fetchone()
    if refused is None:
        return f"see whether a file of {source} is late: these rows refer to it; else "
    file, reason = refused
    why = shorten(reason.partition(FIRST_ROW)[0], SHOWN_CHARACTERS, placeholder=" …")
    return (
        f"these rows refer to {source}, whose file {file} was refused ({why}):"
        " once that is loaded, run again; else "
    )


def _shown(con: duckdb.DuckDBPyConnection, batch: Batch, raw: str | None) -> str:
    """The beginning of a row as it came, without the values of personal columns.

    Where there are such, no text is shown either, and nothing where rows of the file are torn or
    not of their type: what stands in a column may be another's.
    """
    personal = {name.lower() for name in batch.source.personal}
    text = raw or ""
    if personal:
        try:
            row = json.loads(text)
        except ValueError:
            return MASK
        if not isinstance(row, dict) or _may_be_shifted(con):
            return MASK
        texts = {name.lower() for name in row if batch.source.type_of(name) == "VARCHAR"}
        hidden = {
            name: MASK if name.lower() in personal | texts and value is not None else value
            for name, value in row.items()
        }
        text = json.dumps(hidden, ensure_ascii=False, separators=(",", ":"))
    return text[:SHOWN_CHARACTERS]


def _may_be_shifted(con: duckdb.DuckDBPyConnection) -> bool:
    found = con.execute(
        "select exists (from rejected) or exists (from incoming where _failed is not null)"
    ).fetchone()
    return found == (True,)
