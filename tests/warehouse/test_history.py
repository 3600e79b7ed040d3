"""The change feed of a table whose columns change between two snapshots."""

from __future__ import annotations

import shutil
from contextlib import closing
from datetime import date
from decimal import Decimal, InvalidOperation
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from handmade import write_parquet
from hypothesis import given
from hypothesis import strategies as st
from shop import TABLE, Connection, Shop

from warehouse import lake
from warehouse.duck import attach_lake
from warehouse.errors import LakeError
from warehouse.history import FEED, changes
from warehouse.lake import catalog_snapshot
from warehouse.settings import Settings

ROWS = [3, 30]  # kept in the catalog; and in a file


def send(shop: Shop, sql: str, name: str, **entry: Any) -> int:
    """Load one Parquet file of rows with an id; returns the snapshot that is the newest then."""
    write_parquet(shop.folder / f"orders{name}.parquet", sql)
    shop.load(**{"columns": {}} | entry)
    return catalog_snapshot(shop.settings)


def numbers(values: str, rows: int = 3) -> str:
    return f"select i as id, {values} as v from range({rows}) r(i)"


def feed(shop: Shop, start: int, end: int | None = None) -> list[dict[str, Any]]:
    with changes(
        shop.settings, "shop.orders", str(start), None if end is None else str(end)
    ) as con:
        names = [column[0] for column in con.description or []]
        return [dict(zip(names, row, strict=True)) for row in con.fetchall()]


def told(shop: Shop, start: int, end: int | None = None) -> list[tuple[Any, ...]]:
    """What changed, without the numbers of snapshots and rows."""
    kept = ("change_type", "id", "v")
    return [tuple(row[name] for name in kept) for row in feed(shop, start, end)]


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("i::bigint", "2.5::double", 0.0),
        ("i::bigint", "'x'", "0"),
        ("(i + 0.5)::double", "'x'", "0.5"),
        ("(i + 0.5)::decimal(9, 2)", "'x'", "0.5"),
        ("date '2026-01-31'", "'x'", "2026-01-31"),
    ],
)
def test_rows_from_before_a_retype_keep_their_values(
    shop: Shop, old: str, new: str, value: Any
) -> None:
    start = catalog_snapshot(shop.settings)
    send(shop, numbers(old), "1")
    send(shop, f"select 100 as id, {new} as v", "2")
    found = told(shop, start)
    assert [row[:2] for row in found] == [("insert", n) for n in (0, 1, 2, 100)]
    assert found[0][2] == value


@pytest.mark.parametrize("rows", ROWS)
def test_row_that_changes_with_the_retype_is_told_with_both_images(shop: Shop, rows: int) -> None:
    before = send(shop, numbers("i::bigint", rows), "1", write="merge")
    send(shop, "select 1 as id, 'one' as v", "2", write="merge")
    assert told(shop, before) == [("delete", 1, "1"), ("insert", 1, "one")]


@pytest.mark.parametrize("rows", ROWS)
def test_update_of_the_same_transaction_is_told_once(shop: Shop, rows: int) -> None:
    before = send(shop, numbers("i::bigint", rows), "1")
    with lake.writing(shop.settings) as con:
        con.execute("begin")
        con.execute(f"alter table {TABLE} add column w varchar")
        con.execute(f"update {TABLE} set w = v::varchar")
        con.execute(f"update {TABLE} set w = 'seven' where id = 1")
        con.execute(f"alter table {TABLE} drop column v")
        con.execute(f"alter table {TABLE} rename column w to v")
        con.execute("commit")
    assert sorted(told(shop, before)) == [
        ("update_postimage", 1, "seven"),
        ("update_preimage", 1, "1"),
    ]


def test_value_that_is_not_of_the_later_type_makes_the_column_text(shop: Shop) -> None:
    start = catalog_snapshot(shop.settings)
    send(shop, "select 1 as id, '2.50' as v union all select 2, 'x'", "1")
    middle = send(shop, "select 1 as id, '2.50' as v", "2", write="snapshot")
    typed = send(shop, "select 1 as id, 2.5 as v", "3", columns={"v": "double"})
    send(shop, "select 3 as id, 4.0 as v", "4", columns={"v": "double"})
    assert told(shop, start) == [
        ("insert", 1, "2.50"),
        ("insert", 2, "x"),
        ("delete", 2, "x"),
        ("insert", 3, "4"),
    ]
    assert told(shop, middle, typed) == []
    assert told(shop, middle) == [("insert", 3, 4.0)]


def test_columns_are_those_of_the_end(shop: Shop) -> None:
    start = catalog_snapshot(shop.settings)
    first = send(shop, numbers("i::integer"), "1")
    second = send(shop, "select 7 as id, 'x' as note, 8::bigint as v", "2")
    with lake.writing(shop.settings) as con:
        con.execute(f"alter table {TABLE} drop column note")
    own = ["_batch_id", "_source_file", "_source_row", "_loaded_at"]
    names = {n: [c for c in feed(shop, start, n)[0] if c not in own] for n in (first, second)}
    assert names[first] == [*FEED, "id", "v"]
    assert names[second] == [*FEED, "id", "v", "note"]
    assert [row.get("note", "gone") for row in feed(shop, start, second)] == [None] * 3 + ["x"]
    assert [row.get("note", "gone") for row in feed(shop, start)] == ["gone"] * 4


def test_nothing_in_between_is_an_empty_feed(shop: Shop) -> None:
    end = send(shop, numbers("i"), "1")
    assert feed(shop, end, end) == []


def test_column_with_a_name_of_the_feeds(shop: Shop) -> None:
    start = catalog_snapshot(shop.settings)
    send(shop, "select 1 as id, 2 as change_type", "1")
    (row,) = feed(shop, start)
    assert (row["change_type"], row["change_type_1"]) == ("insert", 2)
    send(shop, "select 2 as id, 2 as change_type, 3 as Snapshot_ID", "2")
    with pytest.raises(LakeError, match=r"shop\.orders: column 'Snapshot_ID' has the name of one"):
        feed(shop, start)


class Load(NamedTuple):
    """One file of the shop, and how it is loaded."""

    first: int
    rows: int
    values: str
    has_note: bool
    write: str
    declared: str | None

    @property
    def sql(self) -> str:
        note = ", i::varchar as note" if self.has_note else ""
        values, last = f"[{self.values}]", self.first + self.rows
        chosen = f"{values}[1 + i % len({values})] as v"
        return f"select i as id, {chosen}{note} from range({self.first}, {last}) r(i)"

    def into(self, shop: Shop, number: int) -> int:
        columns = {"v": self.declared} if self.declared else {}
        return send(shop, self.sql, str(number), columns=columns, write=self.write, tolerance=1)


VALUES = [
    "1::integer, 2, null",
    "1::bigint, 9007199254740993",
    "1::double, 2.5, null",
    "1.10::decimal(9, 2), 2.50",
    "'1', '2.50', null",
    "'x', '1', 'true'",
    "date '2026-01-31', date '2026-02-01'",
    "timestamp '2026-01-31 00:00:00', timestamp '2026-02-01 12:00:00'",
    "true, false",
]
LOAD = st.builds(
    Load,
    first=st.integers(0, 5),
    rows=st.sampled_from(ROWS),
    values=st.sampled_from(VALUES),
    has_note=st.booleans(),
    write=st.sampled_from(["append", "merge", "snapshot"]),
    # Not double, which sources.yml may ask for of text that has more digits than it holds.
    declared=st.sampled_from([None, None, "varchar", "decimal(18, 2)", "bigint"]),
)


@pytest.mark.slow
@given(loads=st.lists(LOAD, min_size=2, max_size=5), data=st.data())
def test_feed_leads_from_the_rows_of_one_snapshot_to_those_of_another(
    loads: list[Load], data: st.DataObject, empty_lake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lake, "connect", Connection)
    with TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        shutil.copytree(empty_lake, home)
        shop = Shop(Settings(home, 2, "1GiB"), Path(folder) / "shop")
        at = [load.into(shop, number) for number, load in enumerate(loads)]
        start = data.draw(st.sampled_from(at))
        end = data.draw(st.sampled_from([n for n in at if n >= start]))
        rows, wanted = standing(shop, start), standing(shop, end)
        names = {name for row in wanted.values() for name in row}
        rows = {row: {n: values.get(n) for n in names} for row, values in rows.items()}
        carry_out(feed(shop, start, end), rows, names)
        assert rows == wanted


def standing(shop: Shop, snapshot: int) -> dict[int, dict[str, Any]]:
    """The table's rows at a snapshot, by rowid, as plain values."""
    with closing(Connection()) as con:
        attach_lake(con, shop.settings, snapshot=snapshot)
        result = con.execute(f"select rowid, * from {TABLE}")
        names = [column[0] for column in result.description][1:]
        return {
            row[0]: dict(zip(names, map(plain, row[1:]), strict=True)) for row in result.fetchall()
        }


def carry_out(
    found: list[dict[str, Any]], rows: dict[int, dict[str, Any]], names: set[str]
) -> None:
    """Change the rows as the feed says, snapshot by snapshot; each of its lines must be true."""
    order = [(row["snapshot_id"], row["rowid"]) for row in found]
    assert order == sorted(order)
    for _, change in groupby(found, key=lambda row: row["snapshot_id"]):
        images = [(r["change_type"], r["rowid"], {n: plain(r[n]) for n in names}) for r in change]
        gone = {row: image for kind, row, image in images if kind in ("delete", "update_preimage")}
        come = {row: image for kind, row, image in images if kind in ("insert", "update_postimage")}
        assert len(gone) + len(come) == len(images)
        assert all(rows.pop(row) == image for row, image in gone.items())
        assert all(gone.get(row) != image for row, image in come.items())
        assert not rows.keys() & come.keys()
        rows |= come


def plain(value: Any) -> Any:
    """The value apart from its type: what a number, a date or a text of it has in common."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, date):
        return str(value).removesuffix(" 00:00:00")
    try:
        return value if value is None else Decimal(str(value)).normalize()
    except InvalidOperation:
        return str(value).removesuffix(" 00:00:00")
