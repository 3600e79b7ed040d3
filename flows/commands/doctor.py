"""`clearwater doctor`: what is wrong, where, and how to mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from flows.options import SOURCES, Home, Json, Sources, print_json, say

if TYPE_CHECKING:
    from flows.doctor import Finding


def doctor(sources: Sources = SOURCES, home: Home = None, as_json: Json = False) -> None:
    """Look at settings, versions, sources, rules, models, lake and release; change nothing.

    Example: clearwater doctor --sources my.yml
    """
    from flows.doctor import examine, exit_code

    findings = []
    for finding in examine(sources, home):
        findings.append(finding)
        if not as_json:
            _print(finding)
    code = exit_code(findings)
    if as_json:
        print_json({"exit_code": code, "checks": [_as_json(finding) for finding in findings]})
    else:
        count = sum(len(finding.wrong) for finding in findings)
        say(f"{count} to mend" if count else "all is well")
    raise typer.Exit(code)


def _print(finding: Finding) -> None:
    told = finding.well or "not looked at, for what is wrong above"
    if not finding.wrong:
        say(f"{finding.status:<9} {finding.check:<11} {told}")
    for error in finding.wrong:
        text = str(error).replace("\n", f"\n{'':22}")
        say(f"{finding.status:<9} {finding.check:<11} {text}")


def _as_json(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "status": finding.status,
        "detail": "" if finding.wrong else finding.well,
        "findings": [
            {"what": error.what, "where": error.where, "next_step": error.next_step}
            for error in finding.wrong
        ],
    }
