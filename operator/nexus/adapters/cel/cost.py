"""What an expression may cost, computed from its tree and the sizes of its values before it is evaluated.

A clock would not do: the same expression would fail on a busy machine and succeed on an idle one. cel-cpp counts the
rounds of comprehensions alone, and one round may read a megabyte. So each operation is counted here as often as it can
be executed, with what it costs for values as large as they can be there. The unit is a nanosecond of the machine on
which the prices were measured; dear operations are priced by their worst case, so most expressions cost less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, reduce
from operator import attrgetter
from typing import Any

from nexus.adapters.cel import regex
from nexus.adapters.cel.sizes import NOTHING, ONE, SCALAR, Amount, Value
from nexus.adapters.cel.tree import Call, Comprehension, Constant, Literal, Node, Select, Variable

LIMIT = 300_000_000
"""Cost of one expression: 0.3 s."""
COPIES = 2_500_000
"""Elements that map() and filter() may copy: the copies are kept until the end, and these take 70 MiB of memory, twice
that where it grows. It is reached where map() makes a list of 2,237."""
ROUNDS = 10_000
"""Rounds of all comprehensions of an evaluation together: cel-cpp's own limit."""

# Nanoseconds, measured with cel-expr-python 0.1.3 on Python 3.11: for each node that is executed, each character that
# is read or copied, each part of a value (a scalar, a list, a map) that is compared or copied.
_NODE, _CHARACTER, _PART = 30.0, 0.7, 60.0
_SEARCH = 0.02  # each character of a string times each of what is looked for: the search is not linear
_PYTHON, _PYTHON_PART, _JSON_PART = 3_000.0, 200.0, 1_000.0  # functions of ours
_RANGE_PART = 340.0  # for its memory too
_REPLACE, _SPLIT, _JOIN, _TRIM, _FORMAT, _JSON = 25.0, 80.0, 40.0, 3.0, 5.0, 10.0
# For each element that a list of map() or filter() has already: it is copied in each round that appends to it.
_APPEND = 26.0
# What a condition lets through is an unknown part. If it is all, the memory limit applies.
_PART_OF = 0.5
# For each value that this module itself goes through.
_LOOK = 100.0
# What comes out as JSON is made a Python value, and then text.
_OUT_CHARACTER, _OUT_PART = 5.0, 1_000.0
# JSON writes a control character as six.
_ESCAPED = 6
# %c is 24 characters.
_FORMATTED = 12


class TooCostly(Exception):
    """The expression may cost more than LIMIT, or copy more than COPIES."""


def check(tree: Node, values: Mapping[str, Any]) -> float:
    """Return the cost of an expression with these JSON values. Raises TooCostly."""
    counting = _Counting()
    result = counting.visit(tree, {name: Value(nodes=(value,)) for name, value in values.items()}, 1.0).most
    counting.add(result.characters * _OUT_CHARACTER + result.parts * _OUT_PART)
    return counting.cost


def is_plain(tree: Node) -> bool:
    """Return whether no part of an expression is executed twice, or costs more than to read its values does: where they
    are small, nothing needs to be counted."""
    match tree:
        case Constant() | Variable():
            return True
        case Select():
            return is_plain(tree.operand)
        case Literal():
            return all(map(is_plain, (*tree.keys, *tree.values)))
        case Call():
            return tree.function in _PLAIN and all(map(is_plain, tree.arguments))
    return False


class _Counting:
    """One walk through a tree."""

    def __init__(self) -> None:
        self.cost = 0.0
        self._copies = 0.0

    def add(self, cost: float) -> None:
        """Count it. Raises TooCostly."""
        self.cost += cost
        if self.cost > LIMIT:
            raise TooCostly

    def _append(self, copies: float) -> None:
        self._copies += copies
        if self._copies > COPIES:
            raise TooCostly
        self.add(copies * _APPEND)

    def visit(self, node: Node, scope: Mapping[str, Value], times: float) -> Value:
        """Return what a node gives, evaluated `times` times. Raises TooCostly."""
        self.add(_NODE * times)
        found = self._visit(node, scope, times)
        if found.nodes is not None and not isinstance(node, Variable):
            # To find that out took time too.
            self.add(_LOOK * len(found.nodes))
        return found

    def _visit(self, node: Node, scope: Mapping[str, Value], times: float) -> Value:
        match node:
            case Constant():
                return Value(nodes=(node.value,))
            case Variable():
                return scope.get(node.name, _UNKNOWN)
            case Select():
                operand = self.visit(node.operand, scope, times)
                return _UNKNOWN if node.test else operand.field(node.field)
            case Literal():
                inner = [self.visit(each, scope, times) for each in (*node.keys, *node.values)]
                amount = reduce(Amount.plus, (each.most for each in inner), ONE)
                return Value(amount._replace(length=len(node.values)), None, None, _one_of(inner))
            case Comprehension():
                return self._comprehension(node, scope, times)
            case Call():
                arguments = [self.visit(argument, scope, times) for argument in node.arguments]
                return self._call(_FUNCTIONS.get(node.function, _scalar), arguments, times)

    def _comprehension(self, node: Comprehension, scope: Mapping[str, Value], times: float) -> Value:
        over = self.visit(node.over, scope, times)
        start = self.visit(node.start, scope, times)
        length, mean = over.lengths
        # At least one: what is never executed is looked at here all the same.
        rounds = min(max(1.0, times * mean), float(ROUNDS))
        element = over.elements()
        if times * mean > rounds:
            # Those that are gone through before the rounds are used up may be the largest.
            element = element.outside()
        within = {name: value.outside() for name, value in scope.items()} | {node.variable: element}
        self.add(_NODE * rounds)
        self.visit(node.condition, within | {node.accumulator: start}, rounds)
        # One after the other is copied, in half of the rounds each.
        copies = min(length, ROUNDS) * over.part**2 / 2
        grown = self._step(node.step, node.accumulator, within, rounds, copies)
        if grown is None:
            return self.visit(node.result, {**scope, node.accumulator: start}, times)
        # No list that is made is larger than all that are made together.

        @cache
        def most() -> Amount:
            together = grown.mean.scaled(rounds)
            return grown.most.listed(length).least(Amount(together.characters, together.parts + 1, length))

        part = over.part * (1.0 if isinstance(node.step, Call) and node.step.function == "_+_" else _PART_OF)
        return self.visit(node.result, {**scope, node.accumulator: Value(most, None, None, grown, part=part)}, times)

    def _step(
        self, node: Node, accumulator: str, scope: Mapping[str, Value], times: float, copies: float
    ) -> Value | None:
        """Return what a round appends to a list that a comprehension makes; None where it makes none."""
        match node:
            case Variable(name=name) if name == accumulator:
                return None
            case Call(function="_+_", arguments=(Variable(name=name), Literal(keys=(), values=(element,)))) if (
                name == accumulator
            ):
                self._append(copies * times)
                return self.visit(element, scope, times)
            case Call(function="_?_:_", arguments=(condition, first, second)):
                self.visit(condition, scope, times)
                branches = [
                    self._step(branch, accumulator, scope, times, copies * _PART_OF**2) for branch in (first, second)
                ]
                return _one_of([branch for branch in branches if branch is not None], uneven=True)
        self.visit(node, {**scope, accumulator: _UNKNOWN}, times)
        return None

    def _call(self, function: Function, arguments: Sequence[Value], times: float) -> Value:
        result, price = function(arguments, _most)
        if any(argument.uneven for argument in arguments):
            usual, price = function(arguments, _mean)
            if result.nodes is None:
                result = Value(result.most, usual.most, None, result.element)
        self.add(price * times)
        return result


_UNKNOWN = Value()
_most, _mean = attrgetter("most"), attrgetter("mean")

Priced = tuple[Value, float]
"""What a function gives, and the cost of one call."""
Size = Callable[[Value], Amount]
Function = Callable[[Sequence[Value], Size], Priced]


def _one_of(values: Sequence[Value], *, uneven: bool = False) -> Value | None:
    found = [value if uneven else value.outside() for value in values]
    return reduce(Value.either, found) if found else None


def _total(values: Sequence[Value], size: Size) -> Amount:
    return reduce(Amount.plus, map(size, values), NOTHING)


def _reading(amount: Amount) -> float:
    return amount.characters * _CHARACTER + amount.parts * _PART


def _text(characters: float) -> Value:
    return Value(Amount(characters, 1, characters))


def _scalar(values: Sequence[Value], size: Size) -> Priced:
    """Charge for a function that reads all its arguments and returns a number, a time, a boolean or a string no longer
    than they are."""
    whole = _total(values, size)
    return _text(SCALAR.characters + whole.characters), _reading(whole)


def _choice(values: Sequence[Value], size: Size) -> Priced:
    either = values[1].either(values[2])
    return either if either.nodes is not None else Value(size(either), None, None, either.element), 0.0


def _logic(_: Sequence[Value], __: Size) -> Priced:
    return _UNKNOWN, 0.0


def _same(values: Sequence[Value], size: Size) -> Priced:
    value = values[0]
    return value if value.nodes is not None else Value(size(value), None, None, value.element), 0.0


def _compared(values: Sequence[Value], size: Size) -> Priced:
    return _UNKNOWN, _reading(_total(values, size))


def _size(values: Sequence[Value], size: Size) -> Priced:
    # Of a list it is known; of a string, all characters are read.
    nodes = values[0].nodes
    if nodes is not None and all(isinstance(node, list | dict) for node in nodes):
        return Value(nodes=(int(values[0].lengths[0]),)), 0.0
    return Value(nodes=(int(values[0].most.length),)), size(values[0]).characters * _CHARACTER


def _sum(values: Sequence[Value], size: Size) -> Priced:
    whole = _total(values, size)
    if (joined := _joined(values)) is not None:
        return Value(nodes=(joined,)), _reading(whole)
    elements = [value.elements() for value in values if value.nodes is not None or value.element is not None]
    element = _one_of(elements) if len(elements) == len(values) else None
    return Value(whole, None, None, element), _reading(whole)


def _joined(values: Sequence[Value]) -> str | None:
    """Two texts that are known make one that is: the pattern of a match may be put together."""
    texts = [value.nodes[0] for value in values if value.nodes is not None and len(value.nodes) == 1]
    if len(texts) == len(values) and all(isinstance(text, str) and len(text) <= 1_024 for text in texts):
        return "".join(texts)
    return None


def _index(values: Sequence[Value], _: Size) -> Priced:
    name = _name(values[1])
    return values[0].entry() if name is None else values[0].field(name), 0.0


def _name(value: Value) -> str | None:
    """Return the one text that a value is."""
    nodes = value.nodes
    return nodes[0] if nodes is not None and len(nodes) == 1 and isinstance(nodes[0], str) else None


def _searching(text: Amount, wanted: Amount) -> float:
    both = text.characters + wanted.characters
    return text.characters * wanted.characters * _SEARCH + both * 4 * _CHARACTER


def _search(values: Sequence[Value], size: Size) -> Priced:
    return _UNKNOWN, _searching(size(values[0]), size(values[1]))


def _matches(values: Sequence[Value], size: Size) -> Priced:
    characters, patterns = size(values[0]).characters, values[1].nodes
    if patterns is None:
        return _UNKNOWN, regex.unknown(characters, size(values[1]).characters)
    prices = [regex.cost(characters, each) for each in set(filter(lambda node: isinstance(node, str), patterns))]
    return _UNKNOWN, max(prices, default=0.0)


def _replace(values: Sequence[Value], size: Size) -> Priced:
    text, old, new = map(size, values[:3])
    places, name = text.characters + 1, _name(values[1])
    if name:
        places = text.characters / len(name)
    made = text.characters + places * new.characters
    return _text(made), _searching(text, old) + (text.characters + made) * _REPLACE


def _split(values: Sequence[Value], size: Size) -> Priced:
    text, separator = size(values[0]), _name(values[1])
    pieces = text.characters + 1
    if values[0].nodes is not None and separator:
        pieces = max((node.count(separator) + 1 for node in values[0].nodes if isinstance(node, str)), default=1)
    mean = text.characters / pieces
    element = Value(Amount(text.characters, 1, text.characters), Amount(mean, 1, mean))
    price = _searching(text, size(values[1])) + text.characters * _SPLIT
    return Value(Amount(text.characters, 1 + pieces, pieces), None, None, element), price


def _copy(price: float) -> Function:
    def function(values: Sequence[Value], size: Size) -> Priced:
        whole = _total(values, size)
        return _text(whole.characters), whole.characters * price + whole.parts * _PART

    return function


def _join(values: Sequence[Value], size: Size) -> Priced:
    parts = size(values[0])
    between = size(values[1]).characters * parts.length if len(values) > 1 else 0.0
    made = parts.characters + between
    return _text(made), made * _CHARACTER + parts.parts * _JOIN


def _range(values: Sequence[Value], _: Size) -> Priced:
    numbers = [node for node in values[0].nodes or () if isinstance(node, int)]
    count = float(min(max([0, *numbers]), ROUNDS)) if numbers else float(ROUNDS)
    return Value(SCALAR.listed(count), None, None, Value(SCALAR)), _PYTHON + count * _RANGE_PART


def _flatten(values: Sequence[Value], size: Size) -> Priced:
    whole, inner = size(values[0]), values[0].elements().outside()
    whole = whole._replace(length=max(whole.length, whole.parts - 1))
    price = _PYTHON + whole.parts * _PYTHON_PART + whole.characters * _CHARACTER
    return Value(whole, None, None, inner.either(inner.elements().outside())), price


def _get(values: Sequence[Value], size: Size) -> Priced:
    whole, name = _total(values, size), _name(values[1])
    found = values[0].entry() if name is None else values[0].field(name)
    price = _PYTHON + whole.parts * _PYTHON_PART + whole.characters * _CHARACTER
    return found.outside().either(values[2].outside()), price


def _json(values: Sequence[Value], size: Size) -> Priced:
    whole = size(values[0])
    price = _PYTHON + whole.parts * _JSON_PART + whole.characters * _JSON
    return _text(whole.characters * _ESCAPED + whole.parts * 4), price


def _time(values: Sequence[Value], size: Size) -> Priced:
    characters = _total(values, size).characters
    return _text(SCALAR.characters + characters * _FORMATTED), 4 * _PYTHON + characters * 100


_FUNCTIONS: Mapping[str, Function] = {
    "_?_:_": _choice, "_&&_": _logic, "_||_": _logic, "!_": _logic, "@not_strictly_false": _logic, "type": _logic,
    "_==_": _compared, "_!=_": _compared, "_<_": _compared, "_<=_": _compared, "_>_": _compared, "_>=_": _compared,
    "@in": _compared, "startsWith": _compared, "endsWith": _compared, "size": _size, "_+_": _sum, "_[_]": _index,
    "dyn": _same, "contains": _search, "indexOf": _search, "lastIndexOf": _search, "matches": _matches,
    "replace": _replace, "split": _split, "join": _join, "trim": _copy(_TRIM), "reverse": _copy(_TRIM),
    "format": _copy(_FORMAT), "range": _range, "flatten": _flatten, "get": _get, "json": _json, "date": _time,
    "strftime": _time,
}  # fmt: skip

_PLAIN = frozenset({
    "_?_:_", "_&&_", "_||_", "!_", "_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "_+_", "_-_", "_*_", "_/_", "_%_",
    "-_", "_[_]", "@in", "size", "string", "int", "double",
})  # fmt: skip
