"""`clearwater source`: what sources.yml declares, and new entries from data never seen before."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.options import SOURCES, Home, Json, Sources, Wait, print_json, say
from warehouse.errors import ClearwaterError, ConfigurationError
from warehouse.settings import PROJECT, Settings, load_settings

if TYPE_CHECKING:
    from warehouse.inference.result import Inferred
    from warehouse.onboarding import Draft, Found
    from warehouse.sources import Source

app = typer.Typer(no_args_is_help=True, help="The sources that sources.yml declares.")

Places = Annotated[
    list[str], typer.Argument(metavar="PATH", help="A file, a folder, a quoted pattern; s3:// too.")
]
Name = Annotated[str, typer.Option("--name", help="What to call it: <source>.<dataset>.")]
Yes = Annotated[bool, typer.Option("--yes", help="Write without asking.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be written, only.")]


def _file_count(source: Source) -> int | None:
    """How many files the source matches now; None when S3 cannot be listed."""
    from warehouse.errors import BatchRefusedError
    from warehouse.places import standing

    try:
        return len(standing(source))
    except BatchRefusedError:
        return None


@app.command("list")
def list_sources(sources: Sources = SOURCES, home: Home = None, as_json: Json = False) -> None:
    """The declared sources and how many files each matches now.

    Example: clearwater source list --sources my.yml
    """
    from flows.printing import table_text
    from warehouse.sources import load_sources

    found = [
        {
            "name": source.name,
            "kind": source.kind,
            "write": source.write,
            "key": ", ".join(source.key),
            "files": _file_count(source),
            "path": source.path,
        }
        for source in load_sources(sources, load_settings(home))
    ]
    if as_json:
        print_json(found)
    else:
        say(table_text(list(found[0]), [list(source.values()) for source in found]))


@app.command("add")
def add_source(
    path: Places,
    name: Name,
    sources: Sources = SOURCES,
    yes: Yes = False,
    dry_run: DryRun = False,
    home: Home = None,
    as_json: Json = False,
    wait: Wait = False,
) -> None:
    """Look at data never seen before and write its entry, models and first rules.

    Example: clearwater source add data/orders --name shop.orders
    """
    from warehouse.lock import writer_lock

    _check_usage(path, is_answered=yes or dry_run, can_ask=not as_json and sys.stdin.isatty())
    settings = load_settings(home)
    drafted, found, inferred = _look(settings, path[0], name, sources)
    if not as_json:
        _show(drafted, found, inferred)
    wanted = yes and not dry_run
    if not (wanted or dry_run):
        wanted = typer.confirm(f"\nwrite these {len(drafted.changes)} files?")
    if wanted:
        with writer_lock(settings, wait=wait):
            drafted.write()
            _check(settings, drafted, sources)
    if as_json:
        print_json(_as_json(drafted, found, inferred, written=wanted))
    elif wanted:
        say(_next_steps(drafted, sources, home))
    else:
        say("\nnothing was written")


def _check_usage(path: list[str], *, is_answered: bool, can_ask: bool) -> None:
    if len(path) > 1:
        raise ConfigurationError(
            f"{len(path)} paths were given, where one is expected",
            where="clearwater source add",
            next_step="name the folder, or put the pattern in quotes so that the shell leaves it",
        )
    if not is_answered and not can_ask:
        raise ConfigurationError(
            "there is nobody to ask whether to write",
            where="clearwater source add",
            next_step="add --yes to write, or --dry-run to look only",
        )


def _look(settings: Settings, path: str, name: str, sources: Path) -> tuple[Draft, Found, Inferred]:
    """All that follows from the data; nothing is written but scratch."""
    from warehouse.inference import infer
    from warehouse.inference.files import workspace
    from warehouse.onboarding import check_name, draft, find

    check_name(name, sources, settings)
    with workspace(settings, "downloaded") as downloaded:
        found = find(path, sources, downloaded)
        inferred = infer(settings, list(found.files), name)
        if not inferred.row_count:
            raise ConfigurationError(
                "there is a header, but no row to learn from",
                where=path,
                next_step="add it when it holds rows; a table without any passes no gate",
            )
        return draft(name, found, inferred, sources, PROJECT), found, inferred


def _show(drafted: Draft, found: Found, inferred: Inferred) -> None:
    """What was found, what would be written, and why."""
    from flows.printing import table_text

    files = f"{inferred.file_count:,} file{'s' * (inferred.file_count != 1)}"
    say(f"{drafted.data.full_name}: {inferred.row_count:,} rows in {files}, {inferred.format}\n")
    rows = [[e.about, e.decision, e.because] for e in inferred.evidence]
    say(table_text(["what", "decision", "because"], rows))
    say(f"\n{_shown(drafted.changes[0].path)} gets:\n\n{drafted.entry_text}")
    say("files:")
    for change in drafted.changes:
        mark = "+" if change.before is None else "~"
        say(f"  {mark} {_shown(change.path)}: {change.what}")
    for warning in (*found.warnings, *inferred.warnings):
        say(f"\nwarning: {warning}")


def _check(settings: Settings, drafted: Draft, sources: Path) -> None:
    """Read the project with the new files as a run will; take them back if it cannot."""
    from expectations.rules import load_rules
    from warehouse.dbt_runner import parse
    from warehouse.sources import load_sources

    try:
        load_sources(sources, settings)
        parse(settings)
        load_rules(PROJECT / "expectations" / "rules")
    except ClearwaterError as error:
        drafted.take_back()
        raise ConfigurationError(
            f"the project cannot be read with the new files, so none was kept: {error.what}",
            where=error.where,
            next_step=error.next_step or "mend what it names, and run the command again",
        ) from None
    except BaseException:
        drafted.take_back()
        raise


def _next_steps(drafted: Draft, sources: Path, home: Path | None) -> str:
    at_home = f" --home {shlex.quote(str(home))}" if home else ""
    of_sources = "" if sources == SOURCES else f" --sources {shlex.quote(str(sources))}"
    name = drafted.data.full_name
    return f"""
written. What next:
  clearwater run{of_sources}{at_home}
  clearwater query "select * from {drafted.data.mart} limit 10"{at_home}
to take it back: remove {name} from the files marked ~, and the files marked +"""


def _as_json(
    drafted: Draft, found: Found, inferred: Inferred, *, written: bool
) -> dict[str, object]:
    return {
        "entry": drafted.entry,
        "files": [str(change.path) for change in drafted.changes],
        "evidence": [vars(evidence) for evidence in inferred.evidence],
        "warnings": [*found.warnings, *inferred.warnings],
        "written": written,
    }


def _shown(path: Path) -> str:
    """The path as seen from here, if it lies below."""
    here = Path(os.path.realpath("."))
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
