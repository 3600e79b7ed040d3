"""What is wrong with this machine, this home and this project: a list of named checks."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.errors import (
    ClearwaterError,
    ConfigurationError,
    LakeError,
    ReleaseError,
    StateError,
)
from warehouse.settings import PROJECT, Settings, load_settings
from warehouse.wording import counted

if TYPE_CHECKING:
    import duckdb

    from expectations.rules import Rule
    from warehouse.dbt_runner import Project
    from warehouse.sources import Source

# What has to be of the very version that the others were made for.
ENGINES = ("duckdb", "dbt-core", "dbt-duckdb", "great-expectations", "prefect", "sqlalchemy")
EXTENSIONS = ("ducklake", "sqlite_scanner", "httpfs", "avro")
LOCKED = re.compile(r"^([a-z0-9-]+)==(\S+)", re.M)


@dataclass
class Look:
    """What the checks look at, and what the earlier leave for the later ones.

    `unread` says that there are more rules than `rules`, with mistakes in them.
    """

    sources: Path
    home: Path | None
    settings: Settings | None = None
    rules: list[Rule] = field(default_factory=list)
    unread: bool = False
    declared: list[Source] = field(default_factory=list)
    project: Project | None = None


@dataclass(frozen=True)
class Finding:
    """One check: what is well, in words, or what is wrong; neither if it could not be made."""

    check: str
    well: str
    wrong: tuple[ClearwaterError, ...] = ()

    @property
    def status(self) -> str:
        """ok, wrong, or skipped for what an earlier check found."""
        if self.wrong:
            return "wrong"
        return "ok" if self.well else "skipped"


def examine(sources: Path, home: Path | None) -> Iterator[Finding]:
    """Make every check; nothing is written but dbt's own cache, in the home.

    `sources` is the sources file; `home` as the user gave it.
    """
    look = Look(sources, home)
    for name, check in CHECKS.items():
        if look.settings is None and check is not _settings:
            yield Finding(name, "")
            continue
        try:
            well, wrong = check(look)
        except ClearwaterError as error:
            well, wrong = "", [error]
        yield Finding(name, well, tuple(wrong))


def exit_code(findings: list[Finding]) -> int:
    """0 when all is well, 2 when some configuration is wrong, else 1."""
    wrong = [error for finding in findings for error in finding.wrong]
    if any(isinstance(error, ConfigurationError) for error in wrong):
        return ConfigurationError.exit_code
    return ClearwaterError.exit_code if wrong else 0


# What is well, and what is wrong; a check may raise as well.
_Found = tuple[str, list[ClearwaterError]]


def _settings(look: Look) -> _Found:
    look.settings = load_settings(look.home)
    settings = look.settings
    return f"{settings.home}, {settings.memory_limit} and {settings.threads} threads", []


def _home(look: Look) -> _Found:
    assert look.settings is not None
    home = look.settings.home
    there = next(place for place in (home, *home.parents) if place.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        raise ClearwaterError(
            "the home cannot be written" if there == home else "the home cannot be made here",
            where=str(there),
            next_step="give yourself the right to write there, or choose another --home",
        )
    return "can be written" if there == home else "not there yet; it can be made", []


def _versions(_look: Look) -> _Found:
    lock = PROJECT / "requirements.lock"
    locked = dict(LOCKED.findall(lock.read_text(encoding="utf-8"))) if lock.exists() else {}
    wrong: list[ClearwaterError] = []
    for name in ENGINES:
        installed = _installed(name)
        if installed is None or locked.get(name, installed) != installed:
            wrong.append(
                ClearwaterError(
                    f"{name} {locked.get(name, '')} is locked, but {installed or 'none'} installed",
                    where=str(lock),
                    next_step="run `make setup` to install the locked packages again",
                )
            )
    return ", ".join(f"{name} {_installed(name)}" for name in ENGINES), wrong


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _extensions(look: Look) -> _Found:
    import duckdb

    from warehouse.duck import connect, extension_file, quoted

    assert look.settings is not None
    wrong: list[ClearwaterError] = []
    with closing(connect(look.settings)) as con:
        for name in EXTENSIONS:
            try:
                con.execute(f"load {quoted(extension_file(name))}")
            except ClearwaterError as error:
                wrong.append(error)
            except duckdb.Error as error:
                wrong.append(
                    ClearwaterError(
                        f"DuckDB cannot load its extension: {_line(error)}",
                        where=name,
                        next_step="run `make setup` to install the locked packages again",
                    )
                )
    return f"{', '.join(EXTENSIONS)} load", wrong


def _rules(look: Look) -> _Found:
    from expectations.rule_files import read_rules

    look.rules, wrong = read_rules()
    look.unread = bool(wrong)
    return counted(len(look.rules), "rule"), list(wrong)


def _sources(look: Look) -> _Found:
    from expectations.raw import with_rules
    from warehouse.sources import load_sources

    assert look.settings is not None
    look.declared = load_sources(look.sources, look.settings)
    with_rules(look.declared, look.rules)
    return f"{counted(len(look.declared), 'source')} in {look.sources}", []


def _dbt(look: Look) -> _Found:
    from warehouse.dbt_runner import parse

    assert look.settings is not None
    look.project = parse(look.settings)
    return counted(len(look.project.models), "model"), []


def _columns(look: Look) -> _Found:
    from expectations.known_columns import mistakes, of_lake, of_project

    assert look.settings is not None
    raw = [rule for rule in look.rules if rule.boundary == "raw"]
    wrong: list[ClearwaterError] = list(mistakes(raw, of_lake(look.settings, look.declared)))
    if look.project is None:
        return "", wrong
    published = (rule for rule in look.rules if rule.boundary != "raw")
    wrong += mistakes(published, of_project(look.project))
    return "tables, columns and types of the rules are there", wrong


def _published(look: Look) -> _Found:
    """A table without contract is not built, and one without rules passes no gate."""
    from expectations.rules import PUBLISHED
    from warehouse.dbt_runner import contracts

    if look.project is None:
        return "", []
    columns, ruled = contracts(look.project), {rule.table for rule in look.rules}
    models = [model for model in look.project.models.values() if model.schema in PUBLISHED]
    wrong: list[ClearwaterError] = []
    for model in sorted(models, key=lambda model: model.relation):
        if not columns.get(model.relation) or not all(columns[model.relation].values()):
            wrong.append(
                ConfigurationError(
                    f"{model.relation} has no contract, or a column without a type in it",
                    where=model.file,
                    next_step="list its columns, each with its `data_type`, in"
                    f" {Path(model.file).with_suffix('.yml')} (docs/models.md)",
                )
            )
        if model.relation not in ruled and not look.unread:
            wrong.append(
                ConfigurationError(
                    f"no rule speaks of {model.relation}, so that its gate blocks",
                    where=model.file,
                    next_step=f"write rules into expectations/rules/{model.schema}/{model.name}.yml"
                    " (docs/models.md)",
                )
            )
    return f"{counted(len(models), 'published table')} with contract and rules", wrong


def _lake(look: Look) -> _Found:
    import duckdb

    from warehouse.duck import is_lake_lost, no_lake
    from warehouse.lake import catalog_snapshot, raw_tables
    from warehouse.query import open_lake

    settings = look.settings
    assert settings is not None
    if is_lake_lost(settings):
        raise no_lake(settings)
    if not settings.lake_catalog.exists():
        return "none yet", []
    try:
        snapshot = catalog_snapshot(settings)
        with open_lake(settings):
            return f"{counted(len(raw_tables(settings, snapshot)), 'table')}, {snapshot=}", []
    except (duckdb.Error, sqlite3.Error) as error:
        raise LakeError(
            f"the lake cannot be opened: {_line(error)}",
            where=str(settings.lake_catalog),
            next_step="make it again with `clearwater lake rebuild`",
        ) from None


def _state(look: Look) -> _Found:
    assert look.settings is not None
    file = look.settings.state_db
    if not file.exists():
        return "none yet", []
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as con:
            con.execute("pragma quick_check").fetchall()
            runs = con.execute("select count(*) from runs").fetchone()[0]
    except sqlite3.Error as error:
        raise StateError(
            f"the run ledger cannot be read: {error}",
            where=str(file),
            next_step="move the file away: a new one is made, and no data depends on it",
        ) from None
    return counted(runs, "run"), []


def _release(look: Look) -> _Found:
    import duckdb

    from warehouse.query import open_release
    from warehouse.releases import current

    assert look.settings is not None
    serving = current(look.settings)
    if serving is None and not look.settings.current.is_symlink():
        return "none yet", []
    next_step = "`clearwater releases` lists others; `clearwater rollback ID` serves one of them"
    where = str(look.settings.current)
    if serving is None:
        raise ReleaseError(
            "the link to the current release leads nowhere", where=where, next_step=next_step
        )
    try:
        with open_release(look.settings) as con:
            there = _tables(con)
    except duckdb.Error as error:
        raise ReleaseError(
            f"the current release cannot be opened: {_line(error)}",
            where=where,
            next_step=next_step,
        ) from None
    if missing := sorted(set(serving.tables) - there):
        raise ReleaseError(
            f"the current release lacks {', '.join(missing)}", where=where, next_step=next_step
        )
    return f"{serving.id} ({serving.verdict}), {counted(len(serving.tables), 'table')}", []


def _tables(con: duckdb.DuckDBPyConnection) -> set[str]:
    names = con.execute("select schema_name || '.' || table_name from duckdb_tables()").fetchall()
    return {name for (name,) in names}


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


CHECKS: dict[str, Callable[[Look], _Found]] = {
    "settings": _settings,
    "home": _home,
    "versions": _versions,
    "extensions": _extensions,
    "rules": _rules,
    "sources": _sources,
    "dbt": _dbt,
    "columns": _columns,
    "published": _published,
    "lake": _lake,
    "state": _state,
    "release": _release,
}
