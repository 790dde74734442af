"""Manifests as kubectl reads them, with the place of every field.

kubectl turns YAML into JSON with sigs.k8s.io/yaml (go-yaml v2 underneath), and the API server sees that JSON. A local
run must see the same values, and PyYAML's own rules are others: to it `1e-3` is text, `2026-11-23` a date and
`12:30:45` the number 45045. So PyYAML's parser supplies the events and this module says what they mean.
tests/unit/yaml_rules/ asks the real library.

Stricter than kubectl on purpose, since each of these loses something silently there: duplicate keys, tags other than
YAML's own for JSON's types (`when: !x` would be an empty text), keys with a fraction.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import yaml

from nexus.api import json_events
from nexus.api.base import GROUP
from nexus.api.codes import Code
from nexus.api.json_events import JsonInvalid
from nexus.api.numbers import stored_number
from nexus.api.yaml_words import syntax

MAX_CHARACTERS = 4 * 1024 * 1024
"""Of one file. The API server takes 1.5 MiB an object, a file may hold several."""

MAX_DEPTH = 100
"""Levels of nesting; the deepest field of the schemas is below 20, and a param may bring its own."""

MAX_ALIASED = 1024 * 1024
"""What all aliases of a file together may repeat, in characters (a node counts one). Ten lines can say 10^10."""

# libyaml, where PyYAML was built with it, is ten times faster.
_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STANDARD_TAG = "tag:yaml.org,2002:"
_TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]


class ManifestError(Exception):
    """A file that cannot be read. `line` and `column` count from 1; `str()` is `source:line:column: message`."""

    def __init__(self, source: str, line: int, column: int, code: Code, message: str) -> None:
        super().__init__(f"{source}:{line}:{column}: {message}")
        self.source = source
        self.line = line
        self.column = column
        self.code = code
        self.message = message


@dataclass(slots=True)
class _Node:
    """A value and where it was written. `children` are by key or index, each with the line and column of its key."""

    line: int
    column: int
    value: JSON
    weight: int
    """What an alias of it repeats: its nodes and the characters of its scalars."""
    height: int = 0
    """Levels of nesting in it."""
    children: dict[str | int, tuple[int, int, _Node]] = field(default_factory=dict)
    merges: bool = False
    """Whether this is a plain `<<`, which as a key has a meaning of its own."""
    is_alias: bool = False
    is_open: bool = False
    """Whether its end has not been read."""

    def add(self, name: str | int, line: int, column: int, child: _Node) -> None:
        self.children[name] = (line, column, child)
        self.weight += child.weight
        self.height = max(self.height, 1 + child.height)


@dataclass(frozen=True)
class Document:
    """One object of a file: `body` is what kubectl would send; `index` counts the objects of the file from 0."""

    source: str
    index: int
    body: dict[str, JSON]
    _root: _Node = field(repr=False, compare=False)

    def line(self, path: Sequence[str | int]) -> int:
        """Return the line, from 1, of the field at `path` (keys and list indexes), or of its nearest existing
        parent."""
        return self._position(path)[0]

    def column(self, path: Sequence[str | int]) -> int:
        """Return the column, from 1, of the field that `line` finds."""
        return self._position(path)[1]

    def _position(self, path: Sequence[str | int]) -> tuple[int, int]:
        node, line, column = self._root, self._root.line, self._root.column
        for step in path:
            if step not in node.children:
                break
            line, column, node = node.children[step]
        return line, column


def read(text: str, source: str) -> list[Document]:
    """Return the objects of a YAML (or JSON) file, in order; empty documents are left out.

    Args:
        text: The whole file.
        source: Its name, for messages.

    Raises:
        ManifestError: Where it is not YAML, not JSON's values, too large, repeats a key, or holds other than objects.
    """
    if len(text) > MAX_CHARACTERS:
        message = f"file too large: {len(text):,} characters, at most {MAX_CHARACTERS:,} are supported"
        raise ManifestError(source, 1, 1, Code.TOO_LARGE, message)
    documents: list[Document] = []
    for root in _objects(text.removeprefix("\ufeff"), source):
        if root.value is None:
            continue
        if not isinstance(root.value, dict):
            found = "a list" if isinstance(root.value, list) else "a single value"
            message = f"expected an object with apiVersion and kind, got {found}; separate objects with a line of ---"
            raise ManifestError(source, root.line, root.column, Code.NOT_AN_OBJECT, message)
        documents.append(Document(source, len(documents), root.value, root))
    return documents


def _objects(text: str, source: str) -> Iterator[_Node]:
    """Yield the objects of a file, those in a `kind: List` (what `kubectl get -o yaml` writes) one by one."""
    for root in _Reader(text, source).documents():
        waiting = [root]
        while waiting:
            node = waiting.pop()
            items = node.children["items"][2] if _is_list(node.value) else None
            if items is None or not isinstance(items.value, list):
                yield node
            else:
                waiting += [items.children[position][2] for position in reversed(range(len(items.value)))]


def _is_list(value: JSON) -> bool:
    """Return whether an object is a list of objects: kubectl's List, or the API server's own of Workflows or runs."""
    if not isinstance(value, dict) or "items" not in value:
        return False
    kind, group = value.get("kind"), str(value.get("apiVersion")).partition("/")[0]
    return kind == "List" or (group == GROUP and kind in ("WorkflowList", "WorkflowRunList"))


class _Reader:
    """Builds nodes from the parser's events, without recursion: the depth of a file is its author's choice."""

    def __init__(self, text: str, source: str) -> None:
        self.text = text
        self.source = source
        self.aliased = 0

    def documents(self) -> Iterator[_Node]:
        anchors: dict[str, _Node] = {}
        stack: list[_Sequence | _Mapping] = []
        for event in self._events():
            if isinstance(event, yaml.DocumentStartEvent):
                anchors, stack = {}, []
                continue
            if isinstance(event, yaml.CollectionStartEvent):
                stack.append(self._opened(event, len(stack)))
                if event.anchor:
                    anchors[event.anchor] = stack[-1].node
                continue
            if isinstance(event, yaml.CollectionEndEvent):
                node = stack.pop().node
                node.is_open = False
            elif isinstance(event, yaml.AliasEvent):
                node = self._aliased(event, anchors, len(stack))
            elif isinstance(event, yaml.ScalarEvent):
                node = self._scalar(event)
                if event.anchor:
                    anchors[event.anchor] = node
            else:
                continue
            if stack:
                stack[-1].add(node)
            else:
                yield node

    def _events(self) -> Iterator[yaml.Event]:
        no_json = self._json_problem()
        try:
            if json_events.is_json(self.text) and no_json is None:
                yield from json_events.events(self.text)
            else:
                yield from yaml.parse(self.text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            line, column, message = syntax(error, self.text)
            raise no_json or ManifestError(self.source, line, column, Code.INVALID_YAML, message) from None
        except (yaml.reader.ReaderError, UnicodeError):
            raise no_json or self._unreadable() from None

    def _json_problem(self) -> ManifestError | None:
        """Return why a file that looks like JSON is none; braces and quoted keys may be YAML still. Read twice, for the
        events of a large file would take a hundred times its size."""
        if json_events.is_json(self.text):
            try:
                for _ in json_events.events(self.text):
                    pass
            except JsonInvalid as error:
                return ManifestError(self.source, error.line, error.column, Code.INVALID_JSON, error.message)
        return None

    def _unreadable(self) -> ManifestError:
        """Points at the first character that YAML 1.1 does not allow (its section 5.1)."""
        found = re.search("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|$", self.text)
        assert found is not None  # the end always matches
        before = self.text[: found.start()]
        line, column = before.count("\n") + 1, found.start() - before.rfind("\n")
        message = f"invalid character {found[0]!r}; in double quotes, write it as an escape"
        return ManifestError(self.source, line, column, Code.INVALID_YAML, message)

    def _opened(self, event: yaml.CollectionStartEvent, depth: int) -> _Sequence | _Mapping:
        line, column = _place(event)
        if depth >= MAX_DEPTH:
            raise ManifestError(self.source, line, column, Code.TOO_LARGE, _TOO_DEEP)
        mapping = isinstance(event, yaml.MappingStartEvent)
        kind = _STANDARD_TAG + ("map" if mapping else "seq")
        if event.tag not in (None, "!", kind):
            raise ManifestError(self.source, line, column, Code.UNSUPPORTED_TAG, _unknown_tag(event.tag))
        if mapping:
            return _Mapping(self.source, line, column)
        return _Sequence(line, column)

    def _aliased(self, event: yaml.AliasEvent, anchors: dict[str, _Node], depth: int) -> _Node:
        line, column = _place(event)
        target = anchors.get(event.anchor or "")
        if target is None:
            message = f"unknown alias *{event.anchor}; define &{event.anchor} above it"
            raise ManifestError(self.source, line, column, Code.INVALID_ALIAS, message)
        if target.is_open:
            raise ManifestError(
                self.source, line, column, Code.INVALID_ALIAS, f"alias *{event.anchor} is inside its own anchor"
            )
        if (
            depth + target.height > MAX_DEPTH
        ):  # without this check, aliases of aliases would pass the one for written levels
            raise ManifestError(self.source, line, column, Code.TOO_LARGE, _TOO_DEEP)
        self.aliased += target.weight
        if self.aliased > MAX_ALIASED:
            raise ManifestError(
                self.source, line, column, Code.TOO_LARGE, "the aliases of this file expand to more than 1 MiB"
            )
        return replace(target, line=line, column=column, value=_copied(target.value), is_alias=True)

    def _scalar(self, event: yaml.ScalarEvent) -> _Node:
        line, column = _place(event)
        try:
            value = _resolved(event.tag, event.value, plain=event.implicit[0])
        except ValueError as error:
            code = Code.UNSUPPORTED_TAG if event.tag else Code.INVALID_VALUE
            raise ManifestError(self.source, line, column, code, str(error)) from None
        merges = event.implicit[0] and event.value == "<<"
        return _Node(line, column, value, 1 + len(event.value), merges=merges)


class _Sequence:
    """A list whose end has not been read."""

    def __init__(self, line: int, column: int) -> None:
        self._items: list[JSON] = []
        self.node = _Node(line, column, self._items, weight=1, height=1, is_open=True)

    def add(self, node: _Node) -> None:
        self.node.add(len(self._items), node.line, node.column, node)
        self._items.append(node.value)


class _Mapping:
    """An object whose end has not been read: keys and values come in turn."""

    def __init__(self, source: str, line: int, column: int) -> None:
        self._source = source
        self._fields: dict[str, JSON] = {}
        self._written: dict[str, int] = {}
        self._key: _Node | None = None
        self.node = _Node(line, column, self._fields, weight=1, height=1, is_open=True)

    def add(self, node: _Node) -> None:
        if self._key is None:
            self._key = node
            return
        key, self._key = self._key, None
        self.node.weight += key.weight
        if key.merges:
            self._merge(node)
            return
        name = self._name(key)
        if name in self._written:
            message = f'duplicate key "{name}"; first defined on line {self._written[name]}'
            raise ManifestError(self._source, key.line, key.column, Code.DUPLICATE_KEY, message)
        self._written[name] = key.line
        self.node.add(name, key.line, key.column, node)
        self._fields[name] = node.value

    def _merge(self, node: _Node) -> None:
        """`<<: *base`, or a list of them, an earlier one wins. In go-yaml, a key above `<<` loses to it."""
        written_list = isinstance(node.value, list) and not node.is_alias
        sources = [child for _, _, child in node.children.values()] if written_list else [node]
        for source in reversed(sources):
            if not isinstance(source.value, dict):
                message = "<< must be an object, or a list of objects, such as *base"
                raise ManifestError(self._source, source.line, source.column, Code.INVALID_ALIAS, message)
            for name, (line, column, child) in source.children.items():
                self.node.add(name, line, column, child)
                self._fields[str(name)] = source.value[str(name)]

    def _name(self, key: _Node) -> str:
        match key.value:
            case str() as text:
                return text
            case bool() as truth:  # a bare `on:` or `y:`
                return "true" if truth else "false"
            case int() as number:
                return str(number)
        what = {dict: "an object", list: "a list", float: "a number with a fraction"}.get(type(key.value), "null")
        hint = "quote it" + (", an expression too: '${{ }}'" if isinstance(key.value, dict) else "")
        raise ManifestError(
            self._source, key.line, key.column, Code.INVALID_KEY, f"a key must be a string, got {what}; {hint}"
        )


def _place(event: yaml.Event) -> tuple[int, int]:
    assert event.start_mark is not None  # the parser sets it; only events made by hand have none
    return event.start_mark.line + 1, event.start_mark.column + 1


def _unknown_tag(tag: str) -> str:
    shown = "!!" + tag.removeprefix(_STANDARD_TAG) if tag.startswith(_STANDARD_TAG) else tag
    return f"unsupported YAML tag {shown}; quote a string that begins with !, write an expression in ${{{{ }}}}"


def _copied(value: JSON) -> JSON:
    """Return a copy, for what is written once and repeated by an alias is two values afterwards."""
    match value:
        case dict():
            return {name: _copied(child) for name, child in value.items()}
        case list():
            return [_copied(child) for child in value]
    return value


# What a scalar is: resolve.go of go.yaml.in/yaml/v2 2.4.2, then encoding/json, then the API server's reading of the
# numbers in that JSON.

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"], True),
    **dict.fromkeys(["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"], False),
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
}
_NO_JSON = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_INTEGER = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_POINT_FIRST = re.compile(r"\.[0-9]+(_[0-9]+)*([eE][-+]?[0-9]+(_[0-9]+)*)?")
_TYPES: dict[str, tuple[type, ...]] = {"bool": (bool,), "int": (int,), "float": (int, float), "null": (type(None),)}


def _resolved(tag: str | None, text: str, plain: bool) -> JSON:
    """Return the value of a scalar. Raises ValueError for what JSON cannot hold and for a tag that does not fit."""
    kind = (tag or "").removeprefix(_STANDARD_TAG)
    if tag == "!" or kind == "str":
        return text
    if tag is None:
        return _stored(_plain(text)) if plain else text
    if kind == tag or kind not in _TYPES:
        raise ValueError(_unknown_tag(tag))
    value = _plain(text)
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "bool"):
        raise ValueError(f'value "{text}" does not fit its tag !!{kind}')
    return _stored(value)


def _plain(text: str) -> bool | int | float | str | None:
    if text in _WORDS:
        return _WORDS[text]
    first = text[0]
    if first not in "+-.0123456789":
        return text
    if _NO_JSON.fullmatch(text):
        raise ValueError(f'unsupported number {text}: JSON has no infinity and no NaN; quote it for a string: "{text}"')
    digits = text.replace("_", "")
    if first == ".":
        is_float = _POINT_FIRST.fullmatch(text)
    else:
        whole = _integer(digits)
        if whole is not None:
            return whole
        is_float = _FLOAT.fullmatch(digits)
    number = float(digits) if is_float else math.inf
    return text if math.isinf(number) else number


def _integer(digits: str) -> int | None:
    """Return what Go's ParseInt and ParseUint take with base 0 (`012` is 10); None beyond 64 bits: a float, then, or
    text."""
    found = _INTEGER.fullmatch(digits)
    if found is None:
        return None
    sign, *written = found.groups()
    base, figures = next((base, part) for base, part in zip((16, 2, 8, 10), written, strict=True) if part is not None)
    if base == 10 and len(figures) > 20:  # also keeps clear of Python's limit on long numbers
        return None
    size = int(sign + figures, base)
    return size if -(2**63) <= size < (2**63 if sign else 2**64) else None


def _stored(value: bool | int | float | str | None) -> JSON:
    """Return a number as the API server stores it: 1e3 is 1000 in JSON, which is read as an integer up to 64 bits."""
    return stored_number(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
