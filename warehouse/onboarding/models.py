"""The dbt models of a new dataset: a staging view and the mart that is published."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from warehouse.duck import identifier
from warehouse.inference.result import Inferred, InferredColumn
from warehouse.onboarding.names import column_names, is_bare, sql_name
from warehouse.onboarding.yaml_text import Inline, InlineMapping, dumped
from warehouse.sources import known_type

JINJA = re.compile(r"\{[{%#]")
SIMPLE_TYPE = re.compile(r"[A-Z0-9_ ]+(\(\d+, ?\d+\))?(\[\d*\])*")
LONGEST_LINE = 80
NOBODY: Mapping[str, str] = MappingProxyType({})
LOADED_AT = "When the row entered the lake, UTC."


@dataclass(frozen=True)
class Column:
    """A column of the models: the name it gets, and what was seen of it.

    `personal` is why its values are likely a person's own; empty if they are not.
    """

    name: str
    type: str
    seen: InferredColumn
    personal: str = ""

    @property
    def shown_type(self) -> str:
        """The DuckDB type as YAML shows it: in lower case, unless names are part of it."""
        return self.type.lower() if SIMPLE_TYPE.fullmatch(self.type) else self.type


@dataclass(frozen=True)
class Dataset:
    """What is known of the dataset `<source>.<name>` before anything of it is written.

    `written_at` is when the newest of its files was written, UTC.
    """

    source: str
    name: str
    inferred: Inferred
    columns: tuple[Column, ...]
    written_at: datetime

    @property
    def full_name(self) -> str:
        """The name in sources.yml."""
        return f"{self.source}.{self.name}"

    @property
    def staging(self) -> str:
        """The name of the staging model."""
        return f"stg_{self.source}__{self.name}"

    @property
    def mart(self) -> str:
        """The name of the mart: a fact has a time at which it happened."""
        kind = "fct" if self.inferred.event_time else "dim"
        return f"{kind}_{self.source}_{self.name}"

    @property
    def key(self) -> list[Column]:
        """The key's columns, in its order."""
        by_original = {column.seen.name: column for column in self.columns}
        return [by_original[name] for name in self.inferred.key]

    @property
    def event_time(self) -> Column | None:
        """The column that says when it happened."""
        return next((c for c in self.columns if c.seen.name == self.inferred.event_time), None)

    @property
    def grain(self) -> str:
        """What one row is."""
        if not self.inferred.key:
            return f"One row per record of {self.full_name}"
        return f"One row per {' and '.join(column.name for column in self.key)}"


def dataset(
    name: str,
    inferred: Inferred,
    written_at: datetime,
    personal: Mapping[str, str] = NOBODY,
) -> Dataset:
    """The dataset under our column names; `written_at` is when its newest file was, UTC.

    `personal` has the reasons for which columns, by their own names, are marked as personal.
    """
    source, own_name = name.split(".")
    names = column_names(column.name for column in inferred.columns)
    columns = tuple(
        Column(names[c.name], known_type(c.type), c, personal.get(c.name, ""))
        for c in inferred.columns
    )
    return Dataset(source, own_name, inferred, columns, written_at)


def source_table(data: Dataset) -> dict[str, Any]:
    """The table's entry in dbt's sources."""
    description = f"{data.full_name} as the lake holds it, with the source's own column names."
    return {"name": data.name, "description": description}


def source_entry(data: Dataset) -> dict[str, Any]:
    """dbt's source with this one table."""
    return {
        "name": data.source,
        "description": f"The data of {data.source}, as the lake holds them.",
        "database": "lake",
        "schema": f"raw_{data.source}",
        "tables": [source_table(data)],
    }


def staging_sql(data: Dataset) -> str:
    """A view on the lake's table with our column names; values and types pass through."""
    lines = [*(_renamed(column) for column in data.columns), "_loaded_at"]
    is_quoted = any('"' in line or "{{" in line for line in lines)
    is_long = any(len(line) + 9 > LONGEST_LINE for line in lines)
    rules = ",".join(["RF04", "RF06", "AL09"] * is_quoted + ["LT05"] * is_long)
    waiver = f"-- noqa: disable={rules}\n" if rules else ""
    select = ",\n        ".join(lines)
    return f"""-- {data.grain[0].lower()}{data.grain[1:]}, as the lake holds it
{waiver}with source as (

    select * from {{{{ source('{data.source}', '{data.name}') }}}}

),

renamed as (

    select
        {select}
    from source

)

select * from renamed
"""


def _renamed(column: Column) -> str:
    if column.seen.name == column.name:
        return sql_name(column.name)
    return f"{_rendered(identifier(column.seen.name))} as {sql_name(column.name)}"


def _rendered(text: str) -> str:
    """Text that comes out of Jinja as it is."""
    return f"{{{{ {text!r} }}}}" if JINJA.search(text) else text


def staging_yaml(data: Dataset) -> str:
    """The staging model's columns, with dbt's tests of the key."""
    model: dict[str, Any] = {
        "name": data.staging,
        "description": f"{data.grain} in the lake, under snake_case names.",
    }
    if len(data.key) > 1:
        key = ", ".join(sql_name(column.name) for column in data.key)
        model["data_tests"] = [{"unique": {"arguments": {"column_name": f"({key})"}}}]
    model["columns"] = [
        *({**_described(column), **_tests(column, data)} for column in data.columns),
        {"name": "_loaded_at", "description": LOADED_AT, "data_tests": Inline(["not_null"])},
    ]
    return _model_file(model)


def _tests(column: Column, data: Dataset) -> dict[str, Any]:
    if column not in data.key:
        return {}
    return {"data_tests": Inline(["unique", "not_null"] if len(data.key) == 1 else ["not_null"])}


def mart_sql(data: Dataset) -> str:
    """The published table: the staging model's rows, under the contract of its YAML."""
    return f"""-- {data.grain[0].lower()}{data.grain[1:]}
with staged as (

    select * from {{{{ ref('{data.staging}') }}}}

)

select * from staged
"""


def mart_yaml(data: Dataset) -> str:
    """The mart's contract: every column with its type."""
    columns = [
        *(_described(column, data_type=column.shown_type) for column in data.columns),
        {"name": "_loaded_at", "data_type": "timestamp", "description": LOADED_AT},
    ]
    return _model_file({"name": data.mart, "description": f"{data.grain}.", "columns": columns})


def _model_file(model: dict[str, Any]) -> str:
    return f"version: 2\n\n{dumped({'models': [model]})}"


def _described(column: Column, **more: Any) -> dict[str, Any]:
    described: dict[str, Any] = {"name": _rendered(column.name)}
    if not is_bare(column.name):
        described["quote"] = True
    described |= more | {"description": _rendered(description(column))}
    if column.personal:
        described["config"] = {"meta": InlineMapping(personal=True)}
    return described


def description(column: Column) -> str:
    """What was seen of the column, in a sentence; no text of the data is repeated."""
    seen = column.seen
    parts = [f'Original column "{seen.name}"']
    is_text = column.type == "VARCHAR" or column.shown_type != column.type.lower()
    if not is_text and seen.minimum is not None and seen.maximum is not None:
        parts.append(f"first seen from {seen.minimum} to {seen.maximum}")
    if seen.null_count:
        parts.append(f"{seen.null_count:,} empty at first")
    if column.personal:
        parts.append(f"marked as personal: {column.personal}")
    return "; ".join(parts) + "."
