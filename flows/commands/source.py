"""`clearwater source`: what sources.yml declares, and new entries from data never seen before."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.options import SOURCES, Home, Json, Sources, Wait, print_json, say
from warehouse.errors import ClearwaterError, ConfigurationError
from warehouse.settings import PROJECT, Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from warehouse.inference.result import Inferred
    from warehouse.onboarding import Changes, Draft
    from warehouse.onboarding.tables import FoundTable
    from warehouse.sources import Source

app = typer.Typer(no_args_is_help=True, help="The sources that sources.yml declares.")

Places = Annotated[
    list[str], typer.Argument(metavar="PATH", help="A file, a folder, a quoted pattern; s3:// too.")
]
Name = Annotated[
    str,
    typer.Option(
        "--name", help="<source>.<dataset>; for a folder of several tables <source> alone."
    ),
]
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
    """The declared sources, how many files each matches now, and when each is run by itself.

    Example: clearwater source list --sources my.yml
    """
    from flows.printing import table_text
    from flows.schedules import trigger_of
    from warehouse.sources import load_sources

    found = [
        {
            "name": source.name,
            "kind": source.kind,
            "write": source.write,
            "key": ", ".join(source.key),
            "files": _file_count(source),
            "schedule": "; ".join(str(trigger_of(entry)) for entry in source.schedule),
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

    A folder of several tables takes a name without a dataset: each is named after its files.

    Example: clearwater source add data/orders --name shop.orders
    """
    from warehouse.lock import writer_lock
    from warehouse.onboarding import together

    _check_usage(path, is_answered=yes or dry_run or not as_json)
    settings = load_settings(home)
    looked, left_out = _look(settings, path[0], name, sources)
    changes = together([table.drafted for table in looked])
    if not as_json:
        _show(looked, left_out, changes)
    wanted = yes and not dry_run
    if not (wanted or dry_run or sys.stdin.isatty()):
        raise _nobody_to_ask()
    if not (wanted or dry_run):
        count = len(changes.changes)
        wanted = typer.confirm(
            "\nwrite this file?" if count == 1 else f"\nwrite these {count} files?"
        )
    if wanted:
        with writer_lock(settings, wait=wait):
            changes.write()
            _check(settings, changes, sources)
    if as_json:
        print_json(_as_json(looked, left_out, changes, is_one="." in name, written=wanted))
    elif wanted:
        say(_next_steps([table.drafted for table in looked], sources, home))
    else:
        say("\nnothing was written")


def _check_usage(path: list[str], *, is_answered: bool) -> None:
    if len(path) > 1:
        raise ConfigurationError(
            f"{len(path)} paths were given, where one is expected",
            where="clearwater source add",
            next_step="name the folder, or put the pattern in quotes so that the shell leaves it",
        )
    if not is_answered:
        raise _nobody_to_ask()


def _nobody_to_ask() -> ConfigurationError:
    return ConfigurationError(
        "there is nobody to ask whether to write",
        where="clearwater source add",
        next_step="add --yes to write, or --dry-run to look only",
    )


@dataclass(frozen=True)
class _Looked:
    """What follows from the files of one table."""

    drafted: Draft
    inferred: Inferred


def _look(
    settings: Settings, path: str, name: str, sources: Path
) -> tuple[list[_Looked], list[str]]:
    """All that follows from the data, and what was left out; nothing is written but scratch."""
    from expectations.personal import personal
    from warehouse.inference.files import workspace
    from warehouse.onboarding import check_free, check_name, draft, find
    from warehouse.onboarding.tables import find_tables

    check_name(name, sources, settings)
    with workspace(settings, "downloaded") as downloaded:
        found = find(path, sources, downloaded)
        is_one = "." in name
        tables, left_out = find_tables(settings, found, path, name)
        names = [name if is_one else f"{name}.{table.dataset}" for table in tables]
        check_free(names, sources, settings)
        looked: list[_Looked] = []
        for own_name, table in zip(names, tables, strict=True):
            try:
                inferred = _inferred(settings, own_name, table)
            except ClearwaterError as error:
                if len(tables) == 1:
                    raise
                left_out.append(f"left out: {table.found.path}: {error.what}")
                continue
            earlier = [other.drafted for other in looked]
            own = personal(inferred.columns)
            inferred = _with_personal(inferred, own)
            drafted = draft(own_name, table.found, inferred, sources, PROJECT, earlier, own)
            looked.append(_Looked(drafted, inferred))
    if not looked:
        raise ConfigurationError(
            f"none of the tables can be added; {left_out[-1]}",
            where=path,
            next_step="add one of them by its own path, which says more",
        )
    return looked, left_out


def _inferred(settings: Settings, name: str, table: FoundTable) -> Inferred:
    from warehouse.inference import infer

    inferred = infer(settings, list(table.found.files), name)
    if not inferred.row_count and inferred.format != "bytes":
        raise ConfigurationError(
            "there is a header, but no row to learn from",
            where=table.found.path,
            next_step="add it when it holds rows; a table without any passes no gate",
        )
    return inferred


def _with_personal(inferred: Inferred, personal: Mapping[str, str]) -> Inferred:
    """What was inferred, with the evidence for each column that is marked as personal."""
    from warehouse.inference.result import Evidence

    marked = (Evidence(f"column {name}", "personal", why) for name, why in personal.items())
    return replace(inferred, evidence=(*inferred.evidence, *marked))


def _show(looked: Sequence[_Looked], left_out: Sequence[str], changes: Changes) -> None:
    """What was found, what would be written, and why."""
    for number, table in enumerate(looked, 1):
        _show_table(table, f"{number} of {len(looked)}: " if len(looked) > 1 else "")
    if len(looked) == 1:
        say(f"\n{_shown(changes.changes[0].path)} gets:\n\n{looked[0].drafted.entry_text}")
        say("files:" if len(changes.changes) > 1 else "file:")
        for change in changes.changes:
            mark = "+" if change.before is None else "~"
            say(f"  {mark} {_shown(change.path)}: {change.what}")
    else:
        _show_overview(looked, changes)
    for warning in looked[0].inferred.warnings if len(looked) == 1 else ():
        say(f"\nwarning: {warning}")
    for text in left_out:
        say(f"\n{text}")


def _show_table(table: _Looked, place: str) -> None:
    """What was decided of one table, and why; its warnings, too, if it has a place among others."""
    from flows.printing import table_text
    from warehouse.wording import counted

    inferred, data = table.inferred, table.drafted.data
    files = counted(inferred.file_count, "file")
    if inferred.format == "bytes":
        what = (
            f"{files} without a table; landed and catalogued as they are, without models or rules"
        )
    else:
        what = f"{counted(inferred.row_count, 'row')} in {files}, {inferred.format}"
    path = f"; {table.drafted.entry['path']}" if place else ""
    say(f"{place}{data.full_name}: {what}{path}\n")
    rows = [[e.about, e.decision, e.because] for e in inferred.evidence]
    say(table_text(["what", "decision", "because"], rows))
    if place:
        for warning in inferred.warnings:
            say(f"\nwarning: {warning}")
        say("\n")


def _show_overview(looked: Sequence[_Looked], changes: Changes) -> None:
    """Several tables at a glance, and the folders in which their files will be."""
    from flows.printing import table_text
    from warehouse.wording import counted

    rows = [
        [
            table.drafted.data.full_name,
            f"{table.inferred.row_count:,}",
            ", ".join(table.inferred.key) or "none",
            table.inferred.event_time or "none",
            table.drafted.data.mart,
            len(table.inferred.warnings),
        ]
        for table in looked
    ]
    say(f"all {len(looked)} tables:\n")
    say(table_text(["table", "rows", "key", "event_time", "published as", "warnings"], rows))
    say("\nfiles:")
    of_sources, *others = changes.changes
    for change in (of_sources, *(change for change in others if change.before is not None)):
        mark = "+" if change.before is None else "~"
        say(f"  {mark} {_shown(change.path)}: {change.what}")
    new = Counter(change.path.parent for change in others if change.before is None)
    for folder, count in new.items():
        say(f"  + {_shown(folder)}/: {counted(count, 'file')}")


def _check(settings: Settings, changes: Changes, sources: Path) -> None:
    """Read the project with the new files as a run will; take them back if it cannot."""
    from expectations.rule_files import load_rules
    from warehouse.dbt_runner import parse
    from warehouse.sources import load_sources

    try:
        load_sources(sources, settings)
        parse(settings)
        load_rules(PROJECT / "expectations" / "rules")
    except ClearwaterError as error:
        changes.take_back()
        raise ConfigurationError(
            f"the project cannot be read with the new files, so none was kept: {error.what}",
            where=error.where,
            next_step=error.next_step or "mend what it names, and run the command again",
        ) from None
    except BaseException:
        changes.take_back()
        raise


def _next_steps(drafts: Sequence[Draft], sources: Path, home: Path | None) -> str:
    at_home = f" --home {shlex.quote(str(home))}" if home else ""
    of_sources = "" if sources == SOURCES else f" --sources {shlex.quote(str(sources))}"
    names = ", ".join(drafted.data.full_name for drafted in drafts)
    modelled = [drafted for drafted in drafts if len(drafted.changes) > 1]
    if not modelled:
        catalogue = (
            f"select source_file, byte_count, batch_id from meta.batches where source = '{names}'"
        )
        return f"""
written. What next:
  clearwater run{of_sources}{at_home}
  clearwater query --lake "{catalogue}"{at_home}
  clearwater lake bytes BATCH_ID --out FILE{at_home}
to take it back: remove {names} from the file marked ~"""
    if len(drafts) == 1:
        what = f"{names} from the files marked ~, and the files"
    else:
        what = f"these {len(drafts)} from the files marked ~, and the new files in the folders"
    return f"""
written. What next:
  clearwater run{of_sources}{at_home}
  clearwater query "select * from {modelled[0].data.mart} limit 10"{at_home}
to take it back: remove {what} marked +"""


def _as_json(
    looked: Sequence[_Looked],
    left_out: Sequence[str],
    changes: Changes,
    *,
    is_one: bool,
    written: bool,
) -> dict[str, object]:
    """For one table its entry, evidence and warnings beside the rest; else `tables` of such."""
    tables = [
        {
            "entry": table.drafted.entry,
            "evidence": [vars(evidence) for evidence in table.inferred.evidence],
            "warnings": list(table.inferred.warnings),
        }
        for table in looked
    ]
    files = [str(change.path) for change in changes.changes]
    if is_one:
        warnings = [*left_out, *looked[0].inferred.warnings]
        return tables[0] | {"files": files, "warnings": warnings, "written": written}
    return {"tables": tables, "files": files, "warnings": list(left_out), "written": written}


def _shown(path: Path) -> str:
    """The path as seen from here, if it lies below."""
    here = Path(os.path.realpath("."))
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
