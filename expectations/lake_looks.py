"""The lake beside a build: attached for the rules that look into it, as of the build's snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb

from expectations.offenders import looked_into
from warehouse.duck import attach_lake
from warehouse.errors import ClearwaterError, LakeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from expectations.rules import Rule
    from warehouse.settings import Settings

# How the reasons begin that are no fault of a rule, and end.
NO_LAKE = "the lake cannot be read"
NOT_LOADED = "is not in the lake"


def attach_for(
    con: duckdb.DuckDBPyConnection,
    settings: Settings,
    rules: Iterable[Rule],
    snapshot: int | None,
) -> dict[str, str]:
    """Attach the lake to `con` read-only, as it was at `snapshot`, if any rule looks into it.

    Returns, by the id of each rule that cannot be judged so, why. What arrived after the snapshot
    is not seen: the build was not made from it.
    """
    looking = [rule for rule in rules if rule.lake_table]
    if not looking:
        return {}
    try:
        if snapshot is None:
            raise LakeError("nobody says which snapshot was built from")
        attach_lake(con, settings, snapshot=snapshot)
        absent = {name for name in {rule.lake_table for rule in looking} if not _has(con, name)}
    except (ClearwaterError, duckdb.Error) as error:
        told = error.what if isinstance(error, ClearwaterError) else str(error).partition("\n")[0]
        return {rule.id: f"{NO_LAKE}: {told}" for rule in looking}
    return {
        rule.id: f"{rule.lake_table} {NOT_LOADED} at snapshot {snapshot}"
        for rule in looking
        if rule.lake_table in absent
    }


def _has(con: duckdb.DuckDBPyConnection, table: str) -> bool:
    """Whether the attached lake has the table; a look that costs less than a list of them all."""
    try:
        con.execute(f"describe {looked_into(table)}")
    except duckdb.CatalogException:
        return False
    return True
