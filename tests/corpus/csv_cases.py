"""CSV and TSV: encodings, line ends, quotes, headers, and values that are not of their type."""

from __future__ import annotations

from corpus.case import ORDERS, Case, Held

TEXT = {"columns": {"id": "bigint"}, "key": ["id"]}
GOOD = "id,amount\n1,1.5\n2,2\n"
NAMES = 'select,"a""b",\'; drop table x; --,"two\nlines",🙂,\u202eשלום,Ünï çø∂é'

CASES = [
    Case("CSV of no bytes", {"a.csv": b""}, ORDERS, refused="the file is empty"),
    Case("CSV of a header alone", {"a.csv": "id,amount\n"}, ORDERS, rows=[]),
    Case("CSV of a header without a line end", {"a.csv": "id,amount"}, ORDERS, rows=[]),
    Case("CSV of blank lines alone", {"a.csv": "\n" * 9}, ORDERS, refused="no header"),
    Case(
        "CSV of a byte order mark alone",
        {"a.csv": b"\xef\xbb\xbf"},
        ORDERS,
        refused="the file is empty",
    ),
    Case(
        "CSV with UTF-8's byte order mark",
        {"a.csv": b"\xef\xbb\xbf" + GOOD.encode()},
        ORDERS,
        loaded=2,
        rows=[(1, 1.5), (2, 2.0)],
    ),
    Case(
        "CSV in UTF-16 with its mark",
        {"a.csv": GOOD.encode("utf-16")},
        ORDERS,
        loaded=2,
        rows=[(1, 1.5), (2, 2.0)],
    ),
    Case(
        "CSV in UTF-16 without a mark",
        {"a.csv": GOOD.encode("utf-16-le")},
        ORDERS,
        refused="encoding",
    ),
    Case(
        "CSV of mixed encodings",
        {"a.csv": "id,name\n1,Žižek\n2,".encode() + "Müller\n3,ok\n".encode("latin-1")},
        TEXT,
        loaded=2,
        held=(Held(2, 3, "torn_record", "utf"),),
        rows=[(1, "Žižek"), (3, "ok")],
    ),
    Case(
        "CSV with NUL bytes",
        {"a.csv": b"id,name\n1,a\0b\n2,c\n"},
        TEXT,
        loaded=2,
        rows=[(1, "a\0b"), (2, "c")],
    ),
    Case(
        "CSV with line ends and quotes in fields",
        {"a.csv": 'id,name\n1,"a\nb\r\nc"\n2,"say ""hi"", then"\nx,d\n4,"\n"\n'},
        TEXT,
        loaded=3,
        held=(Held(3, 6, "not_of_type", "id"),),
        rows=[(1, "a\nb\r\nc"), (2, 'say "hi", then'), (4, "\n")],
    ),
    Case(
        "CSV of ragged rows",
        {"a.csv": "id,amount\n1,1\n2\n3,3,3\n4,4\n5,5\n"},
        ORDERS,
        loaded=3,
        held=(
            Held(2, 3, "torn_record", "missing columns"),
            Held(3, 4, "torn_record", "too many columns"),
        ),
        rows=[(1, 1.0), (4, 4.0), (5, 5.0)],
    ),
    Case(
        "CSV with a delimiter at each row's end",
        {"a.csv": "id,amount\n1,1,\n2,2,\n"},
        ORDERS,
        loaded=2,
        rows=[(1, 1.0), (2, 2.0)],
    ),
    Case(
        "CSV with blank lines among torn rows",
        {"a.csv": "id,amount\n\n1,1\n\n\n2,2,2\n\n3,3\n4,4\n"},
        ORDERS,
        loaded=3,
        held=(Held(2, 6, "torn_record", "too many columns"),),
    ),
    Case(
        "CSV with a line of spaces",
        {"a.csv": "id,amount\n1,1\n   \n2,2\n"},
        ORDERS,
        loaded=2,
        held=(Held(2, 3, "torn_record"),),
    ),
    Case(
        "CSV with a header twice", {"a.csv": "id,amount,id\n1,1,1\n"}, refused="'id' stands twice"
    ),
    Case(
        "CSV with names that differ in case alone",
        {"a.csv": "id,ID\n1,2\n"},
        refused="'ID' stands twice",
    ),
    Case(
        "CSV with empty names",
        {"a.csv": "id,,amount,\n1,a,1,b\n"},
        ORDERS,
        loaded=1,
        rows=[(1, "a", 1.0, "b")],
    ),
    Case("CSV with nothing but empty names", {"a.csv": ",,\n1,2,3\n"}, loaded=1),
    Case(
        "CSV with SQL, quotes, line ends, emojis and right-to-left marks as names",
        {"a.csv": NAMES + "\n1,2,3,4,5,6,7\n"},
        loaded=1,
        rows=[("1", "2", "3", "4", "5", "6", "7")],
    ),
    Case("CSV with a NUL byte in a name", {"a.csv": b"id,na\0me\n1,2\n"}, refused="NUL"),
    Case(
        "CSV with a name of 5,000 characters",
        {"a.csv": "id," + "n" * 5_000 + "\n1,2\n"},
        loaded=1,
    ),
    Case(
        "CSV with a column of our own name",
        {"a.csv": "id,_BATCH_ID\n1,2\n"},
        refused="'_BATCH_ID' is Clearwater's own",
    ),
    Case(
        "CSV with a quote that never ends",
        {"a.csv": 'id,name\n1,a\n2,b\n3,"c\n'},
        TEXT,
        loaded=2,
        held=(Held(3, 4, "torn_record", "quote"),),
    ),
    Case(
        "CSV with text behind a closing quote",
        {"a.csv": 'id,name\n1,a\n2,"b"c\n3,d\n'},
        TEXT,
        loaded=2,
        held=(Held(2, 3, "torn_record"),),
    ),
    Case(
        "CSV with quotes within unquoted fields",
        {"a.csv": 'id,name\n1,5" disk\n2,a "b" c\n'},
        TEXT,
        loaded=2,
        rows=[(1, '5" disk'), (2, 'a "b" c')],
    ),
    Case(
        "CSV with carriage returns as line ends",
        {"a.csv": "id,amount\r1,1\r2,2\r"},
        ORDERS,
        loaded=2,
        rows=[(1, 1.0), (2, 2.0)],
    ),
    Case(
        "CSV of mixed line ends",
        {"a.csv": 'id,name\r\n1,a\n2,"b\r\nb"\r\n3,c\n'},
        TEXT,
        loaded=3,
        rows=[(1, "a"), (2, "b\r\nb"), (3, "c")],
    ),
    Case(
        "CSV with line separators that are none of CSV's",
        {"a.csv": "id,name\n1,a\u2028b\n2,c\x0bd\x0ce\x1cf\x85g\n"},
        TEXT,
        loaded=2,
        rows=[(1, "a\u2028b"), (2, "c\x0bd\x0ce\x1cf\x85g")],
    ),
    Case(
        "CSV of a delimiter that is not told",
        {"a.csv": "id;amount\n1;1,5\n"},
        ORDERS,
        refused="delimiter: ';'",
    ),
    Case(
        "CSV with a semicolon within fields",
        {"a.csv": "id,name\n1,a;b\n"},
        TEXT,
        loaded=1,
        rows=[(1, "a;b")],
    ),
    Case(
        "TSV with commas and quoted tabs",
        {"a.tsv": 'id\tname\n1\ta,b\n2\t"c\td"\n'},
        TEXT,
        loaded=2,
        rows=[(1, "a,b"), (2, "c\td")],
    ),
    Case(
        "CSV without the key's column",
        {"a.csv": "idd,amount\n1,1\n"},
        ORDERS,
        refused="declare 'idd' beside it",
    ),
    Case(
        "CSV whose keys are all null",
        {"a.csv": "id,amount\n,1\n,2\n"},
        ORDERS,
        refused="a key column is null",
        refused_rows=2,
    ),
    Case(
        "CSV whose keys are null, or stand twice",
        {"a.csv": "id,amount\n1,1\n,2\n1,1\n1,9\n5,5\n"},
        ORDERS,
        loaded=2,
        known=1,
        held=(Held(2, 3, "key_missing"), Held(4, 5, "key_conflict", "amount")),
    ),
    Case(
        "CSV with NaN and infinities",
        {"a.csv": "id,amount\n1,NaN\n2,inf\n3,-Infinity\n4,1e308\n5,1e309\n"},
        ORDERS,
        loaded=4,
        held=(Held(5, 6, "not_of_type", "amount"),),
    ),
    Case(
        "CSV with dates out of range",
        {
            "a.csv": "id,at\n1,2026-02-30\n2,0000-00-00\n3,9999-12-31\n4,99999999-01-01\n"
            "5,2026-01-01\n6,2026-01-01 12:00:00\n7,1752-09-05\n8,-0044-03-15\n"
        },
        {"columns": {"id": "bigint", "at": "date"}},
        loaded=4,
        held=tuple(Held(n, n + 1, "not_of_type", "at") for n in (1, 2, 4, 6)),
    ),
    Case(
        "CSV with integers past 64 bits",
        {
            "a.csv": "id,amount\n9223372036854775807,1\n9223372036854775808,2\n-9e99,3\n"
            "1.5,4\n7,5\n8,6\n"
        },
        ORDERS,
        loaded=3,
        held=tuple(Held(n, n + 1, "not_of_type", "id") for n in (2, 3, 4)),
        rows=[(9223372036854775807, 1.0), (7, 5.0), (8, 6.0)],
    ),
    Case(
        "CSV with words for null that nobody declared",
        {"a.csv": "id,name\n1,NULL\n2,\\N\n3,None\n4,\n"},
        TEXT,
        loaded=4,
        rows=[(1, "NULL"), (2, "\\N"), (3, "None"), (4, None)],
    ),
    Case(
        "CSV with formulas, control characters and terminal escapes",
        {"a.csv": "id,name\n1,=cmd|' /C calc'!A0\n2,\x1b[2J\x07\x1a\n"},
        TEXT,
        loaded=2,
        rows=[(1, "=cmd|' /C calc'!A0"), (2, "\x1b[2J\x07\x1a")],
    ),
    Case(
        "CSV that ends in control-Z",
        {"a.csv": "id,amount\n1,1\n2,2\n\x1a"},
        ORDERS,
        loaded=2,
        held=(Held(3, 4, "torn_record"),),
    ),
    Case(
        "CSV that is an error page",
        {"a.csv": "<!DOCTYPE html>\n<html><body>503</body></html>\n"},
        ORDERS,
        refused="'id' that sources.yml names is not in the file",
    ),
    Case(
        "CSV that is Parquet",
        {"a.csv": b"PAR1\x15\x04\x15\xff\xfe\n\x80PAR1"},
        ORDERS,
        refused="cannot be read as UTF-8",
    ),
    Case(
        "CSV of a frozen schema with one more column",
        {"1.csv": GOOD, "2.csv": "id,amount,note\n3,3,new\n"},
        {**ORDERS, "schema": "freeze"},
        loaded=2,
        refused="column 'note' is not in the table; row 1 has 'new'",
        refused_rows=1,
    ),
    Case(
        "CSV with a field of 3 MB",
        {"a.csv": "id,name\n1,a\n2," + "x" * 3_000_000 + "\n3,c\n"},
        TEXT,
        loaded=2,
        held=(Held(2, 3, "torn_record", "maximum line size"),),
    ),
    Case(
        "CSV with a long field before blank lines and torn rows",
        {"a.csv": "id,name\n1," + "x" * 200_000 + "\n\n2\n\n3,c\n4,d\n"},
        TEXT,
        loaded=3,
        held=(Held(2, 4, "torn_record", "missing columns"),),
    ),
    Case(
        "CSV files of one name with other content",
        {"x/a.csv": "id,amount\n1,1\n", "y/a.csv": "id,amount\n1,2\n2,2\n"},
        ORDERS,
        path="**/*.csv",
        loaded=2,
        held=(Held(1, 2, "key_conflict", "amount"),),
    ),
    Case(
        "CSV of the same bytes under two names",
        {"a.csv": GOOD, "b.csv": GOOD},
        ORDERS,
        loaded=2,
    ),
    Case(
        "CSV whose file name is SQL, quotes and a line end",
        {"'; drop table x; --\n\"$(touch x)`id`.csv": GOOD},
        ORDERS,
        loaded=2,
    ),
    Case(
        "CSV whose file name is not Unicode",
        {"caf\udce9.csv": GOOD},
        ORDERS,
        loaded=2,
    ),
    Case(
        "file whose suffix tells nothing",
        {"a.dat": GOOD},
        ORDERS,
        refused="does not tell its format",
    ),
]
