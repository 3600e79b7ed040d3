"""Builds: dbt models into a private DuckDB file, from a copy of the base release where it helps."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb

from warehouse import dbt_runner
from warehouse.dbt_runner import PUBLISHED_SCHEMAS, Model
from warehouse.duck import connect, identifier
from warehouse.errors import BuildError
from warehouse.files import write_atomically
from warehouse.lake import raw_tables, retypings
from warehouse.releases import Release, folder, new_id, releases
from warehouse.settings import Settings

PRIVATE_SCHEMAS = ("staging", "intermediate")


@dataclass(frozen=True)
class Build:
    """A built warehouse that nobody reads yet.

    `fresh` are the models whose relation was made in full; `left_out` the relations whose source
    tables the lake does not have; `seconds` is the time of each model.
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

    @property
    def published(self) -> list[Model]:
        """The models whose relations readers will see."""
        return [m for m in self.models.values() if m.schema in PUBLISHED_SCHEMAS]

    @property
    def code(self) -> dict[str, str]:
        """The hash of each model that was built."""
        return {name: model.code for name, model in self.models.items()}

    @property
    def lineage(self) -> dict[str, list[str]]:
        """The relations that each model's relation is made from, those of the lake included."""
        return {model.relation: sorted(model.parents) for model in self.models.values()}

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
    known = {release.id: release for release in releases(settings)}
    return Build(folder=files[-1].parent, base=known.get(base), **content)


def _keep(built: Build) -> None:
    """Write build.json: from then on the build is complete and may be taken up."""
    content = {name: value for name, value in vars(built).items() if name not in ("folder", "base")}
    content["models"] = {name: asdict(model) for name, model in built.models.items()}
    content["base"] = built.base.id if built.base else None
    text = json.dumps(content, default=sorted, indent=1)
    write_atomically(built.folder / "build.json", text)


def build(settings: Settings, base: Release | None, snapshot: int, *, full: bool = False) -> Build:
    """Build the warehouse as of a lake snapshot into a folder of its own.

    Raises BuildError, and leaves nothing then.
    """
    project_hash = dbt_runner.project_hash()
    project = dbt_runner.parse(settings)
    _check_schemas(project.models)
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
        seconds = dbt_runner.run(settings, project, database, snapshot, names) if names else {}
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
            seconds=seconds,
        )
        _keep(built)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return built


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

    A source that got a column of another type since has no feed of what its rows were before.
    """
    retyped = retypings(settings, base.lake_snapshot, snapshot).keys()
    return {
        name
        for name, model in models.items()
        if model.materialized == "incremental"
        and base.code.get(name) == model.code
        and not model.sources & retyped
    }


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


def finish(settings: Settings, built: Build) -> dict[str, int]:
    """Leave only published tables in the build's file, closed; returns the rows of each.

    Raises BuildError when a published relation is a view: it would not open without the lake.
    """
    database = settings.database(built.folder)
    with closing(connect(settings, database)) as con:
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
        if con.execute("select 1 from duckdb_tables() where table_name = 'watermarks'").fetchone():
            # The marks of published relations stay; the others speak of what was just dropped.
            con.execute("delete from meta.watermarks where since_snapshot is not null")
        rows = {
            model.relation: _count(con.execute(f"select count(*) from {model.relation}").fetchone())
            for model in built.published
        }
        con.execute("checkpoint")
    for name in ("build.json", "gate.json"):
        (built.folder / name).unlink(missing_ok=True)  # release.json says it all
    if database.with_name(f"{database.name}.wal").exists():
        raise BuildError("the build was not closed cleanly", where=str(database))
    return rows


def _drop_private(con: duckdb.DuckDBPyConnection) -> None:
    """Drop every relation that is neither published nor ours, so that no reader can find it."""
    rows = con.execute(
        "select 'view', schema_name, view_name from duckdb_views() where not internal union all"
        " select 'table', schema_name, table_name from duckdb_tables() where not internal"
    ).fetchall()
    for kind, schema, name in rows:
        if schema not in PUBLISHED_SCHEMAS and (schema, name) != ("meta", "watermarks"):
            con.execute(f"drop {kind} {identifier(schema)}.{identifier(name)}")
    for schema in PRIVATE_SCHEMAS:
        con.execute(f"drop schema if exists {schema}")


def _count(row: tuple[int] | None) -> int:
    return row[0] if row else 0
