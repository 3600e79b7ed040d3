"""Which files make one table: those of one format whose names or headers agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from warehouse.errors import ConfigurationError
from warehouse.inference.headers import Header, headers
from warehouse.onboarding.file_names import dataset_names, series
from warehouse.onboarding.found import ZIP, Folder, Found, listed
from warehouse.onboarding.patterns import pattern_of
from warehouse.settings import Settings

TELLING = 4  # columns; fewer, such as `id, name`, are found in many tables
LIKE = 0.8  # of the columns of two files of different names are in both
KEPT = 0.5  # of a file's columns are in the next one of its series
# A table of so many times the others' files is what the path is for.
DOMINANT = 10
SHOWN_TABLES, SHOWN_COLUMNS = 20, 4


@dataclass(frozen=True)
class FoundTable:
    """The files of one table, and a name that fits: `dataset` is the second part of a source's."""

    dataset: str
    found: Found


@dataclass(frozen=True)
class _File:
    """A file by its name below the folder or within the zip; `path` is where it can be read."""

    name: str
    path: Path
    header: Header


def find_tables(
    settings: Settings, found: Found, given: str, name: str
) -> tuple[list[FoundTable], list[str]]:
    """The tables that the files make, and what was left out of them and why.

    `given` is the path as the user named it, `name` what they are to be called: one table, or the
    source of several. Raises ConfigurationError when they are several where one is named, or
    within a zip, whose members no `path:` can tell apart.
    """
    tables, left_out = _tables(settings, found, given, name)
    names = [table.names or (table.files[0].name,) for table in tables]
    above = found.folder.shown if found.folder is not None else given.rpartition("/")[0] or "."
    called = dataset_names(names, above, name.partition(".")[0])
    told = [FoundTable(own, table) for own, table in zip(called, tables, strict=True)]
    return told, [*found.warnings, *left_out]


def _files(settings: Settings, found: Found) -> list[_File]:
    files = []
    looked = headers(settings, found.files)
    for name, path, parts in zip(found.names, found.files, looked, strict=True):
        if _is_zip(path):
            _check_zip(name, path, parts)
        files.append(_File(name, path, max(parts, key=lambda part: part.is_table)))
    return files


def _tables(
    settings: Settings, found: Found, given: str, name: str
) -> tuple[list[Found], list[str]]:
    as_one = "." in name
    if found.folder is None:
        if _is_zip(found.files[0]):
            _check_zip(given, found.files[0], headers(settings, found.files)[0])
        return [found], []
    files = _files(settings, found)
    with_rows = [file for file in files if file.header.is_table]
    groups = _grouped(with_rows, as_one=as_one)
    if not groups:
        return [found], []
    empty = [file.name for file in files if file.header.format is None]
    others = [file for file in files if file.header.format == "bytes"]
    left_out = [f"left out, as they are empty: {listed(empty)}"] if empty else []
    if others:
        left_out.append(f"left out, as they are no tables: {_listed(others)}")
    if as_one and (len(groups) > 1 or len(others) > len(with_rows)):
        most = _most(groups, others, given, name)
        if rest := [file for file in with_rows if file not in most]:
            left_out.append(f"left out, as they are other tables: {_listed(rest)}")
        groups, others = [most], [*others, *rest]
    if found.path and len(groups) == 1 and not others:
        return [_found(found.path, groups[0], found.folder)], left_out
    tables, untold = _with_paths(found.folder, groups, frozenset(empty), as_one=as_one)
    if not tables:
        raise ConfigurationError(
            "no pattern takes the files of one table and no others",
            where=given,
            next_step=f"move {_listed(groups[0])} to a folder of their own",
        )
    return tables, left_out + untold


def _most(groups: list[list[_File]], others: list[_File], given: str, name: str) -> list[_File]:
    """The table that outnumbers the other tables by far, and the files that are none."""
    most = max(groups, key=len)
    files = sum(map(len, groups))
    if len(others) > files:
        groups = [*groups, others]
    elif len(most) >= DOMINANT * (files - len(most)):
        return most
    source = name.partition(".")[0]
    raise ConfigurationError(
        f"{len(groups)} different tables, and --name {name} is for one{_told(groups)}",
        where=given,
        next_step=f"--name {source} adds them all, each named after its files; or give the path of"
        " one",
    )


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ZIP


def _check_zip(where: str, path: Path, parts: list[Header]) -> None:
    members = [_File(part.member, path, part) for part in parts]
    groups = _grouped([m for m in members if m.header.format], as_one=True)
    if len(groups) > 1:
        raise ConfigurationError(
            f"the zip holds {len(groups)} different tables, which cannot be told apart"
            f" there{_told(groups)}",
            where=where,
            next_step="unpack it to a folder of its own, and add that",
        )


def _told(groups: list[list[_File]]) -> str:
    lines = [f"\n  {_listed(group)}: {_columns(group[0].header)}" for group in groups]
    more = len(groups) - SHOWN_TABLES
    return "".join(lines[:SHOWN_TABLES]) + (f"\n  and {more} more" if more > 0 else "")


def _columns(header: Header) -> str:
    if header.format == "bytes":
        return "no table"
    if not header.width:
        return f"{header.format}, which cannot be read"
    count = f"{header.format}, {header.width} column{'s' * (header.width != 1)}"
    if not header.names:
        return f"{count} without names"
    rest = ", …" * (header.width > SHOWN_COLUMNS)
    return f"{count}: {', '.join(header.names[:SHOWN_COLUMNS])}{rest}"


def _listed(files: list[_File]) -> str:
    return listed([file.name for file in files])


def _found(path: str, files: list[_File], folder: Folder) -> Found:
    names = tuple(file.name for file in files)
    return Found(path, tuple(file.path for file in files), (), names, folder)


def _with_paths(
    folder: Folder, groups: list[list[_File]], empty: frozenset[str], *, as_one: bool
) -> tuple[list[Found], list[str]]:
    """Each group with the path that finds it again, and why some are left out."""
    tables, untold = [], []
    for group in groups:
        path = pattern_of(folder, [file.name for file in group], empty)
        parts = [] if as_one else _by_series(group)
        if path is not None:
            tables.append(_found(path, group, folder))
        elif len(parts) > 1:
            more, why = _with_paths(folder, parts, empty, as_one=as_one)
            tables += more
            untold += why
        else:
            untold.append(
                f"left out, as no pattern takes them and no other file: {_listed(group)}; move them"
                " to a folder of their own"
            )
    return tables, untold


def _by_series(files: list[_File]) -> list[list[_File]]:
    found: dict[str, list[_File]] = {}
    for file in files:
        found.setdefault(series(file.name), []).append(file)
    return list(found.values())


def _grouped(files: Sequence[_File], *, as_one: bool) -> list[list[_File]]:
    """The files of each table, in the order in which they come up."""
    # Of files that are alike in all that counts one is compared for all.
    alike: dict[tuple[object, ...], list[_File]] = {}
    for file in files:
        header = file.header
        told = (series(file.name), header.format, header.lowered, header.kinds)
        alike.setdefault(told, []).append(file)
    groups: list[list[list[_File]]] = []
    for some in alike.values():
        fitting = [g for g in groups if any(_agree(some[0], o[0], as_one=as_one) for o in g)]
        groups = [group for group in groups if group not in fitting]
        groups.append([*(part for group in fitting for part in group), some])
    order = {file.name: place for place, file in enumerate(files)}
    merged = [sorted((f for p in g for f in p), key=lambda f: order[f.name]) for g in groups]
    return sorted(merged, key=lambda group: order[group[0].name])


def _agree(one: _File, other: _File, *, as_one: bool) -> bool:
    """Whether two files are of one table."""
    a, b = one.header, other.header
    if a.format != b.format:
        return False
    is_series = series(one.name) == series(other.name)
    if not a.names or not b.names:
        return a.width == b.width and (is_series or a.kinds == b.kinds)
    shared = len(a.lowered & b.lowered)
    fewer, more = sorted((len(a.lowered), len(b.lowered)))
    if is_series:
        return shared >= KEPT * fewer
    return (as_one or fewer >= TELLING) and shared == fewer and shared >= LIKE * more
