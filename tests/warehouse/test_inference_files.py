"""How files are written: dialects, encodings, packing, rows that are no records."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import duckdb
import pytest
from looks import Look, day, lines, looker, types

from warehouse.errors import ClearwaterError
from warehouse.inference import infer, infer_relation
from warehouse.settings import Settings


@pytest.fixture
def look(settings: Settings, tmp_path: Path) -> Look:
    return looker(settings, tmp_path)


def test_totals_and_notes_below_the_table_do_not_count(look: Look) -> None:
    rows = [f"{n:03},{day(7)},{n * 3},{'x' if n % 4 else ''}" for n in range(1, 41)]
    text = lines("Store No.,Week ending,Units,Note", [*rows, "Total,,2460,", "* preliminary,,,"])
    found = look(text, text.replace(str(day(7)), str(day(14))), name="acme.weekly")
    assert found.key == ("Store No.", "Week ending")
    assert (found.event_time, found.row_count, found.rows_looked_at) == ("Week ending", 84, 80)
    assert "4 rows look like totals or notes, such as '* preliminary'" in found.warnings[0]
    because = {e.about: e.because for e in found.evidence}
    assert because["column Note"].endswith("; 20 empty")


@pytest.mark.parametrize(
    ("text", "format_name"),
    [
        ('[{"id": 1, "status": "a"}, {"id": 2, "status": "a"}]', "json"),
        ('[\n  {\n    "id": 1\n  }\n]\n', "json"),
        ('{"id": 1, "status": "a"}\n{"id": 2, "status": "a"}\n', "ndjson"),
    ],
)
def test_json_that_is_called_csv_is_told(look: Look, text: str, format_name: str) -> None:
    with pytest.raises(ClearwaterError) as caught:
        look(text)
    assert f"looks like {format_name.upper()}" in caught.value.what
    assert f"give it the suffix .{format_name}" in str(caught.value.next_step)


def test_a_last_record_with_gaps_is_no_total(look: Look) -> None:
    rows = [f"{n},{day(n)},{n * 3}" for n in range(60)]
    found = look(lines("id,sold,units", [*rows, "60,,5", f"61,{day(1)},"]))
    assert (found.rows_looked_at, found.key) == (62, ("id",))


def test_titles_beside_empty_fields_stand_before_the_header(look: Look) -> None:
    rows = [f"{day(n):%d.%m.%Y};DE0{n % 7};{n},50;x" for n in range(60)]
    found = look("Konto;DE02;;\nStand;01.02.2024;;\n" + lines("Buchungstag;IBAN;Betrag;Text", rows))
    assert found.options["skip"] == 2
    assert list(types(found)) == ["Buchungstag", "IBAN", "Betrag", "Text"]


def test_headers_that_differ_are_united(look: Look) -> None:
    found = look("id,a\n1,x\n2,y\n", "id,b\n3,x\n4,z\n")
    assert [column.name for column in found.columns] == ["id", "a", "b"]
    assert "not every file has a, b: null there" in found.warnings
    assert found.columns[1].null_count == 2


def test_files_in_another_dialect_are_left_out(look: Look) -> None:
    found = look("id,a\n1,x\n", "id,a\n2,x\n", "id;a\n3;x\n")
    assert found.row_count == 2
    assert "another dialect" in " ".join(found.warnings)


def test_torn_records_are_warned_of(look: Look) -> None:
    found = look(lines("id,a,b", [f"{i},x,y" for i in range(50)] + ["51,x"]))
    assert found.row_count == 50
    assert "1 record with too many or too few fields" in " ".join(found.warnings)


ENCODED = [
    ("utf-8-sig", "Zoë,Łódź", None),
    ("utf-16", "Zoë,Łódź", "utf-16"),
    ("utf-16-le", "Zoe,Lodz", "utf-16-le"),
    ("cp1252", "José,São Paulo – 5 €", "cp1252"),
    ("cp1250", "Wałęsa,Łódź", "cp1250"),
    ("iso8859_2", "Kowalski,świętokrzyskie", "iso8859_2"),
    ("cp1251", "Иванов,Москва улица", "cp1251"),
    ("shift_jis", "東京都,カタカナひらがな", "shift_jis"),
    ("gb18030", "北京市,中国人民数据库", "gb18030"),
    ("cp437", "Müller,Österreich", "cp437"),
]


@pytest.mark.parametrize(("codec", "text", "told"), ENCODED, ids=[row[0] for row in ENCODED])
def test_an_encoding(look: Look, codec: str, text: str, told: str | None) -> None:
    found = look(lines("id,name,place", [f"{i},{text}" for i in range(30)]).encode(codec))
    assert found.options.get("encoding") == told
    assert found.columns[1].values == (text.split(",")[0],)
    assert found.columns[0].name == "id"


def test_packed_files(tmp_path: Path, settings: Settings) -> None:
    import pyarrow as pa

    text = lines("order_id,total", [f"{i},{i}.50" for i in range(60)]).encode()
    packed = tmp_path / "a.csv.gz"
    packed.write_bytes(gzip.compress(text))
    squeezed = tmp_path / "b.csv.zst"
    with pa.output_stream(str(squeezed), compression="zstd") as out:
        out.write(text)
    archive = tmp_path / "c.zip"
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("one.csv", text)
        zipped.writestr("b/two.csv", text)
    for file, rows in ((packed, 60), (squeezed, 60), (archive, 120)):
        found = infer(settings, [file], "shop.orders")
        assert (found.format, found.key, found.row_count) == ("csv", ("order_id",), rows)
    assert not list(settings.tmp.glob("inference*"))
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.writestr("../three.csv", text)
    with pytest.raises(ClearwaterError, match="would climb out"):
        infer(settings, [archive], "shop.orders")
    assert not list(tmp_path.parent.rglob("three.csv"))


def test_parquet_keeps_its_types(tmp_path: Path, settings: Settings) -> None:
    for number in (1, 2):
        duckdb.sql(
            f"select i + 100 * {number} as basket_id, i % 7 as store_id, i::decimal(9,3) as weight,"
            " timestamp '2024-01-01' + interval (i) hour as sold_at, {'A': i} as Nested"
            " from range(100) t(i)"
        ).write_parquet(str(tmp_path / f"{number}.parquet"))
    found = infer(settings, sorted(tmp_path.glob("*.parquet")), "shop.baskets")
    assert types(found) == {
        "basket_id": "bigint",
        "store_id": "bigint",
        "weight": "decimal(9,3)",
        "sold_at": "timestamp",
        "Nested": "STRUCT(A BIGINT)",
    }
    assert (found.format, found.key, found.event_time) == ("parquet", ("basket_id",), "sold_at")
    assert (found.row_count, found.file_count, found.write) == (200, 2, "append")


def test_a_relation_of_texts(settings: Settings) -> None:
    con = duckdb.connect()
    con.execute("create table t as select i::varchar as id, 'x' as kind from range(60) s(i)")
    found = infer_relation(
        con, "t", ["id", "kind"], None, name="a.b", format_name="json", options={"record": "rows"}
    )
    assert (types(found), found.key) == ({"id": "bigint", "kind": "varchar"}, ("id",))
    assert (found.format, found.options) == ("json", {"record": "rows"})


REFUSED = [
    (b"", "the file is empty"),
    (b" \n\n", "the file is empty"),
    (b"PAR1" + bytes(50), "holds Parquet"),
    (bytes(range(256)) * 9, "binary data"),
    (b"id,name,ID\n1,a,2\n", "stands twice"),
    (b"id,_loaded_at\n1,a\n", "Clearwater's own"),
]


@pytest.mark.parametrize(("content", "message"), REFUSED, ids=[row[1] for row in REFUSED])
def test_what_cannot_be_added_is_said(look: Look, content: bytes, message: str) -> None:
    with pytest.raises(ClearwaterError, match=message) as raised:
        look(content)
    assert raised.value.next_step
    assert raised.value.where


def test_a_missing_file_is_said(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ClearwaterError, match="there is no such file"):
        infer(settings, [tmp_path / "none.csv"], "a.b")
    with pytest.raises(ClearwaterError, match="there are no files"):
        infer(settings, [], "a.b")


def test_broken_containers_and_parquet_are_said(look: Look) -> None:
    with pytest.raises(ClearwaterError, match="cannot be unpacked"):
        look(gzip.compress(b"id\n1\n" * 999)[:40], suffix=".csv.gz")
    with pytest.raises(ClearwaterError, match="cannot be unpacked"):
        look(b"PK\x03\x04 no zip", suffix=".zip")
    with pytest.raises(ClearwaterError, match="not a readable Parquet file"):
        look(b"id,a\n1,2\n", suffix=".parquet")


def test_a_header_alone_and_a_single_column(look: Look) -> None:
    found = look("id,name\n")
    assert (types(found), found.row_count, found.key) == (
        {"id": "varchar", "name": "varchar"},
        0,
        (),
    )
    assert types(look(lines("id", [str(i) for i in range(60)]))) == {"id": "bigint"}


def test_hostile_names(look: Look) -> None:
    found = look(lines('"order\'s ""id""; drop",select', [f"{i},x" for i in range(60)]))
    assert [column.name for column in found.columns] == ['order\'s "id"; drop', "select"]
    assert types(found)["select"] == "varchar"


def test_line_ends_of_several_kinds(look: Look) -> None:
    found = look("id,text\r\n" + "".join(f'{i},"a\nb"' + "\r\n\n"[i % 2 * 2 :] for i in range(60)))
    assert (types(found), found.row_count) == ({"id": "bigint", "text": "varchar"}, 60)


def test_a_matrix_with_numbers_for_names(look: Look) -> None:
    found = look(lines(",10,20", [f"{i},{i % 3},{i % 4}" for i in range(9)]))
    assert [column.name for column in found.columns] == ["column_1", "10", "20"]


def test_quotes_that_open_nothing_are_text(look: Look) -> None:
    titles = ['"Open', "Plain", 'A "quoted" word', '"Whole"']
    rows = [f"t{n}\t{titles[n % 4]}\t{n}" for n in range(200)]
    found = look(lines("id\ttitle\tyear", rows), suffix=".tsv")
    assert (found.row_count, found.options) == (200, {"quote": ""})
    assert found.columns[1].values == tuple(sorted(titles))


def test_fields_parted_by_single_spaces(look: Look) -> None:
    rows = [f'{n} "North East" {n / 8}' for n in range(90)]
    found = look(lines("id region size", rows))
    assert found.options == {"delimiter": " "}
    assert types(found) == {"id": "bigint", "region": "varchar", "size": "double"}


def test_different_tables_are_named(look: Look) -> None:
    orders = lines("order_id,customer_id,total", ["1,2,3.50"])
    cities = lines("city,country,people", ["Rome,IT,9"])
    with pytest.raises(ClearwaterError, match=r"2 different tables: part_\S+\.csv and 1 more"):
        look(orders, orders, cities)


def test_names_that_differ_by_case_are_one_column(look: Look) -> None:
    found = look("Id,Status\n1,a\n2,b\n", "id,status\n3,c\n")
    assert types(found) == {"Id": "bigint", "Status": "varchar"}
    assert (found.row_count, found.warnings) == (3, ())
    found = look('{"Id": 1}\n{"Id": 2}\n', '{"id": 3}\n', suffix=".ndjson")
    assert (types(found), found.row_count) == ({"Id": "bigint"}, 3)


def test_a_nameless_column_without_values_is_left_out(look: Look) -> None:
    found = look(lines("id,size,", [f"{n},{n}.5," for n in range(60)]))
    assert (list(types(found)), found.warnings) == (["id", "size"], ())


def test_headers_within_the_table_do_not_count(look: Look) -> None:
    rows = [f"{n},{n}.5" for n in range(60)]
    found = look(lines("id,size", [*rows[:30], "id,size", *rows[30:], "id,size"]))
    assert (types(found), found.rows_looked_at) == ({"id": "bigint", "size": "double"}, 60)
    assert "2 rows repeat the header" in found.warnings[0]


def test_totals_within_the_table_and_without_a_name(look: Look) -> None:
    rows = [f"{place},{n},{n * 2}" for place in ("north", "south") for n in range(20)]
    text = lines("place,number,units", [*rows[:20], "Total north,,380", *rows[20:], ',,"760"'])
    found = look(text)
    assert (found.row_count, found.rows_looked_at) == (42, 40)
    assert "2 rows look like totals or notes, such as '760', 'Total north'" in found.warnings[0]
    assert "counts them twice" in found.warnings[0]
    assert found.key == ("place", "number")
    assert [column.null_count for column in found.columns] == [0, 0, 0]  # a run loads neither


def test_totals_without_a_key_go_to_the_quarantine(look: Look) -> None:
    rows = [f"{n},{day(n)},{n * 3}" for n in range(60)]
    found = look(lines("id,sold,units", [*rows, "Total,,5310", ",,5310"]))
    assert (found.key, found.event_time, found.rows_looked_at) == (("id",), "sold", 60)
    assert [column.null_count for column in found.columns] == [0, 1, 0]


def test_texts_that_name_totals_are_records_when_nothing_is_missing(look: Look) -> None:
    rows = [f"{['Total Wine', 'Gesamt AG', 'Acme'][n % 3]},{n},{n * 2}" for n in range(60)]
    found = look(lines("shop,number,units", rows))
    assert (found.rows_looked_at, found.warnings[:-1]) == (60, ())


def test_files_of_several_encodings_are_refused(look: Look) -> None:
    text = lines("id,name", [f"{n},Müller" for n in range(60)])
    with pytest.raises(ClearwaterError, match=r"cp1252 such as part_\S+, utf-8 such as part_"):
        look(text.encode("cp1252"), text)
    assert look(text.encode("cp1252"), "id,name\n99,Meier\n").options == {"encoding": "cp1252"}


def test_a_list_without_a_header(look: Look) -> None:
    found = look("".join(f"u{n}@x{n % 3}.org\n" for n in range(60)))
    assert (found.options, found.row_count) == ({"header": False}, 60)
    found = look(lines("mail", [f"u{n}@x.org" for n in range(60)]))
    assert (found.options, found.key) == ({}, ("mail",))


def test_values_in_folders_names_are_told_of(settings: Settings, tmp_path: Path) -> None:
    files = [tmp_path / "year=2024" / f"month={n}" / "part.csv" for n in (1, 2)]
    for n, file in enumerate(files):
        file.parent.mkdir(parents=True)
        file.write_text(f"id,size\n{n},{n}.5\n")
    found = infer(settings, files, "shop.orders")
    assert list(types(found)) == ["id", "size"]
    assert "the folders' names alone (month, year) is not loaded" in found.warnings[0]


def test_escapes_that_stand_for_something_are_told_of(look: Look) -> None:
    found = look(lines("id,text", [f'{n},"say \\"hi\\"\\n{n}"' for n in range(60)]))
    assert found.options == {"escape": "\\"}
    assert "written as \\n for a new line becomes n" in found.warnings[0]
