"""Which files of a folder make one table, what it is called, and the path that finds it again."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import boto3
import pytest
import yaml
from s3_server import empty_s3

from warehouse.errors import ClearwaterError, ConfigurationError
from warehouse.inference import infer
from warehouse.onboarding import check_free, draft, find, together
from warehouse.onboarding.file_names import dataset_names, series
from warehouse.onboarding.tables import FoundTable, find_tables
from warehouse.places import standing
from warehouse.settings import Settings
from warehouse.sources import Source, load_sources

ORDERS = "order_id,customer_id,ordered_at,total"
ITEMS = "order_id,line,sku,qty"
PLACES = "place_id,city,country,zip"


def table(header: str, first: int = 1) -> str:
    """A header and five rows of numbers below it."""
    width = header.count(",") + 1
    rows = [",".join(str(first + row + n) for n in range(width)) for row in range(5)]
    return "\n".join([*([header] if header.strip("0123456789,") else []), *rows, ""])


def write(folder: Path, files: dict[str, str]) -> Path:
    """The files, each by its header, or by its content if that has several lines."""
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if "\n" in content or not content else table(content))
    return folder


def tables_of(
    settings: Settings, folder: Path, name: str = "shop", given: str = ""
) -> tuple[list[FoundTable], list[str]]:
    found = find(given or str(folder), folder / "my.yml", settings.tmp / "downloaded")
    return find_tables(settings, found, given or str(folder), name)


def paths(tables: list[FoundTable]) -> dict[str, str]:
    return {table.dataset: table.found.path for table in tables}


FOLDERS = {
    "different headers": (
        {"shop_orders_dataset.csv": ORDERS, "items.csv": ITEMS, "places.csv": PLACES},
        {"items": "items.csv", "places": "places.csv", "orders": "shop_orders_dataset.csv"},
    ),
    "daily exports": (
        {f"orders_2024-01-{day:02}.csv": ORDERS for day in (1, 2, 11)} | {"places.csv": PLACES},
        {"orders": "orders_*.csv", "places": "places.csv"},
    ),
    "a name that begins another": (
        {f"orders_{n}.csv": ORDERS for n in (1, 2)}
        | {f"orders_items_{n}.csv": ITEMS for n in (1, 2)},
        {"orders": "orders_[0-9]*.csv", "orders_items": "orders_items_*.csv"},
    ),
    "dates alone": (
        {"2023.csv": ORDERS, "2024.csv": ORDERS, "places.csv": PLACES},
        {"data": "[0-9]*.csv", "places": "places.csv"},
    ),
    "dates first": (
        {
            f"2024-0{n}-01_{name}.csv": h
            for n in (1, 2)
            for name, h in (("a", ORDERS), ("b", ITEMS))
        },
        {"a": "*_a.csv", "b": "*_b.csv"},
    ),
    "months": (
        {f"sales_{month}.csv": "day,total" for month in ("jan", "feb", "march")} | {"x.csv": ITEMS},
        {"sales": "sales_*.csv", "x": "x.csv"},
    ),
    "a column more, in other case": (
        {"north.csv": ORDERS, "south.csv": f"{ORDERS.upper()},Coupon"},
        {"data": "*.csv"},
    ),
    "a column renamed within a series": (
        {"people_2022.csv": "id,name,town,zip", "people_2023.csv": "id,name,city,zip"},
        {"people": "*.csv"},
    ),
    "a column renamed elsewhere": (
        {"people.csv": "id,name,town,zip", "places.csv": "id,name,city,zip"},
        {"people": "people.csv", "places": "places.csv"},
    ),
    "a header that lies within a much wider one": (
        {"places.csv": PLACES, "shops.csv": f"{PLACES},owner,opened,size"},
        {"places": "places.csv", "shops": "shops.csv"},
    ),
    "headers that say little": (
        {"genre.csv": "id,name", "publisher.csv": "id,name"},
        {"genre": "genre.csv", "publisher": "publisher.csv"},
    ),
    "no headers": (
        {"u1.base": "1,2,3", "u2.base": "4,5,6", "x.item": "1,2,3,4,5"},
        {"u": "u*.base", "x": "x.item"},
    ),
    "folders by month": (
        {f"2024-0{n}/{name}.csv": h for n in (1, 2) for name, h in (("a", ORDERS), ("b", ITEMS))},
        {"a": "*/a.csv", "b": "*/b.csv"},
    ),
    "folders by table": (
        {f"{name}/2024-0{n}.csv": h for n in (1, 2) for name, h in (("a", ORDERS), ("b", ITEMS))},
        {"a": "a/*.csv", "b": "b/*.csv"},
    ),
    "formats": (
        {
            "a.csv": ORDERS,
            "b.json": '[{"order_id": 1,\n"line": 2}]',
            "c.ndjson": '{"a": 1}\n{"a": 2}\n',
            "d.xml": "<r><v><a>1</a></v>\n<v><a>2</a></v></r>",
        },
        {"a": "a.csv", "b": "b.json", "c": "c.ndjson", "d": "d.xml"},
    ),
    "equal headers that no pattern joins": (
        {"berlin.csv": ORDERS, "paris.csv": ORDERS, "places.csv": PLACES},
        {"berlin": "berlin.csv", "paris": "paris.csv", "places": "places.csv"},
    ),
    "equal headers, and words that begin alike": (
        {"AwardsPlayers.csv": ORDERS, "AwardsPoets.csv": ORDERS, "places.csv": PLACES},
        {"awards_players": "AwardsPlayers.csv", "awards_poets": "AwardsPoets.csv"}
        | {"places": "places.csv"},
    ),
    "suffixes in two cases": ({"a1.csv": ORDERS, "a2.CSV": ORDERS, "a3.md": "\n"}, None),
    "texts without a known suffix": (
        {"stops.txt": PLACES, "trips.txt": ITEMS, "ABOUT.txt": "This is prose.\nAnd more of it,\n"},
        {"stops": "stops.txt", "trips": "trips.txt"},
    ),
}


@pytest.mark.parametrize(("files", "expected"), FOLDERS.values(), ids=FOLDERS)
def test_tables_of_a_folder(
    tmp_path: Path,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, str],
    expected: dict[str, str] | None,
) -> None:
    folder = write(tmp_path / "data", files)
    if expected is None:
        with pytest.raises(ConfigurationError, match="no pattern takes") as refused:
            tables_of(settings, folder)
        assert refused.value.next_step
        return
    tables, _ = tables_of(settings, folder)
    assert paths(tables) == expected
    for table in tables:
        path = str(folder / table.found.path)
        taken = standing(Source(name="shop.x", path=path))
        assert [place.path for place in taken] == [str(file) for file in table.found.files]


def test_one_named_table_takes_short_headers_that_are_equal(
    tmp_path: Path, settings: Settings
) -> None:
    folder = write(tmp_path / "data", {"a.csv": "Id,Status", "b.csv": "id,status"})
    assert list(paths(tables_of(settings, folder)[0])) == ["a", "b"]
    tables, left_out = tables_of(settings, folder, "shop.cases")
    assert (paths(tables)["data"], left_out) == ("*.csv", [])
    found = infer(settings, list(tables[0].found.files), "shop.cases")
    assert [column.name for column in found.columns] == ["Id", "Status"]


def test_several_tables_under_the_name_of_one_are_told(tmp_path: Path, settings: Settings) -> None:
    files = {"orders_1.csv": ORDERS, "orders_2.csv": ORDERS, "items.csv": ITEMS}
    folder = write(tmp_path / "data", files)
    with pytest.raises(ConfigurationError) as refused:
        tables_of(settings, folder, "shop.orders")
    assert str(refused.value).splitlines() == [
        f"{folder}: 2 different tables, and --name shop.orders is for one",
        "  items.csv: csv, 4 columns: order_id, line, sku, qty",
        "  orders_1.csv, orders_2.csv: csv, 4 columns: order_id, customer_id, ordered_at, total",
        "  next: --name shop adds them all, each named after its files; or give the path of one",
    ]


def test_one_table_that_outnumbers_the_others_is_the_one(
    tmp_path: Path, settings: Settings
) -> None:
    files = {f"{n:02}.csv": ORDERS for n in range(10)} | {"meta.json": '{"a": 1,\n"b": 2}'}
    folder = write(tmp_path / "data", files)
    tables, left_out = tables_of(settings, folder, "shop.orders")
    assert paths(tables) == {"data": "*.csv"}
    assert left_out == ["left out, as they are other tables: meta.json"]


def test_what_makes_no_table_is_told(tmp_path: Path, settings: Settings) -> None:
    files = {"a.csv": ORDERS, "b.csv": ITEMS, "x.csv": "", "readme.md": "a\n", "logo.png": "b\n"}
    tables, left_out = tables_of(settings, write(tmp_path / "data", files))
    assert list(paths(tables)) == ["a", "b"]
    assert left_out == [
        "left out, for their suffix tells no table: logo.png, readme.md",
        "left out, as they are empty: x.csv",
    ]


def test_tables_that_no_pattern_tells_apart_are_left_out(
    tmp_path: Path, settings: Settings
) -> None:
    files = {"a1.csv": ORDERS, "a2.CSV": ORDERS, "a3.md": "", "places.csv": PLACES}
    tables, left_out = tables_of(settings, write(tmp_path / "data", files))
    assert list(paths(tables)) == ["places"]
    assert "a1.csv, a2.CSV; move them to a folder of their own" in left_out[1]


def test_empty_files_of_a_series_do_not_spoil_its_pattern(
    tmp_path: Path, settings: Settings
) -> None:
    files = {"orders_1.csv": ORDERS, "orders_2.csv": ORDERS, "orders_3.csv": "", "b.csv": ITEMS}
    tables, left_out = tables_of(settings, write(tmp_path / "data", files))
    assert paths(tables) == {"b": "b.csv", "orders": "orders_*.csv"}
    assert left_out == ["left out, as they are empty: orders_3.csv"]


def test_files_that_are_mostly_no_tables_are_no_table(tmp_path: Path, settings: Settings) -> None:
    prose = "This is prose.\nAnd more of it,\n"
    folder = write(tmp_path / "data", {"a.txt": prose, "b.txt": prose, "c.txt": ORDERS})
    with pytest.raises(ConfigurationError, match=r"a\.txt, b\.txt: no table"):
        tables_of(settings, folder, "shop.orders")
    tables, left_out = tables_of(settings, folder)
    assert (paths(tables), left_out) == (
        {"c": "c.txt"},
        ["left out, as they are no tables: a.txt, b.txt"],
    )
    (folder / "c.txt").unlink()
    assert paths(tables_of(settings, folder)[0]) == {"data": "*.txt"}


def test_a_pattern_is_split_like_a_folder(tmp_path: Path, settings: Settings) -> None:
    files = {"a1.csv": ORDERS, "a2.csv": ORDERS, "b.csv": ITEMS, "c.json": "[]\n"}
    folder = write(tmp_path / "data", files)
    tables, _ = tables_of(settings, folder, given=f"{folder}/*.csv")
    assert paths(tables) == {"a": "a*.csv", "b": "b.csv"}


def test_a_zip_of_several_tables_is_told(tmp_path: Path, settings: Settings) -> None:
    archive = tmp_path / "feed.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("orders_1.csv", table(ORDERS))
        zipped.writestr("orders_2.csv", table(ORDERS))
    tables, _ = tables_of(settings, tmp_path, given=str(archive))
    assert paths(tables) == {"feed": "feed.zip"}
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.writestr("items.csv", table(ITEMS))
    for given in (str(archive), str(tmp_path)):
        with pytest.raises(ConfigurationError, match="the zip holds 2 different tables") as refused:
            tables_of(settings, tmp_path, given=given)
        assert "unpack it" in refused.value.next_step
        assert "items.csv: csv, 4 columns" in refused.value.what


def test_tables_on_s3(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with empty_s3() as endpoint:
        for name, value in (
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ACCESS_KEY_ID", "clearwater"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
        ):
            monkeypatch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        client.create_bucket(Bucket="shop")
        for key, header in {
            "in/orders_1.csv": ORDERS,
            "in/orders_2.csv": ORDERS,
            "in/items.csv": ITEMS,
        }.items():
            client.put_object(Bucket="shop", Key=key, Body=table(header).encode())
        for number, given in enumerate(("s3://shop/in", "s3://shop/in/*.csv")):
            found = find(given, tmp_path / "my.yml", tmp_path / str(number))
            tables, _ = find_tables(settings, found, given, "shop")
            assert paths(tables) == {
                "items": "s3://shop/in/items.csv",
                "orders": "s3://shop/in/orders_*.csv",
            }
            assert [len(table.found.files) for table in tables] == [1, 2]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("orders_2024-01-31.csv", "orders"),
        ("2024/orders-20240131T0800Z.csv.gz", "orders"),
        ("SalesJan2024.xlsx", "sales"),
        ("sales_2024Q1_v2.csv", "sales"),
        ("KW03 Umsatz.csv", "umsatz"),
        ("api.v1/orders.json", "api/orders"),
        ("2024.csv", ""),
    ],
)
def test_series_of_a_name(name: str, told: str) -> None:
    assert series(name) == told


@pytest.mark.parametrize(
    ("names", "folder", "dataset"),
    [
        (["olist_orders_dataset.csv"], "data", "olist_orders"),
        (["title.basics.tsv.gz"], "data", "title_basics"),
        (["covid19.csv"], "data", "covid19"),
        (["API_SP.POP.TOTL_DS2_en.csv"], "data", "api_sp_pop_totl_ds2_en"),
        (["sales_north_2024.csv", "sales_south_2024.csv"], "data", "sales"),
        (["jan.csv", "feb.csv"], "in/Orders 2024", "orders"),
        (["dt=2024-01-01/part-0.parquet", "dt=2024-01-02/part-0.parquet"], "in/events", "events"),
        (["Größen.csv"], "in", "groessen"),
        (["заказы.csv"], "in/orders", "orders"),
        (["data.csv"], "s3://bucket/orders", "orders"),
        (["orders/data.csv"], "data", "orders"),
        (["a/2023/part.csv", "a/2024/part.csv"], "data", "a"),
        (["2024.csv"], "data", "data"),
        (["1.csv"], "/", "files"),
    ],
)
def test_name_of_a_table(names: list[str], folder: str, dataset: str) -> None:
    assert dataset_names([names], folder, "shop") == [dataset]


def test_names_of_tables_differ() -> None:
    tables = [["a/x_1.csv"], ["b/x_2.csv"], ["x.json"]]
    assert dataset_names(tables, "d", "shop") == ["x", "x_2", "x_3"]


def test_a_source_does_not_stand_twice_in_a_name() -> None:
    tables = [["olist_orders.csv"], ["olist_2017.csv"], ["olist.json"]]
    assert dataset_names(tables, "d", "olist") == ["orders", "olist", "olist_2"]


def test_drafts_are_written_together_or_not_at_all(tmp_path: Path, settings: Settings) -> None:
    folder = write(tmp_path / "data", {"orders.csv": ORDERS, "items.csv": ITEMS})
    sources, project = tmp_path / "my.yml", tmp_path / "project"
    drafts = []
    for found in tables_of(settings, folder)[0]:
        inferred = infer(settings, list(found.found.files), f"shop.{found.dataset}")
        name = f"shop.{found.dataset}"
        drafts.append(draft(name, found.found, inferred, sources, project, drafts))
    changes = together(drafts)
    assert len({change.path for change in changes.changes}) == len(changes.changes) == 14
    changes.write()
    assert [s.name for s in load_sources(sources, settings)] == ["shop.items", "shop.orders"]
    of_dbt = project / "models" / "staging" / "shop" / "_shop__sources.yml"
    (source,) = yaml.safe_load(of_dbt.read_text())["sources"]
    assert [table["name"] for table in source["tables"]] == ["items", "orders"]
    with pytest.raises(
        ConfigurationError, match=r"the source 'shop\.items' is declared"
    ) as refused:
        check_free(["shop.items", "shop.new"], sources, settings)
    assert "add the other tables by their own paths" in refused.value.next_step
    changes.take_back()
    assert not sources.exists()
    assert not project.exists()


def test_an_object_of_records_by_key_is_told(tmp_path: Path, settings: Settings) -> None:
    file = tmp_path / "states.json"
    states = {code: {"name": code, "capital": "x", "area": 1} for code in ("AL", "AK", "AZ")}
    file.write_text(json.dumps(states))
    with pytest.raises(ClearwaterError, match="3 values are records of their own") as refused:
        infer(settings, [file], "geo.states")
    assert "jq" in refused.value.next_step
    file.write_text(json.dumps({"id": 1, **states}))
    assert infer(settings, [file], "geo.states").row_count == 1
    file.write_text(json.dumps({"user": {"a": 1}, "place": {"b": 1}, "item": {"c": 1}}))
    assert infer(settings, [file], "geo.states").row_count == 1
