"""What dbt's DuckDB connection needs: the settings' limits, and the lake attached read-only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import duckdb
from dbt.adapters.duckdb.credentials import DuckDBCredentials
from dbt.adapters.duckdb.plugins import BasePlugin
from dbt_common.exceptions import DbtRuntimeError

from warehouse import duck
from warehouse.errors import ClearwaterError, ConfigurationError
from warehouse.settings import Settings, load_settings

DATABASE_VARIABLE = "CLEARWATER_DBT_DATABASE"
SNAPSHOT_VARIABLE = "CLEARWATER_LAKE_SNAPSHOT"


class Plugin(BasePlugin):  # type: ignore[misc]  # dbt's packages carry no types
    """Prepares the one DuckDB connection of a dbt command; profiles.yml names this module."""

    def update_connection_config(self, creds: DuckDBCredentials, config: dict[str, Any]) -> None:
        """Set the limits, and refuse a database in a place that nobody meant."""
        try:
            settings = load_settings()
            _check_database(Path(creds.path), settings)
        except ClearwaterError as error:
            raise DbtRuntimeError(str(error)) from error
        config.update(duck.limits(settings) | {"preserve_insertion_order": False})

    def configure_connection(self, conn: duckdb.DuckDBPyConnection) -> None:
        """Use UTC, and attach the lake at this build's snapshot."""
        duck.use_utc(conn)
        try:
            _attach_pinned_lake(conn, load_settings())
        except (ClearwaterError, duckdb.Error) as error:
            conn.close()
            raise DbtRuntimeError(str(error)) from error


def _check_database(path: Path, settings: Settings) -> None:
    """dbt resolves a relative path against the working directory, Settings against the project."""
    if DATABASE_VARIABLE in os.environ:
        if not path.is_absolute():
            raise ConfigurationError(
                f"{DATABASE_VARIABLE} is {str(path)!r}, not an absolute path",
                where="environment",
                next_step=f"set {DATABASE_VARIABLE} to an absolute path, or unset it",
            )
        return
    if path.absolute() != settings.dev_db:
        raise ConfigurationError(
            f"dbt would build into {path.absolute()}, not into the development database "
            f"{settings.dev_db}",
            where="profiles.yml",
            next_step="run dbt from the repository's root, or set CLEARWATER_HOME to an "
            "absolute path",
        )
    settings.dev_db.parent.mkdir(parents=True, exist_ok=True)


def _attach_pinned_lake(con: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """Every model of one command sees one snapshot, even while the pipeline loads."""
    given = os.environ.get(SNAPSHOT_VARIABLE)
    if given is None:
        duck.attach_lake(con, settings)
        row = con.execute("select id from lake.current_snapshot()").fetchone()
        con.execute("detach lake")
        snapshot = int(row[0]) if row else None
    else:
        snapshot = int(given)
    duck.attach_lake(con, settings, snapshot=snapshot)
