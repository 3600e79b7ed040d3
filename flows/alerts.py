"""Alerts of incidents: what each receiver is told, once, and sending it through apprise.

The receivers' addresses hold secrets: they are never shown.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from expectations.incidents import FLAPPING, Tracked
from expectations.root_causes import Weight
from warehouse.incident_log import Told
from warehouse.wording import counted

URLS = "CLEARWATER_ALERT_URLS"
THRESHOLDS = {"critical": Weight.CRITICAL, "warning": Weight.WARNING}
# Where the part after :// is a server; of other services it may be a token.
NAMED_BY_HOST = ("json", "xml", "form", "mailto", "http")
SHOWN = 20
SECONDS = 10.0
TRIES = 3
PAUSE_SECONDS = 0.5
TIMEOUT_SECONDS = 3.0

Kind = Literal["opened", "worsened", "reopened", "closed"]


@dataclass(frozen=True)
class Receiver:
    """Where alerts go; `name` is what may be shown and kept of its address."""

    name: str
    url: str

    def __repr__(self) -> str:
        return f"Receiver({self.name})"


@dataclass(frozen=True)
class News:
    """What a receiver does not know yet of an incident."""

    kind: Kind
    tracked: Tracked

    @property
    def told(self) -> Told:
        """What the receiver knows after it."""
        return Told(self.tracked.is_open, int(self.tracked.worst), self.tracked.news)


@dataclass(frozen=True)
class Outcome:
    """The run that the alert tells of: its status and its report, and whose home it was in."""

    home: Path
    run_id: str
    status: str
    release: str | None
    report: Path | None


@dataclass(frozen=True)
class Message:
    """What is sent; `is_bad` unless it only tells of incidents that are over."""

    subject: str
    text: str
    is_bad: bool


def receivers(text: str) -> list[Receiver]:
    """The receivers in a list of addresses; those of one name are numbered."""
    text = text.strip().strip(",")
    urls = [url for url in re.split(r"[\s,]+(?=[\w+.-]+://)", text) if url]
    found: list[Receiver] = []
    for url in dict.fromkeys(urls):
        name = _name(url)
        same = sum(other.name.partition(" ")[0] == name for other in found)
        found.append(Receiver(f"{name} ({same + 1})" if same else name, url))
    return found


def _name(url: str) -> str:
    """The scheme, and the host where that is no secret."""
    scheme, separator, _ = url.partition("://")
    if not separator or not re.fullmatch(r"[\w+.-]+", scheme):
        return "(no address)"
    scheme = scheme.lower()
    host = _host(url) if scheme.removesuffix("s") in NAMED_BY_HOST else ""
    return f"{scheme}://{host}"


def _host(url: str) -> str:
    """The host; empty where a sign in a password may have cut the address in the wrong place."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 – raises where it is no number
    except ValueError:
        return ""
    return "" if "@" in parts.path + parts.fragment else parts.hostname or ""


def news(
    incidents: Iterable[Tracked], told: Mapping[str, Told], least: Weight, now: datetime
) -> list[News]:
    """What is to be told to a receiver that was told `told` before, by incident.

    An incident is told when it opens or comes back, when it is worse than was told or something
    critical begins in it that no other symptom explains, and when it is closed after that. What
    comes and goes is told when it comes back first; an incident that does, as closed when it has
    been so for a day.
    """
    found = []
    for tracked in incidents:
        kind = _kind(tracked, told.get(tracked.incident.id), least, now)
        if kind is not None:
            found.append(News(kind, tracked))
    return found


def _kind(tracked: Tracked, told: Told | None, least: Weight, now: datetime) -> Kind | None:
    is_known = tracked.incident.acknowledged_at is not None
    is_due = tracked.worst >= least and not is_known
    closed_at = tracked.incident.closed_at
    if closed_at is not None:
        is_settled = tracked.reopenings == 0 or now - closed_at >= FLAPPING
        return "closed" if told and told.is_open and is_settled else None
    if not is_due:
        return None
    if told is None:
        return "opened"
    if not told.is_open:
        return "reopened"
    is_worse = tracked.worst > told.weight or tracked.news > told.news
    return "worsened" if is_worse else None


def message(found: Sequence[News], outcome: Outcome) -> Message:
    """One message with all the news: a root cause a line, and where to go on.

    It holds names and counts, never values of the data.
    """
    kinds: tuple[Kind, ...] = ("opened", "worsened", "reopened", "closed")
    ordered = sorted(found, key=lambda item: (kinds.index(item.kind), -item.tracked.worst))
    counts = {kind: sum(item.kind == kind for item in found) for kind in kinds}
    sums = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    first = ordered[0].tracked.incident
    subject = f"Clearwater: {first.title} – {ordered[0].kind}" if len(found) == 1 else ""
    subject = subject or f"Clearwater: {counted(len(found), 'incident')}: {sums}"
    lines = [line for item in ordered[:SHOWN] for line in _lines(item)]
    if len(ordered) > SHOWN:
        lines.append(f"and {len(ordered) - SHOWN:,} more: clearwater incidents")
    text = "\n".join([*lines, "", *_around(found, outcome)])
    return Message(subject, text, is_bad=any(item.kind != "closed" for item in found))


def _lines(item: News) -> Iterator[str]:
    incident = item.tracked.incident
    severity = f" {incident.severity}" if item.kind != "closed" else ""
    word = item.kind.upper() if item.kind != "closed" else "CLOSED, was"
    yield f"{word}{severity}: {incident.title}"
    told = [counted(len(incident.symptoms), "symptom")]
    if item.kind == "closed":
        told = [f"lasted {counted(incident.runs, 'run')}"]
    told.append(f"since {incident.opened_at:%Y-%m-%d %H:%M} UTC")
    if item.kind == "reopened":
        told.append("it comes and goes: no more of it until it has been gone for a day")
    yield f"  {'; '.join(told)}"
    if item.kind != "closed":
        yield f"  clearwater incidents show {incident.id}"


def _around(found: Sequence[News], outcome: Outcome) -> Iterator[str]:
    if any(item.kind != "closed" for item in found):
        yield "Known, and no more alerts of it: clearwater incidents ack ID"
    served = f"release {outcome.release} is served" if outcome.release else "nothing is published"
    yield f"Run {outcome.run_id}: {outcome.status}; {served}"
    if outcome.report is not None:
        yield f"Report: {outcome.report}"
    yield f"Home: {outcome.home}"


def deliver(messages: Mapping[Receiver, Message]) -> dict[Receiver, str]:
    """Send each receiver its message, all at the same time.

    Returns why it failed for those who did not get it. Takes no longer than `SECONDS`; a sending
    that is not done by then counts as failed.
    """
    deadline = time.monotonic() + SECONDS
    problems = dict.fromkeys(messages, f"no answer within {SECONDS:.0f} s")
    threads = [
        threading.Thread(target=_try, args=(receiver, message, deadline, problems), daemon=True)
        for receiver, message in messages.items()
    ]
    _silence()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return {receiver: problem for receiver, problem in problems.copy().items() if problem}


def _try(
    receiver: Receiver,
    message: Message,
    deadline: float,
    problems: dict[Receiver, str],
) -> None:
    """Send the message, in several tries while there is time; `problems` tells how it went."""
    for attempt in range(1, TRIES + 1):
        try:
            problem = _send(receiver, message)
        except Exception as error:  # whatever a service's code raises: no alert fails a run
            problem = f"it failed: {type(error).__name__}"
        problems[receiver] = problem
        if not problem or time.monotonic() + PAUSE_SECONDS * attempt >= deadline:
            return
        time.sleep(PAUSE_SECONDS * attempt)


def _send(receiver: Receiver, message: Message) -> str:
    """Send the message once; returns why not, in words without the address."""
    from apprise import Apprise, NotifyFormat, NotifyType

    service: Any = Apprise.instantiate(receiver.url, asset=_asset(), suppress_exceptions=True)
    if not service:
        return f"the address is none that apprise knows; correct {URLS}"
    service.socket_connect_timeout = service.socket_read_timeout = TIMEOUT_SECONDS
    if "format=" not in receiver.url and NotifyFormat.TEXT in _formats(service):
        service.notify_format = NotifyFormat.TEXT
    kind = NotifyType.FAILURE if message.is_bad else NotifyType.SUCCESS
    sent = service.notify(
        body=message.text,
        title=message.subject,
        notify_type=kind,
        body_format=NotifyFormat.TEXT,
    )
    return "" if sent else "it did not answer, or did not take the message"


def is_known(receiver: Receiver) -> bool:
    """Whether its address is one that apprise can send to; nothing is sent."""
    from apprise import Apprise

    _silence()
    return bool(Apprise.instantiate(receiver.url, asset=_asset(), suppress_exceptions=True))


def _formats(service: Any) -> tuple[Any, ...]:
    formats = type(service).notify_format
    return formats if isinstance(formats, tuple) else (formats,)


def _asset() -> Any:
    """Apprise without files of its own, and without links to its own site."""
    from apprise import AppriseAsset, PersistentStoreMode

    asset: Any = AppriseAsset(storage_mode=PersistentStoreMode.MEMORY)
    asset.app_id = asset.app_desc = "Clearwater"
    asset.app_url = asset.image_url_mask = asset.image_url_logo = ""
    return asset


def _silence() -> None:
    """Let neither apprise nor what it sends with log a word: it may be an address."""
    for name in ("apprise", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
