"""What landing knows of loads: in which order, when and under which definition each was done.

The lake's ledger says so, too, but a lake that is lost is made again from landing alone. And
sources.yml may say something else today than when a file was loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import duckdb

from warehouse.batch import Batch, Loaded
from warehouse.files import sync, write_atomically
from warehouse.settings import Settings
from warehouse.sources import Source

# How the reason begins for which a file is refused that is fit to load, but not like the others.
UNLIKE = "unlike the files before it"
LEDGER = (
    "batch_id, source, source_file, loaded_at, source_fingerprint, run_id, rows_in, status,"
    f" false as redefined, if(status = 'refused' and starts_with(reason, '{UNLIKE}'), reason, '')"
)


class Load(NamedTuple):
    """A batch's line in the ledger, as far as it tells how to load it again.

    `redefined` if a rebuild loaded it under another definition than it was decided on: rows that
    were given up before stay away then, whatever the definition says of them. `held` is why
    it was refused for being unlike the files before it: that hangs on them, not on the definition.
    """

    batch_id: str
    source: str
    source_file: str
    loaded_at: datetime
    source_fingerprint: str
    run_id: str
    rows_in: int
    status: str
    redefined: bool = False
    held: str = ""

    @property
    def is_loaded(self) -> bool:
        """Not refused, nor landed only."""
        return self.status == "loaded"


def _definitions(settings: Settings) -> Path:
    return settings.landing / "definitions"


def keep_definition(settings: Settings, source: Source) -> None:
    """Write down how the source is loaded, before anything is loaded so."""
    file = _definitions(settings) / f"{source.fingerprint()}.json"
    if not file.exists():
        write_atomically(file, json.dumps(source.definition()) + "\n")


def definition(settings: Settings, fingerprint: str) -> Source | None:
    """The source as it was defined under this fingerprint, without a path; None if unknown."""
    try:
        text = (_definitions(settings) / f"{fingerprint}.json").read_text(encoding="utf-8")
        return Source.from_definition(json.loads(text))
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


class LoadLog:
    """Notes in landing what the ledger says of each load."""

    def __init__(self, settings: Settings, con: duckdb.DuckDBPyConnection) -> None:
        """Note what a killed process did not; `known` are all loads of the ledger until now."""
        self.known = ledger_loads(con)
        self._settings = settings
        self._con = con
        self._noted = noted_loads(settings)
        self._note(self.known.values())

    def note(self, batch: Batch, done: Loaded | None) -> None:
        """Note what became of the batch; None if it was refused, perhaps as it was before."""
        if done is not None:
            self._note([_load_of(batch, done)])
            return
        row = self._con.execute(
            f"select {LEDGER} from lake.meta.batches where batch_id = ?", [batch.id]
        ).fetchone()
        if row is not None:
            self._note([Load(*row)])

    def _note(self, loads: Iterable[Load]) -> None:
        lines = []
        for load in loads:
            noted = self._noted.get(load.batch_id)
            if noted is None or noted._replace(redefined=False) != load:
                lines.append(_line(load))
                self._noted[load.batch_id] = load
        _append(self._settings, lines)


def _load_of(batch: Batch, done: Loaded) -> Load:
    source = batch.source
    return Load(
        batch.id,
        source.name,
        batch.file,
        batch.loaded_at,
        source.fingerprint(),
        batch.run_id,
        done.counts.rows_in,
        done.status,
    )


def note_redefined(settings: Settings, con: duckdb.DuckDBPyConnection) -> None:
    """Note every load of a lake that was made under today's definitions."""
    _append(settings, [_line(load._replace(redefined=True)) for load in ledger_loads(con).values()])


def _encrypted_mark(settings: Settings) -> Path:
    return settings.landing / "lake.encrypted"


def note_encrypted(settings: Settings, *, encrypted: bool) -> None:
    """Note whether the lake is encrypted, so that it is again when it is made from landing."""
    mark = _encrypted_mark(settings)
    if encrypted and not mark.exists():
        write_atomically(mark, "")
    elif not encrypted:
        mark.unlink(missing_ok=True)


def was_encrypted(settings: Settings) -> bool:
    """Whether a lake that is gone was encrypted, or one is to be now."""
    return settings.encrypted or _encrypted_mark(settings).exists()


def _line(load: Load) -> str:
    return json.dumps({**load._asdict(), "loaded_at": load.loaded_at.isoformat()})


def _append(settings: Settings, lines: list[str]) -> None:
    if not lines:
        return
    log = _log(settings)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as handle:
        # The first newline ends what a killed process may have left half written.
        handle.write("\n" + "\n".join(lines) + "\n")
        handle.flush()
    sync(log)
