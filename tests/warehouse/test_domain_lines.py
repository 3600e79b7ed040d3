"""Domains and their lines: what they are, and the tables that a release takes over from another."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from released import A, B, make_build, put_out, release
from shop import Shop

from warehouse.build import Build, finish
from warehouse.dbt_runner import Model, parse
from warehouse.domains import (
    MAIN,
    Line,
    check_reads,
    declared_domain,
    held_line,
    independent_domains,
    tables_now,
)
from warehouse.errors import BuildError, ConfigurationError, ReleaseError
from warehouse.lake import catalog_snapshot, changed_tables, lake_identity
from warehouse.maintenance import maintain
from warehouse.releases import current, publish, releases
from warehouse.settings import Settings

ORDERS, GOODS = "marts.fct_orders", "marts.dim_goods"
LINES = {
    MAIN: Line(B, "lake", 9, "pass", [GOODS]),
    "shop": Line(A, "lake", 5, "warn", [ORDERS, "marts.gone"], held="why"),
}


def model(relation: str, domain: str, *parents: str) -> Model:
    schema, _, name = relation.partition(".")
    return Model(
        name=name,
        schema=schema,
        file=f"models/{schema}/{name}.sql",
        materialized="table",
        code="c",
        domain=domain,
        sources=frozenset(),
        changed_rows=None,
        feature_set=None,
        parents=frozenset(parents),
    )


def project_file(folder: Path, text: str) -> Path:
    file = folder / "dbt_project.yml"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("file", "meta", "domain"),
    [
        ("models/marts/shop/fct_orders.sql", {}, "shop"),
        ("models/staging/shop/old/stg_orders.sql", {}, "shop"),
        ("models/features/shop/feat_orders.sql", {}, "shop"),
        ("models/marts/fct_orders.sql", {}, ""),
        ("models/other/shop/fct_orders.sql", {}, ""),
        ("models/marts/fct_orders.sql", {"domain": "shop"}, "shop"),
        ("models/marts/sales/fct_orders.sql", {"domain": "shop"}, "shop"),
    ],
)
def test_domain_is_the_folder_unless_meta_says(
    file: str, meta: dict[str, str], domain: str
) -> None:
    assert declared_domain(file, meta) == domain


@pytest.mark.parametrize(
    "text",
    [
        "name: p\nvars:\n  independent_domains: [shop]\n",
        "name: p\nvars:\n  p:\n    independent_domains: [shop]\n",
    ],
)
def test_independent_domains_are_a_variable_of_dbt(tmp_path: Path, text: str) -> None:
    assert independent_domains(project_file(tmp_path, text), {"shop", "crm"}) == {"shop"}


def test_no_declaration_is_one_line(tmp_path: Path) -> None:
    assert independent_domains(project_file(tmp_path, "name: p\n"), {"shop"}) == frozenset()


@pytest.mark.parametrize(
    ("value", "what", "step"),
    [
        ("[shpo]", "'shpo', and no model", "did you mean 'shop'"),
        ("[zzz]", "'zzz', and no model", "domains of models: crm, shop"),
        ("[main]", "which is all that is not independent", "another name"),
        ("shop", "not a list", "[a, b]"),
        ("[1]", "not a list", "[a, b]"),
    ],
)
def test_wrong_declaration_is_told(tmp_path: Path, value: str, what: str, step: str) -> None:
    file = project_file(tmp_path, f"name: p\nvars: {{independent_domains: {value}}}\n")
    with pytest.raises(ConfigurationError, match=what) as caught:
        independent_domains(file, {"shop", "crm"})
    assert caught.value.where == "dbt_project.yml"
    assert step in caught.value.next_step


def test_shipped_retailer_is_independent_of_the_payments(settings: Settings) -> None:
    domains = {m.name: m.domain for m in parse(settings).models.values()}
    retail = {name for name in domains if "retail" in name}
    assert {domains[name] for name in retail} == {"retail"}
    assert {domains[name] for name in domains.keys() - retail} == {MAIN}


def test_models_of_a_domain_read_their_own_alone() -> None:
    goods = model(GOODS, MAIN)
    orders = model(ORDERS, "shop", "staging.stg_orders", "raw_shop.orders")
    staging = model("staging.stg_orders", "shop")
    check_reads({m.name: m for m in (goods, orders, staging)})
    crossing = replace(orders, parents=frozenset({GOODS}))
    with pytest.raises(BuildError, match="reads dim_goods of 'main'") as caught:
        check_reads({m.name: m for m in (goods, crossing)})
    assert caught.value.where == "models/marts/fct_orders.sql"


def test_tables_belong_to_todays_domains() -> None:
    same = {ORDERS: "shop", GOODS: MAIN}
    assert tables_now(LINES, same) == {MAIN: [GOODS], "shop": [ORDERS, "marts.gone"]}
    swapped = {ORDERS: MAIN, GOODS: "shop"}
    assert tables_now(LINES, swapped) == {MAIN: [ORDERS], "shop": [GOODS, "marts.gone"]}
    undeclared = {ORDERS: MAIN, GOODS: MAIN}
    assert tables_now(LINES, undeclared) == {MAIN: [GOODS, ORDERS, "marts.gone"]}


def test_held_line_is_as_old_as_its_oldest_table() -> None:
    lines = list(LINES.values())
    assert held_line(lines, [GOODS], "bad") == Line(B, "lake", 9, "pass", [GOODS], "bad")
    both = held_line(lines, [GOODS, ORDERS], "bad")
    assert both == Line(A, "lake", 5, "warn", [GOODS, ORDERS], "bad")
    assert held_line(lines, [], "bad") == Line(None, held="bad")
    other = replace(lines[0], lake="another")
    assert held_line([other, lines[1]], [GOODS, ORDERS], "bad").lake == ""


def test_release_from_before_domains_is_one_line(settings: Settings) -> None:
    (made,) = put_out(settings, A)
    file = settings.releases / A / "release.json"
    content = json.loads(file.read_text())
    del content["domains"]
    file.write_text(json.dumps(content))
    assert releases(settings) == [made]
    assert made.lines == {MAIN: Line(A, "l", 1, "pass", ["features.feat_orders"])}
    assert made.is_whole
    assert made.line("features.feat_orders") == (MAIN, made.lines[MAIN])
    assert made.line(ORDERS) is None


def test_lines_are_read_as_they_were_written(settings: Settings) -> None:
    made = release(A, domains=LINES)
    publish(settings, make_build(settings, A), made)
    assert current(settings) == made
    file = settings.releases / A / "release.json"
    file.write_text(file.read_text().replace('"domains": {', '"domains": {"x": 1, '))
    with pytest.raises(ReleaseError, match="cannot be read: domain x: it is no JSON object"):
        current(settings)


MARKS = (
    "create table meta.watermarks"
    " (relation varchar primary key, since_snapshot bigint, lake_snapshot bigint not null)"
)


def test_held_tables_are_as_in_the_release_served(settings: Settings) -> None:
    (serving,) = put_out(
        settings,
        A,
        statements=(
            f"create table {ORDERS} (id bigint not null, amount bigint default 7, unique (id))",
            f"insert into {ORDERS} values (2, 1), (1, 1)",
            f"create index by_amount on {ORDERS} (amount)",
            f"create table {GOODS} as select 1 as id",
            'create table marts."Old one" as select 1 as id',
            MARKS,
            "insert into meta.watermarks values ('fct_orders', null, 5), ('dim_goods', null, 5)",
        ),
    )
    place = make_build(
        settings,
        B,
        f"create table {ORDERS} as select -1 as wrong",
        f"create table {GOODS} as select 2 as id",
        "create table marts.of_no_model as select 1 as id",
        "create view marts.new_orders as select 1 as id",
        MARKS,
        "insert into meta.watermarks values ('fct_orders', null, 9), ('dim_goods', null, 9),"
        " ('int_changed', 5, 9)",
    )
    models = [model(ORDERS, "shop"), model("marts.new_orders", "shop"), model(GOODS, MAIN)]
    built = made_of(place, models)
    held = {"shop": [ORDERS, "marts.Old one"]}
    assert finish(settings, built, held=held, serving=serving) == {
        GOODS: 1,
        ORDERS: 2,
        "marts.Old one": 1,
    }
    with duckdb.connect(str(settings.database(place))) as con:
        tables = con.execute(
            "select table_name from duckdb_tables() where schema_name = 'marts' order by 1"
        ).fetchall()
        assert tables == [("Old one",), ("dim_goods",), ("fct_orders",)]
        assert con.execute("from duckdb_views() where not internal").fetchall() == []
        assert con.execute(f"select id from {GOODS}").fetchall() == [(2,)]
        assert con.execute(f"from {ORDERS}").fetchall() == [(2, 1), (1, 1)]
        assert con.execute("select index_name from duckdb_indexes()").fetchall() == [("by_amount",)]
        with pytest.raises(duckdb.ConstraintException):
            con.execute(f"insert into {ORDERS} values (null, 1)")
        marks = con.execute("from meta.watermarks order by relation").fetchall()
        assert marks == [("dim_goods", None, 9), ("fct_orders", None, 5)]


def test_held_domain_without_tables_is_left_out(settings: Settings) -> None:
    place = make_build(
        settings,
        B,
        f"create table {ORDERS} as select -1 as wrong",
        f"create table {GOODS} as select 2 as id",
    )
    built = made_of(place, [model(ORDERS, "shop"), model(GOODS, MAIN)])
    assert finish(settings, built, held={"shop": []}) == {GOODS: 1}


def made_of(place: Path, models: list[Model]) -> Build:
    return Build(
        id=place.name,
        folder=place,
        base=None,
        lake_snapshot=9,
        project="p",
        models={m.name: m for m in models},
        fresh=frozenset(),
        left_out=frozenset(),
        incomplete=frozenset(),
        seconds={},
        domains={m.relation: m.domain for m in models},
    )


def test_changed_tables_are_those_between_two_snapshots(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n")
    before = catalog_snapshot(shop.settings)
    table = ("raw_shop", "orders")
    assert changed_tables(shop.settings, 0, before) >= {table}
    assert changed_tables(shop.settings, before, before) == set()
    shop.send("id,amount\n1,\n2,x\n", tolerance=0)  # refused: the ledger alone tells
    refused = catalog_snapshot(shop.settings)
    assert refused > before
    assert table not in changed_tables(shop.settings, before, refused)
    assert ("meta", "batches") in changed_tables(shop.settings, before, refused)


def test_snapshot_of_a_held_line_is_not_expired(shop: Shop) -> None:
    snapshots = []
    for number in range(4):
        shop.send(f"id,amount\n{number},1\n", f"orders{number}.csv")
        snapshots.append(catalog_snapshot(shop.settings))
    lake = lake_identity(shop.settings)
    domains = {
        MAIN: Line(A, lake, snapshots[3], "pass", []),
        "shop": Line(A, lake, snapshots[1], "pass", [], held="why"),
        "crm": Line(None, held="never passed"),
    }
    made = release(A, lake=lake, lake_snapshot=snapshots[3], domains=domains)
    publish(shop.settings, make_build(shop.settings, A), made)
    maintain(shop.settings, days=0)
    assert shop.orders(at=snapshots[1]) == [(0, 1.0), (1, 1.0)]
    with pytest.raises(duckdb.Error):
        shop.orders(at=snapshots[0])
