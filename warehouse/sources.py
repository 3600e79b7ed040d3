"""sources.yml: what comes in, from where, and how it is to be loaded."""

from __future__ import annotations

import codecs
import difflib
import glob
import hashlib
import json
import os
import re
from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from warehouse.errors import ConfigurationError
from warehouse.schedule_entries import ScheduleEntries, ScheduleEntry
from warehouse.settings import Settings

if TYPE_CHECKING:
    import duckdb

LONGEST_NAME = 100
CELLS = re.compile(r"([A-Z]{1,3})([1-9]\d*)?(?::([A-Z]{1,3})([1-9]\d*)?)?")
LAST_ASCII = 127
# Formats of times that count since 1970, UTC, in seconds divided by ten to the number beside.
EPOCHS = {"epoch": 0, "epoch_ms": 3, "epoch_us": 6, "epoch_ns": 9}
TIMES = ("DATE", "TIME", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP WITH TIME ZONE")
NAME = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
Decimal = Literal[".", ","]
Thousands = Literal[".", ",", " ", "'"]
# What is written for a mark of thousands: no-break and thin spaces, the curly apostrophe.
SPELLINGS: dict[Thousands, str] = {" ": " \u00a0\u2009\u202f", "'": "'\u2019"}
FormatName = Literal["csv", "json", "ndjson", "xml", "excel", "parquet", "avro", "orc", "bytes"]
SUFFIXES: dict[str, FormatName] = {
    **dict.fromkeys((".csv", ".tsv", ".tab"), "csv"),
    ".json": "json",
    **dict.fromkeys((".ndjson", ".jsonl"), "ndjson"),
    ".xml": "xml",
    **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"), "excel"),
    ".parquet": "parquet",
    ".avro": "avro",
    ".orc": "orc",
}
# Which formats a key that says how to read a file goes with.
READING_KEYS: dict[str, tuple[FormatName, ...]] = {
    "delimiter": ("csv",),
    "quote": ("csv",),
    "escape": ("csv",),
    "header": ("csv", "excel"),
    "skip": ("csv",),
    "encoding": ("csv", "json", "ndjson"),
    "nulls": ("csv", "json", "ndjson", "xml", "excel"),
    "decimal": ("csv", "json", "ndjson", "xml", "excel"),
    "thousands": ("csv", "json", "ndjson", "xml", "excel"),
    "record": ("json", "xml"),
    "sheet": ("excel",),
    "range": ("excel",),
}
# They decide nothing of how rows are loaded.
NOT_OF_LOADING = ("path", "optional", "personal", "schedule")


@cache
def _for_types() -> duckdb.DuckDBPyConnection:
    """One empty DuckDB for all types: each takes longer to start than to answer."""
    import duckdb

    return duckdb.connect(config={"threads": 1})


@cache
def known_type(declared: str) -> str:
    """DuckDB's own name of a declared type."""
    import duckdb

    row = None
    try:
        if ";" in declared or "--" in declared or "/*" in declared:
            raise duckdb.ParserException("not a type")
        asked = _for_types().cursor()
        row = asked.execute(f"select typeof(cast(null as {declared}))").fetchone()
    except duckdb.Error:
        pass
    if row is None:
        raise ValueError(
            f"there is no type {declared!r}; use one such as bigint, double, decimal(18,2),"
            " timestamp, varchar"
        )
    return str(row[0])


class ColumnType(BaseModel):
    """A declared column: its DuckDB type and, for a time, how it is written.

    `format` is strptime's, or one of EPOCHS.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Annotated[str, AfterValidator(known_type)]
    format: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"type": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _format_is_of_a_time(self) -> ColumnType:
        if self.format is not None and self.type not in TIMES:
            raise ValueError(f"`format:` goes with {', '.join(TIMES)}, not with {self.type}")
        if self.format in EPOCHS and self.type != "TIMESTAMP":
            raise ValueError(f"`format: {self.format}` goes with TIMESTAMP, not with {self.type}")
        if self.format is not None and self.format not in EPOCHS and "%" not in self.format:
            known = ", ".join(EPOCHS)
            raise ValueError(
                f"{self.format!r} is no format of times: use strptime's, such as '%d.%m.%Y', or one"
                f" of {known} for times that count since 1970"
            )
        return self


def one_character(value: str) -> str:
    """A character that may part or quote fields, as DuckDB can take it."""
    if len(value) != 1 or ord(value) > LAST_ASCII or value in "\r\n\0":
        raise ValueError(f"must be one ASCII character, not {value!r}")
    return value


def known_encoding(name: str) -> str:
    """Python's own name of a text encoding."""
    try:
        return codecs.lookup(name).name
    except LookupError:
        raise ValueError(f"there is no encoding {name!r}; use one such as utf-8, cp1252") from None


def thousands_mark(value: Any) -> Any:
    """The mark of thousands that the value spells, else the value."""
    spelt = (mark for mark, spellings in SPELLINGS.items() if value in tuple(spellings))
    return next(spelt, value)


def cells(text: str) -> str:
    """A range of cells as a spreadsheet names it, without its `$`s."""
    plain = text.upper().replace("$", "")
    if not CELLS.fullmatch(plain):
        raise ValueError(f"{text!r} is not a range of cells such as A3:F200 or A3:F")
    return plain


Character = Annotated[str, AfterValidator(one_character)]


class RowRule(BaseModel):
    """A rule on single rows; one that breaks a critical rule goes to the quarantine.

    `broken` is SQL over the table's columns that is true for such a row, `columns` those that it
    needs. The batch is refused when more than the share `tolerance` of its rows do, by default
    the source's. `references` is the table of the lake that it looks into, `where` the file and
    line that it is written at: the one is for the order of loading, the other for messages.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    broken: str
    columns: tuple[str, ...]
    reason: str
    is_critical: bool = True
    tolerance: float | None = None
    references: str = Field(default="", exclude=True)
    where: str = Field(default="", exclude=True)


class Source(BaseModel):
    """One entry of sources.yml: the dataset `<source>.<dataset>` and its files."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    _folder: Path = PrivateAttr(default=Path())
    _home: Path = PrivateAttr(default=Path())
    _row_rules: tuple[RowRule, ...] = PrivateAttr(default=())

    name: str
    kind: Literal["files"] = "files"
    path: str
    format: FormatName | None = None
    delimiter: Character | None = None
    quote: Character | Literal[""] = '"'
    escape: Character | None = None
    header: bool = True
    skip: int = Field(default=0, ge=0)
    encoding: Annotated[str, AfterValidator(known_encoding)] | None = None
    nulls: tuple[str, ...] = ()
    decimal: Decimal = "."
    thousands: Annotated[Thousands | None, BeforeValidator(thousands_mark)] = None
    record: str | None = None
    sheet: str | None = None
    range: Annotated[str, AfterValidator(cells)] | None = None
    columns: dict[str, ColumnType] = Field(default_factory=dict)
    key: tuple[str, ...] = ()
    event_time: str | None = None
    known_at: str | None = None
    write: Literal["append", "merge", "snapshot"] = "append"
    schema_policy: Literal["evolve", "freeze"] = Field(default="evolve", alias="schema")
    tolerance: float = Field(default=0.5, ge=0, le=1)
    optional: bool = False
    personal: tuple[str, ...] = ()
    schedule: ScheduleEntries = ()

    @field_validator("name")
    @classmethod
    def _name_has_two_parts(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError("must be <source>.<dataset> in lower case, such as shop.orders")
        if len(name) > LONGEST_NAME:
            raise ValueError(f"must not be longer than {LONGEST_NAME} characters")
        return name

    @field_validator("thousands")
    @classmethod
    def _thousands_and_decimal_differ(
        cls, mark: Thousands | None, info: ValidationInfo
    ) -> Thousands | None:
        if mark is not None and mark == info.data.get("decimal"):
            raise ValueError(f"{mark!r} cannot part both decimals and thousands")
        return mark

    @model_validator(mode="after")
    def _merge_has_a_key(self) -> Source:
        if self.write == "merge" and not self.key:
            raise ValueError("`write: merge` needs a `key:` to merge by")
        return self

    @model_validator(mode="after")
    def _reading_keys_fit_the_format(self) -> Source:
        for key in sorted(self.model_fields_set & READING_KEYS.keys()):
            formats = READING_KEYS[key]
            if self.format is not None and self.format not in formats:
                raise ValueError(f"`{key}` goes with {', '.join(formats)}, not with {self.format}")
        return self

    @property
    def row_rules(self) -> tuple[RowRule, ...]:
        """What each row must keep to be loaded, from expectations/rules/raw."""
        return self._row_rules

    def with_rules(self, rules: Iterable[RowRule]) -> Source:
        """The source whose rows must keep these rules."""
        source = self.model_copy()
        source._row_rules = tuple(rules)
        return source

    @property
    def folder(self) -> Path:
        """The folder of the sources file, to which `path` is relative."""
        return self._folder

    @property
    def schema_name(self) -> str:
        """The lake schema of this source."""
        return f"raw_{self.name.split('.')[0]}"

    @property
    def table_name(self) -> str:
        """The lake table of this dataset."""
        return self.name.split(".")[1]

    def expanded(self, *, escape: bool) -> str:
        """`path` with its `${NAME}`s replaced, their glob marks escaped if asked.

        `path` itself keeps its `${NAME}`s, so that no message shows what they stand for.
        """

        def value(match: re.Match[str]) -> str:
            name = match.group(1)
            text = str(self._home) if name == "CLEARWATER_HOME" else os.environ[name]
            return glob.escape(text) if escape else text

        return VARIABLE.sub(value, self.path)

    @property
    def is_glob(self) -> bool:
        """Whether `path` is a pattern rather than one file."""
        return any(mark in VARIABLE.sub("", self.path) for mark in "*?[")

    def format_of(self, original_name: str) -> FormatName | None:
        """The declared format, else the one that the suffix tells; None when it tells nothing."""
        return self.format or SUFFIXES.get(Path(original_name).suffix.lower())

    def declared(self, column: str) -> ColumnType | None:
        """What `columns` says of a file's column; the case of names does not matter."""
        return self._declared.get(column.lower())

    @cached_property
    def _declared(self) -> dict[str, ColumnType]:
        return {name.lower(): declared for name, declared in self.columns.items()}

    def type_of(self, column: str) -> str:
        """The declared type of a text format's column; VARCHAR where none is declared."""
        declared = self.declared(column)
        return declared.type if declared else "VARCHAR"

    def definition(self) -> dict[str, Any]:
        """All that decides how a batch of this source is loaded: its entry, and its rules."""
        entry = self.model_dump(
            mode="json", by_alias=True, exclude=set(NOT_OF_LOADING), exclude_unset=True
        )
        return entry | self._ruled()

    @classmethod
    def from_definition(cls, content: dict[str, Any]) -> Source:
        """The source of a `definition`; it has no path. Raises ValueError."""
        entry = {name: value for name, value in content.items() if name != "row_rules"}
        rules = [RowRule.model_validate(rule) for rule in content.get("row_rules", [])]
        return cls.model_validate({**entry, "path": ""}).with_rules(rules)

    def fingerprint(self) -> str:
        """A hash of all that decides how a batch of this source is loaded."""
        content = self.model_dump(exclude=set(NOT_OF_LOADING)) | self._ruled()
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _ruled(self) -> dict[str, Any]:
        rules = [rule.model_dump(mode="json") for rule in self._row_rules]
        return {"row_rules": rules} if rules else {}


class SourcesFile(BaseModel):
    """All of a sources file: the pipeline's own schedules, and the sources."""

    model_config = ConfigDict(extra="forbid")

    version: Literal[1]
    schedule: ScheduleEntries = ()
    sources: list[Source] = Field(min_length=1)


def load_sources(file: Path, settings: Settings) -> list[Source]:
    """The sources that `file` declares. Raises ConfigurationError as `read_sources_file`."""
    return read_sources_file(file, settings).sources


def read_sources_file(file: Path, settings: Settings) -> SourcesFile:
    """All that `file` declares.

    Raises ConfigurationError naming the file, the line and the nearest right key.
    """
    root = _compose(file)
    lines: dict[tuple[str | int, ...], int] = {}
    try:
        data = _plain(root, (), lines, file)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise ConfigurationError(
            f"a value cannot be read: {type(error).__name__}",
            where=str(file),
            next_step="use plain text, numbers and lists; docs/sources.md explains the file",
        ) from None
    try:
        parsed = SourcesFile.model_validate(data)
    except ValidationError as error:
        raise _explained(error, lines, file) from None
    _check_unique(parsed.sources, lines, file)
    _check_variables(parsed.sources, lines, file)
    for source in parsed.sources:
        source._folder = file.resolve().parent
        source._home = settings.home
    return parsed


def _compose(file: Path) -> yaml.Node:
    try:
        node = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise ConfigurationError(
            "there is no such sources file",
            where=str(file),
            next_step="name one with --sources, or run `clearwater demo` to make a sample",
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"the sources file cannot be read: {error}",
            where=str(file),
            next_step="make it a readable UTF-8 text file",
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigurationError(
            f"not valid YAML: {problem}",
            where=f"{file}{line}",
            next_step="mend the line; docs/sources.md explains the file",
        ) from None
    if node is None or (isinstance(node, yaml.ScalarNode) and not node.value):
        raise ConfigurationError(
            "the sources file is empty",
            where=str(file),
            next_step="declare at least one source under `sources:`",
        )
    if not isinstance(node, yaml.MappingNode):
        raise ConfigurationError(
            "the sources file has no keys",
            where=f"{file}:{node.start_mark.line + 1}",
            next_step="begin it with `version: 1` and `sources:`",
        )
    return node


def _plain(
    node: yaml.Node,
    place: tuple[str | int, ...],
    lines: dict[tuple[str | int, ...], int],
    file: Path,
) -> Any:
    """The node as plain Python values; `lines` learns the line of each place."""
    lines[place] = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        result = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            if key in result:
                raise ConfigurationError(
                    f"the key {key!r} stands twice",
                    where=f"{file}:{key_node.start_mark.line + 1}",
                    next_step="keep one of them",
                )
            result[key] = _plain(value_node, (*place, key), lines, file)
            lines[(*place, key)] = key_node.start_mark.line + 1
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_plain(v, (*place, i), lines, file) for i, v in enumerate(node.value)]
    return yaml.SafeLoader("").construct_object(node)


def _check_variables(
    sources: list[Source], lines: dict[tuple[str | int, ...], int], file: Path
) -> None:
    for index, source in enumerate(sources):
        for name in VARIABLE.findall(source.path):
            if name != "CLEARWATER_HOME" and name not in os.environ:
                raise ConfigurationError(
                    f"the environment variable {name} is not set",
                    where=f"{file}:{lines['sources', index, 'path']}",
                    next_step=f"export {name}=… before the run",
                )


def _explained(
    error: ValidationError, lines: dict[tuple[str | int, ...], int], file: Path
) -> ConfigurationError:
    """The first problem in the words of the file."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    # A misspelt key is also a missing one: the first says more.
    problem = min(problems, key=lambda told: told["type"] != "extra_forbidden")
    # What may stand without its list has no number there.
    place = tuple(
        part
        for n, part in enumerate(problem["loc"], 1)
        if isinstance(part, str) or problem["loc"][:n] in lines
    )
    line = next((lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in lines), 1)
    name = next((part for part in reversed(place) if isinstance(part, str)), "the file")
    known = [f.alias or n for n, f in Source.model_fields.items()]
    if len(place) == 1:
        known = list(SourcesFile.model_fields)
    elif "columns" in place:
        known = list(ColumnType.model_fields)
    elif "schedule" in place:
        known = list(ScheduleEntry.model_fields)
    if problem["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, known, n=1)
        next_step = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}"
        what = f"unknown key {name!r}"
    elif problem["type"] == "missing":
        what, next_step = f"the key {name!r} is missing", f"add `{name}:` there"
    else:
        message = problem["msg"].removeprefix("Value error, ")
        what, next_step = f"{name}: {message}", "mend the value; see docs/sources.md"
    return ConfigurationError(what, where=f"{file}:{line}", next_step=next_step)


def _check_unique(
    sources: list[Source], lines: dict[tuple[str | int, ...], int], file: Path
) -> None:
    seen: set[str] = set()
    for index, source in enumerate(sources):
        if source.name in seen:
            raise ConfigurationError(
                f"the source {source.name!r} is declared twice",
                where=f"{file}:{lines['sources', index]}",
                next_step="give one of them another name",
            )
        seen.add(source.name)


def chosen(sources: list[Source], only: list[str]) -> list[Source]:
    """The sources whose names are in `only`; all of them when it is empty."""
    names = [source.name for source in sources]
    for name in only:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            raise ConfigurationError(
                f"there is no source {name!r}",
                where="--only",
                next_step=f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}",
            )
    return [source for source in sources if not only or source.name in only]
