"""Walks through values that come from YAML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Path = tuple[str | int, ...]


def deep(path: Path, value: Any) -> Iterator[tuple[Path, str]]:
    """Yield every string in a JSON value, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from deep((*path, position), item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from deep((*path, str(key)), item)


def listed(path: Path, texts: list[str] | None) -> Iterator[tuple[Path, str]]:
    """Yield the texts of a list, with their paths."""
    return (((*path, position), text) for position, text in enumerate(texts or ()))
