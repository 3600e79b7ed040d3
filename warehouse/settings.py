"""Where everything lives: one frozen class, one root, every path derived from it."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from warehouse.errors import ConfigurationError

PROJECT = Path(__file__).resolve().parent.parent
KEPT_RELEASES = 5
SIZE = re.compile(r"([1-9][0-9]*(?:\.[0-9]+)?) ?([KMGT])i?B")


@dataclass(frozen=True)
class Settings:
    """The paths below `home`, and the resources DuckDB may use.

    `home` is absolute. `memory_limit` is a DuckDB size such as `2GiB`; `threads` a count.
    A lake that is made anew is `encrypted` if so; one that is there stays as it is.
    """

    home: Path
    threads: int
    memory_limit: str
    encrypted: bool = False

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
    def dbt(self) -> Path:
        """dbt's target, logs and cached manifests."""
        return self.home / "dbt"

    @property
    def tmp(self) -> Path:
        """Spill files and DuckDB's own extension directory; may be emptied between runs."""
        return self.home / "tmp"

    def database(self, folder: Path) -> Path:
        """The database file in a build's or release's folder; its stem never changes."""
        return folder / "warehouse.duckdb"


def load_settings(home: str | Path | None = None) -> Settings:
    """Settings from the `--home` given, else `CLEARWATER_HOME`, else `var/` in the project.

    Raises ConfigurationError when that is there but no folder.
    """
    given = str(home or os.environ.get("CLEARWATER_HOME") or PROJECT / "var")
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
    return Settings(
        home=root.absolute(),
        threads=_threads(os.environ.get("CLEARWATER_THREADS")),
        memory_limit=_memory(os.environ.get("CLEARWATER_MEMORY_LIMIT", "2GiB")),
        encrypted=_switch("CLEARWATER_LAKE_ENCRYPTED"),
    )


def _switch(name: str) -> bool:
    text = os.environ.get(name, "0")
    if text not in ("0", "1"):
        raise ConfigurationError(
            f"{name} is {text!r}, neither 0 nor 1",
            where="environment",
            next_step=f"set {name}=1, or unset it",
        )
    return text == "1"


def _memory(text: str) -> str:
    if not SIZE.fullmatch(text):
        raise ConfigurationError(
            f"CLEARWATER_MEMORY_LIMIT is {text!r}, not a size",
            where="environment",
            next_step="set CLEARWATER_MEMORY_LIMIT to a size such as 4GiB, or unset it",
        )
    return text


def _threads(text: str | None) -> int:
    if text is None:
        return os.cpu_count() or 1
    if not text.isdecimal() or int(text) < 1:
        raise ConfigurationError(
            f"CLEARWATER_THREADS is {text!r}, not a positive whole number",
            where="environment",
            next_step="set CLEARWATER_THREADS to a number such as 2, or unset it",
        )
    return int(text)
