"""Prints docs/bad-input.md: every case of the corpus with its verdict."""

from __future__ import annotations

from corpus import CASES, HEAVY
from corpus.case import Case

HEAD = """\
# Bad input

What Clearwater does with hostile and broken files: every case below is a test
(`tests/warehouse/test_corpus.py`), which loads it into a lake with good data and checks the verdict
to the row, the ledger's arithmetic, the bytes in landing, that a second run changes nothing, and
that nothing else is affected. The last cases, which are large, run together in one process that may
take 1 GiB of memory. This page is made from the tests: `python -m corpus.table` in `tests/`.

- **loaded**: the rows are in the lake, their values as they were written.
- **quarantined**: the row alone is held back, with its place, its text and the reason
  (`clearwater quarantine list`).
- **refused**: nothing of the file is in the lake, the message says what and where, and the ledger
  keeps it. The bytes stay in landing, and the file is tried again while it stands at the source.

Some damage cannot be told from data. A zstd frame without a checksum, an uncompressed CSV that was
cut between two lines, or an Avro file that ends behind a block look whole. A quoted CSV field of
more than 8 MiB with line ends in it tears into as many rows as it has lines. Times in Parquet's old
96 bits are kept to the microsecond.

"""


def document() -> str:
    """The document's text."""
    rows = [f"| {_cell(case.name)} | {_cell(verdict(case))} |" for case in (*CASES, *HEAVY)]
    return HEAD + "\n".join(["| input | verdict |", "|---|---|", *rows]) + "\n"


def verdict(case: Case) -> str:
    """The case's verdict in words."""
    told = []
    if case.loaded or not (case.held or case.refused):
        told.append(f"loaded: {_rows(case.loaded)}")
    if case.known:
        told.append(f"known already: {_rows(case.known)}")
    if case.held:
        reasons = ", ".join(f"`{reason}`" for reason in dict.fromkeys(h.reason for h in case.held))
        told.append(f"quarantined: {_rows(len(case.held))}, {reasons}")
    if case.refused:
        told.append(f"refused: “{case.refused}”")
    return "; ".join(told)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(document(), end="")
