"""XML: elements at a path are records; nothing outside of the file is ever read."""

from __future__ import annotations

from pathlib import Path

import pytest
from reading import read, refusal

from warehouse.readers import xml_text

BOOKS = """<?xml version="1.0"?>
<catalog xmlns:x="urn:x">
  <made>today</made>
  <book id="1"><title>A &amp; B</title><price>1.10</price></book>
  <x:book id="2"><x:title>C</x:title>
    <author>X</author><author>Y</author><price cur="EUR">2</price><none/></x:book>
</catalog>"""


def test_attributes_and_children_are_columns(tmp_path: Path) -> None:
    one = read(tmp_path, "a.xml", BOOKS, record="/catalog/book", columns={"id": "bigint"})
    assert one.types["id"] == "BIGINT"
    assert [dict(zip(one.types, row, strict=True)) for row in one.rows] == [
        {"id": 1, "title": "A & B", "price": "1.10", "author": None, "none": None},
        {
            "id": 2,
            "title": "C",
            "price": '{"cur":"EUR","text":"2"}',
            "author": '["X","Y"]',
            "none": None,
        },
    ]
    assert one.lines == {1: 4, 2: 5}


@pytest.mark.parametrize(
    ("record", "row"),
    [
        ("<r>text</r>", {"text": "text"}),
        ("<r a='1'>text</r>", {"a": "1", "text": "text"}),
        ("<r a='1'><a>2</a></r>", {"attribute_a": "1", "a": "2"}),
        ("<r><a> x </a></r>", {"a": " x "}),
        ("<r><a><b>1</b><b><c/></b></a></r>", {"a": '{"b":["1",{"c":null}]}'}),
        ("<r><a n='1'><n>2</n></a></r>", {"a": '{"attribute_n":"1","n":"2"}'}),
        ("<r>see <b>x</b> there<c/></r>", {"b": "x", "c": None, "text": "see <b>x</b> there<c />"}),
        ("<r><a><![CDATA[<b>]]></a></r>", {"a": "<b>"}),
        (
            "<r><a xmlns:i='http://www.w3.org/2001/XMLSchema-instance' i:nil='true'/></r>",
            {"a": None},
        ),
    ],
)
def test_what_a_record_holds_is_kept(tmp_path: Path, record: str, row: dict[str, str]) -> None:
    one = read(tmp_path, "a.xml", f"<l>{record}</l>", record="l/r")
    assert [dict(zip(one.types, values, strict=True)) for values in one.rows] == [row]


def test_attribute_may_be_declared_by_its_long_name(tmp_path: Path) -> None:
    one = read(
        tmp_path, "a.xml", "<l><r a='1'/></l>", record="/l/r", columns={"attribute_a": "bigint"}
    )
    assert one.rows == [(1,)]


def test_element_text_beside_the_records_own_text_tears_it(tmp_path: Path) -> None:
    one = read(tmp_path, "a.xml", "<l><r>x<text>y</text></r><r><b>1</b></r></l>", record="/l/r")
    assert (one.rows, one.torn_raw) == ([("1",)], {1: "<r>x<text>y</text></r>"})


def test_path_is_proposed_where_none_is_declared(tmp_path: Path) -> None:
    error = refusal(tmp_path, "a.xml", BOOKS)
    assert "record: /catalog/book" in error.next_step


def test_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path, "a.xml", BOOKS, record="/catalog/bok")
    assert "record: /catalog/bok" in error.what
    assert "record: /catalog/book" in error.next_step


def test_list_without_records_is_no_rows(tmp_path: Path) -> None:
    one = read(tmp_path, "a.xml", "<l></l>", record="/l/r", columns={"a": "bigint"})
    assert (one.types, one.rows) == ({"a": "BIGINT"}, [])


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE l [<!ENTITY a "b">]>',
        '<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE l SYSTEM "http://example.com/l.dtd">',
        '<!DOCTYPE l [<!ENTITY % a SYSTEM "http://example.com/a"> %a;]>',
    ],
)
def test_entities_and_external_references_are_refused(tmp_path: Path, doctype: str) -> None:
    error = refusal(tmp_path, "a.xml", f"{doctype}<l><r>&a;</r></l>", record="/l/r")
    assert "a document type (l) and its entities are not read" in error.what


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        ("", "no element found", 1),
        ("<l>\n<r>", "no element found", 2),
        ("<l>\n<r>1</l>", "mismatched tag", 2),
        ("<l>\n<r>&b;</r></l>", "undefined entity", 2),
        ("<l><r>1</r></l>\n<l/>", "junk after document element", 2),
        ("<l><r>\0</r></l>", "not well-formed", 1),
        ("a,b\n1,2\n", "syntax error", 1),
        ("<r>" * 100_000, "nested deeper", 1),
    ],
)
def test_broken_file_is_refused_naming_the_line(
    tmp_path: Path, text: str, what: str, line: int
) -> None:
    error = refusal(tmp_path, "a.xml", text, record="/l/r")
    assert what in error.what
    assert error.where.endswith(f"line {line}")


def test_record_too_large_to_hold_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(xml_text, "LONGEST_RECORD", 1000)
    error = refusal(tmp_path, "a.xml", f"<l><r>{'x' * 2000}</r></l>", record="/l/r")
    assert "longer than 1,000" in error.what


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "iso-8859-1", "cp1252"])
def test_encoding_is_the_declared_one(tmp_path: Path, encoding: str) -> None:
    declared = "utf-8" if encoding == "utf-8-sig" else encoding
    text = f'<?xml version="1.0" encoding="{declared}"?><l><r>café</r></l>'
    assert read(tmp_path, "a.xml", text.encode(encoding), record="/l/r").rows == [("café",)]
