"""`clearwater features`: feature sets and their extracts."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from flows.options import Home, Json, ReleaseId, Wait, print_json, say
from warehouse.settings import load_settings
from warehouse.wording import counted

app = typer.Typer(no_args_is_help=True, help="Feature sets: what there is, and extracts.")


@app.command("list")
def list_features(home: Home = None, as_json: Json = False) -> None:
    """The feature sets of the current release.

    Example: clearwater features list
    """
    from flows.printing import table_text
    from warehouse.features import release_named
    from warehouse.releases import current

    settings = load_settings(home)
    release = release_named(settings, None, current(settings))
    found = [
        {
            "name": name,
            "rows": release.tables.get(f"features.{name}"),
            "release": release.id,
            "extract": str(settings.features / name / release.id),
        }
        | declared
        for name, declared in release.features.items()
    ]
    if as_json:
        print_json(found)
    elif not found:
        say(f"release {release.id} has no feature sets")
    else:
        headings = ["name", "rows", "release", "extract"]
        say(table_text(headings, [[entry[h] for h in headings] for entry in found]))


@app.command("extract")
def extract_features(
    name: Annotated[str, typer.Argument(help="The feature set.")],
    start: Annotated[str | None, typer.Option("--from", help="From this ISO time on.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Before this ISO time.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The folder to write.")] = None,
    release: ReleaseId = None,
    home: Home = None,
    as_json: Json = False,
    wait: Wait = False,
) -> None:
    """Write a feature set as Parquet with its manifest.

    Example: clearwater features extract feat_transactions__behaviour --out training
    """
    from warehouse.errors import ConfigurationError
    from warehouse.features import extract, note_asked, release_named
    from warehouse.lock import writer_lock
    from warehouse.releases import current

    if (start or end) and out is None:
        raise ConfigurationError(
            "a part of a feature set needs a folder of its own", next_step="name one with --out"
        )
    settings = load_settings(home)
    chosen = release_named(settings, release, current(settings))
    # Without --out it writes where runs tidy up.
    with nullcontext() if out else writer_lock(settings, wait=wait):
        place = extract(settings, chosen, name, start=start, end=end, out=out)
        if out is None:
            note_asked(place)
    manifest = json.loads((place / "manifest.json").read_text(encoding="utf-8"))
    if as_json:
        print_json(manifest | {"folder": str(place)})
    else:
        say(f"{counted(manifest['rows'], 'row')} of release {chosen.id}: {place}")
