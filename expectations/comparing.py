"""Published tables compared with their own past: by the days of a time column, or by runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import duckdb

from expectations.anomalies import REMEMBERED, Anomaly, compare, default_measure, shape_floors
from expectations.anomaly_kinds import Accepted, family, kinds
from expectations.history import History, Shift, accepted
from expectations.learning import bounded, lacking, measure_of, options
from expectations.offenders import relation
from expectations.past import MIN_PAST, divergence
from expectations.profiling import Field, Profile, Scalar, profiles
from expectations.root_causes import Ancestors
from expectations.rules import Rule
from warehouse.duck import identifier
from warehouse.wording import counted

if TYPE_CHECKING:
    import duckdb

# Of the whole of a table; the days of a table are measured as closely as files are.
RUN_SAMPLE = 4_000


@dataclass(frozen=True)
class Unlike:
    """What a rule found: what stops the release, and what is only to be told.

    `kinds` are what kinds of the first there are, or else of the second, with what is told of each.
    """

    stopping: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    compared: str = ""
    kinds: tuple[tuple[str, str], ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing stops."""
        return not self.stopping


@dataclass
class _Table:
    """What is known of the slices of one table: earlier ones, and those to judge."""

    past: dict[str, Profile]
    new: dict[str, Profile]
    shifts: list[Shift]
    batches: list[Accepted] = field(default_factory=list)
    unlike: dict[str, list[Anomaly]] = field(default_factory=dict)
    meant: dict[str, list[Anomaly]] = field(default_factory=dict)
    stopped: set[str] = field(default_factory=set)

    def is_meant(self, rule: Rule, slice_: str, new: Profile, anomaly: Anomaly) -> bool:
        """Whether somebody accepted this: of the slice, or of a batch that it was made from."""
        kind = anomaly.name[0], family(anomaly.name)
        for shift in self.shifts:
            is_of_it = shift.slice == slice_ or (not rule.by and self._is_unseen(shift))
            if shift.is_accepted and is_of_it and kind in {(n[0], family(n)) for n in shift.names}:
                return True
        return rule.is_learned and any(
            batch.explains(anomaly.name) and (not rule.by or batch.has_day(new.at))
            for batch in self.batches
        )

    def _is_unseen(self, shift: Shift) -> bool:
        """Whether the run was blocked, and none was published since: the next one is like it."""
        return all(profile.at < shift.at for profile in self.past.values())


class Comparison:
    """Judges the rules that compare published tables of one build with their past."""

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        history: History,
        run_id: str,
        personal: Mapping[str, Iterable[str]],
        lineage: Mapping[str, Iterable[str]],
        served: Callable[[], duckdb.DuckDBPyConnection | None] = lambda: None,
    ) -> None:
        """`personal` are by table the columns of which no label is kept.

        `lineage` has the tables that each is made from, those of the lake included. `served` opens
        the release that is served, if there is one.
        """
        self._served = served
        self._con = con
        self._history = history
        self._run_id = run_id
        self._personal = {table: frozenset(names) for table, names in personal.items()}
        self._above = Ancestors(lineage)
        self._now = datetime.now(UTC).replace(tzinfo=None)
        self._tables: dict[tuple[str, str], _Table] = {}
        self._unlike: dict[str, Unlike] = {}

    def unlike(self, rule: Rule) -> Unlike:
        """What the rule finds of the slices that are new."""
        if rule.id not in self._unlike:
            self._unlike[rule.id] = self._judged(rule)
        return self._unlike[rule.id]

    def _judged(self, rule: Rule) -> Unlike:
        if rule.reference_table:
            return self._beside(rule)
        table = self._table(rule.table, rule.by)
        stopping: list[Anomaly] = []
        told: list[Anomaly] = []
        past = list(table.past.values())
        is_guarded = bool(self._personal.get(rule.table))
        for slice_, new in sorted(table.new.items(), key=lambda item: item[1].at):
            is_accepted = any(s.slice == slice_ and s.is_accepted for s in table.shifts)
            where = f"{slice_}: " if rule.by else ""
            for anomaly in _found(rule, past, new, table.shifts, is_guarded=is_guarded):
                if table.is_meant(rule, slice_, new, anomaly):
                    table.meant.setdefault(slice_, []).append(anomaly)
                    continue
                table.unlike.setdefault(slice_, []).append(anomaly)
                stops = anomaly.stops and not is_accepted
                (stopping if stops else told).append(replace(anomaly, told=where + anomaly.told))
                if stops and rule.severity == "critical":
                    table.stopped.add(slice_)
            if meant := table.meant.get(slice_):  # what comes after it is compared with its level
                table.shifts.append(_shift(_subject(rule.table, rule.by), slice_, new, meant, True))
            if slice_ not in table.stopped:  # from what was stopped nothing is learnt
                past.append(new)
        return Unlike(
            tuple(anomaly.told for anomaly in stopping),
            tuple(anomaly.told for anomaly in told),
            _compared(rule, table),
            kinds(stopping or told),
        )

    def finish(self, published: Collection[str]) -> None:
        """Remember the slices that nothing stops, and what stops the others.

        `published` are the tables that the verdict lets be published: each is remembered as a
        whole, by runs. Nothing is of the others.
        """
        for name in published:
            with self._history.told():
                self._table(name, "")
        for (name, by), table in self._tables.items():
            subject = _subject(name, by)
            before = self._history.shifts(subject)
            self._history.forget(subject, _outlived(table, before, by))
            for shift in _noted(table, before, subject):
                self._history.note(shift)
            mended = [slice_ for slice_ in table.new if slice_ not in table.stopped]
            if name in published:
                self._history.keep(
                    subject, self._run_id, {slice_: table.new[slice_] for slice_ in mended}
                )

    def _table(self, name: str, by: str) -> _Table:
        if (name, by) not in self._tables:
            subject = _subject(name, by)
            shifts = self._history.shifts(subject)
            past = self._history.profiles(subject, REMEMBERED)
            made = self._days(name, by, past) if by else self._whole(name)
            if by and not past:  # what is served, or what a table holds at first, is its past
                served = self._served_days(name, by)
                past = {day: made[day] for day in made if served is None or day in served}
                made = {day: made[day] for day in made if day not in past}
                self._history.keep(subject, self._run_id, past)
            batches = self._batches(name, by, past) if made else []
            self._tables[name, by] = _Table(past, made, shifts, batches)
        return self._tables[name, by]

    def _served_days(self, name: str, by: str) -> set[str] | None:
        """The days that the table has in the release that is served; None if it is not there."""
        con = self._served()
        if con is None:
            return None
        with closing(con), suppress(duckdb.CatalogException, duckdb.BinderException):
            sql = f"select distinct {identifier(by)}::date::varchar from {relation(name)}"
            return {row[0] for row in con.execute(sql).fetchall()}
        return None

    def _batches(self, name: str, by: str, past: Mapping[str, Profile]) -> list[Accepted]:
        """The batches above the table that were accepted; by runs those loaded since the last."""
        last = max((profile.at for profile in past.values()), default=datetime.min)  # noqa: DTZ901
        return [
            Accepted.of(shift.names, profile)
            for subject in sorted(self._above.of(name))
            for shift, profile, loaded_at in self._history.loaded(subject)
            if by or loaded_at > last
        ]

    def _days(self, name: str, by: str, past: Mapping[str, Profile]) -> dict[str, Profile]:
        """The profiles of the newest days that are not known yet."""
        day = f"{identifier(by)}::date"
        rows = self._con.execute(
            f"select distinct {day} from {relation(name)} where isfinite({identifier(by)})"
            f" order by 1 desc limit {REMEMBERED}"
        ).fetchall()
        days = [row[0] for row in rows if str(row[0]) not in past]
        if not days:
            return {}
        # A running scan is cheap where the days stand together, as new ones do.
        first, last = min(days), max(days) + timedelta(days=1)
        listed = ", ".join(f"date '{found}'" for found in days)
        source = (
            f"(select *, rowid as _row from {relation(name)} where {identifier(by)}"
            f" >= date '{first}' and {identifier(by)} < date '{last}' and {day} in ({listed}))"
        )
        at = {str(found): _midnight(found) for found in days}
        return profiles(self._con, source, self._fields(name), slices=day, at=at, order="_row")

    def _whole(self, name: str) -> dict[str, Profile]:
        fields = self._fields(name)
        made = profiles(
            self._con,
            relation(name),
            fields,
            slices="'run'",
            at={"run": self._now},
            sample=RUN_SAMPLE,
            in_short=True,
        )
        profile = made.get("run", Profile(self._now, 0))
        scalars = dict(profile.scalars)
        for column in self._columns(name):
            if column.kind == "time" and (newest := self._newest(name, column)):
                # Ages differ by factors: an hour late is nothing to a table that comes by months.
                seconds = max((self._now - newest).total_seconds(), 60.0)
                scalars[column.name, "age"] = Scalar(math.asinh(seconds), "value", profile.rows)
        return {self._run_id: replace(profile, scalars=scalars)}

    def _newest(self, name: str, column: Field) -> datetime | None:
        moment = f"{identifier(column.name)}::timestamp"
        row = self._con.execute(
            f"select max({moment}) from {relation(name)} where isfinite({moment})"
        ).fetchone()
        return row[0] if row else None

    def _columns(self, name: str) -> list[Field]:
        hidden = {column.lower() for column in self._personal.get(name, ())}
        rows = self._con.execute(f"describe {relation(name)}").fetchall()
        return [Field(row[0], row[1], row[0].lower() in hidden) for row in rows]

    def _fields(self, name: str) -> list[Field]:
        """The columns that are measured: those that only say how a row was loaded are not."""
        return [column for column in self._columns(name) if not column.name.startswith("_")]

    def _beside(self, rule: Rule) -> Unlike:
        """The distribution of columns beside those of another table."""
        stopping = []
        ours, theirs = (
            profiles(
                self._con,
                relation(name),
                [f for f in self._fields(name) if f.name in rule.columns],
                slices="'all'",
                at={"all": self._now},
            ).get("all")
            for name in (rule.table, rule.reference_table)
        )
        if ours is None or theirs is None:
            empty = rule.table if ours is None else rule.reference_table
            raise ValueError(f"{empty} has no rows to compare")
        stopping += [anomaly.told for anomaly in lacking(rule, ours)]
        stopping += [f"{a.told} in {rule.reference_table}" for a in lacking(rule, theirs)]
        for name in ours.shapes:
            if name[1] in ("values", "labels") and name in theirs.shapes:
                measure = measure_of(rule) or default_measure(ours.shapes[name])
                floor = shape_floors(measure)[1]
                most = float(rule.maximum) if isinstance(rule.maximum, int | float) else floor
                found = divergence(theirs.shapes[name], ours.shapes[name], measure)
                if found > most:
                    stopping.append(
                        f"{name[0]}: {measure} {found:.3f} beside {rule.reference_table},"
                        f" at most {most:g} is allowed"
                    )
        return Unlike(tuple(stopping))


def _found(
    rule: Rule,
    past: Sequence[Profile],
    new: Profile,
    shifts: Sequence[Shift],
    *,
    is_guarded: bool,
) -> list[Anomaly]:
    if not rule.is_learned:
        return bounded(rule, new)
    known = accepted(shifts)
    found = compare(past, new, accepted=known, is_guarded=is_guarded, **options(rule))
    return [*lacking(rule, new), *found]


def _shift(
    subject: str, slice_: str, new: Profile, found: Sequence[Anomaly], is_accepted: bool
) -> Shift:
    names = tuple(dict.fromkeys(anomaly.name for anomaly in found))
    told = "; ".join(dict.fromkeys(anomaly.told for anomaly in found))
    return Shift(subject, slice_, new.at, names, told, is_accepted)


def _noted(table: _Table, before: Sequence[Shift], subject: str) -> Iterator[Shift]:
    """What is to be noted of the new slices: what was meant so, what stops, what is told."""
    accepted_before = {shift.slice: shift for shift in before if shift.is_accepted}
    for slice_, new in table.new.items():
        meant, unlike = table.meant.get(slice_, []), table.unlike.get(slice_, [])
        stops, known = slice_ in table.stopped, accepted_before.get(slice_)
        if meant and not stops:
            shift = _shift(subject, slice_, new, meant, True)
            names = dict.fromkeys([*(known.names if known else ()), *shift.names])
            yield replace(shift, names=tuple(names))
        elif unlike and known is None:
            # What was meant so is learnt, too, once the rest is accepted.
            shift = _shift(subject, slice_, new, [*unlike, *meant], False)
            told = "; ".join(dict.fromkeys(anomaly.told for anomaly in unlike))
            yield replace(shift, told=told, stops=stops)


def _outlived(table: _Table, before: Sequence[Shift], by: str) -> list[str]:
    """The slices of what was noted before, and of which newer ones tell now."""
    if not table.new:
        return []
    return [s.slice for s in before if not by or not s.stops or s.slice in table.new]


def _subject(name: str, by: str) -> str:
    return f"{name} by {by}" if by else name


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)  # noqa: DTZ001 (UTC, as all times here)


def _compared(rule: Rule, table: _Table) -> str:
    """With what the rule compared, in words."""
    if not rule.is_learned:
        return ""
    noun = "day" if rule.by else "run"
    if len(table.past) < MIN_PAST:
        return f"learning what is usual: {counted(len(table.past), noun)} so far"
    return f"{counted(len(table.new), noun)} beside {counted(len(table.past), noun)} before"
