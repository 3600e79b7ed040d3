"""What becomes of data never seen before: names, the path, the entry, models and first rules."""

from __future__ import annotations

import gzip
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
import yaml
from s3_server import empty_s3

from expectations.rule_files import load_rules
from warehouse import dbt_runner
from warehouse.errors import ConfigurationError
from warehouse.inference.result import Inferred, InferredColumn
from warehouse.onboarding import Draft, Found, check_name, draft, find
from warehouse.onboarding.names import column_names, snake_case, sql_name
from warehouse.onboarding.yaml_text import with_item
from warehouse.places import LocalFile, standing
from warehouse.settings import PROJECT, Settings
from warehouse.sources import Source, load_sources

ORDERS = Inferred(
    format="csv",
    options={"delimiter": ";", "nulls": ["NA", "-"]},
    columns=(
        InferredColumn("Order No", "bigint", None, 0, 300, "1", "300"),
        InferredColumn("line", "bigint", None, 0, 9, "1", "9"),
        InferredColumn(
            "orderedAt", "timestamp", "%d.%m.%Y %H:%M", 0, 300, "2024-01-31 10:00:00", "2024-02-29"
        ),
        InferredColumn("status", "varchar", None, 0, 2, values=("open", "paid")),
        InferredColumn("Amount", "decimal(18,2)", None, 4, 200, "0.00", "99.50"),
        InferredColumn("balance", "double", None, 0, 200, "-1.5", "99.5"),
        InferredColumn("comment", "varchar", None, 9, 290),
        InferredColumn("gift", "bigint", None, 1, 2, "0", "1"),
        InferredColumn("shop_id", "bigint", None, 1, 9, "1", "9"),
    ),
    key=("Order No", "line"),
    event_time="orderedAt",
    known_at=None,
    write="append",
    row_count=300,
    file_count=1,
    rows_looked_at=300,
    evidence=(),
    warnings=(),
)
COUNTRIES = replace(
    ORDERS,
    options={},
    columns=(InferredColumn("Code", "varchar", None, 0, 3), InferredColumn("name", "varchar")),
    key=("Code",),
    event_time=None,
    rows_looked_at=3,
)
AWKWARD = (
    *("Größe (cm)", "select", "date", "current_date", "yes", "2023", "名前", 'he said "x"', "it's"),
    *(
        "{{ x }}",
        "{% x %}",
        "a b",
        "a_b",
        "A B",
        "",
        "x" * 120,
        "null",
        "user",
        "Id",
        "back\\slash",
    ),
)


def write(path: Path, text: str = "a\n1\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def drafted(project: Path, inferred: Inferred = ORDERS, name: str = "shop.orders") -> Draft:
    file = write(project / "data" / "a.csv")
    return draft(name, Found("data/*.csv", (file,)), inferred, project / "my.yml", project)


def content(project: Path) -> dict[str, str]:
    return {
        file.relative_to(project).as_posix(): file.read_text()
        for file in project.rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize(
    ("original", "name"),
    [
        ("order_id", "order_id"),
        ("TX_AMOUNT", "tx_amount"),
        ("OrderID", "order_id"),
        ("HTTPStatus", "http_status"),
        ("IDs", "ids"),
        ("Kunden-Nr.", "kunden_nr"),
        ("Größe (m²)", "groesse_m2"),
        ("ÄRZTE", "aerzte"),
        ("É-mail  Adresse", "e_mail_adresse"),
        ("discount %", "discount_percent"),
        ("2023", "_2023"),
        ("名前", "名前"),
        ("_loaded_at", "loaded_at"),
        ("?!", "column"),
    ],
)
def test_names_become_snake_case(original: str, name: str) -> None:
    assert snake_case(original) == name


def test_names_stay_apart() -> None:
    names = column_names(["a b", "a_b", "A B", "a_b_2", "é", "e"])
    assert list(names.values()) == ["a_b", "a_b_2", "a_b_3", "a_b_2_2", "e", "e_2"]


@pytest.mark.parametrize(
    ("name", "sql"),
    [("amount", "amount"), ("_2023", "_2023"), ("group", '"group"'), ("名", '"名"')],
)
def test_names_are_quoted_where_sql_asks_for_it(name: str, sql: str) -> None:
    assert sql_name(name) == sql


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# comment alone\n",
        "version: 1\n",
        "version: 1\nsources:\n",
        "version: 1\nsources: []\n",
        "version: 1\nsources: []  # none yet\nlast: 1\n",
        "version: 1\nsources: ~\nlast: 1",
        "version: 1\nsources:  # those\n  - name: a\n    key: [b]  # why\n",
        "version: 1\nsources:\n- name: a\n  columns:\n    b: int\n# after\n",
        "sources:\n    -   name: a\n        text: |\n            more\n\n# of it\nversion: 1\n",
        'sources:\n  - name: a\n    note: "long\n      line"\nversion: 1',
        '{"version": 1, "sources": [{"name": "a"}]}\n',
        '{"version": 1, "sources": [\n {"name": "a"}\n]\n}\n',
        '{"version": 1, "sources": []}',
        "version: 1\nsources: [{name: a}]\nlast: 1\n",
        "version: 1\r\nsources:\r\n  - name: a\r\n",
        "\ufeffversion: 1\nsources:\n  - name: a\n",
    ],
)
def test_list_grows_and_all_else_stays(text: str) -> None:
    item = {"name": "new", "key": ["x"], "columns": {"Größe: 1 #": "int"}}
    before = yaml.safe_load(text) or {}
    grown = with_item(text, ("sources",), item, "my.yml")
    expected = before | {"sources": [*(before.get("sources") or []), item]}
    assert yaml.safe_load(grown) == expected
    comments = [line.partition("#")[2] for line in text.splitlines() if "#" in line]
    assert all(f"#{comment}" in grown for comment in comments)


def test_list_that_is_none_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"my\.yml:2: `sources` is not a list"):
        with_item("version: 1\nsources: text\n", ("sources",), {}, "my.yml")


@pytest.mark.parametrize(
    ("files", "given", "path", "count"),
    [
        (["d/a.csv"], "d/a.csv", "d/a.csv", 1),
        (["d/a.csv", "d/b.csv", "d/README.md", "d/.DS_Store"], "d", "d/*.csv", 2),
        (["d/a.csv", "d/b.csv.gz"], "d", "d/*.csv*", 2),
        (["d/a.csv.gz", "d/b.csv.gz"], "d/", "d/*.csv.gz", 2),
        (["d/a.zip", "d/b.zip"], "d", "d/*.zip", 2),
        (["d/1/a.csv", "d/2/b.csv"], "d", "d/**/*.csv", 2),
        (["d/a.csv", "d/a.json"], "d/*.json", "d/*.json", 1),
        (["d/1/a.csv", "d/2/b.csv"], "d/**/*.csv", "d/**/*.csv", 2),
        (["d[1]/a.csv"], "d[1]", "d[[]1]/*.csv", 1),
        (["d/a[1].csv"], "d/a[1].csv", "d/a[[]1].csv", 1),
        (["d/a.dat", "d/.b"], "d", "d/*.dat", 1),
        (["d/a.log", "d/b.log.1", "d/.b"], "d", "d/*", 2),
        (["d/a.log.gz", "d/b.log.gz"], "d", "d/*.log.gz", 2),
        (["d/1/a.pdf", "d/2/b.jpg"], "d", "d/**/*", 2),
    ],
)
def test_path_finds_the_files_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
    files: list[str],
    given: str,
    path: str,
    count: int,
) -> None:
    for file in files:
        write(tmp_path / file)
    monkeypatch.chdir(tmp_path)
    sources = tmp_path / "my.yml"
    found = find(given, sources, tmp_path / "work")
    assert (found.path, len(found.files)) == (path, count)
    sources.write_text(yaml.safe_dump({"version": 1, "sources": [{"name": "a.b", "path": path}]}))
    (source,) = load_sources(sources, settings)
    assert [place.path for place in standing(source)] == [str(tmp_path / f) for f in found.files]


def test_path_outside_of_the_sources_folder_is_absolute(tmp_path: Path) -> None:
    file = write(tmp_path / "data" / "a.csv")
    sources, work = tmp_path / "project" / "my.yml", tmp_path / "work"
    assert find(str(file), sources, work).path == str(file)
    assert find(str(file.parent), sources, work).path == f"{file.parent}/*.csv"


def test_objects_are_downloaded_to_look_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 itself is tested with landing; here local files stand for its objects."""
    paths = [write(tmp_path / month / "a.csv", month) for month in ("1", "2")]
    monkeypatch.setattr(
        "warehouse.onboarding.found.standing",
        lambda source: [LocalFile(source.name, path) for path in paths],
    )
    given = "s3://bucket/**/*.csv"
    found = find(given, tmp_path / "my.yml", tmp_path / "work")
    assert (found.path, [file.name for file in found.files]) == (given, ["a.csv", "a.csv"])
    assert [file.read_text() for file in found.files] == ["1", "2"]
    monkeypatch.setattr("warehouse.onboarding.found.standing", lambda source: [])
    with pytest.raises(ConfigurationError, match="no object matches"):
        find(given, tmp_path / "my.yml", tmp_path / "work")


def test_a_folder_on_s3_is_taken_like_a_local_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with empty_s3() as endpoint:
        for name, value in {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "clearwater",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        client.create_bucket(Bucket="shop")
        for key in ("orders/a.csv", "orders/b.csv", "orders/old/c.csv", "orders/README.md"):
            client.put_object(Bucket="shop", Key=key, Body=key.encode())
        for key in ("deep/1/a.json", "deep/2/b.json", "one.csv", "logs/a.log", "logs/.b"):
            client.put_object(Bucket="shop", Key=key, Body=key.encode())
        for given, path, names in (
            ("s3://shop/orders/", "s3://shop/orders/*.csv", ["a.csv", "b.csv"]),
            ("s3://shop/orders", "s3://shop/orders/*.csv", ["a.csv", "b.csv"]),
            ("s3://shop/deep", "s3://shop/deep/**/*.json", ["a.json", "b.json"]),
            ("s3://shop/logs", "s3://shop/logs/*.log", ["a.log"]),
            ("s3://shop/one.csv", "s3://shop/one.csv", ["one.csv"]),
            ("s3://shop/orders/*.md", "s3://shop/orders/*.md", ["README.md"]),
        ):
            found = find(given, tmp_path / "my.yml", tmp_path / given.replace("/", "_"))
            assert (found.path, [file.name for file in found.files]) == (path, names)
            places = standing(Source(name="shop.orders", path=found.path))
            assert [place.name for place in places] == names
        warned = find("s3://shop/orders/", tmp_path / "my.yml", tmp_path / "warned").warnings
        assert warned == (
            "left out, for their suffix tells no table: README.md",
            "left out: 1 file in folders below; 's3://shop/orders/**/*.csv' takes them, too",
        )
        with pytest.raises(ConfigurationError, match="no object matches"):
            find("s3://shop/none", tmp_path / "my.yml", tmp_path / "none")


def test_files_left_out_are_told(tmp_path: Path) -> None:
    write(tmp_path / "a.csv")
    write(tmp_path / "notes.md")
    write(tmp_path / "old" / "1.csv")
    found = find(str(tmp_path), tmp_path / "my.yml", tmp_path / "work")
    assert found.warnings[0] == "left out, for their suffix tells no table: notes.md"
    assert "left out: 1 file in folders below" in found.warnings[1]


@pytest.mark.parametrize(
    ("files", "given", "words"),
    [
        (["d/.b"], "d", "the folder holds no files"),
        ([], "none.csv", "no such file or folder"),
        (["d/a.csv"], "d/*.json", "no file matches"),
        ([], "ftp://host/a.csv", "only local files and S3"),
    ],
)
def test_path_that_says_too_little_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: list[str], given: str, words: str
) -> None:
    for file in files:
        write(tmp_path / file)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=words) as refused:
        find(given, tmp_path / "my.yml", tmp_path / "work")
    assert refused.value.next_step


def test_entry_holds_what_the_data_need(tmp_path: Path, settings: Settings) -> None:
    drafted(tmp_path).write()
    (source,) = load_sources(tmp_path / "my.yml", settings)
    assert (source.name, source.key, source.event_time) == (
        "shop.orders",
        ("Order No", "line"),
        "orderedAt",
    )
    assert (source.format, source.delimiter, source.nulls) == (None, ";", ("NA", "-"))
    assert list(source.columns) == [column.name for column in ORDERS.columns]
    assert source.columns["orderedAt"].format == "%d.%m.%Y %H:%M"
    assert source.type_of("Amount") == "DECIMAL(18,2)"
    assert len(standing(source)) == 1


def test_entry_names_a_format_that_no_suffix_tells(tmp_path: Path) -> None:
    file = write(tmp_path / "a.txt")
    found = Found("a.txt", (file,))
    made = draft("shop.orders", found, ORDERS, tmp_path / "my.yml", tmp_path)
    assert made.entry["format"] == "csv"
    with gzip.open(tmp_path / "a.csv.gz", "wt") as packed:
        packed.write("a\n1\n")
    found = Found("a.csv.gz", (tmp_path / "a.csv.gz",))
    made = draft("shop.orders", found, ORDERS, tmp_path / "my.yml", tmp_path)
    assert "format" not in made.entry


def test_typed_format_declares_no_columns(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet")
    typed = replace(ORDERS, format="parquet", options={})
    entry = draft("a.b", Found("a.parquet", (file,)), typed, tmp_path / "my.yml", tmp_path).entry
    assert {"columns", "format"}.isdisjoint(entry)


def test_files_without_a_table_get_an_entry_alone(tmp_path: Path, settings: Settings) -> None:
    file = write(tmp_path / "web" / "app.log", "it began\n")
    logs = replace(ORDERS, format="bytes", options={}, columns=(), key=(), event_time=None)
    found = Found("web/*.log", (file,))
    made = draft("web.logs", found, logs, tmp_path / "my.yml", tmp_path)
    assert made.entry == {
        "name": "web.logs",
        "kind": "files",
        "path": "web/*.log",
        "format": "bytes",
    }
    made.write()
    assert set(content(tmp_path)) == {"my.yml", "web/app.log"}
    (source,) = load_sources(tmp_path / "my.yml", settings)
    assert source.format_of("app.log") == "bytes"


def test_data_without_event_time_become_a_dimension(tmp_path: Path) -> None:
    made = drafted(tmp_path, COUNTRIES, "geo.countries")
    made.write()
    assert made.data.mart == "dim_geo_countries"
    rules = tmp_path / "expectations" / "rules" / "marts" / "dim_geo_countries.yml"
    assert {rule.table for rule in load_rules(rules.parents[1])} == {
        "marts.dim_geo_countries",
        "raw_geo.countries",
    }


def test_second_dataset_joins_its_source(tmp_path: Path, settings: Settings) -> None:
    drafted(tmp_path).write()
    file = tmp_path / "models" / "staging" / "shop" / "_shop__sources.yml"
    file.write_text(file.read_text() + "# by hand\n")
    drafted(tmp_path, COUNTRIES, "shop.countries").write()
    assert "# by hand" in file.read_text()
    (source,) = yaml.safe_load(file.read_text())["sources"]
    assert [table["name"] for table in source["tables"]] == ["orders", "countries"]
    names = [source.name for source in load_sources(tmp_path / "my.yml", settings)]
    assert names == ["shop.orders", "shop.countries"]


def test_taking_back_leaves_no_trace(tmp_path: Path) -> None:
    (tmp_path / "my.yml").write_text("# mine\nversion: 1\nsources: []\n")
    write(tmp_path / "data" / "a.csv")
    before = content(tmp_path)
    made = drafted(tmp_path)
    made.write()
    assert len(content(tmp_path)) == len(before) + len(made.changes) - 1
    made.take_back()
    assert content(tmp_path) == before
    assert not (tmp_path / "models").exists()


def test_failure_while_writing_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "data" / "a.csv")
    write(tmp_path / "expectations", "in the way of the folder")
    before = content(tmp_path)
    with pytest.raises(OSError, match="expectations"):
        drafted(tmp_path).write()
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    "taken",
    [
        "models/elsewhere/stg_shop__orders.sql",
        "models/marts/shop/fct_shop_orders.yml",
        "expectations/rules/marts/fct_shop_orders.yml",
    ],
)
def test_nothing_is_overwritten(tmp_path: Path, taken: str) -> None:
    write(tmp_path / taken, "mine")
    with pytest.raises(ConfigurationError, match="there is such a file already") as refused:
        drafted(tmp_path)
    assert taken in str(refused.value)
    assert not (tmp_path / "my.yml").exists()


def test_table_that_dbt_knows_already_is_told(tmp_path: Path) -> None:
    made = drafted(tmp_path)
    made.write()
    for change in made.changes:
        if not change.path.name.endswith("sources.yml"):
            change.path.unlink()
    with pytest.raises(ConfigurationError, match="table 'orders' is declared already"):
        drafted(tmp_path)


def test_file_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    made = drafted(tmp_path)
    (tmp_path / "my.yml").write_text("version: 1\n")
    with pytest.raises(ConfigurationError, match="changed in the meantime"):
        made.write()
    assert (tmp_path / "my.yml").read_text() == "version: 1\n"


def test_name_must_be_free_and_well_formed(tmp_path: Path, settings: Settings) -> None:
    sources = tmp_path / "my.yml"
    check_name("shop.orders", sources, settings)
    drafted(tmp_path).write()
    check_name("shop.countries", sources, settings)
    check_name("shop", sources, settings)
    with pytest.raises(ConfigurationError, match="declared already"):
        check_name("shop.orders", sources, settings)
    with pytest.raises(ConfigurationError, match="lower case"):
        check_name("Orders", sources, settings)


@pytest.mark.slow
def test_awkward_names_pass_dbt_and_sqlfluff(project: Path, settings: Settings) -> None:
    columns = [InferredColumn(name, "bigint", None, 1, 3, "1", "3") for name in AWKWARD]
    drafted(project, COUNTRIES, "shop.order").write()
    made = drafted(project, replace(ORDERS, columns=tuple(columns), key=("Id",), event_time=None))
    made.write()
    manifest = dbt_runner.parse(settings).manifest
    model = manifest.nodes[f"model.clearwater.{made.data.mart}"]
    assert list(model.columns) == [*(column.name for column in made.data.columns), "_loaded_at"]
    staging = manifest.nodes["model.clearwater.stg_shop__orders"]
    told = {column.description.partition(";")[0] for column in staging.columns.values()}
    assert {f'Original column "{name}"' for name in AWKWARD} < told
    lint = [Path(sys.executable).parent / "sqlfluff", "lint", "--config", PROJECT / ".sqlfluff"]
    linted = subprocess.run(
        [*lint, "models/staging/shop", "models/marts/shop"],
        cwd=project,
        capture_output=True,
        text=True,
    )
    assert linted.returncode == 0, linted.stdout


def test_personal_columns_are_marked_with_the_reason(tmp_path: Path, settings: Settings) -> None:
    file, sources = write(tmp_path / "data" / "a.csv"), tmp_path / "my.yml"
    why = {"comment": "its name is\nthat of: # a person", "Amount": "3 of 3"}
    found = Found("data/*.csv", (file,))
    made = draft("shop.orders", found, ORDERS, sources, tmp_path, personal=why)
    made.write()
    lines = sources.read_text().splitlines()
    place = lines.index("    personal: [comment, Amount]")
    assert lines[place - 3 : place] == [
        "    # likely a person's own: reports show none of their values; take out what is not",
        "    # comment: its name is that of: # a person",
        "    # Amount: 3 of 3",
    ]
    (source,) = load_sources(sources, settings)
    assert source.personal == ("comment", "Amount")
    mart = tmp_path / "models" / "marts" / "shop" / f"{made.data.mart}.yml"
    (model,) = yaml.safe_load(mart.read_text())["models"]
    mark = {"meta": {"personal": True}}
    marked = {column["name"] for column in model["columns"] if column.get("config") == mark}
    assert marked == {"comment", "amount"}
