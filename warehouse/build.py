"""Builds: dbt models into a private DuckDB file, from a copy of the base release where it helps."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import duckdb

from warehouse import dbt_runner
from warehouse.dbt_runner import PUBLISHED_SCHEMAS, Model, Project
from warehouse.domains import check_reads
from warehouse.duck import connect, identifier, quoted
from warehouse.errors import BuildError, FailedModel
from warehouse.files import write_atomically
from warehouse.lake import lake_identity, raw_tables, retypings
from warehouse.progress import Progress, untold
from warehouse.releases import Release, folder, new_id, releases
from warehouse.settings import Settings

PRIVATE_SCHEMAS = ("staging", "intermediate")
_NOTHING: Mapping[str, Sequence[str]] = MappingProxyType({})


class Failure(NamedTuple):
    """Why a domain could not be built: the first error, and the relations of all that failed.

    `models` tells of each of those.
    """

    what: str
    where: str
    next_step: str
    relations: list[str]
    models: tuple[FailedModel, ...] = ()

    @classmethod
    def from_json(cls, told: list[Any]) -> Failure:
        """The failure that went through JSON, by this or an earlier version."""
        models = told[4] if len(told) > 4 else ()
        return cls(*told[:4])._replace(models=tuple(_failed_model(model) for model in models))


def _failed_model(told: list[Any]) -> FailedModel:
    model = FailedModel(*told)
    return model._replace(sql=tuple(model.sql))


@dataclass(frozen=True)
class Build:
    """A built warehouse that nobody reads yet.

    `fresh` are the models whose relation was made in full; `left_out` the relations whose source
    tables the lake does not have; `seconds` is the time of each model. `domains` has the domain of
    each table that the project publishes, left out or not; `failed` those with a model that failed,
    none of whose tables are in the build. `lake` is the lake whose snapshot it is, by its identity.
    """

    id: str
    folder: Path
    base: Release | None
    lake_snapshot: int
    project: str
    models: dict[str, Model]
    fresh: frozenset[str]
    left_out: frozenset[str]
    incomplete: frozenset[str]
    seconds: dict[str, float]
    domains: dict[str, str] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)
    lake: str = ""

    @property
    def published(self) -> list[Model]:
        """The models whose relations readers will see."""
        return [m for m in self.models.values() if m.schema in PUBLISHED_SCHEMAS]

    @property
    def lines(self) -> list[str]:
        """The domains that it has something of, each of which passes its gate or not."""
        return sorted({model.domain for model in self.published} | self.failed.keys())

    @property
    def code(self) -> dict[str, str]:
        """The hash of each model that was built."""
        return {name: model.code for name, model in self.models.items()}

    @property
    def lineage(self) -> dict[str, list[str]]:
        """The relations that each model's relation is made from, those of the lake included."""
        return {model.relation: sorted(model.parents) for model in self.models.values()}

    @property
    def personal(self) -> dict[str, list[str]]:
        """The columns of each published table whose values speak of a person."""
        return {m.relation: sorted(m.personal) for m in self.published if m.personal}

    def write_gate(self, text: str) -> None:
        """Keep the gate's result, as JSON, with the build."""
        write_atomically(self.folder / "gate.json", text)

    def read_gate(self) -> str | None:
        """The gate's result, if the build was audited."""
        file = self.folder / "gate.json"
        return file.read_text(encoding="utf-8") if file.exists() else None


def newest_build(settings: Settings) -> Build | None:
    """The newest complete build that is not published, from its own build.json."""
    files = sorted(settings.builds.glob("*/build.json"))
    if not files:
        return None
    content = json.loads(files[-1].read_text(encoding="utf-8"))
    base = content.pop("base")
    content["models"] = {name: Model.from_json(model) for name, model in content["models"].items()}
    for name in ("fresh", "left_out", "incomplete"):
        content[name] = frozenset(content[name])
    content["failed"] = {name: Failure.from_json(told) for name, told in content["failed"].items()}
    known = {release.id: release for release in releases(settings)}
    return Build(folder=files[-1].parent, base=known.get(base), **content)


def _keep(built: Build) -> None:
    """Write build.json: from then on the build is complete and may be taken up."""
    content = {name: value for name, value in vars(built).items() if name not in ("folder", "base")}
    content["models"] = {name: asdict(model) for name, model in built.models.items()}
    content["base"] = built.base.id if built.base else None
    text = json.dumps(content, default=sorted, indent=1)
    write_atomically(built.folder / "build.json", text)


def build(
    settings: Settings,
    base: Release | None,
    snapshot: int,
    *,
    full: bool = False,
    check: Callable[[Project], None] | None = None,
    progress: Progress = untold,
) -> Build:
    """Build the warehouse as of a lake snapshot into a folder of its own.

    `check` may refuse the parsed project before anything is built, by raising. Raises BuildError,
    and leaves nothing then, unless all models of some domain were built.
    """
    project_hash = dbt_runner.project_hash()
    project = dbt_runner.parse(settings)
    if check is not None:
        check(project)
    _check_schemas(project.models)
    check_reads(project.models)
    tables = raw_tables(settings, snapshot)
    left_out = dbt_runner.without_sources(project.models, tables)
    models = {name: model for name, model in project.models.items() if name not in left_out}
    kept = set() if full or base is None else _kept(settings, models, base, snapshot)
    build_id = new_id(settings)
    place = settings.builds / build_id
    place.mkdir(parents=True)
    try:
        database = settings.database(place)
        if base is not None and kept:
            _start_from(settings, base, database, kept)
        names = sorted(models)
        ran = dbt_runner.Ran({}, {})
        if names:
            ran = dbt_runner.run(settings, project, database, snapshot, names, progress)
        built = Build(
            id=build_id,
            folder=place,
            base=base,
            lake_snapshot=snapshot,
            project=project_hash,
            models=models,
            fresh=frozenset(name for name in models if name not in kept),
            left_out=frozenset(project.models[name].relation for name in left_out),
            incomplete=frozenset(n for n in left_out if project.models[n].sources & tables),
            seconds=ran.seconds,
            domains=_domains(project.models),
            failed=_failed(models, ran.failures),
            lake=lake_identity(settings),
        )
        if built.failed:
            _drop_failed(settings, built)
        _keep(built)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return built


def _domains(models: Mapping[str, Model]) -> dict[str, str]:
    return {m.relation: m.domain for m in models.values() if m.schema in PUBLISHED_SCHEMAS}


def _failed(models: Mapping[str, Model], failures: Mapping[str, BuildError]) -> dict[str, Failure]:
    """The failure of each domain with models that failed; raises it when no domain is without."""
    failed: dict[str, Failure] = {}
    for name, error in failures.items():
        domain = models[name].domain
        before = failed.get(domain, Failure(error.what, error.where, error.next_step, []))
        relations = [*before.relations, models[name].relation]
        told = (*before.models, *error.models)
        failed[domain] = before._replace(relations=relations, models=told)
    if failures and set(_domains(models).values()) <= failed.keys():
        error = next(iter(failures.values()))
        error.failed = tuple(models[name].relation for name in failures)
        error.models = tuple(told for failure in failures.values() for told in failure.models)
        raise error
    return failed


def _drop_failed(settings: Settings, built: Build) -> None:
    """Drop what there is of the failed domains' tables, and what dbt left of them half made."""
    with closing(connect(settings, settings.database(built.folder))) as con:
        _drop_all_but(con, {m.relation for m in built.published if m.domain not in built.failed})


def _check_schemas(models: dict[str, Model]) -> None:
    """Refuse a model outside of the schemas that are audited, or dropped before publishing."""
    for model in models.values():
        if model.schema not in (*PUBLISHED_SCHEMAS, *PRIVATE_SCHEMAS):
            raise BuildError(
                f"model {model.name} goes to the schema {model.schema!r}, which no gate audits",
                where=model.file,
                next_step="move it below models/marts, features, staging or intermediate",
            )


def _kept(settings: Settings, models: dict[str, Model], base: Release, snapshot: int) -> set[str]:
    """The incremental models whose relation in the base was made by the very same code.

    Each is as old as its line. A source that got a column of another type since has no feed of
    what its rows were before, and none tells of another lake.
    """
    kept = set()
    for name, model in models.items():
        if model.materialized != "incremental" or base.code.get(name) != model.code:
            continue
        _, line = base.line(model.relation) or (None, None)
        if line is None or line.lake != base.lake or line.lake_snapshot is None:
            continue
        if not model.sources & retypings(settings, line.lake_snapshot, snapshot).keys():
            kept.add(name)
    return kept


def _start_from(settings: Settings, base: Release, database: Path, kept: set[str]) -> None:
    """Copy the base release and drop every relation that is not kept, with its watermark."""
    shutil.copyfile(settings.database(folder(settings, base.id)), database)
    with closing(connect(settings, database)) as con:
        tables = con.execute(
            "select schema_name, table_name from duckdb_tables()"
            " where list_contains(?, schema_name)",
            [list(PUBLISHED_SCHEMAS)],
        ).fetchall()
        for schema, table in tables:
            if table not in kept:
                con.execute(f"drop table {identifier(schema)}.{identifier(table)}")
        con.execute(
            "delete from meta.watermarks where not list_contains(?, relation)", [sorted(kept)]
        )


def rows_of(settings: Settings, built: Build, tables: Iterable[str]) -> dict[str, int]:
    """The rows of those of the tables, each `schema.name`, that are in the build's file."""
    with closing(connect(settings, settings.database(built.folder), read_only=True)) as con:
        there = {f"{schema}.{name}" for _, schema, name in _relations(con)}
        return {
            table: _count(con.execute(f"select count(*) from {_named(table)}").fetchone())
            for table in tables
            if table in there
        }


def finish(
    settings: Settings,
    built: Build,
    *,
    held: Mapping[str, Sequence[str]] = _NOTHING,
    serving: Release | None = None,
) -> dict[str, int]:
    """Leave only published tables in the build's file, closed; returns the rows of each.

    `held` are the domains that are not published, with their tables in the release `serving`,
    which take the place of the build's. Raises BuildError when a published relation is a view: it
    would not open without the lake.
    """
    database = settings.database(built.folder)
    if held:
        _take_up_no_more(built)  # an audit would take tables of then for those of this build
    with closing(connect(settings, database)) as con:
        if held:
            _drop_all_but(con, {m.relation for m in built.published if m.domain not in held})
        if serving is not None and any(held.values()):
            tables = [table for domain in held.values() for table in domain]
            _take_over(con, settings.database(folder(settings, serving.id)), tables)
        views = con.execute(
            "select schema_name || '.' || view_name from duckdb_views()"
            " where list_contains(?, schema_name)",
            [list(PUBLISHED_SCHEMAS)],
        ).fetchall()
        if views:
            raise BuildError(
                f"{views[0][0]} is a view; a release holds tables only",
                where=str(database),
                next_step="set `materialized: table` or `incremental` for that model",
            )
        _drop_private(con)
        if _has_watermarks(con):
            # The marks of published relations stay; the others speak of what was just dropped.
            con.execute("delete from meta.watermarks where since_snapshot is not null")
        published = [m.relation for m in built.published if m.domain not in held]
        rows = {
            table: _count(con.execute(f"select count(*) from {_named(table)}").fetchone())
            for table in [*published, *(table for tables in held.values() for table in tables)]
        }
        con.execute("checkpoint")
    _take_up_no_more(built)  # release.json says it all
    if database.with_name(f"{database.name}.wal").exists():
        raise BuildError("the build was not closed cleanly", where=str(database))
    return rows


def _take_up_no_more(built: Build) -> None:
    for name in ("build.json", "gate.json"):
        (built.folder / name).unlink(missing_ok=True)


def _drop_all_but(con: duckdb.DuckDBPyConnection, tables: set[str]) -> None:
    """Drop every published relation that is not among `tables`, with the watermarks of others."""
    for kind, schema, name in _relations(con):
        if schema in PUBLISHED_SCHEMAS and f"{schema}.{name}" not in tables:
            con.execute(f"drop {kind} {identifier(schema)}.{identifier(name)}")
    if _has_watermarks(con):
        con.execute(
            "delete from meta.watermarks"
            " where since_snapshot is null and not list_contains(?, relation)",
            [[table.partition(".")[2] for table in tables]],
        )


def _take_over(con: duckdb.DuckDBPyConnection, served: Path, tables: Sequence[str]) -> None:
    """Copy tables of a release as they are there, with constraints, indexes and watermarks."""
    con.execute(f"attach {quoted(served)} as served (read_only)")
    for table in tables:
        con.execute(f"create schema if not exists {identifier(table.partition('.')[0])}")
        for statement in _made_by(con, "duckdb_tables()", table):
            con.execute(statement)
        con.execute(f"insert into {_named(table)} from served.{_named(table)}")
        for statement in _made_by(con, "duckdb_indexes()", table):
            con.execute(statement)
    for statement in _made_by(con, "duckdb_tables()", "meta.watermarks"):
        if not _has_watermarks(con):
            con.execute("create schema if not exists meta")
            con.execute(statement)
        con.execute(
            "insert into meta.watermarks by name from served.meta.watermarks"
            " where list_contains(?, relation)",
            [[table.partition(".")[2] for table in tables]],
        )
    con.execute("detach served")


def _made_by(con: duckdb.DuckDBPyConnection, catalog: str, table: str) -> list[str]:
    """The statements that make a table of the database `served`, or its indexes."""
    schema, _, name = table.partition(".")
    rows = con.execute(
        f"select sql from {catalog} where database_name = 'served' and sql is not null"
        " and schema_name = ? and table_name = ?",
        [schema, name],
    ).fetchall()
    return [row[0] for row in rows]


def _named(table: str) -> str:
    schema, _, name = table.partition(".")
    return f"{identifier(schema)}.{identifier(name)}"


def _has_watermarks(con: duckdb.DuckDBPyConnection) -> bool:
    sql = (
        "select 1 from duckdb_tables() where database_name = current_database()"
        " and schema_name = 'meta' and table_name = 'watermarks'"
    )
    return con.execute(sql).fetchone() is not None


def _relations(con: duckdb.DuckDBPyConnection) -> list[tuple[str, str, str]]:
    """Kind, schema and name of every view and table."""
    return con.execute(
        "select 'view', schema_name, view_name from duckdb_views() where not internal union all"
        " select 'table', schema_name, table_name from duckdb_tables() where not internal"
    ).fetchall()


def _drop_private(con: duckdb.DuckDBPyConnection) -> None:
    """Drop every relation that is neither published nor ours, so that no reader can find it."""
    for kind, schema, name in _relations(con):
        if schema not in PUBLISHED_SCHEMAS and (schema, name) != ("meta", "watermarks"):
            con.execute(f"drop {kind} {identifier(schema)}.{identifier(name)}")
    for schema in PRIVATE_SCHEMAS:
        con.execute(f"drop schema if exists {schema}")


def _count(row: tuple[int] | None) -> int:
    return row[0] if row else 0
