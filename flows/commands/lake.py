"""`clearwater lake`: look back, make it again from landing, keep it tidy."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.options import SOURCES, Format, Home, Json, Sources, Wait, print_json, say
from warehouse.settings import load_settings
from warehouse.wording import counted

if TYPE_CHECKING:
    from warehouse.rebuild import Rebuilt

app = typer.Typer(
    no_args_is_help=True, help="The lake: look back, make it again from landing, keep it tidy."
)


@app.command()
def snapshots(home: Home = None, as_json: Json = False) -> None:
    """The lake's snapshots: number, time, and what was done.

    Example: clearwater lake snapshots
    """
    from flows.printing import table_text
    from warehouse.history import snapshots as all_snapshots

    found = all_snapshots(load_settings(home))
    if as_json:
        print_json(found)
    else:
        say(table_text(list(found[0]), [list(row.values()) for row in found]))


@app.command()
def changes(
    source: Annotated[str, typer.Argument(help="The source, such as shop.orders.")],
    start: Annotated[
        str, typer.Option("--from", help="What changed after this snapshot number or ISO time.")
    ],
    end: Annotated[
        str | None, typer.Option("--to", help="Up to and with this one; else up to now.")
    ] = None,
    output: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.table,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """The rows that came, changed or went between two snapshots.

    Example: clearwater lake changes shop.orders --from 2026-01-31T12:00:00Z
    """
    from flows.failures import reader_may_leave
    from flows.printing import write_result
    from warehouse.history import changes as changed
    from warehouse.query import explained

    chosen = Format.json if as_json else output
    with changed(load_settings(home), source, start, end) as con, reader_may_leave(), explained():
        write_result(con, chosen.value)


@app.command("bytes")
def batch_bytes(
    batch: Annotated[str, typer.Argument(help="The batch; the beginning of its id will do.")],
    out: Annotated[Path | None, typer.Option("--out", help="A file to write; else stdout.")] = None,
    home: Home = None,
) -> None:
    """The bytes of a batch as they arrived, checked against their hash; of a zip's member the zip.

    Example: clearwater lake bytes 3f2a9c --out orders.csv
    """
    import shutil

    from flows.failures import reader_may_leave
    from warehouse.errors import ConfigurationError
    from warehouse.history import copy_bytes, landed_as, open_bytes

    settings = load_settings(home)
    landed = landed_as(settings, batch)
    if out is None and sys.stdout.isatty():
        raise ConfigurationError(
            "raw bytes are not for a terminal",
            where="clearwater lake bytes",
            next_step="name a file with --out, or send them on: … | less",
        )
    with open_bytes(settings, landed) as content:
        if out is None:
            with reader_may_leave():
                shutil.copyfileobj(content, sys.stdout.buffer)
        else:
            copy_bytes(content, out)
            say(f"{landed.original_name}, {landed.size:,} bytes: {out}")


@app.command()
def rebuild(
    sources: Sources = SOURCES,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Make and compare it; leave the old lake in place.")
    ] = False,
    redefine: Annotated[
        bool,
        typer.Option(
            "--redefine",
            help="Load all under today's sources.yml, not as it was loaded; rows may differ then.",
        ),
    ] = False,
    accept: Annotated[
        bool,
        typer.Option(
            "--accept", help="Take the new lake even where it should be equal and is not."
        ),
    ] = False,
    encrypted: Annotated[
        bool | None,
        typer.Option("--encrypted/--no-encrypted", help="Data files; else as the old lake's."),
    ] = None,
    home: Home = None,
    as_json: Json = False,
    wait: Wait = False,
) -> None:
    """Make the lake again from landing alone, compare it with the old one, and take its place.

    With --redefine a changed key, type or way of writing holds for what was loaded before, too.

    Example: clearwater lake rebuild --dry-run
    """
    from expectations.raw import declared_sources
    from warehouse.lock import writer_lock
    from warehouse.rebuild import rebuild as rebuild_lake

    settings = load_settings(home)
    declared = declared_sources(sources, settings)
    with writer_lock(settings, wait=wait):
        done = rebuild_lake(
            settings,
            declared,
            encrypted=encrypted,
            redefine=redefine,
            dry_run=dry_run,
            accept=accept,
        )
    if as_json:
        print_json(asdict(done) | {"equal": done.is_equal})
    else:
        _print_rebuilt(done)
    if done.problems if redefine else not done.is_equal:
        raise typer.Exit(0 if accept else 1)


def _print_rebuilt(done: Rebuilt) -> None:
    from flows.printing import table_text

    for problem in done.problems:
        typer.echo(f"differs: {problem}", err=True)
    headings = ["table", "rows before", "rows now", "only before", "only now", "columns"]
    if done.tables:
        cells = [[*list(asdict(t).values())[:5], ", ".join(t.columns)] for t in done.tables]
        say(table_text(headings, cells))
    verdict = "equal, row for row" if done.is_equal else "not equal"
    compared = f": {verdict}" * bool(done.tables)
    say(f"{counted(done.batches, 'batch')} made again from landing{compared}")
    if not done.swapped:
        say("the old lake is in place, as it was" if done.tables else "nothing was put in place")
        return
    say("the new lake is in place; the next run builds in full")
    if done.kept:
        say(f"the old one is kept until the next rebuild; to free its space: rm -r {done.kept}")


@app.command()
def maintain(
    days: Annotated[
        int, typer.Option("--days", min=0, help="Keep every snapshot younger than this.")
    ] = 30,
    home: Home = None,
    as_json: Json = False,
    wait: Wait = False,
) -> None:
    """Remove files of killed writes, and old snapshots that no release needs.

    Example: clearwater lake maintain --days 90
    """
    from warehouse.lock import writer_lock
    from warehouse.maintenance import maintain as tidy

    settings = load_settings(home)
    with writer_lock(settings, wait=wait):
        done = tidy(settings, days=days)
    if as_json:
        print_json(asdict(done))
        return
    say(f"{counted(done.orphans, 'orphaned file')} removed ({done.orphan_bytes:,} bytes)")
    say(
        f"{counted(done.snapshots, 'snapshot')} expired,"
        f" {counted(done.expired_files, 'file')} of theirs removed ({done.expired_bytes:,} bytes)"
    )
