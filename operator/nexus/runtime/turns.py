"""Turns: the port to whoever says which thread may compute now."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol


class Overtaken(Exception):
    """What the work was for has changed since it began: its result would not be used."""


class Turns(Protocol):
    """Who may compute now. Any thread may call it."""

    def turn(self, namespace: str, overtaken: Callable[[], bool]) -> AbstractContextManager[None]:
        """Let the calling thread compute within this, once it is its turn. Where the turn is used up, the next
        evaluation in it waits for another one, and raises Overtaken where `overtaken` says so by then."""
