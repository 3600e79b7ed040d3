"""`clearwater status`: in one screen what is served, how each source stands, and what waits."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.commands import incidents
from flows.options import Home, Json, home_option, print_json, say
from warehouse.errors import StateError
from warehouse.settings import load_settings
from warehouse.wording import accept_command, byte_size, counted

if TYPE_CHECKING:
    from expectations.lag import Lag
    from flows.overview import Disk, Overview, SourceState
    from warehouse.domains import Line
    from warehouse.waiting import Waiting

WIDTH = 80
SHOWN_RUNS = 5
SHOWN_WAITING = 3
LONGEST_NAME = 24
KINDS = 3
LATE = "LATE"
RED, PLAIN = "\x1b[31m", "\x1b[0m"


def status(home: Home = None, as_json: Json = False) -> None:
    """The release served, each source's last news and next run, what waits, disk and last runs.

    Example: clearwater status
    """
    from flows.overview import overview

    settings = load_settings(home)
    seen = overview(settings)
    stale: dict[str, str] = {}
    counts, told = None, ""
    try:
        stale, counts = incidents.stale_told(settings), incidents.open_counts(settings)
        told = incidents.open_told(settings, home)
    except StateError as error:
        if not any(isinstance(other, StateError) for other in seen.unread):
            seen = replace(seen, unread=(*seen.unread, error))
    if as_json:
        print_json(_as_json(seen) | {"stale": stale, "incidents": counts})
        return
    for line in _top(seen):
        say(line)
    if told:
        say(f"incidents {told}")
    for line in [*_sources(seen), *_waiting(seen.waiting, home), *_stale(stale), *_runs(seen)]:
        say(line)


def _top(seen: Overview) -> Iterator[str]:
    yield f"home      {seen.home}"
    for error in seen.unread:
        yield f"unread    {error.where}: {error.what}"
    serving = seen.release
    if serving is None:
        yield "release   none yet"
    else:
        age = span(seen.at - datetime.fromisoformat(serving.created_at))
        yield f"release   {serving.id} ({serving.verdict}), {age} old"
        for name, line in serving.lines.items() if len(serving.lines) > 1 else ():
            yield cut(f"            {name}: {_told_line(line)}")
    if seen.held:
        yield f"held      at {seen.held} after a rollback; `clearwater resume` goes on"
    yield from _server(seen)
    if seen.ahead:
        yield f"clock     set back: it is before {seen.ahead:%Y-%m-%d %H:%M} UTC, the newest known"
    yield from _disk(seen.disk)


def _server(seen: Overview) -> Iterator[str]:
    info, standing = seen.server.info, seen.server.standing
    if info is None:
        yield "server    not running, so that nothing runs by itself; `clearwater up` starts it"
    elif standing == "up":
        yield f"server    {info.url}"
    else:
        yield f"server    {standing}: {info.url} does not answer yet"
    if seen.schedules_problem:
        yield cut(f"schedules {seen.schedules_problem}")


def _told_line(line: Line) -> str:
    if line.release is None:
        return f"not published yet: {line.held}"
    if line.held:
        since = f"release {line.release} (lake snapshot {line.lake_snapshot})"
        return f"stays as in {since}: {line.held}"
    return f"{line.verdict}, lake snapshot {line.lake_snapshot}"


def _disk(disk: Disk | None) -> Iterator[str]:
    if disk is None:
        return
    largest = sorted(disk.bytes.items(), key=lambda item: -item[1])
    shown = [f"{name} {byte_size(size)}" for name, size in largest[:KINDS] if size]
    parts = f" ({', '.join(shown)})" if shown else ""
    used = f"{byte_size(sum(disk.bytes.values()))}{parts}, " if disk.bytes else ""
    yield f"disk      {used}{byte_size(disk.free)} free"
    if freed := sum(disk.prunable.values()):
        yield f"            `clearwater prune` would free {byte_size(freed)}"


def _sources(seen: Overview) -> Iterator[str]:
    from flows.printing import table_text

    if not seen.sources:
        return
    headings = ["source", "run ago", "ended", "news ago", "lag", "next in"]
    text = table_text(headings, [_source_row(seen, source) for source in seen.sources])
    yield ""
    yield _red(text) if _is_coloured() else text


def _source_row(seen: Overview, source: SourceState) -> list[str]:
    looked, news = source.looked_at, source.news_at
    return [
        cut(source.name, LONGEST_NAME),
        span(seen.at - looked) if looked else "",
        source.ended or "",
        span(seen.at - news) if news else "",
        _told_lag(source.lag),
        span(source.next_at - seen.at) if source.next_at else cut(source.due or "", 9),
    ]


def _told_lag(lag: Lag | None) -> str:
    """How old the newest is, of how much was promised, or beside what is usual."""
    if lag is None:
        return ""
    told = span(lag.age)
    if lag.promised is not None:
        told += f" of {span(lag.promised)}" if lag.rule_id else f", usual {span(lag.promised)}"
    return f"{told} {LATE}" if lag.is_late else told


def _waiting(waits: Waiting, home: Path | None) -> Iterator[str]:
    if waits.problem:
        yield ""
        yield cut(f"lake      cannot be read: {waits.problem}")
    if waits.rows or waits.refused:
        yield ""
    for name, rows in list(waits.rows.items())[:SHOWN_WAITING]:
        yield f"waiting   {name}: {counted(rows, 'row')} in quarantine"
    if waits.rows:
        more = len(waits.rows) - SHOWN_WAITING
        others = f"            and of {counted(more, 'other source')}\n" if more > 0 else ""
        one = f" {next(iter(waits.rows))}" if len(waits.rows) == 1 else ""
        yield f"{others}            clearwater quarantine list{one}{home_option()}"
    yield from _refused(waits, home)


def _refused(waits: Waiting, home: Path | None) -> Iterator[str]:
    for batch in waits.refused[:SHOWN_WAITING]:
        yield cut(f"refused   {batch.source}: {batch.file}: {batch.reason}")
        if batch.is_unlike:
            command = accept_command(batch.source, batch.file, home)
            yield f"            if it is meant so: {command}"
    if len(waits.refused) > SHOWN_WAITING:
        more = counted(len(waits.refused) - SHOWN_WAITING, "file")
        yield f"            and {more} more; --json has them all"
    if waits.refused:
        others = "" if all(batch.is_unlike for batch in waits.refused) else ", or sources.yml"
        yield f"            each run tries them again; correct the file{others}"


def _stale(stale: dict[str, str]) -> Iterator[str]:
    for name, text in stale.items():
        yield cut(f"stale     {name}: {text}")


def _runs(seen: Overview) -> Iterator[str]:
    from flows.printing import table_text

    if seen.runs:
        yield ""
        headings = ["run", "started (UTC)", "took", "status", "release"]
        yield table_text(headings, [_run_row(seen.at, run) for run in seen.runs[:SHOWN_RUNS]])


def _run_row(now: datetime, run: dict[str, Any]) -> list[str]:
    started, ended = run["started_at"], run["ended_at"]
    if run["status"] == "running":
        ended = now.replace(tzinfo=None)
    return [
        run["run_id"],
        f"{started:%Y-%m-%d %H:%M}",
        span(ended - started) if ended else "",
        run["status"],
        run["release"] or "",
    ]


def span(length: timedelta) -> str:
    """A span in the largest unit that it fills twice: `90 s`, `12 min`, `30 h`, `3 days`."""
    seconds = max(0, int(length.total_seconds()))
    for size, unit in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size:,} {unit}"
    return f"{seconds} s"


def cut(text: str, width: int = WIDTH) -> str:
    """The text in one line of so many characters."""
    line = text.replace("\n", " ")
    return line if len(line) <= width else f"{line[: width - 1]}…"


def _is_coloured() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def _red(text: str) -> str:
    return re.sub(rf"\b{LATE}\b", f"{RED}{LATE}{PLAIN}", text)


def _as_json(seen: Overview) -> dict[str, Any]:
    from warehouse.releases import told_lines

    serving, info = seen.release, seen.server.info
    return {
        "home": str(seen.home),
        "at": seen.at,
        "release": serving.id if serving else None,
        "verdict": serving.verdict if serving else None,
        "published_at": serving.created_at if serving else None,
        "domains": told_lines(serving) if serving else {},
        "held": seen.held,
        "server": info.url if info and seen.server.standing == "up" else None,
        "server_standing": seen.server.standing,
        "schedules_problem": seen.schedules_problem or None,
        "clock_before": seen.ahead,
        "sources": [_source_as_json(source) for source in seen.sources],
        "waiting": {
            "quarantined": seen.waiting.rows,
            "refused": [asdict(batch) for batch in seen.waiting.refused],
            "problem": seen.waiting.problem,
        },
        "disk": asdict(seen.disk) if seen.disk else None,
        "runs": [_run_as_json(run) for run in seen.runs[: 2 * SHOWN_RUNS]],
        "unread": [{"what": error.what, "where": error.where} for error in seen.unread],
    }


def _run_as_json(run: dict[str, Any]) -> dict[str, Any]:
    """The ledger's times are in UTC, and do not say so."""
    times = {name: run[name] for name in ("started_at", "ended_at")}
    return run | {name: at and at.replace(tzinfo=UTC) for name, at in times.items()}


def _source_as_json(source: SourceState) -> dict[str, Any]:
    """Spans in seconds."""
    told = {name: value for name, value in vars(source).items() if name != "lag"}
    lag = source.lag
    told["lag"] = lag and {
        "seconds": lag.age.total_seconds(),
        "promised_seconds": lag.promised.total_seconds() if lag.promised else None,
        "rule_id": lag.rule_id,
        "is_late": lag.is_late,
    }
    return told
