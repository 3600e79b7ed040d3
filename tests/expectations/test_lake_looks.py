"""Rules of a published table that look into the lake, as of the build's snapshot."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from made import made_rule

from expectations import lake_looks
from expectations.auditor import Auditor
from expectations.gate import TableScope, audit
from warehouse.lake import catalog_snapshot, writing
from warehouse.settings import Settings

TABLE = "marts.payments"
LAKE = "raw_shop.payments"


def rule(check, *, table=TABLE, **parts):
    return made_rule(check, table, **parts)


COUNT = rule("row_count", rule_id="count", equals_table=LAKE)
TOTAL = rule(
    "total",
    rule_id="total",
    expression="sum(cents)",
    equals='cast(sum(round("Amount" * 100)) as bigint)',
    equals_table=LAKE,
)
KNOWN = rule(
    "references",
    rule_id="known",
    columns=("id", "name"),
    references_table="raw_shop.customers",
    references_columns=("No", "name"),
)
LOOKS = [COUNT, TOTAL, KNOWN]
POSITIVE = rule("between", rule_id="positive", columns=("cents",), minimum=0)
OTHERS = rule("row_count", rule_id="others", table="marts.others", minimum=1)

LOADED = [(1, "Ann", 1.15), (2, "Bob", 10.07), (3, "Cid", 0.29)]


def built(rows=LOADED):
    values = ", ".join(f"({n}, '{name}', {round(amount * 100)})" for n, name, amount in rows)
    return (
        f"create or replace table {TABLE} as select * from (values {values}) as t(id, name, cents)",
        "create or replace table marts.others as select 1 as n",
    )


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A home whose lake has three payments, and their customers; not to be changed."""
    settings = Settings(tmp_path_factory.mktemp("loaded"), threads=2, memory_limit="500MiB")
    values = ", ".join(f"({n}, '{name}', {amount}::double)" for n, name, amount in LOADED)
    with writing(settings) as con:
        con.execute("create schema lake.raw_shop")
        con.execute(f'create table lake.{LAKE} as from (values {values}) as t(id, name, "Amount")')
        con.execute(
            f'create table lake.raw_shop.customers as select id as "No", name from lake.{LAKE}'
        )
    return settings


@pytest.fixture
def home(loaded, tmp_path):
    """A copy of it."""
    shutil.copytree(loaded.home, tmp_path / "home")
    return replace(loaded, home=tmp_path / "home")


def judged(settings, database, rules=(*LOOKS, POSITIVE, OTHERS), scopes=None, **base):
    if "lake_snapshot" not in base:
        base["lake_snapshot"] = catalog_snapshot(settings)
    result = audit(settings, database, scopes or {}, list(rules), **base)
    return {found.rule_id: found for found in result.results}


def statuses(found):
    return {name: result.status for name, result in found.items()}


ALL_PASS = dict.fromkeys(["count", "total", "known", "positive", "others"], "pass")


def test_what_is_as_in_the_lake_passes(loaded, build):
    assert statuses(judged(loaded, build(*built()))) == ALL_PASS


@pytest.mark.parametrize(
    ("rows", "broken"),
    [
        (LOADED[:2], {"count": "rows: 2, but 3 in raw_shop.payments", "total": "1122"}),
        ([*LOADED, (1, "Ann", 0)], {"count": "rows: 4, but 3 in raw_shop.payments"}),
        ([*LOADED[:2], (3, "Cid", 0.30)], {"total": "sum(cents): 1152, but 1151 in"}),
        ([*LOADED[:2], (3, "Ann", 0.29)], {"known": "1 row breaks it"}),
    ],
    ids=["lost", "twice", "stale", "orphan"],
)
def test_what_is_not_as_in_the_lake_is_told(loaded, build, rows, broken):
    found = judged(loaded, build(*built(rows)))
    assert statuses(found) == ALL_PASS | dict.fromkeys(broken, "fail")
    for name, told in broken.items():
        assert told in found[name].detail


def test_rows_that_break_several_rules_are_in_the_count_of_each(loaded, build):
    rows = [*LOADED, (1, "Zoe", -1), (9, "Ann", -1), (9, "Bob", 3)]
    found = judged(loaded, build(*built(rows)))
    assert (found["known"].unexpected_count, found["positive"].unexpected_count) == (3, 2)
    assert {row[:2] for row in found["known"].sample} == {("1", "Zoe"), ("9", "Ann"), ("9", "Bob")}
    assert statuses(found) == dict.fromkeys(ALL_PASS, "fail") | {"others": "pass"}


def test_what_arrived_after_the_build_is_not_seen(home, build):
    snapshot = catalog_snapshot(home)
    with writing(home) as con:
        con.execute(f"insert into lake.{LAKE} values (4, 'Dan', 5)")
        con.execute("delete from lake.raw_shop.customers")
        con.execute("create table lake.raw_shop.later as select 1 as id")
    database = build(*built())
    assert statuses(judged(home, database, lake_snapshot=snapshot)) == ALL_PASS
    now = dict.fromkeys(["count", "total", "known"], "fail")
    assert statuses(judged(home, database)) == ALL_PASS | now
    later = replace(COUNT, equals_table="raw_shop.later")
    assert judged(home, database, [later, OTHERS], lake_snapshot=snapshot)["count"].detail == (
        f"raw_shop.later is not in the lake at snapshot {snapshot}"
    )


def test_a_table_that_is_as_before_is_judged_anew_when_the_lake_is_not(home, build):
    """Incremental and full say the same, whichever side changed."""
    changed = "create or replace table intermediate.changed as select 1 as id where "
    scopes = {TABLE: TableScope(TABLE, changed="intermediate.changed", key="id")}
    rules = (*LOOKS, POSITIVE, OTHERS)
    before = judged(home, build(*built(), changed + "false"), rules)
    base = {"carried": before, "base_rule_hashes": {rule.id: rule.hash for rule in rules}}
    same = statuses(judged(home, build(changed + "false"), rules, scopes, **base))
    assert same == ALL_PASS | {"positive": "carried"}
    with writing(home) as con:
        con.execute(f"insert into lake.{LAKE} values (4, 'Dan', 5)")
        con.execute("delete from lake.raw_shop.customers where name = 'Bob'")
    for why in ("false", "true"):
        database = build(changed + why)
        narrow = judged(home, database, rules, scopes, **base)
        whole = judged(home, database, rules)
        assert statuses(whole) == ALL_PASS | dict.fromkeys(["count", "total", "known"], "fail")
        assert {name: narrow[name] for name in ("count", "total", "known")} == {
            name: whole[name] for name in ("count", "total", "known")
        }


def blind(found, told):
    """Whether rules that look into the lake were told as errors, with why; the others judged."""
    assert statuses(found) == ALL_PASS | dict.fromkeys(["count", "total", "known"], "error")
    assert all(told in found[name].detail for name in ("count", "total", "known")), found


def test_a_lake_that_is_not_there_passes_nothing(settings, build):
    blind(judged(settings, build(*built()), lake_snapshot=1), "cannot be read: there is no lake")


def test_a_snapshot_that_is_not_there_passes_nothing(loaded, build):
    blind(judged(loaded, build(*built()), lake_snapshot=99), "the lake cannot be read: ")
    told = "the lake cannot be read: nobody says which snapshot was built from"
    blind(judged(loaded, build(*built()), lake_snapshot=None), told)


def test_an_error_blocks_whatever_the_severity(loaded, build):
    mild = replace(COUNT, severity="info")
    result = audit(loaded, build(*built()), {}, [mild, OTHERS])
    assert result.verdict == "error"


def test_a_lost_file_of_the_lake_is_an_error_of_the_rules_that_read_it(home, build):
    with writing(home) as con:  # too many to be kept in the catalog
        con.execute(f"insert into lake.{LAKE} select i + 4, 'x', 1 from range(5000) as t(i)")
    for file in home.lake_data.rglob("*.parquet"):
        file.unlink()
    found = judged(home, build(*built()))
    assert (found["total"].status, found["positive"].status) == ("error", "pass")


def test_a_table_whose_rules_all_look_into_a_missing_lake_has_rules(settings, build):
    found = judged(settings, build(*built()), [COUNT, OTHERS], lake_snapshot=1)
    assert statuses(found) == {"count": "error", "others": "pass"}


def test_the_lake_is_opened_only_for_rules_that_look_into_it(loaded, build, monkeypatch):
    def attach(*_, **__):
        raise AssertionError("nobody asked for the lake")

    monkeypatch.setattr(lake_looks, "attach_lake", attach)
    assert set(statuses(judged(loaded, build(*built()), [POSITIVE, OTHERS])).values()) == {"pass"}


def test_values_of_personal_columns_stay_hidden(loaded, build):
    rows = [*LOADED[:2], (3, "Zoe", 0.29)]
    scope = TableScope(TABLE, key="id", personal=frozenset({"name"}))
    result = judged(loaded, build(*built(rows)), scopes={TABLE: scope})["known"]
    assert result.unexpected_count == 1
    assert "Zoe" not in json.dumps([result.detail, result.sample])


def test_a_process_of_its_own_says_the_same(loaded, build):
    asked = (loaded, build(*built(LOADED[:2])), {}, [*LOOKS, POSITIVE, OTHERS])
    snapshot = catalog_snapshot(loaded)
    auditor = Auditor()
    try:
        told = auditor.audit(*asked, lake_snapshot=snapshot)
    finally:
        auditor.close()
    assert told.results == audit(*asked, lake_snapshot=snapshot).results
    assert told.verdict == "block"
