"""Incidents and their alerts in the state database: may be lost, and then they open anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Engine,
    Integer,
    String,
    Table,
    TypeDecorator,
    delete,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError

from warehouse.settings import Settings
from warehouse.state import metadata, open_state, prepare, unusable


class UtcDateTime(TypeDecorator[datetime]):
    """A time of UTC, which SQLite keeps without its zone."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """The time as it is kept."""
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """The time with its zone."""
        return value and value.replace(tzinfo=UTC)


incidents = Table(
    "incidents",
    metadata,
    Column("id", String, primary_key=True),
    Column("title", String, nullable=False),
    Column("severity", String, nullable=False),
    Column("root", String, nullable=False),
    Column("opened_at", UtcDateTime, nullable=False),
    Column("last_seen_at", UtcDateTime, nullable=False),
    Column("closed_at", UtcDateTime),
    Column("runs", Integer, nullable=False),
    Column("acknowledged_by", String, nullable=False),
    Column("acknowledged_at", UtcDateTime),
    Column("note", String, nullable=False),
    Column("symptoms", JSON, nullable=False),
    Column("worst", Integer, nullable=False),
    Column("reopenings", Integer, nullable=False),
    Column("news_at", UtcDateTime),
    Column("kinds", JSON),
    Column("news", Integer),
)
alerts = Table(
    "incident_alerts",
    metadata,
    Column("incident_id", String, primary_key=True),
    Column("receiver", String, primary_key=True),
    Column("is_open", Boolean, nullable=False),
    Column("weight", Integer, nullable=False),
    Column("news", Integer),
)
# A person writes these, and may while a run is at work.
ACKNOWLEDGEMENT = ("acknowledged_by", "acknowledged_at", "note")


class Told(NamedTuple):
    """What a receiver was told of an incident last: whether it is open, and how bad it is.

    `news` is how often something critical had begun in it by then.
    """

    is_open: bool
    weight: int
    news: int = 0


class IncidentLog:
    """The incidents of one CLEARWATER_HOME; see `open_incident_log`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        prepare(engine, incidents, alerts)

    def rows(self, *, closed_since: datetime | None = None) -> list[dict[str, Any]]:
        """The open incidents, those closed since then, and those still told as open.

        Without a time: all of them.
        """
        chosen = select(incidents).order_by(incidents.c.opened_at, incidents.c.id)
        if closed_since is not None:
            told = select(alerts.c.incident_id).where(alerts.c.is_open)
            chosen = chosen.where(
                or_(
                    incidents.c.closed_at.is_(None),
                    incidents.c.closed_at > closed_since,
                    incidents.c.id.in_(told),
                )
            )
        with self._engine.connect() as con:
            return [dict(row) for row in con.execute(chosen).mappings()]

    def save(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write the incidents in one transaction; what a person wrote of a known one stays."""
        with self._engine.begin() as con:
            for row in rows:
                values = {name: row[name] for name in row if name not in ACKNOWLEDGEMENT}
                same = update(incidents).where(incidents.c.id == row["id"])
                if con.execute(same.values(**values)).rowcount == 0:
                    con.execute(insert(incidents).values(**row))

    def acknowledge(self, incident_id: str, by: str, note: str, at: datetime) -> None:
        """Note who knows of the incident, as it has been until then."""
        with self._engine.begin() as con:
            con.execute(
                update(incidents)
                .where(incidents.c.id == incident_id)
                .values(
                    acknowledged_by=by,
                    acknowledged_at=at,
                    note=note,
                )
            )

    def told(self, receiver: str) -> dict[str, Told]:
        """What the receiver was told last, by incident."""
        chosen = select(alerts).where(alerts.c.receiver == receiver)
        with self._engine.connect() as con:
            found = con.execute(chosen).mappings().all()
        return {
            row["incident_id"]: Told(row["is_open"], row["weight"], row["news"] or 0)
            for row in found
        }

    def note_told(self, receiver: str, told: dict[str, Told]) -> None:
        """Note what the receiver has just been told, by incident."""
        with self._engine.begin() as con:
            for incident_id, state in told.items():
                same = (alerts.c.incident_id == incident_id) & (alerts.c.receiver == receiver)
                con.execute(delete(alerts).where(same))
                con.execute(
                    insert(alerts).values(
                        incident_id=incident_id, receiver=receiver, **state._asdict()
                    )
                )


@contextmanager
def open_incident_log(settings: Settings) -> Iterator[IncidentLog]:
    """The incident log, closed after the block. Raises StateError when it cannot be used."""
    with open_state(settings) as engine:
        try:
            yield IncidentLog(engine)
        except DBAPIError as error:
            raise unusable(settings, "the incidents cannot be read or noted", error) from None
