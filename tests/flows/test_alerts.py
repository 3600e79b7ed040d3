"""Alerts: who is told what, once; sent to receivers on this machine."""

from __future__ import annotations

import email
import email.policy
import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from hypothesis import given, settings
from hypothesis import strategies as st

from expectations.following import follow
from expectations.incidents import FLAPPING, Observation, Symptom, Tracked
from expectations.root_causes import Failure, Weight
from flows import alerts
from flows.alerts import News, Outcome, Receiver, deliver, message, news, receivers
from warehouse.incident_log import Told

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECRET = "hunter2"
BLOCKED = Outcome(Path("/data/cw"), "r1", "blocked", "rel1", Path("/data/cw/reports/r1/index.html"))


def failing(*tables: str, weight: Weight = Weight.BLOCKING) -> tuple[Failure, ...]:
    return tuple(
        Failure(Symptom(f"{t}_ok", t, "marts", "e.g. name=Ada"), weight, "unique", t)
        for t in tables
    )


def taken_on(*runs: tuple[float, tuple[Failure, ...]]) -> list[Tracked]:
    """The incidents after runs at these hours past noon that checked everything."""
    known: list[Tracked] = []
    for hours, found in runs:
        at = NOON + timedelta(hours=hours)
        known = follow(known, Observation(at, found, {}, lambda _: True))
    return known


def told(*runs: tuple[float, tuple[Failure, ...]], least: Weight = Weight.CRITICAL) -> list[str]:
    """What a receiver that is always up is told in these runs, run by run."""
    known: dict[str, Told] = {}
    kinds = []
    for n in range(1, len(runs) + 1):
        at = NOON + timedelta(hours=runs[n - 1][0])
        found = news(taken_on(*runs[:n]), known, least, at)
        known |= {item.tracked.incident.id: item.told for item in found}
        kinds.append(", ".join(item.kind for item in found))
    return kinds


def known_to_ada(tracked: Tracked, at: datetime | None = None) -> Tracked:
    acknowledged_at = at or tracked.incident.last_seen_at
    incident = replace(
        tracked.incident, acknowledged_by="ada", acknowledged_at=acknowledged_at, note="on it"
    )
    return replace(tracked, incident=incident)


# -- what is told -----------------------------------------------------------------------------

BAD, MILD, WELL = failing("fct"), failing("fct", weight=Weight.WARNING), ()
HELD_BACK = failing("fct", weight=Weight.CRITICAL)


def test_incident_is_told_when_it_opens_and_when_it_is_over() -> None:
    assert told((0, BAD), (1, BAD), (2, BAD), (3, WELL), (4, WELL)) == [
        "opened", "", "", "closed", "",
    ]  # fmt: skip


def test_warning_is_told_only_where_warnings_are_asked_for() -> None:
    assert told((0, MILD), (1, MILD), (2, WELL)) == ["", "", ""]
    assert told((0, MILD), (1, MILD), (2, WELL), least=Weight.WARNING) == ["opened", "", "closed"]


def test_incident_that_gets_worse_is_told_once_more() -> None:
    better = [(n, MILD if n % 2 == 0 else BAD) for n in range(6)]
    assert told(*better) == ["", "opened", "", "worsened", "", ""]
    warned = told(*better, least=Weight.WARNING)
    assert warned == ["opened", "worsened", "", "worsened", "", ""]
    assert told(*better, (6, MILD), (31, BAD))[6:] == ["", "worsened"]
    assert told((0, HELD_BACK), (1, BAD), (2, BAD)) == ["opened", "worsened", ""]


def test_incident_that_flaps_is_told_once_more_until_it_has_been_gone_for_a_day() -> None:
    flapping = [(n, BAD if n % 2 == 0 else WELL) for n in range(7)]
    assert told(*flapping) == ["opened", "closed", "reopened", "", "", "", ""]
    assert told(*flapping[:4], (26, WELL), (27, WELL), (28, WELL))[4:] == ["", "closed", ""]


def test_incident_that_was_acknowledged_is_told_when_it_is_worse_or_over() -> None:
    (seen,) = taken_on((0, HELD_BACK))
    known = {seen.incident.id: Told(True, Weight.CRITICAL)}
    seen = known_to_ada(seen)

    def then(*found: Failure) -> list[str]:
        at = NOON + timedelta(hours=1)
        after = follow([seen], Observation(at, found, {}, lambda _: True))
        return [item.kind for item in news(after, known, Weight.CRITICAL, at)]

    assert then(*HELD_BACK) == []
    assert then(*BAD) == ["worsened"]
    assert then() == ["closed"]
    assert news([seen], {}, Weight.CRITICAL, NOON) == []


def test_incident_that_is_over_before_it_could_be_told_is_not_told() -> None:
    assert news(taken_on((0, BAD), (1, WELL)), {}, Weight.CRITICAL, NOON) == []


weights = st.sampled_from(list(Weight))
runs = st.lists(
    st.tuples(
        st.sampled_from([0.5, 6, 30]),
        st.dictionaries(st.sampled_from(["a", "b"]), weights, max_size=2),
        st.booleans(),
        st.sampled_from(["", "a", "b"]),
    ),
    max_size=12,
)


@given(runs)
def test_no_opening_and_no_worsening_is_told_twice_whatever_happens(
    sequence: list[tuple[float, dict[str, Weight], bool, str]],
) -> None:
    """`True` is a receiver that is up; then somebody may acknowledge a table's incident."""
    known: list[Tracked] = []
    told: dict[str, Told] = {}
    heard: dict[str, list[News]] = {}
    at = NOON
    for hours, tables, is_up, acknowledged in sequence:
        at += timedelta(hours=hours)
        found = tuple(f for t, w in tables.items() for f in failing(t, weight=w))
        known = follow(known, Observation(at, found, {}, lambda _: True))
        for item in news(known, told, Weight.CRITICAL, at) if is_up else ():
            told[item.tracked.incident.id] = item.told
            heard.setdefault(item.tracked.incident.id, []).append(item)
        assert not is_up or news(known, told, Weight.CRITICAL, at) == []
        known = [
            known_to_ada(t) if t.is_open and t.incident.root == acknowledged else t for t in known
        ]
    for items in heard.values():
        kinds = [item.kind for item in items]
        assert kinds[0] == "opened"
        assert kinds.count("opened") == 1
        if all(hours < 1 for hours, *_ in sequence):
            # It began, came back once, and was heavier than told before each time.
            assert len([kind for kind in kinds if kind != "closed"]) <= 4, kinds
        # Closings but the first wait for a day: so an incident comes back to a receiver once.
        assert kinds.count("reopened") <= 1
        loud = [item for item in items if item.kind != "closed"]
        assert all(item.tracked.worst >= Weight.CRITICAL for item in loud)


def refused(*kinds: str, weight: Weight = Weight.CRITICAL) -> tuple[Failure, ...]:
    return tuple(
        Failure(Symptom("refused_batch", "raw", "raw", "a.csv", kind=kind), weight, "refused")
        for kind in kinds
    )


def test_another_kind_of_refusal_is_told_and_the_same_one_stays_quiet() -> None:
    one, other = refused("amount: values"), refused("customer: nulls")
    assert told((0, one), (1, (*one, *other)), (2, (*one, *other)), (3, one)) == [
        "opened", "worsened", "", "",
    ]  # fmt: skip
    flapping = [(0, one), (1, WELL), (2, one), (3, WELL), (4, one)]
    assert told(*flapping) == ["opened", "closed", "reopened", "", ""]
    assert told(*flapping, (5, WELL), (6, other))[5:] == ["", "opened"]
    assert told(*flapping, (5, (*one, *other)), (6, (*one, *other)))[5:] == ["worsened", ""]


ABOVE = {"stg": {"raw"}, "fct": {"raw", "stg"}, "daily": {"raw", "stg", "fct"}, "feat": {"raw"}}
MADE_FROM = {"stg": ["raw"], "fct": ["stg"], "daily": ["fct"], "feat": ["raw"]}
places = st.tuples(st.sampled_from(["raw", *MADE_FROM]), st.sampled_from(["a", "b"]))


def broken(found: dict[tuple[str, str], Weight]) -> tuple[Failure, ...]:
    """Rules of these tables, by their name, that fail as badly as that."""
    return tuple(
        Failure(Symptom(f"{table}_{rule}", table, "marts", "1 row"), weight, "between", rule)
        for (table, rule), weight in sorted(found.items())
    )


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.5, 6, 30]),
            st.dictionaries(places, weights, max_size=5),
            st.sets(st.sampled_from(["raw", *MADE_FROM])),
            st.sets(st.sampled_from(["raw", *MADE_FROM])),
        ),
        max_size=10,
    )
)
def test_nothing_critical_begins_unheard_whatever_failed_and_was_known_before(
    sequence: list[tuple[float, dict[tuple[str, str], Weight], set[str], set[str]]],
) -> None:
    """The sets are the tables that a run did not check, and those whose incidents are known then.

    What begins is known to nobody, unless it follows from something that was critical already. It
    is heard, unless it or what it follows from was told and has been gone for less than a day.
    """
    known: list[Tracked] = []
    heard: dict[str, Told] = {}
    lasting: set[tuple[str, str]] = set()
    gone: dict[tuple[str, str], datetime] = {}
    known_as: dict[str, bool] = {}  # whether it was critical after the run before
    at = NOON
    for hours, found, unchecked, seen_to in sequence:
        at += timedelta(hours=hours)
        run = Observation(at, broken(found), MADE_FROM, lambda s, u=unchecked: s.table not in u)
        known = follow(known, run)
        items = news(known, heard, Weight.CRITICAL, at)
        heard |= {item.tracked.incident.id: item.told for item in items}
        loud = {item.tracked.incident.id for item in items if item.kind != "closed"}
        critical = {place for place, weight in found.items() if weight > Weight.WARNING}
        explaining = {table for table, _ in critical & lasting}
        homes = {
            (s.table, s.rule_id[-1]): t.incident
            for t in known
            if t.is_open
            for s in t.incident.symptoms
        }
        assert set(found) <= set(homes)
        for place in critical:
            assert homes[place].severity == "critical"
        begun = critical - lasting
        back = {place for place in begun if place in gone and at - gone[place] < FLAPPING}
        for place in begun:
            above = ABOVE.get(place[0], set())
            if not explaining & above:
                assert homes[place].acknowledged_by == ""
                comes_and_goes = place in back or above & {table for table, _ in back}
                assert comes_and_goes or homes[place].id in loud
        left = {p for p in lasting - critical if p not in found and p[0] in unchecked}
        gone |= dict.fromkeys(lasting - critical - left, at)
        lasting = critical | left
        for tracked in known:
            name, is_critical = tracked.incident.id, tracked.incident.severity == "critical"
            assert is_critical or not (tracked.incident.acknowledged_by and known_as.get(name))
        known = [known_to_ada(t, at) if t.incident.root in seen_to else t for t in known]
        known_as = {t.incident.id: t.is_open and t.incident.severity == "critical" for t in known}
        again = follow(known, replace(run, at=at + timedelta(minutes=1)))
        assert news(again, heard, Weight.CRITICAL, at) == []
        known_to_some = {t.incident.id for t in known if t.is_open and t.incident.acknowledged_by}
        assert known_to_some == {
            t.incident.id for t in again if t.is_open and t.incident.acknowledged_by
        }


# -- how it reads -----------------------------------------------------------------------------


def test_message_is_a_line_for_each_cause_and_says_where_to_go_on() -> None:
    known = taken_on((0, failing("old")), (1, failing("fct", "dim")))
    items = [News("closed" if not tracked.is_open else "opened", tracked) for tracked in known]
    sent = message(items, BLOCKED)
    dim = next(t.incident for t in known if t.incident.root == "dim")
    assert sent.subject == "Clearwater: 3 incidents: 2 opened, 1 closed"
    assert sent.is_bad
    assert sent.text.splitlines()[0] == "OPENED critical: dim: dim_ok fails"
    assert f"clearwater incidents show {dim.id}" in sent.text
    assert "CLOSED, was: old: old_ok fails" in sent.text
    assert "Run r1: blocked; release rel1 is served" in sent.text
    assert "Report: /data/cw/reports/r1/index.html" in sent.text
    assert "Ada" not in sent.text


def test_message_of_one_incident_says_it_in_its_subject() -> None:
    known = taken_on((0, BAD))
    assert message([News("opened", known[0])], BLOCKED).subject == (
        "Clearwater: fct: fct_ok fails – opened"
    )
    over = message([News("closed", taken_on((0, BAD), (1, WELL))[0])], BLOCKED)
    assert not over.is_bad
    assert "ack ID" not in over.text


def test_message_of_many_stays_short() -> None:
    items = [News("opened", t) for t in taken_on((0, failing(*(f"t{n}" for n in range(50)))))]
    text = message(items, BLOCKED).text
    assert text.count("OPENED") == alerts.SHOWN
    assert "and 30 more: clearwater incidents" in text


# -- to whom ----------------------------------------------------------------------------------


def test_receivers_come_from_the_environment_and_are_named_without_their_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    urls = (
        f"jsons://me:{SECRET}@Hooks.example.org:8443/{SECRET}?to=a@x.org,b@x.org,"
        f" slack://T{SECRET}/B{SECRET}/c{SECRET}/#ops\n"
        f"mailtos://me:{SECRET}@example.org,slack://T2/B2/C2"
        f" https://hooks.slack.com/services/{SECRET} {SECRET}"
    )
    found = receivers(urls)
    assert [receiver.name for receiver in found] == [
        "jsons://hooks.example.org",
        "slack://",
        "mailtos://example.org",
        "slack:// (2)",
        "https://hooks.slack.com",
    ]
    assert found[0].url.endswith("?to=a@x.org,b@x.org")
    assert SECRET not in repr(found)
    for odd in (f"json://{SECRET}:a#b@host/x", f"json://{SECRET}/b@host", f"json://[{SECRET}"):
        assert [receiver.name for receiver in receivers(odd)] == ["json://"]
    assert repr(receivers(SECRET)) == "[Receiver((no address))]"
    assert receivers("") == []


# -- sending ----------------------------------------------------------------------------------


@dataclass
class Web:
    """A server that keeps what is posted to it; `answer` decides the status."""

    address: str
    posts: list[tuple[str, Any]] = field(default_factory=list)
    answer: Callable[[], int] = lambda: 200


@pytest.fixture
def web() -> Iterator[Web]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.posts.append((self.path, json.loads(body)))
            self.send_response(kept.answer())
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept = Web(f"127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield kept
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "PAUSE_SECONDS", 0.01)


OPENED = message([News("opened", taken_on((0, BAD))[0])], BLOCKED)


def sent_to(url: str) -> str | None:
    """The problem of sending a message there, if there was one."""
    receiver = Receiver("it", url)
    return deliver({receiver: OPENED}).get(receiver)


def test_webhook_gets_the_message(web: Web) -> None:
    assert sent_to(f"json://me:{SECRET}@{web.address}/hook") is None
    [(path, posted)] = web.posts
    assert (path, posted["type"]) == ("/hook", "failure")
    assert (posted["title"], posted["message"]) == (OPENED.subject, OPENED.text)
    assert "apprise" not in json.dumps(posted).lower()


def test_slack_gets_the_message(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    from apprise.plugins.slack import NotifySlack

    monkeypatch.setattr(NotifySlack, "webhook_url", f"http://{web.address}/services")
    assert sent_to("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#ops") is None
    [(path, posted)] = web.posts
    assert path == "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    assert posted["channel"] == "#ops"
    [shown] = posted["attachments"]
    assert shown["title"] == OPENED.subject
    assert shown["text"] == OPENED.text
    assert not [value for value in walk(posted) if "apprise" in value.lower()]
    assert not [value for value in walk(posted) if "://" in value]


def walk(value: Any) -> Iterator[str]:
    """All text within."""
    if isinstance(value, dict):
        for below in value.values():
            yield from walk(below)
    elif isinstance(value, list):
        for below in value:
            yield from walk(below)
    elif isinstance(value, str):
        yield value


def test_mailbox_gets_the_message_as_plain_text() -> None:
    got: list[Any] = []

    class Handler:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            got.append(envelope)
            return "250 OK"

    mailbox = Controller(Handler(), hostname="127.0.0.1", port=free_port())
    mailbox.start()
    try:
        url = f"mailto://127.0.0.1:{mailbox.port}?from=cw@example.org&to=ops@example.org"
        assert sent_to(url) is None
    finally:
        mailbox.stop()
    [envelope] = got
    assert envelope.rcpt_tos == ["ops@example.org"]
    mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
    assert mail["Subject"] == OPENED.subject
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().strip().splitlines() == OPENED.text.splitlines()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def test_receiver_that_fails_at_first_is_tried_again(web: Web) -> None:
    codes = iter([503, 200])
    web.answer = lambda: next(codes)
    assert sent_to(f"json://{web.address}") is None
    assert len(web.posts) == 2


def test_receiver_that_is_down_is_told_without_a_word_of_its_address(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    problem = sent_to(f"json://me:{SECRET}@127.0.0.1:{free_port()}/{SECRET}?key={SECRET}")
    assert problem == "it did not answer, or did not take the message"
    assert "none that apprise knows" in str(sent_to(f"nosuch://{SECRET}"))
    assert "none that apprise knows" in str(sent_to(SECRET))
    assert "none that apprise knows" in str(sent_to(f"slack://{SECRET}"))
    shown = capfd.readouterr()
    assert SECRET not in shown.out + shown.err + caplog.text
    assert logging.getLogger("apprise").getEffectiveLevel() > logging.CRITICAL


def test_receiver_that_never_answers_holds_up_nobody_for_long(
    monkeypatch: pytest.MonkeyPatch, web: Web
) -> None:
    monkeypatch.setattr(alerts, "SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        slow = Receiver("slow", f"json://127.0.0.1:{silent.getsockname()[1]}")
        quick = Receiver("quick", f"json://{web.address}")
        started = time.monotonic()
        problems = deliver({slow: OPENED, quick: OPENED})
        took = time.monotonic() - started
    assert took < alerts.TIMEOUT_SECONDS
    assert problems == {slow: "no answer within 0 s"}
    assert len(web.posts) == 1
