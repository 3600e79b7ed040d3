"""What came of a source, when, and whether it brought anything: by this a stale feed is known."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import duckdb

from warehouse.landing import Landed
from warehouse.places import Place, S3Object
from warehouse.settings import Settings
from warehouse.sources import Source
from warehouse.wording import counted

# Of fewer files nothing is claimed, and only the newest of them count.
FEWEST, NEWEST = 8, 60
LOOKED_AT = 5000  # the newest deliveries: they say how often something comes
# Where more of the earlier files brought nothing, one more is usual.
MOST_WITHOUT_NEWS = 1 / 20


@dataclass(frozen=True)
class Repeat:
    """A file that came with bytes that were known: today's name, and the name they came under.

    `seen_at` is ISO 8601 in UTC, `modified_ns` in nanoseconds since 1970.
    """

    file: str
    of: str
    seen_at: str
    modified_ns: int


@dataclass(frozen=True)
class Delivery:
    """A file that came: when it was written, and when a run saw it, in UTC."""

    file: str
    at: datetime
    seen_at: datetime


class _Line(NamedTuple):
    """A batch in the ledger: its file, whether it is of this run, whether it brought anything."""

    file: str
    rows: int
    at: str
    is_now: bool
    is_news: bool


def _log(settings: Settings, source: str) -> Path:
    return settings.landing / f"{source}.repeats.ndjson"


def repeats(settings: Settings, source: str) -> list[Repeat]:
    """The repeats that were noted of the source, in order."""
    found: list[Repeat] = []
    log = _log(settings, source)
    if log.exists():
        for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, TypeError):  # half written by a killed process
                found.append(Repeat(**json.loads(line)))
    return found


def note_repeats(settings: Settings, source: str, found: Iterable[Repeat]) -> None:
    """Note repeats, so that a source whose files often repeat is known."""
    with _log(settings, source).open("a", encoding="utf-8") as handle:
        handle.writelines(json.dumps(asdict(repeat)) + "\n" for repeat in found)


def repeat_of(
    settings: Settings, source: Source, place: Place, landed: Landed, own: Sequence[Landed]
) -> Repeat | None:
    """The repeat that stands at `place`, if its known bytes were delivered anew.

    They were if the file is written later than anything of the source came, `own` being all that
    landed; a file that was only renamed, and a folder that was copied, bring nothing twice.
    """
    if source.is_glob and landed.original_name == place.name:
        return None  # as nearly all that stand there
    same = [known for known in own if known.sha256 == landed.sha256]
    if source.is_glob and any(known.original_name == place.name for known in same):
        return None
    modified_ns = place.modified_ns if isinstance(place, S3Object) else place.state().modified_ns
    is_moved = any(known.modified_ns == modified_ns for known in same)
    if is_moved or modified_ns <= max(_ns(known.arrived_at) for known in own):
        return None
    noted = repeats(settings, source.name)
    if any(_ns(repeat.seen_at) >= modified_ns for repeat in noted) or any(
        (repeat.file, repeat.modified_ns) == (place.name, modified_ns) for repeat in noted
    ):
        return None
    return Repeat(place.name, landed.original_name, datetime.now(UTC).isoformat(), modified_ns)


def _ns(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1e9)


def deliveries(own: Sequence[Landed], noted: Sequence[Repeat]) -> tuple[Delivery, ...]:
    """The newest that came of a source, oldest first: what landed, and what only repeated it.

    Both are given in the order in which they were seen.
    """
    newest, repeated = own[-LOOKED_AT:], noted[-LOOKED_AT:]
    landed = (_delivery(file.original_name, file.arrived_at, file.modified_ns) for file in newest)
    again = (_delivery(repeat.file, repeat.seen_at, repeat.modified_ns) for repeat in repeated)
    return tuple(sorted([*landed, *again], key=lambda delivery: (delivery.at, delivery.seen_at)))


def _delivery(file: str, seen_at: str, modified_ns: int) -> Delivery:
    """A file's own time counts where it has one that is not of the future."""
    seen = datetime.fromisoformat(seen_at)
    written = datetime.fromtimestamp(modified_ns / 1e9, UTC) if modified_ns else seen
    return Delivery(file, min(written, seen), seen)


def nothing_new(
    con: duckdb.DuckDBPyConnection,
    settings: Settings,
    run_id: str,
    came: Mapping[str, Sequence[Repeat]],
) -> Iterator[tuple[str, str]]:
    """The sources of which a run got files, and nothing new in any, with that in words.

    `came` has the repeats of this run for each source in question. Not told of one whose earlier
    files are few, or often brought nothing either.
    """
    for source, now in came.items():
        lines = _lines(con, run_id, source)
        files = [line for line in lines if line.is_now]
        if any(line.is_news for line in files) or not (files or now):
            continue
        earlier = [(line.at, line.is_news) for line in lines if not line.is_now]
        earlier += [(r.seen_at, False) for r in repeats(settings, source) if r not in now]
        known = [is_news for _, is_news in sorted(earlier)[-NEWEST:]]
        without = known.count(False)
        if len(known) >= FEWEST and without <= MOST_WITHOUT_NEWS * len(known):
            yield source, _in_words(files, now, len(known), without)


def _lines(con: duckdb.DuckDBPyConnection, run_id: str, source: str) -> list[_Line]:
    """What the ledger says of this run's batches of the source, and of the newest before them."""
    rows = con.execute(
        "select source_file, rows_in, strftime(loaded_at, '%Y-%m-%dT%H:%M:%S.%f+00:00'),"
        " run_id = ? as is_now, status <> 'loaded' or rows_in <> already_known or deleted > 0"
        " from lake.meta.batches where source = ?"
        " qualify is_now or row_number() over (partition by is_now order by loaded_at desc) <= ?"
        " order by loaded_at",
        [run_id, source, NEWEST],
    ).fetchall()
    return [_Line(*row) for row in rows]


def _in_words(files: list[_Line], now: Sequence[Repeat], earlier: int, without: int) -> str:
    """What came, and how unusual it is that it brought nothing new."""
    told = [f"{repeat.file} is {_same_as(repeat)}" for repeat in now]
    told += [f"{line.file} has {_rows(line)}" for line in files]
    more = f" (and {counted(len(told) - 1, 'more file')})" if len(told) > 1 else ""
    before = f"{counted(without, 'file')} of the {earlier} before" if without else "none before"
    return f"nothing new came: {told[-1]}{more}; so it was with {before}"


def _same_as(repeat: Repeat) -> str:
    known = "as it was" if repeat.of == repeat.file else repeat.of
    return f"{known}, byte by byte"


def _rows(line: _Line) -> str:
    return f"{counted(line.rows, 'row')}, known already" if line.rows else "no rows"
