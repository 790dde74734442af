"""Stored outputs: what the ConfigMap of one holds, which anybody who may write ConfigMaps there may have written."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from nexus.adapters.kube.client.api import CONFIG_MAPS, KubeApi, NotFound, Object
from nexus.api.numbers import as_stored
from nexus.core.model.facts import Changed
from nexus.core.model.plan import LoadOutput
from nexus.core.text.json_text import load
from nexus.core.text.sha256 import sha256

KEY = "output.json"
# Characters of JSON that take a millisecond or so.
LARGE = 16 * 1024


async def load_output(api: KubeApi, namespace: str, read: LoadOutput) -> Mapping[str, Any] | Changed | None:
    """Return an output; None where it is gone, Changed where it is not what was stored."""
    try:
        text = text_of(await api.get(CONFIG_MAPS, namespace, read.config_map))
    except NotFound:
        return None
    if read.sha256 is not None and sha256(text) != read.sha256:
        return Changed(read.config_map)
    value = await parsed(text)
    return value if isinstance(value, dict) else Changed(read.config_map)


async def parsed(text: str) -> Any:
    """Return the JSON value of a stored output, None if no task could have left it. Large ones in a thread: every
    value in it is looked at."""
    try:
        return await asyncio.to_thread(value_of, text) if len(text) > LARGE else value_of(text)
    except ValueError:
        return None


def value_of(text: str) -> Any:
    """Return the JSON value of a stored output, its numbers as the API server gives them back: what an older version of
    the operator stored may still hold 3.0. Raises ValueError."""
    return as_stored(load(text))


def text_of(body: Object) -> str:
    """Return the text of a stored output, empty where the ConfigMap has none."""
    data = body.get("data")
    text = data.get(KEY) if isinstance(data, Mapping) else None
    return text if isinstance(text, str) else ""


def holds(body: Object, wanted: Object) -> bool:
    """Return whether a ConfigMap that is there holds what was to be stored."""
    return (body.get("data") or {}) == wanted["data"] and not body.get("binaryData")
