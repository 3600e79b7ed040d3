"""What can be set, and what it is set to: the environment, then clearwater.toml, then the default.

Each option has a dotted name, which is its place in the file (`keep.releases` is `releases` below
`[keep]`), and from it the name of its environment variable (`CLEARWATER_KEEP_RELEASES`).
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from warehouse.errors import ConfigurationError

PROJECT = Path(__file__).resolve().parent.parent
FILE = PROJECT / "clearwater.toml"
FILE_VARIABLE = "CLEARWATER_CONFIG"
STAGES = ("land", "load", "build", "audit", "publish", "features", "report")
# Set for dbt and the like by Clearwater itself, or where this file is: no options.
OTHER_VARIABLES = (FILE_VARIABLE, "CLEARWATER_DBT_DATABASE", "CLEARWATER_LAKE_SNAPSHOT")

SIZE = re.compile(r"([1-9][0-9]*(?:\.[0-9]+)?) ?([KMGT])i?B")
_DURATION = re.compile(r"([1-9][0-9]*)(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
FOREVER = "forever"


@dataclass(frozen=True)
class Option:
    """Something that can be set. `read` makes its value of a text, or raises ValueError.

    `wanted` says which texts there are; a `secret` may come from the environment alone.
    """

    name: str
    default: str
    says: str
    wanted: str
    read: Callable[[str], Any]
    secret: bool = False

    @property
    def variable(self) -> str:
        """The name of its environment variable."""
        return f"CLEARWATER_{self.name.upper().replace('.', '_')}"


@dataclass(frozen=True)
class Set:
    """What an option is set to, and where: `default`, `environment`, or the file and line."""

    option: Option
    text: str
    origin: str

    def __repr__(self) -> str:
        return f"Set({self.option.name}, {self.shown!r}, {self.origin!r})"

    @property
    def shown(self) -> str:
        """Its text, or for a secret only that there is one."""
        return "(set, not shown)" if self.option.secret and self.text else self.text

    def value(self) -> Any:
        """Its value. Raises ConfigurationError when the text is none for this option."""
        try:
            return self.option.read(self.text)
        except ValueError:
            in_environment = self.origin == "environment"
            name = self.option.variable if in_environment else self.option.name
            told = "that" if self.option.secret else repr(self.text)
            raise ConfigurationError(
                f"{name} is {told}, {self.option.wanted}",
                where=self.origin,
                next_step=f"set {name}={self.option.default or '…'}"
                f"{', or unset it' if in_environment else ', or leave it out'}",
            ) from None


def duration(text: str) -> timedelta:
    """The span that a text such as 90s, 30m, 6h or 14d means."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def _span(text: str) -> timedelta | None:
    return None if text == FOREVER else duration(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(text)
    return int(text)


def _cores(text: str) -> int:
    return (os.cpu_count() or 1) if text == "all" else _count(text)


def _size(text: str) -> str:
    if not SIZE.fullmatch(text):
        raise ValueError(text)
    return text


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return read


def _switch(text: str) -> bool:
    return _one_of("0", "1")(text) == "1"


def _port(text: str) -> int | None:
    if text == "free":
        return None
    number = _count(text)
    if number >= 1 << 16:
        raise ValueError(text)
    return number


def _place(text: str) -> str:
    """A relative folder would be another one wherever a run is started."""
    if text and not text.startswith(("/", "~", "s3://")):
        raise ValueError(text)
    return text


SPAN = "not a span such as 90s, 30m, 6h or 14d"
SPAN_OR_FOREVER = f"neither {FOREVER} nor a span such as 90s, 30m, 6h or 14d"
TIMEOUTS = {
    **dict.fromkeys(("load", "build"), "6h"),
    **dict.fromkeys(("land", "audit", "features"), "2h"),
    **dict.fromkeys(("publish", "report"), "1h"),
}
OPTIONS = {
    option.name: option
    for option in (
        Option("home", "var", "where everything is kept", "not a folder", str),
        Option(
            "threads", "all", "cores that DuckDB uses", "not a positive whole number", _cores
        ),
        Option("memory_limit", "2GiB", "memory that DuckDB uses", "not a size", _size),
        Option(
            "lake_encrypted", "0", "whether a lake that is made anew is encrypted",
            "neither 0 nor 1", _switch,
        ),
        Option(
            "state_url", "", "a PostgreSQL database for runs, history and incidents, else SQLite",
            "not postgresql://…", str, secret=True,
        ),
        Option("alert_urls", "", "who is told of incidents", "not addresses", str, secret=True),
        Option(
            "alert_severity", "critical", "from which severity on alerts are sent",
            "neither critical nor warning", _one_of("critical", "warning"),
        ),
        Option(
            "log", "text", "how commands tell their progress", "neither text nor json",
            _one_of("text", "json"),
        ),
        Option(
            "export", "", "where each release is written as Parquet, too",
            "neither a folder's whole path nor s3://bucket/prefix", _place,
        ),
        Option(
            "server.port", "4200", "the UI's port; a free one if it is taken", "not a port", _port
        ),
        Option("server.host", "127.0.0.1", "the address that the UI listens at", "not one", str),
        Option(
            "server.database_url", "", "a PostgreSQL database for the Prefect server, else SQLite",
            "not postgresql+asyncpg://…", str, secret=True,
        ),
        *(
            Option(f"timeout.{stage}", TIMEOUTS[stage], f"how long `{stage}` may take",
                   SPAN_OR_FOREVER, _span)
            for stage in STAGES
        ),
        Option(
            "keep.releases", "5", "newest releases that are kept", "not a positive whole number",
            _count,
        ),
        Option("keep.reports", "90d", "how long reports are kept", SPAN_OR_FOREVER, _span),
        Option(
            "keep.logs",
            "90d",
            "how long runs are kept: logs, and rows of the ledger",
            SPAN_OR_FOREVER,
            _span,
        ),
        Option("keep.snapshots", "30d", "how long the lake's snapshots are kept", SPAN_OR_FOREVER,
               _span),
        Option("keep.landing", FOREVER, "how long raw bytes are kept once they are loaded",
               SPAN_OR_FOREVER, _span),
    )
}  # fmt: skip


def configuration(environment: Mapping[str, str] = os.environ) -> dict[str, Set]:
    """Every option by its name, and what it is set to.

    Raises ConfigurationError for a file that cannot be read and for names that there are not.
    """
    in_file = dict(_in_file(environment.get(FILE_VARIABLE)))
    _check_names(environment)
    return {name: _set(option, environment, in_file.get(name)) for name, option in OPTIONS.items()}


def _set(option: Option, environment: Mapping[str, str], in_file: Set | None) -> Set:
    text = environment.get(option.variable)
    if text is not None:
        return Set(option, text, "environment")
    return in_file or Set(option, option.default, "default")


def _check_names(environment: Mapping[str, str]) -> None:
    known = {option.variable for option in OPTIONS.values()} | {*OTHER_VARIABLES}
    for name in environment:
        if name.startswith("CLEARWATER_") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigurationError(
                f"there is no {name}",
                where="environment",
                next_step=f"did you mean {near[0]}?" if near else "`clearwater config` shows all",
            )


def _in_file(given: str | None) -> Iterator[tuple[str, Set]]:
    file = Path(given).expanduser() if given else FILE
    if not file.exists():
        if given:
            raise ConfigurationError(
                "there is no such file",
                where=f"{FILE_VARIABLE}={given}",
                next_step=f"correct the path, or unset {FILE_VARIABLE}",
            )
        return
    import tomllib

    try:
        text = file.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"it cannot be read: {error}", where=str(file), next_step="correct it as TOML"
        ) from None
    for name, value in _flat(content):
        where = f"{file}:{_line(text, name)}"
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, n=1)
            raise ConfigurationError(
                f"there is no option {name!r}",
                where=where,
                next_step=f"did you mean {near[0]!r}?" if near else "`clearwater config` shows all",
            )
        option = OPTIONS[name]
        if option.secret:
            raise ConfigurationError(
                f"{name} may hold a secret, which no file should",
                where=where,
                next_step=f"take it out, and export {option.variable}",
            )
        if isinstance(value, bool):
            value = int(value)
        if not isinstance(value, str | int):
            raise ConfigurationError(
                f"{name} is neither a text nor a number",
                where=where,
                next_step=f'write {name} = "{option.default}"',
            )
        told = str(value)
        if name == "home":
            told = str(file.parent / Path(told).expanduser())
        yield name, Set(option, told, where)


def _flat(content: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _line(text: str, name: str) -> int:
    """The line where the option stands, 1 if it is written in a way that hides it."""
    table, _, key = name.rpartition(".")
    inside = ""
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.match(r"\s*\[([^\[\]]+)\]", line):
            inside = found[1].strip()
        elif found := re.match(r"\s*([\w.\"'-]+)\s*=", line):
            written = found[1].replace('"', "").replace("'", "")
            if f"{inside}.{written}".strip(".") == name or (inside == table and written == key):
                return number
    return 1
