"""XML files: the elements at a path are records, whose attributes and children are columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, tostring

import duckdb
from defusedxml.common import DTDForbidden  # type: ignore[import-untyped]
from defusedxml.ElementTree import DefusedXMLParser  # type: ignore[import-untyped]

from warehouse.errors import BatchRefusedError
from warehouse.readers.contract import Column, Opened, where
from warehouse.readers.json_text import dumped
from warehouse.readers.records import LONGEST_RECORD, Record, Records
from warehouse.sources import Source

BLOCK_BYTES = 1 << 16
DEEPEST = 200
MOST_PATHS = 10_000
NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
ATTRIBUTE = "@"  # before an attribute's name until all names are known; no element has it
PREFIX = "attribute_"
TEXT = "text"


def read(con: duckdb.DuckDBPyConnection, source: Source, opened: Opened) -> list[Column]:
    """Leave `incoming` with the elements at `record`.

    Raises BatchRefusedError naming the line where it is not XML, or the path of the elements that
    seem to be meant.
    """
    if source.record is None:
        raise _no_record(source, opened, "`record:` does not say which elements are records")
    records = Records(source, opened)
    target = _Target(source.record)
    for element, _ in _elements(source, opened, target):
        try:
            records.add(_record(element))
        except ValueError as error:
            records.tear(str(error), tostring(element, encoding="unicode"))
    if not target.reached:
        raise _no_record(source, opened, f"there is no element at `record: {source.record}`")
    return records.finish(con, lambda names: [_final(name, names, source) for name in names])


def _final(name: str, names: list[str], source: Source) -> str:
    """The column's name: an attribute has its own unless a child element has it."""
    if not name.startswith(ATTRIBUTE):
        return name
    own = name.removeprefix(ATTRIBUTE)
    taken = {other.lower() for other in names}
    clash = own.lower() in taken or source.declared(PREFIX + own) is not None
    return PREFIX + own if clash else own


def lines(source: Source, opened: Opened, rows: list[int], rows_in: int) -> dict[int, int]:
    """The physical lines on which the records `rows` begin; both count from 1."""
    wanted, last = set(rows), min(max(rows, default=0), rows_in)
    found: dict[int, int] = {}
    target = _Target(source.record or "")
    for number, (_, line) in enumerate(_elements(source, opened, target), 1):
        if number in wanted:
            found[number] = line
        if number >= last:
            break
    return found


class _Target:
    """What the parser tells its events to: builds the records, and forgets all else."""

    def __init__(self, record: str) -> None:
        self._wanted = [_local(part) for part in record.strip("/").split("/")]
        self._path: list[str] = []
        self._builder: TreeBuilder | None = None
        self._inside = 0  # depth within the record
        self._size = 0
        self._line = 0
        self._is_parent_reached = False
        self._siblings = 0
        self.parser: Any = None
        self.done: list[tuple[Element, int]] = []
        self.paths: Counter[str] = Counter()
        self.with_attributes: set[str] = set()

    @property
    def reached(self) -> bool:
        """Whether there was a record, or the element that holds records and holds nothing."""
        return bool(self.paths["/" + "/".join(self._wanted)]) or (
            self._is_parent_reached and not self._siblings
        )

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._path.append(_local(tag))
        if len(self._path) > DEEPEST:
            raise ValueError(f"elements are nested deeper than {DEEPEST}")
        if self._builder is None:
            self._outside(has_attributes=bool(attributes))
        else:
            self._inside += 1
        if self._builder is not None:
            self._size += sum(len(k) + len(v) for k, v in attributes.items()) + len(tag)
            named = {_local(k) if k != NIL else k: v for k, v in attributes.items()}
            if len(named) < len(attributes):
                raise ValueError(f"the element {self._path[-1]!r} has one attribute twice")
            self._builder.start(self._path[-1], named)

    def _outside(self, *, has_attributes: bool) -> None:
        if self._path == self._wanted:
            self._builder, self._inside, self._size = TreeBuilder(), 0, 0
            self._line = self.parser.CurrentLineNumber
        self._is_parent_reached |= self._path == self._wanted[:-1]
        self._siblings += len(self._path) == len(self._wanted)
        path = "/" + "/".join(self._path)
        if path in self.paths or len(self.paths) < MOST_PATHS:
            self.paths[path] += 1
            if has_attributes:
                self.with_attributes.add(path)

    def data(self, text: str) -> None:
        if self._builder is not None:
            self._size += len(text)
            if self._size > LONGEST_RECORD:
                raise ValueError(f"a record is longer than {LONGEST_RECORD:,} characters")
            self._builder.data(text)

    def end(self, _: str) -> None:
        name = self._path.pop()
        if self._builder is None:
            return
        self._builder.end(name)
        if self._inside == 0:
            self.done.append((self._builder.close(), self._line))
            self._builder = None
        self._inside -= 1

    def close(self) -> None:
        pass


def _elements(source: Source, opened: Opened, target: _Target) -> Iterator[tuple[Element, int]]:
    """The records and the lines on which they begin."""
    parser = DefusedXMLParser(target=target, forbid_dtd=True)
    target.parser = parser.parser
    try:
        with opened.path.open("rb") as handle:
            while block := handle.read(BLOCK_BYTES):
                parser.feed(block)
                yield from target.done
                target.done.clear()
        parser.close()
    except DTDForbidden as error:
        raise _refused(
            source, opened, target, f"a document type ({error.name}) and its entities are not read"
        ) from None
    except (ParseError, ValueError, LookupError) as error:
        what = str(error).split(": line ")[0]  # where it is stands beside it
        raise _refused(source, opened, target, f"not a readable XML file: {what}") from None


def _refused(source: Source, opened: Opened, target: _Target, what: str) -> BatchRefusedError:
    return BatchRefusedError(
        what,
        where=f"{where(source, opened)}: line {target.parser.CurrentLineNumber}",
        next_step="have it written as UTF-8"
        if "encoding" in what
        else "ask the sender for a new file; the bytes that came are kept in landing/",
    )


def _no_record(source: Source, opened: Opened, what: str) -> BatchRefusedError:
    """The refusal that proposes the path of the elements that repeat."""
    path, _ = record_path(source, opened)
    return BatchRefusedError(
        what,
        where=where(source, opened),
        next_step=f"name their path in sources.yml, such as `record: {path}`",
    )


def record_path(source: Source, opened: Opened) -> tuple[str, int]:
    """The path of the elements that seem to be records, and how many there are.

    They repeat and have children or attributes; what they hold repeats too, but within them.
    Raises BatchRefusedError when the file is not XML.
    """
    target = _Target("")
    for _ in _elements(source, opened, target):
        pass
    paths = target.paths
    parents = {path.rpartition("/")[0] for path in paths} | target.with_attributes
    repeated = {path for path in paths if paths[path] > 1}
    outermost = [path for path in repeated if repeated.isdisjoint(_above(path))]
    likely = [p for p in outermost if p in parents] or outermost
    if likely:
        path = max(sorted(likely), key=lambda p: paths[p])
    else:
        single = [path for path in paths if path in parents and path.count("/") > 1]
        path = min(single or paths, key=lambda p: p.count("/"))
    return path, paths[path]


def _above(path: str) -> Iterator[str]:
    """The paths of the elements around that at `path`."""
    while path := path.rpartition("/")[0]:
        yield path


def _local(name: str) -> str:
    """The name without its namespace."""
    return name.rpartition("}")[2]


def _record(element: Element) -> Record:
    record: Record = {ATTRIBUTE + name: value for name, value in element.items() if name != NIL}
    for name, values in _children(element).items():
        record[name] = _column(values)
    text = _own_text(element)
    if text is not None:
        if TEXT in record:
            raise ValueError("the record has both a text and an element 'text'")
        record[TEXT] = text
    return record


def _children(element: Element) -> dict[str, list[Any]]:
    """The children's values by name, in their order."""
    values: dict[str, list[Any]] = {}
    for child in element:
        values.setdefault(child.tag, []).append(_value(child))
    return values


def _column(values: list[Any]) -> str | None:
    """One value as it is; several, or a nested one, as JSON text."""
    value = values[0] if len(values) == 1 else values
    return value if value is None or isinstance(value, str) else dumped(value)


def _value(element: Element) -> Any:
    """A leaf's text, null when it is empty; else pairs of names and values, as an object has."""
    attributes = [(name, value) for name, value in element.items() if name != NIL]
    text = _own_text(element)
    if not attributes and not len(element):
        return element.text or None
    children = _children(element)
    pairs: list[tuple[str, Any]] = [
        (PREFIX + name if name in children else name, value) for name, value in attributes
    ]
    pairs.extend((name, v[0] if len(v) == 1 else v) for name, v in children.items())
    if text is not None:
        pairs.append((TEXT, text))
    return tuple(pairs)


def _own_text(element: Element) -> str | None:
    """The text within an element; with its markup where children stand in it; null if none."""
    if not len(element):
        return element.text if element.text and not element.text.isspace() else None
    pieces = [element.text or "", *(child.tail or "" for child in element)]
    if not "".join(pieces).strip():
        return None
    return pieces[0] + "".join(tostring(child, encoding="unicode") for child in element)
