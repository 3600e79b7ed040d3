"""Types of text columns, judged over all values by the very casts that the loader will do."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from warehouse.inference.candidates import TEXT, candidates, first_values
from warehouse.inference.decisions import Decision, decide
from warehouse.inference.marks import Marks, infer_marks, is_marked
from warehouse.inference.nulls import settle_nulls
from warehouse.inference.result import Notes
from warehouse.inference.trials import Trial, try_all
from warehouse.wording import counted

MOST_TYPED = 2000


@dataclass(frozen=True)
class Typing:
    """The types of a relation's columns, and what must be told to read them so."""

    columns: dict[str, Decision]
    nulls: tuple[str, ...]
    marks: Marks


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
    heads = dict(first_values(con, relation, names))
    noted = Notes()
    marks, trials = _tried(con, relation, heads, noted)
    late = _with_late_numbers(heads, trials)
    if late and infer_marks(heads | late, Notes()) != marks:
        heads, noted = heads | late, Notes()
        marks, trials = _tried(con, relation, heads, noted)
    notes.add(noted)
    decided = decide(con, relation, heads, trials, marks, notes)
    decided, nulls = settle_nulls(con, relation, decided, notes)
    for name, decision in decided.items():
        _tell(name, decision, notes)
    return Typing(decided, nulls, marks)


def _tried(
    con: duckdb.DuckDBPyConnection, relation: str, heads: dict[str, list[str]], notes: Notes
) -> tuple[Marks, dict[str, list[Trial]]]:
    """The marks that the heads' numbers have, and how the columns' candidates do under them."""
    marks = infer_marks(heads, notes)
    chains = {name: candidates(name, values, marks, notes) for name, values in heads.items()}
    return marks, try_all(con, relation, chains, marks)


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


def _tell(name: str, decision: Decision, notes: Notes) -> None:
    candidate = decision.candidate
    shown = candidate.type.lower() + (f" {candidate.format!r}" if candidate.format else "")
    notes.decide(f"column {name}", shown, decision.because)
    if decision.bad_count:
        notes.warn(
            f"column {name}: {counted(decision.bad_count, 'value')} cannot be"
            f" {candidate.type.lower()} and will go to the quarantine with the whole row"
        )
