"""`clearwater quarantine`: rows that did not pass, why, and what to do with them."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.options import SOURCES, Home, Json, Sources, Wait, print_json, say
from warehouse.settings import load_settings
from warehouse.wording import counted

if TYPE_CHECKING:
    from warehouse.quarantine import Group
    from warehouse.replaying import Mended

app = typer.Typer(
    no_args_is_help=True, help="Rows that did not pass, why, and what to do with them."
)

SHOWN_CHARACTERS = 500
SHOWN_ROWS = 20
ID_CHARACTERS = 12

SourceName = Annotated[str, typer.Argument(help="The source, such as shop.orders.")]
BatchId = Annotated[
    str | None, typer.Option("--batch", help="Only this batch; the beginning of its id will do.")
]
Reason = Annotated[str | None, typer.Option("--reason", help="Only rows with this reason.")]


@app.command("list")
def list_quarantine(
    source: Annotated[str | None, typer.Argument(help="Only this source.")] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """How many rows are in quarantine, by source, file and reason.

    Example: clearwater quarantine list
    """
    from warehouse.quarantine import Chosen, groups

    found = groups(load_settings(home), Chosen(source))
    if as_json:
        print_json([asdict(group) for group in found])
    elif not found:
        say("nothing is in quarantine")
    else:
        _print_groups(found)


def _print_groups(groups: list[Group]) -> None:
    from flows.printing import table_text
    from warehouse.quarantine import WAYS_OUT

    headings = ["source", "file", "batch", "reason", "rows", "first row", "line", "since", "bytes"]
    cells = [
        [
            group.source,
            group.file,
            group.batch[:ID_CHARACTERS],
            group.reason,
            group.rows,
            group.first_row,
            group.first_line,
            group.quarantined_at.replace(microsecond=0),
            "in landing" if group.landed else "gone",
        ]
        for group in groups
    ]
    say(table_text(headings, cells))
    rows = sum(group.first_rows for group in groups)
    if rows != sum(group.rows for group in groups):
        say(f"{counted(rows, 'row')} in all: one that breaks several rules is counted under each")
    for reason in dict.fromkeys(group.reason for group in groups):
        if reason in WAYS_OUT:
            say(f"{reason}: {WAYS_OUT[reason]}")


@app.command()
def show(
    source: SourceName,
    batch: BatchId = None,
    reason: Reason = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="How many rows at most; else 20, with --json all."),
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """The rows themselves: file, line, reason, and the text as it came.

    Example: clearwater quarantine show shop.orders --reason not_of_type
    """
    from warehouse.quarantine import Chosen, rows

    chosen, settings = Chosen(source, batch, reason), load_settings(home)
    if as_json:
        print_json(rows(settings, chosen, limit))
        return
    limit = limit or SHOWN_ROWS
    found = rows(settings, chosen, limit)
    if not found:
        say(f"no such row of {source} is in quarantine")
    for row in found:
        _print_row(row)
    if len(found) == limit:
        say(f"the first {limit}; --limit shows more")


def _print_row(row: dict[str, Any]) -> None:
    line = f", line {row['line']}" if row["line"] is not None else ""
    say(f"{row['source_file']}{line}, row {row['_source_row']}  (batch {row['batch_id'][:12]})")
    say(f"  {row['reason']}: {row['detail']}")
    raw = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in row["raw"] or "")
    say(f"  {raw[:SHOWN_CHARACTERS]}{'…' if len(raw) > SHOWN_CHARACTERS else ''}")
    say("")


@app.command()
def replay(
    source: Annotated[str | None, typer.Argument(help="The source; all without one.")] = None,
    batch: BatchId = None,
    sources: Sources = SOURCES,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would pass; change nothing.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
    wait: Wait = False,
) -> None:
    """Judge the rows again under today's sources file, and load those that pass, once.

    Example: clearwater quarantine replay shop.orders
    """
    from expectations.raw import declared_sources
    from warehouse.lock import writer_lock
    from warehouse.quarantine import Chosen
    from warehouse.replaying import replay as replay_rows

    settings = load_settings(home)
    declared = declared_sources(sources, settings)
    with writer_lock(settings, wait=wait):
        _check_lake(settings)
        done = replay_rows(
            settings, declared, Chosen(source, batch), uuid.uuid4().hex, dry_run=dry_run
        )
    if as_json:
        print_json([_as_json(mended) for mended in done])
    else:
        _print_replay(done, dry_run=dry_run)
    if any(mended.problem for mended in done):
        raise typer.Exit(1)


def _check_lake(settings: Any) -> None:
    """Leave a home without a lake as it is."""
    from warehouse.lake import catalog_snapshot

    catalog_snapshot(settings)


def _as_json(mended: Mended) -> dict[str, Any]:
    counts = mended.counts
    return {
        "source": mended.source,
        "batch": mended.batch,
        "file": mended.file,
        "judged": counts.rows_in,
        "loaded": counts.loaded,
        "already_known": counts.already_known,
        "quarantined": counts.quarantined,
        "problem": mended.problem,
    }


def _print_replay(done: list[Mended], *, dry_run: bool) -> None:
    if not done:
        say("nothing is in quarantine")
    for mended in done:
        if mended.problem:
            typer.echo(f"left: {mended.problem}", err=True)
            continue
        counts = mended.counts
        would = "would be " if dry_run else ""
        say(
            f"{mended.source}: {mended.file} (batch {mended.batch[:ID_CHARACTERS]}):"
            f" {counts.loaded:,} {would}loaded, {counts.already_known:,} already known,"
            f" {counts.quarantined:,} still in quarantine"
        )
    if not dry_run and any(mended.counts.loaded for mended in done):
        say("`clearwater run` takes them on to the next release")


@app.command()
def drop(
    source: SourceName,
    batch: BatchId = None,
    reason: Reason = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, only say what.")] = False,
    home: Home = None,
    as_json: Json = False,
    wait: Wait = False,
) -> None:
    """Give rows up: they move to meta.dropped, and never load again.

    Example: clearwater quarantine drop shop.orders --reason superseded --yes
    """
    from warehouse.errors import ConfigurationError
    from warehouse.lock import writer_lock
    from warehouse.quarantine import Chosen, groups
    from warehouse.quarantine import drop as drop_rows

    settings = load_settings(home)
    chosen = Chosen(source, batch, reason)
    if not yes:
        rows = sum(group.first_rows for group in groups(settings, chosen))
        raise ConfigurationError(
            f"this would give up {counted(rows, 'row')} of {source} for good",
            where="clearwater quarantine drop",
            next_step="look at them with `clearwater quarantine show`, then add --yes",
        )
    with writer_lock(settings, wait=wait):
        _check_lake(settings)
        dropped = drop_rows(settings, chosen)
    if as_json:
        print_json([asdict(group) for group in dropped])
    elif not dropped:
        say(f"no such row of {source} is in quarantine")
    else:
        _print_groups(dropped)
        rows = sum(group.first_rows for group in dropped)
        say(f"{counted(rows, 'row')} given up, and kept in meta.dropped")
