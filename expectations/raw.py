"""The rules of the raw boundary: which rows of an arriving file go to the quarantine.

They are the same rules as those of the gate, read from the same files, and the same SQL.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from expectations.offenders import offends
from expectations.rule_files import load_rules
from expectations.rules import LEARNED, Rule
from warehouse.errors import ConfigurationError
from warehouse.settings import Settings
from warehouse.sources import RowRule, Source, load_sources

MISSPELT = 0.92  # names as similar as raw_shop.orders and raw_shop.ordres


def declared_sources(file: Path, settings: Settings) -> list[Source]:
    """The sources that `file` declares, with the rules that their rows must keep.

    Raises ConfigurationError.
    """
    return with_rules(load_sources(file, settings), load_rules())


def with_rules(sources: Sequence[Source], rules: Sequence[Rule]) -> list[Source]:
    """The sources with the rules that their rows must keep.

    Rules of other datasets are left to the file that declares these. Raises ConfigurationError for
    one that is called nearly like a dataset of this file, and not like any.
    """
    tables = {f"{source.schema_name}.{source.table_name}": source for source in sources}
    raw = [rule for rule in rules if rule.boundary == "raw"]
    of_rows = [rule for rule in raw if rule.check not in LEARNED]
    for rule in raw:
        near = difflib.get_close_matches(rule.table, tables, n=1, cutoff=MISSPELT)
        if rule.table not in tables and near:
            raise ConfigurationError(
                f"rule {rule.id}: no source fills the table {rule.table!r}",
                where=rule.where,
                next_step=f"did you mean {near[0]!r}?",
            )
    return [
        source.with_rules(row_rule(rule) for rule in of_rows if rule.table == table)
        for table, source in tables.items()
    ]


def row_rule(rule: Rule) -> RowRule:
    """The rule as loading needs it."""
    return RowRule(
        id=rule.id,
        broken=offends(rule),
        columns=rule.columns,
        reason=rule.reason,
        is_critical=rule.severity == "critical",
        tolerance=rule.tolerance,
        references=rule.references_table,
        where=rule.where,
    )
