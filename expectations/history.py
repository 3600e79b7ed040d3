"""The memory of profiles: what batches and tables looked like, and which shifts were accepted.

It lives in the state database and may be lost: then the past is learnt anew, and nothing is
claimed until there is enough of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import duckdb
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Engine,
    RowMapping,
    Select,
    String,
    Table,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError

from expectations.profiling import Name, Profile
from warehouse.errors import without_values
from warehouse.settings import Settings
from warehouse.state import metadata, open_state, prepare, said

_profiles = Table(
    "profiles",
    metadata,
    Column("subject", String, primary_key=True),
    Column("slice", String, primary_key=True),
    Column("at", DateTime, nullable=False),
    Column("noted_at", DateTime, nullable=False),
    Column("run_id", String, nullable=False),
    Column("profile", JSON, nullable=False),
)
_shifts = Table(
    "shifts",
    metadata,
    Column("subject", String, primary_key=True),
    Column("slice", String, primary_key=True),
    Column("at", DateTime, nullable=False),
    Column("noted_at", DateTime, nullable=False),
    Column("names", JSON, nullable=False),
    Column("told", String, nullable=False),
    Column("is_accepted", Boolean, nullable=False),
    Column("stops", Boolean),
)
# Of how many slices of a subject the profile is kept, the newest.
KEPT = 400


@dataclass(frozen=True)
class Shift:
    """In what a batch, a day or a run was unlike before; `names` are what was so.

    `at` is when its rows are of. It `stops` it, or was only told. Once it is accepted it is neither
    stopped nor told, and its level is learnt.
    """

    subject: str
    slice: str
    at: datetime
    names: tuple[Name, ...]
    told: str
    is_accepted: bool
    stops: bool = True


class History:
    """The profiles and shifts of one CLEARWATER_HOME; see `open_history`.

    A subject is a table, of the lake (`raw_shop.orders`) or published. `lag` says why something
    could not be read or written: that fails no run.
    """

    def __init__(self, engine: Engine) -> None:
        self.lag: str | None = None
        self._engine = engine
        with self.told():
            prepare(engine, _profiles, _shifts)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Let an error of a database, ours or DuckDB, be a lag."""
        try:
            yield
        except DBAPIError as error:
            self.lag = said(error)
        except duckdb.Error as error:
            self.lag = without_values(str(error)).partition("\n")[0]

    def _read(self, query: Select[Any]) -> list[RowMapping]:
        rows: list[RowMapping] = []
        with self.told(), self._engine.connect() as con:
            rows.extend(con.execute(query).mappings())
        return rows

    def subjects(self) -> list[str]:
        """Every table of which a profile is kept, by name."""
        query = select(_profiles.c.subject).distinct().order_by(_profiles.c.subject)
        return [row["subject"] for row in self._read(query)]

    def profiles(self, subject: str, newest: int) -> dict[str, Profile]:
        """The newest profiles of a subject by slice, oldest first."""
        query = (
            select(_profiles.c.slice, _profiles.c.profile)
            .where(_profiles.c.subject == subject)
            .order_by(_profiles.c.at.desc(), _profiles.c.slice.desc())
            .limit(newest)
        )
        rows = self._read(query)
        return {row["slice"]: Profile.from_json(row["profile"]) for row in reversed(rows)}

    def keep(self, subject: str, run_id: str, profiles: Mapping[str, Profile]) -> None:
        """Keep the profiles by slice, in the place of earlier ones of the same slices."""
        if not profiles:
            return
        noted_at = datetime.now(UTC).replace(tzinfo=None)
        rows = [
            {
                "subject": subject,
                "slice": slice_,
                "at": profile.at,
                "noted_at": noted_at,
                "run_id": run_id,
                "profile": profile.to_json(),
            }
            for slice_, profile in profiles.items()
        ]
        of_subject = _profiles.c.subject == subject
        oldest = (
            select(_profiles.c.at).where(of_subject).order_by(_profiles.c.at.desc()).offset(KEPT)
        ).limit(1)
        with self.told(), self._engine.begin() as con:
            con.execute(delete(_profiles).where(of_subject, _profiles.c.slice.in_(profiles)))
            con.execute(insert(_profiles), rows)
            last = con.execute(oldest).scalar()
            if last is not None:
                con.execute(delete(_profiles).where(of_subject, _profiles.c.at <= last))

    def shifts(self, subject: str) -> list[Shift]:
        """What was unlike before, accepted or not, oldest first."""
        query = select(_shifts).where(_shifts.c.subject == subject).order_by(_shifts.c.at)
        return [_shift(row) for row in self._read(query)]

    def open_shifts(self) -> list[Shift]:
        """The shifts that nobody has accepted, oldest first: those that stop, and those told."""
        query = select(_shifts).where(~_shifts.c.is_accepted).order_by(_shifts.c.noted_at)
        return [_shift(row) for row in self._read(query)]

    def waiting(self) -> list[Shift]:
        """Those of them that stop a batch, a day or a run."""
        return [shift for shift in self.open_shifts() if shift.stops]

    def loaded(self, subject: str) -> list[tuple[Shift, Profile, datetime]]:
        """The accepted shifts of batches that were loaded since, with when they were (UTC)."""
        both = (_shifts.c.subject == _profiles.c.subject) & (_shifts.c.slice == _profiles.c.slice)
        query = (
            select(_shifts, _profiles.c.profile, _profiles.c.noted_at.label("loaded_at"))
            .join(_profiles, both)
            .where(_shifts.c.subject == subject, _shifts.c.is_accepted)
        )
        return [
            (_shift(row), Profile.from_json(row["profile"]), row["loaded_at"])
            for row in self._read(query)
        ]

    def note(self, shift: Shift) -> None:
        """Note how a slice is unlike before, in the place of what was noted of it before."""
        same = (_shifts.c.subject == shift.subject) & (_shifts.c.slice == shift.slice)
        with self.told(), self._engine.begin() as con:
            con.execute(delete(_shifts).where(same))
            con.execute(
                insert(_shifts).values(
                    subject=shift.subject,
                    slice=shift.slice,
                    at=shift.at,
                    noted_at=datetime.now(UTC).replace(tzinfo=None),
                    names=[list(name) for name in shift.names],
                    told=shift.told,
                    is_accepted=shift.is_accepted,
                    stops=shift.stops,
                )
            )

    def forget(self, subject: str, slices: Iterable[str]) -> None:
        """Forget shifts of slices that are no more unlike before, but accepted ones."""
        gone = (_shifts.c.subject == subject) & _shifts.c.slice.in_(list(slices))
        with self.told(), self._engine.begin() as con:
            con.execute(delete(_shifts).where(gone & ~_shifts.c.is_accepted))

    def accept(self, shifts: Sequence[Shift]) -> None:
        """Let these shifts be the new level."""
        self._set(shifts, is_accepted=True)

    def take_back(self, shifts: Sequence[Shift]) -> None:
        """Let these shifts, of `unused`, wait again."""
        self._set(shifts, is_accepted=False)

    def unused(self) -> list[Shift]:
        """The accepted shifts of whose subjects no profile was kept since, oldest first."""
        since = (_profiles.c.subject == _shifts.c.subject) & (
            _profiles.c.noted_at > _shifts.c.noted_at
        )
        query = (
            select(_shifts)
            .where(_shifts.c.is_accepted, ~select(_profiles.c.slice).where(since).exists())
            .order_by(_shifts.c.noted_at)
        )
        return [_shift(row) for row in self._read(query)]

    def _set(self, shifts: Sequence[Shift], *, is_accepted: bool) -> None:
        noted_at = datetime.now(UTC).replace(tzinfo=None)
        with self.told(), self._engine.begin() as con:
            for shift in shifts:
                same = (_shifts.c.subject == shift.subject) & (_shifts.c.slice == shift.slice)
                con.execute(
                    update(_shifts).where(same).values(is_accepted=is_accepted, noted_at=noted_at)
                )


def accepted(shifts: Iterable[Shift]) -> dict[Name, list[datetime]]:
    """By name, the times of the slices whose level was accepted."""
    found: dict[Name, list[datetime]] = {}
    for shift in shifts:
        if shift.is_accepted:
            for name in shift.names:
                found.setdefault(name, []).append(shift.at)
    return found


def _shift(row: RowMapping) -> Shift:
    return Shift(
        subject=row["subject"],
        slice=row["slice"],
        at=row["at"],
        names=tuple((column, metric) for column, metric in row["names"]),
        told=row["told"],
        is_accepted=row["is_accepted"],
        stops=row["stops"] is not False,
    )


@contextmanager
def open_history(settings: Settings) -> Iterator[History]:
    """The history, closed after the block."""
    with open_state(settings) as engine:
        yield History(engine)
