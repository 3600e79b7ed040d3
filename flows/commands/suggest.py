"""`clearwater audit --suggest`: rules proposed from a table's data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.options import SOURCES, print_json
from warehouse.settings import load_settings

if TYPE_CHECKING:
    from warehouse.settings import Settings
    from warehouse.sources import Source

Suggest = Annotated[
    str | None,
    typer.Option(
        "--suggest",
        metavar="TABLE",
        help="Propose rules for marts.x, features.x or the lake's raw_<source>.<dataset>, as YAML.",
    ),
]


def suggest_rules(
    table: str | None, release: str | None, sources: Path, home: Path | None, as_json: bool
) -> None:
    """Print the rule file that the table's data propose, or its rules with their evidence."""
    from datetime import UTC, datetime

    from expectations.rule_files import read_rules
    from expectations.suggesting import suggest
    from flows.failures import reader_may_leave
    from warehouse.errors import ConfigurationError

    is_raw = table is not None and table.startswith("raw_")
    if table is None or (is_raw and release is not None):
        raise ConfigurationError(
            "--release goes with --suggest of a published table",
            where="clearwater audit",
            next_step="name one, such as --suggest marts.fct_transactions, or leave --release out",
        )
    # The output may go to a rule file, which is empty then; `doctor` tells of wrong ones.
    rules, _ = read_rules()
    settings = load_settings(home)
    declared = _declared(sources, settings)
    suggested = suggest(settings, table, release, rules, declared, datetime.now(UTC))
    with reader_may_leave():
        if as_json:
            found = [rule | {"evidence": p.evidence} for rule, p in suggested.rules]
            print_json({"table": table, "rules": found})
        else:
            typer.echo(suggested.text, nl=False)


def _declared(file: Path, settings: Settings) -> list[Source]:
    """The sources of the file; none if it is not named and cannot be read, as `doctor` tells."""
    from warehouse.errors import ConfigurationError
    from warehouse.sources import load_sources

    try:
        return load_sources(file, settings)
    except ConfigurationError:
        if file != SOURCES:
            raise
        return []
