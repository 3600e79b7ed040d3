"""What a run found listed at its sources: by this, later files are known to be new, unread.

It only tells whether a look is worth while. Which bytes are news is landing's to say.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from warehouse.files import write_atomically
from warehouse.places import LocalFile, Place
from warehouse.settings import Settings


def signatures(places: Iterable[Place]) -> dict[str, str]:
    """By path, what changes when the file there is written, replaced, or opened to us.

    No bytes are read. A file that is gone by now is left out.
    """
    found: dict[str, str] = {}
    for place in places:
        with suppress(OSError):
            found[place.path] = _signature(place)
    return found


def _signature(place: Place) -> str:
    if isinstance(place, LocalFile):
        told = place.file.stat()
        # A replaced file of the same size and time has another ctime. Network file systems may
        # give it another inode at each look.
        state = (told.st_size, told.st_mtime_ns, told.st_ctime_ns)
    else:
        state = (place.size, place.modified_ns, 0)
    return blake2b(repr((place.path, state)).encode(), digest_size=8).hexdigest()


def _taken_file(settings: Settings) -> Path:
    return settings.landing / "listed.json"


def taken(settings: Settings) -> dict[str, list[str]]:
    """By source, the signatures of what a run found there last, and loaded, or told why not.

    Without the note nothing counts as taken: at worst one run finds nothing new.
    """
    try:
        content: dict[str, list[str]] = json.loads(_taken_file(settings).read_text())
    except (OSError, ValueError):
        return {}
    return content


def note_taken(settings: Settings, found: Mapping[str, list[str]]) -> None:
    """Keep the signatures of what was listed at these sources; what is known of others stays."""
    before = taken(settings)
    after = before | dict(found)
    if after != before:
        write_atomically(_taken_file(settings), json.dumps(after) + "\n")
