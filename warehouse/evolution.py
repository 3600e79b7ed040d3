"""How a source's table takes a batch whose columns are not quite the table's.

Under `evolve` a table gains columns and its types widen; each such change is told. A type that is
declared in sources.yml is what the column becomes; without one it is the narrowest that holds the
old values and the new ones, text at last. Values are only ever cast where casting them back gives
the same again: what does not fit is quarantined, and a table that holds such values keeps its type.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from warehouse.duck import identifier, quoted
from warehouse.errors import BatchRefusedError
from warehouse.lake import PROVENANCE, table_columns, table_name
from warehouse.readers.casting import (
    EXACT_IN_DOUBLE,
    INTEGERS,
    epoch_cast,
    is_number,
    strict_cast,
)
from warehouse.readers.contract import MOST_COLUMNS, Column, drop_incoming
from warehouse.readers.header import showable
from warehouse.sources import EPOCHS, Source
from warehouse.wording import known_names

# What DuckLake can widen in place.
WIDER = {
    "TINYINT": ("SMALLINT", "INTEGER", "BIGINT"),
    "SMALLINT": ("INTEGER", "BIGINT"),
    "INTEGER": ("BIGINT",),
    "UTINYINT": ("USMALLINT", "UINTEGER", "UBIGINT"),
    "USMALLINT": ("UINTEGER", "UBIGINT"),
    "UINTEGER": ("UBIGINT",),
    "FLOAT": ("DOUBLE",),
}
INTEGER_DIGITS = {
    **dict.fromkeys(("TINYINT", "UTINYINT"), 3),
    **dict.fromkeys(("SMALLINT", "USMALLINT"), 5),
    **dict.fromkeys(("INTEGER", "UINTEGER"), 10),
    "BIGINT": 19,
    "UBIGINT": 20,
}
DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")
WIDEST_DECIMAL = 38
INEXACT = ("FLOAT", "DOUBLE")
MOMENTS = ("DATE", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP", "TIMESTAMP_NS")
TEXT = "VARCHAR"
MOST_NAMED = 8  # columns in a message
# Columns of the tables in which DuckLake keeps small batches, and one that it adds to every table.
NAMES_IN_CATALOG = {"row_id", "begin_snapshot", "end_snapshot", "rowid"}


@dataclass(frozen=True)
class Change:
    """One change of a table's shape, or one that a file asked for; types as DuckDB names them.

    `change` is added, widened, retyped (as sources.yml declares now), narrower (the file's type;
    the table keeps its own) or missing (from the file; its rows have null).
    """

    column: str
    change: str
    before: str | None
    after: str | None

    def __str__(self) -> str:
        if self.change == "narrower":
            return f"column {self.column} came as {self.after}; the table keeps {self.before}"
        return f"column {self.column} was {self.before} and is {self.after} now"


def in_words(changes: Sequence[Change]) -> list[str]:
    """What a batch changed, for a person: all columns that came, or that it lacks, in one line."""
    told = [str(change) for change in changes if change.change not in ("added", "missing")]
    if added := [f"{c.column} ({c.after})" for c in changes if c.change == "added"]:
        told.append(f"{_named(added)} new")
    if missing := [f"{c.column} ({c.before})" for c in changes if c.change == "missing"]:
        told.append(f"{_named(missing)} not in the file; its rows have null")
    return told


def other_columns(con: duckdb.DuckDBPyConnection, source: Source, changes: Sequence[Change]) -> str:
    """Which columns a file lacks that the last batch filled, and which it has besides, in words.

    Empty where there are none. `changes` are those of the file, made and not committed.
    """
    added = [change.column for change in changes if change.change == "added"]
    missing = _filled_last(con, source, [c.column for c in changes if c.change == "missing"])
    told = [f"it lacks the {_some(missing)}"] if missing else []
    if missing and added:
        told.append(f"has the new {_some(added)}")
    return " and ".join(told)


def _some(columns: list[str]) -> str:
    listed = known_names(map(repr, columns))
    return f"column{'s' * (len(columns) > 1)} {listed}"


def _filled_last(con: duckdb.DuckDBPyConnection, source: Source, columns: list[str]) -> list[str]:
    """Those of the table's columns that hold a value in its latest batch."""
    if not columns:
        return []
    table = table_name(source)
    counts = con.execute(
        f"select {', '.join(f'count({identifier(name)})' for name in columns)} from {table}"
        f" where _loaded_at = (select max(_loaded_at) from {table})"
    ).fetchone()
    assert counts is not None
    return [name for name, count in zip(columns, counts, strict=True) if count]


def _named(columns: list[str]) -> str:
    """The first of the columns, with the verb."""
    if len(columns) == 1:
        return f"column {columns[0]} is"
    others = len(columns) - MOST_NAMED
    more = f" and {others:,} more" if others > 0 else ""
    return f"columns {', '.join(columns[:MOST_NAMED])}{more} are"


def evolve(
    con: duckdb.DuckDBPyConnection, source: Source, columns: list[Column], where: str
) -> list[Change]:
    """Make the table fit the batch: create it, add columns, widen types; returns what changed.

    `incoming`'s values are fitted to the table's types; a value that does not fit fails its row.
    Raises BatchRefusedError when the schema is frozen and differs, or the lake cannot hold it.
    """
    table = {column.name.lower(): column for column in table_columns(con, source)}
    wanted = {c.name: _declared(source, c) for c in columns}
    _check_width(table, [*wanted, *source.columns], where)
    came = {column.name.lower() for column in columns}
    absent = [Column(n, d.type) for n, d in source.columns.items() if n.lower() not in came]
    if not table:
        typed = [Column(c.name, wanted[c.name]) for c in columns]
        _create(con, source, [*typed, *absent], where)
        _fit(con, source, columns, wanted)
        return [Change(c.name, "missing", c.type, None) for c in absent]
    if source.schema_policy == "freeze":
        _check_frozen(con, source, table, columns, wanted, where)
    changes = [
        _take(con, source, column, table.get(column.name.lower()), wanted, where)
        for column in columns
    ]
    late = [column for column in absent if column.name.lower() not in table]
    changes += [_take(con, source, c, None, {c.name: c.type}, where) for c in late]
    missing = [Change(c.name, "missing", c.type, None) for n, c in table.items() if n not in came]
    _fit(con, source, columns, wanted)
    return [change for change in changes if change] + missing


def make_room(con: duckdb.DuckDBPyConnection, source: Source, columns: list[Column]) -> None:
    """Have a table with columns of DuckLake's own names kept in files alone, outside a transaction.

    Small batches would go to a table of the catalog, which has columns of these names already.
    """
    came = {column.name.lower() for column in columns} | {name.lower() for name in source.columns}
    if not came & NAMES_IN_CATALOG:
        return
    if came & NAMES_IN_CATALOG <= {column.name.lower() for column in table_columns(con, source)}:
        return
    schema = source.schema_name
    con.execute(f"create schema if not exists lake.{identifier(schema)}")
    con.execute(f"call lake.set_option('data_inlining_row_limit', '0', schema => {quoted(schema)})")
    con.execute(f"call ducklake_flush_inlined_data('lake', schema_name => {quoted(schema)})")


def _check_width(table: dict[str, Column], names: list[str], where: str) -> None:
    """Refuse more columns than the lake's catalog can hold, be they in one file or in several."""
    count = len(table.keys() | {name.lower() for name in names})
    if count > MOST_COLUMNS:
        raise BatchRefusedError(
            f"the table would have {count:,} columns, more than {MOST_COLUMNS:,}",
            where=where,
            next_step="have names that are values written as values of one column",
        )


def _declared(source: Source, column: Column) -> str:
    declared = source.declared(column.name)
    return declared.type if declared else column.type


def _take(
    con: duckdb.DuckDBPyConnection,
    source: Source,
    column: Column,
    old: Column | None,
    wanted: dict[str, str],
    where: str,
) -> Change | None:
    """Make the table's column take the batch's; `wanted` learns the type that it has then."""
    if old is None:
        _alter(con, source, f"add column {identifier(column.name)} {wanted[column.name]}", where)
        return Change(column.name, "added", None, wanted[column.name])
    came = wanted[column.name]
    is_declared = source.declared(column.name) is not None
    to = came if is_declared else common_type(old.type, came)
    wanted[column.name] = to
    if to == old.type:
        return Change(old.name, "narrower", old.type, came) if came != to else None
    if to in WIDER.get(old.type, ()):
        _alter(con, source, f"alter column {identifier(old.name)} set data type {to}", where)
        return Change(old.name, "widened", old.type, to)
    kept = _not_castable(con, source, old, to)
    if kept is not None:
        if is_declared:
            held = f"{kept!r} as {old.type}"
            if source.personal:  # what is not of the type may be another column's value
                held = f"values of the type {old.type} that are none"
            raise BatchRefusedError(
                f"column {old.name!r} cannot become {to}: the table holds {held}",
                where=where,
                next_step="declare a type in sources.yml that holds it, such as varchar",
            )
        to = wanted[column.name] = TEXT
    _retype(con, source, old, to)
    is_wider = common_type(old.type, to) == to
    return Change(old.name, "widened" if is_wider else "retyped", old.type, to)


def _alter(con: duckdb.DuckDBPyConnection, source: Source, action: str, where: str) -> None:
    try:
        con.execute(f"alter table {table_name(source)} {action}")
    except (duckdb.InvalidInputException, duckdb.NotImplementedException) as error:
        raise _not_held(error, where) from None


def _not_held(error: duckdb.Error, where: str) -> BatchRefusedError:
    return BatchRefusedError(
        f"the lake cannot hold these columns: {str(error).splitlines()[0]}",
        where=where,
        next_step="change the column's type in the file, or declare it as varchar",
    )


def common_type(old: str, new: str) -> str:
    """The narrowest type that holds the values of both types; text where there is no other."""
    if new == old or old in WIDER.get(new, ()):
        return old
    if new in WIDER.get(old, ()):
        return new
    if {old, new} <= set(MOMENTS):
        return "TIMESTAMP_NS" if "TIMESTAMP_NS" in (old, new) else "TIMESTAMP"
    if {old, new} <= INTEGERS:
        wide = INTEGERS - INTEGER_DIGITS.keys()
        small = all(INTEGER_DIGITS.get(t, 38) <= INTEGER_DIGITS["UINTEGER"] for t in (old, new))
        return "BIGINT" if small and not {old, new} & wide else "HUGEINT"
    if all(t in INTEGERS or t in INEXACT or DECIMAL.fullmatch(t) for t in (old, new)):
        return "DOUBLE" if {old, new} & set(INEXACT) else _common_decimal(old, new)
    return TEXT


def _common_decimal(old: str, new: str) -> str:
    whole, scale = 0, 0
    for type_name in (old, new):
        match = DECIMAL.fullmatch(type_name)
        digits, decimals = (
            (int(match[1]), int(match[2])) if match else (INTEGER_DIGITS.get(type_name, 39), 0)
        )
        whole, scale = max(whole, digits - decimals), max(scale, decimals)
    return f"DECIMAL({whole + scale},{scale})" if whole + scale <= WIDEST_DECIMAL else TEXT


def fitted(name: str, of: str, to: str) -> tuple[str, str]:
    """SQL for the column `name` of type `of` as `to`, and SQL that this would change its value."""
    value = identifier(name)
    if of == to:
        return value, "false"
    if to == TEXT:
        return _as_text(value, of), "false"
    if of == TEXT:
        cast = strict_cast(value, to)
        return cast, f"({value} is not null and {cast} is null)"
    cast = f"try_cast({value} as {to})"
    back = f"try_cast({cast} as {of})"
    return cast, f"({value} is not null and {back} is distinct from {value})"


def _as_text(value: str, of: str) -> str:
    """SQL for the value as text: the same number is the same text, whatever type it had."""
    if _is_nested(of):
        return f"to_json({value})::varchar"
    if of in INEXACT:
        whole = f"{value} = trunc({value}) and abs({value}) < {EXACT_IN_DOUBLE}"
        return f"case when {whole} then {value}::bigint::varchar else {value}::varchar end"
    if DECIMAL.fullmatch(of) and not of.endswith(",0)"):
        return f"rtrim(rtrim({value}::varchar, '0'), '.')"
    return f"{value}::varchar"


def _is_nested(type_name: str) -> bool:
    return type_name.startswith(("STRUCT", "MAP")) or type_name.endswith("]")


def _not_castable(
    con: duckdb.DuckDBPyConnection, source: Source, old: Column, to: str
) -> str | None:
    """A value of the table's column that is not the same as `to`; None when all are."""
    _, changes = fitted(old.name, old.type, to)
    row = con.execute(
        f"select {identifier(old.name)}::varchar from {table_name(source)} where {changes} limit 1"
    ).fetchone()
    return row[0] if row else None


def _retype(con: duckdb.DuckDBPyConnection, source: Source, old: Column, to: str) -> None:
    """Write the column again as another type; DuckLake widens only some types in place."""
    table, name = table_name(source), identifier(old.name)
    cast, _ = fitted(old.name, old.type, to)
    con.execute(f'alter table {table} add column "_retyped" {to}')
    con.execute(f'update {table} set "_retyped" = {cast}')
    con.execute(f"alter table {table} drop column {name}")
    con.execute(f'alter table {table} rename column "_retyped" to {name}')


def _create(
    con: duckdb.DuckDBPyConnection, source: Source, columns: list[Column], where: str
) -> None:
    listed = ", ".join(f"{identifier(c.name)} {c.type}" for c in [*columns, *PROVENANCE])
    try:
        con.execute(f"create schema if not exists lake.{identifier(source.schema_name)}")
        con.execute(f"create table {table_name(source)} ({listed})")
    except duckdb.Error as error:
        raise _not_held(error, where) from None


def _check_frozen(
    con: duckdb.DuckDBPyConnection,
    source: Source,
    table: dict[str, Column],
    columns: list[Column],
    wanted: dict[str, str],
    where: str,
) -> None:
    shown = showable([column.name for column in columns], source)
    for number, column in enumerate(columns, 1):
        old = table.get(column.name.lower())
        if old is None:
            name = repr(column.name) if column.name in shown else f"{number}"
            problem = f"column {name} is not in the table"
            example = _example(con, column.name, "true", is_hidden=bool(source.personal))
            raise _frozen(problem + example, where)
        if wanted[column.name] != old.type:
            _, changes = fitted(column.name, column.type, old.type)
            problem = f"column {column.name!r} is {wanted[column.name]}, not {old.type}"
            examples = (
                _example(con, column.name, test, is_hidden=bool(source.personal))
                for test in (changes, "true")
            )
            raise _frozen(problem + next(filter(None, examples), ""), where)
    here = {column.name.lower() for column in columns}
    for name, old in table.items():
        if name not in here:
            raise _frozen(f"column {old.name!r} ({old.type}) is missing", where)


def _example(con: duckdb.DuckDBPyConnection, name: str, test: str, *, is_hidden: bool) -> str:
    """The first row with a value in the column for which `test` holds, in words."""
    value = identifier(name)
    row = con.execute(
        f"select _source_row, {value}::varchar from incoming"
        f" where {value} is not null and {test} order by _source_row limit 1"
    ).fetchone()
    if row and is_hidden:  # another column of the source is personal, and values may be shifted
        return f"; row {row[0]} is the first with such a value"
    return f"; row {row[0]} has {row[1]!r}" if row else ""


def _frozen(problem: str, where: str) -> BatchRefusedError:
    return BatchRefusedError(
        f"the schema is frozen and {problem}",
        where=where,
        next_step="ask the sender for a corrected file, or set `schema: evolve` in sources.yml"
        " if it is meant so",
    )


def _as_declared(source: Source, column: Column, to: str) -> tuple[str, str]:
    """As `fitted`, but a number that counts since 1970 becomes the time that it is."""
    declared = source.declared(column.name)
    if declared is None or declared.format not in EPOCHS or not is_number(column.type):
        return fitted(column.name, column.type, to)
    value = identifier(column.name)
    cast = epoch_cast(f"{value}::varchar", declared.format)
    return cast, f"({value} is not null and {cast} is null)"


def _fit(
    con: duckdb.DuckDBPyConnection, source: Source, columns: list[Column], wanted: dict[str, str]
) -> None:
    """Cast `incoming` to the wanted types where they differ; what would change a value fails."""
    casts, tests = [], []
    for column in columns:
        if wanted[column.name] == column.type:
            continue
        cast, changes = _as_declared(source, column, wanted[column.name])
        casts.append(f"{cast} as {identifier(column.name)}")
        tests.append(f"case when {changes} then {quoted(column.name)} end")
    if not casts:
        return
    con.execute(
        f"create or replace temp table incoming_fitted as select * replace ({', '.join(casts)},"
        f" coalesce(_failed, nullif(concat_ws(', ', {', '.join(tests)}), '')) as _failed)"
        " from incoming"
    )
    drop_incoming(con)
    con.execute("create temp view incoming as from incoming_fitted")
