"""Avro files: columns keep the types that the file carries.

DuckDB's extension decodes the values, but it takes a file that ends too early, or is damaged, for
one that ends there, loses the keys of maps and does not know some logical types. So the container
is opened here: its blocks are counted, checked and unpacked into files of bounded size, under a
schema that says the same in types that the extension reads right.
"""

from __future__ import annotations

import bz2
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO, Any

import duckdb
import pyarrow as pa

from warehouse.duck import extension_file, identifier, quoted
from warehouse.errors import BatchRefusedError
from warehouse.readers import converted
from warehouse.readers.contract import Column, Opened, check_names, unreadable_refused, where
from warehouse.sources import Source

MAGIC = b"Obj\x01"
SYNC_BYTES = 16
LONGEST_VARINT = 10
LARGEST_META = 16 << 20
LARGEST_BLOCK = 256 << 20
CHUNK_BYTES = 64 << 20
LONGEST_DECIMAL = 38
PRIMITIVES = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
# The same encoding under a name that the extension knows.
LOGICAL_TYPES = {
    "local-timestamp-micros": "timestamp-micros",
    "local-timestamp-nanos": "timestamp-nanos",
}
KNOWN_LOGICAL_TYPES = {
    *("date", "time-millis", "time-micros", "timestamp-millis", "timestamp-micros"),
    *("timestamp-nanos", "local-timestamp-millis"),
}

_Convert = Callable[[str], str]  # from SQL of the readable type to SQL of the file's own
_Type = tuple[Any, _Convert | None]


def read(con: duckdb.DuckDBPyConnection, source: Source, opened: Opened) -> list[Column]:
    """Leave `incoming` with the file's records, in their order.

    Raises BatchRefusedError when the file is broken or a type cannot be kept.
    """
    con.execute(f"load {quoted(extension_file('avro'))}")
    try:
        with opened.path.open("rb") as handle:
            container = _Container.of(handle)
            schema = _Schema.of(container.schema)
            check_names(list(schema.columns), source, opened)
            files = _convert(con, source, opened, container, schema)
    except (ValueError, EOFError, OSError, RecursionError, zlib.error, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the machine's fault
        raise BatchRefusedError(
            f"not a readable Avro file: {error}",
            where=where(source, opened),
            next_step="ask the sender for a new file; the bytes that came are kept in landing/",
        ) from None
    return converted.leave(con, source, opened, files)


def _convert(
    con: duckdb.DuckDBPyConnection,
    source: Source,
    opened: Opened,
    container: _Container,
    schema: _Schema,
) -> list[Path]:
    """Parquet files with the records and their numbers."""
    files: list[Path] = []
    before = 0
    chunk = opened.work / "chunk.avro"
    listed = ", ".join(f"{sql} as {identifier(name)}" for name, sql in schema.columns.items())
    con.execute("set preserve_insertion_order = true")  # row_number() is then the file's order
    for expected in container.chunks(chunk, schema.readable):
        file = opened.work / f"avro{len(files)}.parquet"
        with unreadable_refused("not a readable Avro file", where(source, opened)):
            copied = con.execute(
                f"copy (select {listed}, {before} + row_number() over () as _source_row"
                f" from read_avro({quoted(chunk)})) to {quoted(file)}"
                " (format parquet, compression lz4)"
            ).fetchone()
        if copied != (expected,):
            raise ValueError(f"of the {expected:,} records from {before + 1:,} on some are damaged")
        before += expected
        files.append(file)
    con.execute("set preserve_insertion_order = false")
    chunk.unlink()
    return files


def _long(handle: IO[bytes]) -> int:
    """A zigzag variable-length integer. Raises EOFError at the end, ValueError if it is none."""
    bits = 0
    for place in range(LONGEST_VARINT):
        byte = handle.read(1)
        if not byte:
            raise EOFError("it ends too early")
        bits |= (byte[0] & 0x7F) << (7 * place)
        if byte[0] < 0x80:  # the last byte has no high bit
            return (bits >> 1) ^ -(bits & 1)
    raise ValueError(f"byte {handle.tell():,} does not continue a number")


def _bytes(handle: IO[bytes], length: int, most: int) -> bytes:
    if not 0 <= length <= most:
        raise ValueError(f"byte {handle.tell():,} tells a length of {length:,}")
    data = handle.read(length)
    if len(data) < length:
        raise EOFError(f"it ends too early, at byte {handle.tell():,}")
    return data


def _written(number: int) -> bytes:
    """A zigzag variable-length integer's bytes."""
    bits = number << 1 if number >= 0 else ((-number) << 1) - 1
    out = bytearray()
    while bits > 0x7F:  # seven bits a byte
        out.append(bits & 0x7F | 0x80)
        bits >>= 7
    return bytes([*out, bits])


def _prefixed(data: bytes) -> bytes:
    return _written(len(data)) + data


def _limited(decompressor: Any, data: bytes) -> bytes:
    unpacked: bytes = decompressor.decompress(data, LARGEST_BLOCK)
    if not decompressor.eof:
        raise ValueError("a block is cut or larger than can be held")
    return unpacked


def _inflated(data: bytes) -> bytes:
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    return _limited(decompressor, data)


def _unsnapped(data: bytes) -> bytes:
    """Snappy's own format begins with the length; a CRC-32 of what is unpacked follows."""
    length = 0
    for place, byte in enumerate(data[:5]):
        length |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:  # the last byte has no high bit
            break
    if length > LARGEST_BLOCK:
        raise ValueError("a block is larger than can be held")
    unpacked: bytes = pa.decompress(data[:-4], length, codec="snappy", asbytes=True)
    if zlib.crc32(unpacked) != int.from_bytes(data[-4:]):
        raise ValueError("a block's checksum is wrong")
    return unpacked


def _unzstd(data: bytes) -> bytes:
    with pa.input_stream(pa.BufferReader(data), compression="zstd") as stream:
        unpacked: bytes = stream.read(LARGEST_BLOCK + 1)
    if len(unpacked) > LARGEST_BLOCK:
        raise ValueError("a block is larger than can be held")
    return unpacked


UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "null": bytes,
    "deflate": _inflated,
    "snappy": _unsnapped,
    "zstandard": _unzstd,
    "bzip2": lambda data: _limited(bz2.BZ2Decompressor(), data),
    "xz": lambda data: _limited(lzma.LZMADecompressor(), data),
}


@dataclass(frozen=True)
class _Container:
    """An open Avro file behind its header."""

    handle: IO[bytes]
    schema: Any
    unpack: Callable[[bytes], bytes]
    sync: bytes

    @classmethod
    def of(cls, handle: IO[bytes]) -> _Container:
        if handle.read(len(MAGIC)) != MAGIC:
            raise ValueError("it does not begin as one")
        meta: dict[bytes, bytes] = {}
        while entries := _long(handle):
            if entries < 0:
                _long(handle)  # the block's size in bytes, for those who skip it
            for _ in range(abs(entries)):
                key = _bytes(handle, _long(handle), LARGEST_META)
                meta[key] = _bytes(handle, _long(handle), LARGEST_META)
        sync = _bytes(handle, SYNC_BYTES, SYNC_BYTES)
        codec = meta.get(b"avro.codec", b"null").decode()
        if codec not in UNPACK:
            raise ValueError(f"its codec {codec!r} is none of {', '.join(UNPACK)}")
        return cls(handle, json.loads(meta.get(b"avro.schema", b"")), UNPACK[codec], sync)

    def chunks(self, file: Path, schema: Any) -> Iterator[int]:
        """Write the blocks, unpacked, to `file` again and again; the records in it each time.

        A file without records is one chunk.
        """
        blocks = self._blocks()
        block = next(blocks, None)
        empty = block is None
        while block or empty:
            records = 0
            with file.open("wb") as out:
                out.write(MAGIC + _written(1) + _prefixed(b"avro.schema"))
                out.write(_prefixed(json.dumps(schema).encode()) + _written(0) + self.sync)
                while block and (out.tell() < CHUNK_BYTES):
                    number, data = block
                    out.write(_written(number) + _prefixed(data) + self.sync)
                    records += number
                    block = next(blocks, None)
            yield records
            empty = False

    def _blocks(self) -> Iterator[tuple[int, bytes]]:
        """Count of records and unpacked bytes of every block that has records."""
        while self.handle.peek(1):  # type: ignore[attr-defined]
            records = _long(self.handle)
            data = _bytes(self.handle, _long(self.handle), LARGEST_BLOCK)
            if _bytes(self.handle, SYNC_BYTES, SYNC_BYTES) != self.sync or records < 0:
                raise ValueError(f"the block before byte {self.handle.tell():,} is damaged")
            if records:
                try:
                    yield records, self.unpack(data)
                except (pa.ArrowException, zlib.error, lzma.LZMAError, OSError) as error:
                    end = f"{self.handle.tell():,}"
                    raise ValueError(f"the block before byte {end} is damaged: {error}") from None


@dataclass
class _Schema:
    """A schema of records as the extension can read it, and SQL that gives its own types back.

    Named types get names of ours: it reads no namespaces.
    """

    readable: Any = None
    columns: dict[str, str] = field(default_factory=dict)
    _named: dict[str, _Type] = field(default_factory=dict)
    _names: Iterator[int] = field(default_factory=count)

    @classmethod
    def of(cls, schema: Any) -> _Schema:
        """Raises ValueError when it is not one of records, or has a type that cannot be kept."""
        if not isinstance(schema, dict) or schema.get("type") != "record":
            raise ValueError("its schema is not one of records")
        made = cls()
        made.readable, converts = made._fields_of(schema, "")
        for name, convert in converts.items():
            made.columns[name] = convert(identifier(name)) if convert else identifier(name)
        return made

    def _type(self, schema: Any, space: str) -> _Type:
        """The type as the extension can read it, and how SQL of it becomes SQL of the own type.

        `space` is the namespace around it.
        """
        if isinstance(schema, list):
            return self._union(schema, space)
        if isinstance(schema, str):
            return self._named_type(schema, space)
        kind = schema["type"]
        if kind == "array":
            items, convert = self._type(schema["items"], space)
            return {"type": "array", "items": items}, _each(convert) if convert else None
        if kind == "map":
            return self._map(schema, space)
        if kind == "record":
            readable, converts = self._fields_of(schema, space)
            convert = _fields(converts) if any(converts.values()) else None
            return self._keep(schema, space, readable, convert)
        if kind == "enum":
            readable = {"type": "enum", "name": self._name(), "symbols": schema["symbols"]}
            return self._keep(schema, space, readable, lambda sql: f"{sql}::varchar")
        return self._plain(schema, space)

    def _name(self) -> str:
        return f"type{next(self._names)}"

    def _named_type(self, name: str, space: str) -> _Type:
        if name in PRIMITIVES:
            return name, None
        full = name if "." in name else f"{space}.{name}"
        found = self._named.get(full) or self._named.get(f".{name}")
        if found is None:
            raise ValueError(f"the type {name!r} is not defined before it is used, or holds itself")
        return found

    def _keep(
        self, schema: dict[str, Any], space: str, readable: dict[str, Any], convert: _Convert | None
    ) -> _Type:
        """Remember a named type: later its name alone stands for it."""
        self._named[_full_name(schema, space)] = (readable["name"], convert)
        return readable, convert

    def _union(self, schema: list[Any], space: str) -> _Type:
        """A type or null is that type; a choice of several becomes text."""
        branches = [self._type(branch, space) for branch in schema]
        readable = [branch for branch, _ in branches]
        others = [convert for branch, convert in branches if branch != "null"]
        if len(others) == 1:
            return readable, others[0]
        if any(others):
            raise ValueError(f"the choice of types {json.dumps(schema)} cannot be kept")
        return readable, lambda sql: f"{sql}::varchar"

    def _map(self, schema: dict[str, Any], space: str) -> _Type:
        """A map is encoded as an array of its entries is."""
        values, convert = self._type(schema["values"], space)
        fields = [{"name": "key", "type": "string"}, {"name": "value", "type": values}]
        entry = {"type": "record", "name": self._name(), "fields": fields}
        each = _each(_fields({"key": None, "value": convert})) if convert else str
        readable = {"type": "array", "items": entry}
        return readable, lambda sql: f"map_from_entries({each(sql)})"

    def _fields_of(
        self, schema: dict[str, Any], space: str
    ) -> tuple[dict[str, Any], dict[str, _Convert | None]]:
        """A record as the extension can read it, and the conversions of its fields."""
        own_space = _full_name(schema, space).rpartition(".")[0]
        types = {entry["name"]: self._type(entry["type"], own_space) for entry in schema["fields"]}
        fields = [{"name": name, "type": readable} for name, (readable, _) in types.items()]
        readable = {"type": "record", "name": self._name(), "fields": fields}
        return readable, {name: convert for name, (_, convert) in types.items()}

    def _plain(self, schema: dict[str, Any], space: str) -> _Type:
        """A primitive or fixed type, with or without a logical type."""
        kind, logical = schema["type"], str(schema.get("logicalType"))
        logical = LOGICAL_TYPES.get(logical, logical)
        convert = None
        if logical == "decimal":
            digits = int(schema["precision"])
            if not 0 < digits <= LONGEST_DECIMAL:
                raise ValueError(f"a decimal of {digits} digits has more than {LONGEST_DECIMAL}")
            convert = _decimal(digits, int(schema.get("scale", 0)))
        if kind == "fixed":
            readable = {"type": "fixed", "name": self._name(), "size": schema["size"]}
            return self._keep(schema, space, readable, convert)
        if logical in KNOWN_LOGICAL_TYPES:
            return {"type": kind, "logicalType": logical}, None
        readable, own = self._type(kind, space)
        return readable, convert or own


def _full_name(schema: dict[str, Any], space: str) -> str:
    """The name with its namespace, which may be empty, before it."""
    name = str(schema["name"])
    return name if "." in name else f"{schema.get('namespace', space)}.{name}"


def _each(convert: _Convert) -> _Convert:
    """The conversion of every item of a list."""
    return lambda sql: f"list_transform({sql}, lambda item: {convert('item')})"


def _fields(converts: dict[str, _Convert | None]) -> _Convert:
    """The conversion of a struct's fields."""

    def convert_fields(sql: str) -> str:
        packed = []
        for name, convert in converts.items():
            place = f"struct_extract({sql}, {quoted(name)})"
            packed.append(f"{identifier(name)} := {convert(place) if convert else place}")
        return f"case when {sql} is not null then struct_pack({', '.join(packed)}) end"

    return convert_fields


def _decimal(digits: int, scale: int) -> _Convert:
    """The conversion of a decimal's bytes: the big-endian two's complement without the point."""

    def convert(sql: str) -> str:
        sign = f"if(hex({sql}) >= '8', 'F', '0')"
        # lpad would cut a longer one to its first bytes.
        fits = f"case when octet_length({sql}) > 16 then error('a decimal is too long') end"
        number = f"coalesce({fits}, from_hex(lpad(hex({sql}), 32, {sign})))::bit::hugeint"
        if not scale:
            return f"({number})::decimal({digits}, 0)"
        power = f"{10**scale}::hugeint"
        point = f"abs({number}) // {power} || '.' || lpad((abs({number}) % {power})::varchar,"
        negative = f"if(hex({sql}) >= '8', '-', '')"
        return f"({negative} || {point} {scale}, '0'))::decimal({digits}, {scale})"

    return convert
