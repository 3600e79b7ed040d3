"""A table and batches whose columns are not quite its own."""

from __future__ import annotations

import pytest
from handmade import write_parquet
from shop import TABLE, Shop

ANY = {"columns": {}, "key": []}


def types(shop: Shop) -> dict[str, str]:
    (rows,) = shop.ask(f"describe {TABLE}")
    return {row[0]: row[1] for row in rows if not row[0].startswith("_")}


def send_parquet(shop: Shop, sql: str, name: str, **changes: object) -> list[str]:
    write_parquet(shop.folder / name, sql)
    return list(shop.load(**ANY | changes).problems)


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


def test_value_that_does_not_fit_the_table_is_quarantined(shop: Shop) -> None:
    send_parquet(shop, "select 1::bigint as id", "orders1.parquet")
    sql = "select unnest(['2', '3', 'x', '4.5']) as id"
    send_parquet(shop, sql, "orders2.parquet")
    assert shop.orders() == [(1,), (2,), (3,)]
    assert [row[:2] for row in shop.quarantine()] == [(3, "not_of_type"), (4, "not_of_type")]


def test_number_that_would_be_rounded_is_quarantined(shop: Shop) -> None:
    send_parquet(shop, "select 1::bigint as id", "orders1.parquet")
    send_parquet(shop, "select unnest([2.0, 2.5])::double as id", "orders2.parquet")
    assert shop.orders() == [(1,), (2,)]
    assert [row[0] for row in shop.quarantine()] == [2]


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
    assert "column 'id' is BIGINT, not INTEGER" in problem


def test_refused_batch_evolves_nothing(shop: Shop) -> None:
    shop.send("id,amount\n1,2\n")
    assert shop.send("id,amount,note\nx,y,z\n", tolerance=0).problems
    assert types(shop) == {"id": "BIGINT", "amount": "DOUBLE"}
