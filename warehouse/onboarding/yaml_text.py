"""YAML as text: dumped in the project's style, and lists grown without touching what is there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from warehouse.errors import ConfigurationError

WIDTH = 96
NULL = "tag:yaml.org,2002:null"


class Inline(list[Any]):
    """A list that is written on one line: `[a, b]`."""


class Commented(Inline):
    """A list on one line below `comments`, a line each, in a mapping that `dumped` is given."""

    def __init__(self, items: Iterable[Any], comments: Iterable[str]) -> None:
        super().__init__(items)
        self.comments = tuple(comments)


class InlineMapping(dict[str, Any]):
    """A mapping that is written on one line: `{a: b}`."""


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        """Indent the items of a list, too."""
        super().increase_indent(flow, False)


_Dumper.add_multi_representer(
    Inline, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value, True)
)
_Dumper.add_representer(
    InlineMapping,
    lambda dumper, value: dumper.represent_mapping("tag:yaml.org,2002:map", value.items(), True),
)


def dumped(value: Any, indent: int = 0) -> str:
    """The value as block YAML, each line behind `indent` spaces, with a newline at its end."""
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH)
    for item in value if isinstance(value, list) else [value]:
        text = _with_comments(text, item)
    margin = " " * indent
    return "".join(margin + line for line in text.splitlines(keepends=True))


def _with_comments(text: str, item: Any) -> str:
    """The block text with the comments of the item's own keys, each above its key."""
    for key, value in item.items() if isinstance(item, Mapping) else ():
        if isinstance(value, Commented):
            above = re.search(rf"^( *){re.escape(str(key))}: ", text, re.M)
            assert above is not None  # it was just dumped
            lines = "".join(f"{above[1]}# {_one_line(line)}\n" for line in value.comments)
            text = f"{text[: above.start()]}{lines}{text[above.start() :]}"
    return text


def _one_line(text: str) -> str:
    """Text that ends no comment and that YAML allows in one."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def with_item(text: str, path: tuple[str | int, ...], item: Mapping[str, Any], where: str) -> str:
    """The YAML `text` with `item` at the end of the list at `path`; all else stays as it is.

    Where the list's key is missing or holds nothing, it is made; where the whole text holds
    nothing, so are the keys above it. Raises ConfigurationError, naming `where`, when something
    else than a list stands there.
    """
    if "\r\n" in text:
        return with_item(text.replace("\r\n", "\n"), path, item, where).replace("\n", "\r\n")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is None:
        return f"{_ended(text)}{path[0]}:\n{dumped([dict(item)], 2)}"
    node = _at(root, path[:-1])
    if not isinstance(node, yaml.MappingNode):
        raise _unexpected(where, path, node)
    found = next(((k, v) for k, v in node.value if k.value == path[-1]), None)
    if found is None and node.flow_style:
        raise _unexpected(where, path, node)
    if found is None:
        return _after(text, node, " " * node.start_mark.column + f"{path[-1]}:\n", item, 2)
    key, value = found
    if isinstance(value, yaml.SequenceNode) and value.value:
        return _in_flow(text, value, item) if value.flow_style else _after(text, value, "", item, 0)
    if not isinstance(value, yaml.SequenceNode) and value.tag != NULL:
        raise _unexpected(where, path, value)
    start, end = int(value.start_mark.index), int(value.end_mark.index)
    if node.flow_style:
        return f"{text[:start]}{json.dumps([item], ensure_ascii=False)}{text[end:]}"
    rest_of_line, _, below = text[end:].partition("\n")
    line = f"{text[:start].rstrip(' ')}{rest_of_line}".rstrip(" ")
    return f"{line}\n{dumped([dict(item)], key.start_mark.column + 2)}{below}"


def _at(node: yaml.Node, path: tuple[str | int, ...]) -> yaml.Node | None:
    for part in path:
        if isinstance(node, yaml.MappingNode):
            inner = next((v for k, v in node.value if k.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            inner = node.value[part]
        else:
            inner = None
        if inner is None:
            return None
        node = inner
    return node


def _after(
    text: str, node: yaml.CollectionNode, heading: str, item: Mapping[str, Any], deeper: int
) -> str:
    """The text with the item below the last line of a block `node`."""
    lines = text.splitlines(keepends=True)
    last = _last_line(node)
    entry = heading + dumped([dict(item)], node.start_mark.column + deeper)
    return _ended("".join(lines[: last + 1])) + entry + "".join(lines[last + 1 :])


def _last_line(node: yaml.Node) -> int:
    """The last line that holds something of the node; a block's own end lies below comments."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    mark = node.end_mark
    return int(mark.line if mark.column else mark.line - 1)


def _in_flow(text: str, node: yaml.SequenceNode, item: Mapping[str, Any]) -> str:
    end = int(node.value[-1].end_mark.index)
    return f"{text[:end]}, {json.dumps(item, ensure_ascii=False)}{text[end:]}"


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _unexpected(
    where: str, path: tuple[str | int, ...], node: yaml.Node | None
) -> ConfigurationError:
    line = f":{node.start_mark.line + 1}" if node else ""
    return ConfigurationError(
        f"`{'.'.join(map(str, path))}` is not a list",
        where=f"{where}{line}",
        next_step="make it one, and run the command again",
    )
