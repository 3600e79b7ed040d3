"""What landing knows of loads: in which order, when and under which definition each was done.

The lake's ledger says so, too, but a lake that is lost is made again from landing alone. And
sources.yml may say something else today than when a file was loaded.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import duckdb

from warehouse.files import sync, write_atomically
from warehouse.settings import Settings
from warehouse.sources import Source

LEDGER = "batch_id, source, source_file, loaded_at, source_fingerprint, run_id"


class Load(NamedTuple):
    """A batch's line in the ledger, as far as it tells how to load it again."""

    batch_id: str
    source: str
    source_file: str
    loaded_at: datetime
    source_fingerprint: str
    run_id: str


def _definition_file(settings: Settings, fingerprint: str) -> Path:
    return settings.landing / "definitions" / f"{fingerprint}.json"


def keep_definition(settings: Settings, source: Source) -> None:
    """Write down how the source is loaded, before anything is loaded so."""
    file = _definition_file(settings, source.fingerprint())
    if not file.exists():
        write_atomically(file, json.dumps(source.definition()) + "\n")


def definition(settings: Settings, fingerprint: str) -> Source | None:
    """The source as it was defined under this fingerprint, without a path; None if unknown."""
    try:
        text = _definition_file(settings, fingerprint).read_text(encoding="utf-8")
        return Source.model_validate({**json.loads(text), "path": ""})
    except (OSError, ValueError):
        return None


def ledger_loads(con: duckdb.DuckDBPyConnection) -> dict[str, Load]:
    """The ledger's loads by batch, in their order."""
    rows = con.execute(f"select {LEDGER} from lake.meta.batches order by loaded_at").fetchall()
    return {row[0]: Load(*row) for row in rows}


def _log(settings: Settings) -> Path:
    return settings.landing / "loads.ndjson"


def noted_loads(settings: Settings) -> dict[str, Load]:
    """The last load of each batch that landing knows of, in their order."""
    found: dict[str, Load] = {}
    log = _log(settings)
    if log.exists():
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, TypeError, KeyError):  # half written by a killed process
                load = Load(**json.loads(line))
                at = datetime.fromisoformat(str(load.loaded_at))
                found[load.batch_id] = load._replace(loaded_at=at)
    return dict(sorted(found.items(), key=lambda item: item[1].loaded_at))


def note_loads(settings: Settings, con: duckdb.DuckDBPyConnection) -> None:
    """Note in landing what the ledger says and landing does not know yet."""
    noted = noted_loads(settings)
    lines = [
        json.dumps({**load._asdict(), "loaded_at": load.loaded_at.isoformat()})
        for batch, load in ledger_loads(con).items()
        if noted.get(batch) != load
    ]
    if not lines:
        return
    log = _log(settings)
    with log.open("a", encoding="utf-8") as handle:
        # The first newline ends what a killed process may have left half written.
        handle.write("\n" + "\n".join(lines) + "\n")
        handle.flush()
    sync(log)
