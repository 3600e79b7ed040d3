"""`clearwater audit --suggest`: rules proposed from a table's data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.options import print_json
from warehouse.settings import load_settings

Suggest = Annotated[
    str | None,
    typer.Option(
        "--suggest",
        metavar="TABLE",
        help="Propose rules for marts.x, features.x or the lake's raw_<source>.<dataset>, as YAML.",
    ),
]


def suggest_rules(table: str | None, release: str | None, home: Path | None, as_json: bool) -> None:
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
    suggested = suggest(load_settings(home), table, release, rules, datetime.now(UTC))
    with reader_may_leave():
        if as_json:
            found = [rule | {"evidence": p.evidence} for rule, p in suggested.rules]
            print_json({"table": table, "rules": found})
        else:
            typer.echo(suggested.text, nl=False)
