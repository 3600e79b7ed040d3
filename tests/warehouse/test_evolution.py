"""A table and batches whose columns are not quite its own."""

from __future__ import annotations

import pytest
from handmade import write_parquet
from shop import TABLE, Shop

from warehouse.ingest import SourceSummary
from warehouse.lake import catalog_snapshot, retypings

ANY = {"columns": {}, "key": []}


def types(shop: Shop) -> dict[str, str]:
    (rows,) = shop.ask(f"describe {TABLE}")
    return {row[0]: row[1] for row in rows if not row[0].startswith("_")}


def send(shop: Shop, sql: str, name: str, **changes: object) -> SourceSummary:
    write_parquet(shop.folder / name, sql)
    return shop.load(**ANY | changes)


def send_parquet(shop: Shop, sql: str, name: str, **changes: object) -> list[str]:
    return list(send(shop, sql, name, **changes).problems)


def test_new_column_is_added_and_null_before(shop: Shop) -> None:
    shop.send("id,amount\n1,2\n")
    shop.send("id,amount,note\n2,3,x\n")
    assert shop.orders() == [(1, 2.0, None), (2, 3.0, "x")]


def test_column_that_is_left_out_is_null(shop: Shop) -> None:
    shop.send("id,amount,note\n1,2,x\n")
    shop.send("amount,id\n3,2\n")
    assert shop.orders() == [(1, 2.0, "x"), (2, 3.0, None)]


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        ("integer", "bigint", "BIGINT"),
        ("bigint", "integer", "BIGINT"),
        ("float", "double", "DOUBLE"),
        ("utinyint", "uinteger", "UINTEGER"),
    ],
)
def test_types_widen(shop: Shop, old: str, new: str, kept: str) -> None:
    send_parquet(shop, f"select 1::{old} as id", "orders1.parquet")
    assert send_parquet(shop, f"select 100::{new} as id", "orders2.parquet") == []
    assert types(shop) == {"id": kept}
    assert shop.orders() == [(1,), (100,)]


def test_number_that_turns_to_text_and_back_loses_nothing(shop: Shop) -> None:
    send_parquet(shop, "select unnest([1, 9223372036854775807])::bigint as id", "orders1.parquet")
    (changed,) = send(shop, "select unnest(['2', 'A-3']) as id", "orders2.parquet").changes
    assert changed == "orders2.parquet: column id was BIGINT and is VARCHAR now"
    (kept,) = send(shop, "select 4::bigint as id", "orders3.parquet").changes
    assert kept == "orders3.parquet: column id came as BIGINT; the table keeps VARCHAR"
    assert shop.orders() == [("1",), ("2",), ("4",), ("9223372036854775807",), ("A-3",)]
    assert types(shop) == {"id": "VARCHAR"}


@pytest.mark.parametrize(
    ("old", "new", "kept"),
    [
        ("1::bigint", "2.5::double", "DOUBLE"),
        ("9007199254740993::bigint", "2.5::double", "VARCHAR"),
        ("1::bigint", "1.25::decimal(9,2)", "DECIMAL(21,2)"),
        ("1::ubigint", "-1::integer", "HUGEINT"),
        ("date '2026-01-31'", "timestamp '2026-01-31 12:00:00'", "TIMESTAMP"),
        ("true", "2", "VARCHAR"),
        ("{'a': 1}", "{'b': 'x'}", "VARCHAR"),
        ("[1, 2]", "7", "VARCHAR"),
    ],
)
def test_tables_type_becomes_one_that_holds_both(shop: Shop, old: str, new: str, kept: str) -> None:
    send_parquet(shop, f"select {old} as v", "orders1.parquet")
    assert send_parquet(shop, f"select {new} as v", "orders2.parquet") == []
    assert types(shop) == {"v": kept}
    assert len(shop.orders()) == 2
    assert shop.quarantine() == []


def test_declared_type_pins_the_column(shop: Shop) -> None:
    pinned = {"columns": {"id": "bigint"}}
    send_parquet(shop, "select 1::integer as id", "orders1.parquet", **pinned)
    sql = "select unnest(['2', '3', 'x', '4.5']) as id"
    assert send_parquet(shop, sql, "orders2.parquet", **pinned) == []
    assert shop.orders() == [(1,), (2,), (3,)]
    assert [row[:2] for row in shop.quarantine()] == [(3, "not_of_type"), (4, "not_of_type")]


def test_number_that_would_be_rounded_is_quarantined(shop: Shop) -> None:
    pinned = {"columns": {"id": "bigint"}}
    send_parquet(shop, "select 1::bigint as id", "orders1.parquet", **pinned)
    send_parquet(shop, "select unnest([2.0, 2.5])::double as id", "orders2.parquet", **pinned)
    assert shop.orders() == [(1,), (2,)]
    assert [row[0] for row in shop.quarantine()] == [2]


def test_column_declared_later_is_typed_where_all_its_values_fit(shop: Shop) -> None:
    shop.send("id,amount\n1,2\n", columns={}, key=[])
    assert shop.send("id,amount\n2,3.5\n", columns={"amount": "double"}, key=[]).changes
    assert shop.orders() == [("1", 2.0), ("2", 3.5)]
    (problem,) = shop.send("id,amount\n3,4\n", columns={"amount": "integer"}, key=[]).problems
    assert "column 'amount' cannot become INTEGER: the table holds '3.5' as DOUBLE" in problem
    assert shop.orders() == [("1", 2.0), ("2", 3.5)]


def test_changes_are_told_and_kept(shop: Shop) -> None:
    shop.send("id,amount\n1,2\n", columns={"id": "bigint"})
    changes = shop.send("id,total\n2,3\n", columns={"id": "bigint"}).changes
    assert changes == (
        "orders.csv: column total (VARCHAR) is new",
        "orders.csv: column amount (VARCHAR) is not in the file; its rows have null",
    )
    (kept,) = shop.ask("select column_name, change from lake.meta.schema_changes order by all")
    assert kept == [("amount", "missing"), ("total", "added")]


def test_name_in_another_case_is_the_same_column(shop: Shop) -> None:
    shop.send("id,Amount\n1,2\n", columns={"id": "bigint"})
    shop.send("id,AMOUNT\n2,3\n", columns={"id": "bigint"})
    assert shop.orders() == [(1, "2"), (2, "3")]


@pytest.mark.parametrize(
    ("header", "named"), [("id,amount,note", "note"), ("id", "amount"), ("id,total", "total")]
)
def test_frozen_schema_refuses_and_names_the_column(shop: Shop, header: str, named: str) -> None:
    frozen = {"schema": "freeze", "columns": {"id": "bigint"}}
    shop.send("id,amount\n1,2\n", **frozen)
    (problem,) = shop.send(f"{header}\n2,{'x,' * header.count(',')}\n"[:-2], **frozen).problems
    assert f"frozen and column '{named}'" in problem
    assert shop.orders() == [(1, "2")]


def test_frozen_schema_refuses_another_type(shop: Shop) -> None:
    send_parquet(shop, "select 1::integer as id", "orders1.parquet", schema="freeze")
    sql = "select 2::bigint as id"
    (problem,) = send_parquet(shop, sql, "orders2.parquet", schema="freeze")
    assert "column 'id' is BIGINT, not INTEGER; row 1 has '2'" in problem


def test_frozen_schema_refuses_a_value_and_shows_it(shop: Shop) -> None:
    frozen = {"schema": "freeze", "tolerance": 1}
    shop.send("id,amount\n1,2\n", **frozen)
    (problem,) = shop.send("id,amount\n2,3\n3,four\n", **frozen).problems
    assert "the schema is frozen; the first is row 2" in problem
    assert "amount ('four')" in problem
    assert shop.orders() == [(1, 2.0)]


def test_refused_batch_evolves_nothing(shop: Shop) -> None:
    shop.send("id,amount\n1,2\n")
    assert shop.send("id,amount,note\nx,y,z\n", tolerance=0).problems
    assert types(shop) == {"id": "BIGINT", "amount": "DOUBLE"}


def test_declared_column_that_comes_later_is_null_until_then(shop: Shop) -> None:
    declared = {"columns": {"id": "bigint", "discount": "double"}}
    (told,) = shop.send("id,amount\n1,2\n", **declared).changes
    assert told == "orders.csv: column discount (DOUBLE) is not in the file; its rows have null"
    shop.send("id,amount,discount\n2,3,0.5\n", **declared)
    (rows,) = shop.ask(f"select id, discount from {TABLE} order by id")
    assert rows == [(1, None), (2, 0.5)]


def test_renamed_column_is_refused(shop: Shop) -> None:
    shop.send("id,amount\n1,2\n")
    (problem,) = shop.send("id,amount_eur\n2,3\n").problems
    assert "declare 'amount_eur' beside it" in problem
    both = {"columns": {"id": "bigint", "amount": "double", "amount_eur": "double"}}
    assert not shop.send("id,amount_eur\n2,3\n", **both).problems
    assert not shop.send("id,amount\n3,4\n", **both).problems
    (rows,) = shop.ask(f"select id, coalesce(amount_eur, amount) from {TABLE} order by id")
    assert rows == [(1, 2.0), (2, 3.0), (3, 4.0)]


def test_file_that_is_no_table_is_told_what_it_has(shop: Shop) -> None:
    (problem,) = shop.send("<html>error</html>\n", columns={}, key=["id"]).problems
    assert "next: ask the sender for a file that has it" in problem
    assert problem.endswith("the columns of this one: <html>error</html>")


def test_declared_type_counts_whatever_the_names_case(shop: Shop) -> None:
    shop.send("ID,AMOUNT\n1,2\n")
    counts = shop.send("id,Amount\n2,x\n3,4\n").counts
    assert (counts.loaded, counts.quarantined) == (1, 1)
    assert shop.orders() == [(1, 2.0), (3, 4.0)]


def test_number_is_the_same_text_whatever_type_it_had(shop: Shop) -> None:
    keyed = {"key": ["id"]}
    send(shop, "select 1::bigint as id", "orders1.parquet", **keyed)
    send(shop, "select 2::double as id", "orders2.parquet", **keyed)
    send(shop, "select 'A' as id", "orders3.parquet", **keyed)
    for number, type_name in enumerate(("bigint", "double", "decimal(9, 2)"), 4):
        sql = f"select unnest([1, 2])::{type_name} as id, {number} as n"
        counts = send(shop, sql, f"orders{number}.parquet", **keyed | {"write": "merge"}).counts
        assert counts.rows_in == 2
    assert [row[0] for row in shop.orders()] == ["1", "2", "A"]


@pytest.mark.parametrize("write", ["append", "merge", "snapshot"])
def test_columns_may_have_the_lakes_own_names(shop: Shop, write: str) -> None:
    shop.send("id,amount\n1,1\n2,2\n", write=write)
    for value in "ab":
        text = f"id,amount,row_id,ROWID,end_snapshot\n2,2,{value},r,s\n3,3,c,r,s\n"
        assert shop.send(text, write=write).problems == ()
    kept = {row[0]: row[2:] for row in shop.orders()}
    assert kept[3] == ("c", "r", "s")
    assert kept[2] == ((None, None, None) if write == "append" else ("b", "r", "s"))
    assert (1 in kept) == (write != "snapshot")


def test_catalog_tells_when_a_column_was_written_again(shop: Shop) -> None:
    shop.send("id,amount\n1,1\n", columns={"id": "integer", "amount": "double"})
    first = catalog_snapshot(shop.settings)
    shop.send("id,amount\n2,2\n", columns={"id": "bigint", "amount": "double"})
    assert retypings(shop.settings, first, catalog_snapshot(shop.settings)) == {}
    shop.send("id,amount\n3,x\n", columns={"id": "bigint", "amount": "varchar"})
    last = catalog_snapshot(shop.settings)
    assert retypings(shop.settings, first, last) == {("raw_shop", "orders"): [last]}
    assert retypings(shop.settings, last, last) == {}


@pytest.mark.parametrize(
    ("form", "sql", "out_of_range"),
    [
        ("epoch", "1700000000::bigint", "1e300::double"),
        ("epoch", "1700000000.0::double", "9e15::double"),
        ("epoch_ms", "1700000000000::bigint", "9223372036854775807"),
        ("epoch_us", "1700000000000000::hugeint", "170000000000000000000000::hugeint"),
    ],
)
def test_number_that_counts_since_1970_is_the_declared_time(
    shop: Shop, form: str, sql: str, out_of_range: str
) -> None:
    at = {"at": {"type": "timestamp", "format": form}}
    rows = f"select 1 as id, {sql} as at union all select 2, {out_of_range}"
    write_parquet(shop.folder / "orders.parquet", rows)
    counts = shop.load(columns=at, key=[], tolerance=1).counts
    assert (counts.loaded, counts.quarantined) == (1, 1)
    [(_, moment)] = shop.orders()
    assert moment.isoformat() == "2023-11-14T22:13:20"
    assert shop.quarantine()[0][1:] == ("not_of_type", "not of the type of the column: at")
