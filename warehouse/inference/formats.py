"""The format of files: their suffix tells it, else what they hold; bytes where that is no table."""

from __future__ import annotations

import json
import re
import zipfile
from collections import Counter
from pathlib import Path

from warehouse.errors import ClearwaterError
from warehouse.inference import words
from warehouse.inference.dialect import has_header, odd_delimiter, table_in
from warehouse.inference.encoding import SAMPLE_BYTES, binary_kind, encoding_of
from warehouse.inference.result import Notes
from warehouse.inference.shapes import MISSING, kind
from warehouse.readers.contract import Opened
from warehouse.sources import SUFFIXES, FormatName

CONTAINED: dict[str, FormatName] = {"Parquet": "parquet", "Avro": "avro", "ORC": "orc"}
PACKED = ("gzip", "zstd")
LOG = ".log"
MOSTLY = 0.9  # of the lines, that are alike; of a column's values, that tell what it is
LONGEST_NAME, WORDS_IN_A_NAME = 60, 5
LONGEST_TOKEN = 100
TERSE = 3  # words; longer texts under no name are prose
NAME = re.compile(r"[^\W\d][^=\"\[\]{}<>|\\]*")
OBJECTS = re.compile(r"\s*\[\s*\{")
SAMPLE_LINES = 100

Judged = tuple[FormatName, str]


def infer_format(files: list[Opened], notes: Notes) -> FormatName:
    """The one format of all files; `bytes` where they are no tables.

    Raises ClearwaterError when they are of several.
    """
    found: dict[str, Judged] = {}
    for file in files:
        if judged := told_format(file):
            found[file.label] = judged
    formats = Counter(name for name, _ in found.values())
    if not formats:
        return "csv"  # every file is empty, as reading them will say
    if len(formats) > 1:
        raise _several(found)
    (format_name,) = formats
    reasons = Counter(because for _, because in found.values() if because)
    if reasons:
        notes.decide("format", format_name, reasons.most_common(1)[0][0])
    return format_name


def told_format(file: Opened) -> Judged | None:
    """The file's format and why, nothing where its suffix tells it; None of an empty file."""
    told = SUFFIXES.get(Path(file.name).suffix.lower())
    return (told, "") if told else _judged(file)


def _several(found: dict[str, Judged]) -> ClearwaterError:
    told = ", ".join(sorted({name for name, _ in found.values()}))
    label, because = next(
        ((label, because) for label, (name, because) in found.items() if name == "bytes"), ("", "")
    )
    what = f"the files are of several formats: {told}"
    return ClearwaterError(
        f"{what}; {label} is no table: {because}" if label else what,
        next_step="add each as a source of its own, with a pattern such as 'data/*.csv'",
    )


def _judged(file: Opened) -> Judged | None:
    """The format that the content tells, and by what; None of an empty file."""
    with file.path.open("rb") as handle:
        head = handle.read(SAMPLE_BYTES)
        complete = not handle.read(1)
    if not head.strip():
        return None
    held = binary_kind(head)
    if held in CONTAINED:
        return CONTAINED[held], f"the file holds {held}"
    if zipfile.is_zipfile(file.path) and _is_workbook(file.path):
        return "excel", "the file holds a workbook"
    if held and held not in PACKED:
        return "bytes", f"the file holds {held}, not text"
    encoding, _ = encoding_of(file.path)  # which refuses what is packed
    text = head.decode(encoding, errors="replace").removeprefix("\ufeff")
    if objects := objects_in(text, complete=complete):
        return objects
    records, share = table_in(text, complete=complete)
    if not records or share < MOSTLY:
        judged: Judged = ("bytes", "no delimiter parts its lines alike")
    elif len(records[0]) == 1:
        judged = _list([record[0].strip() for record in records])
    else:
        judged = _table(records, is_log=Path(file.name).suffix.lower() == LOG)
    if judged[0] == "bytes" and (odd := odd_delimiter(text)):
        return "bytes", f"its fields seem to be parted by {odd}, where one character is needed"
    return judged


def _is_workbook(file: Path) -> bool:
    with zipfile.ZipFile(file) as archive:
        return any(name.startswith("xl/") for name in archive.namelist())


def objects_in(text: str, *, complete: bool) -> Judged | None:
    """JSON or NDJSON and why, if the text is made of objects."""
    lines = text.splitlines()[: SAMPLE_LINES + 1]
    lines = [line for line in (lines if complete else lines[:-1]) if line.strip()]
    if len(lines) > 1 and sum(map(_is_object, lines)) >= MOSTLY * len(lines):
        return "ndjson", "its lines are JSON objects"
    if OBJECTS.match(text) or (complete and _is_object(text)):
        return "json", "the text is JSON"
    return None


def _is_object(text: str) -> bool:
    if not text.lstrip().startswith("{"):
        return False
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _table(records: list[list[str]], *, is_log: bool) -> Judged:
    """A table of several columns: something names them, or their values are no prose."""
    alike = f"{len(records[0])} fields in each line"
    header, _ = has_header(records)
    if header and all(map(_is_name, records[0])):
        return "csv", f"{alike}, and the first one names them"
    columns = list(zip(*(r for r in records if len(r) == len(records[0])), strict=True))
    typed = [column for column in columns if _is_typed(column)]
    prose = [column for column in columns if column not in typed and not _is_terse(column)]
    if header or is_log or prose or not typed:
        return "bytes", f"{alike}, but they are no columns: no names, and texts as in prose or logs"
    return "csv", f"{alike}, of numbers, times or short texts"


def _list(lines: list[str]) -> Judged:
    """A table of one column: values of one kind, or codes below a name."""
    first, rest = lines[0], [line for line in lines[1:] if line]
    if rest and _is_typed(rest):
        return "csv", "one value in each line, of one kind"
    are_codes = all(len(line) <= LONGEST_TOKEN and " " not in line for line in lines)
    is_named = words.identifying(first, "") > 0 or not any(map(_has_digit, first))
    if rest and are_codes and _is_name(first) and is_named:
        with_digits = sum(any(map(_has_digit, line)) for line in rest)
        if words.identifying(first, "") or with_digits >= MOSTLY * len(rest):
            return "csv", f"one code in each line, below the name {first!r}"
    return "bytes", "lines of text that nothing parts"


def _has_digit(character: str) -> bool:
    return character.isdigit() or character == "@"


def _is_name(cell: str) -> bool:
    """Whether the cell may be a column's name, if only an empty one."""
    name = cell.strip()
    is_short = len(name) <= LONGEST_NAME and len(name.split()) <= WORDS_IN_A_NAME
    return not name or (is_short and kind(name) == "text" and bool(NAME.fullmatch(name)))


def _is_typed(values: list[str] | tuple[str, ...]) -> bool:
    """Whether most values are numbers, times and the like."""
    filled = [value.strip() for value in values if value.strip() not in MISSING]
    return bool(filled) and sum(kind(v) != "text" for v in filled) >= MOSTLY * len(filled)


def _is_terse(values: list[str] | tuple[str, ...]) -> bool:
    filled = [value for value in values if value.strip()]
    return sum(len(value.split()) for value in filled) <= TERSE * len(filled)
