"""Queries: one SELECT on the data, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from released import ORDERS, A, B, make_build, put_out, release
from shop import Shop

from warehouse.errors import QueryError, ReleaseError
from warehouse.lake import catalog_snapshot
from warehouse.query import open_lake, open_release, run_query
from warehouse.releases import publish
from warehouse.settings import Settings


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(tmp_path_factory.mktemp("home"), threads=2, memory_limit="1GiB")
    put_out(settings, A)
    return settings


def answer(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    with open_release(settings) as con:
        return run_query(con, sql).fetchall()


@pytest.mark.parametrize(
    "sql",
    [
        "select 1",
        "select 1;",
        "-- why\nselect /* ; */ ';'",
        "values (1)",
        "from fct_orders",
        "select * from marts.fct_orders",
        "select * from warehouse.marts.fct_orders",
        "with o as (from fct_orders) select count(*) from o",
        "select * from fct_orders natural join feat_orders",
        "select (select max(id) from feat_orders)",
        "from range(3)",
        "select unnest([1, 2])",
        "show all tables",
        "describe fct_orders",
        "summarize fct_orders",
        "from duckdb_tables()",
        "from information_schema.columns",
    ],
)
def test_reading_the_data_is_allowed(home: Settings, sql: str) -> None:
    assert answer(home, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "",
        ";",
        "-- nothing",
        "select 1; select 2",
        "select 1; drop table marts.fct_orders",
        "insert into marts.fct_orders values (3, 1)",
        "delete from marts.fct_orders",
        "update marts.fct_orders set id = 1",
        "create table x as select 1",
        "create temp table x as select 1",
        "drop table marts.fct_orders",
        "copy marts.fct_orders to '{out}'",
        "copy (select 1) to '{out}'",
        "export database '{out}'",
        "attach '{out}'",
        "detach warehouse",
        "use memory",
        "set threads = 1",
        "set lock_configuration = false",
        "reset memory_limit",
        "pragma database_list",
        "pragma disable_progress_bar",
        "call pragma_version()",
        "install httpfs",
        "load httpfs",
        "checkpoint",
        "vacuum",
        "begin",
        "prepare p as select 1",
        "explain analyze select 1",
        "select getenv('HOME')",
        "select id, GETENV('HOME') from fct_orders",
        "select * from '{secret}'",
        'select * from "{secret}"',
        "from read_csv('{secret}')",
        "from READ_CSV_AUTO('{secret}')",
        "from main.read_text('{secret}')",
        "from read_blob(['{secret}'])",
        "from read_parquet('{secret}')",
        "from read_json('{secret}')",
        "from glob('/*')",
        "from sniff_csv('{secret}')",
        "from parquet_metadata('{secret}')",
        "select (select count(*) from read_text('{secret}'))",
        "select 1 where exists (from read_text('{secret}'))",
        "with x as (from read_text('{secret}')) select 1",
        "select 1 union all select count(*) from read_text('{secret}')",
        "select * from fct_orders, lateral (from read_text('{secret}'))",
        "from query('select 1')",
        "from query_table('fct_orders')",
        "from duckdb_settings()",
        "from duckdb_secrets()",
        "from sqlite_scan('{secret}', 'x')",
        "from json_execute_serialized_sql('')",
    ],
)
def test_all_else_is_refused(home: Settings, tmp_path: Path, sql: str) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("word\nhunter2\n")
    text = sql.format(out=tmp_path / "out", secret=secret)
    with pytest.raises(QueryError) as caught:
        answer(home, text)
    assert caught.value.next_step
    assert "hunter2" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [secret]


def test_file_in_the_working_folder_is_no_table(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.csv").write_text("word\nhunter2\n")
    monkeypatch.chdir(tmp_path)
    for name in ("secret.csv", "*.csv", "./secret.csv"):
        with pytest.raises(QueryError):
            answer(home, f"from '{name}'")


def test_variable_of_the_caller_is_no_table(home: Settings) -> None:
    frame = [("hunter2",)]
    with pytest.raises(QueryError):
        answer(home, "from frame")
    assert frame


@pytest.mark.parametrize("sql", ["select", "selec 1", "select * from nothing", "select 1/'x'"])
def test_mistake_in_sql_is_one_message(home: Settings, sql: str) -> None:
    with pytest.raises(QueryError) as caught:
        answer(home, sql)
    assert caught.value.exit_code == 1


def test_times_are_utc(home: Settings) -> None:
    zone = answer(home, "select extract(timezone from timestamptz '2026-07-01 12:00:00+02')")
    assert zone == [(0,)]


def test_large_query_spills_below_the_home(home: Settings) -> None:
    settings = Settings(home.home, threads=2, memory_limit="60MiB")
    sorted_rows = "select row_number() over (order by hash(range)) from range(2000000)"
    assert answer(settings, f"select count(*) from ({sorted_rows})") == [(2_000_000,)]


def test_older_release_is_queried_by_name(settings: Settings) -> None:
    put_out(settings, A)
    put_out(settings, B, statements=("create table marts.fct_orders as select 7 as id",))
    with open_release(settings, A) as con:
        assert run_query(con, "select count(*) from fct_orders").fetchone() == (2,)
    assert answer(settings, "from fct_orders") == [(7,)]


def test_unknown_release_names_the_known(home: Settings) -> None:
    with pytest.raises(ReleaseError, match=r"'z'.*\n.*a"), open_release(home, "z"):
        pass


def test_lake_is_read_with_its_own_functions(shop: Shop) -> None:
    shop.send("id,amount\n1,2\n")
    newest = catalog_snapshot(shop.settings)
    with open_lake(shop.settings) as con:
        for sql in (
            "select count(*) from raw_shop.orders",
            "from meta.batches",
            "from meta.sources",
            f"from ducklake_table_changes('lake', 'raw_shop', 'orders', {newest}, {newest})",
            "from lake.snapshots()",
        ):
            assert run_query(con, sql, on_lake=True).fetchall()


@pytest.mark.parametrize(
    "sql",
    [
        "delete from lake.meta.batches",
        "call ducklake_expire_snapshots('lake')",
        "from ducklake_add_data_files('lake', 'orders', 'x')",
        "from '{data}'",
        "from read_parquet('{data}')",
        "from '/etc/passwd'",
        "from read_text('/etc/passwd')",
        "attach '/tmp/x.db'",
    ],
)
def test_lake_is_only_read(shop: Shop, sql: str) -> None:
    (shop.settings.lake_data / "a.parquet").parent.mkdir(exist_ok=True)
    with open_lake(shop.settings) as con, pytest.raises(QueryError):
        run_query(con, sql.format(data=shop.settings.lake_data / "a.parquet"), on_lake=True)


@pytest.fixture
def both(shop: Shop) -> Settings:
    """A home with a lake and a release."""
    shop.send("id,Amount\n1,2\n")
    tables = {"marts.fct_orders": 2, "features.feat_orders": 10}
    made = release(A, tables=tables)
    publish(shop.settings, make_build(shop.settings, made.id, *ORDERS), made)
    return shop.settings


@pytest.mark.parametrize(
    ("sql", "what", "next_step"),
    [
        (
            "from raw_shop.orders",
            "no table raw_shop.orders in the release",
            "in the lake: add --lake",
        ),
        ("from shop.orders", "no table shop.orders", "raw_shop.orders is in the lake: add --lake"),
        ("from meta.quarantine", "no table quarantine", "meta.quarantine is in the lake"),
        ("from lake.raw_shop.orders", "no database lake", "add --lake"),
        ("from raw_shop.order", "no table", "did you mean raw_shop.orders? Then add --lake."),
        ("from fct_ordres", "no table fct_ordres", "did you mean marts.fct_orders?"),
        ("from nothing", "no table nothing", 'clearwater query "select schema_name, table_name'),
        ("select amuont from fct_orders", "no column amuont", "did you mean amount?"),
        ("select o.AMUONT from fct_orders o", "no column AMUONT", "did you mean amount?"),
        ("select totl from (select id as total from fct_orders)", "no column", "mean total?"),
        ("select zzz from fct_orders", "no column zzz", "clearwater query 'describe TABLE'"),
        (
            "select o.ordered_at from fct_orders o, feat_orders f",
            'Table "o" does not have a column named "ordered_at"',
            "mend the query",
        ),
    ],
)
def test_wrong_name_is_told_the_right_one(
    both: Settings, sql: str, what: str, next_step: str
) -> None:
    with open_release(both) as con, pytest.raises(QueryError) as caught:
        run_query(con, sql, settings=both)
    assert what in caught.value.what
    assert next_step in caught.value.next_step


@pytest.mark.parametrize(
    ("sql", "what", "next_step"),
    [
        ("from fct_orders", "no table fct_orders in the lake", "in the release: leave out --lake"),
        ("from marts.fct_orders", "no table", "in the release: leave out --lake"),
        ("from orders", "no table orders", "did you mean raw_shop.orders?"),
        ("from nothing", "no table nothing", "clearwater query --lake"),
        ("select amuont from raw_shop.orders", "no column amuont", "did you mean Amount?"),
        (
            "select zzz from raw_shop.orders",
            "no column",
            "clearwater query --lake 'describe TABLE'",
        ),
    ],
)
def test_wrong_name_on_the_lake_is_told_the_right_one(
    both: Settings, sql: str, what: str, next_step: str
) -> None:
    with open_lake(both) as con, pytest.raises(QueryError) as caught:
        run_query(con, sql, on_lake=True, settings=both)
    assert what in caught.value.what
    assert next_step in caught.value.next_step


def test_wrong_name_is_told_without_a_lake_too(home: Settings) -> None:
    with open_release(home) as con, pytest.raises(QueryError, match="did you mean marts"):
        run_query(con, "from fct_order", settings=home)
