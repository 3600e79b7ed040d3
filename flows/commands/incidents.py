"""`clearwater incidents`: what is wrong now, one line for each root cause, and who knows of it."""

from __future__ import annotations

import difflib
import getpass
import shlex
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.options import Home, Json, print_json, say
from warehouse.settings import Settings, load_settings
from warehouse.wording import counted

if TYPE_CHECKING:
    from expectations.incidents import Incident

app = typer.Typer(help="What is wrong now, one line for each root cause, and who knows of it.")

SHOWN_CHARACTERS = 500

All = Annotated[bool, typer.Option("--all", help="Those that are closed, too.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The incident, as the list shows it.")]


@app.callback(invoke_without_command=True)
def incidents(
    ctx: typer.Context, every: All = False, home: Home = None, as_json: Json = False
) -> None:
    """The open incidents; the same as `clearwater incidents list`.

    Example: clearwater incidents
    """
    if ctx.invoked_subcommand is None:
        list_incidents(every, home, as_json)
    else:  # `incidents --home X show ID` means the same as `incidents show ID --home X`
        given = {"every": every, "home": home, "as_json": as_json}
        ctx.default_map = {ctx.invoked_subcommand: {k: v for k, v in given.items() if v}}


@app.command("list")
def list_incidents(every: All = False, home: Home = None, as_json: Json = False) -> None:
    """The open incidents, the critical ones first.

    Example: clearwater incidents list --all
    """
    found = _incidents(load_settings(home), with_closed=every)
    if as_json:
        print_json([asdict(incident) for incident in found])
    elif not found:
        say("there was never an incident" if every else "no incident is open")
    else:
        _print_list(found, home)


def _print_list(found: tuple[Incident, ...], home: Path | None) -> None:
    from flows.printing import table_text

    headings = ["id", "severity", "state", "opened", "runs", "symptoms", "what"]
    cells = [
        [
            incident.id,
            incident.severity,
            _state(incident),
            incident.opened_at.replace(microsecond=0),
            incident.runs,
            len(incident.symptoms),
            incident.title,
        ]
        for incident in found
    ]
    say(table_text(headings, cells))
    say("")
    say(f"what fails, and why: clearwater incidents show ID{_at(home)}")
    if any(incident.closed_at is None and not incident.acknowledged_by for incident in found):
        say(f"known, and no more alerts of it: clearwater incidents ack ID{_at(home)}")


def _at(home: Path | None) -> str:
    return f" --home {shlex.quote(str(home))}" if home else ""


def _state(incident: Incident) -> str:
    if incident.closed_at is not None:
        return "closed"
    return f"known to {incident.acknowledged_by}" if incident.acknowledged_by else "open"


@app.command()
def show(incident_id: Id, home: Home = None, as_json: Json = False) -> None:
    """One incident with all its symptoms.

    Example: clearwater incidents show 3f9c1a
    """
    incident = _chosen(load_settings(home), incident_id)
    if as_json:
        print_json(asdict(incident))
        return
    say(f"{incident.id}  {incident.severity}  {incident.title}")
    say(f"root      {incident.root}")
    say(f"opened    {_told_time(incident.opened_at)}")
    say(f"seen      {_told_time(incident.last_seen_at)}, in {counted(incident.runs, 'run')}")
    if incident.closed_at is not None:
        say(f"closed    {_told_time(incident.closed_at)}")
    if incident.acknowledged_at is not None:
        say(f"known to  {incident.acknowledged_by}, {_told_time(incident.acknowledged_at)}")
    if incident.acknowledged_before:
        say(f"was       {incident.acknowledged_before}")
    if incident.note:
        say(f"note      {incident.note}")
    say("")
    for symptom in incident.symptoms:
        say(f"{symptom.table}  {symptom.rule_id}")
        say(f"  {symptom.detail[:SHOWN_CHARACTERS]}")
    if incident.closed_at is None:
        say("")
        say("it closes itself with the first run that checks all this and finds it right")


@app.command()
def ack(
    incident_id: Id,
    note: Annotated[str, typer.Option("--note", help="What is done about it.")] = "",
    by: Annotated[
        str | None, typer.Option("--by", help="Who knows; else the system's user.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Say that somebody knows: nothing more is sent of it but its end, unless it gets worse.

    Example: clearwater incidents ack 3f9c1a --note "asked the vendor for a new file"
    """
    from warehouse.incident_log import open_incident_log

    settings = load_settings(home)
    incident = _chosen(settings, incident_id)
    if incident.closed_at is None:
        with open_incident_log(settings) as log:
            log.acknowledge(incident.id, by or _user(), note, datetime.now(UTC))
        incident = _chosen(settings, incident_id)
    if as_json:
        print_json(asdict(incident))
    elif incident.closed_at is None:
        say(f"{incident.id} is known to {incident.acknowledged_by}: {incident.title}")
    else:
        closed_at = _told_time(incident.closed_at)
        say(f"{incident.id} closed itself, {closed_at}: {incident.title}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "somebody"


def _told_time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _chosen(settings: Settings, incident_id: str) -> Incident:
    from warehouse.errors import ConfigurationError

    found = {incident.id: incident for incident in _incidents(settings, with_closed=True)}
    if incident_id not in found:
        near = difflib.get_close_matches(incident_id, found, n=1, cutoff=0.5)
        raise ConfigurationError(
            f"there is no incident {incident_id!r}",
            where="clearwater incidents",
            next_step=f"did you mean {near[0]}?" if near else "`clearwater incidents` lists them",
        )
    return found[incident_id]


def _incidents(settings: Settings, *, with_closed: bool) -> tuple[Incident, ...]:
    """The incidents in the order of their urgency; makes no state database."""
    from expectations.incidents import Tracked, in_order
    from warehouse.incident_log import open_incident_log
    from warehouse.state import state_exists

    if not state_exists(settings):
        return ()
    with open_incident_log(settings) as log:
        rows = log.rows()
    found = in_order(Tracked.from_row(row).incident for row in rows)
    return tuple(incident for incident in found if with_closed or incident.closed_at is None)


def open_counts(settings: Settings) -> dict[str, Any]:
    """How many incidents are open, and how many of these are critical and acknowledged."""
    found = _incidents(settings, with_closed=False)
    return {
        "open": len(found),
        "critical": sum(incident.severity == "critical" for incident in found),
        "acknowledged": sum(bool(incident.acknowledged_by) for incident in found),
    }


def stale_told(settings: Settings) -> dict[str, str]:
    """The sources from which nothing new came when a run looked last, with what it saw."""
    from expectations.incidents import stale_sources

    return stale_sources(_incidents(settings, with_closed=False))


def open_told(settings: Settings, home: Path | None) -> str:
    """The same in words, with the command that lists them; empty without any."""
    counts = open_counts(settings)
    if not counts["open"]:
        return ""
    parts = [f"{counts[name]} {name}" for name in ("critical", "acknowledged") if counts[name]]
    told = f" ({', '.join(parts)})" if parts else ""
    return f"{counts['open']} open{told}: clearwater incidents{_at(home)}"
