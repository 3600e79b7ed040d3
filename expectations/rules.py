"""The rules: what must be true of each published table, read from one YAML file a table."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import yaml

from warehouse.errors import ConfigurationError
from warehouse.sources import known_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Boundary = Literal["raw", "marts", "features"]
Check = Literal[
    "not_null",
    "unique",
    "between",
    "in_set",
    "length",
    "regex",
    "references",
    "expression",
    "row_count",
    "distinct_count",
    "aggregate",
    "freshness",
    "total",
    "columns",
    "volume",
    "null_share",
    "drift",
    "anomaly",
]
Severity = Literal["critical", "warning", "info"]
Bound = int | float | date
Value = Bound | str

FOLDER = Path(__file__).parent / "rules"
# What a gate reads; raw rules judge rows and files when they are loaded.
PUBLISHED: tuple[Boundary, ...] = ("marts", "features")
RAW_CHECKS: tuple[Check, ...] = (
    "not_null",
    "between",
    "in_set",
    "length",
    "regex",
    "references",
    "expression",
    "volume",
    "null_share",
    "drift",
    "anomaly",
)
# Compared with what was before: at the raw boundary a file with earlier files.
LEARNED = frozenset({"volume", "null_share", "drift", "anomaly"})
MEASURES = ("psi", "ks", "js")
CHECKS: tuple[Check, ...] = get_args(Check)
SEVERITIES: tuple[Severity, ...] = get_args(Severity)
ROW_LEVEL = frozenset({"not_null", "unique", "between", "in_set", "length", "regex", "expression"})

FILE_KEYS = ("table", "owner", "rules")
COMMON_KEYS = ("id", "check", "severity", "reason")
CHECK_KEYS: Mapping[str, tuple[str, ...]] = {
    "not_null": ("column", "columns", "mostly"),
    "unique": ("column", "columns"),
    "between": ("column", "min", "max", "strict_min", "strict_max", "mostly"),
    "in_set": ("column", "values", "mostly"),
    "length": ("column", "min", "max", "mostly"),
    "regex": ("column", "pattern", "mostly"),
    "references": ("column", "columns", "references_table", "references_columns", "mostly"),
    "expression": ("expression", "mostly"),
    "row_count": ("min", "max", "equals_table"),
    "distinct_count": ("column", "columns", "min", "max"),
    "aggregate": ("expression", "min", "max", "strict_min", "strict_max"),
    "freshness": ("column", "max_age"),
    "total": ("expression", "equals", "equals_table"),
    "columns": ("columns", "ordered"),
    "volume": ("by", "false_alarm_rate"),
    "null_share": ("column", "columns", "max", "by", "false_alarm_rate"),
    "drift": (
        "column",
        "columns",
        "measure",
        "max",
        "reference_table",
        "by",
        "false_alarm_rate",
    ),
    "anomaly": ("columns", "by", "false_alarm_rate"),
}
# What only speaks of published tables.
PUBLISHED_KEYS = ("mostly", "by", "reference_table")
WHOLE_BOUNDS = ("row_count", "distinct_count", "length")
MAX_AGE = re.compile(r"(\d+(?:\.\d+)?) (minute|hour|day|week)s?")
_UNHASHED = frozenset({"owner", "reason", "file", "line"})
# An expression with one of these can change its mind about a row that has not changed.
_LOOKS_ELSEWHERE = re.compile(r"\b(select|now|today|current_\w+|random|uuid)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Rule:
    """One thing that must be true of one published table.

    A bound is a value, or SQL over the row's columns: `minimum_sql`, `maximum_sql`. `expression`
    is a row's condition, or an aggregate. `column_types` are the exact names and DuckDB types of a
    `columns` check. `mostly` is the least share of rows that must hold. `equals` is the aggregate
    over `equals_table`. `max_age` is an SQL interval. `tolerance` is the share of a raw batch's
    rows that may break the rule. `by` is the column by whose days the table is compared with its
    own past, else it is by runs; `measure` how distributions are; `false_alarm_rate` how often
    that may be an alarm when nothing is wrong. `file`, from the project's `expectations` on, and
    `line` are where it is written.
    """

    id: str
    boundary: Boundary
    table: str
    check: Check
    severity: Severity
    owner: str
    reason: str
    columns: tuple[str, ...] = ()
    minimum: Bound | None = None
    maximum: Bound | None = None
    minimum_sql: str = ""
    maximum_sql: str = ""
    strict_min: bool = False
    strict_max: bool = False
    values: tuple[Value, ...] = ()
    expression: str = ""
    equals: str = ""
    equals_table: str = ""
    pattern: str = ""
    references_table: str = ""
    references_columns: tuple[str, ...] = ()
    max_age: str = ""
    column_types: tuple[tuple[str, str], ...] = ()
    ordered: bool = False
    mostly: float = field(default=1.0)
    tolerance: float | None = None
    by: str = ""
    measure: str = ""
    reference_table: str = ""
    false_alarm_rate: float | None = None
    file: str = field(default="", compare=False)
    line: int = field(default=0, compare=False)

    @property
    def where(self) -> str:
        """File and line, for people."""
        return f"{self.file}, line {self.line}"

    @cached_property
    def hash(self) -> str:
        """A digest of everything that decides the outcome: owner and reason do not.

        What a rule does not use is left out, so that a new kind of check changes no digest.
        """
        said = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in _UNHASHED}
        parts = {
            name: value
            for name, value in said.items()
            if value is not None and value is not False and value not in ("", ())
        }
        return _digest(parts)

    @property
    def is_learned(self) -> bool:
        """Whether what is usual decides, not a bound that is written down."""
        if self.check == "freshness":
            return not self.max_age
        fixed = self.check == "null_share" and self.maximum is not None
        return self.check in LEARNED and not fixed and not self.reference_table

    @property
    def is_row_level(self) -> bool:
        """Whether the rule can be decided from the changed rows alone.

        A share of the whole table cannot, nor can an expression that looks at other rows or at
        the clock.
        """
        sql = f"{self.expression} {self.minimum_sql} {self.maximum_sql}"
        looks_elsewhere = bool(_LOOKS_ELSEWHERE.search(sql))
        return self.check in ROW_LEVEL and self.mostly >= 1 and not looks_elsewhere


def load_rules(folder: Path = FOLDER) -> list[Rule]:
    """Every rule below `folder`, by file name.

    Raises ConfigurationError, naming file and line, when a rule file says something unknown.
    """
    rules, errors = read_rules(folder)
    if errors:
        raise errors[0]
    return rules


def read_rules(folder: Path = FOLDER) -> tuple[list[Rule], list[ConfigurationError]]:
    """Every rule below `folder` that can be read, and all that is wrong with the others.

    Of a rule, and of what stands above the rules of a file, the first mistake is told.
    """
    rules: list[Rule] = []
    errors: list[ConfigurationError] = []
    errors += _never_read(folder)
    for path in sorted(folder.glob("*/*.yml")):
        for read in _read_file(path, folder):
            if isinstance(read, Rule):
                rules.append(read)
            else:
                errors.append(read)
    return rules, [*errors, *_repeated_ids(rules)]


def _never_read(folder: Path) -> Iterator[ConfigurationError]:
    """Files that look like rules, and are not where rules are looked for."""
    for path in sorted(p for ending in ("yml", "yaml") for p in folder.rglob(f"*.{ending}")):
        if path.suffix != ".yml" or len(path.relative_to(folder).parts) != 2:
            yield ConfigurationError(
                "this file is not read",
                where=path.relative_to(folder.parent).as_posix(),
                next_step="call it <table>.yml, in raw, marts or features of the rules' folder",
            )


def _digest(parts: object) -> str:
    text = json.dumps(parts, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class _Entry(dict[str, Any]):
    """A YAML mapping that knows its own line and the lines of its keys."""

    line: int
    lines: dict[str, int]


# The parser in C where PyYAML has it: a gate reads its rules at every run.
_SafeLoader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):  # type: ignore[valid-type, misc]  # chosen at run time
    pass


def _entry(loader: _Loader, node: yaml.MappingNode) -> _Entry:
    content = loader.construct_mapping(node, deep=True)
    entry = _Entry({str(key): value for key, value in content.items()})
    entry.line = node.start_mark.line + 1
    entry.lines = {str(key.value): key.start_mark.line + 1 for key, _ in node.value}
    return entry


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _entry)


class _File:
    """A rule file being read: says where when something is wrong."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.path = path
        self.name = path.relative_to(folder.parent).as_posix()

    def error(self, line: int, what: str, next_step: str) -> ConfigurationError:
        return ConfigurationError(what, where=f"{self.name}, line {line}", next_step=next_step)

    def unknown(
        self, line: int, kind: str, name: object, known: Sequence[str]
    ) -> ConfigurationError:
        near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.0)[0]
        return self.error(
            line,
            f"unknown {kind} {name!r}; the nearest is {near!r}",
            f"use one of: {', '.join(known)}",
        )

    def known_keys(self, entry: _Entry, known: Sequence[str]) -> None:
        for key in entry:
            if key not in known:
                raise self.unknown(entry.lines[key], "key", key, known)

    def text(self, entry: _Entry, key: str) -> str:
        value = entry.get(key)
        if not isinstance(value, str) or not value.strip():
            line = entry.lines.get(key, entry.line)
            raise self.error(line, f"{key!r} is missing or not text", f"add `{key}: …`")
        return " ".join(value.split())

    def one_of(self, entry: _Entry, key: str, known: Sequence[str]) -> str:
        value = self.text(entry, key)
        if value not in known:
            raise self.unknown(entry.lines[key], key, value, known)
        return value


def _read_file(path: Path, folder: Path) -> Iterator[Rule | ConfigurationError]:
    """Each rule of the file, or what is wrong with it."""
    file = _File(path, folder)
    try:
        table, boundary, owner, entries = _read_head(file)
    except ConfigurationError as error:
        yield error
        return
    for entry in entries:
        try:
            yield _read_rule(file, entry, table, boundary, owner)
        except ConfigurationError as error:
            yield error


def _read_head(file: _File) -> tuple[str, Boundary, str, list[_Entry]]:
    """The file's table with its boundary, its owner, and the entries of its rules."""
    entry = _parse(file)
    file.known_keys(entry, FILE_KEYS)
    table = file.text(entry, "table")
    schema = table.split(".")[0]
    boundary = _boundary(schema)
    if table.count(".") != 1 or boundary is None:
        raise file.error(
            entry.lines["table"],
            f"{table!r} is neither a published table nor one of the lake",
            f"name it with its schema: {', '.join(PUBLISHED)}, or raw_<source>",
        )
    return table, boundary, file.text(entry, "owner"), _rule_entries(file, entry)


def _boundary(schema: str) -> Boundary | None:
    if schema.startswith("raw_"):
        return "raw"
    return next((boundary for boundary in PUBLISHED if boundary == schema), None)


def _parse(file: _File) -> _Entry:
    try:
        text = file.path.read_text(encoding="utf-8")
        content = yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise file.error(line, f"not YAML: {error.problem}", "mend the syntax") from error
    except ValueError as error:  # such as a 31st of a 12th month the other way round
        raise file.error(1, f"a value cannot be read: {error}", "mend the date or number") from None
    if not isinstance(content, _Entry):
        raise file.error(1, "not a rule file", f"give it the keys: {', '.join(FILE_KEYS)}")
    return content


def _rule_entries(file: _File, entry: _Entry) -> list[_Entry]:
    rules = entry.get("rules")
    line = entry.lines.get("rules", entry.line)
    if not isinstance(rules, list) or not rules:
        raise file.error(line, "'rules' is missing or empty", "list at least one rule")
    for rule in rules:
        if not isinstance(rule, _Entry):
            raise file.error(line, f"{rule!r} is not a rule", "give each rule an id and a check")
    return cast("list[_Entry]", rules)


def _read_rule(file: _File, entry: _Entry, table: str, boundary: Boundary, owner: str) -> Rule:
    is_raw = boundary == "raw"
    check = cast("Check", file.one_of(entry, "check", RAW_CHECKS if is_raw else CHECKS))
    keys = [key for key in CHECK_KEYS[check] if not (is_raw and key in PUBLISHED_KEYS)]
    is_of_rows = is_raw and check not in LEARNED
    file.known_keys(entry, (*COMMON_KEYS, *keys, *(("tolerance",) if is_of_rows else ())))
    rule = Rule(
        id=file.text(entry, "id"),
        boundary=boundary,
        table=table,
        check=check,
        severity=cast("Severity", file.one_of(entry, "severity", SEVERITIES)),
        owner=owner,
        reason=file.text(entry, "reason"),
        columns=_columns(file, entry, check),
        minimum=_bound(file, entry, "min", check),
        maximum=_bound(file, entry, "max", check),
        minimum_sql=_bound_sql(entry, "min", check),
        maximum_sql=_bound_sql(entry, "max", check),
        strict_min=_flag(file, entry, "strict_min"),
        strict_max=_flag(file, entry, "strict_max"),
        values=_values(file, entry) if check == "in_set" else (),
        expression=file.text(entry, "expression") if "expression" in CHECK_KEYS[check] else "",
        equals=file.text(entry, "equals") if check == "total" else "",
        equals_table=_other_table(file, entry, check),
        pattern=_pattern(file, entry) if check == "regex" else "",
        references_table=file.text(entry, "references_table") if check == "references" else "",
        references_columns=_referenced(file, entry) if check == "references" else (),
        max_age=_max_age(file, entry) if "max_age" in entry else "",
        column_types=_column_types(file, entry) if check == "columns" else (),
        ordered=_flag(file, entry, "ordered"),
        mostly=_mostly(file, entry),
        tolerance=_share(file, entry, "tolerance"),
        by=_optional_text(file, entry, "by"),
        measure=file.one_of(entry, "measure", MEASURES) if "measure" in entry else "",
        reference_table=_optional_text(file, entry, "reference_table"),
        false_alarm_rate=_share(file, entry, "false_alarm_rate"),
        file=file.name,
        line=entry.line,
    )
    _refuse_boundless(file, entry, rule)
    return rule


def _pattern(file: _File, entry: _Entry) -> str:
    """The regular expression, which DuckDB (RE2) must take."""
    value = entry.get("pattern")
    line = entry.lines.get("pattern", entry.line)
    if not isinstance(value, str) or not value:
        raise file.error(line, "'pattern' is missing or not text", "add `pattern: '[A-Z]{2}'`")
    import duckdb

    try:
        duckdb.execute("select regexp_full_match('', ?)", [value])
    except duckdb.Error as error:
        told = str(error).splitlines()[0]
        raise file.error(line, f"'pattern' is no regular expression: {told}", "mend it") from None
    return value


def _referenced(file: _File, entry: _Entry) -> tuple[str, ...]:
    """The other table's columns: those named, else of the same names."""
    own = _columns(file, entry, "references")
    if "references_columns" not in entry:
        return own
    named = tuple(str(name) for name in _listed(file, entry, "references_columns"))
    if len(named) != len(own):
        raise file.error(
            entry.lines["references_columns"],
            f"{len(named)} columns cannot be those of {len(own)}",
            "name one for each of the table's own",
        )
    return named


def _max_age(file: _File, entry: _Entry) -> str:
    text = file.text(entry, "max_age")
    if not MAX_AGE.fullmatch(text):
        line = entry.lines["max_age"]
        raise file.error(line, f"'max_age' is {text!r}", "write it as `36 hours` or `2 days`")
    return text


def _columns(file: _File, entry: _Entry, check: Check) -> tuple[str, ...]:
    if not {"column", "columns"} & set(CHECK_KEYS[check]) or check == "columns":
        return ()
    if check == "anomaly" and "columns" not in entry:
        return ()  # all of them
    if "columns" in entry:
        return tuple(str(name) for name in _listed(file, entry, "columns"))
    return (file.text(entry, "column"),)


def _listed(file: _File, entry: _Entry, key: str) -> list[Any]:
    value = entry.get(key)
    if not isinstance(value, list) or not value:
        line = entry.lines.get(key, entry.line)
        raise file.error(line, f"{key!r} is missing or not a list", f"write `{key}: [a, b]`")
    return value


def _values(file: _File, entry: _Entry) -> tuple[Value, ...]:
    """The values of a set, of one kind: a bare `no` among texts is false to YAML."""
    values = _listed(file, entry, "values")
    flags = [value for value in values if isinstance(value, bool)]
    if flags and len(flags) < len(values):
        told = f"'values' has {str(flags[0]).lower()} among others"
        raise file.error(entry.lines["values"], told, "put texts such as 'no' and 'on' into quotes")
    return tuple(values)


def _flag(file: _File, entry: _Entry, key: str) -> bool:
    value = entry.get(key, False)
    if not isinstance(value, bool):
        raise file.error(entry.lines[key], f"{key!r} is {value!r}", "write true or false")
    return value


def _mostly(file: _File, entry: _Entry) -> float:
    value = entry.get("mostly", 1.0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        line = entry.lines["mostly"]
        raise file.error(line, f"'mostly' is {value!r}", "write a share above 0, at most 1")
    return float(value)


def _share(file: _File, entry: _Entry, key: str) -> float | None:
    value = entry.get(key)
    is_share = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    if value is not None and not is_share:
        raise file.error(entry.lines[key], f"{key!r} is {value!r}", "write a share")
    return value


def _optional_text(file: _File, entry: _Entry, key: str) -> str:
    return file.text(entry, key) if key in entry else ""


def _other_table(file: _File, entry: _Entry, check: Check) -> str:
    if check == "total" or "equals_table" in entry:
        return file.text(entry, "equals_table")
    return ""


def _column_types(file: _File, entry: _Entry) -> tuple[tuple[str, str], ...]:
    types = entry.get("columns")
    if not isinstance(types, _Entry) or not types:
        line = entry.lines.get("columns", entry.line)
        raise file.error(line, "'columns' is not a mapping", "write `columns: {name: type}`")
    return tuple((str(name), _known_type(file, types, name)) for name in types)


def _known_type(file: _File, types: _Entry, name: str) -> str:
    """DuckDB's own name of the type, which may be written as one of its other names."""
    try:
        return known_type(str(types[name]))
    except ValueError as error:
        raise file.error(types.lines[name], f"{name!r}: {error}", "mend the type") from None


def _bound_sql(entry: _Entry, key: str, check: Check) -> str:
    """The bound as SQL over the row's columns, where it is text."""
    value = entry.get(key)
    return " ".join(value.split()) if check == "between" and isinstance(value, str) else ""


def _bound(file: _File, entry: _Entry, key: str, check: Check) -> Bound | None:
    if _bound_sql(entry, key, check):
        return None
    value = entry.get(key)
    kinds: tuple[type, ...] = (int,) if check in WHOLE_BOUNDS else (int, float, date)
    if isinstance(value, datetime) and value.tzinfo:
        value = value.astimezone(UTC).replace(tzinfo=None)  # timestamps are UTC, without saying so
    if value is None or (isinstance(value, kinds) and not isinstance(value, bool)):
        return cast("Bound | None", value)
    step = "write a whole number" if check in WHOLE_BOUNDS else "write a number, date or time"
    raise file.error(entry.lines[key], f"{key!r} is {value!r}", step)


def _refuse_boundless(file: _File, entry: _Entry, rule: Rule) -> None:
    if "max" not in CHECK_KEYS[rule.check] or rule.equals_table or rule.check in LEARNED:
        return
    bounds = (rule.minimum, rule.maximum, rule.minimum_sql or None, rule.maximum_sql or None)
    if all(bound is None for bound in bounds):
        raise file.error(entry.line, f"{rule.id!r} has no bound", "give it `min`, `max` or both")
    least, most = rule.minimum, rule.maximum
    numbers = isinstance(least, int | float) and isinstance(most, int | float)
    if numbers and cast("float", least) > cast("float", most):
        told = f"'min' {least} is above 'max' {most}"
        raise file.error(entry.lines["min"], told, "exchange them")


def _repeated_ids(rules: Sequence[Rule]) -> Iterator[ConfigurationError]:
    seen: dict[str, Rule] = {}
    for rule in rules:
        first = seen.setdefault(rule.id, rule)
        if first is not rule:
            yield ConfigurationError(
                f"two rules are called {rule.id!r}; the other is on {first.where}",
                where=rule.where,
                next_step="give each rule an id of its own",
            )
