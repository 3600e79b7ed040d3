"""The encoding of a text whose bytes do not tell it."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, field
from pathlib import Path

from warehouse.errors import ClearwaterError
from warehouse.wording import counted

BLOCK_BYTES = 1 << 20
SAMPLE_BYTES = 1 << 18
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
BINARY = {
    b"PAR1": "Parquet",
    b"PK\x03\x04": "zip or Excel",
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"%PDF": "PDF",
    b"Obj\x01": "Avro",
    b"ORC": "ORC",
    b"\xd0\xcf\x11\xe0": "old Excel",
    b"SQLite format 3": "SQLite",
}
# A letter of the codec's own region, as it stands in words of mostly plain letters.
REGIONS = (
    ("cp1252", "äöüÄÖÜßéèêëàâáãåæøœçñíìîïóòôõúùûýÿÉÈÊËÀÂÁÃÅÆØŒÇÑÍÌÎÏÓÒÔÕÚÙÛÝšžŠŽðþÐÞ"),
    ("cp1250", "ąćęłńóśźżĄĆĘŁŃÓŚŹŻáčďéěíňřšťúůýžÁČĎÉĚÍŇŘŠŤÚŮÝŽőűŐŰöüÖÜäôľĺŕăâîșțşţßđĐ"),
    ("iso8859_2", "ąćęłńóśźżĄĆĘŁŃÓŚŹŻáčďéěíňřšťúůýžÁČĎÉĚÍŇŘŠŤÚŮÝŽőűŐŰöüÖÜäôľĺŕăâîșțşţßđĐ"),
    ("cp437", "äöüÄÖÜßéèêëàâåæçñíìîïóòôúùûÿÉÅÆÇÑ"),
)
MARKS_BETWEEN_WORDS = "€–—’‘“”„…°§©®£¥«»²³µ±×½¼¾ºª·•™¿¡"
REST = ("cp1251", "koi8_r", "cp866", "shift_jis", "gb18030", "euc_jp", "cp949", "big5", "cp1253")
PLAUSIBLE = 0.97
CLEARLY_MORE = 20
CONTROL_SHARE = 0.02


@dataclass
class _Seen:
    """Lines beyond ASCII, those that are UTF-8 and those that are not."""

    utf8: int = 0
    other: int = 0
    sample: list[bytes] = field(default_factory=list)
    sampled: int = 0


def encoding_of(file: Path) -> tuple[str, str]:
    """The Python codec of a text file and why it is taken; looks at the whole file.

    Raises ClearwaterError when the file is empty or no text.
    """
    with file.open("rb") as handle:
        head = handle.read(BLOCK_BYTES)
    _check_text(file, head)
    for mark, codec in MARKS:
        if head.startswith(mark):
            return codec, "the file begins with its byte order mark"
    if wide := _wide(head):
        return wide, "every other byte is NUL"
    if _is_utf8(file):
        return "utf-8", "every byte of it is valid UTF-8"
    seen = _look(file)
    if seen.utf8 > CLEARLY_MORE * seen.other:
        return "utf-8", f"{counted(seen.utf8, 'line')} of it; {counted(seen.other, 'line')} torn"
    return _guess(
        b"".join(seen.sample)
    ), f"{counted(seen.other, 'line')} not in UTF-8; the letters fit it"


def binary_kind(head: bytes) -> str | None:
    """What a file that begins so holds if it is no text, such as `PDF`; None for text."""
    named = next((name for magic, name in BINARY.items() if head.startswith(magic)), None)
    if named or _wide(head) or any(head.startswith(mark) for mark, _ in MARKS):
        return named
    controls = sum(byte < 9 or 13 < byte < 32 for byte in head[:4096])
    return "binary data" if controls > CONTROL_SHARE * min(len(head), 4096) else None


def _check_text(file: Path, head: bytes) -> None:
    if not head.strip():
        raise ClearwaterError(
            "the file is empty", where=str(file), next_step="name a file that holds rows"
        )
    if held := binary_kind(head):
        raise ClearwaterError(
            f"the file holds {held}, not text",
            where=str(file),
            next_step="give it the suffix of its format, such as .parquet or .xlsx, or have it"
            " written as CSV",
        )


def _wide(head: bytes) -> str | None:
    """UTF-16 without a mark: most of its odd or even bytes are NUL."""
    part = head[:4096]
    if part[1::2].count(0) > len(part) * 0.4:
        return "utf-16-le"
    return "utf-16-be" if part[::2].count(0) > len(part) * 0.4 else None


def _is_utf8(file: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        with file.open("rb") as handle:
            while block := handle.read(BLOCK_BYTES):
                decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _look(file: Path) -> _Seen:
    seen = _Seen()
    with file.open("rb") as handle:
        while lines := handle.readlines(BLOCK_BYTES):
            for line in lines:
                if line.isascii():
                    continue
                try:
                    line.decode("utf-8")
                    seen.utf8 += 1
                except UnicodeDecodeError:
                    seen.other += 1
                    if seen.sampled < SAMPLE_BYTES:
                        seen.sample.append(line)
                        seen.sampled += len(line)
    return seen


def _guess(sample: bytes) -> str:
    """The first region whose letters the sample holds, else what charset_normalizer finds."""
    fits = {codec: _plausibility(sample, codec, letters) for codec, letters in REGIONS}
    best = max(fits, key=lambda codec: fits[codec])  # the first of equals
    if fits[best] >= PLAUSIBLE:
        return best
    from charset_normalizer import from_bytes

    found = from_bytes(sample, cp_isolation=list(REST)).best()
    return found.encoding if found else "cp1252"


def _plausibility(sample: bytes, codec: str, letters: str) -> float:
    """The share of the characters beyond ASCII that stand where one of the region would."""
    try:
        text = sample.decode(codec)
    except UnicodeDecodeError:
        return 0.0
    good = total = 0
    for match in re.finditer(r"[^\x00-\x7f]+", text):
        run, start, end = match.group(), match.start(), match.end()
        total += len(run)
        within = text[max(0, start - 1) : start].isalpha() and text[end : end + 1].isalpha()
        if len(run) > 2:
            continue  # a word of such letters alone belongs to another script
        good += sum(c in letters or (c in MARKS_BETWEEN_WORDS and not within) for c in run)
    return good / total if total else 0.0
