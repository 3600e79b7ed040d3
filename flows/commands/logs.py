"""`clearwater logs`: the story of a run, errors first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flows.options import Home, Json, print_json, say
from warehouse.errors import ClearwaterError, ConfigurationError
from warehouse.settings import load_settings
from warehouse.wording import known_names, nearest

if TYPE_CHECKING:
    from warehouse.settings import Settings


def logs(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="A run's id; the newest if left out.")
    ] = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """The story of a run: what failed and what to do, then stage by stage.

    Example: clearwater logs 20260131T120000-3f9c1a
    """
    from flows.story import newest_story, told

    settings = load_settings(home)
    run_id = _chosen(settings, run)
    found = newest_story(settings, run_id)
    if found is None:
        raise ClearwaterError(
            "the log of this run is empty: the disk was full, or the machine went down",
            where=run_id,
            next_step="`clearwater status` tells how the run ended",
        )
    if as_json:
        print_json(found.to_json())
        return
    for line in told(found):
        say(line)


def _chosen(settings: Settings, run: str | None) -> str:
    """The run that is meant.

    Raises ClearwaterError where there is no log yet, ConfigurationError for one of an unknown name.
    """
    from flows.run_log import logged_runs

    known = logged_runs(settings)
    if run in known:
        return run
    if run is None and not known:
        raise ClearwaterError(
            "no run has left a log yet",
            where=str(settings.logs),
            next_step="`clearwater run` leaves one; --home names another home",
        )
    if run is None:
        return known[0]
    raise ConfigurationError(
        f"there is no log of a run {run!r}",
        where="clearwater logs",
        next_step=f"runs: {known_names(known, nearest(run, known))}",
    )
