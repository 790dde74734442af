"""The size of a pool, from the ConfigMap that people write: the same words in a cluster and before there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nexus.core.text.similar_names import closest, did_you_mean

CONFIG_MAP = "nexus-pools"
"""Its name, where the operator's settings name no other."""
LARGEST = 10_000


def size_of(data: Mapping[str, Any] | None, pool: str, config_map: str, namespace: str) -> int | str:
    """Return the size of a pool, or why it is unknown."""
    if data is None:
        lacks = f'pool "{pool}" has no size: no ConfigMap {config_map} in namespace {namespace}'
        return f'{lacks}; create it, with {pool}: "5" or its number of slots'
    text = data.get(pool)
    if text is None:
        close = closest(pool, list(data))
        hint = did_you_mean(close) if close else f'add {pool}: "5" or its number of slots'
        return f'unknown pool "{pool}" in ConfigMap {config_map}; {hint}'
    text = str(text).strip()
    if not (text.isascii() and text.isdecimal() and int(text) <= LARGEST):
        return (
            f'invalid size of pool "{pool}" in ConfigMap {config_map} '
            f'(expected an integer from 0 to {LARGEST}, got "{text[:40]}")'
        )
    return int(text)
