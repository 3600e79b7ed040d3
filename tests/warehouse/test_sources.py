"""sources.yml: what is declared, and what its mistakes are called."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from handmade import sources_file

from warehouse.errors import ConfigurationError
from warehouse.places import standing
from warehouse.settings import Settings
from warehouse.sources import Source, chosen, load_sources

ORDERS = """\
version: 1
sources:
  - name: shop.orders
    path: orders/*.csv
"""


def read(settings: Settings, folder: Path, text: str) -> list[Source]:
    file = folder / "sources.yml"
    file.write_text(text)
    return load_sources(file, settings)


def mistake(settings: Settings, folder: Path, text: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        read(settings, folder, text)
    assert caught.value.exit_code == 2
    assert caught.value.next_step
    return caught.value


def test_defaults_are_append_and_evolve(settings: Settings, tmp_path: Path) -> None:
    (source,) = read(settings, tmp_path, ORDERS)
    assert (source.kind, source.write, source.schema_policy) == ("files", "append", "evolve")
    assert (source.schema_name, source.table_name) == ("raw_shop", "orders")


def test_path_is_relative_to_the_file(settings: Settings, tmp_path: Path) -> None:
    (source,) = read(settings, tmp_path, ORDERS)
    (tmp_path / "orders").mkdir()
    for name in ("b.csv", "a.csv", "other.txt"):
        (tmp_path / "orders" / name).touch()
    assert [place.name for place in standing(source)] == ["a.csv", "b.csv"]


def test_clearwater_home_stands_for_the_home(settings: Settings, tmp_path: Path) -> None:
    text = ORDERS.replace("orders/", "${CLEARWATER_HOME}/in/")
    (source,) = read(settings, tmp_path, text)
    (settings.home / "in").mkdir(parents=True)
    (settings.home / "in" / "a.csv").write_text("id\n1\n")
    assert [place.path for place in standing(source)] == [str(settings.home / "in" / "a.csv")]
    assert str(settings.home) not in source.path


def test_unknown_key_is_named_with_line_and_nearest(settings: Settings, tmp_path: Path) -> None:
    error = mistake(settings, tmp_path, ORDERS + "    kye: [id]\n")
    assert "unknown key 'kye'" in error.what
    assert error.where.endswith("sources.yml:5")
    assert "'key'" in error.next_step


def test_unknown_key_at_the_top_is_named_with_line(settings: Settings, tmp_path: Path) -> None:
    error = mistake(settings, tmp_path, ORDERS + "source: []\n")
    assert error.where.endswith(":5")
    assert "'sources'" in error.next_step


def test_key_twice_is_named_with_line(settings: Settings, tmp_path: Path) -> None:
    error = mistake(settings, tmp_path, ORDERS + "    path: elsewhere\n")
    assert "'path' stands twice" in error.what
    assert error.where.endswith(":5")


def test_missing_key_is_named_with_line(settings: Settings, tmp_path: Path) -> None:
    error = mistake(settings, tmp_path, "version: 1\nsources:\n  - name: shop.orders\n")
    assert "'path' is missing" in error.what
    assert error.where.endswith(":3")


def test_bad_yaml_is_named_with_line(settings: Settings, tmp_path: Path) -> None:
    error = mistake(settings, tmp_path, ORDERS + "    key: [id\n")
    assert "not valid YAML" in error.what
    assert error.where.rpartition(":")[2].isdigit()


def test_tab_is_bad_yaml(settings: Settings, tmp_path: Path) -> None:
    assert "not valid YAML" in mistake(settings, tmp_path, "version:\n\t1\n").what


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_empty_file_is_said_to_be_empty(settings: Settings, tmp_path: Path, text: str) -> None:
    assert "empty" in mistake(settings, tmp_path, text).what


@pytest.mark.parametrize(
    "text", ["[]\n", "just text\n", "version: 1\nsources: []\n", "version: 1\nsources: {a: 1}\n"]
)
def test_file_without_sources_is_refused(settings: Settings, tmp_path: Path, text: str) -> None:
    mistake(settings, tmp_path, text)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("    kind: files2\n", "kind"),
        ("    format: xlsx\n", "format"),
        ("    write: upsert\n", "write"),
        ("    schema: frozen\n", "schema"),
        ("    tolerance: 2\n", "tolerance"),
        ("    key: id\n", "key"),
    ],
)
def test_value_out_of_range_is_named_with_line(
    settings: Settings, tmp_path: Path, line: str, named: str
) -> None:
    error = mistake(settings, tmp_path, ORDERS + line)
    assert error.what.startswith(named)
    assert error.where.endswith(":5")


@pytest.mark.parametrize("name", ["orders", "Shop.Orders", "shop.orders.x", "shop-a.orders", "1.a"])
def test_name_has_two_lower_case_parts(settings: Settings, tmp_path: Path, name: str) -> None:
    error = mistake(settings, tmp_path, ORDERS.replace("shop.orders", name))
    assert "<source>.<dataset>" in error.what


def test_name_twice_is_refused_with_line(settings: Settings, tmp_path: Path) -> None:
    error = mistake(settings, tmp_path, ORDERS + "  - {name: shop.orders, path: x.csv}\n")
    assert "declared twice" in error.what
    assert error.where.endswith(":5")


def test_missing_variable_is_named_with_line(settings: Settings, tmp_path: Path) -> None:
    error = mistake(settings, tmp_path, ORDERS.replace("orders/", "${NOT_SET_ANYWHERE}/"))
    assert "NOT_SET_ANYWHERE" in error.what
    assert error.where.endswith(":4")


def test_value_of_a_variable_is_never_echoed(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_SECRET", "hunter2")
    text = ORDERS + "    write: ${SHOP_SECRET}\n    key: [1]\n    ${SHOP_SECRET}: 1\n"
    assert "hunter2" not in str(mistake(settings, tmp_path, text))


def test_file_that_is_not_there(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such sources file"):
        load_sources(tmp_path / "none.yml", settings)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a: \xe9\n"])
def test_file_that_is_no_text(settings: Settings, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sources.yml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"cannot be read|not valid YAML"):
        load_sources(tmp_path / "sources.yml", settings)


def test_folder_is_no_sources_file(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_sources(tmp_path, settings)


def test_only_takes_the_named_sources(settings: Settings, tmp_path: Path) -> None:
    file = sources_file(tmp_path, *({"name": f"shop.{n}", "path": "x.csv"} for n in "abc"))
    sources = load_sources(file, settings)
    assert [source.name for source in chosen(sources, ["shop.c", "shop.a"])] == ["shop.a", "shop.c"]
    assert chosen(sources, []) == sources


def test_only_an_unknown_source_names_the_nearest(settings: Settings, tmp_path: Path) -> None:
    sources = read(settings, tmp_path, ORDERS)
    with pytest.raises(ConfigurationError, match=r"shop\.ordres.*\n.*'shop\.orders'"):
        chosen(sources, ["shop.ordres"])


def test_fingerprint_follows_all_but_the_path(settings: Settings, tmp_path: Path) -> None:
    one, moved, keyed = (
        read(settings, tmp_path, text)[0].fingerprint()
        for text in (ORDERS, ORDERS.replace("orders/", "x/"), ORDERS + "    key: [id]\n")
    )
    assert one == moved != keyed


TYPES = ["bigit", "bigint; drop table x", "bigint) from x --", "(select 1)"]


@pytest.mark.parametrize("declared", TYPES)
def test_unknown_type_is_named_with_its_line(
    settings: Settings, tmp_path: Path, declared: str
) -> None:
    error = mistake(settings, tmp_path, f"{ORDERS}    columns:\n      id: '{declared}'\n")
    assert f"there is no type {declared!r}" in error.what
    assert error.where.endswith("sources.yml:6")


def test_types_are_known_by_duckdbs_names(settings: Settings, tmp_path: Path) -> None:
    (source,) = read(settings, tmp_path, f"{ORDERS}    columns: {{id: int8, at: datetime}}\n")
    assert [source.type_of(name) for name in ("id", "at", "note")] == [
        "BIGINT",
        "TIMESTAMP",
        "VARCHAR",
    ]


def test_brackets_in_a_folders_name_are_no_pattern(settings: Settings, tmp_path: Path) -> None:
    folder = tmp_path / "b[1]"
    (folder / "orders").mkdir(parents=True)
    (folder / "orders" / "a.csv").write_text("id\n1\n")
    (source,) = read(settings, folder, ORDERS)
    assert [place.path for place in standing(source)] == [str(folder / "orders" / "a.csv")]


def test_merge_needs_a_key(settings: Settings, tmp_path: Path) -> None:
    assert "needs a `key:`" in mistake(settings, tmp_path, f"{ORDERS}    write: merge\n").what


def test_column_may_say_how_its_time_is_written(settings: Settings, tmp_path: Path) -> None:
    entry = "    columns: {at: {type: date, format: '%d.%m.%Y'}}\n"
    (source,) = read(settings, tmp_path, ORDERS + entry)
    assert source.columns["at"].type == "DATE"
    assert source.columns["at"].format == "%d.%m.%Y"


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("columns: {id: {type: bigint, format: '%d'}}", "goes with DATE"),
        ("columns: {id: {typ: bigint}}", "unknown key 'typ'"),
        ("delimiter: ';;'", "one ASCII character"),
        ("encoding: utf-9", "no encoding 'utf-9'"),
        ("format: parquet\n    delimiter: ';'", "`delimiter` goes with csv"),
        ("decimal: ';'", "decimal"),
        ("skip: -1", "skip"),
        ("write: snapshots", "write"),
    ],
)
def test_reading_keys_are_checked(
    settings: Settings, tmp_path: Path, entry: str, told: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        read(settings, tmp_path, f"{ORDERS}    {entry}\n")
