"""The story of a run, from the lines of its log: what failed first, then stage by stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from flows.printing import table_text
from flows.progress import in_words
from flows.run_log import Line, read_log
from warehouse.lock import Holder, is_running, lock_holder
from warehouse.processes import Process
from warehouse.wording import counted

if TYPE_CHECKING:
    from warehouse.settings import Settings

SHOWN_ROWS = 5  # of those that break a rule; --json has all that were kept
SHOWN_COLUMNS = 7  # the rule's own come first
SHOWN_OF_EACH = 5  # refusals, rules and the like
LONGEST_DETAIL = 160
BLANK = " " * 10
# What is told of by itself, or is not for people.
_OTHERWISE = ("run_started", "run_ended", "stage", "error", "model_failed")


@dataclass
class StageStory:
    """One stage: how it ended, empty if it did not, and what was said in it."""

    name: str
    status: str = ""
    seconds: float | None = None
    detail: str = ""
    lines: list[Line] = field(default_factory=list)


@dataclass
class Story:
    """A run as its log tells it.

    `status` is the run's own word when it ended; else `running`, or `crashed` if it is not at work.
    `others` are lines of no stage, such as those of incidents.
    """

    run_id: str
    status: str
    exit_code: int | None
    started_at: str
    seconds: float
    asked: Mapping[str, Any]
    ended: Mapping[str, Any]
    errors: list[Line]
    stages: list[StageStory]
    others: list[Line]
    last: Line

    def to_json(self) -> dict[str, Any]:
        """The story for machines."""
        told = {name: value for name, value in vars(self).items() if name != "last"}
        return told | {
            "errors": [line.content for line in self.errors],
            "stages": [
                vars(stage) | {"lines": [line.content for line in stage.lines]}
                for stage in self.stages
            ],
            "others": [line.content for line in self.others],
            "last_heard_at": self.last.at,
        }


def newest_story(settings: Settings, run_id: str) -> Story | None:
    """The story of a run up to this moment; None of one whose log is empty.

    Raises OSError when there is no log.
    """
    lines = read_log(settings, run_id)
    if not lines:
        return None
    found = story(lines, lock_holder(settings))
    # It may have come to its end before the lock was looked at.
    return story(read_log(settings, run_id), None) if found.status == "crashed" else found


def story(lines: Sequence[Line], holder: Holder | None) -> Story:
    """The story that the lines tell, at least one, while this process holds the writer lock."""
    first, last = lines[0], lines[-1]
    started = next((line.values for line in lines if line.event == "run_started"), {})
    ended = next((line.values for line in lines if line.event == "run_ended"), {})
    stages, others = _staged(lines)
    return Story(
        run_id=first.run_id,
        status=str(ended.get("status") or _unended(started, first.run_id, holder)),
        exit_code=ended.get("exit_code"),
        started_at=first.at,
        seconds=(last.moment - first.moment).total_seconds(),
        asked=started,
        ended=ended,
        errors=[line for line in lines if line.level == "error" and line.event in _ERRORS],
        stages=stages,
        others=others,
        last=last,
    )


_ERRORS = ("error", "model_failed", "rule", "refused")


def _unended(started: Mapping[str, Any], run_id: str, holder: Holder | None) -> str:
    process = Process(**started.get("process", {"pid": 0, "born": ""}))
    on = str(started.get("host", ""))
    return "running" if is_running(holder, run_id, process, on) else "crashed"


def _staged(lines: Sequence[Line]) -> tuple[list[StageStory], list[Line]]:
    """The stages in order, each with what was said in it or of it, and what was said of none."""
    stages: list[StageStory] = []
    others: list[Line] = []
    for line in lines:
        if line.event == "stage" and line.values.get("status") == "start":
            stages.append(StageStory(line.stage))
        elif line.event == "stage" and stages:
            stages[-1].status = str(line.values.get("status"))
            stages[-1].seconds, stages[-1].detail = line.values.get("seconds"), line.text
        elif line.event not in _OTHERWISE:
            of = [stage.lines for stage in stages if stage.name == line.stage]
            (of[-1] if of else others).append(line)
    return stages, others


def told(found: Story) -> Iterator[str]:
    """The story in lines for people."""
    yield f"run {found.run_id}: {_ending(found)}"
    yield f"started   {found.started_at[:19].replace('T', ' ')} UTC"
    yield from _asked(found.asked)
    if not found.ended:
        yield from _how_far(found)
    yield from _what_failed(found)
    yield from _again(found)
    yield ""
    for stage in found.stages:
        yield from _stage(stage)
    for line in found.others:
        yield f"{BLANK}{_indented(line.text)}"


def _ending(found: Story) -> str:
    if not found.ended:
        if found.status == "running":
            since = datetime.now(UTC) - datetime.fromisoformat(found.started_at)
            return f"running, for {in_words(since.total_seconds())} now"
        return "crashed: it ended without a word"
    code = f", exit code {found.exit_code}" if found.exit_code else ""
    verdict = f", verdict {found.ended['verdict']}" if found.ended.get("verdict") else ""
    serves = "release" if found.status in ("done", "refused") else "serving still"
    release = f", {serves} {found.ended['release']}" if found.ended.get("release") else ""
    return f"{found.status}{code}{verdict}{release}, took {in_words(found.seconds)}"


def _asked(asked: Mapping[str, Any]) -> Iterator[str]:
    if not asked:
        return
    only = f", only {', '.join(asked['only'])}" if asked.get("only") else ""
    full = ", every model in full" if asked.get("full_refresh") else ""
    yield f"asked     {' '.join(asked['stages'])} of {asked['sources']}{only}{full}"


def _how_far(found: Story) -> Iterator[str]:
    """Where a run is, or was when it was last heard of."""
    at = found.last.at[:19].replace("T", " ")
    stage = found.stages[-1] if found.stages else None
    if stage is None:
        yield f"came to   before its first stage; last heard of at {at} UTC"
        return
    where = f"after {stage.name}" if stage.status else stage.name
    seen = next((line for line in reversed(stage.lines) if line.event == "progress"), None)
    far = f", {seen.text}" if seen is not None and not stage.status else ""
    yield f"came to   {where}{far}; last heard of at {at} UTC"


def _what_failed(found: Story) -> Iterator[str]:
    yield from _few([line for line in found.errors if line.event == "error"], _error)
    told = {line.values.get("what") for line in found.errors if line.event == "error"}
    models = [line for line in found.errors if line.event == "model_failed"]
    yield from _few([line for line in models if line.values["message"] not in told], _model)
    yield from _few([line for line in found.errors if line.event == "rule"], _rule)
    yield from _few([line for line in found.errors if line.event == "refused"], _refused)
    yield from _quarantined(found)


def _few(lines: Sequence[Line], tell: Any) -> Iterator[str]:
    for line in lines[:SHOWN_OF_EACH]:
        yield ""
        yield from tell(line)
    if (more := len(lines) - SHOWN_OF_EACH) > 0:
        yield f"{BLANK}and {more:,} more; --json has them all"


def _error(line: Line) -> Iterator[str]:
    where = f"in {line.stage}: " if line.stage else ""
    yield f"error     {where}{line.text}"
    if trace := line.values.get("traceback"):
        yield _indented(str(trace).rstrip())


def _model(line: Line) -> Iterator[str]:
    values = line.values
    yield f"model     {line.text}: {values['file']}"
    yield f"{BLANK}{_indented(values['message'])}"
    width = len(str(values["first_line"] + len(values["sql"])))
    if values["sql"]:
        yield f"{BLANK}as dbt compiled it:"
    for number, sql in enumerate(values["sql"], values["first_line"]):
        mark = ">" if number == values["line"] else " "
        yield f"{BLANK}{mark} {number:{width}} | {sql}".rstrip()
    if step := values.get("next_step"):
        yield f"{BLANK}next: {_indented(step)}"


def _rule(line: Line) -> Iterator[str]:
    values = line.values
    yield f"rule      {line.text} ({values['severity']}, of {values['table']})"
    rows = values.get("rows", [])
    if not rows:
        return
    broken = values["unexpected"]
    if len(rows) > SHOWN_ROWS or broken > len(rows):
        yield f"{BLANK}{min(SHOWN_ROWS, len(rows))} of the {broken:,} that break it:"
    columns = values["columns"][:SHOWN_COLUMNS]
    shown = [["null" if c is None else c for c in row[: len(columns)]] for row in rows[:SHOWN_ROWS]]
    yield f"{BLANK}{_indented(table_text(columns, shown))}"
    if (more := len(values["columns"]) - len(columns)) > 0:
        yield f"{BLANK}and {counted(more, 'column')} more; --json has them all"


def _refused(line: Line) -> Iterator[str]:
    yield f"refused   {line.text}"


def _quarantined(found: Story) -> Iterator[str]:
    for line in (line for stage in found.stages for line in stage.lines):
        if line.event == "source" and (rows := line.values.get("quarantined")):
            yield ""
            yield f"quarantine  {rows:,} of {line.values['source']}; which, and why:"
            yield f"{BLANK}`clearwater quarantine show {line.values['source']}`"


def _again(found: Story) -> Iterator[str]:
    if found.status == "refused":
        yield ""
        yield "again     each run tries refused files again, once they or sources.yml are corrected"
    elif found.status not in ("done", "running"):
        yield ""
        yield f"again     `clearwater retry {found.run_id}` takes up what is not done"


def _stage(stage: StageStory) -> Iterator[str]:
    took = f"{stage.seconds:8.1f} s" if stage.seconds is not None else " " * 10
    mark = "" if stage.status in ("done", "skipped") else f"{stage.status or 'not ended'}: "
    yield f"{stage.name:<9} {took}  {mark}{shorten(stage.detail, LONGEST_DETAIL, placeholder=' …')}"
    for line in stage.lines:
        if line.level != "error" and line.event != "progress":
            yield f"{BLANK}{_indented(line.text)}"


def _indented(text: str) -> str:
    return text.replace("\n", f"\n{BLANK}")
