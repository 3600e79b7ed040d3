"""gzip, zstd and zip: cut, damaged, swollen, nested, and members that should not be there."""

from __future__ import annotations

import gzip
import io
import stat
import warnings
import zipfile

from corpus.case import ORDERS, Case, gzipped, zipped, zstd

GOOD = "id,amount\n1,1.5\n2,2\n"
MORE = "id,amount\n3,3\n"
LONG = "id,amount\n" + "".join(f"{n},{n}\n" for n in range(20_000))


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def doubled() -> bytes:
    """A zip with two members of one name."""
    out = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.csv", GOOD)
        archive.writestr("a.csv", MORE)
    return out.getvalue()


def linked(target: str) -> bytes:
    """A zip whose one member is a symbolic link."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        member = zipfile.ZipInfo("a.csv")
        member.create_system = 3
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, target)
    return out.getvalue()


def encrypted() -> bytes:
    """A zip that says that its member is encrypted."""
    content = bytearray(zipped({"a.csv": GOOD}))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def lzma_zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.csv", LONG)
    return out.getvalue()


def misplaced() -> bytes:
    """A zip whose directory says that its member begins before the file does."""
    content = zipped({"a.csv": GOOD})
    end = content.index(b"PK\x05\x06") + 16  # where the directory begins: further down than it is
    return content[:end] + b"\xff\x00" + content[end + 2 :]


UNPACKED = "cannot be unpacked"

CASES = [
    Case("gzip that is cut", {"a.csv.gz": gzipped(LONG)[:-20]}, ORDERS, refused=UNPACKED),
    Case("gzip of no bytes", {"a.csv.gz": b""}, ORDERS, refused=UNPACKED),
    Case("gzip of an empty file", {"a.csv.gz": gzipped("")}, ORDERS, refused="the file is empty"),
    Case(
        "gzip that is damaged",
        {"a.csv.gz": flipped(gzipped(LONG), 9_000)},
        ORDERS,
        refused=UNPACKED,
    ),
    Case(
        "gzip with a wrong checksum",
        {"a.csv.gz": flipped(gzipped(GOOD), -6)},
        ORDERS,
        refused=UNPACKED,
    ),
    Case(
        "gzip with other bytes behind it",
        {"a.csv.gz": gzipped(GOOD) + b"other"},
        ORDERS,
        refused=UNPACKED,
    ),
    Case("gzip with zeros behind it", {"a.csv.gz": gzipped(GOOD) + bytes(512)}, ORDERS, loaded=2),
    Case(
        "gzip of several members", {"a.csv.gz": gzipped(GOOD) + gzipped("3,3\n")}, ORDERS, loaded=3
    ),
    Case("gzip in gzip", {"a.csv.gz.gz": gzip.compress(gzipped(GOOD))}, ORDERS, refused="suffix"),
    Case("gzip that is plain text", {"a.csv.gz": GOOD}, ORDERS, refused=UNPACKED),
    Case("zstd that is cut", {"a.csv.zst": zstd(LONG.encode())[:-20]}, ORDERS, refused=UNPACKED),
    Case(
        "zstd with a damaged block",
        {"a.csv.zst": flipped(zstd(LONG.encode()), 6)},
        ORDERS,
        refused=UNPACKED,
    ),
    Case("zstd of no bytes", {"a.csv.zst": b""}, ORDERS, refused=UNPACKED),
    Case("zstd that is plain text", {"a.csv.zst": GOOD}, ORDERS, refused=UNPACKED),
    Case(
        "zstd of several frames",
        {"a.csv.zst": zstd(GOOD.encode()) + zstd(b"3,3\n")},
        ORDERS,
        loaded=3,
    ),
    Case(
        "zstd with other bytes behind it",
        {"a.csv.zst": zstd(GOOD.encode()) + b"other"},
        ORDERS,
        refused=UNPACKED,
    ),
    Case(
        "zip with a path that climbs out",
        {"a.zip": zipped({"../../a.csv": GOOD})},
        ORDERS,
        refused="would climb out",
    ),
    Case(
        "zip with an absolute path",
        {"a.zip": zipped({"/etc/a.csv": GOOD})},
        ORDERS,
        refused="would climb out",
    ),
    Case(
        "zip with a path of backslashes",
        {"a.zip": zipped({"..\\..\\a.csv": GOOD})},
        ORDERS,
        refused="would climb out",
    ),
    Case(
        "zip with a symbolic link",
        {"a.zip": linked("../../../etc/passwd")},
        ORDERS,
        refused="is a link",
    ),
    Case("zip with two members of one name", {"a.zip": doubled()}, ORDERS, refused="stands twice"),
    Case("zip with an encrypted member", {"a.zip": encrypted()}, ORDERS, refused="is encrypted"),
    Case(
        "zip in zip",
        {"a.zip": zipped({"b.zip": zipped({"a.csv": GOOD})})},
        ORDERS,
        refused="is a zip itself",
    ),
    Case("zip without a member", {"a.zip": zipped({})}, ORDERS, refused="holds no file"),
    Case(
        "zip of folders alone",
        {"a.zip": zipped({"x/": b"", "x/y/": b""})},
        ORDERS,
        refused="holds no file",
    ),
    Case("zip that is cut", {"a.zip": zipped({"a.csv": LONG})[:-30]}, ORDERS, refused="not a zip"),
    Case(
        "zip with a damaged member",
        {"a.zip": flipped(zipped({"a.csv": LONG}), 500)},
        ORDERS,
        refused=UNPACKED,
    ),
    Case(
        "zip with a damaged member of LZMA",
        {"a.zip": flipped(lzma_zip(), 600)},
        ORDERS,
        refused=UNPACKED,
    ),
    Case("zip whose directory is misplaced", {"a.zip": misplaced()}, ORDERS, refused=UNPACKED),
    Case(
        "zip with bytes before it",
        {"a.zip": b"#!/bin/sh\n" + zipped({"a.csv": GOOD})},
        ORDERS,
        loaded=2,
    ),
    Case(
        "zip of a good member, a read-me and a licence",
        {"a.zip": zipped({"a.csv": GOOD, "README.txt": "read me", "LICENSE": "as is"})},
        ORDERS,
        loaded=2,
    ),
    Case(
        "zip of a good member and others that do not tell the declared format",
        {"a.zip": zipped({"a.csv": GOOD, "about.json": "{}", "README.txt": "read me"})},
        {**ORDERS, "format": "csv"},
        loaded=2,
    ),
    Case(
        "zip of text files in the declared format",
        {"a.zip": zipped({"a.txt": GOOD, "b.txt": MORE})},
        {**ORDERS, "format": "csv"},
        loaded=3,
    ),
    Case(
        "zip of a text file without a declared format",
        {"a.zip": zipped({"a.txt": GOOD})},
        ORDERS,
        refused="a.zip/a.txt: the file's suffix does not tell its format",
    ),
    Case(
        "zip with what archivers leave",
        {"a.zip": zipped({"a.csv": GOOD, "__MACOSX/._a.csv": "x", ".DS_Store": "x"})},
        ORDERS,
        loaded=2,
    ),
    Case(
        "zip of what archivers leave alone",
        {"a.zip": zipped({"__MACOSX/._a.csv": "x", ".DS_Store": "x", "x/Thumbs.db": "x"})},
        ORDERS,
        refused="holds no file",
    ),
    Case(
        "zip of a good member and one of no bytes",
        {"a.zip": zipped({"a.csv": GOOD, "b.csv": b""})},
        ORDERS,
        loaded=2,
        refused="a.zip/b.csv: the file is empty",
    ),
    Case(
        "zip of a good member and a zip",
        {"a.zip": zipped({"a.csv": GOOD, "b.zip": zipped({"b.csv": MORE})})},
        ORDERS,
        loaded=2,
        refused="is a zip itself",
    ),
    Case(
        "zip of a good member and a bad one",
        {"a.zip": zipped({"a.csv": GOOD, "b/b.csv": "oops\n1\n", "c.csv.gz": gzipped(MORE)})},
        ORDERS,
        loaded=3,
        refused="a.zip/b/b.csv: the column 'id'",
    ),
    Case(
        "zip with a member that is a gzip cut",
        {"a.zip": zipped({"a.csv.gz": gzipped(LONG)[:-9]})},
        ORDERS,
        refused=UNPACKED,
    ),
]
