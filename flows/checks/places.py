"""Checks of what lies outside of the home: sources, the UI's port, the place of the export."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from flows.checks.findings import CautionError, Found, Look
from flows.checks.machine import existing
from flows.checks.runs import recorded
from warehouse.errors import BatchRefusedError, ClearwaterError, ConfigurationError
from warehouse.export_places import export_place, refuse_foreign
from warehouse.places import S3, LocalFile, Place, standing
from warehouse.sources import Source
from warehouse.wording import counted, few


def reach(look: Look) -> Found:
    """Whether each source can be listed and its files read; of S3 the newest object."""
    if not look.declared:
        return "", []
    landed = {batch.source for batch in look.batches or ()}
    wrong: list[ClearwaterError] = []
    files = 0
    for source in look.declared:
        try:
            places = standing(source)
            wrong += _absent(source, places, landed)
            wrong += _unreadable(source, places)
            files += len(places)
        except BatchRefusedError as error:
            wrong.append(error)
        except (OSError, ValueError, RuntimeError) as error:
            wrong.append(
                ClearwaterError(
                    f"its path cannot be listed: {error}",
                    where=f"{source.name}: {source.path}",
                    next_step="correct `path:` in sources.yml",
                )
            )
    return f"{counted(files, 'file')} {'stands' if files == 1 else 'stand'} at the sources", wrong


def _absent(source: Source, places: list[Place], landed: set[str]) -> list[ClearwaterError]:
    """No file, where a run would miss it."""
    if places or source.optional or (source.is_glob and source.name in landed):
        return []
    what = "no file matches" if source.is_glob else "there is no such file"
    return [
        ClearwaterError(
            what,
            where=f"{source.name}: {source.path}",
            next_step="correct `path:` in sources.yml, or put the file there",
        )
    ]


def _unreadable(source: Source, places: list[Place]) -> list[ClearwaterError]:
    tried = [place for place in places if isinstance(place, LocalFile)] or places[-1:]
    closed: list[str] = []
    for place in tried:
        try:
            with place.open() as handle:
                if not isinstance(place, LocalFile):
                    handle.read(1)
        except (BatchRefusedError, OSError) as error:
            closed.append(f"{place.name}: {getattr(error, 'what', error)}")
    if not closed:
        return []
    return [
        ClearwaterError(
            f"{counted(len(closed), 'file')} cannot be read: {few(closed)}",
            where=f"{source.name}: {source.path}",
            next_step="give the user that runs Clearwater the right to read them",
        )
    ]


def port(look: Look) -> Found:
    """Whether the UI's port is free, or ours."""
    told = look.settings.server
    if told.port is None:
        return "any free one", []
    if any(process.alive for process in recorded(look.settings)):
        return f"{told.port} (the server is up)", []
    with socket.socket(socket.AF_INET6 if ":" in told.host else socket.AF_INET) as probe:
        # As the server does: a port that was closed a moment ago is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((told.host, told.port))
        except (OSError, OverflowError) as error:
            return "", [_taken(told.host, told.port, error)]
    return f"{told.port} is free", []


def _taken(host: str, number: int, error: Exception) -> ClearwaterError:
    if isinstance(error, socket.gaierror) or "assign requested" in str(error):
        return ConfigurationError(
            f"the UI cannot listen at {host}: it is no address of this machine",
            where="server.host",
            next_step="set server.host=127.0.0.1, or leave it out",
        )
    return CautionError(
        f"port {number} is taken by another program",
        where=f"{host}:{number}",
        next_step="`clearwater up` takes a free one; or set server.port to another",
    )


def export(look: Look) -> Found:
    """Whether each release can be written as Parquet where it is to be; nothing is written."""
    place = look.settings.export
    if not place:
        return "none is set", []
    target = export_place(look.settings, place)
    if place.startswith(S3):
        well = _bucket(place)
        refuse_foreign(target, place)
        return well
    there = existing(Path(place).expanduser().absolute())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        what = "cannot be written" if there.is_dir() else "is no folder"
        raise ConfigurationError(
            f"the place of the export {what}",
            where=str(there),
            next_step="give yourself the right to write there, or set `export` to another folder",
        )
    refuse_foreign(target, place)
    return f"{place} can be written", []


def _bucket(place: str) -> Found:
    """Whether the bucket of an `s3://` place can be listed as the environment says."""
    # An object that need not be there: asking for it tells whether the bucket is.
    standing(Source(name="clearwater.export", path=f"{place.rstrip('/')}/current.json"))
    return f"{place}: the bucket answers", []
