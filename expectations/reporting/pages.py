"""The pages: an overview that is complete in itself, and a page for each table beside it."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expectations.reporting import charts, words
from expectations.reporting.missing_words import told_missing
from expectations.reporting.views import Overview, is_alarmed, overview, page_name
from expectations.rules import LEARNED
from warehouse.files import write_atomically
from warehouse.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from jinja2 import Environment

    from expectations.gate import RuleResult
    from expectations.report import RunReport
    from expectations.reporting.changes import Change, Earlier

STYLE = "report.css"
TEMPLATES = Path(__file__).parent.parent / "templates"
SHOWN_CHANGES = 10  # the others are folded
SHOWN_BROKEN = 25  # broken rules on the first page
SHOWN_ROWS = 5  # rows of a sample there
SHOWN_WAITING = 100
SHOWN_TRENDS = 6  # drawn on a table's page
SHOWN_ALARMS = 12  # drawn on the first page


def write_pages(
    folder: Path, compiled: Path, run: RunReport, changed: Iterable[Change], before: Earlier | None
) -> Path:
    """Write the pages into the run's folder, the first page last; returns that one.

    Pages of tables that an earlier report of the same run had are removed. `compiled` is where the
    compiled templates are kept: compiling them costs more than all else here.
    """
    shown = overview(run, changed, before)
    compiled.mkdir(mode=0o700, parents=True, exist_ok=True)
    environment = _environment(shown, compiled)
    places = folder / "tables"
    places.mkdir(exist_ok=True)
    template = environment.get_template("table.html.j2")
    for table in shown.tables:
        text = template.render(table=table, root="../", missing=_missing(table.missing))
        (folder / table.page).write_text(text, encoding="utf-8")
    pages = {page_name(table.name) for table in shown.tables}
    for stale in places.iterdir():
        if stale.name not in pages:
            stale.unlink()
    (folder / STYLE).write_text(_style(), encoding="utf-8")
    page = folder / "index.html"
    write_atomically(page, environment.get_template("index.html.j2").render(root=""))
    return page


def _end(run: RunReport) -> datetime:
    """When the run's last stage ended, with a second for what lies between them."""
    return run.started_at + timedelta(seconds=sum(s.seconds + 1 for s in run.stages))


def _missing(found: Any) -> Any:
    return told_missing(found) if found is not None else None


def _environment(shown: Overview, compiled: Path) -> Environment:
    from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        bytecode_cache=FileSystemBytecodeCache(str(compiled)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = _style()
    script = (TEMPLATES / "filter.js").read_text(encoding="utf-8").strip()
    tables = {table.name: table.page for table in shown.tables}
    environment.globals.update(
        style=Markup(style),  # noqa: S704 (our own file)
        script=Markup(script),  # noqa: S704 (our own file)
        policy=_policy(f"'{_hash(style)}'", f"'{_hash(script)}'"),
        table_policy=_policy("'self' file:", "'none'"),
        shown=shown,
        run=shown.run,
        pages=tables,
        counted=counted,
        words=words,
        worst_first=_worst_first,
        away=partial(words.away, run_at=shown.run.started_at, run_end=_end(shown.run)),
        shown_changes=SHOWN_CHANGES,
        is_alarmed=is_alarmed,
        sparkline=lambda trend: Markup(charts.sparkline(trend)),  # noqa: S704 (numbers alone)
        trend_sentence=charts.sentence,
        shown_broken=SHOWN_BROKEN,
        shown_rows=SHOWN_ROWS,
        shown_waiting=SHOWN_WAITING,
        shown_trends=SHOWN_TRENDS,
        shown_alarms=SHOWN_ALARMS,
    )
    environment.filters["rows"] = "{:,}".format
    environment.filters["steps"] = _with_code
    return environment


def _worst_first(result: RuleResult) -> list[str]:
    """What was seen, in its parts: a comparison with the past finds many, the worst first."""
    return result.detail.split("; ") if result.check in LEARNED else [result.detail]


def _with_code(text: str) -> str:
    """Text with what stands between backticks as code."""
    from markupsafe import Markup, escape

    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if n % 2 else part for n, part in enumerate(parts)
    )


def _policy(style: str, script: str) -> str:
    """What a page may load: the style and script named, and nothing else from anywhere."""
    return (
        f"default-src 'none'; style-src {style}; script-src {script}; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _style() -> str:
    """The style sheet without what only its readers need."""
    style = (TEMPLATES / STYLE).read_text(encoding="utf-8")
    plain = re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)
    return re.sub(r"\s*([{}:;,>])\s*", r"\1", re.sub(r"\s+", " ", plain)).strip()
