"""The syntax tree of a compiled expression, read from what cel-cpp writes of it.

It is a serialized cel.expr.CheckedExpr in a google.protobuf.Any. Two dozen of its fields are needed, and the library of
protocol buffers is larger than all else that the child process loads, so the wire format is read here. Field numbers:
https://github.com/google/cel-spec/blob/master/proto/cel/expr/{checked,syntax}.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal; None for null, and for what no cost depends on."""

    value: Any


@dataclass(frozen=True, slots=True)
class Variable:
    """A name: a declared variable, or that of a comprehension."""

    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """A field of a map; with `test` whether it is there."""

    operand: Node
    field: str
    test: bool


@dataclass(frozen=True, slots=True)
class Call:
    """A function or an operator (`_+_`); the target of a method is the first argument."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Literal:
    """A list or a map that is written out; `keys` is empty for a list."""

    keys: tuple[Node, ...]
    values: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Comprehension:
    """What all(), exists(), filter() and map() are made of."""

    variable: str
    over: Node
    accumulator: str
    start: Node
    condition: Node
    step: Node
    result: Node


Node = Constant | Variable | Select | Call | Literal | Comprehension


def read(serialized: bytes) -> Node:
    """Return the tree of a serialized expression."""
    checked = _fields(_one(_fields(serialized), 2))
    names = {}
    for entry in checked.get(2, ()):
        parts = _fields(entry)
        reference = _fields(_one(parts, 2))
        if 1 in reference and 3 not in reference:
            names[_one(parts, 1)] = _one(reference, 1).decode()
    return _node(_one(checked, 4), names)


def _node(text: bytes, names: dict[int, str]) -> Node:
    fields = _fields(text)
    # A variable with dots in its name is a chain of selects, and its whole name is recorded beside the tree.
    name = names.get(_one(fields, 2, 0))
    if 4 in fields:
        return Variable(name or _one(_fields(_one(fields, 4)), 1, b"").decode())
    if 5 in fields:
        select = _fields(_one(fields, 5))
        if name is not None:
            return Variable(name)
        return Select(_node(_one(select, 1), names), _one(select, 2, b"").decode(), bool(_one(select, 3, 0)))
    if 6 in fields:
        call = _fields(_one(fields, 6))
        operands = [*call.get(1, ()), *call.get(3, ())]
        return Call(_one(call, 2).decode(), tuple(_node(operand, names) for operand in operands))
    if 7 in fields:
        return Literal((), tuple(_node(element, names) for element in _fields(_one(fields, 7)).get(1, ())))
    if 8 in fields:
        entries = [_fields(entry) for entry in _fields(_one(fields, 8)).get(2, ())]
        keys = tuple(_node(_one(entry, 3), names) for entry in entries)
        return Literal(keys, tuple(_node(_one(entry, 4), names) for entry in entries))
    if 9 in fields:
        return _comprehension(_fields(_one(fields, 9)), names)
    return _constant(_fields(_one(fields, 3, b"")))


def _comprehension(fields: dict[int, list[Any]], names: dict[int, str]) -> Comprehension:
    over, start, condition, step, result = (_node(_one(fields, number), names) for number in (2, 4, 5, 6, 7))
    variable, accumulator = (_one(fields, number).decode() for number in (1, 3))
    return Comprehension(variable, over, accumulator, start, condition, step, result)


def _constant(fields: dict[int, list[Any]]) -> Constant:
    for number, value in fields.items():
        if number == 6:
            return Constant(value[0].decode(errors="replace"))
        if number == 7:
            return Constant(value[0])
        if number == 3:
            return Constant(value[0] - (1 << 64) if value[0] >= 1 << 63 else value[0])
    return Constant(None)


def _one(fields: dict[int, list[Any]], number: int, default: Any = b"") -> Any:
    return fields.get(number, (default,))[-1]


def _fields(text: bytes) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for number, value in _read(text):
        found.setdefault(number, []).append(value)
    return found


def _read(text: bytes) -> Iterator[tuple[int, Any]]:
    position = 0
    while position < len(text):
        tag, position = _varint(text, position)
        value: Any
        match tag & 7:
            case 0:
                value, position = _varint(text, position)
            case 1:
                (value,), position = struct.unpack_from("<d", text, position), position + 8
            case 2:
                length, position = _varint(text, position)
                value, position = text[position : position + length], position + length
            case kind:
                raise ValueError(f"wire type {kind} is not used in an expression")
        yield tag >> 3, value


def _varint(text: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = text[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
