"""Checkpoint: how far the ConfigMap with the outputs of a running fan-out is to be believed.

Anybody who may write ConfigMaps can change it, and it is ahead of the status where an operator died between the two
writes. The status has the SHA-256 of what was stored when it was written, and of which items that was. Outputs that are
in the ConfigMap beyond those count for nothing: they are taken from the pods again, or their items run again.
"""

from __future__ import annotations

from typing import Any

from nexus.api.run import TaskStatus
from nexus.core.model import indexes
from nexus.core.model.definition import Node
from nexus.core.model.facts import Checkpoint
from nexus.core.names import job_name, output_name
from nexus.core.tasks.draft import PlanDraft
from nexus.core.text import json_text
from nexus.core.text.sha256 import sha256

# Characters for the indexes of stored items in the status, of all fan-outs of a run together. One of 1,000 items, of
# which every other one is stored, takes 2,000.
STORED_TOTAL = 64 * 1024

Items = list[Any]


def config_map(draft: PlanDraft, node: Node) -> str:
    """Return the name of the ConfigMap that holds the outputs of the items."""
    return output_name(job_name(draft.facts.run.name, draft.facts.run.uid, node.name, 1))


def proven(draft: PlanDraft, node: Node) -> Items:
    """Return the outputs in the ConfigMap that the status vouches for, one an item and None for all others; empty where
    it vouches for none, or nothing is known of the ConfigMap."""
    kept = draft.facts.checkpoints.get(node.name)
    return _proven(kept, draft.tasks[node.name], config_map(draft, node)) if kept is not None else []


def is_spoiled(draft: PlanDraft, node: Node) -> bool:
    """Return whether the ConfigMap has lost what the status vouches for."""
    status = draft.tasks[node.name]
    vouched = status.output_ref is not None and status.output_ref.config_map == config_map(draft, node)
    return vouched and draft.facts.checkpoints.get(node.name) is not None and not proven(draft, node)


def _proven(kept: Checkpoint, status: TaskStatus, name: str) -> Items:
    reference, total = status.output_ref, status.items.total if status.items else 0
    if reference is None or reference.config_map != name or len(kept.items) != total:
        return []
    # Without a hash an older version of the operator stored it.
    if reference.sha256 is None or reference.sha256 == kept.sha256:
        return list(kept.items)
    stored = indexes.shown((status.items.stored_indexes if status.items else None) or "", total)
    items = [item if index in stored else None for index, item in enumerate(kept.items)]
    return items if sha256(json_text.dump({"items": items})) == reference.sha256 else []


def stored_indexes(draft: PlanDraft, items: Items) -> str | None:
    """Return what the status says of which items are stored; where there is no room for all, the last ones are left
    out, and only the ConfigMap as it was written is believed."""
    fan_outs = sum(node.task.for_each is not None for node in draft.definition.nodes.values())
    found = [index for index, item in enumerate(items) if item is not None]
    return indexes.text(found, min(2_000, STORED_TOTAL // max(fan_outs, 1))) or None
