"""From trials to figures with their bars, and to one table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from benchmarks.faults.kinds import every_kind
from benchmarks.faults.trial import STOPPED
from benchmarks.figures import Figure

Line = dict[str, Any]
LETTERS = {
    "blocked": "B",
    "refused": "R",
    "quarantined": "Q",
    "no effect": "N",
    "warned": "W",
    "missed": "M",
    "crashed": "X",
}


def figures(lines: Sequence[Line]) -> list[Figure]:
    """What the bars are held against."""
    clean = [line for line in lines if line["kind"] == "clean"]
    faults = [line for line in lines if "severity" in line]
    critical = [line for line in faults if line["severity"] == "critical" and line["full"]]
    milder = [line for line in faults if line["severity"] == "warning" and line["full"]]
    harmless = [line for line in faults if line["severity"] == "harmless"]
    return [
        _share("critical at full strength stopped", critical, _is_stopped, at_least=99),
        _share("milder at full strength stopped or told", milder, lambda x: not _is_missed(x)),
        _share("harmless that did no harm", harmless, _is_stopped),
        Figure("clean runs", len(clean), "runs", at_least=200),
        _share("clean runs blocked or refused", clean, _is_blocked, at_most=1),
        _share("clean runs warned", clean, _is_warned, at_most=5),
    ]


def _share(name: str, lines: Sequence[Line], test: Any, **bar: float) -> Figure:
    found = sum(map(test, lines))
    note = f"{found} of {len(lines)}"
    return Figure(name, 100 * found / max(1, len(lines)), "%", note=note, **bar)


def _is_stopped(line: Line) -> bool:
    return line["outcome"] in STOPPED


def _is_missed(line: Line) -> bool:
    return line["outcome"] in ("missed", "crashed")


def _is_blocked(line: Line) -> bool:
    return line["outcome"] in ("blocked", "refused", "crashed")


def _is_warned(line: Line) -> bool:
    """Whether a clean run told anything that the runs before it had not."""
    return bool(line["alarms"] or line["quarantined"]) and not _is_blocked(line)


def markdown(lines: Iterable[Line]) -> str:
    """One row a kind and feed, a cell for each strength: how many trials ended how."""
    cells: dict[tuple[str, str], dict[float, Counter[str]]] = defaultdict(
        lambda: defaultdict(Counter)
    )
    for line in lines:
        if "severity" in line:
            cells[line["kind"], line["feed"]][line["strength"]][LETTERS[line["outcome"]]] += 1
    rows = ["| kind | what happens | to | is | strength: outcomes |", "|---|---|---|---|---|"]
    for name, kind in every_kind().items():
        for feed in kind.feeds:
            found = cells.get((name, feed.name))
            if found:
                told = "; ".join(
                    f"{_strength(strength, kind.unit)}{_counts(found[strength])}"
                    for strength in sorted(found)
                )
                rows.append(f"| {name} | {kind.tells} | {feed.name} | {kind.severity} | {told} |")
    return "\n".join(rows)


def _strength(strength: float, unit: str) -> str:
    if not unit:
        return ""
    told = f"{strength:.2%}".replace(".00%", "%") if unit.startswith("of ") else f"{strength:g}"
    return f"{told} {unit}: "


def _counts(found: Counter[str]) -> str:
    return " ".join(f"{letter}{found[letter]}" for letter in LETTERS.values() if found[letter])
