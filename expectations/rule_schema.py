"""The JSON schema of a rule file, for editors: which keys go with which check, and what they say.

Made from the tables that reading a rule file goes by, so that the two cannot disagree on a name.
`python -m expectations.rule_schema` writes it anew.
"""

from __future__ import annotations

import json
from typing import Any

from expectations.rule_files import FOLDER
from expectations.rules import (
    CHECKS,
    COMMON_KEYS,
    FILE_KEYS,
    LEARNED,
    MAX_AGE,
    MEASURES,
    PUBLISHED,
    RAW_CHECKS,
    SEVERITIES,
    WHOLE_BOUNDS,
    Check,
    keys_of,
)

FILE = FOLDER / "schema.json"
Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
TABLE = rf"^(({'|'.join(PUBLISHED)})|raw_[^.]*)\.[^.]*$"
# As YAML writes days and times; editors read them as text.
MOMENT = r"^\d{4}-\d{1,2}-\d{1,2}([Tt ].*)?$"

_TEXT: Schema = {"type": "string", "pattern": r"\S"}
_NAME: Schema = {"type": ["string", "number"]}
_NAMES: Schema = {"type": "array", "items": _NAME, "minItems": 1}
_SHARE: Schema = {"type": "number", "maximum": 1}
_SHARE_OR_NONE: Schema = {"anyOf": [_SHARE | {"minimum": 0}, {"type": "null"}]}
_NUMBER_OR_TIME: Schema = {
    "anyOf": [{"type": "number"}, {"type": "string", "pattern": MOMENT}, {"type": "null"}]
}
_SQL_TOO: Schema = {"type": ["number", "string", "null"]}
_FROM_0: Schema = {"type": ["number", "null"], "minimum": 0}
_WHOLE: Schema = {"type": ["integer", "null"], "minimum": 0}

# What each key may hold, and what an editor says of it. `min` and `max` depend on the check.
KEYS: dict[str, Schema] = {
    "table": {
        "type": "string",
        "pattern": TABLE,
        "description": "What the rules speak of: marts.x, features.x, or raw_<source>.<dataset>.",
    },
    "owner": _TEXT | {"description": "Who answers for the table."},
    "id": _TEXT | {"description": "The rule's own name, once in the whole project."},
    "check": {"enum": list(CHECKS), "description": "What is checked."},
    "severity": {
        "enum": list(SEVERITIES),
        "description": "critical: a break stops the release, or sends the arriving row to the"
        " quarantine. warning: it is published or loaded, and told; info: it is shown alone.",
    },
    "reason": _TEXT | {"description": "Why it must be so; people read it when the rule is broken."},
    "column": _TEXT | {"description": "The column that the rule speaks of."},
    "columns": _NAMES | {"description": "The columns that the rule speaks of, together."},
    "values": {
        "type": "array",
        "items": {"type": ["string", "number", "boolean"]},
        "minItems": 1,
        "description": "All values that the column may have. A null keeps the rule.",
    },
    "strict_min": {"type": "boolean", "description": "More than `min`, not `min` itself."},
    "strict_max": {"type": "boolean", "description": "Less than `max`, not `max` itself."},
    "pattern": {
        "type": "string",
        "minLength": 1,
        "description": "A regular expression (RE2) that all of the text must match.",
    },
    "mostly": _SHARE
    | {
        "exclusiveMinimum": 0,
        "description": "The least share of rows that must keep the rule; 1 when left out.",
    },
    "tolerance": _SHARE_OR_NONE
    | {
        "description": "The share of a file's rows that may break the rule; when more do, the"
        " whole file is refused. The source's tolerance when left out.",
    },
    "references_table": _TEXT
    | {"description": "The table that must have such a row; raw_x.y is of the lake."},
    "references_columns": _NAMES
    | {"description": "The other table's columns, where they have other names."},
    "expression": _TEXT
    | {"description": "SQL: of a row a condition that must be true, else an aggregate."},
    "equals": _TEXT | {"description": "SQL: the aggregate over `equals_table`."},
    "equals_table": _TEXT
    | {
        "description": "The table whose total, or row count, must be equal; raw_x.y is of the lake."
    },
    "max_age": {
        "type": "string",
        "pattern": f"^{MAX_AGE.pattern}$",
        "description": "How old the newest value may be by the clock, such as `36 hours`; as old as"
        " is usual when left out.",
    },
    "by": _TEXT
    | {
        "description": "The column by whose days the table is compared with its past; else by runs."
    },
    "measure": {
        "enum": list(MEASURES),
        "description": "How distributions are compared: population stability index,"
        " Kolmogorov–Smirnov distance, or Jensen–Shannon distance.",
    },
    "reference_table": _TEXT
    | {"description": "A published table to compare with, instead of the past."},
    "false_alarm_rate": _SHARE
    | {
        "exclusiveMinimum": 0,
        "description": "How often what is as it should be may be called unlike before; 0.01"
        " when left out.",
    },
    "ordered": {"type": "boolean", "description": "Whether the columns' order counts too."},
}
BOUNDS = {"min": "The least that it may be.", "max": "The most that it may be."}
# The `columns` of the check of that name.
TYPES: Schema = {
    "type": "object",
    "minProperties": 1,
    "description": "Every column of the table with its DuckDB type.",
}
# Keys that a check cannot do without, where it may have them.
NEEDED = frozenset(
    {"expression", "equals", "values", "pattern", "references_table", "equals_table"}
)
CHECK_TEXTS = {
    "not_null": "None of the columns is null.",
    "unique": "No two rows have the same values; rows with a null among them are left out.",
    "between": "The value is within; a bound is a number, a date, a time (UTC) or SQL of the row.",
    "in_set": "The value is one of a list.",
    "length": "The text has so many characters.",
    "regex": "All of the text matches a regular expression.",
    "references": "The other table has such a row.",
    "expression": "SQL that must be true for each row; unknown is not.",
    "row_count": "The table has so many rows, or as many as another.",
    "distinct_count": "There are so many different values.",
    "aggregate": "The value of SQL over the whole table, such as avg(amount), is within.",
    "freshness": "The newest value is not too old, by the clock.",
    "total": "A total of this table equals one of another.",
    "columns": "The table has exactly these columns, of these types.",
    "volume": "There are as many rows as usual.",
    "null_share": "No larger share is null than the bound, or than usual.",
    "drift": "The values are spread as usual, or as in the reference table.",
    "anomaly": "Nothing that a profile measures is unlike before: the number of rows, and"
    " all columns unless some are named.",
}


def schema() -> Schema:
    """The JSON schema (draft 2020-12) of a rule file."""
    file = {key: KEYS[key] for key in FILE_KEYS if key != "rules"}
    return {
        "$schema": DIALECT,
        "title": "Clearwater's rules of one table",
        "type": "object",
        "properties": file | {"rules": {"description": "What must be true of the table."}},
        "required": list(FILE_KEYS),
        "additionalProperties": False,
        "if": {"properties": {"table": {"type": "string", "pattern": "^raw_"}}},
        "then": {"properties": {"rules": _rules("raw", RAW_CHECKS)}},
        "else": {"properties": {"rules": _rules("published", CHECKS)}},
        "$defs": {
            "raw": {check: _rule(check, is_raw=True) for check in RAW_CHECKS},
            "published": {check: _rule(check, is_raw=False) for check in CHECKS},
        },
    }


def text() -> str:
    """The schema as the project keeps it."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _rules(boundary: str, checks: tuple[Check, ...]) -> Schema:
    """A list of rules, each after the schema of its check."""
    chosen = [
        {
            "if": {"properties": {"check": {"const": check}}, "required": ["check"]},
            "then": {"$ref": f"#/$defs/{boundary}/{check}"},
        }
        for check in checks
    ]
    return {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "properties": {"check": KEYS["check"] | {"enum": list(checks)}},
            "required": list(COMMON_KEYS),
            "allOf": chosen,
        },
    }


def _rule(check: Check, *, is_raw: bool) -> Schema:
    """A rule of this check: its own keys and those of every rule."""
    keys = keys_of(check, is_raw=is_raw)
    own = {key: _value(check, key) for key in keys}
    common = {key: KEYS[key] for key in COMMON_KEYS} | {"check": {"const": check}}
    described: Schema = {
        "type": "object",
        "description": CHECK_TEXTS[check],
        "properties": common | own,
        "required": [*COMMON_KEYS, *_needed(check, keys)],
        "additionalProperties": False,
    }
    choices = _choices(check, keys)
    return described | ({"allOf": choices} if choices else {})


def _value(check: str, key: str) -> Schema:
    """What the key may hold in a rule of this check."""
    if key == "columns" and check == key:
        return TYPES
    if key in BOUNDS:
        kinds = _WHOLE if check in WHOLE_BOUNDS else _NUMBER_OR_TIME
        kinds = {"null_share": _SHARE_OR_NONE, "drift": _FROM_0}.get(check, kinds)
        return (_SQL_TOO if check == "between" else kinds) | {"description": BOUNDS[key]}
    return KEYS[key]


def _needed(check: str, keys: list[str]) -> list[str]:
    """The check's own keys without which it says nothing."""
    found = [key for key in keys if key in NEEDED and not (key == "equals_table" and "max" in keys)]
    if check == "columns" or ("column" in keys and "columns" not in keys):
        found.append("columns" if check == "columns" else "column")
    return found


def _choices(check: str, keys: list[str]) -> list[Schema]:
    """The keys of which a rule needs one."""
    groups = []
    if "column" in keys and "columns" in keys:
        groups.append(["column", "columns"])
    if "max" in keys and check not in LEARNED:
        groups.append([key for key in ("min", "max", "equals_table") if key in keys])
    return [{"anyOf": [_given(key) for key in group]} for group in groups]


def _given(key: str) -> Schema:
    """That the key is there and not empty; an empty bound is none."""
    return {"required": [key], "properties": {key: {"not": {"type": "null"}}}}


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
