"""The entries of `schedule:` in sources.yml: when the pipeline, or a source alone, is run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, model_validator

from warehouse.configuration import SPAN, duration
from warehouse.wording import nearest

CRON_FIELDS = 5
LONGEST = timedelta(days=366)
DAY = timedelta(days=1)
LOOK = timedelta(minutes=1)
UNITS = (("d", DAY), ("h", timedelta(hours=1)), ("m", timedelta(minutes=1)))
TRIGGERS = ("cron", "every", "when")


def zone(name: str) -> tzinfo:
    """The time zone of an IANA name. Raises ValueError when there is none."""
    if name == "UTC":  # known even where the system has no time zones at all
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a folder of zones, or a path, is no zone
        near = _nearest_zone(name)
        known = f"did you mean {near!r}?" if near else "use one such as Europe/Berlin"
        raise ValueError(f"there is no time zone {name!r}; {known}") from None


def _nearest_zone(name: str) -> str:
    known = sorted(available_timezones())
    place = name.replace(" ", "_").lower()
    of_place = (zone for zone in known if zone.lower().rpartition("/")[2] == place)
    return next(of_place, "") or nearest(name, known)


def span_text(span: timedelta) -> str:
    """The span as sources.yml has it, such as 90s, 15m or 1d."""
    unit, length = next((u for u in UNITS if not span % u[1]), ("s", timedelta(seconds=1)))
    return f"{span // length}{unit}"


def _known_zone(name: str) -> str:
    zone(name)
    return name


def _cron(text: str) -> str:
    if len(text.split()) != CRON_FIELDS:
        problem = "it has not five fields"
    else:
        try:
            next(CronSim(text, datetime(2000, 1, 1, tzinfo=UTC)))
            return " ".join(text.split())
        except CronSimError as error:
            problem = str(error).lower()
        except StopIteration:
            problem = "that day never comes"
    raise ValueError(
        f"{text!r} is no cron schedule ({problem}); give minute, hour, day, month and weekday,"
        " such as '0 6 * * *'"
    )


def _span(value: Any) -> timedelta:
    try:
        span = duration(str(value))
    except (ValueError, OverflowError):
        raise ValueError(f"{value!r} is {SPAN}") from None
    if span > LONGEST:
        raise ValueError(f"{value!r} is more than {span_text(LONGEST)}")
    return span


Span = Annotated[timedelta, BeforeValidator(_span)]


class ScheduleEntry(BaseModel):
    """One schedule: a cron expression, a span, or new files that are looked for every `check`.

    Spans of whole days are days of the time zone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cron: Annotated[str, AfterValidator(_cron)] | None = None
    every: Span | None = None
    when: Literal["new files"] | None = None
    check: Span = LOOK
    timezone: Annotated[str, AfterValidator(_known_zone)] = "UTC"

    @model_validator(mode="after")
    def _one_trigger_with_its_keys(self) -> ScheduleEntry:
        given = [name for name in TRIGGERS if getattr(self, name) is not None]
        if len(given) != 1:
            told = " and ".join(f"`{name}`" for name in given) or "none of them"
            raise ValueError(f"give one of `cron`, `every` and `when`, not {told}")
        if "check" in self.model_fields_set and self.when is None:
            raise ValueError("`check` goes with `when: new files`")
        has_days = self.cron is not None or (self.every is not None and not self.every % DAY)
        if "timezone" in self.model_fields_set and not has_days:
            raise ValueError("`timezone` goes with `cron`, and with `every` of whole days")
        return self


def _listed(value: Any) -> Any:
    """One schedule as a list of one."""
    entries = [value] if isinstance(value, dict) else value
    if not isinstance(entries, list | tuple) or not all(
        isinstance(entry, dict | ScheduleEntry) for entry in entries
    ):
        raise ValueError(
            'give it as {cron: "0 6 * * *"}, {every: 15m} or {when: new files}, or as a list of'
            " such"
        )
    return entries


ScheduleEntries = Annotated[tuple[ScheduleEntry, ...], BeforeValidator(_listed)]
