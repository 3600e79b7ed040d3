"""When the event of a row happened, and when it became known."""

from __future__ import annotations

from warehouse.duck import identifier
from warehouse.inference import words
from warehouse.inference.epochs import UNITS
from warehouse.inference.keys import Key
from warehouse.inference.result import InferredColumn, Notes
from warehouse.inference.table import Table, is_moment, is_time

MOST_NULLS = 0.2  # of the rows: a time that more of them lack is not that of their event


def infer_event_time(table: Table, key: Key, notes: Notes) -> str | None:
    """The column that says when the row's event happened; None for a table of things."""
    times = [c for c in table.needed if is_time(c) and not c.epoch]
    for column in table.columns:
        if column.epoch:
            notes.warn(
                f"column {column.name} counts {UNITS[column.epoch]} since 1970; the file carries it"
                " as a number, which cannot be the event time"
            )
    scores = {c.name: _time_score(c, table) for c in times}
    fit = [name for name, score in scores.items() if score is not None and score >= 0]
    if not fit:
        because = (
            "no column is a date or time"
            if not times
            else (f"{', '.join(c.name for c in times)}: none says when the row's event happened")
        )
        notes.decide("event_time", "none", because)
        return None
    if words.is_subject(table.dataset) and len(key.columns) == 1 and key.columns[0] not in fit:
        because = f"{table.dataset} are things, not events; {', '.join(fit)} tell about them"
        notes.decide("event_time", "none", because)
        return None
    best = max(fit, key=lambda name: scores[name] or 0)
    because = (
        "the only date or time"
        if len(times) == 1
        else (f"likelier by name, type and values than {', '.join(n for n in scores if n != best)}")
    )
    notes.decide("event_time", best, because)
    return best


def _time_score(column: InferredColumn, table: Table) -> float | None:
    is_rare = column.null_count > MOST_NULLS * table.row_count
    if is_rare or words.says(column.name, words.NEVER | words.CHANGES):
        return None
    own = {words.singular(word) for word in words.words(table.dataset)}
    parts = {words.singular(word) for word in words.words(column.name)}
    score = 0.0
    score += 3 if words.says(column.name, words.HAPPENED) else 0
    score += 2 if words.says(column.name, words.TIMES) else 0
    score += 2 if own & parts else 0
    score -= 1 if words.says(column.name, words.KNOWN) else 0
    score -= 4 if words.says(column.name, words.LATER) else 0
    score += 0.5 if is_moment(column) else 0
    score -= 3 if column.null_count > table.row_count * 0.05 else 0
    return score + 2 if len(parts) == 1 and score > 0 else max(score, 0) if score > -3 else None


def infer_known_at(table: Table, event_time: str | None, notes: Notes) -> str | None:
    """The column that says when a row became known, where one clearly does."""
    if event_time is None:
        return None
    for column in table.needed:
        is_named = words.says(column.name, words.KNOWN) and is_moment(column)
        if not is_named or column.epoch or column.name == event_time or column.null_count:
            continue
        early = table.number(
            f"select count(*) from {table.relation}"
            f" where {identifier(column.name)} < {identifier(event_time)}"
        )
        if not early:
            notes.decide("known_at", column.name, f"by its name, and never before {event_time}")
            return column.name
    return None
