"""Proposals as a rule file: YAML that `load_rules` reads, the evidence as comments above each."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from expectations.rules import Bound, Rule
from expectations.suggesting.proposal import Proposal
from warehouse.onboarding.rules import MODELINE
from warehouse.onboarding.yaml_text import dumped
from warehouse.wording import counted

WIDTH = 96


def new_ones(proposals: Iterable[Proposal], rules: Sequence[Rule]) -> Iterator[Proposal]:
    """The proposals without what the table's `rules` say already."""
    for proposal in proposals:
        kept = _without_known(proposal, rules)
        if kept is not None and not any(_says(rule, kept) for rule in rules):
            yield kept


def _without_known(proposal: Proposal, rules: Sequence[Rule]) -> Proposal | None:
    """Of a not_null on many columns, and of two bounds, what no rule has yet."""
    if proposal.check["check"] == "between" and not any(_sql_bounds(proposal.check)):
        return _without_known_bounds(proposal, rules)
    if proposal.check["check"] != "not_null":
        return proposal
    known = {name for rule in rules if rule.check == "not_null" for name in rule.columns}
    left = [name for name in proposal.columns if name not in known]
    if len(left) == len(proposal.columns):
        return proposal
    return proposal.on(left) if left else None


def _without_known_bounds(proposal: Proposal, rules: Sequence[Rule]) -> Proposal | None:
    """The bounds that no rule on the column has, and which rule lacks them."""
    of_it = [r for r in rules if r.check == "between" and r.columns == proposal.columns]
    known = {key for r in of_it for key, (value, _) in _bounds(r).items() if value is not None}
    lacking = proposal.check.keys() & {"min", "max"} - known
    if lacking == proposal.check.keys() & {"min", "max"}:
        return proposal
    if not lacking:
        return None
    (side,) = lacking
    open_ = [rule for rule in of_it if _bounds(rule)[side] == (None, "")]
    told = (_may_go_into(rule, side, proposal) for rule in open_)
    check = {key: value for key, value in proposal.check.items() if key not in known}
    return replace(proposal, check=check, evidence=(*proposal.evidence, *told))


def _bounds(rule: Rule) -> dict[str, tuple[Bound | None, str]]:
    """The rule's bounds as values, and as SQL."""
    return {"min": (rule.minimum, rule.minimum_sql), "max": (rule.maximum, rule.maximum_sql)}


def _may_go_into(rule: Rule, side: str, proposal: Proposal) -> str:
    told = f"the rule {rule.id} ({rule.where}) has no `{side}`: this one may go there instead"
    if rule.severity != proposal.severity:
        told += f", and is {rule.severity} then"
    return told


def _says(rule: Rule, proposal: Proposal) -> bool:
    """Whether the rule is of the same check on the same columns, or says it in its SQL."""
    check = proposal.check
    if rule.check == "expression" and check["check"] == "between":
        return _says_in_sql(rule.expression, proposal)
    if rule.check != check["check"]:
        return False
    if check["check"] == "total":
        ours = (check["expression"], check["equals"], check["equals_table"])
        return ours == (rule.expression, rule.equals, rule.equals_table)
    if check["check"] == "row_count":
        return bool(rule.equals_table) == ("equals_table" in check)
    if check["check"] == "between" and not any(_sql_bounds(check)):
        return False  # what is left of its bounds no rule has
    same_bounds = (rule.minimum_sql, rule.maximum_sql) == _sql_bounds(check)
    same_columns = set(rule.columns) == set(proposal.columns)
    return check["check"] in ("columns", "anomaly") or (same_columns and same_bounds)


def _sql_bounds(check: dict[str, Any]) -> tuple[str, str]:
    """The bounds that are SQL, which those of no other check than `between` are."""
    least, most = (check.get(key) for key in ("min", "max"))
    return least if isinstance(least, str) else "", most if isinstance(most, str) else ""


def _says_in_sql(expression: str, proposal: Proposal) -> bool:
    """Whether the expression compares the two columns, or the one with a number."""
    (column,) = proposal.columns
    others = re.findall(r"[A-Za-z_]\w*", " ".join(_sql_bounds(proposal.check)))
    if others:
        return {column, others[0]} <= set(re.findall(r"\w+", expression))
    return bool(re.search(rf"\b{re.escape(column)}\s*([<>]|between)=?\s*-?\d", expression))


def with_ids(
    proposals: Iterable[Proposal], table: str, taken: Iterable[str]
) -> list[tuple[dict[str, Any], Proposal]]:
    """Each proposal as the rule that YAML has, under an id that is its own in the project."""
    name = table.removeprefix("raw_").replace(".", "_") if table.startswith("raw_") else ""
    name = name or table.rpartition(".")[2]
    used = set(taken)
    found = []
    for proposal in proposals:
        id_ = base = f"{name}_{proposal.suffix}"
        number = 2
        while id_ in used:
            id_, number = f"{base}_{number}", number + 1
        used.add(id_)
        rule = {"id": id_, **proposal.check}
        rule |= {"severity": proposal.severity, "reason": proposal.reason}
        found.append((rule, proposal))
    return found


def file_text(
    found: Sequence[tuple[dict[str, Any], Proposal]],
    table: str,
    owner: str,
    header: Sequence[str],
) -> str:
    """The rule file; without rules only the header, as comments."""
    comments = "".join(_comment(line, 0) for line in header)
    if not found:
        return comments
    rules = "\n".join(
        "".join(_comment(line, 2) for line in proposal.evidence) + dumped([rule], 2)
        for rule, proposal in found
    )
    return f"{MODELINE}{comments}table: {table}\nowner: {owner}\nrules:\n{rules}"


def header(
    table: str, rows: int, read_from: str, order: str, now: datetime, known: Sequence[Rule]
) -> list[str]:
    """What was read, when, and what to do with it."""
    boundary = "raw" if table.startswith("raw_") else table.partition(".")[0]
    name = table.removeprefix("raw_") if boundary == "raw" else table.partition(".")[2]
    file = known[0].file if known else f"expectations/rules/{boundary}/{name}.yml"
    by = f", earlier and later ones told apart by {order}" if order else ""
    first = f"Proposed by `clearwater audit --suggest {table}` on {now:%Y-%m-%d %H:%M} UTC from"
    what = f"{first} {counted(rows, 'row')} of {read_from}{by}."
    are = f"{counted(len(known), 'rule')} {'is' if len(known) == 1 else 'are'}"
    todo = f"{are} in {file} already and left out: add these there."
    keep = f"Read it, change it, and keep what is meant in {file}."
    return [what, todo if known else keep]


def _comment(text: str, indent: int) -> str:
    margin = " " * indent + "# "
    return textwrap.fill(text, WIDTH, initial_indent=margin, subsequent_indent=margin) + "\n"
