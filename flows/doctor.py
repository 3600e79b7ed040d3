"""What is wrong with this machine, this home and this project: a list of named checks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from flows.checks import machine, places, project, runs, store
from flows.checks.findings import Check, Finding, Look, is_caution
from warehouse.errors import ClearwaterError, ConfigurationError
from warehouse.settings import load_settings

# By importance, as far as none needs what a later one finds.
CHECKS: dict[str, Check] = {
    "settings": machine.settings,
    "home": machine.home,
    "disk": machine.disk,
    "versions": machine.versions,
    "extensions": machine.extensions,
    "lock": runs.lock,
    "lake": store.lake,
    "files": store.files,
    "landing": store.landing,
    "release": store.release,
    "releases": store.releases,
    "features": store.features,
    "state": runs.state,
    "clock": machine.clock,
    "rubbish": runs.rubbish,
    "rules": project.rules,
    "sources": project.sources,
    "reach": places.reach,
    "dbt": project.dbt,
    "columns": project.columns,
    "published": project.published,
    "schedules": project.schedules,
    "alerts": project.alerts,
    "server": runs.server,
    "port": places.port,
    "export": places.export,
}


def examine(sources: Path, home: Path | None) -> Iterator[Finding]:
    """Make every check; nothing is written but dbt's own cache, in the home.

    `sources` is the sources file; `home` as the user gave it.
    """
    try:
        look = Look(sources, load_settings(home))
    except ClearwaterError as error:
        yield Finding("settings", "", (error,))
        yield from (Finding(name, "") for name in CHECKS if name != "settings")
        return
    for name, check in CHECKS.items():
        try:
            well, wrong = check(look)
        except ClearwaterError as error:
            well, wrong = "", [error]
        yield Finding(name, well, tuple(wrong))


def exit_code(findings: list[Finding]) -> int:
    """0 when all is well but for warnings, 2 when some configuration is wrong, else 1."""
    wrong = [error for found in findings for error in found.wrong if not is_caution(error)]
    if any(isinstance(error, ConfigurationError) for error in wrong):
        return ConfigurationError.exit_code
    return ClearwaterError.exit_code if wrong else 0
