"""Files that somebody writes to while they are read: they are left for the next run."""

from __future__ import annotations

from pathlib import Path

from corpus.case import ORDERS, Case

GOOD = "id,amount\n1,1.5\n2,2\n"


def grow(file: Path) -> None:
    with file.open("a") as out:
        out.write("3,3\n")


CASES = [
    Case(
        "file that grows while it is read",
        {"a.csv": GOOD},
        ORDERS,
        refused="a.csv: the file changed while it was read",
        while_read=grow,
    ),
    Case(
        "file that shrinks while it is read",
        {"a.csv": GOOD},
        ORDERS,
        refused="a.csv: the file changed while it was read",
        while_read=lambda file: file.write_text("id,amount\n"),
    ),
    Case(
        "file that vanishes while it is read",
        {"a.csv": GOOD},
        ORDERS,
        refused="a.csv: the file cannot be read: No such file or directory",
        while_read=Path.unlink,
    ),
    Case(
        "file that becomes a folder while it is read",
        {"a.csv": GOOD},
        ORDERS,
        refused="a.csv: it is not a file",
        while_read=lambda file: (file.unlink(), file.mkdir()),
    ),
]
