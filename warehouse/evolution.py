"""How a source's table takes a batch whose columns are not quite the table's."""

from __future__ import annotations

import duckdb

from warehouse.duck import identifier
from warehouse.errors import BatchRefusedError
from warehouse.lake import PROVENANCE, table_columns, table_name
from warehouse.readers.contract import Column, drop_incoming
from warehouse.sources import Source

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


def evolve(
    con: duckdb.DuckDBPyConnection, source: Source, columns: list[Column], where: str
) -> None:
    """Make the table fit the batch: create it, add columns, widen types.

    `incoming`'s values are fitted to the table's types; a value that does not fit fails its row.
    Raises BatchRefusedError when the schema is frozen and differs.
    """
    table = table_columns(con, source)
    if not table:
        _create(con, source, columns, where)
        return
    if source.schema_policy == "freeze":
        _check_frozen(table, columns, where)
    known = {column.name.lower(): column for column in table}
    for column in columns:
        old = known.get(column.name.lower())
        if old is None:
            con.execute(
                f"alter table {table_name(source)} add column"
                f" {identifier(column.name)} {column.type}"
            )
        elif column.type in WIDER.get(old.type, ()):
            con.execute(
                f"alter table {table_name(source)} alter column"
                f" {identifier(old.name)} set data type {column.type}"
            )
            known[column.name.lower()] = Column(old.name, column.type)
    _fit(con, columns, known)


def _create(
    con: duckdb.DuckDBPyConnection, source: Source, columns: list[Column], where: str
) -> None:
    listed = ", ".join(f"{identifier(c.name)} {c.type}" for c in [*columns, *PROVENANCE])
    try:
        con.execute(f"create schema if not exists lake.{identifier(source.schema_name)}")
        con.execute(f"create table {table_name(source)} ({listed})")
    except duckdb.Error as error:
        raise BatchRefusedError(
            f"the lake cannot hold these columns: {str(error).splitlines()[0]}",
            where=where,
            next_step="change the column's type in the file, or declare it as varchar",
        ) from None


def _check_frozen(table: list[Column], columns: list[Column], where: str) -> None:
    old = {column.name: column.type for column in table}
    new = {column.name: column.type for column in columns}
    for name in [*new, *old]:
        if old.get(name) != new.get(name):
            raise BatchRefusedError(
                f"the schema is frozen and column {name!r} is {new.get(name, 'missing')},"
                f" not {old.get(name, 'there')}",
                where=where,
                next_step="mend the file, or set `schema: evolve` in sources.yml",
            )


def _fit(con: duckdb.DuckDBPyConnection, columns: list[Column], known: dict[str, Column]) -> None:
    """Cast `incoming` to the table's types where they differ; what would change a value fails."""
    differing = {
        column.name: known[column.name.lower()].type
        for column in columns
        if column.name.lower() in known and known[column.name.lower()].type != column.type
    }
    if not differing:
        return
    casts, tests = [], []
    for name, to in differing.items():
        text = identifier(name)
        casts.append(f"try_cast({text} as {to}) as {text}")
        source_type = next(column.type for column in columns if column.name == name)
        tests.append(
            f"case when {text} is not null and"
            f" try_cast(try_cast({text} as {to}) as {source_type}) is distinct from {text}"
            f" then '{name.replace(chr(39), chr(39) * 2)}' end"
        )
    con.execute(
        f"create or replace temp table incoming_fitted as select * replace ({', '.join(casts)},"
        f" coalesce(_failed, nullif(concat_ws(', ', {', '.join(tests)}), '')) as _failed)"
        " from incoming"
    )
    drop_incoming(con)
    con.execute("create temp view incoming as from incoming_fitted")
