"""Land and load: what the first two stages do with the sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from warehouse.batch import Batch, Counts, Examiner, Judged, Loaded, batch_id
from warehouse.containers import parts
from warehouse.deliveries import (
    Delivery,
    Repeat,
    deliveries,
    note_repeats,
    nothing_new,
    repeat_of,
    repeats,
)
from warehouse.errors import BatchRefusedError, UnreachableError, reasons
from warehouse.lake import is_encrypted, latest_snapshot, writing
from warehouse.landing import Known, Landed, arrivals, land, note_standing, seen_places
from warehouse.listed import note_taken, signatures
from warehouse.loading import load_batch, load_times
from warehouse.loading_order import ranks
from warehouse.loads import UNLIKE, Load, LoadLog, definition, keep_definition, note_encrypted
from warehouse.places import Place, standing
from warehouse.progress import LandingPace, LoadingPace, Progress, untold
from warehouse.settings import Settings
from warehouse.sources import Source


@dataclass(frozen=True)
class SourceSummary:
    """What one run did with one source; `problems` and `changes` are messages for a person.

    `told` are the latter by file, as they came. `nothing_new` tells that files came and brought
    nothing, `overdue` that none came: both are empty where that is usual. `reasons` are the kinds
    of the problems, each with what is told of it. `judged` is what rules found in the files that
    are loaded, `judged_refused` in those that are not.
    """

    name: str
    counts: Counts = field(default_factory=Counts)
    batches: int = 0
    problems: tuple[str, ...] = ()
    told: tuple[tuple[str, str], ...] = ()
    nothing_new: str = ""
    overdue: str = ""
    reasons: tuple[tuple[str, str], ...] = ()
    judged: Judged = field(default_factory=Judged)
    judged_refused: Judged = field(default_factory=Judged)

    @property
    def warnings(self) -> tuple[str, ...]:
        """In which ways the source is stale."""
        return tuple(filter(None, (self.nothing_new, self.overdue)))

    @property
    def changes(self) -> tuple[str, ...]:
        """What the source's owner should know of its files, each thing once."""
        return tuple(f"{files}: {text}" for text, files in by_text(self.told).items())

    def with_problem(self, error: Exception) -> SourceSummary:
        """The summary with one more problem."""
        told = reasons(error).items()
        return replace(self, problems=(*self.problems, str(error)), reasons=(*self.reasons, *told))

    def with_batch(self, batch: Batch, loaded: Loaded) -> SourceSummary:
        """The summary with one more loaded batch."""
        return replace(
            self,
            counts=self.counts + loaded.counts,
            batches=self.batches + 1,
            told=(*self.told, *((batch.file, text) for text in loaded.told)),
            judged=self.judged + Judged(1, loaded.counts.rows_in, Counter(loaded.broken)),
        )

    def with_refusal(self, error: BatchRefusedError) -> SourceSummary:
        """The summary with one more batch that was refused."""
        judged = self.judged_refused
        if error.broken is not None:
            is_compared = error.what.startswith(UNLIKE)
            judged += Judged(int(is_compared), error.rows, Counter(error.broken))
        counts = self.counts + Counts(rows_in=error.rows, refused=error.rows)
        return replace(self.with_problem(error), counts=counts, judged_refused=judged)


def by_text(told: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The files, in words, of which each text is told; `told` are pairs of file and text."""
    found: dict[str, list[str]] = {}
    for file, text in told:
        found.setdefault(text, []).append(file)
    return {
        text: f"{first}{f' and {len(more):,} more' if more else ''}"
        for text, (first, *more) in found.items()
    }


@dataclass(frozen=True)
class Arrivals:
    """What stood at the sources: landed files in order, and what could not be landed.

    `repeats` are the files that came in this run with known bytes, `deliveries` all that ever came,
    oldest first, of the sources that could be looked at. `listed` are the signatures of what stood
    there.
    """

    batch_ids: frozenset[str]
    new_files: int
    summaries: dict[str, SourceSummary]
    repeats: dict[str, tuple[Repeat, ...]] = field(default_factory=dict)
    deliveries: dict[str, tuple[Delivery, ...]] = field(default_factory=dict)
    listed: dict[str, list[str]] = field(default_factory=dict)


def _never(_sources: str, _error: Exception, _tries: int) -> bool:
    return False


def land_sources(
    settings: Settings,
    sources: list[Source],
    *,
    again: Callable[[str, Exception, int], bool] = _never,
    progress: Progress = untold,
) -> Arrivals:
    """Land every file that the sources match; one bad file does not hold up the others.

    When sources cannot be reached, `again` is asked after all others were landed: with their names,
    the error of the first and how often they were tried. It waits, and says whether to try again.
    """
    before = arrivals(settings)
    looks = {source.name: _Look(settings, source, before) for source in sources}
    due, tries = list(looks.values()), 0
    while due:
        for look in due:
            look.land(progress)
        tries += 1
        due = [look for look in due if look.unreachable is not None]
        first = due[0].unreachable if due else None
        names = ", ".join(look.source.name for look in due)
        if first is None or not again(names, first, tries):
            break
    seen = [look for look in looks.values() if look.is_seen]
    note_standing(settings, {look.source.name: look.standing for look in seen})
    return Arrivals(
        frozenset(batch for look in looks.values() for batch in look.batch_ids),
        sum(look.new_files for look in looks.values()),
        {name: look.summary for name, look in looks.items()},
        {look.source.name: look.repeats() for look in seen if not look.new_files},
        {
            look.source.name: deliveries(look.own.in_order, repeats(settings, look.source.name))
            for look in seen
        },
        {look.source.name: look.listed for look in seen if look.unreachable is None},
    )


class _Look:
    """What stands at one source, and what of it landed; looked at again as a whole.

    `own` is all that ever landed of it; `unreachable` why the last look is not complete, and
    `is_seen` whether the source could be listed.
    """

    def __init__(self, settings: Settings, source: Source, before: list[Landed]) -> None:
        self.source = source
        self.own = Known(landed for landed in before if landed.source == source.name)
        self.new_files = 0
        self._settings = settings
        self._is_first = not self.own.in_order
        self._forget()

    def _forget(self) -> None:
        self.summary = SourceSummary(self.source.name)
        self.unreachable: UnreachableError | None = None
        self.is_seen = False
        self.batch_ids: set[str] = set()
        self.standing: list[str] = []
        self.listed: list[str] = []
        self._known: list[tuple[Place, Landed]] = []

    def land(self, progress: Progress) -> None:
        """Land what stands there; what an earlier look has landed is known by now."""
        self._forget()
        source = self.source
        try:
            places = standing(source)
        except (BatchRefusedError, OSError, ValueError, RuntimeError) as error:
            # S3 that cannot be listed, or a path that no system can have
            self._problem(error)
            return
        self.is_seen = True
        if not places and not source.optional and (not source.is_glob or self._is_first):
            self._problem(
                BatchRefusedError(
                    "there is no such file" if not source.is_glob else "no file matches",
                    where=f"{source.name}: {source.path}",
                    next_step="correct `path:` in sources.yml, or put the file there",
                )
            )
        seen_before = seen_places(self._settings, source)
        self.listed = sorted(signatures(places).values())
        paths = frozenset(place.path for place in places)
        pace = LandingPace(len(places), progress)
        for place in places:
            pace.begin(f"{source.name}: {place.name}")
            try:
                landed, is_new = land(
                    self._settings, source, place, self.own, seen_before, paths, pace.read
                )
            except BatchRefusedError as error:
                self._problem(error)
                continue
            self._take(place, landed, paths, is_new=is_new)

    def _take(self, place: Place, landed: Landed, paths: frozenset[str], *, is_new: bool) -> None:
        if landed.original_path != place.path and landed.original_path in paths:
            told = (Path(place.path).name, f"the very bytes of {landed.original_name} again")
            self.summary = replace(self.summary, told=(*self.summary.told, told))
        self.batch_ids.add(landed.batch_id)
        self.standing.append(landed.sha256)
        if is_new:
            self.new_files += 1
            self.own.add(landed)
        else:
            self._known.append((place, landed))

    def _problem(self, error: Exception) -> None:
        self.summary = self.summary.with_problem(error)
        if isinstance(error, UnreachableError):
            self.unreachable = self.unreachable or error

    def repeats(self) -> tuple[Repeat, ...]:
        """The files of known bytes that were delivered anew, noted as that."""
        return _repeats(self._settings, self.source, self._known, self.own.in_order)

    def deliveries(self) -> tuple[Delivery, ...]:
        """All that ever came of the source, oldest first."""
        return deliveries(self.own.in_order, repeats(self._settings, self.source.name))


def _repeats(
    settings: Settings, source: Source, known: list[tuple[Place, Landed]], own: list[Landed]
) -> tuple[Repeat, ...]:
    """The files of known bytes that were delivered anew, noted as that."""
    found = [repeat_of(settings, source, place, landed, own) for place, landed in known]
    again = tuple(repeat for repeat in found if repeat is not None)
    if again:
        note_repeats(settings, source.name, again)
    return again


def load_sources(
    settings: Settings,
    sources: list[Source],
    landed: Arrivals,
    run_id: str,
    examiner: Examiner | None = None,
    done_before: dict[str, tuple[Batch, Loaded]] | None = None,
    progress: Progress = untold,
) -> tuple[dict[str, SourceSummary], int]:
    """Load what landed and is not in the lake yet; returns the summaries and the snapshot.

    `examiner` compares each file with those before it. `done_before` is what an earlier try of this
    run has loaded, by batch, so that it is told of all the same; it learns what this one loads.
    A source is loaded after those that its rules look into, so that they see what came with it. A
    refused batch is tried again as long as its file still stands at the source. Raises LakeError
    when the lake is gone: loading would do other than what was done and decided before.
    """
    all_done = {} if done_before is None else done_before
    summaries = _with_done(landed.summaries, all_done.values())
    by_name = {source.name: source for source in sources}
    with writing(settings) as con:
        for declared in sources:
            keep_definition(settings, declared)
        note_encrypted(settings, encrypted=is_encrypted(settings))
        log = LoadLog(settings, con)
        known = log.known
        used = {line.source: line.source_fingerprint for line in known.values() if line.is_loaded}
        loaded = {line.batch_id for line in known.values() if line.is_loaded}
        times = load_times(con)
        in_place: dict[tuple[str, str], Landed] = {}
        came = [
            (arrival, by_name[arrival.source], _members(settings, arrival))
            for arrival in arrivals(settings)
            if arrival.source in by_name
        ]
        rank = ranks(sources)
        came.sort(key=lambda one: rank[one[1].name])  # within a source they stay in order
        due = [arrival for arrival, _, ids in came if _due(arrival, ids, known, landed)]
        pace = LoadingPace([arrival.size for arrival in due], progress)
        for arrival, source, members in came:
            place = (source.name, arrival.original_path)
            for part, batch_of in members.items():
                line = known.get(batch_of)
                if _is_due(arrival, line, landed):
                    pace.begin(f"{arrival.source}: {arrival.original_name}", arrival.size)
                    batch = Batch(arrival, source, run_id, next(times), part, line is not None)
                    notes = _notes(settings, batch, used.get(source.name), in_place.get(place))
                    summary = summaries[source.name]
                    try:
                        done = load_batch(con, settings, batch, examiner)
                    except BatchRefusedError as error:
                        summaries[source.name] = summary.with_refusal(error)
                        log.note(batch, None)
                        continue
                    if done.counts.rows_in:
                        done = replace(done, told=(*done.told, *notes))
                    all_done[batch.id] = (batch, done)
                    summaries[source.name] = summary.with_batch(batch, done)
                    log.note(batch, done)
                    pace.rows += done.counts.rows_in
                    if done.counts.rows_in:
                        used[source.name] = source.fingerprint()
                        loaded.add(batch.id)
            if not loaded.isdisjoint(members.values()):
                in_place[place] = arrival
        told = nothing_new(con, settings, run_id, _without_rows(summaries, landed))
        summaries |= {n: replace(summaries[n], nothing_new=text) for n, text in told}
        snapshot = latest_snapshot(con)
    note_taken(settings, landed.listed)
    return summaries, snapshot


def _members(settings: Settings, arrival: Landed) -> dict[str | None, str]:
    """The ids of the arrival's batches, by the member of the zip that each is."""
    return {part: batch_id(arrival, part) for part in parts(settings, arrival)}


def _due(
    arrival: Landed, members: Mapping[str | None, str], known: Mapping[str, Load], landed: Arrivals
) -> bool:
    return any(_is_due(arrival, known.get(batch_of), landed) for batch_of in members.values())


def _with_done(
    summaries: dict[str, SourceSummary], done_before: Iterable[tuple[Batch, Loaded]]
) -> dict[str, SourceSummary]:
    found = dict(summaries)
    for batch, done in done_before:
        found[batch.source.name] = found[batch.source.name].with_batch(batch, done)
    return found


def _without_rows(
    summaries: dict[str, SourceSummary], landed: Arrivals
) -> dict[str, tuple[Repeat, ...]]:
    """The sources of which something came and no row was loaded, with what was repeated of each."""
    again = {name: landed.repeats.get(name, ()) for name in summaries}
    return {
        name: again[name]
        for name, summary in summaries.items()
        if (summary.batches or again[name]) and not summary.counts.loaded
    }


def _notes(
    settings: Settings, batch: Batch, used: str | None, before: Landed | None
) -> Iterator[str]:
    """What the batch's loading does that its source's owner may not expect.

    `used` is of the definition under which the source was loaded last, `before` what landed from
    the same place earlier.
    """
    source = batch.source
    then = definition(settings, used) if used and used != source.fingerprint() else None
    for name in ("key", "write"):
        if then is not None and (was := getattr(then, name)) != (now := getattr(source, name)):
            yield (
                f"`{name}` was {_in_words(was)} and is {_in_words(now)}; what was loaded before"
                " stays as it is until `clearwater lake rebuild --redefine`"
            )
    came_again = before is not None and before.sha256 != batch.landed.sha256
    if came_again and source.write == "append" and not source.key:
        yield (
            "came again with other content, and all its rows were added;"
            " with a `key:` or `write: snapshot` those that are known are not"
        )


def _in_words(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value) or "none"


def _is_due(arrival: Landed, line: Load | None, landed: Arrivals) -> bool:
    """Whether the batch is to be loaded: a new one, or one refused whose file still stands."""
    if line is None:
        return True
    return line.status == "refused" and arrival.batch_id in landed.batch_ids
