"""What to do about a rule that stops a release, by what kind of rule it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expectations.gate import NO_GATE, NO_TABLE, NO_VALUE, NOT_BUILT, SAW_NO_ROWS
from expectations.lake_looks import NO_LAKE, NOT_LOADED
from expectations.rules import LEARNED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from expectations.gate import RuleResult
    from expectations.rules import Rule

SHOWN_SOURCES = 3
_REPLACES = ", which takes the place of loaded rows only under `write: merge` or `snapshot`"


def is_blocking(result: RuleResult) -> bool:
    """Whether the result alone keeps its table from being published."""
    is_critical = result.status == "fail" and result.severity == "critical"
    return is_critical or result.status == "error"


def next_steps(
    result: RuleResult,
    rule: Rule | None,
    lineage: Mapping[str, Sequence[str]],
    shifted: Sequence[str] = (),
) -> tuple[str, ...]:
    """What a person does about a result that blocks; the first sentence is enough to go on.

    `rule` is None where its file cannot be read any more; `lineage` are the relations that each
    relation is made from; `shifted` all tables that wait for an acceptance together, if several.
    """
    sources = _sources(result.table, lineage)
    if result.check == "suite":
        return (f"write rules of {result.table} into {_file(result)} (docs/rules.md)",)
    if result.status == "error":
        return (_after_error(result, rule, sources),)
    if result.check == "columns":
        return (
            f"mend the model of {result.table};"
            f" if the table is meant so, write it into {_file(result)}",
        )
    if rule is not None and _may_be_accepted(rule):
        return (
            f"`clearwater accept {' '.join(shifted or [result.table])}` if it is meant so; if not,"
            f" {_asked(sources)} for a corrected file{_REPLACES}",
        )
    if result.check == "freshness":
        return (
            f"{_asked(sources)} for newer data, or correct `max_age` {_at(result, rule)},"
            " if it is too short",
        )
    if rule is not None and rule.lake_table and result.check in ("total", "row_count"):
        return (
            f"mend the models of {result.table}, which lose or repeat what is in the lake, or the"
            f" rule {_at(result, rule)}, if it is wrong",
            "`clearwater run --full-refresh` builds anew, not on the last release: if that passes,"
            " an incremental model is at fault",
        )
    return (
        f"{_asked(sources)} for a corrected file{_REPLACES}, or mend the rule"
        f" {_at(result, rule)}, if it is wrong",
        *_about_rows(sources),
    )


def _after_error(result: RuleResult, rule: Rule | None, sources: Sequence[str]) -> str:
    if result.detail.startswith(NO_GATE):
        return "`clearwater doctor` looks at the installation; then run again"
    if result.detail.startswith(SAW_NO_ROWS):
        came = f"what came from {_named(sources)}, and " if sources else ""
        return f"{result.table} has no rows to check: look at {came}what its model leaves out"
    if result.detail.startswith(NO_VALUE):
        nothing = f"`coalesce({rule.expression}, 0)`" if rule else "`coalesce`"
        return (
            f"if none may be there, say what nothing is, such as {nothing}, {_at(result, rule)};"
            f" if not, {_asked(sources)} for what is missing"
        )
    if NO_TABLE in result.detail:
        return f"set `materialized: table` in the model of {result.table}"
    if result.detail.endswith(NOT_BUILT):
        return f"bring the model of {result.table} back, or delete the rule {_at(result, rule)}"
    if rule is not None and rule.lake_table:
        return _without_lake(result, rule)
    return f"mend the rule {_at(result, rule)}"


def _without_lake(result: RuleResult, rule: Rule) -> str:
    if result.detail.startswith((NO_LAKE, "IO Error")):
        return "`clearwater doctor` looks at the lake; then run again"
    if NOT_LOADED in result.detail:
        return (
            f"load {rule.lake_table.removeprefix('raw_')}, or delete the rule {_at(result, rule)}"
        )
    return (
        f"mend the rule {_at(result, rule)}; if it is right, `clearwater doctor` looks at the lake"
    )


def _may_be_accepted(rule: Rule) -> bool:
    """Whether `clearwater accept` lets the next run pass: a level is learnt, or a day let through.

    A written bound on a table as a whole is broken again by the next run.
    """
    return rule.is_learned or (rule.check in LEARNED and bool(rule.by))


def _about_rows(sources: Sequence[str]) -> tuple[str, ...]:
    """How to find the file that rows came from, and what to do where a corrected one conflicts."""
    if not sources:
        return ()
    name = sources[0]
    return (
        "which file a row came from: `clearwater query --lake"
        f' "select _source_file, _source_row, * from raw_{name} where …"`',
        "rows of a corrected file that are in quarantine as `key_conflict`: set `write: merge` in"
        f" sources.yml, and `clearwater quarantine replay {name}` loads them",
    )


def _asked(sources: Sequence[str]) -> str:
    return f"ask the sender of {_named(sources)}" if sources else "ask the sender"


def _named(sources: Sequence[str]) -> str:
    more = len(sources) - SHOWN_SOURCES
    return ", ".join(sources[:SHOWN_SOURCES]) + (f" and {more} more" if more > 0 else "")


def _sources(table: str, lineage: Mapping[str, Sequence[str]]) -> list[str]:
    """The sources that the table is made from, through all layers."""
    found: set[str] = set()
    ahead = [table]
    while ahead:
        for parent in lineage.get(ahead.pop(), ()):
            if parent not in found:
                found.add(parent)
                ahead.append(parent)
    return sorted(name.removeprefix("raw_") for name in found if name.startswith("raw_"))


def _file(result: RuleResult) -> str:
    return f"expectations/rules/{result.boundary}/{result.table.partition('.')[2]}.yml"


def _at(result: RuleResult, rule: Rule | None) -> str:
    return f"at {rule.where}" if rule is not None and rule.file else f"in {_file(result)}"
