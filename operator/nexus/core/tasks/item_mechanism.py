"""Which of two mechanisms runs a fan-out: one Indexed Job for all items, or a Job for each. Users see no difference.

One Job costs the cluster a third fewer writes and needs no operator between two items. But all its pods are made from
one template and retried with the Job controller's own delays; so items have Jobs of their own where their pods differ
(`container` or `env` use `item` or `index`: the kubelet reads those, no bootstrap could change them afterwards), where
the delays are other ones, or where each has to wait for a slot of a pool.
"""

from __future__ import annotations

from nexus.api.reasons import Mechanism
from nexus.api.tasks import Task
from nexus.core.expressions.templates import TemplateError, parse
from nexus.core.model.definition import Node
from nexus.core.pods import templated_fields
from nexus.core.task_types import TYPES

# Read by the kubelet, or by the API server when the pod is made: the fields of a type without a bootstrap are, too.
_OF_THE_POD = ("env", "pod", *(name for name, record in TYPES.items() if record.is_bare))


def uses_item(text: str) -> bool:
    """Return whether a string has an expression that names `item` or `index`."""
    if "${{" not in text:
        return False
    try:
        expressions = parse(text).expressions
    except TemplateError:
        return False  # rendering it says what is wrong
    return any(reference.root in ("item", "index") for expression in expressions for reference in expression.references)


def is_indexed(node: Node, native_backoff: bool) -> bool:
    """Return whether one Indexed Job runs all items. A function of the definition and of the place alone: the answer
    never changes within a run."""
    native = native_backoff and node.retry.native and node.task.pool is None
    return node.record.mechanism is Mechanism.JOB and native and not pods_differ(node.task)


def pods_differ(task: Task) -> bool:
    """Return whether the pods of its items cannot come from one template."""
    return any(path[0] in _OF_THE_POD and uses_item(text) for path, text in templated_fields.templated(task))
