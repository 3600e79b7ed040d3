"""Containers: gzip, zstd and zip are opened, and other encodings become UTF-8, before a reader.

What comes out is written to a folder that lives as long as the batch, block by block. So a file
that ends too early is found before any of its rows is believed.
"""

from __future__ import annotations

import codecs
import errno
import gzip
import lzma
import shutil
import stat
import uuid
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

from warehouse.errors import BatchRefusedError
from warehouse.files import in_order
from warehouse.landing import Landed, content_path
from warehouse.readers.contract import Opened
from warehouse.settings import Settings
from warehouse.sources import SUFFIXES, FormatName, Source

BLOCK_BYTES = 1 << 20
GZIP, ZSTD, ZIP = (".gz", ".gzip"), (".zst", ".zstd"), ".zip"
# A file that swells like this is an attack, not data: gzip itself reaches about 1,000.
BOMB_BYTES, BOMB_RATIO = 1 << 30, 300
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
LONGEST_MARK = 4
ARCHIVERS_OWN = ("thumbs.db", "desktop.ini")  # besides what is hidden or in __MACOSX/
UNIX_MODE_BITS = 16  # where a zip keeps a file's mode
BROKEN = (EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
DECODED_FORMATS = ("csv", "json", "ndjson")


def parts(settings: Settings, landed: Landed) -> list[str | None]:
    """The members of a landed zip, a batch each; [None] for every other file.

    What archivers leave is none. A zip that cannot be read is one batch, whose loading says why.
    Of one whose bytes were pruned the sidecar knows.
    """
    if landed.members:
        return [*landed.members]
    file = content_path(settings, landed.sha256)
    return [*_listed(file, landed.original_name)] or [None]


def members(path: Path, name: str, declared: FormatName | None = None) -> list[str | None]:
    """The members that rows are made of, if the file called `name` is a readable zip; else [None].

    They are those whose suffix tells the declared format, or any if none is declared. Where no
    suffix tells, they are all: the declared format says how to read them.
    """
    names = _listed(path, name)
    return [*(member for member in names if _tells(member, declared))] or [*names] or [None]


def _listed(path: Path, name: str) -> list[str]:
    """The names of the zip's members, each once; none if it is no readable zip."""
    if not name.lower().endswith(ZIP):
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            # A name that stands twice is refused once.
            names = {info.filename for info in archive.infolist() if _is_file(info)}
            return sorted(names, key=in_order)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return []


def _is_file(info: zipfile.ZipInfo) -> bool:
    path = PurePosixPath(info.filename)
    is_archivers = (
        any(part.startswith("__MACOSX") for part in path.parts)
        or path.name.startswith(".")
        or path.name.lower() in ARCHIVERS_OWN
    )
    return not info.is_dir() and (not is_archivers or _climbs_out(path))


def _tells(member: str, declared: FormatName | None) -> bool:
    """Whether the member's suffix tells the declared format, or any if none is declared."""
    told = SUFFIXES.get(_plain(member).suffix.lower())
    return told is not None and declared in (None, told)


def _plain(member: str) -> PurePosixPath:
    """The member's name without the suffix of a compression."""
    suffix = PurePosixPath(member).suffix
    packed = suffix.lower() in GZIP + ZSTD
    return PurePosixPath(member.removesuffix(suffix) if packed else member)


def _climbs_out(path: PurePosixPath) -> bool:
    return path.is_absolute() or ".." in path.parts or "\\" in str(path)


@contextmanager
def opened(
    settings: Settings, source: Source, landed: Landed, part: str | None
) -> Iterator[Opened]:
    """The plain bytes of a landed file, or of the member `part` of a zip, for the block.

    A read-me beside the data is opened, too, so that it is known to be whole. Raises
    BatchRefusedError when a container is broken or hostile.
    """
    folder = settings.tmp / "batch"
    shutil.rmtree(folder, ignore_errors=True)
    # DuckDB's cache may take a file for the one that had its name within the same second.
    work = folder / uuid.uuid4().hex
    work.mkdir(parents=True)
    label = f"{landed.original_name}/{part}" if part else landed.original_name
    try:
        file = content_path(settings, landed.sha256)
        if not file.is_file():
            pruned = f": pruned on {landed.pruned_at[:10]}" if landed.pruned_at else ""
            raise BatchRefusedError(
                f"its bytes are not in landing any more{pruned}",
                where=f"{source.name}: {label}",
                next_step=f"restore {file} from a copy",
            )
        result = Opened(file, landed.original_name, label, work)
        with broken_refused(f"{source.name}: {label}"):
            plain = unpacked(result, part)
            why = _why_beside(result, part, source.format)
            result = replace(plain, beside=why) if why else _decoded(source, plain)
        yield result
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _why_beside(file: Opened, part: str | None, declared: FormatName | None) -> str:
    """Why no rows are made of the member; empty when they are."""
    # A member that tells its format needs no look at the others.
    if part is None or _tells(part, declared) or part in members(file.path, file.name, declared):
        return ""
    told = f"the format {declared}" if declared else "their format"
    suffix = _plain(part).suffix
    own = f"{suffix} does not" if suffix else "it has none"
    return f"catalogued without rows: other members' suffixes tell {told}, {own}"


@contextmanager
def broken_refused(where: str) -> Iterator[None]:
    """Refuse the file when it cannot be unpacked; what is the machine's fault passes through."""
    try:
        yield
    except (*BROKEN, OSError) as error:
        # A damaged zip makes its reader seek to places that are none.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise BatchRefusedError(
            f"the file cannot be unpacked: {error}",
            where=where,
            next_step="ask the sender for a new file; the bytes that came are kept in landing/",
        ) from None


def unpacked(file: Opened, part: str | None) -> Opened:
    """The plain bytes of the file, or of its member `part`, in its folder `work`.

    Raises ValueError and what the libraries raise, see `broken_refused`.
    """
    suffix = Path(file.name).suffix.lower()
    if suffix == ZIP:
        return unpacked(_member(file, part), None)
    if suffix not in GZIP + ZSTD:
        return file
    packed = file.path.stat().st_size
    if not packed:
        raise EOFError("it has no bytes")
    plain = file.work / f"plain{len(list(file.work.iterdir()))}"
    with _decompressor(file.path, suffix) as stream:
        _copy(stream, plain, packed)
    return Opened(plain, file.name[: -len(suffix)], file.label, file.work)


def _decompressor(file: Path, suffix: str) -> Any:
    if suffix in GZIP:
        return gzip.open(file, "rb")
    import pyarrow as pa

    return pa.input_stream(str(file), compression="zstd")


def _member(file: Opened, part: str | None) -> Opened:
    with zipfile.ZipFile(file.path) as archive:
        if part is None:
            raise ValueError("the zip holds no file (what is hidden does not count)")
        path = PurePosixPath(part)
        if _climbs_out(path):
            raise ValueError(f"the member {part!r} would climb out of its folder")
        if archive.namelist().count(part) > 1:
            raise ValueError(f"the member {part!r} stands twice")
        info = archive.getinfo(part)
        if stat.S_ISLNK(info.external_attr >> UNIX_MODE_BITS):
            raise ValueError(f"the member {part!r} is a link")
        if info.flag_bits & 1:
            raise ValueError(f"the member {part!r} is encrypted; send it without a password")
        if path.suffix.lower() == ZIP:
            raise ValueError(f"the member {part!r} is a zip itself; unpack that first")
        plain = file.work / "member"
        with archive.open(info) as stream:
            _copy(stream, plain, info.compress_size)
    return Opened(plain, path.name, file.label, file.work)


def _copy(stream: IO[bytes], target: Path, packed: int) -> None:
    """Write the stream block by block; raises ValueError when it swells like a bomb."""
    limit = max(BOMB_BYTES, packed * BOMB_RATIO)
    written = 0
    with target.open("wb") as out:
        while block := stream.read(BLOCK_BYTES):
            written += len(block)
            if written > limit:
                raise ValueError(
                    f"its {packed:,} bytes swell to more than {limit:,}; unpack it first, if it"
                    " is meant"
                )
            out.write(block)


def _decoded(source: Source, file: Opened) -> Opened:
    """The text in UTF-8. Bytes that its encoding does not have stay, and tear their record."""
    if source.format_of(file.name) not in DECODED_FORMATS:
        return file
    encoding = source.encoding or _marked(file.path)
    if encoding is None or codecs.lookup(encoding).name == "utf-8":
        return file
    plain = file.work / "decoded"
    with (
        file.path.open(encoding=encoding, errors="surrogateescape", newline="") as text,
        plain.open("w", encoding="utf-8", errors="surrogateescape", newline="") as out,
    ):
        shutil.copyfileobj(text, out, BLOCK_BYTES)
    return Opened(plain, file.name, file.label, file.work)


def _marked(file: Path) -> str | None:
    """The encoding that a byte order mark tells; UTF-8's is no news."""
    with file.open("rb") as handle:
        head = handle.read(LONGEST_MARK)
    return next((name for mark, name in BYTE_ORDER_MARKS.items() if head.startswith(mark)), None)
