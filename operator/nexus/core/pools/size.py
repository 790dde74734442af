"""The size of a pool, from the ConfigMap that people write: the same words in a cluster and before there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nexus.core.text.similar_names import closest

CONFIG_MAP = "nexus-pools"
"""Its name, where the operator's settings name no other."""
LARGEST = 10_000


def size_of(data: Mapping[str, Any] | None, pool: str, config_map: str, namespace: str) -> int | str:
    """The size of a pool, or why nobody knows it."""
    if data is None:
        return f"there is no ConfigMap {config_map} in namespace {namespace}: make one, with {pool} and its size in it"
    text = data.get(pool)
    if text is None:
        close = closest(pool, list(data))
        hint = f"did you mean {close[0]}?" if close else f'add {pool}: "5", or how many it is'
        return f"the ConfigMap {config_map} has no pool {pool}: {hint}"
    text = str(text).strip()
    if not (text.isascii() and text.isdecimal() and int(text) <= LARGEST):
        return f"the size of pool {pool} in the ConfigMap {config_map} is {text[:40]!r}: write a number up to {LARGEST}"
    return int(text)
