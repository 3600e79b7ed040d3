"""XML: entities, document types, encodings, depth, and marks that are not data."""

from __future__ import annotations

from corpus.case import Case, Held

ROWS = {"record": "/rows/row", "columns": {"id": "bigint"}, "key": ["id"]}
GOOD = "<rows><row><id>1</id></row>\n<row><id>2</id></row></rows>"
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))

CASES = [
    Case("XML of no bytes", {"a.xml": b""}, ROWS, refused="line 1: not a readable XML file"),
    Case(
        "XML with a billion laughs",
        {
            "a.xml": f'<!DOCTYPE x [<!ENTITY l0 "ha">{LAUGHS}]>\n'
            "<rows><row><id>&l9;</id></row></rows>"
        },
        ROWS,
        refused="line 1: a document type (x) and its entities are not read",
    ),
    Case(
        "XML with an external entity",
        {
            "a.xml": '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
            "<rows><row><id>&e;</id></row></rows>"
        },
        ROWS,
        refused="a document type (x)",
    ),
    Case(
        "XML with an external document type",
        {"a.xml": f'<!DOCTYPE rows SYSTEM "http://example.org/x.dtd">{GOOD}'},
        ROWS,
        refused="a document type (rows)",
    ),
    Case("XML that is cut", {"a.xml": GOOD[:-9]}, ROWS, refused="line 2: not a readable XML file"),
    Case("XML with text behind its end", {"a.xml": GOOD + "\n<x/>"}, ROWS, refused="line 3"),
    Case(
        "XML with namespaces, CDATA, comments and processing instructions",
        {
            "a.xml": '<?xml version="1.0"?><?app x?><n:rows xmlns:n="urn:x"><!-- <row/> --><n:row>'
            "<n:id>1</n:id><n:t><![CDATA[<b>&amp;]]><!-- c --><?p?>!</n:t></n:row></n:rows>"
        },
        ROWS,
        loaded=1,
        rows=[(1, "<b>&amp;!")],
    ),
    Case(
        "XML nested 5,000 deep",
        {"a.xml": "<a>" * 5_000 + "</a>" * 5_000},
        ROWS,
        refused="nested deeper",
    ),
    Case(
        "XML with one attribute twice",
        {"a.xml": '<rows><row id="1" id="2"/></rows>'},
        ROWS,
        refused="duplicate attribute",
    ),
    Case(
        "XML with a character that XML does not have",
        {"a.xml": "<rows>\n<row><id>1</id><t>&#0;</t></row></rows>"},
        ROWS,
        refused="line 2",
    ),
    Case(
        "XML of an encoding that nobody knows",
        {"a.xml": f'<?xml version="1.0" encoding="x-none"?>{GOOD}'},
        ROWS,
        refused="encoding",
    ),
    Case(
        "XML whose bytes are not of its encoding",
        {"a.xml": b"<rows>\n<row><id>1</id><t>\xe9</t></row></rows>"},
        ROWS,
        refused="line 2",
    ),
    Case(
        "XML in UTF-16 with its mark",
        {"a.xml": f'<?xml version="1.0" encoding="utf-16"?>{GOOD}'.encode("utf-16")},
        ROWS,
        loaded=2,
    ),
    Case(
        "XML without the records' path",
        {"a.xml": GOOD},
        {"columns": {"id": "bigint"}},
        refused="such as `record: /rows/row`",
    ),
    Case(
        "XML with an attribute and an element of one name",
        {"a.xml": '<rows><row id="a"><id>1</id></row></rows>'},
        ROWS,
        loaded=1,
        rows=[("a", 1)],
    ),
    Case(
        "XML with keys that are null or no numbers",
        {
            "a.xml": "<rows><row><id>1</id></row>\n<row><id/></row>\n<row><id>x</id></row>"
            "<row><id>2</id></row></rows>"
        },
        ROWS,
        loaded=2,
        held=(Held(2, 2, "key_missing"), Held(3, 3, "not_of_type", "id")),
    ),
]
