"""Checks of what people write: rules, sources, models, schedules, who is alerted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from flows.checks.findings import Found, Look
from warehouse.errors import ClearwaterError, ConfigurationError
from warehouse.wording import counted


def rules(look: Look) -> Found:
    """Whether every rule file can be read."""
    from expectations.rule_files import read_rules

    look.rules, wrong = read_rules()
    look.unread = bool(wrong)
    return counted(len(look.rules), "rule"), list(wrong)


def sources(look: Look) -> Found:
    """Whether the sources file can be read."""
    from expectations.raw import with_rules
    from warehouse.sources import load_sources

    look.declared = load_sources(look.sources, look.settings)
    with_rules(look.declared, look.rules)
    return f"{counted(len(look.declared), 'source')} in {look.sources}", []


def dbt(look: Look) -> Found:
    """Whether dbt can read the models."""
    from warehouse.dbt_runner import parse

    look.project = parse(look.settings)
    return counted(len(look.project.models), "model"), []


def columns(look: Look) -> Found:
    """Whether the rules fit the tables, columns and types of the models and of the lake."""
    from expectations.known_columns import mistakes, of_lake, of_project

    raw = [rule for rule in look.rules if rule.boundary == "raw"]
    lake = of_lake(look.settings, look.declared)
    wrong: list[ClearwaterError] = list(mistakes(raw, lake))
    if look.project is None:
        return "", wrong
    published = (rule for rule in look.rules if rule.boundary != "raw")
    wrong += mistakes(published, of_project(look.project, lake))
    return "tables, columns and types of the rules are there", wrong


def published(look: Look) -> Found:
    """A table without contract is not built, and one without rules passes no gate."""
    from expectations.rules import PUBLISHED
    from warehouse.dbt_runner import contracts

    if look.project is None:
        return "", []
    typed, ruled = contracts(look.project), {rule.table for rule in look.rules}
    models = [model for model in look.project.models.values() if model.schema in PUBLISHED]
    wrong: list[ClearwaterError] = []
    for model in sorted(models, key=lambda model: model.relation):
        if not typed.get(model.relation) or not all(typed[model.relation].values()):
            wrong.append(
                ConfigurationError(
                    f"{model.relation} has no contract, or a column without a type in it",
                    where=model.file,
                    next_step="list its columns, each with its `data_type`, in"
                    f" {Path(model.file).with_suffix('.yml')} (docs/models.md)",
                )
            )
        if model.relation not in ruled and not look.unread:
            wrong.append(
                ConfigurationError(
                    f"no rule speaks of {model.relation}, so that its gate blocks",
                    where=model.file,
                    next_step=f"write rules into expectations/rules/{model.schema}/{model.name}.yml"
                    " (docs/models.md)",
                )
            )
    return f"{counted(len(models), 'published table')} with contract and rules", wrong


def alerts(look: Look) -> Found:
    """Whether every address of an alert is one that can be sent to; nothing is sent."""
    from flows.alerts import URLS, is_known, receivers

    found = receivers(look.settings.alert_urls)
    if not found:
        return "nobody is told of incidents", []
    wrong: list[ClearwaterError] = [
        ConfigurationError(
            f"the address of {receiver.name} is none that an alert can be sent to",
            where=URLS,
            next_step="correct it: docs/incidents.md has examples; separate several with spaces",
        )
        for receiver in found
        if not is_known(receiver)
    ]
    return ", ".join(receiver.name for receiver in found), wrong


def schedules(look: Look) -> Found:
    """Whether every schedule can be read, and has a next moment."""
    from flows.schedules import declared, next_after

    if not look.declared:
        return "", []
    found, now = declared(look.sources, look.settings), datetime.now(UTC)
    moments = [at for schedule in found if (at := next_after(schedule, now))]
    first = f", the next at {min(moments):%Y-%m-%d %H:%M} UTC" if moments else ""
    return f"{counted(len(found), 'schedule')}{first}", []
