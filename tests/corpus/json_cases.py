"""JSON and NDJSON: what is no JSON, what is more than JSON, and what is too deep."""

from __future__ import annotations

from corpus.case import ORDERS, Case, Held

KEYED = {"columns": {"id": "bigint"}, "key": ["id"]}
DEEP = "[" * 100_000 + "]" * 100_000

CASES = [
    Case("JSON of no bytes", {"a.json": b""}, ORDERS, refused="line 1, column 1: not valid JSON"),
    Case("JSON of an empty array", {"a.json": "[]"}, ORDERS, rows=[]),
    Case(
        "JSON that is one number",
        {"a.json": "42"},
        ORDERS,
        refused="not an object but a number",
        refused_rows=1,
    ),
    Case(
        "JSON that is cut",
        {"a.json": '[{"id": 1},\n {"id": 2}, {"id'},
        KEYED,
        refused="line 2, column",
    ),
    Case(
        "JSON with a comma too many",
        {"a.json": '[{"id": 1},\n]'},
        KEYED,
        refused="line 2, column 1",
    ),
    Case(
        "JSON with comments",
        {"a.json": '[{"id": 1}, // one\n]'},
        KEYED,
        refused="line 1, column 13",
    ),
    Case(
        "JSON with values that are no objects",
        {"a.json": '[{"id": 1},\n7, null, "x",\n[1], {"id": 2}, {"id": 3},{"id":4}]'},
        KEYED,
        loaded=4,
        held=(
            Held(2, 2, "torn_record", "a number"),
            Held(3, 2, "torn_record", "null"),
            Held(4, 2, "torn_record", "a text"),
            Held(5, 3, "torn_record", "an array"),
        ),
    ),
    Case(
        "JSON with a key twice",
        {"a.json": '[{"id": 1},\n{"id": 2, "id": 3}]'},
        KEYED,
        loaded=1,
        held=(Held(2, 2, "torn_record", "'id' stands twice"),),
    ),
    Case(
        "JSON with NaN and infinities",
        {
            "a.json": '[{"id": 1, "amount": NaN}, {"id": 2, "amount": -Infinity}, {"id": 3},'
            ' {"id": 4, "amount": 1e999}, {"id": 5, "amount": 1}, {"id": 6}]'
        },
        ORDERS,
        loaded=3,
        held=(
            Held(1, 1, "torn_record", "NaN"),
            Held(2, 1, "torn_record", "-Infinity"),
            Held(4, 1, "not_of_type", "amount"),
        ),
    ),
    Case(
        "JSON with integers past 64 bits, undeclared and declared",
        {"a.json": '[{"id": 1, "n": 123456789012345678901234567890}, {"id": 1e30, "n": 1.10}]'},
        KEYED,
        loaded=1,
        held=(Held(2, 1, "not_of_type", "id"),),
        rows=[(1, "123456789012345678901234567890")],
    ),
    Case(
        "JSON with half a surrogate",
        {"a.json": '[{"id": 1, "n": "\\ud800"}, {"id": 2, "n": "\\ud83d\\ude00"}]'},
        KEYED,
        loaded=1,
        held=(Held(1, 1, "torn_record", "not Unicode"),),
        rows=[(2, "😀")],
    ),
    Case(
        "JSON with bytes that are not UTF-8",
        {"a.json": b'[{"id": 1, "n": "\xe9"}, {"id": 2, "n": "b"}]'},
        KEYED,
        loaded=1,
        held=(Held(1, 1, "torn_record", "not Unicode"),),
    ),
    Case(
        "JSON in UTF-16 with its mark",
        {"a.json": '[{"id": 1, "n": "ž"}]'.encode("utf-16")},
        KEYED,
        loaded=1,
        rows=[(1, "ž")],
    ),
    Case(
        "JSON nested 100,000 deep",
        {"a.json": f'[{{"id": 1, "n": {DEEP}}}]'},
        KEYED,
        refused="too deep",
    ),
    Case(
        "JSON nested 900 deep in one record",
        {"a.json": '[{"id": 1, "n": ' + "[" * 900 + "]" * 900 + '}, {"id": 2, "n": []}]'},
        KEYED,
        loaded=1,
        held=(Held(1, 1, "torn_record", "too deep"),),
    ),
    Case(
        "JSON objects without an array around",
        {"a.json": '{"id": 1}\n{"id": 2}{"id": 3}'},
        KEYED,
        loaded=3,
    ),
    Case(
        "JSON with keys that differ in case alone in one record",
        {"a.json": '[{"id": 1},\n{"id": 2, "ID": 3}]'},
        KEYED,
        loaded=1,
        held=(Held(2, 2, "torn_record", "'id' and 'ID' differ in case alone"),),
    ),
    Case(
        "JSON with keys that differ in case alone from record to record",
        {"a.json": '[{"id": 1, "N": 2}, {"ID": 3, "n": 4}]'},
        {**KEYED, "columns": {"Id": "bigint", "n": "bigint"}},
        loaded=2,
        rows=[(1, 2), (3, 4)],
    ),
    Case("JSON with an empty key", {"a.json": '[{"id": 1, "": 2}]'}, KEYED, refused="no name"),
    Case(
        "JSON with a NUL character in a key",
        {"a.json": '[{"id": 1, "a\\u0000b": 2}]'},
        KEYED,
        refused="NUL",
    ),
    Case(
        "JSON with a key of our own name",
        {"a.json": '[{"id": 1, "_source_row": 2}]'},
        KEYED,
        refused="'_source_row' is Clearwater's own",
    ),
    Case(
        "JSON with nothing at the record path",
        {"a.json": '{"data": {"rows": [{"id": 1}]}}'},
        {**KEYED, "record": "data.items"},
        refused="beside it there is: rows",
    ),
    Case(
        "JSON of numbers, texts and objects in one column",
        {"a.json": '[{"id": 1, "n": 1.0}, {"id": 2, "n": "1.0"}, {"id": 3, "n": {"a": 1.10}}]'},
        KEYED,
        loaded=3,
        rows=[(1, "1.0"), (2, "1.0"), (3, '{"a":1.10}')],
    ),
    Case(
        "NDJSON with a broken line, an array and two objects in a line",
        {
            "a.ndjson": '{"id": 1}\n{"id": \n\n[2]\n{"id": 3}{"id": 4}\n{"id": 5}\n'
            '{"id": 6}\n{"id": 7'
        },
        {**KEYED, "tolerance": 0.6},
        loaded=3,
        held=(
            Held(2, 2, "torn_record", "not JSON"),
            Held(3, 4, "torn_record", "an array"),
            Held(4, 5, "torn_record", "not JSON"),
            Held(7, 8, "torn_record", "not JSON"),
        ),
    ),
    Case(
        "NDJSON with a byte order mark, CRLF, NUL bytes and bytes that are not UTF-8",
        {"a.jsonl": b'\xef\xbb\xbf{"id": 1}\r\n\0\r\n{"id": 2, "n": "\xff"}\r\n{"id": 3}\r\n'},
        KEYED,
        loaded=2,
        held=(Held(2, 2, "torn_record", "not JSON"), Held(3, 3, "torn_record", "not UTF-8")),
    ),
    Case(
        "NDJSON with a key twice, or twice but for its case",
        {"a.ndjson": '{"id": 1}\n{"id": 2, "id": 3}\n{"id": 4, "ID": 5}\n{"ID": 6}\n'},
        KEYED,
        loaded=2,
        held=(
            Held(2, 2, "torn_record", "'id' stands twice"),
            Held(3, 3, "torn_record", "'id' and 'ID' differ in case alone"),
        ),
        rows=[(1,), (6,)],
    ),
    Case("NDJSON of no bytes", {"a.ndjson": b""}, KEYED, rows=[]),
    Case(
        "NDJSON with a line nested 100,000 deep",
        {"a.ndjson": f'{{"id": 1}}\n{{"id": 2, "n": {DEEP}}}\n'},
        KEYED,
        loaded=1,
        held=(Held(2, 2, "torn_record", "too deep"),),
    ),
    Case(
        "NDJSON without the key in any record",
        {"a.ndjson": '{"a": 1}\n{"b": 2}\n'},
        KEYED,
        refused="'id' that sources.yml names is not in the file",
    ),
]
