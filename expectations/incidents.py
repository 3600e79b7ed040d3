"""Incidents: one for each root cause, the same one over all runs in which it lasts.

What a run saw is an `Observation`; `expectations.following` takes the incidents on by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from expectations.root_causes import NOTHING_NEW, OVERDUE, Failure, Lineage, Weight

if TYPE_CHECKING:
    from warehouse.settings import Settings

# An incident that comes back within this time is the old one: it flaps.
FLAPPING = timedelta(hours=24)
Key = tuple[str, str, str]
REPORTED = timedelta(days=7)


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
    `closed_at` is None while it is open; its symptoms are then those that fail now, and so are its
    title and severity. An acknowledgement holds until the incident is closed, gets worse or has
    nothing critical any more; `acknowledged_before` tells of one that holds no more.
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
class Spell:
    """What is known of a critical symptom: since when it holds, and how often it came back.

    `held_since` is None while it fails, or is not known to hold.
    """

    held_since: datetime | None = None
    returns: int = 0


@dataclass(frozen=True)
class Tracked:
    """An incident with what its alerts depend on.

    `failures` are its symptoms with how bad they are. `worst` is the worst since it was opened, or
    became critical, last. `news_at` is when it opened last, became worse, got another critical
    symptom that no other explains, or lost the last: an acknowledgement from before does not cover
    that. `criticals` are these symptoms, until they have been gone for a day. `news` counts how
    often one of them was to be told: when it failed first, and when it came back first.
    `reopenings` is how often the incident came back.
    """

    incident: Incident
    worst: Weight
    news_at: datetime
    failures: tuple[Failure, ...] = ()
    criticals: Mapping[Key, Spell] = field(default_factory=dict)
    news: int = 0
    reopenings: int = 0

    @property
    def is_open(self) -> bool:
        """Whether it lasts."""
        return self.incident.closed_at is None

    @property
    def keys(self) -> frozenset[Key]:
        """The keys of its symptoms."""
        return frozenset(symptom.key for symptom in self.incident.symptoms)

    def up_to_date(self) -> Tracked:
        """The incident, known to nobody if it was acknowledged before its last news."""
        known = self.incident
        if known.acknowledged_at is None or known.acknowledged_at >= self.news_at:
            return self
        told = f"known to {known.acknowledged_by}, {known.acknowledged_at:%Y-%m-%d %H:%M} UTC"
        told += f": {known.note}" if known.note else ""
        gone = replace(
            known, acknowledged_by="", acknowledged_at=None, note="", acknowledged_before=told
        )
        return replace(self, incident=gone)

    def row(self) -> dict[str, Any]:
        """The incident as the state database keeps it."""
        content = vars(self.incident) | {
            "symptoms": [_entry(failure) for failure in self.failures],
            "worst": int(self.worst),
            "news_at": self.news_at,
            "kinds": [[*key, *_kept(spell)] for key, spell in sorted(self.criticals.items())],
            "news": self.news,
            "reopenings": self.reopenings,
        }
        del content["acknowledged_before"]  # it follows from the times
        return content

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Tracked:
        """The incident that `row` told; of an earlier version it lacks what that did not know."""
        content = dict(row)
        worst, reopenings = Weight(content.pop("worst")), content.pop("reopenings")
        kinds, news_at = content.pop("kinds") or (), content.pop("news_at")
        news = content.pop("news") or 0
        usual = worst if content["severity"] == "critical" else Weight.WARNING
        failures = tuple(_failure(entry, usual) for entry in content.pop("symptoms"))
        tracked = cls(
            Incident(**content, symptoms=tuple(failure.symptom for failure in failures)),
            worst,
            news_at or content["opened_at"],
            failures,
            {(rule_id, table, kind): _spell(*kept) for rule_id, table, kind, *kept in kinds},
            news,
            reopenings,
        )
        return tracked.up_to_date()


def _entry(failure: Failure) -> dict[str, Any]:
    own = {name: value for name, value in vars(failure).items() if name != "symptom"}
    return asdict(failure.symptom) | own | {"weight": int(failure.weight)}


def _failure(entry: Mapping[str, Any], usual: Weight) -> Failure:
    content = dict(entry)
    weight = Weight(content.pop("weight", usual))
    own = {name: content.pop(name, "") for name in ("check", "subject", "refers_to")}
    is_by_rows, unlike = content.pop("is_by_rows", False), tuple(content.pop("unlike", ()))
    return Failure(Symptom(**content), weight, **own, is_by_rows=is_by_rows, unlike=unlike)


def _kept(spell: Spell) -> tuple[str | None, int]:
    return spell.held_since.isoformat() if spell.held_since else None, spell.returns


def _spell(held_since: str | None = None, returns: int = 0) -> Spell:
    return Spell(datetime.fromisoformat(held_since) if held_since else None, returns)


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


def incidents_for_report(
    settings: Settings, *, now: datetime | None = None
) -> tuple[Incident, ...]:
    """The open incidents, and those that were closed in the last seven days.

    The open ones come first, the critical ones before the others, the newest first. None where the
    state database cannot be read: the run says so itself, and has its report all the same.
    """
    from warehouse.errors import StateError
    from warehouse.incident_log import open_incident_log
    from warehouse.state import state_exists

    if not state_exists(settings):
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
    """The open ones first, then the critical ones, those that nobody knows of, the newest."""
    newest = sorted(incidents, key=lambda incident: incident.opened_at, reverse=True)
    return tuple(sorted(newest, key=_urgency))


def _urgency(incident: Incident) -> tuple[bool, bool, bool]:
    is_closed = incident.closed_at is not None
    is_known = not is_closed and incident.acknowledged_at is not None
    return is_closed, incident.severity != "critical", is_known
