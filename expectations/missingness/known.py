"""The analyses of earlier runs, in one file of the home. Without it they are made again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from expectations.missingness.results import TableMissing
from warehouse.files import write_atomically

if TYPE_CHECKING:
    from warehouse.settings import Settings

_FILE = TypeAdapter(dict[str, TableMissing])


def known_analyses(settings: Settings) -> dict[str, TableMissing]:
    """The stored analyses by table; none where the file is missing or not to be read."""
    try:
        return _FILE.validate_json(settings.missing_json.read_bytes())
    except (OSError, ValueError):
        return {}


def keep_analyses(settings: Settings, analyses: Iterable[TableMissing]) -> None:
    """Store these analyses instead of those before, in one step."""
    tables = {analysis.table: analysis for analysis in analyses}
    write_atomically(settings.missing_json, _FILE.dump_json(tables, indent=1).decode())
