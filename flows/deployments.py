"""The schedules as the Prefect server shows them: a deployment each, which may be paused there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from flows.prefect_api import Api, Json
from flows.schedules import ANCHOR, PIPELINE, Cron, Every, Schedule, declared, trigger_of
from warehouse.schedule_entries import DAY, ScheduleEntry, span_text
from warehouse.settings import Settings

HOURLY = Cron("0 * * * *")  # where nothing is declared
TAGS = ["clearwater"]
PARAMETERS = {
    "type": "object",
    "properties": {
        "only": {
            "type": "array",
            "items": {"type": "string"},
            "title": "only",
            "description": "The sources to look at; all of them if there is none.",
            "default": [],
            "position": 0,
        },
        "full_refresh": {
            "type": "boolean",
            "title": "full_refresh",
            "description": "Build every model in full.",
            "default": False,
            "position": 1,
        },
    },
}


def in_force(settings: Settings, sources: Path, cron: str | None) -> list[Schedule]:
    """The schedules that the worker goes by: this one, or those declared, or hourly if none is.

    Raises ConfigurationError for what the sources file cannot declare.
    """
    if cron:
        return [Schedule(PIPELINE, (), Cron(cron))]
    return declared(sources, settings) or [Schedule(PIPELINE, (), HOURLY)]


@dataclass(frozen=True)
class Deployment:
    """A schedule's deployment on the server: `is_active` unless somebody has paused it there."""

    id: str
    schedule: Schedule
    is_active: bool


def put(api: Api, wanted: Sequence[Schedule]) -> None:
    """Make the server show these schedules and no other; what is paused there stays paused."""
    there = {told["name"]: told for told in api.deployments()}
    flow = api.flow_id()
    for schedule in wanted:
        body, known = _body(flow, schedule), there.pop(schedule.name, None)
        if known is None or not _is_as(known, body):
            is_paused = known is not None and known["tags"] == TAGS and not _is_active(known)
            api.put_deployment(body | {"paused": is_paused})
    for told in there.values():
        api.delete_deployment(told["id"])


def read(api: Api, wanted: Iterable[Schedule]) -> dict[str, Deployment]:
    """The deployments of these schedules, as far as the server has them, by name."""
    there = {told["name"]: told for told in api.deployments()}
    return {
        schedule.name: Deployment(
            there[schedule.name]["id"], schedule, _is_active(there[schedule.name])
        )
        for schedule in wanted
        if schedule.name in there
    }


def shown(api: Api) -> list[Deployment]:
    """All deployments that the server has, with the schedules that `put` gave them.

    Raises ValueError, TypeError or LookupError for what `put` has not made.
    """
    return [
        Deployment(
            told["id"],
            Schedule(told["name"], tuple(told["parameters"]["only"]), trigger_of(_entry(told))),
            _is_active(told),
        )
        for told in api.deployments()
    ]


def _entry(told: Json) -> ScheduleEntry:
    """The entry of the sources file that the deployment was made from."""
    if not told["schedules"]:
        check = told["description"].rpartition("(every ")[2].rstrip(").")
        return ScheduleEntry.model_validate({"when": "new files", "check": check})
    schedule = told["schedules"][0]["schedule"]
    if schedule.get("cron"):
        return ScheduleEntry(cron=schedule["cron"], timezone=schedule["timezone"])
    span = timedelta(seconds=schedule["interval"])
    local = {} if span % DAY else {"timezone": schedule["timezone"]}
    return ScheduleEntry.model_validate({"every": span_text(span), **local})


def _is_active(told: Json) -> bool:
    turned_on = [each["active"] for each in told["schedules"]]
    return not told["paused"] and (any(turned_on) or not turned_on)


def _body(flow: str, schedule: Schedule) -> Json:
    only = list(schedule.only)
    return {
        "name": schedule.name,
        "flow_id": flow,
        "description": f"Runs {', '.join(only) or 'all sources'}: {schedule.trigger}.",
        "schedules": _schedules(schedule),
        "parameters": {"only": only, "full_refresh": False},
        "parameter_openapi_schema": PARAMETERS,
        "enforce_parameter_schema": True,
        "tags": TAGS,
    }


def _schedules(schedule: Schedule) -> list[Json]:
    trigger = schedule.trigger
    if isinstance(trigger, Cron):
        told: dict[str, Any] = {"cron": trigger.expression, "timezone": trigger.timezone}
    elif isinstance(trigger, Every):
        is_days = not trigger.span % timedelta(days=1)
        anchor = ANCHOR.replace(tzinfo=ZoneInfo(trigger.timezone)) if is_days else ANCHOR
        told = {
            "interval": trigger.span.total_seconds(),
            "anchor_date": anchor.isoformat(),
            "timezone": trigger.timezone,
        }
    else:
        return []  # the worker looks for new files itself
    return [{"schedule": told, "active": True}]


def _is_as(known: Json, wanted: Json) -> bool:
    """Whether the deployment needs no change: one would drop what it has planned and its pause."""
    same = all(known[name] == wanted[name] for name in ("description", "parameters", "tags"))
    there = [_plain(each["schedule"]) for each in known["schedules"]]
    return same and there == [_plain(each["schedule"]) for each in wanted["schedules"]]


def _plain(schedule: Json) -> tuple[Any, ...]:
    return tuple(schedule.get(name) for name in ("cron", "interval", "timezone"))
