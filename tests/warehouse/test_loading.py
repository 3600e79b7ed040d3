"""Loading: exactly once, and no row lost, changed or told twice."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from handmade import write_parquet
from hypothesis import given
from hypothesis import strategies as st
from shop import ORDERS, Connection, Shop

from warehouse import lake, loading
from warehouse.batch import Counts
from warehouse.readers import contract
from warehouse.settings import Settings

LEDGER = "select status, reason, rows_in, loaded, refused from lake.meta.batches order by loaded_at"
SNAPSHOT = "select max(snapshot_id) from lake.snapshots()"
TABLES = "select count(*) from duckdb_tables() where schema_name = 'raw_shop'"


def summed(counts: Counts) -> int:
    return counts.loaded + counts.quarantined + counts.already_known + counts.refused


def test_rows_carry_where_they_came_from(shop: Shop) -> None:
    shop.send("id,amount\n1,2.5\n2,3\n")
    rows, batches = shop.ask(
        "select id, _source_file, _source_row, _batch_id, _loaded_at from lake.raw_shop.orders"
        " order by id",
        "select batch_id, loaded_at from lake.meta.batches",
    )
    assert [row[:3] for row in rows] == [(1, "orders.csv", 1), (2, "orders.csv", 2)]
    assert {row[3:] for row in rows} == {batches[0]}


def test_again_changes_nothing(shop: Shop) -> None:
    shop.send("id,amount\n1,2.5\n2,x\n")
    before = shop.ask(SNAPSHOT, LEDGER, "from lake.meta.quarantine")
    again = shop.load()
    assert again.counts == Counts()
    assert shop.ask(SNAPSHOT, LEDGER, "from lake.meta.quarantine") == before


def test_row_that_came_before_is_already_known(shop: Shop) -> None:
    shop.send("id,amount\n1,2.5\n2,3\n")
    counts = shop.send("id,amount\n2,3\n3,4\n2,3\n").counts
    assert counts == Counts(rows_in=3, loaded=1, already_known=2)
    assert shop.orders() == [(1, 2.5), (2, 3.0), (3, 4.0)]


def test_append_keeps_the_first_row_of_a_key(shop: Shop) -> None:
    shop.send("id,amount\n1,2.5\n")
    counts = shop.send("id,amount\n1,99\n2,3\n2,4\n3,5\n").counts
    assert counts == Counts(rows_in=4, loaded=2, quarantined=2)
    assert shop.orders() == [(1, 2.5), (2, 3.0), (3, 5.0)]
    assert shop.quarantine() == [
        (1, "key_conflict", "the key is loaded with other values of amount"),
        (3, "key_conflict", "the key stands in row 2 with other values of amount"),
    ]


def test_file_whose_keys_stand_for_other_rows_is_refused_as_a_whole(shop: Shop) -> None:
    shop.send("id,amount\n1,2.5\n2,3\n")
    refused = "2 of 3 rows have a key that is loaded with other values.*write: merge"
    (problem,) = shop.send("id,amount\n1,99\n2,98\n3,5\n").problems
    assert re.search(refused, problem, re.DOTALL)
    assert shop.orders() == [(1, 2.5), (2, 3.0)]
    assert shop.quarantine() == []


def test_quarantined_row_is_kept_as_it_came(shop: Shop) -> None:
    shop.send('id,amount\n1,2.5\n2,"a ""b"",c"\n3\n4,5\n')
    (rows,) = shop.ask("select _source_row, source_file, raw from lake.meta.quarantine order by 1")
    assert [row[:2] for row in rows] == [(2, "orders.csv"), (3, "orders.csv")]
    assert json.loads(rows[0][2]) == {"id": "2", "amount": 'a "b",c'}
    assert rows[1][2] == "3"


def test_merge_takes_the_newer_row(shop: Shop) -> None:
    shop.send("id,amount\n1,2.5\n2,3\n", write="merge")
    counts = shop.send("id,amount\n1,99\n2,3\n3,4\n", write="merge").counts
    assert counts == Counts(rows_in=3, loaded=2, already_known=1)
    assert shop.orders() == [(1, 99.0), (2, 3.0), (3, 4.0)]


def test_merge_leaves_the_older_row_in_history(shop: Shop) -> None:
    shop.send("id,amount\n1,2.5\n", write="merge")
    [(before,)] = shop.ask(SNAPSHOT)[0]
    shop.send("id,amount\n1,99\n", write="merge")
    assert shop.orders(at=before) == [(1, 2.5)]


def test_merge_takes_the_last_row_of_a_file(shop: Shop) -> None:
    counts = shop.send("id,amount\n1,2.5\n1,3\n1,3\n", write="merge").counts
    assert counts == Counts(rows_in=3, loaded=1, quarantined=1, already_known=1)
    assert shop.orders() == [(1, 3.0)]
    assert shop.quarantine() == [
        (1, "superseded", "row 3 of the same file is newer, with other values of amount")
    ]


def test_null_key_is_quarantined(shop: Shop) -> None:
    shop.send("id,amount\n,1\n2,2\n")
    assert shop.quarantine() == [(1, "key_missing", "a key column is null or NaN: id")]


def test_key_of_two_columns_tells_rows_apart(shop: Shop) -> None:
    both = {"key": ["id", "line"], "columns": {"id": "bigint", "line": "bigint"}}
    counts = shop.send("id,line,amount\n1,1,a\n1,2,a\n1,1,b\n,1,a\n", **both).counts
    assert counts == Counts(rows_in=4, loaded=2, quarantined=2)
    counts = shop.send("id,line,amount\n1,1,a\n1,3,a\n2,1,a\n", **both).counts
    assert counts == Counts(rows_in=3, loaded=2, already_known=1)


def test_nulls_are_values_like_others(shop: Shop) -> None:
    shop.send("id,amount\n1,\n2,5\n")
    counts = shop.send("id,amount\n1,\n2,\n").counts
    assert (counts.already_known, counts.quarantined) == (1, 1)


def test_without_a_key_every_row_is_loaded(shop: Shop) -> None:
    assert shop.send("id,amount\n1,2\n1,2\n1,3\n", key=[]).counts.loaded == 3


def test_key_declared_after_rows_that_break_it(shop: Shop) -> None:
    shop.send("id,amount\n1,2\n1,3\n1,2\n", key=[])
    counts = shop.send("id,amount\n1,2\n1,4\n2,1\n").counts
    assert counts == Counts(rows_in=3, loaded=1, quarantined=1, already_known=1)
    assert len(shop.orders()) == 4


def test_merge_heals_rows_that_break_the_key(shop: Shop) -> None:
    shop.send("id,amount\n1,2\n1,3\n", key=[])
    assert shop.send("id,amount\n1,4\n", write="merge").counts == Counts(rows_in=1, loaded=1)
    assert shop.orders() == [(1, 4.0)]


def test_formats_may_stand_side_by_side(shop: Shop) -> None:
    write_parquet(shop.folder / "orders.parquet", "select 1::bigint as id, 2.5::double as amount")
    shop.put("id,amount\n1,2.5\n2,3\n", "orders2.csv")
    assert shop.load().counts == Counts(rows_in=3, loaded=2, already_known=1)


def test_suffix_that_tells_no_format_is_refused(shop: Shop) -> None:
    (problem,) = shop.send("id,amount\n1,2\n", "orders.txt").problems
    assert "format" in problem
    assert shop.load(format="csv").counts.loaded == 1


@pytest.mark.parametrize(("tolerance", "refused"), [(0.5, 0), (0.4, 2), (0, 2), (1, 0)])
def test_batch_over_tolerance_is_refused(shop: Shop, tolerance: float, refused: int) -> None:
    counts = shop.send("id,amount\n1,2\n2,x\n", tolerance=tolerance).counts
    assert counts.refused == refused
    assert summed(counts) == counts.rows_in == 2


def test_refused_batch_leaves_only_its_line(shop: Shop) -> None:
    summary = shop.send("id,amount\nx,y\n2\n3,4\n", tolerance=0.1)
    lines, tables, quarantine = shop.ask(LEDGER, TABLES, "from lake.meta.quarantine")
    assert "orders.csv: 2 of 3 rows cannot be loaded" in summary.problems[0]
    assert "the first is row 1" in summary.problems[0]
    assert [line[:1] + line[2:] for line in lines] == [("refused", 3, 0, 3)]
    assert (tables, quarantine) == ([(0,)], [])


def test_refused_batch_is_tried_again_while_its_file_stands(shop: Shop) -> None:
    shop.send("id,amount\nx,y\n", tolerance=0)
    before = shop.ask(SNAPSHOT, LEDGER)
    assert shop.load(tolerance=0).problems
    assert shop.ask(SNAPSHOT, LEDGER) == before
    assert shop.load(columns={}, tolerance=0).counts.loaded == 1
    assert [line[0] for line in shop.ask(LEDGER)[0]] == ["loaded"]


def test_refused_batch_rests_when_its_file_is_gone(shop: Shop) -> None:
    shop.send("id,amount\nx,y\n", tolerance=0)
    (shop.folder / "orders.csv").unlink()
    shop.put("id,amount\n1,2\n", "orders2.csv")
    summary = shop.load(tolerance=0)
    assert (summary.problems, summary.counts) == ((), Counts(rows_in=1, loaded=1))


def test_other_batches_and_sources_go_on(shop: Shop) -> None:
    shop.put("id,id\n", "orders1.csv")
    shop.put("id,amount\n1,2\n", "orders2.csv")
    shop.put("id\n7\n", "returns.csv")
    entries = (
        {"name": "shop.orders", "path": "orders*"},
        {"name": "shop.returns", "path": "returns.csv"},
        {"name": "shop.gone", "path": "gone.csv"},
    )
    found = shop.load_all(*entries)
    assert {name: summary.counts.loaded for name, summary in found.items()} == {
        "shop.orders": 1,
        "shop.returns": 1,
        "shop.gone": 0,
    }
    assert [len(summary.problems) for summary in found.values()] == [1, 0, 1]


def test_file_that_was_loaded_may_go(shop: Shop) -> None:
    shop.send("id,amount\n1,2\n")
    (shop.folder / "orders.csv").unlink()
    assert shop.load().problems == ()


def test_pattern_that_never_matched_is_a_problem(shop: Shop) -> None:
    (problem,) = shop.load().problems
    assert "no file matches" in problem


def test_file_that_breaks_half_way_is_refused(shop: Shop) -> None:
    sql = "select range as id, md5(range::varchar) as note from range(3000)"
    file = write_parquet(shop.folder / "orders.parquet", sql)
    content = bytearray(file.read_bytes())
    content[2000:4000] = bytes(2000)
    file.write_bytes(content)
    summary = shop.load(columns={})
    assert "orders.parquet" in summary.problems[0]
    assert [line[0] for line in shop.ask(LEDGER)[0]] == ["refused"]


def test_failure_half_way_leaves_nothing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.send("id,amount\n1,2\n")
    before = shop.ask(SNAPSHOT, LEDGER, TABLES)

    def full(*_: Any, **__: Any) -> None:
        raise duckdb.IOException("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(loading, "_write_ledger", full)
        with pytest.raises(duckdb.IOException):
            shop.send("id,amount\n2,x\n3,4\n")
    assert shop.ask(SNAPSHOT, LEDGER, TABLES) == before
    assert shop.load().counts == Counts(rows_in=2, loaded=1, quarantined=1)


def test_order_of_appends_does_not_matter(shop: Shop, tmp_path: Path) -> None:
    files = {f"orders{n}.csv": f"id,amount\n{n},2\n{n + 10},3\n" for n in range(3)}
    for name, text in files.items():
        shop.send(text, name)
    one_by_one = shop.orders()
    shutil.rmtree(shop.settings.home)
    for name in files:
        (shop.folder / name).unlink()
    for name, text in reversed(files.items()):
        shop.put(text, name)
    shop.load()
    assert shop.orders() == one_by_one


VALUE = st.sampled_from(["1", "2", "2.0", "", "x", "9" * 30])
LINE = st.one_of(
    st.tuples(st.sampled_from(["1", "2", "3", "", "y", "1.5"]), VALUE).map(",".join),
    st.sampled_from(["1", "1,2,3", '"1","2"', '2,"1\n"']),
)
FILE = st.lists(LINE, max_size=8).map(tuple)


@given(
    files=st.lists(FILE, min_size=1, max_size=3, unique=True),
    write=st.sampled_from(["append", "merge"]),
    tolerance=st.sampled_from([0.3, 1.0]),
)
def test_no_row_is_lost_or_counted_twice(
    files: list[tuple[str, ...]],
    write: str,
    tolerance: float,
    empty_lake: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lake, "connect", Connection)
    with TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        shutil.copytree(empty_lake, home)
        shop = Shop(Settings(home, 2, "1GiB"), Path(folder) / "shop")
        for n, lines in enumerate(files):
            shop.put("id,amount\n" + "".join(f"{line}\n" for line in lines), f"{n}.orders.csv")
        entry = {"path": "*.csv", "write": write, "tolerance": tolerance}
        counts = shop.load(**entry).counts
        assert summed(counts) == counts.rows_in == sum(map(len, files))
        before = assert_every_row_is_somewhere(shop, files)
        again = shop.load(**entry).counts
        assert again == Counts(rows_in=again.refused, refused=again.refused)
        assert shop.ask(SNAPSHOT) == [[(before,)]]


def assert_every_row_is_somewhere(shop: Shop, files: list[tuple[str, ...]]) -> int:
    """Each row of a loaded file is in the lake or its history, or quarantined, or equal to one.

    Returns the lake's snapshot.
    """
    [(snapshot,)], held, batches, tables = shop.ask(
        SNAPSHOT,
        "select source_file, _source_row from lake.meta.quarantine",
        "select source_file, loaded, quarantined, already_known from lake.meta.batches"
        " where status = 'loaded'",
        TABLES,
    )
    rows = shop.ask(INSERTED.format(snapshot))[0] if tables == [(1,)] else []
    for name, loaded, quarantined, known in batches:
        lines = files[int(name.partition(".")[0])]
        places = [n for file, n, *_ in rows if file == name], [n for f, n in held if f == name]
        assert tuple(map(len, places)) == (loaded, quarantined)
        rest = Counter(range(1, len(lines) + 1)) - Counter(places[0] + places[1])
        assert rest.total() == known
        assert {parsed(lines[n - 1]) for n in rest} <= {tuple(values) for _, _, *values in rows}
    return snapshot


INSERTED = (
    "select _source_file, _source_row, id, amount from ducklake_table_changes('lake', 'raw_shop',"
    " 'orders', 1, {}) where change_type in ('insert', 'update_postimage')"
)


def parsed(line: str) -> tuple[int, float | None]:
    ((number, amount),) = csv.reader([line])
    return int(float(number)), float(amount) if amount else None


def test_batch_that_needs_too_much_memory_is_refused_alone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.put("id,amount\n1,2\n", "orders1.csv")
    shop.put("id,amount\n2,3\n", "orders2.csv")
    load = loading._load

    def hungry(con: Any, settings: Settings, batch: Any, examiner: Any) -> Any:
        if batch.file == "orders1.csv":
            raise duckdb.OutOfMemoryException("Out of Memory Error")
        return load(con, settings, batch, examiner)

    monkeypatch.setattr(loading, "_load", hungry)
    (problem,) = shop.load().problems
    assert "more memory than DuckDB may use, 1GiB" in problem
    assert shop.orders() == [(2, 3.0)]


def test_key_that_is_not_a_number_is_missing(shop: Shop) -> None:
    write_parquet(shop.folder / "orders.parquet", "select 'nan'::double as id, 1 as amount")
    counts = shop.load(columns={}, tolerance=1).counts
    assert (counts.loaded, counts.quarantined) == (0, 1)


@pytest.mark.parametrize("name", ["json", "csv", "parquet"])
def test_table_may_be_named_like_a_kind_of_file(shop: Shop, name: str) -> None:
    shop.put("id,amount\n1,2\n")
    for _ in range(2):
        summary = shop.load_all(ORDERS | {"name": f"shop.{name}"})[f"shop.{name}"]
        assert summary.problems == ()
        shop.put("id,amount\n2,3\n")
    assert shop.ask(f'select id from lake.raw_shop."{name}" order by id') == [[(1,), (2,)]]


def test_torn_record_of_windows_lines_is_its_own_text(shop: Shop) -> None:
    (shop.folder / "orders.csv").write_bytes(b"id,amount\r\n1,1\r\n2\r\n3,3\r\n")
    shop.load()
    assert shop.ask("select raw from lake.meta.quarantine") == [[("2",)]]


def test_folder_called_like_a_partition_gives_no_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`amount=7` in the home's path is no value of the column, in files large and small."""
    monkeypatch.setattr(lake, "connect", Connection)
    for folder, staged in (("small", contract.STAGED_BYTES), ("large", 0)):
        monkeypatch.setattr(contract, "STAGED_BYTES", staged)
        place = tmp_path / folder / "amount=7"
        place.mkdir(parents=True)
        shop = Shop(Settings(place / "home", 2, "1GiB"), place / "shop")
        shop.send("id,amount\n1,1\n2,2\n")
        shop.put('{"id":3,"amount":3}\n{"id":\n', "orders.ndjson")
        shop.load()
        assert shop.orders() == [(1, 1.0), (2, 2.0), (3, 3.0)]
        assert bool(list(shop.settings.lake_data.rglob("*.parquet"))) == (folder == "large")
