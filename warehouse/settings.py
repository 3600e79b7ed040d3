"""Where everything lives: one frozen class, one root, every path derived from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from pathlib import Path
from typing import Literal

from warehouse.configuration import PROJECT, STAGES, configuration
from warehouse.errors import ConfigurationError

__all__ = ["PROJECT", "Keep", "Server", "Settings", "load_settings"]


@dataclass(frozen=True)
class Keep:
    """What `clearwater prune` leaves: so many releases, the rest by age; None is for ever."""

    releases: int = 5
    reports: timedelta | None = timedelta(days=90)
    logs: timedelta | None = timedelta(days=90)
    snapshots: timedelta | None = timedelta(days=30)
    landing: timedelta | None = None


@dataclass(frozen=True)
class Server:
    """Where the Prefect server listens, None for any free port, and where its database is."""

    host: str = "127.0.0.1"
    port: int | None = 4200
    database_url: str = field(default="", repr=False)


@dataclass(frozen=True)
class Settings:
    """The paths below `home`, the resources DuckDB may use, and whatever else can be set.

    `home` is absolute. `memory_limit` is a DuckDB size such as `2GiB`; `threads` a count.
    A lake that is made anew is `encrypted` if so; one that is there stays as it is. `state_url`
    and `export` are empty where nothing is set; a stage without `timeouts` may take for ever.
    """

    home: Path
    threads: int
    memory_limit: str
    encrypted: bool = False
    state_url: str = field(default="", repr=False)
    alert_urls: str = field(default="", repr=False)
    alert_severity: Literal["critical", "warning"] = "critical"
    log: Literal["text", "json"] = "text"
    export: str = ""
    server: Server = Server()
    timeouts: Mapping[str, timedelta | None] = field(default_factory=dict, hash=False)
    keep: Keep = Keep()

    @property
    def landing(self) -> Path:
        """Raw bytes by hash, with their sidecars."""
        return self.home / "landing"

    @property
    def lake_catalog(self) -> Path:
        """The DuckLake catalog, a SQLite file in WAL mode."""
        return self.home / "lake" / "catalog.sqlite"

    @property
    def lake_data(self) -> Path:
        """The lake's Parquet files."""
        return self.home / "lake" / "data"

    @property
    def builds(self) -> Path:
        """Private build folders; whatever is here outside a run is rubbish."""
        return self.home / "builds"

    @property
    def releases(self) -> Path:
        """Published releases, a folder each."""
        return self.home / "releases"

    @property
    def current(self) -> Path:
        """The symbolic link to the release that readers open."""
        return self.home / "current"

    @property
    def features(self) -> Path:
        """Extracted feature sets with their manifests."""
        return self.home / "features"

    @property
    def reports(self) -> Path:
        """Data-quality reports, a folder each run."""
        return self.home / "reports"

    @property
    def missing_json(self) -> Path:
        """What is known of missing values in the published tables."""
        return self.home / "missing.json"

    @property
    def state_db(self) -> Path:
        """Runs, stages and gate results (SQLite)."""
        return self.home / "state.db"

    @property
    def lock(self) -> Path:
        """The file whose kernel lock the one writer holds."""
        return self.home / "writer.lock"

    @property
    def dev_db(self) -> Path:
        """The database of the plain dbt command line."""
        return self.home / "dev" / "warehouse.duckdb"

    @property
    def samples(self) -> Path:
        """The demo's sample sources."""
        return self.home / "samples"

    @property
    def prefect(self) -> Path:
        """The local Prefect server's own files."""
        return self.home / "prefect"

    @property
    def logs(self) -> Path:
        """What each run told, a file of JSON lines a run."""
        return self.home / "logs"

    @property
    def metrics(self) -> Path:
        """The newest figures, in Prometheus' text format."""
        return self.home / "metrics" / "clearwater.prom"

    @property
    def dbt(self) -> Path:
        """dbt's target, logs and cached manifests."""
        return self.home / "dbt"

    @property
    def compiled(self) -> Path:
        """The folder of the report's compiled templates, made again when they are gone."""
        return self.home / "compiled"

    @property
    def tmp(self) -> Path:
        """Spill files and DuckDB's own extension directory; may be emptied between runs."""
        return self.home / "tmp"

    def database(self, folder: Path) -> Path:
        """The database file in a build's or release's folder; its stem never changes."""
        return folder / "warehouse.duckdb"


def load_settings(home: str | Path | None = None) -> Settings:
    """Settings as `configuration` has them; the `--home` given comes before all of it.

    Raises ConfigurationError when the home is there but no folder, and for whatever cannot be set
    so.
    """
    told = configuration()
    values = {name: option.value() for name, option in told.items() if name != "home"}
    return Settings(
        home=_home(str(home or told["home"].text)),
        threads=values["threads"],
        memory_limit=values["memory_limit"],
        encrypted=values["lake_encrypted"],
        state_url=values["state_url"],
        alert_urls=values["alert_urls"],
        alert_severity=values["alert_severity"],
        log=values["log"],
        export=values["export"],
        server=Server(values["server.host"], values["server.port"], values["server.database_url"]),
        timeouts={stage: values[f"timeout.{stage}"] for stage in STAGES},
        keep=Keep(**{kept.name: values[f"keep.{kept.name}"] for kept in fields(Keep)}),
    )


def _home(given: str) -> Path:
    try:
        root = Path(given).expanduser()
        is_usable = root.is_dir() or not root.exists()
    except (OSError, RuntimeError):
        root, is_usable = Path(given), False
    if not is_usable:
        raise ConfigurationError(
            "the home is not a folder",
            where=str(root),
            next_step="name a folder with --home or CLEARWATER_HOME; it need not exist yet",
        )
    return root.absolute()
