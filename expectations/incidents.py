"""Incidents: one for each root cause, the same one over all runs in which it lasts.

What a run saw is an `Observation`; `follow` takes the incidents on by it, and touches no file.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from expectations.root_causes import (
    NOTHING_NEW,
    OVERDUE,
    Cause,
    Failure,
    Lineage,
    Weight,
    causes,
    title,
)

if TYPE_CHECKING:
    from warehouse.settings import Settings

ID_CHARACTERS = 6
# An incident that comes back within this time is the old one: it flaps.
FLAPPING = timedelta(hours=24)
Key = tuple[str, str, str]
REPORTED = timedelta(days=7)
# Said of an incident that is closed because what failed is no longer there.
REMOVED = "removed since"


@dataclass(frozen=True)
class Symptom:
    """One thing that fails: a rule of a table, a source's files, a model, a stage of the run.

    `boundary` is raw, marts or features, or `build` and `run` for the last two. `declared_in` is
    the sources file that names the source. `kind` is in which way it fails, where there are
    several: why files are refused, or what of which column is unlike before.
    """

    rule_id: str
    table: str
    boundary: str
    detail: str
    declared_in: str = ""
    kind: str = ""

    @property
    def key(self) -> Key:
        """What it is known by from run to run."""
        return self.rule_id, self.table, self.kind


@dataclass(frozen=True)
class Incident:
    """A root cause with all that fails of it; times are UTC.

    `root` is the table or the stage where it begins, `runs` the number of runs that saw it.
    `closed_at` is None while it is open; its symptoms are then those that fail now. An
    acknowledgement holds until the incident is closed or gets worse; `acknowledged_before` tells
    of one that holds no more.
    """

    id: str
    title: str
    severity: Literal["critical", "warning"]
    root: str
    opened_at: datetime
    last_seen_at: datetime
    closed_at: datetime | None
    runs: int
    acknowledged_by: str
    acknowledged_at: datetime | None
    note: str
    symptoms: tuple[Symptom, ...]
    acknowledged_before: str = ""


@dataclass(frozen=True)
class Tracked:
    """An incident with what its alerts depend on.

    `worst` is the worst since it was opened last, `kinds` the critical symptoms that its root ever
    had, `reopenings` how often it came back. `news_at` is when it opened last, became worse or got
    another of these kinds: an acknowledgement from before does not cover that.
    """

    incident: Incident
    worst: Weight
    news_at: datetime
    kinds: frozenset[Key] = frozenset()
    reopenings: int = 0

    @property
    def is_open(self) -> bool:
        """Whether it lasts."""
        return self.incident.closed_at is None

    @property
    def keys(self) -> frozenset[Key]:
        """The keys of its symptoms."""
        return frozenset(symptom.key for symptom in self.incident.symptoms)

    def row(self) -> dict[str, Any]:
        """The incident as the state database keeps it."""
        content = vars(self.incident) | {
            "symptoms": [asdict(symptom) for symptom in self.incident.symptoms],
            "worst": int(self.worst),
            "news_at": self.news_at,
            "kinds": sorted(map(list, self.kinds)),
            "reopenings": self.reopenings,
        }
        del content["acknowledged_before"]  # it follows from the times
        return content

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Tracked:
        """The incident that `row` told."""
        content = dict(row)
        worst, reopenings = content.pop("worst"), content.pop("reopenings")
        kinds, news_at = content.pop("kinds") or (), content.pop("news_at")
        symptoms = tuple(Symptom(**symptom) for symptom in content.pop("symptoms"))
        return _up_to_date(
            cls(
                Incident(**content, symptoms=symptoms),
                Weight(worst),
                news_at or content["opened_at"],
                frozenset((rule_id, table, kind) for rule_id, table, kind in kinds),
                reopenings,
            )
        )


def _up_to_date(tracked: Tracked) -> Tracked:
    """The incident, known to nobody if it was acknowledged before its last news."""
    known = tracked.incident
    if known.acknowledged_at is None or known.acknowledged_at >= tracked.news_at:
        return tracked
    told = f"known to {known.acknowledged_by}, {known.acknowledged_at:%Y-%m-%d %H:%M} UTC"
    told += f": {known.note}" if known.note else ""
    gone = replace(
        known, acknowledged_by="", acknowledged_at=None, note="", acknowledged_before=told
    )
    return replace(tracked, incident=gone)


def _never(_symptom: Symptom) -> bool:
    return False


@dataclass(frozen=True)
class Observation:
    """What a run saw: what failed, and by `checked` what it would have seen failing.

    By `removed`, what cannot fail any more: its source, rule or model is gone.
    """

    at: datetime
    failures: tuple[Failure, ...] = ()
    lineage: Lineage = field(default_factory=dict)
    checked: Callable[[Symptom], bool] = _never
    removed: Callable[[Symptom], bool] = _never


def follow(known: Sequence[Tracked], seen: Observation) -> list[Tracked]:
    """The known incidents after a run, and those that it opened.

    A failure that is in an open incident stays there. A new one joins the open incident of its
    cause, or reopens the one that was closed less than a day ago, or opens one. A symptom that was
    checked and does not fail is gone, and an incident without symptoms is closed.
    """
    owners = {
        key: tracked.incident.id for tracked in known if tracked.is_open for key in tracked.keys
    }
    failures = _worst_of_each(seen.failures)
    found = causes(failures, seen.lineage, lambda failure: failure.symptom.key not in owners)
    by_id = {tracked.incident.id: tracked for tracked in known}
    parts: dict[str, list[Cause]] = defaultdict(list)
    for cause in found:
        home = _home(cause, owners, by_id) or _returning(cause, known, seen.at)
        if home is None:
            opened = _opened(cause, seen.at, by_id)
            by_id[opened.incident.id] = opened
            home = opened.incident.id
        for owner, part in _shares(cause, owners, home).items():
            parts[owner].append(part)
    return [_taken_on(tracked, parts.get(name, []), seen) for name, tracked in by_id.items()]


def _worst_of_each(failures: Iterable[Failure]) -> list[Failure]:
    worst: dict[Key, Failure] = {}
    for failure in failures:
        before = worst.get(failure.symptom.key)
        if before is None or failure.weight > before.weight:
            worst[failure.symptom.key] = failure
    return list(worst.values())


def _home(cause: Cause, owners: Mapping[Key, str], known: Mapping[str, Tracked]) -> str | None:
    """The oldest open incident that has a symptom of this cause."""
    ids = {owners[f.symptom.key] for f in cause.failures if f.symptom.key in owners}
    return min(ids, key=lambda name: (known[name].incident.opened_at, name), default=None)


def _returning(cause: Cause, known: Sequence[Tracked], at: datetime) -> str | None:
    """The incident closed last, less than a day ago, that had a symptom of this cause."""
    keys = {failure.symptom.key for failure in cause.failures}
    recent = [
        (tracked.incident.closed_at, tracked.incident.id)
        for tracked in known
        if tracked.incident.closed_at is not None
        and at - tracked.incident.closed_at < FLAPPING
        and not tracked.keys.isdisjoint(keys)
    ]
    return max(recent)[1] if recent else None


def _shares(cause: Cause, owners: Mapping[Key, str], home: str) -> dict[str, Cause]:
    """The cause's failures by the incident that they are in, new ones in `home`."""
    shares: dict[str, list[Failure]] = defaultdict(list)
    for failure in cause.failures:
        shares[owners.get(failure.symptom.key, home)].append(failure)
    return {name: Cause(cause.root, tuple(found)) for name, found in shares.items()}


def _opened(cause: Cause, at: datetime, known: Mapping[str, Tracked]) -> Tracked:
    """A new incident that no run has counted yet."""
    incident = Incident(
        id=_new_id(cause, at, known),
        title="",
        severity="warning",
        root=cause.root,
        opened_at=at,
        last_seen_at=at,
        closed_at=None,
        runs=0,
        acknowledged_by="",
        acknowledged_at=None,
        note="",
        symptoms=(),
    )
    return Tracked(incident, Weight.WARNING, news_at=at)


def _new_id(cause: Cause, at: datetime, known: Mapping[str, Tracked]) -> str:
    first = min(failure.symptom.key for failure in cause.failures)
    digits = hashlib.sha256(repr((cause.root, first, at)).encode()).hexdigest()
    lengths = range(ID_CHARACTERS, len(digits))
    return next(digits[:length] for length in lengths if digits[:length] not in known)


def _taken_on(tracked: Tracked, parts: Sequence[Cause], seen: Observation) -> Tracked:
    """The incident after the run, `parts` being what failed of it."""
    failures = [failure for part in parts for failure in part.failures]
    if not tracked.is_open:
        return _reopened(tracked, parts, failures, seen) if failures else tracked
    failing = {failure.symptom.key for failure in failures}
    unknown = tuple(
        symptom
        for symptom in tracked.incident.symptoms
        if symptom.key not in failing and not (seen.removed(symptom) or seen.checked(symptom))
    )
    if failures:
        return _seen_again(tracked, parts, failures, unknown, seen)
    if unknown:
        return replace(tracked, incident=replace(tracked.incident, symptoms=unknown))
    # The symptoms stay: they tell what it was, and by them it is known again.
    closed = replace(tracked.incident, closed_at=seen.at)
    if all(map(seen.removed, closed.symptoms)):
        closed = replace(closed, title=f"{closed.title} ({REMOVED})")
    return replace(tracked, incident=closed)


def _reopened(
    tracked: Tracked, parts: Sequence[Cause], failures: list[Failure], seen: Observation
) -> Tracked:
    reopened = replace(
        tracked,
        incident=replace(tracked.incident, closed_at=None, severity="warning"),
        worst=Weight.WARNING,
        news_at=seen.at,
        reopenings=tracked.reopenings + 1,
    )
    return _seen_again(reopened, parts, failures, (), seen)


def _seen_again(
    tracked: Tracked,
    parts: Sequence[Cause],
    failures: list[Failure],
    unknown: tuple[Symptom, ...],
    seen: Observation,
) -> Tracked:
    before = tracked.incident
    roots = {part.root for part in parts}
    root = roots.pop() if len(roots) == 1 else before.root
    worst = max(failure.weight for failure in failures)
    is_critical = worst > Weight.WARNING or (bool(unknown) and before.severity == "critical")
    incident = replace(
        before,
        title=title(root, failures),
        severity="critical" if is_critical else "warning",
        root=root,
        last_seen_at=seen.at,
        runs=before.runs + 1,
        symptoms=_root_first(root, [*(failure.symptom for failure in failures), *unknown]),
    )
    own = {f.symptom.key for part in parts for f in part.own if f.weight > Weight.WARNING}
    is_news = worst > tracked.worst or not own <= tracked.kinds
    return _up_to_date(
        replace(
            tracked,
            incident=incident,
            worst=max(tracked.worst, worst),
            news_at=seen.at if is_news else tracked.news_at,
            kinds=tracked.kinds | own,
        )
    )


def _root_first(root: str, symptoms: Iterable[Symptom]) -> tuple[Symptom, ...]:
    return tuple(sorted(symptoms, key=lambda s: (s.table != root, s.table, s.rule_id)))


def incidents_for_report(
    settings: Settings, *, now: datetime | None = None
) -> tuple[Incident, ...]:
    """The open incidents, and those that were closed in the last seven days.

    The open ones come first, the critical ones before the others, the newest first. None where the
    state database cannot be read: the run says so itself, and has its report all the same.
    """
    from warehouse.errors import StateError
    from warehouse.incident_log import open_incident_log

    if not settings.state_db.exists():
        return ()
    try:
        with open_incident_log(settings) as log:
            rows = log.rows(closed_since=(now or datetime.now(UTC)) - REPORTED)
    except StateError:
        return ()
    return in_order(Tracked.from_row(row).incident for row in rows)


def stale_sources(incidents: Iterable[Incident]) -> dict[str, str]:
    """What open incidents tell of sources from which nothing new comes, by the source's name."""
    return {
        symptom.table.removeprefix("raw_"): symptom.detail
        for incident in incidents
        if incident.closed_at is None
        for symptom in incident.symptoms
        if symptom.boundary == "raw" and symptom.rule_id in (NOTHING_NEW, OVERDUE)
    }


def in_order(incidents: Iterable[Incident]) -> tuple[Incident, ...]:
    """The open ones first, then the critical ones, then the newest."""
    newest = sorted(incidents, key=lambda incident: incident.opened_at, reverse=True)
    return tuple(sorted(newest, key=lambda i: (i.closed_at is not None, i.severity != "critical")))
