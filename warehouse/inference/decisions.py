"""The type of a column of texts, and why."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import duckdb

from warehouse.inference import words
from warehouse.inference.candidates import TEXT, Candidate, share
from warehouse.inference.day_order import settle_orders
from warehouse.inference.epochs import UNITS, epoch_format
from warehouse.inference.marks import Marks
from warehouse.inference.result import Notes
from warehouse.inference.shapes import MISSING, MOSTLY, kind, shape, time_formats
from warehouse.inference.trials import Trial
from warehouse.wording import counted

LONGEST_INTEGER = 18
DECIMAL_DIGITS, MONEY_DIGITS, CENTS = 18, 4, 2
EXACT_IN_DOUBLE = 1 << 53
SOME, MANY = 0.3, 0.45  # of a column's values: so many numbers or times are worth a word


@dataclass(frozen=True)
class Decision:
    """A column's type, why, and the values that are nulls or bad under it."""

    candidate: Candidate
    because: str
    filled: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    bad_count: int = 0


def decide(
    con: duckdb.DuckDBPyConnection,
    relation: str,
    heads: dict[str, list[str]],
    trials: dict[str, list[Trial]],
    marks: Marks,
    notes: Notes,
) -> dict[str, Decision]:
    """The type that each column's trials speak for, text where none of them passes.

    `heads` are the columns' first values.
    """
    readings = {name: _best(trials.get(name, [])) for name in heads}
    orders = settle_orders(con, relation, readings, marks, notes)
    decided = {}
    for name, head in heads.items():
        if not readings[name]:
            decided[name] = Decision(TEXT, _why_text(name, head, trials.get(name, []), notes))
            continue
        chosen, because = orders.get(name, (readings[name][0], ""))
        decision = _as_decision(name, head, chosen)
        reasons = "; ".join(filter(None, (decision.because, because)))
        decided[name] = replace(decision, because=reasons)
    return decided


def _best(trials: list[Trial]) -> list[Trial]:
    """The trials that pass with the fewest values left over."""
    passing = [trial for trial in trials if trial.passes]
    fewest = min((trial.really_bad for trial in passing), default=0)
    return [trial for trial in passing if trial.really_bad == fewest]


def _why_text(name: str, head: list[str], trials: list[Trial], notes: Notes) -> str:
    if not [value for value in head if value not in MISSING]:
        notes.warn(f"column {name} holds no value at all: it stays text")
        return "it holds no value"
    if trials and trials[-1].bad_values:
        trial = trials[-1]
        value, _ = trial.bad_values[0]
        _warn_of_some(name, head, notes)
        return (
            f"{trial.really_bad:,} of {counted(trial.filled, 'value')} cannot be"
            f" {trial.candidate.type.lower()}, such as {value!r}"
        )
    if share(head, "zeros"):
        return "leading zeros or signs, which a number would lose"
    if words.says(name, words.VERSIONS) and share(head, "decimal"):
        return "its name is that of a version, of which 1.10 is not 1.1"
    if words.is_label(name) and share(head, "integer"):
        return "its name is that of a label, whose leading zeros a number would lose"
    if share(head, "uuid") >= MOSTLY:
        return "UUIDs; as text they stay as they are written"
    _warn_of_some(name, head, notes)
    return "its values are no numbers or times"


def _warn_of_some(name: str, head: list[str], notes: Notes) -> None:
    """Warn of a text column of which many values are numbers or times, but not all."""
    filled = [value for value in head if value not in MISSING]
    if words.identifying(name, "") or words.is_label(name) or _is_told(name, notes):
        return
    is_named = words.is_money(name) or words.says(name, words.TIMES)
    for what in ("number", "time"):
        fit = [value for value in filled if kind(value) == what]
        others = [value for value in filled if kind(value) != what]
        ways = {time_formats(value) or shape(value) for value in fit}
        if len(fit) < (SOME if is_named else MANY) * len(filled) or (not others and len(ways) < 2):
            continue
        example = f"such as {fit[0]!r}"
        example += f", but not {others[0]!r}" if others else f" and {fit[-1]!r}, in several ways"
        share_of = f"{len(fit) / len(filled):.0%} of its first different values"
        notes.warn(f"column {name} stays text, though {share_of} are {what}s, {example}")
        return


def _is_told(name: str, notes: Notes) -> bool:
    return any(f"column {name} " in f"{text} " for text in notes.warnings)


def _as_decision(name: str, head: list[str], trial: Trial) -> Decision:
    candidate = trial.candidate
    because = f"{trial.filled - trial.bad:,} of {trial.filled:,} values"
    if trial.bad_values:
        because = f"{because}; not {', '.join(repr(value) for value, _ in trial.bad_values[:3])}"
    if "%y" in (candidate.format or "") and str(trial.high) > _next_year():
        return Decision(TEXT, f"years of two digits, which would be read as up to {trial.high}")
    if candidate.type == "BIGINT":
        candidate, because = _of_integers(name, head, trial, because)
    elif candidate.type == "DOUBLE":
        candidate, because = _decimal_or_double(name, trial, because)
    if candidate == TEXT:
        return Decision(TEXT, because)
    if form := _epoch(name, trial):
        candidate = Candidate("TIMESTAMP", form)
        because = f"{because}; {UNITS[form]} since 1970, by its name and range"
    elif form := _epoch(name, trial, exactly=False):
        because = f"{because}; {UNITS[form]} since 1970, finer than microseconds: no timestamp"
    return Decision(candidate, because, trial.filled, trial.missing, trial.really_bad)


def _of_integers(name: str, head: list[str], trial: Trial, because: str) -> tuple[Candidate, str]:
    """What integers are: text where a number would lose something, flags, measures, or integers."""
    zeros, points, longest, _ = (fact or 0 for fact in trial.facts)
    if zeros:
        return TEXT, f"{zeros:,} values begin with a zero, which a number would lose"
    if longest > LONGEST_INTEGER + 1:
        return TEXT, f"up to {longest} digits, more than an integer holds safely"
    if (trial.low, trial.high) == ("0", "1") and words.says(name, words.FLAGS):
        return Candidate("BOOLEAN"), f"{because} are 0 or 1, and its name a flag's"
    if points and not words.identifying(name, "") and not words.is_label(name):
        return Candidate("DOUBLE"), f"{because}; they are written like {head[0]}"
    return trial.candidate, because


def _next_year() -> str:
    return (datetime.now(UTC) + timedelta(days=366)).date().isoformat()


def _epoch(name: str, trial: Trial, *, exactly: bool = True) -> str | None:
    """The format of numbers that count since 1970, if these surely do.

    Only those that a TIMESTAMP holds to the last digit, unless `exactly` is false.
    """
    if trial.candidate.type not in ("BIGINT", "DOUBLE") or None in (trial.low, trial.high):
        return None
    low, high = float(trial.low or 0), float(trial.high or 0)
    if trial.candidate.type == "BIGINT":
        *_, no_thousands = trial.facts
        form = epoch_format(name, low, high)
        return None if exactly and form == "epoch_ns" and no_thousands else form
    decimals, _, exponents, nans = trial.facts if exactly else (0, 0, 0, trial.facts[3])
    return None if exponents or nans else epoch_format(name, low, high, decimals=decimals)


def _decimal_or_double(name: str, trial: Trial, because: str) -> tuple[Candidate, str]:
    most, fewest, exponents, nans = (fact or 0 for fact in trial.facts)
    large = max(abs(float(trial.low or 0)), abs(float(trial.high or 0)))
    if not most and not exponents and large >= EXACT_IN_DOUBLE:
        return TEXT, f"{because}; integers of more digits than a number holds"
    exact = most <= MONEY_DIGITS and not exponents and not nans
    if nans:
        because = f"{because}; {nans:,} are NaN"
    is_share = large <= 1 and float(trial.low or 0) >= 0 and words.may_be_share(name)
    is_exact_money = words.is_money(name) and (most <= CENTS or words.is_surely_money(name))
    digits = max(most, CENTS)
    if exact and is_exact_money and not is_share and large < 10 ** (DECIMAL_DIGITS - digits):
        count = f"{most}" if fewest == most else f"{fewest} to {most}"
        return Candidate(f"DECIMAL({DECIMAL_DIGITS},{digits})"), (
            f"{because}; the name is that of money, with {count} decimal{'s' * (most != 1)}"
        )
    return Candidate("DOUBLE"), because
