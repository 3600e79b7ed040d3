"""`clearwater rules`: every rule in force, in plain words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.options import Home, Json, print_json
from warehouse.settings import load_settings

if TYPE_CHECKING:
    from expectations.rules import Rule

BOUNDARIES = ("raw", "marts", "features")
PREFACE = """\
# Rules in force

What must be true of each table, as `clearwater rules --format markdown` tells it from the files
below `expectations/rules`; change those, not this page.

At the boundary `raw`, a row that breaks a critical rule waits in the quarantine, and a file that
does is refused; at `marts` and `features`, what breaks a critical rule is not published. *May
break* is how many rows may do so all the same. Where it is empty, the source's `tolerance` counts
for arriving rows, and of published ones none may. A rule on a mart or a feature may hold it against
what was loaded, a table `raw_…` of [the lake](rules.md#against-the-lake).
"""
HEADINGS = ("rule", "what must be true", "severity", "may break", "owner", "reason", "where")


class Form(StrEnum):
    """How the rules are printed."""

    table = "table"
    markdown = "markdown"


def rules(
    table: Annotated[
        str | None, typer.Argument(help="Only of this table, such as marts.fct_transactions.")
    ] = None,
    form: Annotated[Form, typer.Option("--format", help="How to print them.")] = Form.table,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Every rule in force: what must be true of each table, how strictly, and why.

    Example: clearwater rules marts.fct_transactions
    """
    from expectations.rule_files import load_rules
    from flows.failures import reader_may_leave

    load_settings(home)  # which is as wrong here as everywhere; the rules are the project's
    chosen = in_force(load_rules(), table)
    with reader_may_leave():
        if as_json:
            print_json([as_record(rule) for rule in chosen])
        elif form is Form.markdown:
            typer.echo(markdown(chosen), nl=False)
        else:
            typer.echo(_text(chosen))


def in_force(found: Sequence[Rule], table: str | None = None) -> list[Rule]:
    """The rules of all tables or of one, by boundary and table, each file's in its own order.

    Raises ConfigurationError when `table` has no rules.
    """
    from warehouse.errors import ConfigurationError

    tables = sorted({rule.table for rule in found})
    if table is not None and table not in tables:
        near = difflib.get_close_matches(table, tables, n=1)
        raise ConfigurationError(
            f"no rule speaks of {table!r}",
            where="clearwater rules",
            next_step=f"did you mean {near[0]!r}?" if near else f"tables: {', '.join(tables)}",
        )
    chosen = [rule for rule in found if table in (None, rule.table)]
    return sorted(chosen, key=lambda rule: (BOUNDARIES.index(rule.boundary), rule.table))


def as_record(rule: Rule) -> dict[str, Any]:
    """The rule for machines; `mostly` and `tolerance` are shares."""
    from expectations.statements import statement

    return {
        "boundary": rule.boundary,
        "table": rule.table,
        "id": rule.id,
        "check": rule.check,
        "says": statement(rule),
        "severity": rule.severity,
        "mostly": rule.mostly,
        "tolerance": rule.tolerance,
        "owner": rule.owner,
        "reason": rule.reason,
        "file": rule.file,
        "line": rule.line,
    }


def markdown(chosen: Sequence[Rule]) -> str:
    """The rules as a document: a heading a table, a row a rule."""
    parts = [PREFACE]
    for table, some in _by_table(chosen):
        head = f"## {_plain(table)}\n\nBoundary: {some[0].boundary}.\n"
        parts.append(f"{head}\n{''.join(_rows(some))}")
    return "\n".join(parts)


def _rows(some: Sequence[Rule]) -> Iterator[str]:
    from expectations.statements import code

    yield _row([heading.capitalize() for heading in HEADINGS])
    yield _row(["---"] * len(HEADINGS))
    for rule in some:
        id_, says, severity, may_break, owner, reason, where = _cells(rule)
        told = [code(id_), says, severity, may_break, _plain(owner), _plain(reason), code(where)]
        yield _row([cell.replace("|", r"\|") for cell in told])


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is, but for its bars."""
    return re.sub(r"([\\`*<\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", text)


def _text(chosen: Sequence[Rule]) -> str:
    """For people at a terminal: each table's rules below its name."""
    from flows.printing import fitting_text

    return "\n\n".join(
        f"{table} (boundary {some[0].boundary})\n\n{fitting_text(HEADINGS, [*map(_cells, some)])}"
        for table, some in _by_table(chosen)
    )


def _cells(rule: Rule) -> list[str]:
    """What HEADINGS name, as texts."""
    from expectations.statements import exceptions, statement

    where = f"{rule.file}:{rule.line}"
    told = [rule.id, statement(rule), rule.severity, exceptions(rule)]
    return [*told, rule.owner, rule.reason, where]


def _by_table(chosen: Sequence[Rule]) -> Iterator[tuple[str, list[Rule]]]:
    for table, some in groupby(chosen, key=lambda rule: rule.table):
        yield table, list(some)
