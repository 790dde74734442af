"""Kept: what was read last stays at hand, up to a limit in bytes. Bounded by size, not by number: of
small things thousands cost less than one large one."""

from __future__ import annotations

import gc
import sys
from collections import OrderedDict
from enum import Enum
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Generic, TypeVar

Value = TypeVar("Value")

# What every object of a kind shares counts for none of them.
_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType, Enum)


class Kept(Generic[Value]):
    """Values by key, each with what it costs. The one that was not used for longest goes first; one that is over the
    limit by itself is not kept."""

    def __init__(self, limit: int) -> None:
        """`limit`: bytes of all values together."""
        self.limit = limit
        self.size = 0
        """Bytes of what is kept."""
        self._values: OrderedDict[str, tuple[Value, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> Value | None:
        """Return a value, None where it is not kept."""
        if key not in self._values:
            return None
        self._values.move_to_end(key)
        return self._values[key][0]

    def keep(self, key: str, value: Value, size: int) -> None:
        """Keep a value of `size` bytes, in place of the one with this key."""
        self.drop(key)
        if size > self.limit:
            return
        self._values[key] = (value, size)
        self.size += size
        while self.size > self.limit:
            _, (_, freed) = self._values.popitem(last=False)
            self.size -= freed

    def drop(self, key: str) -> None:
        """Forget a value; one that is not kept is fine."""
        _, size = self._values.pop(key, (None, 0))
        self.size -= size


def footprint(value: object) -> int:
    """Return the bytes of memory that a value holds, with all that it refers to and does not share with the program."""
    seen: set[int] = set()
    size, open_ = 0, [value]
    while open_:
        one = open_.pop()
        if id(one) in seen or isinstance(one, _SHARED):
            continue
        seen.add(id(one))
        size += sys.getsizeof(one)
        open_ += gc.get_referents(one)
    return size
