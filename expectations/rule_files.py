"""The rule files: one YAML file for the rules of a table, read as rules or told what is wrong."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, cast

from expectations.rule_yaml import Entry, RuleFile, is_moment, plain
from expectations.rules import (
    CHECK_KEYS,
    CHECKS,
    COMMON_KEYS,
    FILE_KEYS,
    LEARNED,
    MAX_AGE,
    MEASURES,
    PUBLISHED,
    PUBLISHED_KEYS,
    RAW_CHECKS,
    RAW_KEY,
    SEVERITIES,
    WHOLE_BOUNDS,
    Boundary,
    Check,
    Rule,
    Severity,
    Value,
    keys_of,
)
from warehouse.errors import ConfigurationError
from warehouse.settings import PROJECT
from warehouse.sources import known_type
from warehouse.wording import known_names, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from expectations.rules import Bound

FOLDER = Path(__file__).parent / "rules"
_DAY = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([T ][\d:.]+)?")


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

    Of a rule, and of what stands above the rules of a file, the first mistake is told. A file is
    parsed once as long as it stays the same: the stages of a run ask for the rules again and again.
    """
    rules: list[Rule] = []
    errors: list[ConfigurationError] = []
    errors += _never_read(folder)
    for path in sorted(folder.glob("*/*.yml")):
        name = _shown(path, folder)
        try:
            read, wrong = _read_text(name, path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            step = "make it a readable text file in UTF-8"
            errors.append(
                ConfigurationError(f"it cannot be read: {error}", where=name, next_step=step)
            )
            continue
        rules += read
        errors += [ConfigurationError(what, where=at, next_step=step) for what, at, step in wrong]
    return rules, [*errors, *_repeated_ids(rules)]


def rules_of(check: Check, folder: Path = FOLDER) -> list[Rule]:
    """The rules below `folder` with this check; reads only the files in which its name stands.

    What is wrong with a rule, `read_rules` tells.
    """
    found: list[Rule] = []
    for path in sorted(folder.glob("*/*.yml")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if check in text:
            found += _read_text(_shown(path, folder), text)[0]
    return [rule for rule in found if rule.check == check]


def _never_read(folder: Path) -> Iterator[ConfigurationError]:
    """Files that look like rules, and are not where rules are looked for."""
    for path in sorted(p for ending in ("yml", "yaml") for p in folder.rglob(f"*.{ending}")):
        if path.suffix != ".yml" or len(path.relative_to(folder).parts) != 2:
            yield ConfigurationError(
                "this file is not read",
                where=_shown(path, folder),
                next_step="call it <table>.yml, in raw, marts or features of the rules' folder",
            )


def _shown(path: Path, folder: Path) -> str:
    """The file as messages name it: from the project's folder on, or from that of the rules."""
    top = PROJECT if path.is_relative_to(PROJECT) else folder.parent
    return path.relative_to(top).as_posix()


@lru_cache(maxsize=1024)
def _read_text(name: str, text: str) -> tuple[tuple[Rule, ...], tuple[tuple[str, str, str], ...]]:
    """The rules in the text of the file `name`, and the parts of the errors of the others.

    (An error would carry what it went through on its way to the next one who asks.)
    """
    file = RuleFile(name)
    rules: list[Rule] = []
    errors: list[ConfigurationError] = []
    try:
        entry = file.parse(text)
        errors += _unknown_keys(file, entry)
        table, boundary, owner, entries = _read_head(file, entry)
    except ConfigurationError as error:
        entries, errors = [], errors or [error]
    for number, entry in enumerate(entries, 1):
        try:
            rules.append(_read_rule(file, entry, number, table, boundary, owner))
        except ConfigurationError as error:
            errors.append(error)
    return tuple(rules), tuple((error.what, error.where, error.next_step) for error in errors)


def _unknown_keys(file: RuleFile, entry: Entry) -> Iterator[ConfigurationError]:
    """The first key that no rule file has, beside which its rules can be read."""
    unknown = (key for key in entry if key not in FILE_KEYS)
    for key in islice(unknown, 1):
        yield file.unknown(entry.lines[key], "key", key, FILE_KEYS)


def _read_head(file: RuleFile, entry: Entry) -> tuple[str, Boundary, str, list[Entry]]:
    """The file's table with its boundary, its owner, and the entries of its rules."""
    table = file.text(entry, "table")
    schema, _, name = table.partition(".")
    boundary = _boundary(schema)
    if not name or "." in name or boundary is None:
        near = nearest(schema, PUBLISHED)
        step = f"name it with its schema: {', '.join(PUBLISHED)}, or raw_<source>"
        raise file.error(
            entry.lines["table"],
            f"{table!r} is neither a published table nor one of the lake",
            f"did you mean '{near}.{name}'?" if near and name and "." not in name else step,
        )
    return table, boundary, file.text(entry, "owner"), _rule_entries(file, entry)


def _boundary(schema: str) -> Boundary | None:
    if schema.startswith("raw_"):
        return "raw"
    return next((boundary for boundary in PUBLISHED if boundary == schema), None)


def _rule_entries(file: RuleFile, entry: Entry) -> list[Entry]:
    rules = entry.get("rules")
    line = entry.lines.get("rules", entry.line)
    if not isinstance(rules, list) or not rules:
        told = "missing" if "rules" not in entry else "empty" if not rules else "not a list"
        step = "list at least one rule, each beginning with `- id: …`"
        raise file.error(line, f"'rules' is {told}", step)
    for rule in rules:
        if not isinstance(rule, Entry):
            told = f"{plain(rule)}, below 'rules', is not a rule"
            raise file.error(line, told, "give each rule an id, a check, a severity and a reason")
    return cast("list[Entry]", rules)


def _read_rule(
    file: RuleFile, entry: Entry, number: int, table: str, boundary: Boundary, owner: str
) -> Rule:
    is_raw = boundary == "raw"
    check = _check(file, entry, is_raw=is_raw)
    _refuse_unknown_keys(file, entry, check, is_raw=is_raw)
    if "id" not in entry:
        raise file.error(entry.line, f"rule {number} has no 'id'", "add `id: …`, its own name")
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
        minimum_sql=_bound_sql(file, entry, "min", check),
        maximum_sql=_bound_sql(file, entry, "max", check),
        strict_min=file.flag(entry, "strict_min"),
        strict_max=file.flag(entry, "strict_max"),
        values=_values(file, entry) if check == "in_set" else (),
        expression=file.text(entry, "expression") if "expression" in CHECK_KEYS[check] else "",
        equals=file.text(entry, "equals") if check == "total" else "",
        equals_table=_other_table(file, entry, check),
        pattern=_pattern(file, entry) if check == "regex" else "",
        references_table=file.text(entry, "references_table") if check == "references" else "",
        references_columns=_referenced(file, entry) if check == "references" else (),
        max_age=_max_age(file, entry) if "max_age" in entry else "",
        column_types=_column_types(file, entry) if check == "columns" else (),
        ordered=file.flag(entry, "ordered"),
        mostly=float(file.share(entry, "mostly", is_above_0=True, example=0.95) or 1),
        tolerance=file.share(entry, RAW_KEY),
        by=file.optional_text(entry, "by"),
        measure=file.one_of(entry, "measure", MEASURES) if "measure" in entry else "",
        reference_table=file.optional_text(entry, "reference_table"),
        false_alarm_rate=file.share(entry, "false_alarm_rate", is_above_0=True, example=0.01),
        file=file.name,
        line=entry.line,
    )
    _refuse_bad_bounds(file, entry, rule)
    return rule


def _check(file: RuleFile, entry: Entry, *, is_raw: bool) -> Check:
    """The rule's check, which must be one of its boundary."""
    known = RAW_CHECKS if is_raw else CHECKS
    said = file.text(entry, "check") if "check" in entry else ""
    if is_raw and said in CHECKS and said not in RAW_CHECKS:
        told = f"`{said}` is not for raw rules, which judge single rows, or a file beside others"
        step = f"there: {', '.join(RAW_CHECKS)}; else check it on a published table"
        raise file.error(entry.lines["check"], told, step)
    if said and said not in known and not nearest(said, known):
        step = f"use one of: {', '.join(known)}"
        raise file.error(entry.lines["check"], f"unknown check {said!r}", step)
    return cast("Check", file.one_of(entry, "check", known))


def _refuse_unknown_keys(file: RuleFile, entry: Entry, check: Check, *, is_raw: bool) -> None:
    known = (*COMMON_KEYS, *keys_of(check, is_raw=is_raw))
    for key in entry:
        if key not in known:
            raise _unknown_key(file, entry, key, check, known, is_raw=is_raw)


def _unknown_key(
    file: RuleFile, entry: Entry, key: str, check: Check, known: tuple[str, ...], *, is_raw: bool
) -> ConfigurationError:
    """The error for a key that does not go with the check, there or anywhere."""
    line, own = entry.lines[key], [name for name in known if name not in COMMON_KEYS]
    if is_raw and key in PUBLISHED_KEYS and key in CHECK_KEYS[check]:
        instead = f"; `{RAW_KEY}` is the share of a file's rows that may break it"
        step = f"leave it out{instead if key == 'mostly' and RAW_KEY in known else ''}"
        return file.error(line, f"`{key}` is of published tables, not of raw rules", step)
    if key == RAW_KEY and not is_raw:
        step = "leave it out" + ("; `mostly` is the share that keeps it" * ("mostly" in known))
        return file.error(line, f"`{key}` is of raw rules, not of published tables", step)
    there = RAW_CHECKS if is_raw else CHECKS
    checks = [name for name in there if key in keys_of(name, is_raw=is_raw)]
    if checks:
        told = f"`{key}` does not go with the check `{check}`"
        near = nearest(key, own)  # `column` where only `columns` may stand
        step = f"did you mean `{near}`?" if near else f"its own keys: {', '.join(own) or 'none'}"
        return file.error(line, told, f"{step} (`{key}` goes with {known_names(checks)})")
    return file.unknown(line, "key", key, [*own, *COMMON_KEYS])


def _pattern(file: RuleFile, entry: Entry) -> str:
    """The regular expression, which DuckDB (RE2) must take."""
    value = entry.get("pattern")
    line = entry.lines.get("pattern", entry.line)
    if not isinstance(value, str) or not value:
        raise file.error(line, "'pattern' is missing or not text", "add `pattern: '[A-Z]{2}'`")
    import duckdb

    try:
        duckdb.execute("select regexp_full_match('', ?)", [value])
    except duckdb.Error as error:
        told = str(error).splitlines()[0].partition(": ")[2]
        step = "mend it; in YAML a pattern stands best in single quotes"
        raise file.error(line, f"'pattern' is no regular expression: {told}", step) from None
    return value


def _referenced(file: RuleFile, entry: Entry) -> tuple[str, ...]:
    """The other table's columns: those named, else of the same names."""
    own = _columns(file, entry, "references")
    if "references_columns" not in entry:
        return own
    named = file.names(entry, "references_columns")
    if len(named) != len(own):
        raise file.error(
            entry.lines["references_columns"],
            f"{len(named)} columns cannot be those of {len(own)}",
            "name one for each of the table's own",
        )
    return named


def _max_age(file: RuleFile, entry: Entry) -> str:
    value = entry["max_age"]
    text = " ".join(value.split()) if isinstance(value, str) else plain(value)
    if not MAX_AGE.fullmatch(text):
        step = (
            "write a number and one of all the units there are (minutes, hours, days, weeks):"
            " `90 minutes`, `36 hours`, `2 days` or `1 week`"
        )
        raise file.error(entry.lines["max_age"], f"'max_age' is {text!r}", step)
    return text


def _columns(file: RuleFile, entry: Entry, check: Check) -> tuple[str, ...]:
    if not {"column", "columns"} & set(CHECK_KEYS[check]) or check == "columns":
        return ()
    if check == "anomaly" and "columns" not in entry:
        return ()  # all of them
    if "column" in entry and "columns" in entry:
        step = "keep `columns`, with all of them in its list"
        raise file.error(entry.lines["column"], "both 'column' and 'columns' are given", step)
    if "columns" in entry:
        return file.names(entry, "columns")
    if "column" not in entry and "columns" in CHECK_KEYS[check]:
        raise file.missing(entry, "column", "add `column: …`, or `columns: [a, b]`")
    return (file.text(entry, "column"),)


def _values(file: RuleFile, entry: Entry) -> tuple[Value, ...]:
    """The values of a set, of one kind: a bare `no` among texts is false to YAML."""
    values, line = file.listed(entry, "values"), entry.lines.get("values", entry.line)
    flags = [value for value in values if isinstance(value, bool)]
    if flags and len(flags) < len(values):
        told = f"'values' has {plain(flags[0])} among others"
        raise file.error(line, told, "put texts such as 'no' and 'on' into quotes")
    for value in values:
        if value is None:
            step = "leave it out: a null keeps the rule; put the text 'null' into quotes"
            raise file.error(line, "'values' has a null", step)
        if not isinstance(value, str | int | float | date):
            told = f"'values' has {plain(value)} in it"
            raise file.error(line, told, "write single values: `values: [a, b]`")
    return tuple(_in_utc(value) for value in values)


def _in_utc(value: Value) -> Value:
    """A time without its zone, as DuckDB's timestamps are."""
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


def _other_table(file: RuleFile, entry: Entry, check: Check) -> str:
    if check == "total" or "equals_table" in entry:
        return file.text(entry, "equals_table")
    return ""


def _column_types(file: RuleFile, entry: Entry) -> tuple[tuple[str, str], ...]:
    types = entry.get("columns")
    if not isinstance(types, Entry) or not types:
        line = entry.lines.get("columns", entry.line)
        told = "missing" if "columns" not in entry else "not a mapping of columns to types"
        raise file.error(line, f"'columns' is {told}", "write `columns: {name: type}`")
    return tuple((name, _known_type(file, types, name)) for name in types)


def _known_type(file: RuleFile, types: Entry, name: str) -> str:
    """DuckDB's own name of the type, which may be written as one of its other names."""
    try:
        return known_type(str(types[name]))
    except ValueError as error:
        step = "write one of DuckDB, such as bigint, decimal(18,2), varchar, date or timestamp"
        raise file.error(types.lines[name], f"{name!r}: {error}", step) from None


def _bound_sql(file: RuleFile, entry: Entry, key: str, check: Check) -> str:
    """The bound as SQL over the row's columns, where it is text."""
    value = entry.get(key)
    if check != "between" or not isinstance(value, str):
        return ""
    if _DAY.fullmatch(value.strip()):  # 2020-01-31 is 1988 to SQL
        raise file.error(entry.lines[key], *_no_date(key, value.strip()))
    if not value.strip():
        raise file.error(entry.lines[key], f"{key!r} is empty", "write a value, or leave it out")
    return " ".join(value.split())


def _no_date(key: str, text: str) -> tuple[str, str]:
    """What is wrong with a date that is written as text, and the next step."""
    if is_moment(text):
        told = f"{key!r} is the text {text!r}, which is no date to SQL"
        return told, f"leave out the quotes: `{key}: {text}`"
    step = f"write `{key}: 2026-01-31`, or `{key}: 2026-01-31 12:30:00`, without quotes"
    return f"{key!r} is {text!r}, which is no date", step


def _bound(file: RuleFile, entry: Entry, key: str, check: Check) -> Bound | None:
    if _bound_sql(file, entry, key, check):
        return None
    if check == "null_share":
        return file.share(entry, key)
    if check in WHOLE_BOUNDS:
        return cast("Bound | None", file.number(entry, key, (int,), is_from_0=True))
    if check == "drift":
        return cast("Bound | None", file.number(entry, key, (int, float), is_from_0=True))
    return cast("Bound | None", _in_utc(file.number(entry, key, (int, float, date))))


def _refuse_bad_bounds(file: RuleFile, entry: Entry, rule: Rule) -> None:
    """Refuse bounds that say nothing, or that nothing can keep."""
    if "max" not in CHECK_KEYS[rule.check] or rule.check in LEARNED:
        return
    least, most = rule.minimum, rule.maximum
    bounds = (least, most, rule.minimum_sql or None, rule.maximum_sql or None)
    has_bounds = any(bound is not None for bound in bounds)
    if rule.equals_table:
        if has_bounds:
            told = "both bounds and 'equals_table' are given"
            raise file.error(entry.line, told, "keep one of them, or make it two rules")
        return
    if not has_bounds:
        either = ", or name an `equals_table`" if "equals_table" in CHECK_KEYS[rule.check] else ""
        step = f"give it `min`, `max` or both{either}"
        raise file.error(entry.line, f"{rule.id!r} has no bound", step)
    if _is_above(least, most):
        told = f"'min' {least} is above 'max' {most}"
        raise file.error(entry.lines["min"], told, "exchange them")


def _is_above(least: Bound | None, most: Bound | None) -> bool:
    """Whether the bounds leave nothing between; those of two kinds are compared elsewhere."""
    if isinstance(least, int | float) and isinstance(most, int | float):
        return least > most
    if isinstance(least, date) and isinstance(most, date) and type(least) is type(most):
        return least > most
    return False


def _repeated_ids(rules: Iterable[Rule]) -> Iterator[ConfigurationError]:
    seen: dict[str, Rule] = {}
    for rule in rules:
        first = seen.setdefault(rule.id, rule)
        if first is not rule:
            yield ConfigurationError(
                f"two rules are called {rule.id!r}; the other is on {first.where}",
                where=rule.where,
                next_step="give each rule an id of its own",
            )
