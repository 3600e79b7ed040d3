"""What becomes of the incidents by what a run saw; touches no file."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from expectations.incidents import FLAPPING, Incident, Key, Observation, Spell, Tracked
from expectations.root_causes import Cause, Failure, Weight, causes, title

ID_CHARACTERS = 6
# Said of an incident that is closed because what failed is no longer there.
REMOVED = "removed since"


def follow(known: Sequence[Tracked], seen: Observation) -> list[Tracked]:
    """The known incidents after a run, and those that it opened.

    A failure that is in an open incident stays there. A new one joins the open incident of its
    cause, or one in which its table is unlike before in the same way; or it reopens the one that
    was closed less than a day ago, or opens one. A symptom that was checked and does not fail is
    gone, and an incident without symptoms is closed.
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
    """The open incident of what fails at the root, else the oldest with a symptom of this cause.

    Else the oldest in which another rule told the same of the same table.
    """
    symptoms = [
        {owners[f.symptom.key] for f in failures if f.symptom.key in owners}
        for failures in (cause.leading, cause.failures)
    ]
    alike = {name for name, tracked in known.items() if tracked.is_open and _alike(tracked, cause)}
    for ids in (*symptoms, alike):
        if ids:
            return min(ids, key=lambda name: (known[name].incident.opened_at, name))
    return None


def _alike(tracked: Tracked, cause: Cause) -> bool:
    """Whether a symptom tells of its table what one of the cause does, by another rule."""
    return any(
        before.symptom.table == now.symptom.table and before.is_like(now)
        for before in tracked.failures
        for now in cause.failures
    )


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
    if not tracked.is_open:
        return _lasting(_reopened(tracked, seen.at), parts, (), seen.at) if parts else tracked
    failing = {failure.symptom.key for part in parts for failure in part.failures}
    unknown = tuple(
        failure
        for failure in tracked.failures
        if failure.symptom.key not in failing
        and not (seen.removed(failure.symptom) or seen.checked(failure.symptom))
    )
    if not parts and unknown == tracked.failures:
        return tracked
    if parts or unknown:
        return _lasting(tracked, parts, unknown, seen.at)
    return _closed(tracked, seen)


def _closed(tracked: Tracked, seen: Observation) -> Tracked:
    """The incident that is over; its symptoms tell what it was, and by them it is known again."""
    closed = replace(tracked.incident, closed_at=seen.at)
    if all(map(seen.removed, closed.symptoms)):
        closed = replace(closed, title=f"{closed.title} ({REMOVED})")
    criticals = {key: _held(spell, seen.at) for key, spell in tracked.criticals.items()}
    return replace(tracked, incident=closed, criticals=criticals)


def _held(spell: Spell, at: datetime) -> Spell:
    return replace(spell, held_since=spell.held_since or at)


def _reopened(tracked: Tracked, at: datetime) -> Tracked:
    return replace(
        tracked,
        incident=replace(tracked.incident, closed_at=None),
        worst=Weight.WARNING,
        news_at=at,
        reopenings=tracked.reopenings + 1,
    )


def _lasting(
    tracked: Tracked, parts: Sequence[Cause], unknown: tuple[Failure, ...], at: datetime
) -> Tracked:
    """The open incident with what fails of it, and what failed before and was not checked."""
    before = tracked.incident
    causes_now = [*parts, *_remaining(before.root, unknown)]
    failures = [failure for cause in causes_now for failure in cause.failures]
    worst = max(failure.weight for failure in failures)
    root = _root(causes_now, worst, before.root)
    ordered = tuple(sorted(failures, key=lambda failure: _rank(failure, root)))
    incident = replace(
        before,
        title=_title(root, causes_now),
        severity="critical" if worst > Weight.WARNING else "warning",
        root=root,
        last_seen_at=at if parts else before.last_seen_at,
        runs=before.runs + bool(parts),
        symptoms=tuple(failure.symptom for failure in ordered),
    )
    known = _not_long_gone(tracked.criticals, at)
    leading = {failure.symptom.key for part in parts for failure in part.leading}
    begun = [key for key in leading if key not in known or known[key].held_since is not None]
    is_eased = tracked.worst > Weight.WARNING >= worst
    is_news = bool(begun) or is_eased or worst > tracked.worst
    is_to_be_told = any(key not in known or known[key].returns == 0 for key in begun)
    failing = {failure.symptom.key for failure in failures if failure.weight > Weight.WARNING}
    return replace(
        tracked,
        incident=incident,
        worst=worst if is_eased else max(tracked.worst, worst),
        news_at=at if is_news else tracked.news_at,
        failures=ordered,
        criticals=_criticals(known, begun, failing, at),
        news=tracked.news + is_to_be_told,
    ).up_to_date()


def _remaining(root: str, unknown: tuple[Failure, ...]) -> list[Cause]:
    """What was not checked, as a cause: of its own table if what was the root is well."""
    tables = {failure.symptom.table for failure in unknown}
    if root not in tables and len(tables) == 1:
        root = tables.pop()
    return [Cause(root, unknown)] if unknown else []


def _root(found: Sequence[Cause], worst: Weight, before: str) -> str:
    """The root of what is worst; what it was before where there are several."""
    roots = {cause.root for cause in found if any(f.weight == worst for f in cause.failures)}
    return roots.pop() if len(roots) == 1 else before


def _title(root: str, found: Sequence[Cause]) -> str:
    own = [failure for cause in found if cause.root == root for failure in cause.failures]
    every = [failure for cause in found for failure in cause.failures]
    tables = {failure.symptom.table for failure in every}
    others = tables - {failure.symptom.table for failure in own} if own else ()
    return title(root, own or every, others=len(others))


def _rank(failure: Failure, root: str) -> tuple[bool, bool, str, str]:
    """The critical ones first, then those of the root."""
    symptom = failure.symptom
    return failure.weight == Weight.WARNING, symptom.table != root, symptom.table, symptom.rule_id


def _not_long_gone(criticals: Mapping[Key, Spell], at: datetime) -> dict[Key, Spell]:
    """Those that fail, or held for less than a day: what comes back later is new."""
    return {
        key: spell
        for key, spell in criticals.items()
        if spell.held_since is None or at - spell.held_since < FLAPPING
    }


def _criticals(
    known: Mapping[Key, Spell], begun: Iterable[Key], failing: set[Key], at: datetime
) -> dict[Key, Spell]:
    """The critical symptoms after a run in which `begun` failed anew."""
    found = {key: spell if key in failing else _held(spell, at) for key, spell in known.items()}
    for key in begun:
        found[key] = Spell(returns=known[key].returns + 1) if key in known else Spell()
    return found
