"""Releases without a pipeline: a build file from SQL, and its release.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from warehouse.releases import Release, publish
from warehouse.settings import Settings

ORDERS = (
    "create table marts.fct_orders as"
    " select * from (values (1, 2.50::decimal(9,2)), (2, null)) t (id, amount)",
    "create table features.feat_orders as select range as id,"
    " timestamp '2026-01-01' + to_days(range::integer) as ordered_at from range(10)",
)


def numbered(number: int) -> str:
    """A release's id; the larger the number, the newer."""
    return f"20260101T{number:012}"


A, B, C = map(numbered, (1, 2, 3))


def make_build(settings: Settings, name: str, *statements: str) -> Path:
    """A build folder whose database the statements made."""
    place = settings.builds / name
    place.mkdir(parents=True)
    with duckdb.connect(str(settings.database(place))) as con:
        for schema in ("marts", "features", "meta"):
            con.execute(f"create schema {schema}")
        for statement in statements:
            con.execute(statement)
    return place


def release(name: str, **changes: Any) -> Release:
    """A release.json that passed."""
    content: dict[str, Any] = {
        "id": name,
        "created_at": "2026-01-01T00:00:00+00:00",
        "run_id": "a run",
        "base": None,
        "lake_snapshot": 1,
        "verdict": "pass",
        "project": "p",
        "code": {"feat_orders": "c"},
        "rules": {},
        "lake": "l",
        "tables": {"features.feat_orders": 10},
        "features": {"feat_orders": {"event_time": "ordered_at"}},
        "gate": {},
    }
    return Release(**content | changes)


def put_out(settings: Settings, *names: str, statements: tuple[str, ...] = ORDERS) -> list[Release]:
    """Publish a release for each name, one after the other."""
    found = [release(name) for name in names]
    for made in found:
        publish(settings, make_build(settings, made.id, *statements), made)
    return found
