"""Domains: parts of the warehouse that are published apart, each with a release line of its own.

A domain that `independent_domains` in dbt_project.yml names has its own line; all else is the main
line. A release is one file all the same: the tables of a line that its gate blocked are those of
the release before.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from warehouse.errors import BuildError, ConfigurationError

if TYPE_CHECKING:
    from warehouse.dbt_runner import Model

MAIN = "main"
LAYERS = ("staging", "intermediate", "marts", "features")
VARIABLE = "independent_domains"


@dataclass(frozen=True)
class Line:
    """Where the tables of one domain in a release come from.

    `release` is the one whose build made them, at `lake_snapshot` of `lake`, with its gate's
    verdict; None, and no tables, as long as the domain has never passed. `held` says why a later
    build of the domain was not published, and is empty when there is none.
    """

    release: str | None
    lake: str = ""
    lake_snapshot: int | None = None
    verdict: str = ""
    tables: list[str] = field(default_factory=list)
    held: str = ""


def independent_domains(project_file: Path, known: Collection[str]) -> frozenset[str]:
    """The domains that dbt_project.yml declares independent; `known` are those that models have.

    Raises ConfigurationError for a name that no model has, with the nearest that one has.
    """
    variables = _variables(yaml.safe_load(project_file.read_text(encoding="utf-8")))
    named = variables.get(VARIABLE) or []
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise ConfigurationError(
            f"{VARIABLE!r} is {named!r}, not a list of names",
            where=project_file.name,
            next_step=f"write `{VARIABLE}: [a, b]` below `vars:`",
        )
    for name in named:
        if name == MAIN:
            raise ConfigurationError(
                f"{VARIABLE!r} names {MAIN!r}, which is all that is not independent",
                where=project_file.name,
                next_step="take it out, or give the domain another name",
            )
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            are = ", ".join(sorted(known)) or "none"
            raise ConfigurationError(
                f"{VARIABLE!r} names {name!r}, and no model is of that domain",
                where=project_file.name,
                next_step=f"did you mean {near[0]!r}?" if near else f"domains of models: {are}",
            )
    return frozenset(named)


def _variables(project: Mapping[str, Any]) -> Mapping[str, Any]:
    """The project's own variables, which dbt takes from either of two places."""
    everywhere = project.get("vars") or {}
    return {**everywhere, **(everywhere.get(project.get("name")) or {})}


def declared_domain(file: str, meta: Mapping[str, Any]) -> str:
    """The domain of a model: `meta.domain`, else its folder below the layer's; "" without one."""
    if meta.get("domain"):
        return str(meta["domain"])
    parts = Path(file).parts
    return parts[2] if len(parts) > 3 and parts[1] in LAYERS else ""


def check_reads(models: Mapping[str, Model]) -> None:
    """Refuse a model that reads one of another line: the two may be of different times.

    Raises BuildError.
    """
    made = {model.relation: model for model in models.values()}
    for model in models.values():
        for parent in sorted(model.parents & made.keys()):
            other = made[parent]
            if other.domain != model.domain:
                raise BuildError(
                    f"model {model.name} of the domain {model.domain!r} reads {other.name} of"
                    f" {other.domain!r}, which is published apart from it",
                    where=model.file,
                    next_step="read the sources instead, move one of the two models to the other's"
                    f" domain, or shorten `{VARIABLE}` in dbt_project.yml",
                )


def tables_now(lines: Mapping[str, Line], domains: Mapping[str, str]) -> dict[str, list[str]]:
    """The tables of a release by the domain that they belong to today.

    `domains` are those of the tables that today's models make. A table that none makes any more
    stays with its line while there is one of that name, and falls to the main line else.
    """
    names = set(domains.values())
    found: dict[str, list[str]] = {}
    for name, line in lines.items():
        for table in line.tables:
            domain = domains.get(table) or (name if name in names else MAIN)
            found.setdefault(domain, []).append(table)
    return found


def held_line(lines: Iterable[Line], tables: list[str], why: str) -> Line:
    """The line that keeps `tables` of a release as they are there, for the reason given.

    A domain that was declared only now may take tables of several lines: it is as old as the
    oldest of them, and of no one lake if they are of several, so that it is built in full next.
    """
    taken = [line for line in lines if set(line.tables) & set(tables)]
    if not taken:
        return Line(None, held=why)
    oldest = min(taken, key=lambda line: line.lake_snapshot or 0)
    lake = oldest.lake if {line.lake for line in taken} == {oldest.lake} else ""
    verdict = worst(line.verdict for line in taken)
    return replace(oldest, lake=lake, verdict=verdict, tables=tables, held=why)


def worst(verdicts: Iterable[str]) -> str:
    """The worst verdict of lines that are published: warn, or pass."""
    return "warn" if "warn" in verdicts else "pass"
