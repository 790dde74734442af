"""Whose work is at hand: the namespace that what is sent away, or asked of the API server, counts for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from nexus.runtime.turns import Turns


@dataclass(frozen=True, slots=True)
class Share:
    """A namespace, how it takes turns, and what sets its work aside meanwhile."""

    namespace: str
    turns: Turns
    aside: Callable[[], AbstractAsyncContextManager[None]]


_share: ContextVar[Share | None] = ContextVar("share", default=None)


@contextmanager
def share_of(namespace: str, turns: Turns, aside: Callable[[], AbstractAsyncContextManager[None]]) -> Iterator[None]:
    """Count for this namespace what this block, and all that it starts, sends away. It is `aside` meanwhile."""
    token = _share.set(Share(namespace, turns, aside))
    try:
        yield
    finally:
        _share.reset(token)


def served() -> str:
    """Return the namespace that the work at hand counts for; empty if it counts for none."""
    share = _share.get()
    return "" if share is None else share.namespace


def at_hand() -> Share | None:
    """Return the share that the work at hand counts for; None if it counts for none."""
    return _share.get()
