"""A project of two domains: the payments, which are the main one, and a shop's orders."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import yaml
from handmade import write_csv
from works import MERGE, Works

from expectations import rule_files
from flows.pipeline import Run
from warehouse import dbt_runner, releases
from warehouse.build import build, finish
from warehouse.releases import Release
from warehouse.settings import PROJECT

ORDERS: dict[str, Any] = {
    "name": "shop.orders",
    "path": "orders*.csv",
    "columns": {"id": "bigint", "amount": "bigint"},
    "key": ["id"],
    "write": "merge",
}
SOURCES = """\
sources:
  - name: shop
    database: lake
    schema: raw_shop
    tables: [name: orders]
"""
MODEL = """\
select
    id,
    amount
from {{ source('shop', 'orders') }}
"""
CONTRACT = """\
models:
  - name: fct_orders
    columns:
      - {name: id, data_type: bigint, constraints: [type: not_null]}
      - {name: amount, data_type: bigint}
"""
RULES = """\
table: marts.fct_orders
owner: shop
rules:
  - id: fct_orders_id_unique
    check: unique
    column: id
    severity: critical
    reason: one row per order
  - id: fct_orders_amount_not_negative
    check: between
    column: amount
    min: 0
    severity: critical
    reason: a negative amount is a return
  - id: fct_orders_amount_small
    check: between
    column: amount
    max: 999
    severity: warning
    reason: nobody buys so much
"""
FACT = "marts.fct_orders"


def write_project(folder: Path, *, independent: Sequence[str] = ("shop",)) -> None:
    """The project with a shop in the place of the retailer; the rules in its folder `rules`."""
    for name in dbt_runner.PROJECT_FILES:
        if (PROJECT / name).is_dir():
            shutil.copytree(PROJECT / name, folder / name)
        elif (PROJECT / name).exists():
            folder.mkdir(exist_ok=True)
            shutil.copy(PROJECT / name, folder / name)
    for layer in ("staging", "marts"):
        shutil.rmtree(folder / "models" / layer / "retail")
    shutil.copytree(rule_files.FOLDER, folder / "rules")
    for file in (folder / "rules" / "marts").glob("*_retail_*.yml"):
        file.unlink()
    declare(folder, *independent)
    for layer, name, text in (
        ("staging", "_shop__sources.yml", SOURCES),
        ("marts", "fct_orders.sql", MODEL),
        ("marts", "fct_orders.yml", CONTRACT),
    ):
        place = folder / "models" / layer / "shop"
        place.mkdir(exist_ok=True)
        (place / name).write_text(text)
    (folder / "rules" / "marts" / "fct_orders.yml").write_text(RULES)


def declare(project: Path, *independent: str) -> None:
    """Declare these domains independent, and no others."""
    file = project / "dbt_project.yml"
    content = yaml.safe_load(file.read_text())
    content["vars"]["independent_domains"] = list(independent)
    for layer in ("staging", "marts"):
        content["models"]["clearwater"][layer].pop("retail", None)
    file.write_text(yaml.safe_dump(content))


class TwoDomains(Works):
    """A home with payments and orders."""

    def order(self, orders: dict[int, int], name: str) -> None:
        """A file of orders, amounts by id."""
        rows = [{"id": number, "amount": amount} for number, amount in orders.items()]
        write_csv(self.folder / f"orders_{name}.csv", rows)

    def run(self, *stages: str, **asked: Any) -> Run:
        return super().run(*stages, **{"entries": (MERGE, ORDERS)} | asked)

    def release(self) -> Release:
        found = releases.current(self.settings)
        assert found is not None
        return found

    def stale(self) -> list[str]:
        """The tables of the release that differ from a full build at their line's snapshot."""
        found = []
        for name, line in self.release().lines.items():
            if line.release is None:
                continue
            assert line.lake_snapshot is not None
            made = build(self.settings, None, line.lake_snapshot, full=True)
            finish(self.settings, made)
            with closing(duckdb.connect()) as con:
                con.execute(f"attach '{self.settings.current}/warehouse.duckdb' as a (read_only)")
                con.execute(f"attach '{self.settings.database(made.folder)}' as b (read_only)")
                wanted = {t for t, domain in made.domains.items() if domain == name}
                assert set(line.tables) == wanted
                found += [table for table in line.tables if _differs(con, table)]
            shutil.rmtree(made.folder)
        return found


def _differs(con: duckdb.DuckDBPyConnection, table: str) -> bool:
    a, b = (f"(select columns(c -> c <> '_loaded_at') from {x}.{table})" for x in "ab")
    row = con.execute(
        f"select count(*) from (({a} except all {b}) union all ({b} except all {a}))"
    ).fetchone()
    return row != (0,)
