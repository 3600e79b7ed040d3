"""`clearwater doctor`: what is wrong, where, and how to mend it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.options import SOURCES, Home, Json, Sources, Wait, print_json, say
from warehouse.wording import counted

if TYPE_CHECKING:
    from flows.checks.findings import Finding

Fix = Annotated[
    bool, typer.Option("--fix", help="Mend first what can be mended without losing anything.")
]


def doctor(
    sources: Sources = SOURCES,
    fix: Fix = False,
    wait: Wait = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Look at the machine, what is kept, the project and the server; change nothing but with --fix.

    Example: clearwater doctor --sources my.yml
    """
    from flows.checks.findings import is_caution
    from flows.doctor import examine, exit_code

    mended = _mend(home, wait=wait) if fix else []
    findings = []
    for text in mended if not as_json else ():
        say(f"mended    {text}")
    for finding in examine(sources, home):
        findings.append(finding)
        if not as_json:
            _print(finding)
    code = exit_code(findings)
    if as_json:
        checks = [_as_json(finding) for finding in findings]
        print_json({"exit_code": code, "mended": mended, "checks": checks})
    else:
        told = [is_caution(error) for finding in findings for error in finding.wrong]
        say(_summary(told.count(False), told.count(True)))
    raise typer.Exit(code)


def _mend(home: Path | None, *, wait: bool) -> list[str]:
    from flows.mending import mend
    from warehouse.settings import load_settings

    return list(mend(load_settings(home), wait=wait))


def _summary(wrong: int, warnings: int) -> str:
    told = [f"{wrong} to mend"] * bool(wrong) + [counted(warnings, "warning")] * bool(warnings)
    return ", ".join(told) or "all is well"


def _print(finding: Finding) -> None:
    from flows.checks.findings import is_caution

    told = finding.well or "not looked at, for what is wrong above"
    if not finding.wrong:
        say(f"{finding.status:<9} {finding.check:<11} {told}")
    for error in finding.wrong:
        word = "warning" if is_caution(error) else "wrong"
        text = str(error).replace("\n", f"\n{'':22}")
        say(f"{word:<9} {finding.check:<11} {text}")


def _as_json(finding: Finding) -> dict[str, Any]:
    from flows.checks.findings import is_caution

    return {
        "check": finding.check,
        "status": finding.status,
        "detail": "" if finding.wrong else finding.well,
        "findings": [
            {"what": error.what, "where": error.where, "next_step": error.next_step}
            | {"is_warning": is_caution(error)}
            for error in finding.wrong
        ],
    }
