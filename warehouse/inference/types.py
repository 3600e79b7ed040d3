"""Types of text columns, judged over all values by the very casts that the loader will do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Literal

import duckdb

from warehouse.duck import identifier, quoted
from warehouse.inference import words
from warehouse.inference.marks import Marks, infer_marks, is_marked
from warehouse.inference.result import Notes, counted
from warehouse.inference.shapes import (
    ALWAYS_NULL,
    BOOLEAN_WORDS,
    MISSING,
    MOSTLY,
    PERHAPS_A_VALUE,
    shape,
    time_formats,
)
from warehouse.readers.casting import Cast, declared_cast
from warehouse.sources import ColumnType, Source

HEAD_ROWS, HEAD_CELLS, HEAD_VALUES = 5000, 500_000, 2000
FEW_VALUES = 20
MOST_TYPED = 2000
COLUMNS_AT_ONCE = 200
FORGIVEN_SHARE, FORGIVEN_ROWS = 0.01, 100
BAD_VALUES = 100
LONGEST_INTEGER = 18
DECIMAL_DIGITS, MONEY_DIGITS = 18, 4
EPOCH = (946_684_800, 4_102_444_800)  # the years 2000 to 2100, in seconds since 1970
ORDERED_ROWS = 20_000
EXACT_IN_DOUBLE = 1 << 53
CLEARLY = 3


@dataclass(frozen=True)
class Candidate:
    """A type that a column may have; `format` as sources.yml takes it."""

    type: str
    format: str | None = None


@dataclass
class Trial:
    """What all values of a column say to a candidate."""

    candidate: Candidate
    filled: int = 0
    bad: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    bad_values: list[tuple[str, int]] = field(default_factory=list)
    facts: tuple[int, ...] = ()  # see _facts
    low: str | None = None
    high: str | None = None

    @property
    def really_bad(self) -> int:
        """The values that do not fit and do not stand for a missing one."""
        return self.bad - sum(self.missing.values())

    @property
    def passes(self) -> bool:
        """Whether all values fit, or so few do not that quarantine is the place for them."""
        return _are_few(self.really_bad, self.filled - sum(self.missing.values()))


@dataclass(frozen=True)
class Decision:
    """A column's type, why, and the values that are nulls or bad under it."""

    candidate: Candidate
    because: str
    filled: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    bad_count: int = 0
    epoch: Literal["s", "ms"] | None = None


@dataclass(frozen=True)
class Typing:
    """The types of a relation's columns, and what must be told to read them so."""

    columns: dict[str, Decision]
    nulls: tuple[str, ...]
    marks: Marks


TEXT = Candidate("VARCHAR")
ANY_COLUMN = "__clearwater_column"


def _are_few(bad: int, filled: int) -> bool:
    """Whether some of the values fit, and all or nearly all of many do."""
    few = filled >= FORGIVEN_ROWS and bad <= FORGIVEN_SHARE * filled
    return filled > 0 and (bad == 0 or few)


def infer_types(
    con: duckdb.DuckDBPyConnection, relation: str, names: list[str], notes: Notes
) -> Typing:
    """Decide the types of the columns `names` of `relation`, all of which are text.

    `relation` is SQL that may stand after `from`; nulls in it are nulls already.
    """
    if len(names) > MOST_TYPED:
        notes.warn(
            f"{len(names):,} columns are too many to tell their types: all of them stay text"
        )
        return Typing(dict.fromkeys(names, Decision(TEXT, "one of too many columns")), (), Marks())
    heads = dict(_heads(con, relation, names))
    noted = Notes()
    marks, trials = _tried(con, relation, heads, noted)
    late = _with_late_numbers(heads, trials)
    if late and infer_marks(heads | late, Notes()) != marks:
        heads, noted = heads | late, Notes()
        marks, trials = _tried(con, relation, heads, noted)
    notes.add(noted)
    decided = {
        name: _decide(con, relation, name, heads[name], trials.get(name, []), notes)
        for name in names
    }
    decided, nulls = _settle_nulls(con, relation, decided, notes)
    for name, decision in decided.items():
        _tell(name, decision, notes)
    return Typing(decided, nulls, marks)


def _tried(
    con: duckdb.DuckDBPyConnection, relation: str, heads: dict[str, list[str]], notes: Notes
) -> tuple[Marks, dict[str, list[Trial]]]:
    """The marks that the heads' numbers have, and how the columns' candidates do under them."""
    marks = infer_marks(heads, notes)
    chains = {name: _candidates(name, values, marks, notes) for name, values in heads.items()}
    return marks, _try_all(con, relation, chains, marks)


def _with_late_numbers(
    heads: dict[str, list[str]], trials: dict[str, list[Trial]]
) -> dict[str, list[str]]:
    """The heads with numbers that did not fit, for they may have new marks, as 1,000 after 999."""
    found = {}
    for name in [name for name, tried in trials.items() if tried and tried[-1].bad_values]:
        seen = set(heads[name])
        late = [v for v, _ in trials[name][-1].bad_values if v not in seen and is_marked(v)]
        if late:
            found[name] = [*heads[name], *late]
    return found


def cast(name: str, candidate: Candidate, marks: Marks, *, quick: bool = False) -> str:
    """The SQL by which the loader types the column; `quick` if all values are known to fit."""
    found = _cast(candidate, marks)
    # The quick cast of a timestamp drops an offset.
    sql = found.quick if quick and candidate.type != "TIMESTAMP" else found.strict
    return f"({_of(name, sql)})::{candidate.type}"


def _of(name: str, sql: str) -> str:
    return sql.replace(identifier(ANY_COLUMN), identifier(name))


@cache
def _cast(candidate: Candidate, marks: Marks) -> Cast:
    declared = ColumnType.model_construct(type=candidate.type, format=candidate.format)
    source = Source.model_construct(
        columns={ANY_COLUMN: declared}, decimal=marks.decimal, thousands=marks.thousands
    )
    return declared_cast(source, ANY_COLUMN)


def _heads(
    con: duckdb.DuckDBPyConnection, relation: str, names: list[str]
) -> Iterator[tuple[str, list[str]]]:
    """Different values from the beginning of each column, nulls left out."""
    limit = max(100, min(HEAD_ROWS, HEAD_CELLS // len(names)))
    listed = ", ".join(identifier(name) for name in names)
    rows = con.execute(f"select {listed} from {relation} limit {limit}").fetchall()
    columns: Iterable[tuple[str | None, ...]] = (
        zip(*rows, strict=True) if rows else [()] * len(names)
    )
    for name, column in zip(names, columns, strict=True):
        values = list(dict.fromkeys(value for value in column if value is not None))
        if len(values) < FEW_VALUES and len(rows) == limit:
            found = con.execute(
                f"select distinct {identifier(name)} from {relation}"
                f" where {identifier(name)} is not null limit {HEAD_VALUES}"
            ).fetchall()
            values = sorted(row[0] for row in found)
        yield name, values[:HEAD_VALUES]


def _share(values: list[str], *shapes: str) -> float:
    """The share of the values that are not missing and have one of the shapes."""
    filled = [value for value in values if value not in MISSING]
    return sum(shape(value) in shapes for value in filled) / len(filled) if filled else 0.0


def _candidates(name: str, values: list[str], marks: Marks, notes: Notes) -> list[Candidate]:
    """The types worth trying on all values, the narrower first; empty for text."""
    filled = [value for value in values if value not in MISSING]
    if not filled:
        return []
    if all(value.lower() in BOOLEAN_WORDS for value in filled):
        return [Candidate("BOOLEAN")] if _is_boolean(name, filled) else []
    if times := _time_candidates(name, filled):
        return times
    return _number_candidates(name, filled, marks, notes)


def _is_boolean(name: str, filled: list[str]) -> bool:
    """Whether words for true and false are meant so: both, or one that cannot mean else."""
    found = {value.lower() for value in filled}
    both = found & {"true", "t", "yes", "y"} and found & {"false", "f", "no", "n"}
    whole = found <= {"true", "false", "yes", "no"}
    return bool(both) or whole or words.says(name, words.FLAGS)


def _time_candidates(name: str, filled: list[str]) -> list[Candidate]:
    formats = Counter(text for value in filled for text in time_formats(value))
    wide = [text for text, count in formats.items() if count >= MOSTLY * len(filled)]
    if _share(filled, "date", "timestamp") >= MOSTLY:
        dates = [Candidate("DATE")] if _share(filled, "date") else []
        return [*dates, Candidate("TIMESTAMP"), *(Candidate("TIMESTAMP", f) for f in wide)]
    if _share(filled, "time") >= MOSTLY:
        return [Candidate("TIME")]
    if _share(filled, "time am/pm") >= MOSTLY:
        return [Candidate("TIME", "%I:%M %p"), Candidate("TIME", "%I:%M:%S %p")]
    digits_alone = _share(filled, "integer") > 0
    if wide and not (digits_alone and not words.says(name, words.TIMES)):
        return [Candidate("TIMESTAMP" if "%M" in f else "DATE", f) for f in wide]
    return []


def _number_candidates(name: str, filled: list[str], marks: Marks, notes: Notes) -> list[Candidate]:
    for oddity in ("percent", "currency"):
        if _share(filled, oddity) >= MOSTLY:
            notes.warn(f"column {name} holds {oddity} signs, such as {filled[0]!r}: it stays text")
            return []
    filled = [marks.plain(value) for value in filled]
    if _share(filled, "zeros") and _share(filled, "zeros", "integer") >= MOSTLY:
        return []
    whole = _share(filled, "integer")
    if _share(filled, "integer", "decimal", "scientific") < MOSTLY:
        if whole >= MOSTLY / 2:
            notes.warn(f"column {name}: {whole:.0%} of its first values are integers, not all")
        return []
    if words.says(name, words.LABELS) and whole >= MOSTLY:
        return []
    # Identifiers like 17850.0 come from programs that know missing values only among floats.
    is_whole = words.identifying(name, "") > 0 and all(re.fullmatch(r"\d+\.0", v) for v in filled)
    return (
        [Candidate("BIGINT"), Candidate("DOUBLE")] if whole or is_whole else [Candidate("DOUBLE")]
    )


def _try_all(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    chains: dict[str, list[Candidate]],
    marks: Marks,
) -> dict[str, list[Trial]]:
    """Try each column's candidates one after another until one fits every value.

    All formats of one kind of time are tried, for the best of them wins.
    """
    trials: dict[str, list[Trial]] = {name: [] for name in chains}
    for step in range(max(map(len, chains.values()), default=0)):
        due = {
            name: chain[step]
            for name, chain in chains.items()
            if len(chain) > step and (chain[step].format or not _fits(trials[name]))
        }
        listed = list(due.items())
        for start in range(0, len(listed), COLUMNS_AT_ONCE):
            for name, trial in _try(con, relation, listed[start : start + COLUMNS_AT_ONCE], marks):
                trials[name].append(trial)
    return trials


def _fits(trials: list[Trial]) -> bool:
    return any(trial.really_bad == 0 for trial in trials)


def _try(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    due: list[tuple[str, Candidate]],
    marks: Marks,
) -> Iterator[tuple[str, Trial]]:
    casts = {name: cast(name, candidate, marks) for name, candidate in due}
    inner = ", ".join(
        f"{_of(name, _cast(candidate, marks).text)} as t{i}, {casts[name]} as v{i}"
        for i, (name, candidate) in enumerate(due)
    )
    outer = ", ".join(_facts(i, candidate) for i, (_, candidate) in enumerate(due))
    row = con.execute(f"select {outer} from (select {inner} from {relation})").fetchone()
    assert row is not None
    width = len(row) // len(due)
    for i, (name, candidate) in enumerate(due):
        filled, good, low, high, *facts = row[i * width : (i + 1) * width]
        trial = Trial(candidate, filled, filled - good, facts=tuple(facts), low=low, high=high)
        if trial.bad:
            _look_at_bad(con, relation, name, casts[name], trial)
        yield name, trial


def _facts(i: int, candidate: Candidate) -> str:
    """SQL for a candidate's counts, bounds and four facts, of its values and texts as cast.

    Of integers: values like 007, values like 5.0, longest text. Of other numbers: most and fewest
    digits after the point, values with an exponent, values that are not numbers. Else zeros.
    """
    facts = ["0"] * 4
    if candidate.type == "BIGINT":
        facts[0] = (
            rf"count(*) filter (starts_with(t{i}, '0') and strlen(t{i}) > 1 and v{i} is not null)"
        )
        facts[1] = f"count(*) filter (contains(t{i}, '.') or starts_with(t{i}, '+'))"
        facts[2] = f"max(strlen(t{i})) filter (v{i} is not null)"
    if candidate.type == "DOUBLE":
        at = f"strpos(t{i}, '.')"
        scale = f"if({at} > 0, strlen(t{i}) - {at}, 0)"
        facts[0], facts[1] = (f"{m}({scale}) filter (v{i} is not null)" for m in ("max", "min"))
        facts[2] = f"count(*) filter (contains(lower(t{i}), 'e'))"
        facts[3] = f"count(*) filter (isnan(v{i}))"
    return f"count(t{i}), count(v{i}), min(v{i})::varchar, max(v{i})::varchar, {', '.join(facts)}"


def _look_at_bad(
    con: duckdb.DuckDBPyConnection, relation: str, name: str, sql: str, trial: Trial
) -> None:
    rows = con.execute(
        f"select {identifier(name)}, count(*) from {relation} where {identifier(name)} is not null"
        f" and ({sql}) is null group by 1 order by 2 desc, 1 limit {BAD_VALUES}"
    ).fetchall()
    trial.missing = {value: count for value, count in rows if value.strip() in MISSING}
    trial.bad_values = [(value, count) for value, count in rows if value.strip() not in MISSING]


def _decide(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    name: str,
    head: list[str],
    trials: list[Trial],
    notes: Notes,
) -> Decision:
    passing = [trial for trial in trials if trial.passes]
    if not passing:
        return Decision(TEXT, _why_text(name, head, trials, notes))
    fewest = min(trial.really_bad for trial in passing)
    best = [trial for trial in passing if trial.really_bad == fewest]
    chosen, because = best[0], ""
    if len(best) > 1 and chosen.candidate.format:
        chosen, because = _tie(con, relation, name, best, notes)
    decision = _as_decision(name, head, chosen)
    return replace(decision, because=f"{decision.because}; {because}") if because else decision


def _why_text(name: str, head: list[str], trials: list[Trial], notes: Notes) -> str:
    if not [value for value in head if value not in MISSING]:
        notes.warn(f"column {name} holds no value at all: it stays text")
        return "it holds no value"
    if trials and trials[-1].bad_values:
        trial = trials[-1]
        value, _ = trial.bad_values[0]
        return (
            f"{trial.really_bad:,} of {counted(trial.filled, 'value')} cannot be"
            f" {trial.candidate.type.lower()}, such as {value!r}"
        )
    if _share(head, "zeros"):
        return "leading zeros or signs, which a number would lose"
    if words.says(name, words.LABELS) and _share(head, "integer"):
        return "its name is that of a label, whose leading zeros a number would lose"
    if _share(head, "uuid") >= MOSTLY:
        return "UUIDs; as text they stay as they are written"
    return "its values are no numbers or times"


def _as_decision(name: str, head: list[str], trial: Trial) -> Decision:
    candidate, facts = trial.candidate, trial.facts
    fit = trial.filled - trial.bad
    because = f"{fit:,} of {trial.filled:,} values"
    if trial.bad_values:
        because = f"{because}; not {', '.join(repr(value) for value, _ in trial.bad_values[:3])}"
    if "%y" in (candidate.format or "") and str(trial.high) > _next_year():
        return Decision(TEXT, f"years of two digits, which would be read as up to {trial.high}")
    epoch: Literal["s", "ms"] | None = None
    if candidate.type == "BIGINT":
        zeros, points, longest, _ = (fact or 0 for fact in facts)
        if zeros:
            return Decision(TEXT, f"{zeros:,} values begin with a zero, which a number would lose")
        if longest > LONGEST_INTEGER + 1:
            return Decision(TEXT, f"up to {longest} digits, more than an integer holds safely")
        if (trial.low, trial.high) == ("0", "1") and words.says(name, words.FLAGS):
            candidate, because = (
                Candidate("BOOLEAN"),
                f"{because} are 0 or 1, and its name a flag's",
            )
        elif points and not words.identifying(name, ""):
            candidate, because = Candidate("DOUBLE"), f"{because}; they are written like {head[0]}"
        epoch = _epoch(name, trial)
        if epoch:
            unit = "seconds" if epoch == "s" else "milliseconds"
            because = f"{because}; {unit} since 1970, by its name and range"
    if candidate.type == "DOUBLE" and trial.candidate.type == "DOUBLE":
        candidate, because = _decimal_or_double(name, trial, because)
    return Decision(candidate, because, trial.filled, trial.missing, trial.really_bad, epoch)


def _next_year() -> str:
    return (datetime.now(UTC) + timedelta(days=366)).date().isoformat()


def _epoch(name: str, trial: Trial) -> Literal["s", "ms"] | None:
    if not words.says(name, words.TIMES) or trial.low is None or trial.high is None:
        return None
    low, high = int(trial.low), int(trial.high)
    if EPOCH[0] <= low and high <= EPOCH[1]:
        return "s"
    return "ms" if EPOCH[0] * 1000 <= low and high <= EPOCH[1] * 1000 else None


def _decimal_or_double(name: str, trial: Trial, because: str) -> tuple[Candidate, str]:
    most, fewest, exponents, nans = (fact or 0 for fact in trial.facts)
    large = max(abs(float(trial.low or 0)), abs(float(trial.high or 0)))
    if not most and not exponents and large >= EXACT_IN_DOUBLE:
        return TEXT, f"{because}; integers of more digits than a number holds"
    exact = most <= MONEY_DIGITS and not exponents and not nans
    if nans:
        because = f"{because}; {nans:,} are NaN"
    if exact and words.is_money(name) and large < 10 ** (DECIMAL_DIGITS - max(most, 2)):
        digits = max(most, 2)
        count = f"{most}" if fewest == most else f"{fewest} to {most}"
        return Candidate(f"DECIMAL({DECIMAL_DIGITS},{digits})"), (
            f"{because}; the name is that of money, with {count} decimal{'s' * (most != 1)}"
        )
    return Candidate("DOUBLE"), because


def _tie(
    con: duckdb.DuckDBPyConnection, relation: str, name: str, best: list[Trial], notes: Notes
) -> tuple[Trial, str]:
    """The likelier of two readings that all values have: day first or month first."""
    day, month = best[0], best[1]
    of_day = _order(con, relation, name, str(day.candidate.format))
    of_month = _order(con, relation, name, str(month.candidate.format))
    if 0 in (of_day.steps_back, of_month.steps_back) and of_day.steps_back != of_month.steps_back:
        return (month if of_day.steps_back else day), "only so do they stand in order"
    if of_day.unevenness * CLEARLY <= of_month.unevenness:
        return day, "only so do the days come evenly"
    if of_month.unevenness * CLEARLY <= of_day.unevenness:
        return month, "only so do the days come evenly"
    form = str(day.candidate.format)
    if "%H" in form and of_day.span != of_month.span:
        chosen = day if of_day.span < of_month.span else month
    else:
        chosen = month if "%p" in form or ("/" in form and not of_day.zeros) else day
    other = month if chosen is day else day
    notes.warn(
        f"column {name}: no value tells day from month; taken as {chosen.candidate.format!r},"
        f" it could be {other.candidate.format!r}"
    )
    return chosen, "no value tells day from month"


@dataclass(frozen=True)
class _Order:
    """How a column's first times follow each other under one format.

    `unevenness` is the longest step between its days divided by the median one; `span` is in
    days; `zeros` says that some text begins with a zero.
    """

    steps_back: int
    unevenness: float
    span: int
    zeros: bool


def _order(con: duckdb.DuckDBPyConnection, relation: str, name: str, form: str) -> _Order:
    column = identifier(name)
    row = con.execute(
        f"with times as (select {column} as text, try_strptime({column}, {quoted(form)}) as time"
        f" from {relation} where {column} is not null limit {ORDERED_ROWS}),"
        " steps as (select time < lag(time) over () as is_back from times),"
        " days as (select distinct time::date as day from times where time is not null),"
        " gaps as (select day - lag(day) over (order by day) as gap from days)"
        " select (select count(*) from steps where is_back), max(gap) / median(gap), sum(gap),"
        " (select bool_or(starts_with(text, '0')) from times) from gaps"
    ).fetchone()
    assert row is not None
    return _Order(row[0], row[1] or 1, row[2] or 0, bool(row[3]))


def _settle_nulls(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    decided: dict[str, Decision],
    notes: Notes,
) -> tuple[dict[str, Decision], tuple[str, ...]]:
    """The texts that mean null in the whole file; a column that needs another goes back to text."""
    seen: Counter[str] = Counter()
    for decision in decided.values():
        seen.update(decision.missing)
    texts = [name for name, decision in decided.items() if decision.candidate == TEXT]
    values = _words_in_text(con, relation, texts, {*seen, *ALWAYS_NULL})
    for word in ALWAYS_NULL & values.keys():
        seen[word] += sum(values[word].values())
    kept = {w for w in seen if not _is_a_value(con, relation, w, values.get(w, {}))}
    settled = {name: _without(name, d, kept, notes) for name, d in decided.items()}
    needed = {w for d in settled.values() for w in d.missing} | (kept & ALWAYS_NULL)
    nulls = tuple(sorted(kept & needed))
    if nulls:
        counts = ", ".join(f"{word!r} {seen[word]:,} times" for word in nulls)
        notes.decide("nulls", ", ".join(map(repr, nulls)), f"among numbers or times: {counts}")
    return settled, nulls


def _words_in_text(
    con: duckdb.DuckDBPyConnection, relation: str, texts: list[str], sought: set[str]
) -> dict[str, dict[str, int]]:
    """How often each sought word stands in each column of text."""
    listed = ", ".join(quoted(word) for word in sorted(sought))
    found: dict[str, dict[str, int]] = {}
    for start in range(0, len(texts), COLUMNS_AT_ONCE):
        some = texts[start : start + COLUMNS_AT_ONCE]
        counts = ", ".join(f"count(*) filter ({identifier(n)} in ({listed}))" for n in some)
        row = con.execute(f"select {counts} from {relation}").fetchone()
        assert row is not None
        for name in [name for name, count in zip(some, row, strict=True) if count]:
            rows = con.execute(
                f"select {identifier(name)}, count(*) from {relation}"
                f" where {identifier(name)} in ({listed}) group by 1"
            ).fetchall()
            for word, count in rows:
                found.setdefault(word, {})[name] = count
    return found


def _is_a_value(
    con: duckdb.DuckDBPyConnection, relation: str, word: str, columns: dict[str, int]
) -> bool:
    """Whether the word is a value of its own in a column of text, such as Namibia's NA."""
    if not columns:
        return False
    if word in PERHAPS_A_VALUE:
        return True
    for name in columns:
        row = con.execute(
            f"select min(strlen({identifier(name)})), max(strlen({identifier(name)})),"
            f" count(distinct {identifier(name)}) from {relation}"
        ).fetchone()
        if row is not None and row[0] == row[1] == len(word) and row[2] > 1:
            return True  # a column of codes, all of one length
    return False


def _without(name: str, decision: Decision, kept: set[str], notes: Notes) -> Decision:
    """The decision when only the words `kept` mean null."""
    others = {word: count for word, count in decision.missing.items() if word not in kept}
    if not others:
        return decision
    word, bad = next(iter(others)), decision.bad_count + sum(others.values())
    if _are_few(bad, decision.filled):
        missing = {word: count for word, count in decision.missing.items() if word in kept}
        return replace(decision, missing=missing, bad_count=bad)
    notes.warn(
        f"column {name}: {word!r} seems to mean null, but is a value in another column;"
        f" {name} stays text"
    )
    return Decision(TEXT, f"{word!r} stands among its values and is a value elsewhere")


def _tell(name: str, decision: Decision, notes: Notes) -> None:
    candidate = decision.candidate
    shown = candidate.type.lower() + (f" {candidate.format!r}" if candidate.format else "")
    notes.decide(f"column {name}", shown, decision.because)
    if decision.bad_count:
        notes.warn(
            f"column {name}: {counted(decision.bad_count, 'value')} cannot be"
            f" {candidate.type.lower()} and will go to the quarantine with the whole row"
        )
