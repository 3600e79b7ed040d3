"""The JSON schema of rule files: it allows and refuses what reading them does."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from expectations import rule_schema
from expectations.rule_files import FOLDER, load_rules
from expectations.rules import CHECK_KEYS, CHECKS, LEARNED, RAW_CHECKS
from warehouse.errors import ConfigurationError

SCHEMA = rule_schema.schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
# A right rule of each check, without what every rule has.
RIGHT: dict[str, dict[str, Any]] = {
    "not_null": {"columns": ["a", "b"]},
    "unique": {"column": "a"},
    "between": {"column": "a", "min": 0, "max": "b + interval 1 day", "strict_min": True},
    "in_set": {"column": "a", "values": ["x", 1]},
    "length": {"column": "a", "min": 1},
    "regex": {"column": "a", "pattern": "[a-z]+"},
    "references": {"column": "a", "references_table": "marts.t", "references_columns": ["b"]},
    "expression": {"expression": "a > b"},
    "row_count": {"equals_table": "marts.t"},
    "distinct_count": {"column": "a", "max": 5},
    "aggregate": {"expression": "max(a)", "max": date(2026, 1, 1)},
    "freshness": {"column": "a", "max_age": "36 hours"},
    "total": {"expression": "sum(a)", "equals": "sum(b)", "equals_table": "marts.t"},
    "columns": {"columns": {"a": "bigint"}, "ordered": True},
    "volume": {"false_alarm_rate": 0.01},
    "null_share": {"column": "a", "max": 0.1},
    "drift": {"columns": ["a", "b"], "measure": "psi"},
    "anomaly": {},
}
# What they may have besides in a published table.
PUBLISHED = {
    "volume": {"by": "day"},
    "null_share": {"by": "day"},
    "drift": {"reference_table": "marts.t"},
    "anomaly": {"by": "day", "columns": ["a"]},
}
COMMON = {"id": "r", "severity": "critical", "reason": "because"}
GONE = object()
WRONG: list[tuple[str, dict[str, Any]]] = [
    *((check, {"colunm": "a"}) for check in CHECKS),
    *((check, {"severity": "warn"}) for check in CHECKS),
    *((check, {key: GONE}) for check in CHECKS for key in ("id", "severity", "reason", "check")),
    *(
        (check, {"column": GONE, "columns": GONE})
        for check in CHECKS
        if {"column", "columns"} & set(RIGHT[check])
    ),
    ("not_null", {"columns": []}),
    ("not_null", {"columns": "a"}),
    ("not_null", {"mostly": 0}),
    ("not_null", {"mostly": 1.5}),
    ("not_null", {"mostly": True}),
    ("not_null", {"id": 5}),
    ("not_null", {"reason": " "}),
    ("between", {"column": ["a"]}),
    ("between", {"min": GONE, "max": GONE}),
    ("between", {"min": None, "max": None}),
    ("between", {"min": [0]}),
    ("between", {"min": True}),
    ("between", {"strict_min": 1}),
    ("in_set", {"values": "x"}),
    ("in_set", {"values": []}),
    ("in_set", {"values": ["x", None]}),
    ("in_set", {"values": [["x"]]}),
    ("not_null", {"columns": [True]}),
    ("null_share", {"max": 5}),
    ("length", {"min": 0.5}),
    ("length", {"min": -1}),
    ("drift", {"max": -1}),
    ("drift", {"max": date(2020, 1, 1)}),
    ("length", {"min": "1"}),
    ("regex", {"pattern": GONE}),
    ("regex", {"pattern": ""}),
    ("references", {"references_table": GONE}),
    ("references", {"references_columns": []}),
    ("expression", {"expression": GONE}),
    ("expression", {"expression": 1}),
    ("row_count", {"equals_table": GONE}),
    ("row_count", {"equals_table": GONE, "min": 1.5}),
    ("distinct_count", {"max": GONE}),
    ("aggregate", {"max": GONE}),
    ("aggregate", {"max": "soon"}),
    ("freshness", {"max_age": "soon"}),
    ("freshness", {"max_age": "36"}),
    ("volume", {"column": "a"}),
    ("volume", {"false_alarm_rate": 2}),
    ("volume", {"false_alarm_rate": 0}),
    ("volume", {"by": 1}),
    ("null_share", {"max": "few"}),
    ("drift", {"measure": "psy"}),
    ("drift", {"reference_table": " "}),
    ("anomaly", {"columns": []}),
    ("total", {"equals": GONE}),
    ("total", {"equals_table": GONE}),
    ("columns", {"columns": ["a"]}),
    ("columns", {"columns": {}}),
    ("columns", {"ordered": "yes"}),
]


def file_of(check: str, /, table: str = "marts.t", **changed: Any) -> dict[str, Any]:
    rule = {"check": check} | COMMON | RIGHT[check] | changed
    kept = {key: value for key, value in rule.items() if value is not GONE}
    return {"table": table, "owner": "me", "rules": [kept]}


def is_read(content: dict[str, Any], folder: Path) -> bool:
    path = folder / "rules" / "marts" / "t.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))
    try:
        load_rules(folder / "rules")
    except ConfigurationError:
        return False
    return True


def as_editors_see(value: Any) -> Any:
    """Days and times are text to them."""
    if isinstance(value, dict):
        return {key: as_editors_see(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_editors_see(inner) for inner in value]
    return value.isoformat() if isinstance(value, date) else value


def is_valid(content: dict[str, Any]) -> bool:
    return VALIDATOR.is_valid(as_editors_see(content))


def test_schema_is_one_and_the_file_is_up_to_date() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert rule_schema.FILE.read_text(encoding="utf-8") == rule_schema.text(), (
        "run python -m expectations.rule_schema"
    )


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*/*.yml")), ids=lambda file: file.stem)
def test_shipped_rules_are_valid_and_name_their_schema(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not list(VALIDATOR.iter_errors(as_editors_see(yaml.safe_load(text))))
    schema = text.splitlines()[0].partition("$schema=")[2]
    assert (file.parent / schema).resolve() == rule_schema.FILE


@pytest.mark.parametrize("check", CHECKS)
def test_right_rules_are_right_to_both(check: str, tmp_path: Path) -> None:
    assert is_read(file_of(check), tmp_path)
    assert is_valid(file_of(check))


@pytest.mark.parametrize("check", PUBLISHED)
def test_days_and_references_are_of_published_tables(check: str, tmp_path: Path) -> None:
    more = PUBLISHED[check]
    assert is_read(file_of(check, **more), tmp_path)
    assert is_valid(file_of(check, **more))
    assert not is_read(file_of(check, table="raw_shop.orders", **more), tmp_path)
    assert not is_valid(file_of(check, table="raw_shop.orders", **more))


@pytest.mark.parametrize(("check", "changed"), WRONG)
def test_wrong_rules_are_wrong_to_both(check: str, changed: dict[str, Any], tmp_path: Path) -> None:
    assert not is_read(file_of(check, **changed), tmp_path)
    assert not is_valid(file_of(check, **changed))


@pytest.mark.parametrize("check", CHECKS)
def test_raw_rules_are_on_single_rows_or_files(check: str, tmp_path: Path) -> None:
    content = file_of(check, table="raw_shop.orders")
    assert is_valid(content) == is_read(content, tmp_path) == (check in RAW_CHECKS)
    is_of_rows = check in RAW_CHECKS and check not in LEARNED
    with_tolerance = file_of(check, table="raw_shop.orders", tolerance=0.1)
    assert is_valid(with_tolerance) == is_read(with_tolerance, tmp_path) == is_of_rows
    with_share = file_of(check, table="raw_shop.orders", mostly=0.9)
    assert not is_valid(with_share)
    assert not is_read(with_share, tmp_path)
    beyond = file_of(check, table="raw_shop.orders", tolerance=1.1)
    assert not is_valid(beyond)
    assert not is_read(beyond, tmp_path)


@pytest.mark.parametrize("key", ["table", "owner", "rules"])
def test_the_files_own_keys_are_needed(key: str, tmp_path: Path) -> None:
    content = {name: value for name, value in file_of("unique").items() if name != key}
    assert not is_read(content, tmp_path)
    assert not is_valid(content)


@pytest.mark.parametrize("table", ["t", "mart.t", "marts.t.x", "staging.t"])
def test_tables_are_published_or_of_the_lake(table: str, tmp_path: Path) -> None:
    assert not is_read(file_of("unique", table=table), tmp_path)
    assert not is_valid(file_of("unique", table=table))


def test_every_key_and_check_says_what_it_is() -> None:
    for check in CHECKS:
        rule = SCHEMA["$defs"]["published"][check]
        assert rule["description"]
        assert all(rule["properties"][key]["description"] for key in CHECK_KEYS[check])
