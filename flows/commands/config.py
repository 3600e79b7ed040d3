"""`clearwater config`: what can be set, what it is set to, and where."""

from __future__ import annotations

from dataclasses import replace

from flows.options import Home, Json, print_json, say
from warehouse.configuration import FILE, configuration
from warehouse.settings import load_settings


def config(home: Home = None, as_json: Json = False) -> None:
    """Every option: its value, where that is set, and what it decides. Secrets are not shown.

    A variable of the environment comes before clearwater.toml, and that before the default.

    Example: clearwater config
    """
    from flows.printing import table_text

    told = configuration()
    settings = load_settings(home)  # which refuses what cannot be
    origin = "--home" if home else told["home"].origin
    told["home"] = replace(told["home"], text=str(settings.home), origin=origin)
    rows = [[name, s.shown, s.origin, s.option.says] for name, s in told.items()]
    if as_json:
        keys = ("option", "value", "origin", "says", "variable")
        values = ([*row, told[row[0]].option.variable] for row in rows)
        print_json([dict(zip(keys, row, strict=True)) for row in values])
        return
    say(table_text(["option", "value", "set by", "what it is"], rows))
    say("")
    say("Set one for a command: CLEARWATER_KEEP_RELEASES=9 clearwater …, for keep.releases")
    say(f"or for all, in {FILE}: releases = 9, below [keep]")
