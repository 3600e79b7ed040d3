"""Files that arrive, compared with the files of their source before them.

What is unlike before in a way that a critical rule stops is not loaded: the file waits, as one that
cannot be read does, until it is replaced or `clearwater accept` says that it is meant so.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime

import duckdb

from expectations.anomalies import REMEMBERED, Anomaly, comes_by_hours, compare, of_the_hour
from expectations.anomaly_kinds import kinds
from expectations.history import KEPT, History, Shift, accepted, open_history
from expectations.likely_causes import in_order, shifted
from expectations.naming import mended_by, named_date, newest
from expectations.profiling import Field, Name, Profile, Scalar, profiles
from expectations.remembering import Memory
from expectations.rules import LEARNED, Rule
from warehouse.batch import Batch, Counts
from warehouse.duck import identifier, quoted
from warehouse.errors import BatchRefusedError, without_values
from warehouse.lake import table_columns, table_name
from warehouse.loads import UNLIKE
from warehouse.settings import Settings
from warehouse.sources import Source
from warehouse.wording import accept_command

_DIGITS = re.compile(r"\d+")
# With fewer files of the same kind of name, those of every name are compared.
FEWEST_OF_A_NAME = 8
# How much of a file stands in the lake already.
_OVERLAPS = (("", "known_share"), ("", "changed_share"))
SHOWN = 3  # of what is unlike before, the worst first
_Found = Sequence[tuple[Rule, Anomaly]]
COMPARING_FAULTS = (
    duckdb.BinderException,
    duckdb.ConversionException,
    duckdb.InvalidInputException,
    duckdb.OutOfRangeException,
)


class Examiner:
    """Compares each file, before it is loaded, with those that its source loaded before."""

    def __init__(self, rules: Sequence[Rule], history: History) -> None:
        """`rules` are those of the raw boundary that compare with the past.

        `kinds` are by rule those of what is unlike before in files that nothing stops.
        """
        self._history = history
        self._rules: dict[str, list[Rule]] = {}
        for rule in rules:
            self._rules.setdefault(rule.table, []).append(rule)
        self._past: dict[str, dict[str, Profile]] = {}
        self._files: dict[str, dict[str, str]] = {}
        self._found: dict[str, Profile] = {}
        self._stopped: set[str] = set()
        self._shifts: dict[str, Shift] = {}
        self._looked_at: set[str] = set()
        self.kinds: dict[str, tuple[str, ...]] = {}

    def examine(self, con: duckdb.DuckDBPyConnection, batch: Batch, counts: Counts, /) -> list[str]:
        """What of the batch is unlike before, in words, where it stops nothing.

        The batch is read and judged, and not written yet. Raises BatchRefusedError when a critical
        rule stops it.
        """
        subject = _subject(batch)
        rules = self._rules.get(subject)
        if not rules or not batch.whole:
            return []
        try:
            past = self._before(con, batch)
            if not past and all(rule.is_learned for rule in rules):
                return []
            new = self._measured(con, batch, counts, past)
        except COMPARING_FAULTS as error:
            raise BatchRefusedError(
                f"it cannot be compared with the files before it: {_told(error)}",
                where=batch.where,
                next_step="ask the sender for a corrected file, or mend its rules in"
                " expectations/rules/raw if they are wrong",
            ) from None
        self._found[batch.id] = new
        shifts = self._history.shifts(subject)
        meant = next((s for s in shifts if s.slice == batch.id and s.is_accepted), None)
        self._looked_at.add(subject)
        alike = of_the_hour(self._alike(subject, batch, past), new.at)
        is_guarded = bool(batch.source.personal)
        found = [
            (rule, anomaly)
            for rule in rules
            for anomaly in _anomalies(rule, alike, new, shifts, is_guarded=is_guarded)
        ]
        found.sort(key=lambda pair: in_order(pair[1]))
        if meant is not None:  # so nothing is told of it, and all of it is learnt
            names = tuple(dict.fromkeys([*meant.names, *(anomaly.name for _, anomaly in found)]))
            self._shifts[batch.id] = replace(meant, at=new.at, names=names)
            return []
        stopping = [(rule, a) for rule, a in found if rule.severity == "critical" and a.stops]
        if stopping:
            cause = shifted([anomaly for _, anomaly in stopping], alike, new)
            self._stop(batch, new, stopping, found, cause)
        if found:
            self._shifts[batch.id] = _shift(batch, new, found, stops=False)
        for rule_id, anomalies in _by_rule(found).items():
            told = dict.fromkeys(kind for kind, _ in kinds(anomalies))
            self.kinds[rule_id] = tuple({**dict.fromkeys(self.kinds.get(rule_id, ())), **told})
        return list(dict.fromkeys(f"{rule.id}: {anomaly.told}" for rule, anomaly in found))

    def loaded(self, batch: Batch, /) -> None:
        """Remember what the batch looked like, now that it is loaded."""
        profile = self._found.pop(batch.id, None)
        subject = _subject(batch)
        if profile is None:
            return
        self._history.forget(subject, [batch.id])
        if batch.id in self._shifts:
            self._history.note(self._shifts[batch.id])
        self._history.keep(subject, batch.run_id, {batch.id: profile})
        for name in self._mended(subject, batch):
            self._past.get(subject, {}).pop(name, None)
        self._past.setdefault(subject, {})[batch.id] = profile
        self._files.setdefault(subject, {})[batch.id] = batch.file

    def finish(self) -> None:
        """Forget what stands at its source no more, and what was told before other files came."""
        for subject in self._rules:
            for shift in self._history.shifts(subject):
                is_old = shift.slice not in self._shifts and subject in self._looked_at
                is_gone = shift.slice not in self._stopped if shift.stops else is_old
                if is_gone:
                    self._history.forget(subject, [shift.slice])

    def _stop(
        self, batch: Batch, new: Profile, stopping: _Found, found: _Found, cause: str
    ) -> None:
        self._stopped.add(batch.id)
        ordered = list(dict.fromkeys([*stopping, *found]))  # all of it is learnt if it is accepted
        told = "; ".join(filter(None, (cause, _in_words(stopping))))
        self._history.note(replace(_shift(batch, new, ordered, stops=True), told=told))
        refused = BatchRefusedError(
            f"{UNLIKE}, says the rule {stopping[0][0].id}: {told}",
            where=batch.where,
            next_step="ask the sender for a new file; if it is meant so,"
            f" `{accept_command(batch.source.name, batch.file)}` loads it with the next run",
        )
        by_rule = _by_rule(stopping)
        refused.kinds = {
            f"{rule_id}: {kind}": f"{UNLIKE}, says the rule {rule_id}: {text}"
            for rule_id, anomalies in by_rule.items()
            for kind, text in kinds(anomalies)
        }
        refused.broken = dict.fromkeys(by_rule, 1)
        raise refused

    def _alike(self, subject: str, batch: Batch, past: dict[str, Profile]) -> list[Profile]:
        """The past of the files that are called like this one; of all, where no name is usual."""
        files = self._files.get(subject, {})
        kinds: dict[str, list[Profile]] = {}
        for slice_, profile in past.items():
            kinds.setdefault(_DIGITS.sub("#", files.get(slice_, "")), []).append(profile)
        own = kinds.get(_DIGITS.sub("#", batch.file), [])
        if max(map(len, kinds.values()), default=0) >= FEWEST_OF_A_NAME:
            return own
        return list(past.values())

    def _before(self, con: duckdb.DuckDBPyConnection, batch: Batch) -> dict[str, Profile]:
        """The profiles of what the source loaded before, by batch; empty in its first run."""
        subject = _subject(batch)
        if subject not in self._past:
            known = self._history.profiles(subject, REMEMBERED)
            if comes_by_hours(list(known.values())):
                known = self._history.profiles(subject, KEPT)
            lines = con.execute(
                "select batch_id, source_file, arrived_at, rows_in, loaded, quarantined,"
                " already_known from lake.meta.batches where source = ? and status = 'loaded'"
                " and run_id <> ? order by loaded_at desc limit ?",
                [batch.source.name, batch.run_id, REMEMBERED],
            ).fetchall()
            lacking = [line for line in lines if line[0] not in known]
            known |= self._made_again(con, batch, lacking)
            loaded = con.execute(
                "select batch_id, source_file from lake.meta.batches"
                " where source = ? and status = 'loaded' order by loaded_at",
                [batch.source.name],
            ).fetchall()
            self._files[subject] = dict(loaded)
            standing = newest(self._files[subject])
            past = {name: p for name, p in known.items() if name in standing}
            columns = {column.name.lower() for column in table_columns(con, batch.source)}
            made = Memory(con, table_name(batch.source), past, columns).lacking()
            self._history.keep(subject, batch.run_id, made)
            self._past[subject] = past | made
        others = {batch.id, *self._mended(subject, batch)}
        return {name: p for name, p in self._past[subject].items() if name not in others}

    def _mended(self, subject: str, batch: Batch) -> set[str]:
        """The batches that were loaded before and that this one mends."""
        return mended_by(batch.file, self._files.get(subject, {})) - {batch.id}

    def _made_again(
        self, con: duckdb.DuckDBPyConnection, batch: Batch, lines: list[tuple[object, ...]]
    ) -> dict[str, Profile]:
        """Profiles of loaded batches that were never made, or are lost, from the lake."""
        if not lines:
            return {}
        fields = [
            _field(batch, column.name, column.type)
            for column in table_columns(con, batch.source)
            if column.name[0] != "_"
        ]
        ids = ", ".join(quoted(str(line[0])) for line in lines)
        table = f"(select * from {table_name(batch.source)} where _batch_id in ({ids}))"
        at = _middles(con, batch, table)
        arrived = {str(line[0]): line[2] for line in lines}
        order = "_source_row"
        named = {str(line[0]): named_date(str(line[1])) for line in lines}
        whens = {
            name: at.get(name) or named[name] or moment
            for name, moment in arrived.items()
            if isinstance(moment, datetime)
        }
        found = profiles(con, table, fields, slices="_batch_id", at=whens, order=order)
        made: dict[str, Profile] = {}
        for line in lines:
            name, file = str(line[0]), str(line[1])
            rows_in, loaded, held, known = (int(str(value)) for value in line[3:])
            if name not in whens:
                continue
            profile = found.get(name) or Profile(whens[name], 0)
            if profile.rows < 0.9 * loaded:
                # Rows that newer files replaced are gone: what is left says little of the file.
                profile = Profile(profile.at, 0)
            counts = Counts(rows_in=rows_in, loaded=loaded, quarantined=held)
            counts = counts + Counts(already_known=known)
            made[name] = _with_counts(profile, batch, file, counts)
        self._history.keep(_subject(batch), batch.run_id, made)
        return made

    def _measured(
        self,
        con: duckdb.DuckDBPyConnection,
        batch: Batch,
        counts: Counts,
        past: dict[str, Profile],
    ) -> Profile:
        """The profile of what the lake will take; of all its rows where the file mends another."""
        mends = bool(self._mended(_subject(batch), batch))
        relation = _taken(counts, with_known=mends)
        new = _with_counts(self._profile(con, batch, relation), batch, batch.file, counts)
        if mends:  # that it overlaps with what stands already is as it should be
            new = _without(new, _OVERLAPS)
        return _with_memory(con, batch, relation, past, new)

    def _profile(self, con: duckdb.DuckDBPyConnection, batch: Batch, relation: str) -> Profile:
        fields, absent = _fields(con, batch), _absent(con, batch)
        if absent:  # what the file lacks is null in each of its rows
            nulls = ", ".join(f"null::{c.type} as {identifier(c.name)}" for c in absent)
            relation, fields = f"(select *, {nulls} from {relation})", [*fields, *absent]
        at = _middles(con, batch, relation, quoted(batch.id)).get(batch.id)
        arrived = datetime.fromisoformat(batch.landed.arrived_at)
        when = at or named_date(batch.file) or arrived.astimezone(UTC).replace(tzinfo=None)
        made = profiles(
            con,
            relation,
            fields,
            slices=quoted(batch.id),
            at={batch.id: when},
            order="_source_row",
        )
        return made.get(batch.id) or Profile(when, 0)


def _shift(batch: Batch, new: Profile, found: _Found, *, stops: bool) -> Shift:
    names = tuple(dict.fromkeys(anomaly.name for _, anomaly in found))
    return Shift(_subject(batch), batch.id, new.at, names, _in_words(found), False, stops)


def _by_rule(found: _Found) -> dict[str, list[Anomaly]]:
    by_rule: dict[str, list[Anomaly]] = {}
    for rule, anomaly in found:
        by_rule.setdefault(rule.id, []).append(anomaly)
    return by_rule


def _in_words(found: _Found) -> str:
    anomalies = list(dict.fromkeys(anomaly.told for _, anomaly in found))
    more = f" (and {len(anomalies) - SHOWN} more)" if len(anomalies) > SHOWN else ""
    return "; ".join(anomalies[:SHOWN]) + more


def _told(error: duckdb.Error) -> str:
    return without_values(str(error)).partition("\n")[0]


def _subject(batch: Batch) -> str:
    return f"{batch.source.schema_name}.{batch.source.table_name}"


def _taken(counts: Counts, *, with_known: bool) -> str:
    """SQL for the rows of the batch that the lake will take, or those that it has already, too."""
    if counts.loaded >= counts.rows_in:
        return "incoming"
    left_out = "'quarantine'" if with_known else "'quarantine', 'known'"
    return (
        f"(from incoming anti join (from judged where verdict in ({left_out})) using (_source_row))"
    )


def _without(profile: Profile, metrics: Collection[Name]) -> Profile:
    scalars = {name: scalar for name, scalar in profile.scalars.items() if name not in metrics}
    return replace(profile, scalars=scalars)


def _with_memory(
    con: duckdb.DuckDBPyConnection,
    batch: Batch,
    taken: str,
    past: dict[str, Profile],
    new: Profile,
) -> Profile:
    """The profile with how much the rows of each code are like its earlier ones in the lake."""
    columns = {
        column.lower()
        for (column, metric), scalar in new.scalars.items()
        if metric == "null_share" and scalar.value < 1
    }
    memory = Memory(con, table_name(batch.source), past, columns)
    return replace(new, scalars={**new.scalars, **memory.coefficients(taken)})


def _fields(con: duckdb.DuckDBPyConnection, batch: Batch) -> list[Field]:
    """The columns of `incoming` or of the lake's table; what the batch lacks is left out."""
    came = {row[0]: row[1] for row in con.execute("describe incoming").fetchall()}
    types = {column.name.lower(): column.type for column in table_columns(con, batch.source)}
    return [
        _field(batch, name, types.get(name.lower(), kind))
        for name, kind in came.items()
        if name[0] != "_"
    ]


def _absent(con: duckdb.DuckDBPyConnection, batch: Batch) -> list[Field]:
    """The columns of the lake's table that the file has not."""
    came = {row[0].lower() for row in con.execute("describe incoming").fetchall()}
    return [
        _field(batch, column.name, column.type)
        for column in table_columns(con, batch.source)
        if column.name.lower() not in came and column.name[0] != "_"
    ]


def _field(batch: Batch, name: str, kind: str) -> Field:
    return Field(name, kind, name.lower() in {column.lower() for column in batch.source.personal})


def _middles(
    con: duckdb.DuckDBPyConnection, batch: Batch, relation: str, slices: str = "_batch_id"
) -> dict[str, datetime]:
    """When the rows of each batch are of: the middle of their event times."""
    if batch.source.event_time is None:
        return {}
    time = f"{identifier(batch.source.event_time)}::timestamp"
    rows = con.execute(
        f"select {slices}, quantile_disc({time}, 0.5) from {relation}"
        f" where isfinite({time}) group by 1"
    ).fetchall()
    return {name: middle for name, middle in rows if middle is not None}


def _with_counts(profile: Profile, batch: Batch, file: str, counts: Counts) -> Profile:
    """The profile with what the ledger and the file's name say of the batch."""
    scalars: dict[Name, Scalar] = dict(profile.scalars)
    if counts.rows_in:
        shares = {"quarantined_share": counts.quarantined}
        if batch.source.write == "append":
            shares["known_share"] = counts.already_known
        else:  # what stands already may be overwritten
            shares["changed_share"] = counts.rows_in - counts.already_known - counts.quarantined
        for metric, rows in shares.items():
            scalars["", metric] = Scalar(rows / counts.rows_in, "share", counts.rows_in)
    named, event_time = named_date(file), batch.source.event_time
    if named is not None and event_time is not None:
        middle = scalars.get((event_time, "middle"))
        if middle is not None:
            days = (named.date() - date(1970, 1, 1)).days
            scalars[event_time, "days_off_name"] = Scalar(
                middle.value - days, "value", profile.rows
            )
    return Profile(profile.at, counts.rows_in, scalars, profile.shapes)


def _anomalies(
    rule: Rule,
    past: Sequence[Profile],
    new: Profile,
    shifts: Sequence[Shift],
    *,
    is_guarded: bool,
) -> list[Anomaly]:
    """What the rule finds of the new profile."""
    from expectations.learning import bounded, lacking, options

    if not rule.is_learned:
        return bounded(rule, new)
    known = accepted(shifts)
    found = compare(past, new, accepted=known, is_guarded=is_guarded, **options(rule))
    return [*lacking(rule, new), *found] if past else found


@contextmanager
def examiner(
    settings: Settings, sources: Sequence[Source], rules: Sequence[Rule]
) -> Iterator[Examiner | None]:
    """The examiner of a run over these sources; None where no rule compares their files."""
    tables = {f"{source.schema_name}.{source.table_name}" for source in sources}
    speaking = [rule for rule in rules if rule.table in tables and rule.check in LEARNED]
    if not speaking:
        yield None
        return
    with open_history(settings) as history:
        found = Examiner(speaking, history)
        yield found
        found.finish()
