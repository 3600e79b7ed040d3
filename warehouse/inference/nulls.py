"""Words that mean null in a file's numbers and times."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import duckdb

from warehouse.duck import identifier, quoted
from warehouse.inference.candidates import TEXT
from warehouse.inference.decisions import Decision
from warehouse.inference.result import Notes
from warehouse.inference.shapes import ALWAYS_NULL, PERHAPS_A_VALUE
from warehouse.inference.trials import COLUMNS_AT_ONCE, are_few


def settle_nulls(
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
    if are_few(bad, decision.filled):
        missing = {word: count for word, count in decision.missing.items() if word in kept}
        return replace(decision, missing=missing, bad_count=bad)
    notes.warn(
        f"column {name}: {word!r} seems to mean null, but is a value in another column;"
        f" {name} stays text"
    )
    return Decision(TEXT, f"{word!r} stands among its values and is a value elsewhere")
