"""JSON of the API server, read within bounds: levels, bytes, and how long one step keeps the interpreter.

Everything that the API server sends passes here, for the operator, the CLI and whatever else reads objects. An object
may nest 10,000 levels there, and 1.5 MiB of `[[0],[0],...` become 35 MiB of Python objects, so

- what nests too deep is refused before a tree is built of it (`decode` raises TooDeep);
- `fields` takes an object apart without building what is below its fields;
- `pruned` makes the shallow part of a document that is too deep, from which its metadata can be read;
- `decode_large` builds a large tree in steps of `STEP` bytes: a thread that does it lets the event loop run in between.

All of it is linear in the text. msgspec walks what it skips with the interpreter's own recursion guard, so no depth
ends the process, on any Python.
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

import msgspec

LEVELS = 100
"""How deep what a user writes may nest, counted from the object itself: as a manifest file (nexus.api.manifest)."""
RECORD_LEVELS = 110
"""How deep all else may: a status and a ControllerRevision hold what users wrote a few levels deeper."""
MAX_BYTES = 16 * 1024 * 1024
"""The longest JSON of one object. etcd keeps 1.5 MiB of it, in which a byte may become six in JSON (`\\u0001`)."""
STEP = 64 * 1024
"""Bytes that are decoded in one call: about 3 ms for the worst of them."""

Raw: TypeAlias = bytes | bytearray | msgspec.Raw
Fields = dict[str, msgspec.Raw]

_FIELDS = msgspec.json.Decoder(Fields)
_OBJECTS = msgspec.json.Decoder(list[Fields])
_ENTRIES = msgspec.json.Decoder(list[msgspec.Raw])
_ANY = msgspec.json.Decoder()
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(code for code in range(256) if code not in b"[]{}")
_NESTS = tuple(
    (b"[" * levels + b"]" * levels, b"[" * (levels // 2) + b"]" * (levels // 2)) for levels in (4096, 512, 64)
)
_ROUNDS = 16
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{\]}]', re.DOTALL)


class NotJson(ValueError):
    """The document is not JSON."""


class TooDeep(ValueError):
    """The text nests deeper than is read."""

    def __init__(self, levels: int = LEVELS) -> None:
        super().__init__(f"nested deeper than {levels} levels")


def decode(text: Raw, levels: int = RECORD_LEVELS) -> Any:
    """Return the value of a JSON text. Raises NotJson, TooDeep."""
    if nests_deeper(text, levels):
        raise TooDeep(levels)
    return _decoded(_ANY, text)


def decode_large(text: Raw, levels: int = RECORD_LEVELS) -> Any:
    """As `decode`, in steps: for a thread beside the event loop, which waits for one step and not for the tree.

    Raises NotJson, TooDeep.
    """
    if nests_deeper(text, levels):
        raise TooDeep(levels)
    return build(text)


def build(text: Raw) -> Any:
    """Decode as `decode_large` does, a document that is known not to be too deep."""
    if len(memoryview(text)) <= STEP:
        return _decoded(_ANY, text)
    match bytes(memoryview(text)[:1]):
        case b"{":
            return {name: build(value) for name, value in fields(text).items()}
        case b"[":
            return [build(value) for value in entries(text)]
        case _:
            return _decoded(_ANY, text)


def fields(text: Raw) -> Fields:
    """Return the fields of an object, each as its JSON text; their values are not built. Raises NotJson, and TooDeep
    for what the interpreter cannot walk."""
    found: Fields = _decoded(_FIELDS, text)
    return found


def entries(text: Raw) -> list[msgspec.Raw]:
    """Return the entries of a list, each as its JSON text. Raises NotJson, TooDeep."""
    found: list[msgspec.Raw] = _decoded(_ENTRIES, text)
    return found


def objects(text: Raw) -> list[Fields]:
    """Return the entries of a list of objects, each as its fields. Raises NotJson, TooDeep."""
    found: list[Fields] = _decoded(_OBJECTS, text)
    return found


def encode(value: Any) -> bytes:
    """Return compact JSON; a Raw within is written as it is."""
    return msgspec.json.encode(value)


def _decoded(decoder: msgspec.json.Decoder[Any], text: Raw) -> Any:
    try:
        return decoder.decode(text)
    except RecursionError:
        raise TooDeep from None
    except msgspec.MsgspecError as error:
        raise NotJson(str(error)) from None


def nests_deeper(text: Raw, levels: int) -> bool:
    """Return whether a JSON text has more levels. A scalar has none, `{}` has one."""
    text = bytes(memoryview(text))
    # Nearly all texts are done here. Brackets in strings count too, which errs to the safe side.
    if text.count(b"[") + text.count(b"{") <= levels:
        return False
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside = b"".join(text.split(b'"')[::2]).translate(_BRACKETS, _NO_BRACKETS)
    for _ in range(levels):
        # Each round takes the innermost level off.
        inner = outside.replace(b"[]", b"")
        if len(inner) == len(outside):
            break
        outside = inner
    return bool(outside)


def pruned(text: bytes, levels: int, mark: str) -> bytes:
    """Return the text with each list and object more than `levels` deep replaced by the string `mark`.

    For the rare text that is refused: it takes 0.3 µs a bracket and string, in Python, so a thread can do it beside the
    event loop. What is not JSON stays so. Nests of lists with nothing else in them are made less deep first, at the
    speed of memory, but not less than 32 levels; so `levels` is at most that, and a string of brackets may lose some.
    """
    for nest, half in _NESTS:
        for _ in range(_ROUNDS):
            if nest not in text:
                break
            text = text.replace(nest, half)
    replacement = msgspec.json.encode(mark)
    pieces: list[bytes] = []
    depth = done = 0
    for token in _TOKEN.finditer(text):
        at = token.start()
        kind = text[at]
        if kind in b"[{":
            depth += 1
            if depth == levels + 1:
                pieces += (text[done:at], replacement)
        elif kind in b"]}":
            if depth == levels + 1:
                done = at + 1
            depth -= 1
    return b"".join((*pieces, text[done:] if depth <= levels else b""))
