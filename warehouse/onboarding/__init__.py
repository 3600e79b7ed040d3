"""From files never seen before to project files: an entry in sources.yml, models and rules.

`draft` decides everything and writes nothing; `Changes.write` writes, `Changes.take_back` undoes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from warehouse.errors import ConfigurationError
from warehouse.files import write_atomically
from warehouse.inference.result import Inferred
from warehouse.onboarding import models, rules
from warehouse.onboarding.found import Found, find, listed, told_format, written_at
from warehouse.onboarding.yaml_text import Commented, Inline, InlineMapping, dumped, with_item
from warehouse.settings import Settings
from warehouse.sources import NAME, load_sources

__all__ = ["Change", "Changes", "Draft", "Found", "draft", "find", "together"]

# Formats that carry their columns' types.
TYPED = ("parquet", "avro", "orc")
PERSONAL = "likely a person's own: reports show none of their values; take out what is not"


@dataclass(frozen=True)
class Change:
    """A file as it is (None where there is none) and as it will be; `what` is for people."""

    path: Path
    before: str | None
    after: str
    what: str


@dataclass(frozen=True)
class Changes:
    """Files that are written together or not at all."""

    changes: tuple[Change, ...]
    _made: list[Path] = field(default_factory=list, compare=False, kw_only=True)

    def write(self) -> None:
        """Write every file, or none.

        Raises ConfigurationError when one of them is no longer as it was when this was drafted.
        """
        for change in self.changes:
            if _text(change.path) != change.before:
                raise ConfigurationError(
                    "the file changed in the meantime; nothing was written",
                    where=str(change.path),
                    next_step="run the command again",
                )
        try:
            for change in self.changes:
                self._make_folder(change.path.parent)
                write_atomically(change.path, change.after)
        except BaseException:
            self.take_back()
            raise

    def take_back(self) -> None:
        """Leave every file, and every folder, as it was before `write`."""
        for change in reversed(self.changes):
            if change.before is None:
                if change.path.exists():
                    change.path.unlink()
            elif _text(change.path) != change.before:
                write_atomically(change.path, change.before)
        for folder in reversed(self._made):
            folder.rmdir()
        self._made.clear()

    def _make_folder(self, folder: Path) -> None:
        missing = [place for place in (folder, *folder.parents) if not place.exists()]
        for place in reversed(missing):
            place.mkdir()
            self._made.append(place)


@dataclass(frozen=True)
class Draft(Changes):
    """A dataset's project files, not written yet; `entry` is the one for the sources file."""

    data: models.Dataset
    entry: dict[str, Any]

    @property
    def entry_text(self) -> str:
        """The entry as sources.yml has it."""
        return dumped([self.entry], 2)


def together(drafts: Sequence[Draft]) -> Changes:
    """The changes of all drafts, each of which was made with those before it as `earlier`."""
    found: dict[Path, list[Change]] = {}
    for change in (change for draft in drafts for change in draft.changes):
        found.setdefault(change.path, []).append(change)
    return Changes(
        tuple(
            replace(some[0], after=some[-1].after, what=_told([change.what for change in some]))
            for some in found.values()
        )
    )


def _told(whats: list[str]) -> str:
    return whats[0] if len(whats) == 1 else f"{whats[0]} and {len(whats) - 1} more"


def check_name(name: str, sources: Path, settings: Settings) -> None:
    """Raise ConfigurationError unless `name` may become a source of the sources file.

    A name without a dataset, such as `shop`, is for several: `check_free` tells of them.
    """
    if not NAME.fullmatch(name) and not NAME.fullmatch(f"{name}.x"):
        raise ConfigurationError(
            f"{name!r} is not a name of the form <source>.<dataset>, or <source> alone, in lower"
            " case",
            where="--name",
            next_step="choose one such as shop.orders, or shop for a folder of several tables",
        )
    if "." in name:
        check_free([name], sources, settings)


def check_free(names: Sequence[str], sources: Path, settings: Settings) -> None:
    """Raise ConfigurationError if the sources file declares one of the names already."""
    declared = {s.name for s in load_sources(sources, settings)} if _has_sources(sources) else set()
    taken = [repr(name) for name in names if name in declared]
    if taken:
        is_one = len(taken) == 1
        remove = "remove that entry" if is_one else "remove those entries"
        others = ", or add the other tables by their own paths" * (len(taken) < len(names))
        raise ConfigurationError(
            f"the source{'s' * (not is_one)} {listed(taken)} {'is' if is_one else 'are'} declared"
            " already",
            where=str(sources),
            next_step=f"choose another --name, or {remove} first{others}",
        )


def draft(
    name: str,
    found: Found,
    inferred: Inferred,
    sources: Path,
    project: Path,
    earlier: Sequence[Draft] = (),
    personal: Mapping[str, str] = models.NOBODY,
) -> Draft:
    """The project files of the dataset `name`: `project` holds models/ and expectations/.

    Files that are no tables get an entry alone: there is nothing to model. `earlier` are drafts
    that are written together with this one. `personal` are the columns to mark as a person's own,
    each with the reason.
    Raises ConfigurationError when one of the files, or a model of that name, is there already.
    """
    drafted = {change.path: change.after for other in earlier for change in other.changes}
    data = models.dataset(name, inferred, written_at(found.files), personal)
    entry = _entry(name, found, inferred, personal)
    of_sources = _sources_change(sources.resolve(), entry, drafted)
    if inferred.format == "bytes":
        return Draft((of_sources,), data, entry)
    staging = project / "models" / "staging" / data.source
    marts = project / "models" / "marts" / data.source
    count = rules.rule_count(data)
    new = {
        staging / f"{data.staging}.sql": ("a view with snake_case names", models.staging_sql),
        staging / f"{data.staging}.yml": ("its columns, tests of the key", models.staging_yaml),
        marts / f"{data.mart}.sql": ("the published table", models.mart_sql),
        marts / f"{data.mart}.yml": ("its contract: columns and types", models.mart_yaml),
        project / "expectations" / "rules" / "marts" / f"{data.mart}.yml": (
            f"its first {count} rules",
            rules.rules_yaml,
        ),
    }
    arriving = project / "expectations" / "rules" / "raw" / f"{data.source}.{data.name}.yml"
    new[arriving] = ("a warning of files unlike those before", rules.raw_rules_yaml)
    for path in new:
        _check_free(path, project)
    return Draft(
        (
            of_sources,
            _dbt_sources_change(staging / f"_{data.source}__sources.yml", data, drafted),
            *(Change(path, None, text(data), what) for path, (what, text) in new.items()),
        ),
        data,
        entry,
    )


def _check_free(path: Path, project: Path) -> None:
    """Model names are unique in all of dbt's project, whatever their folder."""
    taken = [path] if path.exists() else []
    if path.suffix == ".sql":
        taken += (project / "models").rglob(path.name)
    if taken:
        raise ConfigurationError(
            "there is such a file already; nothing was written",
            where=str(taken[0]),
            next_step="choose another --name, or remove that file first",
        )


def _entry(
    name: str, found: Found, inferred: Inferred, personal: Mapping[str, str]
) -> dict[str, Any]:
    """The entry of sources.yml, with the keys it needs."""
    entry: dict[str, Any] = {"name": name, "kind": "files", "path": found.path}
    if told_format(found.files) != inferred.format:
        entry["format"] = inferred.format
    if inferred.format == "bytes":
        return entry
    for key, value in inferred.options.items():
        entry[key] = Inline(value) if isinstance(value, list | tuple) else value
    if inferred.format not in TYPED:
        entry["columns"] = {
            column.name: InlineMapping(type=column.type.lower(), format=column.format)
            if column.format
            else column.type.lower()
            for column in inferred.columns
        }
    if personal:
        reasons = (f"{column}: {reason}" for column, reason in personal.items())
        entry["personal"] = Commented(personal, (PERSONAL, *reasons))
    if inferred.key:
        entry["key"] = Inline(inferred.key)
    for key in ("event_time", "known_at"):
        if getattr(inferred, key):
            entry[key] = getattr(inferred, key)
    return entry | {"write": inferred.write}


def _has_sources(file: Path) -> bool:
    """Whether the sources file declares any, or is broken in a way that loading it explains."""
    text = _text(file)
    if text is None:
        return False
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return True
    if isinstance(content, dict):
        return set(content) - {"version"} != set() and content.get("sources") not in (None, [])
    return content is not None


def _sources_change(file: Path, entry: dict[str, Any], drafted: Mapping[Path, str]) -> Change:
    before = drafted.get(file) or _text(file)
    text = before or ""
    if yaml.safe_load(text) is None:
        text = f"{text.rstrip()}\nversion: 1\n".lstrip("\n")
    after = with_item(text, ("sources",), entry, str(file))
    return Change(file, before, after, f"the entry {entry['name']}")


def _dbt_sources_change(file: Path, data: models.Dataset, drafted: Mapping[Path, str]) -> Change:
    before = drafted.get(file) or _text(file)
    what = f"the lake's table raw_{data.source}.{data.name}"
    if before is None:
        entry = dumped({"sources": [models.source_entry(data)]})
        return Change(file, None, f"version: 2\n\n{entry}", what)
    content = yaml.safe_load(before)
    declared = content.get("sources") or [] if isinstance(content, dict) else []
    for number, source in enumerate(declared):
        if source.get("name") != data.source:
            continue
        tables = [table.get("name") for table in source.get("tables") or []]
        if data.name in tables:
            raise ConfigurationError(
                f"the table {data.name!r} is declared already; nothing was written",
                where=str(file),
                next_step="choose another --name, or remove that table first",
            )
        path = ("sources", number, "tables")
        return Change(
            file, before, with_item(before, path, models.source_table(data), str(file)), what
        )
    after = with_item(before, ("sources",), models.source_entry(data), str(file))
    return Change(file, before, after, what)


def _text(file: Path) -> str | None:
    """The file's text with its own line ends; None when there is no such file."""
    if not file.exists():
        return None
    try:
        return file.read_bytes().decode()
    except UnicodeDecodeError:
        raise ConfigurationError(
            "the file is not UTF-8 text", where=str(file), next_step="save it as UTF-8"
        ) from None
