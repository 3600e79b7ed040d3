"""YAML with positions: what stands in a rule file, and the message when it is something else."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, cast

import yaml

from expectations.rules import CHECK_KEYS, COMMON_KEYS, FILE_KEYS
from warehouse.errors import ConfigurationError
from warehouse.wording import known_names, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

_SIMPLE = re.compile(r"[\w .-]+(, *[\w .-]+)*")
# What a rule file may say somewhere: none of it is another key misspelt.
_KEYS = frozenset(
    {*FILE_KEYS, *COMMON_KEYS, *(key for keys in CHECK_KEYS.values() for key in keys)}
)
_TABBED = "cannot start any token"


class Entry(dict[str, Any]):
    """A YAML mapping that knows its own line, the lines of its keys, and their values as written.

    `written` has the plain values alone: `no` where the value is False.
    """

    line: int
    lines: dict[str, int]
    written: dict[str, str]


# The parser in C where PyYAML has it: a gate reads its rules at every run.
_SafeLoader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):  # type: ignore[valid-type, misc]  # chosen at run time
    pass


def _entry(loader: _Loader, node: yaml.MappingNode) -> Entry:
    _refuse_repeated(node)
    loader.flatten_mapping(node)  # what `<<` brings in comes first, and may be overridden
    entry = Entry()
    entry.line = node.start_mark.line + 1
    entry.lines, entry.written = {}, {}
    for key_node, value_node in node.value:
        key = str(key_node.value)  # as it is written: a bare `on` is true to YAML
        entry[key] = loader.construct_object(value_node, deep=True)
        entry.lines[key] = key_node.start_mark.line + 1
        if isinstance(value_node, yaml.ScalarNode):
            entry.written[key] = value_node.value
    return entry


def _refuse_repeated(node: yaml.MappingNode) -> None:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in seen and name != "<<":
            raise yaml.constructor.ConstructorError(
                problem=f"the key {name!r} stands twice, on line {seen[name]} too",
                problem_mark=key.start_mark,
            )
        seen[name] = line


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _entry)


@dataclass(frozen=True)
class RuleFile:
    """A rule file being read, which says where when something is wrong.

    `name` is its path for people. Every method that reads a value raises ConfigurationError with
    the line when it is not what it should be.
    """

    name: str

    def error(self, line: int, what: str, next_step: str) -> ConfigurationError:
        """The error for what is on that line."""
        return ConfigurationError(what, where=f"{self.name}, line {line}", next_step=next_step)

    def parse(self, text: str) -> Entry:
        """What the file holds: one mapping."""
        try:
            content = yaml.load(text, Loader=_Loader)  # noqa: S506 (a SafeLoader)
        except yaml.MarkedYAMLError as error:
            raise self._not_yaml(text, error) from None
        except yaml.YAMLError as error:  # a character that no text has
            told = " ".join(str(error).split())
            raise self.error(1, f"not YAML: {told}", "save it as UTF-8 text") from None
        except (ValueError, RecursionError) as error:  # such as a 31st of February
            told = f"a value cannot be read: {error}"
            raise self.error(1, told, "mend the date or number") from None
        if content is None:
            raise self.error(1, "the file is empty", "give it the keys: table, owner, rules")
        if not isinstance(content, Entry):
            step = "begin it with the keys table and owner, and put the list below `rules:`"
            raise self.error(1, "not a rule file", step)
        return content

    def _not_yaml(self, text: str, error: yaml.MarkedYAMLError) -> ConfigurationError:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        lines = text.splitlines()
        is_tabbed = _TABBED in str(error.problem) and "\t" in lines[min(line, len(lines)) - 1]
        if is_tabbed:
            return self.error(line, "not YAML: a tab", "indent by spaces, and leave tabs out")
        if error.problem and error.problem.startswith("the key "):
            return self.error(line, error.problem, "keep one of them")
        return self.error(line, f"not YAML: {error.problem}", "mend the syntax, here or just above")

    def unknown(
        self, line: int, kind: str, name: object, known: Sequence[str]
    ) -> ConfigurationError:
        """The error for a name that is none of the known ones, with the nearest if one is near."""
        near = nearest(str(name), known)
        return self.error(
            line,
            f"unknown {kind} {name!r}" + (f"; the nearest is {near!r}" if near else ""),
            f"use one of: {known_names(known, near)}",
        )

    def missing(self, entry: Entry, key: str, next_step: str) -> ConfigurationError:
        """The error for a key that is not there, or is there misspelt."""
        if near := nearest(key, [other for other in entry if other not in _KEYS]):
            told = f"unknown key {near!r}; the nearest is {key!r}"
            return self.error(entry.lines[near], told, f"write `{key}: …`")
        return self.error(entry.line, f"{key!r} is missing", next_step)

    def text(self, entry: Entry, key: str) -> str:
        """A text that is not blank, on one line."""
        if key not in entry:
            raise self.missing(entry, key, f"add `{key}: …`")
        value, line = entry[key], entry.lines[key]
        if isinstance(value, bool | int | float | date):
            written = entry.written[key]
            kind = {bool: "true or false", int: "a number", float: "a number"}
            told = f"{key!r} is `{written}`, which is {kind.get(type(value), 'a date')} to YAML"
            raise self.error(line, told, f"put it into quotes: `{key}: '{written}'`")
        if not isinstance(value, str):
            told = "empty" if value is None else f"{plain(value)}, not text"
            raise self.error(line, f"{key!r} is {told}", f"write one text: `{key}: …`")
        if not value.strip():
            raise self.error(line, f"{key!r} is empty", f"write some text: `{key}: …`")
        return " ".join(value.split())

    def optional_text(self, entry: Entry, key: str) -> str:
        """The text, empty if there is none."""
        return self.text(entry, key) if key in entry else ""

    def one_of(self, entry: Entry, key: str, known: Sequence[str]) -> str:
        """One of the known names."""
        if key not in entry:
            step = f"add `{key}: …` with one of: {known_names(known)}"
            raise self.missing(entry, key, step)
        value = self.text(entry, key)
        if value not in known:
            raise self.unknown(entry.lines[key], key, value, known)
        return value

    def flag(self, entry: Entry, key: str) -> bool:
        """True or false; false if it is not there."""
        value = entry.get(key, False)
        if not isinstance(value, bool):
            told, bound = plain(value), key.removeprefix("strict_")
            step = "write true or false"
            if bound != key:  # a bound is meant, and to be left out itself
                side = "more" if bound == "min" else "less"
                step += f"; with `{bound}: {told}` beside it, `{key}: true` is {side} than {told}"
            raise self.error(entry.lines[key], f"{key!r} is {told}", step)
        return value

    def share(
        self, entry: Entry, key: str, *, is_above_0: bool = False, example: float = 0.05
    ) -> float | None:
        """A share of 1, such as the example; None if it is not there."""
        value = entry.get(key)
        if value is None and not (key in entry and is_above_0):
            return None
        is_share = (
            isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
        )
        if not is_share or (is_above_0 and value == 0):
            from_0 = "above 0" if is_above_0 else "from 0"
            step = f"write a share {from_0} to 1, such as {example}"
            raise self.error(entry.lines[key], f"{key!r} is {plain(value)}", step)
        return cast("float", value)

    def listed(self, entry: Entry, key: str) -> list[Any]:
        """A list that is not empty."""
        value = entry.get(key)
        if isinstance(value, list) and value:
            return value
        line = entry.lines.get(key, entry.line)
        if key not in entry:
            raise self.error(line, f"{key!r} is missing", f"write `{key}: [a, b]`")
        told = "an empty list" if value == [] else f"{plain(value)}, not a list"
        example = value if isinstance(value, str) and _SIMPLE.fullmatch(value) else "a, b"
        raise self.error(line, f"{key!r} is {told}", f"write `{key}: [{example}]`")

    def names(self, entry: Entry, key: str) -> tuple[str, ...]:
        """A list of names."""
        found = self.listed(entry, key)
        for name in found:
            if isinstance(name, bool) or not isinstance(name, str | int | float):
                told = f"{key!r} has {plain(name)}, which is no name"
                step = "put names such as 'no' and 'on' into quotes"
                raise self.error(entry.lines[key], told, step)
        return tuple(str(name) for name in found)

    def number(
        self, entry: Entry, key: str, kinds: tuple[type, ...], *, is_from_0: bool = False
    ) -> Any:
        """A finite value of one of the kinds: numbers, dates, times; None if it is not there."""
        value: Any = entry.get(key)
        is_one = isinstance(value, kinds) and not isinstance(value, bool)
        if value is None or (is_one and not _is_endless(value) and not (is_from_0 and value < 0)):
            return value
        is_whole = float not in kinds
        step = "write a whole number" if is_whole else "write a number"
        step += ", date or time" * (date in kinds) + " from 0 on" * is_from_0
        if isinstance(value, str):
            step += _as_number(value, is_whole=is_whole)
        raise self.error(entry.lines[key], f"{key!r} is {plain(value)}", step)


def plain(value: object) -> str:
    """A YAML value in a message: `true` as it is written, lists and mappings in short."""
    if isinstance(value, bool) or value is None:
        return "empty" if value is None else str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(plain(inner) for inner in value[:3])}{', …' * (len(value) > 3)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(value)}}}"
    return value.isoformat() if isinstance(value, date) else repr(value)


def is_moment(text: str) -> bool:
    """Whether the text, without quotes, is a date or a time to YAML."""
    try:
        return isinstance(yaml.safe_load(text), date)
    except (yaml.YAMLError, ValueError):  # such as a 31st of February
        return False


def _is_endless(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _as_number(text: str, *, is_whole: bool) -> str:
    """How the number in the text is written for YAML, which takes `1e5` for text."""
    try:
        value = float(text)
    except ValueError:
        return ""
    if not math.isfinite(value) or (is_whole and not value.is_integer()):
        return ""
    return f", without quotes: {int(value) if value.is_integer() else value}"
