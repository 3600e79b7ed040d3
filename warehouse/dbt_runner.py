"""dbt in this process: what the models are, what their code hashes to, and running them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from warehouse.domains import MAIN, declared_domain, independent_domains
from warehouse.errors import BuildError, FailedModel, without_values
from warehouse.failed_models import failed_model, without_stack
from warehouse.imports import garbage_collection_paused
from warehouse.progress import Progress, untold
from warehouse.settings import PROJECT, Settings

PUBLISHED_SCHEMAS = ("marts", "features")
PROJECT_FILES = ("dbt_project.yml", "profiles.yml", "models", "macros", "seeds")
# dbt forgets its cache when the profile's environment changes, as it would with a moved home;
# parsing opens no database.
PARSED_WITH = Path("/not-opened/warehouse.duckdb")
ENGINES = ("dbt-core", "dbt-duckdb", "duckdb")


# A row of the table that dbt prints of a broken contract, and how it names columns without a type.
DIFFERENCE = re.compile(
    r"^ *\| (.+?) +\| (.*?) *\| (.*?) *\| (?:missing in |data type mismatch)", re.M
)
NO_COLUMNS = "its 'columns' specification is missing"
UNTYPED = re.compile(r"within the YAML configuration for the \[(.+)\] column")


class Difference(NamedTuple):
    """A column that model and contract disagree on: its type on either side, empty if not there."""

    column: str
    in_sql: str
    in_yaml: str


@dataclass(frozen=True)
class ChangedRows:
    """Where a build leaves the keys of a table's changed rows: a relation and its key column."""

    relation: str
    key: str


@dataclass(frozen=True)
class Model:
    """A dbt model. `code` hashes its SQL, contract, macros and all that is upstream of it.

    `domain` is the line that it is published on. `parents` are the relations that it reads itself,
    those of the lake included; `personal` its columns whose values speak of a person: marked
    (`config: meta: personal: true`), or called like such a column of what it reads.
    """

    name: str
    schema: str
    file: str
    materialized: str
    code: str
    domain: str
    sources: frozenset[tuple[str, str]]
    changed_rows: ChangedRows | None
    feature_set: dict[str, Any] | None
    parents: frozenset[str] = frozenset()
    personal: frozenset[str] = frozenset()

    @property
    def relation(self) -> str:
        """The model's relation as `schema.name`."""
        return f"{self.schema}.{self.name}"

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Model:
        """The model whose `asdict` went through JSON."""
        changed = content["changed_rows"]
        return cls(
            **content
            | {
                "sources": frozenset((schema, table) for schema, table in content["sources"]),
                "changed_rows": ChangedRows(**changed) if changed else None,
                "parents": frozenset(content.get("parents", ())),
                "personal": frozenset(content.get("personal", ())),
            }
        )


@dataclass(frozen=True)
class Project:
    """The parsed dbt project; `manifest` is dbt's own."""

    models: dict[str, Model]
    manifest: Any


class Ran(NamedTuple):
    """What dbt did: the seconds of each model, and by name what is wrong with those that failed."""

    seconds: dict[str, float]
    failures: dict[str, BuildError]


def project_hash() -> str:
    """A hash of dbt's files and engines as they are on disk; costs no import of dbt."""
    digest = hashlib.sha256()
    for name in ENGINES:
        digest.update(f"{name}=={importlib.metadata.version(name)}\n".encode())
    for top in PROJECT_FILES:
        path = PROJECT / top
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_file():
                digest.update(str(file.relative_to(PROJECT)).encode() + b"\0")
                digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def _environment(settings: Settings, database: Path, snapshot: int) -> Iterator[None]:
    """What the profile, the plugin and dbt itself read from the environment, for the block."""
    values = {
        "CLEARWATER_HOME": str(settings.home),
        "CLEARWATER_DBT_DATABASE": str(database),
        "CLEARWATER_LAKE_SNAPSHOT": str(snapshot),
        "DBT_TARGET_PATH": str(settings.dbt / "target"),
        "DBT_LOG_PATH": str(settings.dbt / "logs"),
        "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _arguments(command: str) -> list[str]:
    place = str(PROJECT)
    quiet = ["--quiet", "--log-level", "none", "--no-use-colors"]
    return [*quiet, command, "--project-dir", place, "--profiles-dir", place]


def parse(settings: Settings) -> Project:
    """Parse the project; unchanged files come from dbt's own cache.

    Raises BuildError with dbt's message, ConfigurationError for an unknown independent domain.
    """
    with _environment(settings, PARSED_WITH, 0), garbage_collection_paused():
        from dbt.cli.main import dbtRunner

        result = dbtRunner().invoke(_arguments("parse"))
    if not result.success:
        raise BuildError(
            f"the dbt project cannot be parsed: {result.exception}",
            where=str(PROJECT / "models"),
            next_step="mend the model; `dbt parse` shows the same",
        )
    return Project(_models(result.result), result.result)


def _models(manifest: Any) -> dict[str, Model]:
    codes: dict[str, str] = {}
    reads: dict[str, frozenset[tuple[str, str]]] = {}
    marks: dict[str, frozenset[str]] = {}
    models = {}
    nodes = [node for node in manifest.nodes.values() if node.resource_type == "model"]
    domains = {n.name: declared_domain(n.original_file_path, n.config.meta) for n in nodes}
    known = set(domains.values()) - {""}
    independent = independent_domains(PROJECT / "dbt_project.yml", known)
    for node in nodes:
        changed = node.config.meta.get("changed_rows")
        models[node.name] = Model(
            name=node.name,
            schema=node.schema,
            file=node.original_file_path,
            materialized=node.config.materialized,
            code=_code(manifest, node.unique_id, codes),
            domain=domains[node.name] if domains[node.name] in independent else MAIN,
            sources=_sources(manifest, node.unique_id, reads),
            changed_rows=ChangedRows(**changed) if changed else None,
            feature_set=node.config.meta.get("feature_set"),
            parents=frozenset(_relation(manifest, above) for above in _above(node)),
            personal=_personal(manifest, node.unique_id, marks),
        )
    return models


def _relation(manifest: Any, unique_id: str) -> str:
    """The relation of a model, seed or source as `schema.name`."""
    if unique_id in manifest.sources:
        source = manifest.sources[unique_id]
        return f"{source.schema}.{source.identifier}"
    node = manifest.nodes[unique_id]
    return f"{node.schema}.{node.name}"


def _personal(manifest: Any, unique_id: str, known: dict[str, frozenset[str]]) -> frozenset[str]:
    """The node's columns whose values speak of a person.

    They are those that are marked, and those called like one of what it reads, but for a mark
    `personal: false`. A node without a contract may have columns that its YAML does not name.
    """
    if unique_id not in known:
        is_source = unique_id in manifest.sources
        node = manifest.sources[unique_id] if is_source else manifest.nodes[unique_id]
        above = () if is_source else _above(node)
        inherited = {n.lower() for parent in above for n in _personal(manifest, parent, known)}
        marks = {column.name: _mark(column) for column in node.columns.values()}
        own = {
            name
            for name, mark in marks.items()
            if mark or (mark is None and name.lower() in inherited)
        }
        if not is_source and not node.config.contract.enforced:
            own |= inherited - {name.lower() for name in marks}
        known[unique_id] = frozenset(own)
    return known[unique_id]


def _mark(column: Any) -> bool | None:
    """Whether the column is marked, under `config: meta:` or, as dbt had it, `meta:` alone.

    None if nothing is said. Anything but false counts: to mask too much harms nobody.
    """
    said = (column.meta.get("personal"), column.config.meta.get("personal"))
    marks = [mark is not False for mark in said if mark is not None]
    return any(marks) if marks else None


def _sources(
    manifest: Any, unique_id: str, known: dict[str, frozenset[tuple[str, str]]]
) -> frozenset[tuple[str, str]]:
    """The lake tables that the node reads, itself or through others."""
    if unique_id not in known:
        if unique_id in manifest.sources:
            source = manifest.sources[unique_id]
            known[unique_id] = frozenset({(source.schema, source.identifier)})
        else:
            above = _above(manifest.nodes[unique_id])
            known[unique_id] = frozenset().union(*(_sources(manifest, n, known) for n in above))
    return known[unique_id]


def _above(node: Any) -> list[str]:
    """The ids of the nodes that this one reads; a seed reads none."""
    return list(getattr(node.depends_on, "nodes", []))


def _code(manifest: Any, unique_id: str, known: dict[str, str]) -> str:
    if unique_id not in known:
        known[unique_id] = _hash(_ingredients(manifest, unique_id, known))
    return known[unique_id]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _ingredients(manifest: Any, unique_id: str, known: dict[str, str]) -> Any:
    """All that decides what a node's relation holds; descriptions and tests do not."""
    if unique_id in manifest.sources:
        source = manifest.sources[unique_id]
        return [source.database, source.schema, source.identifier]
    node = manifest.nodes[unique_id]
    config = {k: v for k, v in node.config.to_dict().items() if k not in ("meta", "docs", "tags")}
    return [
        getattr(node, "raw_code", ""),
        node.checksum.checksum if node.resource_type == "seed" else "",
        config,
        {name: column.data_type for name, column in node.columns.items()},
        [importlib.metadata.version(name) for name in ENGINES],
        sorted(_macros(manifest, node.depends_on.macros, {}).items()),
        [_code(manifest, above, known) for above in sorted(_above(node))],
        (PROJECT / "dbt_project.yml").read_text(
            encoding="utf-8"
        ),  # its vars may stand in any model
        node.config.meta.get("changed_rows"),
    ]


def _macros(manifest: Any, names: list[str], found: dict[str, str]) -> dict[str, str]:
    """The project's own macros that these use, with their text; dbt's are in its version."""
    for name in names:
        macro = manifest.macros.get(name)
        if macro is None or name in found or macro.package_name != "clearwater":
            continue
        found[name] = macro.macro_sql
        _macros(manifest, macro.depends_on.macros, found)
    return found


def run(
    settings: Settings,
    project: Project,
    database: Path,
    snapshot: int,
    names: list[str],
    progress: Progress = untold,
) -> Ran:
    """`dbt run` of the named models into `database`, those left out that read one that failed.

    Raises BuildError when dbt itself fails. Nothing has `database` open after.
    """
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.cli.main import dbtRunner

    with _environment(settings, database, snapshot):
        runner = dbtRunner(manifest=project.manifest, callbacks=[_Watched(len(names), progress)])
        try:
            if any(node.resource_type == "seed" for node in project.manifest.nodes.values()):
                runner.invoke([*_arguments("seed"), "--no-write-json"])
            result = runner.invoke([*_arguments("run"), "--no-write-json", "--select", *names])
        finally:
            DuckDBConnectionManager.close_all_connections()
    outcomes = getattr(result.result, "results", None) or []
    failures = {o.node.name: _told(o) for o in outcomes if str(o.status) == "error"}
    if not result.success and not failures:
        raise BuildError(
            f"dbt did not run: {result.exception or 'no reason given'}",
            where=str(PROJECT),
            next_step="`dbt debug` and `dbt run` in the repository's root show more",
        )
    return Ran({o.node.name: float(o.execution_time) for o in outcomes}, failures)


class _Watched:
    """What dbt calls with each of its events: models that begin and end are progress."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total, self._progress, self._done = total, progress, 0

    def __call__(self, event: Any) -> None:
        name = event.info.name
        if name not in ("NodeStart", "NodeFinished"):
            return
        node = event.data.node_info
        if node.resource_type == "model":
            self._done += name == "NodeFinished"
            self._progress(self._done, self._total, "model", node.node_name)


def _told(outcome: Any) -> BuildError:
    """The error for a model that failed, with its SQL where that is at fault."""
    node, message = outcome.node, str(outcome.message)
    relation = f"{node.schema}.{node.name}"
    if error := _contract_fault(node, message):
        model = FailedModel(relation, error.where, error.what, next_step=error.next_step)
    else:
        error = _failed(node, without_stack(message))
        sql = getattr(node, "compiled_code", None) or ""
        model = failed_model(relation, node.original_file_path, message, sql)
    error.models = (model,)
    return error


def _contract_fault(node: Any, message: str) -> BuildError | None:
    """The error for a model without a whole contract, or that breaks it; None for another fault.

    dbt's table of the differences becomes sentences.
    """
    differences = [Difference(*found) for found in DIFFERENCE.findall(message)]
    if differences:
        return _contract_broken(node, differences)
    if untyped := UNTYPED.search(message):
        return BuildError(
            f"the contract of model {node.name} gives no type for {untyped[1]}",
            where=_yaml_of(node),
            next_step="add a line `data_type: …` to each",
        )
    if NO_COLUMNS in message:
        return BuildError(
            f"model {node.name} has no contract",
            where=_yaml_of(node),
            next_step="list its columns there, each with its data_type, as other models do",
        )
    return None


def _failed(node: Any, message: str) -> BuildError:
    """The error for a model that the engine could not build, in the engine's words."""
    # The values that DuckDB quotes may be personal: who asks dbt itself sees them.
    # dbt begins with "Runtime Error in model <name> (<file>)", which is said here anyway.
    text = " ".join(without_values(message).split()).partition(f"({node.original_file_path}) ")
    return BuildError(
        f"model {node.name} failed: {(text[2] or text[0]).removesuffix(' ^')}",
        where=node.original_file_path,
        next_step=f"mend the model or its data; `dbt build --select {node.name}` shows it in full",
    )


def _contract_broken(node: Any, differences: list[Difference]) -> BuildError:
    """What SQL and YAML do not agree in, and which of the two to mend how."""
    sql, yaml = node.original_file_path, _yaml_of(node)
    unlisted = [found for found in differences if not found.in_yaml]
    unmade = [found for found in differences if not found.in_sql]
    others = [found for found in differences if found.in_sql and found.in_yaml]
    faults = [f"the YAML lacks {found.column} ({found.in_sql})" for found in unlisted]
    faults += [f"the SQL lacks {found.column} ({found.in_yaml})" for found in unmade]
    faults += [f"{d.column} is {d.in_sql} in the SQL, {d.in_yaml} in the YAML" for d in others]
    steps = []
    if unlisted:
        lines = [f"\n      - name: {d.column}\n        data_type: {d.in_sql}" for d in unlisted]
        steps.append(f"add to the columns in {yaml}, or take out of the SQL:{''.join(lines)}")
    if unmade:
        names = ", ".join(found.column for found in unmade)
        steps.append(f"select {names} in {sql} or the model that it reads, or take out of {yaml}")
    if others:
        steps.append(f"write the SQL's types in {yaml}, or cast in {sql}")
    return BuildError(
        f"model {node.name} does not keep its contract: {'; '.join(faults)}",
        where=yaml if unlisted or others else sql,
        next_step="\n  and: ".join(steps),
    )


def _yaml_of(node: Any) -> str:
    """The file that has the model's contract or should have it, from the project's root."""
    if node.patch_path:
        return str(node.patch_path).partition("://")[2]
    return str(Path(node.original_file_path).with_suffix(".yml"))


def without_sources(models: Mapping[str, Model], tables: set[tuple[str, str]]) -> set[str]:
    """The models that cannot be built because the lake lacks a table that they read."""
    return {name for name, model in models.items() if not model.sources <= tables}


def contracts(project: Project) -> dict[str, dict[str, str]]:
    """The columns that each model promises, with their DuckDB types, by its relation.

    There are none for a seed or a model without a contract, nor a type where its YAML gives none.
    """
    return {
        f"{node.schema}.{node.name}": {c.name: c.data_type or "" for c in node.columns.values()}
        if node.config.contract.enforced
        else {}
        for node in project.manifest.nodes.values()
        if node.resource_type in ("model", "seed")
    }
